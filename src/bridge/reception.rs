//! From the ROS thread into the queue: each message is shaped and admitted where it arrives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;

use super::fit::Fit;
use super::reports::Report;
use crate::health::TopicHealth;
use crate::ros::{Receiver, Sample, Silence, TopicState, Wanted};
use iot_bridge_core::codec::{Decoders, Schema};
use iot_bridge_core::config;
use iot_bridge_core::config::PAYLOAD_LIMIT;
use iot_bridge_core::packing::{COMPRESSIBLE_LIMIT, Packing};
use iot_bridge_core::queue::{Mark, Queue, Record, Route, Routes};
use iot_bridge_core::shaping::{Change, CountedAs, OnChange, Refused, Scratch, Shaper, Thinning, moment};
use iot_bridge_core::tally::{DropReason, Heartbeat, ONCE_A_MINUTE, Repeat, ShapedReason, counted};

/// How long after its end a window is closed, so that messages are in it which DDS had received and the thread had not taken.
const SETTLES: Duration = Duration::from_millis(20);

/// What the bridge does with what the ROS thread receives.
pub struct Reception {
    /// By their indices on the ROS thread; `None` where none is wanted.
    topics: Vec<Option<Topic>>,
    /// What shadows report, by indices on the ROS thread that no topic has.
    reports: HashMap<usize, Arc<Report>>,
    /// When the open windows end, and of which topics they are.
    windows: BTreeSet<(Instant, usize)>,
    /// Above all numbers that the messages of topics have got that are wanted no more.
    numbered: u64,
    thing: String,
    queue: Arc<Queue>,
    heartbeat: Arc<Heartbeat>,
    scratch: Scratch,
    shared: Shared,
}

/// What equal topics have in common.
#[derive(Default)]
struct Shared {
    routes: Routes,
    decoders: Decoders,
}

/// One configured topic on the ROS thread.
struct Topic {
    settings: config::Topic,
    health: Arc<TopicHealth>,
    thinning: Thinning,
    /// Set once the type is known; an error when messages of this type can't be forwarded as configured.
    open: Option<Result<Open, String>>,
    /// The shape of the type, once it is known.
    schema: Option<Arc<Schema>>,
    /// What the ROS thread said last.
    state: TopicState,
    /// What `seq` starts from when the topic is opened.
    first_number: u64,
    dropped: [Repeat; DropReason::ALL.len()],
    lost: Repeat,
    fit: Fit,
    /// Set while no message is small enough to be sent: what to do about it.
    never_fits: Option<String>,
}

struct Open {
    shaper: Shaper,
    on_change: Option<OnChange>,
    route: Arc<Route>,
    /// Of payloads that have to be compressed before they are queued.
    ahead: Option<Arc<Route>>,
}

impl Open {
    /// What is queued for a shaped message. `None` if it is too large to be sent.
    fn pack(&self, payload: Bytes) -> Option<(Arc<Route>, Bytes)> {
        let packing = &self.route.packing;
        if packing.framed(payload.len()) <= PAYLOAD_LIMIT {
            return Some((Arc::clone(&self.route), payload));
        }
        Some((self.ahead.clone()?, packing.pack_ahead(&payload)?))
    }
}

impl Reception {
    /// For messages of `thing`, of `topics` in the order of their indices on the ROS thread.
    pub fn new<'a>(
        thing: &str,
        topics: impl Iterator<Item = (&'a config::Topic, &'a Arc<TopicHealth>)>,
        queue: Arc<Queue>,
        heartbeat: Arc<Heartbeat>,
    ) -> Self {
        let start = queue.sequence_start();
        Reception {
            topics: topics.map(|(topic, health)| Some(Topic::new(topic.clone(), Arc::clone(health), start))).collect(),
            reports: HashMap::new(),
            windows: BTreeSet::new(),
            numbered: start,
            thing: thing.to_owned(),
            queue,
            heartbeat,
            scratch: Scratch::new(),
            shared: Shared::default(),
        }
    }
}

impl Reception {
    /// This moment in the order of the records that it admits.
    pub fn mark(&self) -> Mark {
        self.queue.mark()
    }

