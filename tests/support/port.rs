//! TCP ports on the loopback that nobody else gets.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that stays the test's own, whether somebody listens on it or not: a socket is bound to it that never
/// listens. Connections to it are refused until somebody of the test's binds it too (with `SO_REUSEADDR`) and listens.
pub struct Port {
    number: u16,
    _bound: TcpSocket,
}

impl Port {
    pub fn reserve() -> Self {
        let bound = bind(0);
        Port { number: bound.local_addr().unwrap().port(), _bound: bound }
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A socket bound to `port` beside its reservation.
pub fn bind(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    socket
}
