//! Device shadows: requests for them do not go to subscribers, what the service says about them does.

mod service;

use bytes::Bytes;
use serde_json::{Value, json};

use self::service::{Publication, Service, prefix};
use super::{AwsBroker, Message, Shared, State};

/// The shadows of all things. They are there from the beginning.
pub type Shadows = Service;

impl AwsBroker {
    /// Somebody else updates a shadow with `state`, through the API.
    pub fn update_shadow(&self, thing: &str, name: &str, state: Value) {
        let request = json!({ "state": state }).to_string();
        self.shared.with(|shared| {
            // What is refused is the robot's.
            let refuse = std::mem::take(&mut shared.shadows.refuse);
            let published = shared.shadows.take(&format!("{}/update", prefix(thing, name)), request.as_bytes());
            shared.shadows.refuse = refuse;
            shared.tell(published.expect("a request"));
        });
    }

    /// `{"version":…,"desired":…,"reported":…}`; null if there is no such shadow.
    pub fn shadow(&self, thing: &str, name: &str) -> Value {
        self.shared.with(|state| state.shadows.document(&prefix(thing, name)))
    }

    /// The next updates of shadows are refused with these codes.
    pub fn refuse_shadow_updates(&self, codes: impl IntoIterator<Item = u16>) {
        self.shared.with(|state| state.shadows.refuse.extend(codes));
    }
}

impl Shared {
    /// Takes a request for a shadow. Returns false if it is none.
    pub(super) fn take_for_shadows(&self, topic: &str, payload: &[u8]) -> bool {
        self.with(|state| {
            let Some(published) = state.shadows.take(topic, payload) else { return false };
            let _ = state.messages.send((topic.to_owned(), Bytes::copy_from_slice(payload)));
            state.tell(published);
            true
        })
    }
}

impl State {
    /// Tells whoever has subscribed.
    pub(super) fn tell(&self, published: Vec<Publication>) {
        for (topic, payload) in published {
            self.deliver(&Message { topic, payload: payload.into(), ..Message::default() }.into());
        }
    }
}
