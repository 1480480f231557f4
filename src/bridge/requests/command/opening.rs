//! What of a command may take a while: its type, its publishers, and who subscribes to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Outside;
use crate::ros::{Node, Outlet, Reach};
use iot_bridge_core::config;
use iot_bridge_core::requests::Gate;

/// How soon it is tried again when a type can't be had: its package may be installed meanwhile.
const AGAIN: Duration = Duration::from_secs(5);

/// How often it is looked who subscribes, beside when the nodes have changed.
const FOLLOW: Duration = Duration::from_secs(1);

/// What commands are judged and published with.
pub(super) struct Open {
    pub gate: Gate,
    pub outlet: Arc<Outlet>,
}

#[derive(Default)]
pub(super) struct Opening {
    job: Option<JoinHandle<()>>,
    /// What the job has made.
    made: Arc<Mutex<Made>>,
    /// Of the last job.
    began: Option<Instant>,
    /// That the last job has followed.
    nodes: Vec<Arc<Node>>,
    trouble: Option<String>,
}

#[derive(Default)]
struct Made {
    opened: Option<anyhow::Result<Open>>,
    reach: Option<Reach>,
}

impl Opening {
    /// Why the last attempt to open it has failed: a sentence without its full stop.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What has been opened since the last call.
    pub fn take_opened(&mut self) -> Option<Open> {
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

    /// Does what is to be done next, if it is time, on a thread of its own.
    pub fn go_on(&mut self, settings: &config::Command, open: Option<&Open>, outside: &Outside, now: Instant) {
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
            Some(Open { outlet, .. }) => {
                let outlet = Arc::clone(outlet);
                spawn_blocking(move || {
                    if let Err(error) = outlet.follow(&nodes) {
                        tracing::debug!("{error}.");
                    }
                    lock(&made).reach = Some(outlet.reach());
                    waker.notify_one();
                })
            }
            None => {
                let settings = settings.clone();
                spawn_blocking(move || {
                    let opened = Open::new(&settings, &nodes);
                    let reach = opened.as_ref().ok().map(|open| open.outlet.reach());
                    *lock(&made) = Made { opened: Some(opened), reach };
                    waker.notify_one();
                })
            }
        });
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        lock(&self.made)
    }
}

impl Open {
    fn new(settings: &config::Command, nodes: &[Arc<Node>]) -> anyhow::Result<Open> {
        let outlet = Outlet::create(nodes, &settings.ros, &settings.type_name)?;
        let defaults = outlet.type_support().defaults()?;
        let gate = Gate::new(settings, outlet.type_support().schema(), &defaults)
            .with_context(|| format!("it does not fit {}", settings.type_name))?;
        Ok(Open { gate, outlet: Arc::new(outlet) })
    }
}

fn lock(made: &Mutex<Made>) -> MutexGuard<'_, Made> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}
