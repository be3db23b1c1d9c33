//! One flight as a pure state machine: a frame or the time goes in, frames come out.
