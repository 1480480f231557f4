//! Why something is not done that was asked for.

use std::fmt;

use super::Identity;

/// What is said of whatever was retained.
pub(super) const RETAINED: &str =
    "the broker had kept it, so nobody knows how old it is; what is to be done is published without retain";

/// Why a command is not published on ROS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The broker had kept it: nobody knows how old it is.
    Retained,
    /// It can't be read, or is no message of its type.
    Malformed,
    /// A command with the same id was accepted a short while ago.
    Duplicate,
    /// It was sent too long ago, or nobody can tell.
    TooOld,
    /// A number is outside of `limits`.
    OutOfLimits,
    /// The command before was accepted too short a while ago.
    TooFast,
    /// Nobody on ROS takes it.
    Unavailable,
}

impl Reason {
    /// In the order in which a command is looked at.
    pub const ALL: [Reason; 7] = [
        Reason::Retained,
        Reason::Malformed,
        Reason::Duplicate,
        Reason::TooOld,
        Reason::OutOfLimits,
        Reason::TooFast,
        Reason::Unavailable,
    ];

    /// As it stands in replies and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Retained => "retained",
            Reason::Malformed => "malformed",
            Reason::Duplicate => "duplicate",
            Reason::TooOld => "too_old",
            Reason::OutOfLimits => "out_of_limits",
            Reason::TooFast => "too_fast",
            Reason::Unavailable => "unavailable",
        }
    }
}

/// What is wrong, in a sentence for people: at most [`Detail::LONGEST`] bytes, on one line. Of what was asked for it has at most
/// the name of a field that does not exist, escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// Most bytes of one.
    pub const LONGEST: usize = 300;

    /// What `words` say; what is beyond the [`LONGEST`](Self::LONGEST) is cut off.
    pub fn new(words: impl fmt::Display) -> Self {
        const CUT: &str = "…";
        let mut words = words.to_string();
        if words.contains(char::is_control) {
            words = words.replace(char::is_control, " ");
        }
        if words.len() > Self::LONGEST {
            words.truncate(words.floor_char_boundary(Self::LONGEST - CUT.len()));
            words.push_str(CUT);
        }
        Detail(words)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command that is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As far as it could be read.
    pub identity: Identity,
    pub reason: Reason,
    pub detail: Detail,
}

/// A request that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// As far as it could be read.
    pub identity: Identity,
    pub detail: Detail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_line_of_bounded_length() {
        assert_eq!(Detail::new("one\ntwo\u{1b}").as_str(), "one two ");
        assert_eq!(Detail::new("a".repeat(300)).as_str(), "a".repeat(300));
        assert_eq!(Detail::new("a".repeat(301)).as_str(), "a".repeat(297) + "…");
        // A character is not cut.
        assert_eq!(Detail::new("ä".repeat(200)).as_str(), "ä".repeat(148) + "…");
    }
}
