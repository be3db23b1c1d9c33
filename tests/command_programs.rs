//! `kind = "command"` and `kind = "shell-worker"` with real programs: what they are given, what is kept of them,
//! how they are ended and what is said about it.
#![cfg(feature = "agent")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

mod command_support;

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

// What a program is given.

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

// How it ends by itself.

#[tokio::test]
async fn a_failure_tells_its_code_its_last_line_and_keeps_its_output() {
    let device = shell("echo begun; echo 'no such thing' >&2; exit 3", json!({}));
    let error = run(&device, &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "tool.run: exit code 3; its last line: no such thing"
    );
    assert_eq!(attribute(&error, "output"), Some("begun\nno such thing\n"));
    assert_eq!(attribute(&error, "exit_code"), Some("3"));
    let tolerant = shell("exit 3", json!({ "success_codes": [0, 3] }));
    assert_eq!(run(&tolerant, &[]).await.unwrap().get("exit_code"), Some("3"));
}

#[tokio::test]
async fn an_end_by_a_signal_is_told_with_the_remedy() {
    for (signal, name, part) in [
        ("SYS", "SIGSYS", "the sandbox of the service forbids"),
        ("KILL", "SIGKILL", "not by the agent"),
        ("SEGV", "SIGSEGV", "ended by SIGSEGV"),
    ] {
        let error = run(&shell(&format!("kill -{signal} $$"), json!({})), &[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(attribute(&error, "signal"), Some(name));
        assert_eq!(attribute(&error, "output"), Some(""));
        assert_eq!(attribute(&error, "exit_code"), None);
    }
}

#[tokio::test]
async fn limits_hold_and_what_they_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let device = shell(
        "cat /proc/self/limits",
        json!({ "limits": {
            "memory": "64MiB", "cpu_time": "1500ms", "open_files": 32, "processes": 5000, "file_size": "4KiB"
        }}),
    );
    let outcome = run(&device, &[]).await.unwrap();
    let output = outcome.get("output").unwrap();
    let of = |name: &str| {
        let line = output.lines().find(|line| line.starts_with(name)).unwrap();
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        (words[0].to_owned(), words[1].to_owned())
    };
    let pair = |soft: &str, hard: &str| (soft.to_owned(), hard.to_owned());
    assert_eq!(of("Max address space"), pair("67108864", "67108864"));
    assert_eq!(of("Max cpu time"), pair("2", "7"));
    assert_eq!(of("Max open files"), pair("32", "32"));
    assert_eq!(of("Max processes"), pair("5000", "5000"));
    assert_eq!(of("Max file size"), pair("4096", "4096"));

    let busy = shell("while :; do :; done", json!({ "limits": { "cpu_time": "1s" } }));
    let error = run(&busy, &[]).await.unwrap_err();
    assert!(error.to_string().contains("raise limits.cpu_time"), "{error}");
    assert_eq!(attribute(&error, "signal"), Some("SIGXCPU"));

    let file = format!("of={}", folder.path().join("large").display());
    let writer = command(json!({
        "program": "/bin/dd",
        "args": ["if=/dev/zero", file, "bs=1k", "count=100"],
        "limits": { "file_size": "4KiB" },
    }));
    let error = run(&writer, &[]).await.unwrap_err();
    assert!(error.to_string().contains("raise limits.file_size"), "{error}");
    // A shell in between reports it as an exit code; dd as a child of `sh`, which does not exec it.
    let through = shell(
        &format!("dd if=/dev/zero {file} bs=1k count=100; exit $?"),
        json!({ "limits": { "file_size": "4KiB" } }),
    );
    let error = run(&through, &[]).await.unwrap_err().to_string();
    assert!(
        error.contains("exit code 153") && error.contains("SIGXFSZ"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = {
        // A header of an ELF file for another machine: s390 is none of ours.
        let mut head = b"\x7fELF\x02\x02\x01".to_vec();
        head.resize(18, 0);
        head.extend([0, 22]);
        head
    };
    for (name, text, mode, part) in [
        ("data", &b"x"[..], 0o644, "neither a program nor a script"),
        ("plain", b"#!/bin/sh\n", 0o644, "is not executable: chmod +x"),
        ("headless", b"echo hello\n", 0o755, "begins with `#!`"),
        (
            "lost",
            b"#!/no/such/interpreter -x\n",
            0o755,
            "its interpreter /no/such/interpreter is not there",
        ),
        ("foreign", &foreign, 0o755, "is built for another machine"),
    ] {
        let file = script(folder.path(), name, text, mode);
        let error = run(&command(json!({ "program": file })), &[]).await.unwrap_err();
        assert!(error.to_string().contains(part), "{name}: {error}");
        assert!(error.to_string().starts_with("tool.run: /"), "{error}");
    }
    for (program, part) in [
        (folder.path().join("absent"), "is not there: install it"),
        (
            folder.path().join("plain/x"),
            "a part of the path is no directory",
        ),
        (folder.path().to_owned(), "is no file"),
    ] {
        let error = run(&command(json!({ "program": program })), &[])
            .await
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let nowhere = command(json!({ "program": "/bin/true", "directory": "/no/such/place" }));
    let error = run(&nowhere, &[]).await.unwrap_err().to_string();
    assert!(
        error.contains("entering its directory: /no/such/place: No such file"),
        "{error}"
    );
    let long = command(json!({ "program": "/bin/echo", "args": ["{1}"] }));
    let error = run(&long, &[&"x".repeat(200_000)]).await.unwrap_err();
    assert!(error.to_string().contains("too long together"), "{error}");
    // The device is as good as before.
    assert!(run(&long, &["x"]).await.is_ok());
}

#[tokio::test]
async fn a_file_system_without_programs_is_named() {
    let noexec = |folder: &str| {
        rustix::fs::statvfs(folder)
            .is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
    };
    let writable = ["/dev/shm", "/run", "/run/lock", "/tmp", "/var/tmp"]
        .into_iter()
        .filter(|folder| noexec(folder))
        .find_map(|folder| tempfile::tempdir_in(folder).ok());
    let Some(folder) = writable else {
        println!("!!! NOT TESTED: no writable file system here is mounted with noexec");
        return;
    };
    let file = script(folder.path(), "x", b"#!/bin/sh\n", 0o755);
    let error = run(&command(json!({ "program": file })), &[]).await.unwrap_err();
    assert!(error.to_string().contains("mounted with noexec"), "{error}");
}

#[tokio::test]
async fn another_user_needs_the_capability_and_keeps_nothing_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join("pids");
    let settings = settings(json!({ "kind": "command", "functions": { "run": {
        "program": format!(
            "id -u; id -g; id -G; grep -E '^Cap(Prm|Eff|Amb|Inh)' /proc/self/status; echo $HOME $USER; trap '' TERM; echo $$ > {0}; echo ready >> {0}; exec sleep 1000",
            file.display()
        ),
        "shell": true,
        "user": "nobody",
        "stop_grace": "0s",
    }}}));
    let device = match open("tool", &settings, &hardware()) {
        Ok(device) => {
            // This thread alone, which is the one that the program is started from, gets something to lose.
            let ours = [0, 4_242].map(rustix::process::Gid::from_raw);
            rustix::thread::set_thread_groups(&ours).unwrap();
            device
        }
        Err(refused) => {
            assert!(!rustix::process::geteuid().is_root(), "{refused}");
            println!("!!! NOT TESTED: changing to another user; the refusal only, since this is not root");
            let text = refused.to_string();
            assert!(
                text.contains("systemd/outpost-agent.service.d/command-user.conf"),
                "{text}"
            );
            return;
        }
    };
    let device = owner::spawn(device, Arc::new(SystemClock));
    let seen = Arc::new(Mutex::new(String::new()));
    let context = context().with_progress(Arc::new({
        let seen = seen.clone();
        move |name: &str, value: &str| {
            assert_eq!(name, "output");
            *seen.lock().unwrap() = value.to_owned();
        }
    }));
    let task = start(&device, context);
    let pids = wait_for_async("pids", || numbers(&file)).await;
    // Stopping what runs as somebody else is tried too.
    device.make_safe().await.unwrap();
    assert!(is_over(pids[0]));
    assert!(matches!(task.await.unwrap(), Err(VerbError::Cancelled { .. })));
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let nobody: Vec<&str> = passwd
        .lines()
        .find(|line| line.starts_with("nobody:"))
        .unwrap()
        .split(':')
        .collect();
    let seen = seen.lock().unwrap().clone();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..3], [nobody[2], nobody[3], nobody[3]], "{seen}");
    for line in &lines[3..7] {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert_eq!(lines[7], format!("{} nobody", nobody[5]));
}

#[test]
fn an_unknown_user_is_refused_when_the_device_is_opened() {
    let settings = settings(json!({ "kind": "command", "functions": { "run": {
        "program": "/bin/true", "user": "no-such-user-here"
    }}}));
    let error = open("tool", &settings, &hardware()).err().unwrap().to_string();
    assert_eq!(
        error,
        "tool: user = \"no-such-user-here\": /etc/passwd has no such user (users from elsewhere can't be used)"
    );
}

// How it is ended.

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
async fn cancelling_ends_the_whole_group_also_one_that_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let grace = Duration::from_millis(300);
    let device = shell(&stubborn(&file), json!({ "stop_grace": "300ms" }));
    let context = context();
    let token = context.cancellation().clone();
    let task = start(&device, context);
    let pids = wait_for_async("pids", || numbers(&file)).await;
    assert_eq!(pids.len(), 2);
    assert!(!pids.iter().any(|&pid| is_over(pid)));
    let cancelled = Instant::now();
    token.cancel("enough");
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cancelled: enough");
    assert!(
        cancelled.elapsed() >= grace,
        "it had its grace before it was killed"
    );
    assert_eq!(state(pids[0]), None, "gone before the answer, and waited for");
    assert!(is_over(pids[1]), "its child as well");
    assert!(device.fault().borrow().is_none());
    assert!(device.time_to_safe() >= grace, "the lease leaves room for it");
}

#[tokio::test]
async fn a_program_that_listens_may_tidy_up() {
    let folder = tempfile::tempdir().unwrap();
    let (file, bye) = (folder.path().join("pids"), folder.path().join("bye"));
    let text = format!(
        "trap 'echo bye > {1}; exit 0' TERM; echo $$ > {0}; echo ready >> {0}; while :; do sleep 0.05; done",
        file.display(),
        bye.display()
    );
    let device = shell(&text, json!({ "stop_grace": "20s" }));
    let task = start(&device, context());
    wait_for_async("pids", || numbers(&file)).await;
    device.make_safe().await.unwrap();
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(error, VerbError::Cancelled { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&bye).unwrap(), "bye\n");
}

#[tokio::test]
async fn its_longest_time_its_lease_and_a_lost_caller_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("max_time", "once"),
        ("lease", "set"),
        ("caller", "once"),
        ("lease", "read"),
    ];
    for (case, effect) in cases {
        let file = folder.path().join(format!("{case}-{effect}"));
        let text = format!("[ \"$1\" = again ] && exit; {}", stubborn(&file));
        let clock = Arc::new(JumpClock::default());
        let keys = json!({ "stop_grace": "0s", "effect": effect, "max_time": "2h" });
        let device = shell_on(clock.clone(), &text, keys);
        let hour = Duration::from_secs(3600);
        let lease = (case == "lease").then(|| clock.now() + hour);
        let task = start(&device, Context::new(clock.clone()).with_lease(lease));
        let pids = wait_for_async(case, || numbers(&file)).await;
        match case {
            "lease" => clock.put_ahead(hour),
            "max_time" => clock.put_ahead(2 * hour),
            _ => task.abort(),
        }
        match (case, task.await) {
            ("caller", ended) => assert!(ended.is_err()),
            ("lease", ended) => assert!(matches!(ended.unwrap(), Err(VerbError::LeaseOver))),
            (_, ended) => assert!(matches!(ended.unwrap(), Err(VerbError::Overran { .. }))),
        }
        for pid in pids {
            wait_for_async(case, || is_over(pid).then_some(())).await;
        }
        wait_for_async(case, || (!device.is_busy()).then_some(())).await;
        let again = device
            .perform(call(&["again"]), Context::new(clock.clone()))
            .await;
        again.expect("the device is as good as before");
    }
}

