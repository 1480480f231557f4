//! What AWS IoT Core takes as the topic of a publish.
//!
//! Its broker answers a topic that it doesn't take by closing the connection, so the check stands on this side.
//! Numbers and reserved topics: "AWS IoT Core message broker and protocol limits and quotas" and "Reserved topics" in
//! its developer guide.

use super::limits::{MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES};

/// Prefix of Basic Ingest, which hands a message to one rule without the message broker.
const BASIC_INGEST: &str = "$aws/rules/";
/// Prefix of the topics of things: device shadows, jobs and Device Defender take publishes there.
const THINGS: &str = "$aws/things/";

/// Why AWS IoT Core would not take a publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// No character at all.
    #[error("an MQTT topic can't be empty")]
    Empty,
    /// U+0000, which MQTT forbids in any text.
    #[error("an MQTT topic can't contain the NUL character")]
    Nul,
    /// `+` or `#`, which only a subscription may use.
    #[error("`{0}` is a wildcard and can't stand in a topic that is published to")]
    Wildcard(char),
    /// Longer than [`MAX_TOPIC_BYTES`].
    #[error("it has {0} bytes; AWS IoT Core takes topics of at most {MAX_TOPIC_BYTES} bytes")]
    TooLong(usize),
    /// More slashes than [`MAX_TOPIC_SLASHES`].
    #[error("it has {0} slashes; AWS IoT Core takes topics with at most {MAX_TOPIC_SLASHES} slashes")]
    TooManySlashes(usize),
    /// A topic that starts with `$` and that clients can't publish to.
    #[error(
        "topics that start with `$` are reserved; a publish can go to `$aws/rules/<rule>/…` or `$aws/things/<thing>/…`"
    )]
    Reserved,
    /// `$aws/rules/` without the name of a rule, or with one that no rule can have (letters, digits and `_`).
    #[error("after `$aws/rules/` the name of a rule has to follow, of letters, digits and `_`")]
    BadRule,
}

/// Whether AWS IoT Core takes publishes to `topic`. Returns the first fault found.
pub fn check_publish_topic(topic: &str) -> Result<(), TopicFault> {
    if topic.is_empty() {
        return Err(TopicFault::Empty);
    }
    if topic.contains('\0') {
        return Err(TopicFault::Nul);
    }
    if let Some(wildcard) = topic.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(TopicFault::Wildcard(wildcard));
    }
    let counted = match topic.strip_prefix(BASIC_INGEST) {
        Some(rest) => after_rule(rest)?,
        None if topic.starts_with('$') && !topic.starts_with(THINGS) => return Err(TopicFault::Reserved),
        None => topic,
    };
    if counted.len() > MAX_TOPIC_BYTES {
        return Err(TopicFault::TooLong(counted.len()));
    }
    let slashes = counted.matches('/').count();
    if slashes > MAX_TOPIC_SLASHES {
        return Err(TopicFault::TooManySlashes(slashes));
    }
    Ok(())
}

/// Whether a publish to `topic` goes to a rule past the message broker, which therefore keeps nothing of it.
pub fn is_basic_ingest(topic: &str) -> bool {
    topic.starts_with(BASIC_INGEST)
}

/// What follows `<rule>/`. A topic may end with the rule: then the rule sees an empty topic.
fn after_rule(rest: &str) -> Result<&str, TopicFault> {
    let (rule, topic) = rest.split_once('/').unwrap_or((rest, ""));
    if rule.is_empty() || !rule.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(TopicFault::BadRule);
    }
    Ok(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_reserved_topics_that_take_publishes_pass() {
        for topic in [
            "a",
            "/a",
            "robots/robot1/odom",
            "ros2_mock_telemetry_topic",
            "$aws/rules/ros2_logs/robot1/logs",
            "$aws/rules/ros2_logs",
            "$aws/things/robot1/shadow/name/pose/update",
            "a/b/c/d/e/f/g/h",
        ] {
            assert_eq!(check_publish_topic(topic), Ok(()), "{topic}");
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(check_publish_topic(""), Err(TopicFault::Empty));
        assert_eq!(check_publish_topic("a\0b"), Err(TopicFault::Nul));
        assert_eq!(check_publish_topic("a/+/b"), Err(TopicFault::Wildcard('+')));
        assert_eq!(check_publish_topic("a/#"), Err(TopicFault::Wildcard('#')));
        assert_eq!(check_publish_topic("a/b/c/d/e/f/g/h/i"), Err(TopicFault::TooManySlashes(8)));
        assert_eq!(check_publish_topic("$SYS/uptime"), Err(TopicFault::Reserved));
        assert_eq!(check_publish_topic("$aws/certificates/create/json"), Err(TopicFault::Reserved));
        assert_eq!(check_publish_topic("$aws/rules//x"), Err(TopicFault::BadRule));
        assert_eq!(check_publish_topic("$aws/rules/a-b/x"), Err(TopicFault::BadRule));
    }

    #[test]
    fn the_limit_of_length_counts_bytes() {
        assert_eq!(check_publish_topic(&"x".repeat(256)), Ok(()));
        assert_eq!(check_publish_topic(&"x".repeat(257)), Err(TopicFault::TooLong(257)));
        assert_eq!(check_publish_topic(&"ü".repeat(128)), Ok(()));
        assert_eq!(check_publish_topic(&"ü".repeat(129)), Err(TopicFault::TooLong(258)));
    }

    #[test]
    fn basic_ingest_does_not_count_its_prefix() {
        let topic = format!("$aws/rules/logs/{}", "x".repeat(256));
        assert_eq!(check_publish_topic(&topic), Ok(()));
        assert_eq!(check_publish_topic(&format!("{topic}x")), Err(TopicFault::TooLong(257)));
        assert_eq!(check_publish_topic("$aws/rules/logs/a/b/c/d/e/f/g/h"), Ok(()));
        assert_eq!(check_publish_topic("$aws/rules/logs/a/b/c/d/e/f/g/h/i"), Err(TopicFault::TooManySlashes(8)));
    }
}
