//! What a lane does beside work: looking for lost assignments (docs/fence.md, 4), keeping the journal small and written, learning the
//! server's clock.

use std::time::Duration;

use super::{Turn, Worker};
use crate::agent::fence::Attempt;
use crate::agent::journal::{self, Record, Role};
use crate::agent::reconcile;
use crate::client::ClientError;
use crate::protocol::Refusal;
use crate::protocol::model::ProcessState;

/// Quick exchanges in a row to learn the server's clock.
const CLOCK_TRIES: usize = 5;
/// When those were not enough, so long until they are tried again.
const CLOCK_AGAIN: Duration = Duration::from_secs(60);
/// How often to reconcile without a reason.
const RECONCILE_EVERY: Duration = Duration::from_secs(300);
/// When a reconcile was refused for a reason that asking again at once won't cure.
const RECONCILE_AGAIN: Duration = Duration::from_secs(30);
/// So many processes of old marks are asked about at one reconcile, so that the marks can be forgotten one day.
const MARKS_TO_ASK: usize = 4;

impl Worker {
    pub(super) fn reconcile_is_due(&self) -> bool {
        let now = self.clock.now();
        now >= self.reconcile_at || self.lost_until.is_some_and(|until| now >= until)
    }

    /// Closes what runs on us at the server and is not held here. No assign is under way meanwhile.
    pub(super) async fn reconcile(&mut self) -> Turn {
        self.mend_journal().await;
        let held = self.lane.held();
        let caller = self.caller().clone();
        let answer = caller
            .history(
                self.colony(),
                caller.id(),
                reconcile::ALL_OF_HISTORY,
                ProcessState::Running,
            )
            .await;
        self.lane.shared.hear(&answer);
        let now = self.clock.now();
        let running = match answer {
            Ok(running) => running.value,
            Err(error) => {
                let again = matches!(
                    error,
                    ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Lost { .. }
                );
                if !again {
                    self.reconcile_at = now + RECONCILE_AGAIN;
                    self.lost_until = self.lost_until.map(|until| until.max(now + RECONCILE_AGAIN));
                }
                return self.failed(&error, "can't look for lost assignments");
            }
        };
        self.lane
            .forget_left(|left| running.iter().any(|process| left.is_of(process)));
        let mut all = true;
        for process in reconcile::lost(&running, &held, caller.id()) {
            let known = self.lane.how_it_ended(Attempt::of(process)).await;
            if let Some(report) = reconcile::report(process, known) {
                let (attempt, close) = (&report.attempt, &report.close);
                tracing::warn!(%attempt, ?close, "the server believes that it runs here, but it does not: closing it");
                all &= self.lane.give_up(report).await;
            }
        }
        self.reconcile_at = now + if all { RECONCILE_EVERY } else { RECONCILE_AGAIN };
        if self.lost_until.is_some_and(|until| now >= until) {
            self.lost_until = None;
        }
        self.succeeded();
        if self.lane.role == Role::Work {
            self.ask_about_marks().await;
        }
        Turn::On
    }

    /// A disk that was full may have room again. Nothing new need begin for that: what is not written down a crash would take.
    async fn mend_journal(&mut self) {
        let now = self.clock.now();
        if now < self.mend_at {
            return;
        }
        self.mend_at = now + RECONCILE_AGAIN;
        let mended = self.lane.shared.durably(|journal| match journal.health() {
            journal::Health::Good => Ok(()),
            _ => journal.retry(),
        });
        // That it still can't be written was said, and shows in the health.
        let _ = mended.await;
    }

    /// Asks about a few processes whose *once* verbs began and of which nobody knows whether the server has closed them for
    /// good, so that their marks can be forgotten one day (docs/fence.md, 6). Others the next time: some never end.
    async fn ask_about_marks(&mut self) {
        let keeper = &self.lane.shared.keeper;
        let last = self.mark_asked.clone();
        let asked = keeper.with(move |journal| {
            let open = journal.state().not_known_final(&last);
            open.take(MARKS_TO_ASK).collect::<Vec<_>>()
        });
        for process_id in asked.await.unwrap_or_default() {
            self.mark_asked.clone_from(&process_id);
            let answer = self.caller().get_process(&process_id).await;
            self.lane.shared.hear(&answer);
            let is_final = match &answer {
                Ok(process) => process.value.state.is_final(),
                Err(error) => matches!(error.refusal(), Some(Refusal::Unknown)),
            };
            if is_final {
                self.lane.shared.note(Record::FinalAtServer { process_id });
            }
        }
    }

    /// Quick exchanges until the server's clock is known well enough for a long poll, or it does not get better.
    pub(super) async fn learn_the_clock(&mut self) {
        for _ in 0..CLOCK_TRIES {
            let now = self.clock.now();
            if self.lane.shared.server_clock(|clock| clock.is_narrow(now)) || now < self.clock_again_at {
                return;
            }
            let answer = self.caller().client().version().await;
            self.lane.shared.observe(&answer);
            if answer.is_err() {
                // The poll will meet the same trouble and say so.
                return;
            }
        }
        let now = self.clock.now();
        if !self.lane.shared.server_clock(|clock| clock.is_narrow(now)) {
            tracing::warn!("the server's clock can't be told; polls are short until it can");
            self.clock_again_at = now + CLOCK_AGAIN;
        }
    }
}
