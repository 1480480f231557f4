//! What is selected of a message is what is left of all of it when the selection is made afterwards.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use iot_bridge_core::codec::{Count, DecodeError, Decoder, Field, JsonBuffer, Kind, Schema, Selection, SelectionError};
use iot_bridge_core::config::{ArrayLimit, ArrayOver, FieldPath, PathPart};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::codec::hostile::paths;
use crate::codec::{encode, generate};

/// One step down to a value.
#[derive(Clone, PartialEq)]
enum At {
    Field(String),
    Element(usize),
}

/// Whether `path` leads to the place `at`, or to one that it is in.
fn leads(path: &FieldPath, at: &[At]) -> bool {
    let parts = path.parts();
    parts.len() <= at.len()
        && parts.iter().zip(at).all(|(part, at)| match (part, at) {
            (PathPart::Field(name), At::Field(at)) => name == at,
            (PathPart::AnyField, At::Field(_)) | (PathPart::AnyElement, At::Element(_)) => true,
            (PathPart::Element(index), At::Element(at)) => index == at,
            _ => false,
        })
}

/// A message is dropped.
#[derive(Debug)]
struct Dropped;

struct Model<'a>(&'a Selection);

impl Model<'_> {
    fn is_wanted(&self, at: &[At]) -> bool {
        let kept = self.0.fields.is_empty() || self.0.fields.iter().any(|path| leads(path, at));
        kept && !self.0.exclude.iter().any(|path| leads(path, at))
    }

    /// Whether anything of a value of `kind` could be left, whatever it holds.
    fn could_be_left(&self, kind: &Kind, at: &[At]) -> bool {
        match kind {
            Kind::Message(schema) if !schema.fields.is_empty() => schema.fields.iter().any(|field| {
                let at = below(at, At::Field(field.name.clone()));
                match field.count {
                    Count::One => self.could_be_left(&field.kind, &at),
                    _ => (0..9).any(|index| self.could_be_left(&field.kind, &below(&at, At::Element(index)))),
                }
            }),
            _ => self.is_wanted(at),
        }
    }

    /// What is left of a message.
    fn message(&self, schema: &Schema, all: &Value, at: &[At]) -> Result<Value, Dropped> {
        let mut left = Map::new();
        for field in &schema.fields {
            let at = below(at, At::Field(field.name.clone()));
            let value = &all[&field.name];
            if field.count == Count::One {
                if self.could_be_left(&field.kind, &at) {
                    left.insert(field.name.clone(), self.value(&field.kind, value, &at)?);
                }
            } else if (0..9).any(|index| self.could_be_left(&field.kind, &below(&at, At::Element(index))))
                && let Some(array) = self.array(field, value, &at)?
            {
                left.insert(field.name.clone(), array);
            }
        }
        Ok(Value::Object(left))
    }

    fn value(&self, kind: &Kind, value: &Value, at: &[At]) -> Result<Value, Dropped> {
        match kind {
            Kind::Message(schema) => self.message(schema, value, at),
            _ => Ok(value.clone()),
        }
    }

    fn array(&self, field: &Field, all: &Value, at: &[At]) -> Result<Option<Value>, Dropped> {
        let is_octets = matches!(field.kind, Kind::U8 | Kind::Byte);
        let all: Vec<Value> = match all {
            Value::String(text) => BASE64.decode(text).unwrap().into_iter().map(Value::from).collect(),
            all => all.as_array().unwrap().clone(),
        };
        let wanted = |index| self.could_be_left(&field.kind, &below(at, At::Element(index)));
        let elements: Vec<_> = all.iter().enumerate().filter(|(index, _)| wanted(*index)).collect();
        let count = elements.len();
        let own = self.0.array_fields.iter().rfind(|(path, _)| path.parts().len() == at.len() && leads(path, at));
        let limit = own.map(|(_, limit)| *limit).or(self.0.arrays);
        let max = match limit {
            Some(ArrayLimit { max, over }) if count > max as usize => match over {
                ArrayOver::Truncate => max as usize,
                ArrayOver::Omit => return Ok(None),
                ArrayOver::Drop => return Err(Dropped),
                ArrayOver::Summary => {
                    return Ok(Some(summary(&field.kind, elements.into_iter().map(|(_, value)| value).collect())));
                }
            },
            _ => count,
        };
        let elements = elements.into_iter().take(max);
        let left = elements.map(|(index, value)| self.value(&field.kind, value, &below(at, At::Element(index))));
        let left = left.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(if is_octets {
            let octets: Vec<u8> = left.iter().map(|octet| octet.as_u64().unwrap() as u8).collect();
            BASE64.encode(octets).into()
        } else {
            left.into()
        }))
    }
}

fn below(at: &[At], next: At) -> Vec<At> {
    [at, &[next]].concat()
}

