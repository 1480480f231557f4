//! `iot-bridge check --connect`: one connection as the service makes it, and what the broker says.
//!
//! A broker ends a client's connection when another one comes with its client id. So the configured one is used only
//! while no bridge is seen to run here; beside a running bridge it is [`PREFIX`] with the configured one behind it,
//! which a policy has to allow, and what the broker thinks of the configured one is what the running bridge tells.
//!
//! There is no last will, so nothing is published because of this connection, however it ends. What a policy says of a
//! topic shows in a publish alone: only `--publish` sends one, as nobody else can tell whom a message would mislead.

mod neighbour;
mod text;
mod topics;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::lookup_host;
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout_at};

use iot_bridge_core::config::{Aws, Mqtt, Settings, Version};
use iot_bridge_core::mqtt::session::{Reached, Session};
use iot_bridge_core::mqtt::{self, FaultKind};
use iot_bridge_core::provisioning;
use iot_bridge_core::uplink::{Told, VersionChoice, backoff::MIN_SPACING, options};
use neighbour::Neighbour;
use topics::{Topic, Verdict};

/// Begins the client id beside a running bridge.
pub const PREFIX: &str = "iot-bridge-check-";

/// EX_UNAVAILABLE of sysexits(3): the broker is not reached, or does not answer. Another time it may.
const EXIT_UNAVAILABLE: u8 = 69;

/// EX_NOPERM of sysexits(3): the broker refuses, or is not trusted. Somebody has to mend that.
const EXIT_REFUSED: u8 = 77;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Whether each topic gets a test message.
    pub publish: bool,
    /// Longest time for all of it.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Trial {
    /// Whether the connection was made and no topic is refused.
    pub ok: bool,
    /// The client id that was used.
    client_id: String,
    /// Whose certificate was shown.
    identity: Identity,
    /// Whether a bridge runs here.
    bridge: Bridge,
    /// The proxy, as `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<String>,
    /// What the name of the broker, or of the proxy, stands for.
    addresses: Vec<IpAddr>,
    /// The address that has taken the TCP connection.
    address: Option<String>,
    /// The version of TLS, if the broker's certificate was accepted.
    tls: Option<&'static str>,
    /// The version of MQTT, if the CONNACK accepts.
    mqtt: Option<Version>,
    /// Why that is 3.1.1 though 5 is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt_because: Option<String>,
    /// Whether the CONNACK accepts.
    accepted: bool,
    /// What the broker does not have, and what that means.
    broker_lacks: Vec<&'static str>,
    /// Why there is no connection.
    fault: Option<Fault>,
    topics: Vec<Topic>,
    /// MQTT topics that the broker or the bridge publishes when a connection begins or ends. Never tried.
    untried: Vec<String>,
    #[serde(skip)]
    endpoint: String,
    #[serde(skip)]
    port: u16,
    /// The configured one.
    #[serde(skip)]
    own_id: String,
}

/// Whose certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Identity {
    Robot,
    /// The robot has none of its own yet. Nothing is asked for with it.
    Claim,
}

/// Whether a bridge runs here, and what it says of the broker.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Bridge {
    Absent,
    Runs {
        /// `None` if it does not tell.
        connected: Option<bool>,
        /// Why it is not connected.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
    },
    Unseen {
        reason: String,
    },
}

#[derive(Debug, Clone, Serialize)]
struct Fault {
    /// Its label in metrics and status.
    kind: &'static str,
    sentence: String,
    needs_somebody: bool,
    /// Whether the broker refuses the client: another client id may not be.
    refusal: bool,
}

impl Trial {
    /// The exit status for it.
    pub fn exit(&self) -> ExitCode {
        let faults = self.fault.iter().map(|fault| fault.refusal || fault.needs_somebody);
        let topics = self.topics.iter().filter_map(|topic| match topic.verdict {
            Verdict::Refused => Some(true),
            Verdict::Unanswered => Some(false),
            Verdict::Allowed | Verdict::Unknown => None,
        });
        let found: Vec<bool> = faults.chain(topics).collect();
        match (found.is_empty(), found.contains(&true)) {
            (true, _) => ExitCode::SUCCESS,
            (false, true) => ExitCode::from(EXIT_REFUSED),
            (false, false) => ExitCode::from(EXIT_UNAVAILABLE),
        }
    }
}

