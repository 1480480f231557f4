//! Arrays and sequences: how many elements there are, which of them are written, and what stands for those that are not.

use super::cursor::{Cursor, Endian, HEADER};
use super::decoder::{Style, skip_elements, value};
use super::error::{Fault, Stop, TooLong};
use super::json_buffer::JsonBuffer;
use super::number::{self, Bool};
use super::plan::{Chosen, Item, Lead, Many};
use super::schema::Count;
use crate::config::ArrayOver;

/// What is written of an array.
pub(super) enum Kept {
    /// The first so many of those that are chosen.
    Elements(usize),
    /// Not even its name.
    Nothing,
    /// Figures of so many.
    Summary(usize),
}

/// What is written of `many` if it has `count` elements.
///
/// # Errors
/// [`Stop::TooLong`] if the message is dropped for it.
pub(super) fn kept(many: &Many, count: usize) -> Result<Kept, Stop> {
    let wanted = many.chosen.as_ref().map_or(count, |chosen| chosen.left(count));
    let Some(limit) = many.limit.filter(|limit| wanted > limit.max as usize) else { return Ok(Kept::Elements(wanted)) };
    let max = limit.max as usize;
    match limit.over {
        ArrayOver::Truncate => Ok(Kept::Elements(max)),
        ArrayOver::Drop => Err(Stop::TooLong(Box::new(TooLong { path: String::new(), count: wanted, max }))),
        ArrayOver::Omit => Ok(Kept::Nothing),
        ArrayOver::Summary => Ok(Kept::Summary(wanted)),
    }
}

/// Reads the values of an array or sequence and writes them as a JSON array, octets as base64 text.
pub(super) fn values(
    many: &Many,
    lead: &Lead,
    cursor: &mut Cursor,
    style: Style,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    let count = length(many.count, many.skip.min_size(), cursor, style.endian)?;
    let wanted = match kept(many, count)? {
        Kept::Elements(wanted) => wanted,
        Kept::Nothing => {
            lead.write_part(lead.own, out)?;
            return skip_elements(&many.skip, 0..count, cursor, style.endian);
        }
        Kept::Summary(wanted) => {
            lead.write(out)?;
            return summary(many, count, wanted, cursor, style, out);
        }
    };
    lead.write(out)?;
    match &many.chosen {
        None => first(many, count, wanted, cursor, style, out),
        Some(chosen) => some(many, chosen, count, wanted, cursor, style, out),
    }
}

/// Writes the first `wanted` of `count` elements.
fn first(
    many: &Many,
    count: usize,
    wanted: usize,
    cursor: &mut Cursor,
    style: Style,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    match &many.item {
        Item::Bool => number::many::<Bool, 1>(cursor, style, count, wanted, out),
        Item::U8 => Ok(out.put_base64(&cursor.bytes(count)?[..wanted])?),
        Item::I8 => number::many::<i8, 1>(cursor, style, count, wanted, out),
        Item::U16 => number::many::<u16, 2>(cursor, style, count, wanted, out),
        Item::I16 => number::many::<i16, 2>(cursor, style, count, wanted, out),
        Item::U32 => number::many::<u32, 4>(cursor, style, count, wanted, out),
        Item::I32 => number::many::<i32, 4>(cursor, style, count, wanted, out),
        Item::U64 => number::many::<u64, 8>(cursor, style, count, wanted, out),
        Item::I64 => number::many::<i64, 8>(cursor, style, count, wanted, out),
        Item::F32 => number::many::<f32, 4>(cursor, style, count, wanted, out),
        Item::F64 => number::many::<f64, 8>(cursor, style, count, wanted, out),
        item @ (Item::String(_) | Item::WideString(_) | Item::Nothing | Item::Message(_)) => {
            out.ensure(wanted.saturating_mul(2))?;
            out.put(b"[")?;
            for index in 0..wanted {
                if index > 0 {
                    out.put(b",")?;
                }
                value(item, cursor, style, out).map_err(|stop| stop.at(index))?;
            }
            out.put(b"]")?;
            skip_elements(&many.skip, wanted..count, cursor, style.endian)
        }
    }
}

