use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::codec::{CdrWriter, Count, Field, Kind};
use crate::config::{ArrayLimit, ArrayOver, Arrays, Payload};
use crate::shaping::shaper::test_topic;
use crate::shaping::{Closed, CountedAs, Scratch, Shaper};
use crate::tally::{DropReason, ShapedReason};

const SECOND: Duration = Duration::from_secs(1);
const FROM: i64 = 1_700_000_000_000_000_000;

/// Has everything that is aggregated, and everything that is not.
fn schema() -> Arc<Schema> {
    let field = |name: &str, kind, count| Field { name: name.into(), kind, count };
    let message = |name: &str, fields| Kind::Message(Arc::new(Schema { name: name.into(), fields }));
    let stamp = vec![field("sec", Kind::I32, Count::One), field("nanosec", Kind::U32, Count::One)];
    let stamp = message("builtin_interfaces/msg/Time", stamp);
    let header = vec![field("stamp", stamp, Count::One), field("frame_id", Kind::String { bound: None }, Count::One)];
    let point = vec![field("x", Kind::F64, Count::One), field("label", Kind::String { bound: None }, Count::One)];
    Arc::new(Schema {
        name: "a_msgs/msg/All".into(),
        fields: vec![
            field("header", message("std_msgs/msg/Header", header), Count::One),
            field("count", Kind::I32, Count::One),
            field("on", Kind::Bool, Count::One),
            field("level", Kind::U8, Count::One),
            field("id", Kind::U8, Count::Array(2)),
            field("cov", Kind::F32, Count::Array(2)),
            field("points", message("a_msgs/msg/Point", point), Count::Array(2)),
            field("ranges", Kind::F32, Count::Sequence { bound: None }),
        ],
    })
}

#[derive(Debug, Clone, Copy)]
struct Message {
    count: i32,
    level: u8,
    cov: [f32; 2],
    x: [f64; 2],
}

impl Message {
    fn cdr(&self) -> Vec<u8> {
        let mut cdr = CdrWriter::new();
        cdr.write_i32(7);
        cdr.write_u32(8);
        cdr.write_string("map");
        cdr.write_i32(self.count);
        [1, self.level, 5, 6].into_iter().for_each(|octet| cdr.write_u8(octet));
        self.cov.iter().for_each(|number| cdr.write_u32(number.to_bits()));
        // Header 4 + 4 + 4 + 4, count 4, octets 4, cov 8: a multiple of eight.
        for x in self.x {
            cdr.write_u32(x.to_bits() as u32);
            cdr.write_u32((x.to_bits() >> 32) as u32);
            cdr.write_string("abc");
        }
        cdr.write_length(0);
        cdr.into_bytes()
    }
}

const MESSAGE: Message = Message { count: 1, level: 2, cov: [0.5, f32::NAN], x: [0.1, 2.0] };

fn topic(aggregate: &[Aggregate], payload: Payload) -> config::Topic {
    config::Topic { window: Some(10 * SECOND), aggregate: aggregate.to_vec(), ..test_topic(payload) }
}

fn shaper(topic: &config::Topic) -> Shaper {
    Shaper::new(topic, "r1", schema(), 100, &mut Decoders::default()).unwrap()
}

fn text(closed: Option<Closed>) -> String {
    String::from_utf8(closed.expect("a window").payload.expect("a record").to_vec()).unwrap()
}

const ALL: [Aggregate; 5] = [Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::Count];

