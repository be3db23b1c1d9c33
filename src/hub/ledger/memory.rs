//! A store in memory: for property tests, and for a simulation without disk.

use std::collections::{BTreeMap, BTreeSet};

use super::{Anchor, Change, Queue, Record, Store, StoreError, Untidy, View};
use crate::clock::BootTime;
use crate::protocol::model::{Attribute, Colony, ProcessState, Runtime, Statistics};
use crate::protocol::time::Time;

/// What a [`MemoryStore`] holds; cloned to be able to roll back.
#[derive(Debug, Clone, Default)]
struct Held {
    colonies: Vec<Colony>,
    runtimes: Vec<Runtime>,
    by_seq: BTreeMap<u64, Record>,
    by_id: BTreeMap<String, u64>,
    attributes: BTreeMap<u64, Vec<Attribute>>,
    /// (colony, type, target or “*”, place): see [`super::sqlite`].
    queue: BTreeSet<(String, String, String, u64)>,
    due: BTreeSet<(BootTime, u64)>,
    anchor: Option<Anchor>,
}

/// A store in memory. Durable as long as it is not dropped.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    held: Held,
    before: Option<Box<Held>>,
    broken: bool,
    untidy: Untidy,
    stuck: bool,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// Makes every commit fail from now on, or work again: a disk that is full.
    pub fn set_broken(&mut self, broken: bool) {
        self.broken = broken;
    }

    /// Is so untidy from now on, until it is tidied up; which fails while it is `stuck`.
    pub fn set_untidy(&mut self, untidy: Untidy, stuck: bool) {
        self.untidy = untidy;
        self.stuck = stuck;
    }
}

/// Where a process stands in the queue: one entry for each target.
pub(super) fn places(record: &Record) -> BTreeSet<&str> {
    let targets = &record.process.spec.conditions.runtime_ids;
    match targets.is_empty() {
        true => BTreeSet::from(["*"]),
        // A runtime's id is a hash: none is called “*”, and an entry for everybody in a longer list is for nobody.
        false => targets
            .iter()
            .map(String::as_str)
            .filter(|target| *target != "*")
            .collect(),
    }
}

impl Held {
    fn enter(&mut self, record: &Record) {
        let conditions = &record.process.spec.conditions;
        for target in places(record) {
            self.queue.insert((
                conditions.colony_id.clone(),
                conditions.runtime_type.clone(),
                target.to_owned(),
                record.seq,
            ));
        }
    }

    fn leave(&mut self, record: &Record) {
        let conditions = &record.process.spec.conditions;
        for target in places(record) {
            self.queue.remove(&(
                conditions.colony_id.clone(),
                conditions.runtime_type.clone(),
                target.to_owned(),
                record.seq,
            ));
        }
    }

    fn put(&mut self, record: &Record) {
        self.forget_due(record.seq);
        if let Some(due) = record.due() {
            self.due.insert((due, record.seq));
        }
        self.by_id.insert(record.process.id.clone(), record.seq);
        self.by_seq.insert(record.seq, record.clone());
    }

    fn forget_due(&mut self, seq: u64) {
        if let Some(due) = self.by_seq.get(&seq).and_then(Record::due) {
            self.due.remove(&(due, seq));
        }
    }

    fn delete(&mut self, seq: u64) {
        self.forget_due(seq);
        self.attributes.remove(&seq);
        if let Some(record) = self.by_seq.remove(&seq) {
            self.by_id.remove(&record.process.id);
            self.leave(&record);
        }
    }

    fn delete_of(&mut self, colony_id: &str) {
        let gone: Vec<u64> = self.of(colony_id).map(|record| record.seq).collect();
        for seq in gone {
            self.delete(seq);
        }
    }

    fn of<'a>(&'a self, colony_id: &'a str) -> impl Iterator<Item = &'a Record> + 'a {
        self.by_seq
            .values()
            .filter(move |record| record.process.spec.conditions.colony_id == colony_id)
    }
}

