//! `kind = "command"` and `kind = "shell-worker"` with real programs: what they are given, what is kept of them,
//! how they are ended and what is said about it.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

#[path = "../command_support/mod.rs"]
mod command_support;
mod failures;
mod shell_worker;
mod stopping;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use command_support::*;
use outpost::clock::{Clock as _, SystemClock};
use outpost::device::command::{Pool, ShellWorker};
use outpost::device::{Call, Context, Device, DeviceHandle, Origin, VerbError, open, owner};
use proptest::prelude::*;
use serde_json::json;

fn script(folder: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    file
}

/// A program with a child, both deaf to SIGTERM; they write their numbers to a file.
fn stubborn(file: &Path) -> String {
    format!(
        "trap '' TERM; sleep 1000 & echo $$ $! > {0}; echo ready >> {0}; echo waiting; wait",
        file.display()
    )
}

/// Starts `run` in the background.
fn start(
    device: &DeviceHandle,
    context: Context,
) -> tokio::task::JoinHandle<Result<outpost::device::Outcome, VerbError>> {
    let device = device.clone();
    tokio::spawn(async move { device.perform(call(&[]), context).await })
}

#[tokio::test]
async fn output_and_errors_come_in_order_and_the_exit_code_is_told() {
    let device = shell(
        "printf one; printf two >&2; printf 'th\\0ree'; printf '\\377' >&2",
        json!({}),
    );
    let outcome = run(&device, &[]).await.unwrap();
    assert_eq!(outcome.get("output"), Some("onetwothree\u{FFFD}"));
    assert_eq!(outcome.get("exit_code"), Some("0"));
    assert_eq!(outcome.attributes.len(), 2);
    let silent = run(&shell(":", json!({})), &[]).await.unwrap();
    assert_eq!(silent.get("output"), Some(""), "there even if empty");
}

#[tokio::test]
async fn arguments_reach_the_program_as_they_are() {
    let device = command(json!({ "program": "/usr/bin/printf", "args": ["<%s>", "{1}", "x{2}", "{args}"] }));
    let outcome = run(&device, &["$(id)", "a b\n\"'", "; rm -rf /", "", "*"])
        .await
        .unwrap();
    assert_eq!(outcome.get("output"), Some("<$(id)><xa b\n\"'><; rm -rf /><><*>"));
    let refused = run(&device, &["-v", "b"]).await.unwrap_err();
    assert!(matches!(refused, VerbError::Usage { .. }), "{refused}");
    let missing = run(&device, &["a"]).await.unwrap_err().to_string();
    assert_eq!(
        missing,
        "needs at least 2 argument(s), got 1; usage: tool.run <1> <2> [args…]"
    );
}

#[test]
fn whatever_a_process_sends_stays_one_argument_each() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let device = runtime.block_on(async {
        command(json!({ "program": "/usr/bin/env", "args": ["printf", "%s\\037", "--", "{1}", "{args}"] }))
    });
    let strategy = proptest::collection::vec("(-|--|\\$|;|'|\"|\\\\| |\n|\\*|[a-z]){1,6}", 1..5);
    proptest!(ProptestConfig::with_cases(40), |(given in strategy)| {
        let args: Vec<&str> = given.iter().map(String::as_str).collect();
        let outcome = runtime.block_on(run(&device, &args)).unwrap();
        let printed = outcome.get("output").unwrap();
        // `printf FORMAT -- …` prints the `--` too.
        let seen: Vec<&str> = printed.split_terminator('\u{1f}').skip(1).collect();
        prop_assert_eq!(seen, args);
    });
}

#[tokio::test]
async fn a_shell_sees_arguments_as_its_own_and_never_in_its_text() {
    let device = shell(
        "printf '<%s>' \"$@\" \"$0\"",
        json!({ "args": ["{1}", "{args}"] }),
    );
    let outcome = run(&device, &["$(id)", "'; id; '", "`id`"]).await.unwrap();
    assert_eq!(outcome.get("output"), Some("<$(id)><'; id; '><`id`><run>"));
}

