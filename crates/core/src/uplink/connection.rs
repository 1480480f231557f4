//! One connection, from its CONNECT to its end.
//!
//! This loop feeds the client, watches deadlines, beats, and takes note of what the client reports. It knows what it is
//! lent ([`Lasting`]), and nobody who lends it: what follows its end is decided by [`super::recovery`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::certificate::CertificateWatch;
use super::connection_log;
use super::early_close::Course;
use super::filters::Blame;
use super::listener::Listener;
use super::outbox::Outbox;
use super::recovery::Recovery;
use super::rules::Rules;
use super::shutdown::Shutdown;
use super::state::{Phase, UplinkState};
use super::suspects::Suspects;
use super::upkeep::Upkeep;
use super::window::Window;
use crate::config::fill_thing;
use crate::mqtt::client::{Arrival, Client, Event, Failure, Limits, Reached};
use crate::mqtt::{Fault, FaultKind, Options, Peer, classify};
use crate::queue::Queue;

/// Longest time for sending what is queued once the uplink is told to stop; before it, as long for a connection that is
/// being made.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for DISCONNECT to be sent and for the broker to close the connection upon it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What outlives connections, lent to each of them in turn.
#[derive(Debug)]
pub(super) struct Lasting {
    pub upkeep: Upkeep,
    pub rules: Rules,
    pub recovery: Recovery,
    pub certificate: CertificateWatch,
    pub state: watch::Sender<UplinkState>,
    /// Somebody wants another connection, with the files as they are now.
    pub renew: Arc<AtomicBool>,
    /// If somebody handles what is published to the bridge.
    pub listener: Option<Listener>,
}

/// A connection that the broker has accepted.
#[derive(Debug)]
pub(super) struct Connection {
    options: Options,
    client: Client,
    outbox: Outbox,
    since: Instant,
}

/// What has become of a connection.
#[derive(Debug)]
pub(super) struct Ended {
    pub end: End,
    pub course: Course,
    /// With what was in flight.
    pub outbox: Outbox,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// As it should, after DISCONNECT or at the end of the drain.
    Disconnected,
    /// The same, so that the next has the files as they are now.
    Renewed,
    Fault(Fault),
}

/// How far a connection is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Told to stop; what is queued is still sent.
    Draining {
        until: Instant,
    },
    /// DISCONNECT is submitted, nothing follows it.
    Leaving {
        until: Instant,
        /// For another connection.
        renews: bool,
    },
}

impl Connection {
    /// Looks the name up, connects, shakes hands and waits for the CONNACK. `outbox` makes the outbox for what the broker
    /// takes, and `handler` gets what is published to it. Notes in `reached` how far it gets.
    pub async fn open(
        options: Options,
        tls: Arc<ClientConfig>,
        handler: Option<mpsc::Sender<Arrival>>,
        outbox: impl FnOnce(&Limits) -> Outbox,
        reached: &mut Reached,
    ) -> Result<Self, Fault> {
        match Client::connect_noting(&options, tls, handler, reached).await {
            Ok(client) => {
                let outbox = outbox(client.limits());
                Ok(Connection { options, client, outbox, since: Instant::now() })
            }
            Err(failure) => Err(classify(&failure, Peer::to(&options))),
        }
    }

    /// What it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// When the broker accepted it.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Sends what the queue has until the connection ends or the uplink is told to stop.
    pub async fn serve(mut self, lasting: &mut Lasting, shutdown: &mut Shutdown<'_>) -> Ended {
        lasting.note_limits(self.client.limits());
        lasting.listener.iter_mut().for_each(Listener::connected);
        if lasting.rules.without_aliases {
            self.client.without_aliases();
        }
        let end = match self.serve_until_end(lasting, shutdown).await {
            Ok(end) => end,
            Err(failure) => {
                let fault = classify(&failure, Peer::connected(&self.options));
                lasting.rules.failed(&failure, &fault, Instant::now());
                End::Fault(fault)
            }
        };
        Ended { end, course: self.outbox.course(self.since, Instant::now()), outbox: self.outbox }
    }

    async fn serve_until_end(&mut self, lasting: &mut Lasting, shutdown: &mut Shutdown<'_>) -> Result<End, Failure> {
        let Connection { options, client, outbox, since } = self;
        let queue = Arc::clone(&lasting.upkeep.queue);
        let mut stage = Stage::Serving;
        loop {
            if matches!(stage, Stage::Draining { .. }) && queue.is_empty() {
                stage = leave(outbox, client, &lasting.rules.suspects, false);
            }
            let is_leaving = matches!(stage, Stage::Leaving { .. });
            let holds = stage == Stage::Serving && lasting.hold(client, outbox, Instant::now())?;
            if !is_leaving && !holds {
                outbox.feed(client, &mut lasting.rules, &queue, Instant::now);
            }
            let may_feed = outbox.wants_more(&lasting.rules.suspects) && !is_leaving && !holds;
            let resume = outbox.resume().filter(|_| !holds);
            tokio::select! {
                event = client.next() => match (event, stage) {
                    (Ok(Event::Tick), _) => {
                        let now = Instant::now();
                        lasting.upkeep.tick();
                        outbox.settle(&mut lasting.rules.suspects, now);
                        lasting.note_progress(options, outbox, *since, now);
                        match stage {
                            Stage::Serving if lasting.renew.load(Ordering::Relaxed) => {
                                stage = leave(outbox, client, &lasting.rules.suspects, true);
                            }
                            Stage::Draining { until } if now >= until => {
                                stage = leave(outbox, client, &lasting.rules.suspects, false);
                            }
                            Stage::Leaving { until, renews } if now >= until => return Ok(left(renews)),
                            _ if outbox.window.is_overdue(now) => {
                                return Ok(End::Fault(overdue(&outbox.window, options.ack_timeout)));
                            }
                            _ => {}
                        }
                    }
                    (Ok(Event::Subscribed { packet_id, answers }), _) => {
                        let now = Instant::now();
                        lasting.listener.iter_mut().for_each(|listener| listener.answered(packet_id, &answers, now));
                    }
                    (Ok(Event::Missed { topic }), _) => {
                        lasting.listener.iter_mut().for_each(|listener| listener.missed(&topic, Instant::now()));
                    }
                    (Ok(event), _) => outbox.note(event, client, &mut lasting.rules, &queue, Instant::now())?,
                    (Err(_), Stage::Leaving { renews, .. }) => return Ok(left(renews)),
                    (Err(failure), _) => return Err(failure),
                },
                // Each of these is a reason to feed.
                () = ready(&queue, outbox, &lasting.rules.suspects), if may_feed => {}
                () = sleep_until(resume.unwrap_or(*since).into()), if resume.is_some() => {}
                () = shutdown.requested(), if stage == Stage::Serving => {
                    lasting.state.send_modify(|state| state.phase = Phase::Draining);
                    queue.stop_lingering();
                    stage = Stage::Draining { until: Instant::now() + DRAIN_TIMEOUT };
                }
            }
        }
    }
}

