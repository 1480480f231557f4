//! One connection at the broker, from its CONNECT to its end.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::tokio_rustls::server::TlsStream;
use rumqttc::v5::mqttbytes::v5::{DisconnectReasonCode as Goodbye, PubAckReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, sleep_until, timeout};

use super::delivery::{Held, Message, Outbound};
use super::limits::{LastSecond, Limits};
use super::policy::Account;
use super::provisioning::Principal;
use super::record::{Arrival, Verdict};
use super::wire::{Answer, Connect, Publish, Received, Wire};
use super::{AckFault, Shared, State};

/// What somebody else asks of a connection.
#[derive(Debug)]
pub enum Order {
    /// Close it. MQTT 5 is told why.
    Close(Goodbye),
    /// Neither read nor write any more, and leave it open.
    Freeze,
    Deliver(Held),
    /// Send it, whatever is subscribed to.
    Direct(Held),
}

/// Ends a session.
struct Ended {
    /// Whether the client has said DISCONNECT.
    orderly: bool,
}

const ABRUPT: Ended = Ended { orderly: false };

struct Session {
    shared: Arc<Shared>,
    number: usize,
    wire: Wire,
    limits: Limits,
    client_id: String,
    principal: Principal,
    answers: UnboundedSender<BytesMut>,
    outbound: Outbound,
    aliases: HashMap<u16, String>,
    publishes: LastSecond,
    bytes: LastSecond,
    /// Publishes whose PUBACK is not sent, those whose PUBACK is lost included.
    unacknowledged: Arc<AtomicUsize>,
    count: usize,
    /// Number of the publish whose PUBACK is lost.
    swallowed: Option<usize>,
}

/// Serves a client until it leaves, breaks a rule or is told to go.
pub async fn serve(stream: TlsStream<TcpStream>, shared: Arc<Shared>, principal: Principal) {
    let (mut read, write) = tokio::io::split(stream);
    let mut unread = BytesMut::new();
    let Some((wire, connect)) = connect(&mut read, &mut unread, &shared).await else { return };
    if !shared.fleet_allows(|desk| desk.may_connect(&principal, &connect.client_id))
        || !shared.may(&connect.client_id, |account| account.allows_connect(&connect))
    {
        return;
    }
    let (answers, outgoing) = unbounded_channel();
    let mut writing = pin!(send(write, outgoing));
    let (orders, mut ordered) = unbounded_channel();
    let limits = shared.limits();
    let most = connect.receive_maximum.map_or(limits.unacknowledged, |most| limits.unacknowledged.min(most.into()));
    let mut session = Session {
        shared: shared.clone(),
        number: 0,
        wire,
        limits,
        client_id: connect.client_id,
        principal,
        answers,
        outbound: Outbound::new(most),
        aliases: HashMap::new(),
        publishes: LastSecond::default(),
        bytes: LastSecond::default(),
        unacknowledged: Arc::default(),
        count: 0,
        swallowed: None,
    };
    match shared.admit(&session.client_id, wire, orders) {
        Ok(number) => {
            session.number = number;
            session.swallowed = shared.next_swallowed();
            let silence = session.limits.silence(connect.keep_alive);
            session.say(Answer::Welcome { keep_alive: silence.div_f64(1.5) });
            let ended = tokio::select! {
                ended = session.run(&mut read, &mut unread, &mut ordered, silence) => ended,
                () = &mut writing => return,
            };
            shared.forget(&session.client_id, number);
            if let Some(will) = connect.will.filter(|_| !ended.orderly) {
                shared.publish_will(will.into());
            }
        }
        Err(refusal) => session.say(Answer::Refused(refusal)),
    }
    // What was said last still goes out; a PUBACK that is held back on purpose does not.
    drop(session);
    let _ = timeout(Duration::from_millis(200), writing).await;
}

