//! The recording of an original server (`tests/data/transcripts/`), replayed line by line against the hub.
//!
//! What the recording's server made fresh (ids, times) is mapped; everything else must come back byte for
//! byte, but for the rows of [`DIFFERENCES`]. Lines of workflows, generators, subscriptions and clusters are left out
//! until the hub has those.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outpost::protocol::{Envelope, PrivateKey, Reply, Time};
use serde_json::Value;

/// Name, and key, of every identity of the recording (`tests/data/transcripts/README.md`).
const IDENTITIES: [(&str, &str); 6] = [
    (
        SERVER_OWNER,
        "3196e1eeac7b6f5cfecbe68477a26047fbd30e03b32e7be73a62e43b0a64af46",
    ),
    (
        COLONY_OWNER,
        "1bae6631a05142ba8043e6cac5c9f5ed9eb87bd25f92e813bc4d63444301a3a5",
    ),
    (
        "RT1",
        "69eba6e5fc92773c8119d6ac4751c708e7c16383eb0c84dd2ba6caf21cc9205b",
    ),
    (
        "RT2",
        "9d679dfd1a3e74d910058c7c77245e0c8493b9dab2f599ed15c4fde0c5bbd631",
    ),
    (
        "RT3",
        "1497ee45e6e8712fdae6b418ade974392e7b83050bacdaff94956e6d0bc0afd3",
    ),
    (
        "USER1",
        "208863623047956806f97b3618a9c22a1b65f99a513d0000271b2fca91bccc85",
    ),
];
const SERVER_OWNER: &str = "server owner";
const COLONY_OWNER: &str = "colony owner";

/// The runtime that the CLI registered for lines 270–302. Its key was not kept: it gets a new one.
const LOST_RUNTIME: &str = "888c33fd98c6cdccacfdb08e10fe8e5cff1c327d9383d3e92e07961c3a377e6b";

/// Which cases are left out.
fn is_left_out(case: &str) -> bool {
    let begins = [
        "workflow-",
        "generator-",
        "ws-",
        "cli-workflow-",
        "cli-generator-",
    ];
    begins.iter().any(|begin| case.starts_with(begin)) || case.contains("cluster")
}

