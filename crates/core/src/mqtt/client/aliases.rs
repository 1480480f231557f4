//! Topic aliases: a number in the place of a topic that was named before on the connection (MQTT 5.0, section
//! 3.3.2.3.4). On a small publish the topic is much of what it costs.
//!
//! A broker takes few (AWS IoT Core 8). They go to the topics that come first; a topic that has come far more often since
//! takes over that of the rarest.

use std::collections::HashMap;

/// Longest topic that an alias does not pay for: the property takes three bytes.
const TOO_SHORT: usize = 3;

/// After so many publishes all counts are halved, so that what was frequent once does not count for ever.
const FORGET_AFTER: u32 = 4096;

#[derive(Debug)]
pub(super) struct Aliases {
    most: u16,
    topics: HashMap<String, Use>,
    publishes: u32,
}

#[derive(Debug, Default)]
struct Use {
    count: u32,
    alias: Option<u16>,
    /// The broker knows that the alias stands for the topic.
    introduced: bool,
}

/// How a publish names its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// By itself.
    Topic,
    /// By itself, and from now on this alias stands for it.
    Introduced(u16),
    /// By the alias alone.
    Alias(u16),
}

impl Aliases {
    /// Aliases from 1 to `most`.
    pub fn new(most: u16) -> Self {
        Aliases { most, topics: HashMap::new(), publishes: 0 }
    }

    /// How the next publish to `topic` names it. Publishes have to be sent in the order of the calls.
    pub fn name(&mut self, topic: &str) -> Naming {
        if self.most == 0 || topic.len() <= TOO_SHORT {
            return Naming::Topic;
        }
        self.forget_old();
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), Use::default());
        }
        let count = self.topics.get(topic).map_or(0, |known| known.count) + 1;
        let free = self.free(topic, count);
        let Some(known) = self.topics.get_mut(topic) else { return Naming::Topic };
        known.count = count;
        known.alias = known.alias.or(free);
        match known.alias {
            None => Naming::Topic,
            Some(alias) if known.introduced => Naming::Alias(alias),
            Some(alias) => {
                known.introduced = true;
                Naming::Introduced(alias)
            }
        }
    }

    /// The broker did not take a publish to `topic`, and perhaps not its alias either.
    pub fn introduce_again(&mut self, topic: &str) {
        if let Some(known) = self.topics.get_mut(topic) {
            known.introduced = false;
        }
    }

    /// An alias for `topic`, which has none and has come `count` times.
    fn free(&mut self, topic: &str, count: u32) -> Option<u16> {
        if self.topics.get(topic).is_none_or(|known| known.alias.is_some()) {
            return None;
        }
        let holders = self.topics.values().filter(|known| known.alias.is_some()).count();
        if holders < usize::from(self.most) {
            return Some(holders as u16 + 1);
        }
        let rarest = self.topics.values_mut().filter(|known| known.alias.is_some()).min_by_key(|known| known.count)?;
        if rarest.count.saturating_mul(2) >= count {
            return None;
        }
        rarest.introduced = false;
        rarest.alias.take()
    }

    fn forget_old(&mut self) {
        self.publishes += 1;
        if self.publishes >= FORGET_AFTER {
            self.publishes = 0;
            self.topics.values_mut().for_each(|known| known.count /= 2);
            self.topics.retain(|_, known| known.count > 0 || known.alias.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic is named once together with its alias, and from then on by that; what comes later has none.
    #[test]
    fn the_first_topics_get_the_aliases() {
        let mut aliases = Aliases::new(2);
        assert_eq!(
            ["odom", "scan", "pose"].map(|topic| aliases.name(topic)),
            [Naming::Introduced(1), Naming::Introduced(2), Naming::Topic]
        );
        assert_eq!(
            ["odom", "scan", "pose"].map(|topic| aliases.name(topic)),
            [Naming::Alias(1), Naming::Alias(2), Naming::Topic]
        );
    }

    /// A topic that comes far more often than one with an alias takes it over, which is said to the broker; topics that
    /// come equally often do not take turns.
    #[test]
    fn the_frequent_take_over_from_the_rare() {
        let mut aliases = Aliases::new(1);
        aliases.name("rare");
        aliases.name("rare");
        let names: Vec<_> = (0..6).map(|_| aliases.name("often")).collect();
        let topic = Naming::Topic;
        assert_eq!(names, [topic, topic, topic, topic, Naming::Introduced(1), Naming::Alias(1)]);
        assert_eq!(aliases.name("rare"), Naming::Topic);
        let mut aliases = Aliases::new(1);
        for _ in 0..100 {
            assert_ne!(aliases.name("one1"), Naming::Topic);
            assert_eq!(aliases.name("two2"), Naming::Topic);
        }
    }

    /// Without aliases, and for a topic that is shorter than one, topics are named by themselves.
    #[test]
    fn aliases_are_for_brokers_that_take_them() {
        assert_eq!(Aliases::new(0).name("odom"), Naming::Topic);
        assert_eq!(Aliases::new(8).name("odo"), Naming::Topic);
    }

    /// After a publish that was not taken the alias is introduced again.
    #[test]
    fn a_refusal_introduces_again() {
        let mut aliases = Aliases::new(8);
        aliases.name("odom");
        aliases.introduce_again("odom");
        assert_eq!(aliases.name("odom"), Naming::Introduced(1));
    }
}
