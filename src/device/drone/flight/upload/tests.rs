use super::*;
use crate::device::drone::wire::number::{CMD_NAV_WAYPOINT, FRAME_GLOBAL_RELATIVE_ALT_INT};

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn items(count: u16) -> Vec<Item> {
    let item = |seq| Item {
        list: ListKind::Mission,
        seq,
        frame: FRAME_GLOBAL_RELATIVE_ALT_INT,
        command: CMD_NAV_WAYPOINT,
        current: seq == 0,
        autocontinue: true,
        params: [0.0; 4],
        x: i32::from(seq),
        y: 0,
        z: 10.0,
    };
    (0..count).map(item).collect()
}

const fn request(seq: u16) -> Heard {
    Heard::MissionRequest {
        list: ListKind::Mission,
        seq,
    }
}

const fn ack(result: u8) -> Heard {
    Heard::MissionAck {
        list: ListKind::Mission,
        result,
    }
}

type Log = Vec<(u64, Said)>;

/// Runs against a peer: what it answers to each thing that is said, after 100 ms.
fn run(mut peer: impl FnMut(u64, &Said) -> Vec<Heard>) -> (Log, u64, Result<(), ListTrouble>) {
    let mut upload = Upload::new(ListKind::Mission, items(3), at(0));
    let mut log = Log::new();
    let mut answers: Vec<(u64, Heard)> = Vec::new();
    for millis in (0..200_000).step_by(50) {
        for (_, heard) in answers.iter().filter(|one| one.0 == millis) {
            upload.hear(heard, at(millis));
        }
        let (said, end) = upload.tick(at(millis));
        if let Some(said) = said {
            answers.extend(peer(millis, &said).into_iter().map(|heard| (millis + 100, heard)));
            log.push((millis, said));
        }
        if let Some(end) = end {
            return (log, millis, end);
        }
    }
    panic!("it has no end");
}

/// What a good autopilot answers.
fn good(said: &Said) -> Vec<Heard> {
    match said {
        Said::MissionCount { .. } => vec![request(0)],
        Said::MissionItem(item) if item.seq < 2 => vec![request(item.seq + 1)],
        _ => vec![ack(0)],
    }
}

fn counts(log: &Log) -> usize {
    log.iter()
        .filter(|one| matches!(one.1, Said::MissionCount { .. }))
        .count()
}

#[test]
fn an_upload_is_driven_by_what_is_asked_for() {
    let (log, millis, end) = run(|_, said| good(said));
    assert_eq!((log.len(), millis, end), (4, 400, Ok(())));
    let (log, _, end) = run(|_, said| [good(said), good(said)].concat());
    assert_eq!(end, Ok(()), "everything twice: {log:?}");
}

#[test]
fn what_is_lost_is_said_again() {
    // Every second answer is lost.
    let mut n = 0;
    let (_, _, end) = run(|_, said| {
        n += 1;
        if n % 2 == 0 { good(said) } else { vec![] }
    });
    assert_eq!(end, Ok(()));
    let (log, millis, end) = run(|_, _| vec![]);
    assert_eq!((log.len(), counts(&log), millis), (8, 8, 12_000));
    assert_eq!(end, Err(ListTrouble::Silent));
    // It stops in the middle.
    let (_, _, end) = run(|_, said| {
        if counts(&vec![(0, said.clone())]) == 1 {
            good(said)
        } else {
            vec![]
        }
    });
    assert_eq!(end, Err(ListTrouble::Silent));
    // Only the acknowledgement is lost: reading back decides.
    let (_, _, end) = run(|_, said| good(said).into_iter().filter(|heard| *heard != ack(0)).collect());
    assert_eq!(end, Ok(()));
    // The last item came twice, and is an error to it.
    let (_, _, end) = run(|_, said| match good(said).as_slice() {
        [one] if *one == ack(0) => vec![ack(1)],
        other => other.to_vec(),
    });
    assert_eq!(end, Ok(()));
}

#[test]
fn an_autopilot_that_is_starting_is_asked_again_later() {
    for busy in [MISSION_NO_SPACE, MISSION_OPERATION_CANCELLED, MISSION_ERROR] {
        let (log, millis, end) = run(|millis, said| {
            if millis < 10_000 {
                vec![ack(busy)]
            } else {
                good(said)
            }
        });
        assert_eq!(end, Ok(()), "{busy}");
        assert_eq!((counts(&log), millis / 1000), (5, 12), "{busy}: {log:?}");
    }
    let (_, millis, end) = run(|_, _| vec![ack(MISSION_NO_SPACE)]);
    assert_eq!((end, millis), (Err(ListTrouble::Refused(4)), 90_000));
}

#[test]
fn a_refusal_is_final_and_named() {
    let (log, millis, end) = run(|_, said| match said {
        Said::MissionItem(item) if item.seq == 1 => vec![ack(10)],
        other => good(other),
    });
    assert_eq!((log.len(), millis, end), (3, 300, Err(ListTrouble::Refused(10))));
    assert_eq!(
        ListTrouble::Refused(10).text(ListKind::Mission),
        "the autopilot refused the mission with INVALID_PARAM5_X"
    );
}

#[test]
fn what_is_not_about_this_upload_is_not_taken() {
    let mut upload = Upload::new(ListKind::Mission, items(2), at(0));
    upload.hear(&request(0), at(0));
    upload.hear(&ack(0), at(0));
    assert!(matches!(
        upload.tick(at(0)),
        (Some(Said::MissionCount { count: 2, .. }), None)
    ));
    // An acknowledgement of something before; an item that there is not; the other list.
    upload.hear(&ack(0), at(10));
    upload.hear(&request(2), at(10));
    let fence = Heard::MissionRequest {
        list: ListKind::Fence,
        seq: 0,
    };
    upload.hear(&fence, at(10));
    assert_eq!(upload.tick(at(10)), (None, None));
}

#[test]
fn a_list_is_emptied_or_that_is_given_up() {
    let mut clear = Clear::new(ListKind::Mission, at(0));
    let list = ListKind::Mission;
    let (empties, asks) = (Said::MissionClearAll { list }, Said::MissionRequestList { list });
    let count = |count| Heard::MissionCount { list, count };
    assert_eq!(clear.tick(at(0)).0, Some(empties.clone()));
    clear.hear(&ack(15), at(10));
    assert_eq!(clear.tick(at(20)), (None, None));
    clear.hear(&count(0), at(20));
    // That of the upload; its last item came after the command.
    clear.hear(&ack(0), at(30));
    assert_eq!(clear.tick(at(30)).0, Some(asks.clone()));
    clear.hear(&count(3), at(40));
    assert_eq!(clear.tick(at(40)).0, Some(empties));
    clear.hear(&ack(0), at(50));
    assert_eq!(clear.tick(at(50)).0, Some(asks));
    clear.hear(&count(1), at(60));
    assert_eq!(clear.tick(at(100)), (None, Some(true)));
    // Acknowledged, and then silent: nobody knows.
    let mut clear = Clear::new(list, at(0));
    assert!(clear.tick(at(0)).0.is_some());
    clear.hear(&ack(0), at(10));
    let said = (0..100).filter(|n| clear.tick(at(n * 100)).0.is_some()).count();
    assert_eq!((said, clear.tick(at(10_000)).1), (5, Some(false)));
    let mut clear = Clear::new(ListKind::Mission, at(0));
    let said = (0..100).filter(|n| clear.tick(at(n * 100)).0.is_some()).count();
    assert_eq!((said, clear.tick(at(10_000)).1), (5, Some(false)));
}
