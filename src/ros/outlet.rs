//! A topic that the bridge publishes what it is asked for to, so that each subscriber gets it once.
//!
//! - The publisher is there from the start: discovery takes up to seconds, and a command that comes first would reach nobody.
//! - It is reliable and volatile, so that reliable and best-effort subscriptions get what it publishes, and none that comes
//!   later does: a node that is started again must not be told what was meant for it a minute ago. If a subscription asks for
//!   transient-local, another publisher takes its place that is, and that forgets what it has published after [`KEPT`]. Other
//!   QoS that a subscription may ask for can't be offered, which is told. What stays true ([`Outlet::latched`]) is kept for whoever
//!   asks for it instead.
//! - After the robot's addresses have changed, some of its nodes are reached in one context of the bridge and some in another
//!   (see `joined`). There is a publisher in each, and it is published with the newest one that reaches everybody. Only where
//!   none does it is published with several, and a subscriber that two of them reach gets it twice.
//!   A context that is in trouble does not keep the others from publishing.
//! - A subscription with another definition of the type would take the bytes for something else. Nothing is published while
//!   there is one, but what is [published anyway](Outlet::publish_anyway). It is seen by [`follow`](Outlet::follow).

use std::any::Any;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::context::Node;
use super::error::RosError;
use super::graph::{self, Subscriber};
use super::publisher::{NoPublisher, Publisher};
use super::subscription::PublisherId;
use super::type_support::{TypeSupport, rmw_name};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};

/// How long a subscription that asks for what was published before gets it.
const KEPT: Duration = Duration::from_secs(1);

/// As rmw names a lifespan without an end.
const FOR_EVER: Duration = Duration::ZERO;

/// How long a publisher stays in the place of which another has come that has not found as many subscriptions.
const OVERLAP: Duration = Duration::from_secs(5);

/// How long a publisher that ends waits for subscriptions to have what it has published.
const FLUSH: Duration = Duration::from_millis(500);

/// Contexts before that of today in which a publisher stays although nobody else needs them.
const EARLIER: usize = 3;

/// Publishes on one topic. Everything may be done from any thread; [`follow`](Self::follow) may take a while. Publishing takes
/// microseconds, but may wait as the RMW does: by DDS's default up to 0.1 s (`max_blocking_time`).
pub struct Outlet {
    topic: CString,
    type_support: Arc<TypeSupport>,
    /// Subscriptions that ask for it get what was published before they came, however long ago.
    is_latched: bool,
    /// Of the contexts, the oldest first.
    ways: Mutex<Vec<Arc<Way>>>,
    /// What was published with before, and may be in use still on another thread. It ends on that of [`follow`](Self::follow): the
    /// end of a publisher may take a second.
    replaced: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// What one of them could not do while others could.
    failed: Mutex<Repeat>,
}

