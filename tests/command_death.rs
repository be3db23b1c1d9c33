//! A program dies with the agent, and so does what it has started, however the agent dies.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

mod command_support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use command_support::*;
use rustix::process::{Pid, Signal};
use serde_json::json;

const FOLDER: &str = "COMMAND_DEATH_FOLDER";

/// Not a test: the agent that the tests below kill. They start this program again, with only this in it.
#[test]
#[ignore = "started by the tests in this file"]
fn an_agent() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let file = folder.join("pids");
    // Deaf to SIGTERM, with a child and a grandchild, each as deaf.
    let text = format!(
        "trap '' TERM; sh -c 'sleep 1000 & echo $! >> {0}; wait' & echo $$ $! >> {0}; \
         while [ $(wc -w < {0}) -lt 3 ]; do sleep 0.01; done; echo ready >> {0}; wait",
        file.display()
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(async {
        let device = shell(&text, json!({}));
        run(&device, &[]).await
    });
    panic!("the program ended by itself: {result:?}");
}

fn start(folder: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_agent", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn die_by(signal: Signal) {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = start(folder.path());
    let mut all = wait_for("pids", || numbers(&folder.path().join("pids")));
    assert_eq!(all.len(), 3);
    let own = children(agent.id());
    assert_eq!(own.len(), 2, "the program and its guard: {own:?}");
    all.extend(own);
    assert!(!all.iter().any(|&pid| is_over(pid)));
    let pid = Pid::from_raw(agent.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
    agent.wait().unwrap();
    for pid in all {
        wait_for("the end of everything", || is_over(pid).then_some(()));
    }
}

#[test]
fn nothing_outlives_an_agent_that_is_killed() {
    die_by(Signal::KILL);
}

#[test]
fn nothing_outlives_an_agent_that_is_terminated_without_handling_it() {
    die_by(Signal::TERM);
}

#[test]
fn a_guard_that_is_killed_ends_nothing_and_the_program_still_dies_with_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = start(folder.path());
    let pids = wait_for("pids", || numbers(&folder.path().join("pids")));
    let guard = children(agent.id())
        .into_iter()
        .find(|pid| !pids.contains(pid))
        .unwrap();
    let name = std::fs::read_to_string(format!("/proc/{guard}/comm")).unwrap();
    assert_eq!(name, "outpost-guard\n");
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{guard}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .parse::<u32>()
                .unwrap()
        })
        .collect();
    assert_eq!(
        open.len(),
        4,
        "standard streams and its pipe, nothing of the agent's: {open:?}"
    );
    let kill = |pid| rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    kill(guard);
    wait_for("the guard's end", || is_over(guard).then_some(()));
    assert!(!pids.iter().any(|&pid| is_over(pid)));
    let group = rustix::process::getpgid(Pid::from_raw(pids[0])).unwrap();
    let program = group.as_raw_nonzero().get();
    assert!(pids.contains(&program), "it leads its group");
    agent.kill().unwrap();
    agent.wait().unwrap();
    wait_for("the program's end", || is_over(program).then_some(()));
    // What is left without its guard is ended here.
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}
