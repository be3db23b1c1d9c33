//! The real agent at the real hub: what a newcomer sees.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, missing_docs)]

mod agent_rig;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use agent_rig::{Rig, out, run_agent};
use outpost::keyfile;
use outpost::protocol::model::ProcessState;

#[tokio::test]
async fn a_submitted_spec_turns_the_lamp_on() {
    let rig = Rig::start().await;
    let agent = rig.agent("porch");
    let spec =
        rig.read_spec(r#"{"conditions":{"runtimetype":"cli"},"func":"turn_on_lamp","maxexectime":30}"#);
    let id = rig.submit(&spec).await;
    let process = rig.successful(&id).await;
    assert_eq!(out(&process, "state"), Some("on"));
    assert_eq!(agent.line(0, "edge "), "edge GPIO17 on");
    agent.logged("enrolled as porch").await;
}

#[tokio::test]
async fn the_three_examples_run_as_they_stand() {
    let rig = Rig::start().await;
    let _agent = rig.agent("worker");
    for example in [
        r#"{"conditions":{"runtimetype":"cli"},"func":"sleep","args":["3"]}"#,
        r#"{"conditions":{"runtimetype":"cli"},"func":"sleep","args":["3"],"maxwaittime":10,"maxexectime":5,"maxretries":3}"#,
        r#"{"conditions":{"runtimetype":"cli"},"func":"sleep","args":["3"],"env":{"TEST":"testenv"}}"#,
    ] {
        let id = rig.submit(&rig.read_spec(example)).await;
        let process = rig.successful(&id).await;
        assert!(out(&process, "slept").unwrap().starts_with("3.0"), "{example}");
        let expected = example.contains("testenv").then_some("testenv");
        assert_eq!(out(&process, "env.TEST"), expected, "{example}");
        assert_eq!(process.retries, 0);
    }
}

/// A configured program runs with what the process and the server say of themselves, and never with a key.
#[tokio::test]
async fn a_configured_program_runs_and_its_output_comes_back() {
    let rig = Rig::start().await;
    let more = r#"
[devices.box]
kind = "command"
[devices.box.functions.report]
program = "/usr/bin/env"
effect = "read"
[devices.box.functions.fails]
program = "/bin/sh"
args = ["-c", "echo tried; exit 3"]
"#;
    let _agent = run_agent(&rig.configure("boxed", more));
    let mut spec = rig.spec("box.report", &[], 30, 0);
    spec.env.insert("TEST".into(), "testenv".into());
    let id = rig.submit(&spec).await;
    let process = rig.successful(&id).await;
    let output = out(&process, "output").unwrap();
    let address = rig.client().server().trim_start_matches("http://").to_owned();
    let (host, port) = address.rsplit_once(':').unwrap();
    for line in [
        "TEST=testenv".to_owned(),
        format!("COLONIES_PROCESSID={id}"),
        format!("COLONIES_COLONYID={}", spec.conditions.colony_id),
        format!("COLONIES_RUNTIMEID={}", process.assigned_runtime_id),
        format!("COLONIES_SERVERHOST={host}"),
        format!("COLONIES_SERVERPORT={port}"),
    ] {
        assert!(
            output.lines().any(|found| found == line),
            "{line} is not in\n{output}"
        );
    }
    assert!(!output.contains("PRVKEY"), "{output}");

    // What a program said is told although it failed.
    let id = rig.submit(&rig.spec("box.fails", &[], 30, 0)).await;
    let process = rig.failed(&id).await;
    assert_eq!(out(&process, "output").map(str::trim), Some("tried"));
    assert!(process.error_message.contains('3'), "{}", process.error_message);
}

/// `slots`: programs side by side, and as many processes at once.
#[tokio::test]
async fn programs_run_side_by_side_in_their_slots() {
    let rig = Rig::start().await;
    let more = r#"
slots = 3
[devices.box]
kind = "command"
slots = 2
[devices.box.functions.meet]
program = "/bin/sh"
args = ["-c", "touch $MINE; until [ -e $OTHER ]; do sleep 0.02; done"]
"#;
    let _agent = run_agent(&rig.configure("boxed", more));
    let file = |name: &str| rig.folder.path().join(name).display().to_string();
    let mut ids = Vec::new();
    for (mine, other) in [("a", "b"), ("b", "a")] {
        let mut spec = rig.spec("box.meet", &[], 30, 0);
        spec.env.insert("MINE".into(), file(mine));
        spec.env.insert("OTHER".into(), file(other));
        ids.push(rig.submit(&spec).await);
    }
    for id in ids {
        // Each ends only once the other runs as well.
        rig.successful(&id).await;
    }
}

/// `kind = "shell-worker"`: the function is the program (docs/protocol/runtime-dialect.md, section 6).
#[tokio::test]
async fn a_shell_worker_runs_what_nothing_else_is_configured_for() {
    let rig = Rig::start().await;
    let _agent = run_agent(&rig.configure("shell", "[devices.sh]\nkind = \"shell-worker\"\n"));
    let id = rig.submit(&rig.spec("lamp.on", &[], 30, 0)).await;
    assert_eq!(out(&rig.successful(&id).await, "state"), Some("on"));
    let id = rig.submit(&rig.spec("printf", &["%s-%s", "a", "b"], 30, 0)).await;
    assert_eq!(out(&rig.successful(&id).await, "output"), Some("a-b"));
    let id = rig.submit(&rig.spec("no-such-program", &[], 30, 0)).await;
    assert_eq!(rig.failed(&id).await.error_message, "Process failed");
}

/// A second runtime for what answers or stops at once, past a queue of work.
#[tokio::test]
async fn the_control_lane_stops_what_runs_past_everything_that_waits() {
    let rig = Rig::start().await;
    let agent = run_agent(&rig.configure("porch", "control = true"));
    agent.logged("enrolled as porch.control").await;
    let long = rig.submit(&rig.spec("lamp.pulse", &["60s"], 120, 0)).await;
    rig.process_until(&long, |process| process.state == ProcessState::Running)
        .await;
    assert_eq!(agent.line(0, "edge "), "edge GPIO17 on");
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(rig.submit(&rig.spec("lamp.pulse", &["100ms"], 120, 0)).await);
    }
    let mut state = rig.spec("lamp.state", &[], 10, 0);
    state.conditions.runtime_type = "cli.control".to_owned();
    let state = rig.submit(&state).await;
    assert_eq!(out(&rig.successful(&state).await, "state"), Some("on"));
    let mut off = rig.spec("lamp.off", &[], 10, 0);
    off.conditions.runtime_type = "cli.control".to_owned();
    let off = rig.submit(&off).await;
    let off = rig.successful(&off).await;
    let stopped = rig.failed(&long).await;
    assert!(
        stopped.error_message.contains("stopped by lamp.off"),
        "{}",
        stopped.error_message
    );
    assert!(off.start_time < stopped.end_time);
    for id in waiting {
        rig.successful(&id).await;
    }
}

