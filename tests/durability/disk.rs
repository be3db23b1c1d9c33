//! A disk beneath SQLite that forgets what was not synced when its power is cut.
//!
//! It is an SQLite VFS (<https://www.sqlite.org/vfs.html>) over memory. Writes are seen at once, but survive a cut
//! for sure only after `xSync`; of the others any subset may survive, whole or torn at sector borders.
//! It has no shared memory, so WAL works in exclusive locking mode only.
#![allow(unsafe_code)] // an SQLite VFS is a table of C functions

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::ffi;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// A small pseudo-random generator (SplitMix64): the same seed cuts the same way.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes } => {
                if content.len() < at + bytes.len() {
                    content.resize(at + bytes.len(), 0);
                }
                content[*at..*at + bytes.len()].copy_from_slice(bytes);
            }
            Change::Truncate(size) => content.resize(*size, 0),
        }
    }
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it is after a cut, at least.
    durable: Vec<u8>,
    /// What changed since the last sync.
    pending: Vec<Change>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Content>,
    /// Writes and syncs until the power is cut.
    fuse: Option<u64>,
    cut: bool,
}

impl State {
    /// Counts an operation; `false` once the power is cut.
    fn operate(&mut self) -> bool {
        if self.fuse == Some(0) {
            self.cut = true;
        }
        if self.cut {
            return false;
        }
        self.fuse = self.fuse.map(|left| left - 1);
        true
    }
}

/// The disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the disk known to SQLite under a name, for the rest of the process.
    pub fn register(&self, name: &str) {
        // SAFETY: a default VFS is always there; what is registered is never freed, as SQLite demands.
        unsafe {
            let default = &*ffi::sqlite3_vfs_find(std::ptr::null());
            let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
                iVersion: 1,
                szOsFile: size_of::<File>() as c_int,
                mxPathname: default.mxPathname,
                pNext: std::ptr::null_mut(),
                zName: CString::new(name).unwrap().into_raw(),
                pAppData: Box::into_raw(Box::new(self.clone())).cast(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_pathname),
                xDlOpen: None,
                xDlError: None,
                xDlSym: None,
                xDlClose: None,
                ..*default
            }));
            assert_eq!(ffi::sqlite3_vfs_register(vfs, 0), ffi::SQLITE_OK);
        }
    }

    /// Cuts the power after so many more writes and syncs: from then on everything fails.
    pub fn cut_after(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// Whether the power is cut.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// Power is back: each file is what was synced, and of what was not any part.
    pub fn power_up(&self, random: &mut Random) {
        let mut state = self.state();
        for content in state.files.values_mut() {
            let mut kept = content.durable.clone();
            for change in std::mem::take(&mut content.pending) {
                match change {
                    Change::Write { at, bytes } => {
                        // Sector by sector: an unsynced write may be torn, and the drive reorders as it likes.
                        let keep = random.below(3);
                        let mut from = 0;
                        while from < bytes.len() {
                            let to = bytes.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                            if keep == 2 || keep == 1 && random.below(2) == 1 {
                                Change::Write {
                                    at: at + from,
                                    bytes: bytes[from..to].to_vec(),
                                }
                                .apply(&mut kept);
                            }
                            from = to;
                        }
                    }
                    Change::Truncate(_) if random.below(2) == 1 => change.apply(&mut kept),
                    Change::Truncate(_) => {}
                }
            }
            *content = Content {
                seen: kept.clone(),
                durable: kept,
                pending: Vec::new(),
            };
        }
        state.fuse = None;
        state.cut = false;
    }
}

