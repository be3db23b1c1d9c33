//! Real hub, real agents, real faults, by seed: `./scripts/campaign` runs it (docs/ci.md). No test of cargo's harness: it takes
//! minutes, and what went wrong is a report.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod fence;
mod judge;
mod ledger;
mod lies;
mod plan;
mod processes;
mod proxy;
mod round;
mod told;
mod wire;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use fence::Broken;
use judge::{Breach, Seen};
use outpost::agent::journal::SplitMix64;
use plan::Plan;
use processes::Programs;

const HELP: &str = "\
A campaign against the real programs: every process ends, every result arrives, 0 twice, 0 late, 0 false, 0 unsafe.

  --seed N      what is drawn from; of a failing round it is printed [a new one]
  --faults M    how many things go wrong [300]
  --agents K    how many agents there are at once [50]
  --agent FILE  another outpost-agent
  --broken NAME breaks the agents' fence from outside: no-journal, lease-from-arrival, no-confirm, outbox-without-asking
  --caught      the other way round: exit 0 if the campaign catches that agent, a broken fence by what it is broken for
";

/// A round has so many faults for each agent at most: then hub and agents start anew, so that lines suffice.
const FAULTS_EACH: usize = 8;
/// So many violations are shown in full.
const SHOWN: usize = 5;

struct Options {
    seed: u64,
    faults: usize,
    agents: usize,
    programs: Programs,
    caught: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        seed: u64::from(std::process::id()) << 20 ^ processes::wall() as u64 >> 10,
        faults: 300,
        agents: 50,
        programs: Programs {
            hub: env!("CARGO_BIN_EXE_outpost-hub").into(),
            agent: env!("CARGO_BIN_EXE_outpost-agent").into(),
            broken: None,
        },
        caught: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--seed" => options.seed = number(&value()?)?,
            "--faults" => options.faults = number(&value()?)? as usize,
            "--agents" => options.agents = number(&value()?)? as usize,
            "--agent" => options.programs.agent = value()?.into(),
            "--broken" => options.programs.broken = Some(Broken::named(&value()?)?),
            "--caught" => options.caught = true,
            _ => return Err(HELP.to_owned()),
        }
    }
    if options.faults == 0 || options.agents == 0 {
        return Err("at least one fault and one agent".to_owned());
    }
    Ok(options)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let Options {
        seed, faults, agents, ..
    } = options;
    let broken = options.programs.broken;
    let of = broken.map_or_else(String::new, |broken| format!(", broken: {broken}"));
    println!("campaign: seed {seed}, {faults} faults, {agents} agents{of}");
    let started = Instant::now();
    let mut seeds = SplitMix64(seed);
    let mut round_seed = seed;
    let mut left = faults;
    let mut found: BTreeMap<Breach, usize> = BTreeMap::new();
    let mut sums = Sums::default();
    while left > 0 {
        let of_round = left.min(FAULTS_EACH * agents);
        for (breach, count) in run_round(&options, round_seed, of_round, &mut sums).await {
            *found.entry(breach).or_default() += count;
        }
        left -= of_round;
        round_seed = seeds.next_u64();
    }
    sums.print();
    let kinds: Vec<String> = found
        .iter()
        .map(|(breach, count)| format!(" ({count} × {breach})"))
        .collect();
    println!(
        "campaign: seed {seed}, {faults} faults, {agents} agents{of}, {} s: {} violations{}",
        started.elapsed().as_secs(),
        found.values().sum::<usize>(),
        kinds.concat()
    );
    let is_caught = match broken {
        Some(broken) => found.contains_key(&broken.breach()),
        None => !found.is_empty(),
    };
    // Not caught is not yet innocent.
    let is_well = if options.caught {
        is_caught
    } else {
        found.is_empty()
    };
    if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How often what was broken in it.
async fn run_round(options: &Options, seed: u64, faults: usize, sums: &mut Sums) -> BTreeMap<Breach, usize> {
    // Kept, also by a panic, unless all was well.
    let folder = tempfile::Builder::new()
        .prefix("campaign-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap()
        .keep();
    let plan = Plan::draw(seed, faults, options.agents);
    let seen = round::run(plan, &options.programs, &folder).await;
    sums.add(&seen);
    let violations = seen.violations();
    println!(
        "round of seed {seed}: {faults} faults, {} processes, {} violations",
        seen.submitted.len(),
        violations.len()
    );
    if violations.is_empty() {
        let _ = std::fs::remove_dir_all(&folder);
        return BTreeMap::new();
    }
    let mut by_breach: BTreeMap<Breach, Vec<&str>> = BTreeMap::new();
    for violation in &violations {
        by_breach
            .entry(violation.breach)
            .or_default()
            .push(&violation.evidence);
    }
    for (breach, evidence) in &by_breach {
        println!("\n{} × {breach}", evidence.len());
        for one in evidence.iter().take(SHOWN) {
            println!("{one}");
        }
    }
    let broken = options
        .programs
        .broken
        .map_or_else(String::new, |broken| format!(" --broken {broken}"));
    println!(
        "again: ./scripts/campaign --seed {seed} --faults {faults} --agents {}{broken}\nlogs, configurations, hub.db: {}\n",
        options.agents,
        folder.display()
    );
    by_breach
        .iter()
        .map(|(&breach, evidence)| (breach, evidence.len()))
        .collect()
}

/// What happened, counted: a campaign in which little happened shows little.
#[derive(Default)]
struct Sums {
    faults: BTreeMap<&'static str, usize>,
    ends: BTreeMap<String, usize>,
    processes: usize,
    attempts: usize,
    edges: usize,
    unspent: usize,
}

impl Sums {
    fn add(&mut self, seen: &Seen) {
        for happened in &seen.happened {
            *self.faults.entry(happened.fault.kind()).or_default() += 1;
        }
        self.unspent += seen.unspent;
        for submitted in &seen.submitted {
            let Some(story) = seen.stories.get(&submitted.id) else {
                continue;
            };
            self.processes += 1;
            self.attempts += story.held.len();
            for (_, left) in story.held.iter().filter_map(|held| held.to) {
                let left = format!("{left:?}").to_lowercase();
                *self.ends.entry(left).or_default() += 1;
            }
        }
        self.edges += seen.agents.iter().map(|agent| agent.edges.len()).sum::<usize>();
    }

    fn print(&self) {
        let list = |counts: Vec<String>| counts.join(", ");
        let faults = self.faults.iter().map(|(kind, count)| format!("{count} {kind}"));
        println!(
            "faults: {} ({} found nothing to strike)",
            list(faults.collect()),
            self.unspent
        );
        let ends = self.ends.iter().map(|(left, count)| format!("{count} {left}"));
        println!(
            "{} processes, {} attempts ({}), {} edges",
            self.processes,
            self.attempts,
            list(ends.collect()),
            self.edges
        );
    }
}
