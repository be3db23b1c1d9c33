//! Power cuts and kills at every operation, and the proof that each sync is needed.
//!
//! The witness is not the journal: it keeps every state that was reached since the last sync that succeeded, and the
//! processes whose *once* verb was allowed to act. What is found after a cut must be one of those states, and must know
//! those processes.

use std::collections::BTreeSet;
use std::io;

use super::samples::{self, attempt, begun, moment, report};
use super::*;

/// The places where the journal syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// The journal, after a frame was added.
    AfterAppend,
    /// The new file, before it takes the old one's name.
    BeforeRename,
    /// The folder, after that.
    FolderAfterRename,
    /// The folder, after the marker was made.
    FolderAfterCreate,
    /// The journal, when it is opened: a killed agent may have left unsynced bytes.
    AtOpen,
    /// The folder, when the journal is opened: likewise an unsynced name.
    FolderAtOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Nothing,
    Created,
    Renamed,
}

/// A disk's folder as one process has it: it may silently skip one kind of sync, and be killed.
struct Process {
    inner: SimulatedStorage,
    skip: Option<Sync>,
    /// Operations until it is killed.
    life: Option<u64>,
    appended: bool,
    named: Named,
}

impl Process {
    fn new(disk: &SimulatedDisk, skip: Option<Sync>, life: Option<u64>) -> Box<Self> {
        Box::new(Process {
            inner: disk.storage(),
            skip,
            life,
            appended: false,
            named: Named::Nothing,
        })
    }

