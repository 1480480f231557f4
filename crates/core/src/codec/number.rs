//! Numbers: from their bytes to JSON text.

use super::cursor::{Cursor, Endian};
use super::error::Stop;
use super::json_buffer::{Full, JsonBuffer};

/// A number of `N` bytes.
pub(super) trait Number<const N: usize>: Copy {
    fn from_wire(bytes: [u8; N], endian: Endian) -> Self;
    fn put(self, out: &mut JsonBuffer) -> Result<(), Full>;
}

/// Reads one number and writes it.
#[inline]
pub(super) fn one<T: Number<N>, const N: usize>(
    cursor: &mut Cursor,
    endian: Endian,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    Ok(T::from_wire(cursor.value()?, endian).put(out)?)
}

/// Reads `count` numbers and writes them as a JSON array.
pub(super) fn many<T: Number<N>, const N: usize>(
    cursor: &mut Cursor,
    endian: Endian,
    count: usize,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    let values = cursor.values::<N>(count)?;
    // A digit and a comma or bracket each.
    out.ensure(count.saturating_mul(2))?;
    // The order of bytes is asked once for the array.
    match endian {
        Endian::Little => list(values, |bytes| T::from_wire(bytes, Endian::Little), out)?,
        Endian::Big => list(values, |bytes| T::from_wire(bytes, Endian::Big), out)?,
    }
    Ok(())
}

#[inline]
fn list<T: Number<N>, const N: usize>(
    values: &[[u8; N]],
    read: impl Fn([u8; N]) -> T,
    out: &mut JsonBuffer,
) -> Result<(), Full> {
    let Some((first, rest)) = values.split_first() else { return out.put(b"[]") };
    out.put(b"[")?;
    read(*first).put(out)?;
    for value in rest {
        out.put(b",")?;
        read(*value).put(out)?;
    }
    out.put(b"]")
}

/// A `bool`, which is any octet on the wire.
#[derive(Clone, Copy)]
pub(super) struct Bool(bool);

impl Number<1> for Bool {
    #[inline]
    fn from_wire([octet]: [u8; 1], _: Endian) -> Self {
        Bool(octet != 0)
    }

    #[inline]
    fn put(self, out: &mut JsonBuffer) -> Result<(), Full> {
        out.put(if self.0 { b"true" } else { b"false" })
    }
}

macro_rules! number {
    ($type:ty, $size:literal, $put:expr) => {
        impl Number<$size> for $type {
            #[inline]
            fn from_wire(bytes: [u8; $size], endian: Endian) -> Self {
                match endian {
                    Endian::Little => <$type>::from_le_bytes(bytes),
                    Endian::Big => <$type>::from_be_bytes(bytes),
                }
            }

            #[inline]
            fn put(self, out: &mut JsonBuffer) -> Result<(), Full> {
                let put: fn($type, &mut JsonBuffer) -> Result<(), Full> = $put;
                put(self, out)
            }
        }
    };
}

number!(u8, 1, |value, out| out.put_integer(value));
number!(i8, 1, |value, out| out.put_integer(value));
number!(u16, 2, |value, out| out.put_integer(value));
number!(i16, 2, |value, out| out.put_integer(value));
number!(u32, 4, |value, out| out.put_integer(value));
number!(i32, 4, |value, out| out.put_integer(value));
number!(u64, 8, |value, out| out.put_integer(value));
number!(i64, 8, |value, out| out.put_integer(value));
number!(f32, 4, |value, out| put_float(value, out));
number!(f64, 8, |value, out| put_float(value, out));

#[inline]
fn put_float<F: zmij::Float + Into<f64> + Copy>(value: F, out: &mut JsonBuffer) -> Result<(), Full> {
    if value.into().is_finite() {
        out.put(zmij::Buffer::new().format_finite(value).as_bytes())
    } else {
        out.put(b"null")
    }
}
