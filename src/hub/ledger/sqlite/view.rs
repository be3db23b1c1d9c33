//! Reading. Every statement has an index for it, which a test of [`super`] looks after.

use rusqlite::params;

use super::SqliteStore;
use super::rows::{self, Boot, Micros};
use crate::clock::BootTime;
use crate::hub::ledger::{Record, StoreError, View};
use crate::protocol::model::{Attribute, Colony, ProcessState, Runtime, Statistics};
use crate::protocol::time::Time;

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) const ATTRIBUTES: &str = "SELECT attributes.*, processes.id AS target_id
    FROM attributes JOIN processes ON processes.seq = attributes.process";

impl SqliteStore {
    /// A runtime with its latest sign of life.
    fn live(&self, mut runtime: Runtime) -> Runtime {
        if let Some(heard) = self.heard.get(&runtime.id) {
            runtime.last_heard_from = *heard;
        }
        runtime
    }
}

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
