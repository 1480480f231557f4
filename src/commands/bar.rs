//! How far something is that takes longer than a moment.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What takes no longer than this needs no bar.
const MOMENT: Duration = Duration::from_secs(1);

/// A bar on standard error, if that is a terminal. It goes with its owner.
pub struct Bar {
    what: &'static str,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    pub fn new(what: &'static str) -> Bar {
        Bar { what, begun: Instant::now(), bar: None }
    }

    /// `done` of `of` is done.
    pub fn at(&mut self, done: u64, of: u64) {
        if self.bar.is_none() && self.begun.elapsed() < MOMENT {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {bar:40} {percent:>3} %, {eta} left");
            ProgressBar::new(of)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(self.what)
                .with_elapsed(self.begun.elapsed())
        });
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
