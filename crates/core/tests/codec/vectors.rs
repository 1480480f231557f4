//! Messages as rclpy of ROS 2 Jazzy serialized them. `vectors.py` beside this file made them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iot_bridge_core::codec::{Count, Decoder, Encoder, Field, JsonBuffer, Kind, Schema};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    /// Fields with their types, as rclpy's `get_fields_and_field_types` names them.
    types: BTreeMap<String, Vec<(String, String)>>,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    r#type: String,
    /// The serialized message in hexadecimal.
    cdr: String,
    json: Value,
}

impl Vectors {
    fn schema(&self, name: &str) -> Arc<Schema> {
        let fields = self.types[name].iter().map(|(field, kind)| self.field(field, kind)).collect();
        Arc::new(Schema { name: name.replace('/', "/msg/"), fields })
    }

    fn field(&self, name: &str, kind: &str) -> Field {
        let (element, count) = if let Some(array) = kind.strip_suffix(']') {
            let (element, length) = array.rsplit_once('[').unwrap();
            (element, Count::Array(length.parse().unwrap()))
        } else if let Some(sequence) = kind.strip_prefix("sequence<") {
            let sequence = sequence.strip_suffix('>').unwrap();
            let (element, bound) = match sequence.split_once(", ") {
                Some((element, bound)) => (element, Some(bound.parse().unwrap())),
                None => (sequence, None),
            };
            (element, Count::Sequence { bound })
        } else {
            (kind, Count::One)
        };
        Field { name: name.into(), kind: self.kind(element), count }
    }

    fn kind(&self, name: &str) -> Kind {
        let (plain, bound) = match name.strip_suffix('>').and_then(|name| name.split_once('<')) {
            Some((plain, bound)) => (plain, Some(bound.parse().unwrap())),
            None => (name, None),
        };
        match plain {
            "boolean" => Kind::Bool,
            "octet" => Kind::Byte,
            "uint8" => Kind::U8,
            "int8" => Kind::I8,
            "uint16" => Kind::U16,
            "int16" => Kind::I16,
            "uint32" => Kind::U32,
            "int32" => Kind::I32,
            "uint64" => Kind::U64,
            "int64" => Kind::I64,
            "float" => Kind::F32,
            "double" => Kind::F64,
            "string" => Kind::String { bound },
            "wstring" => Kind::WString { bound },
            message => Kind::Message(self.schema(message)),
        }
    }
}

/// What rclpy serializes becomes JSON with the values that rclpy holds, for the types of test_msgs and some of the
/// common interfaces. Set `IOT_BRIDGE_VECTORS` to the path of another file from `vectors.py` for a wider run.
#[test]
fn rclpy_messages_become_what_rclpy_holds() {
    let text = match std::env::var("IOT_BRIDGE_VECTORS") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("vectors.json").to_string(),
    };
    let vectors: Vectors = serde_json::from_str(&text).unwrap();
    assert!(!vectors.vectors.is_empty());
    let mut out = JsonBuffer::new(1 << 20);
    for vector in &vectors.vectors {
        let cdr: Vec<u8> = (0..vector.cdr.len() / 2)
            .map(|index| u8::from_str_radix(&vector.cdr[2 * index..2 * index + 2], 16).unwrap())
            .collect();
        out.clear();
        let schema = vectors.schema(&vector.r#type);
        if let Err(error) = Decoder::new(schema.clone()).unwrap().write_json(&cdr, &mut out) {
            panic!("{}: {error}", vector.r#type);
        }
        let json: Value = serde_json::from_slice(out.as_bytes()).unwrap();
        assert_eq!(json, vector.json, "{}", vector.r#type);

        let mut back = Vec::new();
        if let Err(error) = Encoder::new(&schema, &HashMap::new(), &[]).unwrap().encode(out.as_bytes(), &mut back) {
            panic!("{}: {error}", vector.r#type);
        }
        // rclpy leaves in its padding what was there before, and writes infinities.
        let differs = |(mine, rclpy): (&u8, &u8)| mine != rclpy && *mine != 0;
        if !vector.json.to_string().contains("null") {
            assert!(back.len() <= cdr.len() && !back.iter().zip(&cdr).any(differs), "{}", vector.r#type);
        }
        out.clear();
        Decoder::new(schema).unwrap().write_json(&back, &mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(out.as_bytes()).unwrap(), vector.json, "{}", vector.r#type);
    }
}
