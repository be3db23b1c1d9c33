//! A server for tests that does to each request what its script says, on plain TCP or TLS.
#![allow(dead_code)] // Each test file uses its own part.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost::protocol::dialect::Dialect;
use outpost::protocol::{Answer, Failure, Kind, Reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What is done to one request.
#[derive(Clone)]
pub enum Act {
    /// These bytes, whatever they are; the connection stays.
    Say(Vec<u8>),
    /// These bytes, then the connection is closed.
    SayAndClose(Vec<u8>),
    /// After a while.
    SayLate(Duration, Vec<u8>),
    /// Nothing, and the connection is closed.
    Close,
    /// Nothing at all.
    Silence,
}

/// One request as it came.
pub struct Seen {
    /// Which connection, from 0.
    pub connection: usize,
    /// The head, as text.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
    hung_up: Mutex<Vec<usize>>,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        Server::start_with(script, None).await
    }

    pub async fn start_with(script: impl IntoIterator<Item = Act>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.script.lock().unwrap().extend(script);
        let in_task = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = {
                    let mut connections = in_task.connections.lock().unwrap();
                    *connections += 1;
                    *connections - 1
                };
                let shared = in_task.clone();
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, number, &shared).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, number, &shared).await;
                            }
                        }
                    }
                    shared.hung_up.lock().unwrap().push(number);
                });
            }
        });
        Server {
            address,
            shared,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }

    /// The connections that have ended.
    pub fn ended(&self) -> Vec<usize> {
        self.shared.hung_up.lock().unwrap().clone()
    }

    /// The connection that each request came on.
    pub fn requests(&self) -> Vec<usize> {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().map(|seen| seen.connection).collect()
    }

    pub fn with_seen<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.shared.seen.lock().unwrap())
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, connection: usize, shared: &Shared) {
    let mut read = Vec::new();
    loop {
        let Some((head, body)) = next_request(&mut stream, &mut read).await else {
            return;
        };
        shared.seen.lock().unwrap().push(Seen {
            connection,
            head,
            body,
        });
        let act = shared
            .script
            .lock()
            .unwrap()
            .pop_front()
            .expect("a request beyond the script");
        match act {
            Act::Say(bytes) => stream.write_all(&bytes).await.unwrap(),
            Act::SayLate(delay, bytes) => {
                tokio::time::sleep(delay).await;
                stream.write_all(&bytes).await.unwrap();
            }
            Act::SayAndClose(bytes) => {
                stream.write_all(&bytes).await.unwrap();
                let _ = stream.shutdown().await;
                return;
            }
            Act::Close => return,
            Act::Silence => {
                // Until the client hangs up.
                let mut rest = [0; 1];
                let _ = stream.read(&mut rest).await;
                return;
            }
        }
    }
}

pub async fn next_request(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            let length: usize = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if read.len() >= end + 4 + length {
                let body = read[end + 4..end + 4 + length].to_vec();
                read.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A reply over HTTP.
pub fn http(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A success.
pub fn success(kind: Kind, answer: &Answer) -> Vec<u8> {
    let dialect = Dialect::Runtime;
    let reply = Reply::success(dialect.payload_type(kind), dialect.encode_answer(kind, answer));
    http(200, "", &reply.to_bytes())
}

/// A failure whose HTTP status is that of the failure.
pub fn failure(status: u16, message: &str) -> Vec<u8> {
    let reply = Reply::failure(&Failure {
        status,
        message: message.to_owned(),
    });
    http(status, "", &reply.to_bytes())
}
