//! Values with a unit, as people write them: `"5 s"`, `"64 MiB"`, `"10 Hz"`.
//!
//! A number, decimal if need be, and a unit, with or without a blank between. Parsing is exact: what is no whole
//! number of nanoseconds or bytes is refused, and nothing overflows. [`format_duration`] and [`format_size`] write what
//! [`parse_duration`] and [`parse_size`] read back as the same value.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::problem::quote;

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// It doesn't begin with a number in decimal digits.
    #[error("it doesn't begin with a number")]
    NoNumber,
    /// It begins with a minus sign.
    #[error("it is negative")]
    Negative,
    /// A number alone.
    #[error("it has no unit")]
    NoUnit,
    /// What follows the number is not among the units.
    #[error("{unit} is not one of the units {1}", unit = quote(.0))]
    UnknownUnit(String, &'static str),
    /// More than the type can hold.
    #[error("it is too large")]
    TooLarge,
    /// Less than the smallest step of the type (a nanosecond, a byte).
    #[error("it is not a whole number of {0}")]
    TooFine(&'static str),
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Units of time, each with its length in nanoseconds.
const TIME: &[(&[&str], u128)] = &[
    (&["days", "day", "d"], 86_400 * NANOS_PER_SECOND),
    (&["h", "hour", "hours"], 3_600 * NANOS_PER_SECOND),
    (&["min", "minute", "minutes"], 60 * NANOS_PER_SECOND),
    (&["s", "second", "seconds"], NANOS_PER_SECOND),
    (&["ms"], 1_000_000),
    (&["us", "µs"], 1_000),
    (&["ns"], 1),
];
const TIME_NAMES: &str = "ns, us, ms, s, min, h, days";

/// Units of size, each in bytes: binary ones as in IEC 80000-13, decimal ones as in SI.
const SIZE: &[(&[&str], u128)] = &[
    (&["TiB"], 1 << 40),
    (&["GiB"], 1 << 30),
    (&["MiB"], 1 << 20),
    (&["KiB"], 1 << 10),
    (&["B", "bytes"], 1),
    (&["TB"], 1_000_000_000_000),
    (&["GB"], 1_000_000_000),
    (&["MB"], 1_000_000),
    (&["kB", "KB"], 1_000),
];
const SIZE_NAMES: &str = "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB";

/// Units of frequency, each in hertz.
const RATE: &[(&[&str], u128)] = &[(&["Hz"], 1), (&["kHz"], 1_000)];
const RATE_NAMES: &str = "Hz, kHz";

/// Reads a duration: `"100 ms"`, `"5s"`, `"1.5 h"`, `"7 days"`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = Quantity::parse(text)?.scaled(TIME, TIME_NAMES, "nanoseconds")?;
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).map_err(|_| UnitError::TooLarge)?;
    // The remainder is below 10^9 and fits.
    Ok(Duration::new(seconds, (nanos % NANOS_PER_SECOND) as u32))
}

/// Reads a size in bytes: `"64 MiB"`, `"10 MB"`, `"512 B"`. A number alone counts bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let mut quantity = Quantity::parse(text)?;
    if quantity.unit.is_empty() {
        quantity.unit = "B";
    }
    u64::try_from(quantity.scaled(SIZE, SIZE_NAMES, "bytes")?).map_err(|_| UnitError::TooLarge)
}

/// Reads a rate in hertz: `"10 Hz"`, `"0.5 Hz"`. The answer is finite and not negative.
pub fn parse_rate(text: &str) -> Result<f64, UnitError> {
    let quantity = Quantity::parse(text)?;
    let factor = factor(quantity.unit, RATE, RATE_NAMES)?;
    // Exact enough: at most 38 digits, and a divisor that an f64 represents up to 10^22.
    Ok(quantity.digits as f64 * factor as f64 / 10f64.powi(quantity.scale as i32))
}

/// Writes a duration with the largest unit that divides it: `"2 min"`, `"90 s"`, `"1 day"`.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0 s".to_owned();
    }
    match largest(nanos, TIME) {
        (1, "days") => "1 day".to_owned(),
        (count, unit) => format!("{count} {unit}"),
    }
}

