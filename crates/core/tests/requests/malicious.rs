//! What somebody sends who wants to do harm: each is refused with a reason, nothing is published, and nothing of it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iot_bridge_core::codec::{Count, Encoder, Field, Kind, Schema};
use iot_bridge_core::config::{Command, CommandPayload, PAYLOAD_LIMIT, Qos};
use iot_bridge_core::requests::{ActionRequest, Gate, Reason, Received, ServiceRequest};

use crate::support::itself::resident;

/// Fields of each sort, and a list of large messages, each of which is two bytes of JSON.
fn schema() -> Arc<Schema> {
    let field = |name: &str, kind, count| Field { name: name.into(), kind, count };
    let large = vec![field("zeros", Kind::F64, Count::Array(1000))];
    let large = Kind::Message(Arc::new(Schema { name: "test/msg/Large".into(), fields: large }));
    let fields = vec![
        field("x", Kind::F64, Count::One),
        field("n", Kind::U8, Count::One),
        field("text", Kind::String { bound: None }, Count::One),
        field("bytes", Kind::U8, Count::Sequence { bound: None }),
        field("list", Kind::F64, Count::Sequence { bound: Some(10) }),
        field("larges", large, Count::Sequence { bound: None }),
    ];
    Arc::new(Schema { name: "test/msg/Harmed".into(), fields })
}

fn gate(payload: CommandPayload) -> Gate {
    let command = Command {
        mqtt: "robots/r/x".into(),
        ros: "/x".into(),
        type_name: "test/msg/Harmed".into(),
        payload,
        qos: Qos::AtLeastOnce,
        max_rate: None,
        max_age: None,
        limits: [("x".to_owned(), [-1.0, 1.0])].into(),
        on_silence: None,
        reply: None,
    };
    Gate::new(&command, &schema(), &HashMap::new()).unwrap()
}

/// Messages as JSON that are none, and one that is outside of its limit.
fn messages() -> Vec<Vec<u8>> {
    let room = PAYLOAD_LIMIT - 100;
    let mut messages: Vec<Vec<u8>> = [
        r#"{"x":1e999}"#,
        r#"{"x":-1e999}"#,
        r#"{"x":NaN}"#,
        r#"{"x":"NaN"}"#,
        r#"{"x":Infinity}"#,
        r#"{"x":null}"#,
        r#"{"x":1.0000000000000002}"#,
        r#"{"x":[1]}"#,
        r#"{"x":1,"x":1}"#,
        r#"{"n":1,"x":1,"\u0078":1}"#,
        r#"{"n":-1}"#,
        r#"{"n":1e2}"#,
        r#"{"n":256}"#,
        r#"{"n":18446744073709551616}"#,
        r#"{"text":7}"#,
        r#"{"text":"\u0000"}"#,
        r#"{"text":"\ud800"}"#,
        r#"{"bytes":"AA"}"#,
        r#"{"list":[1,2,3,4,5,6,7,8,9,10,11]}"#,
        r#"{"list":{"length":4294967295}}"#,
        r#"{"X":1}"#,
        r#"{"__proto__":{}}"#,
        "[]",
        "null",
        "",
        "{",
        "{}{}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    messages.extend([
        b"{\"text\":\"\xff\"}".to_vec(),
        b"{\"text\":\"\xc0\x80\"}".to_vec(),
        b"{\"text\":\"\xed\xa0\x80\"}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"\x00".to_vec(),
    ]);
    let repeated = [
        ("", "[", ""),
        ("", "{\"x\":", ""),
        ("{\"list\":", "[", ""),
        ("{\"unknown\":", "[", ""),
        ("{\"x\":", "9", "}"),
        ("{\"x\":1e", "9", "}"),
        ("{\"n\":", "0", "}"),
        ("{\"larges\":[{}", ",{}", "]}"),
        ("{\"larges\":[{}", ",{\"zeros\":[]}", "]}"),
        ("{\"", "x", "\":1}"),
        ("{\"bytes\":\"", "A", "-\"}"),
        ("{\"text\":\"", "\\ud83d", "\"}"),
        ("{\"n\":1", ",\"n\":1", "}"),
    ];
    messages.extend(repeated.map(|(start, middle, end)| {
        let count = (room - start.len() - end.len()) / middle.len();
        [start, &middle.repeat(count), end].concat().into_bytes()
    }));
    let half = room / 2 - 20;
    for field in ["list", "text", "larges", "unknown"] {
        messages.push(format!("{{\"{field}\":{}{}}}", "[".repeat(half), "]".repeat(half)).into_bytes());
    }
    messages
}

