//! What the configuration makes of the messages of one topic, stage by stage, in words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bridge;
use crate::ros::Sample;
use iot_bridge_core::codec::{Decoders, Schema};
use iot_bridge_core::config::units::{format_duration, format_rate};
use iot_bridge_core::config::{self, Payload};
use iot_bridge_core::queue::sequence_by_clock;
use iot_bridge_core::shaping::{Change, CountedAs, Refused, Scratch, Shaper, Thinning, moment};
use iot_bridge_core::tally::{ShapedReason, counted};

/// The stages of one configured topic whose type is known.
pub(super) struct Stages {
    topic: config::Topic,
    thinning: Thinning,
    opened: bridge::Opened,
    /// Writes messages without `fields`, `exclude`, `arrays` and `digits`, to compare sizes; `None` where there are none.
    whole: Option<Shaper>,
    gathered: u64,
}

/// What has become of a message.
pub(super) enum Outcome {
    /// A record: what the queue would get.
    Record(Bytes),
    /// It does not travel.
    Shaped(ShapedReason),
    /// It is in a window, which travels when it ends.
    Gathered,
    /// It is lost, for this reason.
    Dropped(String),
}

impl Stages {
    /// For messages of the type that `schema` describes.
    ///
    /// # Errors
    /// As of [`bridge::open`].
    pub(super) fn open(topic: &config::Topic, thing: &str, schema: &Arc<Schema>) -> anyhow::Result<Stages> {
        let mut decoders = Decoders::default();
        let opened = bridge::open(topic, thing, schema, sequence_by_clock(), &mut decoders)?;
        let selects =
            !topic.fields.is_empty() || !topic.exclude.is_empty() || topic.arrays.is_some() || topic.digits.is_some();
        let plain = config::Topic {
            fields: Vec::new(),
            exclude: Vec::new(),
            arrays: None,
            digits: None,
            window: None,
            aggregate: Vec::new(),
            ..topic.clone()
        };
        let whole = if selects {
            Some(Shaper::new(&plain, thing, Arc::clone(schema), sequence_by_clock(), &mut decoders)?)
        } else {
            None
        };
        Ok(Stages { topic: topic.clone(), thinning: Thinning::of(topic), opened, whole, gathered: 0 })
    }

    /// The MQTT topic of its records.
    pub(super) fn mqtt(&self) -> &str {
        &self.opened.mqtt
    }

    /// When the open window ends.
    pub(super) fn window_ends(&self) -> Option<Instant> {
        self.opened.shaper.window_ends()
    }

    /// The record of the open window, if its time is over at `now`, and how many messages it has.
    pub(super) fn close(&mut self, now: Instant, scratch: &mut Scratch) -> Option<(Outcome, u64)> {
        self.window_ends().filter(|ends| *ends <= now)?;
        self.gathered = 0;
        let closed = self.opened.shaper.close(now, scratch)?;
        Some((closed.payload.map_or_else(outcome, Outcome::Record), closed.messages))
    }

    /// What becomes of a message, and what each stage says of it, a line each.
    pub(super) fn message(&mut self, sample: &Sample<'_>, scratch: &mut Scratch) -> (Outcome, Vec<String>) {
        let mut said = Vec::new();
        let at = moment(sample.received_ns);
        let held_back = self.thinning.holds_back(at);
        if let Some(every) = self.topic.every {
            said.push(match held_back {
                Some(ShapedReason::Every) => format!("every: held back; the first travels, and then one of {every}"),
                _ => format!("every: goes on, as the first or one of {every}"),
            });
        }
        if held_back == Some(ShapedReason::Every) {
            return (Outcome::Shaped(ShapedReason::Every), said);
        }
        if let Some(rate) = self.topic.rate {
            let due = self.thinning.due().map_or(Duration::ZERO, |due| due.saturating_duration_since(at));
            let (rate, due) = (format_rate(rate), due.as_secs_f64());
            said.push(match held_back {
                Some(_) => format!("rate: held back; at most {rate}, the next one is due in {due:.3} s"),
                None => format!("rate: goes on; at most {rate}, the one after it is due in {due:.3} s"),
            });
        }
        if let Some(reason) = held_back {
            return (Outcome::Shaped(reason), said);
        }
        if self.opened.shaper.has_windows() {
            let taken = self.opened.shaper.take(sample.cdr, sample.source_ns, sample.received_ns, at);
            return match taken {
                Ok(()) => {
                    self.gathered += 1;
                    let left = self.window_ends().map_or(Duration::ZERO, |ends| ends.saturating_duration_since(at));
                    let (number, left) = (self.gathered, left.as_secs_f64());
                    said.push(format!("window: taken as message {number} of one that ends in {left:.3} s"));
                    (Outcome::Gathered, said)
                }
                Err(refused) => (outcome(refused), said),
            };
        }
        if let Some(on_change) = &self.opened.on_change {
            let change = on_change.judge(sample.cdr, at);
            let every = self.topic.on_change.as_ref().and_then(|on_change| on_change.at_least_every);
            said.push(match change {
                Change::First => "on_change: goes on; it is the first one".to_owned(),
                Change::Differs => "on_change: goes on; it differs from the one that travelled last".to_owned(),
                Change::Due => format!(
                    "on_change: goes on; it does not differ from the one that travelled last, which is {} ago",
                    every.map(format_duration).unwrap_or_default()
                ),
                Change::None => "on_change: held back; it does not differ from the one that travelled last".to_owned(),
            });
            if change == Change::None {
                return (Outcome::Shaped(ShapedReason::Unchanged), said);
            }
        }
        let shaped = self.opened.shaper.shape(sample.cdr, sample.source_ns, sample.received_ns, scratch);
        if let Some(whole) = &mut self.whole {
            let whole = whole.shape(sample.cdr, sample.source_ns, sample.received_ns, scratch);
            let of = match whole {
                Ok(whole) => format!("of {} bytes with all of it", whole.len()),
                Err(_) => "of more than can be sent".to_owned(),
            };
            said.push(match &shaped {
                Ok(record) => format!("fields, exclude, arrays, digits: {} bytes {of}", record.len()),
                Err(refused) => format!("fields, exclude, arrays, digits: {refused}"),
            });
        }
        match shaped {
            Ok(record) => (Outcome::Record(record), said),
            Err(refused) => (outcome(refused), said),
        }
    }

    /// The record of this message can be sent: later ones are compared with it.
    pub(super) fn travels(&mut self, sample: &Sample<'_>) {
        if let Some(on_change) = &mut self.opened.on_change {
            on_change.was_sent(sample.cdr, moment(sample.received_ns));
        }
    }

    /// One line before those of the stages.
    pub(super) fn heading(&self, sample: &Sample<'_>) -> String {
        let (topic, bytes) = (&self.topic.ros, counted(sample.cdr.len() as u64, "byte", "bytes"));
        let what = if self.topic.payload == Payload::Cdr { "forwarded as they are" } else { "in ROS" };
        format!("{topic}: a message of {bytes} {what}")
    }
}

fn outcome(refused: Refused) -> Outcome {
    match refused.counted_as() {
        CountedAs::Shaped(reason) => Outcome::Shaped(reason),
        CountedAs::Dropped(reason) => Outcome::Dropped(format!("it would be dropped ({}): {refused}", reason.label())),
    }
}
