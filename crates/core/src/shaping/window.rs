//! One record for the messages of a time.
//!
//! A window begins with a message and ends by time: `length` after the message was received, on the clock that nobody sets.
//! Who has it asks [`Window::ends`] and [`close`](Window::close)s it then, or earlier. The next message begins another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aggregates::Aggregates;
use super::envelope::Stamps;
use super::shaper::{Refused, Unshapable};
use crate::codec::{Decoder, Decoders, Full, JsonBuffer, Schema, Selection};
use crate::config::{self, Aggregate};

/// The windows of one topic, one after the other.
#[derive(Debug)]
pub(super) struct Window {
    length: Duration,
    aggregates: Option<Aggregates>,
    /// Writes the last message; `None` if that is not wanted.
    last: Option<Decoder>,
    /// Tells which messages are none of the window's, where nothing else that is wanted does.
    check: Option<Decoder>,
    /// The text of the last message, and where the next one's is written.
    texts: [JsonBuffer; 2],
    open: Option<Open>,
    /// When the last window ended: on the clock that nobody sets, and in nanoseconds since 1970.
    ended: Option<(Instant, i64)>,
}

/// A window with at least one message.
#[derive(Debug)]
struct Open {
    began: Instant,
    from_ns: i64,
    messages: u64,
    /// When the last message was published, and when it was received, nanoseconds since 1970.
    source_ns: i64,
    received_ns: i64,
    /// The bytes of the last message in ROS.
    bytes: usize,
}

/// A window that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) messages: u64,
    from_ns: i64,
    to_ns: i64,
    source_ns: i64,
    pub(super) received_ns: i64,
    /// The bytes of the last message in ROS.
    pub(super) bytes: usize,
}

impl Ended {
    /// What an envelope says of it: the times are those of the last message.
    pub(super) fn stamps(&self, seq: u64) -> Stamps {
        Stamps { seq, source_ns: self.source_ns, received_ns: self.received_ns }
    }
}

impl Window {
    /// The windows that `topic` asks for, if it does, for messages of the type that `schema` describes, of which `selection`
    /// travels. No message may have a text of more than `limit` bytes.
    ///
    /// # Errors
    /// [`Unshapable`] if there is nothing to aggregate.
    pub(super) fn of(
        topic: &config::Topic,
        selection: &Selection,
        schema: &Arc<Schema>,
        limit: usize,
        decoders: &mut Decoders,
    ) -> Result<Option<Self>, Unshapable> {
        let Some(length) = topic.window else { return Ok(None) };
        let aggregates = Aggregates::of(&topic.aggregate, selection, schema, decoders)?;
        let has_last = topic.aggregate.contains(&Aggregate::Last);
        let is_told = has_last || aggregates.is_some() && !selection.drops_messages();
        let decoder = decoders.select(Arc::clone(schema), selection)?;
        let (last, check) = (has_last.then(|| decoder.clone()), (!is_told).then_some(decoder));
        let texts = [JsonBuffer::new(limit), JsonBuffer::new(limit)];
        Ok(Some(Window { length, aggregates, last, check, texts, open: None, ended: None }))
    }

    /// When the open window ends; `None` if there is none.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.began.checked_add(self.length).unwrap_or(open.began))
    }

    /// Takes the message in `cdr` that was received at `at` into the window, which it begins if there is none. The caller has
    /// closed one that had ended by then.
    ///
    /// # Errors
    /// [`Refused`] if it can't be read, an array of it is longer than `arrays` wants, or its text as `last` is too large; the
    /// window is as before then.
    pub(super) fn take(&mut self, cdr: &[u8], source_ns: i64, received_ns: i64, at: Instant) -> Result<(), Refused> {
        if let Some(decoder) = &self.check {
            decoder.check(cdr)?;
        }
        if let Some(aggregates) = &mut self.aggregates {
            aggregates.read(cdr)?;
        }
        if let Some(decoder) = &self.last {
            let [last, next] = &mut self.texts;
            next.clear();
            decoder.write_json(cdr, next)?;
            std::mem::swap(last, next);
        }
        if let Some(aggregates) = &mut self.aggregates {
            aggregates.add();
        }
        // A message that was received before the last window ended, and handed on after it was closed, is of the next one.
        let (began, from_ns) = self.ended.filter(|(ended, _)| at < *ended).unwrap_or((at, received_ns));
        let open = self.open.get_or_insert(Open { began, from_ns, messages: 0, source_ns, received_ns, bytes: 0 });
        open.messages += 1;
        (open.source_ns, open.received_ns, open.bytes) = (source_ns, received_ns, cdr.len());
        Ok(())
    }

    /// Ends the open window at `now`, or when its time was over, if that is earlier. `None` if there is none. Its figures are
    /// there until [`clear`](Self::clear).
    pub(super) fn end(&mut self, now: Instant) -> Option<Ended> {
        let open = self.open.take()?;
        let lasted = now.saturating_duration_since(open.began).min(self.length);
        let to_ns = open.from_ns.saturating_add(i64::try_from(lasted.as_nanos()).unwrap_or(i64::MAX));
        self.ended = open.began.checked_add(lasted).map(|ended| (ended, to_ns));
        let Open { from_ns, messages, source_ns, received_ns, bytes, .. } = open;
        Some(Ended { messages, from_ns, to_ns, source_ns, received_ns, bytes })
    }

    /// Writes `{"from":…,"to":…,"count":…,…}` of the window that has ended.
    ///
    /// # Errors
    /// [`Full`] if that does not fit into `out`.
    pub(super) fn write(&self, ended: &Ended, out: &mut JsonBuffer) -> Result<(), Full> {
        out.put(br#"{"from":"#)?;
        out.put_integer(ended.from_ns)?;
        out.put(br#","to":"#)?;
        out.put_integer(ended.to_ns)?;
        out.put(br#","count":"#)?;
        out.put_integer(ended.messages)?;
        if let Some(aggregates) = &self.aggregates {
            aggregates.write(out)?;
        }
        if self.last.is_some() {
            out.put(br#","last":"#)?;
            out.put(self.texts[0].as_bytes())?;
        }
        out.put(b"}")
    }

    /// Forgets the figures of the window that has ended.
    pub(super) fn clear(&mut self) {
        if let Some(aggregates) = &mut self.aggregates {
            aggregates.clear();
        }
    }
}

#[cfg(test)]
mod tests;
