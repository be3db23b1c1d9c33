//! A simulation in tokio's time: as fast as real life, or so many times as fast; in a test with paused time, at once.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::autopilot::STEP;
use super::simulation::Simulation;
use super::truth::Truth;

/// A simulation that its server and whoever watches it share.
pub type Shared = Arc<Mutex<Simulation>>;

/// Lets a simulation run and serves it. Clones serve the same vehicle.
#[derive(Debug, Clone)]
pub struct Server {
    simulation: Shared,
    start: Instant,
    speed: f64,
}

impl Server {
    /// The vehicle is switched on now, and its time runs `speed` times as fast as ours.
    pub fn new(simulation: Simulation, speed: f64) -> Self {
        Server {
            simulation: Arc::new(Mutex::new(simulation)),
            start: Instant::now(),
            speed,
        }
    }

    /// The vehicle's time.
    pub fn now(&self) -> Duration {
        self.start.elapsed().mul_f64(self.speed)
    }

    /// Looks at the simulation, or does something to it.
    pub fn with<T>(&self, what: impl FnOnce(&mut Simulation) -> T) -> T {
        what(&mut self.simulation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What really happened so far.
    pub fn truth(&self) -> Truth {
        self.with(|simulation| simulation.truth().clone())
    }

    /// Waits until the truth is as wished, at most so long in the vehicle's time; false if it never was.
    /// Somebody must serve the vehicle meanwhile.
    pub async fn until(&self, patience: Duration, mut wish: impl FnMut(&Truth) -> bool) -> bool {
        let end = self.now() + patience;
        loop {
            if self.with(|simulation| wish(simulation.truth())) {
                return true;
            }
            if self.now() >= end {
                return false;
            }
            self.tick().await;
        }
    }

    /// A step of the vehicle's time, but no less than a millisecond of ours.
    pub(super) fn step(&self) -> Duration {
        STEP.div_f64(self.speed).max(Duration::from_millis(1))
    }

    pub(super) async fn tick(&self) {
        sleep(self.step()).await;
    }

    /// Bytes go in, time passes, bytes come out; nothing if the cable is out.
    pub(super) fn turn(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let now = self.now();
        self.with(|simulation| {
            simulation.send(bytes, now);
            let arrived = simulation.advance(now);
            simulation.plugged().then_some(arrived)
        })
    }

    /// The vehicle lives with nobody at the near end, for ever.
    pub async fn alone(&self) {
        loop {
            self.turn(&[]);
            self.tick().await;
        }
    }

    /// Serves one stream until the other side closes it, or the cable is pulled out: then it is closed from here.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            let count = tokio::select! {
                read = stream.read(&mut buffer) => match read? {
                    0 => return Ok(()),
                    count => count,
                },
                () = self.tick() => 0,
            };
            let Some(arrived) = self.turn(&buffer[..count]) else {
                return Ok(());
            };
            // Whoever does not read loses it, as on a serial line; the vehicle does not wait.
            if !arrived.is_empty()
                && let Ok(written) = timeout(self.step(), stream.write_all(&arrived)).await
            {
                written?;
            }
        }
    }

    /// Serves whoever connects, one after the other, for ever.
    ///
    /// # Errors
    /// Those of accepting; a connection that breaks is none.
    pub async fn listen(&self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted?,
                () = self.alone() => continue,
            };
            let _ = self.serve(accepted.0).await;
        }
    }
}
