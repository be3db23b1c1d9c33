use std::fmt::Write as _;

use super::*;
use crate::clock::TestClock;
use crate::device::gpio::{LineFault, Physical};

fn settings(devices: &str) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let text = format!(
        "[colony]\nid = \"{}\"\n[runtime]\ntype = \"cli\"\n[gpio]\nbackend = \"simulated\"\n{devices}",
        "a".repeat(64)
    );
    std::fs::write(&file, text).unwrap();
    let settings: Settings = crate::config::load(Some(&file), ENVIRONMENT, std::iter::empty()).unwrap();
    settings.check(None).unwrap();
    settings
}

/// Lamps on lines of their own names, each with further keys.
fn lamps(lamps: &[(&str, &str)]) -> Settings {
    let mut text = String::new();
    for (name, keys) in lamps {
        write!(
            text,
            "[devices.{name}]\nkind = \"lamp\"\nline = \"{name}\"\n{keys}\n"
        )
        .unwrap();
    }
    settings(&text)
}

struct Run {
    board: SimulatedBoard,
    clock: SharedClock,
}

impl Run {
    fn new() -> Self {
        let clock: SharedClock = TestClock::new(0);
        Run {
            board: SimulatedBoard::new(clock.clone()),
            clock,
        }
    }

    /// Lines said, and how many were not driven.
    async fn drive(&self, list: &SafeList, levels: Levels) -> (Vec<String>, usize) {
        let mut said = Vec::new();
        let backends = list.backends(levels, &self.board);
        let failed = list
            .drive(levels, &backends, &self.clock, &mut |line| {
                said.push(line.to_owned())
            })
            .await;
        (said, failed)
    }

    fn edges(&self) -> Vec<(u64, String, Level)> {
        let edges = self.board.edges().into_iter();
        edges
            .map(|edge| (edge.at.as_nanos() / 1_000_000, edge.line, edge.level))
            .collect()
    }
}

#[test]
fn the_list_comes_back_as_it_was_compiled() {
    let settings = settings(
        "[devices.a]\nkind = \"lamp\"\nline = \"GPIO17\"\nactive_low = true\nsafe = \"on\"\non_stop = \"hold\"\n\
         [devices.b]\nkind = \"lamp\"\nchip = \"pinctrl-rp1\"\noffset = 4\ninterlock = \"x\"\ninterlock_dead_time = \"2s\"\n\
         [devices.c]\nkind = \"lamp\"\nline = \"GPIO5\"\ninterlock = \"x\"\n[devices.e]\nkind = \"echo\"",
    );
    let list = SafeList::of(&settings);
    assert_eq!(list.outputs.len(), 3, "outputs alone");
    assert_eq!(
        list.outputs[0].drive().unwrap(),
        settings.devices["a"].settings.output().unwrap().drive
    );
    assert_eq!((list.outputs[0].safe, list.outputs[0].stop), (Level::On, None));
    assert_eq!(
        list.outputs[1].drive().unwrap(),
        settings.devices["b"].settings.output().unwrap().drive
    );
    assert_eq!(
        list.dead_time("x"),
        Duration::from_secs(2),
        "the longest of the group"
    );
    let folder = tempfile::tempdir().unwrap();
    list.store(folder.path()).unwrap();
    assert_eq!(SafeList::load(folder.path()).unwrap(), list);
}

