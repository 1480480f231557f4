//! Whether a command is published on ROS: see [`requests`](super) for the rules.

mod age;
mod silence;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use self::silence::Silence;
use super::members::{self, Members};
use super::refusal::RETAINED;
use super::{Detail, Identity, Ids, Key, Malformed, Reason, Received, Refused};
use crate::codec::{EncodeError, EncodeFault, Encoder, Limit, NoEncoder, Schema};
use crate::config::units::{format_rate, period};
use crate::config::{Command, CommandPayload, FieldPath};

/// Judges what comes for one entry of `[[commands]]`, and remembers what it has accepted. No clock of its own, no thread, no ROS.
///
/// Its memory is bounded, whatever comes.
#[derive(Debug)]
pub struct Gate {
    encoder: Encoder,
    payload: CommandPayload,
    max_age: Option<Duration>,
    /// Hertz, and what lies between two.
    max_rate: Option<(f64, Duration)>,
    last_accepted: Option<Instant>,
    accepted: Ids,
    silence: Option<Silence>,
}

/// Why an entry of `[[commands]]` has no gate: what it says does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoGate {
    /// In `limits`, or the type itself.
    #[error(transparent)]
    Encoder(#[from] NoEncoder),
    /// The message of `on_silence` is none of the type, or outside of the limits.
    #[error("the message of on_silence: {0}")]
    OnSilence(EncodeError),
}

impl Gate {
    /// Prepares for messages of the type that `schema` describes, with `defaults` as for [`Encoder::new`].
    ///
    /// # Errors
    /// [`NoGate`], in words that name what is wrong in the entry.
    pub fn new(command: &Command, schema: &Arc<Schema>, defaults: &HashMap<String, Vec<u8>>) -> Result<Self, NoGate> {
        let limit = |(path, &[lowest, highest]): (&String, &[f64; 2])| match FieldPath::parse(path) {
            Ok(path) => Ok(Limit { path, lowest, highest }),
            Err(why) => Err(NoEncoder::Limit { path: path.clone(), why }),
        };
        let limits = command.limits.iter().map(limit).collect::<Result<Vec<_>, _>>()?;
        let encoder = Encoder::new(schema, defaults, &limits)?;
        let silence = match &command.on_silence {
            Some(on_silence) => {
                let json = serde_json::to_vec(&on_silence.message).unwrap_or_default();
                let mut cdr = Vec::new();
                encoder.encode(&json, &mut cdr).map_err(NoGate::OnSilence)?;
                Some(Silence::new(on_silence.after, cdr))
            }
            None => None,
        };
        Ok(Gate {
            encoder,
            payload: command.payload,
            max_age: command.max_age,
            max_rate: command.max_rate.map(|hertz| (hertz, period(hertz))),
            last_accepted: None,
            accepted: Ids::default(),
            silence,
        })
    }