#[tokio::test]
async fn an_overrunning_sleep_goes_back_three_times_and_then_fails() {
    let rig = Rig::start().await;
    let _agent = rig.agent("worker");
    let id = rig.submit(&rig.spec("sleep", &["3"], 1, 3)).await;
    let process = rig.failed(&id).await;
    assert_eq!(process.retries, 3);
    assert_eq!(process.error_message, "Maximum execution time limit exceeded");
    // The agent goes on with the next.
    let id = rig.submit(&rig.spec("echo", &["next"], 10, 0)).await;
    assert_eq!(out(&rig.successful(&id).await, "output"), Some("next"));
}

#[tokio::test]
async fn without_the_colonys_key_it_says_what_to_type_and_waits_until_somebody_did() {
    let rig = Rig::start().await;
    let file = rig.configure("shy", "");
    let text = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("key_file"))
        .collect();
    std::fs::write(&file, without.join("\n")).unwrap();
    let agent = run_agent(&file);
    let log = agent.logged("outpost runtime add").await;
    let key_file = rig.folder.path().join("shy/agent.key");
    let key = std::fs::read_to_string(&key_file).unwrap();
    let mode = std::fs::metadata(&key_file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!log.contains(key.trim()), "the key is never logged");
    // The command's own words, as the owner would type them.
    let command = log.split("outpost runtime add ").nth(1).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let word = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1].to_owned();
    assert_eq!(word("--name"), "shy");
    assert_eq!(word("--type"), "cli");
    let id = rig.submit(&rig.spec("echo", &[], 10, 0)).await;
    let runtime = outpost::protocol::model::Runtime {
        id: word("--id"),
        name: word("--name"),
        runtime_type: word("--type"),
        colony_id: rig.colony_id.clone(),
        ..Default::default()
    };
    rig.owner().add_runtime(&runtime).await.unwrap();
    agent.logged("waits for the approval").await;
    rig.owner().approve_runtime(&runtime.id).await.unwrap();
    rig.successful(&id).await;
    let log = agent.log();
    assert_eq!(log.matches("outpost runtime add").count(), 1, "said once");
}

#[tokio::test]
async fn it_starts_before_its_server_and_finds_it() {
    let mut rig = Rig::start().await;
    let address = rig.url.clone();
    rig.hub.kill();
    let agent = rig.agent("early");
    agent.logged("cannot reach the Colonies server").await;
    rig.kill_and_restart_hub();
    assert_eq!(rig.url, address);
    let id = rig.submit(&rig.spec("echo", &["found"], 10, 0)).await;
    rig.successful(&id).await;
}

