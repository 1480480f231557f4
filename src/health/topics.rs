//! The configured topics, which a reload may change.

use std::sync::{Arc, Mutex, PoisonError};

use super::TopicHealth;

/// Everybody who reports asks for the topics of the moment.
#[derive(Debug, Default)]
pub struct Topics(Mutex<Vec<Arc<TopicHealth>>>);

impl Topics {
    pub fn new(topics: Vec<Arc<TopicHealth>>) -> Self {
        Topics(Mutex::new(topics))
    }

    /// The topics of this moment, in the configuration's order.
    pub fn all(&self) -> Vec<Arc<TopicHealth>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
