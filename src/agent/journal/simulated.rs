//! A disk that forgets what was not synced when its power is cut, and that can fail.
//!
//! At a cut each file keeps what was synced and any prefix of what was written after, and the folder any prefix of what
//! happened to its names since it was synced. A sync that fails loses what it should have written for good, although it
//! still reads back: as Linux does, a later sync succeeds and brings nothing back.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::storage::Storage;

/// A small pseudo-random generator (SplitMix64): the same seed, the same numbers.
#[derive(Debug, Clone)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % bound).unwrap_or(0)
    }
}

/// How a simulated disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC: of an append a part may still find room.
    Full,
    /// EROFS.
    ReadOnly,
    /// EIO, on every operation that writes or syncs.
    Io,
    /// EIO, on reading as well.
    Unreadable,
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Fault::Full => rustix::io::Errno::NOSPC.raw_os_error(),
            Fault::ReadOnly => rustix::io::Errno::ROFS.raw_os_error(),
            Fault::Io | Fault::Unreadable => rustix::io::Errno::IO.raw_os_error(),
        })
    }
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it is after a cut, at least.
    durable: Vec<u8>,
    /// What is written and not synced: to be appended to `durable`.
    unsynced: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Change {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct Disk {
    /// Files, named or not, by number.
    contents: Vec<Content>,
    /// Names as programs see them.
    seen: BTreeMap<String, usize>,
    /// Names as they are after a cut, at least.
    durable: BTreeMap<String, usize>,
    /// What happened to names since the folder was synced.
    unsynced: Vec<Change>,
    random: SplitMix64,
    operations: u64,
    written: u64,
    cut_at: Option<u64>,
    off: bool,
    fault: Option<(u64, Fault)>,
    /// Handles of an earlier power-on answer nothing any more.
    power_on: u64,
}

/// The disk itself: cuts its power, makes it fail, hands out [`SimulatedStorage`].
#[derive(Debug, Clone)]
pub struct SimulatedDisk(Arc<Mutex<Disk>>);

impl SimulatedDisk {
    /// An empty disk. The same seed forgets the same things.
    pub fn new(seed: u64) -> Self {
        SimulatedDisk(Arc::new(Mutex::new(Disk {
            contents: Vec::new(),
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            random: SplitMix64(seed),
            operations: 0,
            written: 0,
            cut_at: None,
            off: false,
            fault: None,
            power_on: 0,
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder on it.
    pub fn storage(&self) -> SimulatedStorage {
        SimulatedStorage {
            power_on: self.disk().power_on,
            disk: self.clone(),
        }
    }

    /// Another disk with the same files, all of them durable: a cloned card.
    #[must_use]
    pub fn duplicate(&self) -> SimulatedDisk {
        let disk = self.disk();
        let copy = SimulatedDisk::new(disk.random.0);
        {
            let mut new = copy.disk();
            for (name, &at) in &disk.seen {
                let bytes = disk.contents[at].seen.clone();
                let number = new.contents.len();
                new.contents.push(Content {
                    durable: bytes.clone(),
                    seen: bytes,
                    unsynced: Vec::new(),
                });
                new.seen.insert(name.clone(), number);
                new.durable.insert(name.clone(), number);
            }
        }
        copy
    }

    /// How many operations that could change something (all but reading) were asked for.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// How many bytes were written.
    pub fn bytes_written(&self) -> u64 {
        self.disk().written
    }

    /// Cuts the power when so many more operations have been done; the one after them and everything later fails.
    pub fn cut_after(&self, operations: u64) {
        let mut disk = self.disk();
        disk.cut_at = Some(disk.operations + operations);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.disk().off
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.disk().off = true;
    }

    /// The power is back: what was not synced is gone, as far as chance wants it. Earlier handles stay dead.
    pub fn restart(&self) {
        self.disk().restart();
    }

    /// Fails, when so many more operations have been done, until [`SimulatedDisk::heal`].
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut disk = self.disk();
        disk.fault = Some((disk.operations + operations, fault));
    }

    /// Works again.
    pub fn heal(&self) {
        self.disk().fault = None;
    }

    /// Takes a file away durably, behind everybody's back: as a file system check, or a person, would.
    pub fn lose(&self, name: &str) {
        let mut disk = self.disk();
        disk.seen.remove(name);
        disk.durable.remove(name);
    }

    /// Changes a file's bytes durably, behind everybody's back: as a dying card, or a person, would.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        if let Some(&at) = disk.seen.get(name) {
            let content = &mut disk.contents[at];
            change(&mut content.seen);
            content.durable = content.seen.clone();
            content.unsynced.clear();
        }
    }

    /// A file's bytes as programs see them.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.seen.get(name).map(|&at| disk.contents[at].seen.clone())
    }
}

impl Disk {
    fn restart(&mut self) {
        let keep = self.random.below(self.unsynced.len() + 1);
        for change in std::mem::take(&mut self.unsynced).into_iter().take(keep) {
            apply(&mut self.durable, &change);
        }
        for content in &mut self.contents {
            let keep = self.random.below(content.unsynced.len() + 1);
            content.durable.extend_from_slice(&content.unsynced[..keep]);
            content.unsynced.clear();
            content.seen.clone_from(&content.durable);
        }
        self.seen.clone_from(&self.durable);
        self.cut_at = None;
        self.off = false;
        self.power_on += 1;
    }

    /// Counts an operation, and whether it fails.
    fn operate(&mut self) -> Result<(), Option<Fault>> {
        if self.cut_at.is_some_and(|at| self.operations >= at) {
            self.off = true;
        }
        if self.off {
            return Err(None);
        }
        self.operations += 1;
        match self.fault {
            Some((from, fault)) if self.operations > from => Err(Some(fault)),
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Content> {
        let at = *self.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.contents[at])
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Create(name, at) => {
            names.insert(name.clone(), *at);
        }
        Change::Rename(from, to) => {
            if let Some(at) = names.remove(from) {
                names.insert(to.clone(), at);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

fn failed(why: Option<Fault>) -> io::Error {
    why.map_or_else(|| io::Error::other("the power is off"), Fault::error)
}

/// The folder on a [`SimulatedDisk`], as one program has it.
#[derive(Debug)]
pub struct SimulatedStorage {
    disk: SimulatedDisk,
    power_on: u64,
}

impl SimulatedStorage {
    fn disk(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.disk();
        if disk.power_on == self.power_on {
            Ok(disk)
        } else {
            Err(failed(None))
        }
    }
}

impl Storage for SimulatedStorage {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let disk = self.disk()?;
        if disk.off {
            return Err(failed(None));
        }
        if let Some((from, Fault::Unreadable)) = disk.fault
            && disk.operations >= from
        {
            return Err(Fault::Unreadable.error());
        }
        Ok(disk.seen.get(name).map(|&at| disk.contents[at].seen.clone()))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operate().map_err(failed)?;
        let at = disk.contents.len();
        disk.contents.push(Content::default());
        disk.change(Change::Create(name.to_owned(), at));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk()?;
        let outcome = disk.operate();
        let written = match outcome {
            Ok(()) => bytes.len(),
            // A write that was under way when the power went, or when the disk was full, may have got anywhere.
            Err(None | Some(Fault::Full)) => disk.random.below(bytes.len() + 1),
            Err(Some(_)) => 0,
        };
        disk.written += written as u64;
        let file = disk.file(name)?;
        file.seen.extend_from_slice(&bytes[..written]);
        file.unsynced.extend_from_slice(&bytes[..written]);
        outcome.map_err(failed)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        let outcome = disk.operate();
        let file = disk.file(name)?;
        match outcome {
            Ok(()) => {
                let unsynced = std::mem::take(&mut file.unsynced);
                file.durable.extend_from_slice(&unsynced);
            }
            Err(None) => {}
            // The pages are marked clean without having been written: they read back until the power is cut.
            Err(Some(_)) => {
                let lost = std::mem::take(&mut file.unsynced).len();
                file.durable.resize(file.durable.len() + lost, 0);
            }
        }
        outcome.map_err(failed)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operate().map_err(failed)?;
        disk.file(from)?;
        disk.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operate().map_err(failed)?;
        disk.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut disk = self.disk()?;
        disk.operate().map_err(failed)?;
        for change in std::mem::take(&mut disk.unsynced) {
            apply(&mut disk.durable, &change);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(runs: u64, act: impl Fn(&mut SimulatedStorage)) -> Vec<Option<usize>> {
        let mut seen: Vec<Option<usize>> = (0..runs)
            .map(|seed| {
                let disk = SimulatedDisk::new(seed);
                act(&mut disk.storage());
                disk.cut();
                disk.restart();
                disk.content("a").map(|bytes| bytes.len())
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    #[test]
    fn any_prefix_of_what_was_not_synced_survives() {
        let every = lengths(200, |disk| {
            disk.create("a").unwrap();
            disk.sync_folder().unwrap();
            disk.append("a", b"12").unwrap();
            disk.sync("a").unwrap();
            disk.append("a", b"345").unwrap();
        });
        assert_eq!(every, [Some(2), Some(3), Some(4), Some(5)]);
    }

    #[test]
    fn a_name_survives_for_sure_only_with_the_folder() {
        let every = lengths(200, |disk| {
            disk.create("a").unwrap();
            disk.append("a", b"12").unwrap();
            disk.sync("a").unwrap();
        });
        assert_eq!(every, [None, Some(2)]);
        let renamed = lengths(200, |disk| {
            disk.create("a").unwrap();
            disk.sync_folder().unwrap();
            disk.create("b").unwrap();
            disk.append("b", b"1").unwrap();
            disk.sync("b").unwrap();
            disk.rename("b", "a").unwrap();
        });
        assert_eq!(
            renamed,
            [Some(0), Some(1)],
            "the old one or the new one, never none"
        );
    }

    #[test]
    fn a_sync_that_failed_is_not_made_good_by_another() {
        let disk = SimulatedDisk::new(1);
        let mut storage = disk.storage();
        storage.create("a").unwrap();
        storage.sync_folder().unwrap();
        storage.append("a", b"12").unwrap();
        disk.fail_after(0, Fault::Io);
        assert!(storage.sync("a").is_err());
        disk.heal();
        storage.sync("a").unwrap();
        assert_eq!(storage.read("a").unwrap().unwrap(), b"12");
        disk.cut();
        disk.restart();
        assert_eq!(disk.content("a").unwrap(), b"\0\0");
    }

    #[test]
    fn a_cut_ends_every_handle() {
        let disk = SimulatedDisk::new(1);
        let mut storage = disk.storage();
        disk.cut_after(1);
        storage.create("a").unwrap();
        assert!(storage.append("a", b"1").is_err() && disk.is_off());
        assert!(storage.read("a").is_err());
        disk.restart();
        assert!(storage.create("b").is_err(), "a program of before the cut");
        assert!(disk.storage().create("b").is_ok());
    }

    #[test]
    fn a_duplicate_has_what_was_there_and_goes_its_own_way() {
        let disk = SimulatedDisk::new(1);
        let mut storage = disk.storage();
        storage.create("a").unwrap();
        storage.append("a", b"1").unwrap();
        let copy = disk.duplicate();
        storage.append("a", b"2").unwrap();
        copy.storage().append("a", b"3").unwrap();
        copy.cut();
        copy.restart();
        let content = copy.content("a").unwrap();
        assert!(
            content == b"1" || content == b"13",
            "what it had was durable: {content:?}"
        );
        assert_eq!(disk.content("a").unwrap(), b"12");
    }

    #[test]
    fn faults_are_those_of_the_system() {
        for (fault, kind) in [
            (Fault::Full, io::ErrorKind::StorageFull),
            (Fault::ReadOnly, io::ErrorKind::ReadOnlyFilesystem),
        ] {
            let disk = SimulatedDisk::new(1);
            let mut storage = disk.storage();
            storage.create("a").unwrap();
            disk.fail_after(1, fault);
            storage.append("a", b"1").unwrap();
            assert_eq!(storage.append("a", b"234").unwrap_err().kind(), kind);
            assert!(storage.read("a").unwrap().is_some());
        }
    }
}