impl Lasting {
    /// Has `client` ask for what is to be subscribed to. Returns whether nothing else may be sent for now.
    fn hold(&mut self, client: &mut Client, outbox: &Outbox, now: Instant) -> Result<bool, Failure> {
        let Some(listener) = &mut self.listener else { return Ok(false) };
        listener.hold(client, outbox.thing(), outbox.is_clear(), now)
    }

    /// A connection stands since `since`: takes note of that, and tells what needs somebody.
    fn note_progress(&mut self, options: &Options, outbox: &Outbox, since: Instant, now: Instant) {
        if self.recovery.stands(now.saturating_duration_since(since), &mut self.rules) {
            connection_log::log_connected(options);
        }
        self.rules.expire(now);
        self.certificate.tick(now);
        self.listener.iter_mut().for_each(|listener| listener.tick(now));
        let outgrown: Vec<_> = outbox.topics_outgrown().collect();
        self.note_remarks(outbox.thing(), &outgrown, now);
    }

    /// A connection of `client_id` has ended. Returns the fault, if it is one, as [`Recovery::ended`] does.
    pub fn ended(&mut self, ended: Ended, client_id: &str, now: Instant) -> Option<Fault> {
        let thing = ended.outbox.thing().to_owned();
        let is_close = matches!(&ended.end, End::Fault(fault) if fault.is_close());
        let over_filter =
            self.listener.as_mut().map_or(Blame::None, |listener| listener.connection_ended(is_close, now));
        let fault = self.recovery.ended(ended, over_filter, client_id, &mut self.rules, &self.upkeep.queue, now);
        self.note_remarks(&thing, &[], now);
        fault
    }

    /// Tells in the state what needs somebody. `outgrown` are the topics whose packets are too large for a connection that
    /// stands.
    fn note_remarks(&self, thing: &str, outgrown: &[String], now: Instant) {
        let set_aside = self.rules.suspects.set_aside();
        let filled = |topic: &String| fill_thing(topic, thing).into_owned();
        let set_aside: Vec<_> = set_aside.iter().chain(outgrown).map(filled).collect();
        let (contested, slowed) = (self.recovery.is_contested(), self.rules.pacer.throttle.is_slow(now));
        if self.state.borrow().slowed && !slowed {
            connection_log::log_slowed_no_more();
        }
        let listener = self.listener.as_ref();
        let (refused_filters, missed) =
            listener.map(|listener| (listener.refused(), listener.missed_in_all())).unwrap_or_default();
        self.state.send_if_modified(|state| {
            let before = (&state.set_aside, &state.refused_filters, state.contested, state.slowed, state.missed);
            let changed = before != (&set_aside, &refused_filters, contested, slowed, missed);
            (state.set_aside, state.refused_filters) = (set_aside, refused_filters);
            (state.contested, state.slowed, state.missed) = (contested, slowed, missed);
            changed
        });
    }

    /// Says what the broker lacks, if that is news.
    fn note_limits(&self, limits: &Limits) {
        let lacks = limits.lacks();
        if self.state.borrow().broker_lacks != lacks {
            connection_log::log_limits(&lacks);
            self.state.send_modify(|state| state.broker_lacks = lacks);
        }
    }
}

fn left(renews: bool) -> End {
    if renews { End::Renewed } else { End::Disconnected }
}

/// Waits until a record may be leased. To be asked anew several times a second, because topics are set aside for a time.
async fn ready(queue: &Queue, outbox: &Outbox, suspects: &Suspects) {
    let now = Instant::now();
    queue.ready_where(&|route| outbox.permits(route, suspects, now)).await;
}

/// Takes leave of the broker; nothing follows that.
fn leave(outbox: &mut Outbox, client: &mut Client, suspects: &Suspects, renews: bool) -> Stage {
    outbox.leave(client, suspects);
    Stage::Leaving { until: Instant::now() + FAREWELL, renews }
}

fn overdue(window: &Window, ack_timeout: Duration) -> Fault {
    Fault::new(
        FaultKind::AckOverdue,
        format!(
            "the broker has not acknowledged {} within {} s",
            match window.len() {
                1 => "the publish in flight".to_owned(),
                several => format!("the oldest of {several} publishes in flight"),
            },
            ack_timeout.as_secs_f64()
        ),
    )
}
