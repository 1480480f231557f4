//! Kinds of values: what may stand behind a key, and how it is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use figment::value::Value;
use serde_json::Map;

use super::problem::quote;
use super::settings::Deadband;
use super::units::{UnitError, format_duration, format_size, parse_duration, parse_rate, parse_size};

/// A key of a table.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub presence: Presence,
    /// Added to what is allowed when the value is refused.
    pub note: Option<&'static str>,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// That is a problem. For a table: its keys are looked at as if it were empty.
    Required,
    /// That is a problem, unless the same table has one of the keys of these names.
    RequiredWithout(&'static [&'static str]),
    /// This value, as it would stand in the environment.
    Default(&'static str),
    /// Nothing.
    Optional,
}

/// What may stand behind a key.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Text that passes a check; the check answers in words what is wrong.
    Text(fn(&str) -> Result<(), String>),
    /// One of these words.
    Choice(&'static [&'static str]),
    Bool,
    /// A whole number, bounds included.
    Integer(u64, u64),
    /// A finite number that isn't negative, or text such as `"1 %"`.
    NumberOrPercent,
    /// Text such as `"5 s"`, bounds included.
    Duration(Duration, Duration),
    /// Text such as `"64 MiB"`, or a number of bytes; bounds included.
    Size(u64, u64),
    /// Text such as `"10 Hz"`, above zero.
    Rate,
    /// This word, or the other kind.
    WordOr(&'static str, &'static Kind),
    /// A list of values of one kind.
    List(&'static Kind),
    /// A table with known keys.
    Table(&'static [Key]),
    /// A list of tables with known keys.
    Tables(&'static [Key]),
    /// A table with names of the user's own, each with a text.
    Names,
    /// A table with names of the user's own, each with a table of known keys.
    NamedTables(&'static [Key]),
    /// A table of paths of fields, each with the lowest and the highest number that is allowed for the field.
    Limits,
    /// A message: a table with whatever JSON has.
    Message,
}

/// A value that has passed the check of its kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Checked {
    Text(String),
    Bool(bool),
    Integer(u64),
    Duration(Duration),
    Size(u64),
    /// Names of the user's own, each with its text.
    Names(BTreeMap<String, String>),
    /// In hertz.
    Rate(f64),
    Deadband(Deadband),
    /// Of texts.
    List(Vec<String>),
    /// By the paths of fields.
    Limits(BTreeMap<String, [f64; 2]>),
    Message(Map<String, serde_json::Value>),
    /// A table, which is taken apart by itself.
    Other,
}

impl Kind {
    /// Checks a single value; lists and tables are taken apart elsewhere. `raw` is its text if it comes from the
    /// environment, where everything is text and only looks like something else. Returns what is allowed.
    pub fn check(&self, value: &Value, raw: Option<&str>) -> Result<Checked, String> {
        let text = value.as_str().or(raw);
        match *self {
            Kind::Text(check) => {
                let text = text.ok_or_else(|| self.allowed())?;
                check(text).map(|()| Checked::Text(text.to_owned()))
            }
            Kind::Choice(words) => {
                let word = text.filter(|text| words.contains(text)).ok_or_else(|| self.allowed())?;
                Ok(Checked::Text(word.to_owned()))
            }
            Kind::Bool => match value {
                Value::Bool(_, value) => Ok(Checked::Bool(*value)),
                _ => Err(self.allowed()),
            },
            Kind::Integer(min, max) => {
                let number = integer(value).filter(|number| (min..=max).contains(number));
                number.map(Checked::Integer).ok_or_else(|| self.allowed())
            }
            Kind::NumberOrPercent => {
                let percent = value.as_str().and_then(|text| text.trim().strip_suffix('%'));
                let number = match percent {
                    Some(percent) => percent.trim().parse().ok(),
                    None => number(value),
                };
                let number = number.filter(|number: &f64| number.is_finite() && *number >= 0.0);
                let deadband = if percent.is_some() { Deadband::Percent } else { Deadband::Absolute };
                number.map(|number| Checked::Deadband(deadband(number))).ok_or_else(|| self.allowed())
            }
            Kind::Duration(min, max) => {
                self.quantity(text, parse_duration, |value| (min..=max).contains(value)).map(Checked::Duration)
            }
            Kind::Size(min, max) => match integer(value) {
                Some(bytes) if (min..=max).contains(&bytes) => Ok(Checked::Size(bytes)),
                Some(_) => Err(self.allowed()),
                None => self.quantity(text, parse_size, |value| (min..=max).contains(value)).map(Checked::Size),
            },
            Kind::Rate => self.quantity(text, parse_rate, |value| *value > 0.0).map(Checked::Rate),
            Kind::WordOr(word, _) if text == Some(word) => Ok(Checked::Text(word.to_owned())),
            Kind::WordOr(word, other) => other.check(value, raw).map_err(|allowed| format!("{allowed}, or {word:?}")),
            // That of a default, as the next one.
            Kind::List(kind) => {
                let values = value.as_array().ok_or_else(|| self.allowed())?;
                let texts = values.iter().map(|value| match kind.check(value, None)? {
                    Checked::Text(text) => Ok(text),
                    _ => Err(self.allowed()),
                });
                texts.collect::<Result<_, _>>().map(Checked::List)
            }
            Kind::Message if value.as_dict().is_some_and(BTreeMap::is_empty) => Ok(Checked::Message(Map::new())),
            _ => Err(self.allowed()),
        }
    }

    /// Whether it is a list or a table, which is taken apart where it is walked through.
    pub fn is_structured(&self) -> bool {
        matches!(
            self,
            Kind::List(_)
                | Kind::Table(_)
                | Kind::Tables(_)
                | Kind::Names
                | Kind::NamedTables(_)
                | Kind::Limits
                | Kind::Message
        )
    }

    fn quantity<T>(
        &self,
        text: Option<&str>,
        parse: fn(&str) -> Result<T, UnitError>,
        within: impl Fn(&T) -> bool,
    ) -> Result<T, String> {
        let value =
            parse(text.ok_or_else(|| self.allowed())?).map_err(|fault| format!("{fault}; {}", self.allowed()))?;
        if within(&value) { Ok(value) } else { Err(self.allowed()) }
    }

    /// What may stand there, in words.
    pub fn allowed(&self) -> String {
        match *self {
            Kind::Text(_) => "allowed is text in quotes".to_owned(),
            Kind::Choice([word]) => format!("allowed is {word:?}"),
            Kind::Choice(words) => {
                format!(
                    "allowed is one of {}",
                    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
                )
            }
            Kind::Bool => "allowed is true or false".to_owned(),
            Kind::Integer(min, max) => format!("allowed is a whole number from {min} to {max}"),
            Kind::NumberOrPercent => "allowed is a number from 0, or a percentage, such as \"1 %\"".to_owned(),
            Kind::Duration(min, max) => {
                format!(
                    "allowed is a duration from {} to {}, such as \"5 s\"",
                    format_duration(min),
                    format_duration(max)
                )
            }
            Kind::Size(min, max) => {
                format!("allowed is a size from {} to {}, such as \"64 MiB\"", format_size(min), format_size(max))
            }
            Kind::Rate => "allowed is a rate above 0, such as \"10 Hz\"".to_owned(),
            Kind::WordOr(word, other) => format!("{}, or {word:?}", other.allowed()),
            Kind::List(_) => "allowed is a list, in square brackets".to_owned(),
            Kind::Table(_) => "allowed is a table, with keys of its own".to_owned(),
            Kind::Tables(_) => {
                "allowed is a list of tables, each under its own header in double square brackets".to_owned()
            }
            Kind::Names => "allowed is a table of names with texts".to_owned(),
            Kind::NamedTables(_) => "allowed is a table of names with a table each".to_owned(),
            Kind::Limits => {
                "allowed is a table of paths of fields, with the lowest and the highest number each".to_owned()
            }
            Kind::Message => "allowed is a table with the message's fields, as JSON has them".to_owned(),
        }
    }
}

/// A whole number that isn't negative.
fn integer(value: &Value) -> Option<u64> {
    let number = value.to_i128().or_else(|| value.to_u128().and_then(|number| i128::try_from(number).ok()))?;
    u64::try_from(number).ok()
}

/// A number, whole or not.
pub(super) fn number(value: &Value) -> Option<f64> {
    let whole = || value.to_i128().map(|number| number as f64).or(value.to_u128().map(|number| number as f64));
    value.to_f64().or_else(whole)
}

/// What stands there, in words that hold nothing of it.
pub(super) fn shape(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Empty(..) => "null",
        Value::Dict(..) => "a table",
        Value::Array(_, values) if values.is_empty() => "an empty list",
        Value::Array(..) => "a list",
    }
}

/// What stands there, in words.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(_, text) => quote(text),
        Value::Char(_, character) => quote(&character.to_string()),
        Value::Bool(_, boolean) => boolean.to_string(),
        Value::Num(_, number) => match number.to_f64() {
            Some(number) => format!("{number:?}"),
            None => {
                number.to_i128().map(|n| n.to_string()).or(number.to_u128().map(|n| n.to_string())).unwrap_or_default()
            }
        },
        other => shape(other).to_owned(),
    }
}

