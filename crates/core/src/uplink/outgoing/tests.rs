use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::config::{self, Overflow, Priority, Qos};
use crate::packing::{Batch, Compression, Packing, When};
use crate::queue::Record;
use crate::tally::DropReason;
use crate::topics::Registry;

const HOUR: Duration = Duration::from_secs(3600);

fn route(topic: usize, packing: Packing) -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic(&format!("/topic{topic}"), &format!("topic{topic}")),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: if topic == 0 { Priority::High } else { Priority::Normal },
        packing,
    })
}

fn batches(max: usize) -> Packing {
    Packing { batch: Some(Batch { max, linger: Duration::ZERO }), ..Packing::default() }
}

#[derive(Debug, Clone)]
enum Step {
    Admit {
        topic: usize,
        blanks: usize,
    },
    /// Takes the next record in hand.
    Take,
    Grow {
        records: usize,
        bytes: usize,
    },
    Send,
    Acknowledge(Index),
    Requeue,
}

fn step() -> impl Strategy<Value = Step> {
    let blanks = prop_oneof![8 => 0..300usize, 1 => 40_000..131_000usize];
    let extent = (prop_oneof![1..5usize, Just(usize::MAX)], prop_oneof![100..2000usize, Just(PAYLOAD_LIMIT)]);
    prop_oneof![
        8 => (0..4usize, blanks).prop_map(|(topic, blanks)| Step::Admit { topic, blanks }),
        3 => Just(Step::Take),
        3 => extent.prop_map(|(records, bytes)| Step::Grow { records, bytes }),
        4 => Just(Step::Send),
        3 => any::<Index>().prop_map(Step::Acknowledge),
        1 => Just(Step::Requeue),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is admitted, taken in hand, grown, sent, acknowledged in any order and taken back: each publish is of
    /// records that follow each other, none is over its limits, what comes again comes in order and is all that was
    /// not acknowledged, and the counters add up after every step.
    #[test]
    fn batches_keep_order_limits_and_counts(steps in vec(step(), 1..120)) {
        let queue = Queue::in_memory(&config::Queue::in_memory(64 << 20, Overflow::DropOldest));
        let gzip = Some(Compression::new(Encoding::Gzip, When::Over(500), false, "topic2"));
        let packings =
            [batches(50), batches(3), Packing { compression: gzip, ..batches(100_000) }, Packing::default()];
        let routes: Vec<_> = packings.into_iter().enumerate().map(|(topic, packing)| route(topic, packing)).collect();
        let now = Instant::now();
        // What is not acknowledged, by topic, and what of that is sent.
        let (mut left, mut sent) = (vec![VecDeque::new(); routes.len()], Vec::<(LeaseId, usize, Vec<i64>)>::new());
        let (mut hand, mut number, mut extent): (Option<OutgoingPublish>, i64, _) =
            (None, 0, Extent { records: usize::MAX, bytes: PAYLOAD_LIMIT });
        for step in steps {
            match step {
                Step::Admit { topic, blanks } => {
                    number += 1;
                    let route = routes[topic].clone();
                    route.counters.count_received();
                    let payload = Bytes::from(format!("{}{number}", " ".repeat(blanks)));
                    let record = Record { route, payload, received_ns: number, expires: now + HOUR };
                    prop_assert!(queue.admit(record, now));
                    left[topic].push_back(number);
                }
                Step::Take if hand.is_none() => {
                    hand = queue.lease(now).map(OutgoingPublish::of);
                    extent = Extent { records: usize::MAX, bytes: PAYLOAD_LIMIT };
                }
                Step::Grow { records, bytes } => {
                    extent = Extent { records: extent.records.max(records), bytes: extent.bytes.max(bytes) };
                    hand.iter_mut().for_each(|outgoing| outgoing.grow(&queue, extent, now));
                }
                Step::Send => {
                    let Some(mut outgoing) = hand.take() else { continue };
                    prop_assert!(!outgoing.is_too_large());
                    let topic = routes.iter().position(|route| route.mqtt == outgoing.route.mqtt).unwrap();
                    let most = outgoing.route.packing.batch.map_or(1, |batch| batch.max);
                    prop_assert!(outgoing.records.len() <= most.min(extent.records));
                    let numbers = numbers_in(outgoing.pack());
                    prop_assert_eq!(&numbers, &outgoing.received_ns);
                    let is_sent = |number: &i64| sent.iter().any(|(.., numbers)| numbers.contains(number));
                    let unsent = left[topic].iter().copied().filter(|number| !is_sent(number));
                    prop_assert_eq!(&numbers, &unsent.take(numbers.len()).collect::<Vec<_>>());
                    sent.push((outgoing.lease.unwrap(), topic, numbers));
                }
                Step::Acknowledge(index) if !sent.is_empty() => {
                    let (lease, topic, numbers) = sent.swap_remove(index.index(sent.len()));
                    prop_assert!(queue.acknowledge(lease));
                    prop_assert!(!queue.acknowledge(lease));
                    left[topic].retain(|number| !numbers.contains(number));
                }
                Step::Requeue => {
                    let in_hand = hand.take().map_or(0, |outgoing| outgoing.records.len());
                    let on_its_way: usize = sent.drain(..).map(|(.., numbers)| numbers.len()).sum();
                    prop_assert_eq!(queue.requeue(), in_hand + on_its_way);
                }
                Step::Take | Step::Acknowledge(_) => {}
            }
            for (route, left) in routes.iter().zip(&left) {
                let account = queue.account(&route.counters);
                prop_assert_eq!(account.queued + account.in_flight, left.len() as u64);
                prop_assert_eq!(account.acknowledged + left.len() as u64, account.received);
                prop_assert_eq!((account.dropped, account.in_reception()), (0, 0));
            }
            let in_hand = hand.as_ref().map_or(0, |outgoing| outgoing.records.len());
            let on_its_way: usize = sent.iter().map(|(.., numbers)| numbers.len()).sum();
            prop_assert_eq!(queue.figures().in_flight(), (in_hand + on_its_way) as u64);
        }
    }
}

fn numbers_in(packed: &Packed) -> Vec<i64> {
    let plain = crate::packing::expand(packed);
    match serde_json::from_slice(&plain).unwrap() {
        serde_json::Value::Array(numbers) => numbers.iter().map(|number| number.as_i64().unwrap()).collect(),
        number => vec![number.as_i64().unwrap()],
    }
}

/// What waits in hand takes along what comes meanwhile, but nothing that came after a later publish of its topic, or
/// has expired; a batch that the broker does not take is dropped as a whole.
#[test]
fn what_is_in_hand_grows() {
    let queue = Queue::in_memory(&config::Queue::in_memory(1 << 20, Overflow::DropOldest));
    let (route, now) = (route(1, batches(50)), Instant::now());
    let admit = |number: i64, expires| {
        let payload = Bytes::from(number.to_string());
        assert!(queue.admit(Record { route: route.clone(), payload, received_ns: number, expires }, now));
    };
    let extent = Extent { records: usize::MAX, bytes: PAYLOAD_LIMIT };
    admit(1, now + HOUR);
    let mut first = OutgoingPublish::of(queue.lease(now).unwrap());
    first.grow(&queue, extent, now);
    assert_eq!(first.received_ns, [1]);
    let soon = Duration::from_secs(1);
    [(2, HOUR), (3, soon), (4, HOUR), (5, HOUR)].into_iter().for_each(|(number, age)| admit(number, now + age));
    first.grow(&queue, Extent { records: 3, ..extent }, now + soon);
    assert_eq!((first.received_ns.as_slice(), route.counters.dropped(DropReason::Expired)), ([1, 2, 4].as_slice(), 1));
    let second = OutgoingPublish::of(queue.lease(now).unwrap());
    admit(6, now + HOUR);
    first.grow(&queue, extent, now);
    assert_eq!((first.received_ns.len(), second.received_ns), (3, vec![5]));
    assert_eq!(first.pack().payload, "[1,2,4]");
    assert!(queue.discard(first.lease.unwrap(), DropReason::TooLarge, now));
    assert_eq!((route.counters.dropped(DropReason::TooLarge), route.counters.in_flight()), (3, 1));
}

/// A topic alone makes batches as long as a payload may be; one that shares the connection makes short ones.
#[test]
fn company_makes_batches_shorter() {
    let (mut contention, suspects, now) = (Contention::default(), Suspects::new(HOUR), Instant::now());
    let routes = [0, 1].map(|topic| route(topic, batches(50)));
    let bytes = |contention: &Contention, topic: usize, now| contention.extent(&routes[topic], &suspects, now).bytes;
    assert_eq!(bytes(&contention, 0, now), PAYLOAD_LIMIT);
    contention.sent(&routes[0], now);
    assert_eq!([0, 1].map(|topic| bytes(&contention, topic, now)), [PAYLOAD_LIMIT, SHARED]);
    contention.sent(&routes[1], now);
    contention.sent(&routes[1], now + RECENT / 2);
    assert_eq!([0, 1].map(|topic| bytes(&contention, topic, now + RECENT / 2)), [SHARED, SHARED]);
    assert_eq!([0, 1].map(|topic| bytes(&contention, topic, now + RECENT)), [SHARED, PAYLOAD_LIMIT]);
}
