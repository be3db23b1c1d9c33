//! The journal's promises and failure modes (docs/fence.md, 6), one by one.

use super::samples::{self, attempt, begun, moment, report};
use super::*;
use crate::logging::logged;
use tracing::Level;

fn machine() -> Machine {
    Machine::of("m")
}

fn open_at(disk: &SimulatedDisk, now: Moment, limits: Limits) -> (Journal, Opening) {
    Journal::open(Box::new(disk.storage()), now, &machine(), limits).unwrap()
}

fn open(disk: &SimulatedDisk) -> (Journal, Opening) {
    open_at(disk, moment(5), Limits::default())
}

/// A disk with a journal in which process 1 began a *once* verb, and process 2 has a result.
fn used() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let (mut journal, opening) = open(&disk);
    assert!(opening.fresh);
    journal.begin(begun(attempt(1, 0), Effect::Once)).unwrap();
    journal.begin(begun(attempt(2, 0), Effect::Set)).unwrap();
    let result = report(attempt(2, 0), Close::Successful, &["on"]);
    journal.record(Record::Result(result)).unwrap();
    disk
}

fn once(journal: &Journal, number: usize) -> Result<(), Refusal> {
    journal.may_begin(&samples::process_id(number), Effect::Once, false)
}

fn in_boot(boot_id: &str) -> Moment {
    Moment {
        boot_id: boot_id.to_owned(),
        ..moment(1)
    }
}

#[test]
fn how_often_an_attempt_began_is_known_through_crashes_and_compaction() {
    let disk = SimulatedDisk::new(1);
    for beginning in 1..=3 {
        let (mut journal, _) = open(&disk);
        journal.begin(begun(attempt(1, 0), Effect::Set)).unwrap();
        assert_eq!(journal.state().unfinished()[0].beginning, beginning);
        journal.compact().unwrap();
        disk.cut();
        disk.restart();
    }
    let (mut journal, _) = open(&disk);
    assert_eq!(journal.state().unfinished()[0].beginning, 3);
    journal.begin(begun(attempt(1, 1), Effect::Set)).unwrap();
    assert_eq!(journal.state().unfinished()[1].beginning, 1, "another attempt");
}

#[test]
fn what_was_begun_and_what_waits_is_known_after_a_restart() {
    let disk = used();
    disk.cut();
    disk.restart();
    let (journal, opening) = open(&disk);
    assert_eq!(opening, Opening::default());
    assert_eq!(journal.health(), &Health::Good);
    let state = journal.state();
    assert_eq!(state.unfinished().len(), 1);
    assert_eq!(state.unfinished()[0].attempt, attempt(1, 0));
    assert_eq!(state.outbox().next().unwrap().attributes[0].value, "on");
    let refused = once(&journal, 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "already begun in attempt 1: no outcome known"
    );
    for (effect, repeat) in [(Effect::Read, false), (Effect::Set, false), (Effect::Once, true)] {
        let again = journal.may_begin(&samples::process_id(1), effect, repeat);
        assert_eq!(again, Ok(()), "{effect:?}");
        let waiting = journal.may_begin(&samples::process_id(2), effect, repeat);
        assert_eq!(waiting, Err(Refusal::Undelivered), "{effect:?}");
    }
    assert_eq!(once(&journal, 3), Ok(()));
}

#[test]
fn a_later_attempt_is_told_how_the_first_one_ended() {
    let disk = used();
    let (mut journal, _) = open(&disk);
    let failed = Close::Failed("interrupted".to_owned());
    journal
        .record(Record::Result(report(attempt(1, 0), failed, &[])))
        .unwrap();
    journal
        .record(Record::Delivered {
            attempt: attempt(1, 0),
        })
        .unwrap();
    let refused = journal.begin(begun(attempt(1, 3), Effect::Once)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "already begun in attempt 1: failed: interrupted"
    );
    let (journal, _) = open(&disk);
    assert_eq!(
        once(&journal, 1).unwrap_err().to_string(),
        "already begun in attempt 1: failed: interrupted"
    );
}

