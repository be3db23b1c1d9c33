//! The ledger on disk: SQLite in WAL mode, synced at every commit, one hub per database.

mod rows;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row};

use super::StoreError;
use crate::protocol::time::Time;

/// How hard a commit is pushed to the disk (`PRAGMA synchronous`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Synced at every commit: what is acknowledged survives a power cut.
    #[default]
    Full,
    /// Never synced. Only for showing that a test of durability can fail.
    Off,
}

/// How to open a database.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// The SQLite VFS to use instead of the system's, by name.
    pub vfs: Option<String>,
    /// How hard a commit is pushed to the disk.
    pub synchronous: Synchronous,
}

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another hub has it.
    #[error("another outpost-hub is using it: stop that one, or give this one its own data directory")]
    InUse,
    /// It was written by a later version.
    #[error(
        "it has version {version}, this program knows versions up to {known}: install the newer outpost-hub again, or restore a backup"
    )]
    Newer {
        /// Of the database.
        version: i64,
        /// Of this program.
        known: i64,
    },
    /// A database of something else.
    #[error("it is the database of another program: choose another data directory")]
    Foreign,
    /// No database, or a damaged one.
    #[error("it is damaged or no database ({0}): move it away, or restore a backup")]
    Damaged(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                OpenError::Damaged(error.to_string())
            }
            _ => OpenError::Other(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError(error.to_string())
    }
}

/// How long a new hub waits for one that is just going.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many prepared statements are kept; there are about 40.
const STATEMENTS: usize = 64;

/// A ledger in an SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    /// Signs of life that are not on disk yet.
    heard: HashMap<String, Time>,
    /// When the first of them came.
    heard_since: Option<Time>,
    /// Whether the open transaction has written anything.
    dirty: bool,
    /// Pages in the log that may not be in the database yet, as of the last commit.
    logged: Arc<AtomicI32>,
}

impl SqliteStore {
    /// Opens or creates a database, and brings it to this program's version.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = match &options.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
            None => Connection::open_with_flags(path, flags)?,
        };
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.busy_timeout(PATIENCE)?;
        // Before the first access: the lock is then taken once and kept, and the WAL needs no shared memory.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let level = match options.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Off => "OFF",
        };
        connection.pragma_update(None, "synchronous", level)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT;")?;
        schema::migrate(&mut connection)?;
        let logged = Arc::new(AtomicI32::new(0));
        let pages = logged.clone();
        // In the place of SQLite's own, which checkpoints within the commit.
        connection.wal_hook(Some(move |_: &mut Wal, count| {
            pages.store(count, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(SqliteStore {
            connection,
            path: path.to_owned(),
            heard: HashMap::new(),
            heard_since: None,
            dirty: false,
            logged,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row(params, read).optional()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn run(&mut self, sql: &str, params: impl Params) -> Result<(), StoreError> {
        self.dirty = true;
        self.connection.prepare_cached(sql)?.execute(params)?;
        Ok(())
    }
}
