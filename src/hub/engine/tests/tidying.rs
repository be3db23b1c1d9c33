//! What is said about tidying up, however often it is tried.

use std::fmt::{self, Write};
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;

/// Keeps what is said to people, one line each.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The message of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Said {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut message = Message(format!("{} ", event.metadata().level()));
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
}

#[test]
fn what_keeps_failing_is_said_once_and_so_is_that_it_works_again() {
    let mut hub = Hub::new();
    let said = Said::default();
    let _saying = tracing::subscriber::set_default(said.clone());
    for streak in 0..2 {
        hub.engine.store_mut().set_untidy(Untidy::Now, true);
        for _ in 0..5 {
            hub.submit(plain());
            hub.advance(TIDY_AGAIN);
        }
        let said_of_it = said.take();
        assert!(
            matches!(said_of_it.as_slice(), [one] if one.starts_with("WARN can't tidy up")),
            "streak {streak}: {said_of_it:?}"
        );
        hub.engine.store_mut().set_untidy(Untidy::Now, false);
        hub.submit(plain());
        hub.engine.store_mut().set_untidy(Untidy::Now, false);
        hub.submit(plain());
        let said_of_it = said.take();
        assert!(
            matches!(said_of_it.as_slice(), [one] if one.starts_with("INFO")),
            "streak {streak}: {said_of_it:?}"
        );
    }
}
