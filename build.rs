//! Leaves out of the shipped agent what only unwinding reads, an eighth of it: tables that say of each function where its stack is.
//! It never unwinds, since a panic ends it at once (docs/decisions/0049-a-panic-ends-the-program.md), and names of functions, for which
//! a debugger would read it too, are stripped anyway. Rust's own flag against these tables (`-C force-unwind-tables=no`) left
//! them where they were, and can't be set in Cargo.toml.

use std::path::Path;

/// For the linkers that read linker scripts (GNU ld, and lld, which Rust uses on x86_64), beside their own.
const LEAVE_OUT: &str = "\
SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) } }
INSERT AFTER .text
";

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name| std::env::var(name).unwrap_or_default();
    // A debug build keeps them: its backtraces are read.
    if variable("PROFILE") == "release" && variable("CARGO_CFG_TARGET_OS") == "linux" {
        let script = Path::new(&variable("OUT_DIR")).join("leave-out.ld");
        std::fs::write(&script, LEAVE_OUT)?;
        println!("cargo::rustc-link-arg-bin=outpost-agent=-T{}", script.display());
    }
    Ok(())
}