    /// Judges what has come at `now`. `time_of_day` is what [`time_of_day::now`](crate::time_of_day::now) says then.
    ///
    /// Nothing is remembered until [`Accepted::published`].
    ///
    /// # Errors
    /// [`Refused`] with the first reason not to publish it.
    pub fn judge(
        &mut self,
        received: &Received,
        now: Instant,
        time_of_day: Option<i64>,
    ) -> Result<Accepted<'_>, Refused> {
        let read = self.read(received);
        let (identity, message) = match read {
            Ok((identity, message)) => (identity, Ok(message)),
            Err(Malformed { identity, detail }) => (identity, Err(detail)),
        };
        let key = identity.key();
        let judged = if received.retain {
            refuse(Reason::Retained, RETAINED)
        } else {
            let message = message.map_err(|detail| (Reason::Malformed, detail));
            message.and_then(|message| self.check(received.payload, message, key.as_ref(), now, time_of_day))
        };
        match judged {
            Ok(cdr) => Ok(Accepted { gate: self, cdr, identity, key, now }),
            Err((reason, detail)) => Err(Refused { identity, reason, detail }),
        }
    }

    /// Who has sent it, and what.
    fn read<'a>(&self, received: &Received<'a>) -> Result<(Identity, Message<'a>), Malformed> {
        if self.payload == CommandPayload::Message {
            let identity = received.identity();
            return match members::check_length(received.payload) {
                Ok(()) => Ok((identity, Message { sent: None, json: received.payload })),
                Err(detail) => Err(Malformed { identity, detail }),
            };
        }
        let Members { identity, values: [sent, message] } = Members::read(received, ["sent", "msg"])?;
        let malformed = |words| Malformed { identity: identity.clone(), detail: Detail::new(words) };
        let sent = match sent.map(|sent| sent.get().parse()) {
            Some(Ok(sent)) => Some(sent),
            Some(Err(_)) => return Err(malformed("`sent` takes an integer, nanoseconds since 1970")),
            None => None,
        };
        let Some(message) = message else { return Err(malformed("`msg` is missing, which holds the message")) };
        Ok((identity, Message { sent, json: message.get().as_bytes() }))
    }

    /// Checks what could be read, and encodes it.
    fn check(
        &self,
        payload: &[u8],
        message: Message,
        key: Option<&Key>,
        now: Instant,
        time_of_day: Option<i64>,
    ) -> Result<Vec<u8>, (Reason, Detail)> {
        let dated = match (self.max_age, message.sent) {
            (Some(_), None) => {
                return refuse(Reason::Malformed, "`sent` is missing, nanoseconds since 1970: max_age needs it");
            }
            (max_age, sent) => max_age.zip(sent),
        };
        self.check_duplicate(key, now)?;
        if let Some((max_age, sent)) = dated {
            age::check(sent, time_of_day, max_age).or_else(|words| refuse(Reason::TooOld, words))?;
        }
        let cdr = members::encode(&self.encoder, payload, message.json).or_else(|error| {
            let is_limit = matches!(error.fault, EncodeFault::OutOfLimits { .. });
            refuse(if is_limit { Reason::OutOfLimits } else { Reason::Malformed }, error)
        })?;
        self.check_rate(now)?;
        Ok(cdr)
    }

    fn check_duplicate(&self, key: Option<&Key>, now: Instant) -> Result<(), (Reason, Detail)> {
        let Some((key, age)) = key.and_then(|key| Some((key, self.accepted.age(key, now)?))) else { return Ok(()) };
        let of = match key {
            Key::Id(_) => "id",
            Key::CorrelationData(_) => "correlation data, which stands for an id,",
        };
        refuse(Reason::Duplicate, format_args!("one with the same {of} was accepted {} ago", seconds(age)))
    }

    fn check_rate(&self, now: Instant) -> Result<(), (Reason, Detail)> {
        let (Some((hertz, period)), Some(last)) = (self.max_rate, self.last_accepted) else { return Ok(()) };
        let since = now.saturating_duration_since(last);
        if since >= period {
            return Ok(());
        }
        let (since, rate) = (seconds(since), format_rate(hertz));
        refuse(Reason::TooFast, format_args!("the last one was accepted {since} ago, max_rate is {rate}"))
    }

    /// When the message of `on_silence` is due, unless a command is published before; `None` if there is none, before a first
    /// command, and once the message was taken.
    pub fn silence_due_at(&self) -> Option<Instant> {
        self.silence.as_ref()?.due_at()
    }

    /// The message of `on_silence`, serialized, if it is due.
    pub fn silence_due(&mut self, now: Instant) -> Option<&[u8]> {
        if self.silence_due_at()? <= now { self.take_silence() } else { None }
    }

    /// The message of `on_silence`, due or not, if a command was published since it was taken the last time: for the end of the
    /// process or of the entry. To be published at once.
    pub fn take_silence(&mut self) -> Option<&[u8]> {
        self.silence.as_mut()?.take()
    }
}

impl Refused {
    /// What becomes of a command while there is no gate to judge it, and `words` say why. It is known who has sent it, as far as
    /// that can be read.
    pub fn without_gate(received: &Received, payload: CommandPayload, words: &str) -> Self {
        let identity = match payload {
            CommandPayload::Message => received.identity(),
            CommandPayload::Envelope => match Members::read(received, ["sent", "msg"]) {
                Ok(Members { identity, .. }) | Err(Malformed { identity, .. }) => identity,
            },
        };
        let (reason, words) = if received.retain { (Reason::Retained, RETAINED) } else { (Reason::Unavailable, words) };
        Refused { identity, reason, detail: Detail::new(words) }
    }
}

fn refuse<T>(reason: Reason, words: impl fmt::Display) -> Result<T, (Reason, Detail)> {
    Err((reason, Detail::new(words)))
}

/// What a payload holds.
struct Message<'a> {
    /// Nanoseconds since 1970.
    sent: Option<i64>,
    json: &'a [u8],
}

/// A command that may be published on ROS. As long as nobody says that it [was](Self::published), nothing has happened.
#[derive(Debug)]
#[must_use = "the gate has to be told what became of it"]
pub struct Accepted<'g> {
    gate: &'g mut Gate,
    cdr: Vec<u8>,
    identity: Identity,
    key: Option<Key>,
    now: Instant,
}

impl Accepted<'_> {
    /// The message, serialized.
    pub fn cdr(&self) -> &[u8] {
        &self.cdr
    }

    /// It was published. From now on it counts for `max_rate`, duplicates and `on_silence`. Returns whom to reply to.
    pub fn published(self) -> Identity {
        let Accepted { gate, identity, key, now, .. } = self;
        gate.last_accepted = Some(now);
        if let Some(key) = key {
            gate.accepted.note(key, (), now);
        }
        if let Some(silence) = &mut gate.silence {
            silence.begin(now);
        }
        identity
    }

    /// It was not published, and `words` say why. It counts for nothing: the sender may try it again, with the same id and at once.
    pub fn unavailable(self, words: &str) -> Refused {
        Refused { identity: self.identity, reason: Reason::Unavailable, detail: Detail::new(words) }
    }
}

/// `duration` as people read it, to the millisecond.
fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests;
