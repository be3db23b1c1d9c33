//! The client against servers that answer oddly, late, in part or not at all.
#![cfg(feature = "client")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may stop it, too"
)]

mod client_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client_server::{Act, Server, failure, http, success};
use outpost::client::{
    BadReply, Caller, Client, ClientError, HttpSettings, HttpTransport, Resend, ServerUrl, Unreachable,
};
use outpost::clock::{BootTime, Clock, SharedClock, Sleep, SystemClock, TestClock};
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{Attribute, Process, ProcessSpec, ProcessState};
use outpost::protocol::{Answer, Envelope, Failure, Kind, PrivateKey, Refusal, Reply, Request, Time};

fn key() -> PrivateKey {
    PrivateKey::from_hex(&"22".repeat(32)).unwrap()
}

fn caller_with(server: &Server, settings: HttpSettings, clock: SharedClock) -> Caller {
    let url = ServerUrl::parse(&server.url()).unwrap();
    let transport = HttpTransport::new(url, settings, clock).unwrap();
    Client::new(transport, Dialect::Runtime).with_key(key())
}

fn caller(server: &Server) -> Caller {
    caller_with(server, HttpSettings::default(), Arc::new(SystemClock))
}

fn process() -> Process {
    Process {
        id: "1f".repeat(32),
        state: ProcessState::Running,
        ..Process::default()
    }
}

fn got(process: &Process) -> Vec<u8> {
    success(Kind::GetProcess, &Answer::Process(Box::new(process.clone())))
}

/// One reply to one `getprocess`.
async fn answered(reply: Vec<u8>) -> Result<Process, ClientError> {
    let server = Server::start([Act::Say(reply)]).await;
    let answer = caller(&server).get_process("x").await;
    assert_eq!(server.requests(), [0], "asked once");
    answer.map(|timed| timed.value)
}

