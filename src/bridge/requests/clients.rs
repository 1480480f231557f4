//! What an entry calls ROS with: its type, and a client in each of the bridge's nodes. Both are made on blocking threads, and
//! what can't be had is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use super::Outside;
use super::task::Task;
use super::trouble::{News, Trouble};
use crate::ros::{Node, OnArrival, One, PerNode, RosError};

/// How long what can't be had is left alone.
const AGAIN: Duration = Duration::from_secs(10);

/// How often servers are looked for while nobody asks: each look reads the graph of every node.
const LOOK: Duration = Duration::from_millis(500);

/// How long what servers have sent is taken in one turn: other entries may have to stop a robot.
pub(super) const SHARE: Duration = Duration::from_millis(5);

/// A type whose clients call something.
pub(super) trait Callable: Sized + Send + Sync + 'static {
    type Client: Send + 'static;

    /// Loads it by its name. The error says why it can't be used: a sentence without its full stop.
    fn load(type_name: &str) -> anyhow::Result<Self>;
    /// A client of `name`.
    fn client(&self, node: &Arc<Node>, name: &str, wake: &OnArrival) -> Result<Self::Client, RosError>;
    /// Whether somebody serves what the client calls.
    fn is_available(client: &Self::Client) -> Result<bool, RosError>;
}

/// The clients of one name.
pub(super) struct Clients<C: Callable> {
    name: String,
    type_name: String,
    callable: Option<Arc<C>>,
    each: PerNode<C::Client>,
    making: Option<Task<Made<C>>>,
    /// What can't be had.
    trouble: Trouble,
    /// When it is tried again.
    again: Option<Instant>,
    /// When servers were looked for, and whether there was one.
    looked: Option<Instant>,
    is_served: bool,
}

/// What was made on a blocking thread.
struct Made<C: Callable> {
    callable: anyhow::Result<Arc<C>>,
    clients: Vec<(Arc<Node>, C::Client)>,
    failed: Option<RosError>,
}

impl<C: Callable> Clients<C> {
    pub fn new(name: &str, type_name: &str) -> Clients<C> {
        let (name, type_name) = (name.to_owned(), type_name.to_owned());
        let (callable, each, making, trouble) = (None, PerNode::default(), None, Trouble::default());
        Clients { name, type_name, callable, each, making, trouble, again: None, looked: None, is_served: false }
    }

    /// Makes what is missing. A client of a node that is left goes, unless it `is_in_use` or it alone reaches the server.
    pub fn follow(&mut self, outside: &Outside, now: Instant, is_in_use: impl Fn(u64) -> bool) {
        let nodes = outside.nodes();
        if let Some(made) = self.making.as_mut().and_then(Task::end) {
            self.making = None;
            self.made(made, &nodes, now);
        }
        if self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK) {
            self.looked = Some(now);
            let best = self.available().map(|one| one.id);
            self.is_served = best.is_some();
            let left = self.each.leave(&nodes, |one| is_in_use(one.id) || best == Some(one.id));
            if !left.is_empty() {
                // Others may have to stop the robot while clients and their nodes end.
                spawn_blocking(move || drop(left));
            }
        }
        let missing = self.each.missing(&nodes);
        if missing.is_empty() {
            self.has_trouble(None, now);
        }
        let rests = self.again.is_some_and(|again| now < again);
        if self.making.is_some() || rests || missing.is_empty() {
            return;
        }
        let (callable, name, type_name) = (self.callable.clone(), self.name.clone(), self.type_name.clone());
        let waker = outside.waker();
        let wake: OnArrival = Arc::new(move || waker.notify_one());
        self.making = Some(Task::begin(outside, move || make(callable, &name, &type_name, missing, &wake)));
    }

    fn made(&mut self, made: Made<C>, nodes: &[Arc<Node>], now: Instant) {
        let trouble = match made.callable {
            Ok(callable) => {
                self.callable = Some(callable);
                made.failed.map(|error| error.to_string())
            }
            Err(error) => Some(format!("{error:#}")),
        };
        for (node, client) in made.clients {
            self.each.add(node, client, nodes);
        }
        // What is new may reach a server.
        self.looked = None;
        self.has_trouble(trouble, now);
    }

    /// What can't be had at the moment.
    fn has_trouble(&mut self, trouble: Option<String>, now: Instant) {
        self.again = trouble.is_some().then(|| now + AGAIN);
        let name = &self.name;
        match self.trouble.set(trouble, now) {
            Some(News::Wrong(why)) => tracing::error!(name, "{name} can't be called: {why}."),
            Some(News::Over) => tracing::info!(name, "{name} can be called now."),
            None => {}
        }
    }

    /// Whether there was a server at the last look.
    pub fn is_served(&self) -> bool {
        self.is_served
    }

    /// The type, once it is loaded.
    pub fn callable(&self) -> Option<&Arc<C>> {
        self.callable.as_ref()
    }

    /// What can't be had: a sentence without its full stop.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.why()
    }

    /// Why nothing can be called at the moment.
    pub fn absence(&self) -> String {
        match (self.trouble(), &self.callable) {
            (Some(why), _) => why.to_owned(),
            (None, None) => format!("the bridge is still loading {}", self.type_name),
            (None, Some(_)) => format!("there is no server of {} on ROS", self.name),
        }
    }

    /// The newest client with a server, at this moment.
    pub fn available(&self) -> Option<&One<C::Client>> {
        // A node that can't be asked has none.
        self.each.newest(|client| C::is_available(client).unwrap_or(false))
    }

    /// That which is known by `id`.
    pub fn get(&self, id: u64) -> Option<&C::Client> {
        self.each.get(id)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut C::Client> {
        self.each.get_mut(id)
    }

    /// What they are known by.
    pub fn ids(&self) -> Vec<u64> {
        self.each.ids().collect()
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
