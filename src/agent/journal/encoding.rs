//! Records as bytes: one byte for the kind, then its fields in the order in which they stand here.

use super::codec::{Reader, Writer};
use super::record::{
    Attempt, Begun, Close, Delivery, Distrust, Ended, Machine, Mark, Moment, Opened, Past, Record, Refused,
    Report, Role,
};
use crate::clock::BootTime;
use crate::device::Effect;
use crate::protocol::Time;
use crate::protocol::model::{Attribute, AttributeKind};

impl Record {
    /// Appends its bytes.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let out = &mut Writer(bytes);
        match self {
            Record::Opened(opened) => {
                out.byte(kind::OPENED);
                write_moment(out, &opened.at);
                out.text(&opened.machine.0);
            }
            Record::Begun(begun) => {
                out.byte(kind::BEGUN);
                write_begun(out, begun);
            }
            Record::Result(report) => {
                out.byte(kind::RESULT);
                write_report(out, report);
            }
            Record::AttributeDelivered { attempt, index } => {
                out.byte(kind::ATTRIBUTE_DELIVERED);
                write_attempt(out, attempt);
                out.unsigned(u128::from(*index));
            }
            Record::Delivered { attempt } => {
                out.byte(kind::DELIVERED);
                write_attempt(out, attempt);
            }
            Record::Moot { attempt, reason } => {
                out.byte(kind::MOOT);
                write_attempt(out, attempt);
                out.text(reason);
            }
            Record::Refused(refused) => {
                out.byte(kind::REFUSED);
                out.text(&refused.process_id);
                out.text(&refused.verb);
                out.text(&refused.device);
                out.text(&refused.reason);
                write_time(out, refused.wall);
            }
            Record::FinalAtServer { process_id } => {
                out.byte(kind::FINAL_AT_SERVER);
                out.text(process_id);
            }
            Record::LastGoodTime { wall } => {
                out.byte(kind::LAST_GOOD_TIME);
                write_time(out, *wall);
            }
            Record::Distrusted { why } => {
                out.byte(kind::DISTRUSTED);
                match why {
                    Distrust::Damaged => out.byte(0),
                    Distrust::Missing => out.byte(1),
                }
            }
            Record::Accepted { wall } => {
                out.byte(kind::ACCEPTED);
                write_time(out, *wall);
            }
            Record::Days { days, last_good_time } => {
                out.byte(kind::DAYS);
                out.unsigned(u128::from(*days));
                out.option(*last_good_time, write_time);
            }
            Record::Mark { process_id, mark } => {
                out.byte(kind::MARK);
                out.text(process_id);
                out.signed(i128::from(mark.retries));
                out.unsigned(u128::from(mark.day));
                write_ended(out, &mark.ended);
                out.flag(mark.is_final);
            }
            Record::Past(past) => {
                out.byte(kind::PAST);
                write_past(out, past);
            }
            Record::Unfinished(begun) => {
                out.byte(kind::UNFINISHED);
                write_begun(out, begun);
            }
            Record::Waiting(report) => {
                out.byte(kind::WAITING);
                write_report(out, report);
            }
        }
    }

    /// Of all these bytes; `None` if they are no record.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let from = &mut Reader(bytes);
        let record = match from.byte()? {
            kind::OPENED => Record::Opened(Opened {
                at: read_moment(from)?,
                machine: Machine(from.text()?),
            }),
            kind::BEGUN => Record::Begun(read_begun(from)?),
            kind::RESULT => Record::Result(read_report(from)?),
            kind::ATTRIBUTE_DELIVERED => Record::AttributeDelivered {
                attempt: read_attempt(from)?,
                index: from.number()?,
            },
            kind::DELIVERED => Record::Delivered {
                attempt: read_attempt(from)?,
            },
            kind::MOOT => Record::Moot {
                attempt: read_attempt(from)?,
                reason: from.text()?,
            },
            kind::REFUSED => Record::Refused(Refused {
                process_id: from.text()?,
                verb: from.text()?,
                device: from.text()?,
                reason: from.text()?,
                wall: read_time(from)?,
            }),
            kind::FINAL_AT_SERVER => Record::FinalAtServer {
                process_id: from.text()?,
            },
            kind::LAST_GOOD_TIME => Record::LastGoodTime {
                wall: read_time(from)?,
            },
            kind::DISTRUSTED => Record::Distrusted {
                why: match from.byte()? {
                    0 => Distrust::Damaged,
                    1 => Distrust::Missing,
                    _ => return None,
                },
            },
            kind::ACCEPTED => Record::Accepted {
                wall: read_time(from)?,
            },
            kind::DAYS => Record::Days {
                days: from.number()?,
                last_good_time: from.option(read_time)?,
            },
            kind::MARK => Record::Mark {
                process_id: from.text()?,
                mark: Mark {
                    retries: read_retries(from)?,
                    day: from.number()?,
                    ended: read_ended(from)?,
                    is_final: from.flag()?,
                },
            },
            kind::PAST => Record::Past(read_past(from)?),
            kind::UNFINISHED => Record::Unfinished(read_begun(from)?),
            kind::WAITING => Record::Waiting(read_report(from)?),
            _ => return None,
        };
        from.is_empty().then_some(record)
    }
}

