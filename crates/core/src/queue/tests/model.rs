//! The queue against a plain model of it: one list, searched from the front.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Admit {
        lane: usize,
        payload: usize,
        milliseconds: u64,
    },
    Lease,
    /// Acknowledges one of the leases ever given, also one that has ended.
    Acknowledge(prop::sample::Index),
    Discard(prop::sample::Index),
    Requeue,
    Tend,
    Pass {
        milliseconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3usize, 0..600usize, prop_oneof![1..200u64, 10_000..20_000u64])
            .prop_map(|(lane, payload, milliseconds)| Step::Admit { lane, payload, milliseconds }),
        6 => Just(Step::Lease),
        4 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        1 => any::<prop::sample::Index>().prop_map(Step::Discard),
        1 => Just(Step::Requeue),
        1 => Just(Step::Tend),
        2 => (0..100u64).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ]
}

#[derive(Debug, Clone)]
struct Held {
    serial: u64,
    lane: usize,
    size: u64,
    expires: Instant,
    /// Number of the lease, while it is leased.
    lease: Option<usize>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    received: u64,
    overflow: u64,
    expired: u64,
    discarded: u64,
    acknowledged: u64,
}

/// All records in the order of admission.
struct Model {
    bound: u64,
    overflow: Overflow,
    held: Vec<Held>,
    counts: [Counts; 3],
    leases: usize,
}

impl Model {
    fn used(&self) -> u64 {
        self.held.iter().map(|held| held.size).sum()
    }

    fn head(&self, lane: usize) -> Option<usize> {
        self.held.iter().position(|held| held.lane == lane && held.lease.is_none())
    }

    fn drop_expired_heads(&mut self, lane: usize, now: Instant) {
        while let Some(head) = self.head(lane).filter(|&head| self.held[head].expires <= now) {
            self.held.remove(head);
            self.counts[lane].expired += 1;
        }
    }

    fn admit(&mut self, newcomer: Held, now: Instant) {
        self.counts[newcomer.lane].received += 1;
        if newcomer.expires <= now {
            self.counts[newcomer.lane].expired += 1;
            return;
        }
        if self.used() + newcomer.size > self.bound {
            self.maintain(now);
        }
        let fixed: u64 = self
            .held
            .iter()
            .filter(|held| held.lease.is_some() || held.lane < newcomer.lane)
            .map(|held| held.size)
            .sum();
        let room = match self.overflow {
            Overflow::DropOldest => fixed + newcomer.size <= self.bound,
            Overflow::DropNewest => self.used() + newcomer.size <= self.bound,
        };
        if !room {
            self.counts[newcomer.lane].overflow += 1;
            return;
        }
        while self.used() + newcomer.size > self.bound {
            let lane = (0..3).rev().find(|&lane| self.head(lane).is_some()).unwrap();
            self.held.remove(self.head(lane).unwrap());
            self.counts[lane].overflow += 1;
        }
        self.held.push(newcomer);
    }

    fn lease(&mut self, now: Instant) -> Option<u64> {
        for lane in 0..3 {
            self.drop_expired_heads(lane, now);
            if let Some(head) = self.head(lane) {
                self.held[head].lease = Some(self.leases);
                self.leases += 1;
                return Some(self.held[head].serial);
            }
        }
        None
    }

    fn end(&mut self, lease: usize) -> Option<usize> {
        let position = self.held.iter().position(|held| held.lease == Some(lease))?;
        Some(self.held.remove(position).lane)
    }

