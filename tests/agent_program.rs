//! The commands of `outpost-agent`, as processes, without hardware and without a server.
#![cfg(feature = "agent")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use outpost::agent::journal::{
    Attempt, Begun, Close, FolderStorage, Journal, Limits, Lock, Machine, Moment, Record, Refused, Report,
    Role,
};
use outpost::agent::program;
use outpost::clock::SystemClock;
use outpost::device::Effect;
use outpost::keyfile;
use outpost::protocol::Time;

/// A machine with one configuration: a simulated lamp.
struct Place {
    folder: tempfile::TempDir,
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// One line that begins with these words, however far apart they stand.
    #[track_caller]
    fn has(&self, words: &[&str]) -> &Self {
        let found = self.out.lines().any(|line| {
            let mut line = line.split_whitespace();
            words.iter().all(|word| line.next() == Some(word))
        });
        assert!(found, "no line {words:?}:\n{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn tells(&self, text: &str) -> &Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "not told: {text}\n{}\n{}",
            self.out,
            self.err
        );
        self
    }
}

const COLONY: &str = "4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4";

impl Place {
    fn new() -> Self {
        Place::with("", "")
    }

    /// `colony` goes into `[colony]`, `more` to the end.
    fn with(colony: &str, more: &str) -> Self {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        let text = format!(
            "[server]\nurl = \"http://127.0.0.1:1\"\n[colony]\nid = \"{COLONY}\"\n{colony}\n[runtime]\ntype = \"cli\"\n\
             name = \"porch\"\n[agent]\nstate_dir = \"{}\"\n[gpio]\nbackend = \"simulated\"\n\
             [devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\n\
             [functions]\nflash = {{ call = \"lamp.pulse\", args = [\"3ms\"] }}\n{more}",
            place.state().display()
        );
        fs::write(place.config(), text).unwrap();
        place
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn key(&self) -> PathBuf {
        self.state().join("agent.key")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outpost-agent"));
        command
            .args(words)
            .env("HOME", self.folder.path())
            .env("OUTPOST_AGENT__AGENT__LOG", "error")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command with the configuration.
    fn run(&self, words: &[&str]) -> Said {
        let output = self
            .command(&words[..1])
            .arg("--config")
            .arg(self.config())
            .args(&words[1..])
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The journal as an agent of that machine has it.
    fn journal(&self, machine: &Machine) -> Journal {
        let storage = Box::new(FolderStorage::lock(self.state()).unwrap());
        Journal::open(storage, Moment::of(&SystemClock), machine, Limits::default())
            .unwrap()
            .0
    }
}

fn this_machine() -> Machine {
    Machine::of(&fs::read_to_string("/etc/machine-id").unwrap_or_default())
}

fn attempt(digit: &str) -> Attempt {
    Attempt {
        process_id: digit.repeat(64),
        retries: 0,
        start_time: Time::from_unix_nanos(1),
    }
}

fn at() -> Moment {
    Moment {
        wall: Time::parse("2026-07-08T09:10:11.5Z").unwrap(),
        ..Moment::of(&SystemClock)
    }
}

/// One verb done and not told yet, one refused.
fn used(journal: &mut Journal) {
    journal
        .begin(Begun {
            role: Role::Work,
            attempt: attempt("a"),
            verb: "pulse".to_owned(),
            device: "lamp".to_owned(),
            effect: Effect::Once,
            repeat: false,
            at: at(),
            lease_end: None,
            beginning: 1,
        })
        .unwrap();
    journal
        .record(Record::Result(Report {
            role: Role::Work,
            attempt: attempt("a"),
            close: Close::Successful,
            attributes: Vec::new(),
            attached: 0,
            at: at(),
            lease_end: None,
            not_after: None,
        }))
        .unwrap();
    journal
        .record(Record::Refused(Refused {
            process_id: "b".repeat(64),
            verb: "on".to_owned(),
            device: "lamp".to_owned(),
            reason: "it waited too long".to_owned(),
            wall: at().wall,
        }))
        .unwrap();
}

#[test]
fn help_tells_every_command_and_the_document_says_the_same() {
    let place = Place::new();
    let help = place.command(&["--help"]).output().unwrap();
    let overview = String::from_utf8(help.stdout).unwrap();
    for command in program::COMMANDS {
        assert!(
            overview.contains(command.name) && overview.contains(command.summary),
            "{overview}"
        );
        let help = place.command(&[command.name, "--help"]).output().unwrap();
        assert!(help.status.success());
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains(command.text), "{text}");
        assert!(
            command.options.iter().all(|option| text.contains(option.name)),
            "{text}"
        );
    }
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agent.md")).unwrap();
    let shown = program::markdown();
    assert!(
        document.contains(&shown),
        "docs/agent.md does not show the commands as the program does; they are:\n{shown}"
    );
}

#[test]
fn check_finds_nothing_wrong_and_makes_nothing() {
    let place = Place::new();
    let said = place.run(&["check", "--offline"]).ended(0);
    said.has(&["ok", "configuration"])
        .has(&["note", "runtime.key_file"])
        .has(&["note", "state", "directory"])
        .has(&["note", "gpio", "simulated:"])
        .has(&["note", "server", "not", "asked"])
        .tells("no problem found");
    assert!(!place.state().exists(), "nothing was made");
}

#[test]
fn check_names_what_is_wrong_with_the_remedy_and_exits_accordingly() {
    let place = Place::with(
        "",
        "[devices.box]\nkind = \"command\"\n[devices.box.functions.now]\nprogram = \"/no/such/program\"\n\
         [devices.scale]\nkind = \"serial\"\nport = \"/dev/no-such-port\"\n",
    );
    keyfile::load_or_create(&place.key()).unwrap();
    let id = keyfile::load(&place.key()).unwrap().id();
    let said = place.run(&["check"]).ended(1);
    said.has(&["ok", "runtime.key_file"])
        .tells(&id)
        .has(&["error", "box.now", "there", "is", "no", "program"])
        .has(&[
            "warning",
            "devices.scale",
            "/dev/no-such-port",
            "is",
            "not",
            "there",
        ])
        .has(&["error", "server"])
        .tells("nobody listens there")
        .tells("2 error(s), 1 warning(s)");
    fs::set_permissions(place.key(), fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.run(&["check", "--offline"]).ended(1);
    said.tells(&format!("-> sudo chmod 600 {}", place.key().display()));
    fs::write(place.config(), "[colony]\nid = \"x\"\n").unwrap();
    place.run(&["check"]).ended(2).tells("colony.id");
}

#[test]
fn check_works_beside_the_agent_that_holds_the_state_directory() {
    let place = Place::new();
    let mut journal = place.journal(&this_machine());
    used(&mut journal);
    let said = place.run(&["check", "--offline"]).ended(0);
    said.has(&["ok", "service"])
        .tells(&format!("process {}", std::process::id()))
        .has(&["note", "journal", "1", "result(s)", "wait"]);
}

#[test]
fn devices_lists_functions_and_further_names() {
    let said = Place::new().run(&["devices"]).ended(0);
    said.has(&["FUNCTION", "KIND", "EFFECT", "URGENCY", "AT", "MOST", "HELP"])
        .has(&["lamp.on", "lamp", "set", "work", "5s"])
        .has(&["lamp.off", "lamp", "set", "preempt", "5s"])
        .has(&["lamp.pulse", "<duration>", "lamp", "once", "work"])
        .has(&["lamp.state", "lamp", "read", "query"])
        .has(&["sleep", "<seconds>", "sleep", "read", "work"])
        .has(&["echo", "[args…]", "echo", "read", "query"])
        .has(&["flash", "lamp.pulse", "3ms"]);
}

#[test]
fn try_does_one_verb_and_leaves_the_device_safe() {
    let place = Place::new();
    let said = place.run(&["try", "lamp.on"]).ended(0);
    said.has(&["state", "on"]);
    let edges: Vec<&str> = said.out.lines().filter(|line| line.starts_with("edge")).collect();
    assert_eq!(edges, ["edge GPIO17 on", "edge GPIO17 off"]);
    // A further name brings its own arguments.
    place
        .run(&["try", "flash"])
        .ended(0)
        .has(&["state", "off"])
        .tells("on_seconds");
    place
        .run(&["try", "echo", "--", "--hold", "x"])
        .ended(0)
        .has(&["output", "--hold", "x"]);
    assert!(!place.state().exists(), "nothing was made");
}

/// It can be asked for whatever has no name of its own, so it is listed, warned of, and tried as processes call it.
#[test]
fn a_shell_worker_is_told_and_tried() {
    let place = Place::with("", "[devices.any]\nkind = \"shell-worker\"");
    place
        .run(&["devices"])
        .ended(0)
        .has(&["any", "other", "shell-worker", "once,"]);
    place
        .run(&["check", "--offline"])
        .ended(0)
        .has(&["warning", "devices.any", "shell-worker:"])
        .tells("kind = \"command\"");
    let said = place.run(&["try", "/bin/echo", "over", "here"]).ended(0);
    said.has(&["output", "over", "here"]);
    let warnings = said.err.matches("shell-worker:").count();
    assert_eq!(warnings, 1, "of the device that was opened: {}", said.err);
}

#[test]
fn try_refuses_what_cannot_be_done() {
    let place = Place::new();
    place.run(&["try"]).ended(2).tells("outpost-agent devices");
    place
        .run(&["try", "lamp.onn"])
        .ended(2)
        .tells("this runtime has: echo, flash, lamp.off");
    place
        .run(&["try", "lamp.pulse"])
        .ended(2)
        .tells("usage: lamp.pulse <duration>");
    place
        .run(&["try", "lamp.on", "--hold", "soon"])
        .ended(2)
        .tells("--hold: \"soon\" is not a duration");
    fs::create_dir(place.state()).unwrap();
    let lock = Lock::take(&place.state()).unwrap();
    let said = place.run(&["try", "lamp.on"]).ended(1);
    said.tells("sudo systemctl stop outpost-agent")
        .tells(&format!("process {}", std::process::id()));
    assert_eq!(said.out, "", "nothing was driven");
    drop(lock);
    place.run(&["try", "lamp.on"]).ended(0);
}

/// A command that goes on until it is told to stop.
fn start(place: &Place, words: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = place
        .command(words)
        .arg("--config")
        .arg(place.config())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn ctrl_c_stops_a_verb_and_makes_safe() {
    let place = Place::new();
    let (mut child, mut out) = start(&place, &["try", "lamp.pulse", "5m"]);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "edge GPIO17 on\n");
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "edge GPIO17 off\n");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("SIGINT"), "{said}");
}

#[test]
fn hold_keeps_what_was_set_until_it_is_over_or_interrupted() {
    let place = Place::new();
    let said = place.run(&["try", "lamp.on", "--hold", "10ms"]).ended(0);
    said.tells("edge GPIO17 off");
    let (mut child, mut out) = start(&place, &["try", "lamp.on", "--hold", "5m"]);
    let mut lines = [String::new(), String::new()];
    for line in &mut lines {
        out.read_line(line).unwrap();
    }
    assert_eq!(lines, ["edge GPIO17 on\n", "state  on\n"], "done, and held");
    interrupt(&child);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "edge GPIO17 off\n");
    assert_eq!(child.wait().unwrap().code(), Some(0), "the verb was done");
}

