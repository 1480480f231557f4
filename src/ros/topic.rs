//! One wanted topic: it is subscribed as soon and as well as its publishers allow.

mod ending;
mod events;
mod losses;
mod news;
mod others;
mod words;

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::arrivals::{Arrivals, Teller};
use super::buffer::Buffer;
use super::context::Node;
use super::definitions::Definitions;
use super::earlier::{Earlier, Reader};
use super::error::RosError;
use super::flaps::Flaps;
use super::graph::{self, Publisher};
use super::joined::{Found, Joined};
use super::qos::Qos;
use super::rest::Rest;
use super::seen::{Judgement, Seen, are_messages_numbered};
use super::subscription::{Info, Subscription};
use super::type_names::listed;
use super::type_support::{TypeSupport, TypeSupports, rmw_name};
use super::unmatched::{Watch, are_redefined_matched};
use super::{Receiver, Sample, Silence, TopicState, Wanted};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};
use losses::Losses;
use news::News;
use others::Others;

/// Subscriptions of a topic that are in use at a time: for all publishers, and for what transient-local ones among them
/// have published before.
const IN_USE: usize = 2;

/// How long a replaced subscription goes on delivering: until its successor is matched with the publishers.
const OVERLAP: Duration = Duration::from_secs(1);

/// What a topic's turn has brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Messages.
    pub(super) count: usize,
    pub(super) left: Left,
}

/// What a topic's turn has left in DDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// All that was due is taken, and there may be more: what has come meanwhile, and what DDS keeps beyond the depth.
    Perhaps,
    /// The time was over before all that was due.
    Due,
}

/// What is open for a topic.
struct Open {
    node: Arc<Node>,
    type_name: String,
    /// Whose messages can be read.
    definitions: Definitions,
    /// It has a match in every publisher.
    main: Reader,
    /// It asks transient-local publishers for what they have published before, where `main` must not.
    latched: Option<Reader>,
}

/// When what was said of a topic: its publishers may come and go many times a second.
#[derive(Debug, Default)]
struct Told {
    trouble: Repeat,
    subscribed: Repeat,
    redefined: Repeat,
    unmatched: Repeat,
    incompatible: Repeat,
    qos: Repeat,
    earlier: Repeat,
}

/// A wanted topic and what became of it.
pub(super) struct Topic {
    index: usize,
    wanted: Wanted,
    name: CString,
    /// For its subscriptions.
    teller: Teller,
    news: News,
    open: Option<Open>,
    /// Subscriptions before the last changes of QoS, the newest last, and when each ends.
    retiring: Vec<(Subscription, Instant)>,
    /// Subscriptions in the contexts before, for the publishers that the one of today does not find.
    earlier: Earlier,
    state: TopicState,
    others: Others,
    /// Since when nobody publishes it; `None` when somebody does.
    unpublished_since: Option<Instant>,
    silence: Option<Silence>,
    seen: Seen,
    losses: Losses,
    unmatched: Watch,
    failed: Repeat,
    told: Told,
    /// Its trouble was not said, because one had been said shortly before.
    is_untold: bool,
    flaps: Flaps,
    /// After it was called ready and had no message.
    pub(super) rest: Rest,
    /// Messages that may be taken in this round of turns.
    due: usize,
    /// It has been said that transient-local publishers are not asked for what was before.
    is_unlatched: bool,
    /// It is wanted no more.
    ended: bool,
}

impl Topic {
    /// `name` is that of `wanted`.
    pub(super) fn new(index: usize, wanted: Wanted, name: CString, arrivals: &Arc<Arrivals>) -> Topic {
        Topic {
            index,
            wanted,
            name,
            teller: Teller { topic: index, arrivals: Arc::clone(arrivals) },
            news: News::default(),
            open: None,
            retiring: Vec::new(),
            earlier: Earlier::default(),
            state: TopicState::Unknown,
            others: Others::default(),
            unpublished_since: None,
            silence: None,
            seen: Seen::default(),
            losses: Losses::default(),
            unmatched: Watch::default(),
            failed: Repeat::default(),
            told: Told::default(),
            is_untold: false,
            flaps: Flaps::default(),
            rest: Rest::default(),
            due: 0,
            is_unlatched: false,
            ended: false,
        }
    }

