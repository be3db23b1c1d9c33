//! What may stand on the command line. Each default is defined once, here, and shown in the help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::environment::{self, Variable};
use crate::client::ServerUrl;
use crate::protocol::model::ProcessState;
use crate::vehicle::{Faults, GRAMMAR};

/// Where a server is looked for when nobody says.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:50080";
/// Seconds that `run` lets its process wait in the queue: a lamp switched much later is worse than not at all.
pub const DEFAULT_WAIT_TIME: i64 = 30;
/// The same for a control lane: what stops or answers is meant for now.
pub const CONTROL_WAIT_TIME: i64 = 10;
/// Seconds that `run` gives to one execution.
pub const DEFAULT_EXEC_TIME: i64 = 60;
/// How often `run` lets an overrun execution start again.
pub const DEFAULT_RETRIES: i64 = 0;
/// How many processes `ps` shows of each state.
pub const DEFAULT_COUNT: i64 = 20;
/// The type of the runtime for the person at the keyboard.
pub const DEFAULT_OPERATOR_TYPE: &str = "operator";

/// The operator's command line of Outpost: submit work to a Colonies server and see what becomes of it.
#[derive(Debug, Parser)]
#[command(name = "outpost", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    /// Where and who.
    #[command(flatten)]
    pub global: Global,
    /// What.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A setting is taken from the command line, else from the environment, else from the configuration file. The environment variables are those \
of the original command line: COLONIES_SERVERHOST with COLONIES_SERVERPORT and COLONIES_TLS, COLONIES_COLONYID, COLONIES_COLONYPRVKEY, \
COLONIES_RUNTIMEID, COLONIES_RUNTIMEPRVKEY, COLONIES_SERVERPRVKEY.

Exit codes: 0 done, 1 the process failed, 2 wrong usage or configuration, 3 the server is unreachable or refuses, or the outcome is not known.

To see it work: outpost demo";

/// Options that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where and who")]
pub struct Global {
    /// The configuration file [default: $XDG_CONFIG_HOME/outpost/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The server [default: http://127.0.0.1:50080]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<ServerUrl>,
    /// Further authorities to trust over HTTPS, a PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The colony's id
    #[arg(long, global = true, value_name = "ID")]
    pub colony: Option<String>,
    /// The key file of the runtime that asks
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The key file of the colony's owner
    #[arg(long, global = true, value_name = "FILE")]
    pub colony_key: Option<PathBuf>,
    /// The key file of the server's owner
    #[arg(long, global = true, value_name = "FILE")]
    pub server_key: Option<PathBuf>,
    /// JSON for machines instead of tables for people
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a runtime for the person at the keyboard: submitting and reading need one
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Make and inspect keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Add and list colonies (with the server owner's key)
    #[command(subcommand)]
    Colony(ColonyCommand),
    /// Add, list, approve, reject and delete runtimes (with the colony owner's key)
    #[command(subcommand)]
    Runtime(RuntimeCommand),
    /// Submit a process spec
    Submit(Submit),
    /// Call a function: make a process spec and submit it
    Run(Run),
    /// Show one process
    Get(Get),
    /// List processes
    Ps(Ps),
    /// Start a hub and an agent with a simulated lamp, and let them work
    Demo(Demo),
    /// Simulate a drone's autopilot on a serial port, and print what becomes of it, until ^C
    Vehicle(Box<Vehicle>),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `outpost operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make the operator's key and configuration, and add and approve the operator if the colony's key is at hand
    ///
    /// May be repeated: what is there already stays.
    Init {
        /// The operator's name among the runtimes [default: the user's name]
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        name: Option<String>,
        /// The operator's runtime type
        #[arg(long = "type", value_name = "TYPE", default_value = DEFAULT_OPERATOR_TYPE, value_parser = NonEmptyStringValueParser::new())]
        runtime_type: String,
    },
}

/// `outpost keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a private key in a new file that only you can read, and print its id
    New {
        /// The file
        file: PathBuf,
    },
    /// Print the id that goes with a private key
    Id {
        /// The file, or - for standard input
        file: PathBuf,
    },
}

/// `outpost colony …`
#[derive(Debug, Subcommand)]
pub enum ColonyCommand {
    /// Make a colony's key and add the colony; its key file lies beside the configuration
    Add {
        /// The colony's name
        name: String,
    },
    /// List all colonies
    List,
}

fn wait_time_help() -> String {
    format!(
        "Seconds from now on in which it may wait in the queue, also for another try; -1: without limit [default: \
         {DEFAULT_WAIT_TIME}; {CONTROL_WAIT_TIME} for verbs of a control lane]"
    )
}

/// `outpost runtime …`
#[derive(Debug, Subcommand)]
pub enum RuntimeCommand {
    /// Add a runtime
    Add {
        /// Its id, as the agent prints it
        #[arg(long)]
        id: String,
        /// Its name, for people and for `run --runtime`
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Its type: processes name the type that may execute them
        #[arg(long = "type", value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
        runtime_type: String,
        /// The id of its control lane, which is added as NAME.control of type TYPE.control
        #[arg(long, value_name = "ID")]
        control_id: Option<String>,
        /// Approve it as well: without, it may not work
        #[arg(long)]
        approve: bool,
    },
    /// List the colony's runtimes
    List,
    /// Let runtimes work
    Approve(Which),
    /// Keep runtimes from working
    Reject(Which),
    /// Remove runtimes; what runs on them goes back to the queue
    Delete(Which),
}

/// Which runtimes.
#[derive(Debug, Args)]
pub struct Which {
    /// Ids, beginnings of ids, or names
    #[arg(required = true, value_name = "RUNTIME")]
    pub runtimes: Vec<String>,
}

/// How to wait for the end of a process.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Wait for the end, and exit with 1 if the process failed
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this many seconds [default: without limit]
    #[arg(long, value_name = "S", requires = "wait", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
}

