//! Another set of wanted topics takes the place of the one before, while messages come.
//!
//! The index of a topic that has ended goes to the next one that is wanted. It needs no generation, for whatever goes on
//! carrying an index says no more than that its topic is to be looked at, and an ended topic is another value, with
//! subscriptions of its own:
//!
//! | what carries an index over a change | what becomes of one that another topic has now |
//! | --- | --- |
//! | [`Arrivals`](super::Arrivals): messages that DDS has told of | The new topic has a turn, and may have nothing. That a subscription has told, and need not tell again, is in its own [`Notice`](crate::ros::arrivals::Notice): so no mark of the new topic is taken for told. |
//! | `Arrivals`: events | The graph is asked once more for the new topic, and DDS for its events: nothing tells twice. |
//! | `left` | As with messages. Of the topic that has ended all was taken before, or given up with an error. |
//! | `looking` | The new topic is followed in a look at the graph that began before it. Each change begins another look, in which every new topic is followed. |
//! | `retiring` | The new topic has no subscription that waits for its end, and leaves the set. When it has one, it is entered. |
//! | `in_turn` | A place in the list, whoever has it. |
//! | `telling` of [`Listener`](crate::ros::silence::Listener) | The new topic is told of by its own time without a publisher. |
//! | `turns` | The time that the topic has used, which begins anew here. Nobody waits for a turn between two rounds. |
//!
//! The list never gets shorter, so that each index has a topic. One that has ended has no subscription, and is not followed.
//!
//! To forget what is there of an index when it is used again would be wrong: a mark that was told and is forgotten is not told
//! again.

use std::ffi::CString;

use super::{LAST_ROUND_OF_SOME, Reception, Topic};
use crate::ros::{Interest, Receiver, Wanted};

/// Another set of wanted topics. Those that are not named go on as if nothing were.
pub struct Change<R> {
    /// Indices of topics that are wanted no more. What has arrived of them is still handed on.
    pub remove: Vec<usize>,
    /// Tells the receiver of it: after the last message of what is removed, before the first of what is added.
    pub tell: Box<dyn FnOnce(&mut R) + Send>,
    /// Topics that are wanted otherwise from now on, by their indices; their names are the same.
    pub change: Vec<(usize, Wanted)>,
    /// Topics that are wanted from now on. Their indices are the lowest that no other wanted topic has, in this order.
    pub add: Vec<Wanted>,
    /// Which topics are looked for from now on, for [`RosThread::sighted`](super::RosThread::sighted); as before without it.
    pub interest: Option<Interest>,
}

impl<R> Default for Change<R> {
    /// Nothing changes.
    fn default() -> Self {
        let tell = Box::new(|_: &mut R| {});
        Change { remove: Vec::new(), tell, change: Vec::new(), add: Vec::new(), interest: None }
    }
}

impl<R: Receiver> Reception<R> {
    /// Carries out `change`, of which `names` are the names of what it adds.
    pub(super) fn apply(&mut self, change: Change<R>, names: Vec<CString>) {
        let mut removed = change.remove;
        removed.retain(|index| *index < self.topics.len());
        self.serve_last(&removed, LAST_ROUND_OF_SOME);
        for index in removed {
            self.topics[index].tell_missing(&mut self.receiver);
            self.topics[index].end();
        }
        for (index, wanted) in change.change {
            if let Some(topic) = self.topics.get_mut(index) {
                topic.want(wanted, &mut self.buffer, &mut self.receiver);
            }
        }
        if let Some(interest) = change.interest {
            self.finder.look_for(interest);
        }
        (change.tell)(&mut self.receiver);
        let mut free = 0;
        for (wanted, name) in change.add.into_iter().zip(names) {
            while self.topics.get(free).is_some_and(|topic| !topic.has_ended()) {
                free += 1;
            }
            let topic = Topic::new(free, wanted, name, &self.arrivals);
            match self.topics.get_mut(free) {
                Some(ended) => *ended = topic,
                None => self.topics.push(topic),
            }
            self.turns.begin_anew(free);
        }
    }
}
