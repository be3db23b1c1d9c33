//! Bytes to a tree.

use super::JsonError;

/// How deep lists and objects may nest.
pub const MAX_DEPTH: usize = 64;

/// A JSON value as it was written: members in order with their duplicates, numbers as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, unread: `1`, `1.0` and `1e0` differ (RD 1.5).
    Number(String),
    /// A text; what was no Unicode is U+FFFD by now.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// Names and values, duplicates included.
    Object(Vec<(String, Value)>),
}

/// Reads one value that fills the whole input.
///
/// # Errors
/// [`JsonError`] that says which byte, and what was expected there.
pub fn read(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Reader { bytes, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.unexpected("after top-level value")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The byte at the current place can't stand there.
    fn unexpected(&self, expected: &'static str) -> JsonError {
        match self.peek() {
            None => JsonError::End,
            Some(byte) => JsonError::Character {
                byte,
                at: self.at,
                expected,
            },
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.unexpected("looking for beginning of value")),
        }
    }

    fn literal(&mut self, text: &'static str, value: Value) -> Result<Value, JsonError> {
        for wanted in text.bytes() {
            if self.peek() != Some(wanted) {
                return Err(self.unexpected("in literal true, false or null"));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected("in numeric literal"));
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // No leading zeros.
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        // Only ASCII was passed over.
        Ok(Value::Number(
            String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned(),
        ))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(byte) if byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            push_lossy(&mut text, &self.bytes[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut text)?;
                }
                _ => return Err(self.unexpected("in string literal")),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), JsonError> {
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                text.push(self.surrogates(unit)?);
                return Ok(());
            }
            _ => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        text.push(plain);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("in \\u hexadecimal character escape"));
            };
            unit = unit * 16 + digit;
            self.at += 1;
        }
        Ok(unit)
    }

    /// The character of an escaped UTF-16 unit, together with the low half that may follow a high one; a lone half
    /// is U+FFFD.
    fn surrogates(&mut self, unit: u32) -> Result<char, JsonError> {
        if let 0xd800..=0xdbff = unit
            && self.bytes[self.at..].starts_with(b"\\u")
        {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if let 0xdc00..=0xdfff = low {
                let joined = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // Not its other half: a character of its own.
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.unexpected("after array element")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.enter(depth)?;
        let mut members = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("looking for beginning of object key string"));
            }
            let name = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("after object key"));
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                _ => return Err(self.unexpected("after object key:value pair")),
            }
        }
    }

    /// Steps over the opening bracket of a list or object at `depth`.
    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= MAX_DEPTH {
            return Err(JsonError::Depth { at: self.at });
        }
        self.at += 1;
        Ok(())
    }
}

/// Appends bytes, with U+FFFD for every byte that is not part of a character.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        match read(bytes) {
            Ok(Value::String(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_of_every_kind() {
        let value = read(br#" {"a":[1,-0.5e+3,"x"],"a":null,"b":{},"c":true} "#).unwrap();
        let Value::Object(members) = value else { panic!() };
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "a", "b", "c"], "in order, with duplicates");
        assert_eq!(
            members[0].1,
            Value::Array(vec![
                Value::Number("1".into()),
                Value::Number("-0.5e+3".into()),
                Value::String("x".into())
            ])
        );
    }

    #[test]
    fn what_is_no_unicode_is_replaced() {
        assert_eq!(text(b"\"a\xffb\""), "a\u{fffd}b");
        assert_eq!(text(b"\"\xe2\x82\""), "\u{fffd}\u{fffd}", "one for each byte");
        assert_eq!(text(br#""\ud800""#), "\u{fffd}");
        assert_eq!(text(br#""\udc00x""#), "\u{fffd}x");
        assert_eq!(text(br#""\ud800\u0041""#), "\u{fffd}A");
        assert_eq!(text(br#""\ud800\ud83d\udc1d""#), "\u{fffd}🐝");
        assert_eq!(
            text(br#""\ud83d\udc1d \u00e5 \b\f\n\r\t\/\\\"""#),
            "🐝 å \u{8}\u{c}\n\r\t/\\\""
        );
    }

    #[test]
    fn garbage_is_named() {
        for (bytes, error) in [
            (&b""[..], "unexpected end of JSON input"),
            (b"{", "unexpected end of JSON input"),
            (b"{\"a\"", "unexpected end of JSON input"),
            (b"\"a", "unexpected end of JSON input"),
            (b"{} x", "invalid character 'x' after top-level value (byte 3)"),
            (
                b"this",
                "invalid character 'h' in literal true, false or null (byte 1)",
            ),
            (
                b"xyz",
                "invalid character 'x' looking for beginning of value (byte 0)",
            ),
            (
                b"{a:1}",
                "invalid character 'a' looking for beginning of object key string (byte 1)",
            ),
            (b"{\"a\" 1}", "invalid character '1' after object key (byte 5)"),
            (b"[1 2]", "invalid character '2' after array element (byte 3)"),
            (
                b"[1,]",
                "invalid character ']' looking for beginning of value (byte 3)",
            ),
            (
                b"{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string (byte 7)",
            ),
            (b"01", "invalid character '1' after top-level value (byte 1)"),
            (b"-x", "invalid character 'x' in numeric literal (byte 1)"),
            (b"1.", "unexpected end of JSON input"),
            (b"\"\x01\"", "invalid character 0x01 in string literal (byte 1)"),
            (b"\"\\x\"", "invalid character 'x' in string escape code (byte 2)"),
            (
                b"\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape (byte 5)",
            ),
            (
                b"\xff",
                "invalid character 0xff looking for beginning of value (byte 0)",
            ),
        ] {
            assert_eq!(
                read(bytes).unwrap_err().to_string(),
                error,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn the_depth_is_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            read(nested(MAX_DEPTH + 1).as_bytes()),
            Err(JsonError::Depth { at: MAX_DEPTH })
        );
        assert!(read("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_serde_json_writes_is_read_alike(text: String, number: i64) {
            let written = serde_json::json!([text, number]).to_string();
            proptest::prop_assert_eq!(
                read(written.as_bytes()),
                Ok(Value::Array(vec![Value::String(text), Value::Number(number.to_string())]))
            );
        }
    }
}
