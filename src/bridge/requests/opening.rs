//! What of publishing on ROS may take a while: a type, its publishers, and who subscribes to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};

use super::Outside;
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
/// subscribes every [`FOLLOW`] and when the nodes have changed. Its owner calls [`go_on`](Self::go_on) in each turn, and takes
/// what has come of it with [`take_opened`](Self::take_opened) and [`take_reach`](Self::take_reach). One job at a time.
pub(super) struct Opening<T> {
    job: Option<JoinHandle<()>>,
    /// What the job has made.
    made: Arc<Mutex<Made<T>>>,
    /// Of the last job.
    began: Option<Instant>,
    /// That the last job has followed.
    nodes: Vec<Arc<Node>>,
    trouble: Option<String>,
}

struct Made<T> {
    opened: Option<anyhow::Result<T>>,
    reach: Option<Reach>,
}

impl<T> Default for Opening<T> {
    fn default() -> Self {
        let made = Arc::new(Mutex::new(Made { opened: None, reach: None }));
        Opening { job: None, made, began: None, nodes: Vec::new(), trouble: None }
    }
}

impl<T: Opened> Opening<T> {
    /// Why the last attempt to open it has failed: a sentence without its full stop.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What has been opened since the last call.
    pub fn take_opened(&mut self) -> Option<T> {
        let opened = self.made().opened.take()?;
        match opened {
            Ok(open) => {
                self.trouble = None;
                Some(open)
            }
            Err(error) => {
                self.trouble = Some(format!("{error:#}"));
                self.made().reach = Some(Reach::default());
                None
            }
        }
    }

    /// Who subscribes, if it was looked since the last call.
    pub fn take_reach(&mut self) -> Option<Reach> {
        self.made().reach.take()
    }

    /// Does what is to be done next, if it is time, on a thread of its own: has it opened by `make`, or looks who subscribes to
    /// what is `open`.
    pub fn go_on(
        &mut self,
        open: Option<&T>,
        make: impl FnOnce(&[Arc<Node>]) -> anyhow::Result<T> + Send + 'static,
        outside: &Outside,
        now: Instant,
    ) {
        if self.job.as_ref().is_some_and(|job| !job.is_finished()) {
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
        let (made, waker) = (Arc::clone(&self.made), outside.waker());
        self.job = Some(match open {
            Some(open) => {
                let outlet = Arc::clone(open.outlet());
                spawn_blocking(move || {
                    if let Err(error) = outlet.follow(&nodes) {
                        outlet.note_failed(&error);
                    }
                    lock(&made).reach = Some(outlet.reach());
                    waker.notify_one();
                })
            }
            None => spawn_blocking(move || {
                let opened = make(&nodes);
                let reach = opened.as_ref().ok().map(|open| open.outlet().reach());
                *lock(&made) = Made { opened: Some(opened), reach };
                waker.notify_one();
            }),
        });
    }

    fn made(&self) -> MutexGuard<'_, Made<T>> {
        lock(&self.made)
    }
}

fn lock<T>(made: &Mutex<Made<T>>) -> MutexGuard<'_, Made<T>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}
