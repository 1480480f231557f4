//! The HTTP proxy that the connection goes through.
//!
//! Its URL stands in the configuration or, so that its password need not, in a file of its own. That is read anew for
//! each connection, as certificates are.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls_pki_types::ServerName;
use serde::{Serialize, Serializer};

const EXAMPLE: &str = "such as \"http://proxy:3128\"";

/// Longest URL that is read from a file, in bytes.
const LONGEST_URL: u64 = 4096;

/// Where the proxy's URL stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ProxySource {
    /// In the configuration: `url`.
    Url(Proxy),
    /// In a file, alone but for white space around it: `url_file`.
    File { url_file: PathBuf },
}

/// Why the file that `url_file` names gives no proxy. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFileProblem {
    #[error("the file of the proxy's URL {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the file {} holds no URL of a proxy; {allowed}", path.display())]
    NoUrl { path: PathBuf, allowed: String },
}

impl ProxySource {
    /// Reads the file, if the URL stands in one: not to be called where blocking hurts.
    ///
    /// # Errors
    /// When the file can't be read, or holds something else.
    pub fn proxy(&self) -> Result<Proxy, ProxyFileProblem> {
        match self {
            ProxySource::Url(proxy) => Ok(proxy.clone()),
            ProxySource::File { url_file } => read(url_file),
        }
    }

    /// Whether the configuration itself holds a password.
    pub fn holds_password(&self) -> bool {
        matches!(self, ProxySource::Url(Proxy { credentials: Some(_), .. }))
    }
}

fn read(path: &Path) -> Result<Proxy, ProxyFileProblem> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_URL + 1).read_to_end(&mut bytes));
    read.map_err(|source| ProxyFileProblem::Unreadable { path: path.into(), source })?;
    let no_url = |allowed| ProxyFileProblem::NoUrl { path: path.into(), allowed };
    if bytes.len() as u64 > LONGEST_URL {
        return Err(no_url(format!("allowed are at most {LONGEST_URL} bytes")));
    }
    let text = str::from_utf8(&bytes).map_err(|_| no_url("allowed is UTF-8 text".into()))?;
    Proxy::parse(text.trim()).map_err(no_url)
}

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
    /// Reads `http://[user:password@]host[:port]`; the port is 80 if nothing is said. Returns in words what is allowed.
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
        match &self.credentials {
            Some(credentials) => self.url_for(&format!("{}:***@", credentials.user)),
            None => self.url_for(""),
        }
    }

    /// The URL as a configuration has it, password included: for files that are made of others, not to be printed.
    pub fn secret_url(&self) -> String {
        match &self.credentials {
            Some(ProxyCredentials { user, password }) => {
                let [user, password] = [user, password].map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC));
                self.url_for(&format!("{user}:{password}@"))
            }
            None => self.url_for(""),
        }
    }

    fn url_for(&self, credentials: &str) -> String {
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

    /// What is written for another configuration is read as the same proxy.
    #[test]
    fn the_secret_url_reads_back() {
        let credentials = ProxyCredentials { user: "ro bot@x".into(), password: "p@s/s:w ü%".into() };
        let proxy = Proxy { credentials: Some(credentials), ..proxy("::1", 3128) };
        assert_eq!(Proxy::parse(&proxy.secret_url()), Ok(proxy));
    }

    /// A file holds the URL alone; whatever else it holds is not repeated.
    #[test]
    fn the_url_may_stand_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let source = ProxySource::File { url_file: directory.path().join("proxy") };
        let ProxySource::File { url_file } = &source else { unreachable!() };
        assert!(matches!(source.proxy(), Err(ProxyFileProblem::Unreadable { .. })));
        std::fs::write(url_file, " http://robot:secret@proxy:3128\n").unwrap();
        assert_eq!(source.proxy().unwrap(), Proxy::parse("http://robot:secret@proxy:3128").unwrap());
        let long = "secret".repeat(1000);
        for content in [b"robot:secret@proxy".as_slice(), b"", b"\xffsecret", long.as_bytes()] {
            std::fs::write(url_file, content).unwrap();
            let problem = source.proxy().expect_err("no URL").to_string();
            assert!(problem.contains("holds no URL") && !problem.contains("secret"), "{problem}");
        }
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