/// Writes a size with the largest binary unit that divides it: `"32 MiB"`, `"1000 B"`.
pub fn format_size(bytes: u64) -> String {
    let (count, unit) = if bytes == 0 { (0, "B") } else { largest(bytes.into(), SIZE) };
    format!("{count} {unit}")
}

/// A period beyond it never ends, and can be added to any time of a clock.
const LONGEST_PERIOD: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Returns the time from one to the next at a rate of `hertz`, which is above 0: at most a hundred years.
pub fn period(hertz: f64) -> Duration {
    Duration::try_from_secs_f64(hertz.recip()).unwrap_or(LONGEST_PERIOD).min(LONGEST_PERIOD)
}

/// Writes a rate in hertz: `"0.5 Hz"`.
pub fn format_rate(hertz: f64) -> String {
    format!("{hertz} Hz")
}

/// The count and the name of the first unit of `units` that divides `value`. Both tables hold a unit of 1.
fn largest(value: u128, units: &'static [(&'static [&'static str], u128)]) -> (u128, &'static str) {
    units
        .iter()
        .find(|(_, size)| value.is_multiple_of(*size))
        .map_or((value, ""), |(names, size)| (value / size, names[0]))
}

/// `#[serde(serialize_with)]`: a duration as its text.
pub(super) fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

/// `#[serde(serialize_with)]`: a duration as its text, if there is one.
pub(super) fn serialize_optional_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.as_ref().map(|duration| format_duration(*duration)).serialize(serializer)
}

/// `#[serde(serialize_with)]`: a rate as its text, if there is one.
pub(super) fn serialize_optional_rate<S: Serializer>(rate: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(format_rate).serialize(serializer)
}

/// `#[serde(serialize_with)]`: a size as its text.
pub(super) fn serialize_size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_size(*bytes))
}

/// A number and what stands behind it: `digits` / 10^`scale` `unit`.
struct Quantity<'a> {
    digits: u128,
    scale: u32,
    unit: &'a str,
}

