//! Finds the topics of the graph that somebody looks for by a pattern, as they appear and as they vanish.
//!
//! ```text
//!  names on the graph ─► of interest, and not wanted yet: who publishes it? ─┐
//!  wanted topics ──────► what following them has told (topic::others) ───────┴─► the list of what is published
//! ```
//!
//! Whoever wants topics by patterns gets the list whenever it has changed, and has the thread receive what it chooses.
//! Asking who publishes a topic costs a look at every publisher there is. So a topic that is published and not wanted, as
//! those beyond a limit are, is asked for again when its types have changed, and otherwise in turn.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::graph;
use super::joined::Joined;
use super::survey::Named;
use super::topic::Topic;
use super::{Interest, Sighted};
use iot_bridge_core::config::GraphTopic;

/// Published topics that are asked for again every few seconds, although nothing has changed.
const IN_TURN: usize = 50;

/// How it stands with a topic's publishers, those of the bridge itself apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// The graph was not asked yet, or has never had any.
    Unknown,
    /// With these types, in order.
    Published(&'a [String]),
    /// Not for a while.
    Unpublished,
}

/// A topic of interest that is not wanted.
struct Known {
    named: Named,
    /// Empty if nobody but the bridge publishes it.
    types: Vec<String>,
    asked: Instant,
}

pub(super) struct Finder {
    /// `None` if nobody looks for anything.
    interest: Option<Interest>,
    known: HashMap<CString, Known>,
    /// Names to ask for in this look at the graph, with what they have there.
    asking: VecDeque<(CString, Named)>,
    /// The graph was looked at since it was told what is published.
    has_looked: bool,
    sighted: watch::Sender<Sighted>,
}

impl Finder {
    pub(super) fn new(sighted: watch::Sender<Sighted>) -> Finder {
        Finder { interest: None, known: HashMap::new(), asking: VecDeque::new(), has_looked: false, sighted }
    }

    /// Looks for what is of `interest` from now on.
    pub(super) fn look_for(&mut self, interest: Interest) {
        self.interest = Some(interest);
        self.known.clear();
        self.asking.clear();
        // The look that is under way was not for this.
        self.has_looked = false;
    }

    /// Whether the topic `name` is looked for; `None` if none is.
    pub(super) fn interest(&self) -> Option<impl Fn(&CStr) -> bool> {
        let interest = Arc::clone(self.interest.as_ref()?);
        Some(move |name: &CStr| name.to_str().is_ok_and(|name| interest(name)))
    }

    /// A look at the graph has found `there`, of interest and not wanted. `again` is said every few seconds.
    pub(super) fn note(&mut self, there: HashMap<CString, Named>, again: bool) {
        self.has_looked = true;
        self.known.retain(|name, _| there.contains_key(name));
        let mut in_turn: Vec<_> =
            self.known.iter().filter(|_| again).map(|(name, known)| (known.asked, name)).collect();
        in_turn.sort_unstable();
        let in_turn: HashSet<_> = in_turn.into_iter().take(IN_TURN).map(|(_, name)| name.clone()).collect();
        for (name, named) in there {
            let as_before = |known: &Known| known.named == named && !known.types.is_empty();
            if !self.known.get(&name).is_some_and(as_before) || in_turn.contains(&name) {
                self.asking.push_back((name, named));
            }
        }
    }

    /// Whether nothing is left to ask for.
    pub(super) fn is_done(&self) -> bool {
        self.asking.is_empty()
    }

    /// Goes on asking until `end`.
    pub(super) fn ask(&mut self, joined: &Joined, end: Instant) {
        while let Some((name, named)) = self.asking.pop_front() {
            match joined.publishers(&name) {
                Ok(found) => {
                    let known =
                        Known { named, types: graph::types_of_others(&found.publishers), asked: Instant::now() };
                    self.known.insert(name, known);
                }
                Err(error) => tracing::debug!("{error}."),
            }
            if Instant::now() >= end {
                break;
            }
        }
    }

    /// Tells what is published after a look at the graph, if that has changed. `topics` are the wanted ones, which were
    /// followed.
    pub(super) fn tell(&mut self, topics: &[Topic], now: Instant) {
        let Some(interest) = self.interest.as_ref().filter(|_| self.has_looked) else { return };
        self.has_looked = false;
        let mut published: BTreeMap<&str, &[String]> = BTreeMap::new();
        let others = self.known.iter().filter(|(_, known)| !known.types.is_empty());
        published.extend(others.filter_map(|(name, known)| Some((name.to_str().ok()?, &known.types[..]))));
        let before = self.sighted.borrow();
        for topic in topics.iter().filter(|topic| !topic.has_ended() && interest(topic.name())) {
            match topic.standing(now) {
                Standing::Published(types) => _ = published.insert(topic.name(), types),
                Standing::Unpublished => _ = published.remove(topic.name()),
                // Wanted since a moment ago.
                Standing::Unknown => {
                    let place = before.topics.binary_search_by(|before| before.name.as_str().cmp(topic.name()));
                    if let Ok(place) = place {
                        published.insert(topic.name(), &before.topics[place].types);
                    }
                }
            }
        }
        let is_same =
            |before: &GraphTopic, (name, types): (&&str, &&[String])| before.name == **name && before.types == **types;
        if before.interest.as_ref().is_some_and(|before| Arc::ptr_eq(before, interest))
            && before.topics.len() == published.len()
            && before.topics.iter().zip(&published).all(|(before, now)| is_same(before, now))
        {
            return;
        }
        let topic = |(name, types): (&str, &[String])| GraphTopic { name: name.to_owned(), types: types.to_vec() };
        let topics = published.into_iter().map(topic).collect();
        drop(before);
        self.sighted.send_replace(Sighted { interest: Some(Arc::clone(interest)), topics });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Somebody else's topics are looked for while a look at the graph is under way: nothing is told before the next look.
    #[test]
    fn a_new_interest_is_told_nothing_of_the_look_before() {
        let (sights, mut sighted) = watch::channel(Sighted::default());
        let mut finder = Finder::new(sights);
        finder.look_for(Arc::new(|_: &str| true));
        finder.note(HashMap::new(), false);
        let second: Interest = Arc::new(|_: &str| true);
        finder.look_for(Arc::clone(&second));
        finder.tell(&[], Instant::now());
        assert!(!sighted.has_changed().unwrap());
        finder.note(HashMap::new(), false);
        finder.tell(&[], Instant::now());
        assert!(Arc::ptr_eq(sighted.borrow_and_update().interest.as_ref().unwrap(), &second));
    }
}
