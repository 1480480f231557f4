//! Shaping: what becomes of a topic's messages before they are queued. Knows nothing of MQTT connections.
//!
//! [`Thinning`] belongs to one ROS topic and holds messages back that need not be decoded for that. A [`Shaper`] belongs to
//! one ROS topic and one type. It turns the serialized message into the payload that the topic's configuration asks for, or
//! says why there is none.

mod aggregates;
mod envelope;
mod every;
mod moment;
mod on_change;
mod rate;
mod scratch;
mod sequence;
mod shaper;
mod thinning;
mod window;

pub use moment::moment;
pub use on_change::{Change, OnChange};
pub use scratch::Scratch;
pub use shaper::{Closed, CountedAs, Refused, Shaper, Unshapable};
pub use thinning::Thinning;
