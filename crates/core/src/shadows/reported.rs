//! The latest message as `reported`: what of it has to be sent, and when.

use std::time::{Duration, Instant};

use super::client::MAY_BE_MENDED;
use super::state::{diff, is_same_state, prune};
use super::{DOCUMENT_LIMIT, State};
use crate::config::units::period;

/// The service's code of a shadow that would be too large.
const TOO_LARGE: u16 = 413;

/// A report does not fit into a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it makes {bytes} bytes of `reported`; a shadow holds {DOCUMENT_LIMIT}")]
pub struct TooLarge {
    pub bytes: usize,
}

/// What the shadow's `reported` is to become, and what it is.
#[derive(Debug)]
pub(super) struct Reported {
    /// Between two updates.
    interval: Duration,
    /// The latest message that fits.
    wanted: Option<State>,
    /// What the shadow holds, as far as that is known.
    held: State,
    /// What it holds once the update that is under way was taken.
    sent: Option<State>,
    /// What the service has refused: the state that was to be reached, and the code.
    refused: Option<(State, u16)>,
    not_before: Option<Instant>,
}

impl Reported {
    /// At most `rate` updates a second.
    pub fn new(rate: Option<f64>) -> Self {
        let interval = rate.map(period).unwrap_or_default();
        Reported { interval, wanted: None, held: State::new(), sent: None, refused: None, not_before: None }
    }

    /// Another connection.
    pub fn connected(&mut self) {
        self.refused.take_if(|(_, code)| MAY_BE_MENDED.contains(code));
    }

    /// A message has come.
    pub fn report(&mut self, mut message: State) -> Result<(), TooLarge> {
        prune(&mut message);
        let bytes = length_of_reported(&message);
        if bytes > DOCUMENT_LIMIT {
            return Err(TooLarge { bytes });
        }
        self.wanted = Some(message);
        Ok(())
    }

    /// What has to be sent; empty if nothing.
    pub fn difference(&self) -> State {
        match &self.wanted {
            Some(wanted) if !self.refused.as_ref().is_some_and(|(refused, _)| is_same_state(refused, wanted)) => {
                diff(&self.held, wanted)
            }
            _ => State::new(),
        }
    }

    /// Whether the shadow holds the latest message, as far as is known.
    pub fn is_held(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| diff(&self.held, wanted).is_empty())
    }

    /// When the next update may be sent, `now` or later.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.not_before.map_or(now, |not_before| not_before.max(now))
    }

    /// The [difference](Reported::difference) is under way.
    pub fn sent(&mut self, now: Instant) {
        self.sent.clone_from(&self.wanted);
        self.not_before = now.checked_add(self.interval);
    }

    /// What was under way was taken.
    pub fn accepted(&mut self) {
        if let Some(sent) = self.sent.take() {
            (self.held, self.refused) = (sent, None);
        }
    }

    /// What was under way was not taken; with a `code` it is not to be sent again unchanged.
    pub fn not_taken(&mut self, code: Option<u16>) {
        let sent = self.sent.take();
        self.refused = sent.zip(code).or(self.refused.take());
    }

    /// The service has said what the shadow holds.
    pub fn holds(&mut self, mut reported: State) {
        prune(&mut reported);
        self.held = reported;
    }

    /// There may be more room in the shadow than there was.
    pub fn has_more_room(&mut self) {
        self.refused.take_if(|(_, code)| *code == TOO_LARGE);
    }
}

/// Bytes of `reported` as a document with nothing else in it.
fn length_of_reported(reported: &State) -> usize {
    // A map of JSON values can always be written.
    r#"{"reported":}"#.len() + serde_json::to_string(reported).map_or(0, |text| text.len())
}
