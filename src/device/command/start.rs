//! How a program is started: what happens between fork and exec, and why it may fail.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};
use rustix::process::{Gid, Pid, Resource, Rlimit, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::account::Account;
use super::environment::Environment;
use super::guard::{Guard, announce, each_descriptor};
use super::settings::Limits;

/// Everything that a run of a program is made from.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The file.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub environment: Environment,
    /// Where it runs; `None`: where the agent does.
    pub directory: Option<PathBuf>,
    /// Its limits.
    pub limits: Limits,
    /// How much it stands back.
    pub nice: u8,
    /// As whom it runs, if not as the agent.
    pub account: Option<Account>,
}

/// What a started program consists of.
#[derive(Debug)]
pub struct Started {
    /// The program's process, not yet waited for. It leads a process group and a session of its own.
    pub child: Child,
    /// Standard output and standard error; reading does not block.
    pub output: PipeReader,
    /// Ends the group when the agent dies.
    pub guard: Guard,
}

/// Why a program was not started; nothing of it has run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The file can't be run.
    #[error("{} {problem}", program.display())]
    Program {
        /// The file.
        program: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// What had to be prepared could not be.
    #[error("{} can't be started: {step}: {cause}", program.display())]
    Step {
        /// The file.
        program: PathBuf,
        /// What was to be done.
        step: Step,
        /// The system's words.
        cause: String,
    },
}

/// What is done before a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// In the agent: pipes.
    Pipes = 1,
    /// In the agent: the guard process.
    Guard,
    /// In the agent: watching it.
    Watch,
    /// In the child, and so on: a session and process group of its own.
    Session,
    /// Every descriptor of the agent's closed.
    Descriptors,
    /// Limits.
    Limits,
    /// Niceness.
    Nice,
    /// Another user.
    User,
    /// Ended when the agent is.
    Parent,
    /// The directory.
    Directory,
    /// The guard is told.
    Announce,
}

const STEPS: [(Step, &str); 11] = [
    (Step::Pipes, "making a pipe for its output"),
    (Step::Guard, "starting the process that guards it"),
    (Step::Watch, "watching for its end"),
    (Step::Session, "making a session of its own"),
    (Step::Descriptors, "closing what the agent has open"),
    (Step::Limits, "setting its limits"),
    (Step::Nice, "setting its niceness"),
    (Step::User, "changing to its user"),
    (Step::Parent, "tying it to the agent"),
    (Step::Directory, "entering its directory"),
    (Step::Announce, "telling the process that guards it"),
];

impl std::fmt::Display for Step {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = STEPS.iter().find(|(step, _)| step == self);
        out.write_str(text.map_or("preparing it", |(_, text)| text))
    }
}

/// Starts a program. On return it runs, or nothing of it does. Must be called on a thread that lives as long
/// as the agent: the kernel ties the program to this thread.
///
/// # Errors
/// Every [`StartError`].
pub fn start(launch: &Launch) -> Result<Started, StartError> {
    let failed = |step: Step| {
        move |cause: io::Error| StartError::Step {
            program: launch.program.clone(),
            step,
            cause: explain(step, &cause, launch),
        }
    };
    refuse_what_a_shell_would_get(&launch.program)?;
    let (output, writer) = io::pipe().map_err(failed(Step::Pipes))?;
    let nonblocking = rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK);
    nonblocking.map_err(|errno| failed(Step::Pipes)(errno.into()))?;
    let (fault, fault_writer) = io::pipe().map_err(failed(Step::Pipes))?;
    let guard = Guard::start().map_err(failed(Step::Guard))?;

    let mut command = Command::new(&launch.program);
    command
        .args(&launch.args)
        .env_clear()
        .envs(&launch.environment)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(failed(Step::Pipes))?)
        .stderr(writer);
    let setup = Setup::new(launch, guard.line().map_err(failed(Step::Pipes))?)?;
    // SAFETY: `Setup::run` makes system calls only: no allocation, no locks.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            setup.run().map_err(|(step, error)| {
                let _ = rustix::io::write(&fault_writer, &[step as u8]);
                error
            })
        });
    }
    let spawned = command.spawn();
    // Closes the ends of the pipes that belong to the program.
    drop(command);
    match spawned {
        Ok(child) => Ok(Started { child, output, guard }),
        Err(error) => match failed_step(fault) {
            Some(step) => Err(failed(step)(error)),
            None => Err(StartError::Program {
                program: launch.program.clone(),
                problem: diagnose(&launch.program, &error),
            }),
        },
    }
}

/// The step that the child failed in, if it did.
fn failed_step(mut fault: PipeReader) -> Option<Step> {
    let mut byte = [0_u8];
    // Its other end is closed: the child is gone.
    fault.read_exact(&mut byte).ok()?;
    let (step, _) = STEPS.iter().find(|(step, _)| *step as u8 == byte[0])?;
    Some(*step)
}

