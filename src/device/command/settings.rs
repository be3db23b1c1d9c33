//! The settings of `kind = "command"` and `kind = "shell-worker"`, as docs/commands.md describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::super::Effect;
use super::super::duration::{Span, format_duration};
use super::environment::{EnvironmentRules, PASSED_BY_DEFAULT, is_identifier, is_secret};
use super::size::{Size, format_size};
use super::template::{Template, TemplateError};

/// The shell that `shell = true` uses.
pub const SHELL: &str = "/bin/sh";

const DEFAULT_MAX_TIME: Duration = Duration::from_secs(600);
const DEFAULT_WORKER_MAX_TIME: Duration = Duration::from_secs(24 * 3600);
const LONGEST_MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
const DEFAULT_STOP_GRACE: Duration = Duration::from_millis(500);
const LONGEST_STOP_GRACE: Duration = Duration::from_secs(30);
/// So much of a program's output is kept unless the configuration says otherwise.
pub const DEFAULT_OUTPUT_CAP: Size = Size(64 << 10);
const DEFAULT_WORKER_OUTPUT_CAP: Size = Size(1 << 20);
const LARGEST_OUTPUT_CAP: Size = Size(16 << 20);
const MOST_SLOTS: u16 = 64;
/// As long as a device's own name.
const NAME_MAX: usize = 64;

/// The settings of `kind = "command"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CommandTable")]
pub struct CommandSettings {
    /// `slots`: so many programs of this device may run at once (default 1).
    pub slots: u16,
    /// `[devices.NAME.functions.FUNCTION]`: what can be run, by name. Nothing else can be.
    pub functions: BTreeMap<String, FunctionSettings>,
}

/// One configured program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSettings {
    /// `program`, and whether `shell = true`.
    pub program: ProgramSettings,
    /// `args`: the program's arguments, with places for those of the process (default none; of a shell
    /// `["{args}"]`).
    pub args: Template,
    /// `options`: a process's arguments may look like options (default false).
    pub options: bool,
    /// `effect` = `read`, `set` or `once` (default `once`).
    pub effect: Effect,
    /// `repeat`: it may be begun again for the same process (default false; docs/fence.md, section 3).
    pub repeat: bool,
    /// `max_time`: the longest it may run (default 10 minutes).
    pub max_time: Duration,
    /// `help`: what it does, for people.
    pub help: Option<String>,
    /// `directory`: where it runs (default `/`).
    pub directory: PathBuf,
    /// `env`, `pass_env`, `accept_env`.
    pub environment: EnvironmentRules,
    /// `success_codes`: the exit codes that mean success (default 0 alone).
    pub success_codes: BTreeSet<u8>,
    /// `user`: the user to run it as (default the agent's own).
    pub user: Option<String>,
    /// `output_cap`, `stop_grace`, `limits`, `nice`.
    pub bounds: Bounds,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramSettings {
    /// A file, by its absolute path.
    File(PathBuf),
    /// A text for `/bin/sh -c`; the arguments are its `$1`, `$2`, … and never part of the text.
    Shell(String),
}

/// What bounds a program, whoever chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// `output_cap`: so much of the output is kept (default 64 KiB; of the shell worker 1 MiB).
    pub output_cap: usize,
    /// `stop_grace`: how long it may take to end after SIGTERM, before SIGKILL (default 500 ms).
    pub stop_grace: Duration,
    /// `limits`.
    pub limits: Limits,
    /// `nice`: 0 to 19, how much it stands back for others (default 0).
    pub nice: u8,
}

/// Limits of resources, as setrlimit(2) has them. They only ever lower what the agent itself has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Address space of each process.
    pub memory: Option<Size>,
    /// Processor time of each process; whole seconds, rounded up.
    pub cpu_time: Option<Span>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Processes and threads of the *user*, everything that runs as it counted; root is exempt.
    pub processes: Option<u64>,
    /// Size of each file written.
    pub file_size: Option<Size>,
}

/// The settings of `kind = "shell-worker"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ShellWorkerTable")]
pub struct ShellWorkerSettings {
    /// `slots`: so many programs may run at once (default 1, as the original).
    pub slots: u16,
    /// `max_time`: the longest a program may run (default 24 hours; the original has no limit).
    pub max_time: Duration,
    /// `output_cap`, `stop_grace`, `limits`, `nice`.
    pub bounds: Bounds,
}

