//! Between one agent and the hub: passes requests and answers on whole, and does to them what it is told.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost::protocol::Request;
use outpost::watch::Watched;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::fence::Broken;
use crate::lies::Liar;
use crate::plan::Fault;
use crate::processes::wall;
use crate::told::{Said, Told};
use crate::wire::{self, read_message};

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
    resets: Watched<u64>,
    liar: Liar,
    assigned: Assigned,
    /// What the agent asked and told of processes.
    told: Mutex<Vec<Told>>,
}

/// The ids of the processes that were seen to be assigned, before anything happened to that answer; all proxies share it.
pub type Assigned = Watched<BTreeSet<String>>;

/// Where answers go: those of the hub, and those that are given instead.
type ToAgent<'a> = sync::Mutex<WriteHalf<'a>>;

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
    /// Listens on a port of the system's choice. The agent's fence is to be broken like this.
    pub async fn start(
        hub: SocketAddr,
        broken: Option<Broken>,
        assigned: Assigned,
    ) -> io::Result<(Self, u16)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let proxy = Proxy(Arc::new(Inner {
            hub,
            weather: Mutex::default(),
            resets: Watched::new(0),
            liar: Liar::new(broken),
            assigned,
            told: Mutex::default(),
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

    /// What the agent asked and told of processes so far.
    pub fn told(&self) -> Vec<Told> {
        self.0.told.lock().unwrap().clone()
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
            let to_agent = ToAgent::new(to_agent);
            tokio::select! {
                end = self.requests(from_agent, to_hub, &to_agent) => end,
                end = self.answers(from_hub, &to_agent) => end,
                () = resets.changed() => End::Reset,
            }
        };
        if matches!(end, End::Reset) {
            let _ = (agent.set_zero_linger(), hub.set_zero_linger());
        }
    }

    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, to_agent: &ToAgent<'_>) -> End {
        let mut buffer = Vec::new();
        loop {
            let request = match read_message(&mut from, &mut buffer).await {
                Ok(Some(request)) => request,
                _ => return End::Closed,
            };
            let asked = wire::asked(&request);
            if let Some(lie) = asked.as_ref().and_then(|asked| self.0.liar.instead(asked)) {
                if to_agent.lock().await.write_all(&lie).await.is_err() {
                    return End::Reset;
                }
                continue;
            }
            self.note(asked);
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

    /// Remembers what is said of a process.
    fn note(&self, asked: Option<Request>) {
        let (process_id, said) = match asked {
            Some(Request::GetProcess { process_id }) => (process_id, Said::Asked),
            Some(Request::CloseSuccessful { process_id }) => (process_id, Said::Closed),
            _ => return,
        };
        let at = wall();
        self.0.told.lock().unwrap().push(Told { process_id, said, at });
    }

    async fn answers(&self, mut from: ReadHalf<'_>, to: &ToAgent<'_>) -> End {
        let mut buffer = Vec::new();
        loop {
            let answer = match read_message(&mut from, &mut buffer).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let _ = to.lock().await.write_all(&buffer).await;
                    return End::Closed;
                }
                Err(_) => return End::Reset,
            };
            let came = Instant::now();
            let assigned = wire::assigned(&answer);
            if let Some(id) = assigned.clone() {
                self.0.assigned.send_if_modified(|assigned| assigned.insert(id));
            }
            self.pass().await;
            if assigned.is_some()
                && let Some(Fault::LateAssignment(span)) =
                    self.strike(|fault| matches!(fault, Fault::LateAssignment(_)))
            {
                sleep(span).await;
            }
            let answer = self.0.liar.twist(answer, came.elapsed());
            let mut to = to.lock().await;
            match self.strike(|fault| matches!(fault, Fault::CutAnswer(_) | Fault::HalfCloseToAgent)) {
                Some(Fault::CutAnswer(after)) => {
                    let _ = to.write_all(&answer[..after.min(answer.len() - 1)]).await;
                    return End::Closed;
                }
                Some(_) => {
                    let _ = to.shutdown().await;
                    sleep(HALF_OPEN).await;
                    return End::Closed;
                }
                None => {}
            }
            if to.write_all(&answer).await.is_err() {
                return End::Reset;
            }
            self.0.liar.passed(&answer);
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