    /// Other topics, with the indices that they have on the ROS thread, in the place of those with the indices `removed`.
    pub fn replace(&mut self, removed: &[usize], added: Vec<(usize, config::Topic, Arc<TopicHealth>)>) {
        // A topic that goes on, under another subscription, goes on counting; another begins above all that were counted,
        // for it may have been there before.
        let mut numbers: HashMap<(String, String), u64> = HashMap::new();
        for &index in removed {
            self.close_window(index);
            if let Some(topic) = self.topics.get_mut(index).and_then(Option::take) {
                let next = topic.next_number();
                let number = numbers.entry((topic.settings.ros, topic.settings.mqtt)).or_default();
                *number = next.max(*number);
                self.numbered = self.numbered.max(next);
            }
        }
        for (index, settings, health) in added {
            let start = numbers.get(&(settings.ros.clone(), settings.mqtt.clone())).copied();
            if index >= self.topics.len() {
                self.topics.resize_with(index + 1, || None);
            }
            self.topics[index] = Some(Topic::new(settings, health, start.unwrap_or(self.numbered)));
        }
        while self.topics.pop_if(|last| last.is_none()).is_some() {}
    }

    /// Other topics are reported in shadows, with the indices that they have on the ROS thread.
    pub(super) fn replace_reports(&mut self, removed: &[usize], added: Vec<(usize, Arc<Report>)>) {
        removed.iter().for_each(|index| _ = self.reports.remove(index));
        self.reports.extend(added);
    }

    /// The wanted topic with this index.
    fn topic(&mut self, index: usize) -> Option<&mut Topic> {
        self.topics.get_mut(index)?.as_mut()
    }

    /// The thing is called `name` from now on.
    pub fn name_thing(&mut self, name: String) {
        self.thing = name;
        for index in 0..self.topics.len() {
            self.reopen(index);
        }
    }

    /// What is done with the messages of a topic changes; what ROS is asked for does not.
    pub fn change(&mut self, index: usize, settings: config::Topic, health: Arc<TopicHealth>) {
        let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) else { return };
        if (topic.settings.every, topic.settings.rate) != (settings.every, settings.rate) {
            topic.thinning = Thinning::of(&settings);
        }
        // What the window has is of the configuration before.
        self.close_window(index);
        let Some(topic) = self.topic(index) else { return };
        (topic.settings, topic.health) = (settings, health);
        let is_other =
            |schema: &Arc<Schema>| topic.settings.type_name.as_ref().is_some_and(|name| *name != schema.name);
        if topic.schema.as_ref().is_some_and(is_other) {
            // It is subscribed anew, and opened when the other type is known.
            topic.first_number = topic.next_number();
            (topic.open, topic.schema) = (None, None);
        }
        self.reopen(index);
        if let Some(topic) = self.topic(index) {
            topic.tell_state();
        }
    }

    /// Opens a topic anew whose type is known, as it is configured now.
    fn reopen(&mut self, index: usize) {
        if let Some(schema) = self.topic(index).and_then(|topic| topic.schema.clone()) {
            self.open(index, &schema);
        }
    }

    fn open(&mut self, index: usize, schema: &Arc<Schema>) {
        self.close_window(index);
        if let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) {
            topic.open(&self.thing, schema, &mut self.shared, &self.queue);
        }
    }

    /// Takes a message, received at `at`, into its topic's window.
    fn gather(&mut self, index: usize, sample: &Sample<'_>, at: Instant) {
        if self.window_ends(index).is_some_and(|ends| ends <= at) {
            self.close_window(index);
        }
        let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) else { return };
        let Some(Ok(open)) = &mut topic.open else { return };
        match open.shaper.take(sample.cdr, sample.source_ns, sample.received_ns, at) {
            Ok(()) => self.windows.extend(open.shaper.window_ends().map(|ends| (ends, index))),
            Err(refused) => topic.refuse(&refused, sample.cdr.len()),
        }
    }

    /// When the open window of a topic ends.
    fn window_ends(&self, index: usize) -> Option<Instant> {
        match &self.topics.get(index)?.as_ref()?.open {
            Some(Ok(open)) => open.shaper.window_ends(),
            _ => None,
        }
    }

    /// Sends what the open window of a topic has gathered, if there is one.
    fn close_window(&mut self, index: usize) {
        let Some(ends) = self.window_ends(index) else { return };
        self.windows.remove(&(ends, index));
        if let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) {
            topic.close_window(&mut self.scratch, &self.queue);
        }
    }
}

