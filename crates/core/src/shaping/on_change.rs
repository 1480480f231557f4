//! Only what differs from the message that was sent last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shaper::Unshapable;
use crate::codec::{DecodeError, Decoder, Decoders, Schema, Selection, Value};
use crate::config::{self, Deadband};

/// Most bytes that are kept of a message. One of which more is compared always differs.
const MOST: usize = 1 << 20;

/// Compares the messages of one topic and one type with the last one that was sent.
#[derive(Debug)]
pub struct OnChange {
    decoder: Decoder,
    deadband: Option<Deadband>,
    at_least_every: Option<Duration>,
    /// When the last message was sent; `None` before the first.
    sent_at: Option<Instant>,
    /// What was compared of it.
    sent: Kept,
}

/// Why a message goes on, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is the first one.
    First,
    /// It differs from the one that was sent last.
    Differs,
    /// It does not, but that one was sent long ago.
    Due,
    /// It does not.
    None,
}

impl OnChange {
    /// For messages of the type that `schema` describes; `None` if `topic` does not ask for it. It shares its decoder with
    /// those that compare the same of the type.
    ///
    /// # Errors
    /// [`Unshapable`] if the type does not have a path of `on_change.fields`.
    pub fn of(
        topic: &config::Topic,
        schema: &Arc<Schema>,
        decoders: &mut Decoders,
    ) -> Result<Option<Self>, Unshapable> {
        let Some(config) = &topic.on_change else { return Ok(None) };
        let selection = Selection::of_paths("on_change.fields", &config.fields)?;
        let decoder = decoders
            .select(Arc::clone(schema), &selection)
            .map_err(|error| error.under("fields", "on_change.fields"))?;
        let &config::OnChange { deadband, at_least_every, .. } = config;
        Ok(Some(OnChange { decoder, deadband, at_least_every, sent_at: None, sent: Kept::default() }))
    }

    /// Whether the message in `cdr`, received at `at`, differs from the one that was sent last. One that can't be read goes
    /// on, to be dropped where that is counted.
    pub fn judge(&self, cdr: &[u8], at: Instant) -> Change {
        let Some(sent_at) = self.sent_at else { return Change::First };
        match self.differs(cdr) {
            Ok(false) if self.at_least_every.is_none_or(|every| at.saturating_duration_since(sent_at) < every) => {
                Change::None
            }
            Ok(false) => Change::Due,
            Ok(true) | Err(_) => Change::Differs,
        }
    }

    /// The message in `cdr`, received at `at`, is on its way: the next ones are compared with it.
    pub fn was_sent(&mut self, cdr: &[u8], at: Instant) {
        self.sent_at = Some(at);
        self.sent.clear();
        // What was shaped can be read.
        let _ = self.decoder.read_values(cdr, |value| self.sent.keep(value));
    }

    fn differs(&self, cdr: &[u8]) -> Result<bool, DecodeError> {
        let (mut sent, mut differs) = (self.sent.leaves.iter(), self.sent.is_too_long);
        self.decoder.read_values(cdr, |value| {
            if !differs {
                differs = sent.next().is_none_or(|leaf| self.sent.differs(*leaf, value, self.deadband));
            }
        })?;
        Ok(differs || sent.next().is_some())
    }
}

/// What is kept of a message.
#[derive(Debug, Default)]
struct Kept {
    leaves: Vec<Leaf>,
    /// Of all strings and octets, one after the other.
    bytes: Vec<u8>,
    /// There was more than may be kept.
    is_too_long: bool,
}

/// A value that is kept.
#[derive(Debug, Clone, Copy)]
enum Leaf {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// From where to where in [`Kept::bytes`].
    Bytes(u32, u32),
    Length(usize),
}

impl Kept {
    /// Forgets the values; the memory is used again.
    fn clear(&mut self) {
        self.leaves.clear();
        self.bytes.clear();
        self.is_too_long = false;
    }

    fn keep(&mut self, value: Value<'_>) {
        let more = if let Value::Bytes(bytes) = value { bytes.len() } else { 0 };
        let size = (self.leaves.len() + 1) * size_of::<Leaf>() + self.bytes.len() + more;
        if self.is_too_long || size > MOST {
            *self = Kept { is_too_long: true, ..Kept::default() };
            return;
        }
        self.leaves.push(match value {
            Value::Bool(value) => Leaf::Bool(value),
            Value::Signed(value) => Leaf::Signed(value),
            Value::Unsigned(value) => Leaf::Unsigned(value),
            Value::F32(value) => Leaf::Float(value.into()),
            Value::F64(value) => Leaf::Float(value),
            Value::Length(count) => Leaf::Length(count),
            Value::Bytes(bytes) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(bytes);
                // Both are at most `MOST`.
                Leaf::Bytes(start as u32, self.bytes.len() as u32)
            }
        });
    }

    /// Whether `value` differs from what was sent in its place.
    fn differs(&self, sent: Leaf, value: Value<'_>, deadband: Option<Deadband>) -> bool {
        match (sent, value) {
            (Leaf::Bool(sent), Value::Bool(value)) => sent != value,
            (Leaf::Length(sent), Value::Length(value)) => sent != value,
            (Leaf::Bytes(from, to), Value::Bytes(value)) => &self.bytes[from as usize..to as usize] != value,
            (Leaf::Signed(sent), Value::Signed(value)) => {
                sent != value && is_beyond(sent as f64, sent.abs_diff(value) as f64, 0.0, deadband)
            }
            (Leaf::Unsigned(sent), Value::Unsigned(value)) => {
                sent != value && is_beyond(sent as f64, sent.abs_diff(value) as f64, 0.0, deadband)
            }
            (Leaf::Float(sent), Value::F64(value)) => float_differs(sent, value, f64::EPSILON, deadband),
            (Leaf::Float(sent), Value::F32(value)) => float_differs(sent, value.into(), f32::EPSILON.into(), deadband),
            _ => true,
        }
    }
}

/// `precision` is the step from 1 to the next number that the field can hold.
fn float_differs(sent: f64, value: f64, precision: f64, deadband: Option<Deadband>) -> bool {
    if sent == value || sent.is_nan() && value.is_nan() {
        return false;
    }
    let difference = (sent - value).abs();
    // From or to NaN.
    difference.is_nan() || is_beyond(sent, difference, precision * sent.abs().max(value.abs()), deadband)
}

/// Whether a number that is not the one sent differs from it by at least the deadband. `step` is how exact the numbers are:
/// from 0.02 to 0.03 is a difference of 0.01, though their nearest binary numbers are a little less apart.
fn is_beyond(sent: f64, difference: f64, step: f64, deadband: Option<Deadband>) -> bool {
    let least = match deadband {
        None => return true,
        Some(Deadband::Absolute(least)) => least,
        Some(Deadband::Percent(percent)) => sent.abs() * percent / 100.0,
    };
    difference + step >= least
}

#[cfg(test)]
mod tests;
