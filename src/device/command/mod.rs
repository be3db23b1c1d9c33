//! Programs: `kind = "command"` runs those that the owner configured and nothing else; `kind = "shell-worker"`
//! runs whatever it is told to ([`ShellWorker`]). docs/commands.md is for the owner.
//!
//! | attribute | |
//! | --- | --- |
//! | `output` | standard output and standard error as they came, at most `output_cap`; always there |
//! | `output_dropped` | how many bytes of it are missing, if any |
//! | `exit_code` or `signal` | how it ended |
//!
//! A failed run has them too ([`super::VerbError::attributes`]); of a stopped one what was written so far is
//! reported as progress.
//!
//! *Safe* means that nothing of it runs. A program leads a process group of its own, which is asked to end
//! (SIGTERM) when the verb is stopped, killed when `stop_grace` is over, and killed with the agent, however
//! that dies ([`guard`]). What leaves the group (by `setsid`, as daemons do) escapes all this; under systemd it
//! still ends with the service.

pub mod account;
pub mod ended;
pub mod environment;
pub mod guard;
pub mod output;
mod pool;
mod program;
mod settings;
mod shell_worker;
pub mod size;
mod start;
pub mod template;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use self::account::{Account, AccountError};
use self::ended::{describe, out_of_memory_kills, signal_name};
use self::output::Collector;
pub use self::pool::Pool;
pub use self::program::End;
use self::program::Program;
pub use self::settings::{
    Bounds, CommandSettings, CommandSettingsError, DEFAULT_OUTPUT_CAP, FunctionSettings, Limits,
    ProgramSettings, SHELL, ShellWorkerSettings,
};
pub use self::shell_worker::ShellWorker;
use self::start::{Launch, arguments, inspect};
pub use self::start::{StartError, Step};
use super::{Call, Context, Device, DeviceError, Effect, Outcome, Urgency, Verb, VerbError};
use crate::clock::SharedClock;

/// What ending a program takes beyond its grace.
const KILL_TIME: Duration = Duration::from_millis(50);
/// How long a program that only reads may take to end after SIGTERM: its verb must be back within
/// [`super::owner::STOP_GRACE`], since nothing makes the device safe after it.
const READ_GRACE: Duration = Duration::from_millis(20);
/// So much of a program's last line is part of the error.
const LAST_LINE: usize = 200;

/// What goes wrong with programs.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing was run.
    #[error("{device}.{function}: {cause}")]
    NotStarted {
        /// The device.
        device: String,
        /// The function.
        function: String,
        /// Why.
        cause: StartError,
    },
    /// It ran and did not succeed.
    #[error("{device}.{function}: {how}")]
    Ended {
        /// The device.
        device: String,
        /// The function.
        function: String,
        /// How it ended, with its last words.
        how: String,
        /// What it has to tell all the same.
        attributes: Vec<(String, String)>,
    },
    /// The same in the words of the original worker (docs/protocol/runtime-dialect.md, section 6).
    #[error("Process failed")]
    ProcessFailed {
        /// What it has to tell all the same.
        attributes: Vec<(String, String)>,
    },
    /// It runs, or ran, and can't be watched.
    #[error("{device}: the program can't be watched any more: {cause}")]
    Watch {
        /// The device.
        device: String,
        /// The system's words.
        cause: String,
    },
    /// The configured user.
    #[error("{device}: {cause}")]
    Account {
        /// The device.
        device: String,
        /// What is wrong.
        cause: AccountError,
    },
}

impl CommandError {
    /// What is told although it failed.
    pub fn attributes(&self) -> &[(String, String)] {
        match self {
            CommandError::Ended { attributes, .. } | CommandError::ProcessFailed { attributes } => attributes,
            _ => &[],
        }
    }
}

/// Runs configured programs, one at a time.
pub struct CommandDevice {
    verbs: Vec<Verb>,
    functions: Vec<Function>,
    runner: Runner,
}

struct Function {
    name: String,
    settings: FunctionSettings,
    account: Option<Account>,
}