#[test]
fn another_boot_is_said_once_and_a_restart_within_one_writes_nothing() {
    let disk = used();
    let written = disk.bytes_written();
    for _ in 0..5 {
        let (journal, opening) = open(&disk);
        assert!(!opening.other_boot);
        assert_eq!(journal.bytes_written(), 0);
    }
    assert_eq!(disk.bytes_written(), written);
    let (journal, opening) = open_at(&disk, in_boot("another"), Limits::default());
    assert!(opening.other_boot);
    assert!(journal.bytes_written() < 200);
    let (_, opening) = open_at(&disk, in_boot("another"), Limits::default());
    assert!(!opening.other_boot);
}

#[test]
fn an_idle_day_writes_nothing() {
    let disk = used();
    let (mut journal, _) = open(&disk);
    let (written, operations) = (disk.bytes_written(), disk.operations());
    let start = Time::from_unix_nanos(samples::BASE);
    // The server's time comes with every poll; a busy loop asks for a sync each time.
    assert!(journal.good_time(start));
    for poll in 0..2880 {
        let noted = journal.good_time(start.plus(std::time::Duration::from_secs(poll * 30)));
        assert!(!noted, "poll {poll}");
    }
    assert_eq!((disk.bytes_written(), disk.operations()), (written, operations));
    // It goes with the next thing that is written anyway; and nothing unsynced writes nothing.
    assert!(journal.has_unsynced());
    journal.begin(begun(attempt(3, 0), Effect::Once)).unwrap();
    let operations = disk.operations();
    for _ in 0..100 {
        journal.sync().unwrap();
    }
    assert_eq!(disk.operations(), operations);
    assert_eq!(open(&disk).0.state().last_good_time(), Some(start));
    assert!(journal.good_time(start.plus(state::DAY)), "a day later");
}

#[test]
fn a_torn_end_is_dropped_and_said() {
    let disk = used();
    let before = disk.content(FILE).unwrap();
    disk.tamper(FILE, |bytes| bytes.extend_from_slice(&[0xf5, 40, 0, 0, 1, 2, 3]));
    let (mut journal, opening) = open(&disk);
    assert_eq!((opening.torn_bytes, opening.damage), (7, None));
    assert_eq!(once(&journal, 3), Ok(()), "a power cut is nothing to distrust");
    assert!(once(&journal, 1).is_err());
    journal.begin(begun(attempt(3, 0), Effect::Once)).unwrap();
    let (journal, opening) = open(&disk);
    assert_eq!(opening, Opening::default());
    assert!(once(&journal, 3).is_err());
    // The last frame of all may be cut anywhere.
    for length in frame::HEADER..before.len() {
        let disk = used();
        disk.tamper(FILE, |bytes| bytes.truncate(length));
        let (journal, opening) = open(&disk);
        assert_eq!(opening.damage, None);
        assert_eq!(journal.state().distrust(), None);
    }
}

#[test]
fn damage_before_the_end_refuses_once_verbs_until_it_is_accepted() {
    for at in [3, 20, 200] {
        let disk = used();
        disk.tamper(FILE, |bytes| bytes[at] ^= 1);
        let damaged = disk.content(FILE).unwrap();
        let (journal, opening) = open(&disk);
        let damage = opening.damage.unwrap();
        assert!(damage.at <= at && at < damage.at + damage.bytes, "{damage:?}");
        assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Damaged)));
        let text = once(&journal, 3).unwrap_err().to_string();
        assert!(
            text.contains("damaged") && text.contains("outpost-agent journal accept"),
            "{text}"
        );
        assert_eq!(journal.may_begin("new", Effect::Set, false), Ok(()));
        assert_eq!(
            journal.may_begin("new", Effect::Once, true),
            Ok(()),
            "declared harmless"
        );
        assert_eq!(
            disk.content(DAMAGED).unwrap(),
            damaged,
            "for whoever looks into it"
        );

        // Not by restarting, nor by a power cut.
        disk.cut();
        disk.restart();
        let (mut journal, opening) = open(&disk);
        assert_eq!(opening.damage, None, "said once, remembered until accepted");
        assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Damaged)));
        journal.accept(Time::NEVER).unwrap();
        assert_eq!(once(&journal, 3), Ok(()));
        disk.cut();
        disk.restart();
        assert_eq!(once(&open(&disk).0, 3), Ok(()));
    }
}

#[test]
fn what_can_be_read_around_damage_is_kept() {
    let disk = used();
    // In the first frame after the header, which says who opened it; the beginnings are in the next ones.
    disk.tamper(FILE, |bytes| bytes[30] ^= 0x40);
    let (mut journal, opening) = open(&disk);
    assert!(opening.damage.is_some());
    journal.accept(Time::NEVER).unwrap();
    assert!(matches!(once(&journal, 1), Err(Refusal::AlreadyBegun(_))));
    assert_eq!(journal.state().outbox().len(), 1);
}

