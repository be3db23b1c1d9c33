//! Records by seed, about few processes, so that they meet.

use super::record::*;
use super::simulated::SplitMix64;
use crate::clock::BootTime;
use crate::device::Effect;
use crate::protocol::Time;
use crate::protocol::model::{Attribute, AttributeKind};

pub(super) const BASE: i128 = 1_760_000_000_000_000_000;
const DAY: i128 = 86_400_000_000_000;

pub(super) fn process_id(number: usize) -> String {
    if number.is_multiple_of(5) {
        format!("p{number}")
    } else {
        format!("{number:064x}")
    }
}

pub(super) fn moment(seconds: u64) -> Moment {
    Moment {
        boot_id: "0f9dd27c-c2cf-4a9e-b4bf-0c1d2e3f4a5b".to_owned(),
        boot: BootTime::from_nanos(seconds * 1_000_000_000),
        wall: Time::from_unix_nanos(BASE + i128::from(seconds) * 1_000_000_000),
    }
}

pub(super) fn attempt(number: usize, retries: i64) -> Attempt {
    Attempt {
        process_id: process_id(number),
        retries,
        start_time: Time::from_unix_nanos(BASE + i128::from(retries) * 7_000_000_123),
    }
}

pub(super) fn begun(attempt: Attempt, effect: Effect) -> Begun {
    Begun {
        attempt,
        role: Role::Control,
        verb: "toggle".to_owned(),
        device: "lamp".to_owned(),
        effect,
        repeat: false,
        at: moment(9),
        lease_end: Some(BootTime::from_nanos(60_000_000_000)),
        beginning: 1,
    }
}

pub(super) fn report(attempt: Attempt, close: Close, values: &[&str]) -> Report {
    let attribute = |(at, value): (usize, &&str)| Attribute {
        target_id: attempt.process_id.clone(),
        target_colony_id: process_id(1),
        kind: AttributeKind::Out,
        key: format!("key{at}"),
        value: (*value).to_owned(),
        ..Attribute::default()
    };
    Report {
        role: Role::Work,
        close,
        attributes: values.iter().enumerate().map(attribute).collect(),
        attached: 0,
        at: moment(10),
        lease_end: None,
        not_after: None,
        attempt,
    }
}

pub(super) fn any_text(random: &mut SplitMix64, most: usize) -> String {
    let letters = ['a', '0', 'f', 'é', '\n', '\u{1f4a1}', '\0', '-', '"'];
    (0..random.below(most + 1))
        .map(|_| letters[random.below(letters.len())])
        .collect()
}

fn any_attempt(random: &mut SplitMix64) -> Attempt {
    attempt(random.below(12), random.below(3) as i64)
}

fn any_effect(random: &mut SplitMix64) -> Effect {
    [Effect::Read, Effect::Set, Effect::Once][random.below(3)]
}

fn any_close(random: &mut SplitMix64) -> Close {
    match random.below(2) {
        0 => Close::Successful,
        _ => Close::Failed(any_text(random, 300)),
    }
}

fn any_option<T>(random: &mut SplitMix64, value: T) -> Option<T> {
    (random.below(2) == 0).then_some(value)
}

fn any_boot_time(random: &mut SplitMix64) -> Option<BootTime> {
    let time = BootTime::from_nanos(random.next_u64() >> random.below(64));
    any_option(random, time)
}

/// One that an agent would append.
pub(super) fn any_record(random: &mut SplitMix64) -> Record {
    let attempt = any_attempt(random);
    let wall = Time::from_unix_nanos(BASE + random.below(400) as i128 * DAY / 8);
    match random.below(13) {
        0..=2 => {
            let effect = any_effect(random);
            let mut begun = begun(attempt, effect);
            begun.repeat = random.below(4) == 0;
            begun.verb = any_text(random, 5);
            begun.lease_end = any_boot_time(random);
            begun.beginning = 1 + random.below(3) as u32;
            Record::Begun(begun)
        }
        3..=4 => {
            let values: Vec<String> = (0..random.below(4)).map(|_| any_text(random, 40)).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let mut report = report(attempt, any_close(random), &values);
            report.lease_end = any_boot_time(random);
            report.not_after = any_boot_time(random);
            for attribute in &mut report.attributes {
                attribute.kind = [
                    AttributeKind::In,
                    AttributeKind::Out,
                    AttributeKind::Err,
                    AttributeKind::Env,
                    AttributeKind::Other(-3),
                    AttributeKind::Other(0),
                    AttributeKind::Other(i64::MAX),
                    AttributeKind::Other(i64::MIN),
                ][random.below(8)];
                if random.below(3) == 0 {
                    attribute.target_id = "elsewhere".to_owned();
                }
            }
            Record::Result(report)
        }
        5 => Record::AttributeDelivered {
            attempt,
            index: random.below(5) as u32,
        },
        6 => Record::Delivered { attempt },
        7 => Record::Moot {
            attempt,
            reason: any_text(random, 60),
        },
        8 => Record::Refused(Refused {
            process_id: attempt.process_id,
            verb: any_text(random, 100),
            device: any_text(random, 100),
            reason: any_text(random, 300),
            wall,
        }),
        9 => Record::FinalAtServer {
            process_id: attempt.process_id,
        },
        10 => Record::LastGoodTime { wall },
        11 => match random.below(8) {
            0 => Record::Distrusted {
                why: [Distrust::Damaged, Distrust::Missing][random.below(2)],
            },
            1 => Record::Opened(Opened {
                at: moment(random.below(99) as u64),
                machine: Machine::of(&any_text(random, 9)),
            }),
            _ => Record::Accepted { wall },
        },
        _ => {
            let mut past = attempt;
            past.start_time = wall;
            Record::Moot {
                attempt: past,
                reason: "unknown".to_owned(),
            }
        }
    }
    .bounded()
    .unwrap()
}

/// What a state is made of after compaction, too.
pub(super) fn any_record_at_all(random: &mut SplitMix64) -> Record {
    let ended = [
        Ended::Not,
        Ended::Successful,
        Ended::Failed(any_text(random, 20)),
        Ended::Left(any_text(random, 20)),
    ][random.below(4)]
    .clone();
    match (random.below(8), any_record(random)) {
        (0, Record::Begun(begun)) => Record::Unfinished(begun),
        (0, Record::Result(report)) => Record::Waiting(report),
        (0, Record::Delivered { attempt }) => Record::Mark {
            mark: Mark {
                retries: attempt.retries,
                day: random.below(1000) as u32,
                ended,
                is_final: random.below(2) == 0,
            },
            process_id: attempt.process_id,
        },
        (0, Record::LastGoodTime { wall }) => Record::Days {
            days: random.below(1000) as u32,
            last_good_time: any_option(random, wall),
        },
        (0, Record::Refused(refused)) => Record::Past(Past {
            attempt: any_attempt(random),
            verb: refused.verb,
            device: refused.device,
            wall: refused.wall,
            refused: any_option(random, refused.reason),
            ended,
            delivery: [
                Delivery::Nothing,
                Delivery::Waiting,
                Delivery::Taken,
                Delivery::Moot(any_text(random, 20)),
            ][random.below(4)]
            .clone(),
        }),
        (_, record) => record,
    }
}
