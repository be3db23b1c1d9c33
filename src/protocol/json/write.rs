//! JSON as the original writes it (RD 1.5, “Writing”).

use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Without any space: Failure, the version reply, empty success, and all requests.
pub fn to_compact<T: Serialize>(value: &T) -> Vec<u8> {
    written(value, Escaping(CompactFormatter))
}

/// Indented with four spaces: every other reply.
pub fn to_indented<T: Serialize>(value: &T) -> Vec<u8> {
    written(value, Escaping(PrettyFormatter::with_indent(b"    ")))
}

fn written<T: Serialize, F: Formatter>(value: &T, formatter: F) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    // Writing to memory can't fail, and the wire's shapes are structs with string keys.
    let done = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    debug_assert!(done.is_ok(), "{done:?}");
    bytes
}

/// Escapes what the original escapes: also `<`, `>`, `&`, U+2028 and U+2029; \b and \f by number.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            if matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                to.write_all(&fragment.as_bytes()[plain..at])?;
                write!(to, "\\u{:04x}", u32::from(character))?;
                plain = at + character.len_utf8();
            }
        }
        to.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, to: &mut W, escape: CharEscape) -> io::Result<()> {
        let escape = match escape {
            CharEscape::Backspace => CharEscape::AsciiControl(0x08),
            CharEscape::FormFeed => CharEscape::AsciiControl(0x0c),
            other => other,
        };
        self.0.write_char_escape(to, escape)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_array(to)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array(to)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(to, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_array_value(to)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object(to)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object(to)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(to, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.begin_object_value(to)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.0.end_object_value(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{Value, read};

    #[test]
    fn escapes_and_indents_as_the_original() {
        let text = "<å&>\u{2028}\u{2029}\n\r\t\u{8}\u{c}\u{1}\u{7f}\"\\/";
        let written =
            r#""\u003cå\u0026\u003e\u2028\u2029\n\r\t\u0008\u000c\u0001"#.to_owned() + "\u{7f}\\\"\\\\/\"";
        assert_eq!(String::from_utf8(to_compact(&text)).unwrap(), written);
        let value = serde_json::json!({"a": [], "b": {}, "c": [1]});
        assert_eq!(
            String::from_utf8(to_indented(&value)).unwrap(),
            "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1\n    ]\n}"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(text: String) {
            proptest::prop_assert_eq!(read(&to_compact(&text)), Ok(Value::String(text.clone())));
            proptest::prop_assert_eq!(read(&to_indented(&text)), Ok(Value::String(text)));
        }
    }
}
