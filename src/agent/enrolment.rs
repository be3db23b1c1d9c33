//! Becoming a runtime of a colony, and staying one (RD 3.1, 5.9).
//!
//! Only the colony's owner adds and approves runtimes. With the owner's key configured the agent does both
//! itself; without, it tells its operator once what to type, and asks again with growing pauses until somebody
//! did. The same holds at any time later: a runtime that was deleted or rejected waits, it never gives up.
//!
//! | what the server knows of us | with the colony's key | without |
//! | --- | --- | --- |
//! | nothing | add and approve | say how, wait |
//! | pending | approve | say how, wait |
//! | approved | work | work |
//! | rejected | say so, wait: the owner's rejection stands | say so, wait |
//!
//! So to keep out an agent that holds the colony's key: reject it, or take the key away. Deleting is not enough, since
//! an agent can't tell a deleted registration from a colony that was set up anew.
//!
//! The type holds everything that one identity needs, so that an agent can have two (the control lane).

use crate::clock::SharedClock;
use crate::device::Cancellation;
use crate::protocol::Refusal;
use crate::protocol::model::{Runtime, RuntimeState};

use super::answers::is_about_membership;
use super::backoff::Backoff;
use super::health::Health;
use crate::client::{Caller, ClientError, Timed};

/// One identity in one colony.
pub struct Enrolment {
    caller: Caller,
    owner: Option<Caller>,
    runtime: Runtime,
    told: Option<Standing>,
    /// The id of the other runtime of this agent: the control lane's, if this one works.
    control: Option<String>,
    health: Health,
}

/// Where we stand with the colony.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// May work.
    Approved,
    /// The server doesn't know us in this colony.
    Absent,
    /// Added, but not approved.
    Pending,
    /// Rejected by the owner.
    Rejected,
    /// Our key is registered in another colony.
    Elsewhere,
    /// There is no such colony (yet).
    NoColony,
    /// The colony's key that we were given is not that of the colony's owner.
    WrongOwnerKey,
}

