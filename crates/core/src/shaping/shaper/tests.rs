use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::codec::{Count, Field, Kind};
use crate::config::PAYLOAD_LIMIT;
use crate::config::{ArrayLimit, ArrayOver, Arrays, Batch, Encoding, Payload};

const SOURCE: i64 = 1_700_000_000_000_000_001;
const RECEIVED: i64 = 1_700_000_000_000_500_002;

pub fn topic(payload: Payload) -> config::Topic {
    config::Topic {
        ros: "/chat\"ter".into(),
        mqtt: "robots/r1/chatter".into(),
        payload,
        ..config::default_topic("r1", "/chatter").unwrap()
    }
}

fn string_schema(name: &str) -> Arc<Schema> {
    let data = Field { name: "data".into(), kind: Kind::String { bound: None }, count: Count::One };
    Arc::new(Schema { name: name.into(), fields: vec![data] })
}

fn string(text: &[u8]) -> Vec<u8> {
    let mut cdr = vec![0, 1, 0, 0];
    cdr.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
    cdr.extend_from_slice(text);
    cdr.push(0);
    cdr
}

fn shaper(payload: Payload) -> Shaper {
    Shaper::new(&topic(payload), "r1", string_schema(STRING_TYPE), FIRST, &mut Decoders::default()).unwrap()
}

fn shape(shaper: &mut Shaper, cdr: &[u8]) -> Result<Bytes, Refused> {
    shaper.shape(cdr, SOURCE, RECEIVED, &mut Scratch::new())
}

/// What `seq` starts from.
const FIRST: u64 = 1_700_000_000_000_000;

fn seq(payload: &Bytes) -> u64 {
    serde_json::from_slice::<serde_json::Value>(payload).unwrap()["seq"].as_u64().unwrap()
}