    /// It is wanted otherwise, under the same name. A subscription of another type ends, and what has arrived there is handed
    /// on; whatever else is another, the next look at the graph follows without a gap.
    pub(super) fn want(&mut self, wanted: Wanted, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        let is_open = self.open.as_ref().map(|open| &open.type_name);
        if wanted.type_name.as_ref().is_some_and(|name| is_open.is_some_and(|open| open != name)) {
            self.take_last(buffer, receiver);
            let ended = self.close();
            self.drop_subscriptions(ended, buffer, receiver);
        }
        self.wanted = wanted;
        self.news.come();
    }

    /// It is wanted no more.
    pub(super) fn end(&mut self) {
        self.close();
        self.earlier = Earlier::default();
        // On the graph it is none of the wanted ones.
        self.name = CString::default();
        self.ended = true;
    }

    /// Whether it is wanted no more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What to wait for at `now`.
    pub(super) fn waited_for(&self, now: Instant) -> impl Iterator<Item = &Subscription> + Clone {
        let rests = self.rest.until(now).is_some();
        self.subscriptions().filter(move |_| !rests)
    }

    /// What is open. What was published before comes first, as far as that is for us to say.
    fn subscriptions(&self) -> impl Iterator<Item = &Subscription> + Clone {
        let retiring = self.retiring.iter().map(|(subscription, _)| subscription);
        let open = self.open.iter().flat_map(|open| open.latched.iter().chain([&open.main]));
        self.earlier.subscriptions().chain(retiring).chain(open.map(|reader| &reader.subscription))
    }

    /// Subscribes to the same in the context of `node`. The subscriptions so far stay beside those, until other contexts have
    /// found their publishers; what has arrived of those from before that is handed on.
    pub(super) fn rejoin(
        &mut self,
        node: &Arc<Node>,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) -> Result<(), RosError> {
        self.take_last(buffer, receiver);
        let Some(open) = &mut self.open else { return Ok(()) };
        let again = |reader: &Reader| {
            Reader::create(node, &self.name, reader.subscription.type_support(), reader.qos, &self.teller)
        };
        let main = again(&open.main)?;
        let latched = open.latched.as_ref().map(again).transpose()?;
        let before = [Some(std::mem::replace(&mut open.main, main)), std::mem::replace(&mut open.latched, latched)];
        open.node = Arc::clone(node);
        self.earlier.add(before.into_iter().flatten());
        self.news.come();
        Ok(())
    }

