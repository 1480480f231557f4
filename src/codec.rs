//! The codec: CDR bytes to JSON text, led by a [`Schema`]. Knows nothing of ROS threads or MQTT.

mod schema;

pub use schema::{Count, Field, Kind, Schema};
