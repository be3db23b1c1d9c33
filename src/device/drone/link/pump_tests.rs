use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

use super::super::frames::RawFrame;
use super::super::signing::SigningKey;
use super::*;
use crate::clock::{Clock as _, TestClock};
use crate::device::drone::wire::{Heard, number};
use crate::device::lock;
use crate::device::serial::test_port::there;

const US: Node = Node {
    system: 255,
    component: 191,
};
const VEHICLE: Node = Node {
    system: 1,
    component: 1,
};
/// 2026-11-01 in nanoseconds.
const GOOD: i64 = 1_793_491_200_000_000_000;

/// Opens what is put into it; without anything the vehicle can't be reached.
#[derive(Default)]
struct TestDial {
    next: Mutex<VecDeque<DuplexStream>>,
    attempts: AtomicUsize,
    hangs: bool,
}

impl TestDial {
    fn plug_in(&self, capacity: usize) -> DuplexStream {
        let (near, far) = duplex(capacity);
        lock(&self.next).push_back(near);
        far
    }
}

impl Dial for TestDial {
    fn open(&self, address: &Address) -> Opening {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.hangs {
            return Box::pin(std::future::pending());
        }
        let next = lock(&self.next).pop_front();
        let closed = LinkError::connecting(address, &io::ErrorKind::ConnectionRefused.into());
        Box::pin(async move {
            match next {
                Some(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
                None => Err(closed),
            }
        })
    }
}

struct Bench {
    link: Link,
    dial: Arc<TestDial>,
    clock: Arc<TestClock>,
}

fn bench_at(address: &str, dial: TestDial, signing: Option<Signing>) -> Bench {
    let clock = TestClock::new(GOOD);
    let dial = Arc::new(dial);
    let ends = Ends {
        us: US,
        vehicle: VEHICLE,
    };
    let address = Address::parse(address, None).unwrap();
    Bench {
        link: Link::new(address, ends, dial.clone(), clock.clone(), signing, 7),
        dial,
        clock,
    }
}

fn bench() -> Bench {
    bench_at("/dev/ttyTEST", TestDial::default(), None)
}

impl Bench {
    /// An open link, with its far end.
    async fn open(&mut self, capacity: usize) -> DuplexStream {
        let far = self.dial.plug_in(capacity);
        loop {
            if self.link.pump().await == Event::Opened {
                return far;
            }
        }
    }

