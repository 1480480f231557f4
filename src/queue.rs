//! The bounded buffer between reception and uplink. Knows nothing of what is in a payload.

mod record;

pub use record::{Record, Route};
