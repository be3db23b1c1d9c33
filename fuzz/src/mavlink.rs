//! The link to an autopilot: whatever comes, frames are cut out of it and read, and whole ones are never lost.

use outpost::device::drone::link::codec::Codec;
use outpost::device::drone::link::frames::{Deframer, Found, Passed, RawFrame};
use outpost::device::drone::wire::{Frame, Heard, Node, Said};

const US: Node = Node {
    system: 255,
    component: 191,
};
const VEHICLE: Node = Node {
    system: 1,
    component: 1,
};

/// How a stream is cut into reads changes nothing, no byte is unaccounted for, what is read of a frame is sane, and a frame
/// behind everything is found.
pub fn run(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let whole = take_apart(stream, stream.len().max(1));
    let (found, passed) = take_apart(stream, usize::from(cut) + 1);
    assert_eq!((&found, passed), (&whole.0, whole.1));
    let framed: usize = found.iter().map(|frame| frame.bytes().len()).sum();
    let left = stream.len() as u64 - framed as u64 - passed.bytes;
    assert!(left <= 280, "{left} bytes wait for the rest of a frame");

    let mut codec = Codec::new(US, VEHICLE);
    for raw in &found {
        for frame in codec.read(raw) {
            check(&frame);
        }
    }
    if let Some(frame) = codec.give_up_text() {
        check(&frame);
    }
    behind(stream);
}

fn take_apart(stream: &[u8], cut: usize) -> (Vec<RawFrame>, Passed) {
    let mut deframer = Deframer::default();
    let mut found = Vec::new();
    for piece in stream.chunks(cut) {
        push(&mut deframer, piece, &mut found);
    }
    (found, deframer.passed())
}

fn push(deframer: &mut Deframer, bytes: &[u8], found: &mut Vec<RawFrame>) {
    let mut rest = bytes;
    loop {
        let taken = deframer.push(rest);
        rest = &rest[taken..];
        let before = found.len();
        let mut unchecked = 0;
        while let Some(next) = deframer.find() {
            match next {
                Found::Frame(frame) => found.push(frame),
                Found::Unchecked { .. } => unchecked += 1,
            }
        }
        if rest.is_empty() {
            return;
        }
        assert!(taken > 0 || found.len() > before || unchecked > 0, "it got stuck");
    }
}

/// A frame that follows is found as soon as nothing before it is waited for any more.
fn behind(stream: &[u8]) {
    let Ok(frame) = Codec::new(VEHICLE, US).write(&Said::Heartbeat, 3, false) else {
        return;
    };
    let mut deframer = Deframer::default();
    let mut found = Vec::new();
    push(&mut deframer, stream, &mut found);
    let before = found.len();
    push(&mut deframer, frame.bytes(), &mut found);
    while deframer.waits() {
        deframer.give_up();
        push(&mut deframer, &[], &mut found);
    }
    // What begins before it, checks out and reaches into it takes those bytes: sixteen bits of a sum can be hit by chance.
    let all = [stream, frame.bytes()].concat();
    let reaches_into = |other: &[u8]| {
        let first = (stream.len() + 1).saturating_sub(other.len());
        (first..stream.len()).any(|at| all[at..].starts_with(other))
    };
    let found_or_covered = |other: &RawFrame| other == &frame || reaches_into(other.bytes());
    assert!(
        found[before..].iter().any(found_or_covered),
        "a whole frame was lost"
    );
}

fn check(frame: &Frame) {
    match &frame.heard {
        Heard::GlobalPosition { at, .. } | Heard::HomePosition { at, .. } => {
            assert!(at.latitude.abs() <= 90.0 && at.longitude.abs() <= 180.0);
        }
        Heard::StatusText { text, .. } => assert!(!text.contains(char::is_control)),
        Heard::ParamValue { name, .. } => assert!(name.bytes().all(|byte| byte.is_ascii_graphic())),
        Heard::SysStatus {
            battery_remaining, ..
        } => assert!(battery_remaining.is_none_or(|percent| percent <= 100)),
        _ => {}
    }
}
