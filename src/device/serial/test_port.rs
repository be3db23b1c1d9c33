//! A port over a stream in memory, for tests in paused time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{PortOpener, PortSettings, SerialError, SerialPort};
use crate::clock::{Clock as _, TestClock};
use crate::device::lock;

/// What a test sees of the ports that were opened.
#[derive(Default)]
pub struct Wiring {
    /// What the next openings give; without an entry the port is missing.
    pub next: Mutex<VecDeque<DuplexStream>>,
    pub attempts: Mutex<Vec<u64>>,
    pub unsent: AtomicUsize,
    pub discarded: AtomicUsize,
    pub dropped: AtomicUsize,
}

pub struct TestOpener {
    pub settings: PortSettings,
    pub wiring: Arc<Wiring>,
    pub clock: Arc<TestClock>,
}

pub struct TestPort {
    stream: DuplexStream,
    pub wiring: Arc<Wiring>,
}

impl Drop for TestPort {
    fn drop(&mut self) {
        self.wiring.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl PortOpener for TestOpener {
    fn settings(&self) -> &PortSettings {
        &self.settings
    }

    fn open(&self) -> Result<Box<dyn SerialPort>, SerialError> {
        lock(&self.wiring.attempts).push(self.clock.now().as_nanos() / 1_000_000);
        match lock(&self.wiring.next).pop_front() {
            Some(stream) => Ok(Box::new(TestPort {
                stream,
                wiring: self.wiring.clone(),
            })),
            None => Err(SerialError::Missing {
                path: self.settings.path.clone(),
                there: vec![],
            }),
        }
    }
}

impl SerialPort for TestPort {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        let mut context = std::task::Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn unsent(&self) -> io::Result<usize> {
        Ok(self.wiring.unsent.load(Ordering::SeqCst))
    }

    fn discard_unsent(&self) -> io::Result<()> {
        self.wiring.discarded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl AsyncRead for TestPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TestPort {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        panic!("flushing a real port blocks the thread")
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        panic!("nobody shuts a port down")
    }
}

impl Wiring {
    /// The next opening succeeds; this is its far end.
    pub fn plug_in(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        lock(&self.next).push_back(near);
        far
    }
}

/// What lies on the line now.
pub fn there(far: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = [0; 1024];
    let mut buffer = ReadBuf::new(&mut bytes);
    let mut context = std::task::Context::from_waker(Waker::noop());
    let _ = Pin::new(far).poll_read(&mut context, &mut buffer);
    buffer.filled().to_vec()
}
