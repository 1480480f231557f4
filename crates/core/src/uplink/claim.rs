//! The step before the first connection, where the configuration asks for it: from a claim to a certificate of the
//! robot's own. What it is and what it stores stands in [`crate::provisioning`].
//!
//! It is an attempt like that of a connection: it has the same back-off and the same faults, and what stops it is the
//! state, not the end. An attempt that begins where another has stopped takes up what that one has stored.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::certificate::load;
use super::state::UplinkState;
use super::{broker, options};
use crate::config::{Aws, Mqtt, Provisioning, Qos, Version};
use crate::mqtt::Options;
use crate::mqtt::client::{Arrival, Client, Event, Failure, Message, Reached, Reason};
use crate::mqtt::{Fault, FaultKind, Peer, classify};
use crate::provisioning::{
    Issued, Key, NoThing, Progress, Registered, Rejection, Request, Store, StoreProblem, Topics, as_claim,
    certificate_request, read_issued, read_registered, registration_request,
};

/// Longest wait for the answer to a request. A template's hook alone may take 5 s ("Pre-provisioning hooks" in the AWS
/// IoT Core developer guide).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for DISCONNECT to be sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// What provisioning waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A connection with the claim.
    Connection,
    /// The answer to the request for a certificate.
    Certificate,
    /// The answer to the request for the thing.
    Registration,
}

impl Step {
    /// What is waited for, to stand behind "waiting for".
    pub fn label(self) -> &'static str {
        match self {
            Step::Connection => "a connection with the claim certificate",
            Step::Certificate => "the certificate",
            Step::Registration => "the registration of the thing",
        }
    }
}

/// A robot that may have no certificate yet.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<Store>,
    provisioning: Provisioning,
    /// As the uplink has it.
    own: Aws,
    /// The same with the claim's certificate, key and client id.
    claim: Aws,
    /// Without last words: a claim may not speak them.
    mqtt: Mqtt,
}

/// There is a certificate.
pub(super) struct Settled {
    /// For which thing, if it comes from provisioning.
    pub registered: Option<Registered>,
    /// Whether this attempt has got it.
    pub is_new: bool,
}

impl Claim {
    /// The claim that `aws` names, if it does.
    pub fn new(aws: &Aws, mqtt: &Mqtt) -> Option<Claim> {
        let (provisioning, claim) = (aws.provisioning.clone()?, as_claim(aws)?);
        let mqtt = Mqtt { last_will: None, presence: None, ..mqtt.clone() };
        Some(Claim { store: Arc::new(Store::new(aws)), provisioning, own: aws.clone(), claim, mqtt })
    }

    /// Gets as far as it goes, at best to the end.
    ///
    /// A connection with the claim speaks `version`; `reached` takes note of how far it gets.
    pub async fn attempt(
        &self,
        state: &watch::Sender<UplinkState>,
        version: Version,
        reached: &mut Reached,
    ) -> Result<Settled, Fault> {
        let is_there = self.with_store(|store| {
            let there = store.has_certificate()?;
            // Without a certificate it is not said yet which thing it is.
            Ok(if there { Some(store.registered()?) } else { None })
        });
        if let Some(registered) = is_there.await? {
            return self.settled_before(registered);
        }
        let step = |step| {
            state.send_if_modified(|state| state.provisioning.replace(step) != Some(step));
        };
        if state.borrow().provisioning.is_none() {
            let Provisioning { template, claim_certificate, .. } = &self.provisioning;
            let claim = claim_certificate.display();
            tracing::info!(
                template,
                "The robot has no certificate yet; asking for one with the claim certificate {claim} and the template \
                 {template}."
            );
        }
        step(Step::Connection);
        let (key, progress) = self
            .with_store(|store| {
                let key = store.key()?;
                let progress = store.progress(&key, seconds_since_1970())?;
                Ok((Arc::new(key), progress))
            })
            .await?;
        let registered = match progress {
            Progress::Registered(registered) => registered,
            Progress::Issued(issued) => self.exchange(&key, Some(issued), &step, (version, reached)).await?,
            Progress::Begun => self.exchange(&key, None, &step, (version, reached)).await?,
        };
        let kept = registered.clone();
        self.with_store(move |store| store.finish(&kept)).await?;
        let Registered { thing, certificate_id, .. } = &registered;
        let certificate = self.own.certificate.display();
        tracing::info!(
            thing,
            certificate_id,
            "The robot is provisioned as the thing {thing}; its certificate is {certificate}."
        );
        Ok(Settled { registered: Some(registered), is_new: true })
    }

    fn settled_before(&self, registered: Option<Registered>) -> Result<Settled, Fault> {
        if registered.is_none() && !self.own.is_named() {
            let certificate = self.own.certificate.display();
            return Err(Fault::new(
                FaultKind::Credentials,
                format!(
                    "the client certificate {certificate} does not come from provisioning, so the name of its thing is \
                     not known: set aws.thing, or remove that file to have the robot provisioned"
                ),
            ));
        }
        Ok(Settled { registered, is_new: false })
    }

