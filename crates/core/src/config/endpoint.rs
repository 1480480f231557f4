//! What may stand as the broker's name, and what people write instead.

use rustls_pki_types::ServerName;

use super::kind::check_text;
use super::problem::quote;

/// Tells an account's endpoint, and nothing else.
const COMMAND: &str = "aws iot describe-endpoint --endpoint-type iot:Data-ATS --query endpointAddress --output text";

const EXAMPLE: &str = "such as \"a1b2c3d4-ats.iot.us-west-2.amazonaws.com\"";

/// Whether `endpoint` is a host name, and not something that only looks like the account's endpoint. Returns in words what
/// is allowed.
pub(super) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    check_text(endpoint)?;
    let bare = endpoint.trim().trim_matches(['"', '\'']);
    if bare != endpoint && is_name(bare) {
        return Err(format!("allowed is the host name without quotes and blanks around it: {bare:?}"));
    }
    if let Some(what) = mistaken(bare) {
        return Err(format!("{what}; `{COMMAND}` tells it"));
    }
    if let Some(name) = in_json(bare) {
        return Err(format!("this is all that describe-endpoint says; allowed is the host name in it{name}"));
    }
    if let Some((_, rest)) = endpoint.split_once("://") {
        // Whoever stands before the host is not repeated.
        let place = rest.rsplit('@').next().unwrap_or(rest);
        let (place, path) = place.split_once('/').unwrap_or((place, ""));
        if !path.is_empty() {
            // What stands before a slash may be a part of a key.
            return Err(format!("allowed is the host name alone, without a scheme and a path, {EXAMPLE}"));
        }
        let host = place.split(':').next().unwrap_or(place);
        return Err(format!("allowed is the host name alone, without a scheme: {}", quote(host)));
    }
    if endpoint.parse::<std::net::Ipv6Addr>().is_err()
        && let Some((host, port)) = endpoint.split_once(':')
    {
        if port.parse::<u16>().is_err() {
            return Err(format!("allowed is the host name alone, {EXAMPLE}"));
        }
        return Err(format!("allowed is the host name alone: {}; the port {port:?} belongs in `port`", quote(host)));
    }
    if endpoint.contains('/') {
        return Err(format!("allowed is the host name alone, without a path, {EXAMPLE}"));
    }
    if !is_name(endpoint) {
        return Err(format!("allowed is a host name {EXAMPLE}"));
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// What `endpoint` is, if it is no endpoint, or that of something else.
fn mistaken(endpoint: &str) -> Option<&'static str> {
    let lower = endpoint.to_ascii_lowercase();
    if matches!(lower.as_str(), "none" | "null" | "undefined") {
        return Some("this is what a command prints that has found nothing; allowed is the account's endpoint");
    }
    if lower.starts_with("arn:") {
        return Some("this is an ARN, the name of a resource; allowed is the account's endpoint");
    }
    let rest = lower.split_once("://").map_or(lower.as_str(), |(_, rest)| rest);
    if is_placeholder(rest) {
        return Some("this is a placeholder; allowed is the account's endpoint");
    }
    if rest.contains(".credentials.iot.") || rest.contains(".jobs.iot.") {
        return Some("this is the endpoint of another service than the broker; allowed is the account's for data");
    }
    if rest.starts_with("iot.") && rest.contains(".amazonaws.com") {
        return Some("this is the endpoint of AWS IoT's API, not of the broker; allowed is the account's endpoint");
    }
    None
}

/// Whether `endpoint` stands in the place of one, in a template or in somebody's guide.
fn is_placeholder(endpoint: &str) -> bool {
    let is_marked = endpoint.starts_with(['<', '$', '%']) || endpoint.starts_with('{') && !endpoint.contains('"');
    let words = ["your", "xxxx", "changeme", "change-me", "replace", "account-specific-prefix", "account-prefix"];
    let first = endpoint.split(['.', '/']).next().unwrap_or_default();
    is_marked
        || matches!(endpoint, "endpoint" | "iot_endpoint" | "iot-endpoint" | "endpointaddress" | "todo" | "tbd")
        || words.iter().any(|word| first.starts_with(word))
}

