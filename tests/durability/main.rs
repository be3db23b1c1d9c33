//! Power cuts: what the hub acknowledged is there afterwards. `kill -9` can't show that, since the page cache
//! survives it; here a disk beneath SQLite forgets what was not synced.
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

mod disk;

use disk::{Disk, Random};
use rusqlite::{Connection, OpenFlags};

/// Opens a database on a disk, as the hub does: WAL, exclusive.
fn database(vfs: &str, synchronous: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let database = Connection::open_with_flags_and_vfs("plain.db", flags, vfs)?;
    database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String = database.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    assert_eq!(mode, "wal");
    database.pragma_update(None, "synchronous", synchronous)?;
    database.execute_batch("CREATE TABLE IF NOT EXISTS done (number INTEGER PRIMARY KEY, filling BLOB)")?;
    Ok(database)
}

/// Commits rows one by one until the power is cut; how many were acknowledged, and how many are there afterwards.
fn plain(seed: u64, synchronous: &str) -> (i64, i64) {
    let disk = Disk::default();
    let vfs = format!("plain-{synchronous}-{seed}");
    disk.register(&vfs);
    let mut random = Random(seed);
    let before = database(&vfs, synchronous).unwrap();
    disk.cut_after(random.below(300));
    let mut acknowledged = 0;
    while before
        .execute(
            "INSERT INTO done VALUES (?1, zeroblob(?2))",
            [acknowledged, i64::try_from(random.below(3000)).unwrap()],
        )
        .is_ok()
    {
        acknowledged += 1;
    }
    assert!(disk.is_cut());
    drop(before);
    disk.power_up(&mut random);
    let Ok(after) = database(&vfs, "FULL") else {
        return (acknowledged, 0);
    };
    let there = after
        .query_row("SELECT count(*) FROM done", [], |row| row.get(0))
        .unwrap_or(0);
    (acknowledged, there)
}

/// The disk itself, with SQLite alone: it forgets, and only what was not synced.
#[test]
fn the_disk_forgets_only_what_was_not_synced() {
    let mut forgotten = 0;
    for seed in 0..100 {
        let (acknowledged, there) = plain(seed, "FULL");
        assert!(
            there >= acknowledged,
            "seed {seed}: {acknowledged} acknowledged, {there} there"
        );
        let (acknowledged, there) = plain(seed, "OFF");
        forgotten += u64::from(there < acknowledged);
    }
    assert!(
        forgotten > 50,
        "without syncs only {forgotten} of 100 cuts lost anything"
    );
}
