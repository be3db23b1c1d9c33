//! Who may know whom: reads every file under `src/` and fails where a room uses one that it must not know, or
//! where the pure room touches the world. The table below is the rule; `src/lib.rs` and `ARCHITECTURE.md` repeat
//! it for readers and are compared with it.
//!
//! The reading is by tokens, not by lines: comments and literals don't count, grouped and nested `use` lists,
//! `super::` chains and inline modules do. What it can't see through is refused: globs of the crate's root,
//! renaming the crate, names at the root that are no room. It does not follow macros or `#[path]`.

#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms that it may use (itself always). `src/bin/` knows all and is not listed.
const KNOWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("clock", &[]),
    ("watch", &[]),
    ("config", &[]),
    ("keyfile", &["protocol"]),
    ("console", &[]),
    ("logging", &["protocol"]),
    ("notify", &[]),
    ("client", &["protocol", "clock"]),
    ("device", &["clock", "watch"]),
    (
        "agent",
        &[
            "client", "device", "protocol", "clock", "watch", "config", "keyfile", "console", "logging",
            "notify",
        ],
    ),
    (
        "hub",
        &["protocol", "clock", "watch", "config", "keyfile", "logging"],
    ),
    (
        "cli",
        &[
            "client", "protocol", "clock", "config", "keyfile", "console", "vehicle",
        ],
    ),
    ("vehicle", &[]),
];

/// What one place may use beyond its room's row: the files whose path begins so, and the rooms.
const ALSO: &[(&str, &[&str])] = &[("hub/relay", &["client"])];

/// What a room must not touch at all: a path, or anything below it.
const NEVER: &[(&str, &[&[&str]])] = &[(
    "protocol",
    &[
        &["tokio"],
        &["hyper"],
        &["rusqlite"],
        &["rustix"],
        &["std", "net"],
        &["std", "fs"],
        &["std", "env"],
        &["std", "process"],
        &["std", "thread"],
        &["std", "time", "Instant"],
        &["std", "time", "SystemTime"],
        &["time", "OffsetDateTime", "now_utc"],
        &["OffsetDateTime", "now_utc"],
        &["time", "UtcDateTime", "now"],
        &["UtcDateTime", "now"],
    ],
)];

#[test]
fn every_room_knows_only_whom_it_may() {
    let mut faults = Vec::new();
    let mut files = 0;
    for path in rust_files(&source_root()) {
        let relative = relative_name(&path);
        if relative == "lib.rs" || relative.starts_with("bin/") {
            continue;
        }
        files += 1;
        faults.extend(faults_in(&relative, &fs::read_to_string(&path).unwrap()));
    }
    assert!(
        files >= 8,
        "only {files} files found under src/: is the test looking in the right place?"
    );
    assert!(faults.is_empty(), "{}", list(&faults));
}

#[test]
fn the_lists_in_lib_rs_and_in_the_architecture_say_the_same() {
    let here: BTreeSet<String> = rust_files(&source_root())
        .iter()
        .map(|path| room_of(&relative_name(path)).to_owned())
        .filter(|room| room != "lib" && room != "bin")
        .collect();
    let lib = listed_in_lib(&fs::read_to_string(source_root().join("lib.rs")).unwrap());
    let architecture = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let architecture = listed_in_architecture(&fs::read_to_string(architecture).unwrap());
    for (room, knows) in KNOWS.iter().filter(|(room, _)| here.contains(*room)) {
        let knows: BTreeSet<String> = knows.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            lib.get(*room),
            Some(&knows),
            "src/lib.rs, its list of rooms, about `{room}`"
        );
        assert_eq!(
            architecture.get(*room),
            Some(&knows),
            "ARCHITECTURE.md, its table of rooms, about `{room}`"
        );
    }
    for room in lib.keys() {
        assert!(
            here.contains(room),
            "src/lib.rs lists `{room}`, which is not under src/"
        );
    }
}

// The checks of the check: what must be caught is caught, what is allowed passes.