/// What the ROS thread is asked for.
pub fn wanted(topic: &config::Topic) -> Wanted {
    Wanted {
        topic: topic.ros.clone(),
        type_name: topic.type_name.clone(),
        reliability: topic.reliability,
        durability: topic.durability,
        depth: topic.depth,
    }
}

/// What becomes of the messages of a topic whose type is known.
pub struct Opened {
    pub on_change: Option<OnChange>,
    pub shaper: Shaper,
    /// The MQTT topic that they go to.
    pub mqtt: String,
}

/// What becomes of messages of the type that `schema` describes, numbered from `first` on.
///
/// # Errors
/// When messages of this type can't be forwarded as `topic` says: the sentence for a person.
pub fn open(
    topic: &config::Topic,
    thing: &str,
    schema: &Arc<Schema>,
    first: u64,
    decoders: &mut Decoders,
) -> anyhow::Result<Opened> {
    let mqtt = topic.mqtt_for(&schema.name).context("its MQTT topic is refused")?;
    let on_change = OnChange::of(topic, schema, decoders)?;
    Ok(Opened { on_change, shaper: Shaper::new(topic, thing, Arc::clone(schema), first, decoders)?, mqtt })
}

impl Receiver for Reception {
    fn opened(&mut self, index: usize, schema: &Arc<Schema>) {
        match self.reports.get(&index) {
            Some(report) => report.opened(schema),
            None => self.open(index, schema),
        }
    }

    fn received(&mut self, index: usize, sample: &Sample<'_>) {
        let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) else {
            self.reports.get(&index).into_iter().for_each(|report| report.received(sample));
            return;
        };
        topic.health.counters.count_received();
        let Some(Ok(open)) = &mut topic.open else {
            topic.drop(DropReason::Unsupported, &"it can't be forwarded as configured");
            return;
        };
        let at = moment(sample.received_ns);
        if let Some(reason) = topic.thinning.holds_back(at) {
            topic.health.counters.count_shaped(reason);
            return;
        }
        if open.shaper.has_windows() {
            return self.gather(index, sample, at);
        }
        if open.on_change.as_ref().is_some_and(|on_change| on_change.judge(sample.cdr, at) == Change::None) {
            topic.health.counters.count_shaped(ShapedReason::Unchanged);
            return;
        }
        let bytes = sample.cdr.len();
        if !topic.fit.is_worth_trying(bytes, Instant::now()) {
            open.shaper.pass_over();
            topic.drop(DropReason::TooLarge, &"those before it were too large, one is tried again soon");
            topic.is_too_large(bytes);
            return;
        }
        match open.shaper.shape(sample.cdr, sample.source_ns, sample.received_ns, &mut self.scratch) {
            Ok(payload) => {
                let is_admitted = topic.admit(payload, sample.received_ns, bytes, &self.queue);
                if let Some(Ok(Open { on_change: Some(on_change), .. })) = &mut topic.open
                    && is_admitted
                {
                    on_change.was_sent(sample.cdr, at);
                }
            }
            Err(refused) => topic.refuse(&refused, bytes),
        }
    }

    fn unreadable(&mut self, index: usize) {
        // The topic's state says it, in the log too.
        let Some(topic) = self.topic(index) else { return };
        let counters = &topic.health.counters;
        counters.count_received();
        counters.count_dropped(DropReason::Unsupported);
    }

    fn lost(&mut self, index: usize, count: u64) {
        let Some(topic) = self.topic(index) else { return };
        topic.health.counters.count_lost_in_dds(count);
        if topic.lost.due(Instant::now(), ONCE_A_MINUTE).is_some() {
            let total = topic.health.counters.lost_in_dds();
            tracing::error!(
                topic = topic.settings.ros,
                count,
                total,
                "DDS has lost or overwritten at least {} of {} before the bridge could take {} ({total} so far); more may \
                 fit with a larger `depth`.",
                counted(count, "message", "messages"),
                topic.settings.ros,
                if count == 1 { "it" } else { "them" }
            );
        }
    }

    fn refused(&mut self, index: usize, policy: &'static str, count: u64) {
        let Some(topic) = self.topic(index) else { return };
        topic.health.counters.count_incompatible(count);
        // A person is told from the graph, which knows whether it lasts; with `auto` the next subscription mends it.
        tracing::debug!(topic = topic.settings.ros, policy, count, "DDS refused a publisher for its {policy}.");
    }

    fn changed(&mut self, index: usize, state: TopicState) {
        let Some(topic) = self.topics.get_mut(index).and_then(Option::as_mut) else {
            self.reports.get(&index).into_iter().for_each(|report| report.changed(state.clone()));
            return;
        };
        topic.state = state;
        topic.tell_state();
    }

    fn silent(&mut self, index: usize, silence: Option<Silence>) {
        if let Some(topic) = self.topic(index) {
            topic.health.set_silence(silence);
        }
    }

    fn turned(&mut self) {
        self.heartbeat.beat();
        if self.windows.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(&(ends, index)) = self.windows.first().filter(|(ends, _)| *ends + SETTLES <= now) {
            self.close_window(index);
            self.windows.remove(&(ends, index));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.windows.first().map(|(ends, _)| *ends + SETTLES)
    }

    fn ended(&mut self) {
        (0..self.topics.len()).for_each(|index| self.close_window(index));
    }
}

