//! Reception from ROS 2: one rcl context, one node, one thread.
//!
//! Subscriptions are generic. The type support and the shape of a message are loaded at run time from the sourced
//! environment, so that a robot's own message packages need no rebuild of the bridge. A thread of its own waits on
//! all subscriptions, takes what is ready as CDR bytes into one reused buffer, and hands it to a [`Receiver`].
//! Publishing is generic as well, and may be done from any thread. So are calls of services and actions, on the thread that
//! they belong to.
//!
//! This is the only module with `unsafe`: everything below talks to rcl through r2r's bindings.

mod action_client;
mod addresses;
mod arrivals;
mod buffer;
mod client;
mod context;
mod definitions;
mod discovery;
mod distribution;
#[cfg(test)]
#[path = "../tests/support/domain.rs"]
pub(crate) mod domain;
mod earlier;
mod error;
mod fast_dds;
mod finder;
mod flaps;
mod graph;
mod guard_condition;
mod introspection;
mod joined;
mod message;
mod outlet;
mod pace;
mod per_node;
mod published;
mod publisher;
mod qos;
mod reader;
mod rest;
mod seen;
mod service_type;
mod shared_memory;
mod silence;
mod subscription;
mod survey;
mod thread;
mod topic;
mod turns;
mod type_hash;
mod type_names;
mod type_support;
mod unmatched;
mod wait_set;

use std::sync::Arc;

use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, GraphTopic, Reliability};

pub use action_client::ActionClient;
pub use arrivals::OnArrival;
#[cfg(test)]
pub(crate) use client::tests::UNREADABLE;
pub use client::{Client, MOST_CALLS};
pub use context::Node;
pub use discovery::{Role, SETTLED, meet_the_graph};
pub use distribution::{BUILT_FOR, Distribution, sourced_distribution};
pub use error::RosError;
pub use outlet::{NotPublished, Outlet, Reach};
pub use per_node::{One, PerNode};
pub use published::{Published, published, why_nothing};
pub use publisher::{NoPublisher, Publisher};
pub use reader::Reader;
pub use service_type::{ActionType, ServiceType};
pub use shared_memory::is_udp_alone;
pub use silence::Silence;
pub use thread::{Change, RosThread, spawn, spawn_patient};
pub use type_support::{TypeSupport, TypeSupportError, schema_of};
pub use unmatched::{Mismatch, Unmatched};

/// A topic that somebody wants to receive.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Absolute name.
    pub topic: String,
    /// `package/msg/Name`; without it the type that is published.
    pub type_name: Option<String>,
    pub reliability: Reliability,
    pub durability: Durability,
    /// Messages that DDS keeps until they are taken.
    pub depth: usize,
}

/// Which topics are looked for, by their names.
pub type Interest = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The topics that are looked for and published by somebody else than the bridge.
#[derive(Clone, Default)]
pub struct Sighted {
    /// What was looked for; `None` if nothing was.
    pub interest: Option<Interest>,
    /// By name. A topic stays for a while after its last publisher has gone, if it is received.
    pub topics: Vec<GraphTopic>,
}

/// A message as DDS delivered it.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Encapsulation header and body.
    pub cdr: &'a [u8],
    /// When it was published, nanoseconds since 1970 on the publisher's clock; 0 when DDS does not say.
    pub source_ns: i64,
    /// When DDS received it for the bridge, nanoseconds since 1970.
    pub received_ns: i64,
}

/// How it stands with a wanted topic.
#[derive(Debug, Clone, PartialEq)]
pub enum TopicState {
    /// Nobody publishes it yet, so its type is not known.
    Unknown,
    /// Subscribed.
    Subscribed {
        type_name: String,
        /// Publishers that deliver.
        publishers: usize,
        /// Publishers that offer less than the configured QoS asks for: nothing arrives from them.
        incompatible: usize,
        /// Publishers with another definition of the type than the one that is sourced: nothing of theirs is handed on.
        redefined: usize,
        /// Publishers that DDS does not let deliver for another reason.
        unmatched: Option<Unmatched>,
    },
    /// Not received, for a reason that a person has to read. It is tried again.
    Trouble(String),
}

/// The sentence, without its full stop, for `redefined` publishers with another definition of `type_name` than the one
/// sourced, beside `others` whose messages can be read.
pub fn another_definition(type_name: &str, redefined: usize, others: usize) -> String {
    let who = match others {
        0 => "it is published".to_owned(),
        others => format!("{redefined} of {} publishers publish it", redefined + others),
    };
    format!(
        "{who} with another definition of {type_name} than the one sourced; source the robot's build and restart the service"
    )
}

/// Takes what the ROS thread receives. Every call comes from that thread; a slow receiver delays all topics.
///
/// `topic` is an index into the wanted topics. A [`Change`] gives the index of one that is wanted no more to another.
pub trait Receiver: Send {
    /// `topic` will arrive in this shape from now on.
    fn opened(&mut self, topic: usize, schema: &Arc<Schema>);
    /// A message arrived.
    fn received(&mut self, topic: usize, sample: &Sample<'_>);
    /// A message arrived that can't be read: its publisher has another definition of the type than the one sourced.
    fn unreadable(&mut self, topic: usize);
    /// At least `count` messages were published, but lost or overwritten in DDS before they could be taken. The last ones
    /// of a publisher are missed unnoticed: a loss shows with the next message.
    fn lost(&mut self, topic: usize, count: u64);
    /// DDS refused `count` publishers of `topic`, because what they offer does not satisfy `policy`.
    fn refused(&mut self, topic: usize, policy: &'static str, count: u64);
    /// The state of `topic` is another one than before.
    fn changed(&mut self, topic: usize, state: TopicState);
    /// Nobody has published `topic` for a while, for this reason, or somebody does again.
    fn silent(&mut self, topic: usize, silence: Option<Silence>);
    /// The thread came round once more, or from one topic to the next: it lives. At least twice a second, unless one
    /// call takes longer.
    fn turned(&mut self);
    /// When [`turned`](Self::turned) has something to do, at the latest; `None` while nothing waits for a time.
    fn wake_at(&self) -> Option<std::time::Instant> {
        None
    }
    /// Everything that has arrived was handed on, and nothing comes any more.
    fn ended(&mut self) {}
}
