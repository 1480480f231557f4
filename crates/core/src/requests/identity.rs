//! What requests are told apart by, and replies find their request by.

use bytes::Bytes;
use serde_json::Value;

/// What a request is known by to its sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The `id` of the payload.
    pub id: Option<Id>,
    /// MQTT 5's correlation data, which each reply brings back.
    pub correlation_data: Option<Bytes>,
}

/// The `id` of a payload: a text or an integer, of at most [`Id::LONGEST`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// As it reads once its escapes are resolved: `"a"` and `"\u0061"` are the same.
    Text(Box<str>),
    /// As it is written, of any size, without fraction and exponent.
    Number(Box<str>),
}

/// What tells requests apart at the bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    Id(Id),
    CorrelationData(Bytes),
}

impl Identity {
    /// What the request is known by here: its `id`; without one its correlation data, if that has at most [`Id::LONGEST`] bytes.
    pub fn key(&self) -> Option<Key> {
        let of_data =
            || self.correlation_data.clone().filter(|data| data.len() <= Id::LONGEST).map(Key::CorrelationData);
        self.id.clone().map(Key::Id).or_else(of_data)
    }

    /// The `id` of the payload, as people read it.
    pub fn shown(&self) -> Option<&str> {
        self.id.as_ref().map(|(Id::Text(id) | Id::Number(id))| &**id)
    }
}

impl Id {
    /// Most bytes of an id: of a text as UTF-8, of an integer as it is written.
    pub const LONGEST: usize = 128;

    /// Reads `json`, one JSON value. The error says what is allowed.
    pub(super) fn read(json: &str) -> Result<Self, &'static str> {
        const TOO_LONG: &str = "`id` takes at most 128 bytes";
        match json.as_bytes().first() {
            // No escape of a byte is longer than six.
            Some(b'"') if json.len() > 6 * Self::LONGEST + 2 => Err(TOO_LONG),
            Some(b'"') => {
                let text: Box<str> = serde_json::from_str(json).map_err(|_| "`id` is no text of Unicode")?;
                if text.len() > Self::LONGEST { Err(TOO_LONG) } else { Ok(Id::Text(text)) }
            }
            Some(b'-' | b'0'..=b'9') if json.len() > Self::LONGEST => Err(TOO_LONG),
            // Not every reader of the reply takes 1e999.
            Some(b'-' | b'0'..=b'9') if !json.contains(['.', 'e', 'E']) => Ok(Id::Number(json.into())),
            _ => Err("`id` takes a text or an integer"),
        }
    }

    /// Appends it as JSON.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Id::Text(text) => out.extend(Value::from(&**text).to_string().bytes()),
            Id::Number(digits) => out.extend(digits.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound is that of what the text says, not of how it is written; an integer is what is written.
    #[test]
    fn an_id_has_at_most_128_bytes() {
        let text = |text: String| Id::read(&format!("\"{text}\""));
        let long = Err("`id` takes at most 128 bytes");
        assert_eq!(text("a".repeat(128)), Ok(Id::Text("a".repeat(128).into())));
        assert_eq!(text("a".repeat(129)), long);
        assert_eq!(text("ä".repeat(64)), Ok(Id::Text("ä".repeat(64).into())));
        assert_eq!(text("ä".repeat(65)), long);
        assert_eq!(text(r"\u0061".repeat(128)), Ok(Id::Text("a".repeat(128).into())));
        assert_eq!(text(r"\u0061".repeat(129)), long);
        assert_eq!(text("a".repeat(1 << 20)), long);
        assert_eq!(Id::read(&"9".repeat(128)), Ok(Id::Number("9".repeat(128).into())));
        assert_eq!(Id::read(&"9".repeat(129)), long);
    }

    #[test]
    fn an_id_is_a_text_or_an_integer() {
        for json in ["1.0", "1e3", "1E3", "null", "true", "[1]", r#"{"a":1}"#] {
            assert_eq!(Id::read(json), Err("`id` takes a text or an integer"), "{json}");
        }
        for json in ["0", "-0", "-17", r#""""#, r#""a\"\\\n\u0001""#, r#""ä😀""#] {
            let mut written = Vec::new();
            Id::read(json).unwrap().write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), json);
        }
    }
}
