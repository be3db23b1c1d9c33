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

/// The far end of a line. Dropping it is pulling the plug.
pub struct Far {
    // Goes first: the kernel gives the number to the next terminal, which may be another test's.
    _folder: tempfile::TempDir,
    master: std::fs::File,
    /// Leads to the near end's device file, as long as it is there.
    pub path: PathBuf,
}

impl Far {
    pub fn open() -> Far {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let device = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        point(&path, Path::new(&device)).unwrap();
        Far {
            _folder: folder,
            master: master.into(),
            path,
        }
    }

    /// Waits for bytes; while nobody has opened the near end there are none.
    ///
    /// Looks again and again: a master sees a hang-up (EIO) whenever nobody holds the near end, which tokio's
    /// readiness takes for the end of all things.
    pub async fn read(&self) -> Vec<u8> {
        let mut buffer = [0; 1024];
        loop {
            match (&self.master).read(&mut buffer) {
                Ok(count) if count > 0 => return buffer[..count].to_vec(),
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
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
            match (&self.master).write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => panic!("{error}"),
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
        let hardware = Hardware::new(clock.clone());
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