#[test]
fn message_is_the_json_alone() {
    assert_eq!(shape(&mut shaper(Payload::Message), &string(b"hi")).unwrap(), r#"{"data":"hi"}"#);
}

#[test]
fn envelope_says_where_the_message_comes_from() {
    let mut shaper = shaper(Payload::Envelope);
    let payload = shape(&mut shaper, &string(b"hi")).unwrap();
    let seq = seq(&payload);
    let expected = format!(r#"{{"thing":"r1","topic":"/chat\"ter","type":"std_msgs/msg/String","seq":{seq},"#,)
        + r#""stamp":1700000000000000001,"received":1700000000000500002,"msg":{"data":"hi"}}"#;
    assert_eq!(payload, expected);
}

/// A robot that has no name yet says so, and not another one.
#[test]
fn an_envelope_of_a_robot_without_a_name_has_null() {
    let nameless = Shaper::new(
        &topic(Payload::Envelope),
        crate::config::UNNAMED,
        string_schema(STRING_TYPE),
        FIRST,
        &mut Decoders::default(),
    );
    let payload = shape(&mut nameless.unwrap(), &string(b"hi")).unwrap();
    assert!(payload.starts_with(br#"{"thing":null,"topic":"/chat"#), "{payload:?}");
}

#[test]
fn seq_counts_refused_messages_too() {
    let mut shaper = shaper(Payload::Envelope);
    let first = shape(&mut shaper, &string(b"one")).unwrap();
    shape(&mut shaper, b"short").unwrap_err();
    let third = shape(&mut shaper, &string(b"three")).unwrap();
    assert_eq!(seq(&third), seq(&first) + 2);
}

#[test]
fn data_is_the_text_byte_for_byte() {
    let text = b"{\"speed\": 1.50}\n\xff\xfe \0 end";
    assert_eq!(shape(&mut shaper(Payload::Data), &string(text)).unwrap(), text.as_slice());
}

/// In a batch the text is a JSON string, because the batch is a JSON array; what is no UTF-8 is replaced.
#[test]
fn data_of_a_batch_is_a_json_string() {
    let topic = config::Topic { batch: Some(Batch { max: 50, linger: Duration::ZERO }), ..topic(Payload::Data) };
    let mut shaper = Shaper::new(&topic, "r1", string_schema(STRING_TYPE), FIRST, &mut Decoders::default()).unwrap();
    assert_eq!(shape(&mut shaper, &string(b"a \"b\"\n\xff")).unwrap(), "\"a \\\"b\\\"\\n\u{FFFD}\"");
}

/// A batch's brackets count, and a topic that compresses may have longer payloads, within a bound.
#[test]
fn the_limit_is_that_of_the_packing() {
    let batch = Some(Batch { max: 50, linger: Duration::ZERO });
    let cases = [
        (batch, None, PAYLOAD_LIMIT - 2),
        (None, Some(Encoding::Gzip), 1 << 20),
        (batch, Some(Encoding::Zstd), (1 << 20) - 2),
    ];
    for (batch, compression, limit) in cases {
        let topic = config::Topic { batch, compression, ..topic(Payload::Message) };
        let mut shaper =
            Shaper::new(&topic, "r1", string_schema(STRING_TYPE), FIRST, &mut Decoders::default()).unwrap();
        let longest = vec![b'x'; limit - r#"{"data":""}"#.len()];
        assert_eq!(shape(&mut shaper, &string(&longest)).unwrap().len(), limit);
        let too_long = [longest.as_slice(), b"x"].concat();
        assert_eq!(shape(&mut shaper, &string(&too_long)).unwrap_err(), Refused::TooLarge { limit });
    }
}

#[test]
fn data_of_another_type_is_refused() {
    let refused =
        Shaper::new(&topic(Payload::Data), "r1", string_schema("example/msg/Text"), FIRST, &mut Decoders::default())
            .unwrap_err();
    assert_eq!(refused, Unshapable::NoText { type_name: "example/msg/Text".into() });
}

#[test]
fn cdr_is_the_message_as_received() {
    let cdr = [0, 7, 0, 0, 1, 2, 3];
    assert_eq!(shape(&mut shaper(Payload::Cdr), &cdr).unwrap(), cdr.as_slice());
}

#[test]
fn a_malformed_message_says_where() {
    for payload in [Payload::Message, Payload::Envelope, Payload::Data] {
        let refused = shape(&mut shaper(payload), &[0, 1, 0, 0, 9, 0, 0, 0, b'x']).unwrap_err();
        assert_eq!(refused.counted_as(), CountedAs::Dropped(DropReason::Malformed));
        assert!(refused.to_string().contains("field data, byte 8"), "{refused}");
    }
}

/// For each form: the longest text whose payload is within the limit passes, one byte more is refused.
#[test]
fn the_limit_is_that_of_the_whole_payload() {
    let envelope = shape(&mut shaper(Payload::Envelope), &string(b"")).unwrap().len();
    let forms = [
        (Payload::Message, r#"{"data":""}"#.len()),
        (Payload::Envelope, envelope),
        (Payload::Data, 0),
        (Payload::Cdr, string(b"").len()),
    ];
    for (payload, around) in forms {
        let mut shaper = shaper(payload);
        let longest = vec![b'x'; PAYLOAD_LIMIT - around];
        assert_eq!(shape(&mut shaper, &string(&longest)).unwrap().len(), PAYLOAD_LIMIT);
        let too_long = vec![b'x'; PAYLOAD_LIMIT - around + 1];
        let refused = shape(&mut shaper, &string(&too_long)).unwrap_err();
        assert_eq!(refused.counted_as(), CountedAs::Dropped(DropReason::TooLarge), "{payload:?}");
    }
}

#[test]
fn a_refused_message_leaves_nothing_for_the_next() {
    let mut shaper = shaper(Payload::Message);
    let mut scratch = Scratch::new();
    shaper.shape(&string(b"hi")[..9], SOURCE, RECEIVED, &mut scratch).unwrap_err();
    let next = shaper.shape(&string(b"ho"), SOURCE, RECEIVED, &mut scratch).unwrap();
    assert_eq!(next, r#"{"data":"ho"}"#);
}

/// A message that is shaped away takes no number, one that is dropped takes one, and so does one that is not looked at.
#[test]
fn what_is_shaped_away_takes_no_number() {
    let samples = Field { name: "s".into(), kind: Kind::U8, count: Count::Sequence { bound: None } };
    let schema = Arc::new(Schema { name: "example/msg/Samples".into(), fields: vec![samples] });
    let arrays = Some(Arrays { all: Some(ArrayLimit { max: 1, over: ArrayOver::Drop }), fields: BTreeMap::new() });
    let topic = config::Topic { arrays, ..topic(Payload::Envelope) };
    let mut shaper = Shaper::new(&topic, "r1", schema, FIRST, &mut Decoders::default()).unwrap();
    let refused = shape(&mut shaper, &[0, 1, 0, 0, 2, 0, 0, 0, 7, 7]).unwrap_err();
    assert_eq!(refused.counted_as(), CountedAs::Shaped(ShapedReason::Arrays));
    assert_eq!(refused.to_string(), "field s has 2 elements, `arrays` drops messages with more than 1");
    assert_eq!(shaper.next_number(), FIRST);
    let kept = shape(&mut shaper, &[0, 1, 0, 0, 1, 0, 0, 0, 7]).unwrap();
    assert!(kept.ends_with(br#""msg":{"s":"Bw=="}}"#) && shaper.next_number() == FIRST + 1);
    shape(&mut shaper, &[0, 1, 0, 0, 9, 0, 0, 0]).unwrap_err();
    shaper.pass_over();
    assert_eq!(shaper.next_number(), FIRST + 3);
}

#[test]
fn a_path_that_leads_nowhere_is_no_shaper() {
    let topic = config::Topic { fields: vec!["date".into()], ..topic(Payload::Message) };
    let error = Shaper::new(&topic, "r1", string_schema(STRING_TYPE), FIRST, &mut Decoders::default()).unwrap_err();
    let words = "`date` in `fields` matches nothing in std_msgs/msg/String: std_msgs/msg/String has no field `date`; did \
                 you mean `data`?";
    assert_eq!(error.to_string(), words);
}
