//! The pass over a message: read a value, write a value, as the plan says.

use std::sync::Arc;

use super::cursor::{Cursor, Endian, HEADER};
use super::error::{DecodeError, Fault, SchemaError, Stop};
use super::json_buffer::JsonBuffer;
use super::number::{self, Bool};
use super::plan::{Item, Plan, Step};
use super::schema::{Count, Schema};
use super::text;

/// Turns serialized messages of one type into JSON text.
///
/// Cheap to clone; a decoder holds no state between messages.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(super) schema: Arc<Schema>,
    pub(super) plan: Arc<Plan>,
}

impl Decoder {
    /// Prepares decoding of messages of the type that `schema` describes.
    ///
    /// # Errors
    /// [`SchemaError`] for a schema that cannot be decoded within bounds; no ROS type that people write has one.
    pub fn new(schema: Arc<Schema>) -> Result<Self, SchemaError> {
        let plan = Plan::new(&schema)?;
        Ok(Decoder { schema, plan })
    }

    /// The type that this decodes.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Appends the message in `cdr`, encapsulation header included, to `out` as one JSON object.
    ///
    /// Takes time and memory in proportion to the JSON text, which is never longer than the limit of `out`, whatever
    /// `cdr` holds.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] as soon as it is known that the text does not fit into `out`;
    /// [`DecodeError::Malformed`] if the bytes do not fit the type. Either way `out` may hold a part of the text.
    pub fn write_json(&self, cdr: &[u8], out: &mut JsonBuffer) -> Result<(), DecodeError> {
        let pass = |out: &mut JsonBuffer| {
            let (endian, mut cursor) = Cursor::open(cdr)?;
            message(&self.plan, &mut cursor, endian, out)
        };
        pass(out).map_err(|stop| stop.into_error(out.limit()))
    }
}

/// The text of a serialized `std_msgs/msg/String`: the bytes of its `data` as they are, without the terminating NUL.
/// They need not be UTF-8.
///
/// # Errors
/// [`DecodeError::Malformed`] if `cdr` is no such message.
pub fn string_data(cdr: &[u8]) -> Result<&[u8], DecodeError> {
    let pass = || {
        let (endian, mut cursor) = Cursor::open(cdr)?;
        text::take_string(&mut cursor, endian, None).map_err(|stop| stop.within("data"))
    };
    pass().map_err(|stop: Stop| stop.into_error(usize::MAX))
}

fn message(plan: &Plan, cursor: &mut Cursor, endian: Endian, out: &mut JsonBuffer) -> Result<(), Stop> {
    for step in &plan.steps {
        out.put(&step.lead)?;
        let written = match step.count {
            Count::One => value(&step.item, cursor, endian, out),
            count => values(step, count, cursor, endian, out),
        };
        written.map_err(|stop| stop.within(&step.path))?;
    }
    Ok(out.put(&plan.tail)?)
}

#[inline]
fn value(item: &Item, cursor: &mut Cursor, endian: Endian, out: &mut JsonBuffer) -> Result<(), Stop> {
    match item {
        Item::Bool => number::one::<Bool, 1>(cursor, endian, out),
        Item::U8 => number::one::<u8, 1>(cursor, endian, out),
        Item::I8 => number::one::<i8, 1>(cursor, endian, out),
        Item::U16 => number::one::<u16, 2>(cursor, endian, out),
        Item::I16 => number::one::<i16, 2>(cursor, endian, out),
        Item::U32 => number::one::<u32, 4>(cursor, endian, out),
        Item::I32 => number::one::<i32, 4>(cursor, endian, out),
        Item::U64 => number::one::<u64, 8>(cursor, endian, out),
        Item::I64 => number::one::<i64, 8>(cursor, endian, out),
        Item::F32 => number::one::<f32, 4>(cursor, endian, out),
        Item::F64 => number::one::<f64, 8>(cursor, endian, out),
        Item::String(bound) => text::string(cursor, endian, *bound, out),
        Item::WideString(bound) => text::wide_string(cursor, endian, *bound, out),
        Item::Nothing => cursor.bytes(1).map(drop),
        Item::Message(plan) => message(plan, cursor, endian, out),
    }
}

/// Reads the values of an array or sequence and writes them as a JSON array, octets as base64 text.
fn values(step: &Step, count: Count, cursor: &mut Cursor, endian: Endian, out: &mut JsonBuffer) -> Result<(), Stop> {
    let count = length(count, step.item.min_size(), cursor, endian)?;
    match &step.item {
        Item::Bool => number::many::<Bool, 1>(cursor, endian, count, out),
        Item::U8 => Ok(out.put_base64(cursor.bytes(count)?)?),
        Item::I8 => number::many::<i8, 1>(cursor, endian, count, out),
        Item::U16 => number::many::<u16, 2>(cursor, endian, count, out),
        Item::I16 => number::many::<i16, 2>(cursor, endian, count, out),
        Item::U32 => number::many::<u32, 4>(cursor, endian, count, out),
        Item::I32 => number::many::<i32, 4>(cursor, endian, count, out),
        Item::U64 => number::many::<u64, 8>(cursor, endian, count, out),
        Item::I64 => number::many::<i64, 8>(cursor, endian, count, out),
        Item::F32 => number::many::<f32, 4>(cursor, endian, count, out),
        Item::F64 => number::many::<f64, 8>(cursor, endian, count, out),
        item @ (Item::String(_) | Item::WideString(_) | Item::Nothing | Item::Message(_)) => {
            out.ensure(count.saturating_mul(2))?;
            out.put(b"[")?;
            for index in 0..count {
                if index > 0 {
                    out.put(b",")?;
                }
                value(item, cursor, endian, out).map_err(|stop| stop.at(index))?;
            }
            Ok(out.put(b"]")?)
        }
    }
}

/// How many elements follow: known by the type, or read and checked against its bound. That many elements of at least
/// `size` bytes can be in what is left.
fn length(count: Count, size: usize, cursor: &mut Cursor, endian: Endian) -> Result<usize, Stop> {
    match count {
        Count::One => Ok(1),
        Count::Array(count) => {
            cursor.room(count, size, cursor.position())?;
            Ok(count)
        }
        Count::Sequence { bound } => {
            let count = cursor.count(endian)?;
            let announced = cursor.position() - 4;
            if let Some(bound) = bound.filter(|&bound| count > bound) {
                return Err(Stop::fault(HEADER + announced, Fault::OverBound { count, bound }));
            }
            cursor.room(count, size, announced)?;
            Ok(count)
        }
    }
}
