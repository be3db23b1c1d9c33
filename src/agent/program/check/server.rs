//! The server: whether it answers, by which clock, and whether we are let in.

use crate::agent::enrolment::{Enrolment, Standing, add_command};
use crate::agent::program::history::seconds;
use crate::agent::service::{describe, last_good_time};
use crate::agent::settings::Settings;
use crate::client::{
    Client, ClientError, HttpSettings, HttpTransport, ServerUrl, Stamps, TlsProblem, Unreachable,
};
use crate::clock::{BootTime, SharedClock};
use crate::protocol::dialect::Dialect;
use crate::protocol::model::{Runtime, Version};
use crate::protocol::{PrivateKey, Time};

use super::finding::Finding;

/// Below this two clocks agree: a `Date` is a second wide.
const AGREE: i128 = 2_000_000_000;
/// Beyond this whoever reads times is misled.
const FAR: i128 = 60_000_000_000;

/// What the server said.
#[derive(Debug)]
pub struct ServerFacts {
    /// Its address.
    pub url: ServerUrl,
    /// The answer to `version`, and how far its clock is ahead of ours in nanoseconds.
    pub version: Result<(Version, Option<i128>), ClientError>,
    /// Where we stand with the colony; `None`: without a key or an answer that can't be asked.
    pub standing: Option<Result<Standing, ClientError>>,
    /// What would be registered.
    pub runtime: Runtime,
    /// The agent adds and approves itself.
    pub has_owner_key: bool,
}

impl ServerFacts {
    /// Asks, and changes nothing at the server: never as the colony's owner.
    ///
    /// # Errors
    /// It can't even be asked: whom to trust is not known.
    pub async fn gather(
        settings: &Settings,
        key: Option<PrivateKey>,
        clock: &SharedClock,
    ) -> Result<Self, String> {
        let url = ServerUrl::parse(&settings.server.url).map_err(|error| error.to_string())?;
        let http = HttpSettings {
            good_time: last_good_time(&settings.agent.state_dir),
            ..settings.http()
        };
        let transport =
            HttpTransport::new(url.clone(), http, clock.clone()).map_err(|error| error.to_string())?;
        let client = Client::new(transport, Dialect::Runtime);
        let version = client.version().await.map(|answer| {
            let wall = Time::from_unix_nanos(clock.wall_nanos());
            (answer.value, ahead(&answer.stamps, clock.now(), wall))
        });
        let mut runtime = describe(settings);
        let standing = match (key, &version) {
            (Some(key), Ok(_)) => {
                let enrolment = Enrolment::new(client.with_key(key), None, runtime);
                let standing = enrolment.ask().await;
                runtime = enrolment.runtime().clone();
                Some(standing)
            }
            _ => None,
        };
        Ok(ServerFacts {
            url,
            version,
            standing,
            runtime,
            has_owner_key: settings.colony.key_file.is_some(),
        })
    }
}

/// How far the server's clock is ahead of ours. `wall` is what ours shows at `now`.
fn ahead(stamps: &Stamps, now: BootTime, wall: Time) -> Option<i128> {
    let theirs = match (stamps.outpost_time, stamps.date) {
        (Some(exact), _) => exact.unix_nanos(),
        // Cut down to the second: on average half a second later.
        (None, Some(date)) => date.unix_nanos() + 500_000_000,
        (None, None) => return None,
    };
    let (sent, received) = (stamps.sent_at.as_nanos(), stamps.received_at.as_nanos());
    let middle = sent + received.saturating_sub(sent) / 2;
    let since = i128::from(now.as_nanos()) - i128::from(middle);
    Some(theirs - (wall.unix_nanos() - since))
}

/// What the facts mean.
pub fn judge(facts: &ServerFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !facts.url.is_https() && !facts.url.is_loopback() {
        findings.push(
            Finding::note(
                "server",
                format!(
                    "{} is not encrypted: replies of a Colonies server are not signed either",
                    facts.url
                ),
            )
            .remedy("use https:// beyond a network that you trust"),
        );
    }
    match &facts.version {
        Err(error) => findings.push(unreachable(error)),
        Ok((version, ahead)) => {
            let build = format!("{} {}", version.build_version, version.build_time);
            findings.push(Finding::ok(
                "server",
                format!("{} answers ({})", facts.url, build.trim()),
            ));
            findings.extend(ahead.map(clocks));
        }
    }
    findings.push(match &facts.standing {
        None => Finding::note(
            "registration",
            "not asked: that needs the agent's key and a server that answers",
        ),
        Some(Err(error)) => Finding::error("registration", error.to_string()),
        Some(Ok(standing)) => registration(*standing, facts),
    });
    findings
}

fn unreachable(error: &ClientError) -> Finding {
    let finding = Finding::error("server", error.to_string());
    match error {
        ClientError::Unreachable {
            cause: Unreachable::Tls(TlsProblem::Expired { now, judged, .. }),
            ..
        } if judged > now => finding.remedy(format!(
            "if {} is wrong, a server's clock once was: `outpost-agent journal accept` forgets it",
            seconds(*judged)
        )),
        _ => finding,
    }
}

fn clocks(ahead: i128) -> Finding {
    let seconds = ahead.unsigned_abs().div_ceil(1_000_000_000);
    let direction = if ahead > 0 { "behind" } else { "ahead of" };
    let text = format!("this machine's clock is {seconds} s {direction} the server's");
    match ahead.abs() {
        0..=AGREE => Finding::ok("clock", "this machine's clock and the server's agree"),
        ..=FAR => Finding::note("clock", text),
        _ => Finding::warning("clock", format!("{text}; leases do not depend on it"))
            .remedy("sudo timedatectl set-ntp true, on the machine whose clock is wrong"),
    }
}

fn registration(standing: Standing, facts: &ServerFacts) -> Finding {
    const ABOUT: &str = "registration";
    let Runtime { id, colony_id, .. } = &facts.runtime;
    let itself = "the agent does it itself at its start, with [colony] key_file";
    match standing {
        Standing::Approved => Finding::ok(ABOUT, format!("an approved runtime of colony {colony_id}")),
        Standing::Absent | Standing::Pending if facts.has_owner_key => {
            Finding::note(ABOUT, format!("not approved in colony {colony_id} yet; {itself}"))
        }
        Standing::Absent => Finding::error(ABOUT, format!("{id} is not a member of colony {colony_id}"))
            .remedy(format!(
                "the colony's owner types: {}",
                add_command(&facts.runtime, None)
            )),
        Standing::Pending => Finding::error(ABOUT, format!("{id} waits for approval in colony {colony_id}"))
            .remedy(format!("the colony's owner types: outpost runtime approve {id}")),
        Standing::Rejected => Finding::error(ABOUT, format!("{id} was rejected in colony {colony_id}"))
            .remedy(format!(
                "to let it in again, the colony's owner types: outpost runtime approve {id}"
            )),
        Standing::Elsewhere => Finding::error(
            ABOUT,
            format!("{id} is registered in another colony than {colony_id}"),
        )
        .remedy("check [colony] id, or give the agent another [runtime] key_file"),
        Standing::NoColony => Finding::error(ABOUT, format!("the server has no colony {colony_id}"))
            .remedy("check [colony] id, or have the server's owner add it"),
        // Only an owner's key can be wrong, and none was used.
        Standing::WrongOwnerKey => Finding::error(ABOUT, "the key in [colony] key_file is not the owner's")
            .remedy("correct it, or remove it"),
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