fn explain(step: Step, cause: &io::Error, launch: &Launch) -> String {
    match (step, &launch.directory) {
        (Step::Directory, Some(directory)) => format!("{}: {cause}", directory.display()),
        (Step::Guard | Step::Session, _) if cause.kind() == io::ErrorKind::WouldBlock => {
            format!("{cause}: no more processes are allowed (TasksMax, LimitNPROC, memory)")
        }
        (Step::Nice, _) if cause.kind() == io::ErrorKind::PermissionDenied => format!(
            "{cause}: the sandbox of the service forbids it (SystemCallFilter=); allow setpriority there, or leave `nice` out"
        ),
        (Step::User, _) => format!(
            "{cause}; the agent needs CAP_SETUID, CAP_SETGID and CAP_KILL, see docs/commands.md about `user`"
        ),
        _ => cause.to_string(),
    }
}

/// What the child does to itself before it becomes the program. Made beforehand: nothing may be allocated there.
struct Setup {
    agent: Option<Pid>,
    limits: Vec<(Resource, Rlimit)>,
    nice: i32,
    user: Option<(Uid, Gid, Vec<Gid>)>,
    directory: Option<CString>,
    guard: PipeWriter,
}

impl Setup {
    fn new(launch: &Launch, guard: PipeWriter) -> Result<Setup, StartError> {
        let directory = match &launch.directory {
            Some(path) => {
                let path = CString::new(path.as_os_str().as_bytes());
                Some(path.map_err(|nul| StartError::Step {
                    program: launch.program.clone(),
                    step: Step::Directory,
                    cause: nul.to_string(),
                })?)
            }
            None => None,
        };
        let other = launch.account.as_ref().filter(|account| account.is_other());
        Ok(Setup {
            agent: Some(rustix::process::getpid()),
            limits: resources(&launch.limits),
            nice: launch.nice.into(),
            user: other.map(|account| (account.uid, account.gid, account.groups.clone())),
            directory,
            guard,
        })
    }

    /// System calls only: this runs in a copy of one thread of the agent.
    fn run(&self) -> Result<(), (Step, io::Error)> {
        let at = |step: Step| move |errno: Errno| (step, io::Error::from(errno));
        rustix::process::setsid().map_err(at(Step::Session))?;
        // Everything that the agent or its libraries opened is closed when the program takes over.
        each_descriptor(|fd| {
            // SAFETY: the descriptor was open a moment ago, and this process has no other thread to close it.
            #[allow(unsafe_code)]
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
        })
        .map_err(|error| (Step::Descriptors, error))?;
        if self.nice > 0 {
            match rustix::process::setpriority_process(None, self.nice) {
                // The agent itself stands back further already. (A sandbox that forbids it says EPERM.)
                Ok(()) | Err(Errno::ACCESS) => {}
                Err(errno) => return Err(at(Step::Nice)(errno)),
            }
        }
        // No program inherits what the agent may do; see capabilities(7) about the ambient set.
        rustix::thread::clear_ambient_capability_set().map_err(at(Step::User))?;
        if let Some((uid, gid, groups)) = &self.user {
            rustix::thread::set_thread_groups(groups).map_err(at(Step::User))?;
            rustix::thread::set_thread_res_gid(*gid, *gid, *gid).map_err(at(Step::User))?;
            rustix::thread::set_thread_res_uid(*uid, *uid, *uid).map_err(at(Step::User))?;
            if !uid.is_root() {
                let none = CapabilitySets {
                    effective: CapabilitySet::empty(),
                    permitted: CapabilitySet::empty(),
                    inheritable: CapabilitySet::empty(),
                };
                rustix::thread::set_capabilities(None, none).map_err(at(Step::User))?;
            }
        }
        for (resource, limit) in &self.limits {
            rustix::process::setrlimit(*resource, *limit).map_err(at(Step::Limits))?;
        }
        // After the change of user, which would undo it. The agent may have died just before.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Parent))?;
        if rustix::process::getppid() != self.agent {
            return Err(at(Step::Parent)(Errno::SRCH));
        }
        if let Some(directory) = &self.directory {
            rustix::process::chdir(directory.as_c_str()).map_err(at(Step::Directory))?;
        }
        announce(self.guard.as_fd()).map_err(|error| (Step::Announce, error))
    }
}

/// The limits as the system takes them. Nothing is raised beyond what the agent has.
fn resources(limits: &Limits) -> Vec<(Resource, Rlimit)> {
    let seconds = limits.cpu_time.map(|span| {
        let whole = span.0.as_secs();
        whole + u64::from(span.0.subsec_nanos() > 0)
    });
    // SIGXCPU comes at the first, SIGKILL at the second: so it can be told what ended the program.
    let cpu = seconds.map(|seconds| (Resource::Cpu, seconds, seconds + 5));
    let same = |resource, value: Option<u64>| value.map(|value| (resource, value, value));
    [
        same(Resource::As, limits.memory.map(|size| size.0)),
        cpu,
        same(Resource::Nofile, limits.open_files),
        same(Resource::Nproc, limits.processes),
        same(Resource::Fsize, limits.file_size.map(|size| size.0)),
    ]
    .into_iter()
    .flatten()
    .map(|(resource, soft, hard)| {
        let own = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit {
            current: Some(soft.min(own)),
            maximum: Some(hard.min(own)),
        };
        (resource, limit)
    })
    .collect()
}

