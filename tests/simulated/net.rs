//! The agent's end of the network: requests go to the world, answers come from it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use outpost::client::{Exchange, Exchanging, Stamps, Transport, TransportError};
use outpost::clock::Clock;
use outpost::protocol::Time;
use tokio::sync::oneshot;

use super::clock::{Moment, SimulatedClock, WorldTime};

/// How long a client waits for an answer beyond the time for which the server may hold it.
const ANSWER: Duration = Duration::from_secs(10);

/// An answer on the wire.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub date: Option<Time>,
    pub outpost_time: Option<Time>,
}

/// What comes back to whoever asked.
pub type Reply = Result<Answer, TransportError>;

/// A request that leaves a machine.
#[derive(Debug)]
pub struct Request {
    pub id: u64,
    pub machine: usize,
    /// Whose key signed it.
    pub caller: Arc<str>,
    pub body: Bytes,
    pub sent: Moment,
    pub reply: oneshot::Sender<Reply>,
}

/// What leaves a machine.
#[derive(Debug)]
pub enum Sent {
    Request(Request),
    /// Nobody waits for the answer to that request any more.
    HungUp(u64),
}

impl Sent {
    fn hung_up(&self) -> Option<u64> {
        match self {
            Sent::HungUp(id) => Some(*id),
            Sent::Request(_) => None,
        }
    }
}

/// What left all machines and was not looked at yet.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<Leaving>>);

#[derive(Debug, Default)]
struct Leaving {
    sent: Vec<Sent>,
    requests: u64,
}

impl Wire {
    /// Takes what left. Who hung up at once did so in the order of asking: where an agent is killed, tokio drops its tasks in
    /// an order that hangs on how many this process has had before.
    pub fn take(&self) -> Vec<Sent> {
        let mut sent = std::mem::take(&mut self.0.lock().unwrap().sent);
        for at_once in sent.chunk_by_mut(|one, next| one.hung_up().is_some() && next.hung_up().is_some()) {
            at_once.sort_by_key(Sent::hung_up);
        }
        sent
    }
}

/// The transport of one identity on one machine.
pub struct SimulatedTransport {
    pub wire: Wire,
    pub world: WorldTime,
    pub clock: Arc<SimulatedClock>,
    pub machine: usize,
    pub caller: Arc<str>,
    /// Hides when requests were sent and what the server's clock shows, so that only the arrival is known.
    pub only_arrival: bool,
}

/// Tells the world when nobody waits any more.
struct Waiting {
    wire: Wire,
    id: Option<u64>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.wire.0.lock().unwrap().sent.push(Sent::HungUp(id));
        }
    }
}

impl Transport for SimulatedTransport {
    fn exchange(&self, body: Bytes, wait: Duration) -> Exchanging<'_> {
        Box::pin(async move {
            let sent_at = self.clock.now();
            let (reply, answer) = oneshot::channel();
            let id = {
                let mut leaving = self.wire.0.lock().unwrap();
                leaving.requests += 1;
                let id = leaving.requests;
                leaving.sent.push(Sent::Request(Request {
                    id,
                    machine: self.machine,
                    caller: self.caller.clone(),
                    body,
                    sent: self.world.now(),
                    reply,
                }));
                id
            };
            let mut waiting = Waiting {
                wire: self.wire.clone(),
                id: Some(id),
            };
            let after = wait + ANSWER;
            let reply = tokio::select! {
                biased;
                reply = answer => reply.unwrap_or_else(|_| Err(TransportError::Lost { reason: "reset".to_owned() })),
                () = self.clock.sleep_until(sent_at + after) => return Err(TransportError::TimedOut { after }),
            };
            waiting.id = None;
            let Answer {
                status,
                body,
                date,
                outpost_time,
            } = reply?;
            let received_at = self.clock.now();
            let stamps = match self.only_arrival {
                false => Stamps {
                    sent_at,
                    received_at,
                    date,
                    outpost_time,
                },
                true => Stamps {
                    sent_at: received_at,
                    received_at,
                    date: None,
                    outpost_time: None,
                },
            };
            Ok(Exchange {
                status,
                body,
                location: None,
                stamps,
            })
        })
    }

    fn server(&self) -> &str {
        "http://simulated"
    }
}
