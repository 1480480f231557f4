//! A broker that behaves like AWS IoT Core, as far as its documentation and its users' logs tell.
//!
//! | of the service | here |
//! | --- | --- |
//! | mutual TLS, with SNI; ALPN `x-amzn-mqtt-ca` on port 443 | asked for; ALPN with [`AwsBroker::start_with`] |
//! | MQTT 3.1.1 and 5, QoS 0 and 1; QoS 2 closes | told apart by the CONNECT; as a broker of 3.1.1 with [`AwsBroker::forget_mqtt5`] |
//! | 128 KiB of payload, topics of 256 bytes and 7 slashes; more closes the connection | [`Limits`] |
//! | 100 publishes a second; more are not processed: no PUBACK (3.1.1), reason 0x97 (5) | [`Verdict::OverRate`] |
//! | 512 KiB a second; more is delayed | [`Record::delayed`] |
//! | 100 publishes without PUBACK | [`Verdict::OverWindow`] |
//! | one CONNECT a second of a client id; a newer connection closes the older one | [`Record::connects`] |
//! | keep alive of 30 to 1200 s; silence for 1.5 times as long closes | [`Record::silent`] |
//! | a topic that the policy forbids closes (3.1.1) or has reason 0x87 (5); retained publishes have an action of their own | [`AwsBroker::forbid`] |
//! | policies, by their documents | [`AwsBroker::enforce`], [`Record::denied`] |
//! | 8 filters a SUBSCRIBE, 50 a connection | more closes |
//! | a filter that the policy forbids closes (3.1.1) or has reason 0x87 (5) | [`AwsBroker::forbid_filter`] |
//! | what somebody in the cloud publishes, with what MQTT 5 has beside the payload, until it expires | [`AwsBroker::publish`] |
//! | SendDirectMessage: to a client, without a subscription, if its policy allows it to receive that | [`AwsBroker::send_direct`] |
//! | QoS 1 to a client that has subscribed with it; 100 without PUBACK, or the client's Receive Maximum | [`Record::pubacks`] |
//! | fleet provisioning by claim, upon a signing request | [`AwsBroker::provision`] |
//! | device shadows | [`shadows`], [`AwsBroker::update_shadow`] |
//! | Jobs: answers to whoever has asked, without a subscription, if its policy allows it to receive them | [`jobs`], [`AwsBroker::create_job`] |
//! | retained messages, to those who subscribe to that very topic, and last wills | [`AwsBroker::retained`], [`Record::wills`] |
//!
//! Sessions are never kept. Links that are cut or stall are the business of [`super::link`].

mod delivery;
mod jobs;
mod limits;
mod policy;
mod provisioning;
mod record;
mod session;
mod shadows;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::v5::mqttbytes::v5::DisconnectReasonCode;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, JoinSet};

#[allow(unused_imports, reason = "shared by tests that need different parts of it")]
pub use self::{
    delivery::Message,
    limits::Limits,
    policy::Account,
    provisioning::{Asked, Fleet, FleetRecord, Mishap},
    record::{Arrival, Record, Verdict},
    wire::Refusal,
};
use delivery::Held;
use jobs::Jobs;
use provisioning::{Desk, Principal};
use session::Order;
use shadows::Shadows;
use wire::Wire;

use super::certificates::{Authority, Valid};

const ALPN: &[u8] = b"x-amzn-mqtt-ca";

/// The broker, from its start until it is dropped.
pub struct AwsBroker {
    pub port: u16,
    /// What was accepted, in order: topic and payload.
    pub messages: UnboundedReceiver<(String, Bytes)>,
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    alpn: bool,
    serving: JoinHandle<()>,
}

/// What goes wrong with PUBACKs, at random. Each is a share of them all.
#[derive(Debug, Clone, Default)]
pub struct AckFaults {
    /// Never sent.
    pub lost: f64,
    /// Sent after a wait of up to `late_by`, behind those of later publishes.
    pub late: f64,
    pub late_by: Duration,
}

/// What a broker that knows no MQTT 5 says to a CONNECT of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutMqtt5 {
    /// CONNACK of MQTT 5 with the reason 0x84.
    InMqtt5,
    /// CONNACK of MQTT 3.1.1 with the return code 1.
    InMqtt3,
    /// It closes the connection without a CONNACK.
    Silently,
}

