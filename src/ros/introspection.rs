//! From rosidl's introspection to a [`Schema`].

use std::ffi::{CStr, c_char};
use std::sync::Arc;

use r2r_rcl::rosidl_typesupport_introspection_c__MessageMember as Member;
use r2r_rcl::rosidl_typesupport_introspection_c__MessageMembers as Members;
use r2r_rcl::rosidl_typesupport_introspection_c_field_types as FieldType;

use crate::codec::{Count, Field, Kind, Schema};

/// rosidl's type ids (rosidl_typesupport_introspection_c/field_types.h), under their short names.
macro_rules! type_ids {
    ($($name:ident = $id:ident),* $(,)?) => {
        $(const $name: u8 = FieldType::$id as u8;)*
    };
}

type_ids! {
    FLOAT = rosidl_typesupport_introspection_c__ROS_TYPE_FLOAT,
    DOUBLE = rosidl_typesupport_introspection_c__ROS_TYPE_DOUBLE,
    CHAR = rosidl_typesupport_introspection_c__ROS_TYPE_CHAR,
    BOOLEAN = rosidl_typesupport_introspection_c__ROS_TYPE_BOOLEAN,
    OCTET = rosidl_typesupport_introspection_c__ROS_TYPE_OCTET,
    UINT8 = rosidl_typesupport_introspection_c__ROS_TYPE_UINT8,
    INT8 = rosidl_typesupport_introspection_c__ROS_TYPE_INT8,
    UINT16 = rosidl_typesupport_introspection_c__ROS_TYPE_UINT16,
    INT16 = rosidl_typesupport_introspection_c__ROS_TYPE_INT16,
    UINT32 = rosidl_typesupport_introspection_c__ROS_TYPE_UINT32,
    INT32 = rosidl_typesupport_introspection_c__ROS_TYPE_INT32,
    UINT64 = rosidl_typesupport_introspection_c__ROS_TYPE_UINT64,
    INT64 = rosidl_typesupport_introspection_c__ROS_TYPE_INT64,
    STRING = rosidl_typesupport_introspection_c__ROS_TYPE_STRING,
    WSTRING = rosidl_typesupport_introspection_c__ROS_TYPE_WSTRING,
    MESSAGE = rosidl_typesupport_introspection_c__ROS_TYPE_MESSAGE,
}

/// What a C structure without fields is given, because C has none; not part of the message.
const PLACEHOLDER: &str = "structure_needs_at_least_one_member";

/// A field that the bridge can't carry.
#[derive(Debug, thiserror::Error)]
#[error("field `{field}` of {message} has a type that is not supported (rosidl type id {type_id})")]
pub struct UnsupportedField {
    message: String,
    field: String,
    type_id: u8,
}

/// Reads the shape of a message.
///
/// # Safety
/// `members` has to be the data of a type support of `rosidl_typesupport_introspection_c` whose library stays loaded.
pub(super) unsafe fn schema(members: *const Members) -> Result<Arc<Schema>, UnsupportedField> {
    // SAFETY: the caller's promise; rosidl's tables are static and complete.
    unsafe {
        let members = &*members;
        let name = format!("{}/{}", text(members.message_namespace_).replace("__", "/"), text(members.message_name_));
        let fields = std::slice::from_raw_parts(members.members_, members.member_count_ as usize);
        let fields = fields
            .iter()
            .filter(|member| text(member.name_) != PLACEHOLDER)
            .map(|member| field(&name, member))
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Schema { name, fields }))
    }
}

/// # Safety
/// As for [`schema`].
unsafe fn field(message: &str, member: &Member) -> Result<Field, UnsupportedField> {
    // SAFETY: the caller's promise; `members_` points to an introspection type support where the type is a message.
    unsafe {
        let name = text(member.name_);
        let string_bound = (member.string_upper_bound_ > 0).then_some(member.string_upper_bound_);
        let kind = match member.type_id_ {
            MESSAGE => Kind::Message(schema((*member.members_).data.cast())?),
            STRING => Kind::String { bound: string_bound },
            WSTRING => Kind::WString { bound: string_bound },
            FLOAT => Kind::F32,
            DOUBLE => Kind::F64,
            BOOLEAN => Kind::Bool,
            OCTET => Kind::Byte,
            CHAR | UINT8 => Kind::U8,
            INT8 => Kind::I8,
            UINT16 => Kind::U16,
            INT16 => Kind::I16,
            UINT32 => Kind::U32,
            INT32 => Kind::I32,
            UINT64 => Kind::U64,
            INT64 => Kind::I64,
            type_id => return Err(UnsupportedField { message: message.to_owned(), field: name, type_id }),
        };
        let count = match (member.is_array_, member.array_size_, member.is_upper_bound_) {
            (false, ..) => Count::One,
            (true, 0, _) => Count::Sequence { bound: None },
            (true, bound, true) => Count::Sequence { bound: Some(bound) },
            (true, size, false) => Count::Array(size),
        };
        Ok(Field { name, kind, count })
    }
}

/// # Safety
/// `pointer` has to be a NUL-terminated text.
unsafe fn text(pointer: *const c_char) -> String {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
