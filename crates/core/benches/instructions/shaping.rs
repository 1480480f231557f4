//! What stands between a message and its payload, stage by stage. Those that decode have the codec's part in them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use iot_bridge_core::codec::Decoders;
use iot_bridge_core::config::{self, Aggregate, ArrayLimit, ArrayOver, Arrays, Payload};
use iot_bridge_core::shaping::{OnChange, Scratch, Shaper, Thinning};

use crate::kinds::message;
use crate::{Case, Make};

const ODOMETRY: &str = "nav_msgs/msg/Odometry";
const TIMES: u32 = 200;
const MILLISECOND: Duration = Duration::from_millis(1);

pub fn cases() -> Vec<Make> {
    vec![
        Box::new(|| thinning("every = 10", |topic| topic.every = Some(10))),
        Box::new(|| thinning("rate = \"10 Hz\"", |topic| topic.rate = Some(10.0))),
        Box::new(|| shape("payload = \"message\"", ODOMETRY, |topic| topic.payload = Payload::Message)),
        Box::new(|| shape("payload = \"envelope\"", ODOMETRY, |topic| topic.payload = Payload::Envelope)),
        Box::new(|| shape("payload = \"cdr\"", ODOMETRY, |topic| topic.payload = Payload::Cdr)),
        Box::new(|| shape("payload = \"data\"", "std_msgs/msg/String", |topic| topic.payload = Payload::Data)),
        Box::new(|| shape("fields = [\"pose.pose\"]", ODOMETRY, |topic| topic.fields = vec!["pose.pose".into()])),
        Box::new(|| {
            shape("exclude = both covariances", ODOMETRY, |topic| {
                topic.exclude = vec!["pose.covariance".into(), "twist.covariance".into()];
            })
        }),
        Box::new(|| shape("digits = 4", ODOMETRY, |topic| topic.digits = Some(4))),
        Box::new(|| {
            shape("arrays = a summary of long ones", "sensor_msgs/msg/LaserScan", |topic| {
                let summary = ArrayLimit { max: 10, over: ArrayOver::Summary };
                topic.arrays = Some(Arrays { all: Some(summary), fields: Default::default() });
            })
        }),
        Box::new(on_change),
        Box::new(kept),
        Box::new(window),
    ]
}

fn topic(configure: impl FnOnce(&mut config::Topic)) -> config::Topic {
    let mut topic = config::default_topic("robot1", "/odom").expect("the topic is an ordinary one");
    configure(&mut topic);
    topic
}

/// The moments of messages that come a millisecond apart.
fn moments() -> impl FnMut() -> Instant {
    let mut now = Instant::now();
    move || {
        now += MILLISECOND;
        now
    }
}

fn thinning(name: &str, configure: impl FnOnce(&mut config::Topic)) -> Case {
    let (mut thinning, mut next) = (Thinning::of(&topic(configure)), moments());
    Case::new(format!("shaping: {name}"), 10_000, move || _ = black_box(thinning.holds_back(next())))
}

fn shape(name: &str, type_name: &str, configure: impl FnOnce(&mut config::Topic)) -> Case {
    let (schema, cdr) = message(type_name);
    let title = format!("shaping: {name}, {}", type_name.rsplit('/').next().unwrap_or_default());
    let shaper = Shaper::new(&topic(configure), "robot1", schema, 1, &mut Decoders::default());
    let (mut shaper, mut scratch) = (shaper.expect("the type has it"), Scratch::new());
    Case::new(title, TIMES, move || {
        let shaped = shaper.shape(black_box(&cdr), 1_732_255_123_481_920_337, 1_732_255_123_482_130_451, &mut scratch);
        black_box(shaped.expect("it fits"));
    })
}

fn comparison() -> (OnChange, Vec<u8>) {
    let (schema, cdr) = message(ODOMETRY);
    let everything = config::OnChange { fields: Vec::new(), deadband: None, at_least_every: None };
    let topic = topic(|topic| topic.on_change = Some(everything));
    let on_change = OnChange::of(&topic, &schema, &mut Decoders::default()).expect("the type has it");
    let mut on_change = on_change.expect("it is configured");
    on_change.was_sent(&cdr, Instant::now());
    (on_change, cdr)
}

fn on_change() -> Case {
    let ((on_change, cdr), mut next) = (comparison(), moments());
    Case::new("shaping: on_change, unchanged, Odometry", TIMES, move || {
        black_box(on_change.judge(black_box(&cdr), next()));
    })
}

fn kept() -> Case {
    let ((mut on_change, cdr), mut next) = (comparison(), moments());
    Case::new("shaping: on_change, sent, Odometry", TIMES, move || on_change.was_sent(black_box(&cdr), next()))
}

/// A hundred messages of 10 ms each: a window of a second.
fn window() -> Case {
    let (schema, cdr) = message(ODOMETRY);
    let topic = topic(|topic| {
        topic.window = Some(Duration::from_secs(1));
        topic.aggregate = vec![Aggregate::Mean, Aggregate::Min, Aggregate::Max, Aggregate::Last, Aggregate::Count];
    });
    let shaper = Shaper::new(&topic, "robot1", schema, 1, &mut Decoders::default());
    let (mut shaper, mut scratch) = (shaper.expect("the type has numbers"), Scratch::new());
    let (mut now, mut number) = (Instant::now(), 0);
    Case::new("shaping: window, one of 100 messages, Odometry", 1000, move || {
        now += 10 * MILLISECOND;
        number += 1;
        shaper.take(black_box(&cdr), number, number, now).expect("it is read");
        if number % 100 == 0 {
            black_box(shaper.close(now, &mut scratch).expect("a window is open").payload.expect("it fits"));
        }
    })
}