/// The record has the figures of single numbers and of arrays of fixed size, in their nesting; no times, texts, booleans,
/// octets in arrays, sequences. NaN is left out, and is `null` where there was nothing else. `last` is the message.
#[test]
fn a_record_has_the_figures_of_the_numbers() {
    let mut shaper = shaper(&topic(&ALL, Payload::Message));
    let now = Instant::now();
    let other = Message { count: 4, level: 2, cov: [1.0, f32::NAN], x: [0.3, f64::NAN] };
    shaper.take(&MESSAGE.cdr(), 1, FROM, now).unwrap();
    assert_eq!(shaper.window_ends(), Some(now + 10 * SECOND));
    shaper.take(&other.cdr(), 2, FROM + 5, now + SECOND).unwrap();
    let closed = shaper.close(now + 60 * SECOND, &mut Scratch::new());
    assert_eq!(closed.as_ref().map(|closed| (closed.messages, closed.received_ns)), Some((2, FROM + 5)));
    assert_eq!(
        text(closed),
        r#"{"from":1700000000000000000,"to":1700000010000000000,"count":2,"#.to_owned()
            + r#""mean":{"count":2.5,"level":2.0,"cov":[0.75,null],"points":[{"x":0.2},{"x":2.0}]},"#
            + r#""min":{"count":1,"level":2,"cov":[0.5,null],"points":[{"x":0.1},{"x":2.0}]},"#
            + r#""max":{"count":4,"level":2,"cov":[1.0,null],"points":[{"x":0.3},{"x":2.0}]},"#
            + r#""last":{"header":{"stamp":{"sec":7,"nanosec":8},"frame_id":"map"},"count":4,"on":true,"level":2,"#
            + r#""id":"BQY=","cov":[1.0,null],"points":[{"x":0.3,"label":"abc"},{"x":null,"label":"abc"}],"ranges":[]}}"#
    );
    // The next one begins anew.
    assert!(shaper.window_ends().is_none() && shaper.close(now, &mut Scratch::new()).is_none());
    shaper.take(&MESSAGE.cdr(), 1, FROM, now + 60 * SECOND).unwrap();
    let next: Value = serde_json::from_str(&text(shaper.close(now + 90 * SECOND, &mut Scratch::new()))).unwrap();
    assert_eq!((&next["count"], &next["max"]["count"]), (&1.into(), &1.into()));
}

