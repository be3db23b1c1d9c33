//! How the agent is, in one line for `systemctl status`: where it stands with the colony, what it works on, what is
//! wrong. The parts say what they know; it is told when it changes, and nothing wakes up for it otherwise.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use super::enrolment::Standing;
use crate::clock::SharedClock;
use crate::notify::Notifier;
use crate::watch::Watched;

/// How soon after one line the next may follow: a thousand quick verbs are not a thousand lines.
const PAUSE: Duration = Duration::from_secs(1);
/// So many verbs are named.
const NAMED: usize = 3;

/// What all parts of an agent say of themselves. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Watched<State>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    standing: Option<Standing>,
    /// The verbs under way, each with how many of it.
    working: BTreeMap<String, usize>,
    /// What devices are doing though no verb runs, each with its name.
    under_way: Vec<String>,
    trouble: Option<String>,
    /// What came of the last reload, if that was nothing good.
    reload: Option<String>,
    /// Devices whose tasks do not answer.
    silent: Vec<String>,
    stopping: bool,
}

/// One verb under way, until dropped.
#[derive(Debug)]
pub struct Working {
    health: Health,
    name: String,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.health.change(|state| {
            if let Some(count) = state.working.get_mut(&self.name) {
                *count -= 1;
                if *count == 0 {
                    state.working.remove(&self.name);
                }
            }
        });
    }
}

