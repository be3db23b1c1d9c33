//! What each command does, a file per family.

mod colony;
mod keys;
mod operator;
mod process;
mod runtime;
mod vehicle;

use clap::CommandFactory;

use super::args::Cli;
use super::settings::Settings;
use crate::console::Console;
use crate::protocol::Answer;
use crate::protocol::dialect::Dialect;

pub use colony::colony;
pub use keys::keys;
pub use operator::operator;
pub use process::{get, prepared, ps, run, submit};
pub use runtime::runtime;
pub use vehicle::{vehicle, vehicle_event};

/// What a command has at hand.
pub struct Context<'a> {
    /// Where the server is and who asks.
    pub settings: Settings,
    /// Answer for machines.
    pub json: bool,
    /// The user's name, or empty.
    pub user: String,
    /// Where to write.
    pub console: &'a mut Console,
}

impl Context<'_> {
    /// Writes an answer as JSON, or what people see of it.
    fn answer(&mut self, answer: &Answer, people: impl FnOnce() -> String) {
        if self.json {
            let json = Dialect::Runtime.show(answer);
            // An empty list is `null` on the wire (RD 4.3), which scripts stumble over.
            self.console.bytes(if json == b"null" { b"[]" } else { &json });
        } else {
            self.console.line(people());
        }
    }
}

/// `outpost completions`
pub fn completions(shell: clap_complete::Shell, console: &mut Console) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "outpost", &mut script);
    console.bytes(&script);
}

/// A small object for machines.
fn object(members: &[(&str, &str)]) -> String {
    let members: serde_json::Map<String, serde_json::Value> = members
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    serde_json::Value::Object(members).to_string()
}
