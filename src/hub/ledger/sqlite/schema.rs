//! The tables, and how a database comes to have them.

use rusqlite::Connection;

use super::OpenError;

/// Marks a file as a hub's: “OuPo” (`PRAGMA application_id`).
const APPLICATION: i64 = 0x4f75_506f;

/// What brings a database from version n (`PRAGMA user_version`) to n + 1.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1];

/// Times are microseconds since 1970, deadlines nanoseconds of the boot that `clock` names.
const VERSION_1: &str = "
CREATE TABLE clock (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    stamp   INTEGER NOT NULL,           -- the last one, rounded up
    boot    INTEGER NOT NULL,           -- at that moment
    boot_id TEXT NOT NULL
);

CREATE TABLE colonies (
    age  INTEGER PRIMARY KEY,
    id   TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
);

CREATE TABLE runtimes (
    age          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    colony_id    TEXT NOT NULL REFERENCES colonies (id) ON DELETE CASCADE,
    runtime_type TEXT NOT NULL,
    name         TEXT NOT NULL,
    cpu          TEXT NOT NULL,
    cores        INTEGER NOT NULL,
    mem          INTEGER NOT NULL,
    gpu          TEXT NOT NULL,
    gpus         INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    commissioned INTEGER NOT NULL,
    heard        INTEGER NOT NULL
);
CREATE INDEX runtimes_of ON runtimes (colony_id);

CREATE TABLE processes (
    seq           INTEGER PRIMARY KEY,  -- the order of submission
    id            TEXT NOT NULL UNIQUE,
    colony_id     TEXT NOT NULL REFERENCES colonies (id) ON DELETE CASCADE,
    runtime_type  TEXT NOT NULL,
    targets       TEXT NOT NULL,        -- lists are JSON
    dependencies  TEXT NOT NULL,
    name          TEXT NOT NULL,
    func          TEXT NOT NULL,
    args          TEXT,
    priority      INTEGER NOT NULL,
    max_wait      INTEGER NOT NULL,
    max_exec      INTEGER NOT NULL,
    max_retries   INTEGER NOT NULL,
    submitter     TEXT NOT NULL,
    submission_id TEXT,
    submitted     INTEGER NOT NULL,
    wait_deadline INTEGER NOT NULL,
    wait_due      INTEGER,
    -- what changes
    state         INTEGER NOT NULL,
    assigned      INTEGER NOT NULL,
    runtime_id    TEXT NOT NULL,
    started       INTEGER NOT NULL,
    ended         INTEGER NOT NULL,
    exec_deadline INTEGER NOT NULL,
    lease_due     INTEGER,
    error         TEXT NOT NULL,
    retries       INTEGER NOT NULL,
    moved         INTEGER NOT NULL,     -- when it came into its state
    due           INTEGER               -- the deadline that counts in its state
);
CREATE INDEX processes_newest ON processes (colony_id, state, moved, seq);
CREATE INDEX processes_history ON processes (colony_id, state, submitted, seq);
CREATE INDEX processes_on ON processes (runtime_id, state, seq) WHERE runtime_id <> '';
CREATE INDEX processes_due ON processes (due, seq) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX processes_submission ON processes (colony_id, submitter, submission_id)
    WHERE submission_id IS NOT NULL;

-- Ready processes: an entry for each target, '*' for everybody.
CREATE TABLE queue (
    colony_id    TEXT NOT NULL,
    runtime_type TEXT NOT NULL,
    target       TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (colony_id, runtime_type, target, seq)
) WITHOUT ROWID;

CREATE TABLE attributes (
    age              INTEGER PRIMARY KEY,
    id               TEXT NOT NULL UNIQUE,
    process          INTEGER NOT NULL REFERENCES processes (seq) ON DELETE CASCADE,
    target_colony_id TEXT NOT NULL,
    known            INTEGER NOT NULL,   -- whether `kind` is our number of a kind, or one that no dialect knows
    kind             INTEGER NOT NULL,
    key              TEXT NOT NULL,
    value            TEXT NOT NULL
);
CREATE INDEX attributes_of ON attributes (process);

-- How many processes a colony has in each state, so that statistics count nothing.
CREATE TABLE counts (
    colony_id TEXT NOT NULL,
    state     INTEGER NOT NULL,
    n         INTEGER NOT NULL,
    PRIMARY KEY (colony_id, state)
) WITHOUT ROWID;
CREATE TRIGGER count_new AFTER INSERT ON processes BEGIN
    INSERT INTO counts VALUES (new.colony_id, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER count_gone AFTER DELETE ON processes BEGIN
    UPDATE counts SET n = n - 1 WHERE colony_id = old.colony_id AND state = old.state;
END;
CREATE TRIGGER count_moved AFTER UPDATE OF state ON processes WHEN old.state <> new.state BEGIN
    UPDATE counts SET n = n - 1 WHERE colony_id = old.colony_id AND state = old.state;
    INSERT INTO counts VALUES (new.colony_id, new.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;
";

/// Brings the database to the version of this program.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let pragma =
        |connection: &Connection, name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = pragma(connection, "user_version")?;
    let application = pragma(connection, "application_id")?;
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(OpenError::Newer { version, known });
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && tables > 0 || version < 0 {
        return Err(OpenError::Foreign);
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.commit()?;
        tracing::info!("the database is now of version {}", step + 1);
    }
    Ok(())
}
