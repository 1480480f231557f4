//! An MQTT client for one connection, of version 3.1.1 or 5: nobody else knows which.
//!
//! It has a TCP connection of our own making (`dial`), TLS on it, and rumqttc's codecs on that (`wire`). It holds no more
//! than it is given, resends nothing, and is of no use any more after its first error: the queue owns what is not
//! acknowledged, and the next connection has a new client.
//!
//! Whoever has a client calls [`Client::next`] in a loop: it writes, reads and keeps the connection alive. It may be given up
//! and called again at any moment; nothing is lost between.

mod aliases;
mod arrival;
#[cfg(feature = "fuzzing")]
pub(super) mod hostile;
mod limits;
mod message;
mod reason;
mod size;
mod subscription;
mod wire;

use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use arrival::{Arrival, Properties, Settled};
pub use limits::Limits;
pub use message::Message;
pub use reason::Reason;
pub use size::publish_size;
pub use wire::ServerReason;

use super::dial::{DialFailure, dial};
use super::{Broker, CONNECT_TIMEOUT, Options, TICK};
use crate::config::{Qos, Version};
use crate::tally::ticks;
use aliases::{Aliases, Naming};
use arrival::Arrivals;
use wire::{Incoming, Malformed, Publish};

/// Packets are encoded until so many bytes wait for the socket; what is behind them keeps its payload in the queue's
/// own memory.
const ENOUGH_TO_WRITE: usize = 32 * 1024;

/// Bytes of room for each read.
const READ: usize = 4 * 1024;

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Dial(#[from] DialFailure),
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// Nobody has answered with a CONNACK within [`CONNECT_TIMEOUT`].
    #[error("no connection in time")]
    TooLate,
    /// The CONNACK of MQTT 3.1.1 refuses.
    #[error("refused with return code {0}")]
    RefusedV4(u8),
    /// The CONNACK of MQTT 5 refuses.
    #[error("refused: {}", .0.reason)]
    Refused(ServerReason),
    /// The broker has said DISCONNECT.
    #[error("disconnected: {}", .0.reason)]
    Disconnected(ServerReason),
    /// The connection has ended without a word.
    #[error("the connection has ended")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nothing has come since a ping.
    #[error("a ping was not answered")]
    NoAnswer,
    /// The socket has taken nothing for [`CONNECT_TIMEOUT`].
    #[error("nothing can be written")]
    Stalled,
    #[error("{0}")]
    Protocol(String),
}

impl From<Malformed> for Failure {
    fn from(Malformed(what): Malformed) -> Self {
        Failure::Protocol(what)
    }
}

/// What has happened.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Of the publishes submitted, the next has been handed to the connection. QoS 0 has no packet identifier.
    Sent { packet_id: Option<u16> },
    /// A PUBACK.
    Acknowledged { packet_id: u16, answer: ServerReason },
    /// A SUBACK: of each filter in turn the QoS that is granted, or why it is not.
    Subscribed { packet_id: u16, answers: Vec<Result<Qos, Reason>> },
    /// Half a second has passed.
    Tick,
    /// Something that was published to the client has been handed over.
    Arrived,
    /// Something that was published to the client came when there was no room for it, and nobody gets it.
    Missed { topic: String },
}

/// How far an attempt to connect has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// There was a TCP connection: to the broker, or to the proxy.
    pub connected: bool,
    /// The address that has taken the TCP connection: the broker's, or that of the proxy.
    pub address: Option<SocketAddr>,
    /// The version of TLS, such as `1.3`, once the broker's certificate has been accepted. What the broker thinks of the
    /// client's certificate comes after that with TLS 1.3.
    pub tls: Option<&'static str>,
    /// The CONNECT has been handed to the socket.
    pub asked: bool,
    /// The broker has answered with a CONNACK, whatever it says.
    pub answered: bool,
}

