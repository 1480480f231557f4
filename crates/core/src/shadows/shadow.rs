//! An entry of `[[shadows]]`: the client, with the latest message for `reported` and a place for wishes.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::desired::{Clear, Desired};
use super::reported::Reported;
use super::{Client, Event, Figures, Kind, Malformed, Outgoing, State, TooLarge};

/// After an update of ours a delta follows while something is wished. So long it is waited for before the shadow is asked for.
const DELTA_FOLLOWS: Duration = Duration::from_secs(2);

/// What is wished, to be handed to ROS.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Of the shadow.
    pub version: u64,
    /// What is desired and not reported.
    pub state: State,
    /// Whether everything that `desired` holds is in it or reported.
    pub(super) is_all: bool,
}

/// The state of one shadow. See the [rules](super).
#[derive(Debug)]
pub struct Shadow {
    client: Client,
    reported: Option<Reported>,
    desired: Option<Desired>,
    /// What the update that is under way has in it.
    under_way: Option<UnderWay>,
    /// Whether there was a conflict, or an update of both was refused: they go by turns on this connection, so that neither
    /// hinders the other, until a wish is cleared.
    is_apart: bool,
    /// Whether a report was sent last: where they go by turns the next waits for the clearing.
    is_clears_turn: bool,
    /// Since when the version is newer than what is known of `desired`.
    behind_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    has_report: bool,
    /// Of a wish that is cleared with it.
    clear: Option<Clearing>,
}

#[derive(Debug, Clone, Copy)]
struct Clearing {
    version: u64,
    /// Whether all of `desired` goes.
    is_all: bool,
}

impl Shadow {
    /// With `report` messages are reported, at most at the rate, if there is one. With `has_desired` there are wishes.
    pub fn new(report: Option<Option<f64>>, has_desired: bool, client: Client) -> Self {
        Shadow {
            client,
            reported: report.map(Reported::new),
            desired: has_desired.then(Desired::default),
            under_way: None,
            is_apart: false,
            is_clears_turn: false,
            behind_since: None,
        }
    }

    /// The connection stands, and the topics are subscribed to.
    pub fn connected(&mut self, now: Instant) {
        self.client.connected(now);
        self.begins_anew();
    }

    /// As [`Shadow::connected`]; the shadow is asked for at a random time within `spread`.
    pub fn connected_within(&mut self, spread: Duration, now: Instant) {
        self.client.connected_within(spread, now);
        self.begins_anew();
    }

    fn begins_anew(&mut self) {
        self.behind_since = None;
        (self.is_apart, self.is_clears_turn) = (false, false);
        self.reported.iter_mut().for_each(Reported::connected);
        if let Some(desired) = &mut self.desired {
            desired.connected();
        }
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        self.client.disconnected();
    }

    /// The latest message of the ROS topic.
    ///
    /// # Errors
    /// If it does not fit into a shadow. What was reported before stays.
    pub fn report(&mut self, message: State) -> Result<(), TooLarge> {
        self.reported.as_mut().map_or(Ok(()), |reported| reported.report(message))
    }

    /// Whether the shadow holds the latest message, as far as is known.
    pub fn is_reported(&self) -> bool {
        self.under_way.is_none() && self.reported.as_ref().is_some_and(Reported::is_held)
    }

    /// Has the shadow asked for at a random time within `spread`, unless it is asked for before that anyway.
    pub fn ask_within(&mut self, spread: Duration, now: Instant) {
        self.client.ask_within(spread, now);
    }

    /// Something has come from the service. Returns what it was.
    ///
    /// # Errors
    /// If it can't be read. It has changed nothing.
    pub fn arrived(&mut self, kind: Kind, payload: &[u8], now: Instant) -> Result<Event, Malformed> {
        let event = self.client.arrived(kind, payload, now)?;
        self.take(&event, now);
        Ok(event)
    }

