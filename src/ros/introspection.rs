//! From rosidl's introspection to a [`Schema`].

use std::collections::HashMap;
use std::ffi::{CStr, c_char};
use std::slice;
use std::sync::Arc;

use r2r_rcl::rosidl_typesupport_introspection_c__MessageMember as Member;
use r2r_rcl::rosidl_typesupport_introspection_c__MessageMembers as Members;
use r2r_rcl::rosidl_typesupport_introspection_c_field_types as FieldType;

use iot_bridge_core::codec::{Count, Field, Kind, Schema, SchemaError};

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

/// A message that the bridge can't carry.
#[derive(Debug, thiserror::Error)]
pub enum UnsupportedShape {
    #[error("field `{field}` of {message} has a type that is not supported (rosidl type id {type_id})")]
    Field { message: String, field: String, type_id: u8 },
    #[error(transparent)]
    Depth(#[from] SchemaError),
}

/// Reads the shape of a message. A type that is used in several places of it is read once, and shared.
///
/// # Safety
/// `members` has to be the data of a type support of `rosidl_typesupport_introspection_c` whose library stays loaded.
pub(super) unsafe fn schema(members: *const Members) -> Result<Arc<Schema>, UnsupportedShape> {
    // SAFETY: the caller's promise.
    unsafe { Reader::default().schema(members, 1) }
}

/// Whether tables are laid out as the program was built for, told by that of `builtin_interfaces/msg/Time`, which is known:
/// `int32 sec`, `uint32 nanosec`. Where members are longer or shorter, what is read for the second one is another.
///
/// # Safety
/// `members` has to be the table of that type, whose library stays loaded.
pub(super) unsafe fn is_laid_out_as_built(members: *const Members) -> bool {
    // SAFETY: the table has two members, of whatever length, so that these bytes are there or in static data beside them.
    // Nothing that is read is followed.
    unsafe {
        let table = &*members;
        let number = |at: usize, offset: usize| {
            let member = table.members_.add(at);
            let [is_key, is_array] =
                [&raw const (*member).is_key_, &raw const (*member).is_array_].map(|flag| flag.cast::<u8>().read());
            (*member).type_id_ as usize == usize::from([INT32, UINT32][at])
                && (*member).offset_ as usize == offset
                && (*member).string_upper_bound_ == 0
                && (*member).members_.is_null()
                && !(*member).name_.is_null()
                && [is_key, is_array] == [0, 0]
        };
        table.member_count_ == 2 && table.size_of_ == 8 && !table.members_.is_null() && number(0, 0) && number(1, 4)
    }
}

/// Reads each type once.
#[derive(Default)]
struct Reader {
    read: HashMap<*const Members, Arc<Schema>>,
}

impl Reader {
    /// The shape of a message that is `depth` deep in another; 1 for the outermost.
    ///
    /// # Safety
    /// As for [`schema`].
    unsafe fn schema(&mut self, members: *const Members, depth: usize) -> Result<Arc<Schema>, UnsupportedShape> {
        if let Some(known) = self.read.get(&members) {
            return Ok(Arc::clone(known));
        }
        // SAFETY: the caller's promise; rosidl's tables are static and complete.
        let schema = unsafe {
            let table = &*members;
            let name = format!("{}/{}", text(table.message_namespace_).replace("__", "/"), text(table.message_name_));
            // A table that leads back to itself would be read for ever. The plan of the decoder checks the rest.
            if depth > SchemaError::MAX_DEPTH {
                return Err(SchemaError::TooDeep { name }.into());
            }
            let fields = match table.member_count_ {
                0 => &[][..],
                count => slice::from_raw_parts(table.members_, count as usize),
            };
            let fields = fields
                .iter()
                .filter(|member| text(member.name_) != PLACEHOLDER)
                .map(|member| self.field(&name, member, depth))
                .collect::<Result<_, _>>()?;
            Arc::new(Schema { name, fields })
        };
        self.read.insert(members, Arc::clone(&schema));
        Ok(schema)
    }

