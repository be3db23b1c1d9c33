//! What ends badly, or cannot be started, and what is told of it.

use super::*;

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
