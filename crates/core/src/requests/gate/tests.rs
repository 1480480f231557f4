//! Each rule at its boundary, and what holds of all of them together.

use serde_json::json;

use super::super::testing::{NOW, command, gate, received, text};
use super::*;
use crate::config::OnSilence;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Judges `json`, and publishes it unless it was refused.
fn send(gate: &mut Gate, json: &str, now: Instant) -> Result<Identity, (Reason, String)> {
    let judged = gate.judge(&received(json.as_bytes()), now, Some(NOW));
    judged.map(Accepted::published).map_err(|refused| (refused.reason, refused.detail.to_string()))
}

fn reason(gate: &mut Gate, json: &str, now: Instant) -> Option<Reason> {
    send(gate, json, now).err().map(|(reason, _)| reason)
}

/// The reply to what came as `json`.
fn reply(gate: &mut Gate, received: &Received, now: Instant) -> String {
    match gate.judge(received, now, Some(NOW)) {
        Ok(accepted) => text(accepted.published().accepted()),
        Err(refused) => text(refused.reply()),
    }
}

#[test]
fn an_accepted_command_is_the_message_and_a_reply() {
    let mut gate = gate(&command());
    let json = br#" {"msg":{"linear":{"x":0.5}},"sent":7,"id":"a"} "#;
    let accepted = gate.judge(&received(json), Instant::now(), None).unwrap();
    let mut cdr = vec![0, 1, 0, 0];
    cdr.extend(0.5f64.to_le_bytes());
    cdr.resize(4 + 48, 0);
    assert_eq!(accepted.cdr(), cdr);
    assert_eq!(text(accepted.published().accepted()), r#"{"id":"a","accepted":true}"#);
}

#[test]
fn commands_keep_the_period_of_max_rate() {
    let mut gate = gate(&Command { max_rate: Some(10.0), ..command() });
    let start = Instant::now();
    for (at, wanted) in [(0, None), (99, Some(Reason::TooFast)), (100, None), (150, Some(Reason::TooFast)), (200, None)]
    {
        assert_eq!(reason(&mut gate, r#"{"msg":{}}"#, start + at * MS), wanted, "{at}");
    }
    let words = send(&mut gate, r#"{"msg":{}}"#, start + 212 * MS).unwrap_err().1;
    assert_eq!(words, "the last one was accepted 0.012 s ago, max_rate is 10 Hz");
}

#[test]
fn silence_is_told_once_after_the_last_command() {
    let message = json!({"angular": {"z": 1}}).as_object().unwrap().clone();
    let mut gate = gate(&Command { on_silence: Some(OnSilence { after: 500 * MS, message }), ..command() });
    let start = Instant::now();
    assert_eq!(gate.silence_due_at(), None);
    assert_eq!(gate.silence_due(start + 9 * SECOND), None);
    assert_eq!(gate.take_silence(), None);
    for at in [0, 400] {
        send(&mut gate, r#"{"msg":{}}"#, start + at * MS).unwrap();
    }
    assert_eq!(reason(&mut gate, r#"{"msg":7}"#, start + 800 * MS), Some(Reason::Malformed));
    assert_eq!(gate.silence_due(start + 899 * MS), None);
    assert_eq!(gate.silence_due_at(), Some(start + 900 * MS));
    let cdr = gate.silence_due(start + 900 * MS).unwrap();
    assert_eq!(cdr[4 + 40..], 1f64.to_le_bytes());
    assert_eq!((gate.silence_due_at(), gate.take_silence()), (None, None));
}

/// The first reason that there is, in the order of the documentation; a refused id may come again.
#[test]
fn what_no_repetition_mends_comes_first() {
    let limits = [("linear.x".to_owned(), [-0.5, 0.5])].into();
    let command = Command { max_rate: Some(1.0), max_age: Some(SECOND), limits, ..command() };
    let mut gate = gate(&command);
    let start = Instant::now();
    let envelope =
        |id: &str, sent: i64, x: &str| format!(r#"{{"id":"{id}","sent":{sent},"msg":{{"linear":{{"x":{x}}}}}}}"#);
    let first = envelope("a", NOW, "0.5");
    assert_eq!(reason(&mut gate, &first, start), None);
    let old = NOW - 2_000_000_000;
    for (json, retain, wanted) in [
        (envelope("a", old, "9"), true, Reason::Retained),
        ("[".into(), true, Reason::Retained),
        ("[".into(), false, Reason::Malformed),
        (envelope("a", old, "9"), false, Reason::Duplicate),
        (envelope("b", old, "9"), false, Reason::TooOld),
        (envelope("b", NOW, "9"), false, Reason::OutOfLimits),
        (envelope("b", NOW, "null"), false, Reason::OutOfLimits),
        (envelope("b", NOW, "true"), false, Reason::Malformed),
        (envelope("b", NOW, "0.5"), false, Reason::TooFast),
    ] {
        let received = Received { retain, ..received(json.as_bytes()) };
        let refused = gate.judge(&received, start, Some(NOW)).unwrap_err();
        assert_eq!(refused.reason, wanted, "{json}");
    }
    let later = start + SECOND;
    let json = envelope("b", NOW, "0.5");
    let accepted = gate.judge(&received(json.as_bytes()), later, Some(NOW)).unwrap();
    let refused = text(accepted.unavailable("nobody subscribes to /cmd_vel").reply());
    assert_eq!(
        refused,
        r#"{"id":"b","accepted":false,"reason":"unavailable","detail":"nobody subscribes to /cmd_vel"}"#
    );
    assert_eq!(reply(&mut gate, &received(json.as_bytes()), later), r#"{"id":"b","accepted":true}"#);
}