    /// A field of a message that is `depth` deep.
    ///
    /// # Safety
    /// As for [`schema`].
    unsafe fn field(&mut self, message: &str, member: &Member, depth: usize) -> Result<Field, UnsupportedShape> {
        // SAFETY: the caller's promise; `members_` points to an introspection type support where the type is a message.
        let (name, nested) = unsafe {
            let nested = match member.type_id_ {
                MESSAGE => Some(self.schema((*member.members_).data.cast(), depth + 1)?),
                _ => None,
            };
            (text(member.name_), nested)
        };
        let string_bound = (member.string_upper_bound_ > 0).then_some(member.string_upper_bound_);
        let kind = match (member.type_id_, nested) {
            (_, Some(nested)) => Kind::Message(nested),
            (STRING, _) => Kind::String { bound: string_bound },
            (WSTRING, _) => Kind::WString { bound: string_bound },
            (FLOAT, _) => Kind::F32,
            (DOUBLE, _) => Kind::F64,
            (BOOLEAN, _) => Kind::Bool,
            (OCTET, _) => Kind::Byte,
            (CHAR | UINT8, _) => Kind::U8,
            (INT8, _) => Kind::I8,
            (UINT16, _) => Kind::U16,
            (INT16, _) => Kind::I16,
            (UINT32, _) => Kind::U32,
            (INT32, _) => Kind::I32,
            (UINT64, _) => Kind::U64,
            (INT64, _) => Kind::I64,
            (type_id, _) => return Err(UnsupportedShape::Field { message: message.to_owned(), field: name, type_id }),
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

#[cfg(test)]
mod tests {
    use std::ptr;

    use r2r_rcl::rosidl_message_type_support_t;

    use super::*;
    use iot_bridge_core::codec::Decoder;

    /// rosidl's tables as its generators write them; leaked, as theirs are static.
    fn message(name: &'static CStr, fields: Vec<Member>) -> &'static Members {
        Box::leak(table(name, fields))
    }

    fn table(name: &'static CStr, fields: Vec<Member>) -> Box<Members> {
        // SAFETY: zeros are null pointers, numbers, `false`, and no function.
        let mut members: Members = unsafe { std::mem::zeroed() };
        members.message_namespace_ = c"test__msg".as_ptr();
        members.message_name_ = name.as_ptr();
        members.member_count_ = u32::try_from(fields.len()).unwrap();
        if !fields.is_empty() {
            members.members_ = fields.leak().as_ptr();
        }
        Box::new(members)
    }

    fn octet(name: &'static CStr) -> Member {
        // SAFETY: as above.
        let mut member: Member = unsafe { std::mem::zeroed() };
        member.name_ = name.as_ptr();
        member.type_id_ = UINT8;
        member
    }

    fn nested(name: &'static CStr, members: *const Members) -> Member {
        // SAFETY: as above.
        let mut support: rosidl_message_type_support_t = unsafe { std::mem::zeroed() };
        support.data = members.cast();
        Member { type_id_: MESSAGE, members_: Box::leak(Box::new(support)), ..octet(name) }
    }

    fn read(members: *const Members) -> Result<Arc<Schema>, UnsupportedShape> {
        // SAFETY: the tables are as rosidl's are.
        unsafe { schema(members) }
    }

    /// A type that is used in several places is one schema, so that a plan has it once: laid out flat, this one would have
    /// 2^40 fields.
    #[test]
    fn a_type_is_read_once() {
        let wide = (0..40).fold(message(c"Leaf", vec![octet(c"n")]), |inner, _| {
            message(c"Wide", vec![nested(c"l", inner), nested(c"r", inner)])
        });
        let schema = read(wide).unwrap();
        let [Kind::Message(left), Kind::Message(right)] = [&schema.fields[0].kind, &schema.fields[1].kind] else {
            panic!("no messages")
        };
        assert!(Arc::ptr_eq(left, right));
        assert!(Decoder::new(schema).is_ok());
    }

    /// A table that leads back to itself, and one that is deeper than any message, is an error and no end of the stack.
    #[test]
    fn nesting_is_bounded_where_it_is_read() {
        let mut endless = table(c"Endless", vec![octet(c"n")]);
        endless.members_ = vec![nested(c"again", &raw const *endless)].leak().as_ptr();
        let error = read(Box::leak(endless)).unwrap_err();
        assert_eq!(error.to_string(), "type test/msg/Endless nests messages deeper than 64");
        let deep = (0..100_000)
            .fold(message(c"Leaf", vec![octet(c"n")]), |inner, _| message(c"Deep", vec![nested(c"m", inner)]));
        assert!(matches!(read(deep), Err(UnsupportedShape::Depth(SchemaError::TooDeep { .. }))));
    }

    /// A table whose members are longer than those that the program was built with, as in a later ROS, is told apart; nothing
    /// of it is followed.
    #[test]
    fn another_layout_is_told_apart() {
        let time = |sec: Member, nanosec: Member| {
            let mut table = table(c"Time", vec![sec, nanosec]);
            table.size_of_ = 8;
            table
        };
        let sec = || Member { type_id_: INT32, ..octet(c"sec") };
        let nanosec = || Member { type_id_: UINT32, offset_: 4, ..octet(c"nanosec") };
        let is_as_built = |table: &Members| {
            // SAFETY: the table has two members.
            unsafe { is_laid_out_as_built(table) }
        };
        let mut table = time(sec(), nanosec());
        assert!(is_as_built(&table));
        // One pointer more at the end of each member: the second one lies that much further.
        const LONGER: usize = size_of::<Member>() + size_of::<usize>();
        let bytes = Box::leak(Box::new([0_u64; 2 * LONGER / 8]));
        for (at, member) in [sec(), nanosec()].into_iter().enumerate() {
            // SAFETY: both lie within the bytes, and each is aligned to eight of them.
            unsafe { bytes.as_mut_ptr().byte_add(at * LONGER).cast::<Member>().write(member) };
        }
        table.members_ = bytes.as_ptr().cast();
        assert!(!is_as_built(&table));
        assert!(!is_as_built(&time(sec(), Member { offset_: 8, ..nanosec() })));
    }

    /// A message without fields may have a table of nothing at no address.
    #[test]
    fn a_table_of_nothing_is_not_read() {
        let empty = message(c"Empty", vec![]);
        assert_eq!(empty.members_, ptr::null());
        assert_eq!(read(empty).unwrap().fields, []);
    }
}
