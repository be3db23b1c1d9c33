//! Requests and replies as they come off the wire (RD 1.2, 1.3).

use std::sync::OnceLock;

use outpost::protocol::{Envelope, PrivateKey, Reply, base64};

/// Whatever is read is written and read again as the same, and what is sealed comes out whole.
pub fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        assert_eq!(Envelope::parse(&envelope.to_bytes()), Ok(envelope.clone()));
        let _ = (envelope.caller(), envelope.fingerprint());
        let payload = envelope.payload();
        assert_eq!(base64::decode(&base64::encode(&payload)), payload);
    }
    if let Ok(reply) = Reply::parse(data) {
        assert_eq!(Reply::parse(&reply.to_bytes()), Ok(reply.clone()));
        if let Ok(failure) = reply.as_failure() {
            let said = Reply::failure(&failure);
            assert!(said.error);
            assert_eq!(said.as_failure(), Ok(failure));
        }
    }

    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    let key = KEY.get_or_init(|| PrivateKey::from_hex(&"22".repeat(32)).unwrap());
    let sealed = Envelope::seal(key, "submitprocessmsg", data).to_bytes();
    let opened = Envelope::parse(&sealed).unwrap();
    assert_eq!(opened.payload(), data);
    assert_eq!(opened.caller(), Ok(key.id()));
    let reply = Reply::success("submitprocessmsg", data.to_vec());
    assert_eq!(Reply::parse(&reply.to_bytes()), Ok(reply));
}
