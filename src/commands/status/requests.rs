//! What the cloud may ask for, and what has become of it.

use std::fmt::{self, Formatter};

use crate::health::report::{DeviceShadow, Request};
use iot_bridge_core::tally::{Span, counted};

/// Shows some lines for each of `requests`, as they were at `at`, seconds since 1970.
pub(super) fn requests(requests: &[Request], at: u64, f: &mut Formatter<'_>) -> fmt::Result {
    if !requests.is_empty() {
        writeln!(f, "\nFrom the cloud")?;
    }
    for request in requests {
        let Request { kind, mqtt, ros, peers, trouble, outcomes, last_accepted, last_refused, shadow } = request;
        write!(f, "  {kind} {mqtt}")?;
        // That of the configuration is for the bridge itself.
        if !ros.is_empty() {
            write!(f, " for {ros}")?;
        }
        if let Some(peers) = peers {
            write!(f, ", {}", who(kind, *peers))?;
        }
        let outcomes = outcomes.iter().filter(|(_, count)| **count > 0);
        let outcomes: Vec<String> = outcomes.map(|(outcome, count)| format!("{count} {outcome}")).collect();
        match outcomes.is_empty() {
            true => writeln!(f, "; nothing has come yet")?,
            false => writeln!(f, "; {}", outcomes.join(", "))?,
        }
        if let Some(trouble) = trouble {
            writeln!(f, "    {trouble}")?;
        }
        let ago = |then: u64| Span(at.saturating_sub(then));
        if let Some(DeviceShadow { version, updated, delta }) = shadow {
            let version = version.map_or("its version is not known".to_owned(), |version| format!("version {version}"));
            let when =
                |what: &str, at: &Option<u64>| at.map(|at| format!(", {what} {} ago", ago(at))).unwrap_or_default();
            writeln!(f, "    {version}{}{}", when("last update", updated), when("last delta", delta))?;
        }
        let of = |id: &Option<String>| id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
        if let Some(last) = last_accepted {
            writeln!(f, "    last accepted {} ago{}", ago(last.at), of(&last.id))?;
        }
        if let Some(last) = last_refused {
            let detail = if last.detail.is_empty() { String::new() } else { format!(": {}", last.detail) };
            writeln!(f, "    last refused {} ago{}: {}{detail}", ago(last.at), of(&last.id), last.reason)?;
        }
    }
    Ok(())
}

/// Who takes requests of this kind on ROS.
fn who(kind: &str, peers: usize) -> String {
    match (kind, peers) {
        ("command" | "shadow", 0) => "nobody subscribes to it now".to_owned(),
        ("command" | "shadow", peers) => counted(peers as u64, "subscriber", "subscribers"),
        (_, 0) => "no server now".to_owned(),
        (_, peers) => counted(peers as u64, "server", "servers"),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use serde_json::json;

    use super::*;

    struct View(Vec<Request>);

    impl Display for View {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            requests(&self.0, 1000, f)
        }
    }

    /// Of each entry the status tells who takes it, what has become of requests, and of the last ones when and why.
    #[test]
    fn each_entry_is_told() {
        let entries = json!([
            {
                "kind": "command", "mqtt": "robots/r/cmd_vel", "ros": "/cmd_vel", "peers": 1,
                "outcomes": {"accepted": 12, "malformed": 0, "too_fast": 3},
                "last_accepted": {"at": 998, "id": "7"},
                "last_refused": {"at": 940, "id": null, "reason": "too_fast", "detail": "the last one was just accepted"},
            },
            {
                "kind": "service", "mqtt": "robots/r/reset", "ros": "/reset", "peers": 0, "outcomes": {},
                "last_accepted": null, "last_refused": null, "trouble": "its type is not there",
            },
            {
                "kind": "shadow", "mqtt": "$aws/things/{thing}/shadow", "ros": "/wish", "peers": 1, "outcomes": {"updated": 4},
                "last_accepted": null, "last_refused": null,
                "shadow": {"version": 17, "updated": 996, "delta": null},
            },
        ]);
        let text = View(serde_json::from_value(entries).unwrap()).to_string();
        let expected = "\nFrom the cloud\n  \
            command robots/r/cmd_vel for /cmd_vel, 1 subscriber; 12 accepted, 3 too_fast\n    \
            last accepted 2 s ago (id 7)\n    \
            last refused 1 min ago: too_fast: the last one was just accepted\n  \
            service robots/r/reset for /reset, no server now; nothing has come yet\n    \
            its type is not there\n  \
            shadow $aws/things/{thing}/shadow for /wish, 1 subscriber; 4 updated\n    \
            version 17, last update 4 s ago\n";
        assert_eq!(text, expected);
        assert_eq!(View(Vec::new()).to_string(), "");
    }
}
