//! A running program: its output, its end, and how it is made to end.

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::guard::Guard;
use super::output::Collector;
use super::start::{Launch, StartError, Started, Step, start};
use crate::clock::{BootTime, SharedClock};

/// How long the output may stay open after the program itself has ended. Then what it left behind in its
/// process group is killed.
pub const LINGER: Duration = Duration::from_millis(250);
/// How long the output may stay open even then: held by something that left the group.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How often it is looked whether a killed group is gone: the kernel does not tell.
const GLANCE: Duration = Duration::from_millis(1);
/// So much is read at once.
const PIECE: usize = 16 << 10;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// A program that was started. Dropping it kills its whole process group.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// The process and its group; belongs to it until `ended` is there, since it is not waited for before.
    group: Pid,
    exit: AsyncFd<OwnedFd>,
    output: Option<AsyncFd<PipeReader>>,
    collected: Collector,
    guard: Option<Guard>,
    ended: Option<End>,
    grace: Duration,
}

impl Program {
    /// Starts it, keeping `cap` bytes of its output. `grace`: what it is given after SIGTERM.
    ///
    /// # Errors
    /// Every [`StartError`].
    pub fn start(launch: &Launch, cap: usize, grace: Duration) -> Result<Program, StartError> {
        let Started {
            mut child,
            output,
            guard,
        } = start(launch)?;
        let watch = || -> io::Result<_> {
            let group =
                Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?).ok_or(Errno::SRCH)?;
            // pidfd_open(2), Linux 5.3: readable when the process has ended.
            let exit = rustix::process::pidfd_open(group, PidfdFlags::NONBLOCK)
                .or_else(|_| rustix::process::pidfd_open(group, PidfdFlags::empty()))?;
            Ok((group, readable(exit)?, readable(output)?))
        };
        match watch() {
            Ok((group, exit, output)) => Ok(Program {
                child,
                group,
                exit,
                output: Some(output),
                collected: Collector::new(cap),
                guard: Some(guard),
                ended: None,
                grace,
            }),
            Err(cause) => {
                // Closing the pipe would do for the guard's part; this is for the program itself.
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                if let Some(group) = group {
                    let _ = rustix::process::kill_process_group(group, Signal::KILL);
                }
                let _ = child.wait();
                Err(StartError::Step {
                    program: launch.program.clone(),
                    step: Step::Watch,
                    cause: cause.to_string(),
                })
            }
        }
    }

    /// What it wrote so far.
    pub fn collected(&self) -> &Collector {
        &self.collected
    }

    /// Takes what lies in the pipe now; so much of it as a pipe holds.
    pub fn take_what_is_there(&mut self) {
        let mut piece = [0_u8; PIECE];
        for _ in 0..4 {
            let Some(output) = &self.output else { return };
            match rustix::io::read(output.get_ref(), &mut piece) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.collected.push(&piece[..count]),
            }
        }
    }

    /// What it wrote, to be taken once it has ended.
    pub fn collected_mut(&mut self) -> &mut Collector {
        &mut self.collected
    }

    /// Waits until it has ended and its output is closed, and ends what it left behind in its process group.
    /// Nothing is lost if the future is dropped; asked again, it goes on or tells the same.
    ///
    /// # Errors
    /// The process can't be watched.
    pub async fn end(&mut self, clock: &SharedClock) -> io::Result<End> {
        if let Some(end) = self.ended {
            return Ok(end);
        }
        self.exit_and_eof(clock).await?;
        // Not waited for yet, it still owns its number: this reaches its own group and no other.
        self.signal(Signal::KILL);
        let until = clock.now() + LAST_WORDS;
        while let Some(output) = &self.output
            && clock.now() < until
        {
            let open = tokio::select! {
                biased;
                open = read(output, &mut self.collected) => open?,
                () = clock.sleep_until(until) => false,
            };
            if !open {
                self.output = None;
            }
        }
        self.output = None;
        self.guard = None;
        // Has ended, so this does not wait.
        let status = self.child.wait()?;
        let end = match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(u8::try_from(code & 0xFF).unwrap_or(u8::MAX)),
            (None, signal) => End::Signal(signal.unwrap_or_default()),
        };
        self.ended = Some(end);
        self.group_is_gone(clock).await;
        Ok(end)
    }

    /// Waits for the others of the group, which were killed too, so that nothing of it still finishes what it
    /// was doing. Not for long: they may be zombies that nobody waits for.
    async fn group_is_gone(&self, clock: &SharedClock) {
        let until = clock.now() + LAST_WORDS;
        // Sends nothing, so it does no harm should the number have found a new owner.
        while rustix::process::test_kill_process_group(self.group).is_ok() && clock.now() < until {
            clock.sleep_until(clock.now() + GLANCE).await;
        }
    }

    /// Until the process has ended, and its output is closed or has been open too long since.
    async fn exit_and_eof(&mut self, clock: &SharedClock) -> io::Result<()> {
        let mut patience: Option<BootTime> = None;
        loop {
            if patience.is_some_and(|until| clock.now() >= until) {
                return Ok(());
            }
            let until = patience.unwrap_or_default();
            tokio::select! {
                biased;
                // First, so that a flood of output does not hide it.
                exited = self.exit.readable(), if patience.is_none() => {
                    exited?.retain_ready();
                    if self.output.is_none() {
                        return Ok(());
                    }
                    patience = Some(clock.now() + LINGER);
                }
                open = read_some(self.output.as_ref(), &mut self.collected), if self.output.is_some() => {
                    if !open? {
                        self.output = None;
                        if patience.is_some() {
                            return Ok(());
                        }
                    }
                }
                () = clock.sleep_until(until), if patience.is_some() => return Ok(()),
            }
        }
    }

    /// Asks the whole group to end. Does not wait.
    pub fn terminate(&self) {
        if self.ended.is_none() {
            self.signal(Signal::TERM);
            // What is stopped would not hear it.
            self.signal(Signal::CONT);
        }
    }

    /// Kills the whole group. Does not wait.
    pub fn kill(&self) {
        if self.ended.is_none() {
            self.signal(Signal::KILL);
        }
    }

    /// Asks it to end, kills it when its grace (or `at_most`) is over, and waits until it has ended.
    ///
    /// # Errors
    /// As [`Program::end`].
    pub async fn stop(&mut self, clock: &SharedClock, at_most: Duration) -> io::Result<End> {
        self.terminate();
        let until = clock.now() + self.grace.min(at_most);
        tokio::select! {
            biased;
            end = self.end(clock) => return end,
            () = clock.sleep_until(until) => {}
        }
        self.kill();
        self.end(clock).await
    }

    fn signal(&self, signal: Signal) {
        match rustix::process::kill_process_group(self.group, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => tracing::warn!(
                group = self.group.as_raw_nonzero().get(),
                %errno,
                "a process group can't be signalled"
            ),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(Signal::KILL);
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // It may need a moment, and longer where the kernel waits for a device: not in this thread.
        let pid = self.group;
        let reaper =
            std::thread::Builder::new()
                .name("outpost-reap".to_owned())
                .spawn(move || {
                    while let Err(Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
                });
        if let Err(error) = reaper {
            tracing::warn!(%error, "a killed program was not waited for");
        }
    }
}

/// Registers a descriptor with the runtime, to wait until it can be read.
fn readable<T: Into<OwnedFd> + std::os::fd::AsRawFd>(owned: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `owned` owns its descriptor and gives it up only when it is dropped, together with the `AsyncFd`;
    // both types that come here (`OwnedFd`, `PipeReader`) always answer with the same one.
    #[allow(unsafe_code)]
    let registered = unsafe { AsyncFd::register_with_interest(owned, Interest::READABLE) };
    Ok(registered?)
}

async fn read_some(output: Option<&AsyncFd<PipeReader>>, into: &mut Collector) -> io::Result<bool> {
    match output {
        Some(output) => read(output, into).await,
        None => std::future::pending().await,
    }
}

/// Reads once; `false` at the end of the output.
async fn read(output: &AsyncFd<PipeReader>, into: &mut Collector) -> io::Result<bool> {
    loop {
        let mut ready = output.readable().await?;
        let read = ready.try_io(|pipe| {
            let mut piece = [0_u8; PIECE];
            let count = rustix::io::read(pipe.get_ref(), &mut piece)?;
            into.push(&piece[..count]);
            Ok(count > 0)
        });
        match read {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(result) => return result,
            // Not ready after all.
            Err(_) => {}
        }
    }
}