fn summary(kind: &Kind, elements: Vec<&Value>) -> Value {
    let count = elements.len();
    let mut numbers = elements.into_iter().filter(|value| !value.is_null());
    match kind {
        Kind::F32 | Kind::F64 => {
            let numbers: Vec<f64> = match kind {
                Kind::F32 => numbers.map(|value| f64::from(value.as_f64().unwrap() as f32)).collect(),
                _ => numbers.map(|value| value.as_f64().unwrap()).collect(),
            };
            if numbers.is_empty() {
                return json!({"count": count, "min": null, "max": null, "mean": null});
            }
            let sum: f64 = numbers.iter().sum();
            let n = numbers.len() as f64;
            let mean = if sum.is_finite() { sum / n } else { numbers.iter().map(|number| number / n).sum() };
            let [min, max] = [numbers.iter().copied().reduce(f64::min), numbers.iter().copied().reduce(f64::max)];
            let text = |number: f64| match kind {
                Kind::F32 => serde_json::to_string(&(number as f32)).unwrap(),
                _ => serde_json::to_string(&number).unwrap(),
            };
            let number = |number: f64| serde_json::from_str::<Value>(&text(number.clamp(f64::MIN, f64::MAX))).unwrap();
            json!({"count": count, "min": number(min.unwrap()), "max": number(max.unwrap()), "mean": number(mean)})
        }
        Kind::I8 | Kind::U16 | Kind::I16 | Kind::U32 | Kind::I32 | Kind::U64 | Kind::I64 => {
            let numbers: Vec<i128> = numbers.by_ref().map(|value| value.to_string().parse().unwrap()).collect();
            let bound = |bound: Option<&i128>| match bound {
                Some(bound) => serde_json::from_str::<Value>(&bound.to_string()).unwrap(),
                None => Value::Null,
            };
            let mean = numbers.iter().sum::<i128>() as f64 / numbers.len() as f64;
            let mean = if numbers.is_empty() { Value::Null } else { json!(mean) };
            json!({"count": count, "min": bound(numbers.iter().min()), "max": bound(numbers.iter().max()), "mean": mean})
        }
        _ => json!({"count": count}),
    }
}

/// Names of fields as they stand in the text, which are in order within each object because `f0` comes before `f1`.
fn is_ordered(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap();
    // serde_json sorts the names of an object, and writes numbers in its own way: what is left are the names.
    let names = |text: &str| text.split('"').filter(|part| part.len() == 2 && part.starts_with('f')).count();
    // By bytes: what follows may be in the middle of a character.
    let mark = |text: &str, at: usize| text.as_bytes()[at..].iter().take(4).copied().collect::<Vec<u8>>();
    let marks = |text: &str| text.match_indices("\"f").map(|(at, _)| mark(text, at)).collect::<Vec<_>>();
    names(text) == names(&value.to_string()) && marks(text) == marks(&value.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_selection_is_what_is_left_of_everything(
        (schema, values) in generate::message(),
        big: bool,
        choices in vec(any::<u32>(), 1..40),
    ) {
        let mut choices = choices.iter().cycle();
        let mut turn = 0;
        let selection = paths::selection(&schema, &mut |below| {
            turn += 1;
            (*choices.next().unwrap() as usize).wrapping_add(turn) % below
        });
        let cdr = encode::cdr(&schema, &values, big);
        let model = Model(&selection);
        let decoder = match Decoder::select(Arc::clone(&schema), &selection) {
            Ok(decoder) => decoder,
            Err(SelectionError::NothingLeft { .. }) => {
                prop_assert!(!model.could_be_left(&Kind::Message(schema), &[]), "{:?}", selection);
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let mut out = JsonBuffer::new(131_072);
        let result = decoder.write_json(&cdr, &mut out);
        // Without a text it is told as well whether there would be one.
        prop_assert_eq!(decoder.check(&cdr), result.clone(), "{:?}", selection);
        let whole: Value = serde_json::from_str(&encode::json(&schema, &values)).unwrap();
        match model.message(&schema, &whole, &[]) {
            Ok(left) => {
                prop_assert_eq!(result, Ok(()));
                let text = str::from_utf8(out.as_bytes()).unwrap();
                let selected: Value = serde_json::from_str(text).unwrap();
                prop_assert_eq!(&selected, &left, "{:?}", selection);
                prop_assert!(is_ordered(text), "{}", text);
            }
            Err(Dropped) => prop_assert!(matches!(result, Err(DecodeError::TooLong(_))), "{:?} {:?}", result, selection),
        }
        // Cut off, it is malformed, wherever the cut is, or dropped before it was met.
        for length in 0..cdr.len() {
            out.clear();
            let result = decoder.write_json(&cdr[..length], &mut out);
            prop_assert!(matches!(result, Err(DecodeError::Malformed(_) | DecodeError::TooLong(_))), "{} of {}", length, cdr.len());
            prop_assert_eq!(decoder.check(&cdr[..length]).is_err(), result.is_err());
        }
    }
}