#[derive(Debug, Clone, Copy)]
enum AckFault {
    None,
    Lost,
    Late(Duration),
}

struct Shared(Mutex<State>);

struct State {
    limits: Limits,
    faults: AckFaults,
    /// For the connections to come: the number of the publish whose PUBACK is lost.
    swallowed: VecDeque<usize>,
    refusal: Option<Refusal>,
    without_mqtt5: Option<WithoutMqtt5>,
    forbidden: Vec<String>,
    forbidden_filters: Vec<String>,
    may_retain: bool,
    /// What no payload may hold.
    unreadable: Option<&'static str>,
    /// Whose policies are in force.
    account: Option<Account>,
    sessions: HashMap<String, (usize, UnboundedSender<Order>)>,
    /// The client ids that have ever subscribed to a filter, those with a wildcard under the empty one. Each session knows what
    /// is in force; with a thousand of them not each is asked about each message.
    subscribers: HashMap<String, HashSet<String>>,
    last_connect: HashMap<String, Instant>,
    connections: usize,
    retained: BTreeMap<String, Held>,
    /// Set up for provisioning.
    desk: Option<Desk>,
    shadows: Shadows,
    jobs: Jobs,
    record: Record,
    messages: UnboundedSender<(String, Bytes)>,
    random: StdRng,
}

impl AwsBroker {
    /// Shows a certificate for `localhost` and takes clients whose certificates `authority` has signed.
    pub async fn start(authority: &Authority, limits: Limits) -> Self {
        Self::start_with(authority, limits, false).await
    }

    /// As [`AwsBroker::start`]; with `alpn` it takes only clients that ask for MQTT as on port 443.
    pub async fn start_with(authority: &Authority, limits: Limits, alpn: bool) -> Self {
        Self::start_named(authority, limits, "localhost", alpn).await
    }

    /// As [`AwsBroker::start`], with a certificate for `name`.
    pub async fn start_as(authority: &Authority, limits: Limits, name: &str) -> Self {
        Self::start_named(authority, limits, name, false).await
    }

    async fn start_named(authority: &Authority, limits: Limits, name: &str, alpn: bool) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls(authority, name, alpn)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared(Mutex::new(State {
            limits,
            faults: AckFaults::default(),
            swallowed: VecDeque::new(),
            refusal: None,
            without_mqtt5: None,
            forbidden: Vec::new(),
            forbidden_filters: Vec::new(),
            may_retain: true,
            unreadable: None,
            account: None,
            sessions: HashMap::new(),
            subscribers: HashMap::new(),
            last_connect: HashMap::new(),
            connections: 0,
            retained: BTreeMap::new(),
            desk: None,
            shadows: Shadows::default(),
            jobs: Jobs::default(),
            record: Record::default(),
            messages: sender,
            random: StdRng::seed_from_u64(1),
        })));
        let serving = tokio::spawn(accept(listener, acceptor.clone(), shared.clone(), alpn));
        AwsBroker { port, messages, shared, acceptor, alpn, serving }
    }

    /// Ends all connections and accepts none while `meanwhile` is done; then is there again, on the same port, with what it knew.
    pub async fn restart(&mut self, meanwhile: impl AsyncFnOnce(&AwsBroker)) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        meanwhile(self).await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        self.serving = tokio::spawn(accept(listener, self.acceptor.clone(), self.shared.clone(), self.alpn));
    }

    /// Everything that has come so far.
    pub fn record(&self) -> Record {
        self.shared.with(|state| state.record.clone())
    }

    /// The retained message of `topic`.
    pub fn retained(&self, topic: &str) -> Option<Bytes> {
        let held = self.shared.with(|state| state.retained.get(topic).cloned());
        held.and_then(|held| held.left(Instant::now())).map(|message| message.payload)
    }

    /// Connections to come have these limits.
    pub fn change(&self, limits: Limits) {
        self.shared.with(|state| state.limits = limits);
    }

    /// The policy allows no publishes to `topic` any more.
    pub fn forbid(&self, topic: &str) {
        self.shared.with(|state| state.forbidden.push(topic.into()));
    }

    /// The policy allows no subscription to `filter` any more.
    pub fn forbid_filter(&self, filter: &str) {
        self.shared.with(|state| state.forbidden_filters.push(filter.into()));
    }

    /// The policy allows everything again.
    pub fn allow_all(&self) {
        self.shared.with(|state| {
            state.forbidden.clear();
            state.forbidden_filters.clear();
            state.may_retain = true;
        });
    }

    /// The policy allows no retained publishes any more.
    pub fn forbid_retain(&self) {
        self.shared.with(|state| state.may_retain = false);
    }

    /// In MQTT 5, publishes whose payload holds `text` are refused from now on, as not being what they say they are.
    pub fn cannot_read(&self, text: &'static str) {
        self.shared.with(|state| state.unreadable = Some(text));
    }

    /// From now on PUBACKs fare like this.
    pub fn ack_faults(&self, faults: AckFaults) {
        self.shared.with(|state| state.faults = faults);
    }

    /// Each of the connections to come loses the PUBACK of the publish with this number, counted from 1.
    pub fn swallow(&self, numbers: impl IntoIterator<Item = usize>) {
        self.shared.with(|state| state.swallowed.extend(numbers));
    }

    /// Refuses CONNECTs like this from now on; `None` accepts again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.with(|state| state.refusal = refusal);
    }

    /// Is a broker of MQTT 3.1.1 from now on, which answers CONNECTs of MQTT 5 like this; `None` speaks 5 again.
    pub fn forget_mqtt5(&self, how: Option<WithoutMqtt5>) {
        self.shared.with(|state| state.without_mqtt5 = how);
    }

    /// Closes the connection of `client_id`, as when the same client id has connected elsewhere.
    pub fn kick(&self, client_id: &str) {
        self.shared.order(client_id, Order::Close(DisconnectReasonCode::SessionTakenOver));
    }

    /// Neither reads from nor writes to the connection of `client_id` any more, which stays open.
    pub fn freeze(&self, client_id: &str) {
        self.shared.order(client_id, Order::Freeze);
    }
}

