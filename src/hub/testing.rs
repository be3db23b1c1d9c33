//! What the hub's own tests share: a clock moved by hand, and people.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{BootTime, Clock, Sleep};
use crate::protocol::PrivateKey;
use crate::protocol::Refusal;
use crate::protocol::model::{Conditions, ProcessSpec};

/// 2026-07-01T00:00:00Z
pub const START: i64 = 1_782_864_000_000_000_000;

/// 56 years.
pub const YEARS_56: i64 = 56 * 31_557_600 * 1_000_000_000;

/// A clock that stands still until it is moved. Nobody can sleep by it.
#[derive(Debug)]
pub struct HandClock {
    boot: AtomicU64,
    wall: AtomicI64,
    boot_id: Mutex<String>,
}

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(HandClock {
            boot: AtomicU64::new(1_000_000_000),
            wall: AtomicI64::new(START),
            boot_id: Mutex::new("boot-1".to_owned()),
        })
    }

    pub fn advance(&self, span: Duration) {
        let nanos = span.as_nanos() as u64;
        self.boot.fetch_add(nanos, Ordering::SeqCst);
        self.wall.fetch_add(nanos as i64, Ordering::SeqCst);
    }

    pub fn step_wall(&self, nanos: i64) {
        self.wall.fetch_add(nanos, Ordering::SeqCst);
    }

    pub fn reboot(&self) {
        let mut id = self.boot_id.lock().unwrap();
        *id = format!("{id}+");
        self.boot.store(7, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> BootTime {
        BootTime::from_nanos(self.boot.load(Ordering::SeqCst))
    }

    fn wall_nanos(&self) -> i128 {
        self.wall.load(Ordering::SeqCst).into()
    }

    fn boot_id(&self) -> String {
        self.boot_id.lock().unwrap().clone()
    }

    fn sleep_until(&self, _: BootTime) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

/// A key made of a small number.
pub fn key(number: u8) -> PrivateKey {
    PrivateKey::from_hex(&format!("{number:02x}").repeat(32)).unwrap()
}

/// The id of a key made of a small number.
pub fn id(number: u8) -> String {
    key(number).id()
}

/// 16 bytes that differ each time, the same in each run.
pub fn counting(from: i128) -> Box<dyn FnMut() -> Result<[u8; 16], Refusal> + Send> {
    let mut count = from;
    Box::new(move || {
        count += 1;
        Ok(count.to_le_bytes())
    })
}

/// A spec without limits.
pub fn spec(colony_id: &str, runtime_type: &str) -> ProcessSpec {
    ProcessSpec {
        func: "echo".to_owned(),
        max_wait_time: -1,
        max_exec_time: -1,
        conditions: Conditions {
            colony_id: colony_id.to_owned(),
            runtime_type: runtime_type.to_owned(),
            ..Conditions::default()
        },
        ..ProcessSpec::default()
    }
}
