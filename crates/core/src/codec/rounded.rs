//! Floating-point numbers with at most so many significant digits.
//!
//! The decimal number with that many digits that is nearest to the value, a half going to the even one, without zeros at its
//! end; where the shortest digits that read back as the value are not more than that, they. It looks as those do: `0.1`,
//! `1.0`, `1.5e-7`.
//!
//! The digits are the value's 53 bits times a power of ten with 64, rounded. That product is exact, or by less than 2^-63 too
//! small; where this leaves open which way to round, the standard library's exact and slower way decides.

use std::io::Write;

use super::json_buffer::{Full, JsonBuffer};

/// A type of floating-point numbers.
pub(super) trait Float: zmij::Float + Into<f64> + Copy {
    /// From so many digits on each value is written with its shortest ones.
    const ALL_DIGITS: u8;
    /// Up to so many digits a decimal number reads back with the same digits, so that rounding to them never has more than
    /// the shortest form.
    const CERTAIN_DIGITS: u8;
    /// From here on that holds.
    const LEAST_CERTAIN: f64;
    /// Whether its significand has no more than 24 bits.
    const IS_NARROW: bool;
    /// Powers of ten of the first digit that are written without an exponent.
    const PLAIN: std::ops::RangeInclusive<i32>;
}

impl Float for f32 {
    const IS_NARROW: bool = true;
    const ALL_DIGITS: u8 = 9;
    const CERTAIN_DIGITS: u8 = f32::DIGITS as u8;
    const LEAST_CERTAIN: f64 = f32::MIN_POSITIVE as f64;
    const PLAIN: std::ops::RangeInclusive<i32> = -6..=12;
}

impl Float for f64 {
    const IS_NARROW: bool = false;
    const ALL_DIGITS: u8 = 17;
    const CERTAIN_DIGITS: u8 = f64::DIGITS as u8;
    const LEAST_CERTAIN: f64 = f64::MIN_POSITIVE;
    const PLAIN: std::ops::RangeInclusive<i32> = -5..=15;
}

/// Writes the finite `value` with at most `digits` significant digits, which is 1 to 17.
#[inline]
pub(super) fn put<F: Float>(value: F, digits: u8, out: &mut JsonBuffer) -> Result<(), Full> {
    let wide: f64 = value.into();
    if wide == 0.0 {
        return out.put(if wide.is_sign_negative() { b"-0.0" } else { b"0.0" });
    }
    if digits > F::CERTAIN_DIGITS || wide.abs() < F::LEAST_CERTAIN {
        let mut buffer = zmij::Buffer::new();
        let shortest = buffer.format_finite(value);
        if digits >= F::ALL_DIGITS || significant(shortest) <= digits.into() {
            return out.put(shortest.as_bytes());
        }
    }
    let mut text = Text { bytes: [b'-'; 32], length: usize::from(wide.is_sign_negative()) };
    text.write::<F>(&Decimal::nearest::<F>(wide.abs(), digits.into()));
    out.put_short(&text.bytes, text.length)
}

/// Significant digits of a decimal number.
fn significant(text: &str) -> usize {
    let mantissa = text.split('e').next().unwrap_or_default();
    let first = mantissa.bytes().position(|byte| (b'1'..=b'9').contains(&byte)).unwrap_or(mantissa.len());
    let last = mantissa.bytes().rposition(|byte| (b'1'..=b'9').contains(&byte)).map_or(first, |last| last + 1);
    mantissa[first..last].bytes().filter(u8::is_ascii_digit).count()
}

/// `d.ddd…` times ten to the power of `exponent`.
struct Decimal {
    /// The first eight digits in ASCII and the next eight, zeros to the end; the first one is lowest and not zero.
    digits: [u64; 2],
    /// Without the zeros at the end.
    count: usize,
    exponent: i32,
}

/// Digits that a [`Decimal`] may have apart from zeros.
const MOST: u32 = 16;

impl Decimal {
    /// The decimal number of at most `digits` digits, 1 to 16, that is nearest to `value`, which is finite and above 0.
    #[inline]
    fn nearest<F: Float>(value: f64, digits: u32) -> Self {
        let narrow = if F::IS_NARROW { rounded_narrow(value, digits) } else { None };
        let (number, exponent) =
            narrow.or_else(|| rounded(value, digits)).unwrap_or_else(|| rounded_exactly(value, digits));
        // A 9 that was rounded up may have brought one digit more.
        let (number, exponent) = if number == TENS[digits as usize] {
            (TENS[digits as usize - 1], exponent + 1)
        } else {
            (number, exponent)
        };
        if digits <= 8 {
            let high = octets((number * TENS[8 - digits as usize]) as u32);
            let count = 8 - high.leading_zeros() as usize / 8;
            return Decimal { digits: [high | ZEROS, ZEROS], count, exponent };
        }
        let number = number * TENS[(MOST - digits) as usize];
        let (high, low) = (octets((number / TENS[8]) as u32), octets((number % TENS[8]) as u32));
        let zeros = if low == 0 { 8 + high.leading_zeros() / 8 } else { low.leading_zeros() / 8 };
        Decimal { digits: [high | ZEROS, low | ZEROS], count: (MOST - zeros) as usize, exponent }
    }
}

