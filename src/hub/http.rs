//! The HTTP server (RD 1.1, 1.11).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::api::{Api, Said};
use super::settings::Http;
use crate::protocol::Refusal;
use crate::protocol::time::Time;
use crate::watch::Watched;

/// The time at the server in nanoseconds since 1970, for clients that must know it closely.
pub const OUTPOST_TIME: HeaderName = HeaderName::from_static("outpost-time");

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How much more than allowed is read and thrown away, so that the client gets to read the refusal.
const OVERFLOW: usize = 16 * 1024 * 1024;

/// How long nothing is accepted after that failed.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// What all connections share.
struct Server {
    api: Api,
    settings: Http,
}

/// Serves until `stop` is done; then lets open requests finish within the grace time. `drain` is called when no
/// further connection is accepted, and should let long polls return.
///
/// # Errors
/// The listener fails for good.
pub async fn serve(
    listener: TcpListener,
    api: Api,
    settings: Http,
    stop: impl Future<Output = ()>,
    drain: impl FnOnce(),
) -> io::Result<()> {
    let grace = Duration::from_secs(settings.shutdown_grace);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let server = Arc::new(Server { api, settings });
    let stopping = Watched::new(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let place = tokio::select! {
            () = &mut stop => break,
            place = places.clone().acquire_owned() => place.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (server, stopping) = (server.clone(), stopping.clone());
                connections.spawn(async move {
                    connection(stream, server, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Too many open files, or a connection that died in the queue: neither ends the server.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
            }
        }
    }
    drop(listener);
    drain();
    stopping.send_replace(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, finish).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    connections.shutdown().await;
    Ok(())
}

async fn connection(stream: TcpStream, server: Arc<Server>, stopping: Watched<bool>) {
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    let idle = Duration::from_secs(server.settings.idle_timeout);
    let service = service_fn(|request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    // When the client hangs up, hyper drops the service's future, and with it whatever waits for an answer.
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopping.wait_for(|stopping| *stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

impl Server {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let foreign = request.headers().contains_key(header::ORIGIN);
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::POST, "/api") => self.rpc(request).await,
            (&Method::POST, "/api/") => moved("/api"),
            (&Method::GET, "/health") => text(StatusCode::OK, Bytes::new()),
            (&Method::OPTIONS, "/api" | "/health") if foreign => preflight(),
            _ => not_found(),
        };
        let headers = response.headers_mut();
        if foreign {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        stamp(headers, self.api.moment().stamp);
        response
    }

    async fn rpc(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let limit = self.settings.max_body;
        let patience = Duration::from_secs(self.settings.body_timeout);
        let said = match tokio::time::timeout(patience, read(request.into_body(), limit)).await {
            Ok(Ok(body)) => self.api.answer(&body).await,
            Ok(Err(Unread::TooLarge)) => self.api.refuse(Refusal::TooLarge { limit }),
            Ok(Err(Unread::Broken)) => return closing(text(StatusCode::BAD_REQUEST, Bytes::new())),
            Err(_) => return closing(text(StatusCode::REQUEST_TIMEOUT, Bytes::new())),
        };
        let Said { status, body } = said;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        text(status, body.into())
    }
}

enum Unread {
    TooLarge,
    Broken,
}

/// Reads a body. One that is too large is read to its end, within reason, so that the client sees the refusal and not a
/// reset connection.
async fn read(mut body: Incoming, limit: usize) -> Result<Bytes, Unread> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut whole = Vec::with_capacity(announced.min(limit));
    let mut size = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unread::Broken)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        size = size.saturating_add(data.len());
        if size <= limit {
            whole.extend_from_slice(data);
        } else {
            whole = Vec::new();
        }
        if size > limit.saturating_add(OVERFLOW) {
            return Err(Unread::Broken);
        }
    }
    match size <= limit {
        true => Ok(whole.into()),
        false => Err(Unread::TooLarge),
    }
}

fn text(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// The rest of the connection can't be understood.
fn closing(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::NOT_FOUND, Bytes::from_static(b"404 page not found"));
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn moved(to: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let to = HeaderValue::from_static(to);
    response.headers_mut().insert(header::LOCATION, to);
    response
}

fn preflight() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,POST,PUT,PATCH,DELETE,HEAD"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Origin,Content-Length,Content-Type"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("43200"));
    response
}

/// Both from one stamp, so that they agree.
fn stamp(headers: &mut HeaderMap, now: Time) {
    if let Ok(nanos) = HeaderValue::from_str(&now.unix_nanos().to_string()) {
        headers.insert(OUTPOST_TIME, nanos);
    }
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        headers.insert(header::DATE, date);
    }
}

/// RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: Time) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let moment = ::time::OffsetDateTime::from_unix_timestamp_nanos(now.unix_nanos())
        .unwrap_or(::time::OffsetDateTime::UNIX_EPOCH);
    let day = DAYS[usize::from(moment.weekday().number_days_from_monday()) % 7];
    let month = MONTHS[usize::from(u8::from(moment.month()) - 1) % 12];
    format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        moment.day(),
        moment.year(),
        moment.hour(),
        moment.minute(),
        moment.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (moment, date) in [
            ("1994-11-06T08:49:37.9Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2024-02-29T23:59:59Z", "Thu, 29 Feb 2024 23:59:59 GMT"),
            ("9999-12-31T23:59:59Z", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(Time::parse(moment).unwrap()), date);
        }
    }
}