#[tokio::test(start_paused = true)]
async fn every_output_is_driven_and_one_that_refuses_stops_no_other() {
    let list = SafeList::of(&lamps(&[
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("d", "safe = \"on\"\nactive_low = true"),
    ]));
    let run = Run::new();
    run.board.set_fault("a", Some(LineFault::Error(5)));
    run.board.set_fault("c", Some(LineFault::Stuck(Physical::High)));
    let _agent = run
        .board
        .request_output(&LineSpec::named("b"), Level::Off, "outpost:b")
        .unwrap();
    let (said, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!(failed, 3);
    assert!(
        said[0].starts_with("a: NOT off: a: cannot set its level"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("b: NOT off: b is in use by \"outpost:b\": stop it"),
        "{said:?}"
    );
    assert_eq!(said[2], "c: NOT off: c (simulated) reads back on");
    assert_eq!(said[3], "d: d (simulated) is on");
    assert_eq!(run.board.physical("d"), Some(Physical::Low));
    run.board.set_fault("a", None);
    run.board.set_fault("c", None);
    drop(_agent);
    let (said, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!((said.len(), failed), (4, 0), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_group_what_goes_off_goes_first_and_on_waits_out_the_dead_time() {
    let on = "safe = \"on\"\ninterlock = \"x\"\non_lost_server = \"off\"";
    let off = "interlock = \"x\"\ninterlock_dead_time = \"3s\"";
    let list = SafeList::of(&lamps(&[("a", on), ("b", off), ("c", "safe = \"on\"")]));
    let run = Run::new();
    let (_, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!(failed, 0);
    assert_eq!(
        run.edges(),
        [
            (0, "b".into(), Level::Off),
            (3_000, "a".into(), Level::On),
            (3_000, "c".into(), Level::On)
        ]
    );
    // One that is not surely off keeps the others off.
    let run = Run::new();
    run.board.set_fault("b", Some(LineFault::Error(5)));
    let (said, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!(failed, 2);
    assert_eq!(
        said[1],
        "a: NOT on: not driven, since another output of interlock \"x\" is not surely off"
    );
    assert_eq!(run.edges(), [(0, "c".into(), Level::On)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_that_was_asked_for_the_levels_of_that_are_driven() {
    let list = SafeList::of(&lamps(&[
        ("a", "on_stop = \"on\""),
        ("b", "on_stop = \"hold\""),
        ("c", "safe = \"on\""),
        ("d", "safe = \"on\"\non_stop = \"off\""),
    ]));
    let run = Run::new();
    let (said, failed) = run.drive(&list, Levels::Stop).await;
    assert_eq!(failed, 0);
    assert_eq!(said[0], "b: left as it is");
    let edges: Vec<(String, Level)> = run
        .edges()
        .into_iter()
        .map(|(_, line, level)| (line, level))
        .collect();
    assert_eq!(
        edges,
        [
            ("d".into(), Level::Off),
            ("a".into(), Level::On),
            ("c".into(), Level::On)
        ]
    );
}

/// What the subcommand says, its edges, its code.
async fn command(named: Option<&Path>, environment: &[(&str, &Path)]) -> (Vec<String>, Vec<String>, u8) {
    let (mut said, mut edges) = (Vec::new(), Vec::new());
    let code = run(
        named.map(Path::to_owned),
        |name| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.as_os_str().to_owned())
        },
        &mut |line| edges.push(line.to_owned()),
        &mut |line| said.push(line.to_owned()),
    )
    .await;
    (said, edges, code)
}

#[tokio::test]
async fn the_list_is_found_as_the_state_directory_is() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let list = SafeList::of(&lamps(&[("a", "safe = \"on\"\non_stop = \"off\"")]));
    list.store(state).unwrap();
    let elsewhere = Path::new("/nowhere");
    for (named, environment) in [
        (Some(state), &[("STATE_DIRECTORY", elsewhere)][..]),
        (Some(state), &[]),
        (
            None,
            &[
                ("OUTPOST_AGENT__AGENT__STATE_DIR", state),
                ("STATE_DIRECTORY", elsewhere),
            ],
        ),
        (
            None,
            &[
                ("STATE_DIRECTORY", state),
                ("SERVICE_RESULT", Path::new("watchdog")),
            ],
        ),
    ] {
        let (said, edges, code) = command(named, environment).await;
        assert_eq!(
            (edges, code),
            (vec!["edge a on".to_owned()], 0),
            "{named:?}: {said:?}"
        );
        assert_eq!(said, ["a: a (simulated) is on"]);
    }
    let stopped = [
        ("STATE_DIRECTORY", state),
        ("SERVICE_RESULT", Path::new("success")),
    ];
    assert_eq!(command(None, &stopped).await.1, ["edge a off"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_said_with_the_code_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = [("STATE_DIRECTORY", folder.path())];
    let (said, _, code) = command(None, &here).await;
    assert!(
        said[0].contains("no list of outputs at") && said[0].contains("--state-dir DIR"),
        "{said:?}"
    );
    assert_eq!(code, 1);
    std::fs::write(folder.path().join(FILE), "{").unwrap();
    let (said, _, code) = command(None, &here).await;
    assert!(
        said[0].contains("a good start of the agent writes it anew"),
        "{said:?}"
    );
    assert_eq!(code, 1);
}

#[tokio::test(start_paused = true)]
async fn pwm_channels_are_all_or_nothing_too() {
    let settings = settings(
        "[devices.a]\nkind = \"lamp\"\npwm = { channel = 0 }\n\
         [devices.b]\nkind = \"lamp\"\npwm = { chip = \"x.pwm\", channel = 1, frequency = 50 }\nsafe = \"on\"\nactive_low = true\n\
         on_stop = \"hold\"\n[devices.c]\nkind = \"lamp\"\nline = \"c\"",
    );
    let list = SafeList::of(&settings);
    let drive = |name: &str| settings.devices[name].settings.output().unwrap().drive.clone();
    for (entry, name) in list.outputs.iter().zip(["a", "b", "c"]) {
        assert_eq!(entry.drive().unwrap(), drive(name), "as it was configured");
    }
    let folder = tempfile::tempdir().unwrap();
    list.store(folder.path()).unwrap();
    assert_eq!(SafeList::load(folder.path()).unwrap(), list);
    let run = Run::new();
    let (said, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!(failed, 0, "{said:?}");
    assert_eq!(said[0], "a: pwm/0 (simulated) is off");
    assert_eq!(said[2], "b: x.pwm/1 (simulated) is on");
    let edges = [
        (0, "pwm/0".into(), Level::Off),
        (0, "c".into(), Level::Off),
        (0, "x.pwm/1".into(), Level::On),
    ];
    assert_eq!(run.edges(), edges);
    let (said, _) = Run::new().drive(&list, Levels::Stop).await;
    assert_eq!(said[0], "b: left as it is");
    run.board
        .set_fault("pwm/0", Some(LineFault::Stuck(Physical::High)));
    let (said, failed) = run.drive(&list, Levels::Safe).await;
    assert_eq!(
        (said[0].as_str(), failed),
        ("a: NOT off: pwm/0 (simulated) reads back 100 %", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn where_no_line_can_be_driven_pwm_channels_are_driven_all_the_same() {
    let list = SafeList::of(&settings(
        "[devices.a]\nkind = \"lamp\"\nline = \"a\"\n[devices.b]\nkind = \"lamp\"\npwm = { channel = 0 }",
    ));
    let run = Run::new();
    let mut backends = list.backends(Levels::Safe, &run.board);
    backends.gpio = Err("no GPIO chip found".to_owned());
    let mut said = Vec::new();
    let failed = list
        .drive(Levels::Safe, &backends, &run.clock, &mut |line| {
            said.push(line.to_owned())
        })
        .await;
    assert_eq!(failed, 1);
    assert_eq!(
        said,
        [
            "a: NOT off: can't drive lines: no GPIO chip found",
            "b: pwm/0 (simulated) is off"
        ]
    );
    let alone = SafeList::of(&settings("[devices.b]\nkind = \"lamp\"\npwm = { channel = 0 }"));
    let backends = alone.backends(Levels::Safe, &run.board);
    assert!(
        backends.gpio.unwrap().is_none(),
        "not opened where no output is on a line"
    );
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_line_is_low_afterwards_whatever_the_reason() {
    let settings =
        settings("[safety]\nheartbeat_line = { chip = \"pinctrl-rp1\", offset = 25 }\n[devices]\n");
    let list = SafeList::of(&settings);
    for levels in [Levels::Safe, Levels::Stop] {
        let run = Run::new();
        let (said, failed) = run.drive(&list, levels).await;
        assert_eq!((said.len(), failed), (1, 0));
        assert!(
            said[0].starts_with("the heartbeat line: ") && said[0].ends_with(" is off"),
            "{said:?}"
        );
        assert_eq!(run.board.physical("pinctrl-rp1/25"), Some(Physical::Low));
    }
}
