//! Which version of MQTT the next attempt speaks.
//!
//! A configured one stays. With `mqtt.version = "auto"` it is 5, and 3.1.1 with a broker that does not know 5:
//!
//! | what comes of an attempt in MQTT 5 | what follows |
//! | --- | --- |
//! | the CONNACK says "unacceptable protocol version", in the form of 5 (0x84) or of 3.1.1 (return code 1) | 3.1.1 |
//! | the connection is closed without a CONNACK, for the second time in a row | 3.1.1 is tried. If the broker answers that, it stays; if it closes that as well, 5 is next |
//! | anything else: no TCP connection, TLS, a time-out, another refusal | nothing: it says nothing of the version |
//!
//! 3.1.1 then stays for as long as the process runs. An example with a broker of 3.1.1 that closes what it does not
//! understand: 5 closed, 5 closed, 3.1.1 accepted, and 3.1.1 from then on. With a load balancer whose broker is down for
//! four attempts: 5 closed, 5 closed, 3.1.1 closed, 5 closed, 5 accepted.
//!
//! Only a close after the CONNECT was written counts. Brokers also close for other reasons, AWS IoT Core when a client id
//! has connected less than a second before. So after a connection in MQTT 5 it takes [`CLOSES_OF_OLD`] in a row, and if
//! 3.1.1 is accepted then, the next connection is in 5 again: the outage may have been over just then. A broker that was
//! exchanged for an older one closes that twice, and 3.1.1 stays.

use std::{fmt, mem};

use crate::config::{MqttVersion, Version};
use crate::mqtt::FaultKind;
use crate::mqtt::client::Reached;

/// Closes in a row after which 3.1.1 is tried.
const CLOSES: u32 = 2;

/// The same with a broker that has spoken MQTT 5 before.
const CLOSES_OF_OLD: u32 = 10;

/// Decides on the version of each attempt.
#[derive(Debug)]
pub struct VersionChoice {
    configured: MqttVersion,
    next: Version,
    /// The broker has answered in MQTT 5.
    has_spoken_5: bool,
    /// Attempts in MQTT 5 in a row that were closed without a CONNACK.
    closes: u32,
    /// Why 5 is not spoken. While the broker has not answered in 3.1.1 it is a guess.
    fallback: Option<Fallback>,
}

/// Why 3.1.1 is spoken although 5 is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The CONNACK said so.
    Refused,
    /// Connections in MQTT 5 were closed without a CONNACK, and one in 3.1.1 was answered.
    Closed,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fallback::Refused => "the broker does not speak MQTT 5",
            Fallback::Closed => "the broker closes connections in MQTT 5 without an answer",
        })
    }
}

/// What a failed attempt says of the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// The version may be the reason: the next attempt may fare better.
    Doubt,
    /// The broker does not speak 5, which was not known before. The next attempt speaks 3.1.1.
    Refused,
}

impl VersionChoice {
    pub fn new(configured: MqttVersion) -> Self {
        let next = configured.first();
        VersionChoice { configured, next, has_spoken_5: false, closes: 0, fallback: None }
    }

    /// The version that the next attempt speaks.
    pub fn next(&self) -> Version {
        self.next
    }

    /// Why that is 3.1.1 and not 5; `None` as well if that is how it is configured.
    pub fn fallback(&self) -> Option<Fallback> {
        self.fallback
    }

    /// The broker has accepted a connection in the version that was next.
    pub fn accepted(&mut self) {
        self.closes = 0;
        match self.next {
            Version::V5 => self.has_spoken_5 = true,
            Version::V3_1_1 if self.configured != MqttVersion::Auto || self.fallback.is_some() => {}
            // It may as well be that the outage was over just then.
            Version::V3_1_1 if mem::take(&mut self.has_spoken_5) => self.next = Version::V5,
            Version::V3_1_1 => self.fallback = Some(Fallback::Closed),
        }
    }

