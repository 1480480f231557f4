//! What the cloud asks of the robot: what a payload asks for, whether that is done, and what is replied. Knows nothing of ROS
//! threads and of MQTT; time is handed in.
//!
//! ```text
//!  payload ──► Gate (of [[commands]])           ──► Accepted: CDR bytes to publish, or Refused
//!          ──► ServiceRequest (of [[services]]) ──► CDR bytes of the request, or Malformed
//!          ──► ActionRequest (of [[actions]])   ──► CDR bytes of a goal, or the end of one, or Malformed
//!  reply   ◄── Identity, Refused, Malformed: JSON
//! ```
//!
//! This is the specification of commands, and of how services and actions are asked for. What stands in a message, and which
//! text is none, is that of [`codec`](crate::codec).
//!
//! # What comes
//!
//! One JSON object (RFC 8259) of at most 128 KiB. With `payload = "message"` it is a command's message; with `"envelope"`
//! `{"id":…,"sent":…,"msg":{…}}`. A request for a service is `{"id":…,"request":{…}}`, one for an action `{"id":…,"goal":{…}}` or
//! `{"id":…,"cancel":true}`. Members stand in any order, each once, and no others. `msg`, `request` and `goal` are not optional,
//! however little they hold: `{}` is a message with all defaults.
//!
//! - `id` is a text or an integer of at most 128 bytes (of the text as UTF-8, of the integer as written), and comes back in the reply.
//!   Texts are compared without their escapes: `"a"` and `"\u0061"` are the same, `1` and `"1"` are two. Commands and requests for a
//!   service need none; then there is none in the reply, and no duplicate is known.
//! - `sent` is an integer, nanoseconds since 1970. It is needed with `max_age` and does nothing otherwise.
//! - MQTT 5's correlation data comes back in MQTT 5's way, and then the reply has no `id`. Where the payload has no `id`, correlation
//!   data of at most 128 bytes takes its place for everything else too: for duplicates, and as the name of a goal.
//! - A payload that can't be read to its end is malformed. Its `id` is in the reply nevertheless if it came before the fault.
//!
//! It is read in one pass that builds no tree. What a payload makes the bridge keep is an `id`, for a while; what it makes it allocate
//! is bounded by its length and by [`Encoder::LARGEST`](crate::codec::Encoder::LARGEST).
//!
//! # Whether a command is published
//!
//! It is refused for the first of these reasons that there is. What no repetition can mend comes before what may be over in a
//! moment: whoever is told `too_fast` or `unavailable` knows that nothing else is wrong.
//!
//! | reason | when |
//! | --- | --- |
//! | `retained` | the broker had kept it. Nothing else of it is looked at, but its `id` |
//! | `malformed` | the payload is not as above |
//! | `duplicate` | a command with this `id` was accepted in the last ten minutes, and is among the last 1,000 that had one |
//! | `too_old` | by `sent` it is older than `max_age`, or more than `max_age` ahead of the robot's clock, or that clock was never set (before 2020) or is wrong (behind 2070) |
//! | `malformed` | it is no message of its type |
//! | `out_of_limits` | a number is outside of `limits`, be it written or default. Of this and the one before, whatever stands first in the message counts |
//! | `too_fast` | since the command accepted before, less than a period of `max_rate` has passed: there are no bursts. At `"10 Hz"`, a command that comes 99 ms after another is refused, and one 101 ms after that other is accepted. So a sender whose commands are exactly a period apart loses those that a network brings a little early: let `max_rate` be above its rate |
//! | `unavailable` | nobody on ROS takes it, which whoever publishes finds out |
//!
//! Only what was published counts: for `max_rate`, for duplicates, for `on_silence`. A refused `id` may come again.
//!
//! # on_silence
//!
//! Its message is due `after` the last command that was published, and not before there was one. It is handed out once, then
//! again after a further command. At the end of the process or of the entry it is handed out at once, unless it already was since the
//! last command. `limits` hold for it as for any command.
//!
//! # What is replied
//!
//! | to | reply |
//! | --- | --- |
//! | a command | `{"id":…,"accepted":true}`, `{"id":…,"accepted":false,"reason":"…","detail":"…"}` |
//! | a request for a service | `{"id":…,"response":{…}}`, `{"id":…,"error":"timeout"\|"unavailable"\|"malformed","detail":"…"}` |
//! | a request for an action | `{"id":…,"status":"…"}`; with `"result":{…}` at the end, with `"detail":"…"` where the status leaves a question; feedback is `{"id":…,"feedback":{…}}` |
//!
//! A detail is a sentence of at most 300 bytes, in which nothing of the payload stands but the name of a field that there is not.
//!
//! MQTT 5's response topic takes the place of the configured one: [`reply_topic`].

mod action_request;
mod gate;
mod identity;
mod ids;
mod members;
mod refusal;
mod reply;
mod reply_topic;
mod service_request;
#[cfg(test)]
mod testing;

pub use action_request::ActionRequest;
pub use gate::{Accepted, Gate, NoGate};
pub use identity::{Id, Identity, Key};
pub use ids::Ids;
pub use refusal::{Detail, Malformed, Reason, Refused};
pub use reply::{GoalStatus, ServiceError};
pub use reply_topic::{ResponseTopicFault, reply_topic};
pub use service_request::ServiceRequest;

/// What has come to the topic of a command, a service or an action.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    pub payload: &'a [u8],
    /// The broker had kept it and sends it because of the subscription.
    pub retain: bool,
    /// MQTT 5's.
    pub correlation_data: Option<&'a [u8]>,
}

impl Received<'_> {
    /// Nothing is done that the broker had kept: nobody knows how old it is.
    fn check_not_retained(&self, identity: &Identity) -> Result<(), Malformed> {
        if !self.retain {
            return Ok(());
        }
        Err(Malformed { identity: identity.clone(), detail: Detail::new(refusal::RETAINED) })
    }
}