/// Writes the first `wanted` of those elements that are `chosen`.
fn some(
    many: &Many,
    chosen: &Chosen,
    count: usize,
    mut wanted: usize,
    cursor: &mut Cursor,
    style: Style,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    if let Item::U8 = many.item {
        let octets = cursor.bytes(count)?;
        let octets: Vec<u8> = chosen.elements(count, &many.item).map(|(index, _)| octets[index]).take(wanted).collect();
        return Ok(out.put_base64(&octets)?);
    }
    let mut before: &[u8] = b"[";
    let mut write = |item: &Item, index, cursor: &mut Cursor| {
        out.put(std::mem::replace(&mut before, b","))?;
        value(item, cursor, style, out).map_err(|stop| stop.at(index))
    };
    let single = chosen.single.iter().take_while(|(index, _)| *index < count);
    let mut index = 0;
    for (next, item) in single.map(|(index, item)| (*index, item.as_ref())).chain([(count, None)]) {
        while chosen.others && index < next && wanted > 0 {
            write(&many.item, index, cursor)?;
            (index, wanted) = (index + 1, wanted - 1);
        }
        skip_elements(&many.skip, index..next, cursor, style.endian)?;
        match item.filter(|_| wanted > 0) {
            Some(item) => {
                write(item, next, cursor)?;
                wanted -= 1;
            }
            None if next < count => skip_elements(&many.skip, next..next + 1, cursor, style.endian)?,
            None => {}
        }
        index = next + 1;
    }
    if before == b"[" {
        out.put(b"[")?;
    }
    Ok(out.put(b"]")?)
}

/// Writes the figures of `count` elements, of which `wanted` are looked at, in their place.
fn summary(
    many: &Many,
    count: usize,
    wanted: usize,
    cursor: &mut Cursor,
    style: Style,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    out.put(b"{\"count\":")?;
    out.put_integer(wanted)?;
    let chosen = many.chosen.as_ref();
    match many.item {
        Item::I8 => number::figures::<i8, 1>(cursor, style, count, chosen, out)?,
        Item::U16 => number::figures::<u16, 2>(cursor, style, count, chosen, out)?,
        Item::I16 => number::figures::<i16, 2>(cursor, style, count, chosen, out)?,
        Item::U32 => number::figures::<u32, 4>(cursor, style, count, chosen, out)?,
        Item::I32 => number::figures::<i32, 4>(cursor, style, count, chosen, out)?,
        Item::U64 => number::figures::<u64, 8>(cursor, style, count, chosen, out)?,
        Item::I64 => number::figures::<i64, 8>(cursor, style, count, chosen, out)?,
        Item::F32 => number::figures::<f32, 4>(cursor, style, count, chosen, out)?,
        Item::F64 => number::figures::<f64, 8>(cursor, style, count, chosen, out)?,
        _ => skip_elements(&many.skip, 0..count, cursor, style.endian)?,
    }
    Ok(out.put(b"}")?)
}

/// How many elements follow: known by the type, or read and checked against its bound. That many elements of at least
/// `size` bytes can be in what is left.
pub(super) fn length(count: Count, size: usize, cursor: &mut Cursor, endian: Endian) -> Result<usize, Stop> {
    match count {
        Count::One => Ok(1),
        Count::Array(count) => {
            cursor.room(count, size, cursor.position())?;
            Ok(count)
        }
        Count::Sequence { bound } => sequence(bound, size, cursor, endian),
    }
}

/// The same of a sequence.
pub(super) fn sequence(bound: Option<usize>, size: usize, cursor: &mut Cursor, endian: Endian) -> Result<usize, Stop> {
    let count = cursor.count(endian)?;
    let announced = cursor.position() - 4;
    if let Some(bound) = bound.filter(|&bound| count > bound) {
        return Err(Stop::fault(HEADER + announced, Fault::OverBound { count, bound }));
    }
    cursor.room(count, size, announced)?;
    Ok(count)
}
