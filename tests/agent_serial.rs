//! An instrument behind a pseudo-terminal on a real agent: what its log tells.
#![cfg(all(feature = "agent", feature = "hub"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod agent_rig;
mod serial_support;

use std::io::Write as _;

use agent_rig::{Rig, run_agent, until};
use serial_support::{Far, point};

/// That is told once, with what to do, and once more when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_cable_is_pulled() {
    let rig = Rig::start().await;
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("usb-ACME_meter-if00");
    let far = Far::open();
    point(&port, &far.path).unwrap();
    // Only there it says that it tries again in vain.
    let configuration = rig.configure("bench", "log = \"debug\"\n");
    let table = format!(
        "[devices.meter]\nkind = \"serial\"\nport = \"{}\"\n",
        port.display()
    );
    let mut file = std::fs::File::options()
        .append(true)
        .open(&configuration)
        .unwrap();
    file.write_all(table.as_bytes()).unwrap();
    let agent = run_agent(&configuration);
    let opened = "serial port opened";
    agent.logged("enrolled as bench").await;
    let before = agent.logged(opened).await.len();
    let since = || agent.log().split_off(before);

    std::fs::remove_file(&port).unwrap();
    drop(far);
    until(
        || async { since().contains(" WARN ").then_some(()) },
        || format!("nobody is told:\n{}", since()),
    )
    .await;
    until(
        || async { (since().matches("serial port still closed").count() > 2).then_some(()) },
        || format!("it is not tried again:\n{}", since()),
    )
    .await;
    let far = Far::open();
    point(&port, &far.path).unwrap();
    until(
        || async { since().contains(opened).then_some(()) },
        || format!("it is never opened again:\n{}", since()),
    )
    .await;
    let log = since();
    let lines = |level: &str| -> Vec<&str> {
        let of_it = log.lines().filter(|line| line.contains("device=meter"));
        of_it.filter(|line| line.contains(level)).collect()
    };
    let [lost] = lines(" WARN ")[..] else {
        panic!("{log}")
    };
    for told in ["unplugged", "as soon as it is back"] {
        assert!(lost.contains(told), "{lost}");
    }
    assert_eq!(lines(" INFO ").len(), 1, "{log}");
}
