//! Where answers on a serial line begin and end, and how bytes are written as text.

use std::time::Duration;

use outpost::clock::BootTime;
use outpost::device::serial::{Encoding, Framer, Framing, Oversize};

/// Frames are never longer than allowed, the memory is bounded, and how a stream is cut into reads changes nothing.
pub fn run(data: &[u8]) {
    let &[kind, limit, opened, ref rest @ ..] = data else {
        return;
    };
    let max_frame = usize::from(limit % 32) + 1;
    let terminators: [&[u8]; 5] = [b"\n", b"\r\n", b"\r", b"END", b"\n\n"];
    let framing = match kind % 7 {
        0 => Framing::Length(usize::from(kind / 7) % max_frame + 1),
        1 => Framing::Idle(Duration::from_millis(u64::from(kind / 7) + 1)),
        other => Framing::Line {
            terminator: terminators[usize::from(other) - 2].to_vec(),
        },
    };
    over_time(&framing, max_frame, opened % 2 == 1, rest);
    in_one_moment(&framing, max_frame, rest);
    both_ways(rest);
}

/// Bytes with pauses: each push begins with how many bytes, how long before it, and what is wanted then.
fn over_time(framing: &Framing, max_frame: usize, opened: bool, mut rest: &[u8]) {
    let mut framer = Framer::new(framing.clone(), max_frame);
    let mut now = at(1_000);
    if opened {
        framer.opened(now);
    }
    while let &[count, pause, wish, ref more @ ..] = rest {
        now = now + Duration::from_millis(u64::from(pause));
        match wish % 8 {
            0 => framer.only_later(now),
            1 => framer.forget_complete(now),
            2 => framer.clear(),
            _ => {}
        }
        let (bytes, later) = more.split_at(usize::from(count).min(more.len()));
        framer.push(bytes, now);
        if let Some(wake) = framer.wake() {
            assert!(wake > now || bytes.is_empty(), "a wake-up that was due already");
        }
        for frame in all(&mut framer, now) {
            within(framing, max_frame, &frame);
        }
        assert!(framer.fragment().len() <= max_frame + 1 + slack(framing));
        rest = later;
    }
}

/// The same bytes at once and one by one.
fn in_one_moment(framing: &Framing, max_frame: usize, bytes: &[u8]) {
    let end = at(10_000);
    let mut whole = Framer::new(framing.clone(), max_frame);
    whole.push(bytes, at(0));
    let mut single = Framer::new(framing.clone(), max_frame);
    for byte in bytes {
        single.push(&[*byte], at(0));
    }
    assert_eq!(whole.fragment(), single.fragment());
    let frames = all(&mut whole, end);
    assert_eq!(frames, all(&mut single, end));
    let total: usize = frames.iter().flatten().map(Vec::len).sum();
    assert!(total <= bytes.len(), "more came out than went in");
}

fn both_ways(bytes: &[u8]) {
    let hex = Encoding::Hex.text(bytes);
    assert_eq!(Encoding::Hex.bytes(&hex).as_deref(), Ok(bytes));
    let text = Encoding::Text.text(bytes);
    assert!(!text.contains('\0'), "{text:?}");
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(Encoding::Text.bytes(text).as_deref(), Ok(bytes));
        let _ = Encoding::Hex.bytes(text);
    }
}

fn within(framing: &Framing, max_frame: usize, frame: &Result<Vec<u8>, Oversize>) {
    match (frame, framing) {
        (Ok(frame), Framing::Length(length)) => assert_eq!(frame.len(), *length),
        (Ok(frame), _) => assert!((1..=max_frame).contains(&frame.len()), "{frame:?}"),
        (Err(oversize), Framing::Length(_)) => panic!("{oversize}"),
        (Err(oversize), _) => assert_eq!(oversize.max_frame, max_frame),
    }
}

fn slack(framing: &Framing) -> usize {
    match framing {
        Framing::Line { terminator } => terminator.len(),
        Framing::Length(_) | Framing::Idle(_) => 0,
    }
}

fn all(framer: &mut Framer, now: BootTime) -> Vec<Result<Vec<u8>, Oversize>> {
    std::iter::from_fn(|| framer.next(now)).collect()
}

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}
