//! `outpost demo`: a hub and agents as they really are, a simulated lamp and a simulated drone, and specs that turn it on and
//! send it out.

mod drone;
mod programs;

use std::ffi::OsString;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::args::{DEFAULT_OPERATOR_TYPE, Demo, Global, OperatorCommand};
use super::commands::{self, Context};
use super::error::{CliError, DONE, PROCESS_FAILED};
use super::settings::Settings;
use super::show::{self, Names};
use super::{file, submission};
use crate::client::{Caller, ServerUrl};
use crate::console::{Console, printable};
use crate::protocol::dialect::Dialect;
use crate::protocol::model::{AttributeKind, Process, ProcessSpec, ProcessState, Runtime, RuntimeState};
use drone::Drone;
use programs::{Place, Program};

/// The agents' configurations, as they lie in `configs/`.
const AGENT: &str = include_str!("../../../configs/agent-simulated.toml");
const DOCK: &str = include_str!("../../../configs/agent-dock.toml");

/// What is submitted: the lamp, then the three examples that must run as they stand, and at last a flight.
const LAMP: Example = (
    "configs/processes/lamp-on.json",
    include_str!("../../../configs/processes/lamp-on.json"),
);
const EXAMPLES: [Example; 3] = [
    (
        "configs/processes/sleep.json",
        include_str!("../../../configs/processes/sleep.json"),
    ),
    (
        "configs/processes/sleep-with-limits.json",
        include_str!("../../../configs/processes/sleep-with-limits.json"),
    ),
    (
        "configs/processes/sleep-with-env.json",
        include_str!("../../../configs/processes/sleep-with-env.json"),
    ),
];

const FLIGHT: Example = (
    "configs/processes/drone-dispatch.json",
    include_str!("../../../configs/processes/drone-dispatch.json"),
);

type Example = (&'static str, &'static str);

/// The colony's name.
const COLONY: &str = "demo";
/// The type of the agent's runtime, which the examples name.
const RUNTIME_TYPE: &str = "cli";
/// The type of the dock's.
const DOCK_TYPE: &str = "dock";
/// How long anything may take before the demo says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a flight.
const FLIGHT_PATIENCE: Duration = Duration::from_secs(180);
/// Longer results are cut, for a line.
const LONGEST_RESULT: usize = 60;
/// How often the hub is asked how the processes stand.
const POLL: Duration = Duration::from_millis(50);
/// How long a program may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// `outpost demo`
pub async fn run(demo: Demo, console: &mut Console) -> Result<u8, CliError> {
    // Look before anything is made.
    programs::beside_us("outpost-hub")?;
    programs::beside_us("outpost-agent")?;
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| CliError::usage(format!("cannot listen for signals: {error}")))?;
    let place = Place::make(demo.dir.as_deref())?;
    let mut stage = Stage {
        hub: None,
        agent: None,
        dock: None,
        drone: None,
        told: Teller {
            start: Instant::now(),
            console,
        },
    };
    let result = tokio::select! {
        result = stage.play(&place, demo.once) => result,
        _ = tokio::signal::ctrl_c() => Ok(DONE),
        _ = terminated.recv() => Ok(DONE),
    };
    stage.clear().await;
    result
}

/// Writes lines that begin with the seconds since the start.
struct Teller<'a> {
    start: Instant,
    console: &'a mut Console,
}

impl Teller<'_> {
    fn tell(&mut self, text: &str) {
        self.tell_at(Instant::now(), text);
    }

    fn tell_at(&mut self, moment: Instant, text: &str) {
        let seconds = moment.duration_since(self.start).as_secs_f64();
        self.console.line(format!("{seconds:7.3}  {}", printable(text)));
    }
}

struct Stage<'a> {
    hub: Option<Program>,
    agent: Option<Program>,
    dock: Option<Program>,
    drone: Option<Drone>,
    told: Teller<'a>,
}

