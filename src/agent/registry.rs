//! What processes may call: functions by name, each a verb of a device.
//!
//! Every verb of every configured device is the function `DEVICE.verb`. `sleep` and `echo` are always there. The
//! configuration gives further names to functions, with arguments of their own if it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::fence::Rules;
use crate::device::command::{Pool, ShellWorker};
use crate::device::{Call, Effect, Verb, VerbError};
use crate::protocol::model::{AttributeKind, Process, SUBMISSION_ID};

/// Another name for a function: `turn_on_lamp = "lamp.on"`, or with arguments of its own:
/// `flash = { call = "lamp.pulse", args = ["3s"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "write NAME = \"device.verb\" or NAME = { call = \"device.verb\", args = [\"…\"] }"
)]
pub enum FunctionSettings {
    /// The function that it stands for.
    Name(String),
    /// The function that it stands for, and what it is given.
    Table(FunctionTable),
}

/// The long form of [`FunctionSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionTable {
    /// The function that it stands for.
    pub call: String,
    /// Arguments where a process gives none.
    #[serde(default)]
    pub args: Vec<String>,
}

impl FunctionSettings {
    fn call(&self) -> &str {
        match self {
            FunctionSettings::Name(call) => call,
            FunctionSettings::Table(table) => &table.call,
        }
    }

    fn args(&self) -> &[String] {
        match self {
            FunctionSettings::Name(_) => &[],
            FunctionSettings::Table(table) => &table.args,
        }
    }
}

/// Something that a process can call.
#[derive(Debug, Clone)]
pub struct Function {
    /// What processes call it.
    pub name: String,
    /// The device that does it, or several of one name.
    pub device: Pool,
    /// What the device does.
    pub verb: Verb,
    /// Arguments where a process gives none.
    pub default_args: Vec<String>,
    /// What the configuration says about it.
    pub rules: Rules,
    /// It stands for whatever is called: a process's function is the program to run (docs/protocol/runtime-dialect.md,
    /// section 6).
    catches_all: bool,
}

impl Function {
    /// The call that nobody's process makes: of whoever stands before the machine. `func` is what it was called by.
    pub fn local_call(&self, func: &str, args: &[String]) -> Call {
        if self.catches_all {
            return ShellWorker::call(func, args, BTreeMap::new());
        }
        Call {
            verb: self.verb.name.to_string(),
            args: if args.is_empty() {
                self.default_args.clone()
            } else {
                args.to_vec()
            },
            ..Call::default()
        }
    }

    /// The call that a process makes.
    pub fn call(&self, process: &Process) -> Call {
        let given = process.spec.args.clone().unwrap_or_default();
        if self.catches_all {
            let mut attributes = process.spec.env.clone();
            let all = process.attributes.iter();
            attributes.extend(all.map(|attribute| (attribute.key.clone(), attribute.value.clone())));
            attributes.remove(SUBMISSION_ID);
            return ShellWorker::call(&process.spec.func, &given, attributes);
        }
        let mut env = process.spec.env.clone();
        // The server rebuilds `env` from the attributes; another may send them only there.
        for attribute in &process.attributes {
            if attribute.kind == AttributeKind::Env {
                env.entry(attribute.key.clone())
                    .or_insert_with(|| attribute.value.clone());
            }
        }
        // That is between the submitter and the server.
        env.remove(SUBMISSION_ID);
        Call {
            verb: self.verb.name.to_string(),
            args: if given.is_empty() {
                self.default_args.clone()
            } else {
                given
            },
            env,
        }
    }

    /// A verb's error as whoever submitted the process shall read it: usage lines name what was called.
    pub fn explain(&self, error: &VerbError) -> String {
        match error {
            VerbError::Usage { problem, .. } => {
                let usage = format!("{} {}", self.name, self.verb.usage);
                format!("{problem}; usage: {}", usage.trim_end())
            }
            other => other.to_string(),
        }
    }
}

/// Why a function table can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFunction {
    /// Two things of one name.
    #[error("functions.{name}: there is a function {name:?} already; choose another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// It stands for nothing.
    #[error(
        "functions.{name}: there is no function {call:?}; there are: {}",
        known.join(", ")
    )]
    NoTarget {
        /// The name.
        name: String,
        /// What it should stand for.
        call: String,
        /// What there is.
        known: Vec<String>,
    },
}

