//! The arithmetic, with figures that were worked by hand.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::codec::{Count, Field, Kind, Schema};
use crate::config::{self, Batch, Encoding, Mqtt, Payload, Version, default_mqtt, default_topic};

/// `std_msgs/msg/String`.
fn text_schema() -> Arc<Schema> {
    let kind = Kind::String { bound: None };
    let fields = vec![Field { name: "data".into(), kind, count: Count::One }];
    Arc::new(Schema { name: "std_msgs/msg/String".into(), fields })
}

/// `hz` of messages with the texts `texts`.
fn observed(hz: f64, texts: impl IntoIterator<Item = String>) -> Observed {
    let message = |text: String| {
        let mut cdr = vec![0, 1, 0, 0];
        cdr.extend((text.len() as u32 + 1).to_le_bytes());
        cdr.extend(text.bytes().chain([0]));
        ObservedMessage { cdr: cdr.into(), source_ns: 1, received_ns: 2 }
    };
    Observed { schema: text_schema(), hz, messages: texts.into_iter().map(message).collect() }
}

/// `hz` of texts of `bytes` bytes, as they are sent with the payload `data`.
fn texts(hz: f64, bytes: usize) -> Observed {
    observed(hz, (0..20).map(|_| "x".repeat(bytes)))
}

/// An entry for `/t`, which goes to `robots/robot1/t` (15 bytes), with its texts as they are.
fn entry() -> config::Topic {
    config::Topic { payload: Payload::Data, ..default_topic("robot1", "/t").unwrap() }
}

fn batched(max: u32, seconds: u64) -> config::Topic {
    let batch = Some(Batch { max, linger: Duration::from_secs(seconds) });
    config::Topic { batch, ..entry() }
}

fn mqtt() -> Mqtt {
    Mqtt { version: Version::V3_1_1.into(), ..default_mqtt().unwrap() }
}

fn bill(topics: &[(config::Topic, Observed)]) -> Bill {
    let forecasts: Vec<_> =
        topics.iter().map(|(topic, observed)| Forecast::of(topic, "robot1", observed).unwrap()).collect();
    Bill::of(&forecasts.iter().collect::<Vec<_>>(), &mqtt(), &Prices::built_in())
}

/// Within a millionth.
#[track_caller]
fn assert_near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{found} is not {wanted}");
}

/// 1 Hz of 200 bytes is 2,592,000 steps in 30 days: $2.592. The connection is $0.003456 on top.
#[test]
fn a_message_a_second() {
    let bill = bill(&[(entry(), texts(1.0, 200))]);
    assert_near(bill.metered_per_month, 2_592_000.0);
    assert_near(bill.charges[0].dollars_per_month, 2.592);
    assert_near(bill.dollars_per_month, 2.592 + 0.003456);
    assert_near(bill.connection_dollars, 0.003456);
    assert_near(bill.publishes_per_second, 1.0);
    // By hand: 1 byte, 2 of length, 2 + 15 of topic, 2 of packet identifier, the payload.
    assert_near(bill.bytes_per_second, 222.0);
}

/// 15 bytes of topic make two steps of 5,106 bytes of payload; in MQTT 5 `text/plain` counts 10 more.
#[test]
fn the_topic_counts() {
    for (bytes, steps) in [(5105, 1.0), (5106, 2.0), (10_225, 2.0), (10_226, 3.0)] {
        assert_near(bill(&[(entry(), texts(1.0, bytes))]).metered_per_month, 2_592_000.0 * steps);
    }
    let five = default_mqtt().unwrap();
    let five = Mqtt { version: Version::V5.into(), ..five };
    for (bytes, steps) in [(5095, 1.0), (5096, 2.0)] {
        let forecast = Forecast::of(&entry(), "robot1", &texts(1.0, bytes)).unwrap();
        let bill = Bill::of(&[&forecast], &five, &Prices::built_in());
        assert_near(bill.metered_per_month, 2_592_000.0 * steps);
    }
}

