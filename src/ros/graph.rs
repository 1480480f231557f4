//! What discovery has found: who publishes a topic, which topics and nodes there are.

use std::ffi::{CStr, CString, c_char};

use r2r_rcl::{
    rcl_count_publishers, rcl_get_node_names, rcl_get_publishers_info_by_topic, rcl_get_subscriptions_info_by_topic,
    rcl_get_topic_names_and_types, rcl_names_and_types_fini, rcl_node_get_domain_id, rcl_node_get_fully_qualified_name,
    rcl_node_get_name, rcl_node_get_namespace, rcl_node_t, rcl_ret_t, rcutils_allocator_t,
    rcutils_get_default_allocator, rcutils_get_zero_initialized_string_array, rcutils_string_array_fini,
    rcutils_string_array_t, rmw_get_zero_initialized_names_and_types,
    rmw_get_zero_initialized_topic_endpoint_info_array, rmw_qos_durability_policy_e, rmw_qos_liveliness_policy_e,
    rmw_qos_profile_t, rmw_qos_reliability_policy_e, rmw_time_t, rmw_topic_endpoint_info_array_fini,
    rmw_topic_endpoint_info_array_t, rmw_topic_endpoint_info_t,
};

use super::context::Node;
use super::error::{RosError, check};
use super::subscription::PublisherId;
use super::type_hash::TypeHash;
use super::type_names::legible;

/// A publisher of a topic, as discovery knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publisher {
    /// What its messages say of where they come from, with Fast DDS and Zenoh.
    pub(super) id: PublisherId,
    /// `package/msg/Name`; what is no such name, made legible.
    pub(super) type_name: String,
    /// The definition of that type; `None` where it does not tell.
    pub(super) definition: Option<TypeHash>,
    /// Lost samples are sent again.
    pub(super) reliable: bool,
    /// Late subscribers get what was published before.
    pub(super) transient_local: bool,
    pub(super) owner: Owner,
}

/// Whose an endpoint is, by the name of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Bridge,
    Other,
    /// The RMW does not know its node yet. That of a DDS application without ROS has a name of its own,
    /// `_CREATED_BY_BARE_DDS_APP_`.
    ///
    /// An endpoint is discovered some 0.1 s before its node. So is one of the bridge's own by its other contexts, and in its own
    /// context it has no node while it is made and while it ends.
    Unknown,
}

/// A subscription of a topic, as discovery knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) id: PublisherId,
    /// Its node, in words.
    pub(super) node: String,
    /// `package/msg/Name`; what is no such name, made legible.
    pub(super) type_name: String,
    /// The definition of that type; `None` where it does not tell.
    pub(super) definition: Option<TypeHash>,
    /// It asks for what was published before it came.
    pub(super) transient_local: bool,
    /// It asks for something that no publisher of the bridge offers: in words.
    pub(super) asks_for: Option<&'static str>,
    /// It is one of the bridge itself.
    pub(super) is_own: bool,
}

/// How often the graph was asked who publishes a topic, and which topics there are: for tests.
#[cfg(test)]
pub(super) static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
#[cfg(test)]
pub(super) static ASKED_FOR_ALL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The publishers of `topic` that discovery has found so far. The bridge is `node`.
pub(super) fn publishers(node: &Node, topic: &CStr) -> Result<Vec<Publisher>, RosError> {
    #[cfg(test)]
    ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let own = names_of(node);
    endpoints(node, topic, |info| {
        let owner = match names_of_node(info) {
            names if names == own => Owner::Bridge,
            (_, name) if name == UNKNOWN => Owner::Unknown,
            _ => Owner::Other,
        };
        Publisher { owner, ..publisher(info) }
    })
}

/// What an RMW calls a node that it does not know (rmw_dds_common/graph_cache.hpp).
const UNKNOWN: &CStr = c"_NODE_NAME_UNKNOWN_";

/// What an RMW calls that of a DDS application without ROS (rmw_dds_common's graph_cache.cpp).
const BARE: &CStr = c"_CREATED_BY_BARE_DDS_APP_";

