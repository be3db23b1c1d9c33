use super::super::record::{Close, Refused};
use super::super::samples::{self, BASE, attempt, begun, report};
use super::super::simulated::SplitMix64;
use super::*;
use crate::device::Effect;

fn state(records: impl IntoIterator<Item = Record>) -> State {
    let mut state = State::default();
    for record in records {
        state.apply(record);
    }
    state
}

fn refolded(of: &State) -> State {
    let mut records = Vec::new();
    of.records(|record| records.push(record.clone()));
    state(records)
}

fn day(number: i128) -> Record {
    Record::LastGoodTime {
        wall: Time::from_unix_nanos(BASE + number * 86_400_000_000_000),
    }
}

fn is_final(number: usize) -> Record {
    Record::FinalAtServer {
        process_id: samples::process_id(number),
    }
}

#[test]
fn whoever_asks_about_marks_goes_round_all_of_them() {
    let mut open = state([]);
    let mut ids: Vec<String> = (1..=5)
        .map(samples::process_id)
        .chain(["Old".to_owned()])
        .collect();
    for id in &ids {
        open.apply(Record::Mark {
            process_id: id.clone(),
            mark: Mark {
                retries: 0,
                day: 0,
                ended: Ended::Left("left".to_owned()),
                is_final: false,
            },
        });
    }
    let all: Vec<String> = open.not_known_final("").collect();
    let mut sorted = all.clone();
    sorted.sort();
    ids.sort();
    assert_eq!(sorted, ids, "each once");
    for (at, id) in all.iter().enumerate() {
        let mut rest = all.clone();
        rest.rotate_left(at + 1);
        assert!(open.not_known_final(id).eq(rest), "after {id}");
    }
}

#[test]
fn what_compaction_writes_folds_to_the_same_state() {
    for seed in 0..200 {
        let mut random = SplitMix64(seed);
        let mut state = State::default();
        for step in 0..random.below(500) {
            state.apply(samples::any_record(&mut random));
            if step % 20 == 0 {
                assert_eq!(refolded(&state), state, "seed {seed}, step {step}");
            }
        }
        assert_eq!(refolded(&state), state, "seed {seed}");
    }
}

#[test]
fn it_goes_on_alike_after_compaction() {
    for seed in 0..200 {
        let mut random = SplitMix64(seed);
        let mut left: State = state((0..100).map(|_| samples::any_record(&mut random)));
        let mut right = refolded(&left);
        for _ in 0..300 {
            let record = samples::any_record(&mut random);
            left.apply(record.clone());
            right.apply(record);
        }
        assert_eq!(left, right, "seed {seed}");
    }
}

#[test]
fn a_once_verb_is_remembered_by_process_not_by_attempt() {
    let mut state = state([Record::Begun(begun(attempt(1, 0), Effect::Once))]);
    let id = samples::process_id(1);
    assert_eq!(state.begun_once(&id).unwrap().ended, Ended::Not);
    state.apply(Record::Result(report(
        attempt(1, 0),
        Close::Failed("stuck".to_owned()),
        &[],
    )));
    // A later attempt that was refused has a result too, and changes nothing about the first.
    state.apply(Record::Result(report(attempt(1, 1), Close::Successful, &[])));
    let mark = state.begun_once(&id).unwrap();
    assert_eq!(
        (mark.retries, &mark.ended),
        (0, &Ended::Failed("stuck".to_owned()))
    );
    assert_eq!(state.begun_once(&samples::process_id(2)), None);
}

#[test]
fn what_may_be_repeated_leaves_no_mark() {
    let mut repeat = begun(attempt(3, 0), Effect::Once);
    repeat.repeat = true;
    let state = state([
        Record::Begun(begun(attempt(1, 0), Effect::Read)),
        Record::Begun(begun(attempt(2, 0), Effect::Set)),
        Record::Begun(repeat),
    ]);
    assert_eq!((state.marks(), state.unfinished().len()), (0, 3));
}

#[test]
fn the_start_time_may_be_a_microsecond_off() {
    let mut rounded = attempt(1, 0);
    rounded.start_time = rounded.start_time.rounded_to_micros();
    let mut other = attempt(1, 0);
    other.start_time = other.start_time.plus(Duration::from_micros(2));
    let mut state = state([Record::Begun(begun(attempt(1, 0), Effect::Set))]);
    state.apply(Record::Moot {
        attempt: other,
        reason: "another".to_owned(),
    });
    assert_eq!(state.unfinished().len(), 1);
    state.apply(Record::Result(report(rounded, Close::Successful, &[])));
    assert!(state.unfinished().is_empty());
}

#[test]
fn the_outbox_keeps_its_order_and_what_is_left_of_a_result() {
    let mut state = state([
        Record::Result(report(attempt(1, 0), Close::Successful, &["a", "b", "c"])),
        Record::Result(report(attempt(2, 0), Close::Successful, &[])),
    ]);
    let delivered = |index| Record::AttributeDelivered {
        attempt: attempt(1, 0),
        index,
    };
    state.apply(delivered(0));
    state.apply(delivered(0));
    let left = |state: &State| -> Vec<String> {
        let first = state.outbox().next().unwrap();
        first
            .attributes
            .iter()
            .map(|attribute| attribute.value.clone())
            .collect()
    };
    assert_eq!(left(&state), ["b", "c"]);
    let mut state = refolded(&state);
    state.apply(delivered(0));
    assert_eq!(left(&state), ["b", "c"], "said again after compaction");
    state.apply(delivered(1));
    assert_eq!(left(&state), ["c"]);
    assert!(state.undelivered(&samples::process_id(1)));
    state.apply(Record::Delivered {
        attempt: attempt(1, 0),
    });
    assert!(!state.undelivered(&samples::process_id(1)));
    assert_eq!(state.outbox().len(), 1);
    state.apply(Record::Moot {
        attempt: attempt(2, 0),
        reason: "assigned elsewhere".to_owned(),
    });
    assert_eq!(state.outbox().len(), 0);
    let said: Vec<String> = state.history().map(ToString::to_string).collect();
    assert!(said[1].contains("not told: assigned elsewhere"), "{said:?}");
}

