//! A topic's subscriptions in the contexts before that of today.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arrivals::Teller;
use super::context::Node;
use super::error::RosError;
use super::qos::Qos;
use super::subscription::Subscription;
use super::type_support::TypeSupport;

/// A subscription, and what it asks for.
pub(super) struct Reader {
    pub(super) subscription: Subscription,
    pub(super) qos: Qos,
}

impl Reader {
    pub(super) fn create(
        node: &Arc<Node>,
        topic: &CStr,
        support: &Arc<TypeSupport>,
        qos: Qos,
        teller: &Teller,
    ) -> Result<Reader, RosError> {
        Subscription::create(node, topic, support, qos, teller).map(|subscription| Reader { subscription, qos })
    }

    fn is_in(&self, node: &Arc<Node>) -> bool {
        Arc::ptr_eq(self.subscription.node(), node)
    }
}

/// Subscriptions for the publishers that the context of today does not find.
#[derive(Default)]
pub(super) struct Earlier {
    readers: Vec<Reader>,
    /// The contexts that know publishers which no other does, when it was looked last.
    needed: Vec<Arc<Node>>,
    /// When one was subscribed anew last.
    renewed: Option<Instant>,
}

impl Earlier {
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &Subscription> + Clone {
        self.readers.iter().map(|reader| &reader.subscription)
    }

    /// Whether `subscription` is one of these, and asks for `qos`.
    pub(super) fn asks_for(&self, qos: Qos, subscription: &Subscription) -> bool {
        self.readers.iter().any(|reader| reader.qos == qos && std::ptr::eq(&reader.subscription, subscription))
    }

    /// Whether the context of `node` has to stay.
    pub(super) fn needs(&self, node: &Arc<Node>) -> bool {
        self.readers.iter().any(|reader| reader.is_in(node)) || self.needed.iter().any(|one| Arc::ptr_eq(one, node))
    }

    /// The context of these has become one before.
    pub(super) fn add(&mut self, readers: impl IntoIterator<Item = Reader>) {
        self.readers.extend(readers);
    }

    /// All subscriptions, which are to end.
    pub(super) fn clear(&mut self) -> Vec<Subscription> {
        self.readers.drain(..).map(|reader| reader.subscription).collect()
    }

    /// The contexts that are needed from now on.
    pub(super) fn need(&mut self, nodes: Vec<Arc<Node>>) {
        self.needed = nodes;
    }

    /// Whether it has subscriptions in other contexts than `kept`.
    pub(super) fn is_elsewhere(&self, kept: &[Arc<Node>]) -> bool {
        self.readers.iter().any(|reader| !kept.iter().any(|node| reader.is_in(node)))
    }

    /// The subscriptions in other contexts than `kept`, which are to end.
    pub(super) fn leave(&mut self, kept: &[Arc<Node>]) -> Vec<Subscription> {
        let left = self.readers.extract_if(.., |reader| !kept.iter().any(|node| reader.is_in(node)));
        left.map(|reader| reader.subscription).collect()
    }

    /// Whether it has subscriptions that were replaced more than `overlap` ago.
    pub(super) fn has_replaced(&self, wanted: &[Qos], now: Instant, overlap: Duration) -> bool {
        self.renewed.is_none_or(|renewed| now >= renewed + overlap)
            && self.readers.iter().any(|reader| self.is_replaced(reader, wanted))
    }

    /// The replaced subscriptions, which are to end.
    pub(super) fn end_replaced(&mut self, wanted: &[Qos]) -> Vec<Subscription> {
        let replaced: Vec<bool> = self.readers.iter().map(|reader| self.is_replaced(reader, wanted)).collect();
        let mut replaced = replaced.into_iter();
        let ended = self.readers.extract_if(.., |_| replaced.next().unwrap_or_default());
        ended.map(|reader| reader.subscription).collect()
    }

    /// Another one in its context asks for what is wanted.
    fn is_replaced(&self, reader: &Reader, wanted: &[Qos]) -> bool {
        !wanted.contains(&reader.qos)
            && self.readers.iter().any(|other| other.is_in(reader.subscription.node()) && wanted.contains(&other.qos))
    }