fn problem(result: Result<Process, ClientError>) -> (u16, BadReply) {
    match result.unwrap_err() {
        ClientError::BadReply { status, problem, .. } => (status, *problem),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_sent_is_signed_and_what_comes_back_is_typed() {
    let server = Server::start([Act::Say(got(&process()))]).await;
    let answer = caller(&server).get_process(&process().id).await.unwrap();
    assert_eq!(answer.value.id, process().id);
    assert_eq!(answer.value.state, ProcessState::Running);
    server.with_seen(|seen| {
        let head = &seen[0].head;
        assert!(head.starts_with("POST /api HTTP/1.1\r\n"), "{head}");
        assert!(
            head.to_lowercase()
                .contains("content-type: text/plain; charset=utf-8"),
            "{head}"
        );
        let envelope = Envelope::parse(&seen[0].body).unwrap();
        assert_eq!(envelope.caller(), Ok(key().id()));
        let request = Dialect::Runtime
            .decode_request(Kind::GetProcess, &envelope.payload())
            .unwrap();
        assert_eq!(
            request,
            Request::GetProcess {
                process_id: process().id
            }
        );
    });
}

#[tokio::test]
async fn the_version_needs_no_signature() {
    let version = outpost::protocol::model::Version {
        build_version: "2399dbe".into(),
        build_time: String::new(),
    };
    let server = Server::start([Act::Say(success(
        Kind::Version,
        &Answer::Version(version.clone()),
    ))])
    .await;
    let answer = caller(&server).client().version().await.unwrap();
    assert_eq!(answer.value, version);
    server.with_seen(|seen| assert_eq!(Envelope::parse(&seen[0].body).unwrap().signature(), ""));
}

#[tokio::test]
async fn answers_and_refusals_alike_tell_the_time_of_the_server() {
    let reply = Reply::failure(&Failure {
        status: 403,
        message: "Runtime with Id <x> is not approved".into(),
    });
    let headers = "Date: Thu, 04 Aug 2022 02:08:31 GMT\r\nOutpost-Time: 1659578911000000007\r\n";
    let clock = TestClock::new(0);
    let server = Server::start([Act::SayLate(
        Duration::from_millis(30),
        http(403, headers, &reply.to_bytes()),
    )])
    .await;
    let error = caller_with(&server, HttpSettings::default(), clock.clone())
        .get_process("x")
        .await
        .unwrap_err();
    let stamps = error.stamps().unwrap();
    assert_eq!(stamps.date, Some(Time::parse("2022-08-04T02:08:31Z").unwrap()));
    assert_eq!(
        stamps.outpost_time,
        Some(Time::parse("2022-08-04T02:08:31.000000007Z").unwrap())
    );
    assert!(stamps.is_outpost_hub());
    assert!(stamps.received_at.saturating_since(stamps.sent_at) >= Duration::from_millis(30));
    assert!(stamps.received_at <= clock.now());
}

#[tokio::test]
async fn odd_replies_are_told_apart() {
    // RD 1.7: a crash inside the request.
    assert_eq!(
        problem(answered(http(500, "", b"")).await),
        (500, BadReply::Empty)
    );
    // RD 7.23: a proxy.
    let html = b"<html><body>502 Bad Gateway</body></html>";
    match problem(answered(http(502, "Content-Type: text/html\r\n", html)).await) {
        (502, BadReply::NoEnvelope { excerpt, .. }) => assert!(excerpt.starts_with("<html>"), "{excerpt}"),
        other => panic!("{other:?}"),
    }
    for body in [
        "404 page not found",
        "null",
        "{}",
        "[]",
        "{\"payloadtype\":\"getprocessmsg\",\"payload\":\"e30=\"",
        "{\"error\":false}",
    ] {
        match problem(answered(http(404, "", body.as_bytes())).await) {
            (404, BadReply::NoEnvelope { .. }) => {}
            other => panic!("{body}: {other:?}"),
        }
    }
    // The answer to another request.
    let other = Reply::success("getcolonymsg", b"{}".to_vec()).to_bytes();
    match problem(answered(http(200, "", &other)).await) {
        (
            200,
            BadReply::OtherKind {
                expected: "getprocessmsg",
                found,
            },
        ) => assert_eq!(found, "getcolonymsg"),
        other => panic!("{other:?}"),
    }
    // The right type, but no process in it, or a failure that is none.
    for payload in ["[1]", "7", "", "{\"processid\":7}"] {
        let reply = Reply::success("getprocessmsg", payload.as_bytes().to_vec()).to_bytes();
        assert!(
            matches!(
                problem(answered(http(200, "", &reply)).await),
                (200, BadReply::Payload { .. })
            ),
            "{payload}"
        );
    }
    let reply = Reply {
        payload_type: "error".into(),
        payload: b"7".to_vec(),
        error: true,
    }
    .to_bytes();
    assert!(matches!(
        problem(answered(http(500, "", &reply)).await),
        (500, BadReply::Payload { .. })
    ));
}

#[tokio::test]
async fn the_flag_decides_not_the_status() {
    // A success with an odd status is a success, a failure with status 200 is a failure.
    let reply = Reply::success(
        "getprocessmsg",
        Dialect::Runtime.encode_answer(Kind::GetProcess, &Answer::Process(Box::new(process()))),
    );
    assert_eq!(
        answered(http(500, "", &reply.to_bytes())).await.unwrap().id,
        process().id
    );
    match answered(failure(200, "Failed to get process, process is nil"))
        .await
        .unwrap_err()
    {
        ClientError::Refused(refused) => assert_eq!(refused.failure.status, 200),
        other => panic!("{other:?}"),
    }
    match answered(failure(500, "Failed to get process, process is nil"))
        .await
        .unwrap_err()
    {
        ClientError::Refused(refused) => assert_eq!(refused.refusal, Some(Refusal::Unknown)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_to_assign_is_not_an_error_of_the_server() {
    let text = format!(
        "No processes can be selected for runtime with Id <{}>",
        key().id()
    );
    let server = Server::start([
        Act::Say(failure(200, &text)),
        Act::Say(failure(200, "Failed to iterate processgraph, process is nil")),
    ])
    .await;
    let caller = caller(&server);
    let error = caller.assign("c", false, 1).await.unwrap_err();
    assert!(matches!(error, ClientError::NothingToAssign(_)), "{error:?}");
    assert!(!error.may_have_been_executed());
    // RD 5.7: a damaged workflow assigns and then answers a failure.
    let error = caller.assign("c", false, 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
    assert!(error.may_have_been_executed());
}

#[tokio::test]
async fn a_redirect_is_named_and_not_followed() {
    let error = answered(http(307, "Location: /api\r\n", b"")).await.unwrap_err();
    assert!(error.to_string().contains("redirects to /api"), "{error}");
    assert!(!error.may_have_been_executed());
    assert!(
        answered(http(502, "", b"bad gateway"))
            .await
            .unwrap_err()
            .may_have_been_executed()
    );
}

#[tokio::test]
async fn replies_over_the_limit_are_refused_before_they_fill_the_memory() {
    let settings = HttpSettings {
        max_body: 100,
        ..HttpSettings::default()
    };
    let mut chunked = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10\r\n0123456789abcdef\r\n");
    }
    for reply in [http(200, "", &[b'x'; 101]), chunked] {
        let server = Server::start([Act::Say(reply)]).await;
        let caller = caller_with(&server, settings.clone(), Arc::new(SystemClock));
        match caller.get_process("x").await.unwrap_err() {
            ClientError::BadReply { problem, .. } => assert_eq!(*problem, BadReply::TooLarge { limit: 100 }),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start(vec![Act::Say(got(&process())); 5]).await;
    let caller = caller(&server);
    for _ in 0..5 {
        caller.get_process("x").await.unwrap();
    }
    assert_eq!(server.requests(), [0, 0, 0, 0, 0]);
    assert_eq!(server.connections(), 1);
}

/// The system's clock, put forward by hand.
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn now(&self) -> BootTime {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
    fn wall_nanos(&self) -> i128 {
        SystemClock.wall_nanos()
    }
    fn boot_id(&self) -> String {
        SystemClock.boot_id()
    }
    fn sleep_until(&self, _deadline: BootTime) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_connection_is_not_kept_longer_than_configured() {
    let server = Server::start(vec![Act::Say(got(&process())); 3]).await;
    let clock = Arc::new(HandClock(AtomicU64::new(0)));
    let caller = caller_with(&server, HttpSettings::default(), clock.clone());
    caller.get_process("x").await.unwrap();
    clock.0.store(19, Ordering::SeqCst);
    caller.get_process("x").await.unwrap();
    clock.0.store(40, Ordering::SeqCst);
    caller.get_process("x").await.unwrap();
    assert_eq!(server.requests(), [0, 0, 1]);
}

async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 2.5 s");
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_seen_before_it_is_used() {
    let server = Server::start([
        Act::SayAndClose(got(&process())),
        Act::Say(success(Kind::Submit, &Answer::Process(Box::new(process())))),
    ])
    .await;
    let caller = caller(&server);
    caller.get_process("x").await.unwrap();
    until(|| server.ended() == [0]).await;
    // Nothing was sent on the dead one, so this is no resend: the server saw one submit, on a new connection.
    caller.submit(&ProcessSpec::default()).await.unwrap();
    assert_eq!(server.requests(), [0, 1]);
}

/// A kept connection that the server closes in the moment of the next request: the client can't know whether the request
/// was read.
async fn closing(kind: &str, resend: Resend) -> (Result<(), ClientError>, usize) {
    let server = Server::start([
        Act::Say(got(&process())),
        Act::Close,
        Act::Say(match kind {
            "get" => got(&process()),
            "close" => success(Kind::CloseSuccessful, &Answer::Done),
            "attribute" => success(Kind::AddAttribute, &Answer::Attribute(Attribute::default())),
            "submit" => success(Kind::Submit, &Answer::Process(Box::new(process()))),
            _ => success(Kind::Assign, &Answer::Process(Box::new(process()))),
        }),
    ])
    .await;
    let caller = caller(&server).resending(resend);
    caller.get_process("x").await.unwrap();
    let result = match kind {
        "get" => caller.get_process("x").await.map(drop),
        "close" => caller.close_successful("x").await.map(drop),
        "attribute" => caller.add_attribute(&Attribute::default()).await.map(drop),
        "submit" => caller.submit(&ProcessSpec::default()).await.map(drop),
        _ => caller.assign("c", false, 1).await.map(drop),
    };
    (result, server.requests().len() - 1)
}

#[tokio::test]
async fn nothing_is_resent_behind_the_callers_back() {
    for kind in ["get", "close", "attribute", "submit", "assign"] {
        let (result, sent) = closing(kind, Resend::Never).await;
        let error = result.unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }), "{kind}: {error:?}");
        assert!(error.may_have_been_executed());
        assert_eq!(sent, 1, "{kind}");
    }
}

#[tokio::test]
async fn with_the_policy_only_what_may_be_asked_twice_is_and_only_once() {
    for kind in ["get", "close", "attribute"] {
        let (result, sent) = closing(kind, Resend::Once).await;
        result.unwrap();
        assert_eq!(sent, 2, "{kind}");
    }
    for kind in ["submit", "assign"] {
        let (result, sent) = closing(kind, Resend::Once).await;
        assert!(
            matches!(result, Err(ClientError::Lost { .. })),
            "{kind}: {result:?}"
        );
        assert_eq!(sent, 1, "{kind}");
    }
    let server = Server::start([Act::Close, Act::Close, Act::Close]).await;
    let error = caller(&server)
        .resending(Resend::Once)
        .get_process("x")
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn half_a_reply_is_a_lost_one() {
    let whole = got(&process());
    let head_end = whole.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    for cut in [5, head_end, head_end + 4, whole.len() - 1] {
        let server = Server::start([Act::SayAndClose(whole[..cut].to_vec())]).await;
        let error = caller(&server).get_process("x").await.unwrap_err();
        assert!(matches!(error, ClientError::Lost { .. }), "{cut}: {error:?}");
    }
    // What is no HTTP at all.
    let server = Server::start([Act::Say(b"220 mail.example.org ESMTP\r\n".to_vec())]).await;
    let error = caller(&server).get_process("x").await.unwrap_err();
    assert!(matches!(error, ClientError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_means_that_nothing_was_sent() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let url = ServerUrl::parse(&format!("http://{address}")).unwrap();
    let transport = HttpTransport::new(url, HttpSettings::default(), Arc::new(SystemClock)).unwrap();
    let error = Client::new(transport, Dialect::Runtime)
        .with_key(key())
        .submit(&ProcessSpec::default())
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ClientError::Unreachable {
                cause: Unreachable::Refused,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.may_have_been_executed());
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_connection_that_does_not_stand_in_time_is_given_up() {
    // TCP stands, TLS does not: nobody answers the hello.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = ServerUrl::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    let settings = HttpSettings {
        connect: Duration::from_millis(100),
        ..HttpSettings::default()
    };
    // Without the system's authorities there would be nobody to trust.
    let ca = tempfile::NamedTempFile::new().unwrap();
    let signed = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    std::fs::write(ca.path(), signed.cert.pem()).unwrap();
    let settings = HttpSettings {
        ca_file: Some(ca.path().to_owned()),
        ..settings
    };
    let transport = HttpTransport::new(url, settings, Arc::new(SystemClock)).unwrap();
    let error = Client::new(transport, Dialect::Runtime)
        .version()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Unreachable {
                cause: Unreachable::TimedOut { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!error.may_have_been_executed());
}

#[tokio::test]
async fn the_deadline_for_the_answer_is_longer_than_the_long_poll() {
    let server = Server::start([Act::Say(got(&process())), Act::Silence]).await;
    let clock = TestClock::new(0);
    let caller = caller_with(&server, HttpSettings::default(), clock.clone());
    // The connection stands before the time is paused, which then jumps from timer to timer.
    caller.get_process("x").await.unwrap();
    tokio::time::pause();
    let start = clock.now();
    let error = caller.assign("c", false, 100).await.unwrap_err();
    let waited = clock.now().saturating_since(start);
    assert!(
        matches!(error, ClientError::TimedOut { after, .. } if after == Duration::from_secs(115)),
        "{error:?}"
    );
    assert!(error.may_have_been_executed());
    assert!((115..116).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let mut started = b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n".to_vec();
    started.extend_from_slice(b"{\"payload");
    let server = Server::start([Act::Say(got(&process())), Act::Say(started)]).await;
    let settings = HttpSettings {
        body: Duration::from_millis(100),
        ..HttpSettings::default()
    };
    let caller = caller_with(&server, settings, Arc::new(SystemClock));
    caller.get_process("x").await.unwrap();
    let error = caller.get_process("x").await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn who_gives_up_hangs_up() {
    let server = Server::start([Act::Silence]).await;
    let caller = caller(&server);
    let gave_up = tokio::time::timeout(Duration::from_millis(200), caller.assign("c", false, 100)).await;
    assert!(gave_up.is_err());
    until(|| server.ended() == [0]).await;
}

#[tokio::test]
async fn many_at_once_share_what_is_open() {
    let server = Server::start(vec![Act::SayLate(Duration::from_millis(50), got(&process())); 6]).await;
    let caller = caller(&server);
    let three = || async {
        let (a, b, c) = tokio::join!(
            caller.get_process("a"),
            caller.get_process("b"),
            caller.get_process("c")
        );
        a.and(b).and(c).unwrap();
    };
    three().await;
    three().await;
    assert_eq!(server.connections(), 3);
}
