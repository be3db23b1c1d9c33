use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::device::output::interlock::Group;

const NEVER: BootTime = BootTime::from_nanos(0);

fn at(seconds: u64) -> BootTime {
    NEVER + Duration::from_secs(seconds)
}

fn rules() -> Rules {
    Rules {
        safe: Level::Off,
        max_on: None,
        min_off: Duration::ZERO,
        lost: None,
    }
}

/// An output that has been on since second 10, off since then, or off since its start at 0.
fn policy(rules: Rules, on: bool) -> Policy {
    let mut policy = Policy::new(rules, Wish::Be(Level::Off), NEVER);
    if on {
        policy.ask(Wish::Be(Level::On));
        policy.driven(Level::On, at(10));
    }
    policy
}

/// The precedence of docs/fence.md, section 7, and of the table in docs/outputs.md: each row is one pair of neighbours.
#[test]
fn the_higher_rule_decides() {
    let wants_on = [Wish::Be(Level::On), Wish::Safe];
    let safe_on = Rules {
        safe: Level::On,
        ..rules()
    };
    // Interlock > safe (and everything below).
    for wish in wants_on {
        for standing in [Standing::Held, Standing::Until(at(100))] {
            let mut one = policy(safe_on, false);
            one.ask(wish);
            assert_eq!(
                one.decide(at(50), NEVER, standing).level,
                Level::Off,
                "{wish:?} {standing:?}"
            );
        }
    }
    // Safe > max_on: what is on because that is safe stays on; what a verb switched on does not.
    let limited = Rules {
        max_on: Some(Duration::from_secs(5)),
        ..safe_on
    };
    for (wish, level) in [(Wish::Safe, Level::On), (Wish::Be(Level::On), Level::Off)] {
        let mut one = policy(limited, true);
        one.ask(wish);
        assert_eq!(one.decide(at(15), NEVER, Standing::Free).level, level, "{wish:?}");
    }
    // Safe > min_off.
    let rests = Rules {
        min_off: Duration::from_secs(60),
        ..safe_on
    };
    for (wish, level) in [(Wish::Safe, Level::On), (Wish::Be(Level::On), Level::Off)] {
        let mut one = policy(rests, false);
        one.ask(wish);
        assert_eq!(one.decide(at(30), NEVER, Standing::Free).level, level, "{wish:?}");
    }
    // max_on > min_off: switching off waits for nothing, and on again waits for min_off.
    let both = Rules {
        max_on: Some(Duration::from_secs(5)),
        min_off: Duration::from_secs(60),
        ..rules()
    };
    let mut one = policy(both, true);
    assert_eq!(one.decide(at(15), NEVER, Standing::Free).level, Level::Off);
    one.driven(Level::Off, at(15));
    one.ask(Wish::Be(Level::On));
    let held = one.decide(at(16), NEVER, Standing::Free);
    assert_eq!(
        (held.level, held.hold, held.wake),
        (Level::Off, Some(Hold::Time), Some(at(75)))
    );
    assert_eq!(one.decide(at(75), NEVER, Standing::Free).level, Level::On);
    // min_off > verb, but off is never delayed.
    let mut one = policy(rests, true);
    one.ask(Wish::Be(Level::Off));
    assert_eq!(one.decide(at(11), NEVER, Standing::Free).level, Level::Off);
}

#[test]
fn the_longest_time_on_is_not_begun_again_by_asking_again() {
    let limited = Rules {
        max_on: Some(Duration::from_secs(5)),
        ..rules()
    };
    let mut one = policy(limited, true);
    let decision = one.decide(at(14), NEVER, Standing::Free);
    assert_eq!((decision.level, decision.wake), (Level::On, Some(at(15))));
    one.ask(Wish::Be(Level::On));
    one.driven(Level::On, at(14));
    assert_eq!(one.decide(at(15), NEVER, Standing::Free).level, Level::Off);
    one.driven(Level::Off, at(15));
    assert_eq!(
        one.decide(at(99), NEVER, Standing::Free).level,
        Level::Off,
        "and it stays off"
    );
}

#[test]
fn a_time_of_its_own_and_the_dead_time_are_both_waited_out() {
    let rests = Rules {
        min_off: Duration::from_secs(60),
        ..rules()
    };
    for (free, ready) in [(20, 60), (90, 90)] {
        let mut one = policy(rests, false);
        one.ask(Wish::Be(Level::On));
        let held = one.decide(at(10), NEVER, Standing::Until(at(free)));
        assert_eq!((held.hold, held.wake), (Some(Hold::Time), Some(at(ready))));
    }
    let mut one = policy(rests, false);
    one.ask(Wish::Be(Level::On));
    let held = one.decide(at(10), NEVER, Standing::Held);
    assert_eq!((held.hold, held.wake), (Some(Hold::Interlock), None));
}

