//! From submit to the edge of a pin, and from start to the first assignment, with the real hub and the real agent:
//! `./scripts/measure latency` runs it (docs/performance.md). No test of cargo's harness: it measures, and takes a minute.
//!
//! Nothing is asked of the agent: the edge is stamped by the simulated board, the assignment by the hub, the submit here, all by the
//! wall clock of one machine. How long a sync takes is probed on the same disk, before each sample.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod programs;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use outpost::client::{Caller, Client, HttpSettings, HttpTransport, ServerUrl};
use outpost::clock::{Clock, SharedClock, SystemClock};
use outpost::keyfile;
use outpost::protocol::PrivateKey;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{ProcessSpec, ProcessState, Runtime};
use programs::{Agent, Disk, Hub};
use tokio::time::sleep;

const HELP: &str = "\
From submit to the edge of a simulated pin, and from start to the first assignment, in milliseconds.

  --samples N   of submit to edge, each way [1000]
  --starts N    of the agent [20]
  --agent FILE  another outpost-agent, as the one that is shipped
  --hub FILE    another outpost-hub
  --folder DIR  on another disk, or in memory, where a sync costs nothing
";

/// Syncs between a submit and its edge: the hub commits the process and, since somebody waits for it, its assignment at once; the
/// agent writes down that it begins.
const SYNCS: usize = 2;
/// p99 from submit to edge, beyond the syncs.
const EDGE_BAR: f64 = 5.0;
/// From start to the first assignment, the median.
const START_BAR: f64 = 200.0;
/// How long the agent has polled when work comes, so that its poll surely waits at the hub.
const POLLED: Duration = Duration::from_millis(20);
/// The same where counting a lease of a second from the sending would cost more than a tenth of it (docs/fence.md, 2).
const POLLED_LONG: Duration = Duration::from_millis(150);

struct Options {
    samples: usize,
    starts: usize,
    agent: PathBuf,
    hub: PathBuf,
    folder: PathBuf,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        samples: 1000,
        starts: 20,
        agent: env!("CARGO_BIN_EXE_outpost-agent").into(),
        hub: env!("CARGO_BIN_EXE_outpost-hub").into(),
        // Where the disk is, not where the memory may be.
        folder: env!("CARGO_TARGET_TMPDIR").into(),
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(HELP.to_owned())?;
        let number = || {
            let number: usize = value.parse().map_err(|_| format!("{value:?} is no number"))?;
            if number == 0 {
                Err(format!("{word} 0 measures nothing"))
            } else {
                Ok(number)
            }
        };
        match word.as_str() {
            "--samples" => options.samples = number()?,
            "--starts" => options.starts = number()?,
            "--agent" => options.agent = value.into(),
            "--hub" => options.hub = value.into(),
            "--folder" => options.folder = value.into(),
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(options)
}

/// Milliseconds, in order.
struct Sample(Vec<f64>);

impl Sample {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Sample(values)
    }

    /// So many of a hundred are no larger.
    fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() * percent).div_ceil(100).max(1) - 1]
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:.2} | {:.2} | {}",
            self.percentile(50),
            self.percentile(99),
            self.0.len()
        )
    }
}

/// Who submits, and to whom.
struct Scene {
    operator: Caller,
    colony: String,
    agent_id: String,
}

/// How a sample's work is submitted.
struct Way {
    what: &'static str,
    func: &'static str,
    lease: i64,
    polled: Duration,
    /// One of so many samples goes this way, too.
    every: usize,
}

/// The last two differ only in what is measured: whether an exchange bounds the lease first.
const WAYS: [Way; 4] = [
    Way {
        what: "submit → edge",
        func: "lamp.toggle",
        lease: 60,
        polled: POLLED,
        every: 1,
    },
    Way {
        what: "submit → edge, confirmed",
        func: "valve.toggle",
        lease: 60,
        polled: POLLED,
        every: 1,
    },
    Way {
        what: "submit → edge after a longer poll",
        func: "lamp.toggle",
        lease: 60,
        polled: POLLED_LONG,
        every: 5,
    },
    Way {
        what: "submit → edge after a longer poll, lease bounded first",
        func: "lamp.toggle",
        lease: 1,
        polled: POLLED_LONG,
        every: 5,
    },
];

impl Scene {
    async fn submit(&self, func: &str, lease: i64) -> String {
        let mut spec = ProcessSpec {
            func: func.to_owned(),
            max_wait_time: -1,
            max_exec_time: lease,
            ..ProcessSpec::default()
        };
        spec.conditions.colony_id.clone_from(&self.colony);
        "measured".clone_into(&mut spec.conditions.runtime_type);
        spec.conditions.runtime_ids = vec![self.agent_id.clone()];
        self.operator.submit(&spec).await.unwrap().value.id
    }

