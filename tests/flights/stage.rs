//! Which dispatch is begun on which dock, seen between the agent and its device.

use std::sync::{Arc, Mutex};

use crate::simulated::clock::{Moment, WorldTime};

/// A dispatch that a device began.
#[derive(Debug, Clone)]
pub struct Began {
    pub at: Moment,
    pub dock: usize,
    pub process: String,
}

/// What began since somebody looked. Clones are the same.
#[derive(Debug, Clone)]
pub struct Stage {
    world: WorldTime,
    began: Arc<Mutex<Vec<Began>>>,
}

impl Stage {
    pub fn new(world: &WorldTime) -> Self {
        Stage {
            world: world.clone(),
            began: Arc::default(),
        }
    }

    /// A device begins a dispatch.
    pub fn began(&self, dock: usize, process: &str) {
        self.began.lock().unwrap().push(Began {
            at: self.world.now(),
            dock,
            process: process.to_owned(),
        });
    }

    /// Takes what began.
    pub fn take(&self) -> Vec<Began> {
        std::mem::take(&mut self.began.lock().unwrap())
    }
}