impl Drop for AwsBroker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn tls(authority: &Authority, name: &str, alpn: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = authority.issue(&[name], Valid::Now);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes()).unwrap(),
        )
        .unwrap();
    if alpn {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    config
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, alpn: bool) {
    // Dropped with this task, and with it every connection.
    let mut sessions = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        sessions.spawn(welcome(acceptor.clone(), stream, shared.clone(), alpn));
        while sessions.try_join_next().is_some() {}
    }
}

async fn welcome(acceptor: TlsAcceptor, stream: TcpStream, shared: Arc<Shared>, alpn: bool) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let (_, tls) = stream.get_ref();
    if tls.server_name().is_some() && (!alpn || tls.alpn_protocol() == Some(ALPN)) {
        let certificate = tls.peer_certificates().and_then(|chain| chain.first()).cloned();
        let principal = certificate.map_or(Principal::Other, |certificate| shared.principal(&certificate));
        session::serve(stream, shared, principal).await;
    }
}

impl State {
    /// Hands it to whoever may have subscribed to its topic.
    fn deliver(&self, held: &Held) {
        let subscribers =
            [held.message.topic.as_str(), ""].into_iter().filter_map(|filter| self.subscribers.get(filter));
        let clients: HashSet<&String> = subscribers.flatten().collect();
        for (_, orders) in clients.into_iter().filter_map(|client_id| self.sessions.get(client_id)) {
            let _ = orders.send(Order::Deliver(held.clone()));
        }
    }

    fn subscribes(&mut self, client_id: &str, filter: &str) {
        let filter = if filter.contains(['+', '#']) { "" } else { filter };
        self.subscribers.entry(filter.to_owned()).or_default().insert(client_id.to_owned());
    }
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn limits(&self) -> Limits {
        self.with(|state| state.limits.clone())
    }

