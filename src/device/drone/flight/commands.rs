//! The command protocol (<https://mavlink.io/en/services/command.html>): said again with a higher confirmation until it is
//! answered. An answer says what the autopilot thinks of the command, not that it is done.

use std::time::Duration;

use super::super::wire::number::{RESULT_ACCEPTED, RESULT_IN_PROGRESS, RESULT_TEMPORARILY_REJECTED};
use super::super::wire::{Heard, Node, Said};
use crate::clock::BootTime;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(1500);
/// How long the next answer may take when it is in progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// How long to wait when it is rejected for the moment.
const LATER: Duration = Duration::from_secs(2);
/// How often it is said without any answer.
const SENDINGS: u8 = 5;
/// The longest time in all, whatever is answered.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest time that it is tried when it is rejected for the moment.
const REJECTED: Duration = Duration::from_secs(20);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Accepted.
    Accepted,
    /// Refused, with MAV_RESULT.
    Refused(u8),
    /// Nobody answered.
    Silent,
}

impl Answer {
    /// For people: `it answered DENIED`.
    pub fn text(self) -> String {
        match self {
            Answer::Accepted => "it accepted".to_owned(),
            Answer::Refused(result) => format!("it answered {}", result_name(result)),
            Answer::Silent => "it did not answer".to_owned(),
        }
    }
}

/// MAV_RESULT by its name.
pub fn result_name(result: u8) -> &'static str {
    match result {
        0 => "ACCEPTED",
        1 => "TEMPORARILY_REJECTED",
        2 => "DENIED",
        3 => "UNSUPPORTED",
        4 => "FAILED",
        5 => "IN_PROGRESS",
        6 => "CANCELLED",
        7 => "COMMAND_LONG_ONLY",
        8 => "COMMAND_INT_ONLY",
        9 => "UNSUPPORTED_MAV_FRAME",
        _ => "a result that is not known here",
    }
}

/// What an acknowledgement says to us about a command; none if it is about another, or for another.
pub(super) fn acknowledged(heard: &Heard, about: u16, us: Node) -> Option<u8> {
    match heard {
        Heard::CommandAck {
            command,
            result,
            target,
            ..
        } if *command == about && is_for(*target, us) => Some(*result),
        _ => None,
    }
}

/// 0 is everybody.
fn is_for(target: Node, us: Node) -> bool {
    target.system == 0
        || (target.system == us.system && (target.component == 0 || target.component == us.component))
}

/// One command on its way.
#[derive(Debug, Clone)]
pub struct Command {
    number: u16,
    params: [f32; 7],
    began: BootTime,
    next: BootTime,
    /// Sent at all; the confirmation of the next.
    sent: u8,
    /// Sent since anything was answered.
    unanswered: u8,
    /// The last rejection for the moment.
    rejected: bool,
    answer: Option<Answer>,
}

impl Command {
    /// To be said from `now` on.
    pub fn new(number: u16, params: [f32; 7], now: BootTime) -> Self {
        Command {
            number,
            params,
            began: now,
            next: now,
            sent: 0,
            unanswered: 0,
            rejected: false,
            answer: None,
        }
    }

    /// Takes in an answer, if it is one.
    pub fn hear(&mut self, heard: &Heard, us: Node, now: BootTime) {
        let Some(result) = acknowledged(heard, self.number, us) else {
            return;
        };
        if self.sent == 0 || self.answer.is_some() {
            return;
        }
        // One sending is put off once, however often it is answered.
        let first = std::mem::take(&mut self.unanswered) > 0;
        match result {
            RESULT_ACCEPTED => self.answer = Some(Answer::Accepted),
            RESULT_IN_PROGRESS => self.next = now + PROGRESS,
            RESULT_TEMPORARILY_REJECTED => {
                self.rejected = true;
                if first {
                    self.next = now + LATER;
                }
            }
            final_one => self.answer = Some(Answer::Refused(final_one)),
        }
    }

