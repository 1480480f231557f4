//! One connection, from its CONNECT to its end.
//!
//! This loop feeds the client, watches deadlines, beats, and takes note of what the client reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::time::sleep_until;

use super::early_close::Course;
use super::outbox::Outbox;
use super::shutdown::Shutdown;
use super::state::Phase;
use super::suspects::Suspects;
use super::window::Window;
use super::{DRAIN_TIMEOUT, Uplink, tend};
use crate::config::Mqtt;
use crate::mqtt::Options;
use crate::mqtt::client::{Client, Failure, Limits};
use crate::mqtt::ticks;
use crate::mqtt::{Fault, FaultKind};
use crate::queue::Queue;

/// Longest wait for DISCONNECT to be sent and for the broker to close the connection upon it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection that the broker has accepted.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    outbox: Outbox,
}

/// How a connection ended.
pub(super) enum End {
    /// As it should, after DISCONNECT or at the end of the drain.
    Disconnected,
    Fault(Fault),
}

/// How far a connection is with its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// Told to stop; what is queued is still sent.
    Draining {
        until: Instant,
    },
    /// DISCONNECT is submitted, nothing follows it.
    Leaving {
        until: Instant,
    },
}

impl Connection {
    /// Looks the name up, connects, shakes hands and waits for the CONNACK.
    pub async fn open(
        options: &Options,
        tls: Arc<ClientConfig>,
        outbox: impl FnOnce(&Limits) -> Outbox,
    ) -> Result<Self, Failure> {
        let client = Client::connect(options, tls).await?;
        let outbox = outbox(client.limits());
        Ok(Connection { client, outbox })
    }

    /// Sends what the queue has until the connection ends or the uplink is told to stop. Answers what was in flight then.
    pub async fn serve(
        mut self,
        uplink: &mut Uplink,
        since: Instant,
        shutdown: &mut Shutdown<'_>,
    ) -> (End, Course, Outbox) {
        let end = self.serve_until_end(uplink, since, shutdown).await;
        let window = &self.outbox.window;
        let course = Course {
            lasted: since.elapsed(),
            acknowledged: window.acknowledged(),
            in_flight: window.len(),
            last_puback: window.last_puback().map(|at| at.saturating_duration_since(since)),
        };
        (end, course, self.outbox)
    }

    async fn serve_until_end(&mut self, uplink: &mut Uplink, since: Instant, shutdown: &mut Shutdown<'_>) -> End {
        let Connection { client, outbox } = self;
        if uplink.rules.without_aliases {
            client.without_aliases();
        }
        uplink.note_limits(client.limits());
        let queue = uplink.queue.clone();
        let (mut stage, mut ticks) = (Stage::Serving, ticks());
        loop {
            if matches!(stage, Stage::Draining { .. }) && queue.is_empty() {
                stage = leave(outbox, client, &uplink.rules.suspects);
            }
            let is_leaving = matches!(stage, Stage::Leaving { .. });
            if !is_leaving {
                outbox.feed(client, &mut uplink.rules, &queue, Instant::now);
            }
            let may_feed = outbox.wants_more(&uplink.rules.suspects) && !is_leaving;
            let resume = outbox.resume();
            tokio::select! {
                event = client.poll() => match event {
                    Ok(event) => {
                        let noted = outbox.note(event, client, &mut uplink.rules, &queue, Instant::now());
                        if let Err(failure) = noted {
                            return End::Fault(uplink.fault_of(&failure));
                        }
                    }
                    Err(_) if is_leaving => return End::Disconnected,
                    Err(failure) => return End::Fault(uplink.fault_of(&failure)),
                },
                // Each of these is a reason to feed.
                () = ready(&queue, outbox, &uplink.rules.suspects), if may_feed => {}
                () = sleep_until(resume.unwrap_or(since).into()), if resume.is_some() => {}
                () = shutdown.requested(), if stage == Stage::Serving => {
                    uplink.set_phase(Phase::Draining);
                    queue.stop_lingering();
                    stage = Stage::Draining { until: Instant::now() + DRAIN_TIMEOUT };
                }
                _ = ticks.tick() => {
                    let now = Instant::now();
                    tend(&queue, &uplink.heartbeat);
                    outbox.settle(&mut uplink.rules.suspects, now);
                    uplink.note_progress(outbox, since, now);
                    match stage {
                        Stage::Serving if uplink.renew.load(Ordering::Relaxed) => {
                            stage = leave(outbox, client, &uplink.rules.suspects);
                        }
                        Stage::Draining { until } if now >= until => {
                            stage = leave(outbox, client, &uplink.rules.suspects);
                        }
                        Stage::Leaving { until } if now >= until => return End::Disconnected,
                        _ if outbox.window.is_overdue(now) => {
                            return End::Fault(overdue(&outbox.window, &uplink.mqtt));
                        }
                        _ => {}
                    }
                    if let Err(failure) = client.tick(now) {
                        return End::Fault(uplink.fault_of(&failure));
                    }
                }
            }
        }
    }
}

/// Waits until a record may be leased. To be asked anew several times a second, because topics are set aside for a time.
async fn ready(queue: &Queue, outbox: &Outbox, suspects: &Suspects) {
    let now = Instant::now();
    queue.ready_where(&|route| outbox.permits(route, suspects, now)).await;
}

/// Takes leave of the broker; nothing follows that.
fn leave(outbox: &mut Outbox, client: &mut Client, suspects: &Suspects) -> Stage {
    outbox.leave(client, suspects);
    Stage::Leaving { until: Instant::now() + FAREWELL }
}

fn overdue(window: &Window, mqtt: &Mqtt) -> Fault {
    Fault::new(
        FaultKind::AckOverdue,
        format!(
            "the broker has not acknowledged the oldest of {} publishes in flight within {} s",
            window.len(),
            mqtt.ack_timeout.as_secs_f64()
        ),
    )
}