impl Health {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Health::default()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            *state != before
        });
    }

    /// Where we stand with the colony. Knowing it, we were answered.
    pub fn stands(&self, standing: Standing) {
        self.change(|state| {
            state.standing = Some(standing);
            state.trouble = None;
        });
    }

    /// What is wrong, until [`Health::fine`].
    pub fn trouble(&self, text: impl Into<String>) {
        let text = text.into();
        self.change(|state| state.trouble = Some(text));
    }

    /// The server answers.
    pub fn fine(&self) {
        self.change(|state| state.trouble = None);
    }

    /// A verb begins; it ends when what is given back is dropped.
    #[must_use]
    pub fn works_on(&self, name: &str) -> Working {
        self.change(|state| *state.working.entry(name.to_owned()).or_default() += 1);
        Working {
            health: self.clone(),
            name: name.to_owned(),
        }
    }

    /// What devices are doing now though no verb runs: names, and what it is.
    pub fn under_way(&self, devices: impl IntoIterator<Item = (String, String)>) {
        let texts = devices
            .into_iter()
            .map(|(device, what)| format!("{device} is {what}"));
        let texts = texts.collect();
        self.change(|state| state.under_way = texts);
    }

    /// What came of a reload; `Err` with the reason why the old configuration stays.
    pub fn reloaded(&self, outcome: Result<(), String>) {
        self.change(|state| state.reload = outcome.err());
    }

    /// The devices whose tasks do not answer now.
    pub fn silent(&self, devices: Vec<String>) {
        self.change(|state| state.silent = devices);
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.change(|state| state.stopping = true);
    }

    /// The line.
    pub fn line(&self) -> String {
        self.state.borrow().to_string()
    }

    /// Tells every change, at most one a second and the last one always.
    pub async fn announce(&self, notifier: &Notifier, clock: &SharedClock) -> Infallible {
        let mut changes = self.state.subscribe();
        let mut told = None;
        loop {
            let line = changes.borrow_and_update().to_string();
            if told.as_ref() != Some(&line) {
                notifier.status(&line);
                told = Some(line);
                clock.sleep_until(clock.now() + PAUSE).await;
            }
            changes.changed().await;
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Standing::Approved => "enrolled",
            Standing::Absent => "no member of the colony; the log says what its owner has to type",
            Standing::Pending => "waiting for approval; the log says what the colony's owner has to type",
            Standing::Rejected => "rejected by the colony's owner",
            Standing::Elsewhere => "its key is registered in another colony",
            Standing::NoColony => "the server has no such colony",
            Standing::WrongOwnerKey => "the colony's key is not that of its owner",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopping {
            out.write_str("stopping")?;
        } else {
            match self.standing {
                None => out.write_str("not enrolled yet")?,
                Some(standing) => standing.fmt(out)?,
            }
        }
        let count: usize = self.working.values().sum();
        if count > 0 {
            let names: Vec<&str> = self.working.keys().map(String::as_str).collect();
            let more = if names.len() > NAMED { ", …" } else { "" };
            write!(
                out,
                ", working on {count} ({}{more})",
                names[..names.len().min(NAMED)].join(", ")
            )?;
        }
        for what in &self.under_way {
            write!(out, "; {what}")?;
        }
        if !self.silent.is_empty() {
            write!(out, "; no sign of life from {}", self.silent.join(", "))?;
        }
        if let Some(trouble) = &self.trouble {
            write!(out, "; {trouble}")?;
        }
        if let Some(reload) = &self.reload {
            write!(out, "; the last reload was refused: {reload}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::clock::{Clock, TestClock};

    #[test]
    fn what_devices_do_by_themselves_is_in_the_line() {
        let health = Health::new();
        health.under_way([("dock".to_owned(), "coming home".to_owned())]);
        assert_eq!(health.line(), "not enrolled yet; dock is coming home");
        health.under_way([]);
        assert_eq!(health.line(), "not enrolled yet");
    }

    #[test]
    fn the_line_says_where_we_stand_what_runs_and_what_is_wrong() {
        let health = Health::new();
        assert_eq!(health.line(), "not enrolled yet");
        health.trouble("can't reach http://hub:1");
        assert_eq!(health.line(), "not enrolled yet; can't reach http://hub:1");
        health.stands(Standing::Pending);
        assert!(
            health.line().starts_with("waiting for approval; "),
            "{}",
            health.line()
        );
        health.stands(Standing::Approved);
        assert_eq!(health.line(), "enrolled");
        let (one, two) = (health.works_on("lamp.on"), health.works_on("lamp.on"));
        let three = health.works_on("sleep");
        assert_eq!(health.line(), "enrolled, working on 3 (lamp.on, sleep)");
        drop((one, three));
        assert_eq!(health.line(), "enrolled, working on 1 (lamp.on)");
        drop(two);
        let many: Vec<_> = ["a", "b", "c", "d"].map(|name| health.works_on(name)).into();
        assert_eq!(health.line(), "enrolled, working on 4 (a, b, c, …)");
        drop(many);
        health.reloaded(Err("lamp is busy".to_owned()));
        health.silent(vec!["pump".to_owned()]);
        assert_eq!(
            health.line(),
            "enrolled; no sign of life from pump; the last reload was refused: lamp is busy"
        );
        health.reloaded(Ok(()));
        health.silent(Vec::new());
        health.stopping();
        assert_eq!(health.line(), "stopping");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told_at_most_once_a_second_and_nothing_wakes_up_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let told = || {
            let mut buffer = [0; 1024];
            let length = manager.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        };
        let notifier = Notifier::to(Some(path.as_os_str())).unwrap();
        let test_clock = TestClock::new(0);
        let clock: SharedClock = test_clock.clone();
        let health = Health::new();
        let announcing = health.clone();
        let task = tokio::spawn(async move { announcing.announce(&notifier, &clock).await });
        let later = |millis| tokio::time::sleep(Duration::from_millis(millis));

        later(1).await;
        assert_eq!(told().unwrap(), "STATUS=not enrolled yet");
        health.stands(Standing::Approved);
        drop(health.works_on("lamp.on"));
        health.trouble("gone");
        later(500).await;
        assert_eq!(told(), None, "not yet");
        later(500).await;
        assert_eq!(told().unwrap(), "STATUS=enrolled; gone");
        // What came and went meanwhile is no change.
        later(2000).await;
        health.fine();
        health.trouble("gone");
        later(2000).await;
        assert_eq!(told(), None);

        // With nothing to tell there is no timer: paused time jumps straight to ours.
        let before = test_clock.now();
        later(86_400_000).await;
        assert_eq!(
            (test_clock.now().as_nanos() - before.as_nanos()) / 1_000_000,
            86_400_000
        );
        assert_eq!(told(), None);
        task.abort();
    }
}
