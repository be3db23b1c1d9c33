//! Whether the agent ends itself because an output can't be made safe (docs/fence.md, section 7).
//!
//! Ending lets `outpost-agent safe` run, which takes the lines afresh; often that helps. Where it does not, a restart every
//! few seconds would take everything else down with one broken relay: so at most [`MOST`] times within [`WITHIN`], and then
//! the agent stays up, reports the fault and stops the heartbeat line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::BootTime;
use crate::device::state_file;

/// So many times the agent may end itself…
pub const MOST: usize = 3;
/// …within so long.
pub const WITHIN: Duration = Duration::from_secs(3600);
/// The code it then exits with: not 0, so that the service manager and `outpost-agent safe` know that it was no stop.
pub const EXIT_CODE: u8 = 3;
/// The file in the state directory.
const FILE: &str = "fault-exits.json";

/// What to do about such a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFault {
    /// End with [`EXIT_CODE`]; it is counted already.
    Exit,
    /// Stay up: ending has not helped, or it can't be counted.
    StayUp,
}

/// Counts the exits, also from one life of the agent to the next within a boot.
#[derive(Debug)]
pub struct FaultExits {
    path: PathBuf,
    record: Record,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Boot times of another boot mean nothing.
    boot_id: String,
    /// Nanoseconds since the boot, oldest first.
    exits: Vec<u64>,
}

impl FaultExits {
    /// Reads what earlier lives counted. What another boot counted is void: a restart of the machine is a fresh start. A
    /// file that can't be understood counts as none; the next exit replaces it.
    pub fn open(state_dir: &Path, boot_id: String) -> Self {
        let path = state_dir.join(FILE);
        let kept = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok())
            .filter(|record| record.boot_id == boot_id);
        let record = kept.unwrap_or(Record {
            boot_id,
            exits: Vec::new(),
        });
        FaultExits { path, record }
    }

    /// An output of this machine can't be made safe `now`. To be asked once per fault, before ending.
    pub fn after_fault(&mut self, now: BootTime) -> AfterFault {
        let recent = within(&self.record.exits, now);
        if recent.len() >= MOST {
            return AfterFault::StayUp;
        }
        let record = Record {
            boot_id: self.record.boot_id.clone(),
            exits: recent.into_iter().chain([now.as_nanos()]).collect(),
        };
        // What can't be counted must not happen: it could happen for ever.
        let written = serde_json::to_vec(&record)
            .map_err(std::io::Error::from)
            .and_then(|bytes| state_file::replace(&self.path, &bytes));
        match written {
            Ok(_) => {
                self.record = record;
                AfterFault::Exit
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "can't count exits, so there is none");
                AfterFault::StayUp
            }
        }
    }
}

/// The exits that count `now`.
fn within(exits: &[u64], now: BootTime) -> Vec<u64> {
    let counts = |at: &u64| now.saturating_since(BootTime::from_nanos(*at)) < WITHIN;
    exits.iter().copied().filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> BootTime {
        BootTime::default() + Duration::from_secs(60 * minutes)
    }

    #[test]
    fn three_times_an_hour_also_over_restarts_and_again_when_the_hour_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let life = |minutes| FaultExits::open(folder.path(), "boot".into()).after_fault(at(minutes));
        for (minutes, expected) in [
            (10, AfterFault::Exit),
            (20, AfterFault::Exit),
            (30, AfterFault::Exit),
            (31, AfterFault::StayUp),
            (69, AfterFault::StayUp),
            (70, AfterFault::Exit),
            (71, AfterFault::StayUp),
            (80, AfterFault::Exit),
            (300, AfterFault::Exit),
        ] {
            assert_eq!(life(minutes), expected, "minute {minutes}");
        }
        let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.len() < 200, "what no longer counts is dropped: {text}");
    }

    #[test]
    fn one_life_counts_as_many_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut exits = FaultExits::open(folder.path(), "boot".into());
        let answers: Vec<AfterFault> = (0..5).map(|minute| exits.after_fault(at(minute))).collect();
        assert_eq!(answers[..3], [AfterFault::Exit; 3]);
        assert_eq!(answers[3..], [AfterFault::StayUp; 2]);
    }

    #[test]
    fn another_boot_and_a_damaged_file_begin_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let mut exits = FaultExits::open(folder.path(), "one".into());
        for minute in 0..4 {
            exits.after_fault(at(minute));
        }
        assert_eq!(
            FaultExits::open(folder.path(), "two".into()).after_fault(at(1)),
            AfterFault::Exit
        );
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(
            FaultExits::open(folder.path(), "two".into()).after_fault(at(1)),
            AfterFault::Exit
        );
    }

    #[test]
    fn what_cannot_be_counted_does_not_happen() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        assert_eq!(
            FaultExits::open(&gone, "boot".into()).after_fault(at(1)),
            AfterFault::StayUp
        );
    }
}