    /// Waits for its end; when it was assigned, in nanoseconds since 1970.
    async fn ended(&self, id: &str) -> i128 {
        loop {
            let process = self.operator.get_process(id).await.unwrap().value;
            if process.state.is_final() {
                assert_eq!(
                    process.state,
                    ProcessState::Successful,
                    "{}",
                    process.error_message
                );
                return process.start_time.unix_nanos();
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

fn millis(from: i128, to: i128) -> f64 {
    (to - from) as f64 / 1e6
}

/// Until the edge by each way, and what as many syncs took at the same time. By turns, so that what else the machine does is the
/// same for all.
async fn edges(scene: &Scene, agent: &mut Agent, disk: &mut Disk, samples: usize) -> Vec<(Sample, Sample)> {
    let mut measured = vec![(Vec::new(), Vec::new()); WAYS.len()];
    for number in 0..samples {
        for (way, (edges, syncs)) in WAYS.iter().zip(&mut measured) {
            if number % way.every != 0 {
                continue;
            }
            syncs.push((0..SYNCS).map(|_| disk.sync().as_secs_f64() * 1e3).sum());
            sleep(way.polled).await;
            let submitted = SystemClock.wall_nanos();
            let id = scene.submit(way.func, way.lease).await;
            edges.push(millis(submitted, agent.edge()));
            scene.ended(&id).await;
        }
    }
    let samples = |(edges, syncs)| (Sample::new(edges), Sample::new(syncs));
    measured.into_iter().map(samples).collect()
}

async fn starts(scene: &Scene, agent: &mut Agent, count: usize) -> Sample {
    let mut spans = Vec::new();
    for _ in 0..count {
        agent.stop();
        // What waits is assigned to the first that asks.
        let id = scene.submit("lamp.toggle", 60).await;
        let started = SystemClock.wall_nanos();
        agent.start();
        spans.push(millis(started, scene.ended(&id).await));
    }
    Sample::new(spans)
}

async fn scene(hub: &Hub, folder: &Path) -> Scene {
    let clock: SharedClock = std::sync::Arc::new(SystemClock);
    let url = ServerUrl::parse(&format!("http://{}", hub.address)).unwrap();
    let transport = HttpTransport::new(url, HttpSettings::default(), clock).unwrap();
    let client = Client::new(transport, Dialect::Runtime);
    let owner_key = keyfile::load(&hub.colony_key()).unwrap();
    let colony = owner_key.id();
    let owner = client.with_key(owner_key);
    let key = PrivateKey::from_hex(&"55".repeat(32)).unwrap();
    let operator = Runtime {
        id: key.id(),
        name: "operator".to_owned(),
        runtime_type: "operator".to_owned(),
        colony_id: colony.clone(),
        ..Runtime::default()
    };
    owner.add_runtime(&operator).await.unwrap();
    owner.approve_runtime(&operator.id).await.unwrap();
    Scene {
        operator: client.with_key(key),
        colony,
        agent_id: keyfile::load_or_create(&programs::agent_key(folder))
            .unwrap()
            .id(),
    }
}

fn verdict(misses: bool) -> &'static str {
    if misses { "missed" } else { "met" }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let folder = tempfile::Builder::new()
        .prefix("latency-")
        .tempdir_in(&options.folder)
        .unwrap();
    let hub = Hub::start(&options.hub, folder.path()).await;
    let scene = scene(&hub, folder.path()).await;
    let mut agent = Agent::new(&options.agent, folder.path(), &hub, &scene.colony);
    let mut disk = Disk::new(folder.path());
    agent.start();
    let first = scene.submit("lamp.toggle", 60).await;
    scene.ended(&first).await;
    agent.edge();
    println!("| what | p50, ms | p99, ms | samples | bar |");
    println!("| --- | --- | --- | --- | --- |");
    let measured = edges(&scene, &mut agent, &mut disk, options.samples).await;
    for (way, (edges, syncs)) in WAYS.iter().zip(measured) {
        let most = EDGE_BAR + syncs.percentile(99);
        let missed = edges.percentile(99) > most;
        println!(
            "| {} | {edges} | p99 ≤ {EDGE_BAR} ms + syncs = {most:.2}: {} |",
            way.what,
            verdict(missed)
        );
        println!("| … {SYNCS} syncs of the disk at the same time | {syncs} | |");
    }
    let starts = starts(&scene, &mut agent, options.starts).await;
    let missed = starts.percentile(50) > START_BAR;
    println!(
        "| start → first assignment | {starts} | p50 ≤ {START_BAR} ms: {} |",
        verdict(missed)
    );
    agent.stop();
    ExitCode::SUCCESS
}