    /// Subscribes with each of `wanted` in the needed contexts where that is not so yet.
    pub(super) fn subscribe(
        &mut self,
        topic: &CStr,
        support: &Arc<TypeSupport>,
        wanted: &[Qos],
        now: Instant,
        teller: &Teller,
    ) -> Result<(), RosError> {
        for node in &self.needed {
            for &qos in wanted {
                if !self.readers.iter().any(|reader| reader.qos == qos && reader.is_in(node)) {
                    self.readers.push(Reader::create(node, topic, support, qos, teller)?);
                    self.renewed = Some(now);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use super::super::arrivals::Arrivals;
    use super::super::buffer::Buffer;
    use super::super::domain;
    use super::super::joined::Joined;
    use super::super::publisher::Publisher;
    use super::super::topic::Topic;
    use super::super::type_support::TypeSupports;
    use super::super::{Receiver, Sample, Silence, TopicState, Wanted, graph};
    use super::*;
    use iot_bridge_core::codec::Schema;
    use iot_bridge_core::config::{Durability, Reliability};

    const STRING: &str = "std_msgs/msg/String";

    /// Whom messages have come from.
    #[derive(Default)]
    struct Heard(BTreeSet<char>);

    impl Receiver for Heard {
        fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
        fn received(&mut self, _: usize, sample: &Sample<'_>) {
            self.0.insert(char::from(sample.cdr[8]));
        }
        fn unreadable(&mut self, _: usize) {}
        fn lost(&mut self, _: usize, _: u64) {}
        fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
        fn changed(&mut self, _: usize, _: TopicState) {}
        fn silent(&mut self, _: usize, _: Option<Silence>) {}
        fn turned(&mut self) {}
    }

    /// A node at one of four addresses, which does not find those at the others. Domains have the same effect.
    fn node_at(address: usize) -> Arc<Node> {
        static DOMAINS: LazyLock<[u32; 4]> = LazyLock::new(|| [(); 4].map(|()| domain::reserve()));
        let domain = DOMAINS[address];
        // SAFETY: nextest runs each test in a process of its own, and no other thread of it reads the environment now.
        unsafe { std::env::set_var("ROS_DOMAIN_ID", domain.to_string()) };
        Arc::new(Node::create("iot_bridge", "").unwrap())
    }

    fn topic(name: &str) -> Topic {
        let (reliability, durability) = (Reliability::Auto, Durability::Auto);
        let wanted = Wanted { topic: name.into(), type_name: Some(STRING.into()), reliability, durability, depth: 10 };
        Topic::new(0, wanted, graph::topic_name(name).unwrap(), &Arrivals::of_test())
    }

    struct Bench {
        joined: Joined,
        types: TypeSupports,
        buffer: Buffer,
        /// Each with its name.
        publishers: Vec<(char, Publisher)>,
    }

    impl Bench {
        fn publish_at(&mut self, address: usize, topic: &str, name: char) {
            self.publishers.push((name, Publisher::create(&node_at(address), topic, STRING).unwrap()));
        }

        /// Follows `topic` while all publish, until messages have come from each of `wanted`.
        fn hear(&mut self, topic: &mut Topic, wanted: &str) {
            let (mut heard, deadline) = (Heard::default(), Instant::now() + Duration::from_secs(20));
            while !wanted.chars().all(|name| heard.0.contains(&name)) {
                assert!(Instant::now() < deadline, "{wanted} are wanted, {:?} are heard", heard.0);
                for (name, publisher) in &self.publishers {
                    publisher.publish(&[0, 1, 0, 0, 2, 0, 0, 0, *name as u8, 0]).unwrap();
                }
                topic.follow(&self.joined, &mut self.types, &mut self.buffer, &mut heard);
                topic.begin_round();
                topic.take(deadline, &mut self.buffer, &mut heard);
                std::thread::sleep(Duration::from_millis(20));
            }
        }

        /// Joins at another address. Those who were to find the new context have had their time.
        fn join_at(&mut self, address: usize, topic: Option<&mut Topic>) {
            let node = node_at(address);
            if let Some(topic) = topic {
                topic.rejoin(&node, &mut self.buffer, &mut Heard::default()).unwrap();
            }
            self.joined.again(node, Instant::now() - Duration::from_secs(11));
        }
    }

    /// The robot's address changes twice and more: nodes that started at each address are received, on a topic of before, on
    /// one that is added later, and on one that an early node publishes late. Contexts end that nobody needs.
    #[test]
    fn nodes_of_every_address_are_received() {
        let joined = Joined::new(node_at(0), Instant::now());
        let (types, buffer) = (TypeSupports::default(), Buffer::new().unwrap());
        let mut bench = Bench { joined, types, buffer, publishers: Vec::new() };
        let mut before = topic("/before");
        bench.publish_at(0, "/before", 'a');
        bench.hear(&mut before, "a");
        bench.join_at(1, Some(&mut before));
        bench.publish_at(1, "/before", 'b');
        bench.hear(&mut before, "ab");
        bench.join_at(2, Some(&mut before));
        bench.publish_at(2, "/before", 'c');
        bench.hear(&mut before, "abc");
        assert!(!bench.joined.leave(Instant::now(), |node| before.needs(node)));

        let mut added = topic("/before");
        bench.hear(&mut added, "abc");
        bench.publish_at(0, "/late", 'l');
        let mut late = topic("/late");
        bench.hear(&mut late, "l");

        // Nobody is left at the second address.
        bench.publishers.remove(1);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !bench.joined.leave(Instant::now(), |node| before.needs(node)) {
            assert!(Instant::now() < deadline);
            bench.hear(&mut before, "ac");
        }
        assert_eq!(bench.joined.nodes().len(), 2);

        // A topic that could not be subscribed at the new address is subscribed there all the same.
        bench.join_at(3, None);
        bench.publish_at(3, "/before", 'd');
        bench.hear(&mut before, "acd");
    }
}
