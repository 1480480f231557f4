//! There and back: JSON to CDR to JSON, and CDR to JSON to CDR.

use std::collections::HashMap;
use std::sync::Arc;

use iot_bridge_core::codec::{Count, Decoder, EncodeFault, Encoder, JsonBuffer, Kind, Schema};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::codec::encode::{self, Value};
use crate::codec::generate;

fn json_of(schema: &Arc<Schema>, cdr: &[u8]) -> String {
    let mut out = JsonBuffer::new(1 << 20);
    Decoder::new(schema.clone()).unwrap().write_json(cdr, &mut out).unwrap();
    String::from_utf8(out.as_bytes().to_vec()).unwrap()
}

fn cdr_of(schema: &Arc<Schema>, json: &str) -> Result<Vec<u8>, EncodeFault> {
    let encoder = Encoder::new(schema, &HashMap::new(), &[]).unwrap();
    let mut cdr = Vec::new();
    encoder.encode(json.as_bytes(), &mut cdr).map(|()| cdr).map_err(|error| error.fault)
}

/// What JSON can hold of a value: texts without what is no UTF-8 or UTF-16, and no NUL; NaN of one kind.
fn as_json_has_it(kind: &Kind, value: &Value) -> Value {
    match value {
        Value::Text(text) => {
            let text = String::from_utf8_lossy(text).replace('\0', "0");
            let Kind::String { bound } = kind else { panic!("{kind:?} is no string") };
            Value::Text(text.chars().take(bound.unwrap_or(usize::MAX)).collect::<String>().into_bytes())
        }
        Value::Wide(units) => Value::Wide(String::from_utf16_lossy(units).encode_utf16().collect()),
        Value::F32(bits) if !f32::from_bits(*bits).is_finite() => Value::F32(f32::NAN.to_bits()),
        Value::F64(bits) if !f64::from_bits(*bits).is_finite() => Value::F64(f64::NAN.to_bits()),
        Value::List(values) => Value::List(values.iter().map(|value| as_json_has_it(kind, value)).collect()),
        Value::Message(values) => {
            let Kind::Message(schema) = kind else { panic!("{kind:?} is no message") };
            Value::Message(all_as_json_has_them(schema, values))
        }
        other => other.clone(),
    }
}

fn all_as_json_has_them(schema: &Schema, values: &[Value]) -> Vec<Value> {
    schema.fields.iter().zip(values).map(|(field, value)| as_json_has_it(&field.kind, value)).collect()
}

/// The message as an object whose members stand in an order that `turn` makes, with white space between.
fn shuffled(schema: &Schema, values: &[Value], turn: usize) -> String {
    let mut members: Vec<String> = schema
        .fields
        .iter()
        .zip(values)
        .map(|(field, value)| {
            let one = |value: &Value| match (&field.kind, value) {
                (Kind::Message(schema), Value::Message(values)) => shuffled(schema, values, turn.rotate_right(3)),
                _ => panic!("no message"),
            };
            let text = match (&field.kind, field.count, value) {
                (Kind::Message(_), Count::One, value) => one(value),
                (Kind::Message(_), _, Value::List(values)) => {
                    format!("[ {} ]", values.iter().map(one).collect::<Vec<_>>().join(" ,\t"))
                }
                _ => {
                    // The plain writer has the text of one member alone.
                    let single = Schema { name: String::new(), fields: vec![field.clone()] };
                    return encode::json(&single, std::slice::from_ref(value)).trim_matches(['{', '}']).to_owned();
                }
            };
            format!(" {:?} :\n{text}", field.name)
        })
        .collect();
    if !members.is_empty() {
        let by = turn % members.len();
        members.rotate_left(by);
        if turn & 64 == 64 {
            members.reverse();
        }
    }
    format!("{{{}}}", members.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON to CDR to JSON is the identity for every type and every message of it, however the members are ordered.
    #[test]
    fn json_comes_back((schema, values) in generate::message(), turn: usize) {
        let values = all_as_json_has_them(&schema, &values);
        let json = encode::json(&schema, &values);
        let cdr = cdr_of(&schema, &json).unwrap();
        prop_assert_eq!(json_of(&schema, &cdr), json);
        let shuffled = shuffled(&schema, &values, turn);
        prop_assert_eq!(cdr_of(&schema, &shuffled).unwrap(), cdr, "{}", shuffled);
    }

    /// CDR to JSON to CDR is the identity, where JSON holds everything.
    #[test]
    fn cdr_comes_back((schema, values) in generate::message(), big: bool) {
        let values = all_as_json_has_them(&schema, &values);
        let json = json_of(&schema, &encode::cdr(&schema, &values, big));
        let cdr = cdr_of(&schema, &json).unwrap();
        // The plain writer fills gaps, and messages without fields, with other octets.
        let plain = encode::cdr(&schema, &values, false);
        prop_assert_eq!(cdr.len(), plain.len());
        let differs = cdr.iter().zip(&plain).filter(|(mine, plain)| mine != plain);
        prop_assert!(differs.into_iter().all(|(mine, plain)| *mine == 0 && [0xee, 0x56].contains(plain)));
        prop_assert_eq!(json_of(&schema, &cdr), json);
    }

    /// What the decoder makes of any message is taken back, or holds a NUL.
    #[test]
    fn what_is_decoded_can_be_encoded((schema, values) in generate::message()) {
        let json = json_of(&schema, &encode::cdr(&schema, &values, false));
        match cdr_of(&schema, &json) {
            Ok(cdr) => prop_assert_eq!(json_of(&schema, &cdr), json),
            Err(fault) => {
                prop_assert_eq!(fault, EncodeFault::Nul);
                prop_assert!(json.contains("\\u0000"));
            }
        }
    }

    /// A text with a piece cut out or doubled is refused or taken, and what is taken is a message of the type.
    #[test]
    fn damaged_texts_do_no_harm((schema, values) in generate::message(), from: Index, length in 1..9usize, double: bool) {
        let json = encode::json(&schema, &all_as_json_has_them(&schema, &values)).into_bytes();
        let from = from.index(json.len());
        let to = (from + length).min(json.len());
        let rest = if double { from } else { to };
        let damaged = [&json[..to.min(if double { to } else { from })], &json[rest..]].concat();
        let encoder = Encoder::new(&schema, &HashMap::new(), &[]).unwrap();
        let mut cdr = Vec::new();
        match encoder.encode(&damaged, &mut cdr) {
            Ok(()) => _ = json_of(&schema, &cdr),
            Err(_) => prop_assert_eq!(cdr, b""),
        }
    }
}
