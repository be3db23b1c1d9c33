use proptest::prelude::*;

use super::super::record::{Close, Report};
use super::super::samples;
use super::super::simulated::SplitMix64;
use super::*;

const SALT: u32 = 0x1234_5678;

/// A file of frames of some records each; where each frame ends, and how many records there are up to it.
fn journal(seed: u64, frames: usize) -> (Vec<u8>, Vec<Record>, Vec<(usize, usize)>) {
    let mut random = SplitMix64(seed);
    let (mut bytes, mut records) = (header(SALT).to_vec(), Vec::new());
    let mut ends = vec![(HEADER, 0)];
    for _ in 0..frames {
        let mut body = Vec::new();
        for _ in 0..=random.below(3) {
            let record = samples::any_record_at_all(&mut random);
            put(&mut body, &record);
            records.push(record);
        }
        let framed = frame(SALT, bytes.len() as u64, &body);
        bytes.extend_from_slice(&framed);
        ends.push((bytes.len(), records.len()));
    }
    (bytes, records, ends)
}

fn read_all(bytes: &[u8]) -> (Vec<Record>, Reading) {
    let mut records = Vec::new();
    let reading = read(bytes, |record| records.push(record)).unwrap();
    (records, reading)
}

#[test]
fn the_checksum_is_crc_32c() {
    // RFC 3720, appendix B.4, and the usual check value.
    assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
    assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
    assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
    assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
    assert_eq!(crc32c(&[]), 0);
}

#[test]
fn every_record_is_read_back() {
    for seed in 0..300 {
        let (bytes, records, _) = journal(seed, 12);
        let (read, reading) = read_all(&bytes);
        assert_eq!(read, records, "seed {seed}");
        let whole = Reading {
            salt: SALT,
            end: bytes.len(),
            torn: 0,
            damage: None,
        };
        assert_eq!(reading, whole, "seed {seed}");
    }
}