/// Makes the connection that `settings` describe; with that of the claim if `is_waiting` for provisioning.
///
/// # Errors
/// When the operating system has nothing left for it.
pub(super) fn connect(settings: &Settings, is_waiting: bool, wish: Wish) -> std::io::Result<Trial> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let trial = runtime.block_on(attempt(settings.clone(), is_waiting, wish));
    // A name look-up can't be interrupted.
    runtime.shutdown_background();
    Ok(trial)
}

async fn attempt(mut settings: Settings, is_waiting: bool, wish: Wish) -> Trial {
    provisioning::identify(&mut settings.aws);
    let neighbour = look(&settings).await;
    let Settings { aws, mqtt, .. } = &settings;
    let claim = provisioning::as_claim(aws).filter(|_| is_waiting);
    let identity = if claim.is_some() { Identity::Claim } else { Identity::Robot };
    let own_id = aws.client_id.clone();
    let is_own = claim.is_none() && matches!(neighbour, Neighbour::Absent);
    let aws = match claim {
        Some(claim) => claim,
        None if is_own => aws.clone(),
        None => Aws { client_id: beside(&own_id), ..aws.clone() },
    };
    let version = VersionChoice::new(mqtt.version);
    let until = Instant::now() + wish.timeout;
    let mut line = Line { settings: &settings, aws, is_own, until, wish, last: None, version };
    let (proxy, addresses) = line.look_up(mqtt).await;
    let mut reached = Reached::default();
    let opened = line.open(&mut reached).await;
    let (version, lacks) = opened.as_ref().map(|session| (session.version(), session.lacks())).ok().unzip();
    let mut topics = topics::all(&settings);
    let fault = match opened {
        Ok(session) if wish.publish && is_own => {
            topics::publish(&mut topics, session, &mut line).await;
            None
        }
        Ok(session) => {
            session.leave().await;
            None
        }
        Err(fault) => Some(Fault::of(&fault, &reached)),
    };
    if let Neighbour::Runs(Some(report)) = &neighbour {
        topics::as_told(&mut topics, report);
    }
    line.part().await;
    let is_refused = topics.iter().any(|topic| matches!(topic.verdict, Verdict::Refused | Verdict::Unanswered));
    Trial {
        ok: fault.is_none() && !is_refused,
        client_id: line.aws.client_id,
        identity,
        bridge: neighbour.into(),
        proxy,
        addresses,
        address: reached.address.map(|address| address.to_string()),
        tls: reached.tls,
        mqtt: version,
        mqtt_because: line.version.fallback().filter(|_| version.is_some()).map(|why| why.to_string()),
        accepted: version.is_some(),
        broker_lacks: lacks.unwrap_or_default(),
        fault,
        topics,
        untried: topics::untried(&settings),
        endpoint: settings.aws.endpoint.clone(),
        port: settings.aws.port,
        own_id,
    }
}

/// The client id beside a running bridge that has `client_id`.
fn beside(client_id: &str) -> String {
    let mut id = format!("{PREFIX}{client_id}");
    id.truncate(id.floor_char_boundary(LONGEST_ID));
    id
}

/// Longest client id, in bytes ("AWS IoT Core message broker and protocol limits and quotas").
const LONGEST_ID: usize = 128;

async fn look(settings: &Settings) -> Neighbour {
    let queue = settings.queue.clone();
    let looking = spawn_blocking(move || neighbour::look(&queue)).await;
    looking.unwrap_or_else(|error| Neighbour::Unseen(error.to_string()))
}

/// The way to the broker.
struct Line<'a> {
    settings: &'a Settings,
    /// With the client id that is used.
    aws: Aws,
    /// Whether that is the configured one.
    is_own: bool,
    until: Instant,
    wish: Wish,
    /// The last CONNECT.
    last: Option<Instant>,
    version: VersionChoice,
}

