//! The tolerant reader of JSON (RD 1.5) and the runtime dialect on it.

use outpost::protocol::dialect::Dialect;
use outpost::protocol::json::{self, Value};
use outpost::protocol::{Kind, Request};

/// The reader takes all that serde_json takes and makes the same of it; requests and answers of every kind survive being
/// written and read again.
pub fn run(data: &[u8]) {
    let ours = json::read(data);
    if let Ok(theirs) = serde_json::from_slice::<serde_json::Value>(data)
        && depth(&theirs) <= json::MAX_DEPTH
    {
        let ours = ours.as_ref().expect("serde_json reads it");
        assert_eq!(plain(ours), theirs);
    }
    if ours.is_err() {
        return;
    }
    let dialect = Dialect::Runtime;
    // The payload names its kind in `msgtype`; of the others only that they are refused matters.
    for &kind in Kind::ALL {
        if let Ok(request) = dialect.decode_request(kind, data) {
            assert_eq!(request.kind(), kind);
            let again = dialect.decode_request(kind, &dialect.encode_request(&request));
            assert_eq!(again.as_ref(), Ok(&request));
        }
        if let Ok(answer) = dialect.decode_answer(kind, data) {
            let written = dialect.encode_answer(kind, &answer);
            let again = dialect.decode_answer(kind, &written);
            assert_eq!(
                again.as_ref(),
                Ok(&answer),
                "{}",
                String::from_utf8_lossy(&written)
            );
            json::read(&dialect.show(&answer)).expect("what is shown is JSON");
        }
    }
    let strangers = dialect.strangers_in_spec(data);
    if let Ok(spec) = dialect.read_spec(data) {
        let sent = dialect.encode_request(&Request::Submit(Box::new(spec.clone())));
        let received = dialect.decode_request(Kind::Submit, &sent);
        assert_eq!(received, Ok(Request::Submit(Box::new(spec))));
    } else if !matches!(ours, Ok(Value::Object(_))) {
        assert!(strangers.is_empty(), "{strangers:?}");
    }
}

/// How deep it nests, counted as the reader counts.
fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The tree as serde_json has it.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(text) => serde_json::from_str(text).expect("a number of JSON"),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
    }
}