/// What the hub does otherwise than the original.
enum Otherwise {
    /// Answers with this status; its text is its own.
    Status(u16),
    /// Answers with this status and failure text.
    Says(u16, &'static str),
    /// Answers as recorded, but with this change to the payload.
    Payload(fn(&mut Value)),
}

struct Difference {
    lines: RangeInclusive<u64>,
    reason: &'static str,
    otherwise: Otherwise,
}

/// Every deliberate difference, with the reason.
const DIFFERENCES: &[Difference] = &[
    Difference {
        lines: 1..=303,
        reason: "an absent or zero maxexectime means no limit and is stored as -1; the original kills such a process \
                 within a second of its assignment",
        otherwise: Otherwise::Payload(no_zero_lease),
    },
    Difference {
        lines: 1..=303,
        reason: "the recording's build was not stamped; ours says what it is",
        otherwise: Otherwise::Payload(stamped),
    },
    Difference {
        lines: 141..=141,
        reason: "a process that failed while it waited is not handed out again",
        otherwise: Otherwise::Says(200, "No processes can be selected for runtime with Id <RT1>"),
    },
    Difference {
        lines: 142..=142,
        reason: "so nobody was assigned to it who might close it",
        otherwise: Otherwise::Says(
            403,
            "Failed to close process as successful, not allowed to close process",
        ),
    },
    Difference {
        lines: 143..=143,
        reason: "and it stays failed",
        otherwise: Otherwise::Payload(|process| {
            process["state"] = 3.into();
            process["isassigned"] = false.into();
            process["assignedruntimeid"] = "".into();
            process["starttime"] = "0001-01-01T00:00:00Z".into();
        }),
    },
    Difference {
        lines: 144..=144,
        reason: "and is not in the history of the successful",
        otherwise: Otherwise::Payload(|processes| {
            let processes = processes.as_array_mut().unwrap();
            processes.retain(|process| process["spec"]["name"] != "maxwait");
        }),
    },
    Difference {
        lines: 146..=146,
        reason: "and counts as failed",
        otherwise: Otherwise::Payload(one_more_failed),
    },
    Difference {
        lines: 148..=148,
        reason: "and counts as failed",
        otherwise: Otherwise::Payload(one_more_failed),
    },
    Difference {
        lines: 218..=218,
        reason: "a bare null as envelope crashes the original: 500 without a body",
        otherwise: Otherwise::Status(400),
    },
    Difference {
        lines: 219..=220,
        reason: "parser texts are our own",
        otherwise: Otherwise::Status(400),
    },
    Difference {
        lines: 222..=223,
        reason: "parser texts are our own",
        otherwise: Otherwise::Status(400),
    },
    Difference {
        lines: 237..=237,
        reason: "a bare null as payload crashes the original: 500 without a body",
        otherwise: Otherwise::Says(400, "Failed to get colony, invalid JSON"),
    },
    Difference {
        lines: 299..=300,
        reason: "the workflows of the recording are left out of this replay",
        otherwise: Otherwise::Payload(without_workflows),
    },
];

fn no_zero_lease(payload: &mut Value) {
    match payload {
        Value::Array(items) => items.iter_mut().for_each(no_zero_lease),
        Value::Object(members) => {
            for (name, value) in members {
                if name == "maxexectime" && *value == 0 {
                    *value = (-1).into();
                }
                no_zero_lease(value);
            }
        }
        _ => {}
    }
}

fn stamped(payload: &mut Value) {
    if let Some(version) = payload.get_mut("buildversion") {
        *version = concat!("outpost ", env!("CARGO_PKG_VERSION")).into();
    }
}

fn one_more_failed(statistics: &mut Value) {
    let count = |name: &str| statistics[name].as_i64().unwrap();
    let (successful, failed) = (count("successfulprocesses"), count("failedprocesses"));
    statistics["successfulprocesses"] = (successful - 1).into();
    statistics["failedprocesses"] = (failed + 1).into();
}

fn without_workflows(statistics: &mut Value) {
    for (name, value) in statistics.as_object_mut().unwrap() {
        if name.ends_with("workflows") {
            *value = 0.into();
        }
    }
    // The workflow of lines 289–293 had one member, waiting.
    let waiting = statistics["waitingprocesses"].as_i64().unwrap();
    statistics["waitingprocesses"] = (waiting - WAITING_WORKFLOW_MEMBERS).into();
}

/// Members of the recorded CLI's workflow that wait when the statistics are asked for.
const WAITING_WORKFLOW_MEMBERS: i64 = 2;

/// One line of the recording.
struct Line {
    number: u64,
    case: String,
    request: Value,
    /// The decoded payload that was sent, as text.
    sent: Option<String>,
    response: Value,
    /// The decoded payload that came back, as text.
    came: Option<String>,
}

fn recording() -> Vec<Line> {
    let text = include_str!("data/transcripts/runtime-2022-08.jsonl");
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |member: &str| line[member].as_str().map(str::to_owned);
        Line {
            number: line["seq"].as_u64().unwrap(),
            case: text("case").unwrap(),
            sent: text("request_payload"),
            came: text("response_payload"),
            request: line["request"].clone(),
            response: line["response"].clone(),
        }
    });
    lines.filter(|line| !is_left_out(&line.case)).collect()
}

/// A hub with its own empty data directory; ends with the value.
struct Hub {
    child: Child,
    address: String,
    _data: tempfile::TempDir,
}