impl Topic {
    fn new(settings: config::Topic, health: Arc<TopicHealth>, first_number: u64) -> Self {
        Topic {
            thinning: Thinning::of(&settings),
            settings,
            health,
            open: None,
            schema: None,
            state: TopicState::Unknown,
            first_number,
            dropped: Default::default(),
            lost: Repeat::default(),
            fit: Fit::default(),
            never_fits: None,
        }
    }

    /// Messages come in the shape of `schema` from now on.
    fn open(&mut self, thing: &str, schema: &Arc<Schema>, shared: &mut Shared, queue: &Queue) {
        let Shared { routes, decoders } = shared;
        self.first_number = self.next_number();
        let opened = open(&self.settings, thing, schema, self.first_number, decoders).map(|opened| {
            let Opened { on_change, shaper, mqtt } = opened;
            let packing = Packing::of(&self.settings, &mqtt);
            let mut route = |packing: Packing| {
                routes.share(Route {
                    topic: self.health.topic.towards(&mqtt),
                    qos: self.settings.qos,
                    retain: self.settings.retain,
                    priority: self.settings.priority,
                    packing,
                })
            };
            let (ahead, route) = (packing.ahead().map(&mut route), route(packing));
            // What waits of the topic is batched and compressed like what comes.
            queue.put_in_force(&route);
            Open { shaper, on_change, ahead, route }
        });
        self.open = Some(opened.map_err(|why| {
            tracing::error!(topic = self.settings.ros, "Topic {} is not forwarded: {why:#}.", self.settings.ros);
            format!("it is not forwarded: {why:#}")
        }));
        self.schema = Some(Arc::clone(schema));
        (self.fit, self.never_fits) = (Fit::default(), None);
    }

    /// Admits what was made of a message that ROS sent as `bytes` bytes. Returns whether it is queued.
    fn admit(&mut self, payload: Bytes, received_ns: i64, bytes: usize, queue: &Queue) -> bool {
        let Some(Ok(open)) = &self.open else { return false };
        let Some((route, payload)) = open.pack(payload) else {
            self.drop(DropReason::TooLarge, &"the payload is over 131072 bytes, compressed too");
            self.fit.tried_in_vain(bytes, Instant::now());
            self.is_too_large(bytes);
            return false;
        };
        self.fits(bytes);
        let now = Instant::now();
        let expires = expiry(now, self.settings.max_age);
        queue.admit(Record { route, payload, received_ns, expires }, now)
    }