/// One that is not the bridge's own.
fn publisher(info: &rmw_topic_endpoint_info_t) -> Publisher {
    // SAFETY: the type's name is NUL-terminated.
    let type_name = unsafe { CStr::from_ptr(info.topic_type) };
    Publisher {
        id: info.endpoint_gid,
        type_name: legible(&type_name.to_string_lossy()),
        definition: TypeHash::of_endpoint(info),
        reliable: info.qos_profile.reliability != rmw_qos_reliability_policy_e::RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT,
        transient_local: info.qos_profile.durability
            == rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL,
        owner: Owner::Other,
    }
}

/// Namespace and name of `node`.
fn names_of(node: &Node) -> (&CStr, &CStr) {
    // SAFETY: each node that is there has both, NUL-terminated, for as long as it lives.
    unsafe {
        let (name, namespace) = (rcl_node_get_name(node.as_ptr()), rcl_node_get_namespace(node.as_ptr()));
        (CStr::from_ptr(namespace), CStr::from_ptr(name))
    }
}

/// Namespace and name of an endpoint's node.
fn names_of_node(info: &rmw_topic_endpoint_info_t) -> (&CStr, &CStr) {
    // SAFETY: both are NUL-terminated, and there as long as the endpoint's information.
    let text = |text: *const c_char| unsafe { if text.is_null() { c"" } else { CStr::from_ptr(text) } };
    (text(info.node_namespace), text(info.node_name))
}

/// The publishers of `topic`, each with the full name of its node.
pub(super) fn publishers_of_nodes(node: &Node, topic: &CStr) -> Result<Vec<(Publisher, String)>, RosError> {
    endpoints(node, topic, |info| {
        let (namespace, name) = names_of_node(info);
        (publisher(info), full_name(namespace, name))
    })
}

fn full_name(namespace: &CStr, name: &CStr) -> String {
    format!("{}/{}", namespace.to_string_lossy().trim_end_matches('/'), name.to_string_lossy())
}

/// Whose a subscription is, as a message names it: the full name of its node, which may be discovered after it.
fn in_words(namespace: &CStr, name: &CStr) -> String {
    match name {
        name if name == UNKNOWN => "somebody".to_owned(),
        name if name == BARE => "a DDS application without ROS".to_owned(),
        name => full_name(namespace, name),
    }
}

/// The subscriptions of `topic` that discovery has found so far. The bridge is `node`.
pub(super) fn subscribers(node: &Node, topic: &CStr) -> Result<Vec<Subscriber>, RosError> {
    let own = names_of(node);
    let of = |info: &rmw_topic_endpoint_info_t| {
        let publisher = publisher(info);
        let (namespace, name) = names_of_node(info);
        Subscriber {
            id: publisher.id,
            node: in_words(namespace, name),
            type_name: publisher.type_name,
            definition: publisher.definition,
            transient_local: publisher.transient_local,
            asks_for: more_than_offered(&info.qos_profile),
            is_own: (namespace, name) == own,
        }
    };
    all_endpoints("Asking for a topic's subscriptions", rcl_get_subscriptions_info_by_topic, node, topic, of)
}

/// What a subscription with this QoS asks for that publishers with ROS's default QoS do not offer, whatever their reliability and
/// durability.
fn more_than_offered(qos: &rmw_qos_profile_t) -> Option<&'static str> {
    use rmw_qos_liveliness_policy_e::{
        RMW_QOS_POLICY_LIVELINESS_MANUAL_BY_NODE as BY_NODE, RMW_QOS_POLICY_LIVELINESS_MANUAL_BY_TOPIC as BY_TOPIC,
    };
    // An RMW tells of no bound with the largest time that it knows, and with 0 if nobody has asked for one.
    let is_bound = |time: rmw_time_t| (time.sec, time.nsec) != (0, 0) && time.sec < 1 << 31;
    if is_bound(qos.deadline) {
        Some("a deadline")
    } else if is_bound(qos.liveliness_lease_duration) || [BY_NODE, BY_TOPIC].contains(&qos.liveliness) {
        Some("signs of life")
    } else {
        None
    }
}

