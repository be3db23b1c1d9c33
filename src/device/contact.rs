//! When the server was last heard from, for devices that must not go on for ever without it.
//!
//! Devices know no servers: the agent's lanes say [`Contact::heard`], an output acts by [`Contact::last`]
//! (docs/fence.md, section 7, “lost”).

use std::time::Duration;

use crate::clock::{BootTime, Clock};
use crate::watch::Watched;

/// A moment that only moves forward: the *sending* of the last request that was answered as one of a member. Cheap to
/// clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Contact {
    last: Watched<BootTime>,
}

impl Contact {
    /// As if the server had been heard from `now`: at the start of the agent its time begins afresh.
    pub fn new(now: BootTime) -> Self {
        Contact {
            last: Watched::new(now),
        }
    }

    /// An authorised, well-formed answer came to a request that was sent at `sent_at`. The moment of sending counts, not
    /// that of the answer: what the server said of us may have been true no later. Older moments change nothing.
    pub fn heard(&self, sent_at: BootTime) {
        self.last.send_if_modified(|last| {
            let later = sent_at > *last;
            if later {
                *last = sent_at;
            }
            later
        });
    }

    /// When the last request was sent that was answered.
    pub fn last(&self) -> BootTime {
        *self.last.borrow()
    }

    /// Waits until nothing has been heard for `after`, counted from [`Contact::last`]. Safe to drop and to call again.
    pub async fn lost_at(&self, clock: &dyn Clock, after: Duration) {
        loop {
            let lost_at = self.last() + after;
            if clock.now() >= lost_at {
                return;
            }
            // Whatever is heard meanwhile can only move the moment away.
            clock.sleep_until(lost_at).await;
        }
    }

    /// Waits until something newer than `than` was heard. Safe to drop and to call again.
    pub async fn heard_since(&self, than: BootTime) {
        self.last.wait_for(|last| *last > than).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn at(seconds: u64) -> BootTime {
        BootTime::default() + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn it_moves_forward_alone_and_every_clone_sees_it() {
        let contact = Contact::new(at(5));
        let other = contact.clone();
        other.heard(at(3));
        assert_eq!(contact.last(), at(5), "an old answer that came late");
        other.heard(at(8));
        assert_eq!(contact.last(), at(8));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_lost_so_long_after_the_last_request_that_was_answered() {
        let clock = TestClock::new(0);
        let contact = Contact::new(clock.now());
        let lost = tokio::spawn({
            let (contact, clock) = (contact.clone(), clock.clone());
            async move {
                contact.lost_at(&*clock, Duration::from_secs(60)).await;
                clock.now()
            }
        });
        clock.sleep_until(at(50)).await;
        contact.heard(at(20));
        assert_eq!(
            lost.await.unwrap(),
            at(80),
            "from the sending, not from the answer"
        );
        contact.lost_at(&*clock, Duration::from_secs(60)).await;
        assert_eq!(clock.now(), at(80), "lost already");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_word_hears_the_next_one() {
        let contact = Contact::new(at(1));
        let heard = tokio::spawn({
            let contact = contact.clone();
            async move { contact.heard_since(at(1)).await }
        });
        tokio::task::yield_now().await;
        assert!(!heard.is_finished());
        contact.heard(at(2));
        heard.await.unwrap();
        contact.heard_since(at(1)).await;
    }
}