impl Hub {
    fn start(server_key: &str) -> Hub {
        let data = tempfile::tempdir().unwrap();
        let keys = data.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let key = keys.join("server.key");
        std::fs::write(&key, server_key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_outpost-hub"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        let address = said
            .trim()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{said:?}"));
        Hub {
            address: address.to_owned(),
            child,
            _data: data,
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
        ask(&self.address, method, path, headers, body)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// One request on a connection of its own, written by hand: the recording has requests no client would make.
fn ask(address: &str, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(n, v)| (n.to_lowercase(), v.to_owned()));
    Answer {
        status,
        headers: headers.collect(),
        body: answer[end + 4..].to_vec(),
    }
}

/// Recorded ids to those of this run.
#[derive(Default)]
struct Ids {
    ours: HashMap<String, String>,
    theirs: HashMap<String, String>,
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Ids {
    /// The same id, or one that was made fresh in each run and stands for the other.
    fn same(&mut self, recorded: &str, found: &str) -> bool {
        match (self.ours.get(recorded), self.theirs.get(found)) {
            (Some(ours), _) => ours == found,
            (None, Some(_)) => false,
            (None, None) if recorded == found => true,
            (None, None) => {
                self.ours.insert(recorded.into(), found.into());
                self.theirs.insert(found.into(), recorded.into());
                true
            }
        }
    }

    /// A recorded text with this run's ids.
    fn map(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, ours) in &self.ours {
            if text.contains(recorded.as_str()) {
                text = text.replace(recorded.as_str(), ours);
            }
        }
        text
    }

    /// Compares, and learns ids on the way. Times need only be set or unset alike.
    fn compare(&mut self, recorded: &Value, found: &Value, place: &str) -> Result<(), String> {
        let differ = || Err(format!("at {place}: recorded {recorded}, found {found}"));
        match (recorded, found) {
            (Value::String(recorded), Value::String(found)) => {
                let same = match (Time::parse(recorded), Time::parse(found)) {
                    (Ok(recorded), Ok(found)) => recorded.is_never() == found.is_never(),
                    _ if is_id(recorded) && is_id(found) => self.same(recorded, found),
                    _ => self.map(recorded) == *found,
                };
                if same { Ok(()) } else { differ() }
            }
            (Value::Array(recorded), Value::Array(found)) => {
                if recorded.len() != found.len() {
                    return differ();
                }
                let (recorded, found) = (in_order(recorded), in_order(found));
                for (at, (recorded, found)) in recorded.iter().zip(&found).enumerate() {
                    self.compare(recorded, found, &format!("{place}[{at}]"))?;
                }
                Ok(())
            }
            (Value::Object(recorded), Value::Object(found)) => {
                if !recorded.keys().eq(found.keys()) {
                    return differ();
                }
                for (name, value) in recorded {
                    self.compare(value, &found[name], &format!("{place}.{name}"))?;
                }
                deadlines(recorded, found, place)
            }
            _ if recorded == found => Ok(()),
            _ => differ(),
        }
    }
}

/// Deadlines lie as far behind what starts them as the spec says: a recorded one may be some milliseconds longer.
fn deadlines(
    recorded: &serde_json::Map<String, Value>,
    found: &serde_json::Map<String, Value>,
    place: &str,
) -> Result<(), String> {
    for (start, end, span) in [
        ("submissiontime", "waitdeadline", "maxwaittime"),
        ("starttime", "execdeadline", "maxexectime"),
    ] {
        let time = |process: &serde_json::Map<String, Value>, name: &str| {
            process
                .get(name)
                .and_then(Value::as_str)
                .and_then(|text| Time::parse(text).ok())
        };
        let Some((from, to)) = time(found, start).zip(time(found, end)) else {
            continue;
        };
        if to.is_never() || from.is_never() {
            continue;
        }
        let seconds = found["spec"][span]
            .as_u64()
            .ok_or(format!("at {place}: {end} without {span}"))?;
        let apart = to
            .since(from)
            .ok_or(format!("at {place}: {end} before {start}"))?;
        if apart.abs_diff(Duration::from_secs(seconds)) > Duration::from_micros(1) {
            return Err(format!(
                "at {place}: {end} is {apart:?} after {start}, recorded {recorded:?}"
            ));
        }
    }
    Ok(())
}

/// Lists whose order says nothing, in an order: attributes and runtimes (RD 10).
fn in_order(items: &[Value]) -> Vec<Value> {
    let mut items = items.to_vec();
    items.sort_by_key(|item| {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        match item {
            Value::Object(members) if members.contains_key("attributetype") => text("key"),
            Value::Object(members) if members.contains_key("commissiontime") => text("name"),
            _ => String::new(),
        }
    });
    items
}

/// A payload's text with its times masked, to compare member order, indentation, escapes and null lists byte for byte.
fn masked(text: &str) -> String {
    let parts = text.split('"').map(|part| match Time::parse(part) {
        Ok(time) if time.is_never() => "never",
        Ok(_) => "time",
        Err(_) => part,
    });
    parts.collect::<Vec<_>>().join("\"")
}

struct Replay {
    hub: Hub,
    keys: HashMap<String, PrivateKey>,
    ids: Ids,
    failures: Vec<String>,
}

impl Replay {
    fn new() -> Replay {
        let mut keys = HashMap::new();
        for (_, key) in IDENTITIES {
            let key = PrivateKey::from_hex(key).unwrap();
            keys.insert(key.id(), key);
        }
        let new = PrivateKey::from_hex(&"51".repeat(32)).unwrap();
        let mut ids = Ids::default();
        assert!(ids.same(LOST_RUNTIME, &new.id()));
        keys.insert(LOST_RUNTIME.into(), new);
        Replay {
            hub: Hub::start(IDENTITIES[0].1),
            keys,
            ids,
            failures: Vec::new(),
        }
    }

    fn id_of(name: &str) -> String {
        let (_, key) = IDENTITIES.iter().find(|(found, _)| *found == name).unwrap();
        PrivateKey::from_hex(key).unwrap().id()
    }

    /// The body to send: as recorded, or signed again where it names what is fresh in each run.
    fn body(&self, line: &Line) -> Vec<u8> {
        let recorded = line.request["body"].as_str().unwrap().as_bytes();
        let Some(sent) = &line.sent else {
            return recorded.to_vec();
        };
        let Ok(envelope) = Envelope::parse(recorded) else {
            return recorded.to_vec();
        };
        let Ok(caller) = envelope.caller() else {
            return recorded.to_vec();
        };
        let payload = self.ids.map(sent);
        if payload == *sent && caller != LOST_RUNTIME {
            return recorded.to_vec();
        }
        let key = self
            .keys
            .get(&caller)
            .unwrap_or_else(|| panic!("line {}: no key of {caller}", line.number));
        Envelope::seal(key, envelope.payload_type(), payload.as_bytes()).to_bytes()
    }

    fn headers(line: &Line) -> Vec<(String, String)> {
        let skip = ["Content-Length", "Accept-Encoding", "User-Agent"];
        let headers = line.request["headers"].as_object().unwrap().iter();
        headers
            .filter(|(name, _)| !skip.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect()
    }

    fn send(&self, line: &Line) -> Answer {
        let text = |name: &str| line.request[name].as_str().unwrap();
        self.hub.ask(
            text("method"),
            text("path"),
            &Self::headers(line),
            &self.body(line),
        )
    }

    fn step(&mut self, line: &Line) {
        let answer = self.send(line);
        self.judge(line, &answer);
    }

    fn judge(&mut self, line: &Line, answer: &Answer) {
        if let Err(difference) = self.check(line, answer) {
            self.failures
                .push(format!("line {} ({}): {difference}", line.number, line.case));
        }
    }

    fn check(&mut self, line: &Line, answer: &Answer) -> Result<(), String> {
        for name in ["date", "outpost-time"] {
            if !answer.headers.contains_key(name) {
                return Err(format!("no {name} in {:?}", answer.headers));
            }
        }
        let mut recorded: Option<Value> = line
            .came
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok());
        let mut changed = false;
        for difference in DIFFERENCES
            .iter()
            .filter(|difference| difference.lines.contains(&line.number))
        {
            let because = |error: String| format!("{error} (where “{}” was expected)", difference.reason);
            match difference.otherwise {
                Otherwise::Status(status) => {
                    return if answer.status == status {
                        Ok(())
                    } else {
                        Err(because(format!("{answer:?}")))
                    };
                }
                Otherwise::Says(status, text) => {
                    let text = text.replace("RT1", &Self::id_of("RT1"));
                    let failure = Reply::parse(&answer.body)
                        .ok()
                        .and_then(|reply| reply.as_failure().ok());
                    let said = failure.map(|failure| (failure.status, failure.message));
                    let same = said == Some((status, text)) && answer.status == status;
                    return if same {
                        Ok(())
                    } else {
                        Err(because(format!("{:?} {said:?}", answer.status)))
                    };
                }
                Otherwise::Payload(change) => {
                    let Some(payload) = &mut recorded else { continue };
                    let before = payload.clone();
                    change(payload);
                    changed |= *payload != before;
                }
            }
        }

        let status = line.response["status"].as_u64().unwrap();
        if u64::from(answer.status) != status {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(format!(
                "status {status} recorded, found {}: {text}",
                answer.status
            ));
        }
        for (name, value) in line.response["headers"].as_object().unwrap() {
            let found = answer.headers.get(&name.to_lowercase()).map(String::as_str);
            let framing = ["Content-Length", "Transfer-Encoding"].contains(&name.as_str());
            if !framing && found != value.as_str() {
                return Err(format!("header {name}: {value} recorded, found {found:?}"));
            }
        }
        let body = line.response["body"].as_str().unwrap();
        let Some(payload) = &line.came else {
            let found = String::from_utf8_lossy(&answer.body);
            return if found == body {
                Ok(())
            } else {
                Err(format!("body {body:?} recorded, found {found:?}"))
            };
        };

        let reply = Reply::parse(&answer.body).map_err(|error| error.to_string())?;
        let envelope = Reply::parse(body.as_bytes()).map_err(|error| error.to_string())?;
        if (reply.error, &reply.payload_type) != (envelope.error, &envelope.payload_type) {
            return Err(format!("recorded {envelope:?}, found {reply:?}"));
        }
        let found = String::from_utf8(reply.payload).map_err(|error| error.to_string())?;
        let (Some(recorded), Ok(value)) = (recorded, serde_json::from_str::<Value>(&found)) else {
            return Err(format!("recorded {payload}, found {found}"));
        };
        self.ids.compare(&recorded, &value, "")?;
        let reordered =
            found.matches("\"attributetype\"").count() > 1 || found.matches("\"runtimeid\"").count() > 1;
        if !changed && !reordered && masked(&self.ids.map(payload)) != masked(&found) {
            return Err(format!("not written alike:\nrecorded {payload}\nfound {found}"));
        }
        Ok(())
    }

    /// Asks again and again until what a line recorded is true: a state that time brings.
    fn poll(&mut self, line: &Line, state: i64) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let answer = self.send(line);
            let found = Reply::parse(&answer.body)
                .ok()
                .and_then(|reply| state_of(&reply.payload));
            if found == Some(state) || Instant::now() > deadline {
                return self.judge(line, &answer);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// When a runtime last asked for work, as the colony's owner is told.
    fn last_heard(&self, runtime: &str) -> String {
        let owner = Self::id_of(COLONY_OWNER);
        let payload = serde_json::json!({"colonyid": owner, "msgtype": "getruntimesmsg"}).to_string();
        let body = Envelope::seal(&self.keys[&owner], "getruntimesmsg", payload.as_bytes()).to_bytes();
        let answer = self.hub.ask("POST", "/api", &[], &body);
        let payload = Reply::parse(&answer.body).unwrap().payload;
        let runtimes: Value = serde_json::from_slice(&payload).unwrap();
        let runtimes = runtimes.as_array().unwrap();
        let found = runtimes
            .iter()
            .find(|found| found["runtimeid"] == runtime)
            .unwrap();
        found["lastheardfromtime"].as_str().unwrap().to_owned()
    }

    /// Lines that overlap in time: the assigns wait, one after the other, when the last line is sent.
    fn overlap(&mut self, assigns: &[&Line], submit: &Line) {
        let address = self.hub.address.clone();
        let mut waiting = Vec::new();
        for line in assigns {
            let body = self.body(line);
            let caller = Envelope::parse(&body).unwrap().caller().unwrap();
            let before = self.last_heard(&caller);
            let (address, headers) = (address.clone(), Self::headers(line));
            waiting.push(std::thread::spawn(move || {
                ask(&address, "POST", "/api", &headers, &body)
            }));
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.last_heard(&caller) == before {
                assert!(
                    Instant::now() < deadline,
                    "line {}: the hub never heard of it",
                    line.number
                );
            }
        }
        self.step(submit);
        for (line, waiting) in assigns.iter().zip(waiting) {
            let answer = waiting.join().unwrap();
            self.judge(line, &answer);
        }
    }
}

fn state_of(payload: &[u8]) -> Option<i64> {
    serde_json::from_slice::<Value>(payload).ok()?["state"].as_i64()
}

#[test]
fn the_recording_comes_back_as_it_was() {
    let lines = recording();
    assert_eq!(lines.len(), 225, "of 303");
    let mut replay = Replay::new();
    let mut at = 0;
    while at < lines.len() {
        let line = &lines[at];
        match line.number {
            99 => {
                replay.overlap(&[line], &lines[at + 1]);
                at += 2;
            }
            102 => {
                replay.overlap(&[line, &lines[at + 1]], &lines[at + 2]);
                at += 3;
            }
            // The recorded client slept until the lease was over; here the next recorded state is waited for.
            114 => {
                let poll = &lines[at + 1];
                let state = poll
                    .came
                    .as_ref()
                    .and_then(|text| state_of(text.as_bytes()))
                    .unwrap();
                replay.poll(poll, state);
                replay.step(line);
                at += 1;
            }
            _ if line.case.ends_with("-poll") => {
                let run = lines[at..]
                    .iter()
                    .take_while(|next| next.case == line.case)
                    .count();
                let mut last = None;
                for poll in &lines[at..at + run] {
                    let state = poll.came.as_ref().and_then(|text| state_of(text.as_bytes()));
                    if state != last {
                        replay.poll(poll, state.unwrap());
                        last = state;
                    }
                }
                at += run;
            }
            _ => {
                replay.step(line);
                at += 1;
            }
        }
    }
    assert!(
        replay.failures.is_empty(),
        "{} lines differ:\n{}",
        replay.failures.len(),
        replay.failures.join("\n")
    );
}

#[test]
fn every_difference_is_about_a_line() {
    let lines = recording();
    for difference in DIFFERENCES {
        assert!(
            lines.iter().any(|line| difference.lines.contains(&line.number)),
            "{}",
            difference.reason
        );
    }
}

#[test]
fn a_difference_is_noticed() {
    let process = |id: char, state: i64, at: &str| serde_json::json!({"processid": id.to_string().repeat(64), "state": state, "starttime": at});
    let (never, time) = ("0001-01-01T00:00:00Z", "2022-08-04T02:08:31Z");
    let mut ids = Ids::default();
    assert_eq!(
        ids.compare(
            &process('a', 1, time),
            &process('b', 1, "2026-01-01T00:00:00.5Z"),
            ""
        ),
        Ok(())
    );
    assert!(
        ids.compare(&process('a', 1, time), &process('c', 1, time), "")
            .is_err(),
        "a is b"
    );
    assert!(
        ids.compare(&process('d', 1, time), &process('b', 1, time), "")
            .is_err(),
        "b is a"
    );
    assert!(
        ids.compare(&process('a', 1, time), &process('b', 2, time), "")
            .is_err(),
        "another state"
    );
    assert!(
        ids.compare(&process('a', 1, time), &process('b', 1, never), "")
            .is_err(),
        "an unset time"
    );
    assert!(
        masked("{\n    \"a\": \"2022-08-04T02:08:31Z\"\n}")
            != masked("{\n  \"a\": \"2022-08-04T02:08:31Z\"\n}")
    );
}
