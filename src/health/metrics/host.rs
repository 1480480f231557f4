//! Under which names the metrics are served.
//!
//! A page in a browser may ask a name of its own domain that leads to this machine (DNS rebinding), and read the answer
//! as if it were its own. Its requests carry that name; those of Prometheus an address or a name of this machine.

use std::fs;
use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap};
use hyper::http::uri::Authority;

/// Where the domains stand in which this machine's name is looked up.
const RESOLVER: &str = "/etc/resolv.conf";

/// Whether a request with `headers` asks for this machine. No browser leaves `Host` out, so one without does.
pub(super) fn is_ours(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => true,
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()).is_some_and(|host| {
            let resolver = || fs::read_to_string(RESOLVER).unwrap_or_default();
            is_own_name(host.host(), &own_name(), resolver)
        }),
        (Some(_), Some(_)) => false,
    }
}

/// The name in `headers`, whatever it is.
pub(super) fn asked_for(headers: &HeaderMap) -> String {
    headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()).unwrap_or_default()
}

/// The machine's own name, as it was set.
pub(super) fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether `host` is an address, localhost, or the machine's name `own`: as it was set, its first part alone, or that
/// part in the local domain (RFC 6762) or one that `resolver`, the text of resolv.conf, names.
fn is_own_name(host: &str, own: &str, resolver: impl FnOnce() -> String) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let own = own.to_ascii_lowercase();
    if host.is_empty() || host == "localhost" || host == own {
        return !host.is_empty();
    }
    let first = own.split('.').next().unwrap_or_default();
    let Some(domain) = host.strip_prefix(first).filter(|_| !first.is_empty()) else { return false };
    match domain.strip_prefix('.') {
        None => domain.is_empty(),
        Some("local") => true,
        Some(domain) => domains(&resolver()).any(|known| known == domain),
    }
}

/// The domains of resolv.conf, in lower case.
fn domains(resolver: &str) -> impl Iterator<Item = String> {
    let lines = resolver.lines().map(str::split_whitespace);
    let lines = lines.filter_map(|mut words| matches!(words.next(), Some("search" | "domain")).then_some(words));
    lines.flatten().map(|domain| domain.trim_matches('.').to_ascii_lowercase()).filter(|domain| !domain.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses and the machine's own names are served, every other name is not.
    #[test]
    fn other_names_are_not_served() {
        let is_own = |host: &str| {
            is_own_name(host, "Robot1", || "nameserver 10.0.0.1\nsearch lan Fleet.Example.\nsearch .\n".into())
        };
        for host in ["127.0.0.1", "[::1]", "10.0.0.7", "localhost", "LOCALHOST.", "robot1", "ROBOT1.local"] {
            assert!(is_own(host), "{host}");
        }
        for host in ["robot1.lan", "robot1.fleet.example", "robot1.fleet.example."] {
            assert!(is_own(host), "{host}");
        }
        for host in ["", ".", "attacker.example", "robot1.attacker.example", "robot10", "robot1x.lan"] {
            assert!(!is_own(host), "{host}");
        }
        for host in ["127.0.0.1.attacker.example", "localhost.attacker.example", "xrobot1", "robot1.lan.example"] {
            assert!(!is_own(host), "{host}");
        }
        assert!(!is_own_name("", "", String::new) && !is_own_name(".local", "", String::new));
        assert!(is_own_name("robot1", "robot1.fleet.example", String::new));
    }

    /// A request without a name is served, one with two or with what is no name is not.
    #[test]
    fn a_request_has_one_name_at_most() {
        let headers =
            |hosts: &[&str]| -> HeaderMap { hosts.iter().map(|host| (HOST, host.parse().expect("a value"))).collect() };
        assert!(is_ours(&headers(&[])) && is_ours(&headers(&["localhost:9464"])) && is_ours(&headers(&["[::1]:9464"])));
        for hosts in [&["localhost", "localhost"][..], &["a b"], &["attacker.example:9464"], &[""]] {
            assert!(!is_ours(&headers(hosts)), "{hosts:?}");
        }
    }
}
