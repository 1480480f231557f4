//! The codec, both ways: a message of each kind.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use iot_bridge_core::codec::{Decoder, Encoder, JsonBuffer, Schema, Selection};

use crate::kinds::{self, message};
use crate::{Case, Make, encode};

pub fn cases() -> Vec<Make> {
    let mut cases: Vec<Make> = Vec::new();
    for (title, schema, values) in kinds::all() {
        let (cdr, again) = (encode::cdr(&schema, &values, false), Arc::clone(&schema));
        let times = if cdr.len() > 5000 { 20 } else { 200 };
        let (decoder, encoded) = (Decoder::new(Arc::clone(&schema)).expect("the type is an ordinary one"), cdr.clone());
        cases.push(Box::new(move || Case::new(format!("codec: to JSON: {title}"), times, write(decoder, cdr))));
        cases.push(Box::new(move || Case::new(format!("codec: from JSON: {title}"), times, read(&again, &encoded))));
    }
    let (schema, cdr) = message("sensor_msgs/msg/LaserScan");
    let selection = Selection { digits: Some(4), ..Selection::default() };
    let decoder = Decoder::select(schema, &selection).expect("the type has it");
    cases.push(Box::new(|| Case::new("codec: to JSON: LaserScan, digits = 4", 20, write(decoder, cdr))));
    cases
}

fn write(decoder: Decoder, cdr: Vec<u8>) -> impl FnMut() {
    let mut out = JsonBuffer::new(1 << 20);
    move || {
        out.clear();
        decoder.write_json(black_box(&cdr), &mut out).expect("the message is well-formed");
    }
}

/// The text of the message in `cdr`, again and again.
fn read(schema: &Arc<Schema>, cdr: &[u8]) -> impl FnMut() + use<> {
    let decoder = Decoder::new(Arc::clone(schema)).expect("the type is an ordinary one");
    let mut json = JsonBuffer::new(1 << 20);
    decoder.write_json(cdr, &mut json).expect("the message is well-formed");
    let encoder = Encoder::new(schema, &HashMap::new(), &[]).expect("the type is an ordinary one");
    let mut bytes = Vec::new();
    move || encoder.encode(black_box(json.as_bytes()), &mut bytes).expect("the decoder's text is taken")
}
