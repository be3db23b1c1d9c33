//! The other two programs as they really are: found beside this one, started, listened to, and ended with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cli::error::CliError;

/// Variables that would change what the programs do, whoever set them for other purposes.
const OURS: [&str; 2] = ["OUTPOST_AGENT", "OUTPOST_HUB"];

/// A running program. Dropping it kills it; [`Program::stop`] is kinder.
pub struct Program {
    name: &'static str,
    child: Child,
    lines: mpsc::Receiver<(Instant, String)>,
    log: PathBuf,
}

/// A program beside this one.
pub fn beside_us(name: &str) -> Result<PathBuf, CliError> {
    let own = std::env::current_exe()
        .map_err(|error| CliError::usage(format!("cannot tell where this program is: {error}")))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(CliError::usage(format!(
        "{name} is not beside this program ({}); build all three with: cargo build --bins",
        path.display()
    )))
}

impl Program {
    /// Starts a program beside this one. What it logs goes to `log`.
    pub fn start(
        name: &'static str,
        arguments: &[OsString],
        environment: &[(&str, OsString)],
        log: PathBuf,
    ) -> Result<Self, CliError> {
        let path = beside_us(name)?;
        let wrong = |what: &str, error: std::io::Error| CliError::usage(format!("cannot {what}: {error}"));
        let to_log =
            std::fs::File::create(&log).map_err(|error| wrong(&format!("write {}", log.display()), error))?;
        let mut command = Command::new(&path);
        for (variable, _) in std::env::vars_os() {
            if variable
                .to_str()
                .is_some_and(|text| OURS.iter().any(|ours| text.starts_with(ours)))
            {
                command.env_remove(variable);
            }
        }
        let mut child = command
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(to_log)
            // A Ctrl-C in the terminal reaches this program alone, which then ends the others in their order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| wrong(&format!("start {}", path.display()), error))?;
        let (sender, lines) = mpsc::channel(256);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(async move {
                let mut output = BufReader::new(output).lines();
                // Reads on when nobody listens any more, or the program would stand still.
                while let Ok(Some(line)) = output.next_line().await {
                    let _ = sender.send((Instant::now(), line)).await;
                }
            });
        }
        Ok(Program {
            name,
            child,
            lines,
            log,
        })
    }

    /// The next line on its standard output, and when it came; `None` when it closed it.
    pub async fn line(&mut self) -> Option<(Instant, String)> {
        self.lines.recv().await
    }

    /// A line that is there already.
    pub fn line_at_hand(&mut self) -> Option<(Instant, String)> {
        self.lines.try_recv().ok()
    }

    /// What to say when it ended though nobody ended it: how, and the end of its log.
    pub async fn died(&mut self) -> CliError {
        let how = match tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it only closed its standard output".to_owned(),
        };
        CliError::Unfinished(format!(
            "{} ended ({how}); the end of its log: {}",
            self.name,
            self.log_end()
        ))
    }

    /// What to say when it did not do in time what it should.
    pub fn late(&self, what: &str) -> CliError {
        CliError::Unfinished(format!(
            "{} {what}; the end of its log: {}",
            self.name,
            self.log_end()
        ))
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(5)..].join(" | ");
        if end.is_empty() { "(empty)".to_owned() } else { end }
    }

    /// Asks it to end, and kills it if it does not within `grace`.
    pub async fn stop(mut self, grace: Duration) {
        let id = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process(id, Signal::TERM);
        }
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// The directory of a demo: a given one stays, a temporary one goes.
pub struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    /// Makes it, for its owner alone.
    pub fn make(given: Option<&Path>) -> Result<Self, CliError> {
        use std::os::unix::fs::DirBuilderExt;
        let (path, temporary) = match given {
            Some(path) => (
                std::path::absolute(path)
                    .map_err(|error| CliError::usage(format!("{} is no path: {error}", path.display())))?,
                false,
            ),
            None => {
                let mut random = [0; 6];
                getrandom::fill(&mut random).map_err(|error| {
                    CliError::usage(format!("the system gives no random numbers: {error}"))
                })?;
                (
                    std::env::temp_dir().join(format!("outpost-demo-{}", hex::encode(random))),
                    true,
                )
            }
        };
        std::fs::DirBuilder::new()
            .recursive(!temporary)
            .mode(0o700)
            .create(&path)
            .map_err(|error| {
                CliError::usage(format!(
                    "cannot make the directory {}: {error}; name another with --dir",
                    path.display()
                ))
            })?;
        Ok(Place { path, temporary })
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
