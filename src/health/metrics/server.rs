//! A little HTTP server for the one page that Prometheus reads.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::format::Format;
use super::{host, registry};
use crate::health::Reporter;
use crate::health::clients::Clients;
use iot_bridge_core::tally::Repeat;

/// Longest time for the head of a request to come.
const HEAD: Duration = Duration::from_secs(5);

/// Longest time for a connection, which serves one request: Prometheus gives up after 10 s unless it is told otherwise.
const CONNECTION: Duration = Duration::from_secs(10);

/// How long a text is given again: however often somebody asks, the queue's lock is taken once a second for it.
const FRESH: Duration = Duration::from_secs(1);

/// How often a refused name is logged, and how much of it.
const TOLD: Duration = Duration::from_secs(600);
const LONGEST_NAME: usize = 60;

/// Between attempts to listen where something else does, and to accept when the process has no file descriptor left.
const BREATH: Duration = Duration::from_secs(10);

/// Serves what `reporter` tells at `http://ADDRESS/metrics`, until it is dropped. An address that can't be had is
/// reported once and tried again: the bridge bridges all the same.
pub async fn serve(address: SocketAddr, reporter: Arc<Reporter>) {
    let page = Arc::new(Page { registry: registry(reporter), written: Mutex::default(), refusals: Mutex::default() });
    let mut clients = Clients::default();
    let listener = listen(address).await;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                // Who goes half-way through, or sends no HTTP, need not be told about.
                clients.serve(CONNECTION, async move { _ = attend(stream, page).await }).await;
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
            Ok(listener) if address.ip().to_canonical().is_loopback() => {
                tracing::info!(%address, "Metrics are at http://{address}/metrics.");
                return listener;
            }
            Ok(listener) => {
                tracing::warn!(
                    %address,
                    "Metrics are at http://{address}/metrics, for everybody who reaches this address: nobody is asked \
                     who he is. A firewall can let the Prometheus server in alone."
                );
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

/// What is served.
#[derive(Debug)]
struct Page {
    registry: Registry,
    /// The last text of each [`Format`], and when it was written.
    written: Mutex<[Option<(Instant, Bytes)>; Format::ALL.len()]>,
    refusals: Mutex<Repeat>,
}

impl Page {
    /// The metrics of this moment, or of one less than [`FRESH`] ago. An error is never seen: a String can be written.
    fn text(&self, format: Format) -> Result<Bytes, std::fmt::Error> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &mut written[format as usize];
        match last {
            Some((at, text)) if at.elapsed() < FRESH => Ok(text.clone()),
            _ => {
                let text = Bytes::from(format.write(&self.registry)?);
                *last = Some((Instant::now(), text.clone()));
                Ok(text)
            }
        }
    }

    /// Says, once in a while, for which name the metrics were asked: it may be what a Prometheus calls this machine.
    fn log_refusal(&self, headers: &HeaderMap) {
        let due = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now(), TOLD);
        if due.is_some() {
            let name: String = host::asked_for(headers).chars().take(LONGEST_NAME).collect();
            tracing::warn!(
                "A request for the metrics under the name {name:?} was refused: a web page may have sent it. Prometheus \
                 gets them under an address of this machine, or under its name, {:?}.",
                host::own_name()
            );
        }
    }
}

async fn attend(stream: TcpStream, page: Arc<Page>) -> hyper::Result<()> {
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &page))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, page: &Page) -> Response<Full<Bytes>> {
    if !host::is_ours(request.headers()) {
        page.log_refusal(request.headers());
        let sentence =
            "The metrics are served under the address of this machine, as localhost, and under its own name.";
        return plain(StatusCode::MISDIRECTED_REQUEST, sentence);
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "The metrics are at /metrics.");
    }
    // hyper leaves the body of an answer to HEAD away.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "Metrics can only be read.");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::wanted(accept);
    match page.text(format) {
        Ok(text) => {
            let mut response = with_type(format.content_type(), text);
            response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The metrics cannot be written."),
    }
}

fn plain(status: StatusCode, sentence: &'static str) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", Bytes::from(format!("{sentence}\n")));
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
