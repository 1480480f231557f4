//! The judge before series of a robot's seconds: what comes, and what leaves of it.

use super::*;
use crate::health::topic::Sending;
use iot_bridge_core::config::Batch;
use iot_bridge_core::topics::Registry;

/// A bridge without anything but its counters.
struct World {
    topics: Vec<Arc<TopicHealth>>,
    quotas: Quotas,
    judge: Judge,
    start: Instant,
    second: u64,
    /// What was told, with the second.
    told: Vec<(u64, News)>,
}

/// Bytes of a record.
const SIZE: u64 = 200;

impl World {
    fn new<const N: usize>(names: [&str; N]) -> World {
        let registry = Registry::default();
        let topics = names.map(|name| Arc::new(TopicHealth::new(registry.topic(name, name)))).to_vec();
        let quotas = Quotas { publishes_per_second: Some(100), bytes_per_second: Some(512 << 10), in_flight: 100 };
        World { topics, quotas, judge: Judge::default(), start: Instant::now(), second: 0, told: Vec::new() }
    }

    fn sends(&mut self, topic: usize, sending: Sending) {
        Arc::get_mut(&mut self.topics[topic]).unwrap().sending = sending;
    }

    /// A second in which `came` records of each topic come, and `leaves` publishes may leave, of `batch` records each: of
    /// the topics in turn.
    fn second(&mut self, came: &[u64], leaves: u64, batch: u64) {
        for (topic, came) in self.topics.iter().zip(came) {
            (0..*came).for_each(|_| topic.counters.enter_queue());
        }
        let mut left = leaves;
        while left > 0 && self.topics.iter().any(|topic| topic.counters.queued() > 0) {
            for topic in &self.topics {
                let counters = &topic.counters;
                let records = counters.queued().min(batch);
                if left == 0 || records == 0 {
                    continue;
                }
                counters.leave_queue_by(records);
                (0..records).for_each(|_| counters.count_acknowledged());
                counters.count_published(records * SIZE);
                left -= 1;
            }
        }
        self.look();
    }

    /// A second without a connection.
    fn offline(&mut self, came: &[u64]) {
        for (topic, came) in self.topics.iter().zip(came) {
            (0..*came).for_each(|_| topic.counters.enter_queue());
        }
        self.second += 1;
        self.judge.disconnected();
    }

    fn look(&mut self) {
        self.second += 1;
        let now = self.start + Duration::from_secs(self.second);
        let news = self.judge.look(now, &self.quotas, &self.topics);
        self.told.extend(news.map(|news| (self.second, news)));
    }

    fn waiting(&self) -> u64 {
        self.topics.iter().map(|topic| topic.counters.queued()).sum()
    }

    /// When it began and when it was over.
    fn times(&self) -> Vec<(u64, bool)> {
        self.told.iter().map(|(second, news)| (*second, matches!(news, News::Begins(_)))).collect()
    }
}

/// The robot of docs/operating.md, which offers more than the quota: that is told once, within 50 seconds, with the topics by
/// their share and lines of configuration. With the rates that these name it fits; that is told once, a minute later.
#[test]
fn a_flood_is_told_once_and_the_rates_that_are_named_end_it() {
    let names = ["/camera_info", "/imu", "/odom", "/joint_states", "/cmd_vel", "/a", "/b", "/c", "/d", "/e"];
    let mut world = World::new(names);
    (0..300).for_each(|_| world.second(&[15, 100, 50, 50, 20, 1, 1, 1, 1, 1], 100, 1));
    let [(second, News::Begins(behind))] = &world.told[..] else { panic!("{:?}", world.times()) };
    assert!((30..=52).contains(second), "{second}");
    assert_eq!((behind.limit, behind.allowed_publishes_per_second), (Limit::PublishesPerSecond, Some(100.0)));
    assert!((239.0..241.0).contains(&behind.offered_publishes_per_second), "{behind:?}");
    assert!((behind.offered_bytes_per_second / SIZE as f64 - 240.0).abs() < 1.0, "{behind:?}");
    assert_eq!(behind.topics, ["/imu", "/odom", "/joint_states"]);
    let expected = [("/imu", 100, 20, 2), ("/odom", 50, 10, 1), ("/joint_states", 50, 10, 1)];
    let expected = expected.map(|(topic, offers, rate, batches)| {
        format!(
            "{topic} offers {offers} publishes/s: `rate = \"{rate} Hz\"` makes {rate} publishes/s of it, `batch = {{ max = \
             50 }}` {batches} publishes/s"
        )
    });
    assert_eq!(behind.advice, expected);
    assert!(world.judge.behind().is_some_and(|now| now.since == behind.since), "it lasts");

    (0..100).for_each(|_| world.second(&[15, 20, 10, 10, 20, 1, 1, 1, 1, 1], 100, 1));
    assert_eq!(world.times().len(), 2);
    let (second, News::Over(lasted)) = &world.told[1] else { panic!("{:?}", world.times()) };
    assert!((350..=385).contains(second) && *lasted >= Duration::from_secs(300), "{second} {lasted:?}");
    assert!(world.waiting() > 0, "it makes up for the flood still");
    assert_eq!(world.judge.behind(), None);
    (0..3000).for_each(|_| world.second(&[15, 20, 10, 10, 20, 1, 1, 1, 1, 1], 100, 1));
    assert_eq!((world.times().len(), world.waiting()), (2, 0));
}