/// How far what is published gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Subscriptions that get it, without those of the bridge.
    pub subscribers: usize,
    /// Of those that do not get it, the node and why: a sentence without its full stop. Sorted.
    pub unreached: Vec<String>,
    /// Nothing is published for that reason: a sentence without its full stop.
    pub forbidden: Option<String>,
}

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub enum NotPublished {
    /// No subscription would get it.
    #[error("nobody subscribes to the topic")]
    Nobody,
    /// A subscription has another definition of the type.
    #[error("{0}")]
    Forbidden(String),
    /// rcl's own.
    #[error(transparent)]
    Ros(#[from] RosError),
}

/// A publisher in a context.
struct Way {
    node: Arc<Node>,
    publisher: Arc<Publisher>,
    is_transient_local: bool,
    since: Instant,
    /// The volatile one that it takes the place of, until it has found the same subscriptions.
    before: Mutex<Option<Arc<Publisher>>>,
    seen: Mutex<Seen>,
}

/// The subscriptions of a context, when it was asked last.
#[derive(Default, Clone)]
struct Seen {
    /// As the publisher counts them.
    count: usize,
    subscribers: Vec<Subscriber>,
}

impl Outlet {
    /// Publishers for messages of the type `type_name` (`package/msg/Name`) on `topic`, an absolute name, in each of `nodes`.
    ///
    /// # Errors
    /// When the environment has no such type, or rcl refuses the name.
    pub fn create(nodes: &[Arc<Node>], topic: &str, type_name: &str) -> Result<Outlet, NoPublisher> {
        Outlet::new(nodes, topic, type_name, false)
    }

    /// As [`create`](Self::create), for what stays true: its publishers are transient-local from the start, and a subscription that
    /// asks for it gets the last ten messages, however old they are.
    ///
    /// # Errors
    /// As there.
    pub fn latched(nodes: &[Arc<Node>], topic: &str, type_name: &str) -> Result<Outlet, NoPublisher> {
        Outlet::new(nodes, topic, type_name, true)
    }

    fn new(nodes: &[Arc<Node>], topic: &str, type_name: &str, is_latched: bool) -> Result<Outlet, NoPublisher> {
        let type_support = Arc::new(TypeSupport::load(type_name)?);
        let (ways, replaced, failed) = Default::default();
        let outlet = Outlet { topic: graph::topic_name(topic)?, type_support, is_latched, ways, replaced, failed };
        outlet.follow(nodes)?;
        Ok(outlet)
    }

    /// The type of the messages.
    pub fn type_support(&self) -> &TypeSupport {
        &self.type_support
    }

    /// Has a publisher in each of `nodes`, the oldest first, with the QoS that subscriptions ask for, and looks who they are. To
    /// be called when the nodes change, and once a second. One thread at a time.
    ///
    /// # Errors
    /// rcl's own. What could be had is in force.
    pub fn follow(&self, nodes: &[Arc<Node>]) -> Result<(), RosError> {
        let before = self.ways().clone();
        let (mut ways, mut followed) = (Vec::new(), Ok(()));
        let is_in = |way: &Arc<Way>, node: &Arc<Node>| Arc::ptr_eq(&way.node, node);
        ways.extend(before.iter().filter(|way| !nodes.iter().any(|node| is_in(way, node))).cloned());
        let gone = ways.len();
        for node in nodes {
            match before.iter().find(|way| is_in(way, node)) {
                Some(way) => ways.push(Arc::clone(way)),
                None => match self.way(node, self.is_latched) {
                    Ok(way) => ways.push(Arc::new(way)),
                    Err(error) => followed = Err(error),
                },
            }
        }
        for way in &ways {
            followed = way.look(&self.topic).and(followed);
        }
        share_own(&ways);
        for way in &mut ways {
            followed = self.offer_what_is_asked_for(way).and(followed);
        }
        // A context that is over stays while nobody else reaches a subscriber of it.
        let reach: Vec<Vec<PublisherId>> = ways.iter().map(|way| way.reached()).collect();
        let needed = chosen(&reach);
        let mut at = 0..;
        let mut is_kept = || at.next().is_some_and(|at| at >= gone || (needed.contains(&at) && at + EARLIER >= gone));
        ways.retain(|_| is_kept());
        for way in before.into_iter().filter(|one| !ways.iter().any(|way| Arc::ptr_eq(one, way))) {
            self.replace(way);
        }
        *self.ways() = ways;
        self.end_replaced();
        followed
    }

    /// Publishes the serialized message `cdr`, encapsulation header included. Returns how many subscriptions get it, without those
    /// of the bridge. A context that can't be asked, or can't publish while another one can, is logged.
    ///
    /// # Errors
    /// When it was not published in any context.
    pub fn publish(&self, cdr: &[u8]) -> Result<usize, NotPublished> {
        let ways = self.ways().clone();
        for way in &ways {
            if let Err(error) = way.look_if_changed(&self.topic) {
                // Who was there last is told all the same.
                self.note_failed(&error);
            }
        }
        share_own(&ways);
        let reach = self.reach_of(&ways);
        if let Some(forbidden) = reach.forbidden {
            return Err(NotPublished::Forbidden(forbidden));
        }
        if reach.subscribers == 0 {
            return Err(NotPublished::Nobody);
        }
        self.send(&ways, cdr)?;
        Ok(reach.subscribers)
    }

    /// Publishes `cdr` to whoever is there.
    ///
    /// # Errors
    /// rcl's own, when it was not published in any context.
    pub fn publish_anyway(&self, cdr: &[u8]) -> Result<(), RosError> {
        let ways = self.ways().clone();
        self.send(&ways, cdr)
    }

    /// Publishes with as few of `ways` as reach everybody, or, if none of these can, with another one.
    fn send(&self, ways: &[Arc<Way>], cdr: &[u8]) -> Result<(), RosError> {
        let reach: Vec<_> = if ways.len() > 1 { ways.iter().map(|way| way.reached()).collect() } else { Vec::new() };
        let chosen = if ways.len() > 1 { chosen(&reach) } else { (0..ways.len()).collect() };
        let others = (0..ways.len()).rev().filter(|at| !chosen.contains(at));
        let (mut is_sent, mut failed) = (false, None);
        for (at, is_chosen) in chosen.iter().map(|at| (*at, true)).chain(others.map(|at| (at, false))) {
            if is_chosen || !is_sent {
                match ways[at].publisher().publish(cdr) {
                    Ok(()) => is_sent = true,
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            Some(error) if !is_sent => return Err(error),
            Some(error) => self.note_failed(&error),
            None => {}
        }
        Ok(())
    }

    /// Says, once a minute, that one of the contexts could not do what others may have done.
    pub fn note_failed(&self, error: &RosError) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.due(Instant::now(), ONCE_A_MINUTE).is_some() {
            let topic = self.topic.to_string_lossy();
            tracing::warn!("One of the contexts that publish on {topic} is in trouble: {error}.");
        }
    }

    /// Waits until reliable subscriptions have what was published, at most for `patience`.
    pub fn flush(&self, patience: Duration) {
        let ways = self.ways().clone();
        let until = Instant::now() + patience;
        for way in ways {
            way.publisher().flush(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Who gets what is published, as [`follow`](Self::follow) has seen it last.
    pub fn reach(&self) -> Reach {
        let ways = self.ways().clone();
        self.reach_of(&ways)
    }

    fn reach_of(&self, ways: &[Arc<Way>]) -> Reach {
        let (mut told, mut reach) = (Vec::new(), Reach::default());
        let definition = self.type_support.definition();
        let type_name = &self.type_support.schema().name;
        // One that is reached in any context is reached.
        for way in ways.iter().rev() {
            let seen = way.seen().clone();
            for subscriber in seen.subscribers.iter().filter(|subscriber| !subscriber.is_own) {
                if told.contains(&subscriber.id) {
                    continue;
                }
                told.push(subscriber.id);
                let node = &subscriber.node;
                let is_other = |other| definition.is_some_and(|ours| ours != other);
                if subscriber.type_name != *type_name {
                    reach.unreached.push(format!("{node} subscribes to it as {}", subscriber.type_name));
                } else if subscriber.definition.is_some_and(is_other) {
                    reach.forbidden = Some(format!(
                        "{node} has another definition of {type_name} than the one sourced; source the robot's build and \
                         restart the service"
                    ));
                } else if let Some(what) = subscriber.asks_for {
                    reach.unreached.push(format!("{node} asks for {what}, which the bridge does not offer"));
                } else if way.reaches(subscriber) {
                    reach.subscribers += 1;
                } else if !is_transient_local_safe() {
                    reach
                        .unreached
                        .push(format!("{node} asks for transient_local, which is not safe with {}", rmw_name()));
                }
            }
        }
        reach.unreached.sort_unstable();
        // What discovery has found may not have been matched yet.
        let counted: usize = ways.iter().map(|way| way.others()).sum();
        reach.subscribers = reach.subscribers.min(counted);
        reach
    }

    fn way(&self, node: &Arc<Node>, is_transient_local: bool) -> Result<Way, RosError> {
        let kept = is_transient_local.then_some(if self.is_latched { FOR_EVER } else { KEPT });
        let publisher = Arc::new(Publisher::offering(node, &self.topic, &self.type_support, kept)?);
        let (before, seen) = (Mutex::default(), Mutex::default());
        Ok(Way { node: Arc::clone(node), publisher, is_transient_local, since: Instant::now(), before, seen })
    }

    /// Has another publisher take the place of `way`, if somebody asks for what it does not offer.
    fn offer_what_is_asked_for(&self, way: &mut Arc<Way>) -> Result<(), RosError> {
        let is_asked = |subscriber: &Subscriber| subscriber.transient_local && !subscriber.is_own;
        let seen = way.seen().clone();
        if !way.is_transient_local && is_transient_local_safe() && seen.subscribers.iter().any(is_asked) {
            let mut newer = self.way(&way.node, true)?;
            newer.seen = Mutex::new(seen);
            newer.before = Mutex::new(Some(Arc::clone(&way.publisher)));
            *way = Arc::new(newer);
        }
        if let Some(before) = way.forget_before(&self.type_support)? {
            self.replace(before);
        }
        Ok(())
    }

    /// Has `old` end once nobody uses it any more. It can be had from nowhere else by now.
    fn replace(&self, old: Arc<dyn Any + Send + Sync>) {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(old);
    }

    /// Ends what was replaced and is in use no more.
    fn end_replaced(&self) {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|old| Arc::strong_count(old) > 1);
    }

    fn ways(&self) -> MutexGuard<'_, Vec<Arc<Way>>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    /// What to publish with.
    fn publisher(&self) -> Arc<Publisher> {
        let before = self.before().clone();
        before.unwrap_or_else(|| Arc::clone(&self.publisher))
    }

    /// Goes on without the publisher before, once the newer one has found those whom that has, and those who ask for transient-local.
    /// Returns that one.
    fn forget_before(&self, type_support: &TypeSupport) -> Result<Option<Arc<Publisher>>, RosError> {
        let Some(before) = self.before().clone() else { return Ok(None) };
        let type_name = &type_support.schema().name;
        let newly = |it: &&Subscriber| it.transient_local && it.asks_for.is_none() && it.type_name == *type_name;
        let newly = self.seen().subscribers.iter().filter(newly).count();
        if self.since.elapsed() >= OVERLAP || self.publisher.subscriptions()? >= before.subscriptions()? + newly {
            *self.before() = None;
            // What it has published last may still be on the way.
            before.flush(FLUSH);
            return Ok(Some(before));
        }
        Ok(None)
    }

    fn before(&self) -> MutexGuard<'_, Option<Arc<Publisher>>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks who subscribes.
    fn look(&self, topic: &CString) -> Result<(), RosError> {
        let count = self.publisher().subscriptions()?;
        let subscribers = graph::subscribers(&self.node, topic)?;
        *self.seen() = Seen { count, subscribers };
        Ok(())
    }

    /// As [`look`](Self::look), if others may have come or gone.
    fn look_if_changed(&self, topic: &CString) -> Result<(), RosError> {
        if self.publisher().subscriptions()? != self.seen().count { self.look(topic) } else { Ok(()) }
    }

    /// Subscriptions that the publisher has found, without those of the bridge.
    fn others(&self) -> usize {
        let seen = self.seen();
        let own = seen.subscribers.iter().filter(|subscriber| subscriber.is_own && self.reaches(subscriber)).count();
        seen.count.saturating_sub(own)
    }

    /// Whether `subscriber` gets what is published, once it has found the publisher.
    fn reaches(&self, subscriber: &Subscriber) -> bool {
        let is_transient_local = self.is_transient_local && self.before().is_none();
        subscriber.asks_for.is_none() && (is_transient_local || !subscriber.transient_local)
    }

    /// Who gets what is published, without the bridge.
    fn reached(&self) -> Vec<PublisherId> {
        let seen = self.seen();
        let reached = seen.subscribers.iter().filter(|subscriber| !subscriber.is_own && self.reaches(subscriber));
        reached.map(|subscriber| subscriber.id).collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has all of `ways` know the bridge's own subscriptions: the context that one is of knows its node before the others do.
fn share_own(ways: &[Arc<Way>]) {
    if ways.len() < 2 {
        return;
    }
    let own_of = |way: &Arc<Way>| {
        let own: Vec<_> = way.seen().subscribers.iter().filter(|of| of.is_own).map(|of| of.id).collect();
        own
    };
    let own: Vec<PublisherId> = ways.iter().flat_map(own_of).collect();
    for way in ways {
        way.seen().subscribers.iter_mut().for_each(|subscriber| subscriber.is_own |= own.contains(&subscriber.id));
    }
}

/// Positions in `reach`, which says who is reached where, the newest last: of the newest that reaches all, or else of the newest
/// and those before it that reach somebody whom no newer one does.
fn chosen(reach: &[Vec<PublisherId>]) -> Vec<usize> {
    let all: Vec<PublisherId> = reach.iter().flatten().copied().collect();
    let reaches_all = |at: &usize| all.iter().all(|id| reach[*at].contains(id));
    if let Some(one) = (0..reach.len()).rev().find(reaches_all) {
        return vec![one];
    }
    let (mut reached, mut chosen): (Vec<PublisherId>, _) = (Vec::new(), Vec::new());
    for (at, ids) in reach.iter().enumerate().rev() {
        if ids.iter().any(|id| !reached.contains(id)) {
            reached.extend(ids);
            chosen.push(at);
        }
    }
    chosen
}

/// Whether the RMW forgets what a transient-local publisher has published after its lifespan. That of Zenoh does not, and gives
/// such subscriptions everything anyway.
fn is_transient_local_safe() -> bool {
    let rmw = rmw_name();
    ["rmw_fastrtps", "rmw_cyclonedds"].iter().any(|known| rmw.starts_with(known))
}

#[cfg(test)]
mod tests;
