use super::*;
use crate::device::gpio::{Bias, LineAddress, LineSpec};
use crate::device::{DeviceSettings, DeviceTable};

fn read(toml: &str) -> Result<InputSettings, String> {
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    let file = config::Config::builder().add_source(source).build().unwrap();
    let table: DeviceTable = file.try_deserialize().map_err(|error| error.to_string())?;
    match table.settings {
        DeviceSettings::Input(input) => Ok(input),
        other => panic!("{other:?}"),
    }
}

fn button(keys: &str) -> Result<InputSettings, String> {
    read(&format!("kind = \"input\"\nline = \"GPIO5\"\n{keys}"))
}

fn rule(keys: &str) -> Result<Submit, String> {
    let settings = button(&format!(
        "[[submit]]\nedge = \"rising\"\nfunc = \"lamp.on\"\n{keys}"
    ))?;
    Ok(settings.submit[0].clone())
}

#[test]
fn a_line_is_enough_and_every_key_can_be_given() {
    assert_eq!(
        button("").unwrap(),
        InputSettings::on_line(LineSpec::named("GPIO5"))
    );
    let plain = rule("").unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        (plain.max_wait, plain.max_exec, plain.min_interval),
        (seconds(10), seconds(60), seconds(1))
    );
    assert_eq!((plain.runtime, plain.runtime_type), (None, None));
    let all = read(
        "kind = \"input\"\nchip = \"pinctrl-rp1\"\noffset = 5\nactive_low = true\nbias = \"pull-up\"\ndebounce = \"50ms\"\n\
         [[submit]]\nedge = \"both\"\nfunc = \"lamp.pulse\"\nargs = [\"3s\"]\nruntime = \"hall\"\ntype = \"cli\"\n\
         maxwaittime = 3\nmaxexectime = \"2m\"\nmin_interval = \"500ms\"\n\
         [[submit]]\nedge = \"off\"\nfunc = \"x\"",
    )
    .unwrap();
    let address = LineAddress::OnChip {
        label: "pinctrl-rp1".into(),
        offset: 5,
    };
    assert_eq!((all.line.address, all.line.active_low), (address, true));
    assert_eq!(
        (all.watching.bias, all.watching.debounce),
        (Bias::PullUp, Duration::from_millis(50))
    );
    let first = Submit {
        edges: Edges::Both,
        func: "lamp.pulse".into(),
        args: vec!["3s".into()],
        runtime: Some("hall".into()),
        runtime_type: Some("cli".into()),
        max_wait: seconds(3),
        max_exec: seconds(120),
        min_interval: Duration::from_millis(500),
    };
    assert_eq!(all.submit[0], first);
    assert_eq!(all.submit[1].edges, Edges::Falling);
    assert_eq!(button("debounce = 0").unwrap().watching.debounce, Duration::ZERO);
}

#[test]
fn what_cannot_be_used_is_refused_by_the_name_of_its_key() {
    for (keys, help) in [
        ("debounce = \"6s\"", "debounce = 6s must be from 0s to 5s"),
        ("bias = \"up\"", "pull-up"),
        ("debonce = 3", "unknown field `debonce`"),
        (
            "submit = [{ edge = \"up\", func = \"x\" }]",
            "\"up\" is no edge: write rising (or on)",
        ),
        ("submit = [{ func = \"x\" }]", "edge"),
        ("submit = [{ edge = \"on\" }]", "func"),
        (
            "submit = [{ edge = \"on\", func = \"x\", colony = 1 }]",
            "unknown field `colony`",
        ),
    ] {
        let error = button(keys).unwrap_err();
        assert!(error.contains(help), "{keys}: {error}");
    }
    for (keys, help) in [
        (
            "maxwaittime = 0",
            "maxwaittime = 0s must be whole seconds from 1s to 5m",
        ),
        (
            "maxwaittime = \"1500ms\"",
            "maxwaittime = 1.5s must be whole seconds",
        ),
        (
            "maxexectime = 0",
            "maxexectime = 0s must be whole seconds from 1s to 24h",
        ),
        ("min_interval = 0", "min_interval = 0s must be from 100ms to 24h"),
        ("runtime = \"\"", "runtime is empty"),
        ("type = \" \"", "type is empty"),
    ] {
        let error = rule(keys).unwrap_err();
        assert!(error.contains(help), "{keys}: {error}");
    }
    let empty = button("submit = [{ edge = \"on\", func = \"\" }]").unwrap_err();
    assert!(empty.contains("func is empty: write the function"), "{empty}");
    let many = "[[submit]]\nedge = \"on\"\nfunc = \"x\"\n".repeat(9);
    let many = button(&many).unwrap_err();
    assert!(many.contains("submit has 9 tables, at most 8"), "{many}");
}