/// Eight times `'0'`.
const ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// The digits of `number`, which has at most eight, an octet each, the first one lowest.
#[inline]
fn octets(number: u32) -> u64 {
    // Halves are taken apart side by side: four digits in 32 bits each, then two in 16, then one in 8.
    let fours = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
}

/// `value`, which is finite and above 0, as a number of `digits` digits, or one more if it was rounded up to that, and the
/// power of ten of the first. `None` if it is not known which way to round.
#[inline]
fn rounded(value: f64, digits: u32) -> Option<(u64, i32)> {
    let bits = value.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52) as i32);
    let (significand, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    // value = significand / 2^63 * 2^binary, with a significand of 64 bits.
    let zeros = significand.leading_zeros();
    let (significand, binary) = (significand << zeros, exponent + 63 - zeros as i32);

    let least = (binary * 315_653) >> 20; // log10(2) * 2^20
    let next = power(least + 1);
    let exponent = least + i32::from((binary, significand) >= (log2_of_power(least + 1), next));

    let scale = digits as i32 - 1 - exponent;
    let product = u128::from(significand) * u128::from(power(scale));
    // Of the 128 bits at most 54 stand before the point, so that the lower 64 are all behind it.
    let (high, low) = ((product >> 64) as u64, product as u64);
    let shift = 62 - binary - log2_of_power(scale);
    let whole = high >> shift;
    let (rest, half) = (high & ((1 << shift) - 1), 1 << (shift - 1));
    if rest > half || rest == half && low > 0 {
        Some((whole + 1, exponent))
    } else if EXACT.contains(&scale) {
        Some((whole + if rest == half { whole & 1 } else { 0 }, exponent))
    } else if rest + 2 < half {
        Some((whole, exponent))
    } else {
        None
    }
}

/// The same as [`rounded`] for a `value` of 24 bits, if it is neither large nor small: then its product with the power of ten
/// is exact in a `float64`, because 5^11 has 26.
#[inline]
fn rounded_narrow(value: f64, digits: u32) -> Option<(u64, i32)> {
    const POINT: f64 = (1_u64 << 52) as f64;
    if digits > 6 || !(1e-6..1e6).contains(&value) {
        return None;
    }
    let binary = (value.to_bits() >> 52) as i32 - 1023;
    let least = (binary * 315_653) >> 20; // log10(2) * 2^20
    let exponent = least + i32::from(value >= FLOATS[(least + 7) as usize]);
    let scale = usize::try_from(digits as i32 - 1 - exponent).ok()?;
    // A sum that has no bits behind the point is rounded to the nearest, a half to the even one.
    let product = value * FLOATS[scale + 6] + POINT;
    Some((product.to_bits() & ((1 << 52) - 1), exponent))
}

/// From 10^-6 up to 10^11.
const FLOATS: [f64; 18] =
    [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];

/// The same as [`rounded`], always.
#[cold]
fn rounded_exactly(value: f64, digits: u32) -> (u64, i32) {
    let mut text = [0; 32];
    let mut rest = text.as_mut_slice();
    write!(rest, "{value:.*e}", digits as usize - 1).expect("16 digits and an exponent fit");
    let left = rest.len();
    let written = &text[..text.len() - left];
    let at = written.iter().position(|byte| *byte == b'e').unwrap_or(written.len());
    let number = written[..at].iter().filter(|byte| byte.is_ascii_digit());
    let number = number.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let exponent = str::from_utf8(&written[at + 1..]).ok().and_then(|text| text.parse().ok());
    (number, exponent.expect("the standard library writes an exponent"))
}

const TENS: [u64; 18] = {
    let mut tens = [1; 18];
    let mut power = 1;
    while power < tens.len() {
        tens[power] = tens[power - 1] * 10;
        power += 1;
    }
    tens
};

/// Powers of ten whose 64 bits are exact: 5^27 has 63.
const EXACT: std::ops::RangeInclusive<i32> = 0..=27;

