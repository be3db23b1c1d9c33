//! `kind = "shell-worker"`: runs whatever program a process names, as the original command line worker does
//! (docs/protocol/runtime-dialect.md, section 6).
//!
//! **Whoever may submit to the colony may run everything that the agent's user may, and read the agent's key.**
//! It is there for colonies that rely on the original worker; [`super::CommandDevice`] is the safe way.
//!
//! **What the agent's registry does with it.** This device has one verb, [`ShellWorker::VERB`], and answers for
//! every function that nothing else is configured for ([`super::super::DeviceSettings::catch_all`]):
//! [`ShellWorker::call`] makes the call out of the process's `func`, its arguments and *all* its attributes,
//! whatever their type. The verb may be begun again for the same process
//! ([`super::super::DeviceSettings::repeats`]). A failure's text is `Process failed`; the attribute `output`
//! is there in every case ([`super::super::VerbError::attributes`]).
//!
//! What differs from the original: no private key is passed on; a program is ended at its lease's end and at
//! `max_time`; the output has a cap; what it leaves behind in its process group ends with it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::super::{Call, Context, Device, DeviceError, Effect, Outcome, Urgency, Verb, VerbError};
use super::environment::{FALLBACK_PATH, original};
use super::program::End;
use super::settings::ShellWorkerSettings;
use super::start::{Launch, arguments, is_executable};
use super::{CommandError, Runner};
use crate::clock::SharedClock;

/// Runs what it is told to.
pub struct ShellWorker {
    settings: ShellWorkerSettings,
    verbs: [Verb; 1],
    runner: Runner,
}

impl ShellWorker {
    /// Its one verb: the first argument is the program, the others are the program's.
    pub const VERB: &'static str = "run";
    /// What its owner is to know, and what would be better.
    pub const WARNING: &'static str = "shell-worker: whoever may submit to the colony can run any program as this agent's user, and read \
        its key; kind = \"command\" runs configured programs only";

    /// A worker of that name. Says in the log what it opens.
    pub fn open(name: &str, settings: &ShellWorkerSettings, clock: SharedClock) -> Self {
        tracing::warn!(device = name, "{}", ShellWorker::WARNING);
        let verb = Verb {
            name: ShellWorker::VERB.into(),
            usage: "<program> [args…]".into(),
            help: "Runs any program, as the original worker does. Dangerous.".into(),
            effect: Effect::Once,
            urgency: Urgency::Work,
            max_time: settings.max_time,
        };
        ShellWorker {
            verbs: [verb],
            runner: Runner::new(name, clock, settings.bounds.stop_grace),
            settings: settings.clone(),
        }
    }

    /// The call for a process whose function nothing else is configured for. `attributes`: all of the
    /// process's, whatever their type, and its environment.
    pub fn call(func: &str, args: &[String], attributes: BTreeMap<String, String>) -> Call {
        let mut call = Call::new(ShellWorker::VERB).arg(func);
        call.args.extend_from_slice(args);
        call.env = attributes;
        call
    }

    fn failed(&self, reason: &str, output: String) -> VerbError {
        tracing::warn!(device = %self.runner.device, reason, "process failed");
        let attributes = vec![("output".to_owned(), output)];
        DeviceError::from(CommandError::ProcessFailed { attributes }).into()
    }
}

#[async_trait]
impl Device for ShellWorker {
    fn name(&self) -> &str {
        &self.runner.device
    }

    fn kind(&self) -> &'static str {
        "shell-worker"
    }

    fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    fn time_to_safe(&self) -> Duration {
        self.runner.time_to_safe()
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let Some((func, args)) = call.args.split_first() else {
            return Err(self.verbs[0].usage_error(&self.runner.device, "needs the name of a program"));
        };
        let path = std::env::var_os("PATH").unwrap_or_else(|| FALLBACK_PATH.into());
        let nul = args.iter().any(|text| text.contains('\0'));
        let Some(program) = look_up(func, &path).filter(|_| !nul) else {
            return Err(self.failed(&format!("no such program: {func:?}"), String::new()));
        };
        let launch = Launch {
            program,
            args: arguments(args),
            environment: original(std::env::vars_os(), &call.env, context),
            directory: None,
            limits: self.settings.bounds.limits.clone(),
            nice: self.settings.bounds.nice,
            account: None,
        };
        let bounds = &self.settings.bounds;
        let finished = match self.runner.run(&launch, bounds, Effect::Once, context).await? {
            Ok(finished) => finished,
            Err(error) => return Err(self.failed(&error.to_string(), String::new())),
        };
        let output = finished.output.text();
        match finished.end {
            End::Code(0) => Ok(Outcome::new().with("output", output)),
            end => {
                let how = super::describe(end, bounds, finished.oom);
                Err(self.failed(&format!("{func}: {how}"), output))
            }
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.runner.make_safe().await
    }
}

/// The file of a program's name: one with a slash is a path; else the first executable file of that name in
/// `PATH`, whose relative parts are left out.
fn look_up(name: &str, path: &OsStr) -> Option<PathBuf> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    let there = |file: &Path| std::fs::metadata(file).is_ok_and(|metadata| is_executable(&metadata));
    if name.contains('/') {
        let file = PathBuf::from(name);
        return there(&file).then_some(file);
    }
    std::env::split_paths(&OsString::from(path))
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| there(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn programs_are_looked_up_as_the_original_does() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("tool", 0o755), ("data", 0o644)] {
            let file = folder.path().join(name);
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        }
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let path = std::env::join_paths(["relative".as_ref(), Path::new("/nowhere"), folder.path()]).unwrap();
        let tool = folder.path().join("tool");
        assert_eq!(look_up("tool", &path), Some(tool.clone()));
        assert_eq!(look_up(tool.to_str().unwrap(), OsStr::new("")), Some(tool));
        for name in ["", "data", "folder", "absent", "to\0ol", "./tool"] {
            assert_eq!(look_up(name, &path), None, "{name:?}");
        }
    }

    #[test]
    fn the_call_carries_func_args_and_attributes() {
        let call = ShellWorker::call(
            "echo",
            &["a".into()],
            BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        );
        assert_eq!(call, Call::new("run").arg("echo").arg("a").env("k", "v"));
    }
}
