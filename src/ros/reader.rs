//! A subscription for who takes its messages by himself, beside the ROS thread.

use std::sync::Arc;

use super::arrivals::{Arrivals, OnArrival, Teller};
use super::buffer::Buffer;
use super::context::{Node, c_string};
use super::error::RosError;
use super::qos::Qos;
use super::subscription::Subscription;
use super::type_support::TypeSupport;

/// Reads one topic on one node.
pub struct Reader {
    subscription: Subscription,
    arrivals: Arc<Arrivals>,
    buffer: Buffer,
    /// Messages that DDS keeps until they are taken.
    depth: usize,
    /// At most so many of those that DDS has told of were not taken yet.
    untaken: usize,
}

impl Reader {
    /// Reads messages of the type of `type_support` on `topic`, an absolute name. `wake` is called when there are some to be
    /// taken, and when a publisher has come or gone; not again before [`take`](Self::take) and [`take_match`](Self::take_match).
    ///
    /// # Errors
    /// rcl's own.
    pub(super) fn create(
        node: &Arc<Node>,
        topic: &str,
        type_support: &Arc<TypeSupport>,
        qos: Qos,
        wake: &OnArrival,
    ) -> Result<Reader, RosError> {
        let topic = c_string("The topic name", topic)?;
        let buffer = Buffer::new()?;
        let arrivals = Arrivals::new(Arc::clone(wake));
        let teller = Teller { topic: 0, arrivals: Arc::clone(&arrivals) };
        let subscription = Subscription::create(node, &topic, type_support, qos, &teller)?;
        Ok(Reader { subscription, arrivals, buffer, depth: qos.depth, untaken: 0 })
    }

    /// Takes the next message, if there is one.
    ///
    /// # Errors
    /// rcl's own. That message is lost; those behind it can be taken, and DDS does not tell of them again.
    pub fn take(&mut self) -> Result<Option<&[u8]>, RosError> {
        let mut told = Vec::new();
        self.arrivals.take_messages(&mut told);
        if !told.is_empty() {
            self.untaken = self.depth;
        }
        self.subscription.begin();
        let taken = self.subscription.take(&mut self.buffer);
        #[cfg(test)]
        let taken = taken.and_then(|taken| taken.map(|info| super::client::tests::fail().map(|()| info)).transpose());
        self.untaken = if matches!(taken, Ok(None)) { 0 } else { self.untaken.saturating_sub(1) };
        Ok(taken?.map(|_| self.buffer.bytes()))
    }

    /// Whether DDS may have messages that it has told of and that were not taken yet.
    pub fn has_untaken(&self) -> bool {
        self.untaken > 0 || !self.arrivals.are_none()
    }

    /// Whether a publisher has come or gone since the last call. Before Iron there are none to tell of.
    pub fn take_match(&self) -> bool {
        self.arrivals.take_events();
        self.subscription.begin_events();
        self.arrivals.take_match()
    }

    /// How many publishers it gets messages from; `None` where the RMW does not say.
    pub fn publishers(&self) -> Option<usize> {
        self.subscription.matched()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use iot_bridge_core::codec::string_data;

    use super::super::domain;
    use super::super::publisher::Publisher;
    use super::*;

    /// Each message is told of and taken once, and a publisher that comes or goes is told of too.
    #[test]
    fn messages_and_publishers_are_told() {
        const PATIENCE: Duration = Duration::from_secs(60);
        domain::enter();
        let node = |name| Arc::new(Node::create(name, "").unwrap());
        let (bridge, robot) = (node("iot_bridge"), node("robot"));
        let (waker, woken) = mpsc::channel();
        let wake: OnArrival = Arc::new(move || waker.send(()).unwrap_or_default());
        let strings = Arc::new(TypeSupport::load("std_msgs/msg/String").unwrap());
        let qos = Qos { reliable: true, transient_local: false, depth: 10 };
        let mut reader = Reader::create(&bridge, "/read", &strings, qos, &wake).unwrap();
        let matched = |reader: &Reader| {
            while !reader.take_match() {
                woken.recv_timeout(PATIENCE).expect("nothing tells of a publisher");
            }
            reader.publishers().unwrap()
        };
        let publisher = Publisher::create(&robot, "/read", "std_msgs/msg/String").unwrap();
        assert_eq!(matched(&reader), 1);
        let publish = |number: u8| publisher.publish(&[0, 1, 0, 0, 2, 0, 0, 0, b'0' + number, 0]).unwrap();
        // Nothing is told again before it was taken.
        assert!(reader.take().unwrap().is_none());
        // The publisher finds the reader at another time than the reader finds it, and what tells may be the match of before.
        let is_told = || woken.recv_timeout(Duration::from_millis(10)).is_ok();
        while {
            publish(0);
            is_told();
            reader.take().unwrap().is_none()
        } {}
        while reader.take().unwrap().is_some() || is_told() {}
        for number in 1..4 {
            publish(number);
            let taken = loop {
                match reader.take().unwrap() {
                    Some(cdr) => break string_data(cdr).unwrap().to_vec(),
                    None => woken.recv_timeout(PATIENCE).expect("nothing tells of a message"),
                }
            };
            assert_eq!(taken, [b'0' + number]);
            assert!(reader.take().unwrap().is_none());
        }
        drop(publisher);
        assert_eq!(matched(&reader), 0);
    }
}
