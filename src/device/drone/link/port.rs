//! What is behind an address: a serial port, a TCP connection or UDP datagrams, all as a stream of bytes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::task::JoinHandle;

use super::address::{Address, Host};
use super::error::LinkError;
use crate::clock::{BootTime, SharedClock};
use crate::device::lock;
use crate::device::serial::{
    FlowControl, Parity, PortBackend, PortOpener as _, PortSettings, RealPort, Rs485, SerialError, SerialPort,
};

/// Who is listened to on a listening UDP port is let go after so long a silence.
const PEER_PATIENCE: Duration = Duration::from_secs(10);
/// The first byte of a frame, versions 1 and 2.
const STARTS: [u8; 2] = [mavlink::MAV_STX, mavlink::MAV_STX_V2];

/// An open port. Reading no bytes means that it is gone; dropping it closes it and throws away what was not sent. It is
/// never flushed or shut down.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An attempt to open a port.
pub type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, LinkError>> + Send>>;

/// What opens ports, again and again.
pub trait Dial: Send + Sync + 'static {
    /// One attempt, within a tokio runtime; nothing happens before it is polled. It has no deadline of its own.
    fn open(&self, address: &Address) -> Opening;
}

/// Opens the ports of this machine.
pub struct SystemDial {
    clock: SharedClock,
    /// A serial port that is being opened or closed: a USB adapter that hangs keeps the kernel waiting for seconds, so both
    /// happen on a thread, and never two at once.
    serial: Arc<Mutex<Threads>>,
}

type Opened = Result<Box<dyn SerialPort>, SerialError>;

#[derive(Default)]
struct Threads {
    opening: Option<JoinHandle<Opened>>,
    closing: Option<JoinHandle<()>>,
}

impl SystemDial {
    /// For one link. The clock is for those who may speak on a listening UDP port.
    pub fn new(clock: SharedClock) -> Self {
        SystemDial {
            clock,
            serial: Arc::default(),
        }
    }
}

impl Dial for SystemDial {
    fn open(&self, address: &Address) -> Opening {
        let clock = self.clock.clone();
        match address.clone() {
            Address::Serial { path, baud } => Box::pin(open_serial(self.serial.clone(), path, baud)),
            Address::Tcp(host) => Box::pin(open_tcp(host)),
            Address::UdpListen(host) => Box::pin(async move {
                let address = Address::UdpListen(host.clone());
                let failed = |cause: io::Error| LinkError::listening(&address, &cause);
                let socket = UdpSocket::bind((host.name.as_str(), host.port))
                    .await
                    .map_err(failed)?;
                Ok(Datagrams::boxed(socket, None, clock))
            }),
            Address::UdpSend(host) => Box::pin(async move {
                let address = Address::UdpSend(host.clone());
                let failed = |cause: io::Error| LinkError::connecting(&address, &cause);
                let peer = lookup_host((host.name.as_str(), host.port))
                    .await
                    .map_err(failed)?
                    .next()
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
                let any: SocketAddr = if peer.is_ipv4() {
                    ([0_u8; 4], 0).into()
                } else {
                    ([0_u16; 8], 0).into()
                };
                let socket = UdpSocket::bind(any).await.map_err(failed)?;
                Ok(Datagrams::boxed(socket, Some(peer), clock))
            }),
        }
    }
}

async fn open_tcp(host: Host) -> Result<Box<dyn Stream>, LinkError> {
    let connecting = |cause: io::Error| LinkError::connecting(&Address::Tcp(host.clone()), &cause);
    let stream = TcpStream::connect((host.name.as_str(), host.port))
        .await
        .map_err(connecting)?;
    // Frames are small and late ones are useless.
    stream.set_nodelay(true).map_err(connecting)?;
    Ok(Box::new(stream))
}

async fn open_serial(
    threads: Arc<Mutex<Threads>>,
    path: PathBuf,
    baud: u32,
) -> Result<Box<dyn Stream>, LinkError> {
    let settings = PortSettings {
        path: path.clone(),
        backend: PortBackend::Port,
        baud,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        flow_control: FlowControl::None,
        rs485: Rs485::Off,
        settle: Duration::ZERO,
    };
    let mut waiting = Waiting::new(threads.clone());
    let opened = waiting.open(RealPort(settings)).await.unwrap_or_else(|error| {
        Err(SerialError::Io {
            path,
            action: "open it",
            cause: error.to_string(),
        })
    })?;
    Ok(Box::new(OpenSerial {
        port: Some(opened),
        threads,
    }))
}

/// Waits for the threads; puts them back when nobody waits any more, to be taken up by the next attempt.
struct Waiting {
    threads: Arc<Mutex<Threads>>,
    mine: Threads,
}

impl Waiting {
    fn new(threads: Arc<Mutex<Threads>>) -> Self {
        let mine = std::mem::take(&mut *lock(&threads));
        Waiting { threads, mine }
    }

    async fn open(&mut self, port: RealPort) -> Result<Opened, tokio::task::JoinError> {
        if let Some(closing) = &mut self.mine.closing {
            let _ = closing.await;
            self.mine.closing = None;
        }
        let opening = self
            .mine
            .opening
            .get_or_insert_with(|| tokio::task::spawn_blocking(move || port.open()));
        let opened = opening.await;
        self.mine.opening = None;
        opened
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        *lock(&self.threads) = std::mem::take(&mut self.mine);
    }
}

/// A serial port that is closed on a thread.
struct OpenSerial {
    port: Option<Box<dyn SerialPort>>,
    threads: Arc<Mutex<Threads>>,
}

impl OpenSerial {
    fn port(&mut self) -> io::Result<Pin<&mut (dyn SerialPort + 'static)>> {
        match &mut self.port {
            Some(port) => Ok(Pin::new(&mut **port)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for OpenSerial {
    fn drop(&mut self) {
        let port = self.port.take();
        // Without a runtime the program is at its end, and waits for nothing else.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            lock(&self.threads).closing = Some(runtime.spawn_blocking(move || drop(port)));
        }
    }
}

impl AsyncRead for OpenSerial {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.port()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for OpenSerial {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.port()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Datagrams of one peer: the one that is given, or the first that sends something like a frame, until it falls silent.
struct Datagrams {
    socket: UdpSocket,
    fixed: bool,
    peer: Option<(SocketAddr, BootTime)>,
    clock: SharedClock,
}

impl Datagrams {
    fn boxed(socket: UdpSocket, peer: Option<SocketAddr>, clock: SharedClock) -> Box<dyn Stream> {
        Box::new(Datagrams {
            socket,
            fixed: peer.is_some(),
            peer: peer.map(|peer| (peer, clock.now())),
            clock,
        })
    }

    /// Whether what came from there is heard.
    fn hears(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let now = self.clock.now();
        let frame_like = bytes.first().is_some_and(|first| STARTS.contains(first));
        match &mut self.peer {
            Some((peer, last)) if *peer == from => {
                *last = now;
                !bytes.is_empty()
            }
            Some((_, last)) if self.fixed || now.saturating_since(*last) < PEER_PATIENCE => false,
            _ if frame_like => {
                self.peer = Some((from, now));
                true
            }
            _ => false,
        }
    }
}

impl AsyncRead for Datagrams {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let before = buffer.filled().len();
            let from = ready!(self.socket.poll_recv_from(context, buffer))?;
            if self.hears(from, &buffer.filled()[before..]) {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
        }
    }
}

impl AsyncWrite for Datagrams {
    /// One datagram. While nobody has spoken there is nobody to send to, and it is lost as datagrams are.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.peer {
            Some((peer, _)) => self.socket.poll_send_to(context, bytes, peer),
            None => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
