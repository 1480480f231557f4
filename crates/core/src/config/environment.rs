//! Settings from environment variables: `IOT_BRIDGE_<SECTION>__<KEY>`.
//!
//! `IOT_BRIDGE_AWS__ENDPOINT` is `aws.endpoint`, `IOT_BRIDGE_MQTT__RECONNECT__MAX` is `mqtt.reconnect.max`. A variable
//! with the prefix but without a double underscore is none of ours, unless it is called almost like one: then it is
//! refused, because somebody would wait for its effect.

use std::ffi::OsString;

use figment::value::{Dict, Value};

use super::keys;
use super::kind::Kind;
use super::problem::Problem;

/// What the names of all variables begin with.
const PREFIX: &str = "IOT_BRIDGE_";
/// Stands between a table and its key.
const SEPARATOR: &str = "__";
/// More levels than any key has.
const DEEPEST: usize = 8;
/// A structured value with more brackets is taken as text: the parser of values recurses into each.
const MOST_BRACKETS: usize = 32;

/// A variable that sets something, which may be a password: `Debug` has no business here.
pub(super) struct Variable {
    pub name: String,
    pub text: String,
    pub values: Dict,
}

/// Name of the variable that sets the key at `path`.
pub(super) fn variable_name(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', SEPARATOR))
}

/// Picks the bridge's variables, in the order of their names.
pub(super) fn read(environment: impl IntoIterator<Item = (OsString, OsString)>) -> (Vec<Variable>, Vec<Problem>) {
    let ours = environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let mut ours: Vec<_> = ours.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    let (mut variables, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in ours {
        match variable(&name, value) {
            Ok(variable) => variables.extend(variable),
            Err((found, allowed)) => {
                problems.push(Problem { source: name, line: None, key: String::new(), found, allowed });
            }
        }
    }
    (variables, problems)
}

/// The variable as a setting, nothing if it is none, or what was found and what is allowed.
fn variable(name: &str, value: OsString) -> Result<Option<Variable>, (String, String)> {
    let path = name.strip_prefix(PREFIX).unwrap_or(name).to_ascii_lowercase();
    let segments: Vec<&str> = path.split(SEPARATOR).collect();
    let list = keys::ROOT.iter().any(|key| key.name == segments[0] && matches!(key.kind, Kind::Tables(_)));
    if list {
        let allowed = format!("[[{}]] can't be set from the environment; write it into a file", segments[0]);
        return Err(("a variable".into(), allowed));
    }
    if let [single] = segments[..]
        && !keys::ROOT.iter().any(|key| key.name == single)
    {
        let almost = almost(name);
        return almost.map_or(Ok(None), |known| Err(("an unknown variable".into(), format!("did you mean {known}?"))));
    }
    if segments.len() > DEEPEST {
        return Err(("an unknown variable".into(), "no key lies that deep".into()));
    }
    let text =
        value.into_string().map_err(|_| ("bytes that are no UTF-8".to_owned(), "allowed is UTF-8 text".to_owned()))?;
    let innermost = parse(&text);
    let values =
        segments.iter().rev().fold(innermost, |value, segment| Dict::from([((*segment).to_owned(), value)]).into());
    Ok(values.into_dict().map(|values| Variable { name: name.to_owned(), text, values }))
}

/// A value as figment reads it from the environment: a number, `true`, `false`, or else text.
pub(super) fn parse(text: &str) -> Value {
    let brackets = text.chars().filter(|c| matches!(c, '[' | '{')).count();
    if brackets > MOST_BRACKETS {
        return text.into();
    }
    text.parse().unwrap_or_else(|infallible| match infallible {})
}

/// Names of all variables that set something.
pub(super) fn known_variables() -> Vec<String> {
    let paths = keys::paths().into_iter().filter(|path| path.contains('.') && !path.contains('['));
    paths.map(|path| variable_name(&path)).collect()
}

/// The variable that `name` was probably meant to be: a name with one underscore for two has a distance of one.
fn almost(name: &str) -> Option<String> {
    let known = known_variables().into_iter().map(|known| (strsim::levenshtein(name, &known), known));
    known.filter(|(distance, _)| *distance <= 2).min().map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> (Vec<Variable>, Vec<Problem>) {
        read([(name.into(), value.into())])
    }

    #[test]
    fn a_variable_sets_the_key_that_its_name_spells() {
        let (variables, problems) = one("IOT_BRIDGE_MQTT__RECONNECT__MAX", "5 min");
        assert_eq!((variables.len(), problems.len()), (1, 0));
        let value = Value::from(variables[0].values.clone()).find("mqtt.reconnect.max");
        assert_eq!(value.and_then(Value::into_string).as_deref(), Some("5 min"));
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for name in ["PATH", "IOT_BRIDGE", "IOT_BRIDGE_LOG", "IOT_BRIDGE_CACHE_DIR", "MY_IOT_BRIDGE_AWS__PORT"] {
            let (variables, problems) = one(name, "x");
            assert_eq!((variables.len(), problems.len()), (0, 0), "{name}");
        }
    }

    #[test]
    fn a_name_that_misses_is_told_what_it_was_meant_to_be() {
        for name in ["IOT_BRIDGE_AWS_ENDPOINT", "IOT_BRIDGE_AWS_ENDPONT"] {
            let (_, problems) = one(name, "x");
            assert_eq!(problems[0].allowed, "did you mean IOT_BRIDGE_AWS__ENDPOINT?", "{name}");
        }
    }

    #[test]
    fn lists_of_tables_are_not_for_the_environment() {
        for name in ["IOT_BRIDGE_TOPICS", "IOT_BRIDGE_TOPICS__0__ROS", "IOT_BRIDGE_COMMANDS__X"] {
            let (_, problems) = one(name, "x");
            assert!(problems[0].allowed.contains("can't be set from the environment"), "{name}");
        }
    }

    #[test]
    fn hostile_values_end_in_text() {
        assert!(matches!(parse(&"[".repeat(100_000)), Value::String(..)));
        let (variables, problems) = one(&format!("IOT_BRIDGE_A{}", "__B".repeat(40_000)), "x");
        assert_eq!((variables.len(), problems.len()), (0, 1));
    }

    #[test]
    #[cfg(unix)]
    fn a_value_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        let (_, problems) =
            read([("IOT_BRIDGE_AWS__THING".into(), bad()), (bad(), "x".into()), ("OTHER".into(), bad())]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].allowed.contains("UTF-8"));
    }
}