    fn take(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Document { version, desired, reported, delta } => {
                if let Some(known) = &mut self.reported {
                    known.holds(reported.clone());
                    known.has_more_room();
                }
                if let Some(known) = &mut self.desired {
                    known.document(*version, desired.clone(), delta.clone());
                }
            }
            Event::NoShadow => {
                if let Some(known) = &mut self.reported {
                    known.holds(State::new());
                }
                if let Some(known) = &mut self.desired {
                    known.nothing();
                }
            }
            Event::Delta { version, state } => {
                if let Some(known) = &mut self.desired {
                    known.delta(*version, state.clone());
                }
            }
            Event::Accepted { .. } => {
                let Some(UnderWay { has_report, clear }) = self.under_way.take() else { return };
                if let Some((desired, Clearing { version, is_all })) = self.desired.as_mut().zip(clear) {
                    self.is_apart = false;
                    desired.cleared(version);
                    self.reported.iter_mut().for_each(Reported::has_more_room);
                    if !is_all {
                        // What was wished and is reported already stood in no delta, and is still there.
                        self.client.ask(now);
                    }
                }
                if let Some(reported) = self.reported.as_mut().filter(|_| has_report) {
                    reported.accepted();
                }
            }
            Event::Conflict => {
                self.is_apart = true;
                self.not_taken(None);
            }
            Event::Throttled(_) | Event::TimedOut => self.not_taken(None),
            Event::Rejected(rejection) => self.not_taken(Some(rejection.code)),
            Event::Written { .. } | Event::Other => {}
        }
    }

    /// The update was not taken; with a `code` for what it says.
    fn not_taken(&mut self, code: Option<u16>) {
        let Some(UnderWay { has_report, clear }) = self.under_way.take() else { return };
        let has_clear = clear.is_some();
        // Of an update of both nobody knows which was the reason.
        let is_both = has_report && has_clear;
        self.is_apart |= is_both && code.is_some();
        let code = code.filter(|_| !is_both);
        if let Some(reported) = self.reported.as_mut().filter(|_| has_report) {
            reported.not_taken(code);
        }
        if let Some(desired) = self.desired.as_mut().filter(|_| has_clear && code.is_some()) {
            desired.not_cleared();
        }
    }

    /// What is to be published now, if anything.
    pub fn next(&mut self, now: Instant) -> Option<Outgoing> {
        if let Some(event) = self.client.expire(now) {
            self.take(&event, now);
        }
        self.behind_since = self.is_behind().then(|| self.behind_since.unwrap_or(now));
        if self.behind_since.is_some_and(|since| since + DELTA_FOLLOWS <= now) {
            self.behind_since = None;
            self.client.ask(now);
        }
        self.client.next_get(now).or_else(|| self.next_update(now))
    }

    fn next_update(&mut self, now: Instant) -> Option<Outgoing> {
        if self.client.may_update(now)? > now {
            return None;
        }
        let report = self.report_in_turn().filter(|reported| reported.earliest(now) <= now);
        let report = report.map(Reported::difference).filter(|difference| !difference.is_empty());
        let clear = self.clear_in_order().filter(|_| report.is_none() || !self.is_apart);
        if report.is_none() && clear.is_none() {
            return None;
        }
        let mut update = State::new();
        let clearing =
            clear.as_ref().map(|(clear, version)| Clearing { version: *version, is_all: *clear == Clear::All });
        self.under_way = Some(UnderWay { has_report: report.is_some(), clear: clearing });
        self.is_clears_turn = report.is_some();
        if let Some(difference) = report {
            update.insert("reported".to_owned(), Value::Object(difference));
            self.reported.iter_mut().for_each(|reported| reported.sent(now));
        }
        let version = clear.map(|(clear, version)| {
            let value = match clear {
                Clear::All => Value::Null,
                Clear::Leaves(leaves) => Value::Object(leaves),
            };
            update.insert("desired".to_owned(), value);
            version
        });
        Some(self.client.update(&update, version, now))
    }

    /// What is reported, unless a report went last and a wish is to be cleared now. The report goes first where they go by
    /// turns, as it needs no version.
    fn report_in_turn(&self) -> Option<&Reported> {
        let has_clear = self.desired.as_ref().is_some_and(|desired| desired.to_clear().is_some());
        self.reported.as_ref().filter(|_| !(self.is_apart && self.is_clears_turn && has_clear))
    }

    /// Whether the shadow is newer than what is known of a wish that is to be cleared.
    fn is_behind(&self) -> bool {
        let seen = self.desired.as_ref().and_then(Desired::to_clear).map(|(_, seen)| seen);
        self.client.is_connected() && seen.is_some_and(|seen| self.client.version() > Some(seen))
    }

    /// What is to be cleared, unless the shadow is newer than what is known of it: then the service would refuse.
    fn clear_in_order(&self) -> Option<(Clear, u64)> {
        let (clear, version) = self.desired.as_ref()?.to_clear()?;
        (self.client.version() == Some(version)).then(|| (clear.clone(), version))
    }

    /// When [`Shadow::next`] may have something, at the latest.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let update = self.client.may_update(now).and_then(|earliest| {
            let report = self.report_in_turn().filter(|reported| !reported.difference().is_empty());
            let report = report.map(|reported| reported.earliest(now).max(earliest));
            report.into_iter().chain(self.clear_in_order().map(|_| earliest)).min()
        });
        let behind = self.behind_since.map(|since| since + DELTA_FOLLOWS);
        [self.client.wake_at(now), update, behind].into_iter().flatten().min()
    }

    /// What is to be handed to ROS.
    pub fn wish(&self) -> Option<&Wish> {
        self.desired.as_ref()?.wish()
    }

    /// The [wish](Shadow::wish) was handed to ROS; it is cleared.
    pub fn was_handed_over(&mut self) {
        self.desired.iter_mut().for_each(Desired::was_handed_over);
    }

    /// ROS does not take the [wish](Shadow::wish); it stays in the shadow.
    pub fn was_refused(&mut self) {
        self.desired.iter_mut().for_each(Desired::was_refused);
    }

    /// The version of the shadow, as far as it is known.
    pub fn version(&self) -> Option<u64> {
        self.client.version()
    }

    /// Deltas that were dropped as others of a newer version had come.
    pub fn stale(&self) -> u64 {
        self.desired.as_ref().map_or(0, |desired| desired.stale)
    }

    pub fn figures(&self) -> &Figures {
        self.client.figures()
    }
}
