use super::*;

const OTHER: Node = Node {
    system: 1,
    component: 1,
};
const KEY: [u8; 32] = [9; 32];

/// 2026-11-01 in nanoseconds.
const GOOD: i128 = 1_793_491_200_000_000_000;
const SECOND: i128 = 1_000_000_000;

fn frame(id: u32, sequence: u8) -> RawFrame {
    RawFrame::new(OTHER, sequence, id, 50, &[1; 9], true)
}

fn signed(link: u8, stamp: u64) -> RawFrame {
    let mut frame = frame(0, 0);
    frame.set_signature(&KEY, link, stamp);
    frame
}

fn open(file: &Path, wall_nanos: i128) -> Result<Signing, SigningError> {
    Signing::open(SigningKey::new(KEY), 3, file, wall_nanos)
}

/// What the next frame is stamped with; the ceiling is raised as a link does it.
fn stamp(signing: &mut Signing, wall_nanos: i128) -> u64 {
    if let Some(raise) = signing.raise(wall_nanos) {
        raise.keep().unwrap();
        signing.raised(&raise);
    }
    let mut frame = frame(0, 0);
    signing.sign(&mut frame, wall_nanos);
    frame.signature().unwrap().1
}

#[test]
fn a_signature_is_that_of_the_crate() {
    let config = mavlink::SigningConfig::new(KEY, 3, true, false);
    let theirs = mavlink::SigningData::from_config(config);
    let header = mavlink::MavHeader {
        system_id: 1,
        component_id: 1,
        sequence: 4,
    };
    let mut raw = mavlink::MAVLinkV2MessageRaw::new();
    let data = mavlink::dialects::common::HEARTBEAT_DATA::default();
    let message = mavlink::dialects::common::MavMessage::HEARTBEAT(data);
    raw.serialize_message_for_signing(header, &message);
    theirs.sign_message(&mut raw);
    let mut deframer = super::super::frames::Deframer::default();
    deframer.push(raw.raw_bytes());
    let Some(super::super::frames::Found::Frame(found)) = deframer.find() else {
        panic!("not found");
    };
    let (link, stamp, value) = found.signature().unwrap();
    assert_eq!((link, value), (3, found.signature_by(&KEY)));
    let folder = tempfile::tempdir().unwrap();
    let mut ours = open(&folder.path().join("stamp"), 0).unwrap();
    assert_eq!(ours.accept(&found, 0), Ok(()));

    let mut back = frame(0, 4);
    back.set_signature(&KEY, 3, stamp + 1);
    let mut raw = [0; mavlink::consts::v2::FRAME_SIZE];
    raw[..back.bytes().len()].copy_from_slice(back.bytes());
    let raw = mavlink::MAVLinkV2MessageRaw::from_bytes_unparsed(raw);
    let fresh = mavlink::SigningData::from_config(mavlink::SigningConfig::new(KEY, 0, true, false));
    assert!(fresh.verify_signature(&raw));
}

#[test]
fn timestamps_rise_within_a_life_whatever_the_clock_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut signing = open(&folder.path().join("stamp"), GOOD).unwrap();
    let mut last = 0;
    for wall in [
        GOOD,
        GOOD,
        GOOD - 86_400 * SECOND,
        0,
        -SECOND,
        GOOD + SECOND,
        i128::MAX / 2,
        GOOD,
    ] {
        let next = stamp(&mut signing, wall);
        assert!(next > last, "{next} after {last} at {wall}");
        last = next;
    }
    let now = stamp_at(GOOD + SECOND).unwrap();
    assert!((now..now + 100).contains(&last), "they follow the clock");
}

#[test]
fn they_rise_across_boots_even_with_a_clock_in_1970() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stamp");
    let mut last = 0;
    for (boot, wall) in [
        GOOD,
        0,
        5 * SECOND,
        GOOD - 30 * 86_400 * SECOND,
        0,
        GOOD + 60 * SECOND,
    ]
    .into_iter()
    .enumerate()
    {
        let mut signing = open(&file, wall).unwrap();
        for second in 0..1000 {
            let next = stamp(&mut signing, wall + second * SECOND);
            assert!(next > last, "boot {boot}: {next} after {last}");
            last = next;
        }
    }
    let ahead = last - stamp_at(GOOD + 1060 * SECOND).unwrap();
    assert!(
        ahead <= 5 * (LEAD + RESERVE),
        "each crash puts them ahead by at most the lead"
    );
}

#[test]
fn a_clock_that_is_set_late_is_followed_only_once_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stamp");
    let mut signing = open(&file, 0).unwrap();
    let before = stamp(&mut signing, SECOND);
    // NTP sets the clock, and the disk is slow.
    let mut late = frame(0, 0);
    signing.sign(&mut late, GOOD);
    let meanwhile = late.signature().unwrap().1;
    assert!(meanwhile > before && meanwhile <= signing.stamps.ceiling);
    let raise = signing.raise(GOOD).unwrap();
    raise.keep().unwrap();
    signing.raised(&raise);
    assert_eq!(stamp(&mut signing, GOOD), stamp_at(GOOD).unwrap());
    let mut reborn = open(&file, 0).unwrap();
    assert!(stamp(&mut reborn, 0) > stamp_at(GOOD).unwrap());
}

