//! Processes and runtimes as people see them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::args::State;
use crate::console::table::{list, table};
use crate::protocol::Time;
use crate::protocol::model::{AttributeKind, Process, ProcessState, Runtime, RuntimeState, UNLIMITED};

/// As many digits of an id as tables show; enough to name it on the command line.
pub const SHORT: usize = 12;

/// The beginning of an id.
pub fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// The name of a state.
pub fn state(state: ProcessState) -> String {
    let name = State::ALL.into_iter().find(|known| known.protocol() == state);
    match name {
        Some(State::Waiting) => "waiting".to_owned(),
        Some(State::Running) => "running".to_owned(),
        Some(State::Successful) => "successful".to_owned(),
        Some(State::Failed) => "failed".to_owned(),
        None => format!("{state:?}").to_lowercase(),
    }
}

/// The name of a runtime's state.
pub fn runtime_state(state: RuntimeState) -> String {
    format!("{state:?}").to_lowercase()
}

/// `2022-08-04 02:08:31`, in UTC; `-` for never.
pub fn moment(time: Time) -> String {
    if time.is_never() {
        return "-".to_owned();
    }
    let text = time.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    seconds.replacen('T', " ", 1)
}

/// The runtimes' names by their ids.
#[derive(Debug, Clone, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    /// Of these runtimes.
    pub fn of(runtimes: &[Runtime]) -> Self {
        Names(
            runtimes
                .iter()
                .filter(|runtime| !runtime.name.is_empty())
                .map(|runtime| (runtime.id.clone(), runtime.name.clone()))
                .collect(),
        )
    }

    /// The name of a runtime, or the beginning of its id.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or_else(|| short(id), String::as_str)
    }
}

/// What is called: the function and its arguments.
fn call(process: &Process) -> String {
    let mut words = vec![process.spec.func.as_str()];
    words.extend(process.spec.args.iter().flatten().map(String::as_str));
    words.join(" ")
}

/// Processes as a table.
pub fn processes(processes: &[Process], names: &Names) -> String {
    let rows: Vec<[String; 6]> = processes
        .iter()
        .map(|process| {
            [
                short(&process.id).to_owned(),
                state(process.state),
                call(process),
                if process.is_assigned {
                    names.name(&process.assigned_runtime_id).to_owned()
                } else {
                    format!("({})", process.spec.conditions.runtime_type)
                },
                moment(process.submission_time),
                process.error_message.clone(),
            ]
        })
        .collect();
    table(
        ["PROCESS", "STATE", "CALL", "RUNTIME", "SUBMITTED (UTC)", "ERROR"],
        &rows,
    )
}

/// Runtimes as a table.
pub fn runtimes(runtimes: &[Runtime]) -> String {
    let mut sorted: Vec<&Runtime> = runtimes.iter().collect();
    sorted.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let rows: Vec<[String; 5]> = sorted
        .into_iter()
        .map(|runtime| {
            [
                runtime.name.clone(),
                runtime.runtime_type.clone(),
                runtime_state(runtime.state),
                moment(runtime.last_heard_from),
                runtime.id.clone(),
            ]
        })
        .collect();
    table(["NAME", "TYPE", "STATE", "LAST HEARD FROM (UTC)", "ID"], &rows)
}

/// So many letters of an attribute's value are shown among others.
const EXCERPT: usize = 500;

/// A value that is short enough to be shown among others, or its beginning and the command that shows all.
fn excerpt(value: &str, all: impl FnOnce() -> String) -> Cow<'_, str> {
    match value.char_indices().nth(EXCERPT) {
        None => value.into(),
        Some((end, _)) => {
            let beginning = &value[..end];
            format!("{beginning}… ({} bytes; all of it: {})", value.len(), all()).into()
        }
    }
}

