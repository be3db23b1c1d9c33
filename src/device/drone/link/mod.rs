//! Bytes, frames, signatures and ports.
