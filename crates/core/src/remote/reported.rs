//! What the bridge reports in the shadow of its configuration: what it says, how it is cut to fit, and when it is sent.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::phase::Phase;
use super::{LONGEST_VERSION, Outcome};
use crate::shadows::{DOCUMENT_LIMIT, State};

/// Most bytes of a report as JSON. The rest of the shadow's 8 KiB is for what is desired.
pub const REPORT_LIMIT: usize = 2048;

/// Figures alone are reported at most once in this time: each report costs the account four publishes, and a delta.
const FIGURES_EVERY: Duration = Duration::from_secs(300);

/// Longest text of one problem, in bytes.
const PROBLEM_LIMIT: usize = 300;

/// Longest line, in bytes of JSON, that says how many problems are left.
const LEFT: usize = 48;

/// What `{"desired":…,"reported":…}` has beside the two.
const FRAME: usize = 32;

/// What is reported of the configuration. It is sent at once when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of what was desired last. As many of its problems are reported as fit.
    pub outcome: Outcome,
    /// SHA-256 of the settings that are in force, in hexadecimal digits.
    pub config: String,
    /// Version of the program.
    pub bridge: String,
    /// `jazzy`, for instance.
    pub ros_distro: String,
}

/// Figures for the fleet's index. They are sent with what else is reported, and alone when they have changed, at most every
/// five minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether more is offered than may leave.
    pub behind: bool,
    /// Records dropped since the start.
    pub dropped: u64,
    /// Age of the oldest record that waits, in whole seconds; 0 without any.
    pub oldest_s: u64,
}

/// What is left out of a report that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// The problems that are too many.
    Problems,
    /// All of them, but how many there are.
    AllProblems,
    /// All but what became of which version.
    Rest,
}

/// What is to be reported, and when.
#[derive(Debug)]
pub(super) struct Reported {
    report: Option<Report>,
    /// When a report that has changed is sent.
    due: Option<Instant>,
    figures: Figures,
    phase: Phase,
    /// Bytes of JSON that `desired` leaves.
    room: usize,
    cut: Cut,
}

impl Reported {
    pub fn new(thing: &str, now: Instant, wall: SystemTime) -> Reported {
        Reported {
            report: None,
            due: None,
            figures: Figures::default(),
            phase: Phase::of(thing, FIGURES_EVERY, now, wall),
            room: DOCUMENT_LIMIT,
            cut: Cut::Problems,
        }
    }

    /// This is to be reported at `at`, or when an earlier one is.
    pub fn set(&mut self, report: Report, at: Instant) {
        self.report = Some(report);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// These go with the next report.
    pub fn set_figures(&mut self, figures: Figures) {
        self.figures = figures;
    }

    /// So much is desired; what is reported has to fit beside it.
    pub fn is_beside(&mut self, desired: &State) {
        self.room = DOCUMENT_LIMIT.saturating_sub(length(desired) + FRAME);
        self.cut = Cut::Problems;
    }

    /// The service says that it was too large: less is sent, at `at`. Returns whether there is less to be said.
    pub fn was_too_large(&mut self, at: Instant) -> bool {
        let Some(report) = &self.report else { return false };
        let render = |cut| report.render(self.figures, cut, self.room);
        let (sent, cuts) = (render(self.cut), [Cut::AllProblems, Cut::Rest]);
        let Some(cut) = cuts.into_iter().find(|cut| *cut > self.cut && render(*cut) != sent) else { return false };
        (self.cut, self.due) = (cut, Some(at));
        true
    }

    /// Whether a report that has changed waits for its time.
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What `reported` is to be from now on, when it is time to look at that.
    pub fn next(&mut self, now: Instant) -> Option<State> {
        let is_time = self.phase.has_come(now);
        let is_due = self.due.is_some_and(|due| due <= now);
        let report = self.report.as_ref()?;
        if is_due {
            self.due = None;
        }
        // A report that waits takes its figures along; what the shadow holds already is not sent.
        (is_due || is_time && self.due.is_none()).then(|| report.render(self.figures, self.cut, self.room))
    }

    /// When [`Reported::next`] has something to do.
    pub fn wake_at(&self) -> Option<Instant> {
        let figures = self.report.as_ref().map(|_| self.phase.next());
        [self.due, figures].into_iter().flatten().min()
    }
}

impl Report {
    /// At most [`REPORT_LIMIT`] bytes of JSON, and `room` if that can be.
    fn render(&self, figures: Figures, cut: Cut, room: usize) -> State {
        let limit = REPORT_LIMIT.min(room);
        let mut report = State::new();
        let Outcome { version, state, problems, .. } = &self.outcome;
        let version = version.as_ref().map(|version| version.chars().take(LONGEST_VERSION).collect::<String>());
        report.insert("version".to_owned(), version.into());
        report.insert("state".to_owned(), state.name().into());
        report.insert("config".to_owned(), self.config.as_str().into());
        let mut whole = report.clone();
        whole.insert("bridge".to_owned(), self.bridge.as_str().into());
        whole.insert("ros_distro".to_owned(), self.ros_distro.as_str().into());
        whole.insert("behind".to_owned(), figures.behind.into());
        whole.insert("dropped".to_owned(), figures.dropped.into());
        whole.insert("oldest_s".to_owned(), figures.oldest_s.into());
        let most = if cut == Cut::Problems { problems.len() } else { 0 };
        let rest = || (cut != Cut::Rest).then(|| self.with_problems(&whole, 0));
        let fits = |report: &State| length(report) <= limit;
        // Without the line that says how many are left a list only grows with each: once that does not make up for it, none fits.
        let lists = (1..=most).map(|count| self.with_problems(&whole, count));
        let found = lists.take_while(|report| length(report) <= limit + LEFT).filter(fits).last();
        found.or_else(|| rest().filter(fits)).unwrap_or(report)
    }

