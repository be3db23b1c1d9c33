//! Whether a verb that runs may take its next step: asked of whoever gave the work, in the middle of the verb.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::BootTime;

/// How long a confirmation holds, from the moment at which its request was sent (docs/fence.md, section 3).
pub const CONFIRM_MAX_AGE: Duration = Duration::from_secs(1);

/// What whoever gave the work says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// It is still ours, which counts before this moment; an answer that took too long has come after it.
    Until(BootTime),
    /// It is not ours any more, for this reason: the verb makes an end of itself, and nobody waits for its result.
    NotOurs(String),
    /// Nothing that can be relied on: not to be taken for a yes.
    Unclear,
}

/// Asks whoever gave the work whether it is still ours.
#[async_trait]
pub trait Confirmation: Send + Sync + 'static {
    /// Asks once. May be dropped wherever it waits, and asked again.
    async fn confirm(&self) -> Confirmed;
}
