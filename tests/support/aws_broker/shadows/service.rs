//! The Device Shadow service, as its developer guide has it: what becomes of a request, and what is published about it.
//!
//! | of the documentation | here |
//! | --- | --- |
//! | an update merges; `null` removes a key, and a section | [`merge`] |
//! | with `version`, an update of another is refused (409) | [`Service::update`] |
//! | a delta follows each update while `desired` has what `reported` has not; arrays are compared whole | [`difference`] |
//! | `desired` and `reported` together have at most 8 KB, metadata not counted (413) | [`DOCUMENT`] |
//! | at most 6 levels of nesting, tokens of 64 bytes, no sections but these two (400) | [`judge`] |
//! | deleting does not reset the version | [`Service::delete`] |

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

const DOCUMENT: usize = 8192;
const LEVELS: usize = 6;
const TOKEN: usize = 64;

/// What is published: topic and payload.
pub type Publication = (String, Vec<u8>);

/// All shadows of an account.
#[derive(Debug, Default)]
pub struct Service {
    /// By the prefix of their topics.
    shadows: BTreeMap<String, Shadow>,
    /// Codes with which the next updates are refused, whatever they say.
    pub refuse: VecDeque<u16>,
    /// Of the next requests, whether each is lost.
    pub ignore: VecDeque<bool>,
    seconds: u64,
}

#[derive(Debug, Clone, Default)]
struct Shadow {
    exists: bool,
    version: u64,
    desired: Map<String, Value>,
    reported: Map<String, Value>,
}

/// Where the topics of a shadow begin.
pub fn prefix(thing: &str, name: &str) -> String {
    let classic = format!("$aws/things/{thing}/shadow");
    if name.is_empty() { classic } else { format!("{classic}/name/{name}") }
}

impl Service {
    /// Takes what was published to `topic`. Returns what is published then; `None` if it is no request for a shadow.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> Option<Vec<Publication>> {
        let (prefix, method) = topic.rsplit_once('/').filter(|(prefix, _)| is_shadow(prefix))?;
        if self.ignore.pop_front().unwrap_or(false) {
            return Some(Vec::new());
        }
        self.seconds += 1;
        match method {
            "get" => Some(self.get(prefix, payload)),
            "update" => Some(self.update(prefix, payload)),
            "delete" => Some(self.delete(prefix, payload)),
            _ => None,
        }
    }

    /// The shadow as a `get` shows it, without metadata; null if there is none.
    pub fn document(&self, prefix: &str) -> Value {
        self.shadows.get(prefix).filter(|shadow| shadow.exists).map_or(
            Value::Null,
            |shadow| json!({"version": shadow.version, "desired": shadow.desired, "reported": shadow.reported}),
        )
    }

    fn get(&self, prefix: &str, payload: &[u8]) -> Vec<Publication> {
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let topic = format!("{prefix}/get");
        let Some(shadow) = self.shadows.get(prefix).filter(|shadow| shadow.exists) else {
            let message = match prefix.rsplit_once("/name/") {
                Some((_, name)) => format!("No shadow exists with name: '{name}'"),
                None => "No shadow exists for the thing".to_owned(),
            };
            return vec![self.rejected(&topic, 404, &message, &request["clientToken"])];
        };
        let mut state = sections(&shadow.desired, &shadow.reported);
        let delta = difference(&shadow.desired, &shadow.reported);
        if !delta.is_empty() {
            state["delta"] = delta.into();
        }
        let metadata = sections(&self.metadata(&shadow.desired), &self.metadata(&shadow.reported));
        let answer =
            json!({"state": state, "metadata": metadata, "version": shadow.version, "timestamp": self.seconds});
        vec![accepted(&topic, answer, &request["clientToken"])]
    }

    fn update(&mut self, prefix: &str, payload: &[u8]) -> Vec<Publication> {
        let topic = format!("{prefix}/update");
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let token = request["clientToken"].clone();
        let before = self.shadows.get(prefix).cloned().unwrap_or_default();
        let after = match self.refuse.pop_front() {
            Some(code) => Err((code, "it was asked for".to_owned())),
            None => judge(&request).and_then(|()| before.updated(&request)),
        };
        let after = match after {
            Ok(after) => after,
            Err((code, message)) => return vec![self.rejected(&topic, code, &message, &token)],
        };
        let written = request["state"].as_object().cloned().unwrap_or_default();
        let mut metadata = Map::new();
        for (section, value) in &written {
            metadata
                .insert(section.clone(), value.as_object().map_or(Value::Null, |value| self.metadata(value).into()));
        }
        let answer =
            json!({"state": written, "metadata": metadata, "version": after.version, "timestamp": self.seconds});
        let documents = json!({
            "previous": {"state": sections(&before.desired, &before.reported), "version": before.version},
            "current": {"state": sections(&after.desired, &after.reported), "version": after.version},
            "timestamp": self.seconds,
        });
        let mut published = vec![accepted(&topic, answer, &token)];
        published.push((format!("{topic}/documents"), documents.to_string().into()));
        let delta = difference(&after.desired, &after.reported);
        if !delta.is_empty() {
            let metadata = self.metadata(&delta);
            let mut delta =
                json!({"state": delta, "metadata": metadata, "version": after.version, "timestamp": self.seconds});
            if !token.is_null() {
                delta["clientToken"] = token;
            }
            published.push((format!("{topic}/delta"), delta.to_string().into()));
        }
        self.shadows.insert(prefix.to_owned(), after);
        published
    }

    fn delete(&mut self, prefix: &str, payload: &[u8]) -> Vec<Publication> {
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let topic = format!("{prefix}/delete");
        match self.shadows.get_mut(prefix).filter(|shadow| shadow.exists) {
            Some(shadow) => {
                let version = shadow.version;
                *shadow = Shadow { version, ..Shadow::default() };
                vec![accepted(&topic, json!({"version": version, "timestamp": self.seconds}), &request["clientToken"])]
            }
            None => vec![self.rejected(&topic, 404, "No shadow exists", &request["clientToken"])],
        }
    }

    fn rejected(&self, topic: &str, code: u16, message: &str, token: &Value) -> Publication {
        let mut answer = json!({"code": code, "message": message, "timestamp": self.seconds});
        if token.as_str().is_some_and(|token| token.len() <= TOKEN) {
            answer["clientToken"] = token.clone();
        }
        (format!("{topic}/rejected"), answer.to_string().into())
    }

    /// When each leaf was written: always now, which nobody looks at.
    fn metadata(&self, state: &Map<String, Value>) -> Map<String, Value> {
        let stamp = |value: &Value| match value {
            Value::Object(object) => self.metadata(object).into(),
            _ => json!({"timestamp": self.seconds}),
        };
        state.iter().map(|(key, value)| (key.clone(), stamp(value))).collect()
    }
}

