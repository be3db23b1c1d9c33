//! What the tests of programs share: a device out of settings, waiting for files and for the end of processes.
#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]
#![allow(
    dead_code,
    reason = "each test file takes what it needs; the compiler sees each apart"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outpost::clock::{BootTime, Clock, SharedClock, Sleep, SystemClock};
use outpost::device::{
    Call, Context, DeviceHandle, DeviceSettings, Hardware, Outcome, VerbError, open, owner,
};
use serde_json::{Value, json};

/// How long an event may take that comes in milliseconds. A test that waits so long fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The machine's clock, until it is put ahead by hand: so hours pass when the test says so, while programs run.
#[derive(Default)]
pub struct JumpClock {
    ahead: AtomicU64,
}

impl JumpClock {
    pub fn put_ahead(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap();
        self.ahead.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for JumpClock {
    fn now(&self) -> BootTime {
        SystemClock.now() + Duration::from_nanos(self.ahead.load(Ordering::SeqCst))
    }

    fn wall_nanos(&self) -> i128 {
        SystemClock.wall_nanos()
    }

    fn boot_id(&self) -> String {
        SystemClock.boot_id()
    }

    fn sleep_until(&self, deadline: BootTime) -> Sleep<'_> {
        Box::pin(async move {
            while self.now() < deadline {
                let left = deadline.saturating_since(self.now());
                tokio::time::sleep(left.min(Duration::from_millis(2))).await;
            }
        })
    }
}

pub fn hardware() -> Hardware {
    hardware_on(Arc::new(SystemClock))
}

pub fn hardware_on(clock: SharedClock) -> Hardware {
    Hardware::new(clock)
}

pub fn settings(settings: Value) -> DeviceSettings {
    serde_json::from_value(settings).unwrap()
}

/// A device with one function, `run`.
pub fn command(function: Value) -> DeviceHandle {
    command_on(Arc::new(SystemClock), function)
}

pub fn command_on(clock: SharedClock, function: Value) -> DeviceHandle {
    let settings = settings(json!({ "kind": "command", "functions": { "run": function } }));
    let device = open("tool", &settings, &hardware_on(clock.clone())).unwrap();
    owner::spawn(device, clock)
}

/// A device whose function `run` is a shell's text, with more keys.
pub fn shell(text: &str, keys: Value) -> DeviceHandle {
    shell_on(Arc::new(SystemClock), text, keys)
}

pub fn shell_on(clock: SharedClock, text: &str, keys: Value) -> DeviceHandle {
    let mut function = json!({ "program": text, "shell": true });
    let more = keys.as_object().unwrap().clone();
    function.as_object_mut().unwrap().extend(more);
    command_on(clock, function)
}

pub fn context() -> Context {
    Context::new(Arc::new(SystemClock))
}

pub fn call(args: &[&str]) -> Call {
    args.iter().fold(Call::new("run"), |call, arg| call.arg(*arg))
}

pub async fn run(device: &DeviceHandle, args: &[&str]) -> Result<Outcome, VerbError> {
    device.perform(call(args), context()).await
}

pub fn attribute<'a>(error: &'a VerbError, name: &str) -> Option<&'a str> {
    error
        .attributes()
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Waits until `what` gives something.
pub fn wait_for<T>(label: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "{label}: did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same without holding up the runtime that serves the device.
pub async fn wait_for_async<T>(label: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "{label}: did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The numbers in a file, once its last line is there and says `ready`.
pub fn numbers(file: &Path) -> Option<Vec<i32>> {
    let text = std::fs::read_to_string(file).ok()?;
    let text = text.strip_suffix("ready\n")?;
    Some(
        text.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect(),
    )
}

/// The state of a process as proc(5) gives it; `None`: it is gone.
pub fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The process does nothing any more: it is gone, or only its number is left for its parent.
pub fn is_over(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// The processes whose parent is `pid`.
pub fn children(pid: u32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let child: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        (parent == pid.to_string()).then_some(child)
    });
    all.collect()
}
