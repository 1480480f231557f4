//! Any bytes at all: the first ones make up a message type and a command of it, the rest are payloads that come one after the other.
//!
//! `fuzz/fuzz_targets/requests.rs` feeds the same function, led by coverage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iot_bridge_core::codec::{Count, Decoder, Encoder, Field, JsonBuffer, Kind, Schema};
use iot_bridge_core::config::{Command, CommandPayload, OnSilence, Qos};
use iot_bridge_core::requests::{
    Accepted, ActionRequest, Detail, Gate, Id, Identity, Key, Reason, Received, Refused, ServiceRequest,
};
use serde_json::{Map, Value};

use crate::codec::hostile::{Recipe, schema};

/// Nanoseconds since 1970 at which the first payload comes.
const START: i64 = 1_795_000_000_000_000_000;

/// Ends a payload. No text has it.
const SEPARATOR: u8 = 0xfe;

/// Has a gate judge the payloads, and checks its verdicts against the rules, said once more and plainly; reads each as what asks for a
/// service and for an action, too. Whatever is replied is JSON, and of bounded length.
pub fn judge(data: &[u8]) {
    let mut recipe = Recipe(data);
    let schema = small(&schema(&mut recipe, 2));
    let flags = recipe.byte();
    let has = |bit: u8| flags >> bit & 1 == 1;
    let command = Command {
        mqtt: "robots/r/command".into(),
        ros: "/command".into(),
        type_name: schema.name.clone(),
        payload: if has(0) { CommandPayload::Envelope } else { CommandPayload::Message },
        qos: Qos::AtLeastOnce,
        max_rate: has(1).then(|| f64::from(recipe.byte()) / 16.0 + 0.01),
        max_age: has(2).then(|| Duration::from_millis(u64::from(recipe.byte()) * 16)),
        limits: if has(3) {
            HashMap::from([("*".into(), [-1.0, 2.0])]).into_iter().collect()
        } else {
            Default::default()
        },
        on_silence: has(4).then(|| OnSilence { after: Duration::from_millis(500), message: Map::new() }),
        reply: None,
    };
    // A type without numbers, or with a default that is outside.
    let Ok(gate) = Gate::new(&command, &schema, &HashMap::new()) else { return };
    let encoder = Encoder::new(&schema, &HashMap::new(), &[]).expect("it has one with limits");
    let mut watched = Watched { gate, command, schema, has_clock: has(5), accepted: Vec::new(), is_silent: true };
    let start = Instant::now();
    let mut passed = Duration::ZERO;
    while !recipe.0.is_empty() {
        let how = recipe.byte();
        passed += Duration::from_millis(u64::from(recipe.byte()).pow(2) * 8);
        let end = recipe.0.iter().position(|&byte| byte == SEPARATOR).unwrap_or(recipe.0.len());
        let (payload, rest) = recipe.0.split_at(end);
        recipe.0 = rest.get(1..).unwrap_or_default();
        let correlation_data = (how & 6 == 6).then(|| vec![how; usize::from(how)]);
        let received = Received { payload, retain: how & 9 == 9, correlation_data: correlation_data.as_deref() };
        watched.judge(&received, start, passed, how & 0x30 == 0x30);
        ask(&received, &encoder);
    }
    let (is_armed, left) = (!watched.is_silent, watched.gate.take_silence().is_some());
    assert_eq!(left, is_armed && watched.command.on_silence.is_some());
}

/// As `schema`, but with short arrays: of long ones `{}` is megabytes, which the targets of the codec try.
fn small(schema: &Schema) -> Arc<Schema> {
    let count = |count| match count {
        Count::Array(length) => Count::Array(length % 4 + 1),
        other => other,
    };
    let kind = |kind: &Kind| match kind {
        Kind::Message(nested) => Kind::Message(small(nested)),
        other => other.clone(),
    };
    let fields = schema.fields.iter();
    let fields =
        fields.map(|field| Field { name: field.name.clone(), kind: kind(&field.kind), count: count(field.count) });
    Arc::new(Schema { name: schema.name.clone(), fields: fields.collect() })
}

/// A gate, and what it has accepted.
struct Watched {
    gate: Gate,
    command: Command,
    schema: Arc<Schema>,
    has_clock: bool,
    accepted: Vec<(Duration, Option<Key>)>,
    /// Nothing was accepted since the message of `on_silence`.
    is_silent: bool,
}