#[derive(Debug)]
pub struct Client {
    version: Version,
    stream: TlsStream<TcpStream>,
    limits: Limits,
    aliases: Aliases,
    /// Packet identifier of the last publish.
    last_id: u16,
    /// Packet identifiers that are not acknowledged.
    in_use: HashSet<u16>,
    /// Submitted and not encoded.
    submitted: VecDeque<Publish>,
    leaving: Leaving,
    /// The way to who handles what is published to the client.
    arrivals: Option<Arrivals>,
    unwritten: BytesMut,
    /// The socket may hold back what it has taken.
    unflushed: bool,
    /// Publishes that are encoded and not handed over in full: the number of their last byte, and their identifiers.
    encoded: VecDeque<(u64, u16)>,
    /// Bytes encoded and written since the connection stands.
    encoded_bytes: u64,
    written_bytes: u64,
    /// When the socket last took something, or had nothing to take.
    last_write: Instant,
    unread: BytesMut,
    accepted: bool,
    events: VecDeque<Event>,
    /// What ended the connection, once `events` are told.
    end: Option<Failure>,
    /// Nothing can be written any more. It ends the connection once everything that has come is told: whoever can't be
    /// written to may have said why.
    unwritable: Option<Failure>,
    pings: Pings,
    ticks: Interval,
    /// A tick was told, upon which the link is looked at.
    is_due: bool,
}

/// How far the client is with DISCONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It follows what is submitted.
    Asked,
    /// It is encoded, and nothing may follow.
    Said,
}

/// When to ask the broker whether it is there.
#[derive(Debug)]
struct Pings {
    every: Duration,
    next: Instant,
    /// A ping was sent, and nothing has come since.
    unanswered: bool,
}

impl Client {
    /// Looks the name up, connects, shakes hands with `tls` (see [`super::tls::load`]) and waits for the CONNACK. What is
    /// published to the client goes to `handler`, a channel whose capacity bounds it (see [`Arrival`]); without one, nothing
    /// may be subscribed to.
    pub async fn connect(
        options: &Options,
        tls: Arc<ClientConfig>,
        handler: Option<mpsc::Sender<Arrival>>,
    ) -> Result<Client, Failure> {
        Client::connect_noting(options, tls, handler, &mut Reached::default()).await
    }

    /// As [`Client::connect`]; notes in `reached` how far it gets.
    pub async fn connect_noting(
        options: &Options,
        tls: Arc<ClientConfig>,
        handler: Option<mpsc::Sender<Arrival>>,
        reached: &mut Reached,
    ) -> Result<Client, Failure> {
        timeout(CONNECT_TIMEOUT, connect(options, tls, handler, reached)).await.unwrap_or(Err(Failure::TooLate))
    }

    fn new(
        version: Version,
        stream: TlsStream<TcpStream>,
        ping_every: Duration,
        handler: Option<mpsc::Sender<Arrival>>,
    ) -> Self {
        let now = Instant::now();
        Client {
            version,
            stream,
            limits: Limits::default(),
            aliases: Aliases::new(0),
            last_id: 0,
            in_use: HashSet::new(),
            submitted: VecDeque::new(),
            leaving: Leaving::No,
            arrivals: handler.map(Arrivals::new),
            unwritten: BytesMut::new(),
            unflushed: false,
            encoded: VecDeque::new(),
            encoded_bytes: 0,
            written_bytes: 0,
            last_write: now,
            unread: BytesMut::new(),
            accepted: false,
            events: VecDeque::new(),
            end: None,
            unwritable: None,
            pings: Pings { every: ping_every, next: now + ping_every, unanswered: false },
            ticks: ticks(TICK),
            is_due: false,
        }
    }

    /// What the broker takes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Uses no topic aliases any more.
    pub fn without_aliases(&mut self) {
        self.aliases = Aliases::new(0);
    }