/// Whether `text` is more than blanks. The error says in words what is wrong.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it can't be empty".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Kind = Kind::Duration(Duration::from_secs(1), Duration::from_secs(60));

    #[test]
    fn a_value_from_the_environment_may_look_like_another_kind() {
        let number = Value::from(12345u64);
        assert_eq!(Kind::Text(|_| Ok(())).check(&number, Some("12345")), Ok(Checked::Text("12345".into())));
        assert!(Kind::Text(|_| Ok(())).check(&number, None).is_err());
        assert_eq!(Kind::Choice(&["3", "5"]).check(&Value::from(5u64), Some("5")), Ok(Checked::Text("5".into())));
    }

    #[test]
    fn bounds_are_included() {
        assert!(WAIT.check(&"1 s".into(), None).is_ok());
        assert!(WAIT.check(&"1 min".into(), None).is_ok());
        assert!(WAIT.check(&"61 s".into(), None).is_err_and(|allowed| allowed.contains("from 1 s to 1 min")));
        assert!(Kind::Integer(1, 3).check(&Value::from(3), None).is_ok());
        assert!(Kind::Integer(1, 3).check(&Value::from(4), None).is_err());
        assert!(Kind::Integer(0, 3).check(&Value::from(-1), None).is_err());
        assert!(Kind::Integer(0, 3).check(&Value::from(1.0), None).is_err());
        assert!(Kind::Rate.check(&"0 Hz".into(), None).is_err());
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for number in [f64::NAN, f64::INFINITY, -0.5] {
            assert!(Kind::NumberOrPercent.check(&Value::from(number), None).is_err(), "{number}");
        }
        for percent in ["-1 %", "NaN %", "%", "1", "1 Hz"] {
            assert!(Kind::NumberOrPercent.check(&percent.into(), None).is_err(), "{percent}");
        }
        for (value, deadband) in [
            (Value::from(0.01), Deadband::Absolute(0.01)),
            (Value::from(1), Deadband::Absolute(1.0)),
            ("1 %".into(), Deadband::Percent(1.0)),
            ("2.5%".into(), Deadband::Percent(2.5)),
        ] {
            assert_eq!(Kind::NumberOrPercent.check(&value, None), Ok(Checked::Deadband(deadband)), "{value:?}");
        }
    }

    #[test]
    fn a_word_stands_beside_another_kind() {
        const KIND: Kind = Kind::WordOr("unlimited", &Kind::Size(1, 10));
        assert_eq!(KIND.check(&"unlimited".into(), None), Ok(Checked::Text("unlimited".into())));
        assert_eq!(KIND.check(&"2 B".into(), None), Ok(Checked::Size(2)));
        assert!(KIND.check(&"endless".into(), None).is_err_and(|allowed| allowed.ends_with("or \"unlimited\"")));
    }
}
