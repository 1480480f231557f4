//! CDR to JSON text: the bridge's codec beside r2r's untyped path with serde_json, message by message.
//!
//! `scripts/bench` runs this and prints the table of docs/performance.md. r2r knows only the message packages that it
//! was built for, so the comparison needs `IDL_PACKAGE_FILTER` set wider than `.cargo/config.toml` has it; a type that
//! r2r does not know is measured without it.

#[path = "../../crates/core/tests/codec/encode.rs"]
#[allow(dead_code, reason = "the JSON writer is for the tests")]
mod encode;
mod messages;
mod schemas;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iot_bridge_core::codec::{Decoder, JsonBuffer, Schema};
use r2r::WrappedNativeMsgUntyped;

/// Above every message here, so that both sides write all of it.
const LIMIT: usize = 1 << 20;

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = codec
}
criterion_main!(benches);

fn codec(criterion: &mut Criterion) {
    for (title, schema, values) in messages::all() {
        let cdr = encode::cdr(&schema, &values, false);
        let decoder = Decoder::new(schema.clone()).expect("the type is an ordinary one");
        let mut out = JsonBuffer::new(LIMIT);
        decoder.write_json(&cdr, &mut out).expect("the message is well-formed");
        println!("{title}: {} bytes of CDR, {} bytes of JSON", cdr.len(), out.as_bytes().len());

        let mut group = criterion.benchmark_group(title);
        group.throughput(Throughput::Bytes(cdr.len() as u64));
        group.bench_function("bridge", |bencher| {
            bencher.iter(|| {
                out.clear();
                decoder.write_json(black_box(&cdr), &mut out).expect("the message is well-formed");
                black_box(out.as_bytes().len())
            });
        });
        if let Some(mut message) = r2r_message(&schema) {
            println!("{title}: {} bytes of JSON by r2r", r2r_json(&mut message, &cdr).len());
            group.bench_function("r2r", |bencher| {
                bencher.iter(|| black_box(r2r_json(&mut message, black_box(&cdr)).len()));
            });
        } else {
            println!("{title}: this build of r2r does not know {}, see scripts/bench", schema.name);
        }
        group.finish();
    }
}

/// r2r's message of that type, used again for each sample, which is better than its untyped subscriber does.
fn r2r_message(schema: &Arc<Schema>) -> Option<WrappedNativeMsgUntyped> {
    WrappedNativeMsgUntyped::new_from(&schema.name).ok()
}

/// r2r's way: deserialize into the C struct, copy to the Rust struct, make a tree, write the tree.
fn r2r_json(message: &mut WrappedNativeMsgUntyped, cdr: &[u8]) -> String {
    message.from_serialized_bytes(cdr).expect("rmw reads the message");
    serde_json::to_string(&message.to_json().expect("every message has a tree")).expect("every tree is JSON")
}
