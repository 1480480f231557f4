//! One connection, from its CONNECT to its end.
//!
//! The client's `poll` is never cancelled but to tear the connection down: it records a packet as sent before it has
//! written it. So each call lives until it is ready, while this loop feeds, watches deadlines and beats beside it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Outgoing, QoS};
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;

use super::early_close::Course;
use super::fault::{Fault, FaultKind, Peer, classify};
use super::shutdown::Shutdown;
use super::state::Phase;
use super::stopwatch::Stopwatch;
use super::window::Window;
use super::{CONNECT_TIMEOUT, DRAIN_TIMEOUT, MAX_PACKET, Uplink, tend, ticks};
use crate::config::{Aws, Mqtt, Qos};
use crate::health::DropReason;
use crate::queue::{Lease, Queue};
use crate::shaping::PAYLOAD_LIMIT;

/// Packet identifiers before the client starts again from 1. Ten windows and more, so that an identifier is free again
/// long before its turn comes, even if PUBACKs come out of order.
const PACKET_IDS: u16 = 1000;

/// Longest wait for DISCONNECT to be sent and for the broker to close the connection upon it.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client that has never been used before and never will be again.
pub(super) struct Connection {
    client: AsyncClient,
    event_loop: EventLoop,
    window: Window,
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
    pub fn new(aws: &Aws, mqtt: &Mqtt, tls: Arc<ClientConfig>) -> Self {
        let mut options = MqttOptions::new(&aws.client_id, &aws.endpoint, aws.port);
        options
            .set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)))
            .set_keep_alive(mqtt.keep_alive)
            .set_clean_session(true)
            .set_inflight(PACKET_IDS)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET);
        // Room for the whole window and DISCONNECT, so that submitting never waits.
        let (client, mut event_loop) = AsyncClient::new(options, mqtt.in_flight + 1);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
        event_loop.set_network_options(network);
        Connection { client, event_loop, window: Window::new(mqtt.in_flight, mqtt.ack_timeout) }
    }

    /// Looks the name up, connects, shakes hands and waits for the CONNACK.
    pub async fn establish(&mut self) -> Result<(), ConnectionError> {
        // The first event of a client is the CONNACK that accepts it; everything else is an error.
        self.event_loop.poll().await.map(|_connack| ())
    }

    /// Sends what the queue has until the connection ends or the uplink is told to stop.
    pub async fn serve(mut self, uplink: &mut Uplink, since: Instant, shutdown: &mut Shutdown<'_>) -> (End, Course) {
        let end = self.serve_until_end(uplink, since, shutdown).await;
        let course =
            Course { lasted: since.elapsed(), acknowledged: self.window.acknowledged(), in_flight: self.window.len() };
        (end, course)
    }

    async fn serve_until_end(&mut self, uplink: &mut Uplink, since: Instant, shutdown: &mut Shutdown<'_>) -> End {
        let Connection { client, event_loop, window } = self;
        let queue = uplink.queue.clone();
        let mut stopwatch = Stopwatch::new(Arc::clone(&uplink.meter));
        let (mut stage, mut ticks) = (Stage::Serving, ticks());
        loop {
            if let Err(fault) = feed(client, window, &mut stopwatch, &queue, stage) {
                return End::Fault(fault);
            }
            if matches!(stage, Stage::Draining { .. }) && queue.is_empty() {
                stage = leave(client);
            }
            let event = {
                let mut poll = pin!(event_loop.poll());
                loop {
                    let may_feed = window.has_room() && !matches!(stage, Stage::Leaving { .. });
                    tokio::select! {
                        event = &mut poll => break event,
                        () = queue.ready(), if may_feed => {
                            if let Err(fault) = feed(client, window, &mut stopwatch, &queue, stage) {
                                return End::Fault(fault);
                            }
                        }
                        () = shutdown.requested(), if stage == Stage::Serving => {
                            uplink.set_phase(Phase::Draining);
                            stage = match queue.is_empty() {
                                true => leave(client),
                                false => Stage::Draining { until: Instant::now() + DRAIN_TIMEOUT },
                            };
                        }
                        _ = ticks.tick() => {
                            let now = Instant::now();
                            tend(&queue, &uplink.heartbeat);
                            uplink.note_stability(since, now);
                            match stage {
                                Stage::Serving if uplink.renew.load(Ordering::Relaxed) => stage = leave(client),
                                Stage::Draining { until } if now >= until => stage = leave(client),
                                Stage::Leaving { until } if now >= until => return End::Disconnected,
                                _ if window.is_overdue(now) => return End::Fault(overdue(window, &uplink.mqtt)),
                                _ => {}
                            }
                        }
                    }
                }
            };
            match event {
                Ok(event) => note(&event, window, &mut stopwatch, &queue),
                Err(error) => {
                    // PUBACKs that came in the same read as the end. A publish that failed to be sent is in there too.
                    for event in std::mem::take(&mut event_loop.state.events) {
                        if matches!(event, Event::Incoming(_)) {
                            note(&event, window, &mut stopwatch, &queue);
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

/// Submits records while the window has room and the queue has some.
fn feed(
    client: &AsyncClient,
    window: &mut Window,
    stopwatch: &mut Stopwatch,
    queue: &Queue,
    stage: Stage,
) -> Result<(), Fault> {
    if matches!(stage, Stage::Leaving { .. }) {
        return Ok(());
    }
    while window.has_room() {
        let now = Instant::now();
        let Some(lease) = queue.lease(now) else { break };
        if lease.record.payload.len() > PAYLOAD_LIMIT {
            // The broker would close the connection over it, now and whenever it is sent again.
            queue.discard(lease.id, DropReason::TooLarge, now);
            continue;
        }
        if !submit(client, &lease) {
            return Err(Fault::new(FaultKind::Protocol, "the MQTT client takes no publish".into()));
        }
        window.submit(lease.id);
        stopwatch.submitted(&lease);
    }
    Ok(())
}

fn submit(client: &AsyncClient, lease: &Lease) -> bool {
    let route = &lease.record.route;
    let qos = match route.qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    };
    // The one call that takes the payload without copying it waits for room, of which there always is.
    let publish = pin!(client.publish_bytes(&route.mqtt, qos, route.retain, lease.record.payload.clone()));
    matches!(publish.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
}

/// Submits DISCONNECT behind everything else.
fn leave(client: &AsyncClient) -> Stage {
    // It cannot fail: the channel has room for it beside the window. If it did, FAREWELL would end the wait.
    let _ = client.try_disconnect();
    Stage::Leaving { until: Instant::now() + FAREWELL }
}

fn note(event: &Event, window: &mut Window, stopwatch: &mut Stopwatch, queue: &Queue) {
    let done = match event {
        Event::Outgoing(Outgoing::Publish(packet_id)) => window.sent(*packet_id, Instant::now()),
        Event::Incoming(Incoming::PubAck(ack)) => window.acknowledge(ack.pkid, Instant::now()),
        _ => None,
    };
    if let Some(lease) = done {
        queue.acknowledge(lease);
        stopwatch.done(lease);
    }
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
