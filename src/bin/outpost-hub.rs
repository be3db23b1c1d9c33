//! `outpost-hub`: the companion server.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program prints

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use outpost::clock::SystemClock;
use outpost::config;
use outpost::hub::settings::{ENV_PREFIX, LogLevel};
use outpost::hub::{Hub, Settings};
use outpost::notify::Notifier;
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
outpost-hub: a compact Colonies server with embedded storage

Usage: outpost-hub [OPTIONS]

Options:
  --config FILE        settings (TOML); configs/hub.toml shows all of them
  --listen HOST:PORT   where to listen [127.0.0.1:50080]; port 0 is chosen by the system
  --data-dir DIR       where the database and the keys are [outpost-data]
  --init-colony NAME   make this colony at the start if it is not there yet, with its key
                       in DIR/keys/colony-NAME.key
  --check              check the settings and exit: 0 good, 2 bad
  --version            print the version and exit
  --help               print this and exit

Each setting can also be set in the environment: OUTPOST_HUB__LISTEN, OUTPOST_HUB__HTTP__MAX_BODY, …
The environment wins over the file, options win over both.

When it serves it prints one line, `listening on http://HOST:PORT`, on standard output; logs go to standard error.
It stops cleanly on SIGTERM and SIGINT.
";

/// A wrong command line or wrong settings.
const USAGE: u8 = 2;

#[derive(Default)]
struct Options {
    config: Option<PathBuf>,
    listen: Option<String>,
    data_dir: Option<PathBuf>,
    init_colony: Option<String>,
    check: bool,
}

enum Asked {
    Help,
    Version,
    Run(Options),
}

fn parse(args: impl Iterator<Item = std::ffi::OsString>) -> Result<Asked, String> {
    let mut options = Options::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let arg = arg
            .into_string()
            .map_err(|arg| format!("the argument {} is no text", arg.display()))?;
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = |what: &str| match &inline {
            Some(value) => Ok(std::ffi::OsString::from(value)),
            None => args.next().ok_or(format!("{name} needs {what}")),
        };
        let text = |value: std::ffi::OsString| {
            value
                .into_string()
                .map_err(|value| format!("{} is no text", value.display()))
        };
        match name {
            "--config" => options.config = Some(value("a FILE")?.into()),
            "--listen" => options.listen = Some(text(value("HOST:PORT")?)?),
            "--data-dir" => options.data_dir = Some(value("a DIR")?.into()),
            "--init-colony" => options.init_colony = Some(text(value("a NAME")?)?),
            "--check" | "--help" | "-h" | "--version" | "-V" if inline.is_some() => {
                return Err(format!("{name} takes no value"));
            }
            "--check" => options.check = true,
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            _ => return Err(format!("unknown argument `{arg}`")),
        }
    }
    Ok(Asked::Run(options))
}

fn settings(options: &Options) -> Result<Settings, String> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = config::load::<Settings>(options.config.as_deref(), ENV_PREFIX, env);
    let mut settings = loaded.map_err(|error| error.to_string())?;
    if let Some(listen) = &options.listen {
        settings.listen.clone_from(listen);
    }
    if let Some(data_dir) = &options.data_dir {
        settings.data_dir.clone_from(data_dir);
    }
    if let Some(name) = &options.init_colony {
        settings.init_colony.clone_from(name);
    }
    settings.check().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn main() -> ExitCode {
    outpost::console::abort_on_panic();
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            println!("outpost-hub {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Run(options)) => options,
        Err(error) => {
            eprintln!("outpost-hub: {error}; try --help");
            return ExitCode::from(USAGE);
        }
    };
    let settings = match settings(&options) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("outpost-hub: {error}");
            return ExitCode::from(USAGE);
        }
    };
    if options.check {
        eprintln!("outpost-hub: the settings are good");
        return ExitCode::SUCCESS;
    }
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outpost-hub: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), Box<dyn std::error::Error>> {
    outpost::logging::start(match settings.log {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    })?;
    raise_file_limit(settings.http.max_connections);
    let notifier = Notifier::from_env()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let hub = Hub::start(settings, Arc::new(SystemClock)).await?;
            tracing::info!(server = hub.server_id(), "serving");
            let listening = format!("listening on {}", hub.url()?);
            println!("{listening}");
            notifier.status(&listening);
            notifier.ready();
            hub.serve(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("stopping");
                notifier.status("stopping");
                notifier.stopping();
            })
            .await?;
            Ok(())
        })
}

/// A connection is a file; the default limit of 1024 is not much more than the default number of connections.
fn raise_file_limit(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = connections as u64 + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let short = limit.current.is_some_and(|current| current < wanted);
        if setrlimit(Resource::Nofile, limit).is_err() || short {
            tracing::warn!("this process may not open enough files for {connections} connections");
        }
    }
}
