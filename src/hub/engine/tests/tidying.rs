//! What is said about tidying up, however often it is tried.

use tracing::Level;

use super::*;
use crate::logging::logged;

#[test]
fn what_keeps_failing_is_said_once_and_so_is_that_it_works_again() {
    let mut hub = Hub::new();
    for streak in 0..2 {
        let said = logged(Level::INFO, false, || {
            hub.engine.store_mut().set_untidy(Untidy::Now, true);
            for _ in 0..5 {
                hub.submit(plain());
                hub.advance(TIDY_AGAIN);
            }
        });
        assert_eq!(said.lines().count(), 1, "streak {streak}: {said}");
        assert!(said.contains("WARN can't tidy up"), "streak {streak}: {said}");
        let said = logged(Level::INFO, false, || {
            for _ in 0..2 {
                hub.engine.store_mut().set_untidy(Untidy::Now, false);
                hub.submit(plain());
            }
        });
        assert_eq!(said.lines().count(), 1, "streak {streak}: {said}");
        assert!(said.contains(" INFO "), "streak {streak}: {said}");
    }
}