    /// What to say now, or how it ended.
    pub fn tick(&mut self, now: BootTime) -> (Option<Said>, Option<Answer>) {
        let tried = now.saturating_since(self.began);
        if self.answer.is_some() || (now < self.next && tried < LONGEST) {
            return (None, self.answer);
        }
        if self.rejected && tried >= REJECTED {
            self.answer = Some(Answer::Refused(RESULT_TEMPORARILY_REJECTED));
        } else if self.unanswered >= SENDINGS || tried >= LONGEST {
            self.answer = Some(Answer::Silent);
        }
        if self.answer.is_some() {
            return (None, self.answer);
        }
        let said = Said::CommandLong {
            command: self.number,
            confirmation: self.sent,
            params: self.params,
        };
        self.sent = self.sent.saturating_add(1);
        self.unanswered += 1;
        self.next = now + ANSWER;
        (Some(said), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Node = Node {
        system: 255,
        component: 191,
    };

    fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    fn ack(command: u16, result: u8, system: u8) -> Heard {
        Heard::CommandAck {
            command,
            result,
            progress: None,
            target: Node { system, component: 0 },
        }
    }

    /// What happens by answers at moments (milliseconds): the confirmations that were sent, and the end.
    fn run(answers: &[(u64, Heard)]) -> (Vec<(u64, u8)>, u64, Answer) {
        let mut command = Command::new(176, [0.0; 7], at(0));
        let mut sent = Vec::new();
        for millis in (0..100_000).step_by(100) {
            for (_, heard) in answers.iter().filter(|one| one.0 == millis) {
                command.hear(heard, US, at(millis));
            }
            let (said, answer) = command.tick(at(millis));
            if let Some(Said::CommandLong { confirmation, .. }) = said {
                sent.push((millis, confirmation));
            }
            if let Some(answer) = answer {
                return (sent, millis, answer);
            }
        }
        panic!("it has no end");
    }

    #[test]
    fn every_answer_has_its_end() {
        type Row = (&'static str, Vec<(u64, Heard)>, usize, u64, Answer);
        let rows: Vec<Row> = vec![
            (
                "accepted",
                vec![(300, ack(176, 0, 255))],
                1,
                300,
                Answer::Accepted,
            ),
            (
                "to everybody",
                vec![(300, ack(176, 0, 0))],
                1,
                300,
                Answer::Accepted,
            ),
            (
                "denied",
                vec![(300, ack(176, 2, 255))],
                1,
                300,
                Answer::Refused(2),
            ),
            (
                "unsupported",
                vec![(1600, ack(176, 3, 255))],
                2,
                1600,
                Answer::Refused(3),
            ),
            (
                "failed",
                vec![(0, ack(400, 4, 0)), (300, ack(176, 4, 0))],
                1,
                300,
                Answer::Refused(4),
            ),
            ("nobody", vec![], 5, 7500, Answer::Silent),
            (
                "another command",
                vec![(300, ack(400, 0, 255))],
                5,
                7500,
                Answer::Silent,
            ),
            (
                "another station",
                vec![(300, ack(176, 0, 254))],
                5,
                7500,
                Answer::Silent,
            ),
            (
                "in progress lengthens",
                vec![(300, ack(176, 5, 255)), (9000, ack(176, 0, 255))],
                1,
                9000,
                Answer::Accepted,
            ),
            (
                "later it may",
                vec![(100, ack(176, 1, 255)), (2200, ack(176, 0, 255))],
                2,
                2200,
                Answer::Accepted,
            ),
            (
                "progress and then nothing",
                vec![(300, ack(176, 5, 255))],
                6,
                17_800,
                Answer::Silent,
            ),
        ];
        for (name, answers, sendings, when, end) in rows {
            let (sent, ended, answer) = run(&answers);
            assert_eq!(
                (sent.len(), ended, answer),
                (sendings, when, end),
                "{name}: {sent:?}"
            );
            assert!(
                sent.iter().enumerate().all(|(n, one)| usize::from(one.1) == n),
                "{name}"
            );
        }
    }

    #[test]
    fn no_answer_puts_the_end_off_for_ever() {
        let every = |result| {
            (1..1000)
                .map(|n| (n * 100, ack(176, result, 255)))
                .collect::<Vec<_>>()
        };
        let (sent, ended, answer) = run(&every(1));
        assert!((20_000..23_000).contains(&ended), "{ended} {sent:?}");
        assert_eq!(answer, Answer::Refused(1));
        let (sent, ended, answer) = run(&every(5));
        assert_eq!((sent.len(), ended, answer), (1, 60_000, Answer::Silent));
    }
}
