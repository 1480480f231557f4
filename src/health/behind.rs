//! Whether the bridge falls behind: more is offered than may leave, so that what waits only grows.
//!
//! It is judged by what waits, once a second, in *spans* of 10 s. Of each span the least counts, so that bursts
//! and a backlog that comes and goes within seconds do not. An example, 140 records a second more than may leave, then none:
//!
//! ```text
//!  the span up to second  10    20    30    40    50    …    300     310    …    370
//!  its least               0  1400  2800  4200  5600       40,600  41,000      35,000
//!                                              ▲ behind                        ▲ over
//!                             it has risen four times                        it has not risen for 60 s
//! ```
//!
//! - **It begins** when the least has risen four spans in a row, thus has grown for more than 30 s, by 10 records and by a
//!   hundredth of what left.
//! - **It is over** when nothing has risen for six spans: long enough that a load which comes and goes every minute is not
//!   told each minute.
//! - **An outage is not falling behind**, nor is making up for one. Without a connection nothing is judged; what was said
//!   before is hidden, and taken up again or said to be over once a connection has lasted. A span in which
//!   something waits and nothing leaves is left out: on a dead link the connection ends only after `ack_timeout`, which may
//!   be minutes.
//! - **What waits for another reason does not count**: records of a topic that the broker refuses, those that `linger`
//!   up to a batch. What is dropped because the queue is full, or expires there, counts as if it still waited: a full queue
//!   does not grow any more, and is behind all the same.
//!
//! **What is offered** are the publishes that would be made of what comes: records a second, divided by the records of a
//! publish as seen in the same time. So 1,000 records a second that travel in batches of 50 are 20 publishes a second, and
//! if a record takes 210 bytes of them they are 205 KiB a second. A topic of which nothing has been sent yet counts with a
//! publish a record, and no bytes. **What is allowed** are the quotas of `mqtt.quotas`; if less left than they allow, it is
//! what left, because then it is the link or the broker that takes no more.

mod advice;
mod balance;
mod judge;
mod offer;

use std::sync::{Mutex, PoisonError};

pub use balance::Balance;
pub use judge::Judge;

use super::report::{Behind, Limit};
use iot_bridge_core::tally::{Bytes, Frequency};

/// How it stands: written by the watch, read by who reports.
#[derive(Debug, Default)]
pub struct BehindState(Mutex<Option<Behind>>);

impl BehindState {
    pub fn set(&self, behind: Option<Behind>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    /// `None` while it keeps up.
    pub fn read(&self) -> Option<Behind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Behind {
    /// What is offered, what may leave, and by whom: a sentence without its full stop.
    pub fn sentence(&self) -> String {
        let offered = (Frequency(self.offered_publishes_per_second), Bytes(self.offered_bytes_per_second));
        let figures = match (self.limit, self.allowed_publishes_per_second, self.allowed_bytes_per_second) {
            (Limit::PublishesPerSecond, Some(allowed), _) => {
                format!("{} publishes/s of the {} that mqtt.quotas allow", offered.0, Frequency(allowed))
            }
            (Limit::BytesPerSecond, _, Some(allowed)) => {
                format!("{}/s of the {}/s that mqtt.quotas allow", offered.1, Bytes(allowed))
            }
            (_, publishes, bytes) => {
                let (publishes, bytes) = (Frequency(publishes.unwrap_or_default()), Bytes(bytes.unwrap_or_default()));
                format!("{} publishes/s ({}/s), and the connection takes {publishes} ({bytes}/s)", offered.0, offered.1)
            }
        };
        format!("More is offered than may leave: {figures}; most by {}", listed(&self.topics))
    }
}

/// `/imu`, `/imu and /odom`, `/imu, /odom and /scan`.
fn listed(names: &[String]) -> String {
    match names {
        [] => "no topic".to_owned(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sentence has the figures of what holds the records back.
    #[test]
    fn the_sentence_names_what_holds_it_back() {
        let behind = |limit, publishes, bytes| Behind {
            since: 0,
            limit,
            offered_publishes_per_second: 240.4,
            allowed_publishes_per_second: publishes,
            offered_bytes_per_second: 720_000.0,
            allowed_bytes_per_second: bytes,
            topics: ["/imu", "/odom", "/scan"].map(str::to_owned).to_vec(),
            advice: Vec::new(),
        };
        for (limit, publishes, bytes, figures) in [
            (Limit::PublishesPerSecond, Some(100.0), None, "240 publishes/s of the 100 that mqtt.quotas allow"),
            (Limit::BytesPerSecond, None, Some(524_288.0), "703 KiB/s of the 512 KiB/s that mqtt.quotas allow"),
            (
                Limit::Link,
                Some(4.24),
                Some(2048.0),
                "240 publishes/s (703 KiB/s), and the connection takes 4.2 (2.0 KiB/s)",
            ),
        ] {
            let sentence = behind(limit, publishes, bytes).sentence();
            assert_eq!(sentence, format!("More is offered than may leave: {figures}; most by /imu, /odom and /scan"));
        }
    }
}
