//! Whose messages can be read with the definition of the type that is sourced.

use super::graph::Publisher;
use super::subscription::PublisherId;
use super::type_hash::TypeHash;

/// Publishers that are remembered, those that have gone included: their last messages may still arrive.
const REMEMBERED: usize = 256;

/// What is known of the publishers of a topic of one type.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    sourced: Option<TypeHash>,
    publishers: Vec<Known>,
    /// Publishers there are with another definition.
    others: usize,
    /// Publishers of whom the graph knew nothing when it was asked last.
    strangers: Vec<PublisherId>,
}

#[derive(Debug)]
struct Known {
    id: PublisherId,
    is_readable: bool,
}

impl Definitions {
    /// Of a type whose sourced definition has the hash `sourced`; without one everybody's messages are readable.
    pub(super) fn of(sourced: Option<TypeHash>) -> Self {
        Definitions { sourced, ..Self::default() }
    }

    /// Whether `publisher` has the definition that is sourced, as far as it tells.
    pub(super) fn is_shared(&self, publisher: &Publisher) -> bool {
        match (self.sourced, publisher.definition) {
            (Some(sourced), Some(published)) => sourced == published,
            _ => true,
        }
    }

    /// `publishers` are those of the type that the graph knows now.
    pub(super) fn learn<'a>(&mut self, publishers: impl Iterator<Item = &'a Publisher>) {
        self.strangers.clear();
        self.others = 0;
        for publisher in publishers {
            let is_readable = self.is_shared(publisher);
            self.others += usize::from(!is_readable);
            match self.publishers.iter_mut().find(|known| known.id == publisher.id) {
                Some(known) => known.is_readable = is_readable,
                None => {
                    if self.publishers.len() == REMEMBERED {
                        self.publishers.remove(0);
                    }
                    self.publishers.push(Known { id: publisher.id, is_readable });
                }
            }
        }
    }

    /// Whether a message of the publisher `id` can be read; `None` when the graph has to be asked first.
    ///
    /// Not every publisher can be found in the graph: it may have gone already, and some RMWs give messages another
    /// identity than endpoints. Its messages are taken for readable as long as everybody's are.
    pub(super) fn is_readable(&self, id: &PublisherId) -> Option<bool> {
        if let Some(known) = self.publishers.iter().find(|known| known.id == *id) {
            return Some(known.is_readable);
        }
        self.strangers.contains(id).then_some(self.others == 0)
    }

    /// The graph has been asked for `id` just now.
    pub(super) fn asked_for(&mut self, id: PublisherId) {
        if self.strangers.len() == REMEMBERED {
            self.strangers.remove(0);
        }
        self.strangers.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Owner;
    use super::*;

    fn publisher(number: u8, definition: Option<u8>) -> Publisher {
        let type_name = "probe_msgs/msg/Probe".into();
        let (id, definition) = ([number; _], definition.map(TypeHash::of_test));
        Publisher { id, type_name, definition, reliable: true, transient_local: false, owner: Owner::Other }
    }

    fn readable(definitions: &mut Definitions, number: u8) -> bool {
        definitions.is_readable(&[number; _]).unwrap_or_else(|| {
            definitions.asked_for([number; _]);
            definitions.is_readable(&[number; _]).unwrap()
        })
    }

    #[test]
    fn each_publisher_is_judged_by_its_own_definition() {
        let mut definitions = Definitions::of(Some(TypeHash::of_test(1)));
        definitions.learn([publisher(1, Some(1)), publisher(2, Some(2)), publisher(3, None)].iter());
        assert_eq!([1, 2, 3].map(|number| readable(&mut definitions, number)), [true, false, true]);
        // The one with the other definition goes; what it has published before is still not readable.
        definitions.learn([publisher(1, Some(1))].iter());
        assert!(!readable(&mut definitions, 2));
    }

    #[test]
    fn a_publisher_that_the_graph_does_not_know_is_asked_for_once() {
        let mut definitions = Definitions::of(Some(TypeHash::of_test(1)));
        definitions.learn([publisher(1, Some(1))].iter());
        assert_eq!(definitions.is_readable(&[9; _]), None);
        assert!(readable(&mut definitions, 9));
        // Wrong values under right names would be worse than a gap.
        definitions.learn([publisher(1, Some(1)), publisher(2, Some(2))].iter());
        assert!(!readable(&mut definitions, 9));
        assert_eq!(definitions.is_readable(&[9; _]), Some(false));
        definitions.learn([publisher(9, Some(1)), publisher(2, Some(2))].iter());
        assert!(readable(&mut definitions, 9));
    }

    #[test]
    fn without_a_hash_everybody_is_readable() {
        let mut definitions = Definitions::of(None);
        definitions.learn([publisher(1, Some(1)), publisher(2, None)].iter());
        assert!(readable(&mut definitions, 1) && readable(&mut definitions, 2));
    }
}
