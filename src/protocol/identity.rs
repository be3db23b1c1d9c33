//! Keys, ids, signing and recovering (RD 2).
//!
//! An id is the SHA3-256 of the *hex text* of the uncompressed public key. A signature is 65 bytes `r ‖ s ‖ v` over the
//! SHA3-256 of the text that is signed; the receiver learns who signed by recovering the public key from it.
//!
//! The agent only signs. [`recover`] pulls libsecp256k1's verification tables (1 MB) into a binary, so only the
//! hub may call it; `tests/binaries.rs` looks.

use std::fmt;

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SecretKey};
use sha3::{Digest, Sha3_256};

/// Length of an id in hex digits. The only thing about an id that is ever checked (RD 2.2).
pub const ID_LENGTH: usize = 64;

/// The order n of the curve's group, big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// n / 2, rounded down: the largest `s` that is accepted (“low S”).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// p − n, the field's size less the group's order: an `r` that overflowed n must be below it.
const FIELD_MINUS_ORDER: [u8; 32] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x45, 0x51, 0x23, 0x19, 0x50, 0xb7, 0x5f, 0xc4, 0x40,
    0x2d, 0xa1, 0x72, 0x2f, 0xc9, 0xba, 0xee,
];

/// SHA3-256 (FIPS 202, not Keccak-256) in lower-case hex.
pub fn sha3_hex(bytes: &[u8]) -> String {
    hex::encode(Sha3_256::digest(bytes))
}

/// The id that a process or graph gets: SHA3-256 of the text form of a random UUIDv4 (RD 2.2).
///
/// `random` are 16 random bytes.
pub fn fresh_id(random: [u8; 16]) -> String {
    let mut uuid = random;
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    let text = hex::encode(uuid);
    let uuid = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ]
    .join("-");
    sha3_hex(uuid.as_bytes())
}

/// Why a text is not a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not hex digits.
    #[error(transparent)]
    Hex(#[from] BadHex),
    /// Not 32 bytes.
    #[error("Invalid private key length, should be 256 bits")]
    Length,
    /// Zero, or not below the curve's order.
    #[error("Invalid private key")]
    Range,
}

/// Why a text is not hex, in the original's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHex {
    /// A character that is no hex digit.
    #[error("encoding/hex: invalid byte: {}", character(*.0))]
    Digit(u8),
    /// A digit is missing.
    #[error("encoding/hex: odd length hex string")]
    OddLength,
}

/// `U+007A 'z'`, or without the character where it can't be shown.
fn character(byte: u8) -> String {
    let shown = char::from(byte);
    if matches!(byte, 0x20..=0x7e | 0xa1..=0xac | 0xae..=0xff) {
        format!("U+{byte:04X} '{shown}'")
    } else {
        format!("U+{byte:04X}")
    }
}

/// Hex of any case to bytes.
fn decode_hex(text: &str) -> Result<Vec<u8>, BadHex> {
    // A wrong digit is reported before a missing one, wherever it stands.
    if let Some(byte) = text.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        return Err(BadHex::Digit(byte));
    }
    hex::decode(text).map_err(|_| BadHex::OddLength)
}

/// A secp256k1 private key. Never shown, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(SecretKey);

impl PrivateKey {
    /// Makes a key out of a source of 32 random bytes, which is asked again in the (2⁻¹²⁸) case that they are no key.
    ///
    /// # Errors
    /// Those of the source.
    pub fn generate<E>(mut random: impl FnMut() -> Result<[u8; 32], E>) -> Result<Self, E> {
        loop {
            if let Ok(key) = SecretKey::from_secret_bytes(random()?) {
                return Ok(PrivateKey(key));
            }
        }
    }

    /// Reads 64 hex digits of any case.
    ///
    /// # Errors
    /// [`BadKey`], in the original's words.
    pub fn from_hex(text: &str) -> Result<Self, BadKey> {
        let bytes: [u8; 32] = decode_hex(text)?.try_into().map_err(|_| BadKey::Length)?;
        SecretKey::from_secret_bytes(bytes)
            .map(PrivateKey)
            .map_err(|_| BadKey::Range)
    }

    /// The key as 64 lower-case hex digits, for a key file.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_secret_bytes())
    }

    /// The public key's uncompressed point as 130 lower-case hex digits.
    pub fn public_hex(&self) -> String {
        public_hex(&PublicKey::from_secret_key(&self.0))
    }

    /// The id that goes with this key.
    pub fn id(&self) -> String {
        sha3_hex(self.public_hex().as_bytes())
    }

    /// Signs a text: 130 hex digits `r ‖ s ‖ v`, deterministic (RFC 6979), low S (RD 2.3).
    pub fn sign(&self, text: &str) -> String {
        let signature = RecoverableSignature::sign_ecdsa_recoverable(message(text), &self.0);
        let (v, rs) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&rs);
        bytes[64] = v.to_u8();
        hex::encode(bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PrivateKey(…)")
    }
}

