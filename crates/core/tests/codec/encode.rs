//! Messages as trees of values, written as CDR and as JSON, plainly: what the decoder is held against.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use iot_bridge_core::codec::{Count, Field, Kind, Schema};

/// The value of a field. Floats are held as bits, so that values can be compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    F32(u32),
    F64(u64),
    /// A string without its terminating NUL.
    Text(Vec<u8>),
    Wide(Vec<u16>),
    Message(Vec<Value>),
    List(Vec<Value>),
}

/// The serialized message, with its encapsulation header.
pub fn cdr(schema: &Schema, fields: &[Value], big: bool) -> Vec<u8> {
    let mut writer = Writer { bytes: vec![0, u8::from(!big), 0, 0], big };
    writer.message(schema, fields);
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
    big: bool,
}

impl Writer {
    fn message(&mut self, schema: &Schema, values: &[Value]) {
        if schema.fields.is_empty() {
            self.bytes.push(0x56);
        }
        for (field, value) in schema.fields.iter().zip(values) {
            match (value, field.count) {
                (Value::List(values), Count::Array(_)) => {
                    values.iter().for_each(|value| self.value(&field.kind, value))
                }
                (Value::List(values), _) => {
                    self.number(values.len() as u64, 4);
                    values.iter().for_each(|value| self.value(&field.kind, value));
                }
                (value, _) => self.value(&field.kind, value),
            }
        }
    }

    fn value(&mut self, kind: &Kind, value: &Value) {
        match value {
            Value::Bool(value) => self.number(u64::from(*value), 1),
            Value::Unsigned(value) => self.number(*value, size(kind)),
            Value::Signed(value) => self.number(*value as u64, size(kind)),
            Value::F32(bits) => self.number(u64::from(*bits), 4),
            Value::F64(bits) => self.number(*bits, 8),
            Value::Text(text) => {
                self.number(text.len() as u64 + 1, 4);
                self.bytes.extend_from_slice(text);
                self.bytes.push(0);
            }
            Value::Wide(units) => {
                self.number(units.len() as u64, 4);
                units.iter().for_each(|&unit| self.number(u64::from(unit), 4));
            }
            Value::Message(values) => {
                let Kind::Message(schema) = kind else { panic!("{kind:?} is no message") };
                self.message(schema, values);
            }
            Value::List(_) => panic!("a list is no single value"),
        }
    }

    /// The lower `size` bytes of `value`, aligned.
    fn number(&mut self, value: u64, size: usize) {
        while !(self.bytes.len() - 4).is_multiple_of(size) {
            self.bytes.push(0xee);
        }
        if self.big {
            self.bytes.extend_from_slice(&value.to_be_bytes()[8 - size..]);
        } else {
            self.bytes.extend_from_slice(&value.to_le_bytes()[..size]);
        }
    }
}

fn size(kind: &Kind) -> usize {
    match kind {
        Kind::Bool | Kind::Byte | Kind::U8 | Kind::I8 => 1,
        Kind::U16 | Kind::I16 => 2,
        Kind::U32 | Kind::I32 | Kind::F32 => 4,
        Kind::U64 | Kind::I64 | Kind::F64 => 8,
        Kind::String { .. } | Kind::WString { .. } | Kind::Message(_) => panic!("{kind:?} is no number"),
    }
}

/// The JSON that the message should become.
pub fn json(schema: &Schema, values: &[Value]) -> String {
    let members: Vec<String> = schema
        .fields
        .iter()
        .zip(values)
        .map(|(field, value)| format!("{}:{}", serde_json::to_string(&field.name).unwrap(), member(field, value)))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn member(field: &Field, value: &Value) -> String {
    match value {
        Value::List(values) if matches!(field.kind, Kind::Byte | Kind::U8) => {
            let octets: Vec<u8> = values
                .iter()
                .map(|value| match value {
                    Value::Unsigned(octet) => *octet as u8,
                    other => panic!("{other:?} is no octet"),
                })
                .collect();
            format!("\"{}\"", BASE64.encode(octets))
        }
        Value::List(values) => {
            let items: Vec<String> = values.iter().map(|value| single(&field.kind, value)).collect();
            format!("[{}]", items.join(","))
        }
        value => single(&field.kind, value),
    }
}

fn single(kind: &Kind, value: &Value) -> String {
    // serde_json writes NaN and infinities as null, other floats with the shortest digits of their width.
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Signed(value) => value.to_string(),
        Value::F32(bits) => serde_json::to_string(&f32::from_bits(*bits)).unwrap(),
        Value::F64(bits) => serde_json::to_string(&f64::from_bits(*bits)).unwrap(),
        Value::Text(text) => serde_json::to_string(&String::from_utf8_lossy(text)).unwrap(),
        Value::Wide(units) => serde_json::to_string(&String::from_utf16_lossy(units)).unwrap(),
        Value::Message(values) => match kind {
            Kind::Message(schema) => json(schema, values),
            kind => panic!("{kind:?} is no message"),
        },
        Value::List(_) => panic!("a list is no single value"),
    }
}
