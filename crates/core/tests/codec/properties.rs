//! What holds for every message type and every message.

use std::sync::Arc;

use iot_bridge_core::codec::{Count, DecodeError, Decoder, Field, JsonBuffer, Kind, Schema};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::codec::encode::{self, Value};
use crate::codec::generate;

const LIMIT: usize = 131_072;

fn decode(schema: &Arc<Schema>, cdr: &[u8], limit: usize) -> Result<String, DecodeError> {
    let mut out = JsonBuffer::new(limit);
    Decoder::new(schema.clone()).unwrap().write_json(cdr, &mut out)?;
    Ok(String::from_utf8(out.as_bytes().to_vec()).unwrap())
}

/// A message of one field.
fn single(kind: Kind, value: Value) -> (Arc<Schema>, Vec<Value>) {
    let field = Field { name: "f".into(), kind, count: Count::One };
    (Arc::new(Schema { name: "test/msg/Single".into(), fields: vec![field] }), vec![value])
}

/// The number in `{"f":…}` for `bits`.
fn float(kind: Kind, bits: Value) -> String {
    let (schema, values) = single(kind, bits);
    let json = decode(&schema, &encode::cdr(&schema, &values, false), LIMIT).unwrap();
    json["{\"f\":".len()..json.len() - 1].to_string()
}

/// Significant digits of a decimal number.
fn digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every message in either byte order becomes the JSON that a plain writer makes of its values.
    #[test]
    fn a_message_becomes_its_json((schema, values) in generate::message()) {
        let expected = encode::json(&schema, &values);
        for big in [false, true] {
            let json = decode(&schema, &encode::cdr(&schema, &values, big), LIMIT).unwrap();
            prop_assert_eq!(&json, &expected);
        }
        serde_json::from_str::<serde_json::Value>(&expected).unwrap();
    }

    /// Cut off anywhere, a message is malformed, within the bytes that are there.
    #[test]
    fn a_message_cut_off_is_malformed((schema, values) in generate::message(), big: bool) {
        let cdr = encode::cdr(&schema, &values, big);
        for length in 0..cdr.len() {
            match decode(&schema, &cdr[..length], LIMIT) {
                Err(DecodeError::Malformed(malformed)) => prop_assert!(malformed.offset <= length),
                other => prop_assert!(false, "cut to {} of {}: {:?}", length, cdr.len(), other),
            }
        }
    }

    /// Flipped bytes give an error or other JSON, no panic and nothing that is no JSON.
    #[test]
    fn flipped_bytes_do_no_harm(
        (schema, values) in generate::message(),
        big: bool,
        flips in vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let mut cdr = encode::cdr(&schema, &values, big);
        for (index, flip) in flips {
            *index.get_mut(&mut cdr) ^= flip;
        }
        if let Ok(json) = decode(&schema, &cdr, LIMIT) {
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }

    /// A limit lets through what fits, and nothing else.
    #[test]
    fn a_limit_is_kept((schema, values) in generate::message(), part in 0.0..1.5f64) {
        let cdr = encode::cdr(&schema, &values, false);
        let expected = encode::json(&schema, &values);
        let limit = (expected.len() as f64 * part) as usize;
        if expected.len() <= limit {
            prop_assert_eq!(decode(&schema, &cdr, limit), Ok(expected));
        } else {
            prop_assert_eq!(decode(&schema, &cdr, limit), Err(DecodeError::TooLarge { limit }));
        }
    }

    /// A `float32` reads back as itself, from no more digits than the shortest form has.
    #[test]
    fn float32_reads_back(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let text = float(Kind::F32, Value::F32(bits));
        prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), bits);
        prop_assert_eq!(digits(&text), digits(&format!("{value:e}")));
    }

    /// A `float64` reads back as itself, from no more digits than the shortest form has.
    #[test]
    fn float64_reads_back(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let text = float(Kind::F64, Value::F64(bits));
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        prop_assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), bits);
        prop_assert_eq!(digits(&text), digits(&format!("{value:e}")));
    }
}