impl Stage<'_> {
    async fn play(&mut self, place: &Place, once: bool) -> Result<u8, CliError> {
        let url = self.start_hub(place).await?;
        let context = self.init_operator(place, &url).await?;
        self.agent = Some(start_agent(place, &context, ("agent", AGENT), &[])?);
        let caller = context.as_operator()?;
        let colony = context.colony()?;
        let (_, names) = self.runtime_is_ready(&caller, &colony, RUNTIME_TYPE).await?;

        let lamp = self.submit(&caller, &colony, LAMP).await?;
        let mut failed = self.watch(&caller, &names, vec![lamp], PATIENCE).await?;
        let mut examples = Vec::new();
        for example in EXAMPLES {
            examples.push(self.submit(&caller, &colony, example).await?);
        }
        failed |= self.watch(&caller, &names, examples, PATIENCE).await?;
        failed |= self.fly(place, &context).await?;
        if once {
            self.told.tell("done");
        } else {
            self.try_next(place);
            self.go_on().await?;
        }
        Ok(if failed { PROCESS_FAILED } else { DONE })
    }

    /// Ends the programs: first who works, then who is worked for.
    async fn clear(&mut self) {
        for program in [self.dock.take(), self.agent.take(), self.hub.take()]
            .into_iter()
            .flatten()
        {
            program.stop(GRACE).await;
        }
        self.drone = None;
    }

    /// A second agent with a drone, and its flight. Tells whether it failed.
    async fn fly(&mut self, place: &Place, settings: &Settings) -> Result<bool, CliError> {
        let port = place.join("drone");
        self.drone = Some(Drone::start(port.clone())?);
        let environment = [("OUTPOST_AGENT__DEVICES__DOCK__PORT", port.into())];
        self.dock = Some(start_agent(place, settings, ("dock", DOCK), &environment)?);
        let caller = settings.as_operator()?;
        let colony = settings.colony()?;
        let (dock, names) = self.runtime_is_ready(&caller, &colony, DOCK_TYPE).await?;
        let mut spec = read(FLIGHT)?;
        // As `outpost submit --runtime dock-1` does: a drone takes only what names its runtime.
        spec.conditions.runtime_type.clone_from(&dock.runtime_type);
        spec.conditions.runtime_ids = vec![dock.id];
        self.told.tell(&format!(
            "a simulated drone on a pseudo-terminal; its time runs {} times as fast",
            drone::SPEED
        ));
        let flight = self.submit_spec(&caller, &colony, FLIGHT.0, spec).await?;
        self.watch(&caller, &names, vec![flight], FLIGHT_PATIENCE).await
    }

    async fn start_hub(&mut self, place: &Place) -> Result<ServerUrl, CliError> {
        let arguments: [OsString; 6] = [
            "--listen".into(),
            "127.0.0.1:0".into(),
            "--data-dir".into(),
            place.join("hub").into(),
            "--init-colony".into(),
            COLONY.into(),
        ];
        let hub = self.hub.insert(Program::start(
            "outpost-hub",
            &arguments,
            &[],
            place.join("hub.log"),
        )?);
        let url = loop {
            match tokio::time::timeout(PATIENCE, hub.line()).await {
                Ok(Some((_, line))) => {
                    if let Some(url) = line.strip_prefix("listening on ") {
                        break url.to_owned();
                    }
                }
                Ok(None) => return Err(hub.died().await),
                Err(_) => return Err(hub.late("does not serve in time")),
            }
        };
        self.told.tell(&format!("hub listening on {url}"));
        ServerUrl::parse(&url).map_err(|error| CliError::Unfinished(error.to_string()))
    }

    /// What `outpost operator init` does, with the key that the hub made for the colony.
    async fn init_operator(&mut self, place: &Place, url: &ServerUrl) -> Result<Settings, CliError> {
        let keys = place.join("hub").join("keys");
        let global = Global {
            config: Some(place.join("config.toml")),
            server: Some(url.clone()),
            colony_key: Some(keys.join(format!("colony-{COLONY}.key"))),
            server_key: Some(keys.join("server.key")),
            ..Global::default()
        };
        let nothing = |_: &str| None;
        let mut quiet = Console::new(std::io::sink(), std::io::sink());
        let mut context = Context {
            settings: Settings::resolve(&global, &nothing)?,
            json: false,
            user: String::new(),
            console: &mut quiet,
        };
        let command = OperatorCommand::Init {
            name: None,
            runtime_type: DEFAULT_OPERATOR_TYPE.to_owned(),
        };
        commands::operator(command, &mut context).await?;
        file::set(
            &place.join("config.toml"),
            &[("server_key", "hub/keys/server.key")],
        )?;
        self.told.tell("operator added and approved");
        Settings::resolve(&global, &nothing)
    }

    /// Waits until the agent of a type has added and approved itself.
    async fn runtime_is_ready(
        &mut self,
        caller: &Caller,
        colony: &str,
        kind: &str,
    ) -> Result<(Runtime, Names), CliError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let runtimes = caller.get_runtimes(colony).await?.value;
            let ready = runtimes
                .iter()
                .find(|runtime| runtime.runtime_type == kind && runtime.state == RuntimeState::Approved);
            if let Some(runtime) = ready {
                let text = format!("runtime {} of type {kind} added and approved", runtime.name);
                self.told.tell(&text);
                return Ok((runtime.clone(), Names::of(&runtimes)));
            }
            self.pause(deadline, "does not register in time").await?;
        }
    }

    async fn submit(&mut self, caller: &Caller, colony: &str, example: Example) -> Result<Process, CliError> {
        self.submit_spec(caller, colony, example.0, read(example)?).await
    }

    async fn submit_spec(
        &mut self,
        caller: &Caller,
        colony: &str,
        name: &str,
        spec: ProcessSpec,
    ) -> Result<Process, CliError> {
        let spec = commands::prepared(spec, colony);
        self.relay();
        // The agent may be faster than the answer: what it does comes after this moment.
        let moment = Instant::now();
        let process = match submission::submit(caller, spec, &mut |_| ()).await {
            Ok((process, _)) => process,
            Err(error) => return Err(CliError::Unfinished(error.to_string())),
        };
        self.told
            .tell_at(moment, &format!("submitted {}  ({name})", process.id));
        Ok(process)
    }

    /// Shows each change until all have ended. Tells whether one failed.
    async fn watch(
        &mut self,
        caller: &Caller,
        names: &Names,
        mut open: Vec<Process>,
        patience: Duration,
    ) -> Result<bool, CliError> {
        let deadline = Instant::now() + patience;
        let mut failed = false;
        loop {
            let mut still_open = Vec::new();
            for before in open {
                let now = caller.get_process(&before.id).await?.value;
                // Edges came before what the hub just said.
                self.relay();
                if now.state != before.state || now.retries != before.retries {
                    let text = change(&now, names);
                    self.told.tell(&text);
                }
                failed |= now.state == ProcessState::Failed;
                if !now.state.is_final() {
                    still_open.push(now);
                }
            }
            if still_open.is_empty() {
                return Ok(failed);
            }
            open = still_open;
            self.pause(deadline, "does not do the work in time").await?;
        }
    }

    /// Shows the edges that the agent has told meanwhile, and what the drone does.
    fn relay(&mut self) {
        for line in self.drone.as_mut().map(Drone::news).unwrap_or_default() {
            self.told.tell(&line);
        }
        while let Some((moment, line)) = self.agent.as_mut().and_then(Program::line_at_hand) {
            self.show(moment, &line);
        }
    }

    fn show(&mut self, moment: Instant, line: &str) {
        if line.starts_with("edge ") {
            self.told.tell_at(moment, line);
        }
    }

    /// A short pause in which edges are shown as they come.
    async fn pause(&mut self, deadline: Instant, late: &str) -> Result<(), CliError> {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        if Instant::now() > deadline {
            // The dock comes last: once it is there, it is waited for.
            return Err(self.dock.as_ref().unwrap_or(agent).late(late));
        }
        let end = Instant::now() + POLL;
        loop {
            let Some(agent) = &mut self.agent else {
                return Ok(());
            };
            tokio::select! {
                line = agent.line() => match line {
                    Some((moment, line)) => self.show(moment, &line),
                    None => return Err(agent.died().await),
                },
                died = ended(&mut self.dock) => return Err(died),
                () = tokio::time::sleep_until(end) => return Ok(()),
            }
        }
    }

    fn try_next(&mut self, place: &Place) {
        let program =
            std::env::current_exe().map_or_else(|_| "outpost".to_owned(), |path| path.display().to_string());
        let outpost = format!("{program} --config {}", place.join("config.toml").display());
        let lines = [
            String::new(),
            "Hub, agents and drone go on running. In another terminal try:".to_owned(),
            format!("  {outpost} ps"),
            format!("  {outpost} runtime list"),
            format!("  {outpost} run lamp.off --type {RUNTIME_TYPE} --wait"),
            format!("  {outpost} run lamp.pulse 2s --type {RUNTIME_TYPE} --wait"),
            format!("  {outpost} run echo hello --type {RUNTIME_TYPE} --wait"),
            format!(
                "  {outpost} run dock.dispatch 65.6175,22.137,20,10s --runtime dock-1 --exec-time 600 --wait"
            ),
            format!("  {outpost} run dock.status --runtime dock-1 --wait"),
            format!("  {outpost} run dock.abort --runtime dock-1 --wait"),
            "Ctrl-C ends it.".to_owned(),
            String::new(),
        ];
        for line in lines {
            self.told.console.line(line);
        }
    }

    /// Shows edges and flights until a program ends; only a signal ends this well.
    async fn go_on(&mut self) -> Result<(), CliError> {
        let (Some(agent), Some(hub)) = (&mut self.agent, &mut self.hub) else {
            return Ok(());
        };
        loop {
            tokio::select! {
                line = agent.line() => match line {
                    Some((moment, line)) if line.starts_with("edge ") => self.told.tell_at(moment, &line),
                    Some(_) => {}
                    None => return Err(agent.died().await),
                },
                line = hub.line() => if line.is_none() {
                    return Err(hub.died().await);
                },
                died = ended(&mut self.dock) => return Err(died),
                () = tokio::time::sleep(POLL) => {
                    for line in self.drone.as_mut().map(Drone::news).unwrap_or_default() {
                        self.told.tell(&line);
                    }
                }
            }
        }
    }
}

