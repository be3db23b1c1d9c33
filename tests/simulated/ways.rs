//! The ways between machines and the hub: who is cut off, and who waits for which answer.

use std::collections::BTreeMap;

use outpost::client::{TransportError, Unreachable};
use outpost::protocol::Kind;
use tokio::sync::oneshot;

use super::net::Reply;

/// A request whose answer somebody waits for.
pub struct Asked {
    pub machine: usize,
    pub kind: Kind,
    pub reply: oneshot::Sender<Reply>,
}

/// How a machine is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nobody says so.
    Silent,
    /// Whoever asks is refused.
    Refusing,
}

/// See the module.
pub struct Ways {
    cuts: Vec<Option<Cut>>,
    asked: BTreeMap<u64, Asked>,
}

impl Ways {
    /// Every machine reaches the hub.
    pub fn new(machines: usize) -> Self {
        Ways {
            cuts: vec![None; machines],
            asked: BTreeMap::new(),
        }
    }

    /// There is one more machine.
    pub fn add(&mut self) {
        self.cuts.push(None);
    }

    /// Cuts a machine off; silently: nobody says so.
    pub fn cut(&mut self, machine: usize, silent: bool) {
        self.cuts[machine] = Some(if silent { Cut::Silent } else { Cut::Refusing });
    }

    pub fn connect(&mut self, machine: usize) {
        self.cuts[machine] = None;
    }

    pub fn is_cut(&self, machine: usize) -> bool {
        self.cuts[machine].is_some()
    }

    /// Whether a machine is cut off, and told so at once.
    pub fn refuses(&self, machine: usize) -> bool {
        self.cuts[machine] == Some(Cut::Refusing)
    }

    /// A request leaves its machine.
    pub fn leave(&mut self, id: u64, machine: usize, kind: Kind, reply: oneshot::Sender<Reply>) {
        let asked = Asked { machine, kind, reply };
        self.asked.insert(id, asked);
    }

    /// The machine that waits for that answer, if one still does.
    pub fn asker(&self, id: u64) -> Option<usize> {
        self.asked.get(&id).map(|asked| asked.machine)
    }

    /// Nobody waits for that answer any more. Whether the hub learns of it: over a broken network it never does.
    pub fn hang_up(&mut self, id: u64) -> bool {
        let asked = self.asked.remove(&id);
        asked.is_some_and(|asked| !self.is_cut(asked.machine))
    }

    /// An answer, or its absence, comes home: to whom, if somebody waits and it is not lost on a way that is cut.
    pub fn come_home(&mut self, id: u64, reply: &Reply) -> Option<Asked> {
        let machine = self.asker(id)?;
        if self.is_cut(machine) && reply.is_ok() {
            return None;
        }
        self.asked.remove(&id)
    }
}

/// The connection was closed before the answer.
pub fn reset() -> TransportError {
    TransportError::Lost {
        reason: "reset".to_owned(),
    }
}

/// Nobody listens.
pub fn refused() -> TransportError {
    TransportError::Unreachable(Unreachable::Refused)
}