/// The first byte of each record. A number is never given a second meaning; a new one needs a new version of the format.
mod kind {
    pub(super) const OPENED: u8 = 1;
    pub(super) const BEGUN: u8 = 2;
    pub(super) const RESULT: u8 = 3;
    pub(super) const ATTRIBUTE_DELIVERED: u8 = 4;
    pub(super) const DELIVERED: u8 = 5;
    pub(super) const MOOT: u8 = 6;
    pub(super) const REFUSED: u8 = 7;
    pub(super) const FINAL_AT_SERVER: u8 = 8;
    pub(super) const LAST_GOOD_TIME: u8 = 9;
    pub(super) const DISTRUSTED: u8 = 10;
    pub(super) const ACCEPTED: u8 = 11;
    pub(super) const DAYS: u8 = 12;
    pub(super) const MARK: u8 = 13;
    pub(super) const PAST: u8 = 14;
    pub(super) const UNFINISHED: u8 = 15;
    pub(super) const WAITING: u8 = 16;
}

fn write_time(out: &mut Writer<'_>, time: Time) {
    out.signed(time.unix_nanos());
}

fn read_time(from: &mut Reader<'_>) -> Option<Time> {
    let nanos = from.signed()?;
    let time = Time::from_unix_nanos(nanos);
    (time.unix_nanos() == nanos).then_some(time)
}

fn write_boot_time(out: &mut Writer<'_>, time: BootTime) {
    out.unsigned(u128::from(time.as_nanos()));
}

fn read_boot_time(from: &mut Reader<'_>) -> Option<BootTime> {
    from.number().map(BootTime::from_nanos)
}

fn write_moment(out: &mut Writer<'_>, moment: &Moment) {
    out.text(&moment.boot_id);
    write_boot_time(out, moment.boot);
    write_time(out, moment.wall);
}

fn read_moment(from: &mut Reader<'_>) -> Option<Moment> {
    Some(Moment {
        boot_id: from.text()?,
        boot: read_boot_time(from)?,
        wall: read_time(from)?,
    })
}

fn read_retries(from: &mut Reader<'_>) -> Option<i64> {
    i64::try_from(from.signed()?).ok()
}

fn write_attempt(out: &mut Writer<'_>, attempt: &Attempt) {
    out.text(&attempt.process_id);
    out.signed(i128::from(attempt.retries));
    write_time(out, attempt.start_time);
}

fn read_attempt(from: &mut Reader<'_>) -> Option<Attempt> {
    Some(Attempt {
        process_id: from.text()?,
        retries: read_retries(from)?,
        start_time: read_time(from)?,
    })
}

fn write_role(out: &mut Writer<'_>, role: Role) {
    out.byte(match role {
        Role::Work => 0,
        Role::Control => 1,
    });
}

fn read_role(from: &mut Reader<'_>) -> Option<Role> {
    match from.byte()? {
        0 => Some(Role::Work),
        1 => Some(Role::Control),
        _ => None,
    }
}

/// [`Begun::beginning`] of an attempt that no crash interrupted.
const FIRST: u32 = 1;

fn write_begun(out: &mut Writer<'_>, begun: &Begun) {
    write_attempt(out, &begun.attempt);
    write_role(out, begun.role);
    out.text(&begun.verb);
    out.text(&begun.device);
    out.byte(match begun.effect {
        Effect::Read => 0,
        Effect::Set => 1,
        Effect::Once => 2,
    });
    out.flag(begun.repeat);
    write_moment(out, &begun.at);
    out.option(begun.lease_end, write_boot_time);
    // Nearly always the first, which takes no room.
    if begun.beginning != FIRST {
        out.unsigned(u128::from(begun.beginning));
    }
}

fn read_begun(from: &mut Reader<'_>) -> Option<Begun> {
    Some(Begun {
        attempt: read_attempt(from)?,
        role: read_role(from)?,
        verb: from.text()?,
        device: from.text()?,
        effect: match from.byte()? {
            0 => Effect::Read,
            1 => Effect::Set,
            2 => Effect::Once,
            _ => return None,
        },
        repeat: from.flag()?,
        at: read_moment(from)?,
        lease_end: from.option(read_boot_time)?,
        beginning: if from.is_empty() {
            FIRST
        } else {
            from.number().filter(|beginning| *beginning != FIRST)?
        },
    })
}

