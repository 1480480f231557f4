//! Numbers: from their JSON text to bytes.

use super::error::{EncodeFault, Expected};
use super::plan::Item;
use crate::codec::cdr_writer::CdrWriter;

/// Writes the number or truth value in `text`, a JSON value of any type, as `item`, and returns it for its limits:
/// `None` of a truth value.
pub(super) fn write(item: &Item, text: &str, out: &mut CdrWriter) -> Result<Option<f64>, EncodeFault> {
    let value = match item {
        Item::Bool => {
            let value = match text {
                "true" => true,
                "false" => false,
                _ => return Err(EncodeFault::Type { expected: Expected::Bool, found: found(text) }),
            };
            out.write_u8(value.into());
            return Ok(None);
        }
        Item::U8 => integer::<u8, 1>(text, out),
        Item::I8 => integer::<i8, 1>(text, out),
        Item::U16 => integer::<u16, 2>(text, out),
        Item::I16 => integer::<i16, 2>(text, out),
        Item::U32 => integer::<u32, 4>(text, out),
        Item::I32 => integer::<i32, 4>(text, out),
        Item::U64 => integer::<u64, 8>(text, out),
        Item::I64 => integer::<i64, 8>(text, out),
        Item::F32 => float::<f32, 4>(text, out),
        Item::F64 => float::<f64, 8>(text, out),
        Item::String(_) | Item::WideString(_) | Item::Message(_) => unreachable!("read as what they are"),
    };
    value.map(Some)
}

/// The numbers in `bytes`, little endian: elements of type `item` one after the other. None of what is no number.
pub(super) fn values(item: &Item, bytes: &[u8]) -> Vec<f64> {
    match item {
        Item::U8 => list::<u8, 1>(bytes),
        Item::I8 => list::<i8, 1>(bytes),
        Item::U16 => list::<u16, 2>(bytes),
        Item::I16 => list::<i16, 2>(bytes),
        Item::U32 => list::<u32, 4>(bytes),
        Item::I32 => list::<i32, 4>(bytes),
        Item::U64 => list::<u64, 8>(bytes),
        Item::I64 => list::<i64, 8>(bytes),
        Item::F32 => list::<f32, 4>(bytes),
        Item::F64 => list::<f64, 8>(bytes),
        Item::Bool | Item::String(_) | Item::WideString(_) | Item::Message(_) => Vec::new(),
    }
}

fn list<T: Number<N>, const N: usize>(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|&chunk| T::from_wire(chunk).as_f64()).collect()
}

/// A number of `N` bytes.
pub(super) trait Number<const N: usize>: Copy + std::str::FromStr {
    /// As definitions name it.
    const NAME: &'static str;
    const RANGE: &'static str;
    fn from_wire(bytes: [u8; N]) -> Self;
    fn to_wire(self) -> [u8; N];
    /// The nearest one.
    fn as_f64(self) -> f64;
}

macro_rules! number {
    ($type:ty, $size:literal, $name:literal, $range:literal) => {
        impl Number<$size> for $type {
            const NAME: &'static str = $name;
            const RANGE: &'static str = $range;

            #[inline]
            fn from_wire(bytes: [u8; $size]) -> Self {
                <$type>::from_le_bytes(bytes)
            }

            #[inline]
            fn to_wire(self) -> [u8; $size] {
                self.to_le_bytes()
            }

            #[inline]
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    };
}

number!(u8, 1, "uint8", "0 to 255");
number!(i8, 1, "int8", "-128 to 127");
number!(u16, 2, "uint16", "0 to 65535");
number!(i16, 2, "int16", "-32768 to 32767");
number!(u32, 4, "uint32", "0 to 4294967295");
number!(i32, 4, "int32", "-2147483648 to 2147483647");
number!(u64, 8, "uint64", "0 to 18446744073709551615");
number!(i64, 8, "int64", "-9223372036854775808 to 9223372036854775807");
number!(f32, 4, "float32", "at most 3.4028235e+38 either way");
number!(f64, 8, "float64", "at most 1.7976931348623157e+308 either way");

fn integer<T: Number<N>, const N: usize>(text: &str, out: &mut CdrWriter) -> Result<f64, EncodeFault> {
    check_number::<T, N>(text)?;
    if text.contains(['.', 'e', 'E']) {
        return Err(EncodeFault::Fraction { type_name: T::NAME });
    }
    // JSON has a minus zero, the standard library's unsigned integers have none.
    let digits = if text == "-0" { "0" } else { text };
    let value: T = digits.parse().map_err(|_| EncodeFault::Range { type_name: T::NAME, range: T::RANGE })?;
    out.write_number(value.to_wire());
    Ok(value.as_f64())
}

fn float<T: Number<N> + From<f32>, const N: usize>(text: &str, out: &mut CdrWriter) -> Result<f64, EncodeFault> {
    let value = if text == "null" {
        T::from(f32::NAN)
    } else {
        check_number::<T, N>(text)?;
        // The standard library rounds to the nearest float of that width, and takes each number that JSON has.
        let value = text.parse().ok().filter(|value: &T| value.as_f64().is_finite());
        value.ok_or(EncodeFault::Range { type_name: T::NAME, range: T::RANGE })?
    };
    out.write_number(value.to_wire());
    Ok(value.as_f64())
}

/// That the JSON value is a number.
fn check_number<T: Number<N>, const N: usize>(text: &str) -> Result<(), EncodeFault> {
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ok(());
    }
    Err(EncodeFault::Type { expected: Expected::Number(T::NAME), found: found(text) })
}

/// What type of JSON `text` is, which is one value.
fn found(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "text",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}
