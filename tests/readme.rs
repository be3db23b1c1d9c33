//! README's “By hand”, typed as it stands: a page that nobody follows is soon wrong.
#![cfg(all(feature = "agent", feature = "hub", feature = "cli"))]
#![allow(clippy::unwrap_used)] // clippy allows it in test functions, not in what those share

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A program of one terminal; ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The commands of the block, each with the number of its terminal.
fn by_hand() -> Vec<(u32, String)> {
    let readme = include_str!("../README.md");
    let section = readme.split("## By hand").nth(1).unwrap();
    let block = section.split("```").nth(1).unwrap();
    let mut terminal = 0;
    let mut commands = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(comment) => terminal = comment.split('.').next().unwrap().parse().unwrap(),
            None => commands.push((terminal, line.to_owned())),
        }
    }
    commands
}

/// A line as a person types it, in a folder that looks like a checkout with the programs in the `PATH`.
fn typed(line: &str, place: &Path, port: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_outpost")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .args(["-ec", line])
        .current_dir(place)
        .env_clear()
        .env("PATH", path)
        .env("HOME", place);
    // The page's port may be taken; where it is the default, the environment says which one it is here.
    command.env("OUTPOST_AGENT__SERVER__URL", format!("http://127.0.0.1:{port}"));
    command
        .env("COLONIES_SERVERHOST", "127.0.0.1")
        .env("COLONIES_SERVERPORT", port)
        .env("COLONIES_TLS", "false");
    command
}

fn done(line: &str, place: &Path, port: &str) {
    let output = typed(line, place, port).output().unwrap();
    assert!(output.status.success(), "{line}\n{output:?}");
}

/// Ids are everybody's own.
fn without_ids(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let id = word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if id { "ID" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn by_hand_works_as_it_stands() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    std::os::unix::fs::symlink(
        concat!(env!("CARGO_MANIFEST_DIR"), "/configs"),
        place.join("configs"),
    )
    .unwrap();
    let commands = by_hand();
    let of = |terminal: u32| {
        commands
            .iter()
            .filter(move |(number, _)| *number == terminal)
            .map(|(_, line)| line)
    };

    let hub = of(1).next().unwrap();
    assert!(hub.contains("127.0.0.1:50080"), "{hub}");
    let hub = format!("exec {}", hub.replace("127.0.0.1:50080", "127.0.0.1:0"));
    let mut hub = typed(&hub, place, "")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(hub.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let _hub = Running(hub);
    let port = said.trim().rsplit(':').next().unwrap();

    let mut mine = of(2);
    done(mine.next().unwrap(), place, port);

    let agent = of(3)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n")
        .replace("outpost-agent ", "exec outpost-agent ");
    let mut agent = typed(&agent, place, port)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(agent.stderr.take().unwrap());
    let mut edges = agent.stdout.take().unwrap();
    let mut agent = Running(agent);
    // Without end where the line never comes; so the log's end, which is the agent's, fails the test.
    let mut log = log.lines().map(Result::unwrap);
    let line = log
        .find(|line| line.contains("outpost runtime add"))
        .expect("the line that lets it in");
    let line = &line[line.find("outpost runtime add").unwrap()..];

    assert_eq!(
        mine.next().unwrap(),
        &without_ids(line),
        "README shows the line that the agent logs"
    );
    // Read on, lest the agent wait for room.
    let reader = std::thread::spawn(move || log.count());
    done(line, place, port);
    let rest: Vec<_> = mine.collect();
    assert!(rest.len() >= 3, "{rest:?}");
    for line in rest {
        done(line, place, port);
    }

    agent.0.kill().unwrap();
    agent.0.wait().unwrap();
    reader.join().unwrap();
    let mut text = String::new();
    edges.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("edge GPIO17 on\n"), "{text:?}");
}
