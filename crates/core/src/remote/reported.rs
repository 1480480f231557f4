//! What the bridge reports in the shadow of its configuration: what it says, how it is cut to fit, and when it is sent.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::phase::Phase;
use crate::shadows::{DOCUMENT_LIMIT, State};

/// Most bytes of a report as JSON. The rest of the shadow's 8 KiB is for what is desired.
pub const REPORT_LIMIT: usize = 2048;

/// Figures alone are reported at most once in this time: each report costs the account four publishes, and a delta.
const FIGURES_EVERY: Duration = Duration::from_secs(300);

/// Longest text of one problem, in bytes.
const PROBLEM_LIMIT: usize = 300;

/// Longest version, in characters; those of wishes have no more.
const VERSION_LIMIT: usize = 64;

/// What `{"desired":…,"reported":…}` has beside the two.
const FRAME: usize = 32;

/// What has become of what is desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WishState {
    Applied,
    Rejected,
    RolledBack,
}

impl WishState {
    /// As the shadow has it.
    pub fn name(self) -> &'static str {
        match self {
            WishState::Applied => "applied",
            WishState::Rejected => "rejected",
            WishState::RolledBack => "rolled_back",
        }
    }
}

/// What is reported of the configuration. It is sent at once when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Of what was desired last; `None` when nothing is.
    pub version: Option<String>,
    /// What has become of that.
    pub state: Option<WishState>,
    /// Why it is not in force. As many are reported as fit.
    pub problems: Vec<String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Those that were sent last.
    sent: Option<Figures>,
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
            sent: None,
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

    /// The service says that it was too large: less is sent the next time, at `at`. Returns whether there is less to be said.
    pub fn was_too_large(&mut self, at: Instant) -> bool {
        self.cut = match self.cut {
            Cut::Problems => Cut::AllProblems,
            Cut::AllProblems => Cut::Rest,
            Cut::Rest => return false,
        };
        self.due = Some(at);
        true
    }

    /// Whether a report that has changed waits for its time.
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What `reported` is to be from now on, if that is another than before.
    pub fn next(&mut self, now: Instant) -> Option<State> {
        let is_time = self.phase.has_come(now);
        let is_due = self.due.is_some_and(|due| due <= now);
        let report = self.report.as_ref()?;
        if !is_due && !(is_time && self.sent.is_some_and(|sent| sent != self.figures)) {
            return None;
        }
        self.due = None;
        self.sent = Some(self.figures);
        Some(report.render(self.figures, self.cut, self.room))
    }

    /// When [`Reported::next`] has something to do.
    pub fn wake_at(&self) -> Option<Instant> {
        let figures = self.sent.is_some_and(|sent| sent != self.figures).then(|| self.phase.next());
        [self.due, figures].into_iter().flatten().min()
    }
}

impl Report {
    /// At most [`REPORT_LIMIT`] bytes of JSON, and `room` if that can be.
    fn render(&self, figures: Figures, cut: Cut, room: usize) -> State {
        let limit = REPORT_LIMIT.min(room);
        let mut report = State::new();
        let version = self.version.as_ref().map(|version| version.chars().take(VERSION_LIMIT).collect::<String>());
        report.insert("version".to_owned(), version.into());
        report.insert("state".to_owned(), self.state.map(WishState::name).into());
        report.insert("config".to_owned(), self.config.as_str().into());
        let mut whole = report.clone();
        whole.insert("bridge".to_owned(), self.bridge.as_str().into());
        whole.insert("ros_distro".to_owned(), self.ros_distro.as_str().into());
        whole.insert("behind".to_owned(), figures.behind.into());
        whole.insert("dropped".to_owned(), figures.dropped.into());
        whole.insert("oldest_s".to_owned(), figures.oldest_s.into());
        let most = if cut == Cut::Problems { self.problems.len() } else { 0 };
        let rest = || (cut != Cut::Rest).then(|| self.with_problems(&whole, 0));
        let fits = |report: &State| length(report) <= limit;
        // The texts are so few that trying is cheap: the longest list that fits.
        let found = (1..=most).rev().map(|count| self.with_problems(&whole, count)).find(fits);
        found.or_else(|| rest().filter(fits)).unwrap_or(report)
    }

    /// With the first `count` problems, and how many there are besides.
    fn with_problems(&self, report: &State, count: usize) -> State {
        let mut report = report.clone();
        let mut problems: Vec<Value> =
            self.problems.iter().take(count).map(|problem| json!(shortened(problem))).collect();
        let left = self.problems.len() - problems.len();
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