/// What to add of the endpoint that stands in the answer of `describe-endpoint`, if `text` is one.
fn in_json(text: &str) -> Option<String> {
    let inner = text.trim_start().strip_prefix('{')?;
    let value = inner.split_once("endpointAddress").and_then(|(_, rest)| rest.split('"').nth(2));
    Some(value.filter(|value| is_name(value)).map_or(String::new(), |value| format!(": {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_names() {
        for good in [
            "a1b2c3d4-ats.iot.us-west-2.amazonaws.com",
            "a1b2c3d4.ats.iot.cn-north-1.amazonaws.com.cn",
            "vpce-0a1b.iot.eu-west-1.vpce.amazonaws.com",
            "iot.example.com",
            "localhost",
            "127.0.0.1",
            "::1",
            "mosquitto_1",
        ] {
            assert_eq!(check_endpoint(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("", "empty"),
            ("https://x.iot.eu-west-1.amazonaws.com/", "\"x.iot.eu-west-1.amazonaws.com\""),
            ("mqtts://host:8883", "\"host\""),
            ("http://robot:secret@host:8883", "\"host\""),
            ("host:8883", "`port`"),
            ("host:robot", "the host name alone"),
            ("host/path", "path"),
            ("two words", "host name"),
            ("-dash-", "host name"),
        ] {
            let allowed = check_endpoint(bad).expect_err(bad);
            assert!(allowed.contains(word), "{bad}: {allowed}");
        }
    }

    /// What people paste in the place of the endpoint is named for what it is, with the command that tells the right one.
    #[test]
    fn what_is_pasted_instead_is_named() {
        for (bad, words) in [
            ("arn:aws:iot:eu-west-1:123456789012:thing/robot1", "this is an ARN"),
            ("None", "has found nothing"),
            ("null", "has found nothing"),
            ("ENDPOINT", "this is a placeholder"),
            ("<your-endpoint>", "this is a placeholder"),
            ("your-endpoint-ats.iot.us-east-1.amazonaws.com", "this is a placeholder"),
            ("xxxxxxxxxxxxxx-ats.iot.us-east-1.amazonaws.com", "this is a placeholder"),
            ("https://{endpoint}/", "this is a placeholder"),
            ("$ENDPOINT", "this is a placeholder"),
            ("${AWS_IOT_ENDPOINT}", "this is a placeholder"),
            ("account-specific-prefix.iot.us-east-1.amazonaws.com", "this is a placeholder"),
            ("c1a2b3.credentials.iot.eu-west-1.amazonaws.com", "another service than the broker"),
            ("a1b2c3.jobs.iot.eu-west-1.amazonaws.com", "another service than the broker"),
            ("iot.eu-west-1.amazonaws.com", "the endpoint of AWS IoT's API"),
        ] {
            let allowed = check_endpoint(bad).expect_err(bad);
            assert!(allowed.contains(words) && allowed.ends_with("--output text` tells it"), "{bad}: {allowed}");
        }
        let name = "a1b2c3-ats.iot.eu-west-1.amazonaws.com";
        let json = format!("{{\n    \"endpointAddress\": \"{name}\"\n}}");
        let all = "this is all that describe-endpoint says; allowed is the host name in it";
        assert_eq!(check_endpoint(&json), Err(format!("{all}: {name:?}")));
        assert_eq!(check_endpoint("{\"endpoint"), Err(all.to_owned()));
        let around = Err(format!("allowed is the host name without quotes and blanks around it: {name:?}"));
        assert_eq!(check_endpoint(&format!("\"{name}\"")), around);
        assert_eq!(check_endpoint(&format!("{name}\n")), around);
    }
}
