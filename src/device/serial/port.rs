//! A serial port of this machine, through tokio-serial.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialPortBuilderExt as _, SerialStream};

use super::error::{self, SerialError};
use super::settings::{FlowControl, Parity, PortSettings, Rs485};
use super::{PortOpener, SerialPort};

/// Opens the port that the settings name.
pub(in crate::device) struct RealPort(pub PortSettings);

impl PortOpener for RealPort {
    fn settings(&self) -> &PortSettings {
        &self.0
    }

    fn open(&self) -> Result<Box<dyn SerialPort>, SerialError> {
        let settings = &self.0;
        let path = &settings.path;
        error::is_device(path)?;
        // Claims the port: TIOCEXCL against whoever opens it later (root excepted), and an exclusive flock.
        let stream = tokio_serial::new(path.to_string_lossy(), settings.baud)
            .data_bits(data_bits(settings))
            .parity(parity(settings))
            .stop_bits(stop_bits(settings))
            .flow_control(flow_control(settings))
            .open_native_async()
            .map_err(|error| error::opening(path, &error))?;
        verify(&stream, settings)?;
        if settings.rs485 != Rs485::Off {
            set_rs485(&stream, settings.rs485).map_err(|cause| SerialError::NoRs485 {
                path: path.clone(),
                cause: cause.to_string(),
            })?;
        }
        Ok(Box::new(OpenPort(stream)))
    }
}

fn data_bits(settings: &PortSettings) -> tokio_serial::DataBits {
    match settings.data_bits {
        5 => tokio_serial::DataBits::Five,
        6 => tokio_serial::DataBits::Six,
        7 => tokio_serial::DataBits::Seven,
        _ => tokio_serial::DataBits::Eight,
    }
}

fn parity(settings: &PortSettings) -> tokio_serial::Parity {
    match settings.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Even => tokio_serial::Parity::Even,
        Parity::Odd => tokio_serial::Parity::Odd,
    }
}

fn stop_bits(settings: &PortSettings) -> tokio_serial::StopBits {
    match settings.stop_bits {
        1 => tokio_serial::StopBits::One,
        _ => tokio_serial::StopBits::Two,
    }
}

fn flow_control(settings: &PortSettings) -> tokio_serial::FlowControl {
    match settings.flow_control {
        FlowControl::None => tokio_serial::FlowControl::None,
        FlowControl::Hardware => tokio_serial::FlowControl::Hardware,
        FlowControl::Software => tokio_serial::FlowControl::Software,
    }
}

/// Drivers may ignore what they can't do (tcsetattr succeeds if it could do anything at all): look what came of it.
fn verify(stream: &SerialStream, settings: &PortSettings) -> Result<(), SerialError> {
    let refused = |setting: String| SerialError::Refused {
        path: settings.path.clone(),
        setting,
    };
    // Clocks are divided, so the rate may be off by a little; beyond 3 % characters get lost.
    let near = |baud: u32| baud.abs_diff(settings.baud) <= settings.baud / 33;
    if !stream.baud_rate().is_ok_and(near) {
        return Err(refused(format!("baud = {}", settings.baud)));
    }
    if stream.data_bits().ok() != Some(data_bits(settings)) {
        return Err(refused(format!("data_bits = {}", settings.data_bits)));
    }
    if stream.parity().ok() != Some(parity(settings)) {
        return Err(refused(format!("parity = {:?}", settings.parity).to_lowercase()));
    }
    if stream.stop_bits().ok() != Some(stop_bits(settings)) {
        return Err(refused(format!("stop_bits = {}", settings.stop_bits)));
    }
    if stream.flow_control().ok() != Some(flow_control(settings)) {
        return Err(refused(
            format!("flow_control = {:?}", settings.flow_control).to_lowercase(),
        ));
    }
    Ok(())
}

/// `struct serial_rs485` of linux/serial.h: flags, two delays in milliseconds, and room for more.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KernelRs485 {
    flags: u32,
    delay_before_send: u32,
    delay_after_send: u32,
    padding: [u32; 5],
}

const _: () = assert!(size_of::<KernelRs485>() == 32);

const RS485_ENABLED: u32 = 1 << 0;
const RS485_RTS_ON_SEND: u32 = 1 << 1;
const RS485_RTS_AFTER_SEND: u32 = 1 << 2;
// asm-generic/ioctls.h; the same on every architecture that we build for.
const TIOCGRS485: rustix::ioctl::Opcode = 0x542e;
const TIOCSRS485: rustix::ioctl::Opcode = 0x542f;

/// Has the kernel switch the direction, and looks whether it really will: drivers clear what they can't do.
fn set_rs485(stream: &SerialStream, mode: Rs485) -> io::Result<()> {
    let rts = match mode {
        Rs485::Off => return Ok(()),
        Rs485::RtsHighSends => RS485_RTS_ON_SEND,
        Rs485::RtsLowSends => RS485_RTS_AFTER_SEND,
    };
    let wanted = KernelRs485 {
        flags: RS485_ENABLED | rts,
        delay_before_send: 0,
        delay_after_send: 0,
        padding: [0; 5],
    };
    #[expect(
        unsafe_code,
        reason = "no crate wraps these two requests; both take a pointer to struct serial_rs485, whose size is checked \
                  above, and the descriptor is borrowed from the open stream"
    )]
    let got = unsafe {
        let fd = BorrowedFd::borrow_raw(stream.as_raw_fd());
        rustix::ioctl::ioctl(fd, rustix::ioctl::Setter::<TIOCSRS485, KernelRs485>::new(wanted))?;
        rustix::ioctl::ioctl(fd, rustix::ioctl::Getter::<TIOCGRS485, KernelRs485>::new())?
    };
    let decisive = RS485_ENABLED | RS485_RTS_ON_SEND | RS485_RTS_AFTER_SEND;
    if got.flags & decisive != wanted.flags {
        return Err(io::Error::other("it ignores this polarity of RTS"));
    }
    Ok(())
}

/// The open port. Dropped, it throws away what was not sent yet: closing would else wait for it, and send it late.
struct OpenPort(SerialStream);

impl Drop for OpenPort {
    fn drop(&mut self) {
        // A port that is gone can't be cleared and need not.
        let _ = self.0.clear(ClearBuffer::All);
    }
}

impl SerialPort for OpenPort {
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }

    fn unsent(&self) -> io::Result<usize> {
        Ok(self.0.bytes_to_write()? as usize)
    }

    fn discard_unsent(&self) -> io::Result<()> {
        Ok(self.0.clear(ClearBuffer::Output)?)
    }
}

impl AsyncRead for OpenPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for OpenPort {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    /// Nothing, as [`SerialPort`] asks.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
