//! What the programs carry. The agent signs and never recovers or verifies, so the linker must have dropped
//! libsecp256k1's tables for verification: one MiB that a device has no use for. They come back as soon as
//! anything the agent can reach calls `recover` or `verify` (docs/decisions/0011).
//!
//! Two witnesses, since each has a weakness: the tables' names in the symbol table (gone from a stripped
//! binary) and their bytes (there in any binary). The hub, which recovers, is the control: if the names or the
//! bytes ever change, it is there that this test fails, rather than pass for ever on the agent.

#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

use std::fs;

const AGENT: &str = env!("CARGO_BIN_EXE_outpost-agent");
const HUB: &str = env!("CARGO_BIN_EXE_outpost-hub");

/// What the names end with. The crate puts its own version before them: `rustsecp256k1_v0_14_pre_g`.
const TABLES: [&str; 2] = ["_pre_g", "_pre_g_128"];

/// The x coordinate of 3·G, the second entry of the first table, as it lies there: 32 bytes, lowest first.
/// (The first entry, G itself, is needed for signing too.)
const THREE_G: [u8; 32] = [
    0xf9, 0x36, 0xe0, 0xbc, 0x13, 0xf1, 0x01, 0x86, 0xb0, 0x99, 0x6f, 0x83, 0x45, 0xc8, 0x31, 0xb5, 0x29,
    0x52, 0x9d, 0xf8, 0x85, 0x4f, 0x34, 0x49, 0x10, 0xc3, 0x58, 0x92, 0x01, 0x8a, 0x30, 0xf9,
];

#[test]
fn the_agent_carries_no_tables_for_verification() {
    let agent = fs::read(AGENT).unwrap();
    let names = symbols(&agent).unwrap_or_else(|fault| panic!("{AGENT}: {fault}"));
    assert!(
        names.len() > 100,
        "{AGENT}: only {} symbols: stripped?",
        names.len()
    );
    // It does sign: else the absence of the tables says nothing.
    assert!(
        has_name(&names, "_ecdsa_sign_recoverable"),
        "{AGENT} does not sign at all"
    );
    for table in TABLES {
        assert!(
            !has_name(&names, table),
            "{AGENT} contains *{table}: who calls recover or verify?"
        );
    }
    assert!(
        !contains(&agent, &THREE_G),
        "{AGENT} contains the table's bytes: who calls recover or verify?"
    );
}

#[test]
fn the_hub_carries_them_so_the_search_works() {
    let hub = fs::read(HUB).unwrap();
    let names = symbols(&hub).unwrap_or_else(|fault| panic!("{HUB}: {fault}"));
    for table in TABLES {
        assert!(
            has_name(&names, table),
            "no symbol *{table} in {HUB}: have libsecp256k1's names changed?"
        );
    }
    assert!(
        contains(&hub, &THREE_G),
        "no table in {HUB}: has its layout changed?"
    );
}

/// `scripts/test device` names the agent as it is shipped (release profile, `agent` alone, stripped); there only
/// the bytes can be looked for. Without the name there is nothing to look at.
#[test]
fn the_shipped_agent_carries_none_either() {
    let Some(path) = std::env::var_os("OUTPOST_SHIPPED_AGENT") else {
        eprintln!("OUTPOST_SHIPPED_AGENT is not set: scripts/test device looks at the shipped agent");
        return;
    };
    let shipped = fs::read(&path).unwrap_or_else(|fault| panic!("{path:?}: {fault}"));
    assert!(shipped.starts_with(b"\x7fELF"), "{path:?} is no ELF file");
    assert!(
        !contains(&shipped, &THREE_G),
        "{path:?} contains the table's bytes"
    );
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert!(symbols(b"").is_err());
    assert!(symbols(b"#!/bin/sh\n").is_err());
    let mut cut = fs::read(AGENT).unwrap();
    cut.truncate(cut.len() / 2);
    assert!(symbols(&cut).is_err(), "half a file has no section headers");
}

fn has_name(names: &[&str], end: &str) -> bool {
    names
        .iter()
        .any(|name| name.contains("secp256k1") && name.ends_with(end))
}

/// The tables are made of words of four or eight bytes, so they begin at a multiple of four.
fn contains(haystack: &[u8], needle: &[u8; 32]) -> bool {
    (0..haystack.len())
        .step_by(4)
        .any(|at| haystack[at..].starts_with(needle))
}

/// The names in an ELF file's symbol table (elf(5)); little-endian, 32 or 64 bits. A crate that reads every
/// object format would be a dependency for forty lines.
fn symbols(file: &[u8]) -> Result<Vec<&str>, String> {
    const SYMBOL_TABLE: u64 = 2;
    let head = file.get(..6).ok_or("too short")?;
    let wide = match head {
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        _ => return Err("not a little-endian ELF file".to_owned()),
    };
    let number = |at: usize, bytes: usize| -> Result<u64, String> {
        let raw = at
            .checked_add(bytes)
            .and_then(|end| file.get(at..end))
            .ok_or(format!("cut off at byte {at}"))?;
        Ok(raw
            .iter()
            .rev()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let word = if wide { 8 } else { 4 };
    let (headers_at, size_at, count_at) = if wide {
        (0x28, 0x3a, 0x3c)
    } else {
        (0x20, 0x2e, 0x30)
    };
    let (headers, size, count) = (
        number(headers_at, word)?,
        number(size_at, 2)?,
        number(count_at, 2)?,
    );
    // One section header: type, offset, size, and the section that belongs to it (link).
    let section = |index: u64| -> Result<(u64, usize, usize, u64), String> {
        let at = (headers + index * size) as usize;
        let (offset, length, link) = if wide {
            (0x18, 0x20, 0x28)
        } else {
            (0x10, 0x14, 0x18)
        };
        Ok((
            number(at + 4, 4)?,
            number(at + offset, word)? as usize,
            number(at + length, word)? as usize,
            number(at + link, 4)?,
        ))
    };
    let mut names = Vec::new();
    for index in 0..count {
        let (kind, offset, length, link) = section(index)?;
        if kind != SYMBOL_TABLE {
            continue;
        }
        let (_, texts, texts_length, _) = section(link)?;
        let texts = file
            .get(texts..texts + texts_length)
            .ok_or("string table cut off")?;
        for at in (offset..offset + length).step_by(if wide { 24 } else { 16 }) {
            let text = texts
                .get(number(at, 4)? as usize..)
                .ok_or("a name outside the string table")?;
            let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
            names.extend(std::str::from_utf8(&text[..end]));
        }
    }
    Ok(names)
}
