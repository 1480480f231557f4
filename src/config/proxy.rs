//! The HTTP proxy that the connection goes through.

use std::fmt;

use percent_encoding::percent_decode_str;
use rustls_pki_types::ServerName;
use serde::{Serialize, Serializer};

const EXAMPLE: &str = "such as \"http://proxy:3128\"";

/// Where the proxy is, and who may use it. Printed without the password, whatever way.
#[derive(Clone, PartialEq)]
pub struct Proxy {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// What the proxy is told of who asks.
    pub credentials: Option<ProxyCredentials>,
}

/// User name and password, as they are after decoding.
#[derive(Clone, PartialEq)]
pub struct ProxyCredentials {
    pub user: String,
    pub password: String,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; the port is 80 if nothing is said. Answers in words what is allowed.
    pub fn parse(url: &str) -> Result<Proxy, String> {
        let scheme = url.split_once("://");
        let Some((_, rest)) = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http")) else {
            return Err(format!("allowed is the URL of an HTTP proxy, {EXAMPLE}"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(parse_credentials(credentials)?), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (place, "80"),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.contains(':') != host.starts_with('[') || ServerName::try_from(bare).is_err() {
            return Err(format!("allowed is a URL with a host name and without a path, {EXAMPLE}"));
        }
        match port.parse() {
            Ok(port @ 1..) => Ok(Proxy { host: bare.to_owned(), port, credentials }),
            _ => Err(format!("allowed is a port from 1 to 65535, {EXAMPLE}")),
        }
    }

    /// The URL without the password.
    fn url(&self) -> String {
        let credentials = match &self.credentials {
            Some(credentials) => format!("{}:***@", credentials.user),
            None => String::new(),
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("http://{credentials}{host}:{}", self.port)
    }
}

fn parse_credentials(text: &str) -> Result<ProxyCredentials, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decode = |part: &str| match percent_decode_str(part).decode_utf8() {
        Ok(part) if !part.chars().any(char::is_control) => Ok(part.into_owned()),
        _ => Err("allowed are a user name and a password of text without control characters".to_owned()),
    };
    let (user, password) = (decode(user)?, decode(password)?);
    // The two are joined by a colon on their way (RFC 7617, section 2).
    if user.is_empty() || user.contains(':') {
        return Err("allowed is a user name without a colon before the password".to_owned());
    }
    Ok(ProxyCredentials { user, password })
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table {
            url: String,
        }
        Table { url: self.url() }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(host: &str, port: u16) -> Proxy {
        Proxy { host: host.into(), port, credentials: None }
    }

    /// What may stand there means what it says.
    #[test]
    fn urls_are_understood() {
        assert_eq!(Proxy::parse("http://proxy:3128"), Ok(proxy("proxy", 3128)));
        assert_eq!(Proxy::parse("HTTP://proxy.example/"), Ok(proxy("proxy.example", 80)));
        assert_eq!(Proxy::parse("http://[::1]:3128"), Ok(proxy("::1", 3128)));
        assert_eq!(Proxy::parse("http://[::1]"), Ok(proxy("::1", 80)));
        let credentials = ProxyCredentials { user: "robot".into(), password: "p@ss:w ü".into() };
        let expected = Proxy { credentials: Some(credentials), ..proxy("10.0.0.1", 8080) };
        assert_eq!(Proxy::parse("http://robot:p%40ss:w%20%C3%BC@10.0.0.1:8080"), Ok(expected));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for (url, word) in [
            ("", "URL"),
            ("proxy:3128", "URL"),
            ("https://proxy:3128", "HTTP proxy"),
            ("socks5://proxy:1080", "HTTP proxy"),
            ("http://", "host name"),
            ("http://proxy:3128/path", "port"),
            ("http://proxy/path", "host name"),
            ("http://::1:3128", "host name"),
            ("http://proxy:0", "port"),
            ("http://proxy:65536", "port"),
            ("http://:secret@proxy:3128", "user name"),
            ("http://a%3Ab:secret@proxy:3128", "user name"),
            ("http://a:secret%0a@proxy:3128", "control"),
        ] {
            let allowed = Proxy::parse(url).expect_err(url);
            assert!(allowed.contains(word) && !allowed.contains("secret"), "{url}: {allowed}");
        }
    }

    /// Neither the settings as they are printed nor what a developer prints holds the password.
    #[test]
    fn the_password_is_never_printed() {
        let proxy = Proxy::parse("http://robot:secret@[::1]:3128").unwrap();
        assert_eq!(format!("{proxy:?}"), "http://robot:***@[::1]:3128");
        assert_eq!(serde_json::to_value(&proxy).unwrap()["url"], "http://robot:***@[::1]:3128");
        assert_eq!(format!("{:?}", proxy.credentials), "Some(robot:***)");
    }
}
