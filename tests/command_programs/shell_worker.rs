//! The worker that runs whatever it is told, as the original does.

use super::*;

fn shell_worker() -> DeviceHandle {
    let settings = settings(json!({ "kind": "shell-worker" }));
    assert!(settings.catch_all() && settings.repeats(ShellWorker::VERB));
    owner::spawn(open("sh", &settings, &hardware()).unwrap(), Arc::new(SystemClock))
}

fn worker_call(func: &str, args: &[&str]) -> Call {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    ShellWorker::call(func, &args, BTreeMap::new())
}

#[tokio::test]
async fn the_shell_worker_runs_what_it_is_told_without_a_shell() {
    let worker = shell_worker();
    let outcome = worker
        .perform(worker_call("printf", &["<%s>", "$(id)", "-x", "a b"]), context())
        .await
        .unwrap();
    assert_eq!(
        outcome.attributes,
        [("output".to_owned(), "<$(id)><-x><a b>".to_owned())]
    );
    let silent = worker
        .perform(worker_call("/bin/true", &[]), context())
        .await
        .unwrap();
    assert_eq!(silent.get("output"), Some(""));
}

#[tokio::test]
async fn the_shell_workers_failures_are_those_of_the_original() {
    let worker = shell_worker();
    for (func, args, output) in [
        ("sh", &["-c", "echo so; exit 3"][..], "so\n"),
        ("no-such-program-here", &[], ""),
        ("", &[], ""),
        ("/etc/passwd", &[], ""),
        ("false", &["a\0b"], ""),
    ] {
        let error = worker
            .perform(worker_call(func, args), context())
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "Process failed", "{func}");
        assert_eq!(
            error.attributes(),
            [("output".to_owned(), output.to_owned())],
            "{func}"
        );
    }
}

#[tokio::test]
async fn the_shell_worker_passes_its_environment_and_every_attribute_but_no_key() {
    let worker = shell_worker();
    let attributes = [
        ("PATH", "/x"),
        ("with-dash", "1"),
        ("COLONIES_RUNTIMEPRVKEY", "secret"),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = ShellWorker::call("/usr/bin/env", &[], BTreeMap::from(attributes));
    let outcome = worker.perform(call, context_of("pid")).await.unwrap();
    let lines: Vec<&str> = outcome.get("output").unwrap().lines().collect();
    // Any of this process's own, of one line.
    let own = std::env::vars().find(|(name, value)| name != "PATH" && !value.contains('\n'));
    let (name, value) = own.unwrap();
    let own = format!("{name}={value}");
    for line in ["PATH=/x", "with-dash=1", "COLONIES_PROCESSID=pid", &own] {
        assert!(lines.contains(&line), "{line}");
    }
    assert!(!outcome.get("output").unwrap().contains("secret"));
}