#[test]
fn a_use_of_a_room_that_must_not_be_known_is_caught_in_every_spelling() {
    for text in [
        "use crate::agent::Worker;",
        "use crate::{clock::Clock, agent};",
        "use crate::{\n    clock::{Clock, BootTime},\n    agent::{self, fence::{Event, Action}},\n};",
        "fn f() { crate::agent::run() }",
        "fn f() -> Vec<crate::agent::Worker> { vec![] }",
        "fn f() { outpost::agent::run() }",
        "fn f() { ::outpost::agent::run() }",
        "use super::agent::Worker;",
        "mod inner { use super::super::agent::Worker; }",
        "mod a { mod b {} fn f() { if true { super::super::agent::run() } } }",
        "macro_rules! m { () => { $crate::agent::run() } }",
        "use crate::*;",
        "use super::*;",
        "use crate as root;",
        "use crate::{self as root};",
        "extern crate outpost as other;",
        "use crate::Worker;",
        "let s = \"a \\\" quote\"; use crate::agent::Worker;",
        "let c = '\"'; use crate::agent::Worker; let d = '\"';",
        "let r = r#\"\"\"#; use crate::agent::Worker;",
        "fn f<'a>(x: &'a str) { crate::agent::run() }",
        "/* /* nested */ */ use crate::agent::Worker;",
        "use crate :: agent :: Worker;",
        "extern crate self as root;",
    ] {
        assert!(
            !faults_in("device.rs", text).is_empty(),
            "not caught in device.rs: {text}"
        );
    }
    // One level deeper, `super` is the room itself and `super::super` the root.
    assert!(faults_in("device/gpio.rs", "use super::agent;").is_empty());
    assert!(!faults_in("device/gpio.rs", "use super::super::agent;").is_empty());
    assert!(!faults_in("device/mod.rs", "use super::agent;").is_empty());
    let fault = faults_in("device/gpio/cdev.rs", "\n\nuse crate::hub::Ledger;").remove(0);
    assert!(
        fault.contains("src/device/gpio/cdev.rs:3") && fault.contains("`hub`"),
        "{fault}"
    );
}

#[test]
fn what_is_allowed_or_only_mentioned_passes() {
    for text in [
        "use crate::clock::{BootTime, Clock};",
        "use crate::device::Verb;",
        "use crate::{clock, device::{Verb, gpio}};",
        "// use crate::agent::Worker;",
        "/* use crate::agent::Worker; /* */ use crate::hub; */",
        "//! [`crate::agent`]",
        "let s = \"crate::agent::x\";",
        "let s = r##\"crate::agent \"# crate::hub\"##;",
        "let s = b\"crate::agent\"; let c = '\\''; let t = br\"crate::agent\";",
        "pub(crate) fn f() {} pub(in crate::device) fn g() {}",
        "mod tests { use super::*; }",
        "mod tests { mod deeper { use super::super::*; } }",
        "fn agent() {} fn f() { self::agent(); agent(); x.hub.client }",
    ] {
        let faults = faults_in("device.rs", text);
        assert!(faults.is_empty(), "{text}: {faults:?}");
    }
    assert!(faults_in("hub/relay.rs", "use crate::client::Client;").is_empty());
    assert!(!faults_in("hub/http.rs", "use crate::client::Client;").is_empty());
}

#[test]
fn the_pure_room_touching_the_world_is_caught() {
    for text in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "use std::{fmt, time::{self, Duration}};",
        "use std::time; fn f() { time::Instant::now(); }",
        "use std::time::*;",
        "use std::fs;",
        "use std::{collections::HashMap, net::TcpStream};",
        "fn f() { std::fs::read(\"x\"); }",
        "use tokio;",
        "use tokio::sync::Mutex;",
        "#[tokio::test] async fn f() {}",
        "use std as s;",
        "fn f() { time::OffsetDateTime::now_utc(); }",
        "use time::OffsetDateTime; fn f() { OffsetDateTime::now_utc(); }",
    ] {
        assert!(
            !faults_in("protocol/model.rs", text).is_empty(),
            "not caught in protocol: {text}"
        );
    }
    for text in [
        "use std::time::Duration;",
        "use std::{fmt, collections::{BTreeMap, BTreeSet}};",
        "use time::OffsetDateTime;",
        "let tokio = 1; // tokio::spawn",
        "fn time() {}",
    ] {
        let faults = faults_in("protocol/model.rs", text);
        assert!(faults.is_empty(), "{text}: {faults:?}");
    }
    assert!(
        faults_in(
            "client/http.rs",
            "use std::time::Instant; use tokio::net::TcpStream;"
        )
        .is_empty()
    );
}