/// A process called something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown function {func:?}; this runtime has: {}", known.join(", "))]
pub struct UnknownFunction {
    /// What was called.
    pub func: String,
    /// What there is.
    pub known: Vec<String>,
}

/// The functions of now, which a reload replaces as a whole. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct SharedRegistry {
    current: Arc<Mutex<Arc<Registry>>>,
}

impl SharedRegistry {
    /// The functions of this moment; for one decision, not to be kept.
    pub fn current(&self) -> Arc<Registry> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// From now on these.
    pub fn replace(&self, registry: Registry) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
    }
}

impl From<Arc<Registry>> for SharedRegistry {
    fn from(registry: Arc<Registry>) -> Self {
        SharedRegistry {
            current: Arc::new(Mutex::new(registry)),
        }
    }
}

/// All functions.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    functions: BTreeMap<String, Function>,
    /// What answers for everything else.
    catch_all: Option<Function>,
    devices: Vec<Pool>,
}

impl Registry {
    /// None yet.
    pub fn new() -> Self {
        Registry::default()
    }

    /// Adds every verb of a device as `DEVICE.verb`, each under its rules.
    pub fn add_device(&mut self, device: &Pool, rules: impl Fn(&Verb) -> Rules) {
        for verb in device.verbs() {
            let name = format!("{}.{}", device.name(), verb.name);
            self.insert(function(name, device, verb, rules(verb)));
        }
        self.devices.push(device.clone());
    }

    /// Adds every verb of a device under its bare name: `sleep`, `echo`.
    pub fn add_builtin(&mut self, device: &Pool) {
        for verb in device.verbs() {
            self.insert(function(verb.name.to_string(), device, verb, Rules::default()));
        }
        self.devices.push(device.clone());
    }

    /// Lets a device answer for every function that there is not otherwise.
    pub fn add_catch_all(&mut self, device: &Pool, rules: impl Fn(&Verb) -> Rules) {
        if let [verb] = device.verbs() {
            let mut function = function(device.name().to_owned(), device, verb, rules(verb));
            function.catches_all = true;
            self.catch_all = Some(function);
        }
        self.devices.push(device.clone());
    }

    fn insert(&mut self, function: Function) {
        self.functions.insert(function.name.clone(), function);
    }

    /// Every device.
    pub fn devices(&self) -> &[Pool] {
        &self.devices
    }

    /// Adds the configuration's names. A name stands for a function of a device, not for another such name.
    ///
    /// # Errors
    /// A name that is taken, or that stands for nothing.
    pub fn add_names(&mut self, names: &BTreeMap<String, FunctionSettings>) -> Result<(), BadFunction> {
        let devices = self.functions.clone();
        for (name, settings) in names {
            if self.functions.contains_key(name) {
                return Err(BadFunction::Taken { name: name.clone() });
            }
            let Some(target) = devices.get(settings.call()) else {
                return Err(BadFunction::NoTarget {
                    name: name.clone(),
                    call: settings.call().to_owned(),
                    known: devices.keys().cloned().collect(),
                });
            };
            let function = Function {
                name: name.clone(),
                default_args: settings.args().to_vec(),
                ..target.clone()
            };
            self.functions.insert(name.clone(), function);
        }
        Ok(())
    }

    /// The function of that name.
    ///
    /// # Errors
    /// [`UnknownFunction`], with the list of those there are.
    pub fn find(&self, func: &str) -> Result<&Function, UnknownFunction> {
        let found = self.functions.get(func).or(self.catch_all.as_ref());
        found.ok_or_else(|| UnknownFunction {
            func: func.chars().take(200).collect(),
            known: self.names().map(str::to_owned).collect(),
        })
    }

    /// What answers for every function that has no name here, if anything does.
    pub fn catch_all(&self) -> Option<&Function> {
        self.catch_all.as_ref()
    }

    /// The names of all functions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }
}

fn function(name: String, device: &Pool, verb: &Verb, rules: Rules) -> Function {
    Function {
        name,
        device: device.clone(),
        verb: verb.clone(),
        default_args: Vec::new(),
        rules: Rules {
            max_age: rules.max_age.filter(|_| verb.effect != Effect::Read),
            ..rules
        },
        catches_all: false,
    }
}