    /// Asks for what is missing over a connection with the claim.
    async fn exchange(
        &self,
        key: &Arc<Key>,
        issued: Option<Issued>,
        step: &impl Fn(Step),
        (version, reached): (Version, &mut Reached),
    ) -> Result<Registered, Fault> {
        let tls = load(&broker(&self.claim)).await.0?.config;
        let mut exchange = Exchange::open(self, tls, version, reached).await?;
        let fresh = issued.is_none();
        let issued = match issued {
            Some(issued) => issued,
            None => {
                step(Step::Certificate);
                self.certificate(&mut exchange, key).await?
            }
        };
        step(Step::Registration);
        let registered = match self.registration(&mut exchange, &issued).await? {
            Ok(registered) => registered,
            Err(rejection) if rejection.is_stale_token() && !fresh => {
                tracing::info!(
                    "The certificate that was issued before can't be registered any more; asking for another."
                );
                step(Step::Certificate);
                let issued = self.certificate(&mut exchange, key).await?;
                step(Step::Registration);
                let again = self.registration(&mut exchange, &issued).await?;
                again.map_err(|rejection| self.refusal(&rejection, Request::Registration, Some(&issued)))?
            }
            Err(rejection) => return Err(self.refusal(&rejection, Request::Registration, Some(&issued))),
        };
        exchange.leave().await;
        Ok(registered)
    }

    /// A certificate for `key`, kept.
    async fn certificate(&self, exchange: &mut Exchange<'_>, key: &Arc<Key>) -> Result<Issued, Fault> {
        let name = if self.own.is_named() { &self.own.thing } else { "iot-bridge" };
        let csr = key.signing_request(name).map_err(|error| {
            let path = self.own.private_key.display();
            Fault::new(FaultKind::Credentials, format!("the private key {path} cannot be used ({error})"))
        })?;
        let answer = exchange.ask(Request::Certificate, certificate_request(&csr)).await?;
        let (answer, issued) = match answer {
            Answer::Accepted(answer) => {
                let issued = read_issued(&answer.payload, seconds_since_1970());
                (answer, issued)
            }
            Answer::Rejected(answer) => {
                let rejection = Rejection::read(&answer.payload);
                answer.taken();
                return Err(self.refusal(&rejection, Request::Certificate, None));
            }
        };
        let issued = issued.ok().filter(|issued| key.fits(&issued.certificate_pem)).ok_or_else(|| {
            Fault::new(FaultKind::Protocol, "what the broker answers is no certificate for this robot's key".into())
        })?;
        let kept = issued.clone();
        self.with_store(move |store| store.keep_issued(kept)).await?;
        answer.taken();
        Ok(issued)
    }

    /// The registration of `issued`, kept, or why there is none.
    async fn registration(
        &self,
        exchange: &mut Exchange<'_>,
        issued: &Issued,
    ) -> Result<Result<Registered, Rejection>, Fault> {
        let message = registration_request(&issued.ownership_token, &self.provisioning.parameters);
        let (answer, registered) = match exchange.ask(Request::Registration, message).await? {
            Answer::Accepted(answer) => {
                let registered = read_registered(&answer.payload, issued, &self.provisioning.template);
                (answer, registered)
            }
            Answer::Rejected(answer) => {
                let rejection = Rejection::read(&answer.payload);
                answer.taken();
                return Ok(Err(rejection));
            }
        };
        let registered = registered.map_err(|error| match error {
            NoThing::NoAnswer(_) => Fault::new(FaultKind::Protocol, error.to_string()),
            NoThing::BadName { .. } => Fault::new(FaultKind::ProvisioningRejected, error.to_string()),
        })?;
        let kept = registered.clone();
        self.with_store(move |store| store.keep_registered(kept)).await?;
        answer.taken();
        Ok(Ok(registered))
    }

    fn refusal(&self, rejection: &Rejection, request: Request, issued: Option<&Issued>) -> Fault {
        let kind = if rejection.passes() { FaultKind::Unavailable } else { FaultKind::ProvisioningRejected };
        let sentence = rejection.sentence(request, &self.provisioning);
        // Nothing says that the answer does not repeat it.
        Fault::new(kind, issued.map_or(sentence.clone(), |issued| issued.ownership_token.cut_from(&sentence)))
    }

    /// Does something with the files away from the task: the disk may take its time.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreProblem> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(&self.store);
        let working = tokio::task::spawn_blocking(move || work(&store));
        match working.await {
            Ok(done) => done.map_err(|problem| Fault::new(FaultKind::ProvisioningStorage, problem.to_string())),
            Err(error) => {
                Err(Fault::new(FaultKind::ProvisioningStorage, format!("the files could not be used: {error}")))
            }
        }
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What came upon a request. The broker gets a PUBACK once it is [taken](Arrival::taken): after what it brings is stored.
enum Answer {
    Accepted(Arrival),
    Rejected(Arrival),
}

/// Most answers that wait. There is one to a request; more come if somebody else with this claim asks at the same time.
const ARRIVALS: usize = 16;

/// A connection with the claim.
struct Exchange<'a> {
    claim: &'a Claim,
    options: Options,
    arrivals: mpsc::Receiver<Arrival>,
    client: Client,
}

