//! `outpost submit`, `run`, `get` and `ps`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::Context;
use super::runtime::{candidates, named};
use crate::cli::args::{CONTROL_WAIT_TIME, DEFAULT_WAIT_TIME, Get, Ps, Run, State, Submit, Waiting};
use crate::cli::environment::Variable;
use crate::cli::error::{CliError, DONE, PROCESS_FAILED};
use crate::cli::show::{self, Names, short};
use crate::cli::submission::{self, How, SubmitError};
use crate::cli::watch;
use crate::client::Caller;
use crate::console::printable;
use crate::protocol::Answer;
use crate::protocol::control;
use crate::protocol::dialect::Dialect;
use crate::protocol::identity::ID_LENGTH;
use crate::protocol::model::{
    AttributeKind, Conditions, Process, ProcessSpec, ProcessState, Runtime, RuntimeState, UNLIMITED,
};
use crate::protocol::request::MAX_COUNT;

/// No spec is larger; a file that is comes from a wrong name on the command line.
const LARGEST_SPEC: u64 = 16 * 1024 * 1024;

/// `outpost submit`
pub async fn submit(submit: Submit, context: &mut Context<'_>) -> Result<u8, CliError> {
    let (spec, strangers) = read_spec(&submit.file)?;
    for stranger in strangers {
        context.console.note(format!(
            "nobody reads the member {} of the process spec; is it misspelt?",
            printable(&stranger)
        ));
    }
    let caller = context.settings.as_operator()?;
    let colony = context.settings.colony()?;
    let mut spec = prepared(spec, &colony);
    spec.env.extend(environment(submit.env)?);
    let runtimes = if submit.runtime.is_empty() {
        Vec::new()
    } else {
        caller.get_runtimes(&spec.conditions.colony_id).await?.value
    };
    for word in &submit.runtime {
        let [runtime] = approved(word, &runtimes)?[..] else {
            return Err(ambiguous(word, &runtimes, "name one by its id"));
        };
        if spec.conditions.runtime_type.is_empty() {
            spec.conditions.runtime_type.clone_from(&runtime.runtime_type);
        }
        // The server gives work only to runtimes of the spec's type, whoever is named (RD 5.3).
        if spec.conditions.runtime_type != runtime.runtime_type {
            return Err(CliError::usage(format!(
                "{word} is of type {:?}, but the spec is for {:?}, so it would never be executed; change its runtimetype",
                runtime.runtime_type, spec.conditions.runtime_type
            )));
        }
        if !spec.conditions.runtime_ids.contains(&runtime.id) {
            spec.conditions.runtime_ids.push(runtime.id.clone());
        }
    }
    if spec.conditions.runtime_type.is_empty() {
        context.console.note(
            "the process spec names no runtimetype: no runtime will be given it unless there is one without a type",
        );
    }
    let submitted = send(&caller, spec, context).await?;
    conclude(&caller, Shown::One(Box::new(submitted)), submit.waiting, context).await
}

