//! Whether the graph has to be asked who publishes a topic.

use super::super::TopicState;
use super::super::survey::Named;
use super::Topic;

/// What may have changed since the graph was asked last.
#[derive(Debug, Default)]
pub(super) struct News {
    named: Named,
    /// The graph was asked, and nothing has come since.
    is_known: bool,
}

impl News {
    /// The graph is about to be asked.
    pub(super) fn begin(&mut self) {
        self.is_known = true;
    }

    /// Something may have changed.
    pub(super) fn come(&mut self) {
        self.is_known = false;
    }
}

impl Topic {
    /// The graph has it like this.
    pub(in crate::ros) fn note_named(&mut self, named: Named) {
        if named != self.news.named {
            self.news.come();
        }
        self.news.named = named;
    }

    /// Whether the graph has to be asked who publishes it. `again` is said every few seconds: then also where nothing has
    /// come, but something is not as it should be.
    pub(in crate::ros) fn is_to_be_followed(&self, again: bool) -> bool {
        let Topic { news, open, state, unmatched, .. } = self;
        // Without a subscription nothing tells of publishers, and one of another type than its own it does not meet.
        let may_change_unseen = news.named.is_mixed || open.is_none() && news.named.is_there();
        let is_amiss = || match state {
            TopicState::Trouble(_) => true,
            TopicState::Subscribed { incompatible, unmatched, .. } => *incompatible > 0 || unmatched.is_some(),
            TopicState::Unknown => false,
        };
        !self.ended && (!news.is_known || unmatched.is_open() || may_change_unseen || again && is_amiss())
    }
}
