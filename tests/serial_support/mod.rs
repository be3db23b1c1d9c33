//! A pseudo-terminal with an instrument at its far end, and a device at its near one.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program that includes this uses a part of it; clippy knows it for no test"
)]

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outpost::clock::SystemClock;
use outpost::device::owner::{self, DeviceHandle};
use outpost::device::{Call, Context, DeviceSettings, Hardware, Outcome, VerbError};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::unix::AsyncFd;

/// The far end of a line. Dropping it is pulling the plug.
pub struct Far {
    master: AsyncFd<std::fs::File>,
    /// The near end's device file.
    pub path: PathBuf,
}

impl Far {
    pub fn open() -> Far {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        #[expect(
            unsafe_code,
            reason = "tokio asks that the descriptor stays the same: the file owns it, and nothing takes it out"
        )]
        let master = unsafe { AsyncFd::register(std::fs::File::from(master)) }.unwrap();
        Far {
            master,
            path: path.into(),
        }
    }

    /// Waits for bytes; while nobody has opened the near end there are none.
    pub async fn read(&self) -> Vec<u8> {
        let mut buffer = [0; 1024];
        loop {
            let mut ready = self.master.readable().await.unwrap();
            match ready.try_io(|master| master.get_ref().read(&mut buffer)) {
                Ok(Ok(count)) if count > 0 => return buffer[..count].to_vec(),
                // EIO: the near end is closed.
                Ok(_) => {
                    ready.clear_ready();
                    drop(ready);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for bytes until a line feed ends them.
    pub async fn line(&self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.extend(self.read().await);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Whatever comes within a while.
    pub async fn within(&self, millis: u64) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = tokio::time::timeout(Duration::from_millis(millis), async {
            loop {
                all.extend(self.read().await);
            }
        })
        .await;
        all
    }

    pub async fn write(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut ready = self.master.writable().await.unwrap();
            if let Ok(written) = ready.try_io(|master| master.get_ref().write(rest)) {
                rest = &rest[written.unwrap()..];
            }
        }
    }
}

/// Reads the table of a device as the agent reads it.
pub fn settings(table: &str) -> DeviceSettings {
    let source = config::File::from_str(table, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(source).build().unwrap();
    config.try_deserialize().unwrap()
}

pub struct Bench {
    pub device: DeviceHandle,
}

impl Bench {
    pub fn new(table: &str) -> Bench {
        let clock = Arc::new(SystemClock);
        let hardware = Hardware {
            clock: clock.clone(),
            gpio: None,
        };
        let device = outpost::device::open("meter", &settings(table), &hardware).unwrap();
        Bench {
            device: owner::spawn(device, clock),
        }
    }

    pub async fn run(&self, verb: &str, args: &[&str]) -> Result<Outcome, VerbError> {
        let call = args.iter().fold(Call::new(verb), |call, arg| call.arg(*arg));
        self.device
            .perform(call, Context::new(Arc::new(SystemClock)))
            .await
    }

    pub async fn state(&self) -> String {
        let state = self.run("state", &[]).await.unwrap();
        state.get("state").unwrap().to_owned()
    }

    /// Waits until the port is open or closed.
    pub async fn until(&self, wanted: &str) {
        let patience = Duration::from_secs(20);
        let waiting = async {
            while self.state().await != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, waiting)
            .await
            .unwrap_or_else(|_| panic!("never {wanted}"));
    }
}

/// Lets `link` lead to `target`, as udev does for a stable name.
pub fn point(link: &Path, target: &Path) -> io::Result<()> {
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(target, link)
}