/// `outpost run`
pub async fn run(run: Run, context: &mut Context<'_>) -> Result<u8, CliError> {
    let caller = context.settings.as_operator()?;
    let colony = context.settings.colony()?;
    let for_control = control::is_for_control(&run.func);
    let mut spec = ProcessSpec {
        func: run.func,
        args: Some(run.args),
        max_wait_time: run.wait_time.unwrap_or(DEFAULT_WAIT_TIME),
        max_exec_time: run.exec_time,
        max_retries: run.retries,
        conditions: Conditions {
            colony_id: colony.clone(),
            runtime_type: run.runtime_type.unwrap_or_default(),
            ..Conditions::default()
        },
        env: environment(run.env)?,
        ..ProcessSpec::default()
    };
    let runtimes = if run.runtime.is_some() || for_control {
        caller.get_runtimes(&colony).await?.value
    } else {
        Vec::new()
    };
    let wait_time = run.wait_time.unwrap_or(CONTROL_WAIT_TIME);
    if for_control && run.runtime.is_none() {
        let kind = control::control_of(&spec.conditions.runtime_type);
        let works = |runtime: &Runtime| runtime.state == RuntimeState::Approved;
        if runtimes
            .iter()
            .any(|runtime| works(runtime) && runtime.runtime_type == kind)
        {
            spec.conditions.runtime_type = kind;
            spec.max_wait_time = wait_time;
        }
    }
    if retries_come_too_late(&spec) {
        context.console.note(format!(
            "there will be no second try: it may wait only within the first {} s (--wait-time), and an execution may last {}",
            spec.max_wait_time,
            match spec.max_exec_time {
                UNLIMITED => "for ever".to_owned(),
                seconds => format!("{seconds} s (--exec-time)"),
            }
        ));
    }
    let mut specs = Vec::new();
    match run.runtime {
        None => specs.push(spec),
        Some(word) => {
            let found = approved(&word, &runtimes)?;
            if found.len() > 1 && !run.all {
                return Err(ambiguous(
                    &word,
                    &runtimes,
                    "name one by its id, or call all of them with --all",
                ));
            }
            for runtime in found {
                let mut spec = spec.clone();
                let control = control::control_lane(runtime, &runtimes)
                    .filter(|control| for_control && control.state == RuntimeState::Approved);
                let runtime = control.unwrap_or(runtime);
                if control.is_some() {
                    spec.max_wait_time = wait_time;
                }
                spec.conditions.runtime_type.clone_from(&runtime.runtime_type);
                spec.conditions.runtime_ids = vec![runtime.id.clone()];
                specs.push(spec);
            }
        }
    }
    let mut submitted = Vec::new();
    for spec in specs {
        match send(&caller, spec, context).await {
            Ok(process) => submitted.push(process),
            Err(error) => {
                for process in &submitted {
                    context.console.note(format!("submitted before: {}", process.id));
                }
                return Err(error);
            }
        }
    }
    let submitted = match (run.all, submitted.pop()) {
        (false, Some(one)) => Shown::One(Box::new(one)),
        (_, last) => Shown::List(submitted.into_iter().chain(last).collect()),
    };
    conclude(&caller, submitted, run.waiting, context).await
}

/// The time to wait counts from the submission and is never renewed: what goes back to the queue after it fails at once
/// (RD 5.5).
fn retries_come_too_late(spec: &ProcessSpec) -> bool {
    spec.max_retries != 0
        && spec.max_wait_time > 0
        && (spec.max_exec_time <= 0 || spec.max_exec_time >= spec.max_wait_time)
}

/// `outpost get`
pub async fn get(get: Get, context: &mut Context<'_>) -> Result<u8, CliError> {
    let caller = context.settings.as_operator()?;
    let id = if get.id.len() == ID_LENGTH {
        get.id
    } else {
        let colony = context.settings.colony()?;
        whole_id(&caller, &colony, &get.id).await?
    };
    if get.watch {
        let waiting = Waiting {
            wait: true,
            timeout: get.timeout,
        };
        let process = Process {
            id,
            ..Process::default()
        };
        return conclude(&caller, Shown::One(Box::new(process)), waiting, context).await;
    }
    let process = caller.get_process(&id).await?.value;
    if let Some(name) = get.attribute {
        let value = attribute(&process, &name)?;
        if context.json {
            context.console.line(serde_json::Value::from(value));
        } else {
            context.console.bytes(value.as_bytes());
        }
        return Ok(DONE);
    }
    let names = names(&caller, context).await;
    let text = show::process(&process, &names);
    context.answer(&Answer::Process(Box::new(process)), || text);
    Ok(DONE)
}