impl CommandDevice {
    /// Looks up users. A program that could not be run as it lies there is only warned of: it may come later.
    ///
    /// # Errors
    /// A user that is unknown or that the agent may not become.
    pub fn open(name: &str, settings: &CommandSettings, clock: SharedClock) -> Result<Self, DeviceError> {
        let open_function = |(function, settings): (&String, &FunctionSettings)| {
            if let ProgramSettings::File(file) = &settings.program
                && let Some(problem) = inspect(file)
            {
                tracing::warn!(device = name, function, "{} {problem}", file.display());
            }
            let account = settings.user.as_deref().map(Account::open).transpose();
            Ok(Function {
                name: function.clone(),
                settings: settings.clone(),
                account: account.map_err(|cause| CommandError::Account {
                    device: name.to_owned(),
                    cause,
                })?,
            })
        };
        let functions: Vec<Function> = settings
            .functions
            .iter()
            .map(open_function)
            .collect::<Result<_, DeviceError>>()?;
        let graces = functions
            .iter()
            .map(|function| function.settings.bounds.stop_grace);
        Ok(CommandDevice {
            verbs: functions.iter().map(verb).collect(),
            runner: Runner::new(name, clock, graces.max().unwrap_or_default()),
            functions,
        })
    }
}

fn verb(function: &Function) -> Verb {
    let settings = &function.settings;
    let what = match &settings.program {
        ProgramSettings::File(file) => format!("Runs {}.", file.display()),
        ProgramSettings::Shell(_) => "Runs a configured shell command.".to_owned(),
    };
    Verb {
        name: function.name.clone().into(),
        usage: settings.args.usage().into(),
        help: settings.help.clone().unwrap_or(what).into(),
        effect: settings.effect,
        urgency: Urgency::Work,
        max_time: settings.max_time,
    }
}

impl Function {
    fn launch(&self, args: Vec<String>, environment: environment::Environment) -> Launch {
        let settings = &self.settings;
        let (program, args) = match &settings.program {
            ProgramSettings::File(file) => (file.clone(), arguments(args)),
            ProgramSettings::Shell(text) => {
                // `sh -c TEXT NAME ARGS…`: the arguments are `$1` and so on; no text is pasted into another.
                let mut all = arguments(["-c", text, &self.name]);
                all.extend(arguments(args));
                (PathBuf::from(SHELL), all)
            }
        };
        Launch {
            program,
            args,
            environment,
            directory: Some(settings.directory.clone()),
            limits: settings.bounds.limits.clone(),
            nice: settings.bounds.nice,
            account: self.account.clone(),
        }
    }
}

#[async_trait]
impl Device for CommandDevice {
    fn name(&self) -> &str {
        &self.runner.device
    }

    fn kind(&self) -> &'static str {
        "command"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        self.runner.time_to_safe()
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let known = self.functions.iter().zip(&self.verbs);
        let Some((function, verb)) = known.into_iter().find(|(function, _)| function.name == call.verb)
        else {
            return Err(VerbError::UnknownVerb {
                device: self.runner.device.clone(),
                verb: call.verb.clone(),
                known: self.verbs.iter().map(|verb| verb.name.to_string()).collect(),
            });
        };
        let settings = &function.settings;
        let args = settings
            .args
            .fill(&call.args, settings.options)
            .map_err(|error| verb.usage_error(&self.runner.device, error.to_string()))?;
        let account = function.account.as_ref().map(Account::environment);
        let environment = settings
            .environment
            .apply(
                |name| std::env::var_os(name),
                account.as_ref().map_or(&[], |pairs| &pairs[..]),
                &call.env,
                context,
            )
            .map_err(|error| verb.usage_error(&self.runner.device, error.to_string()))?;
        let launch = function.launch(args, environment);
        let finished = self
            .runner
            .run(&launch, &settings.bounds, settings.effect, context)
            .await?;
        let finished = finished.map_err(|cause| CommandError::NotStarted {
            device: self.runner.device.clone(),
            function: function.name.clone(),
            cause,
        });
        let finished = finished.map_err(DeviceError::from)?;
        let outcome = finished.outcome();
        let success = matches!(finished.end, End::Code(code) if settings.success_codes.contains(&code));
        if success {
            return Ok(outcome);
        }
        let last = finished.output.last_line(LAST_LINE);
        let last = last.map_or_else(String::new, |line| format!("; its last line: {line}"));
        Err(DeviceError::from(CommandError::Ended {
            device: self.runner.device.clone(),
            function: function.name.clone(),
            how: describe(finished.end, &settings.bounds, finished.oom) + &last,
            attributes: outcome.attributes,
        })
        .into())
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.runner.make_safe().await
    }
}