    /// `message` as the broker takes it.
    fn within_limits<'a>(&self, message: &Message<'a>) -> Message<'a> {
        let qos = if self.limits.qos == Qos::AtMostOnce { Qos::AtMostOnce } else { message.qos };
        Message { qos, retain: message.retain && self.limits.retain, ..*message }
    }

    /// Most bytes that the packet of `message` can have with a payload of `payload` bytes in the place of its own.
    pub fn size_with(&self, message: &Message<'_>, payload: usize) -> usize {
        publish_size(self.version, message, payload, self.limits.topic_aliases > 0)
    }

    /// Takes `message` over, behind all that was submitted before. Returns how many bytes its packet has.
    pub fn publish(&mut self, message: &Message<'_>) -> usize {
        let message = &self.within_limits(message);
        let packet_id = match message.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => self.next_id(),
        };
        let (topic, alias) = match self.aliases.name(message.topic) {
            Naming::Topic => (message.topic, None),
            Naming::Introduced(alias) => (message.topic, Some(alias)),
            Naming::Alias(alias) => ("", Some(alias)),
        };
        self.submitted.push_back(Publish::new(self.version, message, packet_id, topic, alias));
        let payload = message.payload.len();
        publish_size(self.version, &Message { topic, ..*message }, payload, alias.is_some())
    }

    /// Asks for what is published to `filters`, of which AWS IoT Core takes 8 at a time, each with the highest QoS with which
    /// something may come. Returns the packet identifier, which [`Event::Subscribed`] brings back.
    ///
    /// # Errors
    /// If a filter is longer than a packet can hold. Nothing is asked for then.
    pub fn subscribe(&mut self, filters: &[(&str, Qos)]) -> Result<u16, Failure> {
        let packet_id = self.next_id();
        let mut packet = BytesMut::new();
        subscription::write_subscribe(self.version, packet_id, filters, &mut packet)?;
        self.encode_raw(&packet);
        Ok(packet_id)
    }

    /// Asks for nothing more of what is published to `filters`, of which AWS IoT Core takes 8 at a time.
    ///
    /// # Errors
    /// As [`Client::subscribe`].
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Result<(), Failure> {
        let packet_id = self.next_id();
        let mut packet = BytesMut::new();
        subscription::write_unsubscribe(self.version, packet_id, filters, &mut packet)?;
        self.encode_raw(&packet);
        Ok(())
    }

    /// The broker has not taken a publish to `topic`.
    pub fn was_refused(&mut self, topic: &str) {
        self.aliases.introduce_again(topic);
    }

    /// Says DISCONNECT behind all that was submitted.
    pub fn disconnect(&mut self) {
        self.leaving = Leaving::Asked;
    }

    /// Writes what is submitted, reads what comes, keeps the connection alive, and returns what happens next, be it that
    /// time has passed ([`Event::Tick`]).
    ///
    /// May be given up and called again at any moment; nothing is lost between.
    ///
    /// # Errors
    /// What has ended the connection.
    pub async fn next(&mut self) -> Result<Event, Failure> {
        if std::mem::take(&mut self.is_due) {
            self.keep_alive(Instant::now())?;
        }
        poll_fn(|cx| {
            // First, so that a busy connection is looked at as well.
            if self.ticks.poll_tick(cx).is_ready() {
                self.is_due = true;
                return Poll::Ready(Ok(Event::Tick));
            }
            self.poll_next(cx)
        })
        .await
    }

    /// Pings when it is time, and tells whether the link is dead.
    fn keep_alive(&mut self, now: Instant) -> Result<(), Failure> {
        if self.unwritten.is_empty() {
            self.last_write = now;
        }
        if now.saturating_duration_since(self.last_write) >= CONNECT_TIMEOUT {
            return Err(Failure::Stalled);
        }
        if now < self.pings.next {
            return Ok(());
        }
        if self.pings.unanswered {
            return Err(Failure::NoAnswer);
        }
        self.pings.next = now + self.pings.every;
        self.pings.unanswered = true;
        self.encode_raw(wire::PING);
        Ok(())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        if self.events.is_empty() && self.end.is_none() {
            self.acknowledge_settled(cx);
            if self.unwritable.is_none()
                && let Poll::Ready(Err(failure)) = self.poll_write(cx)
            {
                self.unwritable = Some(failure);
            }
            while self.events.is_empty() && self.end.is_none() {
                // One packet at a time, so that a handler that calls this has its turn between two arrivals.
                match self.poll_packet(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(failure)) => self.end = Some(failure),
                    Poll::Pending => {
                        self.end = self.unwritable.take();
                        break;
                    }
                }
            }
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(Ok(event)),
            None => self.end.take().map_or(Poll::Pending, |failure| Poll::Ready(Err(failure))),
        }
    }

    /// Ready when everything is written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            self.encode()?;
            if !self.unwritten.is_empty() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unwritten))?;
                self.unwritten.advance(written);
                self.written_bytes += written as u64;
                self.unflushed = true;
                self.last_write = Instant::now();
                // At once and not when all is written: on a slow link the PUBACKs of the first come long before that.
                while let Some((_, id)) = self.encoded.pop_front_if(|(end, _)| *end <= self.written_bytes) {
                    self.events.push_back(Event::Sent { packet_id: (id > 0).then_some(id) });
                }
            } else if self.unflushed {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                self.unflushed = false;
            } else {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Encodes what is submitted, as long as the socket does not have enough to write.
    fn encode(&mut self) -> Result<(), Failure> {
        while self.unwritten.len() < ENOUGH_TO_WRITE
            && let Some(publish) = self.submitted.pop_front()
        {
            let before = self.unwritten.len();
            publish.write(&mut self.unwritten)?;
            self.encoded_bytes += (self.unwritten.len() - before) as u64;
            self.encoded.push_back((self.encoded_bytes, publish.packet_id()));
        }
        if self.leaving == Leaving::Asked && self.submitted.is_empty() {
            self.leaving = Leaving::Said;
            self.encode_raw(wire::DISCONNECT);
        }
        Ok(())
    }

    fn encode_raw(&mut self, packet: &[u8]) {
        self.unwritten.extend_from_slice(packet);
        self.encoded_bytes += packet.len() as u64;
    }

    /// Has the broker hear of what the handler has taken, or dropped.
    fn acknowledge_settled(&mut self, cx: &mut Context<'_>) {
        while let Some(arrivals) = &mut self.arrivals
            && let Poll::Ready(Some(Settled { packet_id, is_taken })) = arrivals.poll_settled(cx)
        {
            match self.version {
                _ if is_taken => self.acknowledge(packet_id, Reason::SUCCESS),
                Version::V5 => self.acknowledge(packet_id, Reason::IMPLEMENTATION_SPECIFIC),
                Version::V3_1_1 => {}
            }
        }
    }

    fn acknowledge(&mut self, packet_id: u16, reason: Reason) {
        if self.leaving != Leaving::Said {
            let mut packet = BytesMut::new();
            subscription::write_puback(self.version, packet_id, reason, &mut packet);
            self.encode_raw(&packet);
        }
    }

    /// Ready when a packet has been taken.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if let Some(incoming) = wire::read(self.version, &mut self.unread)? {
                return Poll::Ready(self.take(incoming));
            }
            self.unread.reserve(READ);
            let read = ready!(pin!(self.stream.read_buf(&mut self.unread)).poll(cx))?;
            if read == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
            self.pings.unanswered = false;
        }
    }

    fn take(&mut self, incoming: Incoming) -> Result<(), Failure> {
        match (incoming, self.accepted) {
            (Incoming::Accepted(limits), false) => {
                self.accepted = true;
                self.limits = limits;
                self.aliases = Aliases::new(limits.topic_aliases);
            }
            (Incoming::RefusedV4(code), false) => return Err(Failure::RefusedV4(code)),
            (Incoming::Refused(answer), false) => return Err(Failure::Refused(answer)),
            (Incoming::Disconnect(answer), _) => return Err(Failure::Disconnected(answer)),
            (Incoming::PubAck { packet_id, answer }, true) => {
                self.in_use.remove(&packet_id);
                self.events.push_back(Event::Acknowledged { packet_id, answer });
            }
            (Incoming::SubAck { packet_id, answers }, true) => {
                self.in_use.remove(&packet_id);
                self.events.push_back(Event::Subscribed { packet_id, answers });
            }
            (Incoming::UnsubAck { packet_id }, true) => _ = self.in_use.remove(&packet_id),
            (Incoming::Published(published), true) => {
                let (topic, packet_id) = (published.topic.clone(), published.packet_id);
                let is_handed_over = self.arrivals.as_mut().is_some_and(|arrivals| arrivals.hand_over(published));
                if let (false, Some(packet_id)) = (is_handed_over, packet_id) {
                    self.acknowledge(packet_id, Reason::QUOTA_EXCEEDED);
                }
                self.events.push_back(if is_handed_over { Event::Arrived } else { Event::Missed { topic } });
            }
            (Incoming::Pong, true) => {}
            (Incoming::Accepted(_) | Incoming::RefusedV4(_) | Incoming::Refused(_), true) => {
                return Err(Failure::Protocol("it sent a second CONNACK".into()));
            }
            (_, false) => return Err(Failure::Protocol("it sent something else before its CONNACK".into())),
        }
        Ok(())
    }

    /// Packet identifiers go round; one that is not acknowledged yet is passed over.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.in_use.insert(self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Says CONNECT, of which `asked` takes note, and waits for the CONNACK.
    async fn say_connect(&mut self, options: &Options, keep_alive: u16, asked: &mut bool) -> Result<(), Failure> {
        let (before, receive_max) = (self.unwritten.len(), self.arrivals.as_ref().map(Arrivals::receive_max));
        wire::write_connect(options, keep_alive, receive_max, &mut self.unwritten)?;
        self.encoded_bytes += (self.unwritten.len() - before) as u64;
        poll_fn(|cx| {
            let unwritable = match self.poll_write(cx) {
                Poll::Ready(Err(failure)) => Some(failure),
                Poll::Ready(Ok(())) => {
                    *asked = true;
                    None
                }
                Poll::Pending => None,
            };
            while !self.accepted {
                match self.poll_packet(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending => return unwritable.map_or(Poll::Pending, |failure| Poll::Ready(Err(failure))),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

async fn connect(
    options: &Options,
    tls: Arc<ClientConfig>,
    handler: Option<mpsc::Sender<Arrival>>,
    reached: &mut Reached,
) -> Result<Client, Failure> {
    (reached.connected, reached.asked, reached.answered) = (false, false, false);
    let Broker { host, port, .. } = &options.broker;
    let name = ServerName::try_from(host.clone()).map_err(|error| Failure::Protocol(error.to_string()))?;
    let stream = dial(host, *port, options.proxy.as_ref(), options.keep_alive, &mut reached.connected).await?;
    reached.address = stream.peer_addr().ok();
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(Failure::Handshake)?;
    reached.tls = Some(tls_version(&stream));
    let ping_every = ping_interval(options.keep_alive);
    let mut client = Client::new(options.version, stream, ping_every, handler);
    let keep_alive = ping_every.as_secs().try_into().unwrap_or(u16::MAX);
    let answer = client.say_connect(options, keep_alive, &mut reached.asked).await;
    let is_refusal = matches!(&answer, Err(Failure::RefusedV4(_) | Failure::Refused(_)));
    reached.answered = answer.is_ok() || is_refusal;
    answer?;
    if let Some(keep_alive) = client.limits.keep_alive {
        client.pings.every = ping_every.min(ping_interval(keep_alive));
    }
    client.pings.next = Instant::now() + client.pings.every;
    Ok(client)
}

fn tls_version(stream: &TlsStream<TcpStream>) -> &'static str {
    match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        // rustls knows no others.
        _ => "1.3",
    }
}

/// How often the broker is pinged. A connection is given up when a ping is due and nothing has come since the one before
/// it, so a link is found dead after two of these.
fn ping_interval(keep_alive: Duration) -> Duration {
    // MQTT counts whole seconds.
    Duration::from_secs((keep_alive.as_secs() / 2).max(1))
}

#[cfg(test)]
mod tests;
