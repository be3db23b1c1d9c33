//! Between one agent and the hub: passes requests on whole and answers as they come, and does to them what it is told.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::plan::Fault;

/// How late everything is under [`Fault::Slow`].
const SLOW: Duration = Duration::from_millis(500);
/// How long the other half of a half-closed connection stays open.
const HALF_OPEN: Duration = Duration::from_secs(3);
/// How long the answer to a duplicate is waited for.
const DUPLICATE_ANSWER: Duration = Duration::from_secs(5);

/// Of one agent.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    hub: SocketAddr,
    weather: Mutex<Weather>,
    resets: watch::Sender<u64>,
}

#[derive(Default)]
struct Weather {
    stalled_until: Option<Instant>,
    slow_until: Option<Instant>,
    /// Faults that wait for the next request, or the next answer.
    armed: VecDeque<Fault>,
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
}

impl Proxy {
    /// Listens on a port of the system's choice.
    pub async fn start(hub: SocketAddr) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let proxy = Proxy(Arc::new(Inner {
            hub,
            weather: Mutex::default(),
            resets: watch::Sender::new(0),
        }));
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().connection(agent));
            }
        });
        Ok((proxy, port))
    }

    /// Lets a fault of the network happen, now or to the next that passes.
    pub fn inflict(&self, fault: Fault) {
        let mut weather = self.0.weather.lock().unwrap();
        let now = Instant::now();
        match fault {
            Fault::Stall(span) => weather.stalled_until = Some(now + span),
            Fault::Slow(span) => weather.slow_until = Some(now + span),
            Fault::Reset => {
                drop(weather);
                self.0.resets.send_modify(|count| *count += 1);
            }
            other => weather.armed.push_back(other),
        }
    }

    /// Good weather from now on. How many faults still waited for something to strike.
    pub fn calm(&self) -> usize {
        std::mem::take(&mut *self.0.weather.lock().unwrap()).armed.len()
    }

    async fn connection(self, mut agent: TcpStream) {
        let Ok(mut hub) = TcpStream::connect(self.0.hub).await else {
            return;
        };
        let _ = (agent.set_nodelay(true), hub.set_nodelay(true));
        let mut resets = self.0.resets.subscribe();
        let end = {
            let (from_agent, to_agent) = agent.split();
            let (from_hub, to_hub) = hub.split();
            tokio::select! {
                end = self.requests(from_agent, to_hub) => end,
                end = self.answers(from_hub, to_agent) => end,
                _ = resets.changed() => End::Reset,
            }
        };
        if matches!(end, End::Reset) {
            let _ = (agent.set_zero_linger(), hub.set_zero_linger());
        }
    }

    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut buffer = Vec::new();
        loop {
            let request = match read_request(&mut from, &mut buffer).await {
                Ok(Some(request)) => request,
                _ => return End::Closed,
            };
            self.pass().await;
            let strike = self.strike(|fault| {
                matches!(
                    fault,
                    Fault::Duplicate(_) | Fault::Reorder(_) | Fault::HalfCloseToHub
                )
            });
            match strike {
                Some(Fault::Duplicate(later)) => {
                    let (hub, request) = (self.0.hub, request.clone());
                    tokio::spawn(async move {
                        sleep(later).await;
                        let _ = timeout(DUPLICATE_ANSWER, duplicate(hub, &request)).await;
                    });
                }
                Some(Fault::Reorder(span)) => sleep(span).await,
                _ => {}
            }
            if to.write_all(&request).await.is_err() {
                return End::Reset;
            }
            if strike == Some(Fault::HalfCloseToHub) {
                let _ = to.shutdown().await;
                sleep(HALF_OPEN).await;
                return End::Closed;
            }
        }
    }

    async fn answers(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> End {
        let mut part = vec![0; 16 * 1024];
        loop {
            let length = match from.read(&mut part).await {
                Ok(0) => return End::Closed,
                Err(_) => return End::Reset,
                Ok(length) => length,
            };
            self.pass().await;
            match self.strike(|fault| matches!(fault, Fault::CutAnswer(_) | Fault::HalfCloseToAgent)) {
                Some(Fault::CutAnswer(after)) => {
                    let _ = to.write_all(&part[..after.min(length - 1)]).await;
                    return End::Closed;
                }
                Some(_) => {
                    let _ = to.shutdown().await;
                    sleep(HALF_OPEN).await;
                    return End::Closed;
                }
                None => {}
            }
            if to.write_all(&part[..length]).await.is_err() {
                return End::Reset;
            }
        }
    }

    /// Waits as long as the weather wants it.
    async fn pass(&self) {
        let slow = {
            let weather = self.0.weather.lock().unwrap();
            weather.slow_until.is_some_and(|until| Instant::now() < until)
        };
        if slow {
            sleep(SLOW).await;
        }
        loop {
            let until = self.0.weather.lock().unwrap().stalled_until;
            match until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// The first armed fault of a sort.
    fn strike(&self, sort: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut weather = self.0.weather.lock().unwrap();
        let at = weather.armed.iter().position(sort)?;
        weather.armed.remove(at)
    }
}

/// Sends a request over a connection of its own, and lets nobody see the answer.
async fn duplicate(hub: SocketAddr, request: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect(hub).await?;
    stream.write_all(request).await?;
    stream.read_u8().await.map(drop)
}

/// A whole request: its head and as many bytes as that announces. `None`: the sender is done.
async fn read_request(from: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(length) = request_length(buffer)
            && buffer.len() >= length
        {
            let rest = buffer.split_off(length);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        if from.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    Some(head + body)
}
