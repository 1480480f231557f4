//! Jobs: requests for them do not go to subscribers, nor do the answers; what the service says by itself does.

mod service;

use bytes::Bytes;
use serde_json::Value;

use self::service::{Publication, Service};
use super::{AwsBroker, Message, Shared};

/// The jobs of all things. The service is there from the beginning.
pub type Jobs = Service;

impl AwsBroker {
    /// Somebody makes a job with `document` for a thing.
    pub fn create_job(&self, thing: &str, job: &str, document: Value) {
        self.change_jobs(|jobs| jobs.create(thing, job, document));
    }

    /// Somebody cancels a job, though it may be in progress (`force`).
    pub fn cancel_job(&self, thing: &str, job: &str) {
        self.change_jobs(|jobs| jobs.end(thing, job, "CANCELED"));
    }

    /// `{"status":…,"version":…,"details":…}`; null if there is no such job.
    pub fn job(&self, thing: &str, job: &str) -> Value {
        self.shared.with(|state| state.jobs.standing(thing, job))
    }

    fn change_jobs(&self, change: impl FnOnce(&mut Jobs) -> Vec<Publication>) {
        self.shared.with(|state| {
            let news = change(&mut state.jobs);
            state.tell(news);
        });
    }
}

impl Shared {
    /// Takes a request for jobs. Returns what the client that has asked gets, subscribed or not; `None` if it is no such request.
    pub(super) fn take_for_jobs(&self, topic: &str, payload: &[u8]) -> Option<Vec<Message>> {
        self.with(|state| {
            let published = state.jobs.take(topic, payload)?;
            let _ = state.messages.send((topic.to_owned(), Bytes::copy_from_slice(payload)));
            state.tell(published.news);
            let answers = published.answers.into_iter();
            Some(
                answers
                    .map(|(topic, payload)| Message { topic, payload: payload.into(), ..Message::default() })
                    .collect(),
            )
        })
    }
}
