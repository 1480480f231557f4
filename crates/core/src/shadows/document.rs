//! What the service publishes, read within bounds.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::State;

/// Longest payload of the service that is read: a shadow of 8 KiB with the metadata of each of its values.
pub const ARRIVAL_LIMIT: usize = 128 << 10;

/// What came is not what the service says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it has {0} bytes, more than any shadow")]
    TooLong(usize),
    /// What it says instead is not quoted.
    #[error("it is not a shadow's document (line {line}, column {column})")]
    Document { line: usize, column: usize },
}

/// The answer to a `get`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Got {
    pub client_token: Option<String>,
    #[serde(default)]
    pub state: Sections,
    pub version: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Sections {
    #[serde(default, deserialize_with = "null_as_empty")]
    pub desired: State,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub reported: State,
    /// What `desired` has and `reported` has not.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub delta: State,
}

/// What `desired` has and `reported` has not, after an update.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Delta {
    pub state: State,
    pub version: u64,
}

/// An update was taken.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub version: u64,
    pub client_token: Option<String>,
    #[serde(default)]
    pub state: Written,
}

/// What an update has said, as far as anybody asks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Written {
    /// Whether it concerned `desired`, all of which `null` takes away.
    #[serde(default, deserialize_with = "is_there")]
    pub desired: bool,
}

/// A request was not taken.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejected {
    pub code: u16,
    #[serde(default)]
    pub message: String,
    pub client_token: Option<String>,
}

/// Reads what the service has published.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Malformed> {
    if payload.len() > ARRIVAL_LIMIT {
        return Err(Malformed::TooLong(payload.len()));
    }
    serde_json::from_slice(payload).map_err(|error| Malformed::Document { line: error.line(), column: error.column() })
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<State, D::Error> {
    Option::<State>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A key that is there has a value, `null` included.
fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever comes is an error or a document, and costs no more than a document.
    #[test]
    fn garbage_is_refused() {
        let brackets = "[".repeat(ARRIVAL_LIMIT);
        let nested = format!(r#"{{"version":1,"state":{}1{}}}"#, r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        let long = " ".repeat(ARRIVAL_LIMIT + 1);
        let other = [
            "",
            "null",
            "[]",
            "7",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":-1,"state":{}}"#,
            r#"{"version":1e999,"state":{}}"#,
            r#"{"version":1,"state":[]}"#,
            r#"{"version":1,"state":{},"state":{}}"#,
            &brackets,
            &nested,
            &long,
            "{\"version\":1,\"state\":{\"\u{0}\":1}}",
        ];
        for payload in other {
            assert!(read::<Delta>(payload.as_bytes()).is_err(), "{}", &payload[..payload.len().min(50)]);
        }
        assert!(read::<Delta>(b"{\"version\":1,\"state\":{\"a\":\"\xff\"}}").is_err());
        assert_eq!(read::<Delta>(long.as_bytes()), Err(Malformed::TooLong(ARRIVAL_LIMIT + 1)));
        let delta =
            read::<Delta>(br#"{"version":3,"timestamp":1,"state":{"a":1},"metadata":{"a":{"timestamp":1}}}"#).unwrap();
        assert_eq!((delta.version, delta.state.len()), (3, 1));
        let got = read::<Got>(br#"{"version":3,"state":{"desired":null}}"#).unwrap();
        assert_eq!(got, Got { version: 3, ..Got::default() });
    }
}
