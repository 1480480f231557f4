//! Who publishes a topic.

use std::ffi::{CStr, CString};

use r2r_rcl::{
    rcl_get_publishers_info_by_topic, rcutils_get_default_allocator,
    rmw_get_zero_initialized_topic_endpoint_info_array, rmw_qos_durability_policy_e, rmw_qos_reliability_policy_e,
    rmw_topic_endpoint_info_array_fini,
};

use super::context::Node;
use super::error::{RosError, check};
use super::subscription::PublisherId;
use super::type_hash::TypeHash;

/// A publisher of a topic, as discovery knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publisher {
    /// What its messages say of where they come from, with Fast DDS and Zenoh.
    pub(super) id: PublisherId,
    /// `package/msg/Name`.
    pub(super) type_name: String,
    /// The definition of that type; `None` where it does not tell.
    pub(super) definition: Option<TypeHash>,
    /// Lost samples are sent again.
    pub(super) reliable: bool,
    /// Late subscribers get what was published before.
    pub(super) transient_local: bool,
}

/// The publishers of `topic` that discovery has found so far.
pub(super) fn publishers(node: &Node, topic: &CStr) -> Result<Vec<Publisher>, RosError> {
    // SAFETY: the array is zero-initialised, filled in by rcl, read within its size, and given back with the
    // allocator it was made with. Its texts are NUL-terminated and copied before that.
    unsafe {
        let mut allocator = rcutils_get_default_allocator();
        let mut found = rmw_get_zero_initialized_topic_endpoint_info_array();
        check(
            "Asking for a topic's publishers",
            rcl_get_publishers_info_by_topic(node.as_ptr(), &mut allocator, topic.as_ptr(), false, &mut found),
        )?;
        let publishers = if found.size == 0 {
            Vec::new()
        } else {
            std::slice::from_raw_parts(found.info_array, found.size)
                .iter()
                .map(|info| Publisher {
                    id: info.endpoint_gid,
                    type_name: CStr::from_ptr(info.topic_type).to_string_lossy().into_owned(),
                    definition: TypeHash::of_endpoint(info),
                    reliable: info.qos_profile.reliability
                        != rmw_qos_reliability_policy_e::RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT,
                    transient_local: info.qos_profile.durability
                        == rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL,
                })
                .collect()
        };
        check("Giving back a topic's publishers", rmw_topic_endpoint_info_array_fini(&mut found, &mut allocator))?;
        Ok(publishers)
    }
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
