//! A port with nothing real behind it: a function answers what was written. Used only where the configuration says
//! `backend = "simulated"`, and by tests.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::{Framer, Framing};
use super::settings::{PortSettings, SerialSettings};
use super::{PortOpener, SerialError, SerialPort};
use crate::clock::BootTime;

/// Takes what was written, gives what comes back.
pub(in crate::device) type Responder = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// Opens simulated ports.
pub(in crate::device) struct SimulatedOpener {
    settings: PortSettings,
    responder: Arc<dyn Fn() -> Responder + Send + Sync>,
}

impl SimulatedOpener {
    /// A port behind which `responder` makes what answers, anew at each opening.
    pub fn new(settings: &PortSettings, responder: impl Fn() -> Responder + Send + Sync + 'static) -> Self {
        SimulatedOpener {
            settings: settings.clone(),
            responder: Arc::new(responder),
        }
    }

    /// An instrument that answers from its script and says nothing to what is not in there.
    pub fn instrument(settings: &SerialSettings) -> Self {
        let instrument = settings.clone();
        SimulatedOpener::new(&settings.port, move || scripted(instrument.clone()))
    }
}

/// Cuts what was written at the terminator, and answers each part.
fn scripted(settings: SerialSettings) -> Responder {
    let framing = match settings.send_terminator.as_slice() {
        [] => None,
        terminator => Some(Framing::Line {
            terminator: terminator.to_vec(),
        }),
    };
    let mut framer = framing.map(|framing| Framer::new(framing, settings.max_frame));
    Box::new(move |written| {
        let questions: Vec<Vec<u8>> = match &mut framer {
            Some(framer) => {
                framer.push(written, BootTime::default());
                std::iter::from_fn(|| framer.next(BootTime::default()))
                    .flatten()
                    .collect()
            }
            None => vec![written.to_vec()],
        };
        let mut answers = Vec::new();
        for question in questions {
            let question = settings.encoding.text(&question);
            let same = |known: &str| {
                let bytes = settings.encoding.bytes(known).unwrap_or_default();
                settings.encoding.text(&bytes) == question
            };
            if let Some((_, answer)) = settings.script.iter().find(|(known, _)| same(known)) {
                answers.extend(settings.encoding.bytes(answer).unwrap_or_default());
                if let Framing::Line { terminator } = &settings.framing {
                    answers.extend_from_slice(terminator);
                }
            }
        }
        answers
    })
}

impl PortOpener for SimulatedOpener {
    fn settings(&self) -> &PortSettings {
        &self.settings
    }

    fn open(&self) -> Result<Box<dyn SerialPort>, SerialError> {
        Ok(Box::new(SimulatedPort {
            responder: (self.responder)(),
            incoming: VecDeque::new(),
            reader: None,
        }))
    }
}

struct SimulatedPort {
    responder: Responder,
    incoming: VecDeque<u8>,
    reader: Option<Waker>,
}

impl SerialPort for SimulatedPort {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.incoming.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, from) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }

    fn unsent(&self) -> io::Result<usize> {
        Ok(0)
    }

    fn discard_unsent(&self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for SimulatedPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.read_now(buffer.initialize_unfilled()) {
            Ok(count) => {
                buffer.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(_) => {
                self.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for SimulatedPort {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let answer = (self.responder)(bytes);
        self.incoming.extend(answer);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
