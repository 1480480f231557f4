//! What has become of a topic's records since a moment, as it takes to tell whether another configuration works.

/// A moment in the order of admissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) u64);

/// What has become of the records of a topic that were admitted since a [`Mark`].
///
/// For example, a mark is set while record 7 of `/odom` waits. 8 is admitted, and 7 acknowledged: a record was admitted, and
/// nothing confirmed. With the PUBACK of 8 it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Since {
    /// A record was admitted.
    pub admitted: bool,
    /// The broker has acknowledged one of them by a PUBACK that says success, so QoS 1. Of what memory had no room for, and
    /// came back from the disk, it is not known.
    pub confirmed: bool,
    /// Records that were admitted before are still to be acknowledged, and go first: of the topic, or of a higher lane while
    /// nothing of the topic is in flight.
    pub has_older: bool,
}
