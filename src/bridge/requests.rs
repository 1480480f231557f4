//! The way back: what the cloud asks of the robot.
//!
//! ```text
//!  broker ─► uplink::listener ─► Arrival ─► the thread `requests` ─► Handler of the entry ─► ros
//!  broker ◄─ uplink ◄─ queue ◄─ records of replies (Replies::send) ◄────────┘
//! ```
//!
//! A thread of its own does it, so that a command waits neither for telemetry that is compressed nor for the disk, and a
//! robot is stopped in time when commands stay away. It waits for nothing but what it is told: arrivals, changes of the
//! configuration, the link, ROS, and the times that its handlers name. What may take long, like loading a type, handlers
//! leave to tokio's blocking threads.
//!
//! There is no such thread until the configuration has an entry of `[[commands]]`, `[[services]]`, `[[actions]]` or
//! `[[shadows]]`, or `[remote]`.

mod action;
mod answers;
mod clients;
mod command;
mod json;
mod opening;
mod outside;
mod remote;
mod replies;
mod service;
mod shadow;
mod task;
mod trouble;
mod work;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::remote::Desk;
use super::reports::Reports;
use crate::health::{RequestHealth, Requests as Account, Topics};
use crate::ros::Node;
use iot_bridge_core::config::{self, Settings};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::queue::Queue;
use iot_bridge_core::tally::Heartbeat;
use iot_bridge_core::uplink::{Subscription, Uplink, UplinkState};

use action::Action;
use command::Command;
pub(super) use outside::Outside;
use remote::Remote;
pub(super) use replies::{Reply, ReplyTo};
use service::Service;
use shadow::Shadow;
use work::{Subscribe, Work};

/// How long what was said on ROS at the end of entries is waited for.
const SETTLES: Duration = Duration::from_millis(500);

/// Threads for what may take long.
const BLOCKING: usize = 4;

/// Arrivals that wait for the thread. Each is at most 128 KiB.
const ROOM: usize = 64;

/// What is done for one entry of `[[commands]]`, `[[services]]`, `[[actions]]` or `[[shadows]]`, or for `[remote]`.
///
/// Every call comes from the thread `requests`, within its tokio runtime but for [`end`](Self::end). A slow one delays
/// all entries, also one that is about to stop the robot: what may take more than a few milliseconds belongs on
/// [`spawn_blocking`](tokio::task::spawn_blocking), whose end wakes the thread by [`Outside::waker`].
pub(super) trait Handler: Send {
    /// What it wants to be subscribed to, without wildcards. `{thing}` may be open.
    fn subscriptions(&self) -> Vec<Subscription>;

    /// Whether `topic` is one of its own although it does not subscribe to it: AWS IoT Core sends answers about jobs to whoever has
    /// asked.
    fn concerns(&self, _topic: &str) -> bool {
        false
    }

    /// Something has come to one of its topics, or to another client's idea of one: AWS IoT Core's SendDirectMessage needs no
    /// subscription. It calls `arrival.taken()` in the end, whatever it thinks of it: the broker has no more than so many
    /// of QoS 1 on the way.
    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant);

    /// Something has woken the thread: a callback of ROS, a change of the nodes, the end of [`wake_at`](Self::wake_at), or
    /// nothing at all. At least twice a second.
    fn turn(&mut self, outside: &Outside, now: Instant);

    /// When [`turn`](Self::turn) has something to do, at the latest.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// The connection has been lost, or stands again. The SUBSCRIBE goes out before anything that is sent from now on.
    fn link(&mut self, _is_connected: bool, _outside: &Outside, _now: Instant) {}

    /// The process stops, or the entry is in the configuration no more. What is said on ROS now is not waited for.
    fn end(&mut self, outside: &Outside, now: Instant);

    /// Once all that end have ended: waits, at most for `patience`, until what was said on ROS has arrived. Not on the thread
    /// `requests`, unless that is about to end.
    fn settle(&mut self, _patience: Duration) {}
}

/// An entry of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    Command(config::Command),
    Service(config::Service),
    Action(config::Action),
    Shadow(config::Shadow),
    /// The shadow of this name has the configuration, and jobs have if they are taken.
    Remote {
        shadow: String,
        jobs: bool,
    },
    #[cfg(test)]
    Probe(tests::Probe),
}

impl Entry {
    /// All entries of `settings`, in their order, but for `remote`, which stays as the process has started with it.
    pub fn all(settings: &Settings, remote: Option<&config::Remote>) -> Vec<Entry> {
        let commands = settings.commands.iter().cloned().map(Entry::Command);
        let services = settings.services.iter().cloned().map(Entry::Service);
        let actions = settings.actions.iter().cloned().map(Entry::Action);
        let shadows = settings.shadows.iter().cloned().map(Entry::Shadow);
        let remote = remote.map(|remote| Entry::Remote { shadow: remote.shadow.clone(), jobs: remote.jobs });
        commands.chain(services).chain(actions).chain(shadows).chain(remote).collect()
    }

    /// Its place in the account.
    fn enter(&self, account: &Account) -> Arc<RequestHealth> {
        match self {
            Entry::Command(command) => account.enter("command", &command.mqtt, &command.ros),
            Entry::Service(service) => account.enter("service", &service.mqtt, &service.service),
            Entry::Action(action) => account.enter("action", &action.mqtt, &action.action),
            Entry::Shadow(shadow) => {
                let ros = shadow.desired.as_ref().or(shadow.report.as_ref());
                account.enter("shadow", &shadow.prefix("{thing}"), ros.map_or("", String::as_str))
            }
            Entry::Remote { shadow, .. } => account.enter("remote", &config::Shadow::prefix_of(shadow, "{thing}"), ""),
            #[cfg(test)]
            Entry::Probe(probe) => account.enter("probe", probe.mqtt, ""),
        }
    }

