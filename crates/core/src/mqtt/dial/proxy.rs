//! A tunnel through an HTTP proxy: the method CONNECT (RFC 9110, section 9.3.6). TLS to the broker goes inside it.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authority;
use crate::config::{Proxy, ProxyCredentials};

/// Longest answer of a proxy that is read; a page that explains an error may be behind its head.
pub(super) const LONGEST_HEAD: usize = 16 * 1024;

/// Most header fields of an answer.
const MOST_FIELDS: usize = 100;

/// Why a proxy makes no connection.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFailure {
    /// It answers with another status than 2xx.
    #[error("{code} {reason}")]
    Status { code: u16, reason: String },
    /// What it says is no HTTP.
    #[error("it does not speak HTTP ({0})")]
    NotHttp(String),
    /// The connection to it ended or failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks the proxy at the other end of `stream` for a connection to `host`. What is written from then on goes there.
pub(super) async fn tunnel(
    mut stream: TcpStream,
    host: &str,
    port: u16,
    proxy: &Proxy,
) -> Result<TcpStream, ProxyFailure> {
    let target = authority(host, port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(credentials) = &proxy.credentials {
        request += &format!("Proxy-Authorization: Basic {}\r\n", encoded(credentials));
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await?;
    let (code, reason) = answer(&mut stream).await?;
    match code {
        200..300 => Ok(stream),
        _ => Err(ProxyFailure::Status { code, reason: in_short(&reason, proxy.credentials.as_ref()) }),
    }
}

/// Longest reason of a proxy that is passed on, in characters.
const LONGEST_REASON: usize = 100;

/// What a proxy says, without what it was told of who asks.
fn in_short(reason: &str, credentials: Option<&ProxyCredentials>) -> String {
    let mut reason = reason.to_owned();
    if let Some(credentials) = credentials.filter(|credentials| !credentials.password.is_empty()) {
        for secret in [encoded(credentials), credentials.password.clone()] {
            reason = reason.replace(&secret, "…");
        }
    }
    reason.chars().take(LONGEST_REASON).collect()
}

/// As the field Proxy-Authorization has it (RFC 7617).
fn encoded(credentials: &ProxyCredentials) -> String {
    STANDARD.encode(format!("{}:{}", credentials.user, credentials.password))
}

/// Reads the head of the answer and not a byte more: what follows is the tunnel's.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u16, String), ProxyFailure> {
    let mut head = Vec::new();
    while !is_whole(&head) {
        if head.len() >= LONGEST_HEAD {
            return Err(ProxyFailure::NotHttp(format!("no end of its answer within {LONGEST_HEAD} bytes")));
        }
        // One by one, because nothing can be put back; it is a few hundred, once a connection.
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !head.is_empty() => break,
            Err(error) => return Err(error.into()),
        }
        // Bytes that begin no status line never end as one.
        let begun = head.len().min(5);
        if head[..begun] != b"HTTP/"[..begun] {
            return Err(ProxyFailure::NotHttp("its answer begins otherwise".into()));
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    if response.parse(&head).map_err(|error| ProxyFailure::NotHttp(error.to_string()))?.is_partial() {
        return Err(ProxyFailure::NotHttp("its answer is cut off".into()));
    }
    let code = response.code.ok_or_else(|| ProxyFailure::NotHttp("its answer has no status".into()))?;
    // A tab is the one control character that HTTP allows there.
    Ok((code, response.reason.unwrap_or_default().replace(char::is_control, " ").trim().to_owned()))
}

/// Whether `head` ends with an empty line, after which the tunnel begins. Lines may end without a carriage return (RFC
/// 9112, section 2.2).
pub(super) fn is_whole(head: &[u8]) -> bool {
    head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n")
}