#[tokio::test]
async fn what_was_written_before_a_stop_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let context = context().with_progress(Arc::new({
        let seen = seen.clone();
        move |name: &str, value: &str| seen.lock().unwrap().push(format!("{name}={value}"))
    }));
    let text = format!(
        "echo so far; echo $$ > {0}; echo ready >> {0}; exec sleep 1000",
        file.display()
    );
    let device = shell(&text, json!({}));
    let task = start(&device, context);
    wait_for_async("pids", || numbers(&file)).await;
    device.make_safe().await.unwrap();
    assert!(matches!(task.await.unwrap(), Err(VerbError::Cancelled { .. })));
    assert_eq!(*seen.lock().unwrap(), ["output=so far\n"]);
}

#[tokio::test]
async fn shutting_down_leaves_nothing_behind_and_dropping_the_device_neither() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shutdown");
    let device = shell(&stubborn(&file), json!({ "stop_grace": "100ms" }));
    let task = start(&device, context());
    let pids = wait_for_async("pids", || numbers(&file)).await;
    device.shutdown().await.unwrap();
    assert!(task.await.unwrap().is_err());
    assert!(pids.iter().all(|&pid| is_over(pid)));

    // A runtime that goes away drops the device in the middle of its verb.
    let file = folder.path().join("dropped");
    let text = stubborn(&file);
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let device = shell(&text, json!({}));
            drop(start(&device, context()));
            wait_for_async("pids", || numbers(&file)).await
        })
    });
    let pids = tokio::task::spawn_blocking(move || thread.join().unwrap())
        .await
        .unwrap();
    for pid in pids {
        wait_for_async("dropped", || is_over(pid).then_some(())).await;
    }
}