/// The first digits of an id in groups: short enough to compare by eye.
pub fn fingerprint(id: &str) -> String {
    let digits: Vec<char> = id.chars().take(12).collect();
    let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// A word as a shell takes it unchanged.
fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.:/@%+=".contains(letter);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The exact command by which the colony's owner lets this runtime in, together with its control lane of id `control`. It
/// names the colony, so that somebody with another one configured is told so, and does not let the runtime into that.
pub fn add_command(runtime: &Runtime, control: Option<&str>) -> String {
    let control = control.map_or_else(String::new, |id| format!(" --control-id {id}"));
    format!(
        "outpost runtime add --id {}{control} --name {} --type {} --approve --colony {}",
        runtime.id,
        shell_word(&runtime.name),
        shell_word(&runtime.runtime_type),
        shell_word(&runtime.colony_id)
    )
}

impl Enrolment {
    /// `caller` signs for the runtime, `owner` (if given) for the colony's owner. `runtime` is what is registered; its id
    /// is the caller's.
    pub fn new(caller: Caller, owner: Option<Caller>, runtime: Runtime) -> Self {
        let runtime = Runtime {
            id: caller.id().to_owned(),
            ..runtime
        };
        Enrolment {
            caller,
            owner,
            runtime,
            told: None,
            control: None,
            health: Health::new(),
        }
    }

    /// The same, with a control lane of this id that is let in together with it.
    #[must_use]
    pub fn with_control(mut self, id: &str) -> Self {
        self.control = Some(id.to_owned());
        self
    }

    /// The same, saying where it stands to `health`.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Enrolment { health, ..self }
    }

    /// Where it says how it is.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Who signs for the runtime.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is registered.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What the operator is to be told of a standing; `None`: it was told already.
    pub fn tell(&mut self, standing: Standing) -> Option<String> {
        if self.told.replace(standing) == Some(standing) {
            return None;
        }
        let Runtime {
            id, name, colony_id, ..
        } = &self.runtime;
        let mut who = format!("{name} ({id}, fingerprint {})", fingerprint(id));
        let mut ids = id.clone();
        if let Some(control) = &self.control {
            who.push_str(&format!(
                " with its control lane ({control}, fingerprint {})",
                fingerprint(control)
            ));
            ids.push_str(&format!(" {control}"));
        }
        Some(match standing {
            Standing::Approved => format!("enrolled as {who} in colony {colony_id}"),
            Standing::Absent => format!(
                "{who} is not a member of colony {colony_id}; its owner lets it in with: {}",
                add_command(&self.runtime, self.control.as_deref())
            ),
            Standing::Pending => format!(
                "{who} waits for the approval of the owner of colony {colony_id}: outpost runtime approve {ids}"
            ),
            Standing::Rejected => format!(
                "{who} was rejected by the owner of colony {colony_id} and waits; to let it work again: \
                 outpost runtime approve {ids}"
            ),
            Standing::Elsewhere => format!(
                "{who} is registered in another colony than {colony_id}; check [colony] id, or give the agent another \
                 [runtime] key_file"
            ),
            Standing::NoColony => format!(
                "the server has no colony {colony_id}; check [colony] id, or have the server's owner add it"
            ),
            Standing::WrongOwnerKey => format!(
                "the key in [colony] key_file is not that of the owner of colony {colony_id}; correct it, or remove it \
                 and have the owner type: {}",
                add_command(&self.runtime, self.control.as_deref())
            ),
        })
    }

    /// Asks where we stand, and with the owner's key betters it where the table above says so.
    ///
    /// # Errors
    /// The server can't be asked, or refuses for another reason.
    pub async fn ask(&self) -> Result<Standing, ClientError> {
        let Some(owner) = &self.owner else {
            let list = self.caller.get_runtimes(&self.runtime.colony_id).await;
            return self.standing(list, Standing::Absent);
        };
        let list = owner.get_runtimes(&self.runtime.colony_id).await;
        match self.standing(list, Standing::WrongOwnerKey)? {
            Standing::Absent => match owner.add_runtime(&self.runtime).await {
                // Somebody added it a moment ago, or it is another colony's.
                Err(error) if matches!(error.refusal(), Some(Refusal::Duplicate { .. })) => {
                    let list = owner.get_runtimes(&self.runtime.colony_id).await;
                    match self.standing(list, Standing::WrongOwnerKey)? {
                        Standing::Absent => Ok(Standing::Elsewhere),
                        Standing::Pending => self.approve(owner).await,
                        other => Ok(other),
                    }
                }
                Err(error) => Err(error),
                Ok(_) => self.approve(owner).await,
            },
            Standing::Pending => self.approve(owner).await,
            other => Ok(other),
        }
    }

    async fn approve(&self, owner: &Caller) -> Result<Standing, ClientError> {
        owner.approve_runtime(&self.runtime.id).await?;
        Ok(Standing::Approved)
    }

    /// What a list of the colony's runtimes says of us; `stranger`: what it means not to be shown the list.
    fn standing(
        &self,
        list: Result<Timed<Vec<Runtime>>, ClientError>,
        stranger: Standing,
    ) -> Result<Standing, ClientError> {
        let list = match list {
            Ok(list) => list.value,
            Err(error) => {
                return match error.refusal() {
                    Some(Refusal::UnknownColony { .. }) => Ok(Standing::NoColony),
                    Some(Refusal::OtherColony { .. }) => Ok(Standing::Elsewhere),
                    Some(Refusal::NotApproved { .. }) => Ok(Standing::Pending),
                    _ if is_about_membership(&error) => Ok(stranger),
                    _ => Err(error),
                };
            }
        };
        let ours = list.into_iter().find(|runtime| runtime.id == self.runtime.id);
        Ok(match ours {
            None => Standing::Absent,
            Some(ours) => {
                if ours.runtime_type != self.runtime.runtime_type {
                    tracing::warn!(
                        registered = ours.runtime_type,
                        configured = self.runtime.runtime_type,
                        "the server gives this runtime work of the type it was registered with, not of the configured one; \
                         delete and add it again to change that"
                    );
                }
                match ours.state {
                    RuntimeState::Approved => Standing::Approved,
                    RuntimeState::Rejected => Standing::Rejected,
                    RuntimeState::Pending | RuntimeState::Other(_) => Standing::Pending,
                }
            }
        })
    }

    /// Waits until we may work. Every change of standing is told once. False: `stop` came first.
    pub async fn enrol(&mut self, clock: &SharedClock, backoff: &mut Backoff, stop: &Cancellation) -> bool {
        loop {
            let asked = tokio::select! {
                biased;
                _ = stop.cancelled() => return false,
                asked = self.ask() => asked,
            };
            match asked {
                Ok(standing) => {
                    self.health.stands(standing);
                    if let Some(text) = self.tell(standing) {
                        if standing == Standing::Approved {
                            tracing::info!("{text}");
                        } else {
                            // It needs somebody, and is told once: whatever is logged, this is.
                            tracing::error!("{text}");
                        }
                    }
                    if standing == Standing::Approved {
                        backoff.reset();
                        return true;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "can't enrol yet");
                    self.health.trouble(format!("can't enrol yet: {error}"));
                }
            }
            let pause = clock.now() + backoff.next_pause();
            tokio::select! {
                biased;
                _ = stop.cancelled() => return false,
                () = clock.sleep_until(pause) => {}
            }
        }
    }
}