/// From the first digit of the largest `float64`, 10^308, down to one of the smallest, 10^-324, brought to 1 to 16 digits; and
/// the power above the largest.
const LOWEST: i32 = -324;
const HIGHEST: i32 = 340;

/// The upper 64 bits of ten to the power of `exponent`.
#[inline]
fn power(exponent: i32) -> u64 {
    POWERS[(exponent - LOWEST) as usize]
}

/// The power of two of the first bit of ten to the power of `exponent`.
#[inline]
fn log2_of_power(exponent: i32) -> i32 {
    (exponent * 1_741_647) >> 19 // log2(10) * 2^19
}

static POWERS: [u64; (HIGHEST - LOWEST + 1) as usize] = {
    let mut powers = [0; (HIGHEST - LOWEST + 1) as usize];
    // With 128 bits, of which each step may lose one unit of the last: less than 2^-118 of the power at the end.
    let mut bits = 1_u128 << 127;
    let mut exponent = 0;
    while exponent <= HIGHEST {
        powers[(exponent - LOWEST) as usize] = (bits >> 64) as u64;
        // Times 10 / 8, or half of that.
        let (sum, carry) = bits.overflowing_add(bits >> 2);
        bits = if carry { sum >> 1 | 1 << 127 } else { sum };
        exponent += 1;
    }
    bits = 1 << 127;
    exponent = 0;
    while exponent > LOWEST {
        // Times 8 / 10, or twice that.
        let (quotient, rest) = (bits / 5, bits % 5);
        bits = quotient * 4 + rest * 4 / 5;
        if bits >> 127 == 0 {
            bits = quotient * 8 + rest * 8 / 5;
        }
        exponent -= 1;
        powers[(exponent - LOWEST) as usize] = (bits >> 64) as u64;
    }
    powers
};

