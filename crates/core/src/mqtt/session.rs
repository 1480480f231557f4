//! A connection without a queue, for whoever tries things out: the bridge's own TLS, client and faults, one publish at a
//! time.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::Options;
pub use super::client::Reached;
use super::client::{Arrival, Client, Event, Message};
use super::fault::{Fault, FaultKind, Peer, classify};
use super::tls;
use crate::config::{Qos, Version};

/// Longest wait for what the broker has to say to DISCONNECT.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most messages that wait for [`Session::arrival`].
const ARRIVALS: usize = 100;

/// A connection that the broker has accepted. It lives while one of its methods is waited for.
#[derive(Debug)]
pub struct Session {
    client: Client,
    options: Options,
    arrivals: mpsc::Receiver<Arrival>,
    missed: u64,
}

impl Session {
    /// Reads the files that `options` name and connects. Without a last will.
    ///
    /// # Errors
    /// Whatever keeps the connection from being made.
    pub async fn connect(options: &Options) -> Result<Session, Fault> {
        Session::connect_noting(options, &mut Reached::default()).await
    }

    /// As [`Session::connect`]; notes in `reached` how far it gets.
    ///
    /// # Errors
    /// As [`Session::connect`].
    pub async fn connect_noting(options: &Options, reached: &mut Reached) -> Result<Session, Fault> {
        let options = Options { last_will: None, ..options.clone() };
        let (handler, arrivals) = mpsc::channel(ARRIVALS);
        let files = options.broker.clone();
        let loaded = tokio::task::spawn_blocking(move || tls::load(&files, SystemTime::now())).await;
        let credentials = loaded.map_err(|error| Fault::new(FaultKind::Credentials, error.to_string()))??;
        let connected = Client::connect_noting(&options, credentials.config, Some(handler), reached).await;
        let client = connected.map_err(|failure| classify(&failure, Peer::to(&options)))?;
        Ok(Session { client, options, arrivals, missed: 0 })
    }

    /// The version of MQTT that is spoken.
    pub fn version(&self) -> Version {
        self.options.version
    }

    /// What the broker lacks, and what that means, each a sentence without its full stop.
    pub fn lacks(&self) -> Vec<&'static str> {
        self.client.limits().lacks()
    }

    /// Publishes and waits until the broker has acknowledged it, or with QoS 0 until it is sent. Returns how long that
    /// took.
    ///
    /// # Errors
    /// If the broker refuses it, the connection ends, or there is no acknowledgement within [`Options::ack_timeout`].
    pub async fn publish(&mut self, topic: &str, qos: Qos, payload: Bytes) -> Result<Duration, Fault> {
        let begun = Instant::now();
        self.client.publish(&Message::new(topic, qos, &payload));
        self.until("a publish", |event| match event {
            Event::Acknowledged { answer, .. } if answer.reason.is_failure() => Some(Err(Fault::new(
                FaultKind::NotAuthorized,
                format!("the broker refuses a publish to {topic}: {}", answer.reason),
            ))),
            Event::Acknowledged { .. } => Some(Ok(())),
            Event::Sent { packet_id: None } => Some(Ok(())),
            _ => None,
        })
        .await?;
        Ok(begun.elapsed())
    }

    /// Subscribes and waits until the broker has granted it.
    ///
    /// # Errors
    /// If it does not, or the connection ends.
    pub async fn subscribe(&mut self, filter: &str, qos: Qos) -> Result<(), Fault> {
        let asked = self.client.subscribe(&[(filter, qos)]);
        asked.map_err(|failure| classify(&failure, Peer::connected(&self.options)))?;
        self.until("a subscription", |event| match event {
            Event::Subscribed { answers, .. } => Some(match answers[..] {
                [Ok(_)] => Ok(()),
                _ => Err(Fault::new(FaultKind::NotAuthorized, format!("the broker does not grant {filter}"))),
            }),
            _ => None,
        })
        .await
    }

    /// Waits for the next message. The broker gets its PUBACK once it is [taken](Arrival::taken) and the session is waited for
    /// again.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn arrival(&mut self) -> Result<Arrival, Fault> {
        loop {
            if let Ok(arrival) = self.arrivals.try_recv() {
                return Ok(arrival);
            }
            self.event().await?;
        }
    }

    /// Messages that were missed, because more came than [`Session::arrival`] was asked for.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Keeps the connection alive until `until`.
    ///
    /// # Errors
    /// If it ends before.
    pub async fn idle(&mut self, until: Instant) -> Result<(), Fault> {
        loop {
            tokio::select! {
                event = self.event() => drop(event?),
                () = sleep_until(until.into()) => return Ok(()),
            }
        }
    }

    /// Takes leave of the broker.
    pub async fn leave(mut self) {
        self.client.disconnect();
        // The end of the connection is what is waited for.
        let _ = timeout(FAREWELL, async { while self.event().await.is_ok() {} }).await;
    }

    async fn until(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Event) -> Option<Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let waiting = self.options.ack_timeout;
        let answer = async {
            loop {
                if let Some(answer) = wanted(&self.event().await?) {
                    return answer;
                }
            }
        };
        timeout(waiting, answer).await.unwrap_or_else(|_| {
            let sentence = format!("the broker has not acknowledged {what} within {} s", waiting.as_secs_f64());
            Err(Fault::new(FaultKind::AckOverdue, sentence))
        })
    }

    /// May be given up and called again at any moment.
    async fn event(&mut self) -> Result<Event, Fault> {
        let event = self.client.next().await.map_err(|failure| classify(&failure, Peer::connected(&self.options)))?;
        self.missed += u64::from(matches!(event, Event::Missed { .. }));
        Ok(event)
    }
}
