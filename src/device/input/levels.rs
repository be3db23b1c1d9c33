//! What other devices may know of the inputs: their debounced levels, by the names of the devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::watch::{Receiver, Watched};

use crate::device::gpio::Level;
use crate::device::lock;

/// The present levels of all inputs of an agent. Cheap to clone; clones are the same.
///
/// A level is `None` while the input is not open, or its line can't be read: whoever needs it to be something must take
/// that for *not so*. Inputs may be asked for in any order, also before they are open, and keep their place through a
/// reload that opens them anew.
///
/// ```
/// # use outpost::device::input::Inputs;
/// # use outpost::device::gpio::Level;
/// let inputs = Inputs::default();
/// let dock_open = inputs.watch("dock_open");
/// assert_ne!(*dock_open.borrow(), Some(Level::On), "nothing is known of it yet");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    levels: Arc<Mutex<BTreeMap<String, Place>>>,
}

/// Where one input says its level.
pub(super) type Place = Watched<Option<Level>>;

impl Inputs {
    /// The level of an input now.
    pub fn level(&self, input: &str) -> Option<Level> {
        *self.place(input).borrow()
    }

    /// The level of an input now and whenever it changes; never closes while any `Inputs` of the agent is there.
    pub fn watch(&self, input: &str) -> Receiver<Option<Level>> {
        self.place(input).subscribe()
    }

    /// Where an input says its level.
    pub(super) fn place(&self, input: &str) -> Place {
        let mut levels = lock(&self.levels);
        let place = levels.entry(input.to_owned());
        place.or_insert_with(|| Watched::new(None)).clone()
    }
}
