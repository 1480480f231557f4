//! What AWS IoT Core takes as a publish ("AWS IoT Core endpoints and quotas", message broker and protocol limits). Its
//! broker closes the connection over anything beyond.

/// Most bytes of a payload.
pub const PAYLOAD_LIMIT: usize = 131_072;
/// Longest topic, in bytes of UTF-8; the Basic Ingest prefix is not counted.
pub const MAX_TOPIC_BYTES: usize = 256;
/// Most subscriptions of a connection.
pub const MAX_FILTERS: usize = 50;
/// Most slashes in a topic; those of the Basic Ingest prefix are not counted.
pub const MAX_TOPIC_SLASHES: usize = 7;
