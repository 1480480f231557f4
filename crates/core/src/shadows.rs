//! One shadow of a thing in AWS IoT Core's Device Shadow service, as a state machine: no connection, no thread, no ROS.
//!
//! ```text
//!  ROS ── Shadow::report ──► Reported ─┐           ┌─ Outgoing ──► …/get, …/update
//!                                      ├─ Client ──┤
//!  ROS ◄── Shadow::wish ──── Desired ──┘           └─ Shadow::arrived ◄── …/accepted, …/rejected, …/delta
//! ```
//!
//! [`Client`] is the protocol: topics, tokens, versions, one request at a time, time-outs and back-off. What is done with it is
//! apart, so that it serves others than [`Shadow`], which is an entry of `[[shadows]]`: the latest message of a ROS topic
//! becomes `reported`, and what differs in `desired` is a *wish* that is handed to ROS and then cleared.
//!
//! # Rules
//!
//! - **At each connection** the shadow is asked for (`get`), within a second that is random. Nothing is updated before it has
//!   answered: it says what the shadow holds, and what is wished meanwhile.
//! - **One update at a time.** Its `clientToken` tells its answer from those of others. After ten seconds without one it is
//!   asked for the shadow anew. An update may be on its way when the connection is lost, and arrive on the next one: nothing else
//!   is sent until it was answered, or its time is over and the shadow was asked for.
//! - **`reported` becomes the latest message, whole.** Only what differs from what the shadow holds is sent: objects are
//!   compared key by key, arrays as a whole; what the message has no more is sent as `null`, which removes it. `null`, and an
//!   object with nothing in it, can't be stored and count as missing. Reports carry no version: they are the robot's alone.
//! - **At most `report_rate`.** What came between is never sent, the latest is.
//! - **A report that was rejected is not sent again unchanged**, nor one that is longer than [`DOCUMENT_LIMIT`]. A right or a
//!   thing that was missing (401, 403, 404) is forgotten at the next connection, as somebody may have mended it; that it was
//!   too large (413) when the shadow has said what it holds or a wish was cleared, as there may be more room.
//! - **Wishes in order of version.** A delta has everything that is wished and not reported, so the last one is enough: older
//!   ones are dropped, and one that says the same again is not handed over again.
//! - **A wish that was handed over is cleared**, with the version of the delta: if somebody has wished something else
//!   meanwhile, the service refuses (409), the shadow is asked for, and what it says is the next wish. A wish that ROS did not
//!   take stays in the shadow, where somebody can see it.
//! - **Reports and clearings go together, or by turns.** After a conflict, or when an update of both was refused, each goes
//!   alone, and neither twice while the other waits, until a wish was cleared or to the next connection.
//! - **A wish that equals what is reported** makes no delta. It is cleared unseen, so that it does not undo a later change. Of a
//!   wish that equals it in part the delta has the other part: the shadow is asked for when that is cleared, and the rest is
//!   cleared as well.
//! - **The answer to a `get` that something newer has overtaken** is not believed, not even that there is no shadow: the shadow
//!   is asked for again.
//! - **Whatever comes is bounded**: payloads by [`ARRIVAL_LIMIT`] and by the nesting that a JSON reader takes, what is kept by
//!   the same. What can't be read is counted and changes nothing.

mod backoff;
mod client;
mod desired;
mod document;
mod reported;
mod shadow;
mod state;
mod tokens;
mod topics;

pub(crate) use backoff::Backoff;
pub(crate) use client::line;
pub use client::{Client, Event, Figures, Method, Outgoing, Rejection, TIMEOUT};
pub use document::{ARRIVAL_LIMIT, Malformed};
pub use reported::TooLarge;
pub use shadow::{Shadow, Wish};
pub use state::State;
pub(crate) use state::is_part_of;
pub(crate) use tokens::Tokens;
pub use topics::{Kind, Topics};

/// Most bytes of `desired` and `reported` together that a shadow holds ("AWS IoT Device Shadow service quotas"); metadata is
/// not counted.
pub const DOCUMENT_LIMIT: usize = 8192;

#[cfg(test)]
pub(crate) mod tests;
