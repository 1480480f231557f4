//! The pass over a message: read a value, write a value, as the plan says.

use std::sync::Arc;

use super::array;
use super::cursor::{Cursor, Endian};
use super::error::{DecodeError, SchemaError, Stop};
use super::json_buffer::{Full, JsonBuffer};
use super::number::{self, Bool};
use super::plan::{Item, Lead, Plan, Skip, Work};
use super::schema::Schema;
use super::selection::{Selection, SelectionError};
use super::text;

/// Turns serialized messages of one type into JSON text.
///
/// Cheap to clone; a decoder holds no state between messages.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(super) schema: Arc<Schema>,
    pub(super) plan: Arc<Plan>,
    /// Significant digits of floating-point numbers.
    pub(super) digits: Option<u8>,
}

/// How the values of a message are read and written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) endian: Endian,
    /// Significant digits of floating-point numbers; the shortest that read back without it.
    pub(super) digits: Option<u8>,
}

impl Decoder {
    /// Prepares decoding of messages of the type that `schema` describes.
    ///
    /// # Errors
    /// [`SchemaError`] for a schema that cannot be decoded within bounds; no ROS type that people write has one.
    pub fn new(schema: Arc<Schema>) -> Result<Self, SchemaError> {
        let plan = Plan::new(&schema, &Selection::default())?.unwrap_or_default();
        Ok(Decoder { schema, plan, digits: None })
    }

    /// Prepares decoding of what `selection` wants of messages of the type that `schema` describes.
    ///
    /// # Errors
    /// [`SelectionError`] if a path of the selection leads nowhere or all of them leave nothing, or as of
    /// [`Decoder::new`].
    pub fn select(schema: Arc<Schema>, selection: &Selection) -> Result<Self, SelectionError> {
        if let Some(lost) = selection.lost(&schema).next() {
            return Err(lost);
        }
        let nothing = || SelectionError::NothingLeft { type_name: schema.name.clone() };
        let plan = Plan::new(&schema, selection)?.ok_or_else(nothing)?;
        Ok(Decoder { schema, plan, digits: selection.digits })
    }

    /// The type that this decodes.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Appends the message in `cdr`, encapsulation header included, to `out` as one JSON object.
    ///
    /// Takes time and memory in proportion to the JSON text, which is never longer than the limit of `out`, whatever
    /// `cdr` holds. What is not selected is only passed over: values of fixed size in one step, others one by one.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] as soon as it is known that the text does not fit into `out`;
    /// [`DecodeError::TooLong`] for an array for which the selection drops the message;
    /// [`DecodeError::Malformed`] if the bytes do not fit the type. In each case `out` may hold a part of the text.
    pub fn write_json(&self, cdr: &[u8], out: &mut JsonBuffer) -> Result<(), DecodeError> {
        let pass = |out: &mut JsonBuffer| {
            let (endian, mut cursor) = Cursor::open(cdr)?;
            message(&self.plan, &mut cursor, Style { endian, digits: self.digits }, out)
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

fn message(plan: &Plan, cursor: &mut Cursor, style: Style, out: &mut JsonBuffer) -> Result<(), Stop> {
    for step in &plan.steps {
        let done = match &step.work {
            Work::Skip(what) => skip(what, cursor, style.endian),
            Work::One(item) => {
                step.lead.write(out)?;
                value(item, cursor, style, out)
            }
            Work::Many(many) => array::values(many, &step.lead, cursor, style, out),
        };
        done.map_err(|stop| stop.within(&step.path))?;
    }
    Ok(out.put(&plan.tail)?)
}

#[inline]
pub(super) fn value(item: &Item, cursor: &mut Cursor, style: Style, out: &mut JsonBuffer) -> Result<(), Stop> {
    match item {
        Item::Bool => number::one::<Bool, 1>(cursor, style, out),
        Item::U8 => number::one::<u8, 1>(cursor, style, out),
        Item::I8 => number::one::<i8, 1>(cursor, style, out),
        Item::U16 => number::one::<u16, 2>(cursor, style, out),
        Item::I16 => number::one::<i16, 2>(cursor, style, out),
        Item::U32 => number::one::<u32, 4>(cursor, style, out),
        Item::I32 => number::one::<i32, 4>(cursor, style, out),
        Item::U64 => number::one::<u64, 8>(cursor, style, out),
        Item::I64 => number::one::<i64, 8>(cursor, style, out),
        Item::F32 => number::one::<f32, 4>(cursor, style, out),
        Item::F64 => number::one::<f64, 8>(cursor, style, out),
        Item::String(bound) => text::string(cursor, style.endian, *bound, out),
        Item::WideString(bound) => text::wide_string(cursor, style.endian, *bound, out),
        Item::Nothing => cursor.bytes(1).map(drop),
        Item::Message(plan) => message(plan, cursor, style, out),
    }
}

/// Passes over `what`. Bounds of strings and code units are not looked at.
pub(super) fn skip(what: &Skip, cursor: &mut Cursor, endian: Endian) -> Result<(), Stop> {
    match what {
        Skip::Run(run) => cursor.pass(run, 1),
        Skip::Text(unit) => {
            let count = cursor.count(endian)?;
            cursor.bytes(count.saturating_mul(*unit)).map(drop)
        }
        Skip::Runs { bound, element } => {
            let count = array::sequence(*bound, element.least, cursor, endian)?;
            cursor.pass(element, count)
        }
        Skip::Each { count, element } => {
            let count = array::length(*count, element.min_size(), cursor, endian)?;
            skip_elements(element, 0..count, cursor, endian)
        }
        Skip::Message(plan) => {
            for step in &plan.steps {
                // A plan that passes over a message has no other steps.
                if let Work::Skip(what) = &step.work {
                    skip(what, cursor, endian).map_err(|stop| stop.within(&step.path))?;
                }
            }
            Ok(())
        }
    }
}

/// Passes over the elements with these indices.
pub(super) fn skip_elements(
    element: &Skip,
    indices: std::ops::Range<usize>,
    cursor: &mut Cursor,
    endian: Endian,
) -> Result<(), Stop> {
    if let Skip::Run(run) = element {
        return cursor.pass(run, indices.len()).map_err(|stop| stop.at(indices.start));
    }
    for index in indices {
        skip(element, cursor, endian).map_err(|stop| stop.at(index))?;
    }
    Ok(())
}

impl Lead {
    #[inline]
    pub(super) fn write(&self, out: &mut JsonBuffer) -> Result<(), Full> {
        self.write_part(self.text.len(), out)
    }

    /// Writes the first `length` bytes.
    #[inline]
    pub(super) fn write_part(&self, length: usize, out: &mut JsonBuffer) -> Result<(), Full> {
        let text = &self.text[..length];
        if self.follows_optional && out.as_bytes().ends_with(b"{") {
            return out.put(text.strip_prefix(b",").unwrap_or(text));
        }
        out.put(text)
    }
}
