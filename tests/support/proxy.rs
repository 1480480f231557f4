//! An HTTP proxy with the method CONNECT, for names that only it knows.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Leads whoever shows the credentials to the loopback, whatever name they ask for.
pub struct HttpProxy {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl HttpProxy {
    /// `credentials` as they stand behind `Basic`.
    pub async fn start(credentials: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, requests) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let asked = requests.clone();
        let serving = tokio::spawn(async move {
            // Dropped with this task, and with it every tunnel.
            let mut tunnels = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                tunnels.spawn(serve(client, credentials, asked.clone()));
            }
        });
        HttpProxy { port, requests, serving }
    }

    /// The first lines of what was asked so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut client: TcpStream, credentials: &str, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let (first, fields) = head.split_once("\r\n")?;
    asked.lock().unwrap().push(first.to_owned());
    if !fields.contains(&format!("Proxy-Authorization: Basic {credentials}\r\n")) {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        return client.write_all(answer.as_bytes()).await.ok();
    }
    let target = first.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1")?;
    let port: u16 = target.rsplit_once(':')?.1.parse().ok()?;
    let Ok(mut broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.ok();
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.ok()?;
    copy_bidirectional(&mut client, &mut broker).await.ok().map(drop)
}