/// `outpost submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// The process spec, a JSON file, or - for standard input
    pub file: PathBuf,
    /// Only this runtime: its name, its id, or the beginning of its id
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Vec<String>,
    /// As the help says; takes the place of what the spec has.
    #[arg(long, value_name = "KEY=VALUE", help = environment::HELP, value_parser = Variable::parse)]
    pub env: Vec<Variable>,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `outpost run`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["runtime_type", "runtime"]))]
pub struct Run {
    /// The function, such as lamp.on
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub func: String,
    /// Its arguments; those that begin with a hyphen after --
    #[arg(allow_negative_numbers = true)]
    pub args: Vec<String>,
    /// Any runtime of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub runtime_type: Option<String>,
    /// This runtime: its name, its id, or the beginning of its id
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,
    /// One process for each runtime of that name, if there are several
    #[arg(long, requires = "runtime", conflicts_with = "runtime_type")]
    pub all: bool,
    /// As the help says.
    #[arg(long, value_name = "KEY=VALUE", help = environment::HELP, value_parser = Variable::parse)]
    pub env: Vec<Variable>,
    /// As the help says.
    #[arg(long, value_name = "S", help = wait_time_help(), allow_negative_numbers = true, value_parser = limit)]
    pub wait_time: Option<i64>,
    /// Seconds that one execution may last; -1: without limit
    #[arg(long, value_name = "S", default_value_t = DEFAULT_EXEC_TIME, allow_negative_numbers = true, value_parser = limit)]
    pub exec_time: i64,
    /// How often an execution that lasted too long starts again; -1: always
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RETRIES, allow_negative_numbers = true, value_parser = retries)]
    pub retries: i64,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `outpost get`
#[derive(Debug, Args)]
pub struct Get {
    /// The process's id, or the beginning of the id of a recent one
    pub id: String,
    /// Print nothing but the value of this attribute, as it is and whole; of several of that name the function's result
    #[arg(long, value_name = "NAME", conflicts_with = "watch")]
    pub attribute: Option<String>,
    /// Show each change until the end, and exit with 1 if the process failed
    #[arg(long)]
    pub watch: bool,
    /// Watch no longer than this many seconds [default: without limit]
    #[arg(long, value_name = "S", requires = "watch", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
}

/// `outpost ps`
#[derive(Debug, Args)]
pub struct Ps {
    /// Only processes in this state
    #[arg(long)]
    pub state: Option<State>,
    /// How many of each state, newest first
    #[arg(long, value_name = "N", default_value_t = DEFAULT_COUNT, value_parser = clap::value_parser!(i64).range(1..=100))]
    pub count: i64,
}

