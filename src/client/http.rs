//! `POST /api` over HTTP or HTTPS (RD 1.1, 1.2), with kept connections and a deadline on everything.
//!
//! The pool is our own and small, over hyper's connections: so it is known whether anything of a request was sent, the
//! sending is stamped after connecting, not before, and nothing can be resent by a layer below.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri, Version};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::tls::{self, BadTrust, JudgingTime};
use super::transport::{Exchange, Exchanging, Stamps, Transport, TransportError, Unreachable};
use crate::clock::{BootTime, SharedClock};
use crate::protocol::Time;

/// The header in which an Outpost hub tells its time, in nanoseconds since 1970.
const OUTPOST_TIME: HeaderName = HeaderName::from_static("outpost-time");

/// Where a Colonies server is: `http://host:port` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    base: String,
    uri: Uri,
}

/// Why a text is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the address of a Colonies server ({reason}); write it as http://host:50080 or https://host"
)]
pub struct BadServerUrl {
    text: String,
    reason: &'static str,
}

impl ServerUrl {
    /// Reads an address. A trailing `/` or `/api` is accepted; a path before it is kept (a proxy's prefix).
    ///
    /// # Errors
    /// [`BadServerUrl`].
    pub fn parse(text: &str) -> Result<Self, BadServerUrl> {
        let bad = |reason| BadServerUrl {
            text: text.to_owned(),
            reason,
        };
        let trimmed = text.trim().trim_end_matches('/');
        let base = trimmed
            .strip_suffix("/api")
            .unwrap_or(trimmed)
            .trim_end_matches('/');
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(bad("it must begin with http:// or https://"));
        }
        let uri: Uri = format!("{base}/api").parse().map_err(|_| bad("it is no URL"))?;
        let authority = uri.authority().ok_or_else(|| bad("the host is missing"))?;
        if authority.host().is_empty() {
            return Err(bad("the host is missing"));
        }
        if authority.as_str().contains('@') {
            return Err(bad("it must not contain a user or password"));
        }
        // `host:port` with what is no port number parses as an authority without a port.
        if authority.port().is_none() && authority.as_str().len() != authority.host().len() {
            return Err(bad("the port is no number up to 65535"));
        }
        if uri.query().is_some() {
            return Err(bad("it must not contain a query"));
        }
        Ok(ServerUrl {
            base: base.to_owned(),
            uri,
        })
    }

    /// The host; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// The port; the scheme's own where the address names none.
    pub fn port(&self) -> u16 {
        let own = if self.is_https() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(own)
    }

    /// Whether it is HTTPS.
    pub fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&hyper::http::uri::Scheme::HTTPS)
    }

    /// Whether the host is this machine itself, by a literal address or by `localhost`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || bare
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The address without `/api`.
    pub fn as_str(&self) -> &str {
        &self.base
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.base)
    }
}

impl std::str::FromStr for ServerUrl {
    type Err = BadServerUrl;
    fn from_str(text: &str) -> Result<Self, BadServerUrl> {
        ServerUrl::parse(text)
    }
}

/// Deadlines, limits and trust of an [`HttpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Until a connection stands: name, TCP and TLS together.
    pub connect: Duration,
    /// From sending until the reply's headers, beyond the time for which the server may hold the answer.
    pub answer: Duration,
    /// From the headers until the body is whole.
    pub body: Duration,
    /// How long a connection without traffic is kept for the next request. Shorter than what servers and proxies
    /// usually allow (60 s), so that the server rarely closes first.
    pub idle: Duration,
    /// How long sent bytes may stay unacknowledged, and how long a silent peer may fail to answer keep-alive probes.
    pub dead_peer: Duration,
    /// The largest reply, in bytes.
    pub max_body: usize,
    /// Further authorities to trust over HTTPS, a PEM file.
    pub ca_file: Option<PathBuf>,
    /// A moment that was surely reached, as kept from earlier runs: certificates are never judged by an earlier time,
    /// nor by one before this program was built ([`build_time`](super::build_time)), whatever the clock shows.
    pub good_time: Option<Time>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(15),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(20),
            dead_peer: Duration::from_secs(20),
            max_body: 16 * 1024 * 1024,
            ca_file: None,
            good_time: None,
        }
    }
}

/// How many idle connections are kept: more than this many requests at once are rare.
const KEPT: usize = 4;