    /// With the first `count` problems, and how many there are besides.
    fn with_problems(&self, report: &State, count: usize) -> State {
        let mut report = report.clone();
        let mut problems: Vec<Value> =
            self.outcome.problems.iter().take(count).map(|problem| json!(shortened(problem))).collect();
        let left = self.outcome.problems.len() - problems.len();
        if left > 0 {
            let more = if count == 0 { "" } else { "more " };
            problems.push(json!(format!("{left} {more}problem{}", if left == 1 { "" } else { "s" })));
        }
        let problems = if problems.is_empty() { Value::Null } else { problems.into() };
        report.insert("problems".to_owned(), problems);
        report
    }
}

/// A text of at most [`PROBLEM_LIMIT`] bytes.
fn shortened(text: &str) -> String {
    if text.len() <= PROBLEM_LIMIT {
        return text.to_owned();
    }
    const DOTS: char = '…';
    let end = text.floor_char_boundary(PROBLEM_LIMIT - DOTS.len_utf8());
    format!("{}{DOTS}", &text[..end])
}

/// Bytes of a state as JSON.
fn length(state: &State) -> usize {
    // A map of JSON values can always be written.
    serde_json::to_string(state).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{By, Verdict};

    fn rendered(report: &Report) -> State {
        report.render(Figures::default(), Cut::Problems, DOCUMENT_LIMIT)
    }

    /// However long versions and problems are, and however many, a report keeps to its limit, and texts are cut between characters.
    #[test]
    fn a_report_is_never_too_long() {
        for (problems, length) in [(0, 0), (1, 5000), (3, 300), (4, 301), (1000, 10), (1000, 1000)] {
            for letter in ["x", "ü", "\u{1}", "\u{1f916}"] {
                let problem = letter.repeat(length);
                let version = Some(letter.repeat(100));
                let problems_ = vec![problem; problems];
                let outcome = Outcome { by: By::Shadow, version, state: Verdict::Rejected, problems: problems_ };
                let report =
                    Report { outcome, config: "0".repeat(64), bridge: "0.2.0".into(), ros_distro: "jazzy".into() };
                let state = rendered(&report);
                assert!(self::length(&state) <= REPORT_LIMIT, "{problems} of {length}: {}", self::length(&state));
                assert_eq!(state["version"].as_str().map(|version| version.chars().count()), Some(LONGEST_VERSION));
                let texts = state["problems"].as_array().map_or(&[][..], Vec::as_slice);
                let texts: Vec<_> = texts.iter().map(|text| text.as_str().unwrap_or_default()).collect();
                assert!(texts.iter().all(|text| text.len() <= PROBLEM_LIMIT));
                assert_eq!(texts.is_empty(), problems == 0);
                let (told, left) = match texts.split_last() {
                    Some((last, others)) if last.contains("problem") => {
                        (others.len(), last.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
                    }
                    _ => (texts.len(), 0),
                };
                assert_eq!(told + left, problems);
            }
        }
    }
}