#[test]
fn a_journal_that_got_lost_is_not_a_first_start() {
    let disk = used();
    disk.lose(FILE);
    let (journal, opening) = open(&disk);
    assert!(opening.missing && !opening.fresh);
    assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Missing)));
    assert_eq!(journal.may_begin("new", Effect::Set, false), Ok(()));
    let (mut journal, opening) = open(&disk);
    assert!(!opening.missing);
    assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Missing)));
    journal.accept(Time::NEVER).unwrap();
    assert_eq!(once(&journal, 3), Ok(()));
    assert_eq!(once(&journal, 1), Ok(()), "which is what the owner vouched for");
}

#[test]
fn a_marker_that_got_lost_is_made_again() {
    let disk = used();
    disk.lose(MARKER);
    open(&disk);
    disk.cut();
    disk.restart();
    disk.lose(FILE);
    assert!(open(&disk).1.missing);
}

#[test]
fn a_first_start_that_was_cut_short_is_still_a_first_start() {
    for operations in 0..12 {
        for seed in 0..10 {
            let disk = SimulatedDisk::new(seed);
            disk.cut_after(operations);
            let (journal, _) = open(&disk);
            let good = journal.health() == &Health::Good;
            disk.cut();
            disk.restart();
            let (journal, opening) = open(&disk);
            assert_eq!(
                journal.state().distrust(),
                None,
                "after {operations}: {opening:?}"
            );
            assert!(!(good && opening.fresh));
        }
    }
}

#[test]
fn another_machines_journal_is_refused_untouched_until_rekey_puts_it_aside() {
    let disk = used();
    let before = (disk.content(FILE), disk.operations());
    let other = Machine::of("clone");
    let open_there = || Journal::open(Box::new(disk.storage()), moment(5), &other, Limits::default());
    let error = open_there().unwrap_err();
    assert_eq!(error, OpenError::OtherMachine);
    assert!(error.to_string().contains("outpost-agent rekey"));
    assert_eq!((disk.content(FILE), disk.operations()), before);

    start_over(&mut disk.storage()).unwrap();
    start_over(&mut disk.storage()).unwrap();
    let (journal, opening) = open_there().unwrap();
    assert!(opening.fresh);
    assert_eq!(journal.state().marks() + journal.state().outbox().len(), 0);
    assert_eq!(disk.content(OLD), before.0);
}

#[test]
fn a_later_versions_journal_is_refused_untouched() {
    let disk = used();
    let mut header = frame::header(7);
    header[6] = 9;
    // The checksum of a header of version 9.
    let check = frame::crc32c(&[&header[..12]]);
    header[12..].copy_from_slice(&check.to_le_bytes());
    disk.tamper(FILE, |bytes| bytes[..16].copy_from_slice(&header));
    let operations = disk.operations();
    let opened = Journal::open(Box::new(disk.storage()), moment(5), &machine(), Limits::default());
    let error = opened.unwrap_err();
    assert!(error.to_string().contains("format 9"), "{error}");
    assert_eq!(disk.operations(), operations);
}

#[test]
fn while_it_cannot_be_written_only_reading_verbs_begin() {
    for (fault, hint) in [
        (Fault::Full, "free some space"),
        (Fault::ReadOnly, "read-only"),
        (Fault::Io, "failing"),
    ] {
        let disk = used();
        let (mut journal, _) = open(&disk);
        disk.fail_after(0, fault);
        let refused = journal.begin(begun(attempt(3, 0), Effect::Once)).unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains("only verbs that read") && text.contains(hint),
            "{text}"
        );
        assert!(matches!(journal.health(), Health::WriteFailed(_)));
        let set = journal.begin(begun(attempt(4, 0), Effect::Set)).unwrap_err();
        assert!(matches!(set, Refusal::NotWritable(_)));
        journal.begin(begun(attempt(5, 0), Effect::Read)).unwrap();
        // Results are known meanwhile, and written when that can be done.
        let read = report(attempt(5, 0), Close::Successful, &["21.5"]);
        assert!(journal.record(Record::Result(read)).is_err());
        assert!(journal.retry().is_err() && journal.sync().is_err() && journal.compact().is_err());
        assert!(journal.accept(Time::NEVER).is_err());

        disk.heal();
        assert!(
            journal.sync().is_err(),
            "when to try again is the caller's to decide"
        );
        journal.retry().unwrap();
        assert_eq!(journal.health(), &Health::Good);
        assert_eq!(once(&journal, 3), Ok(()), "it did not begin, so it may");
        journal.begin(begun(attempt(3, 0), Effect::Once)).unwrap();
        disk.cut();
        disk.restart();
        let (journal, opening) = open(&disk);
        assert_eq!((opening.torn_bytes, opening.damage), (0, None));
        assert!(journal.state().undelivered(&samples::process_id(5)));
        assert!(once(&journal, 3).is_err() && once(&journal, 1).is_err());
    }
}