impl<'a> Exchange<'a> {
    /// Connects.
    async fn open(
        claim: &'a Claim,
        tls: Arc<ClientConfig>,
        version: Version,
        reached: &mut Reached,
    ) -> Result<Self, Fault> {
        let (handler, arrivals) = mpsc::channel(ARRIVALS);
        let options = options(&claim.claim, &claim.mqtt, version);
        let client = Client::connect_noting(&options, tls, Some(handler), reached).await;
        let client = client.map_err(|failure| classify(&failure, Peer::to(&options)))?;
        Ok(Exchange { claim, options, arrivals, client })
    }

    /// Sends a request, once it is sure that the answer will be heard, and waits for that.
    async fn ask(&mut self, request: Request, message: Vec<u8>) -> Result<Answer, Fault> {
        let topics = Topics::of(request, &self.claim.provisioning.template);
        timeout(ANSWER_TIMEOUT, self.exchange(&topics, message.into())).await.unwrap_or_else(|_| {
            let (seconds, topic) = (ANSWER_TIMEOUT.as_secs(), &topics.request);
            Err(Fault::new(
                FaultKind::TimedOut,
                format!("the broker has not answered the request on {topic} within {seconds} s"),
            ))
        })
    }

    async fn exchange(&mut self, topics: &Topics, payload: Bytes) -> Result<Answer, Fault> {
        let Topics { request, accepted, rejected } = topics;
        let asked = self.client.subscribe(&[(accepted, Qos::AtLeastOnce), (rejected, Qos::AtLeastOnce)]);
        asked.map_err(|failure| self.fault(&failure, accepted))?;
        while !self.is_subscribed(accepted).await? {}
        self.client.publish(&Message::new(request, Qos::AtLeastOnce, &payload));
        loop {
            match self.arrivals.try_recv() {
                Ok(arrival) if arrival.topic == *accepted => return Ok(Answer::Accepted(arrival)),
                Ok(arrival) if arrival.topic == *rejected => return Ok(Answer::Rejected(arrival)),
                Ok(other) => {
                    other.taken();
                    continue;
                }
                Err(_) => {}
            }
            match self.next(request).await? {
                Event::Acknowledged { answer, .. } if answer.reason.is_failure() => {
                    return Err(self.refused(&format!("the request on {request}"), answer.reason));
                }
                _ => {}
            }
        }
    }

    async fn is_subscribed(&mut self, topic: &str) -> Result<bool, Fault> {
        match self.next(topic).await? {
            Event::Subscribed { answers, .. } => match answers[..] {
                [Ok(_), Ok(_)] => Ok(true),
                [Err(reason), ..] | [_, Err(reason)] => {
                    Err(self.refused(&format!("the subscription to {topic}"), reason))
                }
                _ => Err(self.refused(&format!("the subscription to {topic}"), Reason::UNSPECIFIED)),
            },
            _ => Ok(false),
        }
    }

    /// What happens next, where what the broker closes the connection over is likely `topic`.
    async fn next(&mut self, topic: &str) -> Result<Event, Fault> {
        self.client.next().await.map_err(|failure| self.fault(&failure, topic))
    }

    fn fault(&self, failure: &Failure, topic: &str) -> Fault {
        let fault = classify(failure, Peer::connected(&self.options));
        match fault.kind {
            FaultKind::Closed => {
                let sentence = format!("the broker closed the connection over {topic}, it seems; {}", self.remedy());
                Fault::new(FaultKind::ProvisioningClosed, sentence)
            }
            _ => fault,
        }
    }

    /// The broker does not take `what`. It is no rejection of the request by AWS IoT Core: others have to mend something.
    fn refused(&self, what: &str, reason: Reason) -> Fault {
        match reason {
            Reason::QUOTA_EXCEEDED | Reason::SERVER_BUSY | Reason::MESSAGE_RATE_TOO_HIGH => {
                Fault::new(FaultKind::QuotaExceeded, format!("the broker does not take {what} for now ({reason})"))
            }
            _ => {
                let sentence = format!("the broker refuses {what} ({reason}); {}", self.remedy());
                Fault::new(FaultKind::ProvisioningForbidden, sentence)
            }
        }
    }

    fn remedy(&self) -> String {
        format!("the policy of the claim certificate {} has to allow it", self.claim.claim.certificate.display())
    }

    /// Disconnects.
    async fn leave(mut self) {
        self.client.disconnect();
        // Whatever comes, until the broker closes the connection.
        let _ = timeout(FAREWELL, async { while self.client.next().await.is_ok() {} }).await;
    }
}