impl View for MemoryStore {
    fn colony(&self, id: &str) -> Result<Option<Colony>, StoreError> {
        Ok(self.held.colonies.iter().find(|colony| colony.id == id).cloned())
    }

    fn colonies(&self) -> Result<Vec<Colony>, StoreError> {
        Ok(self.held.colonies.clone())
    }

    fn runtime(&self, id: &str) -> Result<Option<Runtime>, StoreError> {
        Ok(self
            .held
            .runtimes
            .iter()
            .find(|runtime| runtime.id == id)
            .cloned())
    }

    fn runtimes(&self, colony_id: &str) -> Result<Vec<Runtime>, StoreError> {
        let of_colony = self.held.runtimes.iter().filter(|one| one.colony_id == colony_id);
        Ok(of_colony.cloned().collect())
    }

    fn record(&self, process_id: &str) -> Result<Option<Record>, StoreError> {
        let seq = self.held.by_id.get(process_id);
        Ok(seq.and_then(|seq| self.held.by_seq.get(seq)).cloned())
    }

    fn attributes(&self, process_id: &str) -> Result<Vec<Attribute>, StoreError> {
        let seq = self.held.by_id.get(process_id);
        Ok(seq
            .and_then(|seq| self.held.attributes.get(seq))
            .cloned()
            .unwrap_or_default())
    }

    fn attribute(&self, id: &str) -> Result<Option<Attribute>, StoreError> {
        let all = self.held.attributes.values().flatten();
        Ok(all.into_iter().find(|attribute| attribute.id == id).cloned())
    }

    fn head(
        &self,
        colony_id: &str,
        runtime_type: &str,
        runtime_id: &str,
        latest: bool,
    ) -> Result<Option<Record>, StoreError> {
        let place = |target: &str, seq| {
            (
                colony_id.to_owned(),
                runtime_type.to_owned(),
                target.to_owned(),
                seq,
            )
        };
        let ends = ["*", runtime_id].into_iter().filter_map(|target| {
            let mut range = self.held.queue.range(place(target, 0)..=place(target, u64::MAX));
            if latest { range.next_back() } else { range.next() }
        });
        let seqs = ends.map(|(_, _, _, seq)| *seq);
        let seq = if latest { seqs.max() } else { seqs.min() };
        Ok(seq.and_then(|seq| self.held.by_seq.get(&seq)).cloned())
    }

    fn first_due(&self) -> Result<Option<(BootTime, String)>, StoreError> {
        let first = self.held.due.first();
        Ok(first.and_then(|(due, seq)| {
            let record = self.held.by_seq.get(seq)?;
            Some((*due, record.process.id.clone()))
        }))
    }

    fn running_on(&self, runtime_id: &str) -> Result<Vec<Record>, StoreError> {
        let on = |record: &&Record| {
            record.process.state == ProcessState::Running && record.process.assigned_runtime_id == runtime_id
        };
        Ok(self.held.by_seq.values().filter(on).cloned().collect())
    }

    fn newest(&self, colony_id: &str, state: ProcessState, count: usize) -> Result<Vec<Record>, StoreError> {
        let of_state = self
            .held
            .of(colony_id)
            .filter(|record| record.process.state == state);
        let mut found: Vec<Record> = of_state.cloned().collect();
        found.sort_by_key(|record| std::cmp::Reverse((record.moved(), record.seq)));
        found.truncate(count);
        Ok(found)
    }

    fn history(
        &self,
        colony_id: &str,
        runtime_id: Option<&str>,
        state: ProcessState,
        since: Time,
        count: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let wanted = |record: &&Record| {
            let process = &record.process;
            process.state == state
                && process.submission_time >= since
                && runtime_id.is_none_or(|id| process.assigned_runtime_id == id)
        };
        let mut found: Vec<Record> = self.held.of(colony_id).filter(wanted).cloned().collect();
        found.reverse();
        found.truncate(count);
        Ok(found)
    }

    fn submission(
        &self,
        colony_id: &str,
        submitter: &str,
        submission_id: &str,
    ) -> Result<Option<Record>, StoreError> {
        let same = |record: &&Record| {
            record.submitter == submitter && record.submission_id.as_deref() == Some(submission_id)
        };
        Ok(self.held.of(colony_id).find(same).cloned())
    }

