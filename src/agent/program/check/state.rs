//! The state directory, the service that works in it, and the journal.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::finding::Finding;
use crate::agent::journal::{self, FolderStorage, Limits, Machine, Opening, PeekError, State, holder_of};
use crate::agent::program::history::seconds;
use crate::agent::service::this_machine;
use crate::client::build_time;
use crate::protocol::Time;

/// The state directory as it was found.
#[derive(Debug)]
pub struct StateFacts {
    /// Where.
    pub folder: PathBuf,
    /// Whose it is; `None`: it is not there.
    pub owner: Option<u32>,
    /// Who may do what with it.
    pub mode: u32,
    /// Files can be made in it.
    pub writable: bool,
    /// So many bytes are left for them; `None` where that could not be found out.
    pub room: Option<u64>,
    /// The agent that works in it.
    pub service: Option<u32>,
    /// What the journal knows.
    pub journal: Result<(State, Opening), PeekError>,
    /// The machine that this is.
    pub machine: Machine,
    /// What the clock shows.
    pub wall: Time,
}

impl StateFacts {
    /// Looks; takes no lock.
    pub fn gather(folder: &Path, wall: Time) -> Self {
        let metadata = fs::metadata(folder).ok();
        StateFacts {
            folder: folder.to_owned(),
            owner: metadata.as_ref().map(MetadataExt::uid),
            mode: metadata.as_ref().map_or(0, |folder| folder.mode() & 0o777),
            writable: rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
            room: rustix::fs::statvfs(folder)
                .ok()
                .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            service: holder_of(folder),
            journal: journal::peek(&mut FolderStorage::look(folder)),
            machine: this_machine(),
            wall,
        }
    }
}

/// With less room the journal is about to fail: it is rewritten beside itself now and then.
const LEAST_ROOM: u64 = 1024 * 1024;

/// What the facts mean.
pub fn judge(facts: &StateFacts) -> Vec<Finding> {
    let folder = facts.folder.display();
    let mut findings = Vec::new();
    if facts.owner.is_none() {
        findings.push(Finding::note(
            "state directory",
            format!("{folder} is made at the first start"),
        ));
        findings.extend(clock(facts.wall, None));
        return findings;
    }
    findings.push(if !facts.writable {
        Finding::error("state directory", format!("{folder} can't be written"))
            .remedy("see the finding about the user; if it is the service's: `mount` tells whether its file system is read-only")
    } else if let Some(room) = facts.room.filter(|room| *room < LEAST_ROOM) {
        Finding::error(
            "state directory",
            format!("{folder}: only {} KiB are left on its disk", room / 1024),
        )
        .remedy(
            "free some space there (`df` and `du -x` tell what takes it): while the journal can't be written, verbs that change something are refused",
        )
    } else if facts.mode & 0o077 != 0 {
        Finding::warning(
            "state directory",
            format!("{folder} can be looked into by others (mode {:03o})", facts.mode),
        )
        .remedy(format!("sudo chmod 700 {folder}"))
    } else {
        Finding::ok("state directory", format!("{folder} can be written"))
    });
    findings.push(match facts.service {
        Some(pid) => Finding::ok("service", format!("an agent is at work there, process {pid}")),
        None => Finding::note("service", "no agent is at work in the state directory"),
    });
    match &facts.journal {
        Ok((state, opening)) => {
            findings.extend(journal_findings(facts, state, opening));
            findings.extend(clock(facts.wall, state.last_good_time()));
        }
        Err(error) => {
            findings.push(Finding::error("journal", error.to_string()));
            findings.extend(clock(facts.wall, None));
        }
    }
    findings
}