/// The value of a process's attribute of that name; what the function told counts before what it was given.
fn attribute<'a>(process: &'a Process, name: &str) -> Result<&'a str, CliError> {
    let named = || {
        process
            .attributes
            .iter()
            .filter(|attribute| attribute.key == name)
    };
    let told = named().find(|attribute| attribute.kind == AttributeKind::Out);
    let found = told.or_else(|| named().next());
    found.map(|attribute| attribute.value.as_str()).ok_or_else(|| {
        let names: BTreeSet<&str> = process
            .attributes
            .iter()
            .map(|attribute| attribute.key.as_str())
            .collect();
        CliError::usage(match names.is_empty() {
            true => format!(
                "the process has no attributes (it is {})",
                show::state(process.state)
            ),
            false => format!(
                "the process has no attribute {name:?}; it has: {}",
                names.into_iter().map(printable).collect::<Vec<_>>().join(", ")
            ),
        })
    })
}

/// `outpost ps`
pub async fn ps(ps: Ps, context: &mut Context<'_>) -> Result<u8, CliError> {
    let caller = context.settings.as_owner_or_operator()?;
    let colony = context.settings.colony()?;
    let states = match &ps.state {
        Some(state) => std::slice::from_ref(state),
        None => &State::ALL[..],
    };
    let mut processes = Vec::new();
    for state in states {
        processes.extend(
            caller
                .get_processes(&colony, ps.count, state.protocol())
                .await?
                .value,
        );
    }
    let names = names(&caller, context).await;
    let text = show::processes(&processes, &names);
    context.answer(&Answer::Processes(processes), || text);
    Ok(DONE)
}

/// Names and values; files are read.
fn environment(variables: Vec<Variable>) -> Result<BTreeMap<String, String>, CliError> {
    variables.into_iter().map(Variable::read).collect()
}

/// Reads a spec from a file, or from standard input for `-`; and what in it nobody will read.
fn read_spec(path: &Path) -> Result<(ProcessSpec, Vec<String>), CliError> {
    let wrong = |error: std::io::Error| {
        CliError::usage(format!(
            "cannot read the process spec {}: {error}",
            path.display()
        ))
    };
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin()
            .take(LARGEST_SPEC)
            .read_to_end(&mut text)
            .map_err(wrong)?;
    } else {
        let file = std::fs::File::open(path).map_err(wrong)?;
        file.take(LARGEST_SPEC).read_to_end(&mut text).map_err(wrong)?;
    }
    let spec = Dialect::Runtime
        .read_spec(&text)
        .map_err(|error| CliError::usage(format!("{} is no process spec: {error}", path.display())))?;
    if spec.func.is_empty() {
        return Err(CliError::usage(format!(
            "{} names no function; write {{\"func\": \"lamp.on\", \"conditions\": {{\"runtimetype\": \"cli\"}}}}",
            path.display()
        )));
    }
    Ok((spec, Dialect::Runtime.strangers_in_spec(&text)))
}

/// What the original command line does to a spec file: the colony is filled in, and no limit is written as the servers
/// understand it. Absent or 0, an execution would be killed within a second by an original server (RD 5.5).
pub fn prepared(mut spec: ProcessSpec, colony: &str) -> ProcessSpec {
    if spec.conditions.colony_id.is_empty() {
        colony.clone_into(&mut spec.conditions.colony_id);
    }
    for time in [&mut spec.max_wait_time, &mut spec.max_exec_time] {
        if *time == 0 {
            *time = UNLIMITED;
        }
    }
    spec
}

/// The approved runtimes that a word names; at least one.
fn approved<'a>(word: &str, runtimes: &'a [Runtime]) -> Result<Vec<&'a Runtime>, CliError> {
    let found = named(word, runtimes);
    let working: Vec<&Runtime> = found
        .iter()
        .copied()
        .filter(|runtime| runtime.state == RuntimeState::Approved)
        .collect();
    match (working.is_empty(), found.first()) {
        (false, _) => Ok(working),
        (true, Some(other)) => Err(CliError::usage(format!(
            "{word} is {}; the colony's owner can change that with outpost runtime approve {}",
            show::runtime_state(other.state),
            short(&other.id)
        ))),
        (true, None) => Err(CliError::usage(format!(
            "no runtime is called {word:?} or has an id that begins so; outpost runtime list shows all"
        ))),
    }
}