/// Runs one program at a time and knows the one that runs.
struct Runner {
    device: String,
    clock: SharedClock,
    /// Stays until it has ended, also when the verb that started it is gone.
    current: Option<Program>,
    /// The longest grace that a program of this device has.
    grace: Duration,
}

/// A program that ended by itself.
struct Finished {
    end: End,
    output: Collector,
    /// The kernel killed something of the service for want of memory while it ran.
    oom: bool,
}

impl Finished {
    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::new().with("output", self.output.text());
        if self.output.dropped() > 0 {
            outcome = outcome.with("output_dropped", self.output.dropped().to_string());
        }
        match self.end {
            End::Code(code) => outcome.with("exit_code", code.to_string()),
            End::Signal(number) => outcome.with("signal", signal_name(number)),
        }
    }
}

impl Runner {
    fn new(device: &str, clock: SharedClock, grace: Duration) -> Self {
        Runner {
            device: device.to_owned(),
            clock,
            current: None,
            grace,
        }
    }

    fn time_to_safe(&self) -> Duration {
        self.grace + KILL_TIME
    }

    /// Runs a program to its end, unless the verb has to stop. The inner error: it was not started.
    async fn run(
        &mut self,
        launch: &Launch,
        bounds: &Bounds,
        effect: Effect,
        context: &Context,
    ) -> Result<Result<Finished, StartError>, VerbError> {
        // Something that an earlier verb left behind; never beside it.
        self.make_safe().await?;
        context.check_beginning()?;
        let kills = out_of_memory_kills();
        let program = match Program::start(launch, bounds.output_cap, bounds.stop_grace) {
            Ok(program) => self.current.insert(program),
            Err(error) => return Ok(Err(error)),
        };
        let ended = tokio::select! {
            biased;
            reason = context.cancellation().cancelled() => Err(VerbError::Cancelled { reason: reason.to_string() }),
            limit = context.ended() => Err(limit.error()),
            end = program.end(&self.clock) => Ok(end),
        };
        let end = match ended {
            Ok(end) => end.map_err(|cause| watch(&self.device, &cause))?,
            Err(stopped) => {
                // The owner makes the device safe next, which waits for the end and kills.
                program.terminate();
                // But not after reading: so this is quick, and what it can't wait for is left to the next call.
                let over = effect == Effect::Read && program.stop(&self.clock, READ_GRACE).await.is_ok();
                program.take_what_is_there();
                context.progress("output", &program.collected().text());
                if over {
                    self.current = None;
                }
                return Err(stopped);
            }
        };
        let output = std::mem::replace(program.collected_mut(), Collector::new(0));
        self.current = None;
        let killed = matches!(end, End::Signal(_)) || matches!(end, End::Code(129..));
        let oom = killed
            && kills
                .zip(out_of_memory_kills())
                .is_some_and(|(before, after)| after > before);
        Ok(Ok(Finished { end, output, oom }))
    }

    /// Ends what runs.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        if let Some(program) = &mut self.current {
            let stopped = program.stop(&self.clock, self.grace).await;
            stopped.map_err(|cause| watch(&self.device, &cause))?;
            self.current = None;
        }
        Ok(())
    }
}

fn watch(device: &str, cause: &io::Error) -> DeviceError {
    DeviceError::Command(CommandError::Watch {
        device: device.to_owned(),
        cause: cause.to_string(),
    })
}
