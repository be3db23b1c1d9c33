use super::*;
use crate::agent::registry::FunctionTable;
use crate::device::pwm::PwmSpec;

fn read(text: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, text).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let settings = load(Some(&file), env).map_err(|error| error.to_string())?;
    settings.check(Some(&file)).map_err(|error| error.to_string())?;
    Ok(settings)
}

const SHIPPED: &str = include_str!("../../../configs/agent.toml");
const SIMULATED: &str = include_str!("../../../configs/agent-simulated.toml");

#[test]
fn the_shipped_configurations_can_be_used() {
    let real = read(SHIPPED, &[]).unwrap();
    assert_eq!(real.gpio.backend, BackendChoice::Auto);
    assert!(real.devices["lamp"].settings.needs_gpio());
    assert_eq!(
        real.functions["turn_on_lamp"],
        FunctionSettings::Name("lamp.on".to_owned())
    );
    let simulated = read(SIMULATED, &[]).unwrap();
    assert_eq!(simulated.gpio.backend, BackendChoice::Simulated);
    assert_eq!(simulated.runtime.runtime_type, "cli");
}

#[test]
fn the_examples_of_the_page_on_safety_can_be_used() {
    let page = include_str!("../../../docs/safety.md");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 2);
    let base = SIMULATED
        .replace("http://hub.local", "https://hub.local")
        .replace("GPIO17", "GPIO22");
    for block in blocks {
        // The line of the heartbeat, once there is such a thing.
        if block.contains("[safety]") && !SHIPPED.contains("[safety]") {
            continue;
        }
        let settings = read(&format!("{base}\n{block}"), &[]).unwrap();
        assert!(settings.devices.contains_key("lamp"));
    }
}

/// Keys whose comment shows an example, since their default is found on the machine or is nothing at all.
const EXAMPLES: &[&str] = &[
    "ca_file",
    "name",
    "cpu",
    "cores",
    "mem",
    "flash",
    "key_file",
    "listen",
    "interlock",
    "feedback",
    "pwm",
    "heartbeat_line",
];

#[test]
fn what_is_commented_out_shows_the_defaults_and_nothing_is_missing() {
    let plain = read(SHIPPED, &[]).unwrap();
    let mut shown = Vec::new();
    let uncommented: Vec<String> = SHIPPED
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // Prose has a blank after the sign.
            Some(key) if !key.is_empty() && !key.starts_with(' ') => {
                shown.push(key.split(' ').next().unwrap().to_owned());
                key.to_owned()
            }
            _ => line.to_owned(),
        })
        .collect();
    let uncommented = uncommented.join("\n");
    let alone = read(&uncommented.replace("\npwm = ", "\n#pwm = "), &[]).unwrap_err();
    assert!(
        alone.contains("devices.lamp.interlock: \"bridge\" has this output alone"),
        "{alone}"
    );
    let both = uncommented.replace("\ninterlock = ", "\n#interlock = ");
    let both = read(&both, &[]).unwrap_err();
    assert!(both.contains("pwm says already what is driven"), "{both}");
    let dimmed = read(
        &uncommented
            .replace("\ninterlock = ", "\n#interlock = ")
            .replace("\nline = ", "\n#line = "),
        &[],
    );
    let frequency = dimmed.unwrap().devices["lamp"].settings.pwm().unwrap().frequency;
    assert_eq!(frequency, PwmSpec::channel(0).frequency, "the default is shown");
    let uncommented = uncommented.replace("\npwm = ", "\n#pwm = ");
    let mut all = read(&uncommented.replace("\ninterlock = ", "\n#interlock = "), &[]).unwrap();
    assert_eq!(all.key_file(), plain.key_file(), "the example is the default");
    assert_eq!(
        all.functions.remove("flash"),
        Some(FunctionSettings::Table(FunctionTable {
            call: "lamp.pulse".to_owned(),
            args: vec!["3s".to_owned()]
        }))
    );
    let DeviceSettings::Lamp(lamp) = &mut all.devices.get_mut("lamp").unwrap().settings else {
        panic!("no lamp");
    };
    let feedback = lamp.output.feedback.take().unwrap();
    assert_eq!(feedback.time, Duration::from_millis(200), "the default is shown");
    all.server.ca_file = None;
    all.colony.key_file = None;
    assert_eq!(all.agent.control.take(), Some(false));
    let lamp = all.devices.get_mut("lamp").unwrap();
    assert_eq!(lamp.care.max_age.take(), Some(plain.agent.max_age), "the usual");
    all.metrics.listen = None;
    all.safety.heartbeat_line = None;
    all.runtime = Runtime {
        runtime_type: all.runtime.runtime_type,
        gpu: all.runtime.gpu,
        gpus: all.runtime.gpus,
        ..Runtime::default()
    };
    assert_eq!(all, plain);
    for key in EXAMPLES {
        assert!(shown.iter().any(|shown| shown == key), "{key} is not in the file");
    }
    // Every key of every section is there, commented or not.
    for (section, keys) in [
        (
            "server",
            &["url", "ca_file", "connect_timeout", "answer_timeout"][..],
        ),
        ("colony", &["id", "key_file"]),
        (
            "runtime",
            &["name", "type", "key_file", "cpu", "cores", "mem", "gpu", "gpus"],
        ),
        (
            "agent",
            &[
                "state_dir",
                "poll_time",
                "grace_time",
                "max_age",
                "supervise",
                "slots",
                "control",
                "backoff_min",
                "backoff_max",
                "log",
            ],
        ),
        ("gpio", &["backend", "edge_times"]),
        ("safety", &["heartbeat_line", "heartbeat_period"]),
        ("metrics", &["listen"]),
    ] {
        let unknown = format!("[{section}]\nno_such_key = 1\n");
        let error = read(&unknown, &[]).unwrap_err();
        let body = SHIPPED
            .split(&format!("[{section}]\n"))
            .nth(1)
            .unwrap()
            .split("\n[")
            .next()
            .unwrap();
        for key in keys {
            let there = body
                .lines()
                .any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
            assert!(there, "[{section}] {key} is not in configs/agent.toml");
        }
        let known = error
            .split("known there are ")
            .nth(1)
            .unwrap_or(&error)
            .to_owned();
        assert_eq!(
            known.split(", ").count(),
            keys.len(),
            "this test knows every key of [{section}]: {error}"
        );
    }
    let unknown = "[devices.lamp]\nkind = \"lamp\"\nline = \"GPIO17\"\nno_such_key = 1\n";
    let error = read(unknown, &[]).unwrap_err();
    let known: Vec<&str> = error
        .split("known there are ")
        .nth(1)
        .unwrap()
        .split(", ")
        .collect();
    assert!(known.len() > 15, "{error}");
    for key in known {
        // The other way to name a line is in the comment of `line`.
        let told = matches!(key, "chip" | "offset");
        let there = SHIPPED
            .lines()
            .any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
        assert!(told || there, "[devices.lamp] {key} is not in configs/agent.toml");
    }
}

