//! `outpost vehicle` as somebody runs it who wants to try things out.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

fn vehicle(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .arg("vehicle")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Reads lines until one holds a text, and gives it.
async fn line_with(out: &mut BufReader<ChildStdout>, text: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(
            out.read_line(&mut line).await.unwrap() > 0,
            "no line with {text:?}"
        );
        if line.contains(text) {
            return line;
        }
    }
}

async fn ended(mut child: Child) -> Option<i32> {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    child.wait().await.unwrap().code()
}

#[tokio::test]
async fn it_is_a_serial_port_that_speaks_mavlink_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("autopilot");
    let (child, mut out) = vehicle(&["--ready", "--speed", "20", "--link", link.to_str().unwrap()]);
    line_with(&mut out, link.to_str().unwrap()).await;
    line_with(&mut out, "knows its position").await;
    // The first bytes of a heartbeat of system 1, component 1, in MAVLink 2.
    let first = tokio::task::spawn_blocking({
        let link = link.clone();
        move || {
            let mut bytes = [0; 8];
            std::io::Read::read_exact(&mut std::fs::File::open(link).unwrap(), &mut bytes).unwrap();
            bytes
        }
    })
    .await
    .unwrap();
    assert_eq!(
        (first[0], first[5], first[6], first[7]),
        (0xFD, 1, 1, 0),
        "{first:?}"
    );
    assert_eq!(ended(child).await, Some(0));
    assert!(!link.exists());
}

#[tokio::test]
async fn it_listens_for_tcp_and_tells_machines_what_happens() {
    let (child, mut out) = vehicle(&[
        "--json",
        "--family",
        "px4",
        "--tcp",
        "127.0.0.1:0",
        "--speed",
        "50",
    ]);
    let line = line_with(&mut out, "tcp:").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = line["event"]
        .as_str()
        .unwrap()
        .rsplit("tcp:")
        .next()
        .unwrap()
        .to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0xFD);
    let booted: serde_json::Value = serde_json::from_str(&line_with(&mut out, "\"booted\"").await).unwrap();
    assert!(booted["seconds"].as_f64().unwrap() >= 4.0, "{booted}");
    assert_eq!(ended(child).await, Some(0));
}

#[tokio::test]
async fn what_cannot_be_is_said_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter");
    std::fs::write(&file, "dear").unwrap();
    for (arguments, says) in [
        (["--link", file.to_str().unwrap()], "choose another path"),
        (["--sign-key", file.to_str().unwrap()], "openssl rand"),
        (["--faults", "fog=1"], "there is no such fault"),
    ] {
        let (child, _out) = vehicle(&arguments);
        let output = child.wait_with_output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(says), "{error}");
    }
}