#[test]
fn history_is_read_beside_a_running_agent() {
    let place = Place::new();
    place.run(&["history"]).ended(0).tells("nothing yet");
    let mut journal = place.journal(&this_machine());
    used(&mut journal);
    let said = place.run(&["history"]).ended(0);
    said.has(&["WHEN", "PROCESS", "ATTEMPT", "FUNCTION"])
        .has(&[
            "2026-07-08T09:10:11Z",
            "aaaaaaaaaaaa",
            "1",
            "lamp.pulse",
            "successful",
            "(the",
            "server",
            "was",
            "perhaps",
            "not",
        ])
        .has(&[
            "2026-07-08T09:10:11Z",
            "bbbbbbbbbbbb",
            "lamp.on",
            "refused:",
            "it",
            "waited",
            "too",
            "long",
        ]);
    let of_one = place.run(&["history", "--process", "bbb"]).ended(0);
    of_one.tells(&"b".repeat(64));
    assert!(!of_one.out.contains("aaaa"), "{}", of_one.out);
    place
        .run(&["history", "--process", "cc"])
        .ended(0)
        .tells("nothing is remembered of process cc");
    let lines = place.run(&["history", "--json"]).ended(0).out;
    let objects: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["function"], "lamp.pulse");
    assert_eq!(
        objects[0]["server_knows"],
        serde_json::Value::Null,
        "that is not known here"
    );
    assert_eq!(objects[1]["refused"], "it waited too long");
}