/// What travels is what is aggregated: `fields`, `exclude` and `digits` hold for a window too.
#[test]
fn a_selection_and_digits_hold_for_figures() {
    let topic = config::Topic {
        fields: vec!["points[1]".into(), "count".into(), "header".into()],
        digits: Some(3),
        ..topic(&[Aggregate::Mean], Payload::Message)
    };
    let mut shaper = shaper(&topic);
    let now = Instant::now();
    for count in [1_234_566, 1_234_566, 1_234_567] {
        shaper.take(&Message { count, x: [0.5, 0.1234], ..MESSAGE }.cdr(), 1, FROM, now).unwrap();
    }
    let record = text(shaper.close(now + 4 * SECOND, &mut Scratch::new()));
    // Closed before its time: it says how long it was.
    let head = r#"{"from":1700000000000000000,"to":1700000004000000000,"count":3,"#;
    // The mean of integers is not rounded, so that it is never less than the least.
    assert_eq!(record, format!(r#"{head}"mean":{{"count":1234566.3333333333,"points":[{{"x":0.123}}]}}}}"#));
}

/// An envelope has one number of `seq` for a window, and the times of its last message.
#[test]
fn an_envelope_is_around_the_record() {
    let mut shaper = shaper(&topic(&[], Payload::Envelope));
    let now = Instant::now();
    for (window, seq) in [(0, 100), (20, 101)] {
        let at = now + window * SECOND;
        shaper.take(&MESSAGE.cdr(), 1, FROM, at).unwrap();
        shaper.take(&MESSAGE.cdr(), 2, FROM + 3, at).unwrap();
        let record: Value = serde_json::from_str(&text(shaper.close(at + 10 * SECOND, &mut Scratch::new()))).unwrap();
        assert_eq!(record["msg"], serde_json::json!({"from": FROM, "to": FROM + 10_000_000_000, "count": 2}));
        assert_eq!(
            (&record["seq"], &record["stamp"], &record["received"]),
            (&seq.into(), &2.into(), &(FROM + 3).into())
        );
    }
    assert_eq!(shaper.next_number(), 102);
}

/// Two windows never overlap: what was received before the end of one that is closed already is of the next.
#[test]
fn windows_do_not_overlap() {
    let mut shaper = shaper(&topic(&[], Payload::Message));
    let now = Instant::now();
    shaper.take(&MESSAGE.cdr(), 1, FROM, now).unwrap();
    assert!(text(shaper.close(now + 11 * SECOND, &mut Scratch::new())).contains(r#""to":1700000010000000000"#));
    shaper.take(&MESSAGE.cdr(), 1, FROM + 9_000_000_000, now + 9 * SECOND).unwrap();
    assert_eq!(shaper.window_ends(), Some(now + 20 * SECOND));
    let next = text(shaper.close(now + 30 * SECOND, &mut Scratch::new()));
    assert_eq!(next, r#"{"from":1700000010000000000,"to":1700000020000000000,"count":1}"#);
}

/// A message that can't be read is none of the window's, and leaves nothing in it; a record that is too large is none.
#[test]
fn what_is_refused_leaves_the_window_as_it_was() {
    let mut shaper = shaper(&topic(&ALL, Payload::Message));
    let now = Instant::now();
    let broken = Message { count: 1000, ..MESSAGE }.cdr();
    assert!(shaper.take(&broken[..broken.len() - 8], 1, FROM, now).is_err());
    assert!(shaper.window_ends().is_none());
    shaper.take(&MESSAGE.cdr(), 1, FROM, now).unwrap();
    assert!(shaper.take(&broken[..broken.len() - 8], 1, FROM, now).is_err());
    let record: Value = serde_json::from_str(&text(shaper.close(now, &mut Scratch::new()))).unwrap();
    assert_eq!(
        (&record["count"], &record["max"]["count"], &record["last"]["count"]),
        (&1.into(), &1.into(), &1.into())
    );
    // Both were dropped, each is a gap before the number of the window.
    assert_eq!(shaper.next_number(), 103);
}

/// What could not travel by itself is none of the window's, whatever is aggregated: a message with a long array that `arrays`
/// drops takes no number and counts as shaped, one that does not fit its type is a gap.
#[test]
fn what_could_not_travel_is_none_of_the_windows() {
    const MEAN: &[Aggregate] = &[Aggregate::Mean];
    let drop = |max| Arrays { all: Some(ArrayLimit { max, over: ArrayOver::Drop }), fields: BTreeMap::default() };
    for aggregate in [&ALL[..], MEAN, &[Aggregate::Count]] {
        for (max, is_kept) in [(1, false), (2, true)] {
            let topic = config::Topic { arrays: Some(drop(max)), ..topic(aggregate, Payload::Message) };
            let mut shaper = shaper(&topic);
            let taken = shaper.take(&MESSAGE.cdr(), 1, FROM, Instant::now());
            let reason = taken.as_ref().err().map(Refused::counted_as);
            assert_eq!(reason, (!is_kept).then_some(CountedAs::Shaped(ShapedReason::Arrays)), "{aggregate:?}");
            assert_eq!((shaper.window_ends().is_some(), shaper.next_number()), (is_kept, 100));
        }
        let mut shaper = shaper(&topic(aggregate, Payload::Message));
        let cdr = MESSAGE.cdr();
        let refused = shaper.take(&cdr[..cdr.len() - 8], 1, FROM, Instant::now()).unwrap_err();
        assert_eq!(refused.counted_as(), CountedAs::Dropped(DropReason::Malformed), "{aggregate:?}");
        assert_eq!((shaper.window_ends(), shaper.next_number()), (None, 101));
    }
}

/// A record that is too large is refused, and says how large the last message was in ROS.
#[test]
fn a_record_that_is_too_large_is_refused() {
    let fields = vec![Field { name: "cov".into(), kind: Kind::F64, count: Count::Array(4000) }];
    let schema = Arc::new(Schema { name: "a_msgs/msg/Large".into(), fields });
    let topic = topic(&[Aggregate::Mean, Aggregate::Min, Aggregate::Max], Payload::Message);
    let mut shaper = Shaper::new(&topic, "r1", schema, 100, &mut Decoders::default()).unwrap();
    let mut cdr = CdrWriter::new();
    for _ in 0..4000 {
        cdr.write_u32(0x5555_5555);
        cdr.write_u32(0x3fd5_5555);
    }
    let now = Instant::now();
    shaper.take(&cdr.into_bytes(), 1, FROM, now).unwrap();
    let closed = shaper.close(now, &mut Scratch::new()).unwrap();
    assert_eq!((closed.payload.unwrap_err(), closed.bytes), (Refused::TooLarge { limit: 131_072 }, 4 + 8 * 4000));
}

/// A type without a number has none to aggregate, which is said.
#[test]
fn nothing_to_aggregate_is_said() {
    let exclude = ["count", "level", "cov", "points"].map(str::to_owned).to_vec();
    let topic = |aggregate| config::Topic { exclude: exclude.clone(), ..topic(aggregate, Payload::Message) };
    let made = |aggregate| Shaper::new(&topic(aggregate), "r1", schema(), 0, &mut Decoders::default());
    let refused = made(&[Aggregate::Mean]).unwrap_err();
    assert!(refused.to_string().starts_with("`aggregate` finds no number in a_msgs/msg/All"), "{refused}");
    assert!(made(&[Aggregate::Last, Aggregate::Count]).is_ok());
}

fn message() -> impl Strategy<Value = Message> {
    let float = prop_oneof![8 => -1e6f64..1e6, 1 => Just(f64::NAN), 1 => Just(-0.0)];
    (any::<i32>(), any::<u8>(), [float.clone(), float.clone()], [float.clone(), float])
        .prop_map(|(count, level, cov, x)| Message { count, level, cov: cov.map(|number| number as f32), x })
}

/// Mean, least and largest of `numbers` without NaN, computed plainly.
fn plain(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64, f64)> {
    let numbers: Vec<f64> = numbers.filter(|number| !number.is_nan()).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let [min, max] = [f64::min, f64::max].map(|better| numbers.iter().copied().reduce(better));
    Some((mean, min?, max?))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn figures_are_those_of_a_plain_computation(messages in prop::collection::vec(message(), 1..40)) {
        let mut shaper = shaper(&topic(&ALL, Payload::Message));
        let now = Instant::now();
        for message in &messages {
            shaper.take(&message.cdr(), 1, FROM, now).unwrap();
        }
        let record: Value = serde_json::from_str(&text(shaper.close(now, &mut Scratch::new()))).unwrap();
        prop_assert_eq!(record["count"].as_u64(), Some(messages.len() as u64));
        let figure = |of: fn(&Message) -> f64, path: &str, precision: f64| {
            let found = ["mean", "min", "max"].map(|key| record[key].pointer(path).expect("a figure").as_f64());
            match plain(messages.iter().map(of)) {
                None => prop_assert_eq!(found, [None; 3]),
                Some((mean, min, max)) => {
                    let [Some(of_mean), Some(of_min), Some(of_max)] = found else { panic!("{record}") };
                    prop_assert!((of_mean - mean).abs() <= precision * (1.0 + mean.abs()), "{of_mean} {mean}");
                    // A float32 is written with its own shortest digits.
                    prop_assert!((of_min - min).abs() <= precision * min.abs() && (of_max - max).abs() <= precision * max.abs());
                }
            }
            Ok(())
        };
        figure(|message| message.count.into(), "/count", 1e-15)?;
        figure(|message| message.level.into(), "/level", 1e-15)?;
        figure(|message| message.cov[0].into(), "/cov/0", 1e-6)?;
        figure(|message| message.cov[1].into(), "/cov/1", 1e-6)?;
        figure(|message| message.x[0], "/points/0/x", 1e-12)?;
        figure(|message| message.x[1], "/points/1/x", 1e-12)?;
    }
}
