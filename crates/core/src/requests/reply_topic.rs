//! Where a reply goes.

use thiserror::Error;

use crate::config::{TopicFault, check_publish_topic};

/// Why nothing is published to the response topic that a sender has named.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResponseTopicFault {
    /// The broker would not take it.
    #[error(transparent)]
    Topic(#[from] TopicFault),
    /// It begins with `$`: shadows, jobs and rules are not for senders of commands to write to.
    #[error("a response topic can't begin with `$`")]
    Reserved,
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
    check_publish_topic(topic)?;
    Ok(Some(topic))
}
