//! The signed request and the unsigned reply around every payload (RD 1.2, 1.3); the same in both dialects.

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::identity::{BadSignature, PrivateKey, recover};
use super::json::{self, JsonError};
use super::{base64, identity};

/// A request on its way: what is asked, signed by who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Envelope {
    /// 130 hex digits over the text of `payload`; may be empty in the unsigned version request.
    signature: String,
    /// Selects the handler; repeated inside the payload, which ties it to the signature.
    #[serde(rename = "payloadtype")]
    payload_type: String,
    /// Base64 of the payload's JSON. Only this text is signed.
    payload: String,
}

impl Envelope {
    /// Signs a payload.
    pub fn seal(key: &PrivateKey, payload_type: &str, payload: &[u8]) -> Self {
        Envelope::seal_by(|text| key.sign(text), payload_type, payload)
    }

    /// Has a payload signed by `sign`, which answers as [`PrivateKey::sign`].
    pub fn seal_by(sign: impl FnOnce(&str) -> String, payload_type: &str, payload: &[u8]) -> Self {
        let payload = base64::encode(payload);
        Envelope {
            signature: sign(&payload),
            payload_type: payload_type.to_owned(),
            payload,
        }
    }

    /// A payload without a signature: the version request.
    pub fn unsigned(payload_type: &str, payload: &[u8]) -> Self {
        Envelope {
            signature: String::new(),
            payload_type: payload_type.to_owned(),
            payload: base64::encode(payload),
        }
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// [`JsonError`], which the wire answers with 400 and the error's text.
    pub fn parse(body: &[u8]) -> Result<Self, JsonError> {
        json::from_slice(body)
    }

    /// The body that goes over the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_compact(self)
    }

    /// What is asked.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The signature as sent.
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// The payload's JSON, read as leniently as the original does.
    pub fn payload(&self) -> Vec<u8> {
        base64::decode(&self.payload)
    }

    /// The id of who signed it. Only for servers: see [`identity`].
    ///
    /// # Errors
    /// [`BadSignature`], which the wire answers with 403 and the error's text.
    pub fn caller(&self) -> Result<String, BadSignature> {
        recover(&self.payload, &self.signature)
    }

    /// A short name of the signed text, for logs: the first digits of its hash.
    pub fn fingerprint(&self) -> String {
        let mut digits = identity::sha3_hex(self.payload.as_bytes());
        digits.truncate(12);
        digits
    }
}

/// The payload type of every failure.
const ERROR: &str = "error";

/// A reply. Not signed: who needs to know the server needs TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request's payload type, or `error`.
    pub payload_type: String,
    /// The payload's JSON.
    pub payload: Vec<u8>,
    /// Whether it is a failure. This decides, not the status: “nothing to assign” comes with status 200.
    pub error: bool,
}

/// The shape on the wire. All members are required of a reply: what lacks `error` is no reply.
#[derive(Serialize, Deserialize)]
struct WireReply {
    payloadtype: String,
    payload: String,
    error: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireFailure {
    status: i64,
    message: String,
}

impl Reply {
    /// A success.
    pub fn success(payload_type: &str, payload: Vec<u8>) -> Self {
        Reply {
            payload_type: payload_type.to_owned(),
            payload,
            error: false,
        }
    }

    /// A failure.
    pub fn failure(failure: &Failure) -> Self {
        let wire = WireFailure {
            status: i64::from(failure.status),
            message: failure.message.clone(),
        };
        Reply {
            payload_type: ERROR.to_owned(),
            payload: json::to_compact(&wire),
            error: true,
        }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// Whatever is no reply envelope: an empty body, HTML from a proxy.
    pub fn parse(body: &[u8]) -> Result<Self, JsonError> {
        let wire: WireReply = json::from_slice(body)?;
        Ok(Reply {
            payload_type: wire.payloadtype,
            payload: base64::decode(&wire.payload),
            error: wire.error,
        })
    }

    /// The body that goes over the wire: three members in this order, compact.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_compact(&WireReply {
            payloadtype: self.payload_type.clone(),
            payload: base64::encode(&self.payload),
            error: self.error,
        })
    }

    /// The failure in a reply that is one.
    ///
    /// # Errors
    /// The payload is no failure.
    pub fn as_failure(&self) -> Result<Failure, JsonError> {
        let wire: WireFailure = json::from_slice(&self.payload)?;
        // A status that is none says nothing; the text counts.
        Ok(Failure {
            status: u16::try_from(wire.status).unwrap_or_default(),
            message: wire.message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_names_its_signer() {
        let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        let sent = Envelope::seal(&key, "getcoloniesmsg", b"{\"msgtype\":\"getcoloniesmsg\"}");
        let received = Envelope::parse(&sent.to_bytes()).unwrap();
        assert_eq!(received, sent);
        assert_eq!(received.caller(), Ok(key.id()));
        assert_eq!(received.payload(), b"{\"msgtype\":\"getcoloniesmsg\"}");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for body in [
            "",
            "null",
            "<html>502</html>",
            "{}",
            "{\"payloadtype\":\"x\",\"payload\":\"\"}",
            "[]",
        ] {
            assert!(Reply::parse(body.as_bytes()).is_err(), "{body}");
        }
        let failure = Failure {
            status: 200,
            message: "No <process>".into(),
        };
        let reply = Reply::parse(&Reply::failure(&failure).to_bytes()).unwrap();
        assert!(reply.error);
        assert_eq!(reply.as_failure(), Ok(failure));
    }
}
