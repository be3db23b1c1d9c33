//! What edges of inputs submit, against a server that is away, forgets to answer, or says no.

use std::sync::Arc;
use std::time::Duration;

use super::server::{Fault, Shows};
use super::{Bench, at};
use crate::agent::edges::{self, Submitter};
use crate::agent::shared::Shared;
use crate::clock::Clock;
use crate::device::gpio::{Level, LineSpec};
use crate::device::input::{Edge, EdgeEvent, EdgeSink, Edges, Input, InputSettings, Submit};
use crate::device::{Hardware, owner};
use crate::protocol::dialect::Dialect;
use crate::protocol::model::{ProcessSpec, Runtime, RuntimeState, SUBMISSION_ID};
use crate::protocol::{Kind, Refusal};

fn rule(func: &str) -> Submit {
    Submit {
        edges: Edges::Rising,
        func: func.into(),
        args: Vec::new(),
        runtime: None,
        runtime_type: None,
        max_wait: Duration::from_secs(10),
        max_exec: Duration::from_secs(60),
        min_interval: Duration::from_secs(1),
    }
}

/// A button whose edges are made by hand, and who submits for it.
struct Button {
    bench: Bench,
    shared: Arc<Shared>,
    sink: EdgeSink,
    submit: Arc<[Submit]>,
}

impl Button {
    fn at(bench: Bench, rules: impl Into<Arc<[Submit]>>) -> Self {
        let shared = bench.shared();
        let own = Runtime {
            name: "hall".to_owned(),
            runtime_type: "cli".to_owned(),
            colony_id: bench.server.colony_id(),
            ..Runtime::default()
        };
        let caller = bench.server.client().with_key(bench.key.clone());
        let (sink, queue) = edges::channel();
        tokio::spawn(Submitter::new(caller, own, shared.clone()).run(queue));
        Button {
            bench,
            shared,
            sink,
            submit: rules.into(),
        }
    }

    fn new(rules: impl Into<Arc<[Submit]>>) -> Self {
        Button::at(Bench::new(), rules)
    }

    fn edge(&self, edge: Edge) {
        (self.sink)(EdgeEvent {
            input: "button".into(),
            edge,
            at: self.bench.now(),
            submit: self.submit.clone(),
        });
    }

    async fn press_at(&self, seconds: f64) {
        self.until(seconds).await;
        self.edge(Edge::Rising);
    }

    async fn until(&self, seconds: f64) {
        self.bench.clock.sleep_until(at(seconds)).await;
    }

    fn specs(&self) -> Vec<ProcessSpec> {
        let processes = self.bench.server.processes().into_iter();
        processes.map(|process| process.spec).collect()
    }

    fn funcs(&self) -> Vec<String> {
        self.specs().into_iter().map(|spec| spec.func).collect()
    }

