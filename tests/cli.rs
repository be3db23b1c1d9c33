//! The command line against a real hub: both programs as they are built.
#![cfg(all(feature = "cli", feature = "hub"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may stop it, too"
)]

mod client_server;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outpost::client::{Caller, Client, ClientError, HttpSettings, HttpTransport, ServerUrl};
use outpost::clock::SystemClock;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{Attribute, AttributeKind, Process, ProcessState};
use outpost::protocol::{Envelope, PrivateKey};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// A running hub with a colony, and a home for its operator.
struct Hub {
    directory: tempfile::TempDir,
    url: String,
    _child: Child,
}

impl Hub {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_outpost-hub"))
            .args(["--listen", "127.0.0.1:0", "--init-colony", "home", "--data-dir"])
            .arg(directory.path().join("hub"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Hub {
            directory,
            url,
            _child: child,
        }
    }

    /// A hub whose operator is there.
    async fn with_operator() -> Self {
        let hub = Hub::start().await;
        let done = hub.outpost(&["operator", "init", "--name", "me"]).await;
        assert_eq!(code(&done), 0, "{done:?}");
        hub
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn key(&self, name: &str) -> PrivateKey {
        outpost::keyfile::load(&self.path("hub/keys").join(name)).unwrap()
    }

    fn colony(&self) -> String {
        self.key("colony-home.key").id()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the command line with the colony's key at hand.
    async fn outpost(&self, arguments: &[&str]) -> Output {
        let key = self.path("hub/keys/colony-home.key");
        let mut command = self.command();
        command
            .args(arguments)
            .args(["--server", &self.url, "--colony-key"])
            .arg(key);
        command.output().await.unwrap()
    }

    /// Runs it with what the configuration says.
    async fn configured(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().await.unwrap()
    }

    fn client(&self) -> Client {
        let url = ServerUrl::parse(&self.url).unwrap();
        let transport = HttpTransport::new(url, HttpSettings::default(), Arc::new(SystemClock)).unwrap();
        Client::new(transport, Dialect::Runtime)
    }

    fn operator(&self) -> Caller {
        let key = outpost::keyfile::load(&self.path(".config/outpost/operator.key")).unwrap();
        self.client().with_key(key)
    }

    /// Adds and approves a runtime that the test itself plays.
    fn secret(secret: &str) -> PrivateKey {
        PrivateKey::from_hex(&secret.repeat(32)).unwrap()
    }

    async fn worker(&self, name: &str, secret: &str) -> Caller {
        let key = Self::secret(secret);
        let done = self
            .outpost(&[
                "runtime",
                "add",
                "--id",
                &key.id(),
                "--name",
                name,
                "--type",
                "cli",
                "--approve",
            ])
            .await;
        assert_eq!(code(&done), 0, "{done:?}");
        self.client().with_key(key)
    }

    fn spec(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

const SPEC: &str = r#"{"conditions":{"runtimetype":"cli"},"func":"lamp.on","args":["now"]}"#;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .trim_end()
        .to_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Takes one process and ends it.
async fn work(worker: &Caller, colony: &str, fail: Option<&str>) -> Process {
    let process = loop {
        match worker.assign(colony, false, 10).await {
            Ok(process) => break process.value,
            Err(ClientError::NothingToAssign(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    let attribute = Attribute {
        target_id: process.id.clone(),
        target_colony_id: colony.to_owned(),
        kind: AttributeKind::Out,
        key: "state".to_owned(),
        value: "on".to_owned(),
        ..Attribute::default()
    };
    worker.add_attribute(&attribute).await.unwrap();
    match fail {
        None => worker.close_successful(&process.id).await.unwrap(),
        Some(reason) => worker.close_failed(&process.id, reason).await.unwrap(),
    };
    process
}

#[tokio::test]
async fn the_operator_is_made_once() {
    let hub = Hub::start().await;
    let first = hub.outpost(&["operator", "init"]).await;
    assert_eq!(code(&first), 0, "{first:?}");
    let id = out(&first);
    assert_eq!(id.len(), 64, "{id}");
    // Again, and now with the configuration alone.
    let second = hub.configured(&["operator", "init"]).await;
    assert_eq!((code(&second), out(&second)), (0, id.clone()), "{second:?}");
    let list = hub.configured(&["runtime", "list"]).await;
    assert_eq!(code(&list), 0, "{list:?}");
    let lines: Vec<String> = out(&list).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("NAME"), "{lines:?}");
    assert!(
        lines[1].starts_with("operator") && lines[1].contains("approved") && lines[1].ends_with(&id),
        "{lines:?}"
    );
    let key = hub.path(".config/outpost/operator.key");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let shown = hub.configured(&["keys", "id", key.to_str().unwrap()]).await;
    assert_eq!(out(&shown), id);
}

#[tokio::test]
async fn without_the_colonys_key_the_owner_is_told_what_to_run() {
    let hub = Hub::start().await;
    let colony = hub.colony();
    let init = hub
        .configured(&[
            "operator", "init", "--name", "me", "--server", &hub.url, "--colony", &colony,
        ])
        .await;
    assert_eq!(code(&init), 0, "{init:?}");
    let id = out(&init);
    let line = format!("outpost runtime add --id {id} --name me --type operator --approve");
    assert!(err(&init).contains(&line), "{}", err(&init));
    // Until then it may not submit.
    let spec = hub.spec("x.json", SPEC);
    let refused = hub.configured(&["submit", &spec]).await;
    assert_eq!(code(&refused), 3);
    assert!(err(&refused).contains("outpost runtime add"), "{}", err(&refused));
    let done = hub
        .outpost(&[
            "runtime",
            "add",
            "--id",
            &id,
            "--name",
            "me",
            "--type",
            "operator",
            "--approve",
        ])
        .await;
    assert_eq!(code(&done), 0, "{done:?}");
    let submitted = hub.configured(&["submit", &spec]).await;
    assert_eq!(code(&submitted), 0, "{submitted:?}");
    let init = hub.configured(&["operator", "init", "--name", "me"]).await;
    assert!(err(&init).contains("is approved"), "{}", err(&init));
}

#[tokio::test]
async fn colonies_are_added_and_listed_with_the_servers_key() {
    let hub = Hub::start().await;
    let server_key = hub.path("hub/keys/server.key");
    let server_key = server_key.to_str().unwrap();
    let server = ["--server", &hub.url, "--server-key", server_key];
    let added = hub
        .configured(&[&["colony", "add", "garden"], &server[..]].concat())
        .await;
    assert_eq!(code(&added), 0, "{added:?}");
    let id = out(&added);
    let key = outpost::keyfile::load(&hub.path(".config/outpost/colony-garden.key")).unwrap();
    assert_eq!(key.id(), id);
    let again = hub
        .configured(&[&["colony", "add", "garden"], &server[..]].concat())
        .await;
    assert_eq!((code(&again), out(&again)), (0, id.clone()), "{again:?}");
    let list = hub.configured(&[&["colony", "list"], &server[..]].concat()).await;
    assert_eq!(
        out(&list),
        format!("NAME    ID\ngarden  {id}\nhome    {}", hub.colony())
    );
    // The configuration knows the new colony, so the operator may be made.
    let init = hub.configured(&["operator", "init"]).await;
    assert_eq!(code(&init), 0, "{init:?}");
    // Without the key nothing is listed.
    assert_eq!(code(&hub.configured(&["colony", "list"]).await), 2);
    let stranger = hub
        .configured(&["keys", "new", hub.path("x.key").to_str().unwrap()])
        .await;
    assert_eq!(code(&stranger), 0);
    let refused = hub
        .configured(&[
            "colony",
            "list",
            "--server-key",
            hub.path("x.key").to_str().unwrap(),
        ])
        .await;
    assert_eq!(code(&refused), 3);
    assert!(
        err(&refused).contains("sign with the server owner's key"),
        "{}",
        err(&refused)
    );
}

#[tokio::test]
async fn runtimes_are_named_by_name_or_the_beginning_of_their_id() {
    let hub = Hub::with_operator().await;
    let id = PrivateKey::from_hex(&"33".repeat(32)).unwrap().id();
    let add = ["runtime", "add", "--id", &id, "--name", "lamp-1", "--type", "cli"];
    let added = hub.configured(&add).await;
    assert_eq!(
        (code(&added), out(&added)),
        (0, format!("{id} pending")),
        "{added:?}"
    );
    assert_eq!(
        code(&hub.configured(&add).await),
        0,
        "adding the same again is no error"
    );
    let other = ["runtime", "add", "--id", &id, "--name", "lamp-2", "--type", "cli"];
    let other = hub.configured(&other).await;
    assert_eq!(code(&other), 3);
    assert!(err(&other).contains("\"lamp-1\""), "{}", err(&other));
    for (arguments, said) in [
        (["runtime", "approve", &id[..8]], "approved"),
        (["runtime", "reject", "lamp-1"], "rejected"),
        (["runtime", "delete", &id[..]], "deleted"),
    ] {
        let done = hub.configured(&arguments).await;
        assert_eq!(
            (code(&done), out(&done)),
            (0, format!("{said} {id} lamp-1")),
            "{done:?}"
        );
    }
    let gone = hub.configured(&["runtime", "approve", "lamp-1"]).await;
    assert_eq!(code(&gone), 2);
    let json = hub.configured(&["runtime", "list", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["name"], "me");
    assert_eq!(json[0]["state"], 1);
}

#[tokio::test]
async fn submit_waits_for_the_end_and_tells_it_by_the_exit_code() {
    let hub = Hub::with_operator().await;
    let colony = hub.colony();
    let worker = hub.worker("lamp-1", "33").await;
    let spec = hub.spec("x.json", SPEC);
    let arguments = ["submit", spec.as_str(), "--wait"];
    let (waited, process) = tokio::join!(hub.configured(&arguments), work(&worker, &colony, None));
    assert_eq!(code(&waited), 0, "{waited:?}");
    let (text, progress) = (out(&waited), err(&waited));
    assert!(
        text.contains("state      successful") && text.contains("state = on"),
        "{text}"
    );
    assert!(text.contains("lamp-1") && text.contains(&process.id), "{text}");
    assert!(
        progress.lines().any(|line| line.ends_with("  successful")),
        "{progress}"
    );
    assert_eq!(
        (process.spec.max_wait_time, process.spec.max_exec_time),
        (-1, -1),
        "0 became -1"
    );

    let arguments = ["submit", spec.as_str(), "--wait", "--json"];
    let (waited, _) = tokio::join!(
        hub.configured(&arguments),
        work(&worker, &colony, Some("bulb \u{1b}[2J broken"))
    );
    assert_eq!(code(&waited), 1, "{waited:?}");
    let json: serde_json::Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!(json["state"], 3);
    assert!(!err(&waited).contains('\u{1b}'), "{}", err(&waited));

    // Nobody works: the time is over.
    let late = hub
        .configured(&["submit", &spec, "--wait", "--timeout", "1"])
        .await;
    assert_eq!(code(&late), 3);
    assert!(
        err(&late).contains("still waiting after 1 s") && err(&late).contains("--watch"),
        "{}",
        err(&late)
    );
}

#[tokio::test]
async fn standard_input_get_and_ps() {
    let hub = Hub::with_operator().await;
    let mut child = hub
        .command()
        .args(["submit", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(SPEC.as_bytes())
        .await
        .unwrap();
    let submitted = child.wait_with_output().await.unwrap();
    let id = out(&submitted);
    assert_eq!((code(&submitted), id.len()), (0, 64), "{submitted:?}");

    let shown = hub.configured(&["get", &id[..10]]).await;
    assert!(
        out(&shown).contains(&id) && out(&shown).contains("waiting"),
        "{shown:?}"
    );
    let json = hub.configured(&["get", &id, "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["processid"], id.as_str());
    let listed = hub.configured(&["ps"]).await;
    assert!(
        out(&listed).contains(&id[..12]) && out(&listed).contains("lamp.on now"),
        "{listed:?}"
    );
    let none = hub.configured(&["ps", "--state", "failed"]).await;
    assert_eq!(out(&none).lines().count(), 1, "{none:?}");
    let none = hub.configured(&["ps", "--state", "failed", "--json"]).await;
    assert_eq!(out(&none), "[]");
    assert_eq!(code(&hub.configured(&["get", &"0".repeat(64)]).await), 3);
    assert_eq!(code(&hub.configured(&["get", "ffffffff"]).await), 2);

    let worker = hub.worker("lamp-1", "33").await;
    let colony = hub.colony();
    let arguments = ["get", id.as_str(), "--watch"];
    let (watched, _) = tokio::join!(
        hub.configured(&arguments),
        work(&worker, &colony, Some("no bulb"))
    );
    assert_eq!(code(&watched), 1, "{watched:?}");
    assert!(err(&watched).contains("failed: no bulb"), "{}", err(&watched));
}

#[tokio::test]
async fn documents_go_with_a_process_and_long_results_come_back_whole() {
    let hub = Hub::with_operator().await;
    let (worker, colony) = (hub.worker("lamp-1", "33").await, hub.colony());
    let plan = hub.path("flight.plan");
    let document = format!("{{\"plan\": \"{}\"}}\n", "x".repeat(20_000));
    std::fs::write(&plan, &document).unwrap();
    let file = hub.spec("env.json", SPEC);
    let env = format!("PLAN=@{}", plan.display());
    let submitted = hub
        .configured(&["submit", &file, "--env", &env, "--env", "NOTE=@@home"])
        .await;
    assert_eq!(code(&submitted), 0, "{submitted:?}");
    let id = out(&submitted);
    let process = work(&worker, &colony, None).await;
    assert_eq!(process.spec.env["PLAN"], document);
    assert_eq!(process.spec.env["NOTE"], "@home");

    let raw = hub.configured(&["get", &id, "--attribute", "PLAN"]).await;
    assert_eq!((code(&raw), raw.stdout), (0, document.clone().into_bytes()));
    let json = hub
        .configured(&["get", &id, "--attribute", "PLAN", "--json"])
        .await;
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap(),
        document
    );
    let shown = out(&hub.configured(&["get", &id]).await);
    let hint = format!("all of it: outpost get {} --attribute PLAN", &id[..12]);
    assert!(shown.contains(&hint) && shown.len() < 4_000, "{shown}");
    let absent = hub.configured(&["get", &id, "--attribute", "track"]).await;
    assert!(
        code(&absent) == 2 && err(&absent).contains("it has: ") && err(&absent).contains("PLAN"),
        "{absent:?}"
    );

    let missing = format!("PLAN=@{}", hub.path("none.plan").display());
    for arguments in [
        ["submit", &file, "--env", &missing].as_slice(),
        &["run", "lamp.on", "--type", "cli", "--env", &missing],
    ] {
        let refused = hub.configured(arguments).await;
        assert!(
            code(&refused) == 2 && err(&refused).contains("none.plan"),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn run_finds_the_runtime_by_its_name() {
    let hub = Hub::with_operator().await;
    let colony = hub.colony();
    let (one, two) = (hub.worker("lamp", "33").await, hub.worker("lamp", "44").await);
    let ambiguous = hub.configured(&["run", "lamp.on", "--runtime", "lamp"]).await;
    assert_eq!(code(&ambiguous), 2);
    let text = err(&ambiguous);
    assert!(
        text.contains(&one.id()[..12]) && text.contains(&two.id()[..12]) && text.contains("--all"),
        "{text}"
    );

    let by_id = hub
        .configured(&["run", "lamp.pulse", "1s", "--runtime", &two.id()[..12], "--json"])
        .await;
    assert_eq!(code(&by_id), 0, "{by_id:?}");
    let process = work(&two, &colony, None).await;
    assert_eq!(process.spec.conditions.runtime_ids, [two.id()]);
    assert_eq!(process.spec.conditions.runtime_type, "cli");
    assert_eq!(process.spec.args, Some(vec!["1s".to_owned()]));
    let spec = &process.spec;
    assert_eq!(
        (spec.max_wait_time, spec.max_exec_time, spec.max_retries),
        (30, 60, 0)
    );

    let arguments = ["run", "lamp.on", "--runtime", "lamp", "--all", "--wait", "--json"];
    let (all, first, second) = tokio::join!(
        hub.configured(&arguments),
        work(&one, &colony, None),
        work(&two, &colony, None)
    );
    assert_eq!(code(&all), 0, "{all:?}");
    assert_ne!(first.id, second.id);
    let list: Vec<serde_json::Value> = serde_json::from_str(&out(&all)).expect("one JSON document");
    let mut ids: Vec<&str> = list
        .iter()
        .map(|process| process["processid"].as_str().unwrap())
        .collect();
    let mut expected = [first.id.as_str(), second.id.as_str()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    assert!(list.iter().all(|process| process["state"] == 2), "{list:?}");

    let by_type = hub
        .configured(&["run", "lamp.off", "--type", "cli", "--wait-time", "5"])
        .await;
    assert_eq!(code(&by_type), 0, "{by_type:?}");
    let process = work(&one, &colony, None).await;
    assert!(process.spec.conditions.runtime_ids.is_empty());

    // A named runtime's type must fit the file's.
    let spec = hub.spec("x.json", r#"{"conditions":{"runtimetype":"drone"},"func":"f"}"#);
    let misfit = hub
        .configured(&["submit", &spec, "--runtime", &one.id()[..12]])
        .await;
    assert_eq!(code(&misfit), 2);
    assert!(err(&misfit).contains("never be executed"), "{}", err(&misfit));
}

/// `run` sends what answers or stops at once to the control lane, if the worker has one that may work.
#[tokio::test]
async fn run_picks_the_control_lane_by_itself() {
    let hub = Hub::with_operator().await;
    let (work, control) = (Hub::secret("33"), Hub::secret("44"));
    let (id, control_id) = (work.id(), control.id());
    let add = [
        "runtime",
        "add",
        "--id",
        &id,
        "--name",
        "porch",
        "--type",
        "cli",
        "--control-id",
        &control_id,
    ];
    let added = hub.outpost(&add).await;
    assert_eq!(code(&added), 0, "{added:?}");
    assert!(
        out(&added).contains(&id) && out(&added).contains(&control_id),
        "{}",
        out(&added)
    );
    let target = |output: &Output| {
        let process: serde_json::Value = serde_json::from_str(&out(output)).unwrap();
        let spec = &process["spec"];
        (
            spec["conditions"]["runtimetype"].as_str().unwrap().to_owned(),
            spec["maxwaittime"].as_i64().unwrap(),
            spec["conditions"]["runtimeids"].clone(),
        )
    };
    // One approval, by the name, covers both.
    let approved = hub.outpost(&["runtime", "approve", "porch"]).await;
    assert!(
        out(&approved).contains(&id) && out(&approved).contains(&control_id),
        "{}",
        out(&approved)
    );

    let off = hub
        .configured(&["run", "lamp.off", "--runtime", "porch", "--json"])
        .await;
    let ids = serde_json::json!([control_id]);
    assert_eq!(target(&off), ("cli.control".to_owned(), 10, ids));
    let on = hub
        .configured(&["run", "lamp.on", "--runtime", "porch", "--json"])
        .await;
    assert_eq!(target(&on), ("cli".to_owned(), 30, serde_json::json!([id])));
    let any = hub
        .configured(&["run", "lamp.off", "--type", "cli", "--wait-time", "5", "--json"])
        .await;
    assert_eq!(target(&any).0, "cli.control");
    assert_eq!(target(&any).1, 5);
    // One that may not work is not asked.
    let rejected = hub.outpost(&["runtime", "reject", &control_id]).await;
    assert_eq!(code(&rejected), 0, "{rejected:?}");
    let off = hub
        .configured(&["run", "lamp.off", "--runtime", "porch", "--json"])
        .await;
    assert_eq!(target(&off).0, "cli");
}

#[tokio::test]
async fn what_a_server_can_not_store_is_refused_at_once() {
    let hub = Hub::with_operator().await;
    let spec = r#"{"conditions":{"runtimetype":"cli"},"func":"f","maxwaittime":99999999999}"#;
    let refused = hub.configured(&["submit", &hub.spec("x.json", spec)]).await;
    assert_eq!(code(&refused), 3);
    let said = err(&refused);
    assert!(
        said.contains("out of range") && !said.contains("not known"),
        "{said}"
    );
}

#[tokio::test]
async fn what_nobody_reads_in_a_spec_is_told_and_submitted_all_the_same() {
    let hub = Hub::with_operator().await;
    let spec = r#"{"func":"f","maxexecktime":5}"#;
    let submitted = hub.configured(&["submit", &hub.spec("x.json", spec)]).await;
    assert_eq!(code(&submitted), 0, "{submitted:?}");
    let said = err(&submitted);
    assert!(
        said.contains("maxexecktime") && said.contains("names no runtimetype"),
        "{said}"
    );
    let fine = hub.configured(&["submit", &hub.spec("y.json", SPEC)]).await;
    assert_eq!(err(&fine), "", "nothing to say");
}

#[tokio::test]
async fn the_environment_of_the_original_is_enough() {
    let hub = Hub::with_operator().await;
    let operator = outpost::keyfile::load(&hub.path(".config/outpost/operator.key")).unwrap();
    let (host, port) = hub.url.strip_prefix("http://").unwrap().split_once(':').unwrap();
    let mut command = hub.command();
    command
        .args(["submit", &hub.spec("x.json", SPEC)])
        .env_remove("HOME");
    command
        .env("COLONIES_SERVERHOST", host)
        .env("COLONIES_SERVERPORT", port)
        .env("COLONIES_TLS", "false");
    command.env("COLONIES_COLONYID", hub.colony());
    command
        .env("COLONIES_RUNTIMEID", operator.id())
        .env("COLONIES_RUNTIMEPRVKEY", operator.to_hex());
    let done = command.output().await.unwrap();
    assert_eq!(code(&done), 0, "{done:?}");
}

#[tokio::test]
async fn wrong_usage_and_unreachable_servers_have_their_codes() {
    let hub = Hub::with_operator().await;
    assert_eq!(code(&hub.configured(&["fly"]).await), 2);
    assert_eq!(code(&hub.configured(&["submit", "/nonexistent.json"]).await), 2);
    let nobody = hub.configured(&["ps", "--server", "http://127.0.0.1:9"]).await;
    assert_eq!(code(&nobody), 3);
    assert!(
        err(&nobody).contains("http://127.0.0.1:9") && err(&nobody).contains("is the server running"),
        "{}",
        err(&nobody)
    );
    let completions = hub.configured(&["completions", "bash"]).await;
    assert!(code(&completions) == 0 && out(&completions).contains("_outpost"));
    std::fs::write(hub.path(".config/outpost/config.toml"), "colonny = \"x\"\n").unwrap();
    let misspelt = hub.configured(&["ps"]).await;
    assert_eq!(code(&misspelt), 2);
    assert!(
        err(&misspelt).contains("did you mean `colony`"),
        "{}",
        err(&misspelt)
    );
    // A key that others can read is no secret.
    let key = hub.path("open.key");
    std::fs::write(&key, "22".repeat(32)).unwrap();
    let open = hub.configured(&["keys", "id", key.to_str().unwrap()]).await;
    assert_eq!(code(&open), 2);
    assert!(err(&open).contains("chmod 600"), "{}", err(&open));
}

/// Stands between the command line and the hub and loses the first submit: its answer, or the submit itself.
async fn losing_proxy(hub: &Hub, lose_the_request: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = hub.url.strip_prefix("http://").unwrap().to_owned();
    let submits = Arc::new(AtomicUsize::new(0));
    let counter = submits.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (upstream, counter) = (upstream.clone(), counter.clone());
            tokio::spawn(async move {
                let mut read = Vec::new();
                while let Some((head, body)) = client_server::next_request(&mut client, &mut read).await {
                    let is_submit = Envelope::parse(&body).unwrap().payload_type() == "submitprocessespecmsg";
                    let lost = is_submit && counter.fetch_add(1, Ordering::SeqCst) == 0;
                    if lost && lose_the_request {
                        return;
                    }
                    let mut server = TcpStream::connect(&upstream).await.unwrap();
                    let head = format!("{head}\r\nConnection: close\r\n\r\n");
                    server.write_all(head.as_bytes()).await.unwrap();
                    server.write_all(&body).await.unwrap();
                    let mut reply = Vec::new();
                    server.read_to_end(&mut reply).await.unwrap();
                    if lost {
                        return;
                    }
                    client.write_all(&reply).await.unwrap();
                }
            });
        }
    });
    (url, submits)
}

#[tokio::test]
async fn a_lost_submit_ends_as_one_process() {
    for lose_the_request in [false, true] {
        let hub = Hub::with_operator().await;
        let (url, submits) = losing_proxy(&hub, lose_the_request).await;
        let done = hub
            .configured(&["submit", &hub.spec("x.json", SPEC), "--server", &url])
            .await;
        assert_eq!(code(&done), 0, "{done:?}");
        let there = hub
            .operator()
            .get_processes(&hub.colony(), 100, ProcessState::Waiting)
            .await
            .unwrap()
            .value;
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].id, out(&done));
        // Found by its id, or sent again where it was not there.
        let sent = if lose_the_request { 2 } else { 1 };
        assert_eq!(submits.load(Ordering::SeqCst), sent, "{}", err(&done));
    }
}

/// So that the file names of the tests stay honest.
#[test]
fn the_programs_lie_side_by_side() {
    let hub = Path::new(env!("CARGO_BIN_EXE_outpost-hub"));
    assert_eq!(hub.parent(), Path::new(env!("CARGO_BIN_EXE_outpost")).parent());
}
