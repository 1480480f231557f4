//! Makes the [`Report`] of the moment.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::report::{
    Accepted, Connection, DeviceShadow, Disk, Fault, Held, Lane, NotAccepted, Pattern, Phase, Place, Published, Queue,
    Report, Request, State, Topic,
};
use super::{Last, LastAccepted, LastRefused, RequestHealth, ShadowStanding, Sources, Standing, TopicHealth};
use crate::ros::TopicState;
use iot_bridge_core::config::{Aws, Found, Priority, UNNAMED, fill_thing};
use iot_bridge_core::queue;
use iot_bridge_core::tally::{DropReason, Meter, ShapedReason, TopicCounters};
use iot_bridge_core::uplink::{self, UplinkState};

/// Everything that a report is made of.
#[derive(Debug)]
pub struct Reporter {
    thing: String,
    endpoint: String,
    started: SystemTime,
    sources: Sources,
    meter: Arc<Meter>,
}

impl Reporter {
    /// A reporter for the bridge that starts now.
    pub fn new(aws: &Aws, sources: Sources, meter: Arc<Meter>) -> Self {
        let endpoint = format!("{}:{}", aws.endpoint, aws.port);
        Reporter { thing: aws.thing.clone(), endpoint, started: SystemTime::now(), sources, meter }
    }

    /// How the bridge is now.
    pub fn report(&self) -> Report {
        let now = Now { instant: Instant::now(), system: SystemTime::now() };
        let uplink = self.sources.uplink.borrow().clone();
        let (configured, leaving) = (self.sources.topics.configured(), self.sources.topics.leaving(now.instant));
        let thing = uplink.provisioned.as_ref().filter(|_| self.thing == UNNAMED).unwrap_or(&self.thing).clone();
        let configured = configured.iter().map(|topic| (topic, state(topic.state())));
        let replies = self.sources.topics.all_replies();
        let listed: Vec<_> = configured
            .chain(replies.iter().map(|replies| (replies, State::Replies)))
            .chain(
                leaving
                    .iter()
                    .map(|left| (&left.health, if left.has_vanished { State::Vanished } else { State::Removed })),
            )
            .collect();
        // Read before the accounts, so that they are never more than those count; what ends in between counts as in
        // reception for this once, and the sum holds.
        let ended: Vec<_> = listed.iter().map(|(topic, _)| Ended::read(&topic.counters)).collect();
        let accounts = self.sources.queue.accounts(listed.iter().map(|(topic, _)| &*topic.counters));
        let counted = ended.into_iter().zip(accounts);
        let topics = listed.into_iter().zip(counted);
        let mut told = HashSet::new();
        let topics = topics.map(|((topic, state), counted)| Topic {
            is_counted_before: !told.insert(Arc::as_ptr(&topic.counters)),
            ..one_topic(topic, &thing, state, counted, now.instant)
        });
        let topics = topics.collect();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            thing,
            endpoint: self.endpoint.clone(),
            started: seconds(self.started),
            at: seconds(now.system),
            certificate_expires: uplink.certificate_expires.map(seconds),
            configuration: self.sources.configuration.read(),
            connection: connection(uplink, self.meter.refused(), now),
            queue: queue_report(&self.sources.queue.figures()),
            behind: self.sources.behind.read(),
            published: Published { publishes: self.meter.publishes(), bytes: self.meter.bytes() },
            latency: self.meter.latency(),
            latency_last_minute: self.meter.latency_of_last_minute(now.instant),
            patterns: self.sources.topics.patterns().into_iter().map(pattern).collect(),
            topics,
            requests: self.sources.requests.read().iter().map(|entry| request(entry)).collect(),
        }
    }
}

fn request(entry: &RequestHealth) -> Request {
    let (Standing { peers, trouble }, Last { accepted, refused }) = (entry.standing(), entry.last());
    let outcomes = entry.outcomes().read().into_iter();
    Request {
        kind: entry.kind.to_owned(),
        mqtt: entry.mqtt.clone(),
        ros: entry.ros.clone(),
        peers,
        trouble,
        outcomes: outcomes.map(|(outcome, count)| (outcome.to_owned(), count)).collect(),
        last_accepted: accepted.map(|LastAccepted { at, id }| Accepted { at: seconds(at), id }),
        last_refused: refused.map(|LastRefused { at, id, reason, detail }| NotAccepted {
            at: seconds(at),
            id,
            reason: reason.to_owned(),
            detail,
        }),
        shadow: entry.shadow().map(|ShadowStanding { version, updated, delta }| DeviceShadow {
            version,
            updated: updated.map(seconds),
            delta: delta.map(seconds),
        }),
    }
}

