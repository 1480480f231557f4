//! What of publishing on ROS may take a while: a type, its publishers, and who subscribes to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Outside;
use super::task::Task;
use crate::ros::{Node, Outlet, Reach};

/// How soon it is tried again when a type can't be had: its package may be installed meanwhile.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked who subscribes, beside when the nodes have changed.
const FOLLOW: Duration = Duration::from_secs(1);

/// What an entry publishes with, once its type is loaded.
pub(super) trait Opened: Send + 'static {
    fn outlet(&self) -> &Arc<Outlet>;
}

/// Makes what an entry publishes with on a blocking thread, tries that again every [`AGAIN`] while it fails, and looks who
/// subscribes every [`FOLLOW`] and when the nodes have changed. One of these at a time.
pub(super) struct Opening<T> {
    job: Option<Task<Made<T>>>,
    /// Of the last job.
    began: Option<Instant>,
    /// That the last job has followed.
    nodes: Vec<Arc<Node>>,
    trouble: Option<String>,
}

/// What a job has made.
struct Made<T> {
    /// `None` if it was to look only.
    opened: Option<anyhow::Result<T>>,
    reach: Reach,
}

impl<T> Default for Opening<T> {
    fn default() -> Self {
        Opening { job: None, began: None, nodes: Vec::new(), trouble: None }
    }
}

impl<T: Opened> Opening<T> {
    /// Why the last attempt to open it has failed: a sentence without its full stop.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// To be called in each turn. Takes what was opened since the last one into `open`, and begins what is to be done next, if it
    /// is time: has it opened by `make`, or looks who subscribes to what is `open`. Returns who subscribes, if it was looked
    /// since the last turn; nobody does after an attempt that has failed.
    ///
    /// # Panics
    /// If `make` has panicked.
    pub fn turn(
        &mut self,
        open: &mut Option<T>,
        make: impl FnOnce(&[Arc<Node>]) -> anyhow::Result<T> + Send + 'static,
        outside: &Outside,
        now: Instant,
    ) -> Option<Reach> {
        let made = self.job.as_mut().and_then(Task::end);
        let reach = made.map(|Made { opened, reach }| {
            self.job = None;
            match opened {
                Some(Ok(opened)) => (*open, self.trouble) = (Some(opened), None),
                Some(Err(error)) => self.trouble = Some(format!("{error:#}")),
                None => {}
            }
            reach
        });
        self.go_on(open.as_ref(), make, outside, now);
        reach
    }

    fn go_on(
        &mut self,
        open: Option<&T>,
        make: impl FnOnce(&[Arc<Node>]) -> anyhow::Result<T> + Send + 'static,
        outside: &Outside,
        now: Instant,
    ) {
        if self.job.is_some() {
            return;
        }
        let nodes = outside.nodes();
        let is_same = nodes.len() == self.nodes.len()
            && nodes.iter().zip(&self.nodes).all(|(one, other)| Arc::ptr_eq(one, other));
        let pause = if open.is_some() { FOLLOW } else { AGAIN };
        let is_due = self.began.is_none_or(|began| now.saturating_duration_since(began) >= pause);
        if nodes.is_empty() || is_same && !is_due {
            return;
        }
        (self.began, self.nodes) = (Some(now), nodes.clone());
        self.job = Some(match open {
            Some(open) => {
                let outlet = Arc::clone(open.outlet());
                Task::begin(outside, move || {
                    if let Err(error) = outlet.follow(&nodes) {
                        outlet.note_failed(&error);
                    }
                    Made { opened: None, reach: outlet.reach() }
                })
            }
            None => Task::begin(outside, move || {
                let opened = make(&nodes);
                let reach = opened.as_ref().map(|open| open.outlet().reach()).unwrap_or_default();
                Made { opened: Some(opened), reach }
            }),
        });
    }
}