#[tokio::test]
async fn what_holds_the_output_open_does_not_hold_up_the_verb() {
    // In its group: ended with it.
    let device = shell("sleep 1000 & echo $!", json!({}));
    let outcome = tokio::time::timeout(DEADLINE, run(&device, &[]))
        .await
        .unwrap()
        .unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    wait_for_async("the one in the group", || is_over(pid).then_some(())).await;
    // Without the output it would have been noticed by nobody; it is ended all the same.
    let device = shell("sleep 1000 > /dev/null 2>&1 & echo $!", json!({}));
    let outcome = run(&device, &[]).await.unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    wait_for_async("the silent one", || is_over(pid).then_some(())).await;
    // A session of its own: out of reach, but the verb ends.
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "setsid sh -c 'echo $$; touch {0}; exec sleep 1000' & while [ ! -e {0} ]; do sleep 0.01; done",
        folder.path().join("there").display()
    );
    let device = shell(&text, json!({}));
    let outcome = tokio::time::timeout(DEADLINE, run(&device, &[]))
        .await
        .unwrap()
        .unwrap();
    let pid: i32 = outcome.get("output").unwrap().trim().parse().unwrap();
    assert!(!is_over(pid), "as the page says");
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn nothing_is_started_after_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("touched");
    let device = command(json!({ "program": "/usr/bin/touch", "args": [file] }));
    let late = context();
    let late = late.clone().with_lease(Some(late.now()));
    assert!(matches!(
        device.perform(call(&[]), late).await,
        Err(VerbError::LeaseOver)
    ));
    assert!(!file.exists());
}