#[test]
fn any_prefix_reads_as_a_prefix_and_says_what_is_torn() {
    for seed in 0..8 {
        let (bytes, records, ends) = journal(seed, 6);
        for length in HEADER..=bytes.len() {
            let (read, reading) = read_all(&bytes[..length]);
            let (end, count) = *ends.iter().rfind(|(end, _)| *end <= length).unwrap();
            assert_eq!(read, records[..count], "seed {seed}, {length} bytes");
            assert_eq!(
                (reading.end, reading.torn, reading.damage),
                (end, length - end, None)
            );
        }
        for length in 0..HEADER {
            let (read, reading) = read_all(&bytes[..length]);
            assert!(
                read.is_empty() && reading.damage.is_some(),
                "a header is never torn"
            );
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed_and_costs_one_frame() {
    for seed in 0..4 {
        let (mut bytes, records, ends) = journal(seed, 5);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = {
                let mut read_records = Vec::new();
                read(&bytes, |record| read_records.push(record)).map(|reading| (read_records, reading))
            };
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (read, reading) = outcome.unwrap();
            if bit / 8 < HEADER {
                assert!(read.is_empty() && reading.damage.is_some(), "bit {bit}");
                continue;
            }
            let hit = ends.iter().rposition(|(end, _)| *end <= bit / 8).unwrap();
            let ((start, before), (end, after)) = (ends[hit], ends[hit + 1]);
            let rest: Vec<Record> = records[..before]
                .iter()
                .chain(&records[after..])
                .cloned()
                .collect();
            assert_eq!(read, rest, "seed {seed}, bit {bit}");
            if hit + 2 == ends.len() {
                assert_eq!((reading.torn, reading.damage), (end - start, None));
            } else {
                let bytes = end - start;
                assert_eq!(
                    (reading.torn, reading.damage),
                    (0, Some(Damage { at: start, bytes }))
                );
            }
        }
    }
}

#[test]
fn what_a_torn_end_may_look_like_on_a_real_disk_is_no_damage() {
    let (bytes, records, ends) = journal(3, 4);
    let (last, _) = ends[3];
    for tail in [
        vec![0; 4096],
        vec![0xff; 4096],
        vec![FRAME; 4096],
        // The length reached the disk, the content did not.
        [&bytes[last..last + FRAME_HEADER], &[0; 500]].concat(),
        // Blocks out of order: the end of the frame without its beginning.
        [&[0; 4][..], &bytes[last + 4..]].concat(),
        // A block that held another journal before.
        frame(SALT + 1, last as u64, b"whatever"),
        // An earlier frame of this one.
        bytes[ends[0].0..ends[1].0].to_vec(),
    ] {
        let torn = [&bytes[..last], &tail[..]].concat();
        let (read, reading) = read_all(&torn);
        assert_eq!(read, records[..ends[3].1]);
        assert_eq!((reading.torn, reading.damage), (tail.len(), None), "{tail:?}");
    }
}

#[test]
fn a_journal_within_a_result_is_not_taken_for_records() {
    // The forged frame is right but for where it stands, which whoever makes a result can't know together with the salt.
    let mut forged = Vec::new();
    put(
        &mut forged,
        &Record::FinalAtServer {
            process_id: "p".to_owned(),
        },
    );
    let forged = frame(SALT, 16, &forged);
    let mut body = Vec::new();
    let report = Report {
        close: Close::Failed(String::from_utf8_lossy(&forged).into_owned()),
        ..samples::report(samples::attempt(1, 0), Close::Successful, &[])
    };
    put(&mut body, &Record::Result(report));
    body.extend_from_slice(&forged);
    let mut bytes = header(SALT).to_vec();
    bytes.extend(frame(SALT, 16, &body));
    bytes.pop();
    let (read, reading) = read_all(&bytes);
    assert!(read.is_empty());
    assert_eq!((reading.torn, reading.damage), (bytes.len() - HEADER, None));
}

#[test]
fn a_right_frame_of_no_records_is_damage_wherever_it_stands() {
    let mut bytes = header(SALT).to_vec();
    let strange = frame(SALT, 16, &[1, 200]);
    bytes.extend_from_slice(&strange);
    let (read, reading) = read_all(&bytes);
    assert!(read.is_empty());
    assert_eq!(
        reading.damage,
        Some(Damage {
            at: 16,
            bytes: strange.len()
        })
    );
    assert_eq!(reading.end, bytes.len());
}

#[test]
fn a_later_format_is_left_alone() {
    let mut bytes = header(SALT);
    bytes[6] = 2;
    let check = crc32c(&[&bytes[..12]]);
    bytes[12..].copy_from_slice(&check.to_le_bytes());
    assert_eq!(read(&bytes, |_| {}), Err(Newer(2)));
    bytes[6] = 0;
    let check = crc32c(&[&bytes[..12]]);
    bytes[12..].copy_from_slice(&check.to_le_bytes());
    assert!(
        read(&bytes, |_| {}).unwrap().damage.is_some(),
        "there never was a version 0"
    );
}

#[test]
fn a_journal_made_to_cost_time_counts_as_damaged() {
    // Every fourth byte begins what could be a frame of 130 KB.
    let mut bytes = header(SALT).to_vec();
    bytes.extend([FRAME, 0, 0, 2].repeat(100_000));
    let (_, reading) = read_all(&bytes);
    assert!(reading.damage.is_some());
}

#[test]
fn the_largest_body_is_read_and_one_byte_more_is_not() {
    for (length, good) in [(MAX_BODY, true), (MAX_BODY + 1, false)] {
        let mut bytes = header(SALT).to_vec();
        bytes.extend(frame(SALT, 16, &vec![0; length]));
        // Zeros are no records: damage says that the frame was right.
        assert_eq!(read_all(&bytes).1.damage.is_some(), good);
    }
}

/// What this version writes, for ever: a change that breaks it needs a new version of the format.
#[test]
fn the_format_is_this() {
    let mut body = Vec::new();
    put(
        &mut body,
        &Record::Begun(samples::begun(samples::attempt(1, 1), super::super::Effect::Once)),
    );
    put(
        &mut body,
        &Record::FinalAtServer {
            process_id: "p0".to_owned(),
        },
    );
    let bytes = [&header(SALT)[..], &frame(SALT, 16, &body)].concat();
    assert_eq!(hex::encode(&bytes), GOLDEN);
    assert_eq!(read_all(&bytes).0.len(), 2);
}

const GOLDEN: &str = concat!(
    "4f504a524e4c010078563412c60a63b7",
    "f56800004275799c",
    "62028101000000000000000000000000000000000000000000000000000000000000000102f699dcdeceabe3ec300118746f67676c65",
    "106c616d700200420f9dd27cc2cf4a9eb4bf0c1d2e3f4a5b80b4c4c32180e888d2ddabe3ec300180b09dc2df01",
    "0408087030",
);

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, with_header: bool) {
        let bytes = if with_header { [&header(SALT)[..], &bytes].concat() } else { bytes };
        if let Ok(reading) = read(&bytes, |_| {}) {
            prop_assert!(reading.end + reading.torn <= bytes.len());
        }
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 1..200)) {
        let bytes = [&header(SALT)[..], &frame(SALT, 16, &body)].concat();
        let outcome = read(&bytes, |_| {});
        prop_assert!(outcome.is_ok());
    }

    #[test]
    fn a_mangled_journal_yields_only_its_own_records(
        seed in 0_u64..1000,
        edits in proptest::collection::vec((any::<usize>(), any::<u8>(), 0_usize..40, 0_usize..40), 1..4),
    ) {
        let (mut bytes, records, _) = journal(seed, 6);
        for (at, byte, remove, insert) in edits {
            let at = HEADER + at % (bytes.len() - HEADER + 1);
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, std::iter::repeat_n(byte, insert));
        }
        let (read, _) = read_all(&bytes);
        // In order, and nothing else.
        let mut rest = records.iter();
        for record in &read {
            prop_assert!(rest.any(|own| own == record), "{record:?}");
        }
    }
}
