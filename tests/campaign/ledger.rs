//! What the hub's ledger says. The hub keeps only how a process stands now; a trigger in its database keeps every change,
//! in the same commits.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// To be added while the hub is stopped: it locks its database.
const WITNESS: &str = "
CREATE TABLE campaign (
    id TEXT NOT NULL, was INTEGER NOT NULL, state INTEGER NOT NULL, runtime_id TEXT NOT NULL, retries INTEGER NOT NULL,
    at INTEGER NOT NULL, ran_out INTEGER NOT NULL, undone INTEGER NOT NULL
);
CREATE TRIGGER campaign_sees AFTER UPDATE OF state ON processes WHEN old.state <> new.state BEGIN
    INSERT INTO campaign VALUES (
        new.id, old.state, new.state,
        CASE new.state WHEN 1 THEN new.runtime_id ELSE old.runtime_id END,
        new.retries,
        CASE
            WHEN new.state = 1 THEN new.started
            WHEN new.ended <> old.ended THEN new.ended
            ELSE CAST(unixepoch('subsec') * 1000000 AS INTEGER)
        END,
        new.state = 3 AND new.error = 'Maximum execution time limit exceeded',
        new.state = 0 AND new.retries = old.retries
    );
END;
";

/// Makes the hub's database remember. The hub must be stopped.
pub fn watch(database: &Path) {
    Connection::open(database)
        .unwrap()
        .execute_batch(WITNESS)
        .unwrap();
}

/// Why a process left a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Closed as successful.
    Successful,
    /// Closed as failed.
    Failed,
    /// Its lease ended, and it went back to the queue.
    Requeued,
    /// Its last lease ended.
    RanOut,
    /// The hub took the assignment back, since nobody was there to take it.
    Undone,
}

/// From an assignment to its end, nanoseconds since 1970.
#[derive(Debug, Clone)]
pub struct Held {
    pub runtime_id: String,
    pub from: i128,
    /// `None`: still.
    pub to: Option<(i128, Left)>,
}

/// One process from beginning to end.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub held: Vec<Held>,
    pub is_final: bool,
    /// It changed after it was final.
    pub rewritten: bool,
    pub error: String,
    pub retries: i64,
}

/// Reads what the hub left.
pub fn read(database: &Path) -> BTreeMap<String, Story> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut stories = BTreeMap::new();
    let mut all = connection
        .prepare("SELECT id, state, error, retries FROM processes")
        .unwrap();
    let mut rows = all.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let story = Story {
            is_final: row.get::<_, i64>(1).unwrap() >= 2,
            error: row.get(2).unwrap(),
            retries: row.get(3).unwrap(),
            ..Story::default()
        };
        stories.insert(row.get::<_, String>(0).unwrap(), story);
    }
    let mut changes = connection
        .prepare("SELECT id, was, state, runtime_id, at, ran_out, undone FROM campaign ORDER BY rowid")
        .unwrap();
    let mut rows = changes.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let story = stories.get_mut(&row.get::<_, String>(0).unwrap()).unwrap();
        let (was, state): (i64, i64) = (row.get(1).unwrap(), row.get(2).unwrap());
        let at = i128::from(row.get::<_, i64>(4).unwrap()) * 1_000;
        story.rewritten |= was >= 2;
        if was == 1
            && let Some(held) = story.held.last_mut()
        {
            let left = match state {
                2 => Left::Successful,
                _ if row.get(6).unwrap() => Left::Undone,
                0 => Left::Requeued,
                _ if row.get(5).unwrap() => Left::RanOut,
                _ => Left::Failed,
            };
            held.to = Some((at, left));
        }
        if state == 1 {
            story.held.push(Held {
                runtime_id: row.get(3).unwrap(),
                from: at,
                to: None,
            });
        }
    }
    stories
}
