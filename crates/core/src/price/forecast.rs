//! What a topic would send: its records, as its own shaping makes them of messages that were received, and its publishes, as
//! its own packing makes them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::metering::{Billing, metered_bytes, steps};
use crate::codec::{Decoders, Schema};
use crate::config::{self, Encoding, PAYLOAD_LIMIT, Qos, Version, fill_thing};
use crate::mqtt::client::{Message, publish_size};
use crate::packing::{CONTENT_ENCODING, Packing};
use crate::shaping::{Change, OnChange, Refused, Scratch, Shaper, Thinning};
use crate::uplink::batch_bytes;

/// Bytes of records that are looked at: their sizes hardly differ beyond.
const ENOUGH: usize = 1 << 20;

/// Batches that are made to see how large they are.
const BATCHES: usize = 8;

/// A message as it was received.
#[derive(Debug, Clone)]
pub struct ObservedMessage {
    /// Encapsulation header and body.
    pub cdr: Bytes,
    /// When it was published, nanoseconds since 1970.
    pub source_ns: i64,
    /// When DDS received it, nanoseconds since 1970.
    pub received_ns: i64,
}

/// What was seen of a ROS topic.
#[derive(Debug, Clone)]
pub struct Observed {
    pub schema: Arc<Schema>,
    /// Messages a second.
    pub hz: f64,
    /// Some that came one after the other.
    pub messages: Vec<ObservedMessage>,
}

/// What an entry of the configuration makes of a ROS topic.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// Records a second that can be sent.
    pub records_per_second: f64,
    /// Bytes of a record on average, before batches and compression; `None` where none was seen that can be sent.
    pub record_bytes: Option<f64>,
    /// Messages were seen, and none of them is small enough to be sent.
    pub never_fits: bool,
    pub billing: Billing,
    mqtt: String,
    qos: Qos,
    retain: bool,
    packing: Packing,
    /// Records that are packed when they are sent.
    records: Vec<Bytes>,
    /// Sizes of those that have to be compressed before they are queued, after that.
    ahead: Vec<usize>,
    /// Publishes that were looked at already, by the number of their records: a search for a budget asks again and again.
    known: RefCell<HashMap<(usize, Version), Average>>,
}

/// What a topic publishes in a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publishes {
    pub per_second: f64,
    /// Of whole MQTT packets, which is what the quota of bytes is about.
    pub bytes_per_second: f64,
    /// Steps that are counted: of retained messages twice.
    pub metered_per_second: f64,
    /// Records in a publish.
    pub records: usize,
}

/// A publish of an average kind.
#[derive(Debug, Clone, Copy)]
struct Average {
    bytes: f64,
    steps: f64,
}

