use std::thread;

use super::super::arrivals::{Arrivals, Teller};
use super::super::buffer::Buffer;
use super::super::qos::Qos;
use super::super::subscription::Subscription;
use super::*;

const STRING: &str = "std_msgs/msg/String";

/// `std_msgs/msg/String` of one character.
fn text(character: u8) -> [u8; 10] {
    [0, 1, 0, 0, 2, 0, 0, 0, character, 0]
}

/// A subscriber on a node of its own.
struct Listener {
    subscription: Subscription,
    buffer: Buffer,
}

impl Listener {
    fn on(node: &Arc<Node>, topic: &str, type_name: &str, reliable: bool, transient_local: bool) -> Listener {
        let support = Arc::new(TypeSupport::load(type_name).unwrap());
        let teller = Teller { topic: 0, arrivals: Arrivals::of_test() };
        let (qos, topic) = (Qos { reliable, transient_local, depth: 10 }, graph::topic_name(topic).unwrap());
        let subscription = Subscription::create(node, &topic, &support, qos, &teller).unwrap();
        Listener { subscription, buffer: Buffer::new().unwrap() }
    }

    /// The next character, which has to come.
    fn next(&mut self) -> u8 {
        eventually("a message", || self.take())
    }

    fn take(&mut self) -> Option<u8> {
        self.subscription.take(&mut self.buffer).unwrap()?;
        Some(self.buffer.bytes()[8])
    }
}

