//! Telling the service manager: the datagrams of sd_notify(3), and how often it wants to hear that we are alive.
//!
//! Without `NOTIFY_SOCKET` nothing is sent and nothing fails: a program runs the same by hand. What is sent here is a
//! courtesy; only a missing `READY=1` or `WATCHDOG=1` has consequences, and those are the manager's.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// How long a message may wait for room in the manager's queue. It is as good as never full; and whoever sends
/// here also drives devices.
const PATIENCE: Duration = Duration::from_millis(50);

/// Why the manager can't be told anything.
#[derive(Debug, thiserror::Error)]
#[error("the service manager can't be told anything: NOTIFY_SOCKET is {socket:?}: {cause}")]
pub struct NotifyError {
    /// As it was given.
    pub socket: String,
    /// What is wrong with it.
    pub cause: io::Error,
}

/// The way to the service manager, if there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Notifier {
    to: Option<Arc<(UnixDatagram, SocketAddr)>>,
}

impl Notifier {
    /// As the environment says (`NOTIFY_SOCKET`).
    ///
    /// # Errors
    /// An address that can't be used: the manager will wait in vain.
    pub fn from_env() -> Result<Self, NotifyError> {
        Notifier::to(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    /// To a socket: a path, or the name of an abstract one after `@`; `None` or empty: nobody is there.
    ///
    /// # Errors
    /// An address that can't be used.
    pub fn to(socket: Option<&OsStr>) -> Result<Self, NotifyError> {
        let Some(name) = socket.filter(|name| !name.is_empty()) else {
            return Ok(Notifier::default());
        };
        let failed = |cause| NotifyError {
            socket: name.to_string_lossy().into_owned(),
            cause,
        };
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it must begin with / or @",
            )),
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Notifier {
            to: Some(Arc::new((socket, address.map_err(failed)?))),
        })
    }

    /// Whether anybody listens.
    pub fn is_connected(&self) -> bool {
        self.to.is_some()
    }

    /// The start, or a reload, is done.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One line for people: `systemctl status` shows it.
    pub fn status(&self, text: &str) {
        // A line break would begin the next assignment.
        self.send(&format!("STATUS={}", text.replace(['\n', '\r'], " ")));
    }

    /// A reload begins; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The end begins.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// All is well: the manager's watchdog starts afresh.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = self.to.as_deref() else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, message, "the service manager could not be told");
        }
    }
}

/// Within which time the manager wants to hear [`Notifier::alive`], as the environment says (`WATCHDOG_USEC`,
/// `WATCHDOG_PID`); `None`: not at all.
pub fn watchdog_limit() -> Option<Duration> {
    let text = |name| std::env::var(name).ok();
    limit_of(
        text("WATCHDOG_USEC").as_deref(),
        text("WATCHDOG_PID").as_deref(),
        std::process::id(),
    )
}

/// A limit counts if it is meant for us, and not for a program that started us and left its environment.
fn limit_of(micros: Option<&str>, meant_for: Option<&str>, us: u32) -> Option<Duration> {
    if meant_for.is_some_and(|pid| pid.parse() != Ok(us)) {
        return None;
    }
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Everything that can be said, as it arrives.
    fn says_everything(manager: &UnixDatagram, name: &OsStr) {
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let notifier = Notifier::to(Some(name)).unwrap();
        assert!(notifier.is_connected());
        notifier.ready();
        assert_eq!(received(manager), "READY=1");
        notifier.status("first\nREADY=1");
        assert_eq!(received(manager), "STATUS=first READY=1");
        notifier.alive();
        assert_eq!(received(manager), "WATCHDOG=1");
        notifier.stopping();
        assert_eq!(received(manager), "STOPPING=1");
        notifier.reloading();
        let text = received(manager);
        let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
    }

    #[test]
    fn a_socket_with_a_path_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        says_everything(&manager, path.as_os_str());
    }

    #[test]
    fn an_abstract_socket_is_reached() {
        let name = format!("outpost-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        says_everything(&manager, OsStr::new(&format!("@{name}")));
    }

    #[test]
    fn without_a_manager_nothing_is_sent_and_nothing_fails() {
        for nobody in [None, Some(OsStr::new(""))] {
            let notifier = Notifier::to(nobody).unwrap();
            assert!(!notifier.is_connected());
            notifier.ready();
        }
        // One that went away.
        let folder = tempfile::tempdir().unwrap();
        let notifier = Notifier::to(Some(folder.path().join("gone").as_os_str())).unwrap();
        notifier.ready();
    }

    #[test]
    fn a_strange_address_is_refused_by_its_name() {
        for name in ["notify", "vsock:2:1234"] {
            let error = Notifier::to(Some(OsStr::new(name))).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("/ or @"), "{error}");
        }
        let long = format!("/{}", "x".repeat(200));
        assert!(Notifier::to(Some(OsStr::new(&long))).is_err());
    }

    #[test]
    fn the_watchdog_is_asked_for_by_whom_it_is_meant() {
        let minute = Some(Duration::from_secs(60));
        assert_eq!(limit_of(Some("60000000"), None, 7), minute);
        assert_eq!(limit_of(Some("60000000"), Some("7"), 7), minute);
        for (micros, pid) in [
            (None, None),
            (None, Some("7")),
            (Some("60000000"), Some("8")),
            (Some("60000000"), Some("")),
            (Some("0"), None),
            (Some("-1"), None),
            (Some("soon"), Some("7")),
        ] {
            assert_eq!(limit_of(micros, pid, 7), None, "{micros:?} {pid:?}");
        }
    }
}
