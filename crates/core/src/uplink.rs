//! The MQTT connection: drains the queue to the broker.
//!
//! ```text
//!              ┌────────────── back-off ◄──────────────┐
//!              ▼                                       │ any fault: rewind the queue
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
//! - Where there is no certificate yet and the configuration has a claim, an attempt begins with provisioning: see `claim`.
//! - Certificates are read anew for each attempt, attempts keep to [`Backoff`], and no fault ends the
//!   uplink: it is the state, told by [`UplinkState`] and logged once.
//! - The task beats its heart at least once a second from the very loop that does the work.

pub mod backoff;
mod claim;
mod connection;
mod early_close;
mod expiry;
mod journal;
mod options;
mod outbox;
mod pacer;
mod parcel;
mod presence;
mod renewal;
mod shutdown;
mod state;
mod suspects;
mod throttle;
mod window;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

pub use claim::Step;
pub use options::{broker, options};
pub use renewal::Renewal;
pub use state::{Phase, UplinkState};

use crate::config::{Aws, Mqtt, check_publish_topic, fill_thing};
use crate::mqtt::client::{Failure, Limits, Reason};
use crate::mqtt::tls::{self, Credentials};
use crate::mqtt::{Fault, FaultKind, Peer, classify, ticks};
use crate::queue::Queue;
use crate::tally::{Heartbeat, Meter};
use backoff::{Backoff, InvalidBackoff};
use claim::{Claim, Settled};
use connection::{Connection, End};
use early_close::EarlyCloses;
use expiry::ExpiryWatch;
use journal::{During, Journal};
use outbox::{Outbox, Rules};
use shutdown::Shutdown;
use suspects::Close;

