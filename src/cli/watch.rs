//! Waiting for the end of a process, a line for each change.

use std::time::Duration;

use tokio::time::Instant;

use super::error::CliError;
use super::show::{self, Names};
use crate::client::{Caller, ClientError};
use crate::console::{Console, printable};
use crate::protocol::model::{Process, ProcessState};
use crate::protocol::{Refusal, Time};

/// How often the server is asked.
const POLL: Duration = Duration::from_millis(250);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a server that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What counts as a change.
#[derive(PartialEq)]
struct Seen {
    state: ProcessState,
    retries: i64,
    start: Time,
}

/// Asks until the process has ended, and tells each change. `timeout` is how long.
///
/// # Errors
/// The server refuses or stays unreachable, the process is deleted, the time is over.
pub async fn until_the_end(
    caller: &Caller,
    id: &str,
    timeout: Option<Duration>,
    names: &Names,
    console: &mut Console,
) -> Result<Process, CliError> {
    let start = Instant::now();
    let mut seen: Option<Seen> = None;
    let mut failing_since: Option<Instant> = None;
    loop {
        let pause = match caller.get_process(id).await {
            Ok(answer) => {
                let process = answer.value;
                if failing_since.take().is_some() {
                    console.note(line(start, "the server answers again"));
                }
                let now = Seen {
                    state: process.state,
                    retries: process.retries,
                    start: process.start_time.rounded_to_micros(),
                };
                if seen.as_ref() != Some(&now) {
                    console.note(line(start, &change(&process, seen.as_ref(), names)));
                    seen = Some(now);
                }
                if process.state.is_final() {
                    return Ok(process);
                }
                POLL
            }
            Err(ClientError::Refused(refused)) if refused.refusal == Some(Refusal::Unknown) => {
                return Err(CliError::Unfinished(if seen.is_some() {
                    format!("the process {id} was deleted")
                } else {
                    format!("there is no process {id}; outpost ps lists recent ones")
                }));
            }
            Err(error @ ClientError::Refused(_)) => return Err(error.into()),
            Err(error) => {
                let since = *failing_since.get_or_insert_with(|| {
                    console.note(line(start, &format!("{error}; trying again")));
                    Instant::now()
                });
                if since.elapsed() >= PATIENCE {
                    return Err(error.into());
                }
                PAUSE
            }
        };
        if let Some(timeout) = timeout
            && start.elapsed() + pause > timeout
        {
            let state = seen.map_or_else(
                || "in an unknown state".to_owned(),
                |seen| show::state(seen.state),
            );
            return Err(CliError::Unfinished(format!(
                "the process is still {state} after {} s; go on watching with: outpost get {id} --watch",
                timeout.as_secs()
            )));
        }
        tokio::time::sleep(pause).await;
    }
}

fn line(start: Instant, text: &str) -> String {
    format!("{:7.3}  {text}", start.elapsed().as_secs_f64())
}

/// One change in words: `running on lamp-1`.
fn change(process: &Process, before: Option<&Seen>, names: &Names) -> String {
    let state = show::state(process.state);
    match process.state {
        ProcessState::Waiting => match before {
            Some(before) if process.retries > before.retries => format!(
                "waiting again: the execution lasted too long (retry {} of {})",
                process.retries, process.spec.max_retries
            ),
            _ => state,
        },
        ProcessState::Running => format!(
            "running on {}",
            printable(names.name(&process.assigned_runtime_id))
        ),
        ProcessState::Failed => format!("failed: {}", printable(&process.error_message)),
        _ => state,
    }
}
