//! One message of so many.

/// Takes the first message, and each `step`-th after it.
#[derive(Debug)]
pub(super) struct Every {
    step: u32,
    /// Messages to come that are held back before one is taken.
    held_back: u32,
}

impl Every {
    /// `step` is at least 1; 1 takes every message.
    pub(super) fn new(step: u32) -> Self {
        Every { step, held_back: 0 }
    }

    /// Whether the message that has come is taken.
    pub(super) fn takes(&mut self) -> bool {
        match self.held_back.checked_sub(1) {
            Some(left) => self.held_back = left,
            None => {
                self.held_back = self.step.saturating_sub(1);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_each_tenth_after_it() {
        let mut every = Every::new(10);
        let taken: Vec<u32> = (0..31).filter(|_| every.takes()).collect();
        assert_eq!(taken, [0, 10, 20, 30]);
        let mut all = Every::new(1);
        assert!((0..5).all(|_| all.takes()));
    }
}
