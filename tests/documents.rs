//! What the documents repeat from elsewhere is what is there.

#![allow(clippy::unwrap_used, reason = "a test's helpers may stop it, too")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(relative: &str) -> String {
    fs::read_to_string(root().join(relative)).unwrap_or_else(|fault| panic!("{relative}: {fault}"))
}

/// The text between two marks, which must both be there.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no “{from}”"));
    rest.split_once(to)
        .unwrap_or_else(|| panic!("no “{to}” after “{from}”"))
        .0
}

/// The first cells of the rows of a table that are written as code: ``| `name` | …``.
fn coded_first_cells(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

/// Every Markdown file of the project.
fn documents() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    collect(&path, found);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    found
}

/// Where the links of a Markdown text lead, code blocks left out: `[text](target)`.
fn links(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .collect()
}

#[test]
fn links_are_found_and_code_is_not_taken_for_them() {
    let text = "[a](b.md) and [c](d/e.md#f)\n```\nx[i](j)\n```\n[k](l)";
    assert_eq!(links(text), ["b.md", "d/e.md#f", "l"]);
}

#[test]
fn every_link_between_files_leads_somewhere() {
    let mut dead = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for link in links(&fs::read_to_string(&document).unwrap()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || link.contains("://") {
                continue;
            }
            seen += 1;
            if !document.parent().unwrap().join(target).exists() {
                dead.push(format!(
                    "{}: {link}",
                    document.strip_prefix(root()).unwrap().display()
                ));
            }
        }
    }
    assert!(
        seen > 20,
        "only {seen} links seen: is the test looking in the right place?"
    );
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

#[test]
fn the_readme_opens_with_the_two_commands() {
    let readme = read("README.md");
    let block = between(&readme, "```\n", "```");
    let commands: Vec<&str> = block
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(commands, ["./scripts/demo", "./scripts/test"]);
    assert!(
        readme.lines().position(|line| line == "```") <= Some(2),
        "nothing stands before them"
    );
    for command in commands {
        assert!(root().join(command).exists(), "{command}");
    }
}

#[test]
fn the_page_on_checks_has_every_step_in_order() {
    let script = read("scripts/test");
    let steps: Vec<&str> = between(&script, "\nsteps=(", ")").split_whitespace().collect();
    let page = read("docs/ci.md");
    assert_eq!(coded_first_cells(&page), steps);
    for step in steps {
        assert!(
            script.contains(&format!("\nstep_{step}() {{")),
            "scripts/test has no function step_{step}"
        );
    }
}

#[test]
fn the_toolchain_is_the_same_everywhere() {
    let toolchain = read("rust-toolchain.toml");
    let channel = between(&toolchain, "channel = \"", "\"");
    let manifest = read("Cargo.toml");
    let oldest = between(&manifest, "rust-version = \"", "\"");
    assert!(
        channel.starts_with(&format!("{oldest}.")),
        "{channel} is pinned, but rust-version is {oldest}"
    );
    assert!(read("docs/decisions/0001-toolchain-and-profiles.md").contains(channel));
    assert!(read("cross/README.md").contains(&format!("cross +{channel} ")));
}