impl<'a> Quantity<'a> {
    fn parse(text: &'a str) -> Result<Self, UnitError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnitError::Empty);
        }
        if text.starts_with('-') {
            return Err(UnitError::Negative);
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(UnitError::NoNumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse().map_err(|_| UnitError::TooLarge)?;
        // At most 38 digits were accepted, leading zeros apart; those don't make a scale of use to anybody.
        let scale =
            u32::try_from(fraction.len()).ok().filter(|scale| *scale <= 38).ok_or(UnitError::TooFine("steps"))?;
        Ok(Quantity { digits, scale, unit: unit.trim_start() })
    }

    /// The value in the smallest step, which has to come out whole.
    fn scaled(&self, units: &[(&[&str], u128)], names: &'static str, step: &'static str) -> Result<u128, UnitError> {
        let numerator = self.digits.checked_mul(factor(self.unit, units, names)?).ok_or(UnitError::TooLarge)?;
        let denominator = 10u128.pow(self.scale);
        if numerator % denominator != 0 {
            return Err(UnitError::TooFine(step));
        }
        Ok(numerator / denominator)
    }
}

/// The size of `unit`, which has to be among `units`.
fn factor(unit: &str, units: &[(&[&str], u128)], names: &'static str) -> Result<u128, UnitError> {
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let known = units.iter().find(|(spellings, _)| spellings.contains(&unit));
    known.map(|(_, size)| *size).ok_or_else(|| UnitError::UnknownUnit(unit.to_owned(), names))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("5 s", 5_000),
            ("5s", 5_000),
            (" 5  s ", 5_000),
            ("100 ms", 100),
            ("2 min", 120_000),
            ("1 h", 3_600_000),
            ("1.5 h", 5_400_000),
            ("0.25 s", 250),
            ("7 days", 604_800_000),
            ("1 day", 86_400_000),
            ("0 s", 0),
            ("2 seconds", 2_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("64 MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("512 KiB", 512 << 10),
            ("1.5 KiB", 1536),
            ("10 MB", 10_000_000),
            ("0", 0),
            ("0 B", 0),
            ("4096", 4096),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    /// A rate may be as small as a number can be: its period is long, and no fault.
    #[test]
    fn periods_are_bounded() {
        assert_eq!(period(4.0), Duration::from_millis(250));
        for small in [1e-10, 1e-19, f64::MIN_POSITIVE] {
            assert_eq!(period(small), LONGEST_PERIOD, "{small}");
        }
        assert!(std::time::Instant::now().checked_add(LONGEST_PERIOD).is_some());
    }

    #[test]
    fn rates_are_read_in_hertz() {
        assert_eq!(parse_rate("10 Hz"), Ok(10.0));
        assert_eq!(parse_rate("0.1Hz"), Ok(0.1));
        assert_eq!(parse_rate("1 kHz"), Ok(1000.0));
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(parse_duration(" "), Err(UnitError::Empty));
        assert_eq!(parse_duration("soon"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("1.2.3 s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration(".5 s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("-5 s"), Err(UnitError::Negative));
        assert_eq!(parse_duration("5"), Err(UnitError::NoUnit));
        assert_eq!(parse_duration("5 MiB"), Err(UnitError::UnknownUnit("MiB".into(), TIME_NAMES)));
        assert_eq!(parse_duration("5 m"), Err(UnitError::UnknownUnit("m".into(), TIME_NAMES)));
        assert_eq!(parse_duration("1e9 s"), Err(UnitError::UnknownUnit("e9 s".into(), TIME_NAMES)));
        assert_eq!(parse_duration("99999999999999999999 days"), Err(UnitError::TooLarge));
        assert_eq!(parse_duration(&format!("{} s", "9".repeat(1000))), Err(UnitError::TooLarge));
        assert_eq!(parse_duration("0.5 ns"), Err(UnitError::TooFine("nanoseconds")));
        assert_eq!(parse_size("0.1 KiB"), Err(UnitError::TooFine("bytes")));
        assert_eq!(parse_size("16777216 TiB"), Err(UnitError::TooLarge));
        assert_eq!(parse_size("5 M"), Err(UnitError::UnknownUnit("M".into(), SIZE_NAMES)));
        // A line of a key that begins with a digit is redacted before it is cut.
        let key = format!("4{}", "aB3".repeat(21));
        let said = parse_duration(&key).unwrap_err().to_string();
        assert!(said.starts_with("\"…\" is not one of the units"), "{said}");
        assert_eq!(parse_rate("10"), Err(UnitError::NoUnit));
        assert_eq!(parse_rate("ten Hz"), Err(UnitError::NoNumber));
    }

    #[test]
    fn quantities_are_written_with_the_largest_unit_that_divides_them() {
        assert_eq!(format_duration(Duration::from_secs(120)), "2 min");
        assert_eq!(format_duration(Duration::from_secs(90)), "90 s");
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1 day");
        assert_eq!(format_duration(Duration::from_nanos(1_500)), "1500 ns");
        assert_eq!(format_duration(Duration::ZERO), "0 s");
        assert_eq!(format_size(32 << 20), "32 MiB");
        assert_eq!(format_size(1_000_000), "1000000 B");
        assert_eq!(format_size(0), "0 B");
    }

    proptest! {
        #[test]
        fn every_duration_reads_back(seconds in any::<u64>(), nanos in 0..1_000_000_000u32) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn every_size_reads_back(bytes in any::<u64>(), shift in 0..64u32) {
            let bytes = bytes >> shift << (shift / 2);
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_decimal_is_what_it_says(whole in 0..1_000_000u64, millis in 0..1000u64) {
            let text = format!("{whole}.{millis:03} s");
            prop_assert_eq!(parse_duration(&text), Ok(Duration::from_millis(whole * 1000 + millis)));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "[0-9.\\-+eE]{0,60} ?(s|ms|MiB|Hz|days|.{0,5})") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            if let Ok(rate) = parse_rate(&text) {
                prop_assert!(rate.is_finite() && rate >= 0.0);
            }
        }
    }
}