#[test]
fn the_loss_of_the_server_asks_once_and_again_only_after_a_word() {
    let lost_on = Rules {
        max_on: Some(Duration::from_secs(10)),
        lost: Some((Wish::Be(Level::On), Duration::from_secs(60))),
        ..rules()
    };
    let mut one = policy(lost_on, false);
    let before = one.decide(at(59), NEVER, Standing::Free);
    assert_eq!(
        (before.level, before.wake, one.is_lost()),
        (Level::Off, Some(at(60)), false)
    );
    let lost = one.decide(at(60), NEVER, Standing::Free);
    assert_eq!(
        (lost.level, lost.wake, one.is_lost()),
        (Level::On, Some(at(70)), true)
    );
    one.driven(Level::On, at(60));
    assert_eq!(
        one.decide(at(70), NEVER, Standing::Free).level,
        Level::Off,
        "max_on stands over it"
    );
    one.driven(Level::Off, at(70));
    assert_eq!(
        one.decide(at(80), NEVER, Standing::Free).level,
        Level::Off,
        "asked once"
    );
    let heard = one.decide(at(90), at(85), Standing::Free);
    assert_eq!(
        (heard.level, heard.wake, one.is_lost()),
        (Level::Off, Some(at(145)), false)
    );
    assert_eq!(
        one.decide(at(145), at(85), Standing::Free).level,
        Level::On,
        "another loss"
    );
}

#[test]
fn making_safe_stands_over_the_loss_of_the_server() {
    let lost_on = Rules {
        lost: Some((Wish::Be(Level::On), Duration::from_secs(60))),
        ..rules()
    };
    let mut one = policy(lost_on, false);
    assert_eq!(one.decide(at(60), NEVER, Standing::Free).level, Level::On);
    one.driven(Level::On, at(60));
    one.ask(Wish::Safe);
    assert_eq!(one.decide(at(61), NEVER, Standing::Free).level, Level::Off);
}

// Several outputs of one group under random events, on a clock of whole milliseconds.

#[derive(Debug, Clone)]
enum Event {
    Ask(usize, Wish),
    Heard,
    /// An output's line refuses or obeys from now on.
    Break(usize, bool),
    /// Time passes, and whoever wanted to be woken is woken when it wanted.
    Pass(u64),
}

fn an_event(outputs: usize) -> impl Strategy<Value = Event> {
    let wish = prop_oneof![
        4 => Just(Wish::Be(Level::On)),
        2 => Just(Wish::Be(Level::Off)),
        1 => Just(Wish::Safe)
    ];
    prop_oneof![
        4 => (0..outputs, wish).prop_map(|(output, wish)| Event::Ask(output, wish)),
        1 => Just(Event::Heard),
        1 => (0..outputs, any::<bool>()).prop_map(|(output, broken)| Event::Break(output, broken)),
        6 => (0_u64..4_000).prop_map(Event::Pass),
    ]
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    (
        prop::bool::weighted(0.2),
        prop::option::of(millis(1..3_000)),
        prop_oneof![Just(Duration::ZERO), millis(1..3_000)],
        prop::option::of((
            prop_oneof![
                Just(Wish::Safe),
                Just(Wish::Be(Level::On)),
                Just(Wish::Be(Level::Off))
            ],
            millis(1_000..9_000),
        )),
    )
        .prop_map(|(safe_on, max_on, min_off, lost)| Rules {
            safe: if safe_on { Level::On } else { Level::Off },
            max_on,
            min_off,
            lost,
        })
}

/// A line as it really is, watched by someone who knows nothing of policies.
#[derive(Debug, Clone)]
struct Line {
    policy: Policy,
    name: Arc<str>,
    level: Level,
    since: BootTime,
    broken: bool,
}

struct Plant {
    lines: Vec<Line>,
    group: Group,
    dead_time: Duration,
    heard: BootTime,
    now: BootTime,
    /// When the last line of the group went off, whichever.
    last_off: BootTime,
}

impl Plant {
    fn new(rules: Vec<Rules>, dead_time: Duration) -> Self {
        let now = at(1);
        let mut group = Group::default();
        let lines = rules.into_iter().enumerate().map(|(index, rules)| {
            let name: Arc<str> = format!("output-{index}").into();
            group.join(name.clone(), dead_time);
            group.release(&name, now);
            Line {
                policy: Policy::new(rules, Wish::Safe, now),
                name,
                level: Level::Off,
                since: now,
                broken: false,
            }
        });
        Plant {
            lines: lines.collect(),
            group,
            dead_time,
            heard: now,
            now,
            last_off: now,
        }
    }

