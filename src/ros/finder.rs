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
//!
//! A publisher whose node is not known may be one of the bridge itself. It is looked at again, and counts as somebody else's
//! when its node is still not known after [`NAMED_WITHIN`].

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::graph::{self, Owner, Publisher};
use super::joined::Joined;
use super::survey::Named;
use super::topic::Topic;
use super::{Interest, Sighted};
use iot_bridge_core::config::GraphTopic;

/// Published topics that are asked for again every few seconds, although nothing has changed.
const IN_TURN: usize = 50;

/// How long the node of a publisher may be unknown before it is taken for somebody else's. Names come some 0.1 s after publishers.
const NAMED_WITHIN: Duration = Duration::from_secs(2);

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
    /// Since when it has publishers whose node is not known.
    unknown_since: Option<Instant>,
    asked: Instant,
}

impl Known {
    /// What `publishers` make of a topic that has had such of unknown nodes since `unknown_since`.
    fn of(named: Named, publishers: &[Publisher], unknown_since: Option<Instant>, now: Instant) -> Known {
        let has_unknown = publishers.iter().any(|publisher| publisher.owner == Owner::Unknown);
        let unknown_since = has_unknown.then(|| unknown_since.unwrap_or(now));
        let mut known = Known { named, types: Vec::new(), unknown_since, asked: now };
        let is_decided = known.decision().is_none();
        known.types = graph::types_of(publishers, |owner| match owner {
            Owner::Bridge => false,
            Owner::Other => true,
            Owner::Unknown => is_decided,
        });
        known
    }

    /// When publishers whose node is not known are somebody else's; `None` if they are, or there are none.
    fn decision(&self) -> Option<Instant> {
        self.unknown_since.map(|since| since + NAMED_WITHIN).filter(|at| *at > self.asked)
    }
}

pub(super) struct Finder {
    /// `None` if nobody looks for anything.
    interest: Option<Interest>,
    known: HashMap<CString, Known>,
    /// Names to ask for in this look at the graph, with what they have there.
    asking: VecDeque<(CString, Named)>,
    /// The graph was looked at since it was told what is published.
    has_looked: bool,
    /// When the graph is to be looked at again for publishers whose node is not known.
    decision: Option<Instant>,
    sighted: watch::Sender<Sighted>,
}

impl Finder {
    pub(super) fn new(sighted: watch::Sender<Sighted>) -> Finder {
        let (known, asking) = (HashMap::new(), VecDeque::new());
        Finder { interest: None, known, asking, has_looked: false, decision: None, sighted }
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
            let as_before =
                |known: &Known| known.named == named && !known.types.is_empty() && known.decision().is_none();
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
                    let unknown_since = self.known.get(&name).and_then(|known| known.unknown_since);
                    let known = Known::of(named, &found.publishers, unknown_since, Instant::now());
                    self.decision = self.decision.into_iter().chain(known.decision()).min();
                    self.known.insert(name, known);
                }
                Err(error) => tracing::debug!("{error}."),
            }
            if Instant::now() >= end {
                break;
            }
        }
    }

    /// When the graph is to be looked at again, because it will be known then whose a publisher is. Told once.
    pub(super) fn take_decision(&mut self) -> Option<Instant> {
        self.decision.take()
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
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::context::Node;
    use super::super::publisher::Publisher as OwnPublisher;
    use super::super::{domain, survey};
    use super::*;

    /// The types that publishers of these owners make of a topic at `now`, and when it is to be looked at again.
    fn known(publishers: &[(&str, Owner)], since: Option<Instant>, now: Instant) -> (Vec<String>, Option<Instant>) {
        let publisher = |(type_name, owner): &(&str, Owner)| Publisher {
            id: [0; _],
            type_name: (*type_name).to_owned(),
            definition: None,
            reliable: true,
            transient_local: false,
            owner: *owner,
        };
        let publishers: Vec<_> = publishers.iter().map(publisher).collect();
        let known = Known::of(Named::default(), &publishers, since, now);
        (known.types.clone(), known.decision())
    }

    /// A publisher whose node is not known is looked at again, and is somebody's after its time; one whose node is known makes a
    /// topic at once.
    #[test]
    fn who_has_no_node_is_somebody_after_a_while() {
        let start = Instant::now();
        let (own, other, unknown) =
            (("p/msg/A", Owner::Bridge), ("p/msg/B", Owner::Other), ("p/msg/C", Owner::Unknown));
        let types = |types: &[&str]| types.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(known(&[own, other], None, start), (types(&["p/msg/B"]), None));
        assert_eq!(known(&[unknown, own], None, start), (types(&[]), Some(start + NAMED_WITHIN)));
        let shortly_before = start + NAMED_WITHIN - Duration::from_millis(1);
        let both = known(&[other, unknown], Some(start), shortly_before);
        assert_eq!(both, (types(&["p/msg/B"]), Some(start + NAMED_WITHIN)));
        assert_eq!(known(&[own, unknown], Some(start), start + NAMED_WITHIN), (types(&["p/msg/C"]), None));
        // Its node has become known, and another one has come.
        assert_eq!(known(&[own], Some(start), start + NAMED_WITHIN), (types(&[]), None));
        let later = start + 2 * NAMED_WITHIN;
        assert_eq!(known(&[unknown], None, later), (types(&[]), Some(later + NAMED_WITHIN)));
    }

    /// A publisher of the bridge itself, which has no node while it is made and while it ends, makes no topic, however often it is
    /// looked at.
    #[test]
    fn the_bridges_own_topics_are_not_found() {
        domain::enter();
        let node = Arc::new(Node::create("iot_bridge", "").unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let makes = thread::spawn({
            let (node, is_over) = (Arc::clone(&node), Arc::clone(&is_over));
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    OwnPublisher::create(&node, "/own", "std_msgs/msg/Empty").unwrap();
                }
            }
        });
        let (sights, sighted) = watch::channel(Sighted::default());
        let (joined, begun) = (Joined::new(node, Instant::now()), Instant::now());
        let mut finder = Finder::new(sights);
        finder.look_for(Arc::new(|_: &str| true));
        let mut without_node = 0;
        while without_node < 100 {
            let now = Instant::now();
            assert!(now - begun < Duration::from_secs(60), "{without_node} without a node");
            let (_, there) = survey::named(&joined.nodes(), std::iter::empty(), finder.interest()).unwrap();
            finder.note(there, false);
            finder.ask(&joined, now + NAMED_WITHIN);
            finder.tell(&[], now);
            without_node += finder.known.values().filter(|known| known.unknown_since.is_some()).count();
            assert!(sighted.borrow().topics.is_empty(), "{:?}", sighted.borrow().topics);
        }
        is_over.store(true, Ordering::Relaxed);
        makes.join().unwrap();
    }

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
