//! What a message allocates once buffers have grown: nothing in the codec, and in shaping what travels.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use iot_bridge_core::codec::{Decoder, Decoders, Encoder, JsonBuffer, Selection};
use iot_bridge_core::config::{self, Aggregate, ArrayLimit, ArrayOver, Arrays, Payload};
use iot_bridge_core::shaping::{Change, OnChange, Scratch, Shaper, Thinning};

use crate::{encode, kinds};

const HOUR: Duration = Duration::from_secs(3600);

/// What the second and the third call of `work` allocate together: the first may have grown its buffers.
fn allocated(mut work: impl FnMut()) -> AllocationInfo {
    work();
    measure(|| (0..2).for_each(|_| work()))
}

/// A message of any kind becomes JSON, whole or in part, without an allocation, and CDR again.
#[test]
fn the_codec_allocates_nothing() {
    for (title, schema, values) in kinds::all() {
        let cdr = encode::cdr(&schema, &values, false);
        let whole = Decoder::new(Arc::clone(&schema)).unwrap();
        let digits = Selection { digits: Some(4), ..Selection::default() };
        let summary =
            Selection { arrays: Some(ArrayLimit { max: 10, over: ArrayOver::Summary }), ..Selection::default() };
        let parts = [digits, summary].map(|selection| Decoder::select(Arc::clone(&schema), &selection).unwrap());
        let mut json = JsonBuffer::new(1 << 20);
        for decoder in parts.iter().chain([&whole]) {
            let info = allocated(|| {
                json.clear();
                decoder.write_json(&cdr, &mut json).unwrap();
            });
            assert_eq!(info.count_total, 0, "{title} to JSON: {info:?}");
        }
        let info = allocated(|| whole.read_values(&cdr, |_| ()).unwrap());
        assert_eq!(info.count_total, 0, "{title}, its values: {info:?}");
        // Escapes are a case of their own.
        let is_escaped = json.as_bytes().contains(&b'\\');
        assert_eq!(is_escaped, schema.name == config::STRING_TYPE, "{title}");
        let (encoder, mut bytes) = (Encoder::new(&schema, &HashMap::new(), &[]).unwrap(), Vec::new());
        let info = allocated(|| encoder.encode(json.as_bytes(), &mut bytes).unwrap());
        assert!(info.count_total == 0 || is_escaped, "{title} from JSON: {info:?}");
    }
}

/// A text becomes CDR without an allocation, unless it has escapes: serde_json takes them out in memory of its own, of the text's
/// size, which grows by doubling.
#[test]
fn only_a_text_with_escapes_allocates() {
    let schema = kinds::message(config::STRING_TYPE).0;
    let (encoder, mut bytes) = (Encoder::new(&schema, &HashMap::new(), &[]).unwrap(), Vec::new());
    for (character, count, size) in [("ab", 0, 0), (r"a\n", 20, 4000)] {
        let json = format!(r#"{{"data":"{}"}}"#, character.repeat(1000));
        let info = allocated(|| encoder.encode(json.as_bytes(), &mut bytes).unwrap());
        assert!(info.count_total <= count && info.bytes_max <= size, "{character}: {info:?}");
    }
}

fn topic(configure: impl FnOnce(&mut config::Topic)) -> config::Topic {
    let mut topic = config::default_topic("robot1", "/topic").unwrap();
    configure(&mut topic);
    topic
}

/// A message that travels allocates its payload, of its own size and once; one that does not, nothing.
#[test]
fn shaping_allocates_the_payload_alone() {
    let mut scratch = Scratch::new();
    for (title, schema, values) in kinds::all() {
        let cdr = encode::cdr(&schema, &values, false);
        let summary =
            Arrays { all: Some(ArrayLimit { max: 10, over: ArrayOver::Summary }), fields: Default::default() };
        let mut shapes = vec![
            topic(|topic| topic.payload = Payload::Message),
            topic(|topic| topic.payload = Payload::Envelope),
            topic(|topic| topic.payload = Payload::Cdr),
            topic(|topic| topic.digits = Some(4)),
            topic(|topic| topic.arrays = Some(summary.clone())),
        ];
        if schema.name == config::STRING_TYPE {
            shapes.push(topic(|topic| topic.payload = Payload::Data));
        }
        for topic in shapes {
            let mut shaper = Shaper::new(&topic, "robot1", Arc::clone(&schema), 1, &mut Decoders::default()).unwrap();
            let mut bytes = 0;
            let info = allocated(|| bytes = shaper.shape(&cdr, 1, 2, &mut scratch).unwrap().len() as u64);
            assert_eq!((info.count_total, info.bytes_total), (2, 2 * bytes), "{title}, {:?}: {info:?}", topic.payload);
        }

        let everything = config::OnChange { fields: Vec::new(), deadband: None, at_least_every: None };
        let topic = topic(|topic| topic.on_change = Some(everything));
        let mut on_change = OnChange::of(&topic, &schema, &mut Decoders::default()).unwrap().unwrap();
        let now = Instant::now();
        let info = allocated(|| on_change.was_sent(&cdr, now));
        assert_eq!(info.count_total, 0, "{title}, sent: {info:?}");
        let info = allocated(|| assert_eq!(on_change.judge(&cdr, now), Change::None));
        assert_eq!(info.count_total, 0, "{title}, unchanged: {info:?}");
    }
}

/// What is held back, and what goes into a window, allocates nothing.
#[test]
fn what_does_not_travel_allocates_nothing() {
    let configured = topic(|topic| (topic.every, topic.rate) = (Some(2), Some(10.0)));
    let (mut thinning, mut now) = (Thinning::of(&configured), Instant::now());
    let mut a_second = || {
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            thinning.holds_back(now);
        }
    };
    a_second();
    let info = allocated(a_second);
    assert_eq!(info.count_total, 0, "{info:?}");

    let configured = topic(|topic| {
        topic.window = Some(HOUR);
        topic.aggregate = vec![Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::Count];
    });
    let (schema, cdr) = kinds::message("nav_msgs/msg/Odometry");
    let mut shaper = Shaper::new(&configured, "robot1", schema, 1, &mut Decoders::default()).unwrap();
    let now = Instant::now();
    // Two texts of the last message take turns.
    shaper.take(&cdr, 1, 1, now).unwrap();
    let info = allocated(|| shaper.take(&cdr, 1, 1, now).unwrap());
    assert_eq!(info.count_total, 0, "{info:?}");
}