impl Line<'_> {
    /// The proxy, if there is one, and the addresses of who is connected to. A fault is for the connection to tell.
    async fn look_up(&self, mqtt: &Mqtt) -> (Option<String>, Vec<IpAddr>) {
        let proxy = mqtt.proxy.clone().and_then(|source| source.proxy().ok());
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (self.aws.endpoint.as_str(), self.aws.port),
        };
        let found = timeout_at(self.until.into(), lookup_host((host, port))).await;
        let mut addresses: Vec<IpAddr> = found.into_iter().flatten().flatten().map(|address| address.ip()).collect();
        addresses.dedup();
        (proxy.map(|proxy| format!("{}:{}", proxy.host, proxy.port)), addresses)
    }

    /// Connects. A close instead of a CONNACK gets a second attempt: AWS IoT Core does that as well when the client id has
    /// connected less than a second before, as that of a service that was stopped a moment ago. With
    /// `mqtt.version = "auto"` the other version may follow.
    async fn open(&mut self, reached: &mut Reached) -> Result<Session, mqtt::Fault> {
        let mut is_first = true;
        loop {
            let opened = self.open_once(reached).await;
            let Err(fault) = &opened else {
                self.version.accepted();
                return opened;
            };
            let is_closed = fault.kind == FaultKind::Closed && reached.tls.is_some();
            let told = self.version.attempt_failed(fault.kind, reached);
            if told == Told::Nothing && !(is_first && is_closed) {
                return opened;
            }
            is_first = false;
        }
    }

    async fn open_once(&mut self, reached: &mut Reached) -> Result<Session, mqtt::Fault> {
        self.part().await;
        // It may have been started meanwhile.
        if self.is_own && self.last.is_some() && !matches!(look(self.settings).await, Neighbour::Absent) {
            let sentence = "a bridge has been started here, which has the client id now".to_owned();
            return Err(mqtt::Fault { kind: FaultKind::TakenOver, sentence });
        }
        let options = options(&self.aws, &self.settings.mqtt, self.version.next());
        let connecting = Session::connect_noting(&options, reached);
        let opened = timeout_at(self.until.into(), connecting).await;
        self.last = Some(Instant::now());
        opened.unwrap_or_else(|_| Err(self.too_late()))
    }

    /// Waits until another CONNECT is a second after the last one.
    async fn part(&self) {
        if let Some(last) = self.last {
            sleep_until((last + MIN_SPACING).into()).await;
        }
    }

    fn too_late_for(&self, topic: &Topic) -> mqtt::Fault {
        let seconds = self.wish.timeout.as_secs();
        let sentence = format!("the broker has not acknowledged a publish to {} within {seconds} s", topic.mqtt);
        mqtt::Fault { kind: FaultKind::AckOverdue, sentence }
    }

    fn too_late(&self) -> mqtt::Fault {
        let Aws { endpoint, port, .. } = &self.aws;
        let seconds = self.wish.timeout.as_secs();
        let sentence = format!("{endpoint}:{port} has not accepted a connection within {seconds} s");
        mqtt::Fault { kind: FaultKind::TimedOut, sentence }
    }
}

impl Fault {
    fn of(fault: &mqtt::Fault, reached: &Reached) -> Fault {
        let refusal = match fault.kind {
            FaultKind::NotAuthorized | FaultKind::BadClientId => true,
            // Without a CONNACK: AWS IoT Core refuses so in MQTT 3.1.1.
            FaultKind::Closed => reached.tls.is_some(),
            _ => false,
        };
        let (kind, needs_somebody) = (fault.kind.label(), fault.kind.needs_somebody());
        Fault { kind, sentence: fault.sentence.clone(), needs_somebody, refusal }
    }
}

impl From<Neighbour> for Bridge {
    fn from(neighbour: Neighbour) -> Bridge {
        match neighbour {
            Neighbour::Absent => Bridge::Absent,
            Neighbour::Unseen(reason) => Bridge::Unseen { reason },
            Neighbour::Runs(report) => {
                let connection = report.map(|report| report.connection);
                let connected = connection.as_ref().map(|connection| connection.phase.is_connected());
                let fault =
                    connection.filter(|_| connected == Some(false)).and_then(|connection| connection.last_fault);
                Bridge::Runs { connected, fault: fault.map(|fault| fault.sentence) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client id of the full length has one beside it that AWS IoT Core takes too.
    #[test]
    fn the_other_client_id_is_never_too_long() {
        assert_eq!(beside("robot1"), "iot-bridge-check-robot1");
        let (long, wide) = (beside(&"r".repeat(128)), beside(&"ü".repeat(64)));
        assert_eq!((long.len(), wide.len()), (128, 127));
        assert!(long.starts_with("iot-bridge-check-r") && wide.ends_with('ü'));
    }
}