fn one_topic(
    topic: &TopicHealth,
    thing: &str,
    state: State,
    (ended, account): (Ended, queue::Account),
    now: Instant,
) -> Topic {
    let counters = &topic.counters;
    let ended_in_all: u64 = ended.shaped.iter().chain(&ended.dropped).sum();
    let elsewhere = ended_in_all + account.queued + account.in_flight + account.acknowledged;
    let rates = topic.rates(now);
    Topic {
        ros: topic.ros.clone(),
        mqtt: fill_thing(&topic.mqtt, thing).into_owned(),
        pattern: topic.pattern(),
        silent: topic
            .silence()
            .filter(|_| !matches!(state, State::Removed | State::Vanished | State::Replies))
            .map(|why| why.sentence(&topic.ros)),
        state,
        received: account.received,
        recovered: account.recovered,
        in_reception: (account.received + account.recovered).saturating_sub(elsewhere),
        shaped: by_label(ShapedReason::ALL.map(ShapedReason::label), ended.shaped),
        dropped: by_label(DropReason::ALL.map(DropReason::label), ended.dropped),
        queued: account.queued,
        in_flight: account.in_flight,
        acknowledged: account.acknowledged,
        lost_in_dds: counters.lost_in_dds(),
        published: Published { publishes: counters.publishes(), bytes: counters.published_bytes() },
        received_per_second: rates.received,
        published_bytes_per_second: rates.published_bytes,
        lost_per_second: rates.lost,
        is_counted_before: false,
    }
}

/// What ended before it was acknowledged, in the order of the reasons.
struct Ended {
    shaped: [u64; ShapedReason::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
}

impl Ended {
    fn read(counters: &TopicCounters) -> Self {
        Ended {
            shaped: ShapedReason::ALL.map(|reason| counters.shaped(reason)),
            dropped: DropReason::ALL.map(|reason| counters.dropped(reason)),
        }
    }
}

fn by_label<const N: usize>(labels: [&str; N], counts: [u64; N]) -> BTreeMap<String, u64> {
    labels.into_iter().map(str::to_owned).zip(counts).collect()
}

/// The same moment on both clocks.
#[derive(Clone, Copy)]
struct Now {
    instant: Instant,
    system: SystemTime,
}

impl Now {
    fn seconds_at(self, at: Instant) -> u64 {
        let ahead = at.saturating_duration_since(self.instant);
        let ago = self.instant.saturating_duration_since(at);
        seconds((self.system + ahead).checked_sub(ago).unwrap_or(UNIX_EPOCH))
    }
}

fn connection(uplink: UplinkState, refused: BTreeMap<u8, u64>, now: Now) -> Connection {
    let phase = match uplink.phase {
        uplink::Phase::Connecting => Phase::Connecting,
        uplink::Phase::Connected { since } => Phase::Connected { since: now.seconds_at(since) },
        uplink::Phase::Waiting { until } => Phase::Waiting { next_attempt: now.seconds_at(until) },
        uplink::Phase::Draining => Phase::Draining,
        uplink::Phase::Stopped => Phase::Stopped,
    };
    let fault = |(fault, at): (iot_bridge_core::mqtt::Fault, SystemTime)| Fault {
        kind: fault.kind.label().to_owned(),
        needs_somebody: fault.kind.needs_somebody(),
        sentence: fault.sentence,
        at: seconds(at),
    };
    Connection {
        phase,
        connections: uplink.connections,
        failed_attempts: uplink.failed_attempts,
        failures: uplink.failures.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        last_fault: uplink.last_fault.map(fault),
        set_aside: uplink.set_aside,
        refused_filters: uplink.refused_filters,
        missed: uplink.missed,
        provisioning: uplink.provisioning.map(|step| step.label().to_owned()),
        other_thing: uplink.other_thing,
        contested: uplink.contested,
        slowed: uplink.slowed,
        mqtt: uplink.version,
        mqtt_because: uplink.fallback.map(|why| why.to_string()),
        broker_lacks: uplink.broker_lacks.into_iter().map(str::to_owned).collect(),
        refused: refused.into_iter().map(|(reason, count)| (format!("{reason:#04x}"), count)).collect(),
    }
}

fn queue_report(figures: &queue::Figures) -> Queue {
    let lane = |(name, priority): (&str, Priority)| {
        let lane = figures.lane(priority);
        let mut waiting = BTreeMap::from([(Place::Memory, Held { records: lane.queued, bytes: lane.queued_bytes })]);
        if let Some(disk) = &figures.disk {
            let bytes = disk.lanes[priority as usize];
            waiting.insert(Place::Disk, Held { records: lane.queued_on_disk, bytes });
        }
        Lane {
            lane: name.to_owned(),
            waiting,
            in_flight: Held { records: lane.in_flight, bytes: lane.in_flight_bytes },
            memory_only: lane.memory_only,
            oldest: lane.oldest_received_ns.map(|ns| Duration::from_nanos(ns.try_into().unwrap_or(0)).as_secs()),
        }
    };
    let lanes = [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];
    let disk = figures.disk.as_ref();
    let disk = disk.map(|disk| Disk { bytes: disk.bytes, bound: disk.bound, trouble: disk.trouble.clone() });
    Queue { bound: figures.bound, disk, lanes: lanes.into_iter().map(lane).collect() }
}

fn pattern(found: Found) -> Pattern {
    let Found { ros, limit, topics, waiting, .. } = found;
    Pattern { ros, limit, topics, waiting: waiting.len() }
}

fn state(state: TopicState) -> State {
    match state {
        TopicState::Unknown => State::Unknown,
        TopicState::Subscribed { type_name, publishers, incompatible, redefined, unmatched } => {
            State::Subscribed { type_name, publishers, incompatible, redefined, unmatched }
        }
        TopicState::Trouble(trouble) => State::Trouble { trouble },
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