    /// An attempt in the version that was next has failed by a fault of `kind`; it had got as far as `reached`.
    pub fn attempt_failed(&mut self, kind: FaultKind, reached: &Reached) -> Told {
        if self.configured != MqttVersion::Auto {
            return Told::Nothing;
        }
        let is_closed = kind == FaultKind::Closed && reached.asked && !reached.answered;
        match (self.next, kind) {
            (Version::V5, FaultKind::UnsupportedVersion) => {
                (self.next, self.closes) = (Version::V3_1_1, 0);
                let is_news = self.fallback.replace(Fallback::Refused) != Some(Fallback::Refused);
                if is_news { Told::Refused } else { Told::Nothing }
            }
            (Version::V3_1_1, FaultKind::UnsupportedVersion) => {
                self.next = Version::V5;
                Told::Nothing
            }
            _ if reached.answered => {
                self.accepted();
                Told::Nothing
            }
            (Version::V5, _) if is_closed => {
                self.closes += 1;
                if self.closes >= if self.has_spoken_5 { CLOSES_OF_OLD } else { CLOSES } {
                    (self.next, self.closes) = (Version::V3_1_1, 0);
                }
                Told::Doubt
            }
            // Neither version is answered: that is not the reason.
            (Version::V3_1_1, _) if is_closed && self.fallback.is_none() => {
                self.next = Version::V5;
                Told::Nothing
            }
            _ => Told::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FaultKind::{Closed, NotAuthorized, Refused, TimedOut, UnsupportedVersion};
    use Version::{V3_1_1, V5};

    const BEFORE_CONNECT: Reached =
        Reached { connected: true, address: None, tls: None, asked: false, answered: false };
    const ASKED: Reached = Reached { asked: true, ..BEFORE_CONNECT };
    const ANSWERED: Reached = Reached { answered: true, ..ASKED };

    fn auto() -> VersionChoice {
        VersionChoice::new(MqttVersion::Auto)
    }

    /// What is said of the version by attempts that fail like this, and the version that follows each.
    fn fails(choice: &mut VersionChoice, attempts: &[(FaultKind, Reached)]) -> Vec<(Told, Version)> {
        let attempt = |(kind, reached): &(FaultKind, Reached)| {
            let told = choice.attempt_failed(*kind, reached);
            (told, choice.next())
        };
        attempts.iter().map(attempt).collect()
    }

    /// A broker that refuses MQTT 5 in words is spoken to in 3.1.1 from then on, whatever happens later.
    #[test]
    fn a_refusal_in_words_is_remembered() {
        let mut choice = auto();
        assert_eq!((choice.next(), choice.fallback()), (V5, None));
        assert_eq!(fails(&mut choice, &[(UnsupportedVersion, ANSWERED)]), [(Told::Refused, V3_1_1)]);
        choice.accepted();
        assert_eq!(choice.fallback(), Some(Fallback::Refused));
        let later = [(Closed, ASKED), (Closed, ASKED), (Closed, ASKED), (TimedOut, ASKED), (NotAuthorized, ANSWERED)];
        assert_eq!(fails(&mut choice, &later), [(Told::Nothing, V3_1_1); 5]);
        assert_eq!(choice.fallback(), Some(Fallback::Refused));
    }

    /// Two closes in a row after the CONNECT have 3.1.1 tried, which stays once the broker has answered it, be it by a
    /// refusal of another kind.
    #[test]
    fn two_closes_without_a_connack_lead_to_3_1_1() {
        for is_accepted in [true, false] {
            let mut choice = auto();
            assert_eq!(
                fails(&mut choice, &[(Closed, ASKED), (Closed, ASKED)]),
                [(Told::Doubt, V5), (Told::Doubt, V3_1_1)]
            );
            assert_eq!(choice.fallback(), None, "nothing is known yet");
            match is_accepted {
                true => choice.accepted(),
                false => _ = choice.attempt_failed(NotAuthorized, &ANSWERED),
            }
            assert_eq!(fails(&mut choice, &[(Closed, ASKED); 5]), [(Told::Nothing, V3_1_1); 5]);
            assert_eq!(choice.fallback(), Some(Fallback::Closed));
        }
    }

    /// What is no answer to a CONNECT says nothing of the version, and neither starts nor ends the row of closes; any
    /// answer ends it.
    #[test]
    fn only_closes_after_the_connect_count() {
        let mut choice = auto();
        let others = [(Refused, BEFORE_CONNECT), (Closed, BEFORE_CONNECT), (TimedOut, ASKED)].repeat(20);
        assert!(fails(&mut choice, &others).iter().all(|outcome| *outcome == (Told::Nothing, V5)));
        assert_eq!(fails(&mut choice, &[(Closed, ASKED), (NotAuthorized, ANSWERED), (Closed, ASKED)])[2].1, V5);
        let mut choice = auto();
        fails(&mut choice, &[(Closed, ASKED), (TimedOut, ASKED), (Closed, BEFORE_CONNECT), (Closed, ASKED)]);
        assert_eq!(choice.next(), V3_1_1);
    }

    /// A broker that answers neither version is out of service, and is spoken to in 5 when it is back; while 3.1.1 is tried,
    /// what is no answer does not decide.
    #[test]
    fn an_outage_is_no_reason_to_stay_with_3_1_1() {
        let mut choice = auto();
        let versions: Vec<Version> =
            fails(&mut choice, &[(Closed, ASKED); 7]).into_iter().map(|(_, next)| next).collect();
        assert_eq!(versions, [V5, V3_1_1, V5, V5, V3_1_1, V5, V5]);
        choice.accepted();
        assert_eq!((choice.next(), choice.fallback()), (V5, None));
        let mut choice = auto();
        fails(&mut choice, &[(Closed, ASKED), (Closed, ASKED), (TimedOut, ASKED), (Refused, BEFORE_CONNECT)]);
        assert_eq!(choice.next(), V3_1_1);
    }

    /// A broker that has spoken MQTT 5 closes for other reasons, such as another client with the client id; one that was
    /// exchanged for an older one is found all the same.
    #[test]
    fn a_broker_that_has_spoken_5_is_believed_for_longer() {
        let mut choice = auto();
        choice.accepted();
        assert!(fails(&mut choice, &[(Closed, ASKED); 9]).iter().all(|outcome| *outcome == (Told::Doubt, V5)));
        choice.accepted();
        fails(&mut choice, &[(Closed, ASKED); 10]);
        assert_eq!(choice.next(), V3_1_1);
        // That may have been an outage.
        choice.accepted();
        assert_eq!((choice.next(), choice.fallback()), (V5, None));
        fails(&mut choice, &[(Closed, ASKED); 2]);
        assert_eq!(choice.next(), V3_1_1);
        choice.accepted();
        assert_eq!((choice.next(), choice.fallback()), (V3_1_1, Some(Fallback::Closed)));
        let mut choice = auto();
        choice.accepted();
        assert_eq!(fails(&mut choice, &[(UnsupportedVersion, ANSWERED)]), [(Told::Refused, V3_1_1)]);
    }

    /// A broker that refuses 3.1.1 as well is asked for each in turn, and the news is told once.
    #[test]
    fn a_broker_that_refuses_both_is_asked_for_each_in_turn() {
        let mut choice = auto();
        let outcomes = fails(&mut choice, &[(UnsupportedVersion, ANSWERED); 4]);
        assert_eq!(
            outcomes,
            [(Told::Refused, V3_1_1), (Told::Nothing, V5), (Told::Nothing, V3_1_1), (Told::Nothing, V5)]
        );
    }

    /// A version that is configured stays, whatever happens.
    #[test]
    fn a_configured_version_stays() {
        for version in [V3_1_1, V5] {
            let mut choice = VersionChoice::new(version.into());
            let attempts = [(UnsupportedVersion, ANSWERED), (Closed, ASKED), (Closed, ASKED), (Closed, ASKED)];
            assert_eq!(fails(&mut choice, &attempts), [(Told::Nothing, version); 4]);
            choice.accepted();
            assert_eq!(choice.fallback(), None);
        }
    }
}
