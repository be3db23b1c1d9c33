//! What the flights met: a campaign that met nothing has shown nothing.

use std::collections::BTreeMap;
use std::fmt;

use outpost::vehicle::{Act, Family, Trouble};

use super::plan::Deed;

/// What must be met in a thousand flights, and how often at least. Each stands well below what is usual, so that only what is
/// not met any more falls below it.
pub const LEAST: &[(&str, u64)] = &[
    // Who flew, and how.
    ("flown by ArduPilot", 300),
    ("flown by PX4", 300),
    ("flown over a bad wire", 200),
    ("flown beside a second dock", 200),
    ("flown on a short lease", 20),
    ("handed out again", 20),
    ("handed out while another flies", 20),
    // What was done while it flew.
    ("in the air: killed", 10),
    ("in the air: told to stop", 5),
    ("in the air: frozen", 5),
    ("in the air: cut off from the hub", 5),
    ("in the air: the hub killed", 5),
    ("in the air: an old ledger put back", 10),
    ("in the air: deleted", 10),
    ("in the air: an order", 40),
    ("in the air: an order behind five dispatches", 10),
    ("in the air: wire silent", 5),
    ("in the air: cable out", 5),
    ("in the air: autopilot starts again", 2),
    ("in the air: pilot takes over", 2),
    ("in the air: no satellites", 2),
    ("in the air: battery low", 2),
    ("in the air: gust", 2),
    ("in the air: command without effect", 1),
    ("in the air: command unanswered", 1),
    ("in the air: slow answers", 1),
    // What was judged.
    ("judged: down after an abort", 10),
    ("judged: down after a land", 5),
    ("judged: down after a deletion", 5),
    ("judged: down after SIGTERM", 2),
    ("judged: down after the server was lost", 1),
    ("judged: flown as planned", 200),
    ("judged: cleared", 20),
    ("judged: a pilot is named", 1),
    ("judged: down before the lease ends", 300),
    ("judged: turned back for its lease", 2),
];

/// How often what was met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Met(BTreeMap<&'static str, u64>);

impl Met {
    /// It was met once more.
    pub fn note(&mut self, what: &'static str) {
        assert!(
            LEAST.iter().any(|(name, _)| *name == what),
            "{what:?} is not among those that must be met"
        );
        *self.0.entry(what).or_insert(0) += 1;
    }

    pub fn add(&mut self, other: &Met) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_insert(0) += count;
        }
    }

    /// What so many flights should have met, and did not often enough.
    pub fn missing(&self, flights: u64) -> Vec<String> {
        let short = |(what, least): &(&'static str, u64)| {
            let count = self.0.get(what).copied().unwrap_or(0);
            (count * 1000 < least * flights).then(|| format!("{what}: {count}, of {least} in 1000 flights"))
        };
        LEAST.iter().filter_map(short).collect()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, _) in LEAST {
            writeln!(out, "  {what}: {}", self.0.get(what).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}

/// By whom a flight is flown.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::ArduPilot => "flown by ArduPilot",
        Family::Px4 => "flown by PX4",
    }
}

/// A deed while a dock's vehicle is in the air; nothing for those that are counted elsewhere.
pub fn deed(deed: &Deed) -> Option<&'static str> {
    Some(match deed {
        Deed::Submit(_) | Deed::Backup => return None,
        Deed::Kill { .. } => "in the air: killed",
        Deed::Terminate { .. } => "in the air: told to stop",
        Deed::Freeze { .. } => "in the air: frozen",
        Deed::Partition { .. } => "in the air: cut off from the hub",
        Deed::HubCrash { .. } => "in the air: the hub killed",
        Deed::Restore { .. } => "in the air: an old ledger put back",
        Deed::Delete { .. } => "in the air: deleted",
    })
}

/// What happened to a vehicle in the air, or to its wire.
pub fn act(act: &Act) -> Option<&'static str> {
    let Act::Vehicle(trouble) = act else {
        return Some(match act {
            Act::Silence(_) => "in the air: wire silent",
            _ => "in the air: cable out",
        });
    };
    Some(match trouble {
        Trouble::Reboot => "in the air: autopilot starts again",
        Trouble::Pilot(_) => "in the air: pilot takes over",
        Trouble::GpsLoss(_) => "in the air: no satellites",
        Trouble::Battery(_) => "in the air: battery low",
        Trouble::Gust(..) => "in the air: gust",
        Trouble::Hollow(..) => "in the air: command without effect",
        Trouble::Unanswered(..) => "in the air: command unanswered",
        Trouble::SlowAnswers(..) => "in the air: slow answers",
        // Of use before it flies, or not in a plan.
        Trouble::StuckArming(_) | Trouble::Refused(..) | Trouble::OtherStation(..) => return None,
    })
}