pub(super) fn write_report(out: &mut Writer<'_>, report: &Report) {
    write_attempt(out, &report.attempt);
    write_role(out, report.role);
    match &report.close {
        Close::Successful => out.byte(0),
        Close::Failed(reason) => {
            out.byte(1);
            out.text(reason);
        }
    }
    out.unsigned(u128::from(report.attached));
    out.unsigned(report.attributes.len() as u128);
    for attribute in &report.attributes {
        write_attribute(out, attribute, &report.attempt.process_id);
    }
    write_moment(out, &report.at);
    out.option(report.lease_end, write_boot_time);
    out.option(report.not_after, write_boot_time);
}

fn read_report(from: &mut Reader<'_>) -> Option<Report> {
    let attempt = read_attempt(from)?;
    let role = read_role(from)?;
    let close = match from.byte()? {
        0 => Close::Successful,
        1 => Close::Failed(from.text()?),
        _ => return None,
    };
    let attached = from.number()?;
    let count: usize = from.number()?;
    // No reserving by a number that was only read: each takes some bytes, which run out.
    let mut attributes = Vec::new();
    for _ in 0..count {
        attributes.push(read_attribute(from, &attempt.process_id)?);
    }
    Some(Report {
        attempt,
        role,
        close,
        attributes,
        attached,
        at: read_moment(from)?,
        lease_end: from.option(read_boot_time)?,
        not_after: from.option(read_boot_time)?,
    })
}

fn write_attribute(out: &mut Writer<'_>, attribute: &Attribute, process_id: &str) {
    out.signed(match attribute.kind {
        AttributeKind::In => 0,
        AttributeKind::Out => 1,
        AttributeKind::Err => 2,
        AttributeKind::Env => 3,
        // Moved out of the way of those above.
        AttributeKind::Other(number) if number >= 0 => i128::from(number) + 4,
        AttributeKind::Other(number) => i128::from(number),
    });
    out.text(&attribute.id);
    let target = Some(attribute.target_id.as_str()).filter(|id| *id != process_id);
    out.option(target, Writer::text);
    out.text(&attribute.target_colony_id);
    out.text(&attribute.target_graph_id);
    out.text(&attribute.key);
    out.text(&attribute.value);
}

fn read_attribute(from: &mut Reader<'_>, process_id: &str) -> Option<Attribute> {
    let kind = match from.signed()? {
        0 => AttributeKind::In,
        1 => AttributeKind::Out,
        2 => AttributeKind::Err,
        3 => AttributeKind::Env,
        number if number > 3 => AttributeKind::Other(i64::try_from(number - 4).ok()?),
        number => AttributeKind::Other(i64::try_from(number).ok()?),
    };
    Some(Attribute {
        kind,
        id: from.text()?,
        target_id: from
            .option(Reader::text)?
            .unwrap_or_else(|| process_id.to_owned()),
        target_colony_id: from.text()?,
        target_graph_id: from.text()?,
        key: from.text()?,
        value: from.text()?,
    })
}

fn write_ended(out: &mut Writer<'_>, ended: &Ended) {
    match ended {
        Ended::Not => out.byte(0),
        Ended::Successful => out.byte(1),
        Ended::Failed(reason) => {
            out.byte(2);
            out.text(reason);
        }
        Ended::Left(reason) => {
            out.byte(3);
            out.text(reason);
        }
    }
}

fn read_ended(from: &mut Reader<'_>) -> Option<Ended> {
    Some(match from.byte()? {
        0 => Ended::Not,
        1 => Ended::Successful,
        2 => Ended::Failed(from.text()?),
        3 => Ended::Left(from.text()?),
        _ => return None,
    })
}

fn write_past(out: &mut Writer<'_>, past: &Past) {
    write_attempt(out, &past.attempt);
    out.text(&past.verb);
    out.text(&past.device);
    write_time(out, past.wall);
    out.option(past.refused.as_deref(), Writer::text);
    write_ended(out, &past.ended);
    match &past.delivery {
        Delivery::Nothing => out.byte(0),
        Delivery::Waiting => out.byte(1),
        Delivery::Taken => out.byte(2),
        Delivery::Moot(reason) => {
            out.byte(3);
            out.text(reason);
        }
    }
}

fn read_past(from: &mut Reader<'_>) -> Option<Past> {
    Some(Past {
        attempt: read_attempt(from)?,
        verb: from.text()?,
        device: from.text()?,
        wall: read_time(from)?,
        refused: from.option(Reader::text)?,
        ended: read_ended(from)?,
        delivery: match from.byte()? {
            0 => Delivery::Nothing,
            1 => Delivery::Waiting,
            2 => Delivery::Taken,
            3 => Delivery::Moot(from.text()?),
            _ => return None,
        },
    })
}
