//! Groups of outputs of which at most one is on, with a dead time from one to the next.
//!
//! An output holds its group from before it is driven on until after it was driven off. So in doubt, when a line could
//! not be driven off, it holds the group and no other goes on. Nobody goes on before every output of the group was
//! opened and seen off, and the dead time has passed since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::policy::Standing;
use super::settings::OutputSettings;
use crate::clock::BootTime;
use crate::device::{DeviceSettings, lock};
use crate::watch::Watched;

/// Every group of an agent; clones are the same groups.
#[derive(Debug, Clone, Default)]
pub struct Interlocks {
    groups: Arc<Mutex<BTreeMap<String, Watched<Group>>>>,
}

impl Interlocks {
    /// The groups of a configuration. The longest dead time that an output of a group asks for is the group's.
    pub fn of<'a>(devices: impl IntoIterator<Item = (&'a String, &'a DeviceSettings)>) -> Self {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for (device, settings) in devices {
            if let Some(output) = settings.output()
                && let Some(name) = &output.interlock
            {
                let group = groups.entry(name.clone()).or_default();
                group.join(device.as_str().into(), output.interlock_dead_time);
            }
        }
        let shared = |(name, group)| (name, Watched::new(group));
        Interlocks {
            groups: Arc::new(Mutex::new(groups.into_iter().map(shared).collect())),
        }
    }

    /// Puts an output into its group, if it has one. It counts as on until it is [released](Member::release).
    pub(super) fn join(&self, device: &str, settings: &OutputSettings) -> Option<Member> {
        let name = settings.interlock.as_ref()?;
        let device: Arc<str> = device.into();
        let group = lock(&self.groups).entry(name.clone()).or_default().clone();
        group.send_modify(|group| group.join(device.clone(), settings.interlock_dead_time));
        Some(Member { device, group })
    }
}

/// One output's place in its group.
#[derive(Debug)]
pub(super) struct Member {
    device: Arc<str>,
    group: Watched<Group>,
}

impl Member {
    pub(super) fn standing(&self, now: BootTime) -> Standing {
        self.group.borrow().standing(&self.device, now)
    }

    /// Takes the group, if it is free.
    pub(super) fn claim(&self, now: BootTime) -> bool {
        let mut ours = false;
        self.group.send_if_modified(|group| {
            ours = group.claim(&self.device, now);
            ours
        });
        ours
    }

    /// Gives the group back, if it is ours: the output was seen off.
    pub(super) fn release(&self, now: BootTime) {
        self.group
            .send_if_modified(|group| group.release(&self.device, now));
    }

    /// Another output that is on, or not surely off.
    pub(super) fn other(&self) -> Option<Arc<str>> {
        let group = self.group.borrow();
        let mut others = group.holder.iter().chain(&group.unseen);
        others.find(|other| **other != self.device).cloned()
    }

    /// Waits until the standing of `now` would be another, since something in the group has changed. Safe to drop and to
    /// call again.
    pub(super) async fn changed_from(&self, standing: Standing, now: BootTime) {
        let other = |group: &Group| group.standing(&self.device, now) != standing;
        self.group.wait_for(other).await;
    }
}

/// The state of one group; pure.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    dead_time: Duration,
    /// Whose line was not seen off yet since the start.
    unseen: BTreeSet<Arc<str>>,
    /// Who is on, or may be.
    holder: Option<Arc<str>>,
    /// Since when none is on.
    off_since: BootTime,
}

impl Group {
    pub(super) fn join(&mut self, device: Arc<str>, dead_time: Duration) {
        self.unseen.insert(device);
        self.dead_time = self.dead_time.max(dead_time);
    }

    pub(super) fn standing(&self, device: &str, now: BootTime) -> Standing {
        match &self.holder {
            Some(holder) if **holder == *device => Standing::Free,
            Some(_) => Standing::Held,
            None if !self.unseen.is_empty() => Standing::Held,
            None => match self.off_since + self.dead_time {
                free if now >= free => Standing::Free,
                free => Standing::Until(free),
            },
        }
    }

    pub(super) fn claim(&mut self, device: &Arc<str>, now: BootTime) -> bool {
        let free = self.standing(device, now) == Standing::Free;
        if free {
            self.holder = Some(device.clone());
        }
        free
    }

    pub(super) fn release(&mut self, device: &str, now: BootTime) -> bool {
        let held = self.holder.as_deref() == Some(device);
        if held {
            self.holder = None;
        }
        let changed = self.unseen.remove(device) || held;
        if changed {
            self.off_since = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn one_holds_the_group_and_the_next_waits_out_the_dead_time() {
        let (left, right): (Arc<str>, Arc<str>) = ("left".into(), "right".into());
        let mut group = Group::default();
        group.join(left.clone(), Duration::from_secs(1));
        group.join(right.clone(), Duration::from_secs(3));
        assert!(group.release("left", at(10)));
        assert_eq!(
            group.standing("left", at(100)),
            Standing::Held,
            "right was not seen off"
        );
        assert!(group.release("right", at(20)));
        assert_eq!(
            group.standing("left", at(22)),
            Standing::Until(at(23)),
            "the longest counts"
        );
        assert!(!group.claim(&left, at(22)));
        assert!(group.claim(&left, at(23)));
        assert_eq!(group.standing("left", at(23)), Standing::Free, "whose it is");
        assert_eq!(group.standing("right", at(99)), Standing::Held);
        assert!(!group.release("right", at(99)), "not its to give");
        assert!(!group.claim(&right, at(99)));
        assert!(group.release("left", at(100)));
        assert!(
            !group.release("left", at(102)),
            "again: the dead time does not begin anew"
        );
        assert_eq!(group.standing("left", at(102)), Standing::Until(at(103)));
        assert!(group.claim(&right, at(103)));
    }
}