    /// Counts a message that became no payload, of which ROS sent `bytes` bytes.
    fn refuse(&mut self, refused: &Refused, bytes: usize) {
        match refused.counted_as() {
            CountedAs::Shaped(reason) => self.health.counters.count_shaped(reason),
            CountedAs::Dropped(reason) => {
                self.drop(reason, refused);
                if reason == DropReason::TooLarge {
                    self.fit.tried_in_vain(bytes, Instant::now());
                    self.is_too_large(bytes);
                }
            }
        }
    }

    /// Admits the record of the open window, if there is one.
    fn close_window(&mut self, scratch: &mut Scratch, queue: &Queue) {
        let Some(Ok(open)) = &mut self.open else { return };
        let Some(closed) = open.shaper.close(Instant::now(), scratch) else { return };
        self.health.counters.count_shaped_by(ShapedReason::Window, closed.messages.saturating_sub(1));
        match closed.payload {
            Ok(payload) => {
                self.admit(payload, closed.received_ns, closed.bytes, queue);
            }
            Err(refused) => self.refuse(&refused, closed.bytes),
        }
    }

    /// A message is too large to be sent; ROS sends it as `bytes` bytes.
    fn is_too_large(&mut self, bytes: usize) {
        if !self.fit.is_too_large() {
            return;
        }
        let topic = &self.settings.ros;
        let what = what_to_do(&self.settings, bytes);
        let never_fits = format!(
            "no message of it is small enough for AWS IoT Core, which takes {PAYLOAD_LIMIT} bytes (the last has {bytes} in \
             ROS); {what}"
        );
        tracing::error!(topic, bytes, "Topic {topic} can't be forwarded: {never_fits}.");
        self.never_fits = Some(never_fits);
        self.tell_state();
    }

    /// A message of `bytes` bytes in ROS is small enough.
    fn fits(&mut self, bytes: usize) {
        if self.fit.fits(bytes) {
            tracing::info!(topic = self.settings.ros, "Messages of {} fit again.", self.settings.ros);
            self.never_fits = None;
            self.tell_state();
        }
    }

    /// The number that the next message gets.
    fn next_number(&self) -> u64 {
        match &self.open {
            Some(Ok(open)) => open.shaper.next_number(),
            _ => self.first_number,
        }
    }

    fn tell_state(&self) {
        let state = match (&self.open, &self.state) {
            (Some(Err(why)), TopicState::Subscribed { .. }) => TopicState::Trouble(why.clone()),
            (Some(Ok(_)), TopicState::Subscribed { .. }) if let Some(why) = &self.never_fits => {
                TopicState::Trouble(why.clone())
            }
            (_, state) => state.clone(),
        };
        self.health.set_state(state);
    }

    /// Counts a message that is not admitted, and says so once a minute.
    fn drop(&mut self, reason: DropReason, detail: &dyn std::fmt::Display) {
        let total = self.health.counters.count_dropped(reason);
        if self.dropped[reason as usize].due(Instant::now(), ONCE_A_MINUTE).is_some() {
            tracing::error!(
                topic = self.settings.ros,
                reason = reason.label(),
                total,
                "A message of {} was dropped: {detail} ({total} so far).",
                self.settings.ros
            );
        }
    }
}

/// What somebody can do about a topic whose messages are too large; ROS sends the last as `bytes` bytes.
fn what_to_do(settings: &config::Topic, bytes: usize) -> String {
    let may_be_shaped = matches!(settings.payload, config::Payload::Message | config::Payload::Envelope);
    let mut ways = Vec::new();
    if may_be_shaped {
        ways.push("choose what travels with `fields` or `arrays`, such as arrays = { max = 100, over = \"omit\" }");
    }
    if settings.compression.is_none() && bytes <= COMPRESSIBLE_LIMIT {
        ways.push("set `compression` if it is well compressible");
    }
    ways.push("forward a smaller topic instead, of compressed images for example");
    format!("{}, or remove it from the configuration", ways.join(", "))
}

/// When a record that is admitted at `now` is too old; a `max_age` beyond the clock's range never comes.
fn expiry(now: Instant, max_age: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(max_age.min(LONGEST)).unwrap_or(now)
}
