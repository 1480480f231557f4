//! Which definition of a message type somebody was built with.
//!
//! Since Iron each generated type has a hash of its whole definition, what it is made of included (REP 2011, "RIHS"),
//! and publishers tell theirs when they are discovered. Two that differ are two types of one name: the bytes of one,
//! read as the other, are wrong values under right names.

use r2r_rcl::{rmw_topic_endpoint_info_t, rosidl_message_type_support_t};

/// A hash of a type's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TypeHash {
    /// How it is made; 1 is SHA-256 of the type's description.
    version: u8,
    value: [u8; 32],
}

#[cfg(type_hashes)]
impl TypeHash {
    /// What an endpoint has told of its type; `None` where it did not.
    pub(super) fn of_endpoint(info: &rmw_topic_endpoint_info_t) -> Option<TypeHash> {
        Self::known(&info.topic_type_hash)
    }

    /// The hash of a type that is sourced; `None` where its package was generated without.
    ///
    /// # Safety
    /// `support` has to point to a type support whose library stays loaded during the call.
    pub(super) unsafe fn of_type(support: *const rosidl_message_type_support_t) -> Option<TypeHash> {
        // SAFETY: the caller's promise; the function returns a pointer into static data of the same library, or NULL.
        unsafe { (*support).get_type_hash_func.and_then(|hash| hash(support).as_ref()).and_then(Self::known) }
    }

    fn known(hash: &r2r_rcl::rosidl_type_hash_t) -> Option<TypeHash> {
        const UNSET: u8 = 0;
        (hash.version != UNSET).then_some(TypeHash { version: hash.version, value: hash.value })
    }
}

/// Before Iron nobody tells.
#[cfg(not(type_hashes))]
impl TypeHash {
    pub(super) fn of_endpoint(_: &rmw_topic_endpoint_info_t) -> Option<TypeHash> {
        None
    }

    /// # Safety
    /// None is needed; it is one function with that of later distributions.
    pub(super) unsafe fn of_type(_: *const rosidl_message_type_support_t) -> Option<TypeHash> {
        None
    }
}

#[cfg(test)]
impl TypeHash {
    /// One that differs from that of another `number`.
    pub(super) fn of_test(number: u8) -> TypeHash {
        TypeHash { version: 1, value: [number; _] }
    }
}
