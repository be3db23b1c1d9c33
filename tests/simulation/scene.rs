//! What really happens on the outputs, seen from outside the agent: which verb of which process runs on the real
//! device, and every edge of its line.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use outpost::device::gpio::{Level, SimulatedBoard};
use outpost::device::{Call, Context, Device, DeviceError, Effect, Outcome, Probe, Verb, VerbError};

use crate::simulated::clock::{Moment, WorldTime};

/// An output in the world: a machine and the name of the line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Output {
    pub machine: usize,
    pub line: &'static str,
}

/// One performance of a verb, by its number.
pub type Performance = usize;

/// What moved a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Verb(Performance),
    /// Making safe.
    Safe,
    /// Neither: taking the line at the start, say.
    Other,
}

/// How a performance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Well,
    Badly,
    /// The agent died, or dropped it.
    Dropped,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Seen {
    Began {
        performance: Performance,
        output: Output,
        process: String,
        verb: String,
        effect: Effect,
    },
    Edge {
        output: Output,
        level: Level,
        cause: Cause,
    },
    Ended {
        performance: Performance,
        end: End,
    },
}

/// What happened since somebody looked.
#[derive(Debug, Clone)]
pub struct Scene {
    world: WorldTime,
    stage: Arc<Mutex<Stage>>,
}

#[derive(Debug, Default)]
struct Stage {
    seen: Vec<(Moment, Seen)>,
    performances: usize,
    /// What drives each output at this moment.
    driver: BTreeMap<Output, Cause>,
}

impl Scene {
    pub fn new(world: &WorldTime) -> Self {
        Scene {
            world: world.clone(),
            stage: Arc::default(),
        }
    }

    /// Takes what happened.
    pub fn take(&self) -> Vec<(Moment, Seen)> {
        std::mem::take(&mut self.stage.lock().unwrap().seen)
    }

    fn say(&self, seen: Seen) {
        let now = self.world.now();
        self.stage.lock().unwrap().seen.push((now, seen));
    }

    /// Watches a board's line. `is_powered`: without power nothing can happen on it.
    pub fn watch(
        &self,
        board: &SimulatedBoard,
        output: Output,
        is_powered: impl Fn() -> bool + Send + Sync + 'static,
    ) {
        let scene = self.clone();
        board.on_edge(move |edge| {
            if edge.line != output.line || !is_powered() {
                return;
            }
            let driver = scene.stage.lock().unwrap().driver.get(&output).copied();
            scene.say(Seen::Edge {
                output: output.clone(),
                level: edge.level,
                cause: driver.unwrap_or(Cause::Other),
            });
        });
    }

    fn drive(&self, output: &Output, cause: Cause) {
        self.stage.lock().unwrap().driver.insert(output.clone(), cause);
    }
}

/// A real device, watched from outside.
pub struct Watched<D> {
    pub device: D,
    pub output: Output,
    pub scene: Scene,
}

/// Says that a performance ended, also when it is dropped.
struct Performing<'a> {
    scene: &'a Scene,
    output: &'a Output,
    performance: Performance,
    end: End,
}

impl Drop for Performing<'_> {
    fn drop(&mut self) {
        self.scene.drive(self.output, Cause::Other);
        self.scene.say(Seen::Ended {
            performance: self.performance,
            end: self.end,
        });
    }
}

#[async_trait]
impl<D: Device> Device for Watched<D> {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn kind(&self) -> &'static str {
        self.device.kind()
    }

    fn verbs(&self) -> &[Verb] {
        self.device.verbs()
    }

    fn time_to_safe(&self) -> Duration {
        self.device.time_to_safe()
    }

    fn probe(&self) -> Option<Arc<dyn Probe>> {
        self.device.probe()
    }

    async fn perform(&mut self, call: &Call, context: &Context) -> Result<Outcome, VerbError> {
        let verb = self.device.verbs().iter().find(|verb| verb.name == call.verb);
        let effect = verb.map_or(Effect::Read, |verb| verb.effect);
        let performance = {
            let mut stage = self.scene.stage.lock().unwrap();
            stage.performances += 1;
            stage.performances - 1
        };
        self.scene.say(Seen::Began {
            performance,
            output: self.output.clone(),
            process: context.process().unwrap_or_default().to_owned(),
            verb: call.verb.clone(),
            effect,
        });
        self.scene.drive(&self.output, Cause::Verb(performance));
        let mut performing = Performing {
            scene: &self.scene,
            output: &self.output,
            performance,
            end: End::Dropped,
        };
        let result = self.device.perform(call, context).await;
        performing.end = if result.is_ok() { End::Well } else { End::Badly };
        result
    }

    async fn tend(&mut self) -> Result<(), DeviceError> {
        self.device.tend().await
    }

    fn latched(&self) -> Option<String> {
        self.device.latched()
    }

    fn is_local_output(&self) -> bool {
        self.device.is_local_output()
    }

    async fn stop(&mut self) -> Result<(), DeviceError> {
        self.scene.drive(&self.output, Cause::Safe);
        let result = self.device.stop().await;
        self.scene.drive(&self.output, Cause::Other);
        result
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.scene.drive(&self.output, Cause::Safe);
        let result = self.device.make_safe().await;
        self.scene.drive(&self.output, Cause::Other);
        result
    }
}
