//! How it stands with one configured topic.

use std::sync::{Arc, Mutex, PoisonError};

use super::TopicCounters;
use crate::ros::TopicState;

/// What health knows of one configured topic; shared between the ROS thread, the queue and whoever reports.
#[derive(Debug)]
pub struct TopicHealth {
    /// Name of the ROS topic.
    pub name: String,
    pub counters: Arc<TopicCounters>,
    state: Mutex<TopicState>,
}

impl TopicHealth {
    pub fn new(name: &str) -> TopicHealth {
        TopicHealth { name: name.to_owned(), counters: Arc::default(), state: Mutex::new(TopicState::Unknown) }
    }

    pub fn set_state(&self, state: TopicState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub fn state(&self) -> TopicState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