    fn statistics(&self, colony_id: Option<&str>) -> Result<Statistics, StoreError> {
        let ours = |id: &str| colony_id.is_none_or(|wanted| wanted == id);
        let held = &self.held;
        let count = |state| {
            let of_state = held
                .by_seq
                .values()
                .filter(|record| record.process.state == state);
            of_state
                .filter(|record| ours(&record.process.spec.conditions.colony_id))
                .count() as i64
        };
        Ok(Statistics {
            colonies: held.colonies.iter().filter(|colony| ours(&colony.id)).count() as i64,
            runtimes: held.runtimes.iter().filter(|one| ours(&one.colony_id)).count() as i64,
            waiting_processes: count(ProcessState::Waiting),
            running_processes: count(ProcessState::Running),
            successful_processes: count(ProcessState::Successful),
            failed_processes: count(ProcessState::Failed),
            ..Statistics::default()
        })
    }

    fn last_seq(&self) -> Result<u64, StoreError> {
        Ok(self.held.by_seq.last_key_value().map_or(0, |(seq, _)| *seq))
    }

    fn with_deadlines(&self) -> Result<Vec<Record>, StoreError> {
        let dated = |record: &&Record| {
            !record.process.state.is_final() && (record.wait_due.is_some() || record.lease_due.is_some())
        };
        Ok(self.held.by_seq.values().filter(dated).cloned().collect())
    }
}

impl Store for MemoryStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.before = Some(Box::new(self.held.clone()));
        Ok(())
    }

    fn write(&mut self, change: &Change) -> Result<(), StoreError> {
        let held = &mut self.held;
        match change {
            Change::AddColony(colony) => held.colonies.push(colony.clone()),
            Change::DeleteColony(id) => {
                held.delete_of(id);
                held.runtimes.retain(|runtime| runtime.colony_id != *id);
                held.colonies.retain(|colony| colony.id != *id);
            }
            Change::PutRuntime(runtime) => match held.runtimes.iter_mut().find(|one| one.id == runtime.id) {
                Some(there) => *there = runtime.clone(),
                None => held.runtimes.push(runtime.clone()),
            },
            Change::DeleteRuntime(id) => held.runtimes.retain(|runtime| runtime.id != *id),
            Change::Heard { runtime_id, time } => {
                for runtime in held.runtimes.iter_mut().filter(|one| one.id == *runtime_id) {
                    runtime.last_heard_from = *time;
                }
            }
            Change::AddProcess(record) => {
                held.put(record);
                held.enter(record);
            }
            Change::PutProcess { record, queue } => {
                held.put(record);
                match queue {
                    Queue::Enter => held.enter(record),
                    Queue::Leave => held.leave(record),
                    Queue::Stay => {}
                }
            }
            Change::DeleteProcess { record, .. } => held.delete(record.seq),
            Change::DeleteProcesses(colony_id) => held.delete_of(colony_id),
            Change::AddAttribute(attribute) => {
                let seq = held.by_id.get(&attribute.target_id).copied();
                let seq = seq.ok_or_else(|| StoreError("attribute of no process".into()))?;
                held.attributes.entry(seq).or_default().push(attribute.clone());
            }
        }
        Ok(())
    }

    fn commit(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError("the store was broken on purpose".into()));
        }
        self.held.anchor = Some(anchor.clone());
        self.before = None;
        Ok(())
    }

    fn rollback(&mut self) {
        if let Some(before) = self.before.take() {
            self.held = *before;
        }
    }

    fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        Ok(self.held.anchor.clone())
    }

    fn untidy(&self) -> Untidy {
        self.untidy
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        if self.stuck {
            return Err(StoreError("the store was stuck on purpose".into()));
        }
        self.untidy = Untidy::No;
        Ok(())
    }

    fn finish(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        self.held.anchor = Some(anchor.clone());
        Ok(())
    }
}