impl Forecast {
    /// What `topic` makes of what was `observed`, for a thing called `thing`.
    ///
    /// # Errors
    /// Why it can't be forwarded so: a sentence without its full stop.
    pub fn of(topic: &config::Topic, thing: &str, observed: &Observed) -> Result<Forecast, String> {
        let mqtt =
            topic.mqtt_for(&observed.schema.name).map_err(|fault| format!("its MQTT topic is refused: {fault}"))?;
        let mqtt = fill_thing(&mqtt, thing).into_owned();
        let schema = Arc::clone(&observed.schema);
        let mut decoders = Decoders::default();
        let on_change = OnChange::of(topic, &schema, &mut decoders);
        let mut on_change = on_change.map_err(|error| error.to_string())?;
        let shaper = Shaper::new(topic, thing, schema, FIRST_NUMBER, &mut decoders);
        let mut shaper = shaper.map_err(|error| error.to_string())?;
        let mut forecast = Forecast {
            records_per_second: 0.0,
            record_bytes: None,
            never_fits: false,
            billing: Billing::of(&mqtt, topic.retain),
            packing: Packing::of(topic, &mqtt),
            mqtt,
            qos: topic.qos,
            retain: topic.retain,
            records: Vec::new(),
            ahead: Vec::new(),
            known: RefCell::default(),
        };
        let (mut tried, mut too_large, mut bytes) = (0, 0, 0);
        // Of those that come after a record that was sent: how many were judged, and how many of them travel.
        let (mut judged, mut differing) = (0, 0);
        let mut scratch = Scratch::new();
        if let Some(length) = topic.window {
            let record = forecast.window(&mut shaper, observed, &mut scratch);
            if let Some(record) = record.filter(|record| forecast.take(record)) {
                forecast.records_per_second = observed.hz.min(1.0 / length.as_secs_f64());
                forecast.record_bytes = Some(record.len() as f64);
            }
            return Ok(forecast);
        }
        // What differs depends on how long ago the last one was. Without `on_change`, all show how large records are.
        let mut thinning = on_change.is_some().then(|| Thinning::of(topic));
        let begin = Instant::now();
        for message in &observed.messages {
            let after =
                observed.messages.first().map_or(0, |first| message.received_ns.saturating_sub(first.received_ns));
            let at = begin + Duration::from_nanos(after.max(0).unsigned_abs());
            if thinning.as_mut().is_some_and(|thinning| thinning.holds_back(at).is_some()) {
                continue;
            }
            tried += 1;
            let change = on_change.as_ref().map(|on_change| on_change.judge(&message.cdr, at));
            // The first always travels, which says nothing of those after it.
            judged += u32::from(change != Some(Change::First));
            if change == Some(Change::None) {
                continue;
            }
            match shaper.shape(&message.cdr, message.source_ns, message.received_ns, &mut scratch) {
                Ok(record) if forecast.take(&record) => {
                    bytes += record.len();
                    differing += u32::from(change != Some(Change::First));
                    if let Some(on_change) = &mut on_change {
                        on_change.was_sent(&message.cdr, at);
                    }
                }
                Ok(_) | Err(Refused::TooLarge { .. }) => too_large += 1,
                Err(_) => {}
            }
            if bytes > ENOUGH {
                break;
            }
        }
        let taken = forecast.records.len() + forecast.ahead.len();
        if taken > 0 {
            let come = observed.hz / f64::from(topic.every.unwrap_or(1));
            let travel = topic.rate.map_or(come, |rate| come.min(rate));
            let share =
                if judged > 0 { f64::from(differing) / f64::from(judged) } else { taken as f64 / f64::from(tried) };
            let at_least = topic.on_change.as_ref().and_then(|on_change| on_change.at_least_every);
            let at_least = at_least.map_or(0.0, |every| every.as_secs_f64().recip().min(travel));
            forecast.records_per_second = (travel * share).max(at_least);
            forecast.record_bytes = Some(bytes as f64 / taken as f64);
        }
        forecast.never_fits = too_large > 0 && taken == 0;
        Ok(forecast)
    }

    /// The record of a window in which all messages are that were observed.
    fn window(&self, shaper: &mut Shaper, observed: &Observed, scratch: &mut Scratch) -> Option<Bytes> {
        let now = Instant::now();
        for message in &observed.messages {
            // One that can't be read is none of the window's.
            let _ = shaper.take(&message.cdr, message.source_ns, message.received_ns, now);
        }
        shaper.close(now, scratch)?.payload.ok()
    }

    /// Keeps a record. Returns `false` if it is too large to be sent.
    fn take(&mut self, record: &Bytes) -> bool {
        if self.packing.framed(record.len()) <= PAYLOAD_LIMIT {
            self.records.push(record.clone());
            return true;
        }
        let packed = self.packing.pack_ahead(record);
        self.ahead.extend(packed.as_ref().map(Bytes::len));
        packed.is_some()
    }

    /// Most records of a publish. `is_shared`: other topics have publishes too.
    pub(super) fn most(&self, is_shared: bool) -> usize {
        let Some(batch) = self.packing.batch else { return 1 };
        let Some(record) = self.mean_record() else { return 1 };
        let room = batch_bytes(is_shared, self.packing.compression.is_some());
        // Two brackets; a comma comes with each but the first.
        let fit = (room as f64 - 1.0) / (record + 1.0);
        batch.max.min(fit as usize).max(1)
    }

    /// Records of a publish when the connection has nothing to wait for: those that come while the first one lingers.
    pub(super) fn lingering(&self, is_shared: bool) -> usize {
        let linger = self.packing.batch.map_or(Duration::ZERO, |batch| batch.linger);
        // A last record that comes with the end of the time is in the batch: figures are measured, so nearly counts.
        const NEARLY: f64 = 0.01;
        let come = (self.records_per_second * linger.as_secs_f64() + NEARLY).floor();
        (1 + come as usize).min(self.most(is_shared))
    }

    /// How many records a publish has that costs the least for each, were its payload `margin` times as large; of several such
    /// numbers the least, for which nobody waits the longest.
    pub(super) fn cheapest(&self, version: Version, margin: f64) -> usize {
        let mut best = (1, f64::INFINITY);
        let mut records = 1;
        let most = self.most(true);
        while !self.records.is_empty() && records <= most {
            let cost = self.batch_of(records, version, margin).steps / records as f64;
            if cost < best.1 {
                best = (records, cost);
            }
            records += 1 + records / 16;
        }
        best.0
    }

