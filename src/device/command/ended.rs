//! How a program ended, in words: what it was, what probably did it, and what to do.

use std::path::Path;

use rustix::process::Signal;

use super::super::duration::format_duration;
use super::program::End;
use super::settings::{Bounds, Limits};
use super::size::format_size;

/// Signals that have something to say, by number.
const NAMES: [(Signal, &str); 15] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
    (Signal::SYS, "SIGSYS"),
];

/// The name of a signal, as the attribute `signal` gives it.
pub fn signal_name(number: i32) -> String {
    NAMES
        .iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

/// One sentence about an end that was no success. `oom`: the kernel ran out of memory meanwhile.
pub fn describe(end: End, bounds: &Bounds, oom: bool) -> String {
    match end {
        End::Code(code) => {
            let hint = shell_hint(code, bounds, oom)
                .or_else(|| memory_hint(&bounds.limits))
                .map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("exit code {code}{hint}")
        }
        End::Signal(number) => {
            let hint = cause_of(number, bounds, oom)
                .or_else(|| memory_hint(&bounds.limits))
                .map_or_else(String::new, |hint| format!(": {hint}"));
            format!("ended by {}{hint}", signal_name(number))
        }
    }
}

/// What is behind a signal that is not the program's own doing.
fn cause_of(number: i32, bounds: &Bounds, oom: bool) -> Option<String> {
    let is = |signal: Signal| signal.as_raw() == number;
    if is(Signal::SYS) {
        return Some(
            "the sandbox of the service forbids a system call that it made; allow it in a drop-in for \
             outpost-agent.service (SystemCallFilter=, see docs/commands.md)"
                .to_owned(),
        );
    }
    if is(Signal::XCPU) {
        let limit = bounds.limits.cpu_time.map_or_else(
            || "the processor time that the service has (LimitCPU=) is used up".to_owned(),
            |span| {
                format!(
                    "it used up its processor time of {}; raise limits.cpu_time",
                    format_duration(span.0)
                )
            },
        );
        return Some(limit);
    }
    if is(Signal::XFSZ) {
        let limit = bounds.limits.file_size.map_or_else(
            || "it wrote a file larger than the service may (LimitFSIZE=)".to_owned(),
            |size| {
                format!(
                    "it wrote a file larger than {}; raise limits.file_size",
                    format_size(size)
                )
            },
        );
        return Some(limit);
    }
    if is(Signal::KILL) && oom {
        return Some(
            "the kernel ran out of memory for the service and killed it; give the service more (MemoryMax=) \
             or the program less to do"
                .to_owned(),
        );
    }
    is(Signal::KILL).then(|| {
        "not by the agent; perhaps the kernel ran out of memory (journalctl -k tells) or somebody killed it"
            .to_owned()
    })
}

/// Shells report a program of theirs that was ended by signal n as exit code 128 + n.
fn shell_hint(code: u8, bounds: &Bounds, oom: bool) -> Option<String> {
    match code {
        126 => Some("a shell reports so a program that can't be executed".to_owned()),
        127 => Some("a shell reports so a program that is not there".to_owned()),
        129.. => {
            let number = i32::from(code) - 128;
            let cause = cause_of(number, bounds, oom)?;
            Some(format!(
                "a shell reports so a program ended by {}: {cause}",
                signal_name(number)
            ))
        }
        _ => None,
    }
}

/// A program that gets no memory ends in its own way, so this is only said with the limit there.
fn memory_hint(limits: &Limits) -> Option<String> {
    limits
        .memory
        .map(|size| format!("it may have {} of memory, limits.memory", format_size(size)))
}

/// How often the kernel killed something in the agent's control group for want of memory; `None` where the
/// kernel does not say (no control groups, version 1).
pub fn out_of_memory_kills() -> Option<u64> {
    // cgroups(7): version 2 is the line that begins with `0::`.
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let file = Path::new("/sys/fs/cgroup")
        .join(path.trim_start_matches('/'))
        .join("memory.events");
    kills_in(&std::fs::read_to_string(file).ok()?)
}

fn kills_in(events: &str) -> Option<u64> {
    events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::size::Size;
    use super::*;
    use crate::device::duration::Span;

    fn bounds() -> Bounds {
        Bounds {
            output_cap: 0,
            stop_grace: Duration::ZERO,
            limits: Limits::default(),
            nice: 0,
        }
    }

    fn limited() -> Bounds {
        Bounds {
            limits: Limits {
                memory: None,
                cpu_time: Some(Span(Duration::from_secs(2))),
                file_size: Some(Size(4096)),
                ..Limits::default()
            },
            ..bounds()
        }
    }

    #[test]
    fn an_end_is_told_with_its_remedy() {
        let signal = |signal: Signal| End::Signal(signal.as_raw());
        for (end, bounds, oom, part) in [
            (End::Code(3), bounds(), false, "exit code 3"),
            (
                End::Code(127),
                bounds(),
                false,
                "exit code 127 (a shell reports so",
            ),
            (End::Code(159), bounds(), false, "SIGSYS: the sandbox"),
            (signal(Signal::SYS), bounds(), false, "SystemCallFilter="),
            (signal(Signal::XCPU), limited(), false, "raise limits.cpu_time"),
            (signal(Signal::XCPU), bounds(), false, "LimitCPU="),
            (
                signal(Signal::XFSZ),
                limited(),
                false,
                "larger than 4KiB; raise limits.file_size",
            ),
            (signal(Signal::KILL), bounds(), true, "MemoryMax="),
            (signal(Signal::KILL), bounds(), false, "not by the agent"),
            (signal(Signal::SEGV), bounds(), false, "ended by SIGSEGV"),
            (End::Signal(40), bounds(), false, "ended by signal 40"),
        ] {
            let text = describe(end, &bounds, oom);
            assert!(text.contains(part), "{end:?}: {text}");
        }
        assert_eq!(describe(End::Code(130), &bounds(), false), "exit code 130");
        let mut small = bounds();
        small.limits.memory = Some(Size(64 << 20));
        assert_eq!(
            describe(End::Code(1), &small, false),
            "exit code 1 (it may have 64MiB of memory, limits.memory)"
        );
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(kills_in("low 0\nhigh 0\noom 3\noom_kill 2\n"), Some(2));
        assert_eq!(kills_in("low 0\n"), None);
    }
}