#[test]
fn the_list_of_decisions_has_each_by_its_title() {
    let list = read("docs/decisions/README.md");
    let mut records = 0;
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((number, _)) = name.split_once('-') else {
            continue;
        };
        records += 1;
        let text = read(&format!("docs/decisions/{name}"));
        let title = between(&text, &format!("# {number}: "), "\n");
        let row = format!("| [{number}]({name}) | {title} |");
        assert!(
            list.lines().any(|line| line == row),
            "docs/decisions/README.md lacks the row\n{row}"
        );
        for part in ["**Context.**", "**Decision.**", "**Consequences.**"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
    assert_eq!(
        list.matches("](0").count(),
        records,
        "a row for each record and no other"
    );
}

#[test]
fn what_the_records_say_of_the_manifest_is_so() {
    let manifest = read("Cargo.toml");
    let release = between(&manifest, "[profile.release]\n", "\n\n");
    for setting in [
        "opt-level = \"z\"",
        "lto = \"fat\"",
        "codegen-units = 1",
        "strip = true",
        "panic = \"abort\"",
    ] {
        assert!(release.contains(setting), "decision 0001 says {setting}");
    }
    let dependencies = between(&manifest, "[dependencies]\n", "\n[dev-dependencies]");
    for absent in ["axum", "reqwest", "k256", "openssl", "aws-lc"] {
        let named = dependencies.lines().any(|line| line.starts_with(absent));
        assert!(!named, "the records say that we do without {absent}");
    }
    let secp = dependencies
        .lines()
        .find(|line| line.starts_with("secp256k1"))
        .unwrap();
    assert!(
        secp.contains("0.33") && secp.contains("[\"std\", \"recovery\"]"),
        "decision 0002: {secp}"
    );
}

/// The values of a directive in a unit, in order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(directive)?.strip_prefix('='))
        .collect()
}