#[test]
fn the_shipped_example_of_inputs_can_be_used_and_shows_every_key() {
    let example = include_str!("../../../configs/devices-inputs.toml");
    let plain = read(&format!("{SIMULATED}\n{example}"), &[]).unwrap();
    let uncommented: Vec<&str> = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
            _ => line,
        })
        .collect();
    let mut all = read(&format!("{SIMULATED}\n{}", uncommented.join("\n")), &[]).unwrap();
    let DeviceSettings::Input(button) = &mut all.devices.get_mut("button").unwrap().settings else {
        panic!("no input");
    };
    let mut rules = button.submit.to_vec();
    // Keys without a default show an example.
    assert!(rules[0].runtime.take().is_some() && rules[0].runtime_type.take().is_some());
    rules[0].args.clear();
    button.submit = rules.into();
    assert_eq!(all, plain, "what is commented out are the defaults");
    let button = "[devices.button]\nkind = \"input\"\nline = \"GPIO5\"\n";
    for table in ["", "[[devices.button.submit]]\nedge = \"on\"\nfunc = \"x\"\n"] {
        let error = read(&format!("{button}{table}no_such_key = 1\n"), &[]).unwrap_err();
        let known = error.trim_end().split("known there are ").nth(1);
        let known: Vec<&str> = known.unwrap_or_else(|| panic!("{error}")).split(", ").collect();
        assert!(known.len() > 6, "{error}");
        for key in known {
            let is_in = |file: &str| {
                let mut lines = file.lines().map(|line| line.trim_start_matches('#'));
                lines.any(|line| line.starts_with(&format!("{key} = ")))
            };
            // What every device has is in agent.toml; the other way to name a line is in a comment.
            let told = matches!(key, "chip" | "offset" | "submit");
            assert!(
                is_in(example) || is_in(SHIPPED) || told,
                "{key} is not in configs/devices-inputs.toml"
            );
        }
    }
}

#[test]
fn a_hazardous_device_needs_an_authenticated_server_and_an_age_limit() {
    let with = |url: &str, keys: &str| {
        let text = SHIPPED
            .replace("http://hub.local:50080", url)
            .replace("#hazardous = false", &format!("hazardous = true\n{keys}"));
        read(&text, &[])
    };
    let error = with("http://hub.local:50080", "").unwrap_err();
    assert!(
        error.contains("devices.lamp.hazardous")
            && error.contains("https")
            && error.contains("insecure = true"),
        "{error}"
    );
    assert!(with("http://hub.local:50080", "insecure = true").is_ok());
    for url in [
        "https://hub.local",
        "http://127.0.0.1:50080",
        "http://localhost:50080",
    ] {
        assert!(with(url, "").is_ok(), "{url}");
    }
    let error = with("https://hub.local", "max_age = 0").unwrap_err();
    assert!(error.contains("devices.lamp.max_age"), "{error}");
}