/// Longest time for sending what is queued once the uplink is told to stop; before it, as long for a connection that is
/// being made.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// Until it is known that there is a certificate.
    claim: Option<Claim>,
    mqtt: Mqtt,
    queue: Arc<Queue>,
    heartbeat: Arc<Heartbeat>,
    meter: Arc<Meter>,
    /// Somebody wants another connection, with the files as they are now.
    renew: Arc<AtomicBool>,
    state: watch::Sender<UplinkState>,
    backoff: Backoff,
    early_closes: EarlyCloses,
    rules: Rules,
    /// Topics that wait because the broker's packets are too small, on this connection.
    outgrown: Vec<String>,
    expiry: ExpiryWatch,
    journal: Journal,
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
        let backoff = Backoff::try_new(&mqtt.reconnect)?;
        let early_closes = EarlyCloses::new(mqtt.reconnect.max);
        let rules = Rules::new(&mqtt);
        let (expiry, journal) = (ExpiryWatch::default(), Journal::default());
        let (meter, renew) = (Arc::default(), Arc::default());
        let claim = Claim::new(&aws, &mqtt);
        let uplink = Uplink {
            aws,
            claim,
            mqtt,
            queue,
            heartbeat,
            meter,
            renew,
            state,
            backoff,
            early_closes,
            rules,
            outgrown: Vec::new(),
            expiry,
            journal,
        };
        Ok((uplink, view))
    }

    /// Asks for another connection when certificate, key or authorities are others than now.
    pub async fn renewal(&self) -> Renewal {
        Renewal::new(&self.aws, Arc::clone(&self.renew)).await
    }

    /// Where the uplink counts what it publishes.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Connects, drains the queue, connects again, until `shutdown` is ready. Then, if a connection stands, sends what
    /// is queued for at most [`DRAIN_TIMEOUT`] and disconnects. Answers how many records were left in the queue.
    ///
    /// Stop admitting before `shutdown`: what is admitted later may be left.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> u64 {
        let shutdown = pin!(shutdown);
        let mut shutdown = Shutdown::new(shutdown);
        while !shutdown.is_requested() {
            self.attempt(&mut shutdown).await;
            if !shutdown.is_requested() {
                self.wait(&mut shutdown).await;
            }
        }
        self.set_phase(Phase::Stopped);
        self.queue.figures().queued()
    }

    /// Connects once and serves the connection until it ends.
    async fn attempt(&mut self, shutdown: &mut Shutdown<'_>) {
        self.set_phase(Phase::Connecting);
        self.renew.store(false, Ordering::Relaxed);
        if !self.is_provisioned(shutdown).await {
            return;
        }
        let connecting = async {
            let tls = load_credentials(&self.aws, &self.state).await?;
            let options = options(&self.aws, &self.mqtt);
            let outbox =
                |limits: &Limits| Outbox::new(self.aws.thing.clone(), &self.mqtt, limits, Arc::clone(&self.meter));
            let opened = Connection::open(&options, tls, outbox).await;
            opened.map_err(|failure| classify(&failure, Peer::to(&options)))
        };
        let outcome = {
            let mut connecting = pin!(connecting);
            match attend(&mut connecting, &self.queue, &self.heartbeat, shutdown).await {
                // Told to stop half-way: what is queued deserves the rest.
                None if !self.queue.is_empty() => {
                    let mut no_more = Shutdown::never();
                    let rest = attend(&mut connecting, &self.queue, &self.heartbeat, &mut no_more);
                    tokio::time::timeout(DRAIN_TIMEOUT, rest).await.ok().flatten()
                }
                outcome => outcome,
            }
        };
        self.expiry.has_read(Instant::now());
        self.warn_of_expiry(Instant::now());
        // The broker counts CONNECTs, and a name look-up may have taken long before this one.
        self.backoff.attempted(Instant::now());
        match outcome {
            None => {}
            Some(Ok(connection)) => self.serve(connection, shutdown).await,
            Some(Err(fault)) => {
                self.early_closes.attempt_failed(fault.kind);
                self.backoff.attempt_failed(fault.kind == FaultKind::Closed);
                self.state.send_modify(|state| state.failed_attempts += 1);
                self.note_fault(fault, During::Attempt);
            }
        }
    }

    /// Sees to it that there is a certificate, as far as that is to be had. Answers whether there is, or nothing is known
    /// that stands in the way of looking for it.
    async fn is_provisioned(&mut self, shutdown: &mut Shutdown<'_>) -> bool {
        let Some(claim) = &self.claim else { return true };
        let outcome = attend(claim.attempt(&self.state), &self.queue, &self.heartbeat, shutdown).await;
        match outcome {
            None => false,
            Some(Ok(settled)) => {
                self.settle(settled);
                true
            }
            Some(Err(fault)) => {
                self.backoff.attempted(Instant::now());
                self.state.send_modify(|state| state.failed_attempts += 1);
                let is_pending = self.state.borrow().provisioning.is_some();
                self.note_fault(fault, if is_pending { During::Provisioning } else { During::Attempt });
                false
            }
        }
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
            check_publish_topic(topic).map_err(|fault| journal::log_unfit_will(key, topic, &fault)).is_ok()
        };
        self.mqtt.last_will.take_if(|will| !fits("mqtt.last_will", &mut will.topic));
        self.mqtt.presence.take_if(|presence| !fits("mqtt.presence", &mut presence.topic));
        let other = name.clone().filter(|name| *name != self.aws.thing);
        if let Some(other) = &other {
            journal::log_other_thing(&self.aws.thing, other);
        }
        if is_new {
            // What has failed before says nothing of the new certificate.
            self.backoff.reset();
        }
        self.state.send_modify(|state| {
            state.provisioning = None;
            state.other_thing = other;
            if is_new {
                state.provisioned = name;
                state.failed_attempts = 0;
            }
        });
    }

    async fn serve(&mut self, connection: Connection, shutdown: &mut Shutdown<'_>) {
        let since = Instant::now();
        self.queue.set_link(true);
        self.state.send_modify(|state| {
            state.phase = Phase::Connected { since };
            state.connections += 1;
            state.failed_attempts = 0;
        });
        if self.journal.connected() {
            journal::log_connected(&self.aws.endpoint, self.aws.port, &self.aws.client_id);
        }
        let (end, course, outbox) = connection.serve(self, since, shutdown).await;
        self.queue.set_link(false);
        self.outgrown.clear();
        let is_close = |fault: &Fault| matches!(fault.kind, FaultKind::Closed | FaultKind::Disconnected);
        let closed = matches!(&end, End::Fault(fault) if is_close(fault));
        if course.is_good() {
            self.rules.suspects.was_good();
        }
        let explained = closed && self.judge(&outbox, course.lasted);
        self.queue.rewind();
        self.rules.pacer.connection_ended(Instant::now());
        self.rules.suspects.connection_ended();
        match end {
            End::Disconnected => {
                tracing::info!("Disconnected from the broker.");
                self.backoff.reset();
                self.state.send_modify(|state| state.is_fault_over = true);
            }
            End::Fault(fault) => {
                self.journal.ended(course.lasted >= self.mqtt.reconnect.stable_after);
                let fault = match explained {
                    true => fault,
                    false => self.early_closes.connection_ended(course, fault, &self.aws.client_id),
                };
                let cause = self.early_closes.cause(explained);
                self.backoff.connection_ended(course.lasted, course.last_puback, cause);
                self.note_remarks();
                self.note_fault(fault, During::Connection);
            }
        }
    }

    /// Waits for the next attempt's time.
    async fn wait(&mut self, shutdown: &mut Shutdown<'_>) {
        let until = self.backoff.next_attempt(Instant::now());
        self.set_phase(Phase::Waiting { until });
        let sleep = tokio::time::sleep_until(until.into());
        attend(sleep, &self.queue, &self.heartbeat, shutdown).await;
    }

    /// What `failure` of a connection that stood means, here and for the next.
    fn fault_of(&mut self, failure: &Failure) -> Fault {
        let fault = classify(failure, Peer::connected(&options(&self.aws, &self.mqtt)));
        if let Failure::Disconnected(said) = failure
            && said.reason == Reason::TOPIC_ALIAS_INVALID
        {
            self.rules.without_aliases = true;
        }
        if fault.kind == FaultKind::QuotaExceeded && self.rules.pacer.throttle.refused(Instant::now()) {
            journal::log_slowed();
        }
        fault
    }

    /// Says what the broker lacks, if that is news.
    fn note_limits(&mut self, limits: &Limits) {
        let lacks = limits.lacks();
        if self.state.borrow().broker_lacks != lacks {
            journal::log_limits(&lacks);
            self.state.send_modify(|state| state.broker_lacks = lacks);
        }
    }

    fn note_fault(&mut self, fault: Fault, during: During) {
        self.state.send_modify(|state| state.note_fault(&fault));
        if let Some(times) = self.journal.fault(fault.kind, Instant::now()) {
            journal::log_fault(&fault, during, times);
        }
    }

    /// Looks, before the leases are taken back, whether the broker has closed the connection over what was in flight.
    /// Returns whether that is so, or likely.
    fn judge(&mut self, outbox: &Outbox, lasted: Duration) -> bool {
        let close = Close { lasted, contested: self.early_closes.is_contested() };
        let (explained, verdict) = outbox.judge(close, &mut self.rules.suspects, &self.queue, Instant::now());
        if explained {
            self.early_closes.explained(verdict.is_some(), lasted);
            self.note_remarks();
        }
        explained
    }

    /// Notes in the state which topics are set aside, and, once the connection has become stable, that it stands, if
    /// that was not logged before.
    fn note_progress(&mut self, outbox: &Outbox, since: Instant, now: Instant) {
        let stable = now.saturating_duration_since(since) >= self.mqtt.reconnect.stable_after;
        if stable {
            self.rules.suspects.stable();
        }
        self.rules.sweep(now);
        self.early_closes.stands(now.saturating_duration_since(since));
        if stable && self.journal.stable() {
            journal::log_connected(&self.aws.endpoint, self.aws.port, &self.aws.client_id);
        }
        if self.expiry.read_again(now) {
            let (aws, state) = (self.aws.clone(), self.state.clone());
            // What is wrong with the files is the next connection's to say.
            tokio::spawn(async move { load_credentials(&aws, &state).await.is_ok() });
        }
        self.warn_of_expiry(now);
        self.outgrown = outbox.topics_outgrown().map(str::to_owned).collect();
        self.note_remarks();
    }

    fn warn_of_expiry(&mut self, now: Instant) {
        let expires = self.state.borrow().certificate_expires;
        if let Some(expires) = expires {
            self.expiry.warn(expires, SystemTime::now(), now);
        }
    }

    fn note_remarks(&self) {
        let (set_aside, contested) = (self.rules.suspects.set_aside(), self.early_closes.is_contested());
        let set_aside = set_aside.iter().chain(&self.outgrown);
        let set_aside: Vec<_> = set_aside.map(|topic| fill_thing(topic, &self.aws.thing).into_owned()).collect();
        let slowed = self.rules.pacer.throttle.is_slow(Instant::now());
        if self.state.borrow().slowed && !slowed {
            journal::log_slowed_no_more();
        }
        self.state.send_if_modified(|state| {
            let changed = state.set_aside != set_aside || state.contested != contested || state.slowed != slowed;
            (state.set_aside, state.contested, state.slowed) = (set_aside, contested, slowed);
            changed
        });
    }

    fn set_phase(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }
}

