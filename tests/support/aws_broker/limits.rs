//! What AWS IoT Core takes, and from when on it takes no more.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The service's numbers; a test may lift or lower them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a payload; a longer one closes the connection.
    pub payload: usize,
    /// Bytes of a packet.
    pub packet: usize,
    /// Publishes in any second; what is over is not processed.
    pub publishes_per_second: usize,
    /// Bytes of publishes in any second; what is over waits.
    pub bytes_per_second: usize,
    /// Publishes without PUBACK; more are not processed.
    pub unacknowledged: usize,
    /// Between two CONNECTs of a client id; one that comes earlier is closed.
    pub between_connects: Duration,
    /// The keep-alive times that are in force; others are moved to the nearer end.
    pub keep_alive: RangeInclusive<Duration>,
    /// Bytes of a topic, without the prefix of Basic Ingest.
    pub topic_bytes: usize,
    /// Slashes of a topic, without those of that prefix.
    pub topic_slashes: usize,
    /// Bytes of a client id.
    pub client_id: usize,
    /// Filters in a SUBSCRIBE, and on a connection.
    pub filters: (usize, usize),
    /// Highest topic alias of MQTT 5.
    pub topic_aliases: u16,
}

impl Limits {
    /// As documented.
    pub fn documented() -> Self {
        Limits {
            payload: 131_072,
            packet: 149_504,
            publishes_per_second: 100,
            bytes_per_second: 512 << 10,
            unacknowledged: 100,
            between_connects: SECOND,
            keep_alive: Duration::from_secs(30)..=Duration::from_secs(1200),
            topic_bytes: 256,
            topic_slashes: 7,
            client_id: 128,
            filters: (8, 50),
            topic_aliases: 8,
        }
    }

    /// As documented, but as many publishes and bytes as come, for tests of something else.
    pub fn without_rates() -> Self {
        Limits { publishes_per_second: usize::MAX, bytes_per_second: usize::MAX, ..Self::documented() }
    }

    /// Whether a publish may go to `topic`.
    pub fn allow_topic(&self, topic: &str) -> bool {
        let counted = match topic.strip_prefix("$aws/rules/") {
            Some(rest) => rest.split_once('/').map_or("", |(_rule, rest)| rest),
            None => topic,
        };
        counted.len() <= self.topic_bytes && counted.matches('/').count() <= self.topic_slashes
    }

    /// How long a client that asked for `keep_alive` seconds may be silent.
    pub fn silence(&self, keep_alive: u16) -> Duration {
        let (least, most) = (*self.keep_alive.start(), *self.keep_alive.end());
        let asked = if keep_alive == 0 { most } else { Duration::from_secs(keep_alive.into()) };
        asked.clamp(least, most).mul_f64(1.5)
    }
}

/// What came within the last second.
#[derive(Debug, Default)]
pub struct LastSecond {
    came: VecDeque<(Instant, usize)>,
    sum: usize,
}

impl LastSecond {
    /// How much came in the second before `now`.
    pub fn sum(&mut self, now: Instant) -> usize {
        while let Some((at, amount)) = self.came.front().copied() {
            if now.saturating_duration_since(at) < SECOND {
                break;
            }
            self.sum -= amount;
            self.came.pop_front();
        }
        self.sum
    }

    pub fn add(&mut self, now: Instant, amount: usize) {
        self.came.push_back((now, amount));
        self.sum += amount;
    }

    /// When so much has become old that the sum is at most `limit`; nothing, if it is already.
    pub fn below(&self, limit: usize) -> Option<Instant> {
        let (mut sum, mut when) = (self.sum, None);
        for (at, amount) in &self.came {
            if sum <= limit {
                break;
            }
            sum -= amount;
            when = Some(*at + SECOND);
        }
        when
    }
}
