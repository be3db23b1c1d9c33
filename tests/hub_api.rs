//! The hub's API through the real program: refusals, order of checks, garbage, restarts, hang-ups.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy allows them in test functions, not in what those share

mod common;

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{COLONY, Hub, answer, connect, http, key, post, process, receive, sealed, send};
use outpost::protocol::base64;
use outpost::protocol::model::{
    Attribute, AttributeKind, Colony, ProcessState, Runtime, RuntimeState, SUBMISSION_ID,
};
use outpost::protocol::{Answer, Envelope, Failure, PrivateKey, Reply, Request};

const RT1: u8 = 0x11;
const RT2: u8 = 0x12;
const STRANGER: u8 = 0x77;

fn started() -> (tempfile::TempDir, Hub) {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("data"));
    (dir, hub)
}

/// A hub with two approved runtimes of type `cli`.
fn with_runtimes() -> (tempfile::TempDir, Hub) {
    let (dir, hub) = started();
    hub.runtime(&key(RT1), "cli");
    hub.runtime(&key(RT2), "cli");
    (dir, hub)
}

fn refused(status: u16, message: impl Into<String>) -> Result<Answer, Failure> {
    Err(Failure {
        status,
        message: message.into(),
    })
}

fn not_member(caller: &PrivateKey, hub: &Hub) -> String {
    format!(
        "Runtime with Id <{}> is not a member of Colony with Id <{}> (Runtime does not exist)",
        caller.id(),
        hub.colony_key().id()
    )
}

#[test]
fn a_life_from_colony_to_closed_process() {
    let (_dir, hub) = with_runtimes();
    let (runtime, owner) = (key(RT1), hub.colony_key());
    let colony_id = owner.id();
    let mut spec = hub.spec("cli");
    spec.env.insert("TEST".into(), "testenv".into());
    let submitted = hub.submit(&runtime, spec);
    assert_eq!(submitted.state, ProcessState::Waiting);
    let assigned = process(hub.assign(&runtime, 10));
    assert_eq!(assigned.id, submitted.id);
    assert_eq!(assigned.spec.env["TEST"], "testenv");
    let attribute = Attribute {
        target_id: assigned.id.clone(),
        target_colony_id: colony_id.clone(),
        kind: AttributeKind::Out,
        key: "output".into(),
        value: "hello\n".into(),
        ..Attribute::default()
    };
    let added = match hub.ask(&runtime, &Request::AddAttribute(attribute)) {
        Ok(Answer::Attribute(added)) => added,
        other => panic!("{other:?}"),
    };
    let attribute_id = added.id.clone();
    assert_eq!(
        hub.ask(&key(RT2), &Request::GetAttribute { attribute_id }),
        Ok(Answer::Attribute(added))
    );
    let process_id = assigned.id.clone();
    assert_eq!(
        hub.ask(&runtime, &Request::CloseSuccessful { process_id }),
        Ok(Answer::Done)
    );
    let closed = hub.get(&key(RT2), &assigned.id);
    assert_eq!(closed.state, ProcessState::Successful);
    assert_eq!(closed.attributes.len(), 2);
    let statistics = match hub.ask(&owner, &Request::GetColonyStatistics { colony_id }) {
        Ok(Answer::Statistics(statistics)) => statistics,
        other => panic!("{other:?}"),
    };
    assert_eq!((statistics.colonies, statistics.runtimes), (1, 2));
    assert_eq!(statistics.successful_processes, 1);
    assert_eq!(statistics.waiting_processes + statistics.running_processes, 0);
    assert!(hub.stop().success());
}

