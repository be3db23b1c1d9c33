//! The way to the journal: it waits for the disk, and nothing else here may wait with it.
//!
//! A sync on an SD card can take a second, during which leases end and verbs must be stopped; so the journal has a thread
//! of its own, which sleeps until it is asked. What is asked is done in order. A journal that has grown is rewritten between
//! two tasks, never within one: who asked has his answer by then.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::journal::Journal;

/// Done to the journal, one after the other.
type Task = Box<dyn FnOnce(&mut Journal) + Send>;

/// A handle on the journal of one agent; clones share it. The journal is dropped by [`Keeper::close`], or with the last one.
#[derive(Clone)]
pub struct Keeper {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Thread(mpsc::Sender<Message>),
    Here(Arc<Mutex<Option<Journal>>>),
}

enum Message {
    Do(Task),
    /// Drop it, and say so.
    Close(oneshot::Sender<()>),
}

/// The journal was closed: nothing may be begun any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is gone; this is a defect of outpost, please report it, and restart the agent")]
pub struct Gone;

impl Keeper {
    /// Gives the journal a thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn threaded(journal: Journal) -> std::io::Result<Self> {
        let (sender, messages) = mpsc::channel();
        let mut journal = journal;
        thread::Builder::new()
            .name("journal".to_owned())
            // The deepest it goes is encoding a record.
            .stack_size(256 * 1024)
            .spawn(move || {
                while let Ok(message) = messages.recv() {
                    match message {
                        Message::Do(task) => {
                            task(&mut journal);
                            journal.tidy();
                        }
                        Message::Close(closed) => {
                            drop(journal);
                            // Whoever asked may have stopped waiting.
                            let _ = closed.send(());
                            return;
                        }
                    }
                }
            })?;
        Ok(Keeper {
            way: Way::Thread(sender),
        })
    }

    /// Everything happens at once, where it is asked for: for storage that does not wait.
    pub fn inline(journal: Journal) -> Self {
        Keeper {
            way: Way::Here(Arc::new(Mutex::new(Some(journal)))),
        }
    }

    /// Does something to the journal and gives back what came of it.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn with<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Journal) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        match &self.way {
            Way::Here(journal) => {
                let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
                let journal = journal.as_mut().ok_or(Gone)?;
                let done = task(journal);
                journal.tidy();
                Ok(done)
            }
            Way::Thread(sender) => {
                let (reply, answer) = oneshot::channel();
                let task = move |journal: &mut Journal| {
                    // Whoever asked may have stopped waiting; it is done all the same.
                    let _ = reply.send(task(journal));
                };
                sender.send(Message::Do(Box::new(task))).map_err(|_| Gone)?;
                answer.await.map_err(|_| Gone)
            }
        }
    }

    /// Has something done to the journal, after what was asked for before; nobody waits for it.
    pub fn post(&self, task: impl FnOnce(&mut Journal) + Send + 'static) {
        match &self.way {
            Way::Here(journal) => {
                if let Some(journal) = &mut *journal.lock().unwrap_or_else(PoisonError::into_inner) {
                    task(journal);
                    journal.tidy();
                }
            }
            Way::Thread(sender) => {
                if sender.send(Message::Do(Box::new(task))).is_err() {
                    tracing::debug!("{Gone}");
                }
            }
        }
    }

    /// Closes the journal after what was asked for before, and waits until its folder is free for another agent.
    pub async fn close(&self) {
        match &self.way {
            Way::Here(journal) => drop(journal.lock().unwrap_or_else(PoisonError::into_inner).take()),
            Way::Thread(sender) => {
                let (closed, done) = oneshot::channel();
                if sender.send(Message::Close(closed)).is_ok() {
                    let _ = done.await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{self, Journal, Limits, Machine, Moment, Record, SimulatedDisk};
    use super::*;
    use crate::clock::TestClock;
    use crate::protocol::Time;

    fn journal() -> Journal {
        let clock = TestClock::new(0);
        let disk = SimulatedDisk::new(1);
        let opened = Journal::open(
            Box::new(disk.storage()),
            Moment::of(&*clock),
            &Machine::of("m"),
            Limits::default(),
        );
        opened.unwrap().0
    }

    #[tokio::test]
    async fn both_ways_do_what_is_asked_in_order() {
        for keeper in [Keeper::inline(journal()), Keeper::threaded(journal()).unwrap()] {
            keeper.post(|journal| {
                journal.good_time(Time::from_unix_nanos(5));
            });
            let known = keeper.with(|journal| journal.state().last_good_time()).await;
            assert_eq!(known, Ok(Some(Time::from_unix_nanos(5))));
            keeper.post(|journal| drop(journal.accept(Time::from_unix_nanos(7))));
            let known = keeper
                .clone()
                .with(|journal| journal.state().last_good_time())
                .await;
            assert_eq!(known, Ok(None));
        }
    }

    #[tokio::test]
    async fn a_journal_that_has_grown_is_rewritten_after_the_answer() {
        const FILE: u64 = 700;
        for threaded in [false, true] {
            let clock = TestClock::new(0);
            let disk = SimulatedDisk::new(1);
            let limits = Limits {
                file: FILE,
                ..Limits::default()
            };
            let storage = Box::new(disk.storage());
            let opened = Journal::open(storage, Moment::of(&*clock), &Machine::of("m"), limits);
            let journal = opened.unwrap().0;
            let keeper = match threaded {
                true => Keeper::threaded(journal).unwrap(),
                false => Keeper::inline(journal),
            };
            let looks = disk.clone();
            let length = move || looks.content(journal::FILE).unwrap().len() as u64;
            let grown = keeper
                .with(move |journal| {
                    for number in 0..100 {
                        let process_id = format!("{number:>50}");
                        let _ = journal.record(Record::FinalAtServer { process_id });
                    }
                    length()
                })
                .await
                .unwrap();
            assert!(grown > 5 * FILE, "not within a task: {grown}");
            keeper.close().await;
            let rewritten = disk.content(journal::FILE).unwrap().len() as u64;
            assert!(rewritten < FILE, "{rewritten}");
        }
    }

    #[tokio::test]
    async fn a_closed_journal_has_done_what_was_asked_and_does_no_more() {
        for keeper in [Keeper::inline(journal()), Keeper::threaded(journal()).unwrap()] {
            let (told, hears) = mpsc::channel();
            keeper.post(move |_| told.send(()).unwrap());
            keeper.close().await;
            assert_eq!(hears.try_recv(), Ok(()));
            assert_eq!(keeper.with(|_| ()).await, Err(Gone));
            keeper.post(|_| panic!("closed"));
            keeper.close().await;
        }
    }
}