    /// What is published in a second when `records` travel in a publish.
    pub(super) fn publishes(&self, records: usize, version: Version) -> Publishes {
        let (plain, ahead) = (self.records.len() as f64, self.ahead.len() as f64);
        let mut publishes = Publishes { per_second: 0.0, bytes_per_second: 0.0, metered_per_second: 0.0, records };
        let mut add = |per_second: f64, average: Average| {
            publishes.per_second += per_second;
            publishes.bytes_per_second += per_second * average.bytes;
            publishes.metered_per_second += per_second * self.billing.count(average.steps);
        };
        if plain > 0.0 {
            let per_second = self.records_per_second * plain / (plain + ahead) / records as f64;
            let known = self.known.borrow().get(&(records, version)).copied();
            let average = known.unwrap_or_else(|| self.batch_of(records, version, 1.0));
            self.known.borrow_mut().insert((records, version), average);
            add(per_second, average);
        }
        if ahead > 0.0 {
            let encoding = self.encoding();
            let sizes = self.ahead.iter().map(|size| (*size, encoding));
            add(self.records_per_second * ahead / (plain + ahead), self.average(sizes, version, 1.0));
        }
        publishes
    }

    fn encoding(&self) -> Option<Encoding> {
        self.packing.compression.as_ref().map(|compression| compression.encoding)
    }

    /// Of records that are packed when they are sent.
    fn mean_record(&self) -> Option<f64> {
        let bytes: usize = self.records.iter().map(Bytes::len).sum();
        (!self.records.is_empty()).then(|| bytes as f64 / self.records.len() as f64)
    }

    /// A publish of `count` records: such as came one after the other, or where there were not so many, as those that came
    /// would go on.
    fn batch_of(&self, count: usize, version: Version, margin: f64) -> Average {
        let groups = self.records.chunks_exact(count);
        // Single ones cost nothing to look at, unless they are compressed.
        let most = if self.packing.compression.is_none() { usize::MAX } else { BATCHES.max(100 / count) };
        let step = groups.len().div_ceil(most).max(1);
        let packed: Vec<_> = groups.step_by(step).map(|group| self.packed(group)).collect();
        if packed.is_empty() {
            return self.average(std::iter::once(self.extrapolated(count)), version, margin);
        }
        self.average(packed.into_iter(), version, margin)
    }

    fn packed(&self, records: &[Bytes]) -> (usize, Option<Encoding>) {
        if self.packing.compression.is_none() {
            return (self.packing.size(records), None);
        }
        let packed = self.packing.pack(records);
        (packed.payload.len(), packed.encoding)
    }

    /// The size of a batch of more records than there are. Without compression it grows by an average record. With it, by what
    /// the second half of the records adds to the first: what they have in common is said once.
    fn extrapolated(&self, count: usize) -> (usize, Option<Encoding>) {
        let all = self.records.len();
        let (bytes, encoding) = self.packed(&self.records);
        let half = self.packed(&self.records[..all / 2]);
        let mean = self.mean_record().unwrap_or(0.0) + 1.0;
        let per_record = match (encoding, half.1) {
            (Some(_), Some(_)) => bytes.saturating_sub(half.0) as f64 / (all - all / 2) as f64,
            (Some(_), None) => bytes as f64 / all as f64,
            // Too few to be worth it: told with a half, which single messages of JSON become.
            (None, _) if self.packing.compression.is_some() => mean / 2.0,
            (None, _) => mean,
        };
        ((bytes as f64 + per_record * (count - all) as f64) as usize, encoding.or_else(|| self.encoding()))
    }

    fn average(
        &self,
        sizes: impl ExactSizeIterator<Item = (usize, Option<Encoding>)>,
        version: Version,
        margin: f64,
    ) -> Average {
        let count = sizes.len() as f64;
        let mut sum = Average { bytes: 0.0, steps: 0.0 };
        let (content_type, nothing) = (self.packing.content_type(), Bytes::new());
        for (payload, encoding) in sizes {
            let payload = (payload as f64 * margin).ceil() as usize;
            let other = self.packing.compression.as_ref().and_then(|compression| compression.topic.as_deref());
            let topic = encoding.and(other).unwrap_or(&self.mqtt);
            let message = Message {
                topic,
                qos: self.qos,
                retain: self.retain,
                payload: &nothing,
                content_type: Some(content_type),
                user_property: encoding.map(|encoding| (CONTENT_ENCODING, encoding.label())),
                correlation_data: None,
                expires_in: Some(1),
            };
            sum.bytes += publish_size(version, &message, payload, false) as f64;
            sum.steps += steps(metered_bytes(version, topic, payload, content_type, encoding)) as f64;
        }
        Average { bytes: sum.bytes / count, steps: sum.steps / count }
    }
}

/// As many digits as those of a running bridge have, which begin with microseconds since 1970.
const FIRST_NUMBER: u64 = 1_800_000_000_000_000;
