//! The ledger on disk: SQLite in WAL mode, synced at every commit, one hub per database.

mod rows;
mod schema;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, Row, named_params, params};

use self::rows::{Boot, Micros, Texts};
use super::memory::places;
use super::{Anchor, Change, Moment, Queue, Record, Store, StoreError, Untidy, View};
use crate::clock::BootTime;
use crate::protocol::model::{Attribute, Colony, ProcessState, Runtime, Statistics};
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

/// How long a sign of life may wait for company on its way to the disk (see [`Change::Heard`]).
const HEARD_MAY_WAIT: Duration = Duration::from_secs(60);

/// How many prepared statements are kept; there are about 40.
const STATEMENTS: usize = 64;

/// From so many pages in its log on it is worth copying them into the database: what SQLite itself would do within a commit, while
/// somebody waits for that (`PRAGMA wal_autocheckpoint`).
const CHECKPOINT_FROM: i32 = 1000;

/// So many pages are the most that wait for a quiet moment: 16 MB.
const CHECKPOINT_AT: i32 = 4 * CHECKPOINT_FROM;

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

    /// A runtime with its latest sign of life.
    fn live(&self, mut runtime: Runtime) -> Runtime {
        if let Some(heard) = self.heard.get(&runtime.id) {
            runtime.last_heard_from = *heard;
        }
        runtime
    }

    fn flush_heard(&mut self) -> Result<(), StoreError> {
        for (id, time) in &self.heard {
            let mut statement = self
                .connection
                .prepare_cached("UPDATE runtimes SET heard = ?2 WHERE id = ?1")?;
            statement.execute(params![id, Micros(*time)])?;
        }
        Ok(())
    }

    fn write_clock(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO clock VALUES (1, ?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET stamp = ?1, boot = ?2, boot_id = ?3",
            params![
                Micros::ceil(anchor.moment.stamp),
                Boot(anchor.moment.boot),
                anchor.boot_id
            ],
        )
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.dirty = false;
        Ok(())
    }

    /// Copies the log into the database, and syncs that; the next commit begins the log anew.
    fn checkpoint(&mut self, mode: &str) -> Result<(), StoreError> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.connection.query_row(&sql, [], |_| Ok(()))?;
        self.logged.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn enter(&mut self, record: &Record) -> Result<(), StoreError> {
        let conditions = &record.process.spec.conditions;
        for target in places(record) {
            self.run(
                "INSERT INTO queue VALUES (?1, ?2, ?3, ?4)",
                params![
                    conditions.colony_id,
                    conditions.runtime_type,
                    target,
                    place(record)
                ],
            )?;
        }
        Ok(())
    }

    fn leave(&mut self, record: &Record) -> Result<(), StoreError> {
        let conditions = &record.process.spec.conditions;
        for target in places(record) {
            self.run(
                "DELETE FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3 AND seq = ?4",
                params![
                    conditions.colony_id,
                    conditions.runtime_type,
                    target,
                    place(record)
                ],
            )?;
        }
        Ok(())
    }

    fn add_process(&mut self, record: &Record) -> Result<(), StoreError> {
        let process = &record.process;
        let spec = &process.spec;
        self.run(
            "INSERT INTO processes VALUES (:seq, :id, :colony_id, :runtime_type, :targets, :dependencies, :name, :func,
                :args, :priority, :max_wait, :max_exec, :max_retries, :submitter, :submission_id, :submitted,
                :wait_deadline, :wait_due, :state, :assigned, :runtime_id, :started, :ended, :exec_deadline,
                :lease_due, :error, :retries, :moved, :due)",
            named_params! {
                ":seq": place(record),
                ":id": process.id,
                ":colony_id": spec.conditions.colony_id,
                ":runtime_type": spec.conditions.runtime_type,
                ":targets": Texts(&spec.conditions.runtime_ids[..]),
                ":dependencies": Texts(&spec.conditions.dependencies[..]),
                ":name": spec.name,
                ":func": spec.func,
                ":args": spec.args.as_deref().map(Texts),
                ":priority": spec.priority,
                ":max_wait": spec.max_wait_time,
                ":max_exec": spec.max_exec_time,
                ":max_retries": spec.max_retries,
                ":submitter": record.submitter,
                ":submission_id": record.submission_id,
                ":submitted": Micros(process.submission_time),
                ":wait_deadline": Micros(process.wait_deadline),
                ":wait_due": record.wait_due.map(Boot),
                ":state": rows::state_number(process.state),
                ":assigned": process.is_assigned,
                ":runtime_id": process.assigned_runtime_id,
                ":started": Micros(process.start_time),
                ":ended": Micros(process.end_time),
                ":exec_deadline": Micros(process.exec_deadline),
                ":lease_due": record.lease_due.map(Boot),
                ":error": process.error_message,
                ":retries": process.retries,
                ":moved": Micros(record.moved()),
                ":due": record.due().map(Boot),
            },
        )
    }

    fn put_process(&mut self, record: &Record) -> Result<(), StoreError> {
        let process = &record.process;
        self.run(
            "UPDATE processes SET state = :state, assigned = :assigned, runtime_id = :runtime_id, started = :started,
                ended = :ended, exec_deadline = :exec_deadline, lease_due = :lease_due, wait_due = :wait_due,
                error = :error, retries = :retries, moved = :moved, due = :due
             WHERE seq = :seq",
            named_params! {
                ":seq": place(record),
                ":state": rows::state_number(process.state),
                ":assigned": process.is_assigned,
                ":runtime_id": process.assigned_runtime_id,
                ":started": Micros(process.start_time),
                ":ended": Micros(process.end_time),
                ":exec_deadline": Micros(process.exec_deadline),
                ":lease_due": record.lease_due.map(Boot),
                ":wait_due": record.wait_due.map(Boot),
                ":error": process.error_message,
                ":retries": process.retries,
                ":moved": Micros(record.moved()),
                ":due": record.due().map(Boot),
            },
        )
    }
}