#[test]
fn the_page_on_services_says_what_the_units_do() {
    let page = read("docs/service.md");
    let agent = read("systemd/outpost-agent.service");
    let hub = read("systemd/outpost-hub.service");

    // The table of scores: each unit and each drop-in once, the bars as the project set them.
    let mut rows: Vec<(&str, f32, f32)> = page
        .lines()
        .filter(|line| line.starts_with("| `outpost-"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (
                cells[1].trim_matches('`'),
                cells[2].parse().unwrap(),
                cells[3].parse().unwrap(),
            )
        })
        .collect();
    rows.sort_by_key(|row| row.0);
    let mut there: Vec<String> = fs::read_dir(root().join("systemd/outpost-agent.service.d"))
        .unwrap()
        .map(|entry| format!("outpost-agent.service.d/{}", entry.unwrap().file_name().display()))
        .chain([
            "outpost-agent.service".to_owned(),
            "outpost-hub.service".to_owned(),
        ])
        .collect();
    there.sort();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), there);
    for (name, score, bar) in rows {
        assert!(score <= bar, "{name}: {score} is over its bar");
        match name {
            "outpost-agent.service" => assert!(bar <= 1.8),
            "outpost-hub.service" => assert!(bar <= 1.5),
            drop_in => {
                let text = read(&format!("systemd/{drop_in}"));
                assert!(
                    text.starts_with("# To ") && text.contains("opens"),
                    "{drop_in} says what it opens"
                );
            }
        }
    }

    // The watchdog.
    assert_eq!(values(&agent, "WatchdogSec"), ["60"]);
    assert!(page.contains("`WatchdogSec=60`: every 30 s") && page.contains("answered within 5 s"));
    let source = read("src/agent/watchdog.rs");
    assert!(
        source.contains("ANSWER_WITHIN: Duration = Duration::from_secs(5)") && source.contains("limit / 2")
    );

    // Keys: file, credential, unit and program agree.
    let given: Vec<String> = ["agent.key", "colony.key"]
        .map(|key| {
            let row = format!("| `/etc/credstore/outpost-agent.{key}` | `{key}` |");
            assert!(page.contains(&row), "docs/service.md lacks {row}");
            format!("{key}:outpost-agent.{key}")
        })
        .into();
    assert_eq!(values(&agent, "LoadCredential"), given);

    // What both promise.
    for unit in [&agent, &hub] {
        for (directive, value) in [
            ("Type", "notify"),
            ("Restart", "always"),
            ("StartLimitIntervalSec", "0"),
        ] {
            assert_eq!(values(unit, directive), [value]);
        }
    }
    assert_eq!(values(&agent, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    assert_eq!(values(&agent, "ExecStopPost"), ["-/usr/bin/outpost-agent safe"]);
    for (user, unit) in [("outpost-agent", &agent), ("outpost-hub", &hub)] {
        assert_eq!(values(unit, "User"), [user]);
        assert_eq!(values(unit, "StateDirectory"), [user]);
        assert!(read("systemd/outpost.sysusers").contains(&format!("u {user} ")));
        assert!(page.contains(&format!("`/var/lib/{user}`")));
    }
}

/// What is written as code in prose, code blocks left out.
fn code(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

/// The anchor of a heading, as the usual viewers of Markdown make it.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn the_page_on_safety_names_only_what_there_is() {
    let page = read("docs/safety.md");
    // Sections of other pages.
    let mut sections = 0;
    for (target, section) in links(&page).iter().filter_map(|link| link.split_once('#')) {
        sections += 1;
        let there = read(&format!("docs/{target}"));
        let mut headings = there.lines().filter_map(|line| line.strip_prefix("## "));
        assert!(
            headings.any(|heading| anchor(heading) == section),
            "{target} has no #{section}"
        );
    }
    assert!(sections >= 5, "each promise leads to its section");

    // Keys of the configuration, alone or with a value. A section that is not built yet has none in the shipped file.
    let shipped = read("configs/agent.toml");
    let is_key = |name: &str| {
        let is_set = |line: &str| line.trim_start_matches('#').starts_with(&format!("{name} = "));
        shipped.lines().any(is_set)
    };
    let word = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.')
    };
    let pieces = code(&page);
    let mut keys = 0;
    for piece in &pieces {
        let name = piece.split(" = ").next().unwrap();
        let is_written = piece.contains(" = ");
        let looks_so = word(name) && (name.contains(['_', '.']) || is_written) && !name.ends_with(".md");
        let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
        if !looks_so || key == "conf" || (key.starts_with("heartbeat_") && !shipped.contains("[safety]")) {
            continue;
        }
        keys += 1;
        assert!(is_key(key), "`{piece}`: configs/agent.toml has no {key}");
        assert!(
            section.is_empty() || shipped.contains(&format!("[{section}]")),
            "`{piece}`: configs/agent.toml has no [{section}]"
        );
    }
    assert!(keys > 20, "only {keys} keys were recognised");

    // Commands: the agent's are on its page, which is compared with the program; the operator's are in README's part that is
    // typed as it stands.
    let agent = read("docs/agent.md");
    let readme = read("README.md");
    let mut commands = 0;
    for piece in &pieces {
        let mut words = piece.split_whitespace().peekable();
        while let Some(program) = words.next() {
            let Some(&name) = words.peek() else { break };
            let there = match program {
                // The user that `sudo -u` becomes, and the unit that systemctl is told.
                "outpost-agent" if name == "outpost-agent" => continue,
                "outpost-agent" => agent.contains(&format!("\n### {name}\n")),
                "outpost" => {
                    readme.contains(&format!("\noutpost {name} "))
                        || readme.contains(&format!("\noutpost {name}\n"))
                }
                _ => continue,
            };
            assert!(there, "`{piece}`: there is no `{program} {name}`");
            commands += 1;
        }
    }
    assert!(commands >= 12, "only {commands} commands were recognised");

    // What it says of the unit.
    let unit = read("systemd/outpost-agent.service");
    for piece in ["WatchdogSec=60", "Restart=always", "ExecStopPost="] {
        assert!(pieces.contains(&piece), "the page says {piece}");
        assert!(
            unit.lines().any(|line| line.starts_with(piece)),
            "the unit has no {piece}"
        );
    }
    assert!(unit.contains("RestartSec=2\n"), "“the agent is back after two”");

    // Texts that it says will be seen.
    assert!(read("src/device/output/error.rs").contains("but its feedback {line} still reads {read}"));
    for document in ["README.md", "docs/outputs.md"] {
        assert!(read(document).contains("safety.md)"), "{document} leads to it");
    }
}
