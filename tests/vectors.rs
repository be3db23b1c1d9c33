//! Every vector of `tests/data/vectors-runtime.json`: recomputed by two independent implementations, and accepted
//! by an original server (docs/protocol/runtime-dialect.md, 2.5).

#![allow(clippy::unwrap_used)] // clippy allows it in test functions, not in what those share

use outpost::protocol::dialect::Dialect;
use outpost::protocol::failure::Failure;
use outpost::protocol::identity::{recover, sha3_hex};
use outpost::protocol::model::AttributeKind;
use outpost::protocol::{Envelope, PrivateKey, Reply, Request};
use serde_json::Value;

const DIALECT: Dialect = Dialect::Runtime;

fn vectors(section: &str) -> Vec<Value> {
    let text = include_str!("data/vectors-runtime.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let section = all[section]
        .as_array()
        .unwrap_or_else(|| panic!("no section {section}"))
        .clone();
    assert!(!section.is_empty());
    section
}

/// A member that must be a text.
fn text<'a>(vector: &'a Value, member: &str) -> &'a str {
    vector[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member} in {vector}"))
}

#[test]
fn hashes() {
    for vector in vectors("hash_vectors") {
        assert_eq!(
            sha3_hex(text(&vector, "input_utf8").as_bytes()),
            text(&vector, "sha3_256_hex")
        );
    }
}

#[test]
fn identities() {
    for vector in vectors("identity_vectors") {
        let key = PrivateKey::from_hex(text(&vector, "private_key")).unwrap();
        assert_eq!(key.public_hex(), text(&vector, "public_key_uncompressed"));
        assert_eq!(key.id(), text(&vector, "id"));
        assert_eq!(
            PrivateKey::from_hex(&text(&vector, "private_key").to_uppercase()).unwrap(),
            key
        );
    }
}

#[test]
fn rejected_private_keys() {
    for vector in vectors("rejected_private_keys") {
        let error = PrivateKey::from_hex(text(&vector, "private_key")).unwrap_err();
        assert_eq!(error.to_string(), text(&vector, "error"), "{vector}");
    }
}

#[test]
fn signatures() {
    for vector in vectors("signature_vectors") {
        let key = PrivateKey::from_hex(text(&vector, "private_key")).unwrap();
        let message = text(&vector, "message_utf8");
        assert_eq!(key.sign(message), text(&vector, "signature"), "{vector}");
        assert_eq!(
            recover(message, text(&vector, "signature")).unwrap(),
            text(&vector, "id")
        );
    }
}

#[test]
fn recovered_ids() {
    for vector in vectors("recovery_vectors") {
        let id = recover(text(&vector, "message_utf8"), text(&vector, "signature"));
        assert_eq!(id.as_deref(), Ok(text(&vector, "recovered_id")), "{vector}");
    }
}

#[test]
fn rejected_signatures() {
    for vector in vectors("rejected_signature_vectors") {
        let error = recover(text(&vector, "message_utf8"), text(&vector, "signature")).unwrap_err();
        assert_eq!(error.to_string(), text(&vector, "error"), "{vector}");
        assert_eq!(vector["http_status"], 403);
    }
}

#[test]
fn attribute_ids() {
    for vector in vectors("attributeid_vectors") {
        let number = vector["attributetype"].as_i64().unwrap();
        // Through the wire: what the number means is the dialect's business.
        let payload = serde_json::json!({
            "attribute": {"targetid": vector["targetid"], "key": vector["key"], "attributetype": number},
            "msgtype": "addattributemsg",
        });
        let kind = DIALECT.kind("addattributemsg").unwrap();
        let request = DIALECT
            .decode_request(kind, payload.to_string().as_bytes())
            .unwrap();
        let Request::AddAttribute(attribute) = request else {
            panic!("{request:?}")
        };
        assert_eq!(
            DIALECT.attribute_id(&attribute),
            text(&vector, "attributeid"),
            "{vector}"
        );
        if number == 4 {
            assert_eq!(attribute.kind, AttributeKind::Env);
        }
    }
}

