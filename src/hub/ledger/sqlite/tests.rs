use super::view::ATTRIBUTES;
use super::*;
use crate::hub::ledger::{Change, Store, View, resume};
use crate::hub::testing::HandClock;
use crate::protocol::model::Colony;

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
        let plan = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3));
        for line in plan.unwrap() {
            let line = line.unwrap();
            // Walking an index in its order until a limit is no scan.
            let walk = line.starts_with("SCAN processes USING") && sql.contains("LIMIT 1");
            assert!(walk || line.starts_with("SEARCH"), "{sql}\n{line}");
        }
    }
}
