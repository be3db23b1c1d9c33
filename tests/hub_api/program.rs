//! The program itself: killed, started twice, on a port in use, with a wrong command line, for the first time.

use super::*;

#[test]
fn what_was_acknowledged_survives_kill_9_and_retries_go_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let hub = Hub::start(&data);
    let (rt1, owner, server) = (key(RT1), hub.colony_key(), hub.server_key());
    hub.runtime(&rt1, "cli");
    let mut spec = hub.spec("cli");
    spec.max_exec_time = 1;
    spec.max_retries = 2;
    spec.env.insert(SUBMISSION_ID.into(), "once".into());
    let submitted = hub.submit(&rt1, spec.clone());
    let waiting: Vec<String> = (0..20).map(|_| hub.submit(&rt1, hub.spec("lamp")).id).collect();
    let mut hub = hub;
    for round in 0..3 {
        // The long poll is woken by the requeue at the deadline, also after a restart within the lease.
        let assigned = process(hub.assign(&rt1, 20));
        assert_eq!(
            (assigned.id.clone(), assigned.retries),
            (submitted.id.clone(), round)
        );
        hub.kill();
        hub = Hub::start(&data);
        assert_eq!(
            hub.get(&rt1, &submitted.id).start_time,
            assigned.start_time.rounded_to_micros()
        );
        let again = hub.submit(&rt1, spec.clone());
        assert_eq!(
            again.id, submitted.id,
            "the same submission, also after a restart"
        );
    }
    let deadline = Instant::now() + common::PATIENCE;
    let failed = loop {
        let is = hub.get(&rt1, &submitted.id);
        if is.state == ProcessState::Failed {
            break is;
        }
        assert!(Instant::now() < deadline, "{is:?}");
    };
    assert_eq!(failed.retries, 2);
    assert_eq!(failed.error_message, "Maximum execution time limit exceeded");
    for id in waiting {
        assert_eq!(hub.get(&rt1, &id).state, ProcessState::Waiting);
    }
    assert_eq!((hub.colony_key(), hub.server_key()), (owner, server), "keys stay");
}

#[test]
fn a_second_hub_in_the_same_folder_is_refused() {
    let (_dir, hub) = started();
    let output = common::command()
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&hub.dir)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another outpost-hub is using it"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_in_use_is_said_with_the_remedy() {
    let (dir, hub) = started();
    let output = common::command()
        .args(["--listen", &hub.addr.to_string(), "--data-dir"])
        .arg(dir.path().join("another"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&hub.addr.to_string()) && said.contains("choose another `listen`"),
        "{said}"
    );
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, "lisen = '127.0.0.1:0'\n").unwrap();
    let config = config.to_str().unwrap();
    let run = |args: &[&str]| {
        let output = common::command().args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    for (args, code, words) in [
        (&["--help"][..], 0, "Usage: outpost-hub"),
        (&["--version"], 0, "outpost-hub 0."),
        (&["--check"], 0, "good"),
        (&["--check", "--listen", "[::1]:0"], 0, "good"),
        (&["--check", "--listen", "nowhere"], 2, "`listen`"),
        (&["--check", "--listen=127.0.0.1:x"], 2, "`listen`"),
        (&["--check", "--init-colony", "../../etc"], 2, "`init_colony`"),
        (&["--check", "--config", config], 2, "did you mean `listen`?"),
        (&["--check", "--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (&["--lisen", "x"], 2, "unknown argument `--lisen`"),
        (&["--listen"], 2, "--listen needs HOST:PORT"),
        (&["--check=yes"], 2, "takes no value"),
        (&["serve"], 2, "unknown argument `serve`"),
    ] {
        let (status, said) = run(args);
        assert_eq!(status, Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn the_first_start_makes_keys_that_nobody_else_can_read() {
    use std::os::unix::fs::MetadataExt;
    let (dir, hub) = started();
    let mode = |path: &str| std::fs::metadata(hub.dir.join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    assert_eq!(mode("keys"), 0o700);
    assert_eq!(mode("keys/server.key"), 0o600);
    assert_eq!(mode(&format!("keys/colony-{COLONY}.key")), 0o600);
    let colonies = hub.ask(&hub.server_key(), &Request::GetColonies);
    let expected = Colony {
        id: hub.colony_key().id(),
        name: COLONY.into(),
    };
    assert_eq!(colonies, Ok(Answer::Colonies(vec![expected])));

    // An owner elsewhere: no key is made, and the id counts.
    let owner = key(0x55);
    let data = dir.path().join("other");
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, format!("server_id = '{}'\n", owner.id())).unwrap();
    let other = Hub::start_with(&data, &["--config", config.to_str().unwrap()]);
    assert!(!data.join("keys/server.key").exists());
    assert!(other.ask(&owner, &Request::GetStatistics).is_ok());
    assert!(other.ask(&hub.server_key(), &Request::GetStatistics).is_err());
}