#[test]
fn keys_come_from_the_configuration_else_from_credentials_else_from_the_state_directory() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        (OWN_KEY_CREDENTIAL, COLONY_KEY_CREDENTIAL),
        ("agent.key", "colony.key"),
        "as the unit says"
    );
    let own = folder.path().join(OWN_KEY_CREDENTIAL);
    let colonys = folder.path().join(COLONY_KEY_CREDENTIAL);
    let name = folder.path().to_str().unwrap();
    let given = |text: &str| read(text, &[(CREDENTIALS_DIRECTORY, name)]).unwrap();
    let state = KeySource::File("/var/lib/outpost-agent/agent.key".into());

    // A folder that was given for other credentials.
    let settings = given(SHIPPED);
    assert_eq!(
        (settings.key_source(), settings.colony_key_source()),
        (state.clone(), None)
    );
    std::fs::write(&own, "").unwrap();
    std::fs::write(&colonys, "").unwrap();
    let settings = given(SHIPPED);
    assert_eq!(settings.key_source(), KeySource::Credential(own.clone()));
    assert_eq!(settings.key_file(), own);
    assert_eq!(settings.colony_key_source(), Some(KeySource::Credential(colonys)));

    let named = SHIPPED
        .replace("#key_file = \"/etc", "key_file = \"/etc")
        .replace("#key_file = \"/var", "key_file = \"/var");
    let settings = given(&named);
    assert_eq!(settings.key_source(), state);
    let colonys = KeySource::File("/etc/outpost/colony.key".into());
    assert_eq!(settings.colony_key_source(), Some(colonys));
    assert_eq!(read(SHIPPED, &[]).unwrap().key_source(), state);
}

#[test]
fn keys_of_a_device_that_are_no_texts_can_be_set_by_the_environment() {
    let env = [
        ("OUTPOST_AGENT__DEVICES__LAMP__HAZARDOUS", "true"),
        ("OUTPOST_AGENT__DEVICES__LAMP__INSECURE", "true"),
        ("OUTPOST_AGENT__DEVICES__LAMP__ACTIVE_LOW", "true"),
        ("OUTPOST_AGENT__DEVICES__METER__KIND", "serial"),
        ("OUTPOST_AGENT__DEVICES__METER__PORT", "/dev/ttyUSB0"),
        ("OUTPOST_AGENT__DEVICES__METER__BAUD", "9600"),
    ];
    let settings = read(SHIPPED, &env).unwrap();
    assert!(settings.devices["lamp"].care.hazardous);
    let output = settings.devices["lamp"].settings.output().unwrap();
    assert!(output.drive.line().unwrap().active_low);
    let DeviceSettings::Serial(meter) = &settings.devices["meter"].settings else {
        panic!("{:?}", settings.devices["meter"]);
    };
    assert_eq!(meter.port.baud, 9600);
    let error = read(SHIPPED, &[("OUTPOST_AGENT__DEVICES__LAMP__HAZARDOUS", "yes")]).unwrap_err();
    assert!(
        error.contains("devices.lamp.hazardous") && error.contains("boolean"),
        "{error}"
    );
}

#[test]
fn the_environment_stands_over_the_file() {
    let env = [
        ("OUTPOST_AGENT__SERVER__URL", "https://hub.example"),
        ("OUTPOST_AGENT__AGENT__POLL_TIME", "5"),
        ("OUTPOST_AGENT__RUNTIME__CORES", "3"),
        ("OUTPOST_AGENT__GPIO__BACKEND", "simulated"),
        ("COLONIES_SERVERHOST", "not.read"),
    ];
    let settings = read(SHIPPED, &env).unwrap();
    assert_eq!(settings.server.url, "https://hub.example");
    assert_eq!(settings.agent.poll_time, Duration::from_secs(5));
    assert_eq!(settings.runtime.cores, Some(3));
    assert_eq!(settings.gpio.backend, BackendChoice::Simulated);
}