/// What `of` says of each publisher of `topic`.
fn endpoints<T>(
    node: &Node,
    topic: &CStr,
    of: impl FnMut(&rmw_topic_endpoint_info_t) -> T,
) -> Result<Vec<T>, RosError> {
    all_endpoints("Asking for a topic's publishers", rcl_get_publishers_info_by_topic, node, topic, of)
}

/// A function of rcl that finds the endpoints of a topic.
type FindEndpoints = unsafe extern "C" fn(
    *const rcl_node_t,
    *mut rcutils_allocator_t,
    *const c_char,
    bool,
    *mut rmw_topic_endpoint_info_array_t,
) -> rcl_ret_t;

/// What `of` says of each endpoint of `topic` that `find` finds.
fn all_endpoints<T>(
    doing: &'static str,
    find: FindEndpoints,
    node: &Node,
    topic: &CStr,
    of: impl FnMut(&rmw_topic_endpoint_info_t) -> T,
) -> Result<Vec<T>, RosError> {
    // SAFETY: the array is zero-initialised, filled in by rcl, read within its size, and given back with the
    // allocator it was made with. Its texts are NUL-terminated and copied before that.
    unsafe {
        let mut allocator = rcutils_get_default_allocator();
        let mut found = rmw_get_zero_initialized_topic_endpoint_info_array();
        check(doing, find(node.as_ptr(), &mut allocator, topic.as_ptr(), false, &mut found))?;
        let endpoints = if found.size == 0 {
            Vec::new()
        } else {
            std::slice::from_raw_parts(found.info_array, found.size).iter().map(of).collect()
        };
        check("Giving back a topic's endpoints", rmw_topic_endpoint_info_array_fini(&mut found, &mut allocator))?;
        Ok(endpoints)
    }
}

/// The types, in order, that those of `publishers` offer whose `owner` counts.
pub(super) fn types_of(publishers: &[Publisher], counts: impl Fn(Owner) -> bool) -> Vec<String> {
    let counted = publishers.iter().filter(|publisher| counts(publisher.owner));
    let mut types: Vec<String> = counted.map(|publisher| publisher.type_name.clone()).collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// Shows each topic that somebody reads or writes to `show`, with its types. Names and types are as the RMW tells them.
pub(super) fn topics(node: &Node, mut show: impl FnMut(&CStr, &[&CStr])) -> Result<(), RosError> {
    #[cfg(test)]
    ASKED_FOR_ALL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // SAFETY: the arrays are zero-initialised, filled in by rcl with as many arrays of types as there are names, all of
    // texts that end with NUL, shown while they are there, and given back.
    unsafe {
        let mut allocator = rcutils_get_default_allocator();
        let mut found = rmw_get_zero_initialized_names_and_types();
        check(
            "Asking for the topics",
            rcl_get_topic_names_and_types(node.as_ptr(), &mut allocator, false, &mut found),
        )?;
        let mut types = Vec::new();
        for (at, name) in c_texts(&found.names).enumerate() {
            types.clear();
            types.extend(c_texts(&*found.types.add(at)));
            show(name, &types);
        }
        check("Giving back the topics", rcl_names_and_types_fini(&mut found))
    }
}

/// The domain of `node`.
pub(super) fn domain(node: &Node) -> usize {
    let mut domain = 0;
    // SAFETY: the node is alive, and rcl writes one number.
    unsafe { rcl_node_get_domain_id(node.as_ptr(), &mut domain) };
    domain
}

/// How many nodes there are besides `node`. Hidden ones, like that of the `ros2` command line's daemon, do not count.
pub(super) fn other_nodes(node: &Node) -> Result<usize, RosError> {
    // SAFETY: the arrays are zero-initialised, filled in by rcl with texts that end with NUL, copied, and given back; the
    // node's own name lives as long as the node.
    unsafe {
        let own = CStr::from_ptr(rcl_node_get_fully_qualified_name(node.as_ptr())).to_string_lossy().into_owned();
        let mut names = rcutils_get_zero_initialized_string_array();
        let mut namespaces = rcutils_get_zero_initialized_string_array();
        let asked = check(
            "Asking for the nodes",
            rcl_get_node_names(node.as_ptr(), rcutils_get_default_allocator(), &mut names, &mut namespaces),
        );
        let others = texts(&names).zip(texts(&namespaces)).filter(|(name, namespace)| {
            let full = format!("{}/{name}", namespace.trim_end_matches('/'));
            !name.starts_with('_') && full != own
        });
        let count = others.count();
        rcutils_string_array_fini(&mut names);
        rcutils_string_array_fini(&mut namespaces);
        asked.map(|()| count)
    }
}

/// The topics that somebody reads or writes, in order; without those of each node's own, and hidden ones.
pub(super) fn named(node: &Node) -> Result<Vec<String>, RosError> {
    const OF_EACH_NODE: [&str; 2] = ["/rosout", "/parameter_events"];
    // Whatever else calls itself a topic is no name that somebody meant to configure.
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_'))
            && !name.contains("/_")
            && !OF_EACH_NODE.contains(&name)
    };
    let mut named = Vec::new();
    topics(node, |name, _| named.extend(name.to_str().ok().filter(|name| is_name(name)).map(str::to_owned)))?;
    named.sort_unstable();
    Ok(named)
}