#[test]
fn an_idle_day_writes_less_than_a_megabyte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stamp");
    let mut signing = open(&file, GOOD).unwrap();
    let mut writes = 0;
    for second in 0..86_400 {
        let wall = GOOD + second * SECOND;
        if let Some(raise) = signing.raise(wall) {
            signing.raised(&raise);
            writes += 1;
        }
        signing.sign(&mut frame(0, 0), wall);
    }
    // A page each.
    assert!(writes > 0 && writes * 4096 < 1_000_000, "{writes} writes");
}

#[test]
fn a_disk_that_fails_in_flight_stops_no_frame_and_breaks_no_promise() {
    let folder = tempfile::tempdir().unwrap();
    let mut signing = open(&folder.path().join("stamp"), GOOD).unwrap();
    let ceiling = signing.stamps.ceiling;
    let mut last = 0;
    for second in 0..20_000 {
        let mut frame = frame(0, 0);
        signing.sign(&mut frame, GOOD + second * SECOND);
        let next = frame.signature().unwrap().1;
        assert!(next > last && next < ceiling);
        last = next;
    }
}

#[test]
fn signing_does_not_begin_without_a_place_to_keep_its_timestamp() {
    let folder = tempfile::tempdir().unwrap();
    // Permissions would not stop root: a file where a folder should be stops everybody.
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let error = open(&blocked.join("stamp"), GOOD).unwrap_err().to_string();
    assert!(error.contains("make that folder writable"), "{error}");
    // A folder that is not there yet is made.
    let new = folder.path().join("mavlink/stamp");
    open(&new, GOOD).unwrap();
    assert!(new.exists());
}

#[test]
fn after_a_torn_file_a_set_clock_takes_its_place_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stamp");
    let mut signing = open(&file, GOOD).unwrap();
    let last = stamp(&mut signing, GOOD + 500 * SECOND);
    std::fs::write(&file, "mavlink-sig").unwrap();
    let error = open(&file, 0).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("set it"), "{error}");
    let mut reborn = open(&file, GOOD + 500 * SECOND).unwrap();
    assert!(stamp(&mut reborn, GOOD + 500 * SECOND) > last);
    assert!(open(&file, 0).is_ok(), "it is whole again");
}

#[test]
fn what_is_not_signed_right_or_was_heard_before_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut signing = open(&folder.path().join("stamp"), GOOD).unwrap();
    let now = stamp_at(GOOD).unwrap();
    let mut accept = |frame: &RawFrame| signing.accept(frame, GOOD);
    let unsigned = RawFrame::new(OTHER, 0, 0, 50, &[1; 9], false);
    assert_eq!(accept(&unsigned), Err(Refused::Unsigned));
    let radio = RawFrame::new(OTHER, 0, RADIO_STATUS, 185, &[1; 9], false);
    assert_eq!(accept(&radio), Ok(()), "radios have no key");

    let mut wrong = frame(0, 0);
    wrong.set_signature(&[8; 32], 3, now);
    assert_eq!(accept(&wrong), Err(Refused::Signature));
    assert_eq!(accept(&signed(1, now)), Ok(()), "the wrong one left no trace");
    assert_eq!(accept(&signed(1, now)), Err(Refused::Old));
    assert_eq!(accept(&signed(1, now - 1)), Err(Refused::Old));
    assert_eq!(accept(&signed(1, now + 1)), Ok(()));
    assert_eq!(
        accept(&signed(2, now - NEW_STREAM / 2)),
        Ok(()),
        "another link has its own"
    );
    assert_eq!(
        accept(&signed(4, now - 2 * NEW_STREAM)),
        Err(Refused::Old),
        "new and from long ago"
    );
    for link in 5..40 {
        let _ = accept(&signed(link, now));
    }
    assert_eq!(accept(&signed(99, now)), Err(Refused::Crowd));
    assert_eq!(accept(&signed(1, now + 2)), Ok(()));
}

#[test]
fn a_board_without_a_clock_learns_the_time_from_the_vehicle() {
    let folder = tempfile::tempdir().unwrap();
    let mut signing = open(&folder.path().join("stamp"), 0).unwrap();
    let now = stamp_at(GOOD).unwrap();
    signing.accept(&signed(1, now), 0).unwrap();
    let mut first = frame(0, 0);
    signing.sign(&mut first, 0);
    assert!(first.signature().unwrap().1 < now, "not before it is kept");
    assert!(stamp(&mut signing, 0) >= now);
}

#[test]
fn the_key_is_never_shown() {
    assert_eq!(format!("{:?}", SigningKey::new(KEY)), "SigningKey");
}