    /// Whether the context of `node` has to stay.
    pub(super) fn needs(&self, node: &Arc<Node>) -> bool {
        self.earlier.needs(node) || self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.node, node))
    }

    /// Looks at the graph, and opens, changes or keeps the subscription accordingly.
    ///
    /// `buffer` is for what has arrived of what is closed.
    pub(super) fn follow(
        &mut self,
        joined: &Joined,
        types: &mut TypeSupports,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) {
        if self.ended {
            return;
        }
        self.news.begin();
        let state = match self.try_follow(joined, types, buffer, receiver) {
            Ok(state) => state,
            Err(trouble) => TopicState::Trouble(match &self.open {
                None => trouble,
                Some(open) => format!("{trouble}; it is still received as {}", open.type_name),
            }),
        };
        if !matches!(state, TopicState::Subscribed { .. }) {
            self.unmatched.pause();
        }
        if self.is_untold && state == self.state {
            self.log(&state);
        }
        if state != self.state {
            self.log(&state);
            self.state = state.clone();
            receiver.changed(self.index, state);
        }
    }

    /// How long nobody has published it; `None` while somebody does, or when it is wanted no more.
    pub(super) fn unpublished_for(&self, now: Instant) -> Option<Duration> {
        self.unpublished_since.filter(|_| !self.ended).map(|since| now.saturating_duration_since(since))
    }

    /// Why nothing comes, if it is for long.
    pub(super) fn silence(&self) -> Option<&Silence> {
        self.silence.as_ref()
    }

    /// Remembers why nothing comes, and tells the receiver when it is another reason than before.
    pub(super) fn set_silence(&mut self, silence: Option<Silence>, receiver: &mut dyn Receiver) {
        if silence == self.silence {
            return;
        }
        let topic = self.wanted.topic.as_str();
        match (&self.silence, &silence) {
            (None | Some(Silence::Alone { .. }), Some(why @ Silence::Unpublished { .. })) => {
                tracing::warn!(topic, "{}.", why.sentence(topic));
            }
            (Some(_), None) if self.unpublished_since.is_none() => {
                tracing::info!(topic, "Somebody publishes {topic} now.");
            }
            // That no other node is there is said once for all topics.
            _ => {}
        }
        self.silence = silence.clone();
        receiver.silent(self.index, silence);
    }

    fn try_follow(
        &mut self,
        joined: &Joined,
        types: &mut TypeSupports,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) -> Result<TopicState, String> {
        let Found { publishers, needed, kept } = joined.publishers(&self.name).map_err(|error| error.to_string())?;
        if self.earlier.is_elsewhere(&kept) {
            self.take_last(buffer, receiver);
            let ended = self.earlier.leave(&kept);
            self.drop_subscriptions(ended, buffer, receiver);
        }
        self.earlier.need(needed);
        if self.open.as_ref().is_some_and(|open| !Arc::ptr_eq(&open.node, joined.node())) {
            let again = self.rejoin(joined.node(), buffer, receiver);
            again.map_err(|error| {
                format!("nodes that have started at the robot's new address are not received: {error}")
            })?;
        }
        self.unpublished_since =
            if publishers.is_empty() { self.unpublished_since.or(Some(Instant::now())) } else { None };
        self.others.note(&publishers, Instant::now());
        let published = graph::single_type(&publishers);
        let type_name = match (&self.wanted.type_name, published) {
            (Some(configured), Ok(None)) => configured.clone(),
            (Some(configured), Ok(Some(published))) if configured == published => configured.clone(),
            (Some(configured), Err(published)) if published.contains(&configured.as_str()) => configured.clone(),
            (Some(configured), Ok(Some(published))) => {
                return Err(format!("it is published as {published}, but configured as {configured}"));
            }
            (Some(configured), Err(published)) => {
                return Err(format!("it is published as {}, but configured as {configured}", listed(&published)));
            }
            (None, Ok(Some(published))) => published.to_owned(),
            (None, Ok(None)) => match &self.open {
                Some(open) => open.type_name.clone(),
                None => return Ok(TopicState::Unknown),
            },
            (None, Err(published)) => {
                return Err(format!("it is published as {} at once; set its `type`", listed(&published)));
            }
        };
        let current = self.open.as_ref().map(|open| open.main.qos);
        let qos = Qos::choose(&self.wanted, current, &publishers);
        let latched = self.latched(&publishers);
        let is_open = self.open.as_ref().is_some_and(|open| open.type_name == type_name);
        let is_as_wanted = self.open.as_ref().is_some_and(|open| {
            is_open && open.main.qos == qos && open.latched.as_ref().map(|reader| reader.qos) == latched
        });
        let now = Instant::now();
        if !is_as_wanted && self.open.is_some() && !self.flaps.may_follow(now) {
            self.news.come();
            self.unmatched.pause();
            return Ok(self.state.clone());
        }
        if !is_as_wanted {
            if self.open.is_some() {
                self.flaps.note(now);
            }
            let support = types.get(&type_name).map_err(|error| error.to_string())?;
            if !is_open {
                // DDS takes no second type for a topic while a subscription with the first is there.
                self.take_last(buffer, receiver);
                let ended = self.close();
                self.drop_subscriptions(ended, buffer, receiver);
            }
            self.subscribe(joined.node(), &support, &type_name, qos, latched).map_err(|error| error.to_string())?;
            self.retire_early(buffer, receiver);
            if !is_open {
                receiver.opened(self.index, support.schema());
            }
        }
        self.follow_earlier(now, buffer, receiver);
        let Some(open) = &mut self.open else { return Ok(TopicState::Unknown) };
        let (of_type, others): (Vec<_>, Vec<_>) =
            publishers.iter().partition(|publisher| publisher.type_name == type_name);
        open.definitions.learn(of_type.iter().copied());
        let (readable, redefined): (Vec<_>, Vec<_>) =
            of_type.into_iter().partition(|publisher| open.definitions.is_shared(publisher));
        let incompatible = readable.iter().filter(|publisher| !qos.accepts(publisher)).count() + others.len();
        let suitable: Vec<_> = readable.into_iter().filter(|publisher| qos.accepts(publisher)).collect();
        // In more than one context nobody knows who is to be matched where.
        let unmatched = match open.main.subscription.matched() {
            Some(matched) if joined.is_alone() => {
                let others =
                    redefined.iter().filter(|publisher| are_redefined_matched() && qos.accepts(publisher)).count();
                self.unmatched.note(&open.node, &self.name, &suitable, matched.saturating_sub(others), now)
            }
            _ => {
                self.unmatched.pause();
                None
            }
        };
        Ok(TopicState::Subscribed {
            publishers: suitable.len() - unmatched.map_or(0, |unmatched| unmatched.publishers),
            incompatible,
            redefined: redefined.len(),
            unmatched,
            type_name,
        })
    }

    /// Subscribes in the contexts before as in that of today, where they are needed.
    fn follow_earlier(&mut self, now: Instant, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        let Some(open) = &self.open else { return };
        let wanted: Vec<Qos> = [&open.main].into_iter().chain(&open.latched).map(|reader| reader.qos).collect();
        let support = open.main.subscription.type_support();
        if let Err(error) = self.earlier.subscribe(&self.name, support, &wanted, now, &self.teller)
            && self.told.earlier.due(now, ONCE_A_MINUTE).is_some()
        {
            let topic = self.wanted.topic.as_str();
            tracing::error!(
                topic,
                "Nodes that have started before the robot's addresses have changed may not be received on {topic}: {error}."
            );
        }
        if self.earlier.has_replaced(&wanted, now, OVERLAP) {
            self.take_last(buffer, receiver);
            let ended = self.earlier.end_replaced(&wanted);
            self.drop_subscriptions(ended, buffer, receiver);
        }
    }

    /// What a second subscription asks for; `None` where there is none, or what comes twice could not be told.
    fn latched(&mut self, publishers: &[Publisher]) -> Option<Qos> {
        let latched = Qos::latched(&self.wanted, publishers);
        if latched.is_none() || are_messages_numbered() {
            return latched;
        }
        if !std::mem::replace(&mut self.is_unlatched, true) {
            tracing::warn!(
                topic = self.wanted.topic.as_str(),
                "What transient-local publishers of {} have published before is not received, because others are \
                 volatile and {} does not number messages. With `durability = \"transient-local\"` the topic is received \
                 from the former only.",
                self.wanted.topic,
                rmw_name()
            );
        }
        None
    }

    /// Subscribes with `qos`, and beside it with `latched`. Subscriptions that ask for these already stay; the others go
    /// on delivering until these are matched.
    fn subscribe(
        &mut self,
        node: &Arc<Node>,
        support: &Arc<TypeSupport>,
        type_name: &str,
        qos: Qos,
        latched: Option<Qos>,
    ) -> Result<(), RosError> {
        let create = |qos| Reader::create(node, &self.name, support, qos, &self.teller);
        let has = |qos: Qos| {
            self.open.iter().flat_map(|open| [Some(&open.main), open.latched.as_ref()]).flatten().any(|r| r.qos == qos)
        };
        // Whatever fails, fails before anything is given up.
        let new_main = if has(qos) { None } else { Some(create(qos)?) };
        let new_latched = latched.filter(|qos| !has(*qos)).map(create).transpose()?;
        let (definitions, mut before) = match self.open.take() {
            Some(open) => {
                if let Some(held_back) = self.told.qos.due(Instant::now(), ONCE_A_MINUTE) {
                    let topic = self.wanted.topic.as_str();
                    tracing::info!(
                        topic,
                        reliable = qos.reliable,
                        transient_local = qos.transient_local,
                        latched = latched.is_some(),
                        held_back,
                        "The publishers of {topic} offer another QoS now; subscribed again with it."
                    );
                }
                (open.definitions, vec![open.main].into_iter().chain(open.latched).collect())
            }
            None => (Definitions::of(support.definition()), Vec::new()),
        };
        let mut keep = |qos: Qos| {
            let at = before.iter().position(|reader: &Reader| reader.qos == qos)?;
            Some(before.swap_remove(at))
        };
        let latched = new_latched.or_else(|| latched.and_then(&mut keep));
        if let Some(main) = new_main.or_else(|| keep(qos)) {
            let (node, type_name) = (Arc::clone(node), type_name.to_owned());
            self.open = Some(Open { node, type_name, definitions, main, latched });
        }
        let until = Instant::now() + OVERLAP;
        self.retiring.extend(before.into_iter().map(|reader| (reader.subscription, until)));
        // A publisher that went in between is not known to the new one, and its going tells nobody.
        self.news.come();
        Ok(())
    }

    /// From now on [`take`](Self::take) has to do with what has arrived until now: what DDS keeps, and one more, to see
    /// whether there is more. Of a type with keys DDS keeps the depth of each key.
    pub(super) fn begin_round(&mut self) {
        let open = self.subscriptions().inspect(|subscription| subscription.begin()).count();
        self.due = self.wanted.depth.saturating_mul(open).saturating_add(1);
    }

    /// Takes what is due and hands it on, no further message after `end`.
    pub(super) fn take(&mut self, end: Instant, buffer: &mut Buffer, receiver: &mut dyn Receiver) -> Taken {
        let mut count = 0;
        let is_alone = self.subscriptions().count() == 1;
        while self.due > 0 {
            match self.take_next(buffer) {
                Ok(Some(info)) => {
                    count += 1;
                    self.hand_on(&info, is_alone, buffer, receiver);
                }
                Ok(None) => {
                    self.losses.turned(true);
                    return Taken { count, left: Left::Nothing };
                }
                Err(error) => {
                    // Fast DDS has taken the message out of its history all the same.
                    receiver.lost(self.index, 1);
                    if self.failed.due(Instant::now(), ONCE_A_MINUTE).is_some() {
                        let topic = self.wanted.topic.as_str();
                        tracing::error!(topic, "A message of {topic} could not be taken: {error}.");
                    }
                }
            }
            self.due -= 1;
            if Instant::now() >= end {
                break;
            }
        }
        self.losses.turned(false);
        Taken { count, left: if self.due == 0 { Left::Perhaps } else { Left::Due } }
    }

    /// Hands on the message in `buffer`, if it can be read and has not come before.
    fn hand_on(&mut self, info: &Info, is_alone: bool, buffer: &Buffer, receiver: &mut dyn Receiver) {
        if self.seen.judge(info, is_alone) == Judgement::Repeat {
            return;
        }
        if !self.is_readable(info) {
            receiver.unreadable(self.index);
            return;
        }
        // Not every RMW tells when it received a message.
        let received_ns = if info.received_ns > 0 { info.received_ns } else { now_ns() };
        let sample = Sample { cdr: buffer.bytes(), source_ns: info.source_ns, received_ns };
        receiver.received(self.index, &sample);
    }

    /// Whether the publisher of a message has the definition that it is read with.
    fn is_readable(&mut self, info: &Info) -> bool {
        let Some(open) = &mut self.open else { return true };
        if let Some(answer) = open.definitions.is_readable(&info.publisher) {
            return answer;
        }
        // DDS hands messages over as soon as the publisher is there; what the graph tells is looked at a little later.
        match graph::publishers(&open.node, &self.name) {
            Ok(publishers) => {
                let of_type = publishers.iter().filter(|publisher| publisher.type_name == open.type_name);
                open.definitions.learn(of_type);
            }
            Err(error) => tracing::debug!(topic = self.wanted.topic.as_str(), "{error}."),
        }
        open.definitions.asked_for(info.publisher);
        open.definitions.is_readable(&info.publisher).unwrap_or(true)
    }

    /// The next message, of a subscription that is being replaced first.
    fn take_next(&self, buffer: &mut Buffer) -> Result<Option<Info>, RosError> {
        for subscription in self.subscriptions() {
            if let Some(info) = subscription.take(buffer)? {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.wanted.topic
    }

    /// Its name, for rcl.
    pub(super) fn c_name(&self) -> &CStr {
        &self.name
    }

    /// Whether the graph has to be asked again within a second: a publisher may yet be matched.
    pub(super) fn awaits_a_match(&self) -> bool {
        !self.ended && self.unmatched.is_open()
    }

    /// Whether subscriptions wait for their end.
    pub(super) fn is_retiring(&self) -> bool {
        !self.retiring.is_empty()
    }
}

/// The wall clock, nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
