//! What a month of telemetry costs on AWS IoT Core, told before it is sent.
//!
//! ```text
//!  messages ──► Forecast: records a second, and some of them, as the topic's own shaping makes them
//!           ──► publishes a second and their steps, as the topic's own packing makes them ──► Bill: times the prices
//! ```
//!
//! An example: 10 Hz of records of 700 bytes with `batch = { max = 7, linger = "1 s" }` are 1.43 publishes a second. Each has
//! 4,908 bytes of payload and 18 of topic, which is one step of 5,120. 1.43 steps a second are 3.7 million in a month of 30
//! days, at $1.00 for a million.
//!
//! A [`Proposal`] says which lines of configuration bring the sum below what somebody wants to spend.

mod bill;
mod budget;
mod forecast;
mod lines;
mod metering;
mod prices;

pub use bill::{Bill, Charge};
pub use budget::{LeftOut, Proposal, Proposed, Subject, TooDear, propose};
pub use forecast::{Forecast, Observed, ObservedMessage, Publishes};
pub use lines::lines;
pub use metering::{Billing, STEP, metered_bytes, steps};
pub use prices::{PRICE_FILE, Prices, Tier};

#[cfg(test)]
mod tests;

/// Seconds of the month that prices are told for: 30 days.
pub const MONTH_SECONDS: f64 = 30.0 * 86_400.0;