#[test]
fn an_attempt_has_one_result() {
    let mut state = state([Record::Result(report(attempt(1, 0), Close::Successful, &["a"]))]);
    state.apply(Record::Result(report(
        attempt(1, 0),
        Close::Failed("x".to_owned()),
        &[],
    )));
    assert_eq!(state.outbox().len(), 1);
    assert_eq!(state.outbox().next().unwrap().close, Close::Successful);
}

#[test]
fn a_mark_goes_when_it_is_final_and_thirty_days_were_seen() {
    let id = samples::process_id(1);
    let mut kept = state([Record::Begun(begun(attempt(1, 0), Effect::Once)), day(0)]);
    for number in 1..=100 {
        kept.apply(day(number));
    }
    assert!(kept.begun_once(&id).is_some(), "not final at the server");
    assert_eq!(kept.not_known_final("").count(), 0, "it still runs");
    kept.apply(Record::Moot {
        attempt: attempt(1, 0),
        reason: "left".to_owned(),
    });
    assert!(kept.not_known_final("").eq([id.clone()]));
    kept.apply(is_final(1));
    assert_eq!(kept.not_known_final("").count(), 0);
    kept.apply(day(101));
    assert!(kept.begun_once(&id).is_none());

    let mut young = state([
        day(0),
        Record::Begun(begun(attempt(1, 0), Effect::Set)),
        Record::Begun(begun(attempt(2, 0), Effect::Once)),
        Record::Result(report(attempt(2, 0), Close::Successful, &[])),
        Record::Delivered {
            attempt: attempt(2, 0),
        },
    ]);
    let id = samples::process_id(2);
    for number in 1..=30 {
        young.apply(day(number));
    }
    assert!(
        young.begun_once(&id).is_some(),
        "30 days begun, perhaps not 30 passed"
    );
    young.apply(day(31));
    assert!(young.begun_once(&id).is_none());
}

#[test]
fn no_clock_can_make_a_mark_old_at_once() {
    let mut state = state([
        day(-20_000),
        Record::Begun(begun(attempt(1, 0), Effect::Once)),
        Record::Moot {
            attempt: attempt(1, 0),
            reason: "left".to_owned(),
        },
        is_final(1),
    ]);
    // From 1970 to now, to the far future, and back again and again.
    for jump in [0, 30_000, 0, 1, 30_001] {
        state.apply(day(jump));
    }
    assert_eq!(state.days(), 3);
    assert!(state.begun_once(&samples::process_id(1)).is_some());
    let far = state.last_good_time();
    state.apply(day(2));
    assert_eq!(state.last_good_time(), far, "never backwards");
    state.apply(Record::Accepted { wall: Time::NEVER });
    state.apply(day(2));
    assert_eq!(
        state.last_good_time(),
        Some(Time::from_unix_nanos(BASE + 2 * 86_400_000_000_000))
    );
}

#[test]
fn history_is_bounded_and_tells_what_was_refused() {
    let refused = |number: usize| {
        Record::Refused(Refused {
            process_id: samples::process_id(number),
            verb: "on".to_owned(),
            device: "lamp".to_owned(),
            reason: "busy".to_owned(),
            wall: Time::from_unix_nanos(BASE),
        })
    };
    let mut state = state((0..HISTORY + 5).map(refused));
    assert_eq!(state.history().len(), HISTORY);
    let last = state.history().next_back().unwrap().to_string();
    let id = samples::process_id(HISTORY + 4);
    assert_eq!(
        last,
        format!("2025-10-09T08:53:20Z lamp.on of {id}: refused: busy")
    );
    state.apply(Record::Begun(begun(attempt(1, 2), Effect::Once)));
    let line = |state: &State| state.history().next_back().unwrap().to_string();
    assert!(line(&state).ends_with(
        "attempt 3 of 0000000000000000000000000000000000000000000000000000000000000001: no outcome known"
    ));
    state.apply(Record::Result(report(attempt(1, 2), Close::Successful, &[])));
    assert!(line(&state).ends_with(": successful (the server was not told yet)"));
    state.apply(Record::Delivered {
        attempt: attempt(1, 2),
    });
    assert!(line(&state).ends_with(": successful"));
    assert_eq!(state.history().len(), HISTORY);
}

#[test]
fn ids_of_every_kind_are_told_apart() {
    let hash = "0123456789abcdef".repeat(4);
    for (text, packed) in [
        (hash.as_str(), true),
        (&hash.to_uppercase(), false),
        (&hash[2..], false),
        ("", false),
        ("p", false),
    ] {
        let id = Id::of(text);
        assert_eq!(id.text(), text);
        assert_eq!(matches!(id, Id::Hash(_)), packed, "{text}");
    }
    assert_ne!(Id::of(&hash), Id::of(&hash.to_uppercase()));
}
