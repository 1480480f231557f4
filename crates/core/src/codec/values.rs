//! The values of a message without their text: read one after the other, and places for others in their stead.

use super::array;
use super::cursor::{Cursor, Endian};
use super::decoder::{Decoder, skip, skip_elements};
use super::error::{DecodeError, Stop};
use super::json_buffer::{Full, JsonBuffer};
use super::number;
use super::plan::{Item, Many, Plan, Work};
use super::schema::Count;
use super::text;

/// A value of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    F32(f32),
    F64(f64),
    /// The bytes of a `string`, of a `wstring` as they are on the wire, or of an array of octets.
    Bytes(&'a [u8]),
    /// How many elements the sequence has whose elements follow.
    Length(usize),
}

impl Decoder {
    /// Hands the selected values of the message in `cdr` to `each`, in the order of the definition. What `arrays` would do
    /// with long ones is not done.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] if the bytes do not fit the type. `each` may have got values by then.
    pub fn read_values<'a>(&self, cdr: &'a [u8], mut each: impl FnMut(Value<'a>)) -> Result<(), DecodeError> {
        let mut pass = || {
            let (endian, mut cursor) = Cursor::open(cdr)?;
            message(&self.plan, &mut cursor, endian, &mut each)
        };
        pass().map_err(|stop: Stop| stop.into_error(usize::MAX))
    }

    /// Writes the JSON text of a message of this type and has `each` write what stands for each value. For a type whose
    /// selected values are numbers, alone or in arrays of fixed size, these are as many as
    /// [`read_values`](Self::read_values) hands on, in the same order.
    ///
    /// # Errors
    /// [`Full`] if the text does not fit into `out`.
    pub fn write_places(
        &self,
        out: &mut JsonBuffer,
        mut each: impl FnMut(&mut JsonBuffer) -> Result<(), Full>,
    ) -> Result<(), Full> {
        places(&self.plan, out, &mut each)
    }
}

/// Writes a number with at most so many significant digits, or `null` for what JSON has no number for.
///
/// # Errors
/// [`Full`] if it does not fit into `out`.
pub fn put_value(value: Value<'_>, digits: Option<u8>, out: &mut JsonBuffer) -> Result<(), Full> {
    match value {
        Value::Bool(value) => out.put(if value { b"true" } else { b"false" }),
        Value::Signed(value) => out.put_integer(value),
        Value::Unsigned(value) => out.put_integer(value),
        Value::F32(value) => number::put_float(value, digits, out),
        Value::F64(value) => number::put_float(value, digits, out),
        Value::Length(value) => out.put_integer(value),
        Value::Bytes(_) => out.put(b"null"),
    }
}

fn message<'a>(
    plan: &Plan,
    cursor: &mut Cursor<'a>,
    endian: Endian,
    each: &mut impl FnMut(Value<'a>),
) -> Result<(), Stop> {
    for step in &plan.steps {
        let done = match &step.work {
            Work::Skip(what) => skip(what, cursor, endian),
            Work::One(item) => value(item, cursor, endian, each),
            Work::Many(many) => values(many, cursor, endian, each),
        };
        done.map_err(|stop| stop.within(&step.path))?;
    }
    Ok(())
}

#[inline]
pub(super) fn value<'a>(
    item: &Item,
    cursor: &mut Cursor<'a>,
    endian: Endian,
    each: &mut impl FnMut(Value<'a>),
) -> Result<(), Stop> {
    macro_rules! read {
        ($type:ty) => {{
            let bytes = cursor.value()?;
            match endian {
                Endian::Big => <$type>::from_be_bytes(bytes),
                Endian::Little => <$type>::from_le_bytes(bytes),
            }
        }};
    }
    each(match item {
        Item::Bool => Value::Bool(read!(u8) != 0),
        Item::U8 => Value::Unsigned(read!(u8).into()),
        Item::I8 => Value::Signed(read!(i8).into()),
        Item::U16 => Value::Unsigned(read!(u16).into()),
        Item::I16 => Value::Signed(read!(i16).into()),
        Item::U32 => Value::Unsigned(read!(u32).into()),
        Item::I32 => Value::Signed(read!(i32).into()),
        Item::U64 => Value::Unsigned(read!(u64)),
        Item::I64 => Value::Signed(read!(i64)),
        Item::F32 => Value::F32(read!(f32)),
        Item::F64 => Value::F64(read!(f64)),
        Item::String(bound) => Value::Bytes(text::take_string(cursor, endian, *bound)?),
        Item::WideString(_) => {
            let units = cursor.count(endian)?;
            Value::Bytes(cursor.values::<4>(units)?.as_flattened())
        }
        Item::Nothing => return cursor.bytes(1).map(drop),
        Item::Message(plan) => return message(plan, cursor, endian, each),
    });
    Ok(())
}

fn values<'a>(
    many: &Many,
    cursor: &mut Cursor<'a>,
    endian: Endian,
    each: &mut impl FnMut(Value<'a>),
) -> Result<(), Stop> {
    let count = array::length(many.count, many.skip.min_size(), cursor, endian)?;
    if let Count::Sequence { .. } = many.count {
        each(Value::Length(count));
    }
    let Some(chosen) = &many.chosen else {
        if let Item::U8 = many.item {
            each(Value::Bytes(cursor.bytes(count)?));
            return Ok(());
        }
        return (0..count).try_for_each(|index| value(&many.item, cursor, endian, each).map_err(|stop| stop.at(index)));
    };
    let mut done = 0;
    for (index, item) in chosen.elements(count, &many.item) {
        skip_elements(&many.skip, done..index, cursor, endian)?;
        value(item, cursor, endian, each).map_err(|stop| stop.at(index))?;
        done = index + 1;
    }
    skip_elements(&many.skip, done..count, cursor, endian)
}

fn places(
    plan: &Plan,
    out: &mut JsonBuffer,
    each: &mut impl FnMut(&mut JsonBuffer) -> Result<(), Full>,
) -> Result<(), Full> {
    for step in &plan.steps {
        match &step.work {
            Work::Skip(_) => {}
            Work::One(item) => {
                step.lead.write(out)?;
                place(item, out, each)?;
            }
            Work::Many(many) => {
                step.lead.write(out)?;
                let count = if let Count::Array(count) = many.count { count } else { 0 };
                let mut before: &[u8] = b"[";
                let mut write = |item| {
                    out.put(std::mem::replace(&mut before, b","))?;
                    place(item, out, each)
                };
                match &many.chosen {
                    None => (0..count).try_for_each(|_| write(&many.item))?,
                    Some(chosen) => chosen.elements(count, &many.item).try_for_each(|(_, item)| write(item))?,
                }
                out.put(if before == b"[" { b"[]" } else { b"]" })?;
            }
        }
    }
    out.put(&plan.tail)
}

fn place(
    item: &Item,
    out: &mut JsonBuffer,
    each: &mut impl FnMut(&mut JsonBuffer) -> Result<(), Full>,
) -> Result<(), Full> {
    match item {
        Item::Nothing => Ok(()),
        Item::Message(plan) => places(plan, out, each),
        _ => each(out),
    }
}