/// What fits is not told, whatever its form: steady and just below the quota, bursts of up to half a minute, a backlog that
/// goes up and down, a rest that stays.
#[test]
fn what_fits_is_not_told() {
    type Comes = fn(u64) -> u64;
    let series: [(&str, Comes); 6] = [
        ("steady", |_| 99),
        ("a burst of 20 s every 5 minutes", |second| if second % 300 < 20 { 500 } else { 60 }),
        ("a burst a second in 10", |second| if second % 10 == 0 { 900 } else { 0 }),
        ("a sawtooth of 14 s", |second| if second % 14 < 7 { 190 } else { 0 }),
        ("a sawtooth of 40 s", |second| if second % 40 < 20 { 190 } else { 0 }),
        ("a rest of 1000 that stays", |second| if second == 5 { 1100 } else { 100 }),
    ];
    for (name, comes) in series {
        let mut world = World::new(["/imu"]);
        (0..1200).for_each(|second| world.second(&[comes(second)], 100, 1));
        assert_eq!(world.times(), [], "{name}");
    }
}

/// A load that comes and goes every minute, for a little more than half of it too much, is told once at most, not each
/// minute.
#[test]
fn it_does_not_flap() {
    for too_much in [true, false] {
        let mut world = World::new(["/imu"]);
        let (up, down) = if too_much { (190, 50) } else { (160, 20) };
        (0..1800).for_each(|second| world.second(&[if second % 60 < 34 { up } else { down }], 100, 1));
        assert_eq!(world.times().len(), 1, "{too_much}: {:?}", world.times());
    }
}

/// Neither an outage nor making up for it is falling behind; a short one while it is behind is no news, and hides it.
#[test]
fn an_outage_is_not_falling_behind() {
    let mut world = World::new(["/imu"]);
    (0..100).for_each(|_| world.second(&[60], 100, 1));
    (0..600).for_each(|_| world.offline(&[60]));
    (0..1200).for_each(|_| world.second(&[60], 100, 1));
    assert_eq!((world.times(), world.waiting()), (vec![], 0));

    (0..60).for_each(|_| world.second(&[160], 100, 1));
    assert_eq!(world.times().len(), 1);
    let since = world.judge.behind().expect("it is behind").since;
    (0..5).for_each(|_| world.offline(&[160]));
    assert_eq!(world.judge.behind(), None);
    (0..60).for_each(|_| world.second(&[160], 100, 1));
    assert_eq!(world.judge.behind().map(|behind| behind.since), Some(since));
    // A longer one, after which less comes.
    (0..500).for_each(|_| world.offline(&[10]));
    (0..30).for_each(|_| world.second(&[10], 100, 1));
    assert_eq!(world.judge.behind(), None);
    (0..60).for_each(|_| world.second(&[10], 100, 1));
    assert_eq!(world.times().iter().map(|(_, begins)| *begins).collect::<Vec<_>>(), [true, false]);
}

/// A link that is dead and not known to be, because `ack_timeout` is long, is an outage: whatever comes before the connection is
/// given up, nothing is told; what was told before stays as it is. A link that takes something now and then is behind.
#[test]
fn a_dead_link_is_not_falling_behind() {
    let mut world = World::new(["/imu"]);
    (0..100).for_each(|_| world.second(&[60], 100, 1));
    (0..600).for_each(|_| world.second(&[60], 0, 1));
    assert_eq!(world.times(), []);
    (0..10).for_each(|_| world.offline(&[60]));
    (0..1200).for_each(|_| world.second(&[60], 100, 1));
    assert_eq!((world.times(), world.waiting()), (vec![], 0));

    (0..60).for_each(|_| world.second(&[160], 100, 1));
    let told = world.judge.behind().expect("it is behind").clone();
    (0..600).for_each(|_| world.second(&[160], 0, 1));
    assert_eq!((world.times().len(), world.judge.behind()), (1, Some(&told)));

    // It comes to life again, and makes up for it.
    let mut world = World::new(["/imu"]);
    (0..100).for_each(|_| world.second(&[60], 100, 1));
    (0..75).for_each(|_| world.second(&[60], 0, 1));
    (0..600).for_each(|_| world.second(&[60], 100, 1));
    assert_eq!((world.times(), world.waiting()), (vec![], 0));

    let mut slow = World::new(["/imu"]);
    (0..110).for_each(|second| slow.second(&[60], u64::from(second % 20 == 0), 1));
    assert_eq!(slow.judge.behind().map(|behind| behind.limit), Some(Limit::Link));
}