/// Waits for the CONNECT.
async fn connect(
    read: &mut ReadHalf<TlsStream<TcpStream>>,
    unread: &mut BytesMut,
    shared: &Shared,
) -> Option<(Wire, Connect)> {
    while read.read_buf(unread).await.ok()? > 0 {
        let Some(wire) = Wire::of(unread) else { continue };
        match wire.read(unread, &shared.limits()).ok()? {
            Some(Received::Connect(connect)) => return Some((wire, connect)),
            Some(_) => return None,
            None => {}
        }
    }
    None
}

/// Writes what is said until nobody can say anything any more.
async fn send(mut write: WriteHalf<TlsStream<TcpStream>>, mut outgoing: UnboundedReceiver<BytesMut>) {
    while let Some(bytes) = outgoing.recv().await {
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
    let _ = write.shutdown().await;
}

impl Session {
    async fn run(
        &mut self,
        read: &mut ReadHalf<TlsStream<TcpStream>>,
        unread: &mut BytesMut,
        ordered: &mut UnboundedReceiver<Order>,
        silence: Duration,
    ) -> Ended {
        let mut heard = Instant::now();
        loop {
            loop {
                match self.wire.read(unread, &self.limits) {
                    Ok(Some(received)) => {
                        if let Err(ended) = self.take(received).await {
                            return ended;
                        }
                    }
                    Ok(None) => break,
                    Err(malformed) => {
                        let reason =
                            if malformed.too_large { Goodbye::PacketTooLarge } else { Goodbye::MalformedPacket };
                        self.say(Answer::Goodbye(reason));
                        return ABRUPT;
                    }
                }
            }
            tokio::select! {
                came = read.read_buf(unread) => match came {
                    Ok(1..) => heard = Instant::now(),
                    Ok(0) | Err(_) => return ABRUPT,
                },
                order = ordered.recv() => match order {
                    None => return ABRUPT,
                    Some(Order::Close(reason)) => {
                        self.say(Answer::Goodbye(reason));
                        return ABRUPT;
                    }
                    Some(Order::Freeze) => std::future::pending().await,
                    Some(Order::Deliver(held)) => {
                        // Only a subscription sees old messages as retained.
                        self.deliver(held, false);
                    }
                    Some(Order::Direct(held)) => {
                        if self.may_receive(&held.message.topic) {
                            self.send(held);
                        }
                    }
                },
                () = sleep_until((heard + silence).into()) => {
                    self.shared.with(|state| state.record.silent += 1);
                    self.say(Answer::Goodbye(Goodbye::KeepAliveTimeout));
                    return ABRUPT;
                }
            }
        }
    }

    async fn take(&mut self, received: Received) -> Result<(), Ended> {
        match received {
            Received::Publish(publish) => return self.publish(publish).await,
            Received::Ping => self.say(Answer::Pong),
            Received::PubAck(packet_id, reason) => {
                self.shared.with(|state| state.record.pubacks.push((packet_id, reason)));
                let next = self.outbound.acknowledged(packet_id);
                next.into_iter().for_each(|answer| self.say(answer));
            }
            Received::Subscribe { packet_id, filters } => {
                let (most, in_all) = self.limits.filters;
                if filters.len() > most || self.outbound.count_with(&filters) > in_all {
                    return Err(ABRUPT);
                }
                let names = filters.iter().map(|(filter, _)| filter.clone()).collect();
                self.shared.with(|state| state.record.subscribes.push((self.number, names)));
                let may: Vec<bool> = filters.iter().map(|(filter, _)| self.may_subscribe(filter)).collect();
                if self.wire == Wire::V4 && may.contains(&false) {
                    return Err(ABRUPT);
                }
                let granted = filters.iter().zip(&may).map(|((_, qos), may)| may.then_some(*qos)).collect();
                self.say(Answer::SubAck { packet_id, granted });
                for (filter, qos) in filters.into_iter().zip(may).filter_map(|(filter, may)| may.then_some(filter)) {
                    self.outbound.subscribe(&filter, qos);
                    self.shared.with(|state| state.subscribes(&self.client_id, &filter));
                    if let Some(held) = self.shared.retained(&filter) {
                        self.deliver(held, true);
                    }
                }
            }
            Received::Unsubscribe { packet_id, filters } => {
                self.shared.with(|state| state.record.unsubscribes.push(filters.clone()));
                filters.iter().for_each(|filter| self.outbound.unsubscribe(filter));
                self.say(Answer::UnsubAck { packet_id, count: filters.len() });
            }
            Received::Disconnect => return Err(Ended { orderly: true }),
            Received::Connect(_) => return Err(ABRUPT),
        }
        Ok(())
    }

    async fn publish(&mut self, mut publish: Publish) -> Result<(), Ended> {
        let at = Instant::now();
        if let Some(alias) = publish.alias {
            if alias == 0 || alias > self.limits.topic_aliases {
                self.say(Answer::Goodbye(Goodbye::TopicAliasInvalid));
                return Err(ABRUPT);
            }
            if publish.topic.is_empty() {
                let Some(topic) = self.aliases.get(&alias) else { return Err(ABRUPT) };
                publish.topic = topic.clone();
                publish.properties.by_alias = true;
            } else {
                self.aliases.insert(alias, publish.topic.clone());
            }
        }
        let verdict = self.judge(&publish, at);
        self.shared.note_arrival(Arrival {
            at,
            client_id: self.client_id.clone(),
            connection: self.number,
            topic: publish.topic.clone(),
            payload: publish.payload.clone(),
            size: publish.size,
            qos: publish.qos,
            retain: publish.retain,
            verdict,
            properties: publish.properties.clone(),
        });
        match (verdict, self.wire) {
            (Verdict::Invalid(_), _) | (Verdict::Forbidden, Wire::V4) => return Err(ABRUPT),
            (Verdict::OverWindow, Wire::V5) => {
                self.say(Answer::Goodbye(Goodbye::ReceiveMaximumExceeded));
                return Err(ABRUPT);
            }
            (Verdict::OverRate | Verdict::OverWindow, Wire::V4) => {}
            (Verdict::Forbidden, Wire::V5) => self.acknowledge(&publish, PubAckReason::NotAuthorized),
            (Verdict::Unreadable, _) => self.acknowledge(&publish, PubAckReason::PayloadFormatInvalid),
            (Verdict::OverRate, Wire::V5) => self.acknowledge(&publish, PubAckReason::QuotaExceeded),
            (Verdict::Accepted, _) => self.accept(publish, at).await,
        }
        Ok(())
    }

    fn judge(&mut self, publish: &Publish, at: Instant) -> Verdict {
        let limits = &self.limits;
        if publish.qos > 1 {
            Verdict::Invalid("QoS 2")
        } else if publish.payload.len() > limits.payload {
            Verdict::Invalid("payload too large")
        } else if publish.topic.is_empty() || publish.topic.contains(['+', '#', '\0']) {
            Verdict::Invalid("no topic to publish to")
        } else if !limits.allow_topic(&publish.topic) {
            Verdict::Invalid("topic too long or too deep")
        } else if self.shared.is_forbidden(&publish.topic, publish.retain)
            || !self.shared.fleet_allows(|desk| desk.may_publish(&self.principal, &publish.topic))
            || !self
                .shared
                .may(&self.client_id, |account| account.allows_publish(&self.client_id, &publish.topic, publish.retain))
        {
            Verdict::Forbidden
        } else if self.wire == Wire::V5 && self.shared.cannot_read(&publish.payload) {
            Verdict::Unreadable
        } else if self.unacknowledged.load(Ordering::Relaxed) >= limits.unacknowledged {
            Verdict::OverWindow
        } else if self.publishes.sum(at) >= limits.publishes_per_second {
            Verdict::OverRate
        } else {
            Verdict::Accepted
        }
    }

    /// Passes a publish on and acknowledges it, later where the bytes of the last second ask for it.
    async fn accept(&mut self, publish: Publish, at: Instant) {
        self.publishes.add(at, 1);
        self.count += 1;
        self.bytes.sum(at);
        if let Some(room) = self.bytes.below(self.limits.bytes_per_second.saturating_sub(publish.size)) {
            self.shared.with(|state| state.record.delayed += 1);
            sleep_until(room.into()).await;
        }
        self.bytes.add(Instant::now(), publish.size);
        let asked = |state: &mut State| state.desk.as_mut()?.answer(&publish.topic, &publish.payload);
        if let Some(answer) = self.shared.with(asked) {
            self.acknowledge(&publish, PubAckReason::Success);
            // Wildcards do not reach topics that begin with `$`.
            if let Some((topic, payload)) = answer.filter(|(topic, _)| self.outbound.has(topic)) {
                self.send(Message { topic, payload, ..Message::default() }.into());
            }
            return;
        }
        if self.shared.take_for_shadows(&publish.topic, &publish.payload) {
            self.acknowledge(&publish, PubAckReason::Success);
            return;
        }
        if let Some(answers) = self.shared.take_for_jobs(&publish.topic, &publish.payload) {
            self.acknowledge(&publish, PubAckReason::Success);
            for answer in answers {
                if self.may_receive(&answer.topic) {
                    self.send(answer.into());
                }
            }
            return;
        }
        let Publish { topic, payload, qos, retain, properties, .. } = &publish;
        self.shared.pass_on(Message {
            topic: topic.clone(),
            payload: payload.clone(),
            qos: *qos,
            retain: *retain,
            response_topic: properties.response_topic.clone(),
            correlation_data: properties.correlation_data.clone(),
            content_type: properties.content_type.clone(),
            expires_in: properties.message_expiry,
        });
        self.acknowledge(&publish, PubAckReason::Success);
    }

    fn acknowledge(&mut self, publish: &Publish, reason: PubAckReason) {
        if publish.qos == 0 {
            return;
        }
        let fault = if self.swallowed == Some(self.count) { AckFault::Lost } else { self.shared.ack_fault() };
        let mut bytes = BytesMut::new();
        self.wire.write(Answer::PubAck { packet_id: publish.packet_id, reason }, &self.limits, &mut bytes);
        self.unacknowledged.fetch_add(1, Ordering::Relaxed);
        let (answers, unacknowledged) = (self.answers.clone(), self.unacknowledged.clone());
        match fault {
            AckFault::Lost => {}
            AckFault::Late(by) => {
                _ = tokio::spawn(async move {
                    sleep(by).await;
                    unacknowledged.fetch_sub(1, Ordering::Relaxed);
                    let _ = answers.send(bytes);
                })
            }
            AckFault::None => {
                unacknowledged.fetch_sub(1, Ordering::Relaxed);
                let _ = answers.send(bytes);
            }
        }
    }

    /// Sends it if it is subscribed to, with the QoS that was granted at most.
    fn deliver(&mut self, mut held: Held, retain: bool) {
        let Some(granted) = self.outbound.granted(&held.message.topic) else { return };
        if self.may_receive(&held.message.topic) {
            (held.message.qos, held.message.retain) = (held.message.qos.min(granted), retain);
            self.send(held);
        }
    }

    fn send(&mut self, held: Held) {
        let now = self.outbound.send(held);
        now.into_iter().for_each(|answer| self.say(answer));
    }

    fn may_subscribe(&self, filter: &str) -> bool {
        !self.shared.is_forbidden_filter(filter)
            && self.shared.fleet_allows(|desk| desk.may_subscribe(&self.principal, filter))
            && self.may_do("iot:Subscribe", &format!("topicfilter/{filter}"))
    }

    fn may_receive(&self, topic: &str) -> bool {
        self.may_do("iot:Receive", &format!("topic/{topic}"))
    }

    fn may_do(&self, action: &str, resource: &str) -> bool {
        let denied = || format!("{action} {resource}");
        let allows = |account: &Account| account.allows(&self.client_id, action, resource);
        self.shared.may(&self.client_id, |account| allows(account).then_some(()).ok_or_else(denied))
    }

    fn say(&self, answer: Answer) {
        let mut bytes = BytesMut::new();
        self.wire.write(answer, &self.limits, &mut bytes);
        let _ = self.answers.send(bytes);
    }
}
