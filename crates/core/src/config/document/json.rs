//! JSON text to values. A name that stands twice in an object is refused: elsewhere the last one wins in silence.

use std::fmt;

use figment::value::{Dict, Empty, Tag, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::SyntaxFault;
use crate::config::problem::quote;

/// Parses `text`, an object. The depth is bounded by the parser.
pub(super) fn parse(text: &str) -> Result<Dict, SyntaxFault> {
    let mut documents = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut documents).map_err(|error| syntax(text, &error))?;
    let Value::Dict(_, values) = value else {
        let allowed = "a JSON configuration is one object, in braces".into();
        return Err(SyntaxFault { line: Some(1), found: "something else than an object".into(), allowed });
    };
    documents.end().map_err(|error| SyntaxFault {
        line: Some(error.line()),
        found: "more after the end of the object".into(),
        allowed: "a JSON configuration is one object (was a template appended to an existing file?)".into(),
    })?;
    Ok(values)
}

fn syntax(text: &str, error: &serde_json::Error) -> SyntaxFault {
    // serde_json counts lines from 1; 0 stands for "nowhere". A line break in a text is at the start of the next line.
    let line = match (error.line(), error.column()) {
        (0, _) => None,
        (line @ 2.., 0) => Some(line - 1),
        (line, _) => Some(line),
    };
    let content = line.and_then(|line| text.lines().nth(line - 1)).map(str::trim).filter(|content| !content.is_empty());
    let found = content.map_or("the end of the file".to_owned(), |content| without_value(content, error.column()));
    let message = error.to_string();
    let why = message.split(" at line ").next().unwrap_or(&message);
    SyntaxFault { line, found, allowed: format!("this is no valid JSON: {why}") }
}

/// A line for people to find it by, without a value, which may be secret: the name at its start, or else the column.
fn without_value(line: &str, column: usize) -> String {
    let named = line.strip_prefix('"').and_then(|line| line.split_once('"'));
    let is_name = |name: &str| name.len() <= LONGEST_NAME && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    match named {
        Some((name, rest)) if is_name(name) && rest.trim_start().starts_with(':') => format!("`\"{name}\": …`"),
        _ => format!("something else in column {column}"),
    }
}

/// Longer than the longest name of a key.
const LONGEST_NAME: usize = 30;

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Empty(Tag::Default, Empty::None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Dict::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(Strict)?;
            if values.contains_key(&name) {
                return Err(A::Error::custom(format!("the key {} stands here twice", quote(&name))));
            }
            values.insert(name, value);
        }
        Ok(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_becomes_values() {
        let text = r#"{"a": {"b": [1, -2, 0.5, true, null, "x"]}}"#;
        let read: serde_json::Value = Value::from(parse(text).expect("valid")).deserialize().expect("JSON again");
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(text).expect("valid"));
    }

    #[test]
    fn a_syntax_error_shows_the_line_without_its_value() {
        for (text, found) in [
            ("{\n\"url\": \"http://robot:secret\n}", "`\"url\": …`"),
            ("{\"url\": \"http://robot:secret\\q\"}", "something else in column"),
            ("{\"a\": secret}", "something else in column"),
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.found.starts_with(found), "{fault:?}");
            assert!(!format!("{fault:?}").contains("secret"), "{fault:?}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for (text, line, word) in [
            ("", None, "EOF"),
            ("[1]", Some(1), "one object"),
            ("{}\n{}", Some(2), "appended"),
            ("{\"a\": 1,\n\"a\": 2}", Some(2), "twice"),
            ("{\n\"a\": }", Some(2), "expected value"),
        ] {
            let fault = parse(text).expect_err(text);
            assert!(fault.allowed.contains(word), "{text}: {fault:?}");
            if line.is_some() {
                assert_eq!(fault.line, line, "{text}");
            }
        }
    }
}
