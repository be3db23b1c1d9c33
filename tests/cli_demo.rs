//! `outpost demo` as a newcomer runs it.
#![cfg(all(feature = "cli", feature = "hub", feature = "agent"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may stop it, too"
)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
    command
        .arg("demo")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn once_shows_the_lamps_edge_after_the_submit_and_ends_well() {
    let start = Instant::now();
    let done = demo().arg("--once").output().await.unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        done.status.code(),
        Some(0),
        "{text}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(start.elapsed() < Duration::from_secs(180));
    // Each line begins with the seconds since the start, and the time does not run back.
    let mut before = 0.0;
    for line in text.lines() {
        let seconds: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!(seconds >= before, "{text}");
        before = seconds;
    }
    let place = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("no {what:?} in\n{text}"))
    };
    let submitted = place("submitted ");
    let edge = text[submitted..].lines().position(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"edge") && words.last() == Some(&"on")
    });
    assert!(edge.is_some(), "{text}");
    assert_eq!(text.matches("submitted ").count(), 5, "{text}");
    assert_eq!(text.matches("successful ").count(), 5, "{text}");
    // The drone leaves, is seen on its way, comes home, and tells its flight.
    let left = place("drone    took off");
    let flew = place(" m from home, ");
    let landed = place("drone    landed");
    let told = place("time_aloft_seconds = ");
    assert!(left < flew && flew < landed && landed < told, "{text}");
}

#[tokio::test]
async fn left_alone_it_goes_on_until_it_is_told_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = demo().arg("--dir").arg(directory.path()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut config = None;
    let mut hub = None;
    while let Some(line) = tokio::time::timeout(Duration::from_secs(60), lines.next_line())
        .await
        .unwrap()
        .unwrap()
    {
        if let Some((_, url)) = line.split_once("listening on ") {
            hub = Some(url.to_owned());
        }
        if let Some((_, rest)) = line.split_once("--config ") {
            config = rest.split(' ').next().map(str::to_owned);
        }
        if line.contains("Ctrl-C") {
            break;
        }
    }
    // What it suggests works, and shows its edge.
    let mut off = Command::new(env!("CARGO_BIN_EXE_outpost"));
    off.args([
        "--config",
        &config.unwrap(),
        "run",
        "lamp.off",
        "--type",
        "cli",
        "--wait",
    ]);
    let off = off.output().await.unwrap();
    assert_eq!(off.status.code(), Some(0), "{off:?}");
    let edge = loop {
        let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if line.contains("edge ") {
            break line;
        }
    };
    assert!(edge.ends_with(" off"), "{edge}");
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let status = tokio::time::timeout(Duration::from_secs(30), child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    // The hub has ended with it, and what it kept is still there.
    let address = hub.unwrap().strip_prefix("http://").unwrap().to_owned();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(directory.path().join("hub/keys/server.key").exists());
}

/// Building takes minutes the first time.
#[tokio::test]
async fn the_script_refuses_before_it_builds() {
    for (arguments, said) in [
        (&["--onec"][..], "demo: there is no option '--onec'"),
        (&["--once", "home"], "demo: there is no option 'home'"),
        (&["--once", "--dir"], "demo: --dir needs a value"),
        (
            &["--dir", "--onec", "--twice"],
            "demo: there is no option '--twice'",
        ),
    ] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo");
        let done = Command::new(script).args(arguments).output().await.unwrap();
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(
            !done.status.success() && text.contains(said),
            "{arguments:?}: {text}"
        );
        assert!(text.contains("./scripts/demo --help"), "{text}");
    }
}

#[tokio::test]
async fn alone_it_says_what_to_build() {
    let directory = tempfile::tempdir().unwrap();
    let alone = directory.path().join("outpost");
    std::fs::copy(env!("CARGO_BIN_EXE_outpost"), &alone).unwrap();
    let done = Command::new(&alone)
        .args(["demo", "--once"])
        .output()
        .await
        .unwrap();
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    let text = String::from_utf8(done.stderr).unwrap();
    assert!(
        text.contains("outpost-hub is not beside this program") && text.contains("cargo build --bins"),
        "{text}"
    );
}
