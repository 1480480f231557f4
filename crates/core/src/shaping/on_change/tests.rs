use proptest::prelude::*;

use super::*;
use crate::codec::{CdrWriter, Count, Field, Kind};
use crate::shaping::shaper::test_topic;

const SECOND: Duration = Duration::from_secs(1);

/// A message of every kind of value that is compared in its own way.
#[derive(Clone)]
struct Message {
    x: f64,
    count: i32,
    on: u8,
    name: &'static str,
    ranges: Vec<f32>,
    image: Vec<u8>,
}

const MESSAGE: Message = Message { x: 1.0, count: 200, on: 0, name: "a", ranges: Vec::new(), image: Vec::new() };

fn schema() -> Arc<Schema> {
    let field = |name: &str, kind, count| Field { name: name.into(), kind, count };
    let sequence = Count::Sequence { bound: None };
    Arc::new(Schema {
        name: "a_msgs/msg/All".into(),
        fields: vec![
            field("x", Kind::F64, Count::One),
            field("count", Kind::I32, Count::One),
            field("on", Kind::Bool, Count::One),
            field("name", Kind::String { bound: None }, Count::One),
            field("ranges", Kind::F32, sequence),
            field("image", Kind::U8, sequence),
        ],
    })
}

impl Message {
    fn cdr(&self) -> Vec<u8> {
        let mut cdr = CdrWriter::new();
        let bits = self.x.to_bits();
        cdr.write_u32(bits as u32);
        cdr.write_u32((bits >> 32) as u32);
        cdr.write_i32(self.count);
        cdr.write_u8(self.on);
        cdr.write_string(self.name);
        cdr.write_length(self.ranges.len());
        self.ranges.iter().for_each(|range| cdr.write_u32(range.to_bits()));
        cdr.write_length(self.image.len());
        self.image.iter().for_each(|octet| cdr.write_u8(*octet));
        cdr.into_bytes()
    }
}

fn try_on_change(fields: &[&str], deadband: Option<Deadband>) -> Result<OnChange, Unshapable> {
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    let on_change = config::OnChange { fields, deadband, at_least_every: None };
    let topic = config::Topic { on_change: Some(on_change), ..test_topic(config::Payload::Message) };
    OnChange::of(&topic, &schema(), &mut Decoders::default()).map(Option::unwrap)
}

fn on_change(fields: &[&str], deadband: Option<Deadband>) -> OnChange {
    try_on_change(fields, deadband).unwrap()
}

/// Which of the messages with these values of `x` are sent.
fn sent(deadband: Option<Deadband>, values: &[f64]) -> Vec<f64> {
    let (mut on_change, now) = (on_change(&["x"], deadband), Instant::now());
    let is_sent = |x: &f64| {
        let cdr = Message { x: *x, ..MESSAGE }.cdr();
        let is_sent = on_change.judge(&cdr, now) != Change::None;
        if is_sent {
            on_change.was_sent(&cdr, now);
        }
        is_sent
    };
    values.iter().copied().filter(is_sent).collect()
}

/// Whether `after` is sent when `before` was the last.
fn differs(on_change: &mut OnChange, before: &Message, after: &Message) -> bool {
    let now = Instant::now();
    on_change.was_sent(&before.cdr(), now);
    on_change.judge(&after.cdr(), now) != Change::None
}

/// What counts is the last value that was sent, so that a slow drift is seen.
#[test]
fn a_drift_is_seen() {
    let absolute = |least| Some(Deadband::Absolute(least));
    let drift: Vec<f64> = (0..10).map(|step| f64::from(step) * 0.3).collect();
    assert_eq!(sent(absolute(1.0), &drift), [0.0, 1.2, 2.4]);
    assert_eq!(sent(absolute(0.01), &[0.0, 0.01, 0.02, 0.025, 0.03, 0.02]), [0.0, 0.01, 0.02, 0.03, 0.02]);
    assert_eq!(sent(absolute(0.0), &[1.0, 1.0, 1.0 + f64::EPSILON, 1.0]), [1.0, 1.0 + f64::EPSILON, 1.0]);
    assert_eq!(sent(None, &[1.0, 1.0, 1.0 + f64::EPSILON, -0.0, 0.0]), [1.0, 1.0 + f64::EPSILON, -0.0]);
}

/// A percentage is of the magnitude of what was sent; from 0 anything is a change.
#[test]
fn a_percentage_is_of_what_was_sent() {
    let percent = Some(Deadband::Percent(10.0));
    assert_eq!(sent(percent, &[100.0, 109.0, 110.0, 120.0, 121.0]), [100.0, 110.0, 121.0]);
    assert_eq!(sent(percent, &[-100.0, -109.0, -90.0]), [-100.0, -90.0]);
    assert_eq!(sent(percent, &[0.0, 0.0, 1e-300, 0.0]), [0.0, 1e-300, 0.0]);
}

