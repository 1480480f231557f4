//! What the thread does.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::{Entry, Handler, Outside, SETTLES};
use crate::health::{RequestHealth, Requests as Account};
use iot_bridge_core::config::{UNNAMED, fill_thing};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::tally::{Heartbeat, ONCE_A_MINUTE, Repeat, counted};
use iot_bridge_core::uplink::{Subscription, UplinkState};

/// Longest time without a sign of life.
const TURN: Duration = Duration::from_millis(500);

/// Arrivals that are taken before the thread is woken once more by what asks for it all the time.
const FAIR: usize = 8;

/// Says what is to be subscribed to.
pub(super) type Subscribe = Box<dyn Fn(Vec<Subscription>) + Send>;

/// Everything that the thread owns.
pub(super) struct Work {
    served: Vec<Served>,
    outside: Outside,
    subscribe: Subscribe,
    arrivals: mpsc::Receiver<Arrival>,
    /// Arrivals that were taken since the last turn.
    taken: usize,
    /// `None` once there is no uplink any more.
    uplink: Option<watch::Receiver<UplinkState>>,
    link: Link,
    changes: mpsc::UnboundedReceiver<Vec<Entry>>,
    account: Arc<Account>,
    heartbeat: Arc<Heartbeat>,
    unwanted: Repeat,
}

/// An entry in force.
struct Served {
    entry: Entry,
    /// That it is subscribed to, filled in.
    topics: Vec<String>,
    health: Arc<RequestHealth>,
    handler: Box<dyn Handler>,
}

/// The connection, as handlers were told of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Link {
    is_connected: bool,
    /// The number of it.
    connections: u64,
}

/// What has happened.
enum Event {
    Change(Option<Vec<Entry>>),
    Link,
    Woken,
    Arrival(Option<Arrival>),
}

impl Work {
    pub fn new(
        outside: Outside,
        (subscribe, arrivals): (Subscribe, mpsc::Receiver<Arrival>),
        uplink: watch::Receiver<UplinkState>,
        changes: mpsc::UnboundedReceiver<Vec<Entry>>,
        account: Arc<Account>,
        heartbeat: Arc<Heartbeat>,
    ) -> Work {
        let (served, link, unwanted) = (Vec::new(), Link::default(), Repeat::default());
        let uplink = Some(uplink);
        Work { served, outside, subscribe, arrivals, taken: 0, uplink, link, changes, account, heartbeat, unwanted }
    }

