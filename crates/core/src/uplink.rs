//! The MQTT connection: drains the queue to the broker.
//!
//! ```text
//!              ┌────────────── back-off ◄──────────────┐
//!              ▼                                       │ any fault: requeue all
//!  read files, connect (TLS, CONNECT) ──► serve: lease ► publish ► PUBACK ► acknowledge
//!                                                      │
//!                                   told to stop ──────┴──► drain, DISCONNECT
//! ```
//!
//! The rules:
//!
//! - The queue is the only owner of data. The MQTT client holds a window of at most `mqtt.quotas.in_flight` publishes, all of
//!   them leased; on any fault the client is thrown away with everything it knows, the leases are taken back, and a new
//!   client starts from nothing. So a publish reaches the broker at least once, and twice only after a lost connection.
//! - Publishes leave at the pace of `mqtt.quotas`; what has to wait for it waits in the queue.
//! - Nothing is assumed of the order of PUBACKs; a publish whose PUBACK stays away is a fault after `mqtt.ack_timeout`.
//! - A publish over which the broker closes the connection again and again does not block the others: see `suspects`.
//! - What is published to the bridge is subscribed to before anything else is sent: see [`listener`].
//! - Where there is no certificate yet and the configuration has a claim, an attempt begins with provisioning: see `claim`.
//! - Certificates are read anew for each attempt, attempts keep to [`Backoff`](backoff::Backoff), and no fault ends the
//!   uplink: it is the state, told by [`UplinkState`] and logged once.
//! - The task beats its heart at least once a second from the very loop that does the work.

pub mod backoff;
mod certificate;
mod claim;
mod connection;
mod connection_log;
mod early_close;
mod expiry;
mod filters;
pub mod listener;
mod options;
mod outbox;
mod outgoing;
mod pacer;
mod presence;
mod recovery;
mod renewal;
mod rules;
mod session;
mod shutdown;
mod state;
mod suspects;
mod throttle;
mod upkeep;
mod version;
mod window;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

pub use claim::Step;
pub use connection::DRAIN_TIMEOUT;
pub use filters::Subscription;
pub use listener::Subscriptions;
pub use options::{broker, options};
pub use outgoing::batch_bytes;
pub use renewal::Renewal;
pub use session::session;
pub use state::{Phase, UplinkState};
pub use version::{Fallback, Told, VersionChoice};

use crate::config::{Aws, Mqtt, Version, check_publish_topic, fill_thing};
use crate::mqtt::Fault;
use crate::mqtt::client::{Arrival, Limits, Reached};
use crate::queue::Queue;
use crate::tally::{Heartbeat, Meter};
use backoff::InvalidBackoff;
use certificate::CertificateWatch;
use claim::{Claim, Settled};
use connection::{Connection, End, Lasting};
use connection_log::During;
use listener::Listener;
use outbox::Outbox;
use recovery::Recovery;
use rules::Rules;
use shutdown::Shutdown;
use upkeep::Upkeep;

/// Why an uplink cannot be made of its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUplink {
    /// `mqtt.reconnect` makes no sense.
    #[error("mqtt.reconnect: {0}")]
    Backoff(#[from] InvalidBackoff),
    /// `mqtt.quotas.in_flight` is outside of 1 to 100, what AWS IoT Core takes.
    #[error("mqtt.quotas.in_flight has to be 1 to 100")]
    InFlight,
    /// `mqtt.keep_alive` does not fit MQTT: 1 to 65535 s.
    #[error("mqtt.keep_alive has to be 1 s to 65535 s")]
    KeepAlive,
}

/// One MQTT connection at a time, for as long as the process lives.
#[derive(Debug)]
pub struct Uplink {
    aws: Aws,
    mqtt: Mqtt,
    /// Until it is known that there is a certificate.
    claim: Option<Claim>,
    version: VersionChoice,
    meter: Arc<Meter>,
    lasting: Lasting,
}

/// What has become of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// There was no connection, or it has ended.
    Over,
    /// The connection was given up so that the next has the files as they are now.
    Renewed,
}

impl Uplink {
    /// An uplink that drains `queue` and beats `heartbeat`, and a view of its state. It does nothing before
    /// [`Uplink::run`].
    pub fn new(
        aws: Aws,
        mqtt: Mqtt,
        queue: Arc<Queue>,
        heartbeat: Arc<Heartbeat>,
    ) -> Result<(Self, watch::Receiver<UplinkState>), InvalidUplink> {
        if !(1..=100).contains(&mqtt.quotas.in_flight) {
            return Err(InvalidUplink::InFlight);
        }
        if !(1..=u64::from(u16::MAX)).contains(&mqtt.keep_alive.as_secs()) {
            return Err(InvalidUplink::KeepAlive);
        }
        let (state, view) = watch::channel(UplinkState::default());
        let lasting = Lasting {
            upkeep: Upkeep { queue, heartbeat },
            rules: Rules::new(&mqtt),
            recovery: Recovery::try_new(&mqtt.reconnect)?,
            certificate: CertificateWatch::new(broker(&aws), state.clone()),
            state,
            renew: Arc::default(),
            listener: None,
        };
        let (claim, version) = (Claim::new(&aws, &mqtt), VersionChoice::new(mqtt.version));
        Ok((Uplink { aws, mqtt, claim, version, meter: Arc::default(), lasting }, view))
    }