impl Shadow {
    fn updated(&self, request: &Value) -> Result<Shadow, (u16, String)> {
        if !request["version"].is_null() && request["version"].as_u64() != Some(self.version) {
            return Err((409, "Version conflict".into()));
        }
        let mut after = self.clone();
        (after.exists, after.version) = (true, self.version + 1);
        for (section, value) in request["state"].as_object().into_iter().flatten() {
            let kept = if section == "desired" { &mut after.desired } else { &mut after.reported };
            match value {
                Value::Object(update) => merge(kept, update),
                _ => kept.clear(),
            }
        }
        if sections(&after.desired, &after.reported).to_string().len() > DOCUMENT {
            return Err((413, "The payload exceeds the maximum size allowed".into()));
        }
        Ok(after)
    }
}

fn is_shadow(prefix: &str) -> bool {
    let mut levels = prefix.split('/');
    let is_things = levels.next() == Some("$aws") && levels.next() == Some("things");
    let rest: Vec<_> = levels.skip(1).collect();
    is_things && matches!(rest[..], ["shadow"] | ["shadow", "name", _])
}

/// Whether a request is one at all.
fn judge(request: &Value) -> Result<(), (u16, String)> {
    let bad = |message: &str| Err((400, message.to_owned()));
    if !request.is_object() {
        return bad("Invalid JSON");
    }
    match &request["clientToken"] {
        Value::Null => {}
        Value::String(token) if token.len() <= TOKEN => {}
        _ => return bad("Invalid clientToken"),
    }
    if !request["version"].is_null() && request["version"].as_u64().is_none() {
        return bad("Invalid version");
    }
    let state = match &request["state"] {
        Value::Null => return bad("Missing required node: state"),
        Value::Object(state) => state,
        _ => return bad("State node must be an object"),
    };
    for (section, value) in state {
        match section.as_str() {
            "desired" | "reported" if value.is_object() || value.is_null() => {}
            "desired" | "reported" => return Err((400, format!("{section} node must be an object"))),
            other => return Err((400, format!("State contains an invalid node: '{other}'"))),
        }
        if levels(value) > LEVELS {
            return bad("JSON contains too many levels of nesting; maximum is 6");
        }
    }
    Ok(())
}

fn levels(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(levels).max().unwrap_or(0),
        Value::Array(array) => 1 + array.iter().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

fn merge(kept: &mut Map<String, Value>, update: &Map<String, Value>) {
    for (key, value) in update {
        match (kept.get_mut(key), value) {
            (_, Value::Null) => _ = kept.remove(key),
            (Some(Value::Object(inner)), Value::Object(update)) => merge(inner, update),
            (_, Value::Object(update)) => {
                let mut inner = Map::new();
                merge(&mut inner, update);
                kept.insert(key.clone(), inner.into());
            }
            _ => _ = kept.insert(key.clone(), value.clone()),
        }
    }
}

/// What `desired` has and `reported` has not.
fn difference(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Map<String, Value> {
    let mut delta = Map::new();
    for (key, wish) in desired {
        let differs = match (wish, reported.get(key)) {
            (Value::Object(wish), Some(Value::Object(is))) => Some(Value::Object(difference(wish, is))),
            (wish, is) => (Some(wish) != is).then(|| wish.clone()),
        };
        if let Some(differs) = differs.filter(|differs| differs.as_object().is_none_or(|inner| !inner.is_empty())) {
            delta.insert(key.clone(), differs);
        }
    }
    delta
}

fn sections(desired: &Map<String, Value>, reported: &Map<String, Value>) -> Value {
    let mut state = json!({});
    for (section, value) in [("desired", desired), ("reported", reported)] {
        if !value.is_empty() {
            state[section] = value.clone().into();
        }
    }
    state
}

fn accepted(topic: &str, mut answer: Value, token: &Value) -> Publication {
    if !token.is_null() {
        answer["clientToken"] = token.clone();
    }
    (format!("{topic}/accepted"), answer.to_string().into())
}