fn ambiguous(word: &str, runtimes: &[Runtime], remedy: &str) -> CliError {
    let working: Vec<&Runtime> = named(word, runtimes)
        .into_iter()
        .filter(|runtime| runtime.state == RuntimeState::Approved)
        .collect();
    CliError::usage(format!(
        "{word:?} is ambiguous: {}; {remedy}",
        candidates(&working)
    ))
}

/// Submits, and says so.
async fn send(caller: &Caller, spec: ProcessSpec, context: &mut Context<'_>) -> Result<Process, CliError> {
    let console = &mut *context.console;
    let result = submission::submit(caller, spec, &mut |text| console.note(text)).await;
    match result {
        Ok((process, how)) => {
            if how == How::Found {
                context.console.note("it is there");
            }
            Ok(process)
        }
        Err(SubmitError::NotSubmitted(error)) => Err(error.into()),
        Err(error) => Err(CliError::Unfinished(error.to_string())),
    }
}

/// For machines one process is an object. What may be several is one list, however many there are.
enum Shown {
    One(Box<Process>),
    List(Vec<Process>),
}

impl Shown {
    fn processes(&mut self) -> &mut [Process] {
        match self {
            Shown::One(process) => std::slice::from_mut(process.as_mut()),
            Shown::List(processes) => processes,
        }
    }

    fn show(mut self, context: &mut Context<'_>, people: impl Fn(&Process) -> String) {
        let lines: Vec<String> = self.processes().iter().map(people).collect();
        let answer = match self {
            Shown::One(process) => Answer::Process(process),
            Shown::List(processes) => Answer::Processes(processes),
        };
        context.answer(&answer, || lines.join("\n"));
    }
}

/// Shows what was submitted, or waits for the end of all of it and shows that. The worst end decides the exit code.
async fn conclude(
    caller: &Caller,
    mut submitted: Shown,
    waiting: Waiting,
    context: &mut Context<'_>,
) -> Result<u8, CliError> {
    if !waiting.wait {
        submitted.show(context, |process| process.id.clone());
        return Ok(DONE);
    }
    let names = names(caller, context).await;
    let timeout = waiting.timeout.map(Duration::from_secs);
    let mut code = Ok(DONE);
    for process in submitted.processes() {
        context.console.note(format!("process {}", process.id));
        match watch::until_the_end(caller, &process.id, timeout, &names, context.console).await {
            Ok(end) => *process = end,
            Err(error) => {
                code = Err(error);
                break;
            }
        }
        if process.state == ProcessState::Failed {
            code = Ok(PROCESS_FAILED);
        }
    }
    // Of several, those that ended are worth knowing also if the wait for another was in vain.
    if code.is_ok() || matches!(submitted, Shown::List(_)) {
        submitted.show(context, |process| show::process(process, &names));
    }
    code
}

/// The runtimes' names; without them ids do.
async fn names(caller: &Caller, context: &Context<'_>) -> Names {
    if context.json {
        return Names::default();
    }
    let Ok(colony) = context.settings.colony() else {
        return Names::default();
    };
    match caller.get_runtimes(&colony).await {
        Ok(runtimes) => Names::of(&runtimes.value),
        Err(error) => {
            tracing::debug!(%error, "no names");
            Names::default()
        }
    }
}

