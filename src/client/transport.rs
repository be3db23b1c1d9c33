//! What carries a signed request to a server and its reply back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::tls::TlsProblem;
use crate::clock::BootTime;
use crate::protocol::Time;

/// When an exchange happened, by our clock and by the server's.
///
/// Whatever the server stamped was stamped between `sent_at` and `received_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// Right before the first byte of the request was handed to the connection, which stood already.
    pub sent_at: BootTime,
    /// Right after the reply's headers had arrived.
    pub received_at: BootTime,
    /// The `Date` header: whole seconds, cut down; may be a proxy's.
    pub date: Option<Time>,
    /// The `Outpost-Time` header, nanoseconds. Only an Outpost hub sends it.
    pub outpost_time: Option<Time>,
}

impl Stamps {
    /// Whether an Outpost hub answered, which does more than the dialect asks: it deduplicates submissions by their
    /// submission id.
    pub fn is_outpost_hub(&self) -> bool {
        self.outpost_time.is_some()
    }
}

/// A reply as it came.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The HTTP status; 200 where the transport has none.
    pub status: u16,
    /// The body, whole.
    pub body: Bytes,
    /// The `Location` header of a redirect, which is never followed (the request is signed for one server).
    pub location: Option<String>,
    /// When.
    pub stamps: Stamps,
}

/// Why no reply came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// Nothing was sent.
    Unreachable(Unreachable),
    /// The request was sent, the deadline passed without a whole reply.
    TimedOut {
        /// How long was waited, the time for which the server may hold an answer included.
        after: Duration,
    },
    /// The request was sent, at least in part, and the connection ended without a whole reply.
    Lost {
        /// What ended it.
        reason: String,
    },
    /// A reply came that is larger than this client takes.
    TooLarge {
        /// Its HTTP status.
        status: u16,
        /// The limit in bytes.
        limit: usize,
        /// When.
        stamps: Stamps,
    },
}

/// Why nothing could be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// The name of the host is not known.
    Name {
        /// In the resolver's words.
        reason: String,
    },
    /// Nobody listens there.
    Refused,
    /// The connection did not stand in time.
    TimedOut {
        /// The deadline.
        after: Duration,
    },
    /// The connection stood, but TLS did not.
    Tls(TlsProblem),
    /// The server had closed a kept connection before anything was sent on it.
    Closed,
    /// Anything else.
    Other {
        /// In the system's words.
        reason: String,
    },
}

impl fmt::Display for Unreachable {
    /// The problem and its remedy, without the server: “nobody listens there; is the server running …”.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreachable::Name { reason } => {
                write!(
                    out,
                    "the name of the host is not known ({reason}); check the address and the DNS"
                )
            }
            Unreachable::Refused => {
                out.write_str("nobody listens there; is the server running, and is the port right?")
            }
            Unreachable::TimedOut { after } => write!(
                out,
                "no connection within {} s; check the network, a firewall and the address",
                after.as_secs_f32()
            ),
            Unreachable::Tls(problem) => problem.fmt(out),
            Unreachable::Closed => {
                out.write_str("it closed the connection before anything was sent; ask again")
            }
            Unreachable::Other { reason } => write!(out, "{reason}; check the network and the address"),
        }
    }
}

/// A coming reply.
pub type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Exchange, TransportError>> + Send + 'a>>;

/// Carries one request to one server, at most once, and brings back the reply.
///
/// Dropping the future gives up: the server sees the caller hang up.
pub trait Transport: Send + Sync + 'static {
    /// Sends `body` and waits for the reply. `wait` is how long the server may hold the answer (a long poll); it is
    /// added to the transport's own deadline.
    fn exchange(&self, body: Bytes, wait: Duration) -> Exchanging<'_>;

    /// Where the server is, for messages.
    fn server(&self) -> &str;
}