impl Watched {
    fn judge(&mut self, received: &Received, start: Instant, passed: Duration, is_unavailable: bool) {
        let now = start + passed;
        if let Some(on_silence) = &self.command.on_silence {
            let due = self.accepted.last().is_some_and(|(at, _)| passed >= *at + on_silence.after);
            assert_eq!(self.gate.silence_due(now).is_some(), due && !self.is_silent);
            self.is_silent |= due;
        }
        let last = self.accepted.last().map(|(at, _)| passed - *at);
        let is_early =
            self.command.max_rate.zip(last).is_some_and(|(hertz, since)| since.as_secs_f64() < 0.999_999 / hertz);
        let time_of_day = self.has_clock.then(|| START + passed.as_nanos() as i64);
        match self.gate.judge(received, now, time_of_day) {
            Ok(accepted) => {
                assert!(!received.retain && !is_early);
                assert!(self.command.max_age.is_none() || time_of_day.is_some());
                serde_json::from_slice::<serde::de::IgnoredAny>(received.payload).expect("only JSON is taken");
                let decoder = Decoder::new(Arc::clone(&self.schema)).expect("it has an encoder");
                decoder.write_json(accepted.cdr(), &mut JsonBuffer::new(usize::MAX)).expect("it is a message");
                if is_unavailable {
                    let refused = accepted.unavailable("nobody takes it");
                    check_refused(&refused, received);
                } else {
                    let identity = Accepted::published(accepted);
                    assert!(!has_key(&self.accepted, &identity, passed));
                    check_reply(&identity.accepted(), &identity, received, &["accepted"]);
                    self.accepted.push((passed, identity.key()));
                    self.is_silent = false;
                }
            }
            Err(refused) => {
                check_refused(&refused, received);
                assert_eq!(refused.reason == Reason::Retained, received.retain);
                match refused.reason {
                    Reason::Duplicate => assert!(has_key(&self.accepted, &refused.identity, passed)),
                    Reason::TooOld => assert!(self.command.max_age.is_some()),
                    Reason::OutOfLimits => assert!(!self.command.limits.is_empty()),
                    Reason::TooFast => assert!(
                        last.zip(self.command.max_rate)
                            .is_some_and(|(since, hertz)| since.as_secs_f64() < 1.000_001 / hertz)
                    ),
                    Reason::Malformed | Reason::Retained => {}
                    Reason::Unavailable => panic!("the gate does not know"),
                }
            }
        }
    }
}

/// Whether what is known by `identity` was accepted a short while ago.
fn has_key(accepted: &[(Duration, Option<Key>)], identity: &Identity, now: Duration) -> bool {
    let Some(key) = identity.key() else { return false };
    let with_key = accepted.iter().rev().filter(|(_, key)| key.is_some());
    with_key.take(1000).any(|(at, known)| known.as_ref() == Some(&key) && now - *at <= Duration::from_secs(600))
}

/// As what asks for a service, and for an action.
fn ask(received: &Received, encoder: &Encoder) {
    match ServiceRequest::read(received, encoder) {
        Ok(request) => {
            assert!(!received.retain && request.cdr.len() <= Encoder::LARGEST + 4096);
            check_reply(&request.identity.response(b"{}"), &request.identity, received, &["response"]);
        }
        Err(malformed) => {
            check_detail(&malformed.detail);
            check_reply(&malformed.no_response(), &malformed.identity, received, &["error", "detail"]);
        }
    }
    match ActionRequest::read(received, encoder) {
        Ok(ActionRequest::Goal { identity, key, .. } | ActionRequest::Cancel { identity, key }) => {
            assert!(!received.retain && identity.key() == Some(key));
            check_reply(&identity.feedback(b"{}"), &identity, received, &["feedback"]);
        }
        Err(malformed) => {
            check_detail(&malformed.detail);
            check_reply(&malformed.status(), &malformed.identity, received, &["status", "detail"]);
        }
    }
}

fn check_refused(refused: &Refused, received: &Received) {
    check_detail(&refused.detail);
    check_reply(&refused.reply(), &refused.identity, received, &["accepted", "reason", "detail"]);
}

fn check_detail(detail: &Detail) {
    let text = detail.as_str();
    assert!(!text.is_empty() && text.len() <= Detail::LONGEST && !text.contains(char::is_control), "{text}");
}

/// That the reply is an object with these members and the id, unless there is correlation data.
fn check_reply(reply: &[u8], identity: &Identity, received: &Received, members: &[&str]) {
    assert_eq!(identity.correlation_data.as_deref(), received.correlation_data);
    assert!(reply.len() <= 6 * Id::LONGEST + 2 * Detail::LONGEST + 100);
    let Ok(Value::Object(object)) = serde_json::from_slice(reply) else { panic!("the reply is no object") };
    let id = identity.id.as_ref().filter(|_| received.correlation_data.is_none());
    match (id, object.get("id")) {
        (None, None) => {}
        (Some(Id::Text(text)), Some(Value::String(told))) => assert_eq!(**text, **told),
        (Some(Id::Number(digits)), Some(Value::Number(_))) => assert!(digits.len() <= Id::LONGEST),
        (id, told) => panic!("{id:?} is told as {told:?}"),
    }
    let mut names: Vec<&str> = object.keys().map(String::as_str).filter(|name| *name != "id").collect();
    let mut members = members.to_vec();
    names.sort_unstable();
    members.sort_unstable();
    assert_eq!(names, members);
}