/// Envelopes that are none, around a message that is one.
fn envelopes() -> Vec<Vec<u8>> {
    let long = |of: &str| of.repeat(PAYLOAD_LIMIT - 100);
    let megabyte = "a".repeat(1 << 20);
    let short = [
        r#"{"id":1e999,"msg":{}}"#,
        r#"{"id":{"a":1},"msg":{}}"#,
        r#"{"id":"\udfff","msg":{}}"#,
        r#"{"id":1,"id":2,"msg":{}}"#,
        r#"{"msg":{},"msg":{}}"#,
        r#"{"msg":{},"\u006dsg":{}}"#,
        r#"{"sent":1,"sent":1,"msg":{}}"#,
        r#"{"sent":1e18,"msg":{}}"#,
        r#"{"id":"a"}"#,
    ];
    let long = [
        format!(r#"{{"id":"{}","msg":{{}}}}"#, long("a")),
        format!(r#"{{"id":"{megabyte}","msg":{{}}}}"#),
        format!(r#"{{"msg":{{}},"id":"{megabyte}"}}"#),
        format!(r#"{{"id":{},"msg":{{}}}}"#, long("1")),
        format!(r#"{{"id":{},"msg":{{}}}}"#, long("[")),
        format!(r#"{{"sent":"{}","msg":{{}}}}"#, long("a")),
        format!(r#"{{"sent":{},"msg":{{}}}}"#, long("9")),
        format!(r#"{{"{}":1,"msg":{{}}}}"#, long("a")),
        format!(r#"{{"a":{},"msg":{{}}}}"#, long("[")),
        format!("{{{}", r#""msg":{"#.repeat(15_000)),
        long("["),
        long(" "),
        long("a"),
        megabyte,
    ];
    short.into_iter().map(Vec::from).chain(long.map(String::into_bytes)).collect()
}

/// All of it, as whole payloads.
fn payloads() -> Vec<(CommandPayload, Vec<u8>)> {
    let inside = |message: &Vec<u8>| [b"{\"id\":\"a\",\"msg\":", &message[..], b"}"].concat();
    let messages = messages();
    let wrapped = messages.iter().map(|message| (CommandPayload::Envelope, inside(message)));
    let plain = messages.iter().map(|message| (CommandPayload::Message, message.clone()));
    let envelopes = envelopes().into_iter().map(|envelope| (CommandPayload::Envelope, envelope));
    wrapped.chain(plain).chain(envelopes).collect()
}

/// A command, a request for a service and one for an action: all are refused in words, and replies are short.
#[test]
fn what_is_sent_to_do_harm_is_refused() {
    let encoder = Encoder::new(&schema(), &HashMap::new(), &[]).unwrap();
    for (payload, bytes) in payloads() {
        let start = &bytes[..bytes.len().min(60)];
        let shown = String::from_utf8_lossy(start);
        let received = Received { payload: &bytes, retain: false, correlation_data: None };
        let mut gate = gate(payload);
        let refused = gate.judge(&received, Instant::now(), None).map(drop).expect_err(&shown);
        let is_outside = shown.contains("1.0000000000000002") || shown.contains("\"x\":null");
        let expected = if is_outside { Reason::OutOfLimits } else { Reason::Malformed };
        assert_eq!(refused.reason, expected, "{shown}: {}", refused.detail);
        assert!(refused.reply().len() < 500, "{shown}");
        if payload == CommandPayload::Envelope {
            for (from, to) in [("\"msg\"", "\"request\""), ("\"msg\"", "\"goal\"")] {
                let text = String::from_utf8_lossy(&bytes).replace(from, to);
                // Only commands have limits and `sent`.
                let is_for_commands = is_outside || shown.contains("sent");
                let payload = if str::from_utf8(&bytes).is_ok() { text.as_bytes() } else { &bytes[..] };
                let received = Received { payload, ..received };
                if to == "\"request\"" {
                    let read = ServiceRequest::read(&received, &encoder).map(drop);
                    assert!(
                        is_for_commands || read.is_err_and(|malformed| malformed.no_response().len() < 500),
                        "{shown}"
                    );
                } else {
                    let read = ActionRequest::read(&received, &encoder).map(drop);
                    assert!(is_for_commands || read.is_err_and(|malformed| malformed.status().len() < 500), "{shown}");
                }
            }
        }
    }
}

/// However often it comes, no memory is kept of it; of what is accepted, no more than the ids that count.
#[test]
fn memory_stays_flat() {
    let payloads = payloads();
    let mut gates = [gate(CommandPayload::Message), gate(CommandPayload::Envelope)];
    let start = Instant::now();
    let mut number = 0u64;
    let mut round = || {
        for (payload, bytes) in &payloads {
            let received = Received { payload: bytes, retain: false, correlation_data: Some(bytes) };
            let gate = &mut gates[usize::from(*payload == CommandPayload::Envelope)];
            gate.judge(&received, start, None).map(drop).unwrap_err();
        }
        for _ in 0..600 {
            number += 1;
            let id = format!("{number:0128}");
            let json = format!(r#"{{"id":"{id}","msg":{{}}}}"#);
            let received = Received { payload: json.as_bytes(), retain: false, correlation_data: None };
            gates[1].judge(&received, start + Duration::from_millis(number), None).unwrap().published();
        }
    };
    (0..2).for_each(|_| round());
    let before = resident();
    (0..4).for_each(|_| round());
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes more after four times the same");
}