#[test]
fn a_file_of_no_known_room_is_caught() {
    assert!(faults_in("utils.rs", "").remove(0).contains("no room"));
}

// The rule.

/// Every fault of one file. `relative` is its path below `src/`.
fn faults_in(relative: &str, text: &str) -> Vec<String> {
    let room = room_of(relative);
    let Some((_, knows)) = KNOWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!(
            "src/{relative}: no room `{room}` is known: give it a row in tests/rooms.rs, src/lib.rs and ARCHITECTURE.md"
        )];
    };
    let also = ALSO
        .iter()
        .filter(|(place, _)| relative.starts_with(place))
        .flat_map(|(_, rooms)| *rooms);
    let allowed: BTreeSet<&str> = knows.iter().chain(also).copied().chain([room]).collect();
    let never = NEVER
        .iter()
        .filter(|(name, _)| *name == room)
        .flat_map(|(_, paths)| *paths);
    let never: Vec<&[&str]> = never.copied().collect();

    let mut faults = Vec::new();
    for used in used_paths(&module_of(relative), text) {
        let at = format!("src/{relative}:{}: {}", used.line, used.segments.join("::"));
        match used.root {
            Root::Crate => match used.segments.get(1).map(String::as_str) {
                Some(name) if allowed.contains(name) => {}
                Some(name) if KNOWS.iter().any(|(room, _)| *room == name) => {
                    faults.push(format!("{at}: `{room}` must not know `{name}`"));
                }
                Some("*" | "self") | None => {
                    faults.push(format!(
                        "{at}: the crate's root, whole or renamed, hides who is known: name the room"
                    ));
                }
                Some(name) => faults.push(format!("{at}: `{name}` at the crate's root is no room")),
            },
            Root::Other => {
                for path in never.iter().filter(|path| touches(&used.segments, path)) {
                    faults.push(format!(
                        "{at}: `{room}` is pure and must not touch `{}`",
                        path.join("::")
                    ));
                }
            }
        }
    }
    faults
}

/// Does a use of `segments` reach `path`: it, something below it, or (for a module) a whole parent of it?
fn touches(segments: &[String], path: &[&str]) -> bool {
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let whole = matches!(segments.last(), Some(&"*" | &"self")) && segments.len() > 1;
    if whole {
        segments.pop();
    }
    if segments.len() >= path.len() {
        return segments[..path.len()] == *path;
    }
    // `use std::time;` or `use std::time::*;`: what is below can be reached without being seen here. A type
    // (upper case) is no such door: its functions are named in full where they are called.
    let door = segments
        .last()
        .is_some_and(|name| name.starts_with(char::is_lowercase));
    (door || whole) && path[..segments.len()] == segments[..] && path[0] == "std"
}

/// `hub/service/mod.rs` → `hub`.
fn room_of(relative: &str) -> &str {
    let first = relative.split('/').next().unwrap_or(relative);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// `hub/service/colonies.rs` → `[hub, service, colonies]`; `hub/mod.rs` → `[hub]`.
fn module_of(relative: &str) -> Vec<String> {
    let path = relative.strip_suffix(".rs").unwrap_or(relative);
    path.strip_suffix("/mod")
        .unwrap_or(path)
        .split('/')
        .map(str::to_owned)
        .collect()
}

// The reading.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// Begins at this crate's root, however it was written.
    Crate,
    /// Anything else.
    Other,
}

