//! `outpost demo`: a hub and an agent as they really are, a simulated lamp, and specs that turn it on.

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
use crate::protocol::model::{AttributeKind, Process, ProcessState, RuntimeState};
use programs::{Place, Program};

/// The agent's configuration, as it lies in `configs/`.
const AGENT: &str = include_str!("../../../configs/agent-simulated.toml");

/// What is submitted: the lamp, then the three examples that must run as they stand.
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

type Example = (&'static str, &'static str);

/// The colony's name.
const COLONY: &str = "demo";
/// The type of the agent's runtime, which the examples name.
const RUNTIME_TYPE: &str = "cli";
/// How long anything may take before the demo says that something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);
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
    told: Teller<'a>,
}

impl Stage<'_> {
    async fn play(&mut self, place: &Place, once: bool) -> Result<u8, CliError> {
        let url = self.start_hub(place).await?;
        let context = self.init_operator(place, &url).await?;
        self.start_agent(place, &context).await?;
        let caller = context.as_operator()?;
        let colony = context.colony()?;
        let names = self.runtime_is_ready(&caller, &colony).await?;

        let lamp = self.submit(&caller, &colony, LAMP).await?;
        let mut failed = self.watch(&caller, &names, vec![lamp]).await?;
        let mut examples = Vec::new();
        for example in EXAMPLES {
            examples.push(self.submit(&caller, &colony, example).await?);
        }
        failed |= self.watch(&caller, &names, examples).await?;
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
        for program in [self.agent.take(), self.hub.take()].into_iter().flatten() {
            program.stop(GRACE).await;
        }
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

    async fn start_agent(&mut self, place: &Place, settings: &Settings) -> Result<(), CliError> {
        let config = place.join("agent.toml");
        std::fs::write(&config, AGENT)
            .map_err(|error| CliError::usage(format!("cannot write {}: {error}", config.display())))?;
        let key = place
            .join("hub")
            .join("keys")
            .join(format!("colony-{COLONY}.key"));
        let environment = [
            ("OUTPOST_AGENT__SERVER__URL", settings.server.as_str().into()),
            ("OUTPOST_AGENT__COLONY__ID", settings.colony()?.into()),
            ("OUTPOST_AGENT__COLONY__KEY_FILE", key.into()),
            ("OUTPOST_AGENT__AGENT__STATE_DIR", place.join("agent").into()),
        ];
        let arguments = ["--config".into(), config.into()];
        let agent = Program::start("outpost-agent", &arguments, &environment, place.join("agent.log"))?;
        self.agent = Some(agent);
        Ok(())
    }

    /// Waits until the agent has added and approved itself.
    async fn runtime_is_ready(&mut self, caller: &Caller, colony: &str) -> Result<Names, CliError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let runtimes = caller.get_runtimes(colony).await?.value;
            let ready = runtimes.iter().find(|runtime| {
                runtime.runtime_type == RUNTIME_TYPE && runtime.state == RuntimeState::Approved
            });
            if let Some(runtime) = ready {
                let text = format!(
                    "runtime {} of type {RUNTIME_TYPE} added and approved",
                    runtime.name
                );
                self.told.tell(&text);
                return Ok(Names::of(&runtimes));
            }
            self.pause(deadline, "does not register in time").await?;
        }
    }

    async fn submit(&mut self, caller: &Caller, colony: &str, example: Example) -> Result<Process, CliError> {
        let (name, text) = example;
        let spec = Dialect::Runtime
            .read_spec(text.as_bytes())
            .map_err(|error| CliError::usage(format!("{name}: {error}")))?;
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
    ) -> Result<bool, CliError> {
        let deadline = Instant::now() + PATIENCE;
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

    /// Shows the edges that the agent has told meanwhile.
    fn relay(&mut self) {
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
            return Err(agent.late(late));
        }
        let end = Instant::now() + POLL;
        loop {
            let Some(agent) = &mut self.agent else {
                return Ok(());
            };
            match tokio::time::timeout_at(end, agent.line()).await {
                Ok(Some((moment, line))) => self.show(moment, &line),
                Ok(None) => return Err(agent.died().await),
                Err(_) => return Ok(()),
            }
        }
    }

    fn try_next(&mut self, place: &Place) {
        let program =
            std::env::current_exe().map_or_else(|_| "outpost".to_owned(), |path| path.display().to_string());
        let outpost = format!("{program} --config {}", place.join("config.toml").display());
        let lines = [
            String::new(),
            "Hub and agent go on running. In another terminal try:".to_owned(),
            format!("  {outpost} ps"),
            format!("  {outpost} runtime list"),
            format!("  {outpost} run lamp.off --type {RUNTIME_TYPE} --wait"),
            format!("  {outpost} run lamp.pulse 2s --type {RUNTIME_TYPE} --wait"),
            format!("  {outpost} run echo hello --type {RUNTIME_TYPE} --wait"),
            "Ctrl-C ends it.".to_owned(),
            String::new(),
        ];
        for line in lines {
            self.told.console.line(line);
        }
    }

    /// Shows edges until a program ends; only a signal ends this well.
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
            }
        }
    }
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
        .filter(|attribute| attribute.kind == AttributeKind::Out)
        .map(|attribute| format!("{} = {}", attribute.key, attribute.value.trim_end()))
        .collect();
    if !results.is_empty() {
        text.push_str("  ");
        text.push_str(&results.join(", "));
    }
    text
}