#[test]
fn history_shows_the_last_twenty_unless_all_are_asked_for() {
    let place = Place::new();
    let mut journal = place.journal(&this_machine());
    for n in 0..25 {
        journal
            .append(Record::Refused(Refused {
                process_id: format!("{n:064}"),
                verb: "on".to_owned(),
                device: "lamp".to_owned(),
                reason: format!("reason {n}."),
                wall: at().wall,
            }))
            .unwrap();
    }
    journal.sync().unwrap();
    let said = place.run(&["history"]).ended(0);
    said.tells("reason 24.")
        .tells("reason 5.")
        .tells("5 earlier ones: --all shows them");
    assert!(!said.out.contains("reason 4."), "{}", said.out);
    place.run(&["history", "--all"]).ended(0).tells("reason 0.");
}

#[test]
fn a_journal_that_got_lost_is_accepted_by_the_owner_alone() {
    let place = Place::new();
    place
        .run(&["journal", "accept"])
        .ended(1)
        .tells("nothing to accept");
    let mut journal = place.journal(&this_machine());
    used(&mut journal);
    place
        .run(&["journal", "accept"])
        .ended(1)
        .tells("sudo systemctl stop outpost-agent");
    drop(journal);
    place
        .run(&["journal"])
        .ended(0)
        .has(&["trusted", "yes"])
        .has(&["marks", "of", "once", "verbs", "1", "of"])
        .has(&["waiting", "for", "the", "server", "1"]);
    fs::remove_file(place.state().join("journal")).unwrap();
    place
        .run(&["journal"])
        .ended(0)
        .has(&["trusted", "no:"])
        .tells("journal accept");
    place
        .run(&["check", "--offline"])
        .ended(1)
        .has(&["error", "journal"])
        .tells("journal accept");
    place
        .run(&["journal", "accept"])
        .ended(0)
        .tells("not trusted: the journal is missing")
        .tells("accepted");
    place.run(&["journal"]).ended(0).has(&["trusted", "yes"]);
    place
        .run(&["journal", "accept"])
        .ended(0)
        .tells("trusted already");
    place.run(&["journal", "reset"]).ended(2).tells("journal accept");
}

