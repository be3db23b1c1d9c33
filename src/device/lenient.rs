//! Reading a device's table of which some values came as texts: the environment has nothing else (`OUTPOST_AGENT__DEVICES__…`).
//! Where a key is a boolean or a number, a text that is one will do, as it does for the keys outside of the tables.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

/// As `serde_json::from_value`, with texts taken for what they stand for.
///
/// # Errors
/// In serde's words, about the value as it was given.
pub fn from_value<'de, T: Deserialize<'de>>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

/// A value that may stand as text for a boolean or a number.
struct Lenient(Value);

impl Lenient {
    /// What its text stands for, if it is a text and stands for such a thing.
    fn stands_for<T: FromStr>(&self) -> Option<T> {
        self.0.as_str()?.parse().ok()
    }
}

impl<'de> IntoDeserializer<'de, Error> for Lenient {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// A method for each type of number: by the widest of its kind, as `Value` itself does it.
macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            // No key means “inf” or “nan”, which are numbers for `parse`.
            let fraction = self.stands_for().filter(|fraction: &f64| fraction.is_finite());
            match (self.stands_for(), fraction) {
                (Some(whole), _) => visitor.visit_i64(whole),
                (None, Some(fraction)) => visitor.visit_f64(fraction),
                (None, None) => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Lenient))),
            Value::Object(keys) => {
                let keys = keys.into_iter().map(|(key, value)| (key, Lenient(value)));
                visitor.visit_map(MapDeserializer::new(keys))
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.stands_for() {
            Some(boolean) => visitor.visit_bool(boolean),
            None => self.deserialize_any(visitor),
        }
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Keys {
        text: String,
        on: bool,
        baud: u32,
        offset: Option<f64>,
        list: Vec<i8>,
        inner: Option<Box<Keys>>,
    }

    fn keys(value: Value) -> Result<Keys, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_stand_for_what_the_key_is() {
        let strict = json!({"text": "7", "on": true, "baud": 9600, "offset": -1.5, "list": [1, -2]});
        let texts = json!({"text": "7", "on": "true", "baud": "9600", "offset": "-1.5", "list": ["1", "-2"]});
        let read = keys(texts.clone()).unwrap();
        assert_eq!(read, keys(strict).unwrap());
        assert_eq!(read.text, "7", "a text stays one");
        let mut outer = texts.clone();
        outer["inner"] = texts;
        assert_eq!(keys(outer).unwrap().inner, Some(Box::new(read)));
    }

    #[test]
    fn what_a_text_does_not_stand_for_is_refused_as_before() {
        let good = json!({"text": "", "on": true, "baud": 9600, "list": []});
        for (key, value, problem) in [
            (
                "on",
                json!("yes"),
                "invalid type: string \"yes\", expected a boolean",
            ),
            ("on", json!(1), "invalid type: integer `1`, expected a boolean"),
            (
                "baud",
                json!("fast"),
                "invalid type: string \"fast\", expected u32",
            ),
            (
                "baud",
                json!("1.5"),
                "invalid type: floating point `1.5`, expected u32",
            ),
            ("baud", json!("-1"), "invalid value: integer `-1`, expected u32"),
            (
                "offset",
                json!("inf"),
                "invalid type: string \"inf\", expected f64",
            ),
            (
                "offset",
                json!("NaN"),
                "invalid type: string \"NaN\", expected f64",
            ),
            ("text", json!(7), "invalid type: integer `7`, expected a string"),
            ("baudd", json!("9600"), "unknown field `baudd`"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let error = keys(bad).unwrap_err();
            assert!(error.starts_with(problem), "{key}: {error}");
        }
    }
}
