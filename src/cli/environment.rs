//! `--env`: values for a function, given on the command line or read from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// The largest file that may be a value: plans and the like are far smaller, and servers refuse long before it hurts.
pub const LARGEST_VALUE: u64 = 1024 * 1024;

/// How `--env` is written, for the help of every command that has it.
pub const HELP: &str = "Environment for the function, may be repeated; KEY=@FILE takes the file's text (UTF-8, at most 1 MiB), and a value \
                        that begins with @ is written KEY=@@VALUE";

/// One `--env`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    key: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    File(PathBuf),
}

impl Variable {
    /// From `KEY=VALUE`, `KEY=@FILE` or `KEY=@@VALUE`.
    ///
    /// # Errors
    /// How to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => (key, value),
            _ => return Err("write it as KEY=VALUE or KEY=@FILE".to_owned()),
        };
        let value = match value.strip_prefix('@') {
            None => Value::Text(value.to_owned()),
            Some(literal) if literal.starts_with('@') => Value::Text(literal.to_owned()),
            Some("") => {
                return Err("name a file after the @, or write @@ for a value that begins so".to_owned());
            }
            Some(file) => Value::File(file.into()),
        };
        Ok(Variable {
            key: key.to_owned(),
            value,
        })
    }

    /// Name and value; the file is read now.
    ///
    /// # Errors
    /// It can't be read, is too large or is no text: with the file's name.
    pub fn read(self) -> Result<(String, String), CliError> {
        let value = match self.value {
            Value::Text(text) => text,
            Value::File(path) => read_value(&self.key, &path)?,
        };
        Ok((self.key, value))
    }
}

fn read_value(key: &str, path: &Path) -> Result<String, CliError> {
    let wrong = |reason: String| {
        CliError::usage(format!(
            "cannot use {} as the value of {key}: {reason}",
            path.display()
        ))
    };
    let mut bytes = Vec::new();
    // A device or a pipe that never ends is too large, too.
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let read = file.take(LARGEST_VALUE + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_VALUE {
        return Err(wrong(format!("it is larger than {LARGEST_VALUE} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| wrong(format!("it is no UTF-8 text ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String), CliError> {
        Variable::parse(text).unwrap().read()
    }

    #[test]
    fn values_are_texts_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("flight.plan");
        std::fs::write(&file, "{\"a\": 1}\n").unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read("A=b=c").unwrap(), pair("A", "b=c"));
        assert_eq!(read("A=").unwrap(), pair("A", ""));
        assert_eq!(read("A=@@home").unwrap(), pair("A", "@home"));
        assert_eq!(
            read(&format!("PLAN=@{}", file.display())).unwrap(),
            pair("PLAN", "{\"a\": 1}\n"),
            "as it is"
        );
        for wrong in ["A", "=b", "", "A=@"] {
            assert!(Variable::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_a_value_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let length = usize::try_from(LARGEST_VALUE).unwrap();
        std::fs::write(path("fits"), "x".repeat(length)).unwrap();
        assert_eq!(
            read(&format!("A=@{}", path("fits").display())).unwrap().1.len(),
            length
        );
        std::fs::write(path("large"), "x".repeat(length + 1)).unwrap();
        std::fs::write(path("bytes"), [0xff, 0xfe]).unwrap();
        for (name, reason) in [
            ("large", "larger than 1048576 bytes"),
            ("bytes", "no UTF-8 text"),
            ("absent", "No such file"),
        ] {
            let error = read(&format!("PLAN=@{}", path(name).display())).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains("PLAN") && text.contains(reason),
                "{text}"
            );
            assert_eq!(error.code(), 2);
        }
        assert!(read("A=@/dev/zero").unwrap_err().to_string().contains("larger"));
    }

    #[test]
    fn the_help_says_the_bound() {
        assert!(HELP.contains(&format!("{} MiB", LARGEST_VALUE / 1024 / 1024)));
    }
}
