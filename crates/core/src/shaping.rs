//! Shaping: what becomes of a topic's messages before they are queued. Knows nothing of MQTT connections.
//!
//! A [`Shaper`] belongs to one ROS topic and one type. It turns the serialized message into the payload that the
//! topic's configuration asks for, or says why there is none.

mod envelope;
mod scratch;
mod sequence;
mod shaper;

pub use scratch::Scratch;
pub use shaper::{Refused, Shaper, Unshapable};