#[test]
fn envelopes() {
    for vector in vectors("envelope_vectors") {
        let payload_type = text(&vector, "payloadtype");
        let payload = text(&vector, "payload_json").as_bytes();
        let sealed = match vector["private_key"].as_str() {
            Some(key) => Envelope::seal(&PrivateKey::from_hex(key).unwrap(), payload_type, payload),
            None => Envelope::unsigned(payload_type, payload),
        };
        assert_eq!(
            String::from_utf8(sealed.to_bytes()).unwrap(),
            text(&vector, "body"),
            "{vector}"
        );
        assert_eq!(sealed.signature(), text(&vector, "signature"));
        assert_eq!(
            sha3_hex(text(&vector, "payload_base64").as_bytes()),
            text(&vector, "digest_sha3_256_of_payload_base64")
        );

        let received = Envelope::parse(text(&vector, "body").as_bytes()).unwrap();
        assert_eq!(received.payload(), payload);
        match vector["signer_id"].as_str() {
            Some(id) => assert_eq!(received.caller().as_deref(), Ok(id)),
            None => assert_eq!(
                received.caller().unwrap_err().to_string(),
                "Invalid signature length"
            ),
        }
        let kind = DIALECT.kind(payload_type).unwrap();
        assert_eq!(
            DIALECT.decode_request(kind, &received.payload()).unwrap().kind(),
            kind
        );
    }
}

#[test]
fn replies() {
    for vector in vectors("reply_vectors") {
        let body = text(&vector, "body");
        let reply = Reply::parse(body.as_bytes()).unwrap();
        assert_eq!(reply.payload, text(&vector, "payload_json").as_bytes());
        assert_eq!(String::from_utf8(reply.to_bytes()).unwrap(), body);
        if reply.error {
            let failure = reply.as_failure().unwrap();
            assert_eq!(u64::from(failure.status), vector["http_status"].as_u64().unwrap());
            assert_eq!(Reply::failure(&failure), reply);
        }
    }
}

/// Requests that the examples send without all their members: written by hand, not by a full client.
const SHORT_FORMS: [&str; 3] = [
    "submitprocessespecmsg",
    "submitworkflowspecmsg",
    "addgeneratormsg",
];

#[test]
fn examples_of_messages() {
    let mut rewritten = 0;
    for vector in vectors("message_examples") {
        let payload_type = text(&vector, "payloadtype");
        let kind = DIALECT.kind(payload_type).unwrap();
        let payload = text(&vector, "request_payload");
        let request = DIALECT.decode_request(kind, payload.as_bytes()).unwrap();
        assert_eq!(request.kind(), kind);

        // A full request is written as it was read, byte for byte.
        let written = String::from_utf8(DIALECT.encode_request(&request)).unwrap();
        if written == payload {
            rewritten += 1;
        } else {
            assert!(
                SHORT_FORMS.contains(&payload_type) || payload.contains(": "),
                "{written}\n{payload}"
            );
            assert_eq!(DIALECT.decode_request(kind, written.as_bytes()).unwrap(), request);
        }

        let reply = text(&vector, "reply_payload");
        if vector["reply_error"].as_bool().unwrap() {
            let failure: Value = serde_json::from_str(reply).unwrap();
            let failure = Failure {
                status: failure["status"].as_u64().unwrap().try_into().unwrap(),
                message: text(&failure, "message").to_owned(),
            };
            // Each documented failure is understood, and would be said in the same words (but for the database's).
            let refusal = DIALECT
                .refusal(kind, &failure)
                .unwrap_or_else(|| panic!("{failure:?}"));
            let said = DIALECT.failure(Some(kind), &refusal);
            assert_eq!(said.status, failure.status);
            if !failure.message.starts_with("pq:") {
                assert_eq!(said, failure);
            }
            continue;
        }
        let answer = DIALECT
            .decode_answer(kind, reply.as_bytes())
            .unwrap_or_else(|error| panic!("{error}: {reply}"));
        let written = String::from_utf8(DIALECT.encode_answer(kind, &answer)).unwrap();
        assert_eq!(written, reply, "{payload_type}");
    }
    assert!(
        rewritten >= 30,
        "only {rewritten} requests are written as the examples write them"
    );
}