/// Starts an agent of a name with a configuration, which further variables complete.
fn start_agent(
    place: &Place,
    settings: &Settings,
    (name, text): (&str, &str),
    more: &[(&'static str, OsString)],
) -> Result<Program, CliError> {
    let config = place.join(&format!("{name}.toml"));
    std::fs::write(&config, text)
        .map_err(|error| CliError::usage(format!("cannot write {}: {error}", config.display())))?;
    let key = place
        .join("hub")
        .join("keys")
        .join(format!("colony-{COLONY}.key"));
    let mut environment = vec![
        ("OUTPOST_AGENT__SERVER__URL", settings.server.as_str().into()),
        ("OUTPOST_AGENT__COLONY__ID", settings.colony()?.into()),
        ("OUTPOST_AGENT__COLONY__KEY_FILE", key.into()),
        ("OUTPOST_AGENT__AGENT__STATE_DIR", place.join(name).into()),
    ];
    environment.extend_from_slice(more);
    let arguments = ["--config".into(), config.into()];
    let log = place.join(&format!("{name}.log"));
    Program::start("outpost-agent", &arguments, &environment, log)
}

fn read((name, text): Example) -> Result<ProcessSpec, CliError> {
    Dialect::Runtime
        .read_spec(text.as_bytes())
        .map_err(|error| CliError::usage(format!("{name}: {error}")))
}

/// Waits until a program that is there ends, which it should not.
async fn ended(program: &mut Option<Program>) -> CliError {
    let Some(program) = program else {
        return std::future::pending().await;
    };
    while program.line().await.is_some() {}
    program.died().await
}

/// One change in words: `running 1f1f1f1f1f1f on lamp-1`, `successful 1f1f1f1f1f1f  state = on`.
fn change(process: &Process, names: &Names) -> String {
    let mut text = format!("{} {}", show::state(process.state), process.id);
    match process.state {
        ProcessState::Running => {
            text.push_str("  on ");
            text.push_str(names.name(&process.assigned_runtime_id));
        }
        ProcessState::Failed => {
            text.push_str("  ");
            text.push_str(&process.error_message);
        }
        _ => {}
    }
    let results: Vec<String> = process
        .attributes
        .iter()
        .filter(|attribute| attribute.kind == AttributeKind::Out && !attribute.key.starts_with("progress."))
        .map(|attribute| format!("{} = {}", attribute.key, cut(attribute.value.trim_end())))
        .collect();
    if !results.is_empty() {
        text.push_str("  ");
        text.push_str(&results.join(", "));
    }
    text
}

/// A result that fits on a line.
fn cut(value: &str) -> String {
    match value.char_indices().nth(LONGEST_RESULT) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
