//! The TCP connection: the name is looked up, and its addresses are tried until one answers.
//!
//! An address that does not answer must not eat the time for the others, as an IPv6 address does on a network where
//! IPv6 leads nowhere. So, after RFC 8305 ("Happy Eyeballs"): the families take turns, the next address is tried
//! [`NEXT_AFTER`] after the last or as soon as that has failed, and the first that answers is taken.
//!
//! Of the TCP connection that stands, the operating system gives up what is not acknowledged within `mqtt.keep_alive`
//! (TCP_USER_TIMEOUT), and asks for a sign of life when nothing has come for as long.

#[cfg(feature = "fuzzing")]
pub(super) mod hostile;
mod proxy;

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use proxy::ProxyFailure;

use crate::config::{Proxy, ProxyFileProblem, ProxySource};

/// RFC 8305, section 5: "Connection Attempt Delay".
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
pub enum DialFailure {
    /// The name has no address, or there is no name service.
    #[error("the name is not found ({0})")]
    Name(#[source] io::Error),
    /// None of the addresses can be connected to. This is what the last one said.
    #[error("no address can be connected to ({0})")]
    Connect(#[source] io::Error),
    /// The file with the proxy's URL can't be used.
    #[error(transparent)]
    ProxyFile(#[from] ProxyFileProblem),
    /// The proxy's name has no address, or none of its addresses can be connected to.
    #[error("the proxy cannot be connected to ({failure})")]
    NoProxy {
        proxy: Box<Proxy>,
        #[source]
        failure: Box<DialFailure>,
    },
    /// The proxy makes no connection.
    #[error("the proxy makes no connection: {failure}")]
    Proxy {
        proxy: Box<Proxy>,
        #[source]
        failure: ProxyFailure,
    },
}

/// Connects to `host`, through `proxy` if there is one, which then looks the name up. `patience` is how long the
/// connection that stands may be without an acknowledgement. Notes in `connected` that there is a TCP connection, to the
/// broker or to the proxy.
pub(super) async fn dial(
    host: &str,
    port: u16,
    proxy: Option<&ProxySource>,
    patience: Duration,
    connected: &mut bool,
) -> Result<TcpStream, DialFailure> {
    let Some(source) = proxy else {
        let stream = connect(host, port, patience).await;
        *connected = stream.is_ok();
        return stream;
    };
    let proxy = Box::new(read(source).await?);
    match connect(&proxy.host, proxy.port, patience).await {
        Ok(stream) => {
            *connected = true;
            let tunnel = proxy::tunnel(stream, host, port, &proxy).await;
            tunnel.map_err(|failure| DialFailure::Proxy { proxy, failure })
        }
        Err(failure) => Err(DialFailure::NoProxy { proxy, failure: Box::new(failure) }),
    }
}

/// The proxy that `source` tells of. A file is read away from the task: the disk may take its time.
async fn read(source: &ProxySource) -> Result<Proxy, DialFailure> {
    let source = source.clone();
    match tokio::task::spawn_blocking(move || source.proxy()).await {
        Ok(read) => Ok(read?),
        Err(error) => Err(DialFailure::Name(error.into())),
    }
}

async fn connect(host: &str, port: u16, patience: Duration) -> Result<TcpStream, DialFailure> {
    // An IPv6 address in a URL stands in brackets.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(DialFailure::Name)?.collect();
    let stream = connect_first(in_turn(&addresses)).await?;
    // A socket that does not know an option works without it.
    let _ = stream.set_nodelay(true);
    let _ = watch_over(&stream, patience);
    Ok(stream)
}

/// The addresses in the order of the system, but the families in turn (RFC 8305, section 4).
fn in_turn(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::with_capacity(addresses.len());
    while !first.is_empty() || !second.is_empty() {
        order.extend(first.pop_front());
        order.extend(second.pop_front());
    }
    order
}

/// Tries the addresses in their order, several at a time where one does not answer, and takes the first that does.
async fn connect_first(mut addresses: VecDeque<SocketAddr>) -> Result<TcpStream, DialFailure> {
    let mut attempts = JoinSet::new();
    let mut last = None;
    loop {
        match addresses.pop_front() {
            Some(address) => _ = attempts.spawn(TcpStream::connect(address)),
            None if attempts.is_empty() => {
                return Err(match last {
                    Some(error) => DialFailure::Connect(error),
                    None => DialFailure::Name(io::Error::other("it has no address")),
                });
            }
            None => {}
        }
        let next_is_due = async {
            match addresses.is_empty() {
                true => pending().await,
                false => sleep(NEXT_AFTER).await,
            }
        };
        tokio::select! {
            // Dropping the others ends them.
            Some(done) = attempts.join_next() => match done {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(error),
                Err(error) => last = Some(error.into()),
            },
            () = next_is_due => {}
        }
    }
}

/// Has the operating system give the connection up when nothing that was sent is acknowledged for `patience`, and ask
/// whether somebody is there when nothing was sent for as long.
fn watch_over(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let milliseconds = patience.as_millis().try_into().unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, milliseconds)?;
    sockopt::set_tcp_keepidle(stream, patience)?;
    sockopt::set_tcp_keepintvl(stream, (patience / 4).max(Duration::from_secs(1)))?;
    sockopt::set_socket_keepalive(stream, true)?;
    Ok(())
}

/// `host:port` as it stands in a URL and in sentences.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
