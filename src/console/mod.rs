//! Where programs write to, and what people see there: standard output and error (or whatever a test gives), tables,
//! texts of others made harmless, and the last words of a program that is defective.

pub mod table;

use std::fmt;
use std::io::Write;

/// What is asked for on `out`, what is told beside it on `err`.
pub struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
}

impl Console {
    /// Writes to these.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Console {
            out: Box::new(out),
            err: Box::new(err),
        }
    }

    /// Standard output and standard error.
    pub fn system() -> Self {
        Console::new(std::io::stdout(), std::io::stderr())
    }

    /// Writes a line to the output. A reader that went away is nobody to tell about it.
    pub fn line(&mut self, text: impl fmt::Display) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Writes bytes to the output, and the line feed that is missing at their end.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.out.write_all(bytes);
        if !bytes.ends_with(b"\n") {
            let _ = self.out.write_all(b"\n");
        }
        let _ = self.out.flush();
    }

    /// Writes a line beside the output: progress, hints, errors.
    pub fn note(&mut self, text: impl fmt::Display) {
        let _ = writeln!(self.err, "{text}");
        let _ = self.err.flush();
    }
}

/// From now on a panic, in whatever thread or task, is told and ends the program at once (SIGABRT): nobody knows what it
/// left half done. The profile `release` does so by itself; this is so that every build of a program ends alike.
pub fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        let _ = writeln!(std::io::stderr(), "this is a defect of outpost, please report it");
        std::process::abort();
    }));
}

/// A text from elsewhere as it may be shown on a terminal: on one line, without control characters.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use rustix::process::{Resource, Rlimit, Signal, setrlimit};

    use super::*;

    /// Tells this test that it is the program.
    const PROGRAM: &str = "OUTPOST_TEST_OF_PANICS";

    #[test]
    fn a_panic_in_any_thread_is_told_and_ends_the_program() {
        if std::env::var_os(PROGRAM).is_some() {
            let none = Some(0);
            let no_core_file = Rlimit {
                current: none,
                maximum: none,
            };
            setrlimit(Resource::Core, no_core_file).unwrap();
            abort_on_panic();
            let _ = std::thread::spawn(|| panic!("all is lost")).join();
            return;
        }
        let program = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "console::tests::a_panic_in_any_thread_is_told_and_ends_the_program",
                "--exact",
                "--nocapture",
            ])
            .env(PROGRAM, "")
            .output()
            .unwrap();
        assert_eq!(program.status.signal(), Some(Signal::ABORT.as_raw()));
        let said = String::from_utf8_lossy(&program.stderr);
        assert!(
            said.contains("all is lost") && said.contains("please report it"),
            "{said}"
        );
    }

    #[test]
    fn what_others_wrote_cannot_move_the_cursor() {
        assert_eq!(
            printable("a\u{1b}[2Jb\nc\u{202e}räksmörgås"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}räksmörgås"
        );
    }
}