/// `outpost demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// End by itself, with 0 if all went well
    #[arg(long)]
    pub once: bool,
    /// Where keys, database and configuration go, and stay [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `outpost vehicle`
#[derive(Debug, Args)]
#[command(after_help = vehicle_after_help())]
pub struct Vehicle {
    /// Make a link to the pseudo-terminal here [default: print the pseudo-terminal's own path]
    #[arg(long, value_name = "PATH")]
    pub link: Option<PathBuf>,
    /// Listen here for TCP instead of opening a pseudo-terminal
    #[arg(long, value_name = "ADDR", conflicts_with = "link")]
    pub tcp: Option<SocketAddr>,
    /// Whose behaviour to imitate
    #[arg(long, default_value = "ardupilot")]
    pub family: VehicleFamily,
    /// Where it stands, in degrees [default: a meadow near Luleå]
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true, value_parser = position)]
    pub home: Option<(f64, f64)>,
    /// Whether its parameters switch link, battery and fence failsafes on; real ones come without
    #[arg(long, default_value = "off")]
    pub failsafes: Switch,
    /// Charge at the beginning
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0, value_parser = percent)]
    pub battery: f64,
    /// Wind in metres a second, and the degrees that it comes from
    #[arg(long, value_name = "SPEED/FROM", default_value = "0/0", value_parser = wind)]
    pub wind: (f64, f64),
    /// Talk only to who signs with this key: a file with 32 bytes, or 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// What goes wrong, and when: see below
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub faults: Faults,
    /// Chance: the same seed, the same faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many times as fast as real life
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    pub speed: f64,
    /// Ready at once, without booting and waiting for satellites
    #[arg(long)]
    pub ready: bool,
}

fn vehicle_after_help() -> String {
    format!("Faults are separated by commas or spaces.\n{GRAMMAR}")
}

/// An autopilot's family, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VehicleFamily {
    /// ArduCopter
    Ardupilot,
    /// PX4 on a multicopter
    Px4,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// A state, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// In the queue
    Waiting,
    /// Being executed
    Running,
    /// Ended well
    Successful,
    /// Ended otherwise
    Failed,
}

impl State {
    /// All of them, in the order of a process's life.
    pub const ALL: [State; 4] = [State::Waiting, State::Running, State::Successful, State::Failed];

    /// As the protocol has it.
    pub fn protocol(self) -> ProcessState {
        match self {
            State::Waiting => ProcessState::Waiting,
            State::Running => ProcessState::Running,
            State::Successful => ProcessState::Successful,
            State::Failed => ProcessState::Failed,
        }
    }
}

/// Seconds as the protocol takes them: 32 bits, −1 for no limit, never 0 (a defect of the original, RD 5.5).
fn limit(text: &str) -> Result<i64, String> {
    match text.parse::<i32>() {
        Ok(seconds) if seconds == -1 || seconds > 0 => Ok(i64::from(seconds)),
        _ => Err("give whole seconds from 1 to 2147483647, or -1 for no limit".to_owned()),
    }
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| format!("{text:?} is no number from {low} to {high}"))
}

fn position(text: &str) -> Result<(f64, f64), String> {
    let (latitude, longitude) = text
        .split_once(',')
        .ok_or("write it as LAT,LON in degrees, such as 65.617,22.137")?;
    Ok((within(latitude, -85.0, 85.0)?, within(longitude, -180.0, 180.0)?))
}

fn wind(text: &str) -> Result<(f64, f64), String> {
    let (speed, from) = text
        .split_once('/')
        .ok_or("write it as SPEED/FROM, such as 5/270 for 5 m/s from the west")?;
    Ok((within(speed, 0.0, 100.0)?, within(from, 0.0, 360.0)?))
}

fn percent(text: &str) -> Result<f64, String> {
    within(text, 0.0, 100.0)
}

fn factor(text: &str) -> Result<f64, String> {
    within(text, 0.1, 100.0)
}

