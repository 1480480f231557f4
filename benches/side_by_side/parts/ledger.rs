//! What has arrived at the broker: which numbers, how often, when, how late.

use std::collections::BTreeMap;

use iot_bridge_core::price;
use serde::Serialize;

use crate::mark;

/// How a compressed payload begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An arrival that is later than this is one of a backlog.
const LATE_NS: u64 = 1_000_000_000;

#[derive(Default)]
pub struct Ledger {
    from: u64,
    topics: BTreeMap<String, Topic>,
}

#[derive(Default)]
struct Topic {
    /// A bit for each number from `from` on that has arrived.
    seen: Vec<u64>,
    latencies_us: Vec<u32>,
    figures: Figures,
}

/// What is said of a topic. Times are those of [`mark::now`].
#[derive(Debug, Default, Clone, Serialize)]
pub struct Figures {
    /// Different numbers.
    pub received: u64,
    /// Arrivals of a number that had arrived.
    pub duplicates: u64,
    pub publishes: u64,
    /// What AWS IoT Core would count of them: steps of 5 KB of payload.
    pub metered: u64,
    /// Of payload, over all publishes.
    pub bytes: u64,
    pub first_at: Option<u64>,
    pub last_at: Option<u64>,
    /// When the last message arrived that was more than a second old.
    pub late_at: Option<u64>,
    /// p50, p99, p99.9 and the longest.
    pub latency_us: Option<[u32; 4]>,
}

impl Ledger {
    /// Forgets all, and ignores numbers below `from`.
    pub fn start_anew(&mut self, from: u64) {
        *self = Ledger { from, topics: BTreeMap::new() };
    }

    /// A publish has arrived: one message or a batch of them, which may be compressed.
    pub fn enter(&mut self, topic: &str, payload: &[u8]) {
        let now = mark::now();
        let topic = match self.topics.get_mut(topic) {
            Some(topic) => topic,
            None => self.topics.entry(topic.to_owned()).or_default(),
        };
        if payload.starts_with(&ZSTD) {
            topic.enter(self.from, now, payload, &zstd::decode_all(payload).expect("zstd"));
        } else {
            topic.enter(self.from, now, payload, payload);
        }
    }

    /// What has arrived, by topic; with `latency` also how late, which takes a while.
    pub fn report(&self, latency: bool) -> BTreeMap<&str, Figures> {
        let told = |topic: &Topic| {
            let mut figures = topic.figures.clone();
            figures.latency_us = latency.then(|| percentiles(topic.latencies_us.clone())).flatten();
            figures
        };
        self.topics.iter().map(|(name, topic)| (name.as_str(), told(topic))).collect()
    }
}

impl Topic {
    /// `payload` is what arrived, and `text` what it was before it was compressed.
    fn enter(&mut self, from: u64, now: u64, payload: &[u8], text: &[u8]) {
        let mut marks = mark::read_all(text).filter(|&(number, _)| number >= from).peekable();
        // Of a step that is over.
        if marks.peek().is_none() {
            return;
        }
        self.figures.publishes += 1;
        self.figures.metered += price::steps(payload.len());
        self.figures.bytes += payload.len() as u64;
        self.figures.first_at.get_or_insert(now);
        self.figures.last_at = Some(now);
        for (number, time) in marks {
            self.note((number - from) as usize, now, now.saturating_sub(time));
        }
    }

    fn note(&mut self, number: usize, now: u64, latency: u64) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.figures.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.figures.received += 1;
        if latency > LATE_NS {
            self.figures.late_at = Some(now);
        }
        self.latencies_us.push(u32::try_from(latency / 1000).unwrap_or(u32::MAX));
    }
}

fn percentiles(mut samples: Vec<u32>) -> Option<[u32; 4]> {
    samples.sort_unstable();
    let last = samples.len().checked_sub(1)?;
    Some([0.5, 0.99, 0.999, 1.0].map(|share| samples[(last as f64 * share).ceil() as usize]))
}
