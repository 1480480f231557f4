//! Why a message does not travel although nothing is lost.

/// What of a topic's configuration keeps a message back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum ShapedReason {
    /// `rate`: it came too soon after the one before.
    Rate,
    /// `every`: it is none of those that are counted off.
    Every,
    /// `on_change`: it does not differ from the last one that was sent.
    Unchanged,
    /// `window`: it is in a record together with others.
    Window,
    /// `arrays` with `over = "drop"`: an array of it is too long.
    Arrays,
}

impl ShapedReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [ShapedReason; 5] =
        [ShapedReason::Rate, ShapedReason::Every, ShapedReason::Unchanged, ShapedReason::Window, ShapedReason::Arrays];

    /// The label in metrics and status.
    pub fn label(self) -> &'static str {
        match self {
            ShapedReason::Rate => "rate",
            ShapedReason::Every => "every",
            ShapedReason::Unchanged => "unchanged",
            ShapedReason::Window => "window",
            ShapedReason::Arrays => "arrays",
        }
    }
}
