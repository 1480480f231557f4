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
    /// Powers of ten of the first digit that are written without an exponent.
    const PLAIN: std::ops::RangeInclusive<i32>;
}

impl Float for f32 {
    const ALL_DIGITS: u8 = 9;
    const CERTAIN_DIGITS: u8 = f32::DIGITS as u8;
    const LEAST_CERTAIN: f64 = f32::MIN_POSITIVE as f64;
    const PLAIN: std::ops::RangeInclusive<i32> = -6..=12;
}

impl Float for f64 {
    const ALL_DIGITS: u8 = 17;
    const CERTAIN_DIGITS: u8 = f64::DIGITS as u8;
    const LEAST_CERTAIN: f64 = f64::MIN_POSITIVE;
    const PLAIN: std::ops::RangeInclusive<i32> = -5..=15;
}

/// Writes the finite `value` with at most `digits` significant digits, which is 1 to 17.
#[inline]
pub(super) fn put<F: Float>(value: F, digits: u8, out: &mut JsonBuffer) -> Result<(), Full> {
    let wide: f64 = value.into();
    if digits > F::CERTAIN_DIGITS || wide.abs() < F::LEAST_CERTAIN {
        let mut buffer = zmij::Buffer::new();
        let shortest = buffer.format_finite(value);
        if digits >= F::ALL_DIGITS || significant(shortest) <= digits.into() {
            return out.put(shortest.as_bytes());
        }
    }
    let decimal = Decimal::nearest(wide.abs(), digits.into());
    let mut text = Text { bytes: *b"                                                ", length: 0 };
    if wide.is_sign_negative() {
        text.bytes[0] = b'-';
        text.length = 1;
    }
    text.write::<F>(&decimal);
    out.put(&text.bytes[..text.length])
}

/// Significant digits of a decimal number.
fn significant(text: &str) -> usize {
    let mantissa = text.split('e').next().unwrap_or_default();
    let first = mantissa.bytes().position(|byte| (b'1'..=b'9').contains(&byte)).unwrap_or(mantissa.len());
    let last = mantissa.bytes().rposition(|byte| (b'1'..=b'9').contains(&byte)).map_or(first, |last| last + 1);
    mantissa[first..last].bytes().filter(u8::is_ascii_digit).count()
}

/// `0.d…` times ten to the power of `exponent` + 1.
struct Decimal {
    /// The digits in ASCII, the first one not zero, zeros to the end.
    digits: [u8; 32],
    /// Without the zeros at the end.
    count: usize,
    /// The power of ten of the first digit.
    exponent: i32,
}

/// Digits that a [`Decimal`] may have apart from zeros.
const MOST: u32 = 16;

impl Decimal {
    /// The decimal number of at most `digits` digits, 1 to 16, that is nearest to `value`, which is finite and above 0.
    #[inline]
    fn nearest(value: f64, digits: u32) -> Self {
        let (number, exponent) = rounded(value, digits).unwrap_or_else(|| rounded_exactly(value, digits));
        // A 9 that was rounded up may have brought one digit more.
        let carried = number == TENS[digits as usize];
        let (number, exponent) = if carried { (number / 10, exponent + 1) } else { (number, exponent) };
        let mut ascii = [b'0'; 32];
        let (high, low) = if digits <= 8 {
            ((number * TENS[8 - digits as usize]) as u32, 0)
        } else {
            let number = number * TENS[(MOST - digits) as usize];
            ((number / TENS[8]) as u32, (number % TENS[8]) as u32)
        };
        let (high, low) = (octets(high), octets(low));
        ascii[..8].copy_from_slice(&(high | ZEROS).to_le_bytes());
        let count = if low == 0 {
            8 - high.leading_zeros() / 8
        } else {
            ascii[8..16].copy_from_slice(&(low | ZEROS).to_le_bytes());
            16 - low.leading_zeros() / 8
        };
        Decimal { digits: ascii, count: count as usize, exponent }
    }
}

/// Eight times `'0'`.
const ZEROS: u64 = u64::from_ne_bytes(*b"00000000");

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
    let shift = 126 - binary - log2_of_power(scale);
    let whole = (product >> shift) as u64;
    let (rest, half) = (product & ((1 << shift) - 1), 1 << (shift - 1));
    if rest > half {
        Some((whole + 1, exponent))
    } else if EXACT.contains(&scale) {
        Some((whole + if rest == half { whole & 1 } else { 0 }, exponent))
    } else if rest + (1 << 65) < half {
        Some((whole, exponent))
    } else {
        None
    }
}

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
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    #[inline]
    fn write<F: Float>(&mut self, decimal: &Decimal) {
        let Decimal { digits, count, exponent } = decimal;
        if !F::PLAIN.contains(exponent) {
            self.write_with_exponent(decimal);
        } else if let Ok(before) = usize::try_from(exponent + 1)
            && before > 0
        {
            // Sixteen bytes are copied faster than those that count.
            self.copy(self.length, &digits[..16]);
            let point = self.length + before;
            self.bytes[point] = b'.';
            self.copy(point + 1, &digits[before..before + 16]);
            self.length = point + 1 + count.saturating_sub(before).max(1);
        } else {
            let zeros = exponent.unsigned_abs() as usize - 1;
            self.bytes[self.length..self.length + 8].copy_from_slice(b"0.000000");
            self.copy(self.length + 2 + zeros, &digits[..16]);
            self.length += 2 + zeros + count;
        }
    }

    fn write_with_exponent(&mut self, Decimal { digits, count, exponent }: &Decimal) {
        self.bytes[self.length] = digits[0];
        self.length += 1;
        if *count > 1 {
            self.bytes[self.length] = b'.';
            self.copy(self.length + 1, &digits[1..17]);
            self.length += *count;
        }
        self.bytes[self.length..self.length + 2].copy_from_slice(if *exponent < 0 { b"e-" } else { b"e+" });
        self.length += 2;
        let mut buffer = itoa::Buffer::new();
        let number = buffer.format(exponent.unsigned_abs()).as_bytes();
        self.bytes[self.length..self.length + number.len()].copy_from_slice(number);
        self.length += number.len();
    }

    #[inline]
    fn copy(&mut self, at: usize, digits: &[u8]) {
        self.bytes[at..at + 16].copy_from_slice(digits);
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