type Connection = SendRequest<Full<Bytes>>;

struct Idle {
    connection: Connection,
    since: BootTime,
}

/// HTTP/1.1 to one server.
pub struct HttpTransport {
    url: ServerUrl,
    host: HeaderValue,
    settings: HttpSettings,
    clock: SharedClock,
    connector: HttpsConnector<HttpConnector>,
    judging: Arc<JudgingTime>,
    idle: Mutex<Vec<Idle>>,
}

impl HttpTransport {
    /// A transport to `url`; connects when first used.
    ///
    /// # Errors
    /// [`BadTrust`] for HTTPS when it is not known whom to trust.
    pub fn new(url: ServerUrl, settings: HttpSettings, clock: SharedClock) -> Result<Self, BadTrust> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(settings.dead_peer / 2));
        tcp.set_keepalive_interval(Some(settings.dead_peer / 4));
        tcp.set_keepalive_retries(Some(3));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(settings.dead_peer));
        let judging = Arc::new(JudgingTime::new(clock.clone(), settings.good_time));
        let tls = if url.is_https() {
            tls::client_config(settings.ca_file.as_deref(), judging.clone())?
        } else {
            // Never used: nobody is trusted.
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // An authority is printable ASCII, which every header value may be.
        let authority = url
            .uri
            .authority()
            .map(|authority| authority.as_str())
            .unwrap_or_default();
        let host = HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("colonies"));
        Ok(HttpTransport {
            url,
            host,
            settings,
            clock,
            connector,
            judging,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Where the server is.
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        // Nothing in here panics half way; a poisoned pool is still a list of connections.
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A kept connection that is still open, the most recently used first.
    fn kept(&self) -> Option<Connection> {
        let oldest = self.clock.now() - self.settings.idle;
        let mut idle = self.pool();
        idle.retain(|kept| kept.since >= oldest && kept.connection.is_ready());
        idle.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: Connection) {
        let since = self.clock.now();
        let mut idle = self.pool();
        if idle.len() >= KEPT {
            idle.remove(0);
        }
        idle.push(Idle { connection, since });
    }

    async fn connect(&self) -> Result<Connection, Unreachable> {
        let after = self.settings.connect;
        let deadline = self.clock.now() + after;
        let connecting = async {
            let stream = self
                .connector
                .clone()
                .call(self.url.uri.clone())
                .await
                .map_err(|error| self.unreachable(&*error))?;
            let (connection, driver) =
                http1::handshake(stream)
                    .await
                    .map_err(|error| Unreachable::Other {
                        reason: chain(&error),
                    })?;
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "a connection ended");
                }
            });
            Ok(connection)
        };
        tokio::select! {
            biased;
            connected = connecting => connected,
            () = self.clock.sleep_until(deadline) => Err(Unreachable::TimedOut { after }),
        }
    }

    fn unreachable(&self, error: &(dyn StdError + 'static)) -> Unreachable {
        if let Some(problem) = tls::problem_in(error, self.judging.now()) {
            return Unreachable::Tls(problem);
        }
        let mut link = Some(error);
        while let Some(error) = link {
            if let Some(io) = error.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::ConnectionRefused
            {
                return Unreachable::Refused;
            }
            link = error.source();
        }
        // hyper-util's connector gives no other sign of it.
        if error.to_string().starts_with("dns error") {
            let mut cause = error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            return Unreachable::Name {
                reason: cause.to_string(),
            };
        }
        Unreachable::Other { reason: chain(error) }
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_11;
        // Origin form: the server is no proxy.
        *request.uri_mut() = self
            .url
            .uri
            .path_and_query()
            .map(|path| Uri::from(path.clone()))
            .unwrap_or_else(|| Uri::from_static("/api"));
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("outpost/", env!("CARGO_PKG_VERSION"))),
        );
        request
    }

    async fn exchange_once(&self, body: Bytes, wait: Duration) -> Result<Exchange, TransportError> {
        // Let what the system has received meanwhile be seen first: above all that the server closed a kept connection.
        tokio::task::yield_now().await;
        let mut connection = match self.kept() {
            Some(connection) => connection,
            None => self.connect().await.map_err(TransportError::Unreachable)?,
        };
        let after = self.settings.answer.saturating_add(wait);
        let sent_at = self.clock.now();
        let deadline = sent_at + after;
        let answered = tokio::select! {
            biased;
            answered = connection.try_send_request(self.request(body)) => answered,
            () = self.clock.sleep_until(deadline) => return Err(TransportError::TimedOut { after }),
        };
        let received_at = self.clock.now();
        let response = match answered {
            Ok(response) => response,
            // The request came back as it was: not a byte of it was sent.
            Err(error) if error.message().is_some() => {
                tracing::debug!(error = %chain(error.error()), "nothing was sent");
                return Err(TransportError::Unreachable(Unreachable::Closed));
            }
            Err(error) => {
                return Err(TransportError::Lost {
                    reason: chain(error.error()),
                });
            }
        };
        let stamps = stamps(response.headers(), sent_at, received_at);
        let status = response.status().as_u16();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.chars().take(200).collect());
        let body_after = self.settings.body;
        let deadline = received_at + body_after;
        let body = tokio::select! {
            biased;
            body = self.body(response, stamps) => body?,
            () = self.clock.sleep_until(deadline) => {
                return Err(TransportError::TimedOut { after: after.saturating_add(body_after) });
            }
        };
        // Whether it is fit for another request is looked at when one comes.
        if !connection.is_closed() {
            self.keep(connection);
        }
        Ok(Exchange {
            status,
            body,
            location,
            stamps,
        })
    }

    async fn body(&self, response: Response<Incoming>, stamps: Stamps) -> Result<Bytes, TransportError> {
        let limit = self.settings.max_body;
        let status = response.status().as_u16();
        let too_large = TransportError::TooLarge {
            status,
            limit,
            stamps,
        };
        let mut body = response.into_body();
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large);
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| TransportError::Lost {
                reason: chain(&error),
            })?;
            if let Ok(data) = frame.into_data() {
                if whole.len() + data.len() > limit {
                    return Err(too_large);
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(whole.freeze())
    }
}

