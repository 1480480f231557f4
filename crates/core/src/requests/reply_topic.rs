//! Where a reply goes.

use thiserror::Error;

use crate::config::{TopicFault, UNNAMED, check_publish_topic};

/// Why nothing is published to the response topic that a sender has named.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResponseTopicFault {
    /// The broker would not take it.
    #[error(transparent)]
    Topic(#[from] TopicFault),
    /// It begins with `$`: shadows, jobs and rules are not for senders of commands to write to.
    #[error("a response topic can't begin with `$`")]
    Reserved,
    /// It contains `{thing}`, which only the configuration's topics have filled in.
    #[error("a response topic can't contain `{UNNAMED}`")]
    Unfilled,
}

/// The topic of the reply: the response topic that MQTT 5 brought with the request, or else the configured one. `None` if there is
/// neither: there is no reply.
///
/// # Errors
/// [`ResponseTopicFault`] for a response topic that nothing is published to. Then there is no reply: the sender does not listen to
/// the configured one.
pub fn reply_topic<'a>(
    response_topic: Option<&'a str>,
    configured: Option<&'a str>,
) -> Result<Option<&'a str>, ResponseTopicFault> {
    let Some(topic) = response_topic else { return Ok(configured) };
    if topic.starts_with('$') {
        return Err(ResponseTopicFault::Reserved);
    }
    if topic.contains(UNNAMED) {
        return Err(ResponseTopicFault::Unfilled);
    }
    check_publish_topic(topic)?;
    Ok(Some(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_topic_takes_the_place_of_the_configured_one() {
        assert_eq!(reply_topic(None, None), Ok(None));
        assert_eq!(reply_topic(None, Some("a")), Ok(Some("a")));
        assert_eq!(reply_topic(Some("b"), None), Ok(Some("b")));
        assert_eq!(reply_topic(Some("b/c"), Some("a")), Ok(Some("b/c")));
    }

    /// What the broker would close the connection over is not published, nor what AWS's services take.
    #[test]
    fn no_reply_goes_where_none_may_go() {
        let refused = |topic: &str| reply_topic(Some(topic), Some("a")).unwrap_err();
        for topic in ["$aws/things/r/shadow/update", "$aws/rules/r/x", "$SYS/x", "$"] {
            assert_eq!(refused(topic), ResponseTopicFault::Reserved, "{topic}");
        }
        for topic in ["{thing}", "cloud/{thing}/answers"] {
            assert_eq!(refused(topic), ResponseTopicFault::Unfilled, "{topic}");
        }
        for (topic, fault) in [
            ("", TopicFault::Empty),
            ("a/+/b", TopicFault::Wildcard('+')),
            ("a/#", TopicFault::Wildcard('#')),
            ("a\0", TopicFault::Nul),
            ("1/2/3/4/5/6/7/8/9", TopicFault::TooManySlashes(8)),
            (&"a".repeat(257), TopicFault::TooLong(257)),
        ] {
            assert_eq!(refused(topic), ResponseTopicFault::Topic(fault), "{topic}");
        }
    }
}
