//! The search as a whole: outbox, queue and policies as they are, against a model of a broker that closes the connection
//! without a word, in simulated time. Topics are forbidden and allowed again, single records are poisoned, another client
//! kicks, links are cut, all at random.
//!
//! The rules: nothing of an allowed topic is dropped but what is poisoned, a forbidden topic is set aside within ten
//! connections that were closed over it, and the others flow.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::{self, Encoding, Mqtt, MqttVersion, Overflow, Presence, Priority, Qos, Quotas, Reconnect};
use crate::mqtt::client::{Event, Limits, Message, Reason};
use crate::mqtt::{Fault, FaultKind};
use crate::packing::{Batch, Compression, Packing, When};
use crate::queue::{Queue, Record};
use crate::tally::DropReason;
use crate::topics::Registry;
use crate::uplink::connection::{End, Ended};
use crate::uplink::filters::Blame;
use crate::uplink::outbox::{Outbox, Publisher};
use crate::uplink::recovery::Recovery;
use crate::uplink::rules::Rules;

const SEQUENCES: u64 = 1000;

/// Within this time a record of an allowed topic arrives, whatever happens to the others.
const FLOWS: Duration = Duration::from_secs(300);

const SECOND: Duration = Duration::from_secs(1);

/// Closes over a forbidden topic until it is set aside.
const MOST_CLOSES: u32 = 10;

/// How long everything goes wrong at random; how long topics stay forbidden after that, with nothing else going wrong; and
/// how long nothing goes wrong at last.
const PHASES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(700), Duration::from_secs(4000)];

/// The order in which topics have their turns once a connection has ended. No rule may depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    /// As the queue has it.
    Queue,
    /// The same after each connection.
    Fixed,
    /// Another one after each.
    Shuffled,
}

/// A topic and what has become of its records, which are numbered.
struct Topic {
    route: Arc<Route>,
    allowed: bool,
    /// Whether what is compressed is allowed as well, which goes to a topic of its own.
    compressed_allowed: bool,
    admitted: Vec<Admitted>,
    /// Numbers in the order of their arrival.
    arrived: Vec<usize>,
    /// Connections closed over it since it was forbidden, tried again or set aside.
    closes: u32,
    /// The most of them.
    most_closes: u32,
}

impl Topic {
    /// All that it publishes.
    fn is_allowed(&self) -> bool {
        self.allowed && (self.compressed_allowed || self.route.mqtt_compressed().is_none())
    }

    fn is_aside(&self, aside: &[String]) -> bool {
        aside.iter().any(|topic| *topic == self.route.mqtt || Some(&**topic) == self.route.mqtt_compressed())
    }
}

struct Admitted {
    at: Instant,
    poisoned: bool,
    arrived: bool,
}

/// What the MQTT client has taken over and not written.
#[derive(Default)]
struct Wire {
    limits: Limits,
    submitted: VecDeque<(Option<u16>, String, Bytes)>,
    last_id: u16,
}

impl Publisher for Wire {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn size_with(&self, message: &Message<'_>, payload: usize) -> usize {
        message.topic.len() + payload
    }

    fn publish(&mut self, message: &Message<'_>) -> usize {
        let packet_id = (message.qos == Qos::AtLeastOnce).then(|| {
            self.last_id += 1;
            self.last_id
        });
        self.submitted.push_back((packet_id, message.topic.into(), message.payload.clone()));
        self.size_with(message, message.payload.len())
    }

    fn was_refused(&mut self, _topic: &str) {}
}

struct Connection {
    wire: Wire,
    outbox: Outbox,
    since: Instant,
    to_broker: VecDeque<(Instant, Option<u16>, String, Bytes)>,
    from_broker: VecDeque<(Instant, FromBroker)>,
    /// The broker has closed it.
    closed: bool,
}

enum FromBroker {
    Puback(u16),
    Close,
}

struct Bridge {
    queue: Arc<Queue>,
    mqtt: Mqtt,
    rules: Rules,
    recovery: Recovery,
    connection: Option<Connection>,
    connect_at: Instant,
    connections: u32,
    /// Another client seemed to have the client id at some time.
    was_contested: bool,
}

struct World {
    random: StdRng,
    now: Instant,
    start: Instant,
    topics: Vec<Topic>,
    bridge: Bridge,
    latency: Duration,
    /// Whether another client has the client id, and whether links break.
    is_contested: bool,
    is_wretched: bool,
    /// Mean times between cuts and between kicks.
    cuts: Option<Duration>,
    kicks: Option<Duration>,
    next_record: Vec<Instant>,
    next_cut: Instant,
    next_kick: Instant,
    next_policy: Instant,
    next_tick: Instant,
    turns: Turns,
    /// For the turns alone: a seed makes the same world whatever they are.
    shuffles: StdRng,
}