/// 24 texts of 200 bytes, as JSON strings with two quotes each, are 24 × 202 + 2 + 23 = 4,873 bytes, in one step: a 24th of
/// $2.592. 7 records of 700 at 10 Hz in a second are 3.7 million steps. `linger` ends a batch where its number does not.
#[test]
fn batches_that_linger() {
    assert_near(bill(&[(batched(24, 24), texts(1.0, 200))]).charges[0].dollars_per_month, 0.108);
    let seven = bill(&[(batched(7, 1), texts(10.0, 700))]);
    assert_near(seven.metered_per_month, 25_920_000.0 / 7.0);
    assert_near(seven.publishes_per_second, 10.0 / 7.0);
    // One, and the ten that come within the second after it.
    assert_eq!(bill(&[(batched(50, 1), texts(10.0, 70))]).charges[0].publishes.records, 11);
    // Without `linger` each leaves alone.
    assert_near(bill(&[(batched(50, 0), texts(10.0, 70))]).publishes_per_second, 10.0);
}

/// A batch of a topic that has company is at most 10 KiB: 14 texts of 702 bytes, not 50.
#[test]
fn company_bounds_a_batch() {
    let lone = (batched(50, 10), texts(10.0, 700));
    assert_eq!(bill(std::slice::from_ref(&lone)).charges[0].publishes.records, 50);
    let shared = bill(&[lone, (entry(), texts(1.0, 10))]);
    assert_eq!(shared.charges[0].publishes.records, 14);
}

/// 1,000 Hz of which 100 publishes a second may leave travel in batches of 10, and beside 60 others in batches of 25. What
/// has no batch is more than may leave, and is told as it is.
#[test]
fn batches_grow_where_publishes_wait() {
    let flood = || (batched(50, 0), texts(1000.0, 50));
    let alone = bill(&[flood()]);
    assert_eq!((alone.charges[0].publishes.records, alone.publishes_per_second.round()), (10, 100.0));
    let shared = bill(&[flood(), (entry(), texts(60.0, 50))]);
    assert_eq!(shared.charges[0].publishes.records, 25);
    assert_near(shared.publishes_per_second, 100.0);
    assert_near(bill(&[(entry(), texts(240.0, 50))]).publishes_per_second, 240.0);
    let unlimited = config::Quotas { publishes_per_second: None, ..mqtt().quotas };
    let forecast = Forecast::of(&flood().0, "robot1", &flood().1).unwrap();
    let bill = Bill::of(&[&forecast], &Mqtt { quotas: unlimited, ..mqtt() }, &Prices::built_in());
    assert_near(bill.publishes_per_second, 1000.0);
}

/// `retain` is metered twice. Basic Ingest costs the rule and its action, $0.30 a million, and no message.
#[test]
fn retained_messages_and_basic_ingest() {
    let retained = config::Topic { retain: true, ..entry() };
    assert_near(bill(&[(retained, texts(1.0, 200))]).charges[0].dollars_per_month, 2.0 * 2.592);
    let ingest = config::Topic { mqtt: "$aws/rules/logs/robots/robot1/t".into(), ..entry() };
    assert_near(bill(&[(ingest, texts(1.0, 200))]).charges[0].dollars_per_month, 2.592 * 0.3);
}

/// What is over 131,072 bytes can't be sent, costs nothing and is marked; compressed it may be small enough.
#[test]
fn what_never_fits_costs_nothing() {
    let forecast = |topic: config::Topic, bytes| Forecast::of(&topic, "robot1", &texts(1.0, bytes)).unwrap();
    let fits = forecast(entry(), 131_072);
    assert_eq!((fits.never_fits, fits.record_bytes), (false, Some(131_072.0)));
    let large = forecast(entry(), 131_073);
    assert_eq!((large.never_fits, large.record_bytes, large.records_per_second), (true, None, 0.0));
    assert_eq!(bill(&[(entry(), texts(1.0, 131_073))]).metered_per_month, 0.0);
    // 400,000 letters x are some hundred bytes then: one step.
    let compressed = config::Topic { compression: Some(Encoding::Zstd), ..entry() };
    let bill = bill(&[(compressed, texts(1.0, 400_000))]);
    assert_near(bill.metered_per_month, 2_592_000.0);
}

/// Batches of more records than were seen are told as those that were seen would go on, to a tenth of what they are.
#[test]
fn batches_of_more_than_was_seen() {
    let text = |number: u32| format!("position {} of {}", f64::from(number * 7919 % 1000) / 37.0, number);
    let zstd = |topic: config::Topic| config::Topic { compression: Some(Encoding::Zstd), compress_over: 0, ..topic };
    let all = Forecast::of(&zstd(batched(400, 400)), "robot1", &observed(1.0, (0..400).map(text))).unwrap();
    let few = Forecast::of(&zstd(batched(400, 400)), "robot1", &observed(1.0, (0..60).map(text))).unwrap();
    let bytes = |forecast: &Forecast| forecast.publishes(400, Version::V3_1_1).bytes_per_second;
    let off = (bytes(&few) / bytes(&all) - 1.0).abs();
    assert!(off < 0.1, "{} instead of {}", bytes(&few), bytes(&all));
    // Exactly, without compression.
    let plain =
        |count| Forecast::of(&batched(24, 24), "robot1", &observed(1.0, (0..count).map(|_| "y".repeat(50)))).unwrap();
    assert_eq!(plain(5).publishes(24, Version::V5), plain(48).publishes(24, Version::V5));
}