/// One path as it is used, groups taken apart: `use a::{b, c}` is two.
#[derive(Debug)]
struct Used {
    line: usize,
    root: Root,
    /// For [`Root::Crate`] the first segment is `crate`.
    segments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Mark(char),
}

/// Every path in a file whose module is `module`, as far as it matters here.
fn used_paths(module: &[String], text: &str) -> Vec<Used> {
    let tokens = tokens(text);
    let at = |i: usize| tokens.get(i).map(|(token, _)| token);
    let word = |i: usize| match at(i) {
        Some(Token::Word(word)) => Some(word.as_str()),
        _ => None,
    };
    let mut found = Vec::new();
    // Inline modules around the current token: the depth of braces at which each was opened.
    let (mut braces, mut inline) = (0_usize, Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        match at(i) {
            Some(Token::Mark('{')) => {
                if i >= 2 && word(i - 2) == Some("mod") {
                    inline.push(braces);
                }
                braces += 1;
            }
            Some(Token::Mark('}')) => {
                braces = braces.saturating_sub(1);
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
            }
            Some(Token::Word(_)) if i == 0 || at(i - 1) != Some(&Token::Mark('.')) => {
                let line = tokens[i].1;
                let before = i.checked_sub(1).and_then(word);
                let mut paths = Vec::new();
                let end = read_path(&tokens, i, &[], &mut paths);
                for segments in paths {
                    let depth = module.len() + inline.len();
                    found.extend(
                        resolve(segments, depth, before, at(end)).map(|(root, segments)| Used {
                            line,
                            root,
                            segments,
                        }),
                    );
                }
                i = end;
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Reads the path that begins at `i`, adds what it names to `paths`, answers where it ends.
fn read_path(
    tokens: &[(Token, usize)],
    mut i: usize,
    prefix: &[String],
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let token = |i: usize| tokens.get(i).map(|(token, _)| token);
    let mut segments = prefix.to_vec();
    loop {
        match token(i) {
            Some(Token::Word(word)) => segments.push(word.clone()),
            Some(Token::Mark('*')) => segments.push("*".to_owned()),
            Some(Token::Mark('{')) => {
                i += 1;
                while let Some(next) = token(i) {
                    match next {
                        Token::Mark('}') => return i + 1,
                        Token::Word(_) | Token::Mark('{' | '*') => i = read_path(tokens, i, &segments, paths),
                        _ => i += 1,
                    }
                    // `a as b`: the new name is no path.
                    if token(i) == Some(&Token::Word("as".to_owned())) {
                        i += 2;
                    }
                }
                return i;
            }
            _ => break,
        }
        i += 1;
        // A turbofish (`::<`) ends the path; what is inside is read on its own.
        let goes_on = matches!(token(i + 1), Some(Token::Word(_) | Token::Mark('{' | '*')));
        if token(i) != Some(&Token::Sep) || !goes_on {
            break;
        }
        i += 1;
    }
    paths.push(segments);
    i
}

/// From where a path begins. `depth` is the number of modules around it, `before` and `after` what stands beside it.
fn resolve(
    segments: Vec<String>,
    depth: usize,
    before: Option<&str>,
    after: Option<&Token>,
) -> Option<(Root, Vec<String>)> {
    let from_root = |rest: &[String]| {
        let segments = std::iter::once("crate".to_owned())
            .chain(rest.iter().cloned())
            .collect();
        Some((Root::Crate, segments))
    };
    let imports = matches!(before, Some("use" | "crate"));
    match segments[0].as_str() {
        // `pub(crate)`
        "crate" if segments.len() == 1 && after == Some(&Token::Mark(')')) && !imports => None,
        // `extern crate name`: judged by the name.
        "crate" if segments.len() == 1 && before == Some("extern") => None,
        "self" if before == Some("crate") => from_root(&[]),
        "crate" => from_root(&segments[1..]),
        "outpost" if segments.len() > 1 || imports => from_root(&segments[1..]),
        "self" | "super" => {
            let here = segments.iter().take_while(|name| *name == "self").count();
            let up = segments[here..]
                .iter()
                .take_while(|name| *name == "super")
                .count();
            if up >= depth {
                from_root(&segments[here + up..])
            } else {
                None
            }
        }
        _ if segments.len() > 1 || imports => Some((Root::Other, segments)),
        _ => None,
    }
}

/// Words and marks with their lines; comments and literals are gone.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut found, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            i = end_of_string(&chars, i + 1);
        } else if c == '\'' {
            // A character ('x', '\n', '\u{1F600}') or a lifetime ('a)?
            if at(i + 1) == '\\' {
                i += 3;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if at(i + 2) == '\'' {
                i += 3;
            } else {
                i += 1;
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            let hashes = (i..).take_while(|&j| at(j) == '#').count();
            let raw = matches!(word.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"';
            if raw {
                i = end_of_raw_string(&chars, i + hashes + 1, hashes);
            } else if matches!(word.as_str(), "b" | "c") && at(i) == '"' {
                i = end_of_string(&chars, i + 1);
            } else if word == "b" && at(i) == '\'' {
                i += if at(i + 1) == '\\' { 2 } else { 1 };
                i += 1;
                while i < chars.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            } else if word == "r" && hashes == 1 {
                i += 1; // r#name: the name follows as a word of its own
            } else if !word.starts_with(|c: char| c.is_ascii_digit()) {
                found.push((Token::Word(word), line));
            }
        } else if c == ':' && at(i + 1) == ':' {
            found.push((Token::Sep, line));
            i += 2;
        } else {
            if !c.is_whitespace() {
                found.push((Token::Mark(c), line));
            }
            i += 1;
        }
        line += chars[start..i.min(chars.len())]
            .iter()
            .filter(|&&c| c == '\n')
            .count();
    }
    found
}

fn end_of_string(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn end_of_raw_string(chars: &[char], mut i: usize, hashes: usize) -> usize {
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes {
            return i + 1 + hashes;
        }
        i += 1;
    }
    i
}

// The documents.

/// The list in `src/lib.rs`: ``//! - [`room`]: …. Knows `a` and `b`; …``. After a semicolon come exceptions.
fn listed_in_lib(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let doc: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    let items = doc.join("\n");
    items
        .split("\n - [`")
        .skip(1)
        .filter_map(|item| {
            let item = item.split("\n - ").next().unwrap_or(item);
            let (room, rest) = item.split_once('`')?;
            let (_, knows) = rest.rsplit_once("Knows ")?;
            Some((room.to_owned(), backticked(knows.split([';', '.']).next()?)))
        })
        .collect()
}

/// The table in `ARCHITECTURE.md`: ``| `room` | what it is | `a`, `b`; exceptions |``.
fn listed_in_architecture(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line
                .strip_prefix('|')?
                .strip_suffix('|')?
                .split('|')
                .map(str::trim)
                .collect();
            let [room, _, knows] = cells[..] else { return None };
            let room = room.strip_prefix('`')?.strip_suffix('`')?;
            Some((room.to_owned(), backticked(knows.split(';').next()?)))
        })
        .collect()
}

fn backticked(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_lists_are_read_as_they_are_written() {
    let lib = "//! Rooms:\n//!\n//! - [`a`]: one;\n//!   two. Knows nobody.\n//! - [`b`]: x. Knows `a`,\n//!   `c` and `d`; `e` in one file.\n//! - `bin/`: Knows all.\n\nuse x;";
    let read = listed_in_lib(lib);
    assert_eq!(read.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(read["a"].is_empty());
    assert_eq!(read["b"].iter().collect::<Vec<_>>(), ["a", "c", "d"]);
    let read = listed_in_architecture(
        "| room | what | knows |\n| --- | --- | --- |\n| `b` | it | `a`, `c`; `e` too |\n| `a` | it | nobody |",
    );
    assert_eq!(read["b"].iter().collect::<Vec<_>>(), ["a", "c"]);
    assert!(read["a"].is_empty());
}

// The files.

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn relative_name(path: &Path) -> String {
    path.strip_prefix(source_root())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn list(faults: &[String]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = writeln!(text, "{fault}");
        text
    })
}
