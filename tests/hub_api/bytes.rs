//! What is no request: garbage, too much of it, other routes; HTTP around the API.

use super::*;

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