#[test]
fn a_failed_sync_is_not_trusted_when_the_next_one_succeeds() {
    let disk = used();
    let (mut journal, _) = open(&disk);
    // The append succeeds, its sync does not.
    disk.fail_after(1, Fault::Io);
    assert!(journal.begin(begun(attempt(3, 0), Effect::Once)).is_err());
    disk.heal();
    journal.retry().unwrap();
    journal.begin(begun(attempt(4, 0), Effect::Once)).unwrap();
    disk.cut();
    disk.restart();
    let (journal, opening) = open(&disk);
    assert_eq!(opening, Opening::default());
    assert!(once(&journal, 4).is_err() && once(&journal, 1).is_err());
}

#[test]
fn a_beginning_that_was_tried_again_is_still_unfinished_when_it_cannot_be_written() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk);
    journal.begin(begun(attempt(1, 0), Effect::Set)).unwrap();
    disk.fail_after(0, Fault::Full);
    assert!(journal.begin(begun(attempt(1, 0), Effect::Set)).is_err());
    assert_eq!(journal.state().unfinished().len(), 1, "it had begun");
    assert!(journal.begin(begun(attempt(2, 0), Effect::Set)).is_err());
    assert_eq!(journal.state().unfinished().len(), 1, "it had not");
}

#[test]
fn opened_on_a_read_only_disk_it_knows_and_refuses() {
    let disk = used();
    disk.fail_after(0, Fault::ReadOnly);
    let (mut journal, _) = open(&disk);
    assert!(
        matches!(journal.health(), Health::WriteFailed(error) if error.kind == io::ErrorKind::ReadOnlyFilesystem)
    );
    assert!(matches!(once(&journal, 1), Err(Refusal::AlreadyBegun(_))));
    assert!(matches!(once(&journal, 3), Err(Refusal::NotWritable(_))));
    assert_eq!(journal.may_begin("new", Effect::Read, false), Ok(()));
    disk.heal();
    journal.retry().unwrap();
    assert_eq!(once(&journal, 3), Ok(()));
}

/// It is tried with every verb, and a disk may be full for days.
#[test]
fn that_it_cannot_be_written_is_said_once_and_so_is_that_it_can_again() {
    let disk = used();
    let (mut journal, _) = open(&disk);
    for streak in 0..2 {
        let said = logged(Level::INFO, false, || {
            disk.fail_after(0, Fault::Full);
            for _ in 0..5 {
                journal
                    .append(Record::FinalAtServer {
                        process_id: attempt(1, 0).process_id,
                    })
                    .unwrap();
                assert!(journal.retry().is_err());
            }
        });
        assert_eq!(said.lines().count(), 1, "streak {streak}: {said}");
        assert!(said.contains("ERROR the journal can't be written"), "{said}");
        let said = logged(Level::INFO, false, || {
            disk.heal();
            journal.retry().unwrap();
            journal.retry().unwrap();
        });
        assert_eq!(said.lines().count(), 1, "streak {streak}: {said}");
        assert!(said.contains(" INFO the journal can be written again"), "{said}");
    }
}

#[test]
fn what_cannot_be_read_is_never_overwritten() {
    let disk = used();
    let before = disk.content(FILE);
    disk.fail_after(0, Fault::Unreadable);
    let (mut journal, _) = open(&disk);
    assert!(matches!(journal.health(), Health::Unreadable(_)));
    disk.heal();
    assert!(journal.retry().is_err() && journal.sync().is_err() && journal.accept(Time::NEVER).is_err());
    assert!(journal.begin(begun(attempt(3, 0), Effect::Set)).is_err());
    journal.begin(begun(attempt(4, 0), Effect::Read)).unwrap();
    assert_eq!(disk.content(FILE), before);
    drop(journal);
    let (journal, _) = open(&disk);
    assert!(once(&journal, 1).is_err());
    assert_eq!(once(&journal, 3), Ok(()));
}

