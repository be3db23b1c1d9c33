//! The journal of attempts: whatever lies on the disk, it is opened or refused, and what was opened stays.

use outpost::agent::journal::{
    Attempt, Begun, Health, Journal, Limits, Machine, Moment, OpenError, PeekError, Role, SimulatedDisk,
    State, Storage, peek,
};
use outpost::clock::BootTime;
use outpost::device::Effect;
use outpost::protocol::Time;

/// The first byte says what the others are: a file, or bodies of frames that get right checksums (which nothing finds by
/// chance), and whether there was a journal before.
pub fn run(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    let file = if mode & 1 == 0 {
        data.to_vec()
    } else {
        framed(data)
    };
    let disk = SimulatedDisk::new(u64::from(mode));
    put(&disk, "journal", &file);
    if mode & 2 != 0 {
        put(&disk, "journal.exists", b"");
    }

    let seen = peek(&mut disk.storage());
    assert_eq!(
        disk.content("journal").as_deref(),
        Some(file.as_slice()),
        "looking changes nothing"
    );
    let (mut journal, opening) = match Journal::open(Box::new(disk.storage()), now(), &machine(), limits()) {
        Ok(opened) => opened,
        Err(error) => {
            assert_eq!(
                disk.content("journal").as_deref(),
                Some(file.as_slice()),
                "refused, and changed"
            );
            match (error, seen) {
                (
                    OpenError::Newer { version },
                    Err(PeekError::Open(OpenError::Newer { version: peeked })),
                ) => {
                    assert_eq!(version, peeked);
                }
                (OpenError::OtherMachine, Ok((state, _))) => assert!(state.opened().is_some()),
                (error, seen) => panic!("opening says {error}, looking says {seen:?}"),
            }
            return;
        }
    };
    let (before, peeked) = seen.expect("what can be opened can be looked at");
    assert_eq!(
        (opening.damage, opening.torn_bytes),
        (peeked.damage, peeked.torn_bytes)
    );
    assert_eq!(*journal.health(), Health::Good);
    kept(&before, journal.state());
    if opening.damage.is_some() {
        assert!(journal.state().distrust().is_some(), "damage is never trusted");
    }

    // A verb that may be done once: refused where the journal is not trusted or full, and else remembered through a cut.
    let begun = begun();
    let allowed = journal.begin(begun.clone()).is_ok();
    if journal.state().distrust().is_some() {
        assert!(!allowed, "a journal that is not trusted let a verb begin");
    }
    let state = journal.state().clone();
    journal = cut_and_open(&disk, journal);
    assert_eq!(*journal.state(), state, "after a cut");
    if allowed {
        assert!(journal.state().begun_once(&begun.attempt.process_id).is_some());
        assert!(journal.begin(begun).is_err(), "twice");
    }

    journal.compact().expect("the disk works");
    let state = journal.state().clone();
    let journal = cut_and_open(&disk, journal);
    assert_eq!(*journal.state(), state, "after compaction");
}

/// What must still be known after opening.
fn kept(before: &State, after: &State) {
    assert_eq!(before.marks(), after.marks());
    assert_eq!(before.unfinished(), after.unfinished());
    assert!(before.outbox().eq(after.outbox()));
    assert!(before.history().eq(after.history()));
    assert_eq!(before.last_good_time(), after.last_good_time());
}

fn cut_and_open(disk: &SimulatedDisk, journal: Journal) -> Journal {
    drop(journal);
    disk.cut();
    disk.restart();
    let opened = Journal::open(Box::new(disk.storage()), now(), &machine(), limits());
    let (journal, opening) = opened.expect("it was opened before");
    assert!(
        opening.damage.is_none() && opening.torn_bytes == 0 && !opening.missing && !opening.fresh,
        "{opening:?}"
    );
    journal
}

fn put(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let mut storage = disk.storage();
    storage.create(name).unwrap();
    storage.append(name, bytes).unwrap();
    storage.sync(name).unwrap();
    storage.sync_folder().unwrap();
}

/// A journal whose frames have the bodies that the data holds, each after two bytes of its length.
fn framed(mut data: &[u8]) -> Vec<u8> {
    const SALT: u32 = 7;
    let mut file = b"OPJRNL".to_vec();
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&SALT.to_le_bytes());
    let check = crc32c(&file);
    file.extend_from_slice(&check.to_le_bytes());
    while let &[low, high, ref more @ ..] = data {
        let length = usize::from(u16::from_le_bytes([low, high])).min(more.len());
        let (body, rest) = more.split_at(length);
        let mut head = vec![0xf5];
        head.extend_from_slice(&(body.len() as u32).to_le_bytes()[..3]);
        let checked = [
            &SALT.to_le_bytes()[..],
            &(file.len() as u64).to_le_bytes(),
            &head,
            body,
        ]
        .concat();
        file.extend_from_slice(&head);
        file.extend_from_slice(&crc32c(&checked).to_le_bytes());
        file.extend_from_slice(body);
        data = rest;
    }
    file
}

/// Bit by bit: written apart from the journal's own, which it thereby checks.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut value = !0_u32;
    for byte in bytes {
        value ^= u32::from(*byte);
        for _ in 0..8 {
            value = (value >> 1) ^ (0x82f6_3b78 & (value & 1).wrapping_neg());
        }
    }
    !value
}

fn begun() -> Begun {
    Begun {
        role: Role::Work,
        attempt: Attempt {
            process_id: "ab".repeat(32),
            retries: 0,
            start_time: Time::from_unix_nanos(1_760_000_000_000_000_000),
        },
        verb: "toggle".to_owned(),
        device: "lamp".to_owned(),
        effect: Effect::Once,
        repeat: false,
        at: now(),
        lease_end: Some(BootTime::from_nanos(60_000_000_000)),
        beginning: 1,
    }
}

fn now() -> Moment {
    Moment {
        boot_id: "0f9dd27c-c2cf-4a9e-b4bf-0c1d2e3f4a5b".to_owned(),
        boot: BootTime::from_nanos(9_000_000_000),
        wall: Time::from_unix_nanos(1_760_000_000_000_000_000),
    }
}

fn machine() -> Machine {
    Machine::of("0123456789abcdef0123456789abcdef")
}

/// Small, so that they are reached.
fn limits() -> Limits {
    Limits {
        file: 4096,
        marks: 20,
        waiting: 5,
        waiting_bytes: 1024,
    }
}