/// Why the settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandSettingsError {
    /// In one of the functions.
    #[error("function {function:?}: {cause}")]
    Function {
        /// Its name.
        function: String,
        /// What is wrong.
        cause: Box<CommandSettingsError>,
    },
    /// No functions.
    #[error(
        "a command device runs configured functions only: add [devices.NAME.functions.FUNCTION] with program = \"/…\""
    )]
    NoFunctions,
    /// A name that can't be called.
    #[error("this can't be a function's name: use 1 to 64 letters, digits, `_` and `-`")]
    FunctionName,
    /// Nothing to run.
    #[error("program is missing: write program = \"/absolute/path\"")]
    NoProgram,
    /// A relative path.
    #[error(
        "program = {program:?} must be an absolute path: nothing is looked up in PATH; \
         for a shell's command line set shell = true (and read docs/commands.md first)"
    )]
    RelativeProgram {
        /// What was written.
        program: String,
    },
    /// A relative path.
    #[error("directory = {directory:?} must be an absolute path")]
    RelativeDirectory {
        /// What was written.
        directory: String,
    },
    /// A NUL byte.
    #[error("{key} has a NUL byte")]
    Nul {
        /// Where.
        key: &'static str,
    },
    /// Places in a shell's text.
    #[error(
        "with shell = true an element of args must be a place of its own or plain text; \
         {cause}"
    )]
    ShellArgs {
        /// What is wrong.
        cause: TemplateError,
    },
    /// The arguments.
    #[error(transparent)]
    Args(#[from] TemplateError),
    /// A span out of bounds.
    #[error("{key} = {} must be from {} to {}", format_duration(*span), format_duration(*least), format_duration(*most))]
    Span {
        /// Which.
        key: &'static str,
        /// What was written.
        span: Duration,
        /// The shortest.
        least: Duration,
        /// The longest.
        most: Duration,
    },
    /// A size out of bounds.
    #[error("{key} = {} must be from {} to {}", format_size(*size), format_size(*least), format_size(*most))]
    Size {
        /// Which.
        key: &'static str,
        /// What was written.
        size: Size,
        /// The smallest.
        least: Size,
        /// The largest.
        most: Size,
    },
    /// A number out of bounds.
    #[error("{key} = {number} must be from {least} to {most}")]
    Number {
        /// Which.
        key: &'static str,
        /// What was written.
        number: i64,
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// No exit code means success.
    #[error("success_codes is empty: the function could only fail")]
    NoSuccess,
    /// A name that no variable has.
    #[error("{key}: {name:?} can't be the name of an environment variable: use letters, digits and `_`")]
    VariableName {
        /// Which key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A variable that programs never get.
    #[error(
        "{key}: {name} belongs to the agent and never reaches a program (keys, the agent's own settings)"
    )]
    SecretVariable {
        /// Which key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// It would be overwritten.
    #[error("env: {name} is set by the agent for each run")]
    FactVariable {
        /// The name.
        name: String,
    },
}

/// The keys as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandTable {
    #[serde(default = "one")]
    slots: i64,
    #[serde(default)]
    functions: BTreeMap<String, FunctionTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionTable {
    program: Option<String>,
    #[serde(default)]
    shell: bool,
    args: Option<Vec<String>>,
    #[serde(default)]
    options: bool,
    #[serde(default)]
    effect: EffectWord,
    #[serde(default)]
    repeat: bool,
    max_time: Option<Span>,
    help: Option<String>,
    directory: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    pass_env: Option<Vec<String>>,
    accept_env: Option<BTreeSet<String>>,
    success_codes: Option<BTreeSet<u8>>,
    user: Option<String>,
    output_cap: Option<Size>,
    stop_grace: Option<Span>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    nice: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShellWorkerTable {
    #[serde(default = "one")]
    slots: i64,
    max_time: Option<Span>,
    output_cap: Option<Size>,
    stop_grace: Option<Span>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    nice: i64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EffectWord {
    Read,
    Set,
    #[default]
    Once,
}

fn one() -> i64 {
    1
}

impl TryFrom<CommandTable> for CommandSettings {
    type Error = CommandSettingsError;
    fn try_from(table: CommandTable) -> Result<Self, CommandSettingsError> {
        if table.functions.is_empty() {
            return Err(CommandSettingsError::NoFunctions);
        }
        let functions = table.functions.into_iter().map(|(name, function)| {
            let read = match is_callable(&name) {
                true => FunctionSettings::try_from(function),
                false => Err(CommandSettingsError::FunctionName),
            };
            match read {
                Ok(function) => Ok((name, function)),
                Err(cause) => Err(CommandSettingsError::Function {
                    function: name,
                    cause: Box::new(cause),
                }),
            }
        });
        Ok(CommandSettings {
            slots: checked_slots(table.slots)?,
            functions: functions.collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<ShellWorkerTable> for ShellWorkerSettings {
    type Error = CommandSettingsError;
    fn try_from(table: ShellWorkerTable) -> Result<Self, CommandSettingsError> {
        Ok(ShellWorkerSettings {
            slots: checked_slots(table.slots)?,
            max_time: checked_max_time(table.max_time, DEFAULT_WORKER_MAX_TIME)?,
            bounds: Bounds::checked(
                table.output_cap.unwrap_or(DEFAULT_WORKER_OUTPUT_CAP),
                table.stop_grace,
                table.limits,
                table.nice,
            )?,
        })
    }
}

impl TryFrom<FunctionTable> for FunctionSettings {
    type Error = CommandSettingsError;
    fn try_from(table: FunctionTable) -> Result<Self, CommandSettingsError> {
        use CommandSettingsError as Fault;
        let text = table.program.ok_or(Fault::NoProgram)?;
        if text.contains('\0') {
            return Err(Fault::Nul { key: "program" });
        }
        let program = match table.shell {
            true => ProgramSettings::Shell(text),
            false if Path::new(&text).is_absolute() => ProgramSettings::File(text.into()),
            false => return Err(Fault::RelativeProgram { program: text }),
        };
        let args = match (table.args, table.shell) {
            (Some(args), false) => Template::parse(&args)?,
            (Some(args), true) => Template::parse(&args).map_err(|cause| Fault::ShellArgs { cause })?,
            (None, false) => Template::default(),
            (None, true) => Template::parse(&["{args}"])?,
        };
        let directory = table.directory.unwrap_or_else(|| "/".to_owned());
        if !Path::new(&directory).is_absolute() {
            return Err(Fault::RelativeDirectory { directory });
        }
        if directory.contains('\0') {
            return Err(Fault::Nul { key: "directory" });
        }
        let success_codes = table.success_codes.unwrap_or_else(|| BTreeSet::from([0]));
        if success_codes.is_empty() {
            return Err(Fault::NoSuccess);
        }
        Ok(FunctionSettings {
            program,
            args,
            options: table.options,
            effect: match table.effect {
                EffectWord::Read => Effect::Read,
                EffectWord::Set => Effect::Set,
                EffectWord::Once => Effect::Once,
            },
            repeat: table.repeat,
            max_time: checked_max_time(table.max_time, DEFAULT_MAX_TIME)?,
            help: table.help,
            directory: directory.into(),
            environment: checked_environment(table.env, table.pass_env, table.accept_env)?,
            success_codes,
            user: table.user,
            bounds: Bounds::checked(
                table.output_cap.unwrap_or(DEFAULT_OUTPUT_CAP),
                table.stop_grace,
                table.limits,
                table.nice,
            )?,
        })
    }
}

impl Bounds {
    fn checked(
        cap: Size,
        grace: Option<Span>,
        limits: Limits,
        nice: i64,
    ) -> Result<Self, CommandSettingsError> {
        let size = |key, size: Option<Size>, least, most| match size {
            Some(size) if !(least..=most).contains(&size) => Err(CommandSettingsError::Size {
                key,
                size,
                least,
                most,
            }),
            _ => Ok(()),
        };
        let number = |key, number: Option<i64>, least, most| match number {
            Some(number) if !(least..=most).contains(&number) => Err(CommandSettingsError::Number {
                key,
                number,
                least,
                most,
            }),
            _ => Ok(()),
        };
        let largest = Size(1 << 50);
        size("output_cap", Some(cap), Size(0), LARGEST_OUTPUT_CAP)?;
        // Below this not even the loader of a small program fits.
        size("limits.memory", limits.memory, Size(1 << 20), largest)?;
        size("limits.file_size", limits.file_size, Size(0), largest)?;
        // Three are open already.
        let count = |limit: Option<u64>| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
        number("limits.open_files", count(limits.open_files), 4, 1 << 20)?;
        number("limits.processes", count(limits.processes), 1, 1 << 22)?;
        number("nice", Some(nice), 0, 19)?;
        let second = Duration::from_secs(1);
        let grace = grace.map_or(DEFAULT_STOP_GRACE, |span| span.0);
        checked_span("stop_grace", grace, Duration::ZERO, LONGEST_STOP_GRACE)?;
        if let Some(Span(cpu_time)) = limits.cpu_time {
            checked_span("limits.cpu_time", cpu_time, second, LONGEST_MAX_TIME)?;
        }
        Ok(Bounds {
            // At most 16 MiB.
            output_cap: usize::try_from(cap.0).unwrap_or(usize::MAX),
            stop_grace: grace,
            limits,
            // From 0 to 19.
            nice: u8::try_from(nice).unwrap_or_default(),
        })
    }
}

fn checked_span(
    key: &'static str,
    span: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, CommandSettingsError> {
    match (least..=most).contains(&span) {
        true => Ok(span),
        false => Err(CommandSettingsError::Span {
            key,
            span,
            least,
            most,
        }),
    }
}

fn checked_max_time(span: Option<Span>, default: Duration) -> Result<Duration, CommandSettingsError> {
    let span = span.map_or(default, |span| span.0);
    checked_span("max_time", span, Duration::from_millis(1), LONGEST_MAX_TIME)
}

fn checked_slots(slots: i64) -> Result<u16, CommandSettingsError> {
    match u16::try_from(slots) {
        Ok(count) if (1..=MOST_SLOTS).contains(&count) => Ok(count),
        _ => Err(CommandSettingsError::Number {
            key: "slots",
            number: slots,
            least: 1,
            most: MOST_SLOTS.into(),
        }),
    }
}

fn checked_environment(
    fixed: BTreeMap<String, String>,
    pass: Option<Vec<String>>,
    accept: Option<BTreeSet<String>>,
) -> Result<EnvironmentRules, CommandSettingsError> {
    use CommandSettingsError as Fault;
    let pass = pass.unwrap_or_else(|| PASSED_BY_DEFAULT.map(str::to_owned).to_vec());
    let names = fixed
        .keys()
        .map(|name| ("env", name))
        .chain(pass.iter().map(|name| ("pass_env", name)))
        .chain(accept.iter().flatten().map(|name| ("accept_env", name)));
    for (key, name) in names {
        let name = name.clone();
        if !is_identifier(&name) {
            return Err(Fault::VariableName { key, name });
        }
        if is_secret(&name) {
            return Err(Fault::SecretVariable { key, name });
        }
        if key == "env" && name.to_ascii_uppercase().starts_with("COLONIES_") {
            return Err(Fault::FactVariable { name });
        }
    }
    if fixed.values().any(|value| value.contains('\0')) {
        return Err(Fault::Nul { key: "env" });
    }
    Ok(EnvironmentRules { pass, fixed, accept })
}

fn is_callable(name: &str) -> bool {
    let callable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(callable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSettings;

    #[derive(Debug, Deserialize)]
    struct File {
        device: DeviceSettings,
    }

    /// As the agent reads its file. `toml`: what follows the device's kind.
    fn read(toml: &str) -> Result<CommandSettings, String> {
        let text = format!("[device]\nkind = \"command\"\n{toml}");
        let file = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .build()
            .map_err(|error| error.to_string())?;
        match file.try_deserialize::<File>().map(|file| file.device) {
            Ok(DeviceSettings::Command(settings)) => Ok(settings),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn function(keys: &str) -> Result<FunctionSettings, String> {
        let mut settings = read(&format!("[device.functions.run]\n{keys}"))?;
        Ok(settings.functions.remove("run").unwrap())
    }

    #[test]
    fn a_program_is_enough_and_everything_can_be_said() {
        let short = function("program = \"/bin/true\"").unwrap();
        assert_eq!(short.program, ProgramSettings::File("/bin/true".into()));
        assert_eq!(short.effect, Effect::Once);
        assert!(!short.repeat && !short.options);
        assert_eq!(short.max_time, Duration::from_secs(600));
        assert_eq!(short.directory, Path::new("/"));
        assert_eq!(short.bounds.output_cap, 65_536);
        assert_eq!(short.bounds.stop_grace, Duration::from_millis(500));
        assert_eq!(short.success_codes, BTreeSet::from([0]));
        assert_eq!(short.environment, EnvironmentRules::default());
        let long = function(
            r#"
            program = "/usr/bin/rsync"
            args = ["-a", "--", "{1}", "{args}"]
            options = true
            effect = "read"
            repeat = true
            max_time = "2h"
            help = "Copies."
            directory = "/srv"
            env = { MODE = "fast", Mixed_Case = "kept" }
            pass_env = ["PATH", "TZ"]
            accept_env = ["LEVEL"]
            success_codes = [0, 24]
            user = "pi"
            output_cap = "1MiB"
            stop_grace = "2s"
            nice = 10
            limits = { memory = "256MiB", cpu_time = "1m", open_files = 64, processes = 20, file_size = "1GiB" }
            "#,
        )
        .unwrap();
        assert_eq!(long.args.usage(), "<1> [args…]");
        assert_eq!(
            (long.effect, long.repeat, long.options),
            (Effect::Read, true, true)
        );
        assert_eq!(
            long.environment.fixed.keys().collect::<Vec<_>>(),
            ["MODE", "Mixed_Case"]
        );
        assert_eq!(long.bounds.limits.memory, Some(Size(256 << 20)));
        assert_eq!(long.bounds.limits.cpu_time, Some(Span(Duration::from_secs(60))));
        assert_eq!(long.bounds.nice, 10);
    }

    #[test]
    fn a_shell_is_used_only_where_it_was_asked_for() {
        let refused = function("program = \"echo hello\"").unwrap_err();
        assert!(
            refused.contains("must be an absolute path") && refused.contains("function \"run\""),
            "{refused}"
        );
        let shell = function("program = \"echo $1\"\nshell = true").unwrap();
        assert_eq!(shell.program, ProgramSettings::Shell("echo $1".into()));
        assert_eq!(shell.args.usage(), "[args…]");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (keys, part) in [
            ("program = \"/x\"\nprogramm = 1", "unknown field `programm`"),
            ("args = []", "function \"run\": program is missing"),
            ("program = \"/x\"\nargs = [\"{0}\"]", "unknown place {0}"),
            ("program = \"/x\"\neffect = \"never\"", "`read`, `set`, `once`"),
            (
                "program = \"/x\"\nmax_time = \"0s\"",
                "max_time = 0s must be from 1ms to 720h",
            ),
            ("program = \"/x\"\nmax_time = \"721h\"", "max_time = 721h"),
            (
                "program = \"/x\"\nstop_grace = \"31s\"",
                "stop_grace = 31s must be from 0s to 30s",
            ),
            ("program = \"/x\"\noutput_cap = \"17MiB\"", "output_cap = 17MiB"),
            ("program = \"/x\"\noutput_cap = \"1MB\"", "a size like"),
            ("program = \"/x\"\nnice = 20", "nice = 20 must be from 0 to 19"),
            ("program = \"/x\"\nnice = -1", "nice = -1 must be from 0 to 19"),
            ("program = \"/x\"\nsuccess_codes = []", "could only fail"),
            ("program = \"/x\"\nsuccess_codes = [256]", "256"),
            ("program = \"/x\"\ndirectory = \"tmp\"", "directory = \"tmp\""),
            (
                "program = \"/x\"\nlimits = { memroy = 1 }",
                "unknown field `memroy`",
            ),
            (
                "program = \"/x\"\nlimits = { memory = 1 }",
                "limits.memory = 1 bytes",
            ),
            (
                "program = \"/x\"\nlimits = { open_files = 3 }",
                "limits.open_files = 3",
            ),
            (
                "program = \"/x\"\nlimits = { cpu_time = \"1ms\" }",
                "limits.cpu_time",
            ),
            (
                "program = \"/x\"\nenv = { \"A-B\" = \"1\" }",
                "env: \"A-B\" can't be the name",
            ),
            (
                "program = \"/x\"\nenv = { COLONIES_PROCESSID = \"1\" }",
                "set by the agent",
            ),
            (
                "program = \"/x\"\npass_env = [\"COLONIES_COLONYPRVKEY\"]",
                "never reaches a program",
            ),
            (
                "program = \"/x\"\npass_env = [\"OUTPOST_SERVER\"]",
                "never reaches a program",
            ),
        ] {
            let error = function(keys).expect_err(keys);
            assert!(error.contains(part), "{keys}: {error}");
        }
        let none = read("slots = 1").unwrap_err();
        assert!(none.contains("functions.FUNCTION"), "{none}");
        let name = read("[device.functions.\"a.b\"]\nprogram = \"/x\"").unwrap_err();
        assert!(name.contains("can't be a function's name"), "{name}");
        for slots in [-1, 0, 65, 100_000] {
            let error = read(&format!(
                "slots = {slots}\n[device.functions.a]\nprogram = \"/x\""
            ));
            let error = error.unwrap_err();
            assert!(error.contains("must be from 1 to 64"), "{error}");
        }
    }
}