    /// Pumps for so long; answers what happened.
    async fn pump(&mut self, millis: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let _ = timeout(Duration::from_millis(millis), async {
            loop {
                events.push(self.link.pump().await);
            }
        })
        .await;
        events
    }
}

fn heartbeat(from: Node, sequence: u8) -> RawFrame {
    RawFrame::new(from, sequence, 0, 50, &[4, 0, 0, 0, 2, 3, 81, 4, 3], false)
}

fn frames(bytes: &[u8]) -> Vec<RawFrame> {
    let mut deframer = Deframer::default();
    deframer.push(bytes);
    let mut frames = Vec::new();
    while let Some(found) = deframer.find() {
        match found {
            Found::Frame(frame) => frames.push(frame),
            Found::Unchecked { .. } => panic!("we say only what is known"),
        }
    }
    assert!(!deframer.waits() && deframer.passed().bytes == 0);
    frames
}

fn ids(bytes: &[u8]) -> Vec<u32> {
    frames(bytes).iter().map(RawFrame::id).collect()
}

fn senders(events: &[Event]) -> Vec<Node> {
    events
        .iter()
        .map(|event| match event {
            Event::Frame(frame) => frame.from,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn list() -> Said {
    Said::MissionRequestList {
        list: crate::device::drone::wire::ListKind::Mission,
    }
}

#[tokio::test(start_paused = true)]
async fn the_heart_beats_each_second_while_somebody_pumps_and_only_then() {
    let mut bench = bench();
    let mut far = bench.open(4096).await;
    assert_eq!(bench.pump(4500).await, []);
    assert_eq!(ids(&there(&mut far)), [0; 5]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(there(&mut far), b"", "a loop that does not turn is silent");
    assert_eq!(bench.pump(900).await, []);
    assert_eq!(ids(&there(&mut far)), [0], "missed ones are not made up for");
    assert_eq!(bench.pump(2000).await, []);
    assert_eq!(ids(&there(&mut far)), [0; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_stops_does_not_hold_up_the_heartbeat() {
    let mut bench = bench();
    let far = bench.open(64).await;
    let (mut from_far, mut to_far) = tokio::io::split(far);
    let flood = tokio::spawn(async move { while to_far.write_all(&[0x55; 64]).await.is_ok() {} });
    let beats = tokio::spawn(async move {
        let mut got = [0; 42];
        tokio::io::AsyncReadExt::read_exact(&mut from_far, &mut got)
            .await
            .unwrap();
        got
    });
    // Time passes by hand: the flood leaves the runtime no moment in which it would pass by itself.
    for _ in 0..30 {
        let _ = timeout(Duration::ZERO, bench.link.pump()).await;
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(ids(&beats.await.unwrap()), [0, 0]);
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_the_caller_goes_away_again_and_again() {
    let mut bench = bench();
    // A port that takes and gives a few bytes at a time.
    let mut far = bench.open(5).await;
    for _ in 0..3 {
        bench.link.say(&list()).unwrap();
    }
    let sent: Vec<u8> = (0..4)
        .flat_map(|number| heartbeat(VEHICLE, number).bytes().to_vec())
        .collect();
    let (mut to_send, mut came, mut heard) = (&sent[..], Vec::new(), 0);
    for _ in 0..200 {
        let written = timeout(Duration::ZERO, far.write(to_send)).await;
        to_send = &to_send[written.map_or(0, |count| count.unwrap())..];
        if let Ok(event) = timeout(Duration::from_millis(1), bench.link.pump()).await {
            assert!(matches!(event, Event::Frame(_)), "{event:?}");
            heard += 1;
        }
        came.extend(there(&mut far));
    }
    assert_eq!(heard, 4);
    let came = ids(&came);
    assert_eq!(came.iter().filter(|id| **id == 43).count(), 3);
    assert!(came.len() <= 5, "and a heartbeat or two: {came:?}");
    assert_eq!(bench.link.statistics().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn everybody_is_heard_once_and_what_is_damaged_is_counted() {
    let mut bench = bench();
    let mut far = bench.open(4096).await;
    let other = Node {
        system: 255,
        component: 190,
    };
    let mut bytes = b"noise".to_vec();
    for frame in [
        heartbeat(VEHICLE, 1),
        heartbeat(VEHICLE, 1),
        heartbeat(other, 9),
        heartbeat(US, 3),
        heartbeat(VEHICLE, 4),
    ] {
        bytes.extend_from_slice(frame.bytes());
    }
    let mut damaged = heartbeat(VEHICLE, 5).bytes().to_vec();
    damaged[12] ^= 1;
    bytes.extend(damaged);
    // MEMINFO, which only ArduPilot knows.
    bytes.extend_from_slice(RawFrame::new(VEHICLE, 5, 152, 208, &[1; 8], false).bytes());
    bytes.extend_from_slice(heartbeat(VEHICLE, 6).bytes());
    far.write_all(&bytes).await.unwrap();
    let events = bench.pump(100).await;
    assert_eq!(
        senders(&events),
        [VEHICLE, other, US, VEHICLE, VEHICLE],
        "others, and whoever says to be us"
    );
    let statistics = bench.link.statistics();
    assert_eq!(statistics.received_frames, 5);
    assert_eq!(statistics.received_bytes, bytes.len() as u64);
    assert_eq!(
        (statistics.lost, statistics.duplicated, statistics.late),
        (2, 1, 0)
    );
    assert_eq!((statistics.bad_checksum, statistics.unknown), (1, 1));
    assert_eq!(statistics.bad_signature, 0);
    assert!(statistics.noise_bytes > 5);
}

#[tokio::test(start_paused = true)]
async fn a_false_beginning_does_not_hide_a_slow_heartbeat() {
    let mut bench = bench();
    let mut far = bench.open(4096).await;
    // The header of a frame of 255 bytes.
    far.write_all(&[0xfd, 255, 0, 0, 1, 1, 1, 0, 0, 0]).await.unwrap();
    far.write_all(heartbeat(VEHICLE, 1).bytes()).await.unwrap();
    assert_eq!(bench.pump(400).await, [], "the rest of it may come");
    assert_eq!(senders(&bench.pump(200).await), [VEHICLE]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_port_is_opened_again_and_what_waited_is_not_sent() {
    let mut bench = bench();
    assert_eq!(bench.link.say(&list()), Err(NotSaid::Closed));
    let mut far = bench.open(4096).await;
    // Unplugged in the middle of a frame.
    far.write_all(&heartbeat(VEHICLE, 1).bytes()[..9]).await.unwrap();
    assert_eq!(bench.pump(100).await, []);
    bench.link.say(&list()).unwrap();
    drop(far);
    let event = bench.link.pump().await;
    let Event::Lost(cause) = &event else {
        panic!("{event:?}")
    };
    assert!(cause.to_string().contains("/dev/ttyTEST is gone"), "{cause}");
    assert!(!bench.link.is_open() && bench.link.problem() == Some(cause));
    assert_eq!(bench.link.say(&list()), Err(NotSaid::Closed));

    let mut far = bench.open(4096).await;
    assert_eq!(bench.link.problem(), None);
    far.write_all(&heartbeat(VEHICLE, 200).bytes()[9..])
        .await
        .unwrap();
    far.write_all(heartbeat(VEHICLE, 201).bytes()).await.unwrap();
    let events = bench.pump(900).await;
    assert_eq!(events.len(), 1, "the halves of two frames are none: {events:?}");
    assert_eq!(ids(&there(&mut far)), [0], "only the heartbeat");
    let statistics = bench.link.statistics();
    assert_eq!((statistics.openings, statistics.lost), (2, 0));
    assert_eq!(statistics.dropped_frames, 3);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_does_not_open_is_tried_on_at_leisure_and_told_once() {
    let mut bench = bench();
    let events = bench.pump(120_000).await;
    let [Event::Lost(cause)] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(cause.to_string().contains("can't reach"), "{cause}");
    let attempts = bench.dial.attempts.load(Ordering::SeqCst);
    assert!((20..60).contains(&attempts), "{attempts} in two minutes");
    let _far = bench.open(64).await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_hangs_is_given_up() {
    let dial = TestDial {
        hangs: true,
        ..TestDial::default()
    };
    let mut bench = bench_at("tcp:127.0.0.1:5760", dial, None);
    let events = bench.pump(25_000).await;
    let [Event::Lost(LinkError::OpenTimedOut { .. })] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(bench.dial.attempts.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_takes_nothing_is_given_up() {
    let mut bench = bench();
    let _far = bench.open(30).await;
    let mut taken = 0;
    let refused = loop {
        match bench.link.say(&list()) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, NotSaid::Full);
    assert!(taken < 100);
    let before = bench.clock.now();
    let event = bench.link.pump().await;
    assert!(
        matches!(&event, Event::Lost(LinkError::Held { waited, .. }) if *waited == WRITE_PATIENCE),
        "{event:?}"
    );
    let waited = bench.clock.now().saturating_since(before);
    assert!(
        waited >= WRITE_PATIENCE && waited < WRITE_PATIENCE * 2,
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_silent_tcp_connection_is_opened_again() {
    let mut serial = bench();
    let _far = serial.open(65536).await;
    assert_eq!(serial.pump(60_000).await, [], "an autopilot may be off");
    let mut tcp = bench_at("tcp:127.0.0.1:5760", TestDial::default(), None);
    let _far = tcp.open(65536).await;
    let event = tcp.link.pump().await;
    assert!(
        matches!(event, Event::Lost(LinkError::Silent { .. })),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_signed_link_signs_and_hears_only_what_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::new([9; 32]);
    let signing = |name| Signing::open(key.clone(), 1, &folder.path().join(name), GOOD.into()).unwrap();
    let mut bench = bench_at("/dev/ttyTEST", TestDial::default(), Some(signing("ours")));
    let mut theirs = signing("theirs");
    let mut far = bench.open(65536).await;

    assert_eq!(bench.pump(1500).await, []);
    let sent = frames(&there(&mut far));
    assert_eq!(sent.len(), 2);
    for frame in sent {
        assert_eq!(theirs.accept(&frame, GOOD.into()), Ok(()));
    }

    let mut signed = RawFrame::new(VEHICLE, 2, 0, 50, &[4, 0, 0, 0, 2, 3, 81, 4, 3], true);
    theirs.sign(&mut signed, GOOD.into());
    for frame in [heartbeat(VEHICLE, 1), signed, signed] {
        far.write_all(frame.bytes()).await.unwrap();
    }
    let events = bench.pump(100).await;
    assert_eq!(senders(&events), [VEHICLE]);
    let statistics = bench.link.statistics();
    assert_eq!(
        (statistics.bad_signature, statistics.duplicated),
        (2, 0),
        "one unsigned, one again"
    );
    let Some(Event::Frame(Frame {
        heard: Heard::Heartbeat { autopilot, .. },
        ..
    })) = events.first()
    else {
        panic!("{events:?}")
    };
    assert_eq!(*autopilot, number::AUTOPILOT_ARDUPILOTMEGA);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_a_connection_and_closes_it_at_once_is_left_in_peace() {
    let dial = TestDial::default();
    for _ in 0..300 {
        drop(dial.plug_in(64));
    }
    let mut bench = bench_at("tcp:127.0.0.1:5760", dial, None);
    let events = bench.pump(60_000).await;
    let opened = events.iter().filter(|event| **event == Event::Opened).count();
    assert!((6..30).contains(&opened), "{opened}");
}

#[tokio::test(start_paused = true)]
async fn why_two_ends_do_not_hear_each_other_is_known_by_their_signatures() {
    let folder = tempfile::tempdir().unwrap();
    let signing = |name: &str, key: u8, wall: i128| {
        Signing::open(SigningKey::new([key; 32]), 1, &folder.path().join(name), wall).unwrap()
    };
    let signed = |by: &mut Signing, sequence: u8, wall: i128| {
        let mut frame = RawFrame::new(VEHICLE, sequence, 0, 50, &[4, 0, 0, 0, 2, 3, 81, 4, 3], true);
        by.sign(&mut frame, wall);
        frame
    };
    let long_ago = i128::from(GOOD) - 3_600_000_000_000;
    let frames = [
        (heartbeat(VEHICLE, 1), [None, Some(SignatureTrouble::OnlyOurs)]),
        (
            signed(&mut signing("other", 8, GOOD.into()), 2, GOOD.into()),
            [
                Some(SignatureTrouble::OnlyTheirs),
                Some(SignatureTrouble::OtherKey),
            ],
        ),
        (
            signed(&mut signing("late", 9, long_ago), 3, long_ago),
            [Some(SignatureTrouble::OnlyTheirs), Some(SignatureTrouble::Late)],
        ),
        (
            signed(&mut signing("right", 9, GOOD.into()), 4, GOOD.into()),
            [Some(SignatureTrouble::OnlyTheirs), None],
        ),
    ];
    for (index, ours) in [None, Some(signing("ours", 9, GOOD.into()))]
        .into_iter()
        .enumerate()
    {
        let mut bench = bench_at("/dev/ttyTEST", TestDial::default(), ours);
        let mut far = bench.open(65536).await;
        assert_eq!(bench.link.signature_trouble(), None);
        for (frame, wanted) in &frames {
            far.write_all(frame.bytes()).await.unwrap();
            // Somebody else's say nothing about the vehicle's.
            far.write_all(heartbeat(US, frame.sequence()).bytes())
                .await
                .unwrap();
            bench.pump(100).await;
            assert_eq!(bench.link.signature_trouble(), wanted[index], "{index} {frame:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_ceiling_of_timestamps_is_raised_while_the_link_is_pumped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stamp");
    let signing = Signing::open(SigningKey::new([9; 32]), 1, &file, GOOD.into()).unwrap();
    let mut bench = bench_at("/dev/ttyTEST", TestDial::default(), Some(signing));
    let mut far = bench.open(1 << 20).await;
    let before = std::fs::read(&file).unwrap();
    let mut last = 0;
    for _ in 0..40 {
        assert_eq!(bench.pump(30_000).await, []);
        let mut came = there(&mut far);
        while let more = there(&mut far)
            && !more.is_empty()
        {
            came.extend(more);
        }
        for frame in frames(&came) {
            let (_, stamp, _) = frame.signature().unwrap();
            assert!(stamp > last);
            last = stamp;
        }
    }
    assert_ne!(std::fs::read(&file).unwrap(), before);
    // 20 minutes later they still follow the clock.
    let mut next = RawFrame::new(VEHICLE, 0, 0, 50, &[1], true);
    let mut reborn = Signing::open(SigningKey::new([9; 32]), 1, &file, 0).unwrap();
    reborn.sign(&mut next, 0);
    assert!(next.signature().unwrap().1 > last);
    let twenty_minutes = 20 * 60 * 100_000;
    let begin = u64::try_from((i128::from(GOOD) - 1_420_070_400_000_000_000) / 10_000).unwrap();
    assert!(last > begin + twenty_minutes - 10 * 100_000, "{last}");
}
