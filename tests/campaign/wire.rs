//! HTTP messages as bytes, as far as the proxy has to know them: head, length, and what is asked or told.

use std::io;

use outpost::protocol::dialect::Dialect;
use outpost::protocol::envelope::{Envelope, Reply};
use outpost::protocol::{Answer, Kind, Request};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::ReadHalf;

/// A whole message: its head and as many bytes as that announces. `None`: the sender is done; what it began is in `buffer`.
pub async fn read_message(from: &mut ReadHalf<'_>, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(head) = head_length(buffer) {
            let length = head + body_length(&buffer[..head]);
            if buffer.len() >= length {
                let rest = buffer.split_off(length);
                return Ok(Some(std::mem::replace(buffer, rest)));
            }
        }
        if from.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4)
}

fn body_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// What a request asks for.
pub fn asked(message: &[u8]) -> Option<Request> {
    let envelope = Envelope::parse(&message[head_length(message)?..]).ok()?;
    let kind = Dialect::Runtime.kind(envelope.payload_type())?;
    Dialect::Runtime.decode_request(kind, &envelope.payload()).ok()
}

/// What an answer tells, unless it is a failure.
pub fn told(message: &[u8]) -> Option<(Kind, Answer)> {
    let reply = Reply::parse(&message[head_length(message)?..]).ok()?;
    let kind = Dialect::Runtime.kind(&reply.payload_type)?;
    let answer = Dialect::Runtime.decode_answer(kind, &reply.payload).ok()?;
    (!reply.error).then_some((kind, answer))
}

/// The id of the process that an answer assigns.
pub fn assigned(message: &[u8]) -> Option<String> {
    match told(message) {
        Some((Kind::Assign, Answer::Process(process))) => Some(process.id),
        _ => None,
    }
}

/// An answer that tells this. The header that shows the server's time to the nanosecond is `stamp`, if there is one; the one
/// that shows it to the second is left out.
pub fn answer(kind: Kind, answer: &Answer, stamp: Option<i128>) -> Vec<u8> {
    let payload = Dialect::Runtime.encode_answer(kind, answer);
    let body = Reply::success(Dialect::Runtime.payload_type(kind), payload).to_bytes();
    let stamp = stamp.map_or_else(String::new, |stamp| format!("{STAMP} {stamp}\r\n"));
    let mut message = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{stamp}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    message.extend(body);
    message
}

const STAMP: &str = "outpost-time:";

/// The server's time in an answer's head, nanoseconds since 1970.
pub fn stamp(message: &[u8]) -> Option<i128> {
    String::from_utf8_lossy(&message[..head_length(message)?])
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix(STAMP))
        .and_then(|value| value.trim().parse().ok())
}
