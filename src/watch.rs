//! A value that many tasks look at and wait upon, as tokio's `watch` is; but whoever waits is woken in the order of waiting.
//!
//! tokio deals its receivers to eight lists at random, so the same seed of a simulation would not be the same schedule
//! (decision 0044). Whoever waits here also keeps the value alive: it cannot close, and waiting cannot fail.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

/// A value whose changes can be waited for. Clones are the same value.
#[derive(Debug)]
pub struct Watched<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: RwLock<State<T>>,
    /// Never notified for one alone, so it stores nothing: who is to be woken stands in its list, the first one first.
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    /// Rises with every change.
    version: u64,
}

/// Looks at a [`Watched`] value and remembers what it has seen of it.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value as it is now. Nobody can change it while this is held: never across an `await`, and never twice in one
/// expression.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> std::ops::Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        // Whoever changes a value leaves it whole, also where it panics.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something in the state.
    async fn wait<R>(&self, mut look: impl FnMut(&State<T>) -> Option<R>) -> R {
        loop {
            // Hears of every change from here on, so none falls between the look and the waiting.
            let changed = self.changed.notified();
            let found = look(&self.read());
            if let Some(found) = found {
                return found;
            }
            changed.await;
        }
    }
}

impl<T> Watched<T> {
    /// A value that nobody looks at yet.
    pub fn new(value: T) -> Self {
        Watched {
            shared: Arc::new(Shared {
                state: RwLock::new(State { value, version: 0 }),
                changed: Notify::new(),
            }),
        }
    }

    /// Looks at it.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Changes it, and wakes whoever waits.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Puts another value there, wakes whoever waits, and gives back the former one.
    pub fn send_replace(&self, value: T) -> T {
        let mut other = value;
        self.send_modify(|value| std::mem::swap(value, &mut other));
        other
    }

    /// Lets `change` look at it and perhaps change it, and wakes whoever waits if it says that it did. Gives back what it said.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let modified = {
            let mut state = self.shared.write();
            let modified = change(&mut state.value);
            state.version = state.version.wrapping_add(u64::from(modified));
            modified
        };
        if modified {
            self.shared.changed.notify_waiters();
        }
        modified
    }

    /// Who has seen it as it is now and hears of every change from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver {
            shared: self.shared.clone(),
            seen: self.shared.read().version,
        }
    }

    /// Waits until it is such that `ready`, which is asked at once and after every change. It is held meanwhile, so `ready` looks
    /// at what it is given and not at the value itself. Safe to drop and to call again.
    pub async fn wait_for(&self, mut ready: impl FnMut(&T) -> bool) {
        self.find(|value| ready(value).then_some(())).await;
    }

    /// Waits until `look` finds something in it. It looks at once and after every change. Safe to drop and to call again.
    pub async fn find<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        self.shared.wait(|state| look(&state.value)).await
    }
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Watched {
            shared: self.shared.clone(),
        }
    }
}

impl<T: Default> Default for Watched<T> {
    fn default() -> Self {
        Watched::new(T::default())
    }
}

impl<T> Receiver<T> {
    /// Looks at it; what was not seen before stays so.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Looks at it, and has seen it.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.read();
        self.seen = state.version;
        Ref(state)
    }

    /// Whether it has changed since it was seen.
    pub fn has_changed(&self) -> bool {
        self.shared.read().version != self.seen
    }

    /// Waits for a change since it was last seen, and has seen it then. Safe to drop and to call again.
    pub async fn changed(&mut self) {
        let Receiver { shared, seen } = self;
        let unseen = |state: &State<T>| {
            let unseen = *seen != state.version;
            *seen = state.version;
            unseen.then_some(())
        };
        shared.wait(unseen).await;
    }

    /// Waits until it is such that `ready`, which is asked at once and after every change. What it is asked of is seen.
    pub async fn wait_for(&mut self, mut ready: impl FnMut(&T) -> bool) {
        let Receiver { shared, seen } = self;
        let ready = |state: &State<T>| {
            *seen = state.version;
            ready(&state.value).then_some(())
        };
        shared.wait(ready).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_in_the_order_of_waiting() {
        let watched = Watched::new(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..32)
            .map(|number| {
                let (mut receiver, woken) = (watched.subscribe(), woken.clone());
                tokio::spawn(async move {
                    receiver.changed().await;
                    woken.lock().unwrap().push(number);
                })
            })
            .collect();
        yield_now().await;
        watched.send_modify(|value| *value += 1);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), (0..32).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_seen_once_also_if_it_came_before_the_waiting() {
        let watched = Watched::new("a");
        let mut receiver = watched.subscribe();
        assert!(!receiver.has_changed());
        assert_eq!(watched.send_replace("b"), "a");
        assert_eq!(*receiver.borrow(), "b");
        assert!(receiver.has_changed(), "looking is not seeing");
        receiver.changed().await;
        assert!(!receiver.has_changed());
        watched.send_modify(|value| *value = "c");
        assert_eq!(*receiver.borrow_and_update(), "c");
        let again = tokio::spawn(async move { receiver.changed().await });
        yield_now().await;
        assert!(!again.is_finished(), "it was seen");
        watched.clone().send_modify(|_| {});
        again.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_modified_wakes_nobody() {
        let watched = Watched::new(1);
        let mut receiver = watched.subscribe();
        assert!(!watched.send_if_modified(|_| false));
        assert!(!receiver.has_changed());
        assert!(watched.send_if_modified(|value| std::mem::replace(value, 2) == 1));
        receiver.changed().await;
        assert_eq!(*watched.borrow(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_waited_for_until_it_is_as_wanted() {
        let watched = Watched::new(0);
        watched.wait_for(|value| *value == 0).await;
        let (waiting, mut receiver) = (watched.clone(), watched.subscribe());
        let three = tokio::spawn(async move { waiting.wait_for(|value| *value == 3).await });
        let two = tokio::spawn(async move {
            receiver.wait_for(|value| *value == 2).await;
            receiver.has_changed()
        });
        for value in 1..4 {
            assert!(!three.is_finished());
            yield_now().await;
            watched.send_replace(value);
            yield_now().await;
        }
        three.await.unwrap();
        assert!(!two.await.unwrap(), "it has seen what it was asked of");
    }
}