/// Nothing received is nothing sent.
#[test]
fn silence_costs_nothing() {
    let bill = bill(&[(entry(), observed(0.0, []))]);
    assert_eq!((bill.publishes_per_second, bill.metered_per_month), (0.0, 0.0));
    assert_near(bill.dollars_per_month, 0.003456);
}

fn proposed(topics: &[(config::Topic, Observed)], dollars: f64) -> Result<Proposal, TooDear> {
    let subjects =
        topics.iter().map(|(topic, observed)| Subject::new(topic.clone(), "robot1", observed).unwrap()).collect();
    propose(subjects, "robot1", &mqtt(), &Prices::built_in(), dollars)
}

/// 10 Hz of 700 bytes cost $25.92. Batches of 7, which are one step, cost $3.71; with zstd less; and below the price of the
/// connection there is nothing to propose.
#[test]
fn a_budget_is_kept_by_the_least_that_does() {
    let text = |number: u32| (0..70).map(|at| format!("{:10}", (number + at) * 7919 % 100_003)).collect();
    let topics = [(entry(), observed(10.0, (0..100).map(text)))];
    let enough = proposed(&topics, 30.0).unwrap();
    assert_eq!((&enough.topics[0].topic, enough.topics[0].lost.len()), (&topics[0].0, 0));
    let batches = proposed(&topics, 5.0).unwrap();
    let Proposed { topic, dollars, lost } = &batches.topics[0];
    assert_eq!(topic.batch, Some(Batch { max: 7, linger: Duration::from_millis(800) }));
    assert_eq!((topic.compression, lost.len()), (None, 1), "{lost:?}");
    assert_near(dollars[0], 25.92);
    assert_near(dollars[1], 25.92 / 7.0);
    let packed = proposed(&topics, 2.5).unwrap();
    assert_eq!(packed.topics[0].topic.compression, Some(Encoding::Zstd));
    assert!(packed.bill.dollars_per_month <= 2.5, "{}", packed.bill.dollars_per_month);
    let nothing = proposed(&topics, 0.004).unwrap();
    assert!(nothing.bill.dollars_per_month <= 0.004);
    assert_eq!(proposed(&topics, 0.003).unwrap_err().connection, nothing.bill.connection_dollars);
}

/// The dearest topic changes first, and the others stay as they are if that is enough.
#[test]
fn the_dearest_changes_first() {
    let topics = [(entry(), texts(1.0, 50)), (entry(), texts(20.0, 50)), (entry(), texts(2.0, 50))];
    let proposal = proposed(&topics, 10.0).unwrap();
    let changed: Vec<bool> = proposal.topics.iter().map(|topic| !topic.lost.is_empty()).collect();
    assert_eq!(changed, [false, true, false]);
    assert!(proposal.bill.dollars_per_month <= 10.0 && proposal.left_out.is_empty());
    let all = proposed(&topics, 2.0).unwrap();
    assert!(all.bill.dollars_per_month <= 2.0, "{all:#?}");
}

/// What is proposed costs what it says when it is told again as an entry of its own, and every budget is kept.
#[test]
fn a_proposal_costs_what_it_says() {
    let named = |ros: &str, topic: config::Topic| config::Topic { ros: ros.to_owned(), ..topic };
    let topics = [
        (named("/a", entry()), texts(100.0, 300)),
        (named("/b", batched(5, 0)), texts(50.0, 900)),
        (named("/c", entry()), texts(3.0, 9000)),
    ];
    for dollars in [1000.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.1] {
        let Proposal { topics: kept, left_out, bill: said } = proposed(&topics, dollars).unwrap();
        assert!(said.dollars_per_month <= dollars, "{dollars}: {kept:#?}");
        assert_eq!(kept.len() + left_out.len(), topics.len());
        let observed = |ros: &str| topics.iter().find(|(topic, _)| topic.ros == ros).unwrap().1.clone();
        let again: Vec<_> = kept.iter().map(|kept| (kept.topic.clone(), observed(&kept.topic.ros))).collect();
        assert_eq!(bill(&again), said);
        for (charge, kept) in said.charges.iter().zip(&kept) {
            assert_near(kept.dollars[1], charge.dollars_per_month);
        }
    }
}

