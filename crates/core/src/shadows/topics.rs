//! The topics of a shadow ("Device Shadow MQTT topics" in the developer guide of AWS IoT Core).

use super::Method;
use crate::config::{self, fill_thing};

/// The topics of one shadow. The name of the thing is open in them, for [`fill_thing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Without the slash at its end.
    prefix: String,
}

/// What has come from the service, in the order of [`HEARD`](config::Shadow::HEARD).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    GetAccepted,
    GetRejected,
    UpdateAccepted,
    UpdateRejected,
    Delta,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::GetAccepted, Kind::GetRejected, Kind::UpdateAccepted, Kind::UpdateRejected, Kind::Delta];

    /// What its topic has behind the prefix.
    fn ending(self) -> &'static str {
        config::Shadow::HEARD[self as usize]
    }
}

impl Topics {
    /// Of the shadow called `name`; the classic one has the empty name.
    pub fn of(name: &str) -> Topics {
        Topics { prefix: config::Shadow::prefix_of(name, "{thing}") }
    }

    /// Where a request goes.
    pub fn of_request(&self, method: Method) -> String {
        let ending = config::Shadow::SAID[method as usize];
        format!("{}{ending}", self.prefix)
    }

    /// What has to be subscribed to.
    pub fn filters(&self) -> impl Iterator<Item = String> {
        Kind::ALL.into_iter().map(|kind| format!("{}{}", self.prefix, kind.ending()))
    }

    /// What a message to `topic` is, for the thing called `thing`. `None` if it is not of this shadow.
    pub fn kind(&self, topic: &str, thing: &str) -> Option<Kind> {
        let ending = topic.strip_prefix(&*fill_thing(&self.prefix, thing))?;
        Kind::ALL.into_iter().find(|kind| kind.ending() == ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A named shadow is not the classic one, nor one whose name begins alike.
    #[test]
    fn topics_of_another_shadow_are_not_taken() {
        let (classic, named) = (Topics::of(""), Topics::of("state"));
        let delta = "$aws/things/robot1/shadow/name/state/update/delta";
        assert_eq!(named.kind(delta, "robot1"), Some(Kind::Delta));
        assert_eq!(classic.kind("$aws/things/robot1/shadow/get/accepted", "robot1"), Some(Kind::GetAccepted));
        assert_eq!(classic.kind(delta, "robot1"), None);
        assert_eq!(Topics::of("stat").kind(delta, "robot1"), None);
        assert_eq!(named.kind(delta, "robot2"), None);
        assert_eq!(named.kind("$aws/things/robot1/shadow/name/state/update/documents", "robot1"), None);
        assert_eq!(named.of_request(Method::Get), "$aws/things/{thing}/shadow/name/state/get");
        assert_eq!(classic.of_request(Method::Update), "$aws/things/{thing}/shadow/update");
        let filled: Vec<_> = named.filters().map(|filter| fill_thing(&filter, "robot1").into_owned()).collect();
        assert_eq!(filled.iter().filter_map(|filter| named.kind(filter, "robot1")).collect::<Vec<_>>(), Kind::ALL);
    }
}
