//! A little HTTP server for the one page that Prometheus reads.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::registry;
use crate::health::Reporter;

/// Connections at a time; more wait for their turn.
const MOST_CONNECTIONS: usize = 16;

/// Longest time for the head of a request to come.
const HEAD: Duration = Duration::from_secs(5);

/// Longest time for a connection. Prometheus scrapes every minute or more often, and connects anew if it has to.
const CONNECTION: Duration = Duration::from_secs(300);

/// Between attempts to listen where something else does, and to accept when the process has no file descriptor left.
const BREATH: Duration = Duration::from_secs(10);

/// Serves what `reporter` tells at `http://ADDRESS/metrics`, until it is dropped. An address that can't be had is
/// reported once and tried again: the bridge bridges all the same.
pub async fn serve(address: SocketAddr, reporter: Arc<Reporter>) {
    let registry = Arc::new(registry(reporter));
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let listener = listen(address).await;
    loop {
        // It is never closed.
        let Ok(turn) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move {
                    let _turn = turn;
                    // Who goes half-way through, or sends no HTTP, need not be told about.
                    let _ = timeout(CONNECTION, attend(stream, registry)).await;
                });
            }
            Err(error) => {
                tracing::debug!("The metrics' socket takes no connection: {error}.");
                sleep(BREATH).await;
            }
        }
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    let mut said = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "Metrics are at http://{address}/metrics.");
                return listener;
            }
            Err(error) if !said => {
                tracing::warn!(%address, "Metrics cannot be served at {address}: {error}. It is tried again.");
                said = true;
            }
            Err(_) => {}
        }
        sleep(BREATH).await;
    }
}

async fn attend(stream: TcpStream, registry: Arc<Registry>) -> hyper::Result<()> {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &registry))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics.\n");
    }
    // hyper leaves the body of an answer to HEAD away.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "Metrics can only be read.\n");
        refusal.headers_mut().insert(ALLOW, const { hyper::header::HeaderValue::from_static("GET, HEAD") });
        return refusal;
    }
    match super::text(registry) {
        Ok(text) => with_type(super::CONTENT_TYPE, text),
        // Writing to a String never fails.
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written.\n"),
    }
}

fn plain(status: StatusCode, sentence: &'static str) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", sentence.to_owned());
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}