#[test]
fn errors_name_the_key_the_file_and_what_to_do() {
    let with = |from: &str, to: &str| {
        assert!(SHIPPED.contains(from), "{from}");
        read(&SHIPPED.replace(from, to), &[]).unwrap_err()
    };
    for (from, to, key, help) in [
        ("#grace_time", "grace_tme", "agent.grace_tme", "`grace_time`"),
        (
            "\"http://hub.local",
            "\"hub.local",
            "server.url",
            "http://host:50080",
        ),
        ("id = \"4787", "id = \"", "colony.id", "64 lower-case hex digits"),
        ("type = \"cli\"", "type = \"\"", "runtime.type", "runtimetype"),
        (
            "#poll_time = \"30s\"",
            "poll_time = \"31s\"",
            "agent.poll_time",
            "from 1s to 30s",
        ),
        (
            "#poll_time = \"30s\"",
            "poll_time = \"1500ms\"",
            "agent.poll_time",
            "whole seconds",
        ),
        (
            "#grace_time = \"10s\"",
            "grace_time = \"61s\"",
            "agent.grace_time",
            "1m",
        ),
        (
            "#backoff_max = \"30s\"",
            "backoff_max = \"500ms\"",
            "agent.backoff_max",
            "backoff_min",
        ),
        (
            "#backend = \"auto\"",
            "backend = \"gpio\"",
            "gpio.backend",
            "rppal",
        ),
        ("#log = \"info\"", "log = \"loud\"", "agent.log", "debug or trace"),
        ("#slots = 1", "slots = 0", "agent.slots", "from 1 to"),
        (
            "#heartbeat_line = \"GPIO25\"",
            "heartbeat_line = \"GPIO17\"",
            "safety.heartbeat_line",
            "GPIO17 is a line of devices.lamp",
        ),
        (
            "#heartbeat_line = \"GPIO25\"",
            "heartbeat_line = 25",
            "safety.heartbeat_line",
            "\"GPIO17\" for BCM 17",
        ),
        (
            "#heartbeat_line = \"GPIO25\"",
            "heartbeat_line = { chip = \"gpiochip0\", offset = 25 }",
            "safety.heartbeat_line",
            "numbers move",
        ),
        (
            "#heartbeat_line = \"GPIO25\"",
            "heartbeat_line = true",
            "safety.heartbeat_line",
            "write heartbeat_line = \"GPIO25\"",
        ),
        (
            "#heartbeat_period = \"500ms\"",
            "heartbeat_period = \"50ms\"",
            "safety.heartbeat_period",
            "50ms must be from 100ms to 10s",
        ),
        ("#max_pulse = \"10m\"", "max_puls = 3", "max_puls", "max_pulse"),
        (
            "#on_lost_server = \"hold\"",
            "on_lost_server = \"off\"\nlost_after = \"60s\"",
            "devices.lamp.lost_after",
            "longer than twice agent.poll_time, 1m",
        ),
        (
            "#interlock = \"bridge\"",
            "safe = \"on\"\ninterlock = \"bridge\"\n[devices.other]\nkind = \"lamp\"\nline = \"GPIO5\"\nsafe = \"on\"\ninterlock = \"bridge\"",
            "devices.lamp.safe",
            "at most one may be on",
        ),
    ] {
        let error = with(from, to);
        assert!(error.contains(key), "{key}: {error}");
        assert!(error.contains(help), "{help}: {error}");
        assert!(error.contains("agent.toml"), "the file: {error}");
    }
    for (device, key, help) in [
        (
            "kind = \"input\"\nline = \"GPIO5\"\n[[devices.box.submit]]\nedge = \"up\"\nfunc = \"lamp.on\"",
            "devices.box.submit.edge",
            "is no edge: write rising (or on)",
        ),
        (
            "kind = \"shell-worker\"\n[devices.box2]\nkind = \"shell-worker\"",
            "devices.box2.kind",
            "devices.box does already",
        ),
        (
            "kind = \"input\"\nline = \"GPIO17\"",
            "devices.lamp",
            "GPIO17 is a line of devices.box already: each line has one holder",
        ),
        (
            "kind = \"lamp\"\nline = \"GPIO5\"\nfeedback = { line = \"GPIO17\" }",
            "devices.lamp",
            "GPIO17 is a line of devices.box already",
        ),
        (
            "kind = \"command\"\n[devices.box.functions.now]\nprogram = \"/bin/date\"\nlimits = { mem = 1 }",
            "`devices.box.functions.now.limits.mem`",
            "did you mean `memory`?",
        ),
        (
            "kind = \"command\"\nslots = 2\n[devices.box.functions.now]\nprogram = \"/bin/date\"",
            "devices.box.slots",
            "works on 1 at once (agent.slots)",
        ),
    ] {
        let error = read(&format!("{SHIPPED}\n[devices.box]\n{device}"), &[]).unwrap_err();
        assert!(error.contains(key) && error.contains(help), "{error}");
    }
    let missing = read("[runtime]\ntype = \"cli\"", &[]).unwrap_err();
    assert!(missing.contains("colony.id: not set"), "{missing}");
}