#[test]
fn a_damaged_journal_on_a_full_disk_is_written_rather_than_copied() {
    let disk = used();
    disk.tamper(FILE, |bytes| bytes[30] ^= 1);
    // The copy finds room, the journal then does not.
    disk.fail_after(2, Fault::Full);
    let (mut journal, _) = open(&disk);
    assert!(matches!(journal.health(), Health::WriteFailed(_)));
    disk.heal();
    journal.retry().unwrap();
    assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Damaged)));
    assert_eq!(
        once(&open(&disk).0, 3),
        Err(Refusal::Distrusted(Distrust::Damaged))
    );
}

#[test]
fn an_acceptance_that_was_not_written_is_none() {
    let disk = used();
    disk.lose(FILE);
    let (mut journal, _) = open(&disk);
    disk.fail_after(0, Fault::Full);
    assert!(journal.accept(Time::NEVER).is_err());
    disk.heal();
    journal.retry().unwrap();
    assert_eq!(once(&journal, 3), Err(Refusal::Distrusted(Distrust::Missing)));
}

#[test]
fn beyond_the_bound_of_marks_once_verbs_are_refused_and_none_is_forgotten() {
    let limits = Limits {
        marks: 3,
        ..Limits::default()
    };
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open_at(&disk, moment(5), limits);
    let end = |journal: &mut Journal, number: usize| {
        journal
            .record(Record::Moot {
                attempt: attempt(number, 0),
                reason: "done".to_owned(),
            })
            .unwrap();
        journal
            .record(Record::FinalAtServer {
                process_id: samples::process_id(number),
            })
            .unwrap();
    };
    for number in 1..=3 {
        journal.begin(begun(attempt(number, 0), Effect::Once)).unwrap();
        end(&mut journal, number);
    }
    let refused = journal.begin(begun(attempt(4, 0), Effect::Once)).unwrap_err();
    assert_eq!(refused, Refusal::MarksFull { marks: 3 });
    assert!(refused.to_string().contains("repeat = true"));
    journal.begin(begun(attempt(4, 0), Effect::Set)).unwrap();
    for number in 1..=3 {
        assert!(matches!(once(&journal, number), Err(Refusal::AlreadyBegun(_))));
    }
    // Time makes room.
    for day in 0..=i128::from(MARK_DAYS) + 1 {
        let wall = Time::from_unix_nanos(samples::BASE + day * 86_400_000_000_000);
        assert!(journal.good_time(wall));
    }
    journal.sync().unwrap();
    assert_eq!(journal.state().marks(), 0);
    journal.begin(begun(attempt(5, 0), Effect::Once)).unwrap();
}

#[test]
fn beyond_the_bounds_of_the_outbox_nothing_begins() {
    let limits = Limits {
        waiting: 3,
        waiting_bytes: 1000,
        ..Limits::default()
    };
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open_at(&disk, moment(5), limits);
    for number in 1..=3 {
        journal.begin(begun(attempt(number, 0), Effect::Set)).unwrap();
    }
    let full = Err(Refusal::OutboxFull);
    assert_eq!(journal.begin(begun(attempt(4, 0), Effect::Read)), full);
    // What runs can always tell its result.
    let long = "x".repeat(2000);
    for number in 1..=3 {
        let result = report(attempt(number, 0), Close::Successful, &[&long]);
        journal.record(Record::Result(result)).unwrap();
    }
    let deliver = |journal: &mut Journal, number| {
        journal
            .record(Record::Delivered {
                attempt: attempt(number, 0),
            })
            .unwrap();
    };
    deliver(&mut journal, 1);
    deliver(&mut journal, 2);
    assert_eq!(
        journal.begin(begun(attempt(4, 0), Effect::Read)),
        full,
        "by bytes"
    );
    deliver(&mut journal, 3);
    journal.begin(begun(attempt(4, 0), Effect::Read)).unwrap();
}