#[test]
fn who_may_not_is_refused_in_the_documented_words() {
    let (_dir, hub) = with_runtimes();
    let (server, owner, stranger) = (hub.server_key(), hub.colony_key(), key(STRANGER));
    let (rt1, rt2) = (key(RT1), key(RT2));
    let colony_id = owner.id();
    let nowhere = "0".repeat(64);
    let no_colony = format!("Colony <{nowhere}> does not exists");
    let pending = key(0x13);
    let of_pending = Runtime {
        id: pending.id(),
        runtime_type: "cli".into(),
        colony_id: colony_id.clone(),
        ..Runtime::default()
    };
    hub.ask(&owner, &Request::AddRuntime(of_pending.clone())).unwrap();
    let not_approved = format!("Runtime with Id <{}> is not approved", pending.id());
    let second = key(0x21);
    let other_colony = Colony {
        id: second.id(),
        name: "second".into(),
    };
    hub.ask(&server, &Request::AddColony(Some(other_colony))).unwrap();
    let elsewhere = format!(
        "Runtime with Id <{}> is not a member of Colony with Id <{}>, (Recovered Id and Colony Id missmatches)",
        rt1.id(),
        second.id()
    );
    let waiting = hub.submit(&rt1, hub.spec("lamp"));
    let taken = hub.submit(&rt1, hub.spec("cli"));
    assert_eq!(process(hub.assign(&rt1, -1)).id, taken.id);
    let done = hub.submit(&rt1, hub.spec("cli"));
    assert_eq!(process(hub.assign(&rt1, -1)).id, done.id);
    let close = |id: &str| Request::CloseSuccessful {
        process_id: id.to_owned(),
    };
    let fail = |id: &str| Request::CloseFailed {
        process_id: id.to_owned(),
        error_message: "no".into(),
    };
    hub.ask(&rt1, &close(&done.id)).unwrap();
    let by_colony = |colony_id: &str| Request::GetColony {
        colony_id: colony_id.to_owned(),
    };
    let list = |count, state| Request::GetProcesses {
        colony_id: colony_id.clone(),
        count,
        state,
    };
    let attribute = |target: &str| {
        Request::AddAttribute(Attribute {
            target_id: target.to_owned(),
            key: "k".into(),
            ..Attribute::default()
        })
    };
    let assign = |colony_id: &str, timeout| Request::Assign {
        colony_id: colony_id.to_owned(),
        latest: false,
        timeout,
    };
    let mut elsewhere_spec = hub.spec("cli");
    elsewhere_spec.conditions.colony_id.clone_from(&nowhere);
    let mut too_long = hub.spec("cli");
    too_long.max_exec_time = 1 << 31;
    let mut with_nul = hub.spec("cli");
    with_nul.func = "a\0b".into();
    let colony = |id: &str| {
        Request::AddColony(Some(Colony {
            id: id.into(),
            name: "x".into(),
        }))
    };
    let runtime = |id: &str| Request::GetRuntime {
        runtime_id: id.to_owned(),
    };
    const SERVER_ONLY: &str = "RecoveredID does not match Server Id";
    const OWNER_ONLY: &str = "RecoveredID does not match Colony Id";

    #[rustfmt::skip] // a table
    let cases: Vec<(&str, &PrivateKey, Request, u16, String)> = vec![
        ("S only", &owner, Request::GetColonies, 403, SERVER_ONLY.into()),
        ("S only", &rt1, Request::GetStatistics, 403, SERVER_ONLY.into()),
        ("S before the missing object", &rt1, Request::AddColony(None), 403, SERVER_ONLY.into()),
        ("missing object", &server, Request::AddColony(None),
            400, "Failed to add colony, colony is nil".into()),
        ("short id", &server, colony("abc"), 400, "Failed to add colony, invalid colony id length".into()),
        ("twice", &server, colony(&colony_id),
            400, "pq: duplicate key value violates unique constraint \"prod_colonies_pkey\"".into()),
        ("C only", &rt1, Request::AddRuntime(of_pending.clone()), 403, OWNER_ONLY.into()),
        ("twice", &owner, Request::AddRuntime(of_pending),
            400, "pq: duplicate key value violates unique constraint \"prod_runtimes_pkey\"".into()),
        ("C only", &rt1, Request::ApproveRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("unknown before not allowed", &stranger, Request::ApproveRuntime { runtime_id: nowhere.clone() },
            500, "Failed to approve runtime, runtime is nil".into()),
        ("C only", &rt1, Request::RejectRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("C only", &rt1, Request::DeleteRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("C only", &rt1, Request::DeleteAllProcesses { colony_id: colony_id.clone() }, 403, OWNER_ONLY.into()),
        ("unknown", &rt1, runtime(&nowhere), 500, "Failed to get runtime, runtime is nil".into()),
        ("R only", &owner, runtime(&rt1.id()), 403, not_member(&owner, &hub)),
        ("R only", &owner, by_colony(&colony_id), 403, not_member(&owner, &hub)),
        ("unknown colony", &rt1, by_colony(&nowhere), 403, no_colony.clone()),
        ("empty colony", &rt1, by_colony(""), 403, "Colony <> does not exists".into()),
        ("another's colony", &rt1, by_colony(&second.id()), 403, elsewhere.clone()),
        ("not approved", &pending, by_colony(&colony_id), 403, not_approved.clone()),
        ("stranger, R or C", &stranger, list(1, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("stranger, r or C", &stranger, Request::GetRuntimes { colony_id: colony_id.clone() },
            403, OWNER_ONLY.into()),
        ("pending, R or C", &pending, list(1, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("stranger, R", &stranger, Request::Submit(Box::new(hub.spec("cli"))),
            403, not_member(&stranger, &hub)),
        ("not approved", &pending, Request::Submit(Box::new(hub.spec("cli"))), 403, not_approved.clone()),
        ("unknown colony", &rt1, Request::Submit(Box::new(elsewhere_spec)), 403, no_colony.clone()),
        ("33 bits", &rt1, Request::Submit(Box::new(too_long)),
            400, "pq: value \"2147483648\" is out of range for type integer".into()),
        ("NUL", &rt1, Request::Submit(Box::new(with_nul)),
            400, "pq: invalid byte sequence for encoding \"UTF8\": 0x00".into()),
        ("not approved", &pending, assign(&colony_id, 1), 403, not_approved.clone()),
        ("not allowed before a bad timeout", &pending, assign(&colony_id, 0), 403, not_approved),
        ("bad timeout", &rt1, assign(&colony_id, 0),
            400, "Invalid timeout value, timeout cannot be zero".into()),
        ("another's colony", &rt1, assign(&second.id(), 1), 403, elsewhere),
        ("nothing there", &rt2, assign(&colony_id, -1),
            200, format!("No processes can be selected for runtime with Id <{}>", rt2.id())),
        ("too many", &rt1, list(101, ProcessState::Waiting),
            400, "Count is larger than MaxCount limit <100>".into()),
        ("negative", &rt1, list(-1, ProcessState::Waiting), 400, "pq: LIMIT must not be negative".into()),
        ("no such state", &rt1, list(1, ProcessState::Other(7)),
            400, "Failed to get processes, invalid msg.State".into()),
        ("not allowed before too many", &stranger, list(101, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("unknown process", &stranger, Request::GetProcess { process_id: nowhere.clone() },
            500, "Failed to get process, process is nil".into()),
        ("stranger", &stranger, Request::GetProcess { process_id: waiting.id.clone() },
            403, not_member(&stranger, &hub)),
        ("C is no R", &owner, Request::GetProcess { process_id: waiting.id.clone() },
            403, not_member(&owner, &hub)),
        ("stranger", &stranger, Request::DeleteProcess { process_id: waiting.id.clone() },
            403, not_member(&stranger, &hub)),
        ("unknown process", &rt1, Request::DeleteProcess { process_id: nowhere.clone() },
            500, "Failed to delete process, process is nil".into()),
        ("waiting", &rt1, close(&waiting.id),
            403, "Failed to close process as successful, not allowed to close process".into()),
        ("another's", &rt2, close(&taken.id),
            403, "Failed to close process as successful, not allowed to close process".into()),
        ("another's", &rt2, fail(&taken.id),
            403, "Failed to close process as failed, not allowed to close process".into()),
        ("stranger", &stranger, close(&taken.id), 403, not_member(&stranger, &hub)),
        ("unknown process", &rt1, close(&nowhere),
            500, "Failed to close process as successful, process is nil".into()),
        ("unknown process", &rt1, fail(&nowhere),
            500, "Failed to close process as failed, process is nil".into()),
        ("closed", &rt1, fail(&done.id), 400, "Tried to set successful process as failed".into()),
        ("nobody's", &rt1, attribute(&waiting.id),
            403, "Failed to add attribute, only runtime with id <> is allowed to set attributes".into()),
        ("another's", &rt2, attribute(&taken.id),
            403, format!("Failed to add attribute, only runtime with id <{}> is allowed to set attributes", rt1.id())),
        ("unknown process", &rt1, attribute(&nowhere), 500, "Failed to add attribute, process is nil".into()),
        ("unknown attribute", &rt1, Request::GetAttribute { attribute_id: nowhere.clone() },
            400, "Attribute does not exists".into()),
        ("not here", &server, Request::GetCluster, 501, "this server does not support that message".into()),
    ];
    for (case, caller, request, status, message) in cases {
        let got = hub.ask(caller, &request);
        assert_eq!(got, refused(status, message), "{case}: {request:?}");
    }

    // Closing twice, and what is failed.
    assert_eq!(hub.ask(&rt1, &close(&done.id)), Ok(Answer::Done));
    hub.ask(&rt1, &fail(&taken.id)).unwrap();
    assert_eq!(
        hub.ask(&rt1, &close(&taken.id)),
        refused(400, "Tried to set failed process as completed")
    );
    assert_eq!(
        hub.ask(&rt1, &fail(&taken.id)),
        refused(400, "Tried to set failed process as failed")
    );
    // Rejected: not even what is its own.
    let runtime_id = rt1.id();
    hub.ask(&owner, &Request::RejectRuntime { runtime_id }).unwrap();
    assert_eq!(
        hub.ask(&rt1, &close(&done.id)),
        refused(403, format!("Runtime with Id <{}> is not approved", rt1.id()))
    );
    // An unknown colony is no error to delete (RD 5.9).
    let colony_id = nowhere;
    assert_eq!(
        hub.ask(&server, &Request::DeleteColony { colony_id }),
        Ok(Answer::Done)
    );
}

/// Status and message of a refusal; no message if the body is empty.
fn said(response: &common::Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    let reply = Reply::parse(&response.body).unwrap_or_else(|error| {
        panic!(
            "no reply ({error}): {:?}",
            String::from_utf8_lossy(&response.body)
        )
    });
    assert!(reply.error);
    assert_eq!(reply.payload_type, "error");
    let failure = reply.as_failure().unwrap();
    assert_eq!(failure.status, response.status);
    (failure.status, failure.message)
}

#[test]
fn garbage_of_many_kinds_is_refused_and_hurts_nobody() {
    let (_dir, hub) = with_runtimes();
    let rt1 = key(RT1);
    let colony_id = hub.colony_key().id();
    let good = sealed(
        &rt1,
        &Request::GetColony {
            colony_id: colony_id.clone(),
        },
    );
    let sealed_text = |kind: &str, payload: &str| Envelope::seal(&rt1, kind, payload.as_bytes()).to_bytes();
    // An envelope with this signature over a fixed payload.
    let signed = |signature: &str| {
        let payload =
            base64::encode(format!(r#"{{"colonyid":"{colony_id}","msgtype":"getcolonymsg"}}"#).as_bytes());
        format!(r#"{{"signature":"{signature}","payloadtype":"getcolonymsg","payload":"{payload}"}}"#)
            .into_bytes()
    };
    let over_raw_payload = |payload: &str| {
        let signature = rt1.sign(payload);
        format!(r#"{{"signature":"{signature}","payloadtype":"getcolonymsg","payload":"{payload}"}}"#)
            .into_bytes()
    };
    const ANY: &str = "";
    const COLONY_JSON: &str = "Failed to get colony, invalid JSON";
    const SUBMIT_JSON: &str = "Failed to submit process, invalid JSON";
    const LENGTH: &str = "Invalid signature length";
    const KIND: &str = "invalid rpcMsg.PayloadType";
    const RX: &str = "Failed to recover public key: calculated Rx is larger than curve P";
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let one = format!("{:064x}", 1);
    let zero = "0".repeat(64);
    let submit = |spec: &str| {
        sealed_text(
            "submitprocessespecmsg",
            &format!(r#"{{"spec":{spec},"msgtype":"submitprocessespecmsg"}}"#),
        )
    };
    let conditions = format!(r#""conditions":{{"colonyid":"{colony_id}"}}"#);
    let get = r#""msgtype":"getcolonymsg""#;
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);

    #[rustfmt::skip] // a table
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        // No JSON.
        ("empty body", b"".to_vec(), 400, "unexpected end of JSON input"),
        ("white space", b" \n\t ".to_vec(), 400, "unexpected end of JSON input"),
        ("cut off", b"{\"signature\":".to_vec(), 400, "unexpected end of JSON input"),
        ("cut within a text", b"{\"signature\":\"ab".to_vec(), 400, "unexpected end of JSON input"),
        ("words", b"hello".to_vec(), 400, ANY),
        ("HTML", b"<html></html>".to_vec(), 400, ANY),
        ("zeros", vec![0; 100], 400, ANY),
        ("0xff", vec![0xff; 100], 400, ANY),
        ("every byte", (0..=255).collect(), 400, ANY),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, ANY),
        ("a byte order mark", [b"\xef\xbb\xbf".as_slice(), &good].concat(), 400, ANY),
        ("two values", b"{} {}".to_vec(), 400, ANY),
        ("a comma too many", b"{\"signature\":\"\",}".to_vec(), 400, ANY),
        ("single quotes", b"{'signature':''}".to_vec(), 400, ANY),
        ("a comment", b"{/**/}".to_vec(), 400, ANY),
        ("a control character", b"{\"signature\":\"a\nb\"}".to_vec(), 400, ANY),
        ("a bad escape", b"{\"signature\":\"\\x\"}".to_vec(), 400, ANY),
        ("a half escape", b"{\"signature\":\"\\u12\"}".to_vec(), 400, ANY),
        ("nested deep", deep(100_000).into_bytes(), 400, ANY),
        ("opened deep", "{\"a\":".repeat(100_000).into_bytes(), 400, ANY),
        // JSON, but no envelope.
        ("null", b"null".to_vec(), 400, ANY),
        ("a list", b"[]".to_vec(), 400, ANY),
        ("a text", b"\"x\"".to_vec(), 400, ANY),
        ("a number", b"5".to_vec(), 400, ANY),
        ("true", b"true".to_vec(), 400, ANY),
        ("a payload that is a number", b"{\"payload\":5}".to_vec(), 400, ANY),
        ("a signature that is a list", b"{\"signature\":[]}".to_vec(), 400, ANY),
        ("a type that is an object", b"{\"payloadtype\":{}}".to_vec(), 400, ANY),
        ("nothing in it", b"{}".to_vec(), 403, LENGTH),
        ("all null", b"{\"signature\":null,\"payload\":null,\"payloadtype\":null}".to_vec(), 403, LENGTH),
        ("other members", b"{\"jsonrpc\":\"2.0\",\"method\":\"x\",\"id\":1}".to_vec(), 403, LENGTH),
        // Signatures.
        ("empty signature", signed(""), 403, LENGTH),
        ("64 bytes", signed(&"22".repeat(64)), 403, LENGTH),
        ("66 bytes", signed(&"22".repeat(66)), 403, LENGTH),
        ("very long", signed(&"22".repeat(100_000)), 403, LENGTH),
        ("no hex", signed(&"z".repeat(130)), 403, "encoding/hex: invalid byte: U+007A 'z'"),
        ("no ASCII", signed("é"), 403, "encoding/hex: invalid byte: U+00C3 'Ã'"),
        ("odd", signed(&"2".repeat(129)), 403, "encoding/hex: odd length hex string"),
        ("r = 0", signed(&format!("{zero}{one}00")), 403, "Failed to recover public key: signature R is 0"),
        ("s = 0", signed(&format!("{one}{zero}00")), 403, "Failed to recover public key: signature S is 0"),
        ("r = n", signed(&format!("{order}{one}00")),
            403, "Failed to recover public key: signature R is >= curve order"),
        ("s = n", signed(&format!("{one}{order}00")),
            403, "Failed to recover public key: signature S is >= curve order"),
        ("v = 27", signed(&format!("{one}{one}1b")), 403, RX),
        ("v = 255", signed(&format!("{one}{one}ff")), 403, RX),
        ("no such point", signed(&format!("{}{one}00", format_args!("{:064x}", 5))),
            403, "Failed to recover public key: invalid square root"),
        // Payload types.
        ("unknown type", sealed_text("nosuchmsg", "{}"), 403, KIND),
        ("empty type", sealed_text("", "{}"), 403, KIND),
        ("another case", sealed_text("GetColonyMsg", "{}"), 403, KIND),
        ("the reply's type", sealed_text("error", "{}"), 403, KIND),
        ("a subscription", sealed_text("subscribeprocessmsg", r#"{"msgtype":"subscribeprocessmsg"}"#),
            403, KIND),
        ("JavaScript's typo", sealed_text("closefailedfulmsg", "{}"), 403, KIND),
        ("very long type", sealed_text(&"x".repeat(100_000), "{}"), 403, KIND),
        // Payloads.
        ("empty payload", over_raw_payload(""), 400, COLONY_JSON),
        ("no base64", over_raw_payload("***"), 400, COLONY_JSON),
        ("half base64", over_raw_payload("eyJ"), 400, COLONY_JSON),
        ("payload null", sealed_text("getcolonymsg", "null"), 400, COLONY_JSON),
        ("payload list", sealed_text("getcolonymsg", "[]"), 400, COLONY_JSON),
        ("payload words", sealed_text("getcolonymsg", "this is not json"), 400, COLONY_JSON),
        ("payload twice", sealed_text("getcolonymsg", "{} {}"), 400, COLONY_JSON),
        ("payload deep", sealed_text("getcolonymsg", &format!(r#"{{"x":{}}}"#, deep(1000))), 400, COLONY_JSON),
        ("a number for an id", sealed_text("getcolonymsg", &format!(r#"{{"colonyid":5,{get}}}"#)),
            400, COLONY_JSON),
        ("another msgtype", sealed_text("getcolonymsg", r#"{"msgtype":"getcoloniesmsg"}"#),
            400, "Failed to get colony, msg.MsgType does not match payloadType"),
        ("no msgtype", sealed_text("getcolonymsg", "{}"),
            400, "Failed to get colony, msg.MsgType does not match payloadType"),
        ("an id that is HTML", sealed_text("getcolonymsg", &format!(r#"{{"colonyid":"<b>",{get}}}"#)),
            403, "Colony <<b>> does not exists"),
        ("an id with NUL", sealed_text("getcolonymsg", &format!(r#"{{"colonyid":"\u0000",{get}}}"#)),
            403, "Colony <\0> does not exists"),
        ("an id that is SQL", sealed_text("getcolonymsg", &format!(r#"{{"colonyid":"' OR 1=1 --",{get}}}"#)),
            403, "Colony <' OR 1=1 --> does not exists"),
        // Specs.
        ("no spec", submit("null"), 400, "Failed to submit process spec, msg.ProcessSpec is nil"),
        ("a list for a spec", submit("[]"), 400, SUBMIT_JSON),
        ("a text for a number", submit(&format!(r#"{{"maxretries":"three",{conditions}}}"#)), 400, SUBMIT_JSON),
        ("1.0 for 1", submit(&format!(r#"{{"maxretries":1.0,{conditions}}}"#)), 400, SUBMIT_JSON),
        ("1e2 for 100", submit(&format!(r#"{{"maxretries":1e2,{conditions}}}"#)), 400, SUBMIT_JSON),
        ("a huge number", submit(&format!(r#"{{"maxretries":{},{conditions}}}"#, "9".repeat(400))),
            400, SUBMIT_JSON),
        ("a text for a list", submit(&format!(r#"{{"args":"x",{conditions}}}"#)), 400, SUBMIT_JSON),
        ("a number in a list", submit(&format!(r#"{{"args":[1],{conditions}}}"#)), 400, SUBMIT_JSON),
        ("a number in env", submit(&format!(r#"{{"env":{{"A":1}},{conditions}}}"#)), 400, SUBMIT_JSON),
        ("a text for a truth", sealed_text("assignprocessmsg", r#"{"latest":"yes","timeout":1,"msgtype":"assignprocessmsg"}"#),
            400, "Failed to assign process, invalid JSON"),
        ("version without payload", b"{\"payloadtype\":\"versionmsg\"}".to_vec(),
            400, "Failed to get server version, invalid JSON"),
    ];
    assert!(cases.len() >= 50);
    for (case, body, status, message) in cases {
        let got = said(&post(hub.addr, &body));
        assert_eq!(got.0, status, "{case}: {got:?}");
        assert!(!got.1.is_empty(), "{case}");
        assert!(message.is_empty() || got.1 == message, "{case}: {got:?}");
    }
    // A flipped v recovers somebody else.
    let envelope = Envelope::parse(&good).unwrap();
    let mut signature = envelope.signature().to_owned();
    let last = signature.pop().unwrap();
    signature.push(if last == '0' { '1' } else { '0' });
    let text = String::from_utf8(good.clone()).unwrap();
    let flipped = text.replace(envelope.signature(), &signature);
    let (status, message) = said(&post(hub.addr, flipped.as_bytes()));
    assert_eq!(status, 403);
    assert!(message.ends_with("(Runtime does not exist)"), "{message}");
    // And nobody was hurt.
    assert_eq!(post(hub.addr, &good).status, 200);
    assert!(hub.stop().success());
}

#[test]
fn too_large_a_body_is_refused_at_one_byte_beyond_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, "[http]\nmax_body = 5000\n").unwrap();
    let hub = Hub::start_with(&dir.path().join("data"), &["--config", config.to_str().unwrap()]);
    let at_the_limit = " ".repeat(5000);
    assert_eq!(
        said(&post(hub.addr, at_the_limit.as_bytes())).1,
        "unexpected end of JSON input"
    );
    for size in [5001, 3_000_000] {
        let (status, message) = said(&post(hub.addr, " ".repeat(size).as_bytes()));
        assert_eq!(status, 400);
        assert_eq!(
            message,
            "the request is larger than the 5000 bytes that this server takes"
        );
    }
}

#[test]
fn routes_cors_and_time() {
    let (_dir, hub) = started();
    let version = br#"{"payloadtype":"versionmsg","payload":"eyJtc2d0eXBlIjoidmVyc2lvbm1zZyJ9"}"#;
    let get = |method, path, headers| http(hub.addr, method, path, headers, b"");

    let health = get("GET", "/health", &[]);
    assert_eq!((health.status, health.body.len()), (200, 0));
    assert_eq!(health.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(health.header("access-control-allow-origin"), None);

    for (method, path) in [
        ("GET", "/api"),
        ("GET", "/"),
        ("PUT", "/api"),
        ("POST", "/health"),
        ("POST", "/nope"),
        ("OPTIONS", "/api"),
        ("GET", "/api/"),
        ("POST", "/api/x"),
    ] {
        let response = get(method, path, &[]);
        assert_eq!(response.status, 404, "{method} {path}");
        assert_eq!(response.text(), "404 page not found");
        assert_eq!(response.header("content-type"), Some("text/plain"));
    }
    let mut stream = connect(hub.addr);
    send(&mut stream, "HEAD", "/health", &[("Connection", "close")], b"");
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");

    let moved = http(hub.addr, "POST", "/api/", &[], version);
    assert_eq!(moved.status, 307);
    assert_eq!(moved.header("location"), Some("/api"));

    let origin = [("Origin", "http://example.com")];
    let foreign = http(hub.addr, "POST", "/api", &origin, version);
    assert_eq!(foreign.status, 200);
    assert_eq!(foreign.header("access-control-allow-origin"), Some("*"));
    assert_eq!(foreign.header("content-type"), Some("text/plain; charset=utf-8"));
    for path in ["/api", "/health"] {
        let preflight = get("OPTIONS", path, &origin);
        assert_eq!(preflight.status, 204, "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,HEAD"),
            (
                "access-control-allow-headers",
                "Origin,Content-Length,Content-Type",
            ),
            ("access-control-max-age", "43200"),
        ] {
            assert_eq!(preflight.header(name), Some(value), "{path} {name}");
        }
        assert_eq!(preflight.header("access-control-allow-credentials"), None);
    }

    // Both times, consistent with each other, on every reply, going forward.
    let mut last = 0;
    for response in [&health, &moved, &foreign] {
        let nanos: i128 = response.header("outpost-time").unwrap().parse().unwrap();
        assert!(nanos > last);
        last = nanos;
        let date = response.header("date").unwrap();
        let parsed = httpdate(date);
        assert_eq!(i128::from(parsed), nanos / 1_000_000_000, "{date}");
    }
}

/// Seconds since 1970 of a date of this century, counted in another way than the hub does.
fn httpdate(text: &str) -> i64 {
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = parts[..] else {
        panic!("{text}");
    };
    let number = |text: &str| text.parse::<i64>().unwrap();
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(month).unwrap() / 3;
    let year = number(year);
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before: i64 = (1970..year).map(|year| 365 + i64::from(leap(year))).sum();
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let days = before + lengths[..month].iter().sum::<i64>() + number(day) - 1;
    ((days * 24 + number(hour)) * 60 + number(minute)) * 60 + number(second)
}

#[test]
fn a_waiting_runtime_is_woken_by_a_submit_and_one_alone() {
    let (_dir, hub) = with_runtimes();
    let mut polls: Vec<_> = [RT1, RT2]
        .map(|runtime| {
            let mut stream = connect(hub.addr);
            let body = sealed(&key(runtime), &hub.assign_request(20));
            send(&mut stream, "POST", "/api", &[], &body);
            stream
        })
        .into();
    wait_until_waiting(&hub, &[RT1, RT2]);
    let first = hub.submit(&key(RT1), hub.spec("cli"));
    let (sender, receiver) = mpsc::channel();
    for mut stream in polls.drain(..) {
        let sender = sender.clone();
        thread::spawn(move || sender.send(receive(&mut stream)).unwrap());
    }
    let request = hub.assign_request(20);
    let woken = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(process(answer(&request, &woken)).id, first.id);
    // The other one was left waiting: it is there for the next process.
    let second = hub.submit(&key(RT1), hub.spec("cli"));
    let woken = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(process(answer(&request, &woken)).id, second.id);
}

/// Polls come in over connections of their own; that they wait shows in the time the hub last heard of them.
fn wait_until_waiting(hub: &Hub, runtimes: &[u8]) {
    let start = Instant::now();
    for runtime in runtimes {
        let runtime_id = key(*runtime).id();
        let request = Request::GetRuntime { runtime_id };
        loop {
            match hub.ask(&key(*runtime), &request) {
                Ok(Answer::Runtime(runtime)) if !runtime.last_heard_from.is_never() => break,
                Ok(Answer::Runtime(_)) => assert!(start.elapsed() < common::PATIENCE),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn who_hung_up_gets_nothing() {
    let (_dir, hub) = with_runtimes();
    for round in 0..20 {
        let runtime = key(0x40 + round);
        hub.runtime(&runtime, "cli");
        let mut stream = connect(hub.addr);
        if round % 2 == 0 {
            // An answer that is never read makes the hang-up a reset.
            send(&mut stream, "GET", "/health", &[], b"");
        }
        let body = sealed(&runtime, &hub.assign_request(60));
        send(&mut stream, "POST", "/api", &[], &body);
        wait_until_waiting(&hub, &[0x40 + round]);
        // Gone without a word.
        drop(stream);
        let submitted = hub.submit(&key(RT1), hub.spec("cli"));
        // Whether the hub noticed before or after the submit: the process ends up with the one who is there.
        let assigned = process(hub.assign(&key(RT2), 10));
        assert_eq!(assigned.id, submitted.id, "round {round}");
        assert_eq!(assigned.retries, 0);
        let process_id = assigned.id;
        hub.ask(&key(RT2), &Request::CloseSuccessful { process_id })
            .unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_retries_go_on_counting() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let hub = Hub::start(&data);
    let (rt1, owner, server) = (key(RT1), hub.colony_key(), hub.server_key());
    hub.runtime(&rt1, "cli");
    let mut spec = hub.spec("cli");
    spec.max_exec_time = 1;
    spec.max_retries = 2;
    spec.env.insert(SUBMISSION_ID.into(), "once".into());
    let submitted = hub.submit(&rt1, spec.clone());
    let waiting: Vec<String> = (0..20).map(|_| hub.submit(&rt1, hub.spec("lamp")).id).collect();
    let mut hub = hub;
    for round in 0..3 {
        // The long poll is woken by the requeue at the deadline, also after a restart within the lease.
        let assigned = process(hub.assign(&rt1, 20));
        assert_eq!(
            (assigned.id.clone(), assigned.retries),
            (submitted.id.clone(), round)
        );
        hub.kill();
        hub = Hub::start(&data);
        assert_eq!(
            hub.get(&rt1, &submitted.id).start_time,
            assigned.start_time.rounded_to_micros()
        );
        let again = hub.submit(&rt1, spec.clone());
        assert_eq!(
            again.id, submitted.id,
            "the same submission, also after a restart"
        );
    }
    let deadline = Instant::now() + common::PATIENCE;
    let failed = loop {
        let is = hub.get(&rt1, &submitted.id);
        if is.state == ProcessState::Failed {
            break is;
        }
        assert!(Instant::now() < deadline, "{is:?}");
    };
    assert_eq!(failed.retries, 2);
    assert_eq!(failed.error_message, "Maximum execution time limit exceeded");
    for id in waiting {
        assert_eq!(hub.get(&rt1, &id).state, ProcessState::Waiting);
    }
    assert_eq!((hub.colony_key(), hub.server_key()), (owner, server), "keys stay");
}

#[test]
fn stopping_answers_those_who_wait() {
    let (_dir, hub) = with_runtimes();
    let mut stream = connect(hub.addr);
    let request = hub.assign_request(1000);
    send(&mut stream, "POST", "/api", &[], &sealed(&key(RT1), &request));
    // A connection without a request does not keep it up either.
    let _idle = connect(hub.addr);
    wait_until_waiting(&hub, &[RT1]);
    let message = format!(
        "No processes can be selected for runtime with Id <{}>",
        key(RT1).id()
    );
    hub.terminate();
    assert_eq!(answer(&request, &receive(&mut stream)), refused(200, message));
    assert!(hub.wait().success());
}

#[test]
fn a_second_hub_in_the_same_folder_is_refused() {
    let (_dir, hub) = started();
    let output = common::command()
        .args(["--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&hub.dir)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another outpost-hub is using it"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_port_in_use_is_said_with_the_remedy() {
    let (dir, hub) = started();
    let output = common::command()
        .args(["--listen", &hub.addr.to_string(), "--data-dir"])
        .arg(dir.path().join("another"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&hub.addr.to_string()) && said.contains("choose another `listen`"),
        "{said}"
    );
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, "lisen = '127.0.0.1:0'\n").unwrap();
    let config = config.to_str().unwrap();
    let run = |args: &[&str]| {
        let output = common::command().args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    for (args, code, words) in [
        (&["--help"][..], 0, "Usage: outpost-hub"),
        (&["--version"], 0, "outpost-hub 0."),
        (&["--check"], 0, "good"),
        (&["--check", "--listen", "[::1]:0"], 0, "good"),
        (&["--check", "--listen", "nowhere"], 2, "`listen`"),
        (&["--check", "--listen=127.0.0.1:x"], 2, "`listen`"),
        (&["--check", "--init-colony", "../../etc"], 2, "`init_colony`"),
        (&["--check", "--config", config], 2, "did you mean `listen`?"),
        (&["--check", "--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (&["--lisen", "x"], 2, "unknown argument `--lisen`"),
        (&["--listen"], 2, "--listen needs HOST:PORT"),
        (&["--check=yes"], 2, "takes no value"),
        (&["serve"], 2, "unknown argument `serve`"),
    ] {
        let (status, said) = run(args);
        assert_eq!(status, Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[test]
fn the_first_start_makes_keys_that_nobody_else_can_read() {
    use std::os::unix::fs::MetadataExt;
    let (dir, hub) = started();
    let mode = |path: &str| std::fs::metadata(hub.dir.join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    assert_eq!(mode("keys"), 0o700);
    assert_eq!(mode("keys/server.key"), 0o600);
    assert_eq!(mode(&format!("keys/colony-{COLONY}.key")), 0o600);
    let colonies = hub.ask(&hub.server_key(), &Request::GetColonies);
    let expected = Colony {
        id: hub.colony_key().id(),
        name: COLONY.into(),
    };
    assert_eq!(colonies, Ok(Answer::Colonies(vec![expected])));

    // An owner elsewhere: no key is made, and the id counts.
    let owner = key(0x55);
    let data = dir.path().join("other");
    let config = dir.path().join("hub.toml");
    std::fs::write(&config, format!("server_id = '{}'\n", owner.id())).unwrap();
    let other = Hub::start_with(&data, &["--config", config.to_str().unwrap()]);
    assert!(!data.join("keys/server.key").exists());
    assert!(other.ask(&owner, &Request::GetStatistics).is_ok());
    assert!(other.ask(&hub.server_key(), &Request::GetStatistics).is_err());
}

#[test]
fn a_runtime_is_seen_with_its_state_and_comes_back_after_deletion() {
    let (_dir, hub) = with_runtimes();
    let owner = hub.colony_key();
    let runtime_id = key(RT2).id();
    let state = |hub: &Hub| {
        let colony_id = owner.id();
        match hub.ask(&owner, &Request::GetRuntimes { colony_id }) {
            Ok(Answer::Runtimes(all)) => all.iter().map(|one| one.state).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    use RuntimeState::{Approved, Rejected};
    assert_eq!(state(&hub), [Approved, Approved]);
    let reject = Request::RejectRuntime {
        runtime_id: runtime_id.clone(),
    };
    hub.ask(&owner, &reject).unwrap();
    assert_eq!(state(&hub), [Approved, Rejected]);
    hub.ask(&owner, &Request::DeleteRuntime { runtime_id }).unwrap();
    assert_eq!(state(&hub), [Approved]);
    hub.runtime(&key(RT2), "cli");
    assert_eq!(state(&hub), [Approved, Approved]);
}