    /// Serves until there are no more changes to come. Then, and if a handler panics, all handlers end.
    pub fn run(mut self, runtime: Runtime) {
        self.heartbeat.beat();
        let served = catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.serve())));
        for Served { handler, .. } in &mut self.served {
            end(handler.as_mut(), &self.outside);
        }
        (self.subscribe)(Vec::new());
        settle(&mut self.served);
        // What blocks is left to itself.
        runtime.shutdown_background();
        if let Err(panic) = served {
            resume_unwind(panic);
        }
    }

    async fn serve(&mut self) {
        let mut turned = Instant::now();
        loop {
            let now = Instant::now();
            let wake_at = self.served.iter().filter_map(|served| served.handler.wake_at());
            let wake_at = wake_at.chain([turned + TURN]).min().unwrap_or(now);
            // Times come first, however much arrives.
            if wake_at <= now {
                turned = now;
                self.turn(now);
                continue;
            }
            match self.next(wake_at).await {
                Event::Change(None) => return,
                Event::Change(Some(entries)) => self.bring_into_force(entries),
                Event::Link => self.follow_link(),
                Event::Woken => {
                    self.taken = 0;
                    self.turn(Instant::now());
                }
                Event::Arrival(Some(arrival)) => {
                    self.taken += 1;
                    self.arrived(arrival);
                }
                Event::Arrival(None) => {}
            }
        }
    }

    /// Waits for the next event, at most until `wake_at`.
    async fn next(&mut self, wake_at: Instant) -> Event {
        let waker = self.outside.waker();
        // Callbacks of ROS may come as fast as they are served.
        let is_turn = self.arrivals.is_empty() || self.taken >= FAIR;
        let link_changed = async {
            let changed = match &mut self.uplink {
                Some(uplink) => uplink.changed().await,
                None => std::future::pending().await,
            };
            if changed.is_err() {
                self.uplink = None;
            }
        };
        tokio::select! {
            biased;
            changed = self.changes.recv() => Event::Change(changed),
            () = sleep_until(wake_at.into()) => Event::Woken,
            () = link_changed => Event::Link,
            () = waker.notified(), if is_turn => Event::Woken,
            () = self.outside.nodes_changed(), if is_turn => Event::Woken,
            arrival = self.arrivals.recv(), if !self.arrivals.is_closed() || !self.arrivals.is_empty() => Event::Arrival(arrival),
        }
    }

    fn turn(&mut self, now: Instant) {
        self.heartbeat.beat();
        for served in &mut self.served {
            served.handler.turn(&self.outside, now);
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        let is_for =
            |served: &&mut Served| served.topics.contains(&arrival.topic) || served.handler.concerns(&arrival.topic);
        let served = self.served.iter_mut().find(is_for);
        match served {
            Some(served) => served.handler.arrived(arrival, &self.outside, now),
            None => {
                if let Some(more) = self.unwanted.due(now, ONCE_A_MINUTE) {
                    let topic = &arrival.topic;
                    tracing::warn!(
                        topic,
                        more,
                        "Something has come to {topic}, which is none of the configured topics. It is ignored."
                    );
                }
                arrival.taken();
            }
        }
    }

    fn follow_link(&mut self) {
        let Some(uplink) = &mut self.uplink else { return };
        let (is_connected, connections, name) = {
            let state = uplink.borrow_and_update();
            (state.is_connected(), state.connections, state.provisioned.clone())
        };
        let (before, now) = (self.link, Instant::now());
        self.link = Link { is_connected, connections };
        if let Some(name) = name.filter(|_| self.outside.thing() == UNNAMED) {
            self.outside.name_thing(name);
            self.name_topics();
        }
        if before.is_connected && (!is_connected || before.connections != connections) {
            self.served.iter_mut().for_each(|served| served.handler.link(false, &self.outside, now));
        }
        if is_connected && (!before.is_connected || before.connections != connections) {
            self.served.iter_mut().for_each(|served| served.handler.link(true, &self.outside, now));
        }
    }

    fn name_topics(&mut self) {
        for Served { topics, handler, .. } in &mut self.served {
            *topics = filled(&handler.subscriptions(), self.outside.thing());
        }
    }

    /// Serves `entry` too.
    fn begin(&mut self, entry: Entry) {
        let health = entry.enter(&self.account);
        let handler = entry.handler(Arc::clone(&health));
        let topics = filled(&handler.subscriptions(), self.outside.thing());
        let served = self.served.push_mut(Served { entry, topics, health, handler });
        let now = Instant::now();
        served.handler.turn(&self.outside, now);
        if self.link.is_connected {
            served.handler.link(true, &self.outside, now);
        }
    }

    /// Serves `entries` from now on. Those that are served already go on as if nothing were.
    fn bring_into_force(&mut self, entries: Vec<Entry>) {
        let mut before: Vec<Option<Served>> = self.served.drain(..).map(Some).collect();
        let kept: Vec<_> = entries
            .iter()
            .map(|entry| {
                let is_it = |served: &Option<Served>| served.as_ref().is_some_and(|served| served.entry == *entry);
                before.iter().position(is_it).and_then(|at| before[at].take())
            })
            .collect();
        let mut gone: Vec<_> = before.into_iter().flatten().collect();
        let (added, removed) = (kept.iter().filter(|kept| kept.is_none()).count(), gone.len());
        if added + removed > 0 {
            let entries = counted(added as u64, "entry", "entries");
            tracing::info!(added, removed, "Of what the cloud may ask, {entries} came into force and {removed} ended.");
        }
        gone.iter_mut().for_each(|served| end(served.handler.as_mut(), &self.outside));
        let mut new = Vec::new();
        for (entry, kept) in entries.iter().zip(kept) {
            new.extend(kept.is_none().then_some(entry));
            // If one of the new ones panics, all of these end.
            self.served.extend(kept);
        }
        for entry in new {
            self.begin(entry.clone());
        }
        self.served.sort_by_key(|served| entries.iter().position(|entry| *entry == served.entry));
        let subscriptions = self.served.iter().flat_map(|served| served.handler.subscriptions()).collect();
        let is_served = |mqtt: &str| self.served.iter().any(|served| served.health.mqtt == mqtt);
        for gone in gone.iter().filter(|gone| !is_served(&gone.health.mqtt)) {
            self.outside.replies.leave(&gone.health.mqtt);
        }
        // Publishers take a while to end, and others may have to stop the robot meanwhile.
        tokio::task::spawn_blocking(move || settle(&mut gone));
        self.account.replace(self.served.iter().map(|served| Arc::clone(&served.health)).collect());
        (self.subscribe)(subscriptions);
    }
}

/// The topics of `subscriptions` with the name of the thing.
fn filled(subscriptions: &[Subscription], thing: &str) -> Vec<String> {
    subscriptions.iter().map(|subscription| fill_thing(&subscription.filter, thing).into_owned()).collect()
}

/// Waits until what `ended` have said last has arrived.
fn settle(ended: &mut [Served]) {
    let until = Instant::now() + SETTLES;
    for Served { handler, .. } in ended {
        let patience = until.saturating_duration_since(Instant::now());
        let _ = catch_unwind(AssertUnwindSafe(|| handler.settle(patience)));
    }
}

/// Ends a handler. If it panics, the others end all the same.
fn end(handler: &mut dyn Handler, outside: &Outside) {
    // The panic has been printed where it happened.
    let _ = catch_unwind(AssertUnwindSafe(|| handler.end(outside, Instant::now())));
}