/// The id of the one recent process whose id begins so.
async fn whole_id(caller: &Caller, colony: &str, beginning: &str) -> Result<String, CliError> {
    let mut found = Vec::new();
    for state in State::ALL {
        let list = caller.get_processes(colony, MAX_COUNT, state.protocol()).await?;
        found.extend(
            list.value
                .into_iter()
                .map(|process| process.id)
                .filter(|id| id.starts_with(beginning)),
        );
    }
    // A process may have moved on between two lists.
    found.sort();
    found.dedup();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(CliError::usage(format!(
            "no recent process has an id that begins with {beginning:?}; outpost ps lists some, or give the whole id"
        ))),
        several => Err(CliError::usage(format!(
            "{} recent processes have ids that begin with {beginning:?}; give more of it",
            several.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_file_is_prepared_as_the_original_does() {
        let read = |text: &str| prepared(Dialect::Runtime.read_spec(text.as_bytes()).unwrap(), "C");
        let spec = read(r#"{"conditions":{"runtimetype":"cli"},"func":"sleep","args":["3"]}"#);
        assert_eq!(
            (spec.max_wait_time, spec.max_exec_time, spec.max_retries),
            (-1, -1, 0)
        );
        assert_eq!(spec.conditions.colony_id, "C");
        let spec = read(
            r#"{"conditions":{"colonyid":"D"},"func":"f","maxwaittime":10,"maxexectime":5,"maxretries":3}"#,
        );
        assert_eq!(
            (spec.max_wait_time, spec.max_exec_time, spec.max_retries),
            (10, 5, 3)
        );
        assert_eq!(spec.conditions.colony_id, "D");
    }

    #[test]
    fn retries_that_can_not_happen_are_noticed() {
        let late = |max_wait_time, max_exec_time, max_retries| {
            retries_come_too_late(&ProcessSpec {
                max_wait_time,
                max_exec_time,
                max_retries,
                ..ProcessSpec::default()
            })
        };
        assert!(late(30, 60, 3) && late(30, 30, -1) && late(30, UNLIMITED, 1));
        assert!(!late(30, 29, 3) && !late(30, 60, 0) && !late(UNLIMITED, 60, 3));
    }

    #[test]
    fn only_approved_runtimes_are_given_work() {
        let runtime = |id: &str, state| Runtime {
            id: id.to_owned(),
            name: "lamp".to_owned(),
            state,
            ..Runtime::default()
        };
        let all = [
            runtime("aaaa1", RuntimeState::Pending),
            runtime("aaaa2", RuntimeState::Approved),
        ];
        assert_eq!(approved("lamp", &all).unwrap(), [&all[1]]);
        let error = approved("lamp", &all[..1]).unwrap_err().to_string();
        assert!(
            error.contains("lamp is pending") && error.contains("approve aaaa1"),
            "{error}"
        );
        assert!(
            approved("dock", &all)
                .unwrap_err()
                .to_string()
                .contains("runtime list")
        );
        let both = [
            runtime("aaaa1", RuntimeState::Approved),
            runtime("aaaa2", RuntimeState::Approved),
        ];
        assert_eq!(approved("lamp", &both).unwrap().len(), 2);
        let error = ambiguous("lamp", &both, "name one").to_string();
        assert!(error.contains("aaaa1") && error.contains("aaaa2"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_spec_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.json");
        for text in ["", "null", "[]", "{\"func\":7}", "{}", "{\"func\":\"\"}"] {
            std::fs::write(&file, text).unwrap();
            let error = read_spec(&file).unwrap_err();
            assert!(error.to_string().contains("x.json"), "{text}: {error}");
            assert_eq!(error.code(), 2);
        }
        assert!(
            read_spec(Path::new("/nowhere.json"))
                .unwrap_err()
                .to_string()
                .contains("/nowhere.json")
        );
    }

    #[test]
    fn every_example_is_a_spec_with_a_function() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/processes");
        let mut count = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let (spec, strangers) = read_spec(&path).unwrap();
            assert!(strangers.is_empty(), "{}: {strangers:?}", path.display());
            // A drone is sent by who names it: --runtime fills in the rest.
            let kind = if spec.func == "dock.dispatch" { "" } else { "cli" };
            assert_eq!(spec.conditions.runtime_type, kind, "{}", path.display());
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }
}