fn journal_findings(facts: &StateFacts, state: &State, opening: &Opening) -> Vec<Finding> {
    if opening.fresh {
        return vec![Finding::note("journal", "it is made at the first start")];
    }
    if state
        .opened()
        .is_some_and(|opened| opened.machine != facts.machine)
    {
        return vec![
            Finding::error(
                "journal",
                "it is another machine's: this card was cloned or moved",
            )
            .remedy("sudo -u outpost-agent outpost-agent rekey --yes"),
        ];
    }
    let limits = Limits::default();
    let mut findings = Vec::new();
    let distrust = state.distrust().map(ToString::to_string);
    // The service writes down what it finds when it opens the journal; what is found now comes first.
    let found = if opening.missing {
        Some("the journal is missing, though there was one".to_owned())
    } else if opening.damage.is_some() {
        Some("the journal is damaged".to_owned())
    } else {
        distrust
    };
    if let Some(why) = found {
        findings.push(
            Finding::error(
                "journal",
                format!("{why}: verbs that may be done once only are refused"),
            )
            .remedy(
                "look at `outpost-agent history` and at the devices; then, with the service stopped, `outpost-agent journal accept`",
            ),
        );
    }
    let waiting = state.outbox().len();
    let marks = state.marks();
    if marks * 10 >= limits.marks * 9 {
        findings.push(
            Finding::warning(
                "journal",
                format!(
                    "{marks} of at most {} verbs that may be done once only are remembered",
                    limits.marks
                ),
            )
            .remedy("do them less often, or set `repeat = true` where doing them twice is harmless"),
        );
    }
    if waiting > 0 {
        findings.push(Finding::note(
            "journal",
            format!("{waiting} result(s) wait to be told to the server"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "journal",
            format!("trusted, {marks} verb(s) that may be done once only remembered"),
        ));
    }
    findings
}

/// Whether our own clock can be right. A server is not needed for that.
fn clock(wall: Time, last_good: Option<Time>) -> Option<Finding> {
    let floor = last_good.map_or(build_time(), |good| good.max(build_time()));
    if wall >= floor {
        return Some(Finding::ok("clock", format!("it shows {}", seconds(wall))));
    }
    let known_by = if floor == build_time() {
        "when this program was built"
    } else {
        "as the journal knows"
    };
    let finding = Finding::warning(
        "clock",
        format!(
            "it shows {}, but {} has passed ({known_by}); leases do not depend on it, and certificates are judged by the later one",
            seconds(wall),
            seconds(floor)
        ),
    );
    let remedy = "sudo timedatectl set-ntp true";
    Some(if last_good == Some(floor) {
        finding.remedy(format!(
            "{remedy}; if it is the journal that is wrong, `outpost-agent journal accept` forgets its last good time"
        ))
    } else {
        finding.remedy(remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::agent::journal::{Distrust, Moment, Opened, Record};
    use crate::clock::BootTime;

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn facts(records: Vec<Record>, opening: Opening) -> StateFacts {
        let mut state = State::default();
        state.apply(Record::Opened(Opened {
            at: Moment {
                boot_id: "b".into(),
                boot: BootTime::default(),
                wall: Time::NEVER,
            },
            machine: Machine::of("here"),
        }));
        for record in records {
            state.apply(record);
        }
        StateFacts {
            folder: "/s".into(),
            owner: Some(5),
            mode: 0o700,
            writable: true,
            room: Some(LEAST_ROOM),
            service: None,
            journal: Ok((state, opening)),
            machine: Machine::of("here"),
            wall: at("2090-01-01T00:00:00Z"),
        }
    }

    fn about<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.about == about).unwrap()
    }

    #[test]
    fn a_good_state_directory_is_good() {
        let findings = judge(&facts(vec![], Opening::default()));
        let levels: Vec<Level> = findings.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Ok, Level::Note, Level::Ok, Level::Ok]);
        let running = judge(&StateFacts {
            service: Some(77),
            ..facts(vec![], Opening::default())
        });
        assert!(about(&running, "service").text.contains("process 77"));
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = judge(&StateFacts {
            room: Some(LEAST_ROOM - 1),
            ..facts(vec![], Opening::default())
        });
        let finding = about(&full, "state directory");
        assert_eq!(finding.level, Level::Error);
        assert!(
            finding.text.contains("only 1023 KiB are left"),
            "{}",
            finding.text
        );
        let unknown = StateFacts {
            room: None,
            ..facts(vec![], Opening::default())
        };
        assert_eq!(about(&judge(&unknown), "state directory").level, Level::Ok);
    }

    #[test]
    fn a_journal_that_is_not_trusted_is_an_error_with_the_way_out() {
        let distrusted = vec![Record::Distrusted {
            why: Distrust::Damaged,
        }];
        let missing = Opening {
            missing: true,
            ..Opening::default()
        };
        for facts in [facts(distrusted, Opening::default()), facts(vec![], missing)] {
            let findings = judge(&facts);
            let journal = about(&findings, "journal");
            assert_eq!(journal.level, Level::Error);
            assert!(journal.remedy.as_ref().unwrap().contains("journal accept"));
        }
    }

    #[test]
    fn a_cloned_card_is_told_to_rekey() {
        let cloned = StateFacts {
            machine: Machine::of("there"),
            ..facts(vec![], Opening::default())
        };
        let findings = judge(&cloned);
        assert!(
            about(&findings, "journal")
                .remedy
                .as_ref()
                .unwrap()
                .contains("rekey")
        );
    }

    #[test]
    fn a_clock_that_is_behind_what_has_passed_is_named() {
        let good = vec![Record::LastGoodTime {
            wall: at("2095-01-01T00:00:00Z"),
        }];
        let findings = judge(&facts(good, Opening::default()));
        let clock = about(&findings, "clock");
        assert_eq!(clock.level, Level::Warning);
        assert!(
            clock
                .text
                .contains("2095-01-01T00:00:00Z has passed (as the journal knows)"),
            "{clock:?}"
        );
        let booted = StateFacts {
            wall: at("1970-01-01T00:00:09Z"),
            ..facts(vec![], Opening::default())
        };
        let findings = judge(&booted);
        assert!(
            about(&findings, "clock")
                .text
                .contains("when this program was built")
        );
    }

    #[test]
    fn what_is_missing_or_closed_to_us_is_told_apart() {
        let missing = judge(&StateFacts {
            owner: None,
            ..facts(vec![], Opening::default())
        });
        assert_eq!(about(&missing, "state directory").level, Level::Note);
        let closed = judge(&StateFacts {
            writable: false,
            ..facts(vec![], Opening::default())
        });
        assert_eq!(about(&closed, "state directory").level, Level::Error);
        let open = judge(&StateFacts {
            mode: 0o755,
            ..facts(vec![], Opening::default())
        });
        assert_eq!(
            about(&open, "state directory").remedy.as_deref(),
            Some("sudo chmod 700 /s")
        );
    }
}