/// A number in the making: a sign, a point, 16 digits and an exponent, or zeros in their place.
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    #[inline]
    fn write<F: Float>(&mut self, decimal: &Decimal) {
        let &Decimal { digits: [high, low], count, exponent } = decimal;
        let start = self.length;
        if low == ZEROS && (0..7).contains(&exponent) {
            // Eight bytes at a time, whether they count or not: all digits, and those behind the point once more.
            let before = exponent as usize + 1;
            self.put(start, high);
            self.bytes[start + before] = b'.';
            self.put(start + before + 1, high >> (8 * before) | ZEROS << (64 - 8 * before));
            self.length = start + before + 1 + count.saturating_sub(before).max(1);
        } else if !F::PLAIN.contains(&exponent) {
            self.write_with_exponent(decimal);
        } else if exponent < 0 {
            let zeros = exponent.unsigned_abs() as usize - 1;
            self.put(start, u64::from_le_bytes(*b"0.000000"));
            self.put(start + 2 + zeros, high);
            if low != ZEROS {
                self.put(start + 10 + zeros, low);
            }
            self.length = start + 2 + zeros + count;
        } else {
            self.put(start, high);
            self.put(start + 8, low);
            self.put(start + 16, ZEROS);
            let point = start + exponent as usize + 1;
            let behind = count.saturating_sub(exponent as usize + 1).max(1);
            self.bytes.copy_within(point..point + behind, point + 1);
            self.bytes[point] = b'.';
            self.length = point + 1 + behind;
        }
    }

    fn write_with_exponent(&mut self, &Decimal { digits: [high, low], count, exponent }: &Decimal) {
        let start = self.length;
        self.put(start + 1, high);
        self.put(start + 9, low);
        self.bytes[start] = self.bytes[start + 1];
        self.bytes[start + 1] = b'.';
        self.length += if count > 1 { count + 1 } else { 1 };
        self.put(self.length, u64::from_le_bytes(if exponent < 0 { *b"e-......" } else { *b"e+......" }));
        self.length += 2;
        let mut buffer = itoa::Buffer::new();
        let number = buffer.format(exponent.unsigned_abs()).as_bytes();
        self.bytes[self.length..self.length + number.len()].copy_from_slice(number);
        self.length += number.len();
    }

    /// Writes eight bytes, the lowest one first.
    #[inline]
    fn put(&mut self, at: usize, bytes: u64) {
        self.bytes[at..at + 8].copy_from_slice(&bytes.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text<F: Float>(value: F, digits: u8) -> String {
        let mut out = JsonBuffer::new(100);
        put(value, digits, &mut out).unwrap();
        String::from_utf8(out.as_bytes().to_vec()).unwrap()
    }

    /// The same by the standard library and zmij: digits, exponent and layout.
    fn plainly<F: Float + std::fmt::LowerExp>(value: F, digits: u8) -> String {
        let shortest = zmij::Buffer::new().format_finite(value).to_owned();
        if significant(&shortest) <= digits.into() {
            return shortest;
        }
        let rounded = format!("{:.*e}", usize::from(digits) - 1, value);
        let (mantissa, exponent) = rounded.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        let sign = if mantissa.starts_with('-') { "-" } else { "" };
        let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let all = all.trim_end_matches('0');
        let (first, further) = all.split_at(1);
        if F::PLAIN.contains(&exponent) {
            let number = match exponent {
                ..0 => format!("0.{}{all}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
                _ if all.len() <= exponent as usize + 1 => format!("{all:0<width$}.0", width = exponent as usize + 1),
                _ => format!("{}.{}", &all[..=exponent as usize], &all[exponent as usize + 1..]),
            };
            return format!("{sign}{number}");
        }
        let point = if further.is_empty() { "" } else { "." };
        let plus = if exponent < 0 { "" } else { "+" };
        format!("{sign}{first}{point}{further}e{plus}{exponent}")
    }

    #[test]
    fn short_numbers_stay_short() {
        for (value, digits, expected) in [
            (0.1, 17, "0.1"),
            (0.1, 16, "0.1"),
            (9.3, 16, "9.3"),
            (0.1, 1, "0.1"),
            (1e-7, 6, "1e-7"),
            (-0.0, 6, "-0.0"),
            (0.0, 1, "0.0"),
            (1.0, 6, "1.0"),
            (-1_234_567.0, 6, "-1234570.0"),
            (1_234_565.0, 6, "1234560.0"),
            (1_234_575.0, 6, "1234580.0"),
            (0.999_999_99, 6, "1.0"),
            (9.5e15, 1, "1e+16"),
            (2.5, 1, "2.0"),
            (3.5, 1, "4.0"),
            (std::f64::consts::PI, 6, "3.14159"),
            (0.000_012_345_678, 3, "0.0000123"),
            (0.000_001_234_567_8, 3, "1.23e-6"),
            (f64::MAX, 3, "1.8e+308"),
            (f64::MIN_POSITIVE, 4, "2.225e-308"),
            (5e-324, 6, "5e-324"),
            (1e22, 6, "1e+22"),
            (123_456_789_012_345.6, 16, "123456789012345.6"),
        ] {
            assert_eq!(text(value, digits), expected);
            assert_eq!(plainly(value, digits), expected);
        }
        for (value, digits, expected) in [
            (0.1_f32, 17, "0.1"),
            (9.3, 8, "9.3"),
            (0.1, 7, "0.1"),
            (1e-7, 6, "1e-7"),
            (1.234_567_9, 7, "1.234568"),
            (16_777_216.0, 6, "16777200.0"),
            (100_000.5, 6, "100000.0"),
            (f32::MAX, 2, "3.4e+38"),
            (1e-45, 3, "1e-45"),
        ] {
            assert_eq!(text(value, digits), expected);
            assert_eq!(plainly(value, digits), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_float64_is_rounded_exactly(bits: u64, digits in 1..=17u8) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(value, digits), plainly(value, digits));
        }

        #[test]
        fn a_float32_is_rounded_exactly(bits: u32, digits in 1..=17u8) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(text(value, digits), plainly(value, digits));
        }

        /// Numbers as people write them, many of which lie just between two with fewer digits.
        #[test]
        fn short_numbers_are_rounded_exactly(number in 0..10_000_000u64, exponent in -30..30i32, digits in 1..=17u8) {
            let value: f64 = format!("{number}e{exponent}").parse().unwrap();
            prop_assert_eq!(text(value, digits), plainly(value, digits));
            let value = value as f32;
            prop_assert_eq!(text(value, digits), plainly(value, digits));
        }

        /// Integers and quarters, of which every other lies just between two.
        #[test]
        fn halves_go_to_the_even_one(quarters in 0..100_000_000u32, digits in 1..=8u8) {
            let value = f64::from(quarters) / 4.0;
            prop_assert_eq!(text(value, digits), plainly(value, digits));
            prop_assert_eq!(text(value as f32, digits), plainly(value as f32, digits));
        }
    }

    /// Each power of ten and its neighbours, where a digit more or less begins.
    #[test]
    fn powers_of_ten_are_met() {
        for exponent in -323..=308 {
            let power: f64 = format!("1e{exponent}").parse().unwrap();
            for value in [power.next_down(), power, power.next_up()] {
                for digits in 1..=17 {
                    assert_eq!(text(value, digits), plainly(value, digits), "{value:e}");
                }
            }
        }
    }
}
