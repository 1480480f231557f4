//! How many bytes values of fixed size take, which depends on where they begin.

/// The bytes that a run of values of fixed size takes.
///
/// Values are aligned to at most 8 bytes, so that the padding within a run depends on the run's first position modulo 8,
/// and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// By the first position modulo 8; padding in front of the first value included.
    lengths: [usize; 8],
    /// Bytes without any padding.
    pub(super) least: usize,
}

impl Span {
    /// One value of `size` bytes, aligned to as many: 1, 2, 4 or 8.
    pub(super) fn value(size: usize) -> Self {
        Span { lengths: std::array::from_fn(|position| position.next_multiple_of(size) - position + size), least: size }
    }

    /// This run, and `next` after it.
    pub(super) fn then(&self, next: &Span) -> Self {
        let length = |position: usize| {
            let first = self.lengths[position];
            first.saturating_add(next.length(position.wrapping_add(first)))
        };
        Span { lengths: std::array::from_fn(length), least: self.least.saturating_add(next.least) }
    }

    /// This run, `count` times in a row.
    pub(super) fn times(&self, count: usize) -> Self {
        Span {
            lengths: std::array::from_fn(|position| self.repeated(position, count)),
            least: self.least.saturating_mul(count),
        }
    }

    /// The length of the run that begins at `position`.
    pub(super) fn length(&self, position: usize) -> usize {
        self.lengths[position % 8]
    }

    /// The length of `count` runs in a row of which the first begins at `position`.
    pub(super) fn repeated(&self, position: usize, count: usize) -> usize {
        let (mut length, mut done) = (0usize, 0);
        // By the position modulo 8: how many runs were done there first, and their length. From a position that was there
        // already everything repeats.
        let mut known: [Option<(usize, usize)>; 8] = [None; 8];
        while done < count {
            let at = position.wrapping_add(length) % 8;
            if let Some((done_then, length_then)) = known[at].take() {
                let period = done - done_then;
                let rounds = (count - done) / period;
                length = length.saturating_add((length - length_then).saturating_mul(rounds));
                done += rounds * period;
                // Fewer than a period are left, which end before anything repeats again.
                known = [None; 8];
                continue;
            }
            known[at] = Some((done, length));
            length = length.saturating_add(self.lengths[at]);
            done += 1;
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Span = Span { lengths: [0; 8], least: 0 };

    /// Where values of these sizes end that begin at `position`.
    fn end(sizes: &[usize], position: usize) -> usize {
        sizes.iter().fold(position, |position, size| position.next_multiple_of(*size) + size)
    }

    /// For all runs of up to four values, from each position, up to 40 in a row: the same as one value after the other.
    #[test]
    fn runs_take_what_their_values_take() {
        let mut runs: Vec<Vec<usize>> = vec![Vec::new()];
        for _ in 0..4 {
            let longer = runs.iter().flat_map(|run| [1, 2, 4, 8].map(|size| [run.as_slice(), &[size]].concat()));
            runs = longer.chain(runs.clone()).collect();
        }
        for run in runs {
            let span = run.iter().fold(EMPTY, |span, size| span.then(&Span::value(*size)));
            assert_eq!(span.least, run.iter().sum::<usize>());
            for position in 0..16 {
                for count in 0..40 {
                    let expected = end(&run.repeat(count), position) - position;
                    assert_eq!(span.repeated(position, count), expected, "{count} times {run:?} from {position}");
                    assert_eq!(span.times(count).length(position), expected);
                }
            }
        }
    }

    #[test]
    fn what_is_longer_than_memory_stays_so() {
        let span = Span::value(8).times(usize::MAX).then(&Span::value(1));
        assert_eq!((span.length(3), span.least), (usize::MAX, usize::MAX));
        assert_eq!(Span::value(4).repeated(1, usize::MAX), usize::MAX);
    }
}
