use std::collections::BTreeSet;

use super::super::finding::Level;
use super::*;

fn chip(label: &str, names: &[&str], used: &[(u32, &str)]) -> ChipFacts {
    let line = |(offset, name): (usize, &&str)| {
        let offset = u32::try_from(offset).unwrap();
        let holder = used.iter().find(|(at, _)| *at == offset);
        LineFacts {
            offset,
            name: (*name).to_owned(),
            used: holder.is_some(),
            consumer: holder.map_or_else(String::new, |(_, name)| (*name).to_owned()),
        }
    };
    ChipFacts {
        path: "/dev/gpiochip0".into(),
        label: label.to_owned(),
        lines: names.iter().enumerate().map(line).collect(),
    }
}

fn facts(chips: Result<Vec<ChipFacts>, GpioError>, wanted: &[(&str, &str)]) -> GpioFacts {
    GpioFacts {
        backend: BackendChoice::Auto,
        wanted: wanted
            .iter()
            .map(|(device, line)| Wanted::of_device(device, &LineSpec::named(*line), *device != "button"))
            .collect(),
        on_release: chips
            .iter()
            .flatten()
            .map(|chip| (chip.label.clone(), OnRelease::Stays))
            .collect(),
        chips,
        files: Vec::new(),
        registers: None,
        service_runs: false,
    }
}

fn pi() -> User {
    User {
        uid: 1000,
        name: "pi".to_owned(),
        groups: BTreeSet::new(),
    }
}

fn board(used: &[(u32, &str)]) -> Result<Vec<ChipFacts>, GpioError> {
    Ok(vec![
        chip("pinctrl-rp1", &["ID_SDA", "ID_SCL", "GPIO2", "GPIO3", "-"], used),
        chip("other", &["-", "WAKE"], &[]),
    ])
}

fn levels(facts: &GpioFacts) -> Vec<Level> {
    judge(facts, &pi()).iter().map(|finding| finding.level).collect()
}

#[test]
fn a_free_line_is_good_and_what_becomes_of_it_is_said() {
    let facts = facts(board(&[]), &[("lamp", "GPIO2")]);
    assert_eq!(levels(&facts), [Level::Ok, Level::Note]);
    let findings = judge(&facts, &pi());
    assert!(
        findings[0].text.contains("line 2 of pinctrl-rp1, free"),
        "{findings:?}"
    );
    assert!(
        findings[1].remedy.as_ref().unwrap().contains("strict_gpiod"),
        "{findings:?}"
    );
}

#[test]
fn who_holds_a_line_is_named_and_the_service_may() {
    let mut facts = facts(
        board(&[(2, "outpost:lamp"), (3, "fan")]),
        &[("lamp", "GPIO2"), ("fan", "GPIO3")],
    );
    let findings = judge(&facts, &pi());
    assert_eq!(
        findings[0].level,
        Level::Error,
        "held in our name, but no agent runs"
    );
    assert!(findings[1].text.contains("in use by \"fan\""), "{findings:?}");
    facts.service_runs = true;
    assert_eq!(levels(&facts)[..2], [Level::Ok, Level::Error]);
}

#[test]
fn inputs_and_the_heartbeat_line_are_lines_too() {
    let mut facts = facts(board(&[]), &[("button", "GPIO2")]);
    assert_eq!(
        levels(&facts),
        [Level::Ok],
        "of an input nothing becomes anything"
    );
    facts.wanted.push(Wanted::heartbeat(&LineSpec::named("GPIO3")));
    assert_eq!(levels(&facts), [Level::Ok, Level::Ok, Level::Note]);
    let table = lines(&facts).unwrap();
    let (button, heartbeat) = (table.lines().nth(3).unwrap(), table.lines().nth(4).unwrap());
    assert!(
        button.ends_with(" button") && heartbeat.ends_with(" (heartbeat)"),
        "{table}"
    );
    facts.chips = board(&[(3, heartbeat::CONSUMER)]);
    facts.wanted.remove(0);
    let findings = judge(&facts, &pi());
    assert_eq!(findings[0].about, "safety.heartbeat_line");
    assert_eq!(
        findings[0].level,
        Level::Error,
        "no agent runs that could hold it"
    );
    facts.service_runs = true;
    assert_eq!(levels(&facts), [Level::Ok, Level::Note]);
}

#[test]
fn a_line_that_is_not_there_is_answered_with_those_that_are() {
    let findings = judge(&facts(board(&[]), &[("lamp", "GPIO33")]), &pi());
    assert!(
        findings[0].text.contains("no line is called \"GPIO33\"") && findings[0].text.contains("GPIO3"),
        "{findings:?}"
    );
    assert_eq!(findings.len(), 1, "of no line nothing becomes anything");
}

#[test]
fn without_chips_the_backend_decides_how_bad_that_is() {
    let none = || Err(GpioError::NoChips);
    let mut facts = facts(none(), &[("lamp", "GPIO2")]);
    assert_eq!(levels(&facts), [Level::Error]);
    facts.registers = Some(FileFacts {
        path: "/dev/gpiomem".into(),
        gid: 1,
        group: "gpio".into(),
        group_may: true,
        is_device: true,
        accessible: true,
    });
    assert_eq!(levels(&facts), [Level::Warning], "auto falls back");
    facts.backend = BackendChoice::Cdev;
    assert_eq!(levels(&facts), [Level::Error]);
    facts.backend = BackendChoice::Rppal;
    assert_eq!(levels(&facts), [Level::Ok, Level::Note]);
    facts.registers = None;
    assert_eq!(levels(&facts), [Level::Error, Level::Note]);
    facts.backend = BackendChoice::Simulated;
    assert_eq!(levels(&facts), [Level::Note]);
}

#[test]
fn the_kernels_parameter_tells_what_becomes_of_outputs() {
    let says = |text: &'static str| move |_: &Path| Some(text.to_owned());
    assert_eq!(on_release("pinctrl-rp1", says("Y\n")), OnRelease::Stays);
    assert_eq!(
        on_release("pinctrl-bcm2711", says("N\n")),
        OnRelease::BecomesInput
    );
    assert_eq!(on_release("pinctrl-bcm2711", |_: &Path| None), OnRelease::Unknown);
    assert_eq!(
        on_release("sunxi", |_: &Path| panic!("nothing to read")),
        OnRelease::Unknown
    );
}

#[test]
fn the_table_shows_pins_numbers_and_holders() {
    let facts = facts(board(&[(3, "")]), &[("lamp", "GPIO2")]);
    assert_eq!(
        lines(&facts).unwrap(),
        "LINE    CHIP/OFFSET    BCM  PIN  HELD BY   DEVICE\n\
         ID_SDA  pinctrl-rp1/0  0    27\n\
         ID_SCL  pinctrl-rp1/1  1    28\n\
         GPIO2   pinctrl-rp1/2  2    3              lamp\n\
         GPIO3   pinctrl-rp1/3  3    5    somebody\n\
         WAKE    other/1"
    );
    let mut pins = HEADER_PINS;
    pins.sort_unstable();
    assert!(pins.windows(2).all(|pair| pair[0] < pair[1]), "no pin twice");
    assert!(pins.iter().all(|pin| (3..=40).contains(pin)));
}