    /// What the shell does: decide, claim, drive, note; as often as there is something to do. When to wake.
    fn settle(&mut self) -> Option<BootTime> {
        let mut wake: Option<BootTime> = None;
        for _round in 0..3 {
            wake = None;
            for index in 0..self.lines.len() {
                let decision = self.drive(index);
                wake = earlier(wake, decision.wake);
            }
        }
        wake
    }

    fn drive(&mut self, index: usize) -> Decision {
        let (now, heard) = (self.now, self.heard);
        let line = &mut self.lines[index];
        let decision = line
            .policy
            .decide(now, heard, self.group.standing(&line.name, now));
        if decision.level == line.policy.level() {
            return decision;
        }
        if decision.level == Level::On {
            assert!(
                self.group.claim(&line.name, now),
                "a free group was not to be had"
            );
            line.policy.driven(Level::On, now);
        }
        if line.broken {
            return decision;
        }
        if decision.level == Level::Off {
            line.policy.driven(Level::Off, now);
            self.group.release(&line.name, now);
        }
        self.edge(index, decision.level);
        decision
    }

    /// A line changes, and the watcher looks at everything that was promised.
    fn edge(&mut self, index: usize, level: Level) {
        let now = self.now;
        let line = &self.lines[index];
        if line.level == level {
            return;
        }
        let limited = line.policy.wish() != Wish::Safe;
        if level == Level::On {
            for (other, line) in self.lines.iter().enumerate() {
                assert!(other == index || line.level == Level::Off, "{other} is on, too");
            }
            assert!(now >= self.last_off + self.dead_time, "within the dead time");
            if limited {
                assert!(now >= line.since + line.policy.rules().min_off, "within min_off");
            }
        } else {
            self.last_off = now;
        }
        let line = &mut self.lines[index];
        line.level = level;
        line.since = now;
    }

    /// Nothing that obeys is on for longer than it may, at any moment.
    fn look(&self) {
        for line in self
            .lines
            .iter()
            .filter(|line| line.level == Level::On && !line.broken)
        {
            if let (Some(max_on), true) = (line.policy.rules().max_on, line.policy.wish() != Wish::Safe) {
                assert!(self.now < line.since + max_on, "{} is on for too long", line.name);
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let wake = self.settle();
            self.look();
            match wake {
                // A broken line is wanted again and again; its moment has passed.
                Some(wake) if wake > self.now && wake <= end => self.now = wake,
                _ => break,
            }
        }
        self.now = end;
        self.settle();
        self.look();
    }
}

proptest! {
    #[test]
    fn never_two_of_a_group_and_every_time_is_kept(
        rules in prop::collection::vec(some_rules(), 1..4),
        dead_time in 0_u64..2_000,
        events in prop::collection::vec(an_event(3), 1..60),
    ) {
        let mut plant = Plant::new(rules, Duration::from_millis(dead_time));
        for event in events {
            match event {
                Event::Ask(output, wish) => {
                    if let Some(line) = plant.lines.get_mut(output) {
                        line.policy.ask(wish);
                    }
                }
                Event::Heard => plant.heard = plant.now,
                Event::Break(output, broken) => {
                    if let Some(line) = plant.lines.get_mut(output) {
                        line.broken = broken;
                    }
                }
                Event::Pass(millis) => plant.pass(millis),
            }
            plant.settle();
            plant.look();
        }
    }

    /// Off is never delayed by anything: asked for, or safe, it is decided at that moment.
    #[test]
    fn off_is_never_put_off(
        rules in some_rules(),
        on in any::<bool>(),
        standing in prop_oneof![Just(Standing::Free), Just(Standing::Held), Just(Standing::Until(at(500)))],
        second in 10_u64..1_000,
    ) {
        let rules = Rules { safe: Level::Off, lost: None, ..rules };
        for wish in [Wish::Be(Level::Off), Wish::Safe] {
            let mut one = policy(rules, on);
            one.ask(wish);
            let decision = one.decide(at(second), NEVER, standing);
            prop_assert_eq!((decision.level, decision.hold), (Level::Off, None));
        }
    }

    /// Whatever happens, the next look is never in the past: a shell that waits for it does not spin.
    #[test]
    fn the_next_look_lies_ahead(
        rules in some_rules(),
        on in any::<bool>(),
        wish in prop_oneof![Just(Wish::Be(Level::On)), Just(Wish::Be(Level::Off)), Just(Wish::Safe)],
        standing in prop_oneof![Just(Standing::Free), Just(Standing::Held), Just(Standing::Until(at(5_000)))],
        (second, heard) in (10_u64..1_000, 0_u64..1_000),
    ) {
        let mut one = policy(rules, on);
        one.ask(wish);
        let now = at(second);
        let decision = one.decide(now, at(heard), standing);
        if let Some(wake) = decision.wake {
            prop_assert!(wake > now, "{:?} at {:?}", decision, now);
        }
    }
}
