//! Real sockets on the loopback, which has many addresses.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use super::*;
use crate::mqtt::CONNECT_TIMEOUT;

fn loopback(last: u8, port: u16) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, last), port).into()
}

/// An address that does not answer: its listener takes no connections, and what waits for that is full.
async fn silent(last: u8, port: u16) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(loopback(last, port)).unwrap();
    let listener = socket.listen(1).unwrap();
    let (address, mut waiting) = (listener.local_addr().unwrap(), Vec::new());
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (listener, waiting)
}

/// The families take turns, beginning with the one that the system prefers; within a family its order stays.
#[test]
fn the_families_take_turns() {
    let [a, b, c, one, two] =
        ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().unwrap());
    assert_eq!(in_turn(&[a, b, c, one, two]), [a, one, b, two, c]);
    assert_eq!(in_turn(&[one, a, two]), [one, a, two]);
    assert_eq!(in_turn(&[]), []);
}

/// Addresses that do not answer and one that refuses cost a fraction of the time that there is, however many they are
/// and wherever the good one stands; alone, one that does not answer takes all of it.
#[tokio::test]
async fn a_dead_address_does_not_eat_the_time() {
    let good = TcpListener::bind(loopback(30, 0)).await.unwrap();
    let port = good.local_addr().unwrap().port();
    let (_one, _two) = (silent(31, port).await, silent(32, port).await);
    let addresses = [31, 33, 32, 30].map(|last| loopback(last, port));
    let begun = Instant::now();
    let stream = connect_first(addresses.into()).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), loopback(30, port));
    assert!(begun.elapsed() < CONNECT_TIMEOUT / 4, "{:?}", begun.elapsed());
    let alone = connect_first([loopback(31, port)].into());
    assert!(timeout(Duration::from_secs(1), alone).await.is_err());
}

/// When every address refuses, that is the failure; without an address it is the name.
#[tokio::test]
async fn failures_are_told() {
    // Bound, so that nobody else gets the port, and never listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(loopback(34, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let failure = connect_first([address, address].into()).await.unwrap_err();
    assert!(matches!(&failure, DialFailure::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused));
    assert!(matches!(connect_first([].into()).await, Err(DialFailure::Name(_))));
}

/// A proxy that answers was connected to, also when it makes no connection; one that refuses was not.
#[tokio::test]
async fn a_proxy_is_somebody_too() {
    let listener = TcpListener::bind(loopback(36, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = ProxySource::Url(Proxy::parse(&url).unwrap());
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 503 Nobody is there\r\n\r\n").await.unwrap();
        stream
    };
    let patience = Duration::from_secs(20);
    let mut connected = false;
    let (dialled, _stream) = tokio::join!(dial("broker", 8883, Some(&proxy), patience, &mut connected), answering);
    assert!(matches!(dialled, Err(DialFailure::Proxy { .. })) && connected, "{dialled:?}");
    drop(listener);
    connected = false;
    let dialled = dial("broker", 8883, Some(&proxy), patience, &mut connected).await;
    assert!(matches!(dialled, Err(DialFailure::NoProxy { .. })) && !connected, "{dialled:?}");
}

/// A connection over which nothing is acknowledged any more is ended by the operating system once its patience is over,
/// while data waits; without that it would try for a quarter of an hour.
#[tokio::test]
async fn the_system_gives_a_dead_connection_up() {
    let listener = TcpListener::bind(loopback(35, 0)).await.unwrap();
    let patience = Duration::from_secs(2);
    let mut stream = connect("127.0.0.35", listener.local_addr().unwrap().port(), patience).await.unwrap();
    assert!(sockopt::socket_keepalive(&stream).unwrap() && stream.nodelay().unwrap());
    assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), patience);
    // It reads nothing, so that what waits to be sent stays.
    let (_peer, _) = listener.accept().await.unwrap();
    let writing = async {
        loop {
            if let Err(error) = stream.write_all(&[0; 1 << 16]).await {
                return error.kind();
            }
        }
    };
    assert_eq!(timeout(patience * 20, writing).await.expect("it is never given up"), io::ErrorKind::TimedOut);
}
