//! A real pseudo-terminal with the vehicle at its far end: for the program at the near end it is a serial port.

use std::convert::Infallible;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};

use super::server::Server;

/// Why there is no pseudo-terminal.
#[derive(Debug, thiserror::Error)]
pub enum PtyError {
    /// The path is taken.
    #[error("{} is there and is no symbolic link: choose another path for the vehicle's port", .0.display())]
    Taken(PathBuf),
    /// The link can't be made.
    #[error("cannot make the link {}: {source}; choose a path in a directory that you may write to", path.display())]
    Link {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gives none.
    #[error("the system gives no pseudo-terminal: {0}; is /dev/pts mounted?")]
    Open(io::Error),
}

/// The far end. Dropping it pulls the plug and removes the link.
#[derive(Debug)]
pub struct Pty {
    link: Option<PathBuf>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    master: File,
    device: PathBuf,
    somebody: bool,
}

impl Pty {
    /// A new pseudo-terminal, and a symbolic link to its near end if one is wished. A link that is there is replaced.
    ///
    /// # Errors
    /// The path is taken by something that is no link, or the system refuses.
    pub fn open(link: Option<PathBuf>) -> Result<Self, PtyError> {
        if let Some(path) = &link
            && fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_symlink())
        {
            return Err(PtyError::Taken(path.clone()));
        }
        let mut pty = Pty { link, end: None };
        pty.plug_in()?;
        Ok(pty)
    }

    /// What the program at the near end opens; nothing while the cable is out.
    pub fn path(&self) -> Option<&Path> {
        let end = self.end.as_ref()?;
        Some(self.link.as_deref().unwrap_or(&end.device))
    }

    fn plug_in(&mut self) -> Result<(), PtyError> {
        let (master, device) = pair().map_err(PtyError::Open)?;
        if let Some(path) = &self.link {
            point(path, &device).map_err(|source| PtyError::Link {
                path: path.clone(),
                source,
            })?;
        }
        self.end = Some(End {
            master,
            device,
            somebody: false,
        });
        Ok(())
    }

    /// Closes the far end: the near one sees the end of the file, and its device file is gone.
    fn pull_out(&mut self) {
        let Some(end) = self.end.take() else { return };
        if let Some(path) = &self.link
            && fs::read_link(path).is_ok_and(|target| target == end.device)
        {
            let _ = fs::remove_file(path);
        }
    }

    /// Serves the vehicle here, for ever. While its cable is out there is no device, and no link.
    ///
    /// # Errors
    /// The cable can't be plugged in again.
    pub async fn serve(&mut self, server: &Server) -> Result<Infallible, PtyError> {
        loop {
            let came = self.end.as_mut().map(End::read).unwrap_or_default();
            match server.turn(&came) {
                None => self.pull_out(),
                Some(_) if self.end.is_none() => self.plug_in()?,
                Some(arrived) => {
                    if let Some(end) = &mut self.end {
                        end.write(&arrived);
                    }
                }
            }
            // A master tells tokio of a hang-up whenever nobody holds the near end, so it is looked at again and again.
            server.tick().await;
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.pull_out();
    }
}

impl End {
    /// What has come. Nobody at the near end is an error of reading (EIO), which is how it is known.
    fn read(&mut self) -> Vec<u8> {
        let mut came = Vec::new();
        let mut buffer = [0; 1024];
        let somebody = loop {
            match self.master.read(&mut buffer) {
                Ok(0) => break false,
                Ok(count) => came.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        if self.somebody && !somebody {
            // Who comes next shall not read what was meant for who left.
            let _ = tcflush(&self.master, QueueSelector::IOFlush);
        }
        self.somebody = somebody;
        came
    }

    /// What has no room, or no reader, is lost.
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.somebody && !rest.is_empty() {
            match self.master.write(rest) {
                Ok(count) if count > 0 => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }
}

/// A master that never blocks, and the path of the near end, which passes bytes as they are.
fn pair() -> io::Result<(File, PathBuf)> {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let device = PathBuf::from(name.to_string_lossy().into_owned());
    // Opened once: from here on a missing reader can be told from one that has nothing to say.
    let near = rustix::fs::open(
        &device,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut settings = tcgetattr(&near)?;
    settings.make_raw();
    tcsetattr(&near, OptionalActions::Now, &settings)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master.into(), device))
}

/// Makes a link, or lets one that is there point elsewhere, in one step.
fn point(link: &Path, device: &Path) -> io::Result<()> {
    let mut name = link.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(name);
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(device, &new)?;
    fs::rename(&new, link)
}
