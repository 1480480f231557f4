//! The values of one file, not judged: for programs that send sections of the configuration instead of obeying them.

use std::path::Path;

use figment::value::Value;
use serde_json::{Map, Value as Json};

use super::document::Document;
use super::problem::{Problem, Problems};

/// Reads `path`, TOML or JSON, as a file of the configuration is read: at most 1 MiB, UTF-8, no key twice. Nothing else is
/// judged, and nothing is added: neither `conf.d` nor variables. A date or time of TOML becomes its text.
///
/// # Errors
/// If the file can't be read or parsed. The line is told, and no value.
pub fn read_values(path: &Path) -> Result<Map<String, Json>, Problems> {
    let document = Document::read(path).map_err(|problem| Problems::new(vec![problem]))?;
    let values = Value::from(document.values);
    match values.deserialize() {
        Ok(Json::Object(json)) if is_json(&values) => Ok(json),
        _ => Err(Problems::new(vec![Problem {
            source: path.display().to_string(),
            line: None,
            key: String::new(),
            found: "values that JSON can't have".into(),
            allowed: "allowed are texts, numbers, booleans, lists and tables".into(),
        }])),
    }
}

/// Whether all numbers in `value` are finite: of others serde makes null.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Num(_, number) => number.to_f64().is_none_or(f64::is_finite),
        Value::Dict(_, fields) => fields.values().all(is_json),
        Value::Array(_, values) => values.iter().all(is_json),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TOML and JSON that say the same are the same values, and what can't be read is told with its line.
    #[test]
    fn a_file_is_values() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let toml = path("a.toml", "version = 2026-11-28\n[[topics]]\nros = \"/odom\"\nbatch = { max = 7 }\n");
        let json = path("a.json", r#"{"version": "2026-11-28", "topics": [{"ros": "/odom", "batch": {"max": 7}}]}"#);
        let values = read_values(&toml).expect("values");
        assert_eq!(values["topics"][0]["batch"]["max"], 7);
        assert_eq!(values["version"], "2026-11-28");
        assert_eq!(read_values(&json).expect("values"), values);
        for (name, text, line) in [
            ("b.toml", "a = 1\na = \"secret\"", Some(2)),
            ("b.json", "{\"a\": 1,\n\"a\": 2}", Some(2)),
            ("c.toml", "a = inf", None),
            ("d.toml", "[[a]]\nb = { c = [nan] }", None),
        ] {
            let problems = read_values(&path(name, text)).expect_err(name);
            assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [line], "{problems}");
            assert!(!problems.to_string().contains("secret"), "{problems}");
        }
    }
}