#[test]
fn it_stays_within_its_size_and_forgets_nothing_by_it() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk);
    let mut longest = 0;
    for number in 1..=3000 {
        journal.begin(begun(attempt(number, 0), Effect::Once)).unwrap();
        let result = report(attempt(number, 0), Close::Successful, &["some output of a verb"]);
        journal.append(Record::Result(result)).unwrap();
        journal
            .record(Record::Delivered {
                attempt: attempt(number, 0),
            })
            .unwrap();
        journal.tidy();
        longest = longest.max(disk.content(FILE).unwrap().len());
    }
    let limit = usize::try_from(Limits::default().file).unwrap();
    assert!(longest < 2 * limit, "{longest}");
    let (journal, _) = open(&disk);
    assert_eq!(journal.state().marks(), 3000);
    assert!((1..=3000).all(|number| once(&journal, number).is_err()));
    assert_eq!(journal.state().history().len(), HISTORY);
    // Compaction costs less than what it follows from.
    assert!(disk.bytes_written() < 3000 * 1000, "{}", disk.bytes_written());
}

#[test]
fn a_process_id_of_no_server_is_refused() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk);
    let mut strange = begun(attempt(1, 0), Effect::Read);
    strange.attempt.process_id = "x".repeat(MAX_PROCESS_ID + 1);
    let refused = journal.begin(strange).unwrap_err();
    assert!(matches!(refused, Refusal::Unfit(_)), "{refused}");
    strange_ids_do_not_reach_the_disk(&disk);
}

fn strange_ids_do_not_reach_the_disk(disk: &SimulatedDisk) {
    assert!(
        !disk
            .content(FILE)
            .unwrap()
            .windows(100)
            .any(|part| part == [b'x'; 100])
    );
}

#[test]
fn much_that_is_not_synced_is_written_all_the_same() {
    let disk = SimulatedDisk::new(1);
    let (mut journal, _) = open(&disk);
    let long = "x".repeat(MAX_RECORD - 1000);
    for number in 0..5 {
        let result = report(attempt(number, 0), Close::Successful, &[&long]);
        journal.append(Record::Result(result)).unwrap();
    }
    let (state, _) = peek(&mut disk.storage()).unwrap();
    assert!(state.outbox().len() >= 3, "{}", state.outbox().len());
    journal.sync().unwrap();
    let (state, opening) = peek(&mut disk.storage()).unwrap();
    assert_eq!((state.outbox().len(), opening), (5, Opening::default()));
}

#[test]
fn looking_changes_nothing_and_works_beside_the_agent() {
    let disk = used();
    let (journal, _) = open(&disk);
    let operations = disk.operations();
    let (state, opening) = peek(&mut disk.storage()).unwrap();
    assert_eq!((&state, opening), (journal.state(), Opening::default()));
    assert_eq!(disk.operations(), operations);
    disk.lose(FILE);
    assert!(peek(&mut disk.storage()).unwrap().1.missing);
    disk.fail_after(0, Fault::Unreadable);
    let error = peek(&mut disk.storage()).unwrap_err().to_string();
    assert!(error.contains("can't be read"), "{error}");
}

#[test]
fn it_lives_in_a_real_folder() {
    let place = tempfile::tempdir().unwrap();
    let open = || {
        let storage = FolderStorage::lock(place.path()).unwrap();
        Journal::open(Box::new(storage), moment(5), &machine(), Limits::default()).unwrap()
    };
    let (mut journal, opening) = open();
    assert!(opening.fresh);
    assert_eq!(journal.health(), &Health::Good);
    journal.begin(begun(attempt(1, 0), Effect::Once)).unwrap();
    journal.compact().unwrap();
    journal.begin(begun(attempt(2, 0), Effect::Once)).unwrap();
    let (state, _) = peek(&mut FolderStorage::look(place.path())).unwrap();
    assert_eq!(&state, journal.state());
    drop(journal);
    let (journal, opening) = open();
    assert_eq!(opening, Opening::default());
    assert_eq!(journal.state(), &state);
    drop(journal);
    let mut names: Vec<String> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [FILE, MARKER, "lock"]);
    std::fs::remove_file(place.path().join(FILE)).unwrap();
    assert!(open().1.missing);
}

#[test]
fn a_real_disk_that_is_full_is_noticed() {
    // /dev/full is the one thing on every Linux machine that is always full.
    let place = tempfile::tempdir().unwrap();
    let mut storage = FolderStorage::lock(place.path()).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.path().join("full")).unwrap();
    let error = storage.append("full", b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}