/// A queue that is full does not grow, and is behind all the same.
#[test]
fn a_full_queue_is_behind() {
    let mut world = World::new(["/imu"]);
    for _ in 0..600 {
        world.second(&[160], 100, 1);
        let counters = &world.topics[0].counters;
        let over = counters.queued().saturating_sub(2000);
        counters.leave_queue_by(over);
        counters.count_dropped_by(DropReason::Overflow, over);
    }
    assert_eq!(world.times().len(), 1);
    let behind = world.judge.behind().expect("it is behind");
    assert!((159.0..161.0).contains(&behind.offered_publishes_per_second), "{behind:?}");
}

/// Records that wait for others to travel with are no backlog, until they are more than a batch.
#[test]
fn what_lingers_is_no_backlog() {
    let linger = Sending { batch: Some(Batch { max: 600, linger: Duration::from_secs(600) }), ..Sending::default() };
    let mut world = World::new(["/battery"]);
    world.sends(0, linger);
    for second in 0..3000 {
        // One publish each ten minutes.
        world.second(&[1], u64::from(second % 600 == 599), 600);
    }
    assert_eq!(world.times(), []);
    (0..700).for_each(|_| world.second(&[2], 1, 1));
    assert_eq!(world.times().len(), 1);
}

/// What is offered are the publishes that batches make of it, and the bytes of these.
#[test]
fn batches_count_as_their_publishes() {
    let mut world = World::new(["/imu", "/odom"]);
    let batch = Sending { batch: Some(Batch { max: 50, linger: Duration::ZERO }), ..Sending::default() };
    world.sends(0, batch);
    world.quotas.bytes_per_second = None;
    (0..60).for_each(|_| world.second(&[4000, 0], 60, 50));
    let behind = world.judge.behind().expect("it is behind").clone();
    // 80 publishes a second would be within the quota, so it is the connection that takes only 60.
    assert_eq!(behind.limit, Limit::Link);
    assert!((79.0..81.0).contains(&behind.offered_publishes_per_second), "{behind:?}");
    assert!((behind.offered_bytes_per_second / SIZE as f64 - 4000.0).abs() < 10.0, "{behind:?}");
    assert_eq!(behind.allowed_publishes_per_second, Some(60.0));
    let expected = "/imu offers 80 publishes/s (781 KiB/s): `rate = \"2000 Hz\"` makes 40 publishes/s (391 KiB/s) of it, \
                    `compression = \"zstd\"` about 156 KiB/s";
    assert_eq!(behind.advice, [expected]);
}

/// With the quota of bytes the shares are those of bytes.
#[test]
fn the_quota_of_bytes_names_who_offers_the_most_bytes() {
    let mut world = World::new(["/imu", "/scan"]);
    world.quotas = Quotas { publishes_per_second: None, bytes_per_second: Some(20_000), in_flight: 100 };
    for _ in 0..60 {
        let [imu, scan] = [0, 1].map(|topic| world.topics[topic].counters.clone());
        (0..50).for_each(|_| imu.enter_queue());
        (0..10).for_each(|_| scan.enter_queue());
        for (counters, records, size) in [(imu, 25, 200), (scan, 5, 3000)] {
            counters.leave_queue_by(records);
            (0..records).for_each(|_| counters.count_acknowledged());
            (0..records).for_each(|_| counters.count_published(size));
        }
        world.look();
    }
    let behind = world.judge.behind().expect("it is behind");
    assert_eq!((behind.limit, behind.allowed_publishes_per_second), (Limit::BytesPerSecond, None));
    assert_eq!(
        (behind.allowed_bytes_per_second, &*behind.topics),
        (Some(20_000.0), &["/scan".to_owned(), "/imu".to_owned()][..])
    );
    let expected =
        "/scan offers 29.3 KiB/s: `rate = \"2 Hz\"` makes 5.9 KiB/s of it, `compression = \"zstd\"` about 14.6 KiB/s";
    assert_eq!(behind.advice[0], expected);
}

/// A quota holds the records back if nearly all of it is used and more is offered than it allows; otherwise the link does.
#[test]
fn the_limit_is_what_holds_the_records_back() {
    let flow = |publishes, bytes| Flow { publishes, bytes };
    let quotas = (Some(100.0), Some(500_000.0));
    for (offered, left, expected) in [
        (flow(240.0, 100_000.0), flow(100.0, 42_000.0), Limit::PublishesPerSecond),
        (flow(200.0, 600_000.0), flow(85.0, 490_000.0), Limit::BytesPerSecond),
        // A round trip of 500 ms, and one of 50 ms at a load that the quota would allow.
        (flow(240.0, 100_000.0), flow(67.0, 28_000.0), Limit::Link),
        (flow(97.0, 40_000.0), flow(95.0, 39_000.0), Limit::Link),
    ] {
        assert_eq!(limit(quotas, offered, left), expected, "{offered:?} {left:?}");
    }
    assert_eq!(limit((None, None), flow(1000.0, 1e6), flow(500.0, 5e5)), Limit::Link);
}
