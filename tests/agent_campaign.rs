//! Several agents and sudden deaths: nothing twice, nothing lost, nothing final that changes.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, missing_docs)]

mod agent_rig;

use std::collections::BTreeMap;

use agent_rig::{Program, Rig, until};
use outpost::client::Caller;
use outpost::protocol::model::{Process, ProcessState};

/// `lamp.toggle` is a *once* verb, and each execution is one edge: the lines count what was really done.
fn edges(agent: &Program) -> usize {
    agent
        .lines()
        .iter()
        .filter(|line| line.starts_with("edge "))
        .count()
}

/// The final states that were seen, by process; whoever sees another one later panics.
struct Finals {
    operator: Caller,
    colony_id: String,
    seen: BTreeMap<String, ProcessState>,
}

impl Finals {
    fn new(rig: &Rig) -> Self {
        Finals {
            operator: rig.operator(),
            colony_id: rig.colony_id.clone(),
            seen: BTreeMap::new(),
        }
    }

    /// Looks at every process; `None` while the hub is away.
    async fn look(&mut self) -> Option<Vec<Process>> {
        let mut all = Vec::new();
        for state in [
            ProcessState::Waiting,
            ProcessState::Running,
            ProcessState::Successful,
            ProcessState::Failed,
        ] {
            let listed = self
                .operator
                .history(&self.colony_id, "", 3600, state)
                .await
                .ok()?;
            all.extend(listed.value);
        }
        for process in &all {
            let before = self.seen.get(&process.id);
            assert!(
                before.is_none_or(|before| *before == process.state),
                "was {before:?}, is now {process:#?}"
            );
            if process.state.is_final() {
                self.seen.insert(process.id.clone(), process.state);
            }
        }
        Some(all)
    }

    /// Looks until so many have ended.
    async fn until(&mut self, count: usize) {
        let finals = tokio::sync::Mutex::new(self);
        until(
            || async {
                let mut finals = finals.lock().await;
                finals.look().await?;
                (finals.seen.len() >= count).then_some(())
            },
            || format!("never {count} ended"),
        )
        .await;
    }
}

#[tokio::test]
async fn two_agents_compete_and_each_process_is_executed_once_in_the_order_of_submission() {
    const COUNT: usize = 200;
    let rig = Rig::start().await;
    let spec = rig.spec("lamp.toggle", &[], 30, 3);
    let mut ids = Vec::new();
    for _ in 0..COUNT {
        ids.push(rig.submit(&spec).await);
    }
    let agents = [rig.agent("one"), rig.agent("two")];
    let mut finals = Finals::new(&rig);
    finals.until(COUNT).await;
    let all: BTreeMap<String, Process> = finals
        .look()
        .await
        .unwrap()
        .into_iter()
        .map(|process| (process.id.clone(), process))
        .collect();
    assert_eq!(all.len(), COUNT);
    for process in all.values() {
        assert_eq!(process.state, ProcessState::Successful, "{process:#?}");
        assert_eq!(process.retries, 0);
    }
    // Strictly in order: each was assigned after the one that was submitted before it.
    for pair in ids.windows(2) {
        assert!(all[&pair[0]].start_time <= all[&pair[1]].start_time);
    }
    // Told to the hub after it was written, but through another pipe. Ending them brings all of it.
    let mut agents = agents;
    for agent in &mut agents {
        agent.kill();
    }
    let done: Vec<usize> = agents.iter().map(edges).collect();
    assert_eq!(done.iter().sum::<usize>(), COUNT, "{done:?}");
    assert!(done.iter().all(|done| *done > 0), "both took part: {done:?}");
}

#[tokio::test]
async fn sudden_deaths_of_hub_and_agent_lose_nothing_and_change_nothing_that_was_final() {
    const COUNT: usize = 100;
    let mut rig = Rig::start().await;
    let mut agent = rig.agent("porch");
    agent.logged("enrolled as").await;
    let spec = rig.spec("lamp.toggle", &[], 10, 3);
    let mut ids = Vec::new();
    for _ in 0..COUNT {
        ids.push(rig.submit(&spec).await);
    }
    let mut finals = Finals::new(&rig);
    finals.until(25).await;
    rig.kill_and_restart_hub();
    finals.until(50).await;
    agent.kill();
    let first_life = edges(&agent);
    let mut agent = rig.agent("porch");
    finals.until(COUNT).await;
    let all = finals.look().await.unwrap();
    assert_eq!(all.len(), COUNT, "none is lost");
    let successful = all
        .iter()
        .filter(|process| process.state == ProcessState::Successful)
        .count();
    let failed: Vec<&Process> = all
        .iter()
        .filter(|process| process.state == ProcessState::Failed)
        .collect();
    assert_eq!(successful + failed.len(), COUNT, "all have ended");
    // Only what the dead hub's or the dead agent's hands held may have failed.
    assert!(failed.len() <= 3, "{failed:#?}");
    for process in &failed {
        // The last is the agent's own word for the one that it died over (docs/fence.md, 5).
        let known = [
            "assignment lost",
            "attempt 1 was closed as failed because its assignment was lost",
            "already begun",
            "interrupted",
        ];
        assert!(
            known.iter().any(|known| process.error_message.starts_with(known)),
            "{process:#?}"
        );
    }
    let interrupted = failed
        .iter()
        .filter(|process| process.error_message.starts_with("interrupted"));
    assert!(interrupted.count() <= 1, "it died once, over one: {failed:#?}");
    agent.kill();
    let done = first_life + edges(&agent);
    assert!(
        (successful..=COUNT).contains(&done),
        "{done} edges, {successful} successful: one each, and perhaps one for what failed"
    );
}
