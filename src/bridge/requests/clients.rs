//! What an entry calls ROS with: its type, and a client in each of the bridge's nodes. Both are made on blocking threads, and
//! what can't be had is tried again.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Outside;
use super::task::Task;
use crate::ros::{Node, OnArrival, One, PerNode, RosError, TypeSupportError};

/// How long what can't be had is left alone.
const AGAIN: Duration = Duration::from_secs(10);

/// A type whose clients call something.
pub(super) trait Callable: Sized + Send + Sync + 'static {
    type Client: Send + 'static;

    /// Loads it by its name.
    fn load(type_name: &str) -> Result<Self, Unusable>;
    /// A client of `name`.
    fn client(&self, node: &Arc<Node>, name: &str, wake: &OnArrival) -> Result<Self::Client, RosError>;
    /// Whether somebody serves what the client calls.
    fn is_available(client: &Self::Client) -> Result<bool, RosError>;
}

/// Why a type can't be used: a sentence without its full stop.
#[derive(Debug)]
pub(super) struct Unusable(pub String);

impl Unusable {
    pub fn because(error: impl Display) -> Unusable {
        Unusable(error.to_string())
    }
}

impl From<TypeSupportError> for Unusable {
    fn from(error: TypeSupportError) -> Unusable {
        Unusable::because(error)
    }
}

/// The clients of one name.
pub(super) struct Clients<C: Callable> {
    name: String,
    type_name: String,
    callable: Option<Arc<C>>,
    each: PerNode<C::Client>,
    making: Option<Task<Made<C>>>,
    /// What can't be had, and when it is tried again.
    trouble: Option<(String, Instant)>,
}

/// What was made on a blocking thread.
struct Made<C: Callable> {
    callable: Result<Arc<C>, Unusable>,
    clients: Vec<(Arc<Node>, C::Client)>,
    failed: Option<RosError>,
}

impl<C: Callable> Clients<C> {
    pub fn new(name: &str, type_name: &str) -> Clients<C> {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        Clients { name, type_name, callable: None, each: PerNode::default(), making: None, trouble: None }
    }

    /// Makes what is missing. A client of a node that is left goes, unless it `is_in_use` or it alone reaches the server.
    pub fn follow(&mut self, outside: &Outside, now: Instant, is_in_use: impl Fn(u64) -> bool) {
        if let Some(made) = self.making.as_mut().and_then(Task::end) {
            self.making = None;
            self.made(made, now);
        }
        let nodes = outside.nodes();
        let best = self.available().map(|one| one.id);
        self.each.leave(&nodes, |one| is_in_use(one.id) || best == Some(one.id));
        let missing = self.each.missing(&nodes);
        let rests = self.trouble.as_ref().is_some_and(|(_, again)| now < *again);
        if self.making.is_some() || rests || missing.is_empty() {
            return;
        }
        let (callable, name, type_name) = (self.callable.clone(), self.name.clone(), self.type_name.clone());
        let waker = outside.waker();
        let wake: OnArrival = Arc::new(move || waker.notify_one());
        self.making = Some(Task::begin(outside, move || make(callable, &name, &type_name, missing, &wake)));
    }

    fn made(&mut self, made: Made<C>, now: Instant) {
        let trouble = match made.callable {
            Ok(callable) => {
                self.callable = Some(callable);
                made.failed.map(|error| error.to_string())
            }
            Err(Unusable(why)) => Some(why),
        };
        made.clients.into_iter().for_each(|(node, client)| self.each.add(node, client));
        if let Some(why) = trouble.as_ref().filter(|why| self.trouble.as_ref().is_none_or(|(known, _)| known != *why)) {
            tracing::error!(name = self.name, "{} can't be called: {why}.", self.name);
        } else if trouble.is_none() && self.trouble.is_some() {
            tracing::info!(name = self.name, "{} can be called now.", self.name);
        }
        self.trouble = trouble.map(|why| (why, now + AGAIN));
    }

    /// The type, once it is loaded.
    pub fn callable(&self) -> Option<&Arc<C>> {
        self.callable.as_ref()
    }

    /// What can't be had: a sentence without its full stop.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|(why, _)| why.as_str())
    }

    /// Why nothing can be called at the moment.
    pub fn absence(&self) -> String {
        match (self.trouble(), &self.callable) {
            (Some(why), _) => why.to_owned(),
            (None, None) => format!("the bridge is still loading {}", self.type_name),
            (None, Some(_)) => format!("there is no server of {} on ROS", self.name),
        }
    }

    /// The newest client with a server.
    pub fn available(&self) -> Option<&One<C::Client>> {
        // A node that can't be asked has none.
        self.each.newest(|client| C::is_available(client).unwrap_or(false))
    }

    /// That which is known by `id`.
    pub fn get(&self, id: u64) -> Option<&C::Client> {
        self.each.get(id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut One<C::Client>> {
        self.each.iter_mut()
    }
}

/// Makes clients of `name` in `nodes`, and the type before if it is not there yet.
fn make<C: Callable>(
    callable: Option<Arc<C>>,
    name: &str,
    type_name: &str,
    nodes: Vec<Arc<Node>>,
    wake: &OnArrival,
) -> Made<C> {
    let callable = callable.map_or_else(|| C::load(type_name).map(Arc::new), Ok);
    let mut made = Made { callable, clients: Vec::new(), failed: None };
    if let Ok(callable) = &made.callable {
        for node in nodes {
            match callable.client(&node, name, wake) {
                Ok(client) => made.clients.push((node, client)),
                Err(error) => made.failed = Some(error),
            }
        }
    }
    made
}
