//! The way from the bridge to the broker, in the hands of the test.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::port::{Port, bind};

/// Bytes that a slow link holds.
const FEW: u32 = 16 * 1024;

/// Forwards TCP connections from a port of its own to another.
pub struct Link {
    port: Port,
    shared: Arc<Shared>,
}

/// After how many bytes a connection is to be cut, counted in one direction.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    ToBroker(usize),
    FromBroker(usize),
}

struct Shared {
    target: u16,
    /// To the broker, if that is bounded.
    bytes_per_second: Option<u32>,
    /// Whether connections are taken.
    wanted: watch::Sender<bool>,
    /// Whether the port listens.
    listening: watch::Sender<bool>,
    paused: watch::Sender<bool>,
    /// Counts cuts of everything.
    cuts: watch::Sender<u64>,
    /// For the connections to come.
    planned: Mutex<VecDeque<Cut>>,
}

impl Link {
    /// A link to `target` on the loopback that is open.
    pub async fn open(target: u16) -> Self {
        let link = Link::shut_to(target);
        link.reopen().await;
        link
    }

    /// An open link to `target` that takes so many bytes a second on their way to the broker, and holds few.
    pub async fn slow(target: u16, bytes_per_second: u32) -> Self {
        let link = Link::shut_at(target, Some(bytes_per_second));
        link.reopen().await;
        link
    }

    /// A link to `target` on the loopback that refuses connections until it is opened.
    pub fn shut_to(target: u16) -> Self {
        Link::shut_at(target, None)
    }

    fn shut_at(target: u16, bytes_per_second: Option<u32>) -> Self {
        let shared = Arc::new(Shared {
            target,
            bytes_per_second,
            wanted: watch::Sender::new(false),
            listening: watch::Sender::new(false),
            paused: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
            planned: Mutex::default(),
        });
        let port = Port::reserve();
        tokio::spawn(accept(port.number(), shared.clone()));
        Link { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Resets all connections. New ones are taken.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Resets all connections and refuses new ones.
    pub async fn shut(&self) {
        self.shared.wanted.send_replace(false);
        self.shared.listening.subscribe().wait_for(|listening| !listening).await.unwrap();
        self.cut();
    }

    /// Takes connections.
    pub async fn reopen(&self) {
        self.shared.wanted.send_replace(true);
        self.shared.listening.subscribe().wait_for(|listening| *listening).await.unwrap();
    }

    /// Holds all bytes back, in both directions; connections stand.
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Lets bytes pass again.
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Cuts each of the connections to come after so many bytes; those after these stand.
    pub fn plan(&self, cuts: impl IntoIterator<Item = Cut>) {
        self.shared.planned.lock().unwrap().extend(cuts);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.wanted.send_replace(false);
        self.cut();
    }
}

async fn accept(port: u16, shared: Arc<Shared>) {
    let mut wanted = shared.wanted.subscribe();
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        let socket = bind(port);
        if shared.bytes_per_second.is_some() {
            socket.set_recv_buffer_size(FEW).unwrap();
        }
        let listener: TcpListener = socket.listen(16).unwrap();
        shared.listening.send_replace(true);
        loop {
            tokio::select! {
                biased;
                _ = wanted.wait_for(|wanted| !wanted) => break,
                connection = listener.accept() => {
                    let Ok((connection, _)) = connection else { break };
                    tokio::spawn(forward(connection, shared.clone()));
                }
            }
        }
        drop(listener);
        shared.listening.send_replace(false);
    }
}

/// Forwards one connection until it ends or is cut.
async fn forward(near: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target)).await else { return reset(&near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let planned = shared.planned.lock().unwrap().pop_front();
    let (mut near, mut far) = (near, far);
    let ended = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let (mut to_broker, mut from_broker) = (usize::MAX, usize::MAX);
        match planned {
            Some(Cut::ToBroker(bytes)) => to_broker = bytes,
            Some(Cut::FromBroker(bytes)) => from_broker = bytes,
            None => {}
        }
        let both = async {
            tokio::try_join!(
                pump(near_read, far_write, to_broker, shared.bytes_per_second, &shared),
                pump(far_read, near_write, from_broker, None, &shared)
            )
        };
        tokio::select! {
            ended = both => ended.is_ok(),
            _ = cuts.changed() => false,
        }
    };
    if !ended {
        reset(&near);
        reset(&far);
    }
}

/// Copies until the end of `from`; an error once `most` bytes have passed.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut most: usize,
    bytes_per_second: Option<u32>,
    shared: &Shared,
) -> io::Result<()> {
    let mut paused = shared.paused.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let _ = paused.wait_for(|paused| !paused).await;
        let passing = read.min(most);
        to.write_all(&buffer[..passing]).await?;
        if let Some(rate) = bytes_per_second {
            sleep(Duration::from_secs(passing as u64) / rate).await;
        }
        most -= passing;
        if most == 0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Has the connection end with RST instead of FIN: nothing that is still in its buffers arrives.
fn reset(connection: &TcpStream) {
    #[allow(deprecated, reason = "a linger of nothing does not block on close")]
    let _ = connection.set_linger(Some(Duration::ZERO));
}
