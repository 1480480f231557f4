//! Numbers: from their bytes to JSON text.

use super::cursor::{Cursor, Endian};
use super::decoder::Style;
use super::error::Stop;
use super::json_buffer::{Full, JsonBuffer};
use super::plan::Chosen;
use super::rounded;

/// A number of `N` bytes.
pub(super) trait Number<const N: usize>: Copy {
    fn from_wire(bytes: [u8; N], endian: Endian) -> Self;

    /// `digits` is [`Style::digits`], which integers ignore.
    fn put(self, digits: Option<u8>, out: &mut JsonBuffer) -> Result<(), Full>;
}

/// Reads one number and writes it.
#[inline]
pub(super) fn one<T: Number<N>, const N: usize>(
    cursor: &mut Cursor,
    style: Style,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    Ok(T::from_wire(cursor.value()?, style.endian).put(style.digits, out)?)
}

/// Reads `count` numbers and writes the first `wanted` of them as a JSON array.
pub(super) fn many<T: Number<N>, const N: usize>(
    cursor: &mut Cursor,
    style: Style,
    count: usize,
    wanted: usize,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    let values = &cursor.values::<N>(count)?[..wanted];
    // A digit and a comma or bracket each.
    out.ensure(wanted.saturating_mul(2))?;
    // The order of bytes is asked once for the array.
    match style.endian {
        Endian::Little => list(values, |bytes| T::from_wire(bytes, Endian::Little), style.digits, out)?,
        Endian::Big => list(values, |bytes| T::from_wire(bytes, Endian::Big), style.digits, out)?,
    }
    Ok(())
}

#[inline]
fn list<T: Number<N>, const N: usize>(
    values: &[[u8; N]],
    read: impl Fn([u8; N]) -> T,
    digits: Option<u8>,
    out: &mut JsonBuffer,
) -> Result<(), Full> {
    let Some((first, rest)) = values.split_first() else { return out.put(b"[]") };
    out.put(b"[")?;
    read(*first).put(digits, out)?;
    for value in rest {
        out.put(b",")?;
        read(*value).put(digits, out)?;
    }
    out.put(b"]")
}

/// A number of which many have a least, a largest and a mean.
pub(super) trait Summed<const N: usize>: Number<N> + PartialOrd {
    fn is_finite(self) -> bool;

    /// Writes the mean of `count` finite `numbers`. `digits` is [`Style::digits`], which that of integers ignores too.
    fn put_mean(
        numbers: impl Iterator<Item = Self> + Clone,
        count: usize,
        digits: Option<u8>,
        out: &mut JsonBuffer,
    ) -> Result<(), Full>;
}

/// Reads `count` numbers and writes `,"min":…,"max":…,"mean":…` of those that are chosen and finite, `null` if there is
/// none.
pub(super) fn figures<T: Summed<N>, const N: usize>(
    cursor: &mut Cursor,
    style: Style,
    count: usize,
    chosen: Option<&Chosen>,
    out: &mut JsonBuffer,
) -> Result<(), Stop> {
    let values = cursor.values::<N>(count)?.iter().enumerate();
    let values = values.filter(|(index, _)| chosen.is_none_or(|chosen| chosen.has(*index)));
    let numbers = values.map(|(_, bytes)| T::from_wire(*bytes, style.endian)).filter(|number| number.is_finite());
    let mut figures: Option<(usize, T, T)> = None;
    for number in numbers.clone() {
        let (finite, min, max) = figures.unwrap_or((0, number, number));
        figures = Some((finite + 1, if number < min { number } else { min }, if number > max { number } else { max }));
    }
    let Some((finite, min, max)) = figures else { return Ok(out.put(br#","min":null,"max":null,"mean":null"#)?) };
    out.put(br#","min":"#)?;
    min.put(style.digits, out)?;
    out.put(br#","max":"#)?;
    max.put(style.digits, out)?;
    out.put(br#","mean":"#)?;
    Ok(T::put_mean(numbers, finite, style.digits, out)?)
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
    fn put(self, _: Option<u8>, out: &mut JsonBuffer) -> Result<(), Full> {
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
            fn put(self, digits: Option<u8>, out: &mut JsonBuffer) -> Result<(), Full> {
                let put: fn($type, Option<u8>, &mut JsonBuffer) -> Result<(), Full> = $put;
                put(self, digits, out)
            }
        }
    };
}

macro_rules! integer {
    ($type:ty, $size:literal) => {
        number!($type, $size, |value, _, out| out.put_integer(value));

        impl Summed<$size> for $type {
            #[inline]
            fn is_finite(self) -> bool {
                true
            }

            /// With all its digits, so that it is never less than the least.
            fn put_mean(
                numbers: impl Iterator<Item = Self> + Clone,
                count: usize,
                _: Option<u8>,
                out: &mut JsonBuffer,
            ) -> Result<(), Full> {
                let sum: i128 = numbers.map(i128::from).sum();
                put_float(sum as f64 / count as f64, None, out)
            }
        }
    };
}

macro_rules! float {
    ($type:ty, $size:literal) => {
        number!($type, $size, |value, digits, out| put_float(value, digits, out));

        impl Summed<$size> for $type {
            #[inline]
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }

            /// Of the width of the numbers.
            fn put_mean(
                numbers: impl Iterator<Item = Self> + Clone,
                count: usize,
                digits: Option<u8>,
                out: &mut JsonBuffer,
            ) -> Result<(), Full> {
                let (numbers, count) = (numbers.map(f64::from), count as f64);
                let sum: f64 = numbers.clone().sum();
                // The sum of the largest is infinite, their mean is not.
                let mean = if sum.is_finite() { sum / count } else { numbers.map(|number| number / count).sum() };
                put_float(mean.clamp(f64::MIN, f64::MAX) as $type, digits, out)
            }
        }
    };
}

number!(u8, 1, |value, _, out| out.put_integer(value));
integer!(i8, 1);
integer!(u16, 2);
integer!(i16, 2);
integer!(u32, 4);
integer!(i32, 4);
integer!(u64, 8);
integer!(i64, 8);
float!(f32, 4);
float!(f64, 8);

#[inline]
pub(super) fn put_float<F: rounded::Float>(value: F, digits: Option<u8>, out: &mut JsonBuffer) -> Result<(), Full> {
    if !value.into().is_finite() {
        return out.put(b"null");
    }
    match digits {
        None => out.put(zmij::Buffer::new().format_finite(value).as_bytes()),
        Some(digits) => rounded::put(value, digits, out),
    }
}
