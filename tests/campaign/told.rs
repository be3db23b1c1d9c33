//! Whether a process was closed with the result of an attempt that was over (docs/fence.md, 5): the hub takes it, since nothing in a
//! close says which attempt it is for. The proxy is the witness of what was asked and told.
//!
//! It may happen all the same: a close can be on its way while its attempt ends, and so can the answer that lets it go. So
//! only that is false which was sent after the attempt was over by an agent that had not been told, shortly before, that it was not.

use crate::judge::{SECOND, Witnessed};
use crate::ledger::{Held, Left, STAMP, Story};
use crate::plan::{Verb, Work};

/// How much later than it was sent the proxy may see a request, on a machine that does much else.
const SEEN_WITHIN: i128 = SECOND;
/// How old what the server said may be when a late close follows from it.
const ASKED: i128 = 25 * SECOND;

/// What an agent said about a process, as its proxy saw it leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It asked the hub how the process stands.
    Asked,
    /// It closed the process as successful.
    Closed,
}

/// That at its moment, nanoseconds since 1970.
#[derive(Debug, Clone)]
pub struct Told {
    pub process_id: String,
    pub said: Said,
    pub at: i128,
}

/// Why a *once* process's result is that of another attempt than the one that was closed with it, if it is.
pub fn falsely(work: &Work, story: &Story, agents: &[Witnessed]) -> Option<String> {
    let closed = story.held.last()?;
    let Some((closed_at, Left::Successful)) = closed.to else {
        return None;
    };
    // What may be done again was perhaps done already: that leaves no edge.
    if work.verb == Verb::On {
        return None;
    }
    let agent = agents.iter().find(|agent| agent.id == closed.runtime_id)?;
    let Some((attempt, done)) = story
        .held
        .iter()
        .enumerate()
        .rfind(|(_, held)| was_done(work, held, agent))
    else {
        return Some("closed as successful, and nothing was done".to_owned());
    };
    let (over, _) = done.to.filter(|_| attempt + 1 < story.held.len())?;
    let told = || {
        agent
            .told
            .iter()
            .filter(|told| told.process_id == story.id && told.at <= closed_at + STAMP)
    };
    let may_tell = |close: &Told| {
        let had_asked = told().any(|ask| {
            ask.said == Said::Asked && ask.at <= over && (0..ASKED).contains(&(close.at - ask.at))
        });
        // Decided before the attempt was over, and sent by an agent that was frozen in between.
        let was_frozen = agent
            .lives
            .iter()
            .flat_map(|life| &life.freezes)
            .any(|&(from, to)| from <= over && over <= to && close.at <= to + SEEN_WITHIN);
        close.at <= over + SEEN_WITHIN || had_asked || was_frozen
    };
    let mut closes = told().filter(|told| told.said == Said::Closed);
    (!closes.any(may_tell)).then(|| {
        format!("closed with the result of attempt {attempt}, which had been over, without having asked")
    })
}

fn was_done(work: &Work, held: &Held, agent: &Witnessed) -> bool {
    held.runtime_id == agent.id
        && agent
            .edges
            .iter()
            .any(|edge| edge.on && edge.lamp == work.lamp && held.contains(edge.at))
}
