//! A process that outlives the agent just long enough to end what the agent had started.
//!
//! The kernel ends a program when the agent dies (`PR_SET_PDEATHSIG`), but not what that program has started in
//! turn. So beside every program stands a small copy of the agent that waits on a pipe whose other end only the
//! agent holds: when the agent is gone, however it went, the guard kills the program's whole process group.
//! It never replaces its image, so it needs no file; it holds nothing open but the pipe and is a session of
//! its own, so that a terminal's Ctrl-C does not reach it.

use std::io::{self, PipeWriter};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::process::{Pid, Signal};

/// The guard of one program. Dropping it ends it and nothing else.
#[derive(Debug)]
pub struct Guard {
    process: Child,
    line: PipeWriter,
}

impl Guard {
    /// Starts a guard that knows of no process group yet.
    pub fn start() -> io::Result<Guard> {
        let (ear, line) = io::pipe()?;
        // The program's name is never used: the closure below does not return.
        let mut command = Command::new("/outpost-guard");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: between fork and its end the closure makes system calls only (`watch` and what it calls):
        // no allocation, no locks, no memory shared with the parent.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || watch(ear.as_fd()));
        }
        // Returns when the child has closed its descriptors, as it otherwise would by replacing its image.
        let process = command.spawn()?;
        Ok(Guard { process, line })
    }

    /// Where the program's own process says its number, before it becomes the program ([`announce`]).
    pub fn line(&self) -> io::Result<PipeWriter> {
        self.line.try_clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // By SIGKILL, so that it does not see the pipe close.
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            tracing::warn!(%error, "a guard process was not ended");
        }
    }
}

/// Tells the guard the process group that it guards. Called in the child before it becomes the program, and
/// after it leads the group: makes system calls only.
pub fn announce(line: BorrowedFd<'_>) -> io::Result<()> {
    let group = rustix::process::getpid().as_raw_nonzero().get().to_ne_bytes();
    // So few bytes go into a pipe whole.
    rustix::io::write(line, &group)?;
    Ok(())
}

/// What the guard does: system calls only. Returns only what kept it from beginning.
fn watch(ear: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    let _ = rustix::thread::set_name(c"outpost-guard");
    // Afterwards nothing of the agent is open here, be it a lock, a line or the end of another's pipe.
    let own = ear.as_raw_fd();
    each_descriptor(|fd| {
        if fd != own {
            // SAFETY: in this process nobody uses these descriptors any more; it never returns to the agent's code.
            #[allow(unsafe_code)]
            unsafe {
                rustix::io::close(fd);
            }
        }
    })?;
    let mut group = None;
    let mut bytes = [0_u8; 4];
    loop {
        match rustix::io::read(ear, &mut bytes) {
            Ok(4) => group = Pid::from_raw(i32::from_ne_bytes(bytes)),
            Err(rustix::io::Errno::INTR) => {}
            // The agent is gone (or the pipe is of no use any more, which is as bad).
            Ok(_) | Err(_) => break,
        }
    }
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    // Ends without running anything of the agent's: no destructors, no exit handlers.
    loop {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
}

/// Calls `each` with every descriptor above standard error that is open in this process. System calls only.
pub fn each_descriptor(mut each: impl FnMut(RawFd)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty())?;
    let mut space = [MaybeUninit::<u8>::uninit(); 2048];
    let mut entries = RawDir::new(&folder, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        // `.` and `..` are no numbers.
        let number = name.iter().try_fold(0 as RawFd, |sum, &byte| {
            byte.is_ascii_digit().then(|| sum * 10 + RawFd::from(byte - b'0'))
        });
        match number {
            Some(fd) if fd > 2 && fd != folder.as_raw_fd() => each(fd),
            _ => {}
        }
    }
    Ok(())
}