fn settings() -> Mqtt {
    Mqtt {
        version: MqttVersion::V3_1_1,
        keep_alive: 60 * SECOND,
        ack_timeout: 20 * SECOND,
        reconnect: Reconnect { initial: SECOND, max: 120 * SECOND, stable_after: 30 * SECOND },
        quotas: Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 },
        last_will: None,
        presence: None,
        proxy: None,
    }
}

impl Bridge {
    fn new(random: &mut StdRng, now: Instant) -> Self {
        let presence = random.gen_bool(0.5).then(|| Presence {
            topic: "presence".into(),
            online: "online".into(),
            offline: "offline".into(),
        });
        let mqtt = Mqtt { presence, ..settings() };
        let jitter = StdRng::seed_from_u64(random.r#gen());
        Bridge {
            queue: Arc::new(Queue::in_memory(&config::Queue::in_memory(32 << 20, Overflow::DropNewest))),
            rules: Rules::new(&mqtt),
            recovery: Recovery::with_random(&mqtt.reconnect, jitter).unwrap(),
            mqtt,
            connection: None,
            connect_at: now,
            connections: 0,
            was_contested: false,
        }
    }

    fn connect(&mut self, now: Instant) {
        self.connections += 1;
        self.recovery.attempted(now);
        let wire = Wire::default();
        let outbox = Outbox::new("robot1".into(), &self.mqtt, &wire.limits, Arc::default());
        self.connection = Some(Connection {
            wire,
            outbox,
            since: now,
            to_broker: VecDeque::new(),
            from_broker: VecDeque::new(),
            closed: false,
        });
    }

    /// The connection has ended without a word.
    fn ended(&mut self, now: Instant) {
        let Some(Connection { outbox, since, .. }) = self.connection.take() else { return };
        let end = End::Fault(Fault::new(FaultKind::Closed, "the broker closed the connection".into()));
        let ended = Ended { end, course: outbox.course(since, now), outbox };
        self.recovery.ended(ended, Blame::None, "robot1", &mut self.rules, &self.queue, now);
        self.was_contested |= self.recovery.is_contested();
        self.connect_at = self.recovery.next_attempt(now);
    }

    fn feed(&mut self, now: Instant, latency: Duration) {
        let Some(connection) = &mut self.connection else { return };
        let Connection { wire, outbox, to_broker, .. } = connection;
        outbox.feed(wire, &mut self.rules, &self.queue, || now);
        while let Some((packet_id, topic, payload)) = wire.submitted.pop_front() {
            outbox.note(Event::Sent { packet_id }, wire, &mut self.rules, &self.queue, now).unwrap();
            to_broker.push_back((now + latency, packet_id, topic, payload));
        }
    }

    fn acknowledged(&mut self, packet_id: u16, now: Instant) {
        let connection = self.connection.as_mut().expect("it stands");
        let Connection { wire, outbox, .. } = connection;
        let event = Event::Acknowledged { packet_id, answer: Reason::SUCCESS.into() };
        outbox.note(event, wire, &mut self.rules, &self.queue, now).unwrap();
    }

    fn tick(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        connection.outbox.settle(&mut self.rules.suspects, now);
        self.recovery.stands(now - connection.since, &mut self.rules);
        self.rules.expire(now);
    }
}

impl World {
    fn new(seed: u64, turns: Turns) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let start = Instant::now();
        let allowed = if random.gen_bool(0.1) { 0.1 } else { 0.8 };
        let topics: Vec<_> = (0..random.gen_range(1..6))
            .map(|index| {
                let batch = Batch { max: 20, linger: Duration::ZERO };
                let batch = random.gen_bool(0.3).then_some(batch);
                // Of three records or more.
                let compression = (batch.is_some() && random.gen_bool(0.5))
                    .then(|| Compression::new(Encoding::Zstd, When::Over(100), true, &index.to_string()));
                let packing = Packing { batch, compression, ..Packing::default() };
                let route = Route {
                    topic: Registry::default().topic(&format!("/{index}"), &index.to_string()),
                    qos: Qos::AtLeastOnce,
                    retain: false,
                    priority: Priority::Normal,
                    packing,
                };
                Topic {
                    route: Arc::new(route),
                    allowed: random.gen_bool(allowed),
                    compressed_allowed: random.gen_bool(allowed),
                    admitted: Vec::new(),
                    arrived: Vec::new(),
                    closes: 0,
                    most_closes: 0,
                }
            })
            .collect();
        let mut often = |share| random.gen_bool(share).then(|| Duration::from_secs_f64(random.gen_range(1.0..20.0)));
        let (cuts, kicks) = (often(0.5), often(0.5));
        World {
            now: start,
            start,
            bridge: Bridge::new(&mut random, start),
            latency: Duration::from_millis(random.gen_range(5..100)),
            is_contested: kicks.is_some(),
            is_wretched: cuts.is_some(),
            cuts,
            kicks,
            next_record: vec![start; topics.len()],
            next_cut: start,
            next_kick: start,
            next_policy: start,
            next_tick: start,
            topics,
            random,
            turns,
            shuffles: StdRng::seed_from_u64(seed),
        }
    }