fn public_hex(key: &PublicKey) -> String {
    hex::encode(key.serialize_uncompressed())
}

fn message(text: &str) -> Message {
    Message::from_digest(Sha3_256::digest(text.as_bytes()).into())
}

/// Why no caller can be recovered from a signature, in the original's words (RD 2.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not hex digits.
    #[error(transparent)]
    Hex(#[from] BadHex),
    /// Not 65 bytes; above all the empty signature.
    #[error("Invalid signature length")]
    Length,
    /// r is zero.
    #[error("Failed to recover public key: signature R is 0")]
    RZero,
    /// r is not below the curve's order.
    #[error("Failed to recover public key: signature R is >= curve order")]
    RRange,
    /// s is zero.
    #[error("Failed to recover public key: signature S is 0")]
    SZero,
    /// s is not below the curve's order.
    #[error("Failed to recover public key: signature S is >= curve order")]
    SRange,
    /// v says that r overflowed, but it can't have; or v is none.
    #[error("Failed to recover public key: calculated Rx is larger than curve P")]
    VRange,
    /// No point has this x.
    #[error("Failed to recover public key: invalid square root")]
    NoPoint,
    /// s is in the upper half.
    #[error("Invalid signature")]
    HighS,
}

/// Who signed `text`: the id of the key that made `signature` (hex of `r ‖ s ‖ v`).
///
/// A valid signature over another text recovers some unrelated id, so only what the id may do can be refused.
///
/// # Errors
/// [`BadSignature`] where nothing can be recovered.
pub fn recover(text: &str, signature: &str) -> Result<String, BadSignature> {
    let bytes: [u8; 65] = decode_hex(signature)?
        .try_into()
        .map_err(|_| BadSignature::Length)?;
    let (r, s, v) = (&bytes[..32], &bytes[32..64], bytes[64]);
    let zero = [0; 32];
    if r == zero {
        return Err(BadSignature::RZero);
    }
    if r >= &ORDER[..] {
        return Err(BadSignature::RRange);
    }
    if s == zero {
        return Err(BadSignature::SZero);
    }
    if s >= &ORDER[..] {
        return Err(BadSignature::SRange);
    }
    // Bit 2 is ignored (RD 2.4: “Oddity”).
    let v = match v {
        0..=7 => v & 3,
        _ => return Err(BadSignature::VRange),
    };
    if v >= 2 && r >= &FIELD_MINUS_ORDER[..] {
        return Err(BadSignature::VRange);
    }
    let v = RecoveryId::try_from(i32::from(v)).map_err(|_| BadSignature::VRange)?;
    let signature = RecoverableSignature::from_compact(&bytes[..64], v).map_err(|_| BadSignature::SRange)?;
    let key = signature
        .recover_ecdsa(message(text))
        .map_err(|_| BadSignature::NoPoint)?;
    if s > &HALF_ORDER[..] {
        return Err(BadSignature::HighS);
    }
    Ok(sha3_hex(public_hex(&key).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
        assert_eq!(key.to_hex(), "22".repeat(32));
    }

    #[test]
    fn generating_asks_again_for_what_is_no_key() {
        let mut answers = [[0xff; 32], [0; 32], [0x22; 32]].into_iter();
        let key = PrivateKey::generate(|| answers.next().ok_or("asked too often")).unwrap();
        assert_eq!(key.to_hex(), "22".repeat(32));
        assert_eq!(
            PrivateKey::generate(|| Err::<[u8; 32], _>("no entropy")),
            Err("no entropy")
        );
    }

    #[test]
    fn fresh_ids_hash_a_version_4_uuid() {
        assert_eq!(
            fresh_id([0xff; 16]),
            sha3_hex(b"ffffffff-ffff-4fff-bfff-ffffffffffff")
        );
        assert_eq!(
            fresh_id([0; 16]),
            sha3_hex(b"00000000-0000-4000-8000-000000000000")
        );
    }

    #[test]
    fn wrong_digits_are_named_as_the_original_does() {
        assert_eq!(character(b'z'), "U+007A 'z'");
        assert_eq!(character(0x01), "U+0001");
        assert_eq!(character(0xe9), "U+00E9 'é'");
        assert_eq!(
            decode_hex("abz"),
            Err(BadHex::Digit(b'z')),
            "before the odd length"
        );
    }

    proptest::proptest! {
        #[test]
        fn the_signer_is_recovered(secret: [u8; 32], text: String) {
            if let Ok(key) = PrivateKey::from_hex(&hex::encode(secret)) {
                proptest::prop_assert_eq!(recover(&text, &key.sign(&text)), Ok(key.id()));
            }
        }

        #[test]
        fn any_signature_is_survived(text: String, bytes: Vec<u8>, digits: String) {
            let _ = recover(&text, &hex::encode(bytes));
            let _ = recover(&text, &digits);
        }
    }
}