    /// Takes a client in, in the place of one with its client id. Returns the number of the connection.
    fn admit(&self, client_id: &str, wire: Wire, orders: UnboundedSender<Order>) -> Result<usize, Refusal> {
        self.with(|state| {
            let at = Instant::now();
            let too_early = state
                .last_connect
                .insert(client_id.into(), at)
                .is_some_and(|before| at.duration_since(before) < state.limits.between_connects);
            let refusal = match (state.refusal, state.without_mqtt5) {
                (_, Some(how)) if wire == Wire::V5 => Some(Refusal::WithoutMqtt5(how)),
                (Some(refusal), _) => Some(refusal),
                _ if client_id.len() > state.limits.client_id => Some(Refusal::BadClientId),
                _ => too_early.then_some(Refusal::Silently),
            };
            state.record.connects.push(record::Connect {
                at,
                client_id: client_id.into(),
                is_mqtt5: wire == Wire::V5,
                accepted: refusal.is_none(),
            });
            if let Some(refusal) = refusal {
                return Err(refusal);
            }
            let number = state.connections;
            state.connections += 1;
            if let Some((_, older)) = state.sessions.insert(client_id.into(), (number, orders)) {
                let _ = older.send(Order::Close(DisconnectReasonCode::SessionTakenOver));
            }
            Ok(number)
        })
    }

    /// A connection has ended.
    fn forget(&self, client_id: &str, number: usize) {
        self.with(|state| {
            if state.sessions.get(client_id).is_some_and(|(current, _)| *current == number) {
                state.sessions.remove(client_id);
            }
        });
    }

    fn order(&self, client_id: &str, order: Order) {
        self.with(|state| {
            let (_, orders) = state.sessions.get(client_id).expect("it is not connected");
            let _ = orders.send(order);
        });
    }

    fn principal(&self, certificate: &CertificateDer<'_>) -> Principal {
        self.with(|state| state.desk.as_ref().map_or(Principal::Other, |desk| desk.principal(certificate)))
    }

    /// What the policies of a fleet say; without one everything is allowed.
    fn fleet_allows(&self, look: impl FnOnce(&mut Desk) -> bool) -> bool {
        self.with(|state| state.desk.as_mut().is_none_or(look))
    }

    /// Whether the policies of the account allow it; what they do not is noted.
    fn may(&self, client_id: &str, look: impl FnOnce(&Account) -> Result<(), String>) -> bool {
        self.with(|state| match state.account.as_ref().map_or(Ok(()), look) {
            Ok(()) => true,
            Err(denied) => {
                state.record.denied.push(format!("{client_id}: {denied}"));
                false
            }
        })
    }

    fn next_swallowed(&self) -> Option<usize> {
        self.with(|state| state.swallowed.pop_front())
    }

    fn is_forbidden(&self, topic: &str, retain: bool) -> bool {
        self.with(|state| state.forbidden.iter().any(|forbidden| forbidden == topic) || retain && !state.may_retain)
    }

    fn is_forbidden_filter(&self, filter: &str) -> bool {
        self.with(|state| state.forbidden_filters.iter().any(|forbidden| forbidden == filter))
    }

    fn cannot_read(&self, payload: &[u8]) -> bool {
        let unreadable = self.with(|state| state.unreadable);
        unreadable.is_some_and(|text| payload.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    fn ack_fault(&self) -> AckFault {
        self.with(|State { faults, random, .. }| match random.r#gen::<f64>() {
            share if share < faults.lost => AckFault::Lost,
            share if share < faults.lost + faults.late => AckFault::Late(faults.late_by.mul_f64(random.r#gen())),
            _ => AckFault::None,
        })
    }

    fn note_arrival(&self, arrival: Arrival) {
        self.with(|state| state.record.arrivals.push(arrival));
    }

    /// What is kept of this very topic: who subscribes with a wildcard gets nothing of it.
    fn retained(&self, topic: &str) -> Option<Held> {
        self.with(|state| state.retained.get(topic).cloned())
    }

    /// Hands an accepted publish to the test, and to whoever wants it.
    fn pass_on(&self, message: Message) {
        self.with(|state| _ = state.messages.send((message.topic.clone(), message.payload.clone())));
        self.deliver(message.into());
    }

    /// Hands it to whoever wants it, now or later.
    fn deliver(&self, held: Held) {
        self.with(|state| {
            let Message { topic, payload, retain, .. } = &held.message;
            if *retain && payload.is_empty() {
                state.retained.remove(topic);
            } else if *retain {
                state.retained.insert(topic.clone(), held.clone());
            }
            state.deliver(&held);
        });
    }

    fn publish_will(&self, will: Message) {
        self.with(|state| state.record.wills.push((will.topic.clone(), will.payload.clone())));
        self.pass_on(will);
    }
}