    fn live(&mut self) -> io::Result<()> {
        match &mut self.life {
            Some(0) => Err(io::Error::other("killed")),
            Some(life) => {
                *life -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync_unless_skipped(
        &mut self,
        kind: Sync,
        sync: impl FnOnce(&mut SimulatedStorage) -> io::Result<()>,
    ) -> io::Result<()> {
        self.live()?;
        if self.skip == Some(kind) {
            return Ok(());
        }
        sync(&mut self.inner)
    }
}

impl Storage for Process {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.inner.read(name)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.live()?;
        self.named = Named::Created;
        self.inner.create(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.live()?;
        self.appended |= name == FILE;
        self.inner.append(name, bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let kind = match (name, self.appended) {
            (NEXT, _) => Sync::BeforeRename,
            (_, true) => Sync::AfterAppend,
            (_, false) => Sync::AtOpen,
        };
        self.sync_unless_skipped(kind, |disk| disk.sync(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.live()?;
        self.named = Named::Renamed;
        self.inner.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.live()?;
        self.inner.remove(name)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let kind = match self.named {
            Named::Nothing => Sync::FolderAtOpen,
            Named::Created => Sync::FolderAfterCreate,
            Named::Renamed => Sync::FolderAfterRename,
        };
        self.sync_unless_skipped(kind, SimulatedStorage::sync_folder)
    }
}

fn limits() -> Limits {
    Limits {
        // Compaction every few records.
        file: 700,
        ..Limits::default()
    }
}

fn machine() -> Machine {
    Machine::of("m")
}

/// What must be true after whatever happens.
struct Witness {
    disk: SimulatedDisk,
    skip: Option<Sync>,
    /// States that may be found: the last one that was durable, and those reached since.
    possible: Vec<State>,
    /// Processes whose *once* verb was allowed to act.
    acted: BTreeSet<String>,
    /// A journal was opened in good health before.
    had_one: bool,
    next_process: usize,
}

impl Witness {
    fn new(disk_seed: u64, skip: Option<Sync>) -> Self {
        Witness {
            disk: SimulatedDisk::new(disk_seed),
            skip,
            possible: vec![State::default()],
            acted: BTreeSet::new(),
            had_one: false,
            next_process: 0,
        }
    }

    /// Looks at what is there, then opens it as a process that may be killed.
    fn open(&mut self, life: Option<u64>) -> Result<Journal, String> {
        let (found, _) = peek(&mut self.disk.storage()).map_err(|error| error.to_string())?;
        if !self.possible.contains(&found) {
            return Err(format!("found {found:?}\nwhich is none of {:?}", self.possible));
        }
        if let Some(forgotten) = self.acted.iter().find(|id| found.begun_once(id).is_none()) {
            return Err(format!("forgot that {forgotten} began"));
        }
        let process = Process::new(&self.disk, self.skip, life);
        let opened = Journal::open(process, moment(5), &machine(), limits());
        let (journal, opening) = opened.map_err(|error| error.to_string())?;
        if opening.damage.is_some() || opening.missing {
            return Err(format!("a cut is not {opening:?}"));
        }
        if opening.fresh && self.had_one {
            return Err("the second first start".to_owned());
        }
        self.possible = vec![found];
        self.reached(&journal);
        if journal.health() == &Health::Good {
            self.durable(&journal);
            self.had_one = true;
        }
        Ok(journal)
    }

    fn reached(&mut self, journal: &Journal) {
        if self.possible.last() != Some(journal.state()) {
            self.possible.push(journal.state().clone());
        }
    }

    fn durable(&mut self, journal: &Journal) {
        self.possible = vec![journal.state().clone()];
    }

    /// One thing that an agent does. False once its process has no disk any more.
    fn act(&mut self, journal: &mut Journal, random: &mut SplitMix64) -> Result<bool, String> {
        let outcome = match random.below(12) {
            0..=4 => {
                // Mostly new processes, now and then one that began before.
                let number = if random.below(4) == 0 {
                    random.below(self.next_process + 1)
                } else {
                    self.next_process += 1;
                    self.next_process
                };
                let effect = [Effect::Once, Effect::Once, Effect::Set][random.below(3)];
                let begun = begun(attempt(number, random.below(2) as i64), effect);
                let id = begun.attempt.process_id.clone();
                let mut tried = journal.state().clone();
                tried.apply(Record::Begun(begun.clone()));
                self.possible.push(tried);
                match journal.begin(begun) {
                    Ok(()) => {
                        if effect == Effect::Once && !self.acted.insert(id.clone()) {
                            return Err(format!("{id} began twice"));
                        }
                        Ok(true)
                    }
                    Err(Refusal::NotWritable(_)) => Err(()),
                    Err(Refusal::AlreadyBegun(_)) if !self.acted.contains(&id) && !self.in_doubt(&id) => {
                        return Err(format!("{id} never began"));
                    }
                    Err(_) => Ok(false),
                }
            }
            5..=6 => {
                let unfinished = journal.state().unfinished();
                let attempt = match unfinished.len() {
                    0 => attempt(99, 0),
                    many => unfinished[random.below(many)].attempt.clone(),
                };
                let value = "v".repeat(random.below(60));
                let done = report(attempt, Close::Successful, &[&value, "w"]);
                journal
                    .append(Record::Result(done))
                    .map_err(|error| error.to_string())?;
                self.reached(journal);
                journal.sync().map(|()| true).map_err(|_| ())
            }
            7..=8 => {
                let waits = journal
                    .state()
                    .outbox()
                    .next()
                    .map(|report| report.attempt.clone());
                let attempt = waits.unwrap_or(attempt(1, 0));
                let record = match random.below(3) {
                    0 => Record::AttributeDelivered { attempt, index: 0 },
                    1 => Record::Delivered { attempt },
                    _ => Record::Moot {
                        attempt,
                        reason: "elsewhere".to_owned(),
                    },
                };
                journal.append(record).map_err(|error| error.to_string())?;
                Ok(false)
            }
            9 => {
                let record = samples::any_record(random);
                if !matches!(record, Record::Opened(_) | Record::Distrusted { .. }) {
                    journal.append(record).map_err(|error| error.to_string())?;
                }
                Ok(false)
            }
            10 => journal.sync().map(|()| true).map_err(|_| ()),
            // No room for a second file is no error, and then nothing was written.
            _ => {
                let compacted = journal.compact();
                compacted.map(|()| !journal.has_unsynced()).map_err(|_| ())
            }
        };
        self.reached(journal);
        if outcome == Ok(true) {
            self.durable(journal);
        }
        // As the keeper does.
        journal.tidy();
        self.reached(journal);
        Ok(outcome.is_ok())
    }

    /// Begun as far as a state knows that was perhaps found on the disk, or by a record that says so.
    fn in_doubt(&self, id: &str) -> bool {
        self.possible.iter().any(|state| state.begun_once(id).is_some())
    }

    /// Acts until the script is over or the disk is gone.
    fn live(&mut self, life: Option<u64>, script: u64, steps: usize) -> Result<(), String> {
        let mut random = SplitMix64(script);
        let mut journal = self.open(life)?;
        for _ in 0..steps {
            if !self.act(&mut journal, &mut random)? {
                break;
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        self.disk.cut();
        self.disk.restart();
    }
}

#[derive(Debug, Clone, Copy)]
enum End {
    Cut,
    Kill,
}

/// A life that ends at operation `at`, then another one, then a cut out of the blue. How many operations the first life
/// had, if it was not ended.
fn three_lives(
    script: u64,
    disk_seed: u64,
    end: End,
    at: u64,
    skip: Option<Sync>,
) -> Result<Option<u64>, String> {
    let mut witness = Witness::new(disk_seed, skip);
    // A life before, so that there is something to lose.
    if !script.is_multiple_of(3) {
        witness.live(None, script.wrapping_mul(31), 8)?;
        witness.cut();
    }
    let before = witness.disk.operations();
    let life = match end {
        End::Cut => {
            witness.disk.cut_after(at);
            None
        }
        End::Kill => Some(at),
    };
    witness.live(life, script, 14)?;
    let operations = witness.disk.operations() - before;
    let ended = match end {
        End::Cut => witness.disk.is_off(),
        End::Kill => operations == at,
    };
    if let End::Cut = end {
        witness.cut();
    }
    // What this one reads at open must survive a cut that comes right after, or after some more acts.
    witness.live(None, script ^ 0xabcd, (disk_seed % 4) as usize)?;
    witness.cut();
    witness.live(None, script ^ 0xdcba, 2)?;
    // A person, or a file system check, takes the journal away: that must be noticed.
    witness.cut();
    if peek(&mut witness.disk.storage()).is_ok_and(|(_, opening)| !opening.fresh) || witness.had_one {
        witness.disk.lose(FILE);
        let process = Process::new(&witness.disk, skip, None);
        let (journal, opening) =
            Journal::open(process, moment(5), &machine(), limits()).map_err(|error| error.to_string())?;
        let refused = journal.may_begin("new", Effect::Once, false);
        if !opening.missing || refused != Err(Refusal::Distrusted(Distrust::Missing)) {
            return Err(format!("a lost journal was not missed: {opening:?}"));
        }
    }
    Ok((!ended).then_some(operations))
}

/// Every cut and kill at every operation of some scripts; the first thing that goes wrong.
fn all_lives(scripts: u64, disks: u64, skip: Option<Sync>) -> Result<u64, String> {
    let mut runs = 0;
    for script in 0..scripts {
        for end in [End::Cut, End::Kill] {
            for at in 0.. {
                let mut over = false;
                for disk in 0..disks {
                    runs += 1;
                    let seed = script * 1009 + at * 31 + disk;
                    let outcome = three_lives(script, seed, end, at, skip)
                        .map_err(|what| format!("script {script}, {end:?} at {at}, disk {seed}: {what}"))?;
                    over |= outcome.is_some();
                }
                if over {
                    break;
                }
            }
        }
    }
    Ok(runs)
}

#[test]
fn nothing_synced_is_lost_and_nothing_else_appears_at_any_cut() {
    let runs = all_lives(12, 3, None).unwrap();
    assert!(runs > 1_500, "only {runs} runs");
}

#[test]
fn leaving_out_any_one_sync_is_noticed() {
    for skip in [
        Sync::AfterAppend,
        Sync::BeforeRename,
        Sync::FolderAfterRename,
        Sync::FolderAfterCreate,
        Sync::AtOpen,
        Sync::FolderAtOpen,
    ] {
        let outcome = all_lives(24, 4, Some(skip));
        assert!(outcome.is_err(), "nothing shows that {skip:?} is needed");
    }
    let put_aside = |skip| {
        (0..20).all(|seed| {
            let mut witness = Witness::new(seed, None);
            witness.live(None, 1, 8).unwrap();
            start_over(Process::new(&witness.disk, skip, None).as_mut()).unwrap();
            witness.cut();
            let other = Machine::of("another");
            Journal::open(
                Process::new(&witness.disk, None, None),
                moment(5),
                &other,
                limits(),
            )
            .is_ok()
        })
    };
    assert!(put_aside(None));
    assert!(!put_aside(Some(Sync::FolderAfterRename)));
}

#[test]
fn faults_that_heal_lose_nothing_either() {
    for seed in 0..250 {
        let mut random = SplitMix64(seed);
        let mut witness = Witness::new(seed, None);
        let mut journal = witness.open(None).unwrap();
        for _ in 0..6 {
            let fault = [Fault::Full, Fault::ReadOnly, Fault::Io][random.below(3)];
            witness.disk.fail_after(random.below(25) as u64, fault);
            for _ in 0..15 {
                if !witness.act(&mut journal, &mut random).unwrap() {
                    let refused = journal.may_begin("new", Effect::Set, false);
                    assert!(matches!(refused, Err(Refusal::NotWritable(_))), "seed {seed}");
                    assert_eq!(journal.may_begin("new", Effect::Read, false), Ok(()));
                }
            }
            if random.below(3) > 0 {
                witness.disk.heal();
                journal.retry().unwrap();
                assert_eq!(journal.health(), &Health::Good);
                witness.durable(&journal);
            } else {
                // It never got better.
                let _ = journal.retry();
                witness.disk.heal();
            }
            if random.below(2) == 0 {
                witness.cut();
                journal = witness
                    .open(None)
                    .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
                assert_eq!(journal.health(), &Health::Good, "seed {seed}");
            } else if journal.health() != &Health::Good {
                journal.retry().unwrap();
                witness.durable(&journal);
            }
        }
    }
}

#[test]
fn opening_on_a_failing_disk_and_a_cut_after_it_lose_nothing() {
    for seed in 0..600 {
        let mut random = SplitMix64(seed);
        let mut witness = Witness::new(seed, None);
        witness.live(None, seed, 10).unwrap();
        witness.cut();
        let fault = [Fault::Full, Fault::ReadOnly, Fault::Io][random.below(3)];
        witness.disk.fail_after(random.below(8) as u64, fault);
        let mut journal = witness
            .open(None)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        witness.act(&mut journal, &mut random).unwrap();
        witness.disk.heal();
        witness.cut();
        witness
            .live(None, seed, 3)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}