/// One process with all that is worth knowing.
pub fn process(process: &Process, names: &Names) -> String {
    let mut rows = vec![
        ("process", process.id.clone()),
        ("state", state(process.state)),
        ("call", call(process)),
        ("type", process.spec.conditions.runtime_type.clone()),
    ];
    if !process.spec.name.is_empty() {
        rows.push(("name", process.spec.name.clone()));
    }
    if process.is_assigned {
        let id = &process.assigned_runtime_id;
        rows.push(("runtime", format!("{} ({})", names.name(id), short(id))));
    } else if !process.spec.conditions.runtime_ids.is_empty() {
        let only: Vec<&str> = process
            .spec
            .conditions
            .runtime_ids
            .iter()
            .map(|id| names.name(id))
            .collect();
        rows.push(("only", only.join(", ")));
    }
    rows.push(("submitted", format!("{} UTC", moment(process.submission_time))));
    for (name, time) in [("started", process.start_time), ("ended", process.end_time)] {
        if !time.is_never() {
            rows.push((name, format!("{} UTC", moment(time))));
        }
    }
    if let (true, Some(took)) = (
        process.state.is_final(),
        process.end_time.since(process.start_time),
    ) && !process.start_time.is_never()
    {
        rows.push(("took", format!("{:.3} s", took.as_secs_f64())));
    }
    let limit = |seconds: i64| match seconds {
        UNLIMITED => "no limit".to_owned(),
        seconds => format!("{seconds} s"),
    };
    rows.push((
        "limits",
        format!(
            "wait {}, execution {}, {} of {} retries",
            limit(process.spec.max_wait_time),
            limit(process.spec.max_exec_time),
            process.retries,
            if process.spec.max_retries < 0 {
                "unlimited".to_owned()
            } else {
                process.spec.max_retries.to_string()
            }
        ),
    ));
    if !process.error_message.is_empty() {
        rows.push(("error", process.error_message.clone()));
    }
    let mut attributes: Vec<_> = process.attributes.iter().collect();
    attributes.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    rows.extend(attributes.into_iter().map(|attribute| {
        let name = match attribute.kind {
            AttributeKind::In => "in",
            AttributeKind::Out => "out",
            AttributeKind::Err => "err",
            AttributeKind::Env => "env",
            AttributeKind::Other(_) => "attribute",
        };
        let value = excerpt(&attribute.value, || {
            format!("outpost get {} --attribute {}", short(&process.id), attribute.key)
        });
        (name, format!("{} = {value}", attribute.key))
    }));
    list(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::model::{Attribute, Conditions, ProcessSpec};

    #[test]
    fn a_process_is_shown_with_its_results() {
        let at = |text| Time::parse(text).unwrap();
        let id = "1f".repeat(32);
        let runtime = Runtime {
            id: "ab".repeat(32),
            name: "lamp-1".into(),
            ..Runtime::default()
        };
        let shown = Process {
            id: id.clone(),
            assigned_runtime_id: runtime.id.clone(),
            is_assigned: true,
            state: ProcessState::Successful,
            submission_time: at("2022-08-04T02:08:31.153792Z"),
            start_time: at("2022-08-04T02:08:32Z"),
            end_time: at("2022-08-04T02:08:32.25Z"),
            attributes: vec![Attribute {
                kind: AttributeKind::Out,
                key: "state".into(),
                value: "on".into(),
                ..Attribute::default()
            }],
            spec: ProcessSpec {
                func: "lamp.on".into(),
                args: Some(vec!["now".into()]),
                max_exec_time: 10,
                max_wait_time: -1,
                conditions: Conditions {
                    runtime_type: "cli".into(),
                    ..Conditions::default()
                },
                ..ProcessSpec::default()
            },
            ..Process::default()
        };
        let names = Names::of(&[runtime]);
        let text = process(&shown, &names);
        assert_eq!(
            text,
            format!(
                "process    {id}\nstate      successful\ncall       lamp.on now\ntype       cli\nruntime    lamp-1 (abababababab)\n\
                 submitted  2022-08-04 02:08:31 UTC\nstarted    2022-08-04 02:08:32 UTC\nended      2022-08-04 02:08:32 UTC\n\
                 took       0.250 s\nlimits     wait no limit, execution 10 s, 0 of 0 retries\nout        state = on"
            )
        );
        let row = processes(&[shown], &names);
        assert!(
            row.lines()
                .nth(1)
                .unwrap()
                .starts_with("1f1f1f1f1f1f  successful  lamp.on now  lamp-1"),
            "{row}"
        );
    }

    #[test]
    fn a_long_value_is_cut_and_the_way_to_all_of_it_is_told() {
        let all = || "outpost get 1f --attribute track".to_owned();
        let fits = "å".repeat(EXCERPT);
        assert_eq!(excerpt(&fits, all), fits);
        let long = format!("{fits}xyz");
        assert_eq!(
            excerpt(&long, all),
            format!("{fits}… (1003 bytes; all of it: outpost get 1f --attribute track)")
        );
    }

    #[test]
    fn times_are_short_and_never_is_a_dash() {
        assert_eq!(moment(Time::NEVER), "-");
        assert_eq!(
            moment(Time::parse("2022-08-04T02:08:31.5Z").unwrap()),
            "2022-08-04 02:08:31"
        );
        assert_eq!(short("abc"), "abc");
    }
}