/// From NaN to NaN is no change, to and from a number is one, whatever the deadband.
#[test]
fn nan_is_nan() {
    const NAN: f64 = f64::NAN;
    for deadband in [None, Some(Deadband::Absolute(1e9)), Some(Deadband::Percent(1e9))] {
        let got = sent(deadband, &[NAN, NAN, 1.0, 1.0, NAN, NAN, f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY]);
        assert_eq!(format!("{got:?}"), "[NaN, 1.0, NaN, inf, -inf]", "{deadband:?}");
    }
}

/// Text, booleans and octets differ if they are not equal; the deadband is for numbers, of integers too. Another length is a
/// change. One field is enough, and what is not named is not looked at.
#[test]
fn each_kind_is_compared_in_its_way() {
    let all = Message { ranges: vec![1.0, 2.0], image: vec![1, 2], ..MESSAGE };
    let others = [
        ("x", Message { x: 1.5, ..all.clone() }, false),
        ("count", Message { count: 201, ..all.clone() }, false),
        ("count", Message { count: 250, ..all.clone() }, true),
        ("on", Message { on: 1, ..all.clone() }, true),
        ("name", Message { name: "b", ..all.clone() }, true),
        ("ranges", Message { ranges: vec![1.5, 2.5], ..all.clone() }, false),
        ("ranges", Message { ranges: vec![1.0, 22.0], ..all.clone() }, true),
        ("ranges", Message { ranges: vec![1.0, 2.0, 3.0], ..all.clone() }, true),
        ("ranges", Message { ranges: vec![1.0], ..all.clone() }, true),
        ("image", Message { image: vec![1, 3], ..all.clone() }, true),
        ("image", Message { image: vec![1], ..all.clone() }, true),
    ];
    let deadband = Some(Deadband::Absolute(10.0));
    for (field, other, beyond) in others {
        assert!(!differs(&mut on_change(&[], deadband), &all, &all));
        assert_eq!(differs(&mut on_change(&[], deadband), &all, &other), beyond, "{field}");
        assert_eq!(differs(&mut on_change(&[field], deadband), &all, &other), beyond, "{field}");
        assert!(differs(&mut on_change(&["*"], None), &all, &other), "{field}");
        let apart = if field == "x" { "count" } else { "x" };
        assert!(!differs(&mut on_change(&[apart], None), &all, &other), "{field}");
    }
}

/// `at_least_every` lets the next message after that time go on, changed or not.
#[test]
fn a_message_goes_on_after_a_time() {
    let (mut on_change, start) = (on_change(&["x"], None), Instant::now());
    on_change.at_least_every = Some(10 * SECOND);
    let cdr = MESSAGE.cdr();
    assert_eq!(on_change.judge(&cdr, start), Change::First);
    on_change.was_sent(&cdr, start);
    assert_eq!(on_change.judge(&cdr, start + 9 * SECOND), Change::None);
    assert_eq!(on_change.judge(&cdr, start + 10 * SECOND), Change::Due);
    on_change.was_sent(&cdr, start + 11 * SECOND);
    assert_eq!(on_change.judge(&cdr, start + 20 * SECOND), Change::None);
    let other = Message { x: 2.0, ..MESSAGE }.cdr();
    assert_eq!(on_change.judge(&other, start + 12 * SECOND), Change::Differs);
}

/// What is kept of a message is bounded; a larger one always goes on.
#[test]
fn what_is_kept_is_bounded() {
    let huge = Message { image: vec![7; MOST], ..MESSAGE };
    let mut on_change = on_change(&[], None);
    assert!(differs(&mut on_change, &huge, &huge));
    assert!(on_change.sent.bytes.capacity() + on_change.sent.leaves.capacity() * size_of::<Leaf>() <= 2 * MOST);
    assert!(!differs(&mut on_change, &MESSAGE, &MESSAGE));
    let fits = Message { image: vec![7; MOST - 1000], ..MESSAGE };
    assert!(!differs(&mut on_change, &fits, &fits));
}

/// A path that the type does not have is refused with the key that it stands under; what is no message goes on, to be
/// dropped as malformed.
#[test]
fn what_cannot_be_compared_is_said() {
    let refused = try_on_change(&["xx"], None).unwrap_err().to_string();
    assert!(refused.contains("`xx` in `on_change.fields`") && refused.contains("`x`"), "{refused}");
    let mut on_change = on_change(&[], None);
    on_change.was_sent(&MESSAGE.cdr(), Instant::now());
    assert_eq!(on_change.judge(&MESSAGE.cdr()[..12], Instant::now()), Change::Differs);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What is sent is what a plain loop over the values sends.
    #[test]
    fn as_a_plain_loop_says(values in prop::collection::vec(-50i32..50, 1..60), least in 0u32..20) {
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let mut expected: Vec<f64> = Vec::new();
        for value in &values {
            let is_far = |sent: &f64| sent != value && (sent - value).abs() >= f64::from(least);
            if expected.last().is_none_or(is_far) {
                expected.push(*value);
            }
        }
        prop_assert_eq!(sent(Some(Deadband::Absolute(least.into())), &values), expected);
    }
}
