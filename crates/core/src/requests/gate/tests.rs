//! Each rule at its boundary, and what holds of all of them together.

use serde_json::{Map, Value, json};

use super::super::Id;
use super::super::testing::{NOW, command, gate, received, text, twist};
use super::*;
use crate::config::{OnSilence, PAYLOAD_LIMIT};

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

/// Neither side of the clock may be further from `sent` than `max_age`, and a clock that says nothing lets nothing through.
#[test]
fn commands_are_no_older_than_max_age() {
    let mut gate = gate(&Command { max_age: Some(2 * SECOND), ..command() });
    let max_age = 2_000_000_000;
    let ahead = "`sent` is 2.000 s ahead of the robot's clock, max_age is 2 s: one of the clocks is wrong";
    let other_unit =
        "`sent` is over a year from the time of the robot's clock: nanoseconds since 1970 are needed, 19 digits";
    for (sent, wanted) in [
        (NOW, None),
        (NOW - max_age, None),
        (NOW + max_age, None),
        (NOW - max_age - 1, Some("it was sent 2.000 s ago by the robot's clock, max_age is 2 s")),
        (NOW - 3_456_000_000, Some("it was sent 3.456 s ago by the robot's clock, max_age is 2 s")),
        (NOW + max_age + 1, Some(ahead)),
        // Milliseconds.
        (NOW / 1_000_000, Some(other_unit)),
        (0, Some(other_unit)),
        (-1, Some(other_unit)),
        (i64::MIN, Some(other_unit)),
        (i64::MAX, Some(other_unit)),
    ] {
        let judged = send(&mut gate, &format!(r#"{{"sent":{sent},"msg":{{}}}}"#), Instant::now());
        assert_eq!(judged.err(), wanted.map(|words| (Reason::TooOld, words.to_owned())), "{sent}");
    }
    let json = format!(r#"{{"id":1,"sent":{NOW},"msg":{{}}}}"#);
    let refused = gate.judge(&received(json.as_bytes()), Instant::now(), None).unwrap_err();
    assert_eq!(
        text(refused.reply()),
        r#"{"id":1,"accepted":false,"reason":"too_old","detail":"the robot's clock is not set, so nobody knows how old it is"}"#
    );
}

/// Without `max_age`, `sent` does nothing and nobody asks for the clock.
#[test]
fn sent_alone_does_nothing() {
    let mut gate = gate(&command());
    for json in [r#"{"sent":0,"msg":{}}"#, r#"{"msg":{}}"#] {
        gate.judge(&received(json.as_bytes()), Instant::now(), None).unwrap().published();
    }
}

/// A message without envelope can't say when it was sent.
#[test]
fn max_age_lets_nothing_through_that_says_no_time() {
    for payload in [CommandPayload::Message, CommandPayload::Envelope] {
        let mut gate = gate(&Command { max_age: Some(SECOND), payload, ..command() });
        let json = if payload == CommandPayload::Message { "{}" } else { r#"{"msg":{}}"# };
        let words = "`sent` is missing, nanoseconds since 1970: max_age needs it";
        assert_eq!(send(&mut gate, json, Instant::now()).unwrap_err(), (Reason::Malformed, words.into()));
    }
}

#[test]
fn the_same_id_counts_for_ten_minutes() {
    let mut gate = gate(&command());
    let start = Instant::now();
    let first = r#"{"id":"a","msg":{}}"#;
    assert_eq!(reason(&mut gate, first, start), None);
    let words = "one with the same id was accepted 600.000 s ago";
    let last = start + 600 * SECOND;
    assert_eq!(send(&mut gate, first, last).unwrap_err(), (Reason::Duplicate, words.into()));
    assert_eq!(reason(&mut gate, first, last + Duration::from_nanos(1)), None);
    // It counts anew.
    assert_eq!(reason(&mut gate, first, last + 500 * SECOND), Some(Reason::Duplicate));
}

#[test]
fn the_same_id_counts_among_the_last_thousand() {
    let mut gate = gate(&command());
    let now = Instant::now();
    let envelope = |id: usize| format!(r#"{{"id":{id},"msg":{{}}}}"#);
    for id in 0..1000 {
        assert_eq!(reason(&mut gate, &envelope(id), now), None);
        // Without an id it takes no place, nor does what is refused.
        assert_eq!(reason(&mut gate, r#"{"msg":{}}"#, now), None);
        assert_eq!(reason(&mut gate, &format!(r#"{{"id":"{id}","msg":7}}"#), now), Some(Reason::Malformed));
    }
    assert_eq!(reason(&mut gate, &envelope(0), now), Some(Reason::Duplicate));
    assert_eq!(reason(&mut gate, &envelope(1000), now), None);
    for (id, wanted) in [(0, None), (1, None), (2, None), (5, Some(Reason::Duplicate)), (2, Some(Reason::Duplicate))] {
        assert_eq!(reason(&mut gate, &envelope(id), now), wanted, "{id}");
    }
}

/// A text is what it reads as; a number is no text.
#[test]
fn ids_are_compared_as_what_they_mean() {
    let mut gate = gate(&command());
    let now = Instant::now();
    for (id, wanted) in [
        (r#""ab""#, None),
        (r#""\u0061b""#, Some(Reason::Duplicate)),
        (r#""AB""#, None),
        ("1", None),
        (r#""1""#, None),
        ("-1", None),
        ("1", Some(Reason::Duplicate)),
        (r#""""#, None),
        (r#""""#, Some(Reason::Duplicate)),
    ] {
        assert_eq!(reason(&mut gate, &format!(r#"{{"id":{id},"msg":{{}}}}"#), now), wanted, "{id}");
    }
}

/// It takes the place of the id in the reply, and of one that is missing for duplicates too.
#[test]
fn correlation_data_stands_for_an_id() {
    let mut gate = gate(&command());
    let now = Instant::now();
    let with = |data, json: &'static str| Received { correlation_data: Some(data), ..received(json.as_bytes()) };
    let accepted = r#"{"accepted":true}"#;
    let same_data = "one with the same correlation data, which stands for an id, was accepted 0.000 s ago";
    let duplicate = |words| format!(r#"{{"accepted":false,"reason":"duplicate","detail":"{words}"}}"#);
    assert_eq!(reply(&mut gate, &with(b"x", r#"{"msg":{}}"#), now), accepted);
    assert_eq!(reply(&mut gate, &with(b"x", r#"{"msg":{}}"#), now), duplicate(same_data));
    assert_eq!(reply(&mut gate, &with(b"x", r#"{"id":"x","msg":{}}"#), now), accepted);
    let same_id = "one with the same id was accepted 0.000 s ago";
    assert_eq!(reply(&mut gate, &with(b"y", r#"{"id":"x","msg":{}}"#), now), duplicate(same_id));
    // More of it is not remembered; it comes back all the same.
    for (length, wanted) in [(128, Some(Reason::Duplicate)), (129, None)] {
        let data = vec![b'z'; length];
        let received = Received { correlation_data: Some(&data), ..received(br#"{"msg":{}}"#) };
        let identity = gate.judge(&received, now, None).unwrap().published();
        assert_eq!(identity.correlation_data.as_deref(), Some(&*data));
        assert_eq!(gate.judge(&received, now, None).err().map(|refused| refused.reason), wanted);
    }
}

/// Defaults count as what is written does; null is NaN.
#[test]
fn numbers_are_within_limits() {
    let limits = |lowest, highest| [("linear.x".to_owned(), [lowest, highest])].into();
    let mut around_zero = gate(&Command { limits: limits(-0.5, 0.5), payload: CommandPayload::Message, ..command() });
    let now = Instant::now();
    let words = "field linear.x: outside of the limits -0.5 to 0.5".to_owned();
    for (json, wanted) in [
        ("{}", None),
        (r#"{"linear":{"x":0.5},"angular":{"x":9}}"#, None),
        (r#"{"linear":{"x":-0.5}}"#, None),
        (r#"{"linear":{"x":0.5000000000000001}}"#, Some((Reason::OutOfLimits, words.clone()))),
        (r#"{"linear":{"x":null}}"#, Some((Reason::OutOfLimits, words.clone()))),
        (r#"{"linear":{"y":null}}"#, None),
    ] {
        assert_eq!(send(&mut around_zero, json, now).err(), wanted, "{json}");
    }
    let mut above_zero = gate(&Command { limits: limits(0.1, 0.5), payload: CommandPayload::Message, ..command() });
    for (json, wanted) in [("{}", Some(Reason::OutOfLimits)), (r#"{"linear":{"x":0.1}}"#, None)] {
        assert_eq!(reason(&mut above_zero, json, now), wanted, "{json}");
    }
}

/// What can't be read is refused with what is wrong. The id comes back if it stood before that.
#[test]
fn what_is_no_envelope_is_malformed() {
    let mut gate = gate(&command());
    let twice = r#"{"sent":1,"msg":{},"sent":1}"#;
    for (json, id, detail) in [
        ("", "", "no JSON: EOF while parsing a value, near byte 0"),
        ("[]", "", "an object with id, sent, msg is needed, an array stands there"),
        ("null", "", "an object with id, sent, msg is needed, null stands there"),
        ("7", "", "an object with id, sent, msg is needed, a number stands there"),
        ("-7", "", "an object with id, sent, msg is needed, a number stands there"),
        ("7.5", "", "an object with id, sent, msg is needed, a number stands there"),
        ("false", "", "an object with id, sent, msg is needed, true or false stands there"),
        (r#""{}""#, "", "an object with id, sent, msg is needed, text stands there"),
        ("{}", "", "`msg` is missing, which holds the message"),
        (r#"{"id":"a"}"#, r#""a""#, "`msg` is missing, which holds the message"),
        (r#"{"id":"a","linear":{}}"#, r#""a""#, "it has a member linear; allowed are id, sent, msg"),
        (r#"{"id":"a","\u202e":{}}"#, r#""a""#, r"it has a member \u{202e}; allowed are id, sent, msg"),
        (twice, "", "it has the same member twice"),
        (r#"{"id":"a","msg":{},"id":"b"}"#, "", "it has the same member twice"),
        (r#"{"id":1.5,"msg":{}}"#, "", "`id` takes a text or an integer"),
        (r#"{"id":null,"msg":{}}"#, "", "`id` takes a text or an integer"),
        (r#"{"id":"\ud800","msg":{}}"#, "", "`id` is no text of Unicode"),
        (r#"{"id":7,"sent":"1","msg":{}}"#, "7", "`sent` takes an integer, nanoseconds since 1970"),
        (r#"{"id":7,"sent":1.0,"msg":{}}"#, "7", "`sent` takes an integer, nanoseconds since 1970"),
        (r#"{"id":7,"sent":9223372036854775808,"msg":{}}"#, "7", "`sent` takes an integer, nanoseconds since 1970"),
        (r#"{"id":7,"msg":{"linear":{"x":NaN}}}"#, "7", "no JSON: expected value, near byte 29"),
        (r#"{"id":7,"msg":{"linear":{"x":01}}}"#, "7", "no JSON: invalid number, near byte 30"),
        // Found when the message is read; the byte is one of the payload.
        (
            r#"{"id":7,"msg":{"linear":{"\ud800":1}}}"#,
            "7",
            "field linear: no JSON: unexpected end of hex escape, near byte 32",
        ),
        (
            r#"{"id":7,"msg":{"linear":{"x":1e999}}}"#,
            "7",
            "field linear.x: the number is out of the range of float64, at most 1.7976931348623157e+308 either way",
        ),
        (r#"{"id":7,"msg":{}} {}"#, "7", "no JSON: trailing characters, near byte 18"),
        (r#"{"id":7,"msg":{}"#, "7", "no JSON: EOF while parsing an object, near byte 15"),
        (r#"{"msg":7}"#, "", "an object (geometry_msgs/msg/Twist) is needed, a number stands there"),
    ] {
        let refused = gate.judge(&received(json.as_bytes()), Instant::now(), Some(NOW)).unwrap_err();
        assert_eq!((refused.reason, refused.detail.as_str()), (Reason::Malformed, detail), "{json}");
        let mut known = Vec::new();
        refused.identity.id.iter().for_each(|known_id| known_id.write(&mut known));
        assert_eq!(text(known), id, "{json}");
    }
    let refused = gate.judge(&received(b"{\"id\":7,\"msg\":{\"\xff\":1}}"), Instant::now(), None).unwrap_err();
    assert_eq!(refused.identity.id, Some(Id::Number("7".into())));
    assert_eq!(refused.reason, Reason::Malformed);
}

/// A payload of 128 KiB is read, one more byte is not, whatever it is.
#[test]
fn a_payload_is_no_longer_than_a_publish() {
    for payload in [CommandPayload::Message, CommandPayload::Envelope] {
        let mut gate = gate(&Command { payload, ..command() });
        let json = if payload == CommandPayload::Message { "{}" } else { r#"{"msg":{}}"# };
        let mut json = json.to_owned() + &" ".repeat(PAYLOAD_LIMIT - json.len());
        assert_eq!(reason(&mut gate, &json, Instant::now()), None);
        json.push(' ');
        let words = "it has 131073 bytes; at most 131072 are read".to_owned();
        assert_eq!(send(&mut gate, &json, Instant::now()).unwrap_err(), (Reason::Malformed, words));
    }
}

/// At the end the message goes out at once, if there was a command since the last time.
#[test]
fn the_end_does_not_wait_for_silence() {
    let on_silence = OnSilence { after: 500 * MS, message: Map::new() };
    let mut gate = gate(&Command { on_silence: Some(on_silence), ..command() });
    let start = Instant::now();
    send(&mut gate, r#"{"msg":{}}"#, start).unwrap();
    assert!(gate.take_silence().is_some_and(|cdr| cdr.len() == 52));
    assert_eq!(gate.take_silence(), None);
    assert_eq!(gate.silence_due(start + SECOND), None);
    // What nobody takes is no command.
    gate.judge(&received(br#"{"msg":{}}"#), start, None).unwrap().unavailable("nobody").reply();
    assert_eq!(gate.take_silence(), None);
    send(&mut gate, r#"{"msg":{}}"#, start + SECOND).unwrap();
    assert!(gate.silence_due(start + 1500 * MS).is_some());
    assert_eq!(gate.take_silence(), None);
}

/// What an entry says has to fit its type; the message of on_silence keeps to the limits too.
#[test]
fn an_entry_that_does_not_fit_its_type_has_no_gate() {
    let no_gate = |command: &Command| Gate::new(command, &twist(), &HashMap::new()).map(drop).unwrap_err().to_string();
    let silence = |message: Value| {
        let message = message.as_object().unwrap().clone();
        Command { on_silence: Some(OnSilence { after: SECOND, message }), ..command() }
    };
    let limits = |path: &str| [(path.to_owned(), [0.1, 0.5])].into();
    assert_eq!(
        no_gate(&silence(json!({"linear": {"w": 0}}))),
        "the message of on_silence: field linear.w: geometry_msgs/msg/Vector3 has no such field"
    );
    assert_eq!(
        no_gate(&Command { limits: limits("linear.x"), ..silence(json!({})) }),
        "the message of on_silence: field linear.x: outside of the limits 0.1 to 0.5"
    );
    assert_eq!(
        no_gate(&Command { limits: limits("linear.w"), ..command() }),
        "limit `linear.w`: geometry_msgs/msg/Vector3 has no field w, but x, y, z"
    );
    assert_eq!(
        no_gate(&Command { limits: limits("linear/x"), ..command() }),
        "limit `linear/x`: names of fields are joined by dots, such as in `pose.pose.position`"
    );
}

/// A rate of a command in years does not overflow, nor does a deadline.
#[test]
fn far_times_do_no_harm() {
    let on_silence = OnSilence { after: Duration::MAX, message: Map::new() };
    let mut gate = gate(&Command { max_rate: Some(1e-300), on_silence: Some(on_silence), ..command() });
    let now = Instant::now();
    assert_eq!(reason(&mut gate, r#"{"msg":{}}"#, now), None);
    assert_eq!(reason(&mut gate, r#"{"msg":{}}"#, now + 1_000_000 * SECOND), Some(Reason::TooFast));
    assert_eq!(gate.silence_due_at(), None);
    assert!(gate.take_silence().is_some());
}

/// While nobody can judge, whoever has sent it is told so; what was retained is none the better for it.
#[test]
fn without_a_gate_a_command_is_unavailable() {
    let refused = |json: &str, payload, retain| {
        let received = Received { retain, ..received(json.as_bytes()) };
        text(Refused::without_gate(&received, payload, "its type is not there").reply())
    };
    let unavailable = r#""accepted":false,"reason":"unavailable","detail":"its type is not there"}"#;
    let envelope = r#"{"id":7,"msg":{}}"#;
    assert_eq!(refused(envelope, CommandPayload::Envelope, false), format!("{{\"id\":7,{unavailable}"));
    assert_eq!(refused("{\"id\":7,", CommandPayload::Envelope, false), format!("{{\"id\":7,{unavailable}"));
    assert_eq!(refused(envelope, CommandPayload::Message, false), format!("{{{unavailable}"));
    let retained = refused(envelope, CommandPayload::Envelope, true);
    assert!(retained.starts_with(r#"{"id":7,"accepted":false,"reason":"retained","detail":"the broker had kept it"#));
}
