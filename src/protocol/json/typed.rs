//! A tree to a type, by serde, with the original's rules for members, zero values and integers.

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{JsonError, Value, read};

/// Reads an object into a type. A bare `null`, which crashes the original, is refused like every other value that
/// is no object.
///
/// # Errors
/// [`JsonError`] of the bytes or of the shape.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    match read(bytes)? {
        value @ Value::Object(_) => T::deserialize(value),
        other => Err(wrong(&other, "an object")),
    }
}

/// Reads any value into a type; `null` is the type's zero value.
///
/// # Errors
/// [`JsonError::Shape`]
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, JsonError> {
    T::deserialize(value)
}

fn wrong(found: &Value, expected: &str) -> JsonError {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(text) => {
            return JsonError::Shape(format!("found number {}, expected {expected}", short(text)));
        }
        Value::String(text) => {
            return JsonError::Shape(format!("found string {:?}, expected {expected}", short(text)));
        }
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    JsonError::Shape(format!("found {found}, expected {expected}"))
}

fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Whether a member's name is the wanted one, upper and lower case alike, as the original's library folds them:
/// that includes the Kelvin sign (K) and the long s (ſ).
fn same_name(found: &str, wanted: &str) -> bool {
    let fold = |character: char| match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    found.chars().map(fold).eq(wanted.chars().map(fold))
}

impl Value {
    /// A member of an object by name, in any case, the last duplicate.
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members
                .iter()
                .rev()
                .find(|(found, _)| same_name(found, name))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Keeps of an object what a struct knows, the last duplicate winning.
fn known(members: Vec<(String, Value)>, fields: &'static [&'static str]) -> Vec<(&'static str, Value)> {
    let mut kept: Vec<(&'static str, Value)> = Vec::with_capacity(fields.len());
    for (name, value) in members {
        let Some(field) = fields.iter().find(|field| same_name(&name, field)) else {
            continue;
        };
        match kept.iter_mut().find(|(kept, _)| kept == field) {
            Some(slot) => slot.1 = value,
            None => kept.push((field, value)),
        }
    }
    kept
}

/// The members of an object on their way to a type; an error in one names it.
struct Members<N, I: Iterator<Item = (N, Value)>> {
    rest: I,
    next: Option<(N, Value)>,
}

impl<N, I: Iterator<Item = (N, Value)>> Members<N, I> {
    fn of(members: impl IntoIterator<IntoIter = I>) -> Self {
        Members {
            rest: members.into_iter(),
            next: None,
        }
    }
}

impl<'de, N: AsRef<str>, I: Iterator<Item = (N, Value)>> MapAccess<'de> for Members<N, I> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        self.next = self.rest.next();
        match &self.next {
            Some((name, _)) => seed.deserialize(StrDeserializer::new(name.as_ref())).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        // serde asks for a value only after its key.
        let Some((name, value)) = self.next.take() else {
            return Err(JsonError::Shape("a value without a name".to_owned()));
        };
        seed.deserialize(value).map_err(|error| match error {
            JsonError::Shape(text) => JsonError::Shape(format!("{}: {text}", short(name.as_ref()))),
            other => other,
        })
    }
}

impl<'de> IntoDeserializer<'de, JsonError> for Value {
    type Deserializer = Value;
    fn into_deserializer(self) -> Value {
        self
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(_) => self.deserialize_i64(visitor),
            Value::String(text) => visitor.visit_string(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(value),
            other => Err(wrong(&other, "a bool")),
        }
    }