#[tokio::test]
async fn sigterm_makes_safe_closes_and_exits_with_zero() {
    let rig = Rig::start().await;
    let mut agent = run_agent(&rig.configure("porch", "grace_time = \"200ms\""));
    let id = rig.submit(&rig.spec("lamp.pulse", &["60s"], 300, 3)).await;
    assert_eq!(agent.line(0, "edge "), "edge GPIO17 on");
    agent.signal(rustix::process::Signal::TERM);
    assert!(agent.ended().await.success());
    assert_eq!(agent.line(1, "edge "), "edge GPIO17 off");
    let process = rig.failed(&id).await;
    assert!(
        process.error_message.contains("SIGTERM"),
        "{}",
        process.error_message
    );
}

#[tokio::test]
async fn a_latched_level_is_made_safe_on_stop_and_what_finishes_in_time_is_closed_as_it_ended() {
    let rig = Rig::start().await;
    let mut agent = run_agent(&rig.configure("porch", "grace_time = \"10s\""));
    let on = rig.submit(&rig.spec("lamp.on", &[], 30, 0)).await;
    rig.successful(&on).await;
    let id = rig.submit(&rig.spec("sleep", &["1"], 30, 0)).await;
    rig.process_until(&id, |process| process.state == ProcessState::Running)
        .await;
    agent.signal(rustix::process::Signal::INT);
    assert!(agent.ended().await.success());
    rig.successful(&id).await;
    let edges: Vec<String> = agent.lines();
    assert_eq!(edges, ["edge GPIO17 on", "edge GPIO17 off"]);
}

#[tokio::test]
async fn two_agents_on_one_state_directory_are_refused() {
    let rig = Rig::start().await;
    let file = rig.configure("porch", "");
    let first = run_agent(&file);
    first.logged("enrolled as").await;
    let mut second = run_agent(&file);
    assert_eq!(second.ended().await.code(), Some(1));
    let holder = format!("in use by process {}:", first.pid());
    second.logged(&holder).await;
}

#[tokio::test]
async fn check_tells_where_the_agent_stands_and_registers_nothing() {
    let rig = Rig::start().await;
    let file = rig.configure("porch", "");
    let without_owner = std::fs::read_to_string(&file)
        .unwrap()
        .replace("key_file =", "#key_file =");
    std::fs::write(&file, without_owner).unwrap();
    let key = rig.folder.path().join("porch/agent.key");
    let id = keyfile::load_or_create(&key).unwrap().id();
    let run = || check(&["check", "--config", file.to_str().unwrap()]);
    let (code, text) = run();
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("this machine's clock and the server's agree"),
        "{text}"
    );
    let add = format!(
        "outpost runtime add --id {id} --name porch --type cli --approve --colony {}",
        rig.colony_id
    );
    assert!(text.contains(&add), "{text}");
    let runtimes = rig.owner().get_runtimes(&rig.colony_id).await.unwrap().value;
    assert!(
        runtimes.iter().all(|runtime| runtime.id != id),
        "nothing was registered"
    );

    let file = rig.configure("porch", "");
    let agent = run_agent(&file);
    agent.logged("enrolled as").await;
    let (code, text) = run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("an approved runtime of colony"), "{text}");
    assert!(
        text.contains(&format!("at work there, process {}", agent.pid())),
        "{text}"
    );
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outpost-agent"))
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn check_tells_good_from_bad_without_touching_anything() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/agent.toml");
    for config in ["agent.toml", "agent-simulated.toml"] {
        let path = format!("{}/configs/{config}", env!("CARGO_MANIFEST_DIR"));
        let (code, text) = check(&["check", "--offline", "--config", &path]);
        // Whether this machine has what the configuration needs is another question.
        assert!(matches!(code, Some(0 | 1)), "{config}: {text}");
        assert!(text.contains("agent") && text.contains("can be used"), "{text}");
    }
    let good = std::fs::read_to_string(shipped).unwrap();
    for (from, to, expected) in [
        ("[gpio]", "[gipo]", "gipo"),
        ("\"lamp.on\"", "\"lamp.onn\"", "there is no function \"lamp.onn\""),
        ("turn_on_lamp =", "echo =", "there is a function \"echo\" already"),
        ("[devices.lamp]", "[devices.\"my lamp\"]", "device's name"),
    ] {
        let file = folder.path().join("bad.toml");
        std::fs::write(&file, good.replace(from, to)).unwrap();
        let (code, text) = check(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (code, text) = check(&["check", "--config", "/no/such/file.toml"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = check(&["chekc"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = check(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("outpost-agent "));
}
