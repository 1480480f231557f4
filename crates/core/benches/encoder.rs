//! JSON text to CDR, message by message, beside what reading the text into serde_json's tree takes, from which nothing has been
//! written yet. `scripts/bench` runs this and prints the table of docs/performance.md.

#[path = "../tests/codec/encode.rs"]
#[allow(dead_code, reason = "the JSON writer is for the tests")]
mod encode;
#[path = "../../../benches/codec/messages.rs"]
mod messages;
#[path = "../../../benches/codec/schemas.rs"]
mod schemas;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iot_bridge_core::codec::{Decoder, Encoder, JsonBuffer};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = encoder
}
criterion_main!(benches);

fn encoder(criterion: &mut Criterion) {
    for (title, schema, values) in messages::all() {
        let mut text = JsonBuffer::new(usize::MAX);
        let decoder = Decoder::new(schema.clone()).expect("the type is an ordinary one");
        decoder.write_json(&encode::cdr(&schema, &values, false), &mut text).expect("the message is well-formed");
        let json = text.as_bytes();
        let encoder = Encoder::new(&schema, &HashMap::new(), &[]).expect("the type is an ordinary one");

        let mut group = criterion.benchmark_group(format!("from JSON: {title}"));
        group.throughput(Throughput::Bytes(json.len() as u64));
        let mut cdr = Vec::new();
        group.bench_function("encoder", |bencher| {
            bencher.iter(|| {
                encoder.encode(black_box(json), &mut cdr).expect("the decoder's text is taken");
                black_box(cdr.len())
            });
        });
        group.bench_function("tree", |bencher| {
            bencher.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(json)).expect("it is JSON"));
        });
        group.finish();
        println!("{title}: {} bytes of JSON become {} bytes of CDR", json.len(), cdr.len());
    }
}