/// Whether somebody publishes the topic `name`. DDS has topics with names that ROS refuses: these are none.
pub(super) fn is_published(node: &Node, name: &str) -> bool {
    let mut count = 0;
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: node and name are alive, and rcl writes one number.
    let code = unsafe { rcl_count_publishers(node.as_ptr(), name.as_ptr(), &mut count) };
    check("Counting a topic's publishers", code).is_ok() && count > 0
}

/// Copies of the texts of an array.
///
/// # Safety
/// The array has to be zero-initialised or filled in by rcl.
unsafe fn texts(array: &rcutils_string_array_t) -> impl Iterator<Item = String> {
    // SAFETY: the caller's promise.
    unsafe { c_texts(array) }.map(|text| text.to_string_lossy().into_owned())
}

/// The texts of an array, where they are.
///
/// # Safety
/// As for [`texts`], and the array has to stay for as long as they are used.
unsafe fn c_texts<'a>(array: &rcutils_string_array_t) -> impl Iterator<Item = &'a CStr> {
    // SAFETY: the caller's promise: `size` pointers to texts that end with NUL.
    (0..array.size).map(|at| unsafe { CStr::from_ptr(*array.data.add(at)) })
}

/// The one type that all of `publishers` offer; `Err` holds the types when they differ.
pub(super) fn single_type(publishers: &[Publisher]) -> Result<Option<&str>, Vec<&str>> {
    let mut types: Vec<&str> = publishers.iter().map(|publisher| publisher.type_name.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    match types.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(types),
    }
}

/// Makes the C string that [`publishers`] wants.
pub(super) fn topic_name(topic: &str) -> Result<CString, RosError> {
    super::context::c_string("The topic name", topic)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::domain;
    use super::super::error::take_error_text;
    use super::super::publisher::Publisher;
    use super::*;

    /// What rcl says of a name that it refuses does not stay, or the next error would complain of it on stderr.
    #[test]
    fn a_name_that_ros_refuses_leaves_no_error() {
        domain::enter();
        let node = Arc::new(Node::create("iot_bridge", "").unwrap());
        let _publisher = Publisher::create(&node, "/abc", "std_msgs/msg/Empty").unwrap();
        assert!(is_published(&node, "/abc"));
        let none = take_error_text();
        assert!(!is_published(&node, "/1abc"));
        assert_eq!(take_error_text(), none);
    }

    #[test]
    fn who_has_no_node_is_said_in_words() {
        let said = [
            (c"/", c"talker", "/talker"),
            (c"/arm", c"talker", "/arm/talker"),
            (c"_NODE_NAMESPACE_UNKNOWN_", UNKNOWN, "somebody"),
            (BARE, BARE, "a DDS application without ROS"),
        ];
        for (namespace, name, expected) in said {
            assert_eq!(in_words(namespace, name), expected);
        }
    }
}