    /// A time whose mean is `mean`.
    fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.random.r#gen::<f64>()).ln())
    }

    /// Does what comes next. Returns false at the end of the last phase.
    fn step(&mut self) -> bool {
        let connection = self.bridge.connection.as_ref();
        let arrivals = connection.and_then(|connection| connection.to_broker.front()).map(|(at, ..)| *at);
        let answers = connection.and_then(|connection| connection.from_broker.front()).map(|(at, _)| *at);
        let connect = connection.is_none().then_some(self.bridge.connect_at);
        let record = self.next_record.iter().min().copied();
        let world = [self.next_cut, self.next_kick, self.next_policy, self.next_tick];
        let next = [arrivals, answers, connect, record].into_iter().flatten().chain(world).min();
        self.now = self.now.max(next.expect("a tick"));
        let (now, age, was_connected) = (self.now, self.now - self.start, connection.is_some());
        let phase = PHASES.iter().scan(Duration::ZERO, |end, phase| {
            *end += *phase;
            Some(*end)
        });
        let Some(phase) = phase.enumerate().find(|(_, end)| age < *end).map(|(phase, _)| phase) else { return false };
        if connect.is_some_and(|at| at <= now) {
            self.bridge.connect(now);
        }
        self.admit(phase);
        self.at_broker();
        self.at_bridge();
        self.go_wrong(phase);
        if was_connected && self.bridge.connection.is_none() {
            self.take_turns();
        }
        if self.next_tick <= now {
            self.next_tick = now + [SECOND, 5 * SECOND, 20 * SECOND][phase];
            self.bridge.tick(now);
        }
        self.bridge.feed(now, self.latency);
        true
    }

    fn admit(&mut self, phase: usize) {
        let (now, mean) = (self.now, [SECOND, 20 * SECOND, 1000 * SECOND][phase]);
        for index in 0..self.topics.len() {
            if self.next_record[index] > now {
                continue;
            }
            self.next_record[index] = now + self.about(mean);
            let (number, poisoned) = (self.topics[index].admitted.len(), phase == 0 && self.random.gen_bool(0.01));
            let topic = &mut self.topics[index];
            topic.admitted.push(Admitted { at: now, poisoned, arrived: false });
            let (payload, received_ns) = (Bytes::from(format!("{number:40}")), (now - self.start).as_nanos() as i64);
            let expires = now + 86_400 * SECOND;
            topic.route.counters.count_received();
            assert!(self.bridge.queue.admit(Record { route: topic.route.clone(), payload, received_ns, expires }, now));
        }
    }

    fn at_broker(&mut self) {
        let (now, latency) = (self.now, self.latency);
        let Some(connection) = &mut self.bridge.connection else { return };
        let aside = self.bridge.rules.suspects.set_aside();
        while let Some((_, packet_id, topic, payload)) = connection.to_broker.pop_front_if(|(at, ..)| *at <= now) {
            if connection.closed {
                continue;
            }
            let (mqtt, is_compressed) = topic.strip_suffix("/zstd").map_or((&*topic, false), |mqtt| (mqtt, true));
            let Ok(index) = mqtt.parse::<usize>() else {
                // The word that the bridge is there.
                connection.from_broker.push_back((now + latency, FromBroker::Puback(packet_id.expect("QoS 1"))));
                continue;
            };
            let topic = &mut self.topics[index];
            let payload =
                if is_compressed { zstd::bulk::decompress(&payload, 1 << 20).unwrap().into() } else { payload };
            let numbers: Vec<usize> = match payload.first() {
                Some(b'[') => serde_json::from_slice(&payload).unwrap(),
                _ => vec![serde_json::from_slice(&payload).unwrap()],
            };
            let is_allowed = topic.allowed && (topic.compressed_allowed || !is_compressed);
            if !is_allowed || numbers.iter().any(|number| topic.admitted[*number].poisoned) {
                connection.closed = true;
                connection.from_broker.push_back((now + latency, FromBroker::Close));
                if !is_allowed && !topic.is_aside(&aside) {
                    topic.closes += 1;
                    topic.most_closes = topic.most_closes.max(topic.closes);
                }
                continue;
            }
            numbers.iter().for_each(|number| topic.admitted[*number].arrived = true);
            topic.arrived.extend(numbers);
            topic.closes = 0;
            if let Some(packet_id) = packet_id {
                connection.from_broker.push_back((now + latency, FromBroker::Puback(packet_id)));
            }
        }
        for topic in &mut self.topics {
            if topic.is_aside(&aside) {
                topic.closes = 0;
            }
        }
    }

    fn at_bridge(&mut self) {
        let now = self.now;
        while let Some(connection) = &mut self.bridge.connection
            && let Some((_, came)) = connection.from_broker.pop_front_if(|(at, _)| *at <= now)
        {
            match came {
                FromBroker::Puback(packet_id) => self.bridge.acknowledged(packet_id, now),
                FromBroker::Close => self.bridge.ended(now),
            }
        }
    }

    fn go_wrong(&mut self, phase: usize) {
        let now = self.now;
        if phase > 0 {
            (self.cuts, self.kicks) = (None, None);
        }
        if self.next_cut <= now {
            self.next_cut = now + self.cuts.map_or(3600 * SECOND, |mean| self.about(mean));
            if self.cuts.is_some() {
                self.bridge.ended(now);
            }
        }
        if self.next_kick <= now {
            self.next_kick = now + self.kicks.map_or(3600 * SECOND, |mean| self.about(mean));
            if let (Some(_), Some(connection)) = (self.kicks, &mut self.bridge.connection)
                && !connection.closed
            {
                connection.closed = true;
                connection.from_broker.push_back((now + self.latency, FromBroker::Close));
            }
        }
        if self.next_policy <= now {
            self.next_policy = now + self.about(20 * SECOND);
            match phase {
                0 => {
                    let index = self.random.gen_range(0..self.topics.len());
                    let allowed = self.random.gen_bool(0.6);
                    let compressed_allowed = self.random.gen_bool(0.6);
                    let topic = &mut self.topics[index];
                    (topic.allowed, topic.compressed_allowed) = (allowed, compressed_allowed);
                }
                1 => {}
                _ => self.topics.iter_mut().for_each(|topic| (topic.allowed, topic.compressed_allowed) = (true, true)),
            }
        }
    }

    /// Puts the topics of the queue in order: those leased last have their turn first when all is requeued.
    fn take_turns(&mut self) {
        let mut order: Vec<_> = self.topics.iter().map(|topic| topic.route.clone()).collect();
        match self.turns {
            Turns::Queue => return,
            Turns::Fixed => {}
            Turns::Shuffled => order.shuffle(&mut self.shuffles),
        }
        for route in order {
            while self.bridge.queue.lease_where(self.now, &|other| other.is_same_topic(&route)).is_some() {}
        }
        self.bridge.queue.requeue();
    }

    /// Of an allowed topic everything has arrived that was admitted before `then` and is not poisoned. One that was forbidden
    /// before may wait for its trial.
    fn check_flow(&self, then: Instant) -> Result<(), String> {
        if self.is_contested && self.bridge.recovery.is_contested() {
            // Then all waits are of minutes.
            return Ok(());
        }
        let aside = self.bridge.rules.suspects.set_aside();
        for topic in self.topics.iter().filter(|topic| topic.is_allowed() && !topic.is_aside(&aside)) {
            let is_missing = |record: &Admitted| record.at < then && !record.arrived && !record.poisoned;
            if let Some(number) = topic.admitted.iter().position(is_missing) {
                let late = self.now - topic.admitted[number].at;
                return Err(format!("record {number} of topic {} has not arrived in {late:?}", topic.route.mqtt));
            }
        }
        Ok(())
    }

    /// What has become of the records, and how many came behind a later one.
    fn check_records(&self, outcome: &mut Outcome) -> Result<(), String> {
        for topic in &self.topics {
            let poisoned = topic.admitted.iter().filter(|record| record.poisoned && !record.arrived).count();
            let counters = &topic.route.counters;
            let dropped = (counters.dropped(DropReason::Poison), counters.dropped_in_all());
            if dropped != (poisoned as u64, poisoned as u64) {
                return Err(format!("topic {}: {dropped:?} dropped, {poisoned} poisoned", topic.route.mqtt));
            }
            if topic.most_closes > MOST_CLOSES {
                return Err(format!("topic {}: {} closes", topic.route.mqtt, topic.most_closes));
            }
            outcome.closes = outcome.closes.max(topic.most_closes);
            outcome.poisoned += poisoned;
            outcome.records += topic.admitted.len();
            let mut seen = vec![false; topic.admitted.len()];
            let mut highest = 0;
            for number in &topic.arrived {
                outcome.late += usize::from(*number < highest && !seen[*number]);
                seen[*number] = true;
                highest = highest.max(*number);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Outcome {
    records: usize,
    poisoned: usize,
    /// Closes at most until a topic was set aside.
    closes: u32,
    /// Records that came for the first time behind a later one of their topic.
    late: usize,
}

fn sequence(seed: u64, turns: Turns, outcome: &mut Outcome) -> Result<(), String> {
    let mut world = World::new(seed, turns);
    let calm = world.start + PHASES[0] + PHASES[1];
    let mut is_checked = false;
    while world.step() {
        if !is_checked && world.now >= calm - SECOND {
            is_checked = true;
            world.check_flow(calm - FLOWS)?;
        }
    }
    let aside = world.bridge.rules.suspects.set_aside();
    if !aside.is_empty() {
        return Err(format!("still aside: {aside:?}"));
    }
    world.check_flow(world.now - FLOWS)?;
    if world.bridge.was_contested && !world.is_contested && !world.is_wretched {
        return Err("another client was suspected".into());
    }
    world.check_records(outcome)
}

/// A record that is too large for this connection takes those with it that stayed back for it.
#[test]
fn what_stays_back_goes_back_with_what_is_outgrown() {
    let (mut world, route) = (World::new(0, Turns::Queue), Arc::new(tests::route("0")));
    let now = world.now;
    world.bridge.mqtt.presence = None;
    world.bridge.connect(now);
    for (received_ns, bytes) in [(1, 10), (2, 1000)] {
        let (payload, expires) = (Bytes::from(vec![b'1'; bytes]), now + 3600 * SECOND);
        let record = Record { route: route.clone(), payload, received_ns, expires };
        assert!(world.bridge.queue.admit(record, now));
    }
    let [first, second] = [(1, 10), (2, 1000)].map(|(received_ns, bytes)| RecordId { received_ns, bytes });
    let suspects = &mut world.bridge.rules.suspects;
    suspects.acknowledged("0", None, now);
    let close = Close { lasted: SECOND, contested: false };
    for _ in 0..FORBIDDEN + PROVEN {
        let alone = InFlight { topic: "0", batch: Some(("0", 1)), record: Some(first), is_reply: false };
        assert_eq!(suspects.closed(close, &[alone], now), None);
    }
    assert!(suspects.is_passing_over(&route));
    let connection = world.bridge.connection.as_mut().unwrap();
    connection.wire.limits.packet = Some(200);
    let Connection { wire, outbox, .. } = connection;
    outbox.feed(wire, &mut world.bridge.rules, &world.bridge.queue, || now);
    assert_eq!(outbox.topics_outgrown().collect::<Vec<_>>(), ["0"]);
    world.bridge.rules.suspects.acknowledged("0", Some(second), now);
    outbox.feed(wire, &mut world.bridge.rules, &world.bridge.queue, || now);
    assert!(wire.submitted.is_empty(), "the first is back in the queue");
    assert_eq!(world.bridge.queue.lease(now).unwrap().record.received_ns, 1);
    // A topic that nobody has any more waits for nothing.
    assert!(world.bridge.queue.acknowledge(world.bridge.queue.lease(now).unwrap().id));
    world.bridge.queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(1 << 20, config::Overflow::DropOldest)));
    drop(route);
    let Connection { outbox, .. } = world.bridge.connection.as_mut().unwrap();
    outbox.settle(&mut world.bridge.rules.suspects, now);
    assert_eq!(outbox.topics_outgrown().count(), 0);
}

/// A thousand random sequences against the rules, on two threads, with turns in one of the orders each.
#[test]
fn nothing_allowed_is_dropped_and_nothing_forbidden_blocks_the_others() {
    let run = |seeds: std::ops::Range<u64>| {
        let mut outcome = Outcome::default();
        let turns = [Turns::Queue, Turns::Fixed, Turns::Shuffled].into_iter().cycle();
        let sequences = seeds.zip(turns);
        let failed: Vec<_> = sequences
            .filter_map(|(seed, turns)| Some((seed, turns, sequence(seed, turns, &mut outcome).err()?)))
            .collect();
        println!("{outcome:?}");
        assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
        assert!(outcome.poisoned > 100 && outcome.closes > 3, "too little went wrong: {outcome:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| run(0..SEQUENCES / 2));
        run(SEQUENCES / 2..SEQUENCES);
    });
}