fn retries(text: &str) -> Result<i64, String> {
    match text.parse::<i32>() {
        Ok(count) if count >= -1 => Ok(i64::from(count)),
        _ => Err("give a number from 0 to 2147483647, or -1 for always".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// `scripts/demo` looks at them before it builds what could.
    #[test]
    fn the_script_knows_the_demos_options() {
        let script = include_str!("../../scripts/demo");
        let cases = script.split_once("case $option in").unwrap().1;
        let known: BTreeSet<&str> = cases
            .split_once("*) die")
            .unwrap()
            .0
            .split_whitespace()
            .filter(|word| word.starts_with('-'))
            .map(|word| word.trim_end_matches(')'))
            .collect();
        let command = Cli::command();
        let demo = command.find_subcommand("demo").unwrap();
        let mut expected: BTreeSet<String> = ["-h", "--help"].map(str::to_owned).into();
        for option in demo.get_arguments() {
            let name = format!("--{}", option.get_long().unwrap());
            if option.get_action().takes_values() {
                expected.insert(format!("{name}=?*"));
            }
            expected.insert(name);
        }
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(known, expected);
    }

    #[test]
    fn run_has_its_defaults_and_takes_options_anywhere() {
        let Command::Run(run) = parse("outpost run lamp.pulse 1s -5 --type cli --wait")
            .unwrap()
            .command
        else {
            panic!("not run");
        };
        assert_eq!((run.wait_time, run.exec_time, run.retries), (None, 60, 0));
        assert_eq!(run.args, ["1s", "-5"]);
        assert!(run.waiting.wait);
        let Command::Run(run) =
            parse("outpost run echo --runtime lamp-1 --exec-time -1 --env A=b=c -- --loud")
                .unwrap()
                .command
        else {
            panic!("not run");
        };
        assert_eq!(run.args, ["--loud"]);
        assert_eq!(run.exec_time, -1);
        assert_eq!(run.env, [Variable::parse("A=b=c").unwrap()]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            "outpost run lamp.on",
            "outpost run lamp.on --type=",
            "outpost runtime add --id x --name= --type cli",
            "outpost run lamp.on --type cli --runtime x",
            "outpost run lamp.on --type cli --all",
            "outpost run lamp.on --type cli --wait-time 0",
            "outpost run lamp.on --type cli --exec-time 2147483648",
            "outpost run lamp.on --type cli --retries -2",
            "outpost run lamp.on --type cli --env novalue",
            "outpost submit x.json --env A=@",
            "outpost get x --attribute state --watch",
            "outpost submit",
            "outpost submit x.json --timeout 3",
            "outpost ps --state done",
            "outpost ps --count 101",
            "outpost runtime approve",
            "outpost --server localhost ps",
            "outpost vehicle --home 65.6",
            "outpost vehicle --wind 5",
            "outpost vehicle --battery 101",
            "outpost vehicle --faults los=1",
            "outpost vehicle --link x --tcp 127.0.0.1:1",
            "outpost fly",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        for line in ["outpost --help", "outpost submit --help", "outpost --version"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn a_vehicle_has_its_defaults_and_its_faults_are_in_the_help() {
        let Command::Vehicle(vehicle) = parse("outpost vehicle --home -33.9,18.4 --faults gps=5@air")
            .unwrap()
            .command
        else {
            panic!("not vehicle");
        };
        assert_eq!(vehicle.home, Some((-33.9, 18.4)));
        assert_eq!((vehicle.failsafes, vehicle.battery), (Switch::Off, 100.0));
        assert_eq!(vehicle.faults.acts.len(), 1);
        let help = parse("outpost vehicle --help").unwrap_err().to_string();
        assert!(help.contains("unplug=10@60"), "{help}");
    }

    #[test]
    fn both_ways_to_say_whom_are_named() {
        let error = parse("outpost run lamp.on").unwrap_err().to_string();
        assert!(error.contains("--type <TYPE>|--runtime <RUNTIME>"), "{error}");
    }

    #[test]
    fn the_defaults_are_in_the_help() {
        let help = |line: &str| parse(line).unwrap_err().to_string();
        assert!(help("outpost run --help").contains(&format!("[default: {DEFAULT_EXEC_TIME}]")));
        assert!(help("outpost ps --help").contains(DEFAULT_SERVER));
    }
}
