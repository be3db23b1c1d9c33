//! A tokio runtime that runs until nothing is left to do, and then stands still. It has no driver: neither timers nor
//! sockets exist in it, so whatever happens in it was caused by the world.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// One machine's processor.
pub struct Idle {
    runtime: Runtime,
    parked: Arc<Parked>,
}

#[derive(Default)]
struct Parked {
    reached: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Idle {
    /// With nothing to do yet.
    pub fn new() -> Self {
        let parked = Arc::new(Parked::default());
        let runtime = Builder::new_current_thread()
            .on_thread_park({
                let parked = parked.clone();
                // The runtime parks when no task can run: then whoever waits for that is woken.
                move || {
                    parked.reached.store(true, Ordering::Relaxed);
                    if let Some(waker) = parked.waker.lock().unwrap().take() {
                        waker.wake();
                    }
                }
            })
            .build()
            .unwrap();
        Idle { runtime, parked }
    }

    /// Lets tasks be spawned; they run at the next [`Idle::run`].
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Runs every task until none can go on.
    pub fn run(&self) {
        let parked = &self.parked;
        parked.reached.store(false, Ordering::Relaxed);
        self.runtime.block_on(poll_fn(|context| {
            if parked.reached.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *parked.waker.lock().unwrap() = Some(context.waker().clone());
            Poll::Pending
        }));
    }
}
