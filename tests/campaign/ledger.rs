//! What the hub's ledger says. The hub keeps only how a process stands now; a trigger in its database keeps every change,
//! in the same commits.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// How exact the ledger's stamps are, nanoseconds: microseconds, milliseconds where it undid an assignment or deleted.
pub const STAMP: i128 = 2_000_000;
/// What the trigger writes as the state of a process that was deleted.
const DELETED: i64 = -1;

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
CREATE TRIGGER campaign_sees_deletion AFTER DELETE ON processes BEGIN
    INSERT INTO campaign VALUES (
        old.id, old.state, -1, old.runtime_id, old.retries, CAST(unixepoch('subsec') * 1000000 AS INTEGER), 0, 0
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
    /// The process was deleted, which nobody tells the agent.
    Deleted,
}

/// From an assignment to its end, nanoseconds since 1970.
#[derive(Debug, Clone)]
pub struct Held {
    pub runtime_id: String,
    pub from: i128,
    /// `None`: still.
    pub to: Option<(i128, Left)>,
}

impl Held {
    /// Whether it was held at a moment, as exactly as the ledger can tell.
    pub fn contains(&self, at: i128) -> bool {
        let to = self.to.map_or(i128::MAX, |(to, _)| to + STAMP);
        (self.from - STAMP..=to).contains(&at)
    }
}

/// One process from beginning to end.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub id: String,
    pub held: Vec<Held>,
    pub is_final: bool,
    /// When it was deleted, if it was.
    pub deleted: Option<i128>,
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
        let id: String = row.get(0).unwrap();
        let story = Story {
            id: id.clone(),
            is_final: row.get::<_, i64>(1).unwrap() >= 2,
            error: row.get(2).unwrap(),
            retries: row.get(3).unwrap(),
            ..Story::default()
        };
        stories.insert(id, story);
    }
    let mut changes = connection
        .prepare("SELECT id, was, state, runtime_id, at, ran_out, undone FROM campaign ORDER BY rowid")
        .unwrap();
    let mut rows = changes.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let id: String = row.get(0).unwrap();
        // One that was deleted has nothing but its changes.
        let story = stories.entry(id.clone()).or_default();
        story.id = id;
        let (was, state): (i64, i64) = (row.get(1).unwrap(), row.get(2).unwrap());
        let at = i128::from(row.get::<_, i64>(4).unwrap()) * 1_000;
        if state == DELETED {
            story.deleted = Some(at);
        } else {
            story.rewritten |= was >= 2;
        }
        if was == 1
            && let Some(held) = story.held.last_mut()
        {
            let left = match state {
                DELETED => Left::Deleted,
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
