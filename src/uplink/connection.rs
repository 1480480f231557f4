//! One connection, from its CONNECT to its end.
//!
//! The client's `poll` is never cancelled but to tear the connection down: it records a packet as sent before it has
//! written it. So each call lives until it is ready, while this loop feeds, watches deadlines and beats beside it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;
use tokio::time::sleep_until;

use super::early_close::Course;
use super::fault::{Fault, FaultKind, Peer, classify};
use super::outbox::Outbox;
use super::presence::last_will;
use super::shutdown::Shutdown;
use super::state::Phase;
use super::suspects::Suspects;
use super::window::Window;
use super::{CONNECT_TIMEOUT, DRAIN_TIMEOUT, MAX_PACKET, Uplink, tend, ticks};
use crate::config::{Aws, Mqtt};
use crate::health::Meter;
use crate::queue::Queue;

/// Packet identifiers before the client starts again from 1. Ten windows and more, so that an identifier is free again
/// long before its turn comes, even if PUBACKs come out of order.
const PACKET_IDS: u16 = 1000;

/// Longest wait for DISCONNECT to be sent and for the broker to close the connection upon it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client that has never been used before and never will be again.
pub(super) struct Connection {
    event_loop: EventLoop,
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
    pub fn new(aws: &Aws, mqtt: &Mqtt, tls: Arc<ClientConfig>, meter: Arc<Meter>) -> Self {
        let mut options = MqttOptions::new(&aws.client_id, &aws.endpoint, aws.port);
        options
            .set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)))
            .set_keep_alive(ping_interval(mqtt.keep_alive))
            .set_clean_session(true)
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET);
        if let Some(will) = last_will(mqtt) {
            options.set_last_will(will);
        }
        // Room for the whole window, the word that the bridge is gone, and DISCONNECT, so that submitting never waits.
        let (client, mut event_loop) = AsyncClient::new(options, mqtt.quotas.in_flight + 2);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
        event_loop.set_network_options(network);
        Connection { event_loop, outbox: Outbox::new(client, mqtt, meter) }
    }

    /// Looks the name up, connects, shakes hands and waits for the CONNACK.
    pub async fn establish(&mut self) -> Result<(), ConnectionError> {
        // The first event of a client is the CONNACK that accepts it; everything else is an error.
        self.event_loop.poll().await.map(|_connack| ())
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
        let course = Course { lasted: since.elapsed(), acknowledged: window.acknowledged(), in_flight: window.len() };
        (end, course, self.outbox)
    }

    async fn serve_until_end(&mut self, uplink: &mut Uplink, since: Instant, shutdown: &mut Shutdown<'_>) -> End {
        let Connection { event_loop, outbox } = self;
        let queue = uplink.queue.clone();
        let (mut stage, mut ticks) = (Stage::Serving, ticks());
        loop {
            if matches!(stage, Stage::Draining { .. }) && queue.is_empty() {
                stage = leave(outbox, &uplink.rules.suspects);
            }
            if !matches!(stage, Stage::Leaving { .. })
                && let Err(fault) = outbox.feed(&mut uplink.rules, &queue)
            {
                return End::Fault(fault);
            }
            let event = {
                let mut poll = pin!(event_loop.poll());
                loop {
                    let may_feed = outbox.wants_more(&uplink.rules.suspects) && !matches!(stage, Stage::Leaving { .. });
                    let resume = outbox.resume();
                    tokio::select! {
                        event = &mut poll => break event,
                        () = ready(&queue, &uplink.rules.suspects), if may_feed => {
                            if let Err(fault) = outbox.feed(&mut uplink.rules, &queue) {
                                return End::Fault(fault);
                            }
                        }
                        () = sleep_until(resume.unwrap_or(since).into()), if resume.is_some() => {
                            if let Err(fault) = outbox.feed(&mut uplink.rules, &queue) {
                                return End::Fault(fault);
                            }
                        }
                        () = shutdown.requested(), if stage == Stage::Serving => {
                            uplink.set_phase(Phase::Draining);
                            queue.stop_lingering();
                            stage = match queue.is_empty() {
                                true => leave(outbox, &uplink.rules.suspects),
                                false => Stage::Draining { until: Instant::now() + DRAIN_TIMEOUT },
                            };
                        }
                        _ = ticks.tick() => {
                            let now = Instant::now();
                            tend(&queue, &uplink.heartbeat);
                            outbox.settle(&mut uplink.rules.suspects, now);
                            uplink.note_progress(since, now);
                            match stage {
                                Stage::Serving if uplink.renew.load(Ordering::Relaxed) => {
                                    stage = leave(outbox, &uplink.rules.suspects);
                                }
                                Stage::Draining { until } if now >= until => stage = leave(outbox, &uplink.rules.suspects),
                                Stage::Leaving { until } if now >= until => return End::Disconnected,
                                _ if outbox.window.is_overdue(now) => {
                                    return End::Fault(overdue(&outbox.window, &uplink.mqtt));
                                }
                                _ => {}
                            }
                            if !matches!(stage, Stage::Leaving { .. })
                                && let Err(fault) = outbox.feed(&mut uplink.rules, &queue)
                            {
                                return End::Fault(fault);
                            }
                        }
                    }
                }
            };
            match event {
                Ok(event) => outbox.note(&event, &mut uplink.rules, &queue),
                Err(error) => {
                    // PUBACKs that came in the same read as the end. A publish that failed to be sent is in there too.
                    for event in std::mem::take(&mut event_loop.state.events) {
                        if matches!(event, Event::Incoming(_)) {
                            outbox.note(&event, &mut uplink.rules, &queue);
                        }
                    }
                    if matches!(stage, Stage::Leaving { .. }) {
                        return End::Disconnected;
                    }
                    return End::Fault(classify(&error, Peer { aws: &uplink.aws, connected: true }));
                }
            }
        }
    }
}

/// How often the broker is pinged. The client gives a connection up when a ping is due and the one before it was not
/// answered, so a link is found dead after two of these.
fn ping_interval(keep_alive: Duration) -> Duration {
    // MQTT counts whole seconds.
    Duration::from_secs((keep_alive.as_secs() / 2).max(1))
}

/// Waits until a record may be leased. To be asked anew several times a second, because topics are set aside for a time.
async fn ready(queue: &Queue, suspects: &Suspects) {
    let now = Instant::now();
    queue.ready_where(&|route| suspects.permit_route(route, now)).await;
}

/// Takes leave of the broker; nothing follows that.
fn leave(outbox: &mut Outbox, suspects: &Suspects) -> Stage {
    outbox.leave(suspects);
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