impl Transport for HttpTransport {
    fn exchange(&self, body: Bytes, wait: Duration) -> Exchanging<'_> {
        Box::pin(self.exchange_once(body, wait))
    }

    fn server(&self) -> &str {
        self.url.as_str()
    }
}

/// What the reply says of the server's clock.
fn stamps(headers: &HeaderMap, sent_at: BootTime, received_at: BootTime) -> Stamps {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    Stamps {
        sent_at,
        received_at,
        date: text(&DATE).and_then(parse_date),
        outpost_time: text(&OUTPOST_TIME)
            .and_then(|nanos| nanos.trim().parse().ok())
            .map(Time::from_unix_nanos),
    }
}

/// An HTTP date as every server sends it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn parse_date(text: &str) -> Option<Time> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let rest = text.trim().split_once(", ")?.1.strip_suffix(" GMT")?;
    let mut parts = rest.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    // The reader of RFC 3339 checks all the rest.
    Time::parse(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut link = error.source();
    while let Some(cause) = link {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own words.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        link = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_refused() {
        for (text, base) in [
            ("http://localhost:50080", "http://localhost:50080"),
            ("http://localhost:50080/", "http://localhost:50080"),
            ("https://example.org/api", "https://example.org"),
            (
                "https://example.org/colonies/api/",
                "https://example.org/colonies",
            ),
            ("http://[::1]:50080", "http://[::1]:50080"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().as_str(), base, "{text}");
        }
        for text in [
            "",
            "localhost:50080",
            "ftp://x",
            "http://",
            "http://:80",
            "http://h:99999",
            "http://h:x",
            "http://u:p@h",
            "http://h/?q",
            "http://a b",
        ] {
            let error = ServerUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains("http://host:50080"), "{text}: {error}");
        }
        assert!(ServerUrl::parse("http://127.0.0.1:1").unwrap().is_loopback());
        assert!(ServerUrl::parse("http://[::1]:1").unwrap().is_loopback());
        assert!(!ServerUrl::parse("http://10.0.0.1:1").unwrap().is_loopback());
    }

    #[test]
    fn dates_are_read() {
        let read = |text| parse_date(text).map(|time| time.to_string());
        assert_eq!(
            read("Sun, 06 Nov 1994 08:49:37 GMT").as_deref(),
            Some("1994-11-06T08:49:37Z")
        );
        for text in [
            "",
            "now",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 41 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
