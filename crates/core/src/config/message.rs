//! A message that the configuration holds: a table with what JSON has, whatever file it stands in.
//!
//! TOML has no null and prints none, and its numbers are of 64 bits; JSON has no dates, no NaN and no infinities. What one
//! of them lacks is refused in both, so that a message can be printed and read back.

use figment::value::{Dict, Tag, Value};
use serde_json::Map;

use super::kind::{describe, shape};
use super::problem::key_part;

/// A value that no message of a configuration has.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    /// Of the value: where it comes from.
    pub tag: Tag,
    pub key: String,
    pub found: String,
    pub allowed: &'static str,
}

/// The message in `fields`, which stands under `key`, and everything in it that is refused. `is_date` tells of the value
/// under a key whether it was a date.
pub(super) fn message(
    fields: &Dict,
    key: &str,
    is_date: &dyn Fn(Tag, &str) -> bool,
) -> Result<Map<String, serde_json::Value>, Vec<Fault>> {
    let mut reader = Reader { is_date, faults: Vec::new() };
    let message = reader.object(fields, key);
    if reader.faults.is_empty() { Ok(message) } else { Err(reader.faults) }
}

struct Reader<'a> {
    is_date: &'a dyn Fn(Tag, &str) -> bool,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn object(&mut self, fields: &Dict, key: &str) -> Map<String, serde_json::Value> {
        let value =
            |(name, value): (&String, &Value)| (name.clone(), self.value(value, &format!("{key}.{}", key_part(name))));
        fields.iter().map(value).collect()
    }

    fn value(&mut self, value: &Value, key: &str) -> serde_json::Value {
        match value {
            Value::String(tag, text) if (self.is_date)(*tag, key) => self.refuse(
                value,
                key,
                format!("the date {text}"),
                "JSON has no dates: allowed is text in quotes, or a table with `sec` and `nanosec`",
            ),
            Value::String(_, text) => text.as_str().into(),
            Value::Char(_, character) => character.to_string().into(),
            Value::Bool(_, boolean) => (*boolean).into(),
            Value::Num(_, number) => match (whole(number), number.to_f64()) {
                (Some(number), _) => number.into(),
                (None, Some(number)) if number.is_finite() => number.into(),
                (None, Some(_)) => self.refuse(value, key, describe(value), "JSON has only finite numbers"),
                (None, None) => {
                    self.refuse(value, key, describe(value), "allowed are whole numbers from -2^63 to 2^63 - 1")
                }
            },
            Value::Empty(..) => self.refuse(
                value,
                key,
                shape(value).into(),
                "leave the field out, then it has the default of its definition",
            ),
            Value::Dict(_, fields) => self.object(fields, key).into(),
            Value::Array(_, values) => {
                let values = values.iter().enumerate();
                values.map(|(index, value)| self.value(value, &format!("{key}[{index}]"))).collect()
            }
        }
    }

    /// Notes the fault. Returns what stands in the place of the value.
    fn refuse(&mut self, value: &Value, key: &str, found: String, allowed: &'static str) -> serde_json::Value {
        self.faults.push(Fault { tag: value.tag(), key: key.to_owned(), found, allowed });
        serde_json::Value::Null
    }
}

/// A whole number that TOML can hold.
fn whole(number: &figment::value::Num) -> Option<i64> {
    let whole = number.to_i128().or_else(|| number.to_u128().and_then(|number| number.try_into().ok()))?;
    whole.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dict(json: serde_json::Value) -> Dict {
        Value::serialize(json).expect("serializes").into_dict().expect("an object")
    }

    #[test]
    fn a_message_is_what_json_has() {
        let text =
            json!({ "linear": { "x": -0.5, "y": 0 }, "names": ["a", ""], "on": true, "none": {}, "list": [[1], []] });
        assert_eq!(message(&dict(text.clone()), "message", &|_, _| false).map(Into::into), Ok(text));
    }

    #[test]
    fn what_json_or_toml_lacks_is_refused_with_its_key() {
        let mut fields =
            dict(json!({ "stamp": "2026-11-28", "list": [1, null], "seq": u64::MAX, "x y": { "z": 1.5 } }));
        fields.insert("nan".into(), Value::from(f64::NAN));
        let faults = message(&fields, "m", &|_, key| key == "m.stamp").expect_err("four faults");
        let said: Vec<_> = faults.iter().map(|fault| (fault.key.as_str(), fault.found.as_str())).collect();
        assert_eq!(
            said,
            [
                ("m.list[1]", "null"),
                ("m.nan", "NaN"),
                ("m.seq", "18446744073709551615"),
                ("m.stamp", "the date 2026-11-28")
            ]
        );
    }
}
