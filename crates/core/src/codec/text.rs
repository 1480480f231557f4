//! Strings: from their bytes to JSON text.

use super::cursor::{Cursor, Endian, HEADER};
use super::error::{Fault, Stop};
use super::json_buffer::JsonBuffer;

/// Takes a `string` without its terminating NUL. It need not be UTF-8.
pub(super) fn take_string<'a>(cursor: &mut Cursor<'a>, endian: Endian, bound: Option<usize>) -> Result<&'a [u8], Stop> {
    let length = cursor.count(endian)?;
    let start = cursor.position();
    let bytes = cursor.bytes(length)?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if let Some(bound) = bound.filter(|&bound| text.len() > bound) {
        // Bytes that continue a character of UTF-8 are 10xxxxxx.
        let characters = text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        if characters > bound {
            return Err(Stop::fault(HEADER + start, Fault::OverBound { count: characters, bound }));
        }
    }
    Ok(text)
}

/// Reads a `string` and writes it as a JSON string.
pub(super) fn string(
    cursor: &mut Cursor,
    endian: Endian,
    bound: Option<usize>,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    Ok(out.put_text_lossy(take_string(cursor, endian, bound)?)?)
}

/// Reads a `wstring` and writes it as a JSON string.
pub(super) fn wide_string(
    cursor: &mut Cursor,
    endian: Endian,
    bound: Option<usize>,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    let length = cursor.count(endian)?;
    let start = HEADER + cursor.position();
    let units = cursor.values::<4>(length)?;
    let wide = |bytes: &[u8; 4]| match endian {
        Endian::Big => u32::from_be_bytes(*bytes),
        Endian::Little => u32::from_le_bytes(*bytes),
    };
    if let Some(at) = units.iter().position(|bytes| wide(bytes) > 0xffff) {
        return Err(Stop::fault(start + 4 * at, Fault::CodeUnit(wide(&units[at]))));
    }
    let characters = || {
        let units = units.iter().map(|bytes| wide(bytes) as u16);
        char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
    };
    if let Some(bound) = bound.filter(|&bound| length > bound) {
        let count = characters().count();
        if count > bound {
            return Err(Stop::fault(start, Fault::OverBound { count, bound }));
        }
    }
    out.ensure(length)?;
    out.put(b"\"")?;
    for character in characters() {
        out.put_escaped(character.encode_utf8(&mut [0; 4]))?;
    }
    Ok(out.put(b"\"")?)
}
