//! What is wished: in order of version, handed over once, then cleared.

use super::state::{is_same_state, prune, removal};
use super::{State, Wish};

/// What became of the wishes so far.
#[derive(Debug, Default)]
pub(super) struct Desired {
    /// Version of the last that was looked at, on this connection.
    seen: Option<u64>,
    /// To be handed over.
    wish: Option<Wish>,
    /// What was handed over last and is still in the shadow.
    done: Option<State>,
    /// What ROS did not take and is still in the shadow.
    refused: Option<State>,
    /// What is to be written to `desired`: `null` for what was handed over.
    clear: Option<Clear>,
    /// Dropped because of their versions.
    pub stale: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Clear {
    /// The leaves of a delta.
    Leaves(State),
    /// All of `desired`, which is known.
    All,
}

impl Desired {
    /// Another connection: whatever was known of versions may be another's.
    pub fn connected(&mut self) {
        (self.seen, self.clear) = (None, None);
    }

    /// A delta has come.
    pub fn delta(&mut self, version: u64, mut state: State) {
        if self.seen >= Some(version) {
            self.stale += 1;
            return;
        }
        self.seen = Some(version);
        prune(&mut state);
        if !state.is_empty() {
            self.wishes(version, state, false);
        }
    }

    /// The service has said what the shadow holds.
    pub fn document(&mut self, version: u64, mut desired: State, mut delta: State) {
        self.seen = Some(version);
        prune(&mut delta);
        if !delta.is_empty() {
            self.wishes(version, delta, true);
            return;
        }
        // What was wished was taken back, or was reached.
        (self.wish, self.done, self.refused) = (None, None, None);
        prune(&mut desired);
        self.clear = (!desired.is_empty()).then_some(Clear::All);
    }

    /// There is no shadow.
    pub fn nothing(&mut self) {
        *self = Desired { stale: self.stale, ..Desired::default() };
    }

    /// `is_all` if it is known that `desired` holds nothing that has not been seen.
    fn wishes(&mut self, version: u64, state: State, is_all: bool) {
        let is = |other: &Option<State>| other.as_ref().is_some_and(|other| is_same_state(other, &state));
        if is(&self.done) {
            self.clear = Some(if is_all { Clear::All } else { Clear::Leaves(removal(&state)) });
            return;
        }
        if is(&self.refused) {
            return;
        }
        // A delta has everything that is still wished: this takes the place of one that was not handed over, and of what was.
        (self.done, self.refused, self.clear) = (None, None, None);
        self.wish = Some(Wish { version, state, is_all });
    }

    pub fn wish(&self) -> Option<&Wish> {
        self.wish.as_ref()
    }

    /// The wish was handed over.
    pub fn was_handed_over(&mut self) {
        let Some(Wish { state, is_all, .. }) = self.wish.take() else { return };
        self.clear = Some(if is_all { Clear::All } else { Clear::Leaves(removal(&state)) });
        self.done = Some(state);
    }

    /// The wish can't be handed over, ever.
    pub fn was_refused(&mut self) {
        self.refused = self.wish.take().map(|wish| wish.state);
    }

    /// What is to be written, and the version that it is for.
    pub fn to_clear(&self) -> Option<(&Clear, u64)> {
        self.clear.as_ref().zip(self.seen)
    }

    /// What was written for `version` was taken. What is to be cleared of a newer wish still is.
    pub fn cleared(&mut self, version: u64) {
        if self.seen == Some(version) {
            (self.clear, self.done) = (None, None);
        }
    }

    /// What was written was refused, and not for its version: it is not written again until there is a reason.
    pub fn not_cleared(&mut self) {
        self.clear = None;
    }
}
