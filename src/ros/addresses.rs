//! The addresses of this machine, as far as DDS tells others of them.
//!
//! Fast DDS announces the addresses that the machine has when a context is made, and joins multicast on their
//! interfaces. Of one that comes later it knows nothing, and a node that starts after that does not find the bridge.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// How often they are looked at. It takes some 50 µs.
const LOOK: Duration = Duration::from_secs(1);

/// How long they have to be the same before they count: a robot that roams gets several in a row.
const SETTLED: Duration = Duration::from_secs(5);

/// The shortest time from one change that counts to the next.
const APART: Duration = Duration::from_secs(60);

/// The IPv4 addresses of interfaces that run, without the loopback: what Fast DDS announces unless it is configured
/// otherwise. IPv6 is not looked at, for that reason and because its temporary addresses change every day.
type Set = BTreeSet<Ipv4Addr>;

/// Watches the addresses.
pub(super) struct Addresses {
    /// Those that DDS knows of.
    announced: Set,
    /// Others than those, and since when.
    others: Option<(Set, Instant)>,
    look_at: Instant,
    /// No change counts before.
    not_before: Instant,
}

/// What has changed.
#[derive(Debug, PartialEq)]
pub(super) struct Changed {
    come: Vec<Ipv4Addr>,
    gone: Vec<Ipv4Addr>,
}

impl Addresses {
    /// Watches from now on, when the context has just been made. `None` where others can't reach this machine's nodes by any
    /// address: with a discovery range of `LOCALHOST` or `OFF`.
    pub(super) fn watch(now: Instant) -> Option<Addresses> {
        let is = |name: &str, values: &[&str]| {
            std::env::var(name).is_ok_and(|value| values.iter().any(|one| value.eq_ignore_ascii_case(one)))
        };
        if is("ROS_AUTOMATIC_DISCOVERY_RANGE", &["LOCALHOST", "OFF"]) || is("ROS_LOCALHOST_ONLY", &["1"]) {
            return None;
        }
        Some(Addresses::of(present().unwrap_or_default(), now))
    }

    fn of(announced: Set, now: Instant) -> Addresses {
        Addresses { announced, others: None, look_at: now + LOOK, not_before: now }
    }

    /// `Some` when the machine has had an address for a while that DDS does not know of; again after a minute, unless it was
    /// [`told`](Self::told). To be called at least once a second; more often costs nothing.
    pub(super) fn changed(&mut self, now: Instant) -> Option<Changed> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK;
        match present() {
            Ok(present) => self.judge(present, now),
            Err(error) => {
                tracing::debug!("The addresses of this machine can't be read: {error}.");
                None
            }
        }
    }

    /// An address that has gone, and none that came: nothing is to be done. It may come back, and nobody can be told.
    fn judge(&mut self, present: Set, now: Instant) -> Option<Changed> {
        if present.is_subset(&self.announced) {
            self.others = None;
            return None;
        }
        let since = match &self.others {
            Some((others, since)) if *others == present => *since,
            _ => now,
        };
        if now < since + SETTLED || now < self.not_before {
            self.others = Some((present, since));
            return None;
        }
        let changed = Changed {
            come: present.difference(&self.announced).copied().collect(),
            gone: self.announced.difference(&present).copied().collect(),
        };
        (self.others, self.not_before) = (Some((present, since)), now + APART);
        Some(changed)
    }

    /// DDS knows of them from now on, or never will.
    pub(super) fn told(&mut self) {
        if let Some((present, _)) = self.others.take() {
            self.announced = present;
        }
    }
}

/// `10.0.0.7 has come, 192.168.1.5 has gone`
impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let come = self.come.iter().map(|address| format!("{address} has come"));
        let gone = self.gone.iter().map(|address| format!("{address} has gone"));
        f.write_str(&come.chain(gone).collect::<Vec<_>>().join(", "))
    }
}

fn present() -> io::Result<Set> {
    let interfaces = if_addrs::get_if_addrs()?;
    let announced = interfaces.iter().filter(|interface| interface.is_oper_up() && !interface.is_loopback());
    Ok(announced
        .filter_map(|interface| match interface.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(last: &[u8]) -> Set {
        last.iter().map(|&last| Ipv4Addr::new(10, 0, 0, last)).collect()
    }

    /// Looks once a second with these addresses; the seconds after which a change counted, and its words.
    fn watch(announced: &[u8], seconds: impl IntoIterator<Item = &'static [u8]>) -> Vec<(u64, String)> {
        let start = Instant::now();
        let mut addresses = Addresses::of(set(announced), start);
        let judge = |(second, present): (u64, &[u8])| {
            let changed = addresses.judge(set(present), start + Duration::from_secs(second))?;
            addresses.told();
            Some((second, changed.to_string()))
        };
        (0..).zip(seconds).filter_map(judge).collect()
    }

    fn times(count: usize, present: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
        std::iter::repeat_n(present, count)
    }

    #[test]
    fn a_new_address_counts_once_it_has_settled() {
        let roams = times(1, &[1]).chain(times(2, &[])).chain(times(3, &[2])).chain(times(20, &[3]));
        assert_eq!(watch(&[1], roams), [(11, "10.0.0.3 has come, 10.0.0.1 has gone".to_owned())]);
        let second = times(20, &[1, 2]);
        assert_eq!(watch(&[1], second), [(5, "10.0.0.2 has come".to_owned())]);
    }

    #[test]
    fn an_address_that_goes_or_comes_back_is_no_reason() {
        assert_eq!(watch(&[1, 2], times(20, &[1]).chain(times(20, &[])).chain(times(20, &[1, 2]))), []);
        // There and gone again, over and over.
        let flaps = (0..200).map(|second| if second % 6 < 4 { &[1, 2][..] } else { &[1] });
        assert_eq!(watch(&[1], flaps), []);
    }

    #[test]
    fn what_could_not_be_told_is_tried_again_after_a_minute() {
        let start = Instant::now();
        let mut addresses = Addresses::of(set(&[1]), start);
        let counts = |second: &u64| addresses.judge(set(&[2]), start + Duration::from_secs(*second)).is_some();
        assert_eq!((0..150).filter(counts).collect::<Vec<_>>(), [5, 65, 125]);
    }

    #[test]
    fn changes_that_count_are_a_minute_apart() {
        let changes = watch(&[1], (0..300).map(|second| if second / 10 % 2 == 0 { &[2][..] } else { &[3] }));
        let seconds: Vec<u64> = changes.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds.first(), Some(&5));
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] >= 60), "{seconds:?}");
        assert!(seconds.len() >= 3, "{seconds:?}");
    }
}
