//! Figures as people read them.

use std::fmt::{self, Display, Formatter};

/// Bytes in the unit that leaves one to four digits: `1023 B`, `1.0 KiB`, `150 KiB`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes(pub f64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut size = self.0;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if size < 1024.0 {
                return write!(f, "{size:.*} {unit}", usize::from(unit != "B" && size < 100.0));
            }
            size /= 1024.0;
        }
        write!(f, "{size:.1} TiB")
    }
}

/// So many in a second: whole from 10 on, with a digit behind the point below, unless it is 0: `240`, `4.2`, `10`, `2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frequency(pub f64);

impl Display for Frequency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        if tenths >= 10.0 || tenths.fract() == 0.0 { write!(f, "{tenths:.0}") } else { write!(f, "{tenths:.1}") }
    }
}

/// Seconds, with the two largest units that they fill: `59 s`, `1 min 1 s`, `1 h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let largest = UNITS.iter().position(|(size, _)| self.0 >= *size).unwrap_or(UNITS.len() - 1);
        let mut rest = self.0;
        for (index, (size, unit)) in UNITS.iter().enumerate().skip(largest).take(2) {
            let count = rest / size;
            rest %= size;
            if index == largest {
                write!(f, "{count} {unit}")?;
            } else if count > 0 {
                write!(f, " {count} {unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let spans = [0, 59, 60, 61, 3_600, 3_725, 90_000, 31_536_000].map(|seconds| Span(seconds).to_string());
        assert_eq!(spans, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 2 min", "1 d 1 h", "365 d"]);
        let sizes = [0.0, 1023.0, 1024.0, 153_600.0, 33_554_432.0, 5e13].map(|size| Bytes(size).to_string());
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "150 KiB", "32.0 MiB", "45.5 TiB"]);
        let rates = [0.0, 0.04, 0.1, 2.0, 4.24, 9.96, 10.4, 240.4].map(|rate| Frequency(rate).to_string());
        assert_eq!(rates, ["0", "0", "0.1", "2", "4.2", "10", "10", "240"]);
    }
}