fn place(record: &Record) -> i64 {
    i64::try_from(record.seq).unwrap_or(i64::MAX)
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const ATTRIBUTES: &str = "SELECT attributes.*, processes.id AS target_id
    FROM attributes JOIN processes ON processes.seq = attributes.process";

impl View for SqliteStore {
    fn colony(&self, id: &str) -> Result<Option<Colony>, StoreError> {
        self.one("SELECT * FROM colonies WHERE id = ?1", [id], rows::colony)
    }

    fn colonies(&self) -> Result<Vec<Colony>, StoreError> {
        self.all("SELECT * FROM colonies ORDER BY age", [], rows::colony)
    }

    fn runtime(&self, id: &str) -> Result<Option<Runtime>, StoreError> {
        let runtime = self.one("SELECT * FROM runtimes WHERE id = ?1", [id], rows::runtime)?;
        Ok(runtime.map(|runtime| self.live(runtime)))
    }

    fn runtimes(&self, colony_id: &str) -> Result<Vec<Runtime>, StoreError> {
        let sql = "SELECT * FROM runtimes WHERE colony_id = ?1 ORDER BY age";
        let runtimes = self.all(sql, [colony_id], rows::runtime)?;
        Ok(runtimes.into_iter().map(|runtime| self.live(runtime)).collect())
    }

    fn record(&self, process_id: &str) -> Result<Option<Record>, StoreError> {
        self.one(
            "SELECT * FROM processes WHERE id = ?1",
            [process_id],
            rows::record,
        )
    }

    fn attributes(&self, process_id: &str) -> Result<Vec<Attribute>, StoreError> {
        let sql = format!("{ATTRIBUTES} WHERE processes.id = ?1 ORDER BY attributes.age");
        self.all(&sql, [process_id], rows::attribute)
    }

    fn attribute(&self, id: &str) -> Result<Option<Attribute>, StoreError> {
        let sql = format!("{ATTRIBUTES} WHERE attributes.id = ?1");
        self.one(&sql, [id], rows::attribute)
    }

    fn head(
        &self,
        colony_id: &str,
        runtime_type: &str,
        runtime_id: &str,
        latest: bool,
    ) -> Result<Option<Record>, StoreError> {
        // Two seeks into the queue's key, however long it is.
        let end = |target: &str| {
            let sql = match latest {
                true => {
                    "SELECT max(seq) FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3"
                }
                false => {
                    "SELECT min(seq) FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3"
                }
            };
            let found = self.one(sql, [colony_id, runtime_type, target], |row| {
                row.get::<_, Option<i64>>(0)
            });
            found.map(Option::flatten)
        };
        let ends = [end("*")?, end(runtime_id)?].into_iter().flatten();
        let seq = if latest { ends.max() } else { ends.min() };
        match seq {
            Some(seq) => self.one("SELECT * FROM processes WHERE seq = ?1", [seq], rows::record),
            None => Ok(None),
        }
    }

    fn first_due(&self) -> Result<Option<(BootTime, String)>, StoreError> {
        self.one(
            "SELECT due, id FROM processes WHERE due IS NOT NULL ORDER BY due, seq LIMIT 1",
            [],
            |row| Ok((row.get::<_, Boot>(0)?.0, row.get(1)?)),
        )
    }

    fn running_on(&self, runtime_id: &str) -> Result<Vec<Record>, StoreError> {
        self.all(
            "SELECT * FROM processes WHERE runtime_id = ?1 AND runtime_id <> '' AND state = 1 ORDER BY seq",
            [runtime_id],
            rows::record,
        )
    }

    fn newest(&self, colony_id: &str, state: ProcessState, count: usize) -> Result<Vec<Record>, StoreError> {
        self.all(
            "SELECT * FROM processes INDEXED BY processes_newest WHERE colony_id = ?1 AND state = ?2
             ORDER BY moved DESC, seq DESC LIMIT ?3",
            params![colony_id, rows::state_number(state), limit(count)],
            rows::record,
        )
    }

    fn history(
        &self,
        colony_id: &str,
        runtime_id: Option<&str>,
        state: ProcessState,
        since: Time,
        count: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (state, since, count) = (rows::state_number(state), Micros(since), limit(count));
        match runtime_id {
            None => self.all(
                "SELECT * FROM processes INDEXED BY processes_history
                 WHERE colony_id = ?1 AND state = ?2 AND submitted >= ?3
                 ORDER BY submitted DESC, seq DESC LIMIT ?4",
                params![colony_id, state, since, count],
                rows::record,
            ),
            Some(runtime_id) => self.all(
                "SELECT * FROM processes INDEXED BY processes_on
                 WHERE runtime_id = ?5 AND runtime_id <> '' AND state = ?2 AND colony_id = ?1 AND submitted >= ?3
                 ORDER BY seq DESC LIMIT ?4",
                params![colony_id, state, since, count, runtime_id],
                rows::record,
            ),
        }
    }

    fn submission(
        &self,
        colony_id: &str,
        submitter: &str,
        submission_id: &str,
    ) -> Result<Option<Record>, StoreError> {
        self.one(
            "SELECT * FROM processes WHERE colony_id = ?1 AND submitter = ?2 AND submission_id = ?3",
            [colony_id, submitter, submission_id],
            rows::record,
        )
    }

    fn statistics(&self, colony_id: Option<&str>) -> Result<Statistics, StoreError> {
        let counts = self.all(
            "SELECT state, sum(n) FROM counts WHERE ?1 IS NULL OR colony_id = ?1 GROUP BY state",
            [colony_id],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let count = |state: i64| counts.iter().find(|(of, _)| *of == state).map_or(0, |(_, n)| *n);
        let number = |sql: &str| {
            let found = self.one(sql, [colony_id], |row| row.get::<_, i64>(0));
            found.map(Option::unwrap_or_default)
        };
        Ok(Statistics {
            colonies: number("SELECT count(*) FROM colonies WHERE ?1 IS NULL OR id = ?1")?,
            runtimes: number("SELECT count(*) FROM runtimes WHERE ?1 IS NULL OR colony_id = ?1")?,
            waiting_processes: count(0),
            running_processes: count(1),
            successful_processes: count(2),
            failed_processes: count(3),
            ..Statistics::default()
        })
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        let last = self.one("SELECT max(seq) FROM processes", [], |row| {
            row.get::<_, Option<i64>>(0)
        })?;
        Ok(last
            .flatten()
            .and_then(|seq| u64::try_from(seq).ok())
            .unwrap_or_default())
    }

    fn with_deadlines(&self) -> Result<Vec<Record>, StoreError> {
        self.all(
            "SELECT * FROM processes WHERE state IN (0, 1) AND (wait_due IS NOT NULL OR lease_due IS NOT NULL)
             ORDER BY seq",
            [],
            rows::record,
        )
    }
}

impl Store for SqliteStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.dirty = false;
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(())
    }

    fn write(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::AddColony(colony) => self.run(
                "INSERT INTO colonies (id, name) VALUES (?1, ?2)",
                params![colony.id, colony.name],
            ),
            Change::DeleteColony(id) => {
                self.run("DELETE FROM queue WHERE colony_id = ?1", [id])?;
                self.run("DELETE FROM processes WHERE colony_id = ?1", [id])?;
                self.run("DELETE FROM colonies WHERE id = ?1", [id])?;
                self.run("DELETE FROM counts WHERE colony_id = ?1", [id])
            }
            Change::PutRuntime(runtime) => {
                self.heard.remove(&runtime.id);
                self.run(
                    "INSERT INTO runtimes (id, colony_id, runtime_type, name, cpu, cores, mem, gpu, gpus, state,
                        commissioned, heard)
                     VALUES (:id, :colony_id, :runtime_type, :name, :cpu, :cores, :mem, :gpu, :gpus, :state,
                        :commissioned, :heard)
                     ON CONFLICT (id) DO UPDATE SET state = :state, heard = :heard",
                    named_params! {
                        ":id": runtime.id,
                        ":colony_id": runtime.colony_id,
                        ":runtime_type": runtime.runtime_type,
                        ":name": runtime.name,
                        ":cpu": runtime.cpu,
                        ":cores": runtime.cores,
                        ":mem": runtime.mem,
                        ":gpu": runtime.gpu,
                        ":gpus": runtime.gpus,
                        ":state": rows::runtime_state_number(runtime.state),
                        ":commissioned": Micros(runtime.commission_time),
                        ":heard": Micros(runtime.last_heard_from),
                    },
                )
            }
            Change::DeleteRuntime(id) => self.run("DELETE FROM runtimes WHERE id = ?1", [id]),
            Change::Heard { runtime_id, time } => {
                self.heard_since.get_or_insert(*time);
                self.heard.insert(runtime_id.clone(), *time);
                Ok(())
            }
            Change::AddProcess(record) => {
                self.add_process(record)?;
                self.enter(record)
            }
            Change::PutProcess { record, queue } => {
                self.put_process(record)?;
                match queue {
                    Queue::Enter => self.enter(record),
                    Queue::Leave => self.leave(record),
                    Queue::Stay => Ok(()),
                }
            }
            Change::DeleteProcess { record, queue } => {
                if *queue == Queue::Leave {
                    self.leave(record)?;
                }
                self.run("DELETE FROM processes WHERE seq = ?1", [place(record)])
            }
            Change::DeleteProcesses(colony_id) => {
                self.run("DELETE FROM queue WHERE colony_id = ?1", [colony_id])?;
                self.run("DELETE FROM processes WHERE colony_id = ?1", [colony_id])
            }
            Change::AddAttribute(attribute) => {
                let (kind, known) = rows::kind_number(attribute.kind);
                self.run(
                    "INSERT INTO attributes (id, process, target_colony_id, known, kind, key, value)
                     VALUES (?1, (SELECT seq FROM processes WHERE id = ?2), ?3, ?4, ?5, ?6, ?7)",
                    params![
                        attribute.id,
                        attribute.target_id,
                        attribute.target_colony_id,
                        known,
                        kind,
                        attribute.key,
                        attribute.value
                    ],
                )
            }
        }
    }

    fn commit(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        let waited = self
            .heard_since
            .and_then(|first| anchor.moment.stamp.since(first))
            .is_some_and(|age| age >= HEARD_MAY_WAIT);
        if !self.dirty && !waited {
            // Nothing to write: this costs no sync.
            return self.end();
        }
        self.flush_heard()?;
        self.write_clock(anchor)?;
        self.end()?;
        self.heard.clear();
        self.heard_since = None;
        Ok(())
    }

    fn rollback(&mut self) {
        self.dirty = false;
        // After some errors SQLite has rolled back by itself.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "can't roll back");
        }
    }

    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        self.one("SELECT stamp, boot, boot_id FROM clock", [], |row| {
            Ok(Anchor {
                moment: Moment {
                    stamp: row.get::<_, Micros>(0)?.0,
                    boot: row.get::<_, Boot>(1)?.0,
                },
                boot_id: row.get(2)?,
            })
        })
    }

    fn untidy(&self) -> Untidy {
        match self.logged.load(Ordering::Relaxed) {
            ..CHECKPOINT_FROM => Untidy::No,
            CHECKPOINT_FROM..CHECKPOINT_AT => Untidy::SomeTime,
            CHECKPOINT_AT.. => Untidy::Now,
        }
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        self.checkpoint("PASSIVE")
    }

    fn finish(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        self.begin()?;
        self.dirty = true;
        self.commit(anchor)?;
        self.checkpoint("TRUNCATE")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ledger::resume;
    use crate::hub::testing::HandClock;

    fn open(path: &Path) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(path, &OpenOptions::default())
    }

    fn database() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hub.db");
        (dir, path)
    }

    #[test]
    fn an_empty_database_is_brought_to_the_present_version_and_keeps_what_it_gets() {
        let (_dir, path) = database();
        // Version 0: there, but without tables.
        Connection::open(&path).unwrap().execute_batch("VACUUM").unwrap();
        let mut store = open(&path).unwrap();
        let clock = resume(&mut store, HandClock::new()).unwrap();
        let colony = Colony {
            id: "c".into(),
            name: "räksmörgås".into(),
        };
        store.begin().unwrap();
        store.write(&Change::AddColony(colony.clone())).unwrap();
        store.commit(&clock.anchor()).unwrap();
        drop(store);
        let store = open(&path).unwrap();
        assert_eq!(store.colonies().unwrap(), [colony]);
        let version: i64 = store
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, schema::MIGRATIONS.len() as i64);
    }

    #[test]
    fn it_is_as_durable_as_promised() {
        let (_dir, path) = database();
        let store = open(&path).unwrap();
        let pragma = |name| {
            let value = |row: &Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            store.connection.pragma_query_value(None, name, value).unwrap()
        };
        assert_eq!(pragma("synchronous"), 2.into());
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
        assert_eq!(pragma("locking_mode"), "exclusive".to_owned().into());
        assert_eq!(pragma("foreign_keys"), 1.into());
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let (_dir, path) = database();
        let next = schema::MIGRATIONS.len() as i64 + 1;
        drop(open(&path).unwrap());
        let bump = |version| {
            let raw = Connection::open(&path).unwrap();
            raw.pragma_update(None, "user_version", version).unwrap();
        };
        bump(next);
        let error = open(&path).unwrap_err();
        assert!(matches!(&error, OpenError::Newer { version, .. } if *version == next));
        assert!(error.to_string().contains("install the newer"), "{error}");
        bump(next - 1);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn what_is_no_hubs_database_is_refused() {
        let (_dir, path) = database();
        std::fs::write(&path, "garbage, and certainly no database at all. ".repeat(200)).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{error:?}");
        assert!(error.to_string().contains("restore a backup"), "{error}");

        let (_dir, path) = database();
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(raw);
        assert!(matches!(open(&path).unwrap_err(), OpenError::Foreign));
    }

    #[test]
    fn a_second_hub_is_refused_while_the_first_runs() {
        let (_dir, path) = database();
        let first = open(&path).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenError::InUse), "{error:?}");
        assert!(error.to_string().contains("its own data directory"), "{error}");
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn no_read_or_write_of_the_hot_path_scans() {
        let (_dir, path) = database();
        let store = open(&path).unwrap();
        for sql in [
            "SELECT min(seq) FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3",
            "SELECT max(seq) FROM processes",
            "SELECT due, id FROM processes WHERE due IS NOT NULL ORDER BY due, seq LIMIT 1",
            "SELECT * FROM processes WHERE runtime_id = ?1 AND runtime_id <> '' AND state = 1 ORDER BY seq",
            "SELECT * FROM processes WHERE colony_id = ?1 AND submitter = ?2 AND submission_id = ?3",
            "SELECT * FROM processes INDEXED BY processes_newest WHERE colony_id = ?1 AND state = ?2
             ORDER BY moved DESC, seq DESC LIMIT ?3",
            "SELECT * FROM processes INDEXED BY processes_history
             WHERE colony_id = ?1 AND state = ?2 AND submitted >= ?3
             ORDER BY submitted DESC, seq DESC LIMIT ?4",
            "SELECT * FROM processes INDEXED BY processes_on
             WHERE runtime_id = ?5 AND runtime_id <> '' AND state = ?2 AND colony_id = ?1 AND submitted >= ?3
             ORDER BY seq DESC LIMIT ?4",
            "SELECT * FROM processes WHERE id = ?1",
            &format!("{ATTRIBUTES} WHERE processes.id = ?1 ORDER BY attributes.age"),
            "DELETE FROM processes WHERE seq = ?1",
            "DELETE FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3 AND seq = ?4",
            "UPDATE counts SET n = n - 1 WHERE colony_id = ?1 AND state = ?2",
        ] {
            let mut statement = store
                .connection
                .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let count = statement.parameter_count();
            let nothing = vec![rusqlite::types::Null; count];
            let plan =
                statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3));
            for line in plan.unwrap() {
                let line = line.unwrap();
                // Walking an index in its order until a limit is no scan.
                let walk = line.starts_with("SCAN processes USING") && sql.contains("LIMIT 1");
                assert!(walk || line.starts_with("SEARCH"), "{sql}\n{line}");
            }
        }
    }
}