/// Reads the files, and notes when the certificate expires, also of one that can't be used.
async fn load_credentials(aws: &Aws, state: &watch::Sender<UplinkState>) -> Result<Arc<rustls::ClientConfig>, Fault> {
    let (credentials, expires) = load(aws).await;
    if expires.is_some() {
        state.send_modify(|state| state.certificate_expires = expires);
    }
    Ok(credentials?.config)
}

/// Reads the files away from the task: they may lie on a disk that takes its time. Returns besides when the certificate
/// expires, if it can be read.
async fn load(aws: &Aws) -> (Result<Credentials, Fault>, Option<SystemTime>) {
    let loading = tokio::task::spawn_blocking({
        let broker = broker(aws);
        move || {
            let loaded = tls::load(&broker, SystemTime::now());
            let expires = match &loaded {
                Ok(credentials) => Some(credentials.certificate_expires),
                Err(_) => tls::inspect(&broker, SystemTime::now()).certificate_expires,
            };
            (loaded.map_err(Fault::from), expires)
        }
    });
    loading.await.unwrap_or_else(|error| {
        (Err(Fault::new(FaultKind::Credentials, format!("the files could not be read: {error}"))), None)
    })
}

/// Runs `work` to its end while beating `heartbeat` and tending `queue`. Answers nothing if told to stop before.
async fn attend<T>(
    work: impl Future<Output = T>,
    queue: &Queue,
    heartbeat: &Heartbeat,
    shutdown: &mut Shutdown<'_>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut tick = ticks();
    loop {
        tokio::select! {
            output = &mut work => return Some(output),
            () = shutdown.requested() => return None,
            _ = tick.tick() => tend(queue, heartbeat),
        }
    }
}

fn tend(queue: &Queue, heartbeat: &Heartbeat) {
    heartbeat.beat();
    queue.tend(Instant::now());
}