// Several at once.

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

// The original's worker.

fn shell_worker() -> DeviceHandle {
    let settings = settings(json!({ "kind": "shell-worker" }));
    assert!(settings.catch_all() && settings.repeats(ShellWorker::VERB));
    owner::spawn(open("sh", &settings, &hardware()).unwrap(), Arc::new(SystemClock))
}

fn worker_call(func: &str, args: &[&str]) -> Call {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    ShellWorker::call(func, &args, BTreeMap::new())
}

#[tokio::test]
async fn the_shell_worker_runs_what_it_is_told_without_a_shell() {
    let worker = shell_worker();
    let outcome = worker
        .perform(worker_call("printf", &["<%s>", "$(id)", "-x", "a b"]), context())
        .await
        .unwrap();
    assert_eq!(
        outcome.attributes,
        [("output".to_owned(), "<$(id)><-x><a b>".to_owned())]
    );
    let silent = worker
        .perform(worker_call("/bin/true", &[]), context())
        .await
        .unwrap();
    assert_eq!(silent.get("output"), Some(""));
}

#[tokio::test]
async fn the_shell_workers_failures_are_those_of_the_original() {
    let worker = shell_worker();
    for (func, args, output) in [
        ("sh", &["-c", "echo so; exit 3"][..], "so\n"),
        ("no-such-program-here", &[], ""),
        ("", &[], ""),
        ("/etc/passwd", &[], ""),
        ("false", &["a\0b"], ""),
    ] {
        let error = worker
            .perform(worker_call(func, args), context())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "Process failed", "{func}");
        assert_eq!(
            error.attributes(),
            [("output".to_owned(), output.to_owned())],
            "{func}"
        );
    }
}

#[tokio::test]
async fn the_shell_worker_passes_its_environment_and_every_attribute_but_no_key() {
    let worker = shell_worker();
    let attributes = [
        ("PATH", "/x"),
        ("with-dash", "1"),
        ("COLONIES_RUNTIMEPRVKEY", "secret"),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = ShellWorker::call("/usr/bin/env", &[], BTreeMap::from(attributes));
    let outcome = worker.perform(call, context_of("pid")).await.unwrap();
    let lines: Vec<&str> = outcome.get("output").unwrap().lines().collect();
    // Any of this process's own, of one line.
    let own = std::env::vars().find(|(name, value)| name != "PATH" && !value.contains('\n'));
    let (name, value) = own.unwrap();
    let own = format!("{name}={value}");
    for line in ["PATH=/x", "with-dash=1", "COLONIES_PROCESSID=pid", &own] {
        assert!(lines.contains(&line), "{line}");
    }
    assert!(!outcome.get("output").unwrap().contains("secret"));
}