fn eventually<T>(what: &str, mut try_it: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(it) = try_it() {
            return it;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

fn node(name: &str) -> Arc<Node> {
    crate::ros::domain::enter();
    Arc::new(Node::create(name, "").unwrap())
}

/// What is published reaches reliable and best-effort subscriptions, and nobody who comes later. The bridge's own do not count.
#[test]
fn what_is_published_reaches_who_is_there() {
    let (bridge, robot) = (node("iot_bridge"), node("robot"));
    let nodes = [Arc::clone(&bridge)];
    let outlet = Outlet::create(&nodes, "/order1", STRING).unwrap();
    assert!(matches!(outlet.publish(&text(b'a')), Err(NotPublished::Nobody)));
    let _own = Listener::on(&bridge, "/order1", STRING, true, false);
    eventually("the own subscription", || (outlet.ways()[0].publisher().subscriptions().unwrap() == 1).then_some(()));
    assert!(matches!(outlet.publish(&text(b'a')), Err(NotPublished::Nobody)));
    let [mut reliable, mut best_effort] = [true, false].map(|is| Listener::on(&robot, "/order1", STRING, is, false));
    eventually("both", || outlet.publish(&text(b'b')).ok().filter(|reached| *reached == 2));
    for listener in [&mut reliable, &mut best_effort] {
        // Who has been found may not have found the publisher yet.
        eventually("b", || {
            outlet.publish(&text(b'b')).unwrap();
            listener.take()
        });
    }
    drop((reliable, best_effort));
    eventually("nobody", || matches!(outlet.publish(&text(b'd')), Err(NotPublished::Nobody)).then_some(()));
    let mut late = Listener::on(&robot, "/order1", STRING, true, false);
    eventually("the late one", || outlet.publish(&text(b'e')).ok());
    assert_eq!(late.next(), b'e');
}

/// A subscription that asks for transient-local is reached beside others, each message once, and gets nothing that is older than
/// a second when it comes again.
#[test]
fn transient_local_is_offered_to_who_asks_for_it() {
    let (bridge, robot) = (node("iot_bridge"), node("robot"));
    let nodes = [bridge];
    let outlet = Outlet::create(&nodes, "/order2", STRING).unwrap();
    let mut volatile = Listener::on(&robot, "/order2", STRING, true, false);
    eventually("the volatile one", || outlet.publish(&text(b'a')).ok());
    assert_eq!(volatile.next(), b'a');
    let mut latched = Listener::on(&robot, "/order2", STRING, true, true);
    eventually("both", || {
        outlet.follow(&nodes).unwrap();
        (outlet.reach().subscribers == 2 && outlet.ways()[0].before().is_none()).then_some(())
    });
    assert_eq!(outlet.publish(&text(b'b')).unwrap(), 2);
    assert_eq!((volatile.next(), latched.next()), (b'b', b'b'));
    outlet.flush(Duration::from_secs(5));
    // DDS forgets by its own clock.
    thread::sleep(KEPT + Duration::from_millis(500));
    drop(latched);
    let mut again = Listener::on(&robot, "/order2", STRING, true, true);
    eventually("it again", || {
        outlet.follow(&nodes).unwrap();
        outlet.publish(&text(b'c')).ok().filter(|reached| *reached == 2)
    });
    assert_eq!(again.next(), b'c');
    let heard = std::iter::from_fn(|| volatile.take()).collect::<Vec<_>>();
    assert!(heard.iter().all(|character| *character == b'c'), "{heard:?}");
}

/// A context made anew finds the bridge's own subscription in the context before, and is told of its node a little later: it
/// reaches nobody by that.
#[test]
fn own_subscriptions_are_known_in_every_context() {
    let (first, begun) = (node("iot_bridge"), Instant::now());
    let _own = Listener::on(&first, "/order8", STRING, true, true);
    let mut was_unknown = false;
    while !was_unknown {
        let nodes = [Arc::clone(&first), node("iot_bridge")];
        let outlet = Outlet::create(&nodes, "/order8", STRING).unwrap();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "the context of today does not know the node");
            outlet.follow(&nodes).unwrap();
            let ways = outlet.ways().clone();
            assert!(ways.iter().all(|way| way.reached().is_empty() && !way.is_transient_local));
            assert!(matches!(outlet.publish(&text(b'a')), Err(NotPublished::Nobody)));
            let seen = ways[1].seen().subscribers.clone();
            match seen.first().map(|subscriber| &*subscriber.node) {
                Some("/iot_bridge") => break,
                Some("somebody") => was_unknown = true,
                _ => {}
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The publisher before stays until the newer one has found whom it has found, however many ask for transient-local.
#[test]
fn nobody_is_lost_when_transient_local_is_offered() {
    let (bridge, robot) = (node("iot_bridge"), node("robot"));
    let nodes = [bridge];
    let outlet = Outlet::create(&nodes, "/order5", STRING).unwrap();
    let _volatile = Listener::on(&robot, "/order5", STRING, true, false);
    let _latched = [(); 2].map(|()| Listener::on(&robot, "/order5", STRING, true, true));
    eventually("all in the graph", || {
        outlet.ways()[0].look(&outlet.topic).unwrap();
        (outlet.ways()[0].seen().subscribers.len() == 3 && outlet.ways()[0].others() == 1).then_some(())
    });
    // As if the newer one had found those alone who ask for transient-local: it has found fewer of the others than are counted.
    let mut way = outlet.way(&nodes[0], true).unwrap();
    way.seen = Mutex::new(outlet.ways()[0].seen().clone());
    let crowded = Outlet::create(&nodes, "/order6", STRING).unwrap();
    let _others = [(); 2].map(|()| Listener::on(&robot, "/order6", STRING, true, false));
    eventually("two others", || (crowded.ways()[0].publisher().subscriptions().unwrap() == 2).then_some(()));
    way.before = Mutex::new(Some(crowded.ways()[0].publisher()));
    eventually("all three", || (way.publisher.subscriptions().unwrap() == 3).then_some(()));
    way.since = Instant::now();
    way.forget_before(&outlet.type_support).unwrap();
    assert!(way.before().is_some(), "3 are not 2 and 2");
    way.before = Mutex::new(Some(outlet.ways()[0].publisher()));
    way.forget_before(&outlet.type_support).unwrap();
    assert!(way.before().is_none(), "3 are 1 and 2");
}

/// What stays true reaches who is there, and who asks for it when it comes later.
#[test]
fn what_stays_true_is_kept() {
    let (bridge, robot) = (node("iot_bridge"), node("robot"));
    let outlet = Outlet::latched(&[bridge], "/state1", STRING).unwrap();
    let mut volatile = Listener::on(&robot, "/state1", STRING, true, false);
    eventually("the volatile one", || outlet.publish(&text(b'a')).ok());
    assert_eq!(volatile.next(), b'a');
    thread::sleep(KEPT + Duration::from_millis(500));
    let mut late = Listener::on(&robot, "/state1", STRING, true, true);
    assert_eq!(late.next(), b'a');
}

/// Who can't be reached is named, and why.
#[test]
fn who_can_not_be_reached_is_named() {
    let (bridge, robot) = (node("iot_bridge"), node("robot"));
    let nodes = [bridge];
    let outlet = Outlet::create(&nodes, "/order3", STRING).unwrap();
    let _other = Listener::on(&robot, "/order3", "std_msgs/msg/Int32", true, false);
    let reach = eventually("the other type", || {
        outlet.follow(&nodes).unwrap();
        Some(outlet.reach()).filter(|reach| reach.unreached.iter().any(|who| !who.starts_with("somebody")))
    });
    assert_eq!(reach.unreached, ["/robot subscribes to it as std_msgs/msg/Int32"]);
    assert_eq!((reach.subscribers, reach.forbidden), (0, None));
    assert!(matches!(outlet.publish(&text(b'a')), Err(NotPublished::Nobody)));
}

/// Of several contexts, the newest is taken that reaches all; several only where none does.
#[test]
fn each_is_reached_once_where_that_can_be() {
    let ids = |ids: &[u8]| ids.iter().map(|id| [*id; _]).collect::<Vec<PublisherId>>();
    let chosen_of = |reach: &[&[u8]]| chosen(&reach.iter().map(|reached| ids(reached)).collect::<Vec<_>>());
    assert_eq!(chosen_of(&[&[1]]), [0]);
    assert_eq!(chosen_of(&[&[]]), [0]);
    assert_eq!(chosen_of(&[&[1, 2], &[1, 2]]), [1]);
    assert_eq!(chosen_of(&[&[1, 2], &[1]]), [0], "one that newer contexts do not find");
    assert_eq!(chosen_of(&[&[1, 2], &[], &[]]), [0]);
    assert_eq!(chosen_of(&[&[1], &[2]]), [1, 0]);
    assert_eq!(chosen_of(&[&[1], &[1], &[2, 3]]), [2, 1]);
}

/// What takes the place of another publisher does not have that end on a thread that publishes with it at the time.
#[test]
fn publishers_end_where_they_are_replaced() {
    let bridge = node("iot_bridge");
    let outlet = Outlet::create(&[Arc::clone(&bridge)], "/order7", STRING).unwrap();
    let publishing = outlet.ways().clone();
    let old = Arc::downgrade(&publishing[0]);
    let newer = node("iot_bridge");
    outlet.follow(&[Arc::clone(&newer)]).unwrap();
    drop(publishing);
    assert!(old.upgrade().is_some(), "it has not ended here");
    outlet.follow(&[newer]).unwrap();
    assert!(old.upgrade().is_none());
}

/// A context that is in trouble keeps nobody from being reached by another one, whether it is the best one or one of several.
#[test]
fn one_context_in_trouble_does_not_silence_the_others() {
    let (earlier, today, robot) = (node("iot_bridge"), node("iot_bridge"), node("robot"));
    let nodes = [Arc::clone(&earlier), Arc::clone(&today)];
    let outlet = Outlet::create(&nodes, "/order4", STRING).unwrap();
    let mut listener = Listener::on(&robot, "/order4", STRING, true, false);
    eventually("the listener", || {
        outlet.follow(&nodes).unwrap();
        let found = outlet.ways().iter().all(|way| way.reached().len() == 1 && way.others() == 1);
        found.then_some(())
    });
    let fails = |outlet: &Outlet| outlet.ways()[1].publisher().publish(&text(b'x')).is_err();
    assert!(!fails(&outlet));
    eventually("x", || listener.take());
    today.shut_down();
    assert!(fails(&outlet));
    assert_eq!(outlet.publish(&text(b'a')).unwrap(), 1);
    assert_eq!(listener.next(), b'a');
    outlet.publish_anyway(&text(b'b')).unwrap();
    assert_eq!(listener.next(), b'b');
    // As if there were somebody whom only the one in trouble reaches.
    outlet.ways()[1].seen().subscribers[0].id[0] ^= 1;
    let (reach, only) = (outlet.ways().iter().map(|way| way.reached()).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(chosen(&reach), only);
    outlet.publish(&text(b'c')).unwrap();
    assert_eq!(listener.next(), b'c');
    outlet.publish_anyway(&text(b'd')).unwrap();
    assert_eq!(listener.next(), b'd');
    earlier.shut_down();
    assert!(matches!(outlet.publish(&text(b'e')), Err(NotPublished::Ros(_))));
    assert!(outlet.publish_anyway(&text(b'e')).is_err());
}
