//! The cable between an agent and its vehicle: bytes that wait on either side for whoever takes them. It is opened like any
//! port, and knows nothing of time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use outpost::device::drone::link::port::{Dial, Opening, Stream};
use outpost::device::drone::link::{Address, LinkError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the port of a machine keeps while nobody reads; what comes then is lost.
const KEPT: usize = 4096;

/// The cable; clones are the same.
#[derive(Clone, Default)]
pub struct Cable(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    is_out: bool,
    /// How often it was opened: an end that was opened before the last time is dead.
    opened: u64,
    is_open: bool,
    to_agent: VecDeque<u8>,
    to_vehicle: Vec<u8>,
    reader: Option<Waker>,
}

impl Cable {
    /// Bytes come from the vehicle.
    pub fn give(&self, bytes: &[u8]) {
        let mut ends = self.0.lock().unwrap();
        if !ends.is_open || bytes.is_empty() {
            return;
        }
        let room = KEPT.saturating_sub(ends.to_agent.len()).min(bytes.len());
        ends.to_agent.extend(&bytes[..room]);
        ends.wake();
    }

    /// Takes what goes to the vehicle.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap().to_vehicle)
    }

    /// Pulls it out, or puts it in.
    pub fn set_out(&self, is_out: bool) {
        let mut ends = self.0.lock().unwrap();
        ends.is_out = is_out;
        if is_out && ends.is_open {
            ends.close();
            ends.wake();
        }
    }
}

impl Ends {
    fn close(&mut self) {
        self.is_open = false;
        self.to_agent.clear();
        self.to_vehicle.clear();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl Dial for Cable {
    fn open(&self, address: &Address) -> Opening {
        let cable = self.clone();
        let address = address.to_string();
        Box::pin(async move {
            let mut ends = cable.0.lock().unwrap();
            if ends.is_out {
                return Err(LinkError::Unreachable {
                    address,
                    cause: "the cable is out".to_owned(),
                });
            }
            ends.close();
            ends.opened += 1;
            ends.is_open = true;
            let end = End {
                opened: ends.opened,
                cable: cable.clone(),
            };
            drop(ends);
            Ok(Box::new(end) as Box<dyn Stream>)
        })
    }
}

/// The agent's end.
struct End {
    opened: u64,
    cable: Cable,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.cable.0.lock().unwrap();
        if ends.opened != self.opened || !ends.is_open {
            return Poll::Ready(Ok(()));
        }
        if ends.to_agent.is_empty() {
            ends.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = into.remaining().min(ends.to_agent.len());
        let bytes: Vec<u8> = ends.to_agent.drain(..count).collect();
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.cable.0.lock().unwrap();
        if ends.opened != self.opened || !ends.is_open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ends.to_vehicle.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut ends = self.cable.0.lock().unwrap();
        if ends.opened == self.opened {
            ends.is_open = false;
            ends.to_agent.clear();
        }
    }
}