    /// Integers only as integers: neither `1.0` nor `1e2`, and nothing that 64 bits can't hold.
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match &self {
            Value::Null => visitor.visit_i64(0),
            Value::Number(text) => match text.parse() {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(wrong(&self, "an integer of 64 bits")),
            },
            other => Err(wrong(other, "an integer")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_str(""),
            Value::String(text) => visitor.visit_string(text),
            other => Err(wrong(&other, "a string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_seq(SeqDeserializer::<std::iter::Empty<Value>, JsonError>::new(
                std::iter::empty(),
            )),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter())),
            other => Err(wrong(&other, "a list")),
        }
    }

    /// Names are data here: kept as they are.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_map(Members::of(Vec::<(String, Value)>::new())),
            Value::Object(members) => visitor.visit_map(Members::of(members)),
            other => Err(wrong(&other, "an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self {
            Value::Null => visitor.visit_map(Members::of(Vec::<(&str, Value)>::new())),
            Value::Object(members) => visitor.visit_map(Members::of(known(members, fields))),
            other => Err(wrong(&other, "an object")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 u32 u64 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::protocol::Time;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample {
        text: String,
        number: i64,
        flag: bool,
        list: Vec<String>,
        maybe: Option<Vec<String>>,
        env: BTreeMap<String, String>,
        at: Time,
        inner: Option<Box<Sample>>,
    }

    fn sample(text: &str) -> Result<Sample, JsonError> {
        from_slice(text.as_bytes())
    }

    #[test]
    fn missing_and_null_are_the_zero_value() {
        assert_eq!(sample("{}"), Ok(Sample::default()));
        let nulls = r#"{"text":null,"number":null,"flag":null,"list":null,"maybe":null,"env":null,"at":null,"inner":null}"#;
        assert_eq!(sample(nulls), Ok(Sample::default()));
        assert_eq!(sample(r#"{"list":[null,"a"]}"#).unwrap().list, ["", "a"]);
        assert_eq!(
            sample(r#"{"maybe":[]}"#).unwrap().maybe,
            Some(vec![]),
            "an empty list is not an absent one"
        );
    }

    #[test]
    fn names_in_any_case_and_the_last_duplicate_wins() {
        assert_eq!(sample(r#"{"TEXT":"a","Text":"b"}"#).unwrap().text, "b");
        assert_eq!(
            sample(r#"{"text":"a","liſt":["x"],"other":{"deep":[1e999]},"tag":"Haskell"}"#)
                .unwrap()
                .list,
            ["x"]
        );
        let env = sample(r#"{"env":{"A":"1","a":"2","A":"3"}}"#).unwrap().env;
        assert_eq!(
            env.into_iter().collect::<Vec<_>>(),
            [("A".into(), "3".into()), ("a".into(), "2".into())]
        );
    }

    #[test]
    fn an_error_names_its_place() {
        let error = sample(r#"{"inner":{"NUMBER":"x"}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "inner: number: found string \"x\", expected an integer"
        );
        let error = sample(r#"{"env":{"A":1}}"#).unwrap_err();
        assert_eq!(error.to_string(), "env: A: found number 1, expected a string");
    }

    #[test]
    fn wrong_types_fail_the_whole() {
        for text in [
            r#"{"number":"3"}"#,
            r#"{"number":1.0}"#,
            r#"{"number":1e2}"#,
            r#"{"number":9223372036854775808}"#,
            r#"{"number":1e999999999}"#,
            r#"{"number":true}"#,
            r#"{"text":1}"#,
            r#"{"flag":"true"}"#,
            r#"{"list":"a"}"#,
            r#"{"list":[1]}"#,
            r#"{"env":[]}"#,
            r#"{"env":{"a":1}}"#,
            r#"{"at":""}"#,
            r#"{"at":0}"#,
            r#"{"inner":[]}"#,
            "null",
            "[]",
            "\"text\"",
            "1",
        ] {
            assert!(sample(text).is_err(), "{text}");
        }
        assert_eq!(
            sample(r#"{"number":-9223372036854775808}"#).unwrap().number,
            i64::MIN
        );
        assert_eq!(
            sample(&format!(r#"{{"number":{}}}"#, "9".repeat(5000)))
                .unwrap_err()
                .to_string()
                .chars()
                .count(),
            94
        );
    }
}