    /// Submitted, dropped, rate-limited, unknown.
    fn counted(&self) -> [u64; 4] {
        let text = self.shared.metrics.text();
        ["submitted", "dropped", "rate_limited", "unknown"].map(|outcome| {
            let series = format!("outpost_agent_edges_total{{outcome=\"{outcome}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap().parse().unwrap()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn an_edge_submits_what_its_rule_says() {
    let mut pulse = rule("lamp.pulse");
    pulse.args = vec!["3s".into()];
    pulse.runtime_type = Some("stairs".into());
    pulse.max_exec = Duration::from_secs(30);
    let mut off = rule("lamp.toggle");
    off.edges = Edges::Falling;
    let button = Button::new([pulse, off]);
    button.press_at(5.0).await;
    button.until(6.0).await;
    let [spec] = &button.specs()[..] else {
        panic!("{:?}", button.specs());
    };
    assert_eq!(
        (spec.func.as_str(), spec.args.as_deref()),
        ("lamp.pulse", Some(&["3s".to_owned()][..]))
    );
    assert_eq!(
        (spec.max_wait_time, spec.max_exec_time, spec.max_retries),
        (10, 30, 0)
    );
    assert_eq!(spec.conditions.runtime_type, "stairs");
    assert_eq!(spec.conditions.colony_id, button.bench.server.colony_id());
    assert!(spec.conditions.runtime_ids.is_empty());
    assert_eq!(spec.env[SUBMISSION_ID].len(), 32);
    button.edge(Edge::Falling);
    button.until(7.0).await;
    assert_eq!(button.specs()[1].func, "lamp.toggle");
    assert_eq!(
        button.specs()[1].conditions.runtime_type,
        "cli",
        "the agent's own"
    );
    assert_ne!(button.specs()[0].env, button.specs()[1].env);
    assert_eq!(button.counted(), [2, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_takes_no_two_edges_within_its_interval() {
    let mut slow = rule("slow");
    slow.min_interval = Duration::from_secs(5);
    let button = Button::new([rule("quick"), slow]);
    for seconds in [1.0, 1.5, 1.999, 2.0, 2.5, 6.0] {
        button.press_at(seconds).await;
    }
    button.until(20.0).await;
    assert_eq!(button.funcs(), ["quick", "slow", "quick", "quick", "slow"]);
    assert_eq!(button.counted(), [5, 0, 7, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_the_server_goes_out_in_order_and_waits_there_only_for_the_rest() {
    let mut off = rule("lamp.release");
    off.edges = Edges::Falling;
    let button = Button::new([rule("lamp.on"), off]);
    button.bench.server.set_down(true);
    button.press_at(1.0).await;
    button.until(1.2).await;
    button.edge(Edge::Falling);
    button.until(5.1).await;
    assert!(button.specs().is_empty());
    button.bench.server.set_down(false);
    button.until(7.0).await;
    assert_eq!(button.funcs(), ["lamp.on", "lamp.release"]);
    let waits: Vec<i64> = button.specs().iter().map(|spec| spec.max_wait_time).collect();
    assert_eq!(waits, [6, 6], "rounded up to whole seconds");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_submitted_in_its_time_is_dropped_for_good() {
    let mut impatient = rule("lamp.on");
    impatient.max_wait = Duration::from_secs(3);
    let button = Button::new([impatient]);
    button.bench.server.set_down(true);
    for seconds in [1.0, 3.0, 5.0] {
        button.press_at(seconds).await;
    }
    button.until(7.9).await;
    assert_eq!(button.counted(), [0, 2, 0, 0]);
    button.until(8.1).await;
    assert_eq!(button.counted(), [0, 3, 0, 0]);
    button.bench.server.set_down(false);
    button.until(100.0).await;
    assert!(button.specs().is_empty(), "nothing was kept");
    button.press_at(101.0).await;
    button.until(102.0).await;
    assert_eq!(button.funcs().len(), 1);
    // One that was under way for longer than it had is not begun at all.
    let stale = EdgeEvent {
        input: "button".into(),
        edge: Edge::Rising,
        at: at(110.0),
        submit: button.submit.clone(),
    };
    button.until(113.0).await;
    let asked = button.bench.server.asked(Kind::Submit).len();
    (button.sink)(stale);
    button.until(120.0).await;
    assert_eq!(button.bench.server.asked(Kind::Submit).len(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_process() {
    for (shows, fault, processes, counted) in [
        (Shows::Exactly, Fault::LostAfter, 1, [1, 0, 0, 0]),
        (Shows::Exactly, Fault::LostBefore, 1, [1, 0, 0, 0]),
        (Shows::Exactly, Fault::Empty, 1, [1, 0, 0, 0]),
        (Shows::Exactly, Fault::Unreachable, 1, [1, 0, 0, 0]),
        // A server that does not take each id once: it is found there, or not sent again.
        (Shows::Date, Fault::LostAfter, 1, [1, 0, 0, 0]),
        (Shows::Date, Fault::LostBefore, 0, [0, 0, 0, 1]),
        (Shows::Date, Fault::Unreachable, 1, [1, 0, 0, 0]),
        // No answer comes within its time.
        (Shows::Exactly, Fault::TimedOut, 1, [0, 0, 0, 1]),
    ] {
        let button = Button::new([rule("lamp.toggle")]);
        button.bench.server.shows(shows);
        button.bench.server.fault(Kind::Submit, fault.clone());
        button.press_at(1.0).await;
        button.until(60.0).await;
        assert_eq!(button.specs().len(), processes, "{shows:?} {fault:?}");
        assert_eq!(button.counted(), counted, "{shows:?} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_repeated_before_anything_is_sent_again() {
    let button = Button::new([rule("lamp.toggle")]);
    let server = &button.bench.server;
    server.fault(Kind::Submit, Fault::LostAfter);
    server.fault(Kind::GetHistory, Fault::LostBefore);
    server.fault(Kind::GetHistory, Fault::Html);
    button.press_at(1.0).await;
    button.until(60.0).await;
    assert_eq!((button.specs().len(), server.asked(Kind::Submit).len()), (1, 1));
    assert_eq!(button.counted(), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_approved_yet_waits_within_the_time() {
    let button = Button::at(Bench::stranger(), [rule("lamp.on")]);
    let (server, id) = (&button.bench.server, button.bench.key.id());
    button.press_at(1.0).await;
    button.until(3.0).await;
    server.set_runtime(&id, RuntimeState::Pending);
    button.until(5.0).await;
    server.set_runtime(&id, RuntimeState::Approved);
    button.until(6.0).await;
    assert_eq!(button.funcs(), ["lamp.on"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_in_words_that_are_known_and_else_looked_into() {
    let refused = Dialect::Runtime.failure(Some(Kind::Submit), &Refusal::NulCharacter);
    let words: &'static str = refused.message.leak();
    for (status, text, processes, counted) in [
        (refused.status, words, 0, [0, 1, 0, 0]),
        // It may have been taken and then have failed; so it is looked for, and sent again under its id.
        (500, "something else", 1, [1, 0, 0, 0]),
    ] {
        let button = Button::new([rule("lamp.on")]);
        button
            .bench
            .server
            .fault(Kind::Submit, Fault::Refuse(status, text));
        button.press_at(1.0).await;
        button.until(3.0).await;
        assert_eq!(
            (button.specs().len(), button.counted()),
            (processes, counted),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_runtime_is_found_and_what_stops_goes_to_its_control_lane() {
    let runtime = |id: &str, name: &str, kind: &str, state| Runtime {
        id: id.to_owned(),
        name: name.to_owned(),
        runtime_type: kind.to_owned(),
        state,
        ..Runtime::default()
    };
    let named = |func: &str, runtime: &str| {
        let mut named = rule(func);
        named.runtime = Some(runtime.to_owned());
        named
    };
    let button = Button::new([
        named("lamp.on", "porch"),
        named("lamp.off", "porch"),
        named("lamp.on", "a1"),
        named("lamp.on", "twin"),
        named("lamp.on", "gone"),
        rule("drone.abort"),
    ]);
    for other in [
        runtime("a1", "porch", "lights", RuntimeState::Approved),
        runtime("a2", "porch.control", "lights.control", RuntimeState::Approved),
        runtime("b1", "porch", "lights", RuntimeState::Rejected),
        runtime("c1", "twin", "lights", RuntimeState::Approved),
        runtime("c2", "twin", "lights", RuntimeState::Approved),
        runtime("d1", "drone.control", "cli.control", RuntimeState::Approved),
    ] {
        button.bench.server.add_runtime(other);
    }
    button.press_at(1.0).await;
    button.until(2.0).await;
    let asked: Vec<(String, String, Vec<String>)> = button
        .specs()
        .into_iter()
        .map(|spec| {
            (
                spec.func,
                spec.conditions.runtime_type,
                spec.conditions.runtime_ids,
            )
        })
        .collect();
    let expected = |func: &str, kind: &str, ids: &[&str]| {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        (func.to_owned(), kind.to_owned(), ids)
    };
    assert_eq!(
        asked,
        [
            expected("lamp.on", "lights", &["a1"]),
            expected("lamp.off", "lights.control", &["a2"]),
            expected("lamp.on", "lights", &["a1"]),
            expected("drone.abort", "cli.control", &[]),
        ]
    );
    assert_eq!(
        button.counted(),
        [4, 2, 0, 0],
        "twin and gone are dropped at once"
    );
}

#[tokio::test(start_paused = true)]
async fn more_edges_than_there_is_room_for_are_dropped_and_counted() {
    let mut rule = rule("lamp.on");
    rule.min_interval = Duration::from_millis(100);
    let button = Button::new([rule]);
    button.bench.server.set_down(true);
    for press in 0..50 {
        button.press_at(1.0 + 0.1 * f64::from(press)).await;
    }
    button.until(8.0).await;
    button.bench.server.set_down(false);
    button.until(60.0).await;
    let [submitted, dropped, limited, unknown] = button.counted();
    assert_eq!((submitted + dropped, limited, unknown), (50, 0, 0));
    assert_eq!(submitted, 33, "one in hand, 32 in the queue");
    assert_eq!(button.specs().len(), 33);
}

#[tokio::test(start_paused = true)]
async fn a_real_input_submits_through_the_agent() {
    let button = Button::new([rule("lamp.on")]);
    let bench = &button.bench;
    let hardware = Hardware {
        edges: Some(button.sink.clone()),
        ..Hardware::new(bench.clock.clone()).with_gpio(Arc::new(bench.board.clone()))
    };
    let line = LineSpec::named("GPIO5");
    let settings = InputSettings {
        submit: button.submit.clone(),
        ..InputSettings::on_line(line.clone())
    };
    let input = Input::open("button", &settings, &hardware).unwrap();
    let _owner = owner::spawn(Box::new(input), bench.clock.clone());
    button.until(1.0).await;
    bench.board.set_input(&line, Level::On);
    button.until(2.0).await;
    assert_eq!(button.funcs(), ["lamp.on"]);
}