#[tokio::test]
async fn the_environment_is_what_it_should_be_and_nothing_else() {
    let device = command(json!({
        "program": "/usr/bin/env",
        "env": { "MODE": "fixed", "LANG": "C" },
        "pass_env": ["PATH"],
    }));
    let origin = Origin {
        colony: "c".into(),
        server_host: "hub".into(),
        server_port: "50080".into(),
        runtime: "r".into(),
    };
    let context = context().with_process("p").with_origin(origin);
    let outcome = device
        .perform(call(&[]).env("LEVEL", "a=b c"), context)
        .await
        .unwrap();
    let mut lines: Vec<&str> = outcome.get("output").unwrap().lines().collect();
    lines.sort_unstable();
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    assert_eq!(
        lines,
        [
            "COLONIES_COLONYID=c",
            "COLONIES_PROCESSID=p",
            "COLONIES_RUNTIMEID=r",
            "COLONIES_SERVERHOST=hub",
            "COLONIES_SERVERPORT=50080",
            "LANG=C",
            "LEVEL=a=b c",
            "MODE=fixed",
            &path,
        ]
    );
    for name in ["LD_PRELOAD", "PATH", "IFS", "COLONIES_RUNTIMEPRVKEY", "MODE"] {
        let refused = device
            .perform(call(&[]).env(name, "x"), context_of("p"))
            .await
            .unwrap_err();
        assert!(matches!(refused, VerbError::Usage { .. }), "{refused}");
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

fn context_of(process: &str) -> Context {
    context().with_process(process)
}

#[tokio::test]
async fn standard_input_is_empty_and_nothing_of_the_agent_is_open() {
    let cat = command(json!({ "program": "/bin/cat" }));
    assert_eq!(run(&cat, &[]).await.unwrap().get("output"), Some(""));
    // As a library might leave it: inherited by whatever is started.
    let folder = tempfile::tempfile().unwrap();
    let leak = rustix::io::dup(folder.as_fd()).unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let ls = command(json!({ "program": "/bin/ls", "args": ["/proc/self/fd"] }));
    let outcome = run(&ls, &[]).await.unwrap();
    let open: Vec<&str> = outcome.get("output").unwrap().split_whitespace().collect();
    assert_eq!(open, ["0", "1", "2", "3"], "3 is ls's own");
}

#[tokio::test]
async fn it_runs_where_it_should_as_its_own_session_and_stands_back() {
    let folder = tempfile::tempdir().unwrap();
    let device = shell(
        "pwd; nice; ps -o sid=,pgid= -p $$ | tr -s ' '; echo $$",
        json!({ "directory": folder.path(), "nice": 7 }),
    );
    let outcome = run(&device, &[]).await.unwrap();
    let lines: Vec<&str> = outcome.get("output").unwrap().lines().map(str::trim).collect();
    assert_eq!(lines[0], folder.path().to_str().unwrap());
    assert_eq!(lines[1], "7");
    let pid = lines[3];
    assert_eq!(lines[2], format!("{pid} {pid}"));
    assert_eq!(
        state(pid.parse().unwrap()),
        None,
        "waited for, not left as a zombie"
    );
}

#[tokio::test]
async fn output_beyond_the_cap_loses_its_middle_and_says_so() {
    let device = shell(
        "i=0; while [ $i -lt 2000 ]; do echo \"line $i\"; i=$((i+1)); done",
        json!({ "output_cap": 1000 }),
    );
    let outcome = run(&device, &[]).await.unwrap();
    let output = outcome.get("output").unwrap();
    assert!(
        output.starts_with("line 0\nline 1\n") && output.ends_with("line 1999\n"),
        "{output}"
    );
    let all: usize = (0..2000).map(|i| format!("line {i}\n").len()).sum();
    assert_eq!(
        outcome.get("output_dropped"),
        Some((all - 1000).to_string().as_str())
    );
    assert!(output.contains(&format!("[outpost: {} bytes left out here]", all - 1000)));
    // Much more than a pipe holds comes through as well.
    let flood = shell("head -c 5000000 /dev/zero | tr '\\0' x", json!({}));
    let outcome = run(&flood, &[]).await.unwrap();
    assert_eq!(
        outcome.get("output_dropped"),
        Some((5_000_000 - 65_536).to_string().as_str())
    );
}

#[tokio::test]
async fn slots_run_side_by_side_and_one_device_runs_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    // Each waits for the other: they end only if they run at the same time.
    let text = format!(
        "touch {0}/$1; while [ ! -e {0}/$2 ]; do sleep 0.01; done",
        folder.path().display()
    );
    let settings = settings(json!({
        "kind": "command", "slots": 2,
        "functions": { "run": { "program": text, "shell": true, "repeat": true } },
    }));
    assert_eq!(settings.slots(), 2);
    assert!(settings.repeats("run") && !settings.repeats("other") && !settings.catch_all());
    let devices: Vec<Box<dyn Device>> = (0..settings.slots())
        .map(|_| open("tool", &settings, &hardware()).unwrap())
        .collect();
    let clock: outpost::clock::SharedClock = Arc::new(SystemClock);
    let pool = Pool::spawn(devices, &clock).unwrap();
    let (one, two) = tokio::join!(
        pool.perform(call(&["a", "b"]), context_of("p1")),
        pool.perform(call(&["b", "a"]), context_of("p2"))
    );
    assert!(one.is_ok() && two.is_ok());

    let single = shell(
        &stubborn(&folder.path().join("pids")),
        json!({ "stop_grace": "0s" }),
    );
    let task = start(&single, context_of("p3"));
    wait_for_async("pids", || numbers(&folder.path().join("pids"))).await;
    let busy = run(&single, &[]).await.unwrap_err().to_string();
    assert!(busy.starts_with("busy with p3"), "{busy}");
    single.make_safe().await.unwrap();
    assert!(task.await.unwrap().is_err());
}