#[test]
fn a_cloned_card_gets_a_key_and_a_journal_of_its_own() {
    let place = Place::new();
    used(&mut place.journal(&Machine::of("the other machine")));
    let old = keyfile::load_or_create(&place.key()).unwrap();
    let control = place.state().join("agent.control.key");
    let old_control = keyfile::load_or_create(&control).unwrap();
    place.run(&["check", "--offline"]).ended(1).tells("rekey --yes");
    place
        .run(&["journal", "accept"])
        .ended(1)
        .tells("outpost-agent rekey");

    place.run(&["rekey"]).ended(1).tells("rekey --yes");
    assert_eq!(keyfile::load(&place.key()).unwrap(), old, "nothing was changed");
    let lock = Lock::take(&place.state()).unwrap();
    place
        .run(&["rekey", "--yes"])
        .ended(1)
        .tells("sudo systemctl stop outpost-agent");
    assert_eq!(keyfile::load(&place.key()).unwrap(), old);
    drop(lock);

    let said = place.run(&["rekey", "--yes"]).ended(0);
    let new = keyfile::load(&place.key()).unwrap();
    let new_control = keyfile::load(&control).unwrap();
    assert_ne!(new, old);
    assert_ne!(new_control, old_control);
    assert_eq!(keyfile::load(&place.state().join("agent.key.old")).unwrap(), old);
    assert_eq!(
        keyfile::load(&place.state().join("agent.control.key.old")).unwrap(),
        old_control
    );
    said.tells(&format!(
        "outpost runtime add --id {} --control-id {} --name porch --type cli --approve --colony {COLONY}",
        new.id(),
        new_control.id()
    ));
    assert!(place.state().join("journal.old").exists());
    place.run(&["check", "--offline"]).ended(0).tells(&new.id());
    assert!(
        place
            .journal(&this_machine())
            .state()
            .begun_once(&"a".repeat(64))
            .is_none()
    );
}

#[test]
fn an_agent_that_enrols_itself_needs_nobody_after_rekey() {
    let folder = tempfile::tempdir().unwrap();
    let owner = folder.path().join("colony.key");
    keyfile::load_or_create(&owner).unwrap();
    let place = Place::with(&format!("key_file = \"{}\"", owner.display()), "");
    fs::create_dir(place.state()).unwrap();
    let said = place.run(&["rekey", "--yes"]).ended(0);
    said.tells("adds itself at its next start");
    assert!(!said.out.contains("runtime add"), "{}", said.out);
}