/// Machines by their numbers in ELF.
const MACHINES: [(u16, &str); 6] = [
    (3, "x86"),
    (8, "mips"),
    (40, "32-bit arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv"),
];

/// What this machine may run.
const OURS: &[u16] = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    &[3, 62]
} else if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
    &[40, 183]
} else {
    &[]
};

/// The C library hands a file that the kernel can't execute to `/bin/sh`. Nothing runs in a shell here unless
/// it says so itself, so such files are found out before.
fn refuse_what_a_shell_would_get(program: &Path) -> Result<(), StartError> {
    let refuse = |problem: String| {
        Err(StartError::Program {
            program: program.to_owned(),
            problem,
        })
    };
    // What is not there, no file or not for us to read is found out when it is started.
    let Some(head) = head_of(program) else {
        return Ok(());
    };
    if head.starts_with(b"#!") {
        return Ok(());
    }
    match machine(&head) {
        None => refuse(
            "is neither a program nor a script that begins with `#!` and its interpreter: add that line"
                .to_owned(),
        ),
        Some(number) if OURS.is_empty() || OURS.contains(&number) => Ok(()),
        Some(number) => {
            let name = MACHINES.iter().find(|(known, _)| *known == number);
            let name = name.map_or("another machine", |(_, name)| name);
            refuse(format!(
                "is built for {name} and this machine is {}: install the right one",
                std::env::consts::ARCH
            ))
        }
    }
}

/// The first bytes of a file that is there and can be read.
fn head_of(program: &Path) -> Option<Vec<u8>> {
    // Opening something else than a file (a FIFO) could block.
    if !std::fs::metadata(program).ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    std::fs::File::open(program)
        .and_then(|file| file.take(256).read_to_end(&mut head))
        .ok()?;
    Some(head)
}

/// elf(5): byte 5 is the order of bytes, `e_machine` is the number at 18.
fn machine(head: &[u8]) -> Option<u16> {
    let bytes: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    Some(match head[5] {
        2 => u16::from_be_bytes(bytes),
        _ => u16::from_le_bytes(bytes),
    })
}

/// Why the system would not execute a file, in words that help.
fn diagnose(program: &Path, error: &io::Error) -> String {
    let metadata = std::fs::metadata(program);
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOENT) if metadata.is_ok() => match interpreter(program) {
            Some(name) => format!("can't be run: its interpreter {name} is not there; install it"),
            None => {
                "can't be run: its loader is not there; it was built for another system (C library)".to_owned()
            }
        },
        Some(Errno::NOENT) => "is not there: install it or correct `program`".to_owned(),
        Some(Errno::NOTDIR) => "is not there: a part of the path is no directory".to_owned(),
        Some(Errno::ACCESS) => match metadata {
            Ok(metadata) if !metadata.is_file() => "is no file".to_owned(),
            Ok(metadata) if !is_executable(&metadata) => {
                format!("is not executable: chmod +x {}", program.display())
            }
            Ok(_) if is_noexec(program) => {
                "can't be run: its file system is mounted with noexec; move it elsewhere".to_owned()
            }
            _ => "may not be run by the user it would run as: look at the modes of the file and of the directories \
                  above it (and at its interpreter's)"
                .to_owned(),
        },
        Some(Errno::NOEXEC) => "is no program for this machine".to_owned(),
        Some(Errno::TXTBSY) => "is being written to; try again when that is done".to_owned(),
        Some(Errno::TOOBIG) => "can't be run: arguments and environment are too long together".to_owned(),
        Some(Errno::PERM) => {
            "may not be run: the sandbox of the service or a security module forbids it".to_owned()
        }
        Some(Errno::AGAIN) => {
            "can't be run: its user has no processes left (limits.processes, TasksMax)".to_owned()
        }
        _ => format!("can't be run: {error}"),
    }
}

/// Whether anybody may execute it.
pub fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

fn is_noexec(program: &Path) -> bool {
    let flags = rustix::fs::statvfs(program).map(|stat| stat.f_flag);
    flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// The interpreter that a script names.
fn interpreter(program: &Path) -> Option<String> {
    let head = head_of(program)?;
    let line = head.strip_prefix(b"#!")?;
    let line = line.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(str::to_owned)
}

/// What is wrong with a program as it lies there, if something is; for a warning before it is needed.
pub fn inspect(program: &Path) -> Option<String> {
    if let Err(StartError::Program { problem, .. }) = refuse_what_a_shell_would_get(program) {
        return Some(problem);
    }
    let errno = match std::fs::metadata(program) {
        Err(error) => return Some(diagnose(program, &error)),
        Ok(metadata) if is_executable(&metadata) && !is_noexec(program) => return None,
        Ok(_) => Errno::ACCESS,
    };
    Some(diagnose(program, &errno.into()))
}

/// A list of arguments out of texts.
pub fn arguments<T: AsRef<OsStr>>(texts: impl IntoIterator<Item = T>) -> Vec<OsString> {
    texts.into_iter().map(|text| text.as_ref().to_owned()).collect()
}