/// A text needs no batch where one would change what a retained message is, or where there can be none.
#[test]
fn retained_and_serialized_messages_get_no_batch() {
    for topic in [config::Topic { retain: true, ..entry() }, config::Topic { payload: Payload::Cdr, ..entry() }] {
        let proposal = proposed(&[(topic, texts(20.0, 50))], 5.0).unwrap();
        assert!(proposal.topics.iter().all(|topic| topic.topic.batch.is_none()));
    }
}

/// Messages that do not change travel as often as they differ, those of a window once in its time.
#[test]
fn what_is_held_back_costs_nothing() {
    let on_change = config::OnChange { fields: Vec::new(), deadband: None, at_least_every: None };
    let steady = || observed(10.0, ["a", "a", "b", "b", "b"].map(str::to_owned));
    let per_second = |topic: &config::Topic| {
        let forecast = Forecast::of(topic, "r1", &steady()).unwrap();
        forecast.publishes(1, Version::V3_1_1).per_second
    };
    // Of the four after the first one, one differs.
    assert_near(per_second(&config::Topic { on_change: Some(on_change), ..entry() }), 2.5);
    let length = Some(std::time::Duration::from_secs(10));
    let aggregate = vec![config::Aggregate::Last];
    assert_near(per_second(&config::Topic { window: length, aggregate, ..entry() }), 0.1);
    assert_near(per_second(&entry()), 10.0);
}

/// `rate` and `every` come before `on_change`: of 50 messages a second of which every fifth differs, those that are a second
/// apart all do, and so do each tenth. Messages that never change travel `at_least_every` so often, but no more often than they
/// come.
#[test]
fn messages_are_thinned_before_they_are_compared() {
    let per_second = |differs_after: usize, topic: config::Topic| {
        let mut observed = observed(50.0, (0..500).map(|number| format!("at {}", number / differs_after)));
        for (number, message) in observed.messages.iter_mut().enumerate() {
            message.received_ns = 20_000_000 * number as i64;
        }
        Forecast::of(&topic, "r1", &observed).unwrap().records_per_second
    };
    let on_change = |seconds: Option<u64>| {
        let at_least_every = seconds.map(Duration::from_secs);
        let on_change = config::OnChange { fields: Vec::new(), deadband: None, at_least_every };
        config::Topic { on_change: Some(on_change), ..entry() }
    };
    assert_near(per_second(5, config::Topic { rate: Some(1.0), ..on_change(None) }), 1.0);
    assert_near(per_second(5, config::Topic { every: Some(10), ..on_change(None) }), 5.0);
    // 99 of the 499 after the first.
    assert_near(per_second(5, on_change(None)), 50.0 * 99.0 / 499.0);
    // Nothing is known of what comes after the only one.
    assert_near(per_second(5, config::Topic { rate: Some(0.05), ..on_change(None) }), 0.05);
    assert_near(per_second(500, config::Topic { rate: Some(1.0), ..on_change(None) }), 0.0);
    assert_near(per_second(500, config::Topic { rate: Some(1.0), ..on_change(Some(10)) }), 0.1);
    assert_near(per_second(500, config::Topic { rate: Some(0.1), ..on_change(Some(1)) }), 0.1);
}

/// What turns out not to be needed is taken back: the cheap topic is compressed before the dear one, which has no batches, gets
/// a lower rate; that is enough without it.
#[test]
fn what_is_not_needed_is_taken_back() {
    let cdr = config::Topic { payload: Payload::Cdr, ..entry() };
    let topics = [(entry(), texts(20.0, 50)), (cdr.clone(), texts(1.0, 200)), (cdr, texts(50.0, 200))];
    let proposal = proposed(&topics, 7.0).unwrap();
    let [cheap, single, dear] = &proposal.topics[..] else { panic!("{proposal:#?}") };
    assert!(proposal.bill.dollars_per_month <= 7.0);
    assert_eq!((cheap.topic.batch.is_some(), cheap.topic.compression), (true, None), "{:?}", cheap.lost);
    assert_eq!((single.lost.len(), dear.topic.rate), (0, Some(1.0)), "{:?}", dear.lost);
}
