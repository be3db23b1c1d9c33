//! Writing, and when it reaches the disk.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{named_params, params};

use super::SqliteStore;
use super::rows::{self, Boot, Micros, Texts};
use crate::hub::ledger::memory::places;
use crate::hub::ledger::{Anchor, Change, Moment, Queue, Record, Store, StoreError, Untidy};

/// How long a sign of life may wait for company on its way to the disk (see [`Change::Heard`]).
const HEARD_MAY_WAIT: Duration = Duration::from_secs(60);

/// From so many pages in its log on it is worth copying them into the database: what SQLite itself would do within a commit, while
/// somebody waits for that (`PRAGMA wal_autocheckpoint`).
const CHECKPOINT_FROM: i32 = 1000;

/// So many pages are the most that wait for a quiet moment: 16 MB.
const CHECKPOINT_AT: i32 = 4 * CHECKPOINT_FROM;

/// Its place as SQLite keeps it.
fn place(record: &Record) -> i64 {
    i64::try_from(record.seq).unwrap_or(i64::MAX)
}

impl SqliteStore {
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
        self.at_places(record, "INSERT INTO queue VALUES (?1, ?2, ?3, ?4)")
    }

    fn leave(&mut self, record: &Record) -> Result<(), StoreError> {
        self.at_places(
            record,
            "DELETE FROM queue WHERE colony_id = ?1 AND runtime_type = ?2 AND target = ?3 AND seq = ?4",
        )
    }

    /// Does it to each of a process's places in the queue.
    fn at_places(&mut self, record: &Record, sql: &str) -> Result<(), StoreError> {
        let conditions = &record.process.spec.conditions;
        for target in places(record) {
            let key = params![
                conditions.colony_id,
                conditions.runtime_type,
                target,
                place(record)
            ];
            self.run(sql, key)?;
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