    fn maintain(&mut self, now: Instant) {
        for held in self.held.extract_if(.., |held| held.lease.is_none() && held.expires <= now) {
            self.counts[held.lane].expired += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the queue lends the same records as the model in the same order, holds and
    /// counts the same, keeps to its bound, and its counters add up after every step.
    #[test]
    fn behaves_as_its_model(
        records in 0..12u64,
        drop_oldest in any::<bool>(),
        steps in vec(step(), 1..60),
    ) {
        let overflow = if drop_oldest { Overflow::DropOldest } else { Overflow::DropNewest };
        let bound = records * 400;
        let queue = Queue::in_memory(&config::Queue::in_memory(bound, overflow));
        let routes = [Priority::High, Priority::Normal, Priority::Low].map(route);
        let mut model = Model { bound, overflow, held: Vec::new(), counts: [Counts::default(); 3], leases: 0 };
        let (mut now, mut serial, mut leases) = (Instant::now(), 0, Vec::new());
        for step in steps {
            match step {
                Step::Admit { lane, payload, milliseconds } => {
                    serial += 1;
                    let expires = now + Duration::from_millis(milliseconds);
                    routes[lane].counters.count_received();
                    let record = Record {
                        route: routes[lane].clone(),
                        payload: Bytes::from(vec![0; payload]),
                        received_ns: serial as i64,
                        expires,
                    };
                    let size = record.size();
                    let admitted = queue.admit(record, now);
                    model.admit(Held { serial, lane, size, expires, lease: None }, now);
                    prop_assert_eq!(admitted, model.held.last().is_some_and(|held| held.serial == serial));
                }
                Step::Lease => {
                    let lease = queue.lease(now);
                    prop_assert_eq!(lease.as_ref().map(|lease| lease.record.received_ns as u64), model.lease(now));
                    leases.extend(lease.map(|lease| lease.id));
                }
                Step::Acknowledge(index) if !leases.is_empty() => {
                    let lease = index.index(leases.len());
                    let ended = model.end(lease);
                    prop_assert_eq!(queue.acknowledge(leases[lease]), ended.is_some());
                    ended.into_iter().for_each(|lane| model.counts[lane].acknowledged += 1);
                }
                Step::Discard(index) if !leases.is_empty() => {
                    let lease = index.index(leases.len());
                    let ended = model.end(lease);
                    prop_assert_eq!(queue.discard(leases[lease], DropReason::TooLarge, now), ended.is_some());
                    ended.into_iter().for_each(|lane| model.counts[lane].discarded += 1);
                }
                Step::Acknowledge(_) | Step::Discard(_) => {}
                Step::Requeue => {
                    let leased = model.held.iter_mut().filter_map(|held| held.lease.take()).count();
                    prop_assert_eq!(queue.requeue(), leased);
                }
                Step::Tend => {
                    queue.maintain(now);
                    model.maintain(now);
                }
                Step::Pass { milliseconds } => now += Duration::from_millis(milliseconds),
            }
            check(&queue, &model, &routes)?;
        }
    }
}

fn check(queue: &Queue, model: &Model, routes: &[Arc<Route>; 3]) -> Result<(), TestCaseError> {
    let figures = queue.figures();
    prop_assert!(figures.bytes() <= model.bound);
    for (lane, route) in routes.iter().enumerate() {
        let (leased, waiting): (Vec<_>, Vec<_>) =
            model.held.iter().filter(|held| held.lane == lane).partition(|held| held.lease.is_some());
        let bytes = |held: &[&Held]| held.iter().map(|held| held.size).sum::<u64>();
        let expected = super::super::LaneFigures {
            queued: waiting.len() as u64,
            queued_bytes: bytes(&waiting),
            queued_on_disk: 0,
            memory_only: (waiting.len() + leased.len()) as u64,
            in_flight: leased.len() as u64,
            in_flight_bytes: bytes(&leased),
            oldest_received_ns: waiting.iter().chain(&leased).map(|held| held.serial as i64).min(),
        };
        prop_assert_eq!(figures.lanes[lane], expected);
        let counts = Counts {
            received: route.counters.received(),
            overflow: route.counters.dropped(DropReason::Overflow),
            expired: route.counters.dropped(DropReason::Expired),
            discarded: route.counters.dropped(DropReason::TooLarge),
            acknowledged: route.counters.acknowledged(),
        };
        prop_assert_eq!(counts, model.counts[lane]);
        let account = queue.account(&route.counters);
        prop_assert_eq!((account.queued, account.in_flight), (expected.queued, expected.in_flight));
        prop_assert_eq!(account.in_reception(), 0);
        prop_assert_eq!(account.received, account.dropped + account.queued + account.in_flight + account.acknowledged);
    }
    Ok(())
}