#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    disk: *mut Disk,
    path: *mut String,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(no_lock),
    xUnlock: Some(no_lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

// SAFETY, for all that follow: SQLite calls them with the objects that `register` and `open` gave it, and with
// buffers of the sizes it says.

unsafe fn disk_of<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Disk {
    unsafe { &*(*vfs).pAppData.cast::<Disk>() }
}

unsafe fn text(path: *const c_char) -> String {
    unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned()
}

/// Runs `act` on the file's content, unless the power is cut.
unsafe fn with_content(
    file: *mut ffi::sqlite3_file,
    error: c_int,
    act: impl FnOnce(&mut Content) -> c_int,
) -> c_int {
    let file = unsafe { &*file.cast::<File>() };
    let (disk, path) = unsafe { (&*file.disk, &*file.path) };
    let mut state = disk.state();
    if state.cut {
        return error;
    }
    act(state.files.entry(path.clone()).or_default())
}

/// As [`with_content`], for what counts as an operation.
unsafe fn operate(file: *mut ffi::sqlite3_file, error: c_int, act: impl FnOnce(&mut Content)) -> c_int {
    let disk = unsafe { &*(*file.cast::<File>()).disk };
    if !disk.state().operate() {
        return error;
    }
    unsafe {
        with_content(file, error, |content| {
            act(content);
            ffi::SQLITE_OK
        })
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        (*file).pMethods = std::ptr::null();
        let disk = disk_of(vfs).clone();
        if disk.state().cut {
            return ffi::SQLITE_CANTOPEN;
        }
        static TEMPORARY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let path = if path.is_null() {
            format!(
                "temporary-{}",
                TEMPORARY.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            )
        } else {
            text(path)
        };
        if flags & ffi::SQLITE_OPEN_CREATE == 0 && !disk.state().files.contains_key(&path) {
            return ffi::SQLITE_CANTOPEN;
        }
        disk.state().files.entry(path.clone()).or_default();
        let file = &mut *file.cast::<File>();
        file.disk = Box::into_raw(Box::new(disk));
        file.path = Box::into_raw(Box::new(path));
        file.base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, _sync_folder: c_int) -> c_int {
    let mut state = unsafe { disk_of(vfs) }.state();
    if !state.operate() {
        return ffi::SQLITE_IOERR_DELETE;
    }
    match state.files.remove(&unsafe { text(path) }) {
        Some(_) => ffi::SQLITE_OK,
        None => ffi::SQLITE_IOERR_DELETE_NOENT,
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _flags: c_int,
    found: *mut c_int,
) -> c_int {
    let state = unsafe { disk_of(vfs) }.state();
    unsafe { *found = c_int::from(state.files.contains_key(&text(path))) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if bytes.len() > size as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let file = unsafe { &mut *file.cast::<File>() };
    unsafe {
        drop(Box::from_raw(file.disk));
        drop(Box::from_raw(file.path));
    }
    file.base.pMethods = std::ptr::null();
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, size: c_int, at: i64) -> c_int {
    let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), size as usize) };
    unsafe {
        with_content(file, ffi::SQLITE_IOERR_READ, |content| {
            let from = content.seen.get(at as usize..).unwrap_or_default();
            let there = from.len().min(to.len());
            to[..there].copy_from_slice(&from[..there]);
            to[there..].fill(0);
            if there == to.len() {
                ffi::SQLITE_OK
            } else {
                ffi::SQLITE_IOERR_SHORT_READ
            }
        })
    }
}

unsafe fn change(file: *mut ffi::sqlite3_file, error: c_int, change: Change) -> c_int {
    unsafe {
        operate(file, error, |content| {
            change.apply(&mut content.seen);
            content.pending.push(change);
        })
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, size: c_int, at: i64) -> c_int {
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size as usize) }.to_vec();
    unsafe {
        change(
            file,
            ffi::SQLITE_IOERR_WRITE,
            Change::Write {
                at: at as usize,
                bytes,
            },
        )
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    unsafe { change(file, ffi::SQLITE_IOERR_TRUNCATE, Change::Truncate(size as usize)) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    unsafe {
        operate(file, ffi::SQLITE_IOERR_FSYNC, |content| {
            content.durable.clone_from(&content.seen);
            content.pending.clear();
        })
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    unsafe {
        with_content(file, ffi::SQLITE_IOERR_FSTAT, |content| {
            *size = content.seen.len() as i64;
            ffi::SQLITE_OK
        })
    }
}

/// One process has this disk.
unsafe extern "C" fn no_lock(_file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_file: *mut ffi::sqlite3_file, locked: *mut c_int) -> c_int {
    unsafe { *locked = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _what: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR as c_int
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    0
}