    /// Asks for another connection when certificate, key or authorities are others than now.
    pub async fn renewal(&self) -> Renewal {
        Renewal::new(&self.aws, Arc::clone(&self.lasting.renew)).await
    }

    /// Has what is published to the bridge handed over to whoever has the receiver, with room for so many that wait. Says
    /// more in [`listener`]. Only who has called this may be subscribed to something.
    pub fn listen(&mut self, room: usize) -> (Subscriptions, mpsc::Receiver<Arrival>) {
        let (listener, subscriptions, arrivals) = Listener::new(room);
        self.lasting.listener = Some(listener);
        (subscriptions, arrivals)
    }

    /// Where the uplink counts what it publishes.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Connects, drains the queue, connects again, until `shutdown` is ready. Then, if a connection stands or was just given
    /// up for another, sends what is queued for at most [`DRAIN_TIMEOUT`] and disconnects. Returns how many records were left
    /// in the queue.
    ///
    /// Stop admitting before `shutdown`: what is admitted later may be left.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> u64 {
        let shutdown = pin!(shutdown);
        let mut shutdown = Shutdown::new(shutdown);
        while !shutdown.is_requested() {
            let outcome = self.attempt(&mut shutdown).await;
            if !shutdown.is_requested() {
                self.wait(&mut shutdown).await;
            }
            if shutdown.is_requested() && outcome == Outcome::Renewed && !self.lasting.upkeep.queue.is_empty() {
                self.attempt_at_last(&mut shutdown).await;
            }
        }
        self.set_phase(Phase::Stopped);
        self.lasting.upkeep.queue.figures().queued()
    }

    /// Told to stop between two connections of which the first was given up for the second: what is queued is sent over
    /// that.
    async fn attempt_at_last(&mut self, shutdown: &mut Shutdown<'_>) {
        let until = self.lasting.recovery.earliest(Instant::now());
        let sleep = tokio::time::sleep_until(until.into());
        self.lasting.upkeep.during(sleep, &mut Shutdown::never()).await;
        self.attempt(shutdown).await;
    }

    /// Connects once and serves the connection until it ends.
    async fn attempt(&mut self, shutdown: &mut Shutdown<'_>) -> Outcome {
        self.set_phase(Phase::Connecting);
        self.lasting.renew.store(false, Ordering::Relaxed);
        if !self.is_provisioned(shutdown).await {
            return Outcome::Over;
        }
        let mut reached = Reached::default();
        let outcome = self.connect(&mut reached, shutdown).await;
        self.lasting.certificate.attempted(Instant::now());
        // The broker counts CONNECTs, and a name look-up may have taken long before this one.
        self.lasting.recovery.attempted(Instant::now());
        match outcome {
            None => Outcome::Over,
            Some(Ok(connection)) => self.serve(connection, shutdown).await,
            Some(Err(fault)) => {
                self.attempt_failed(&fault, &reached, During::Attempt);
                Outcome::Over
            }
        }
    }

    /// A connection, or why there is none. `None` if told to stop before.
    async fn connect(&self, reached: &mut Reached, shutdown: &mut Shutdown<'_>) -> Option<Result<Connection, Fault>> {
        let upkeep = &self.lasting.upkeep;
        let mut connecting = pin!(async {
            let tls = self.lasting.certificate.load().await?;
            let outbox =
                |limits: &Limits| Outbox::new(self.aws.thing.clone(), &self.mqtt, limits, Arc::clone(&self.meter));
            let options = options(&self.aws, &self.mqtt, self.version.next());
            let handler = self.lasting.listener.as_ref().map(Listener::handler);
            Connection::open(options, tls, handler, outbox, reached).await
        });
        match upkeep.during(&mut connecting, shutdown).await {
            // Told to stop half-way: what is queued deserves the rest.
            None if !upkeep.queue.is_empty() => {
                let mut no_more = Shutdown::never();
                let rest = upkeep.during(&mut connecting, &mut no_more);
                tokio::time::timeout(DRAIN_TIMEOUT, rest).await.ok().flatten()
            }
            outcome => outcome,
        }
    }

    /// Sees to it that there is a certificate, as far as that is to be had. Returns whether there is, or nothing is known
    /// that stands in the way of looking for it.
    async fn is_provisioned(&mut self, shutdown: &mut Shutdown<'_>) -> bool {
        let Some(claim) = &self.claim else { return true };
        let mut reached = Reached::default();
        let attempt = claim.attempt(&self.lasting.state, self.version.next(), &mut reached);
        let outcome = self.lasting.upkeep.during(attempt, shutdown).await;
        match outcome {
            None => false,
            Some(Ok(settled)) => {
                if reached.answered {
                    self.accepted();
                }
                self.settle(settled);
                true
            }
            Some(Err(fault)) => {
                self.lasting.recovery.attempted(Instant::now());
                let is_pending = self.lasting.state.borrow().provisioning.is_some();
                self.attempt_failed(&fault, &reached, if is_pending { During::Provisioning } else { During::Attempt });
                false
            }
        }
    }

    /// The broker has accepted a connection in the version that was next.
    fn accepted(&mut self) {
        let version = self.version.next();
        self.decide_version(VersionChoice::accepted);
        let fallback = self.version.fallback().filter(|_| version == Version::V3_1_1);
        self.lasting.state.send_modify(|state| (state.version, state.fallback) = (Some(version), fallback));
    }

    /// Has `note` take note of how an attempt went, and logs that another version is used from now on, if that is news.
    fn decide_version<T>(&mut self, note: impl FnOnce(&mut VersionChoice) -> T) -> T {
        let before = self.version.fallback();
        let noted = note(&mut self.version);
        if let (None, Some(why)) = (before, self.version.fallback()) {
            connection_log::log_fallback(why);
        }
        noted
    }

    /// An attempt has failed by `fault`, before the broker accepted it or upon what was asked for with a claim.
    fn attempt_failed(&mut self, fault: &Fault, reached: &Reached, during: During) {
        self.lasting.state.send_modify(|state| state.failed_attempts += 1);
        self.lasting.recovery.attempt_reached(reached);
        if self.decide_version(|choice| choice.attempt_failed(fault.kind, reached)) == Told::Refused {
            // The next attempt does not fail by that: it is no reason to wait, nor one for which there is no connection.
            self.lasting.recovery.begins_anew();
            self.lasting.state.send_modify(|state| state.count_failure(fault.kind));
            return;
        }
        if during == During::Attempt {
            self.lasting.recovery.attempt_failed(fault.kind);
        }
        self.note_fault(fault, during);
    }

    /// There is a certificate: the uplink goes on as the thing that it is for.
    fn settle(&mut self, settled: Settled) {
        self.claim = None;
        let Settled { registered, is_new } = settled;
        let name = registered.map(|registered| registered.thing);
        if let Some(name) = &name {
            self.aws.name(name);
        }
        // With a will that it does not take, AWS IoT Core would take no connection either.
        let fits = |key, topic: &mut String| {
            *topic = fill_thing(topic, &self.aws.thing).into_owned();
            check_publish_topic(topic).map_err(|fault| connection_log::log_unfit_will(key, topic, &fault)).is_ok()
        };
        self.mqtt.last_will.take_if(|will| !fits("mqtt.last_will", &mut will.topic));
        self.mqtt.presence.take_if(|presence| !fits("mqtt.presence", &mut presence.topic));
        let other = name.clone().filter(|name| *name != self.aws.thing);
        if let Some(other) = &other {
            connection_log::log_other_thing(&self.aws.thing, other);
        }
        if is_new {
            self.lasting.recovery.begins_anew();
        }
        self.lasting.state.send_modify(|state| {
            state.provisioning = None;
            state.other_thing = other;
            if is_new {
                state.provisioned = name;
                state.failed_attempts = 0;
            }
        });
    }

    async fn serve(&mut self, connection: Connection, shutdown: &mut Shutdown<'_>) -> Outcome {
        self.accepted();
        let lasting = &mut self.lasting;
        let since = connection.since();
        lasting.upkeep.queue.set_link(true);
        lasting.state.send_modify(|state| {
            state.phase = Phase::Connected { since };
            state.connections += 1;
            state.failed_attempts = 0;
        });
        if lasting.recovery.connected() {
            connection_log::log_connected(connection.options());
        }
        let ended = connection.serve(lasting, shutdown).await;
        lasting.upkeep.queue.set_link(false);
        let outcome = if matches!(ended.end, End::Renewed) { Outcome::Renewed } else { Outcome::Over };
        let fault = lasting.ended(ended, &self.aws.client_id, Instant::now());
        match fault {
            None => {
                tracing::info!("Disconnected from the broker.");
                lasting.state.send_modify(|state| state.is_fault_over = true);
            }
            Some(fault) => self.note_fault(&fault, During::Connection),
        }
        outcome
    }

    /// Waits for the next attempt's time.
    async fn wait(&mut self, shutdown: &mut Shutdown<'_>) {
        let until = self.lasting.recovery.next_attempt(Instant::now());
        self.set_phase(Phase::Waiting { until });
        self.lasting.upkeep.during(tokio::time::sleep_until(until.into()), shutdown).await;
    }

    fn note_fault(&mut self, fault: &Fault, during: During) {
        self.lasting.state.send_modify(|state| state.note_fault(fault));
        self.lasting.recovery.log(fault, during, Instant::now());
    }

    fn set_phase(&self, phase: Phase) {
        self.lasting.state.send_modify(|state| state.phase = phase);
    }
}

#[cfg(test)]
mod tests;
