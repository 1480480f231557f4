//! What is wrong with an entry, and when the log is told of it.

use std::time::Instant;

use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};

/// One thing that may be wrong, like that a type can't be loaded.
///
/// The log is told of it when it begins or has another reason, at most once a minute; and of its end, if it was told of it. A
/// subscription that comes and goes each second makes two lines a minute.
#[derive(Default)]
pub(super) struct Trouble {
    why: Option<String>,
    /// What was said last, unless its end was said since.
    said: Option<String>,
    repeat: Repeat,
}

/// What the log is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// Something is wrong, for this reason: a sentence without its full stop.
    Wrong(&'a str),
    /// Nothing is wrong any more.
    Over,
}

impl Trouble {
    /// `why` is the reason from now on; `None` if nothing is wrong. To be called again while it lasts: what was held back is
    /// said then.
    pub fn set(&mut self, why: Option<String>, now: Instant) -> Option<News<'_>> {
        self.why = why;
        let Some(why) = &self.why else {
            return self.said.take().map(|_| News::Over);
        };
        if self.said.as_ref() == Some(why) {
            return None;
        }
        self.repeat.due(now, ONCE_A_MINUTE)?;
        self.said = Some(why.clone());
        Some(News::Wrong(why))
    }

    /// The reason: a sentence without its full stop.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }
}

/// Several reasons as one; `None` if there is none.
pub(super) fn joined<S: AsRef<str>>(reasons: &[S]) -> Option<String> {
    let reasons: Vec<&str> = reasons.iter().map(AsRef::as_ref).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What lasts is said once, what has gone and come back again; each end of what was said.
    #[test]
    fn what_is_wrong_is_said_when_it_begins_and_ends() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        let mut at = |seconds, why: Option<&str>| {
            let news = trouble.set(why.map(str::to_owned), start + Duration::from_secs(seconds));
            news.map(|news| format!("{news:?}"))
        };
        let wrong = |why| Some(format!("{:?}", News::Wrong(why)));
        let over = Some("Over".to_owned());
        assert_eq!((at(0, None), at(1, Some("a")), at(2, Some("a"))), (None, wrong("a"), None));
        assert_eq!((at(3, None), at(4, None)), (over.clone(), None));
        assert_eq!((at(100, Some("a")), at(200, Some("a")), at(201, Some("b"))), (wrong("a"), None, wrong("b")));
        assert_eq!(at(202, None), over);
    }

    /// Of what comes and goes each second a minute has two lines; what is another reason meanwhile is said as soon as may be.
    #[test]
    fn what_comes_and_goes_is_said_once_a_minute() {
        let (mut trouble, start) = (Trouble::default(), Instant::now());
        let said = (0..120).filter(|second| {
            let why = (second % 2 == 0).then(|| "a".to_owned());
            trouble.set(why, start + Duration::from_secs(*second)).is_some()
        });
        assert_eq!(said.collect::<Vec<_>>(), [0, 1, 60, 61]);
        let mut at = |seconds, why: &str| {
            let is_said = trouble.set(Some(why.to_owned()), start + Duration::from_secs(seconds)).is_some();
            (is_said, trouble.why() == Some(why))
        };
        assert_eq!(
            [at(120, "a"), at(121, "b"), at(179, "b"), at(180, "b"), at(181, "b")],
            [(true, true), (false, true), (false, true), (true, true), (false, true)]
        );
    }
}