    /// Who serves it, and counts in `health`.
    fn handler(&self, health: Arc<RequestHealth>) -> Box<dyn Handler> {
        match self {
            Entry::Command(command) => Box::new(Command::new(command.clone(), health)),
            Entry::Service(service) => Box::new(Service::new(service.clone(), health)),
            Entry::Action(action) => Box::new(Action::new(action.clone(), health)),
            Entry::Shadow(shadow) => Box::new(Shadow::new(shadow.clone(), health)),
            Entry::Remote { shadow, jobs } => Box::new(Remote::new(shadow.clone(), *jobs, health)),
            #[cfg(test)]
            Entry::Probe(probe) => probe.handler(health),
        }
    }
}

/// The thread, or that there is none.
pub(super) struct Requests {
    /// What the thread is started with; nothing once it is.
    idle: Option<Idle>,
    running: Option<Running>,
    heartbeat: Arc<Heartbeat>,
}

/// Everything that the thread needs.
struct Idle {
    subscribe: Subscribe,
    arrivals: mpsc::Receiver<Arrival>,
    outside: Outside,
    uplink: watch::Receiver<UplinkState>,
    account: Arc<Account>,
}

struct Running {
    /// The entries from now on. It ends with this.
    changes: mpsc::UnboundedSender<Vec<Entry>>,
    thread: JoinHandle<()>,
}

/// What the way back is wired to.
pub(super) struct Wiring {
    pub thing: String,
    pub queue: Arc<Queue>,
    pub topics: Arc<Topics>,
    pub account: Arc<Account>,
    pub nodes: watch::Receiver<Vec<Arc<Node>>>,
    pub reports: Arc<Reports>,
    pub state: watch::Receiver<UplinkState>,
    pub heartbeat: Arc<Heartbeat>,
    /// The way to the keeper of the configuration from the cloud.
    pub desk: Option<Desk>,
}

impl Requests {
    /// Serves the entries of `settings`, with what `uplink` hears.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(settings: &Settings, uplink: &mut Uplink, wiring: Wiring) -> std::io::Result<Requests> {
        let Wiring { thing, queue, topics, account, nodes, reports, state, heartbeat, desk } = wiring;
        let (subscriptions, arrivals) = uplink.listen(ROOM);
        let outside = Outside::new(thing, queue, topics, nodes, reports, desk);
        let subscribe: Subscribe = Box::new(move |wanted| subscriptions.set(wanted));
        let idle = Some(Idle { subscribe, arrivals, outside, uplink: state, account });
        heartbeat.rest();
        let mut requests = Requests { idle, running: None, heartbeat };
        let entries = Entry::all(settings, settings.remote.as_ref());
        requests.prepare(&entries)?;
        requests.reload(entries);
        Ok(requests)
    }

    /// Sees to it that there is a thread if `entries` need one, and changes nothing else.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn prepare(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        if self.running.is_none() && !entries.is_empty() { self.begin(thread::Builder::new()) } else { Ok(()) }
    }

    /// Brings `entries` into force, which were [prepared](Self::prepare). Those that stay as they are are not touched.
    pub fn reload(&mut self, entries: Vec<Entry>) {
        if let Some(running) = &self.running {
            // An error means that the thread is gone, which is found out elsewhere.
            let _ = running.changes.send(entries);
        }
    }

    /// Starts the thread, unless it has been started once. If it can't be started, that is tried again by the next reload.
    fn begin(&mut self, builder: thread::Builder) -> std::io::Result<()> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(BLOCKING).build()?;
        // It gets its work once it is there, so that nothing is lost with it if it is not.
        let (hand_over, work) = std::sync::mpsc::channel::<Work>();
        let thread = builder.name("requests".to_owned()).spawn(move || {
            if let Ok(work) = work.recv() {
                work.run(runtime);
            }
        })?;
        if let Some(Idle { subscribe, arrivals, outside, uplink, account }) = self.idle.take() {
            let (changes, to_change) = mpsc::unbounded_channel();
            let work = Work::new(outside, (subscribe, arrivals), uplink, to_change, account, self.heartbeat.clone());
            // It waits for this.
            let _ = hand_over.send(work);
            self.running = Some(Running { changes, thread });
        }
        Ok(())
    }

    /// Ends when the thread has died. While there is none, takes what comes although nothing of it is configured, and forgets
    /// it.
    pub async fn death(&mut self) {
        loop {
            match (&mut self.idle, &self.running) {
                (Some(idle), _) => match idle.arrivals.recv().await {
                    Some(arrival) => arrival.taken(),
                    None => std::future::pending().await,
                },
                // The thread has the other end.
                (None, Some(running)) => return running.changes.closed().await,
                (None, None) => std::future::pending().await,
            }
        }
    }

    /// Ends all entries: a robot that drives by command is told to stop. Returns when the thread is gone.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end()
    }

    fn end(&mut self) -> thread::Result<()> {
        let Some(Running { changes, thread }) = self.running.take() else { return Ok(()) };
        drop(changes);
        let ended = thread.join();
        self.heartbeat.rest();
        ended
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        // Whoever wants to know of a panic calls `stop`.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests;
