//! Serial devices on real pseudo-terminals: what the kernel has a say in. Deadlines and framing are tested in memory
//! and in paused time (`src/device/serial/`); here real time passes, so nothing depends on how much.

#![cfg(feature = "agent")]

mod serial_support;

use std::time::Duration;

use outpost::device::{DeviceError, VerbError};
use rustix::time::{ClockId, clock_gettime};

use serial_support::{Bench, Far, point};

fn table(far: &Far, keys: &str) -> String {
    format!("kind = \"serial\"\nport = \"{}\"\n{keys}", far.path.display())
}

fn failed(result: Result<outpost::device::Outcome, VerbError>) -> String {
    match result {
        Err(error @ VerbError::Failed(DeviceError::Serial { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_instrument_is_asked_and_answers_byte_by_byte() {
    let far = Far::open();
    let bench = Bench::new(&table(&far, "timeout = \"10s\""));
    let (outcome, ()) = tokio::join!(bench.run("query", &["MEAS?", "expect", "^([0-9.]+) V$"]), async {
        assert_eq!(far.line().await, "MEAS?");
        for byte in b"\xff noise\n12.50 V\r\n" {
            far.write(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    assert_eq!(outcome.unwrap().get("reply.1"), Some("12.50"));
    bench.device.shutdown().await.unwrap();
}

#[tokio::test]
async fn every_byte_passes_unchanged_in_both_directions() {
    let far = Far::open();
    let keys = "encoding = \"hex\"\nframing = \"length\"\nlength = 256\ntimeout = \"10s\"";
    let bench = Bench::new(&table(&far, keys));
    let every: Vec<u8> = (0..=255).collect();
    let text: String = every.iter().map(|byte| format!("{byte:02x}")).collect();
    let args = [text.as_str()];
    let (outcome, ()) = tokio::join!(bench.run("query", &args), async {
        let mut got = Vec::new();
        while got.len() < every.len() {
            got.extend(far.read().await);
        }
        assert_eq!(got, every, "no echo, no translation of line ends, no signals");
        far.write(&every).await;
    });
    assert_eq!(outcome.unwrap().get("reply"), Some(text.as_str()));
}

#[tokio::test]
async fn silence_ends_at_the_timeout_and_the_next_question_is_answered() {
    let far = Far::open();
    let bench = Bench::new(&table(&far, "timeout = \"200ms\""));
    let error = failed(bench.run("query", &["A"]).await);
    assert!(error.contains("within 200ms"), "{error}");
    assert_eq!(far.line().await, "A");
    far.write(b"late answer to A\n").await;
    let (outcome, ()) = tokio::join!(bench.run("query", &["B"]), async {
        assert_eq!(far.line().await, "B");
        far.write(b"answer to B\n").await;
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("answer to B"));
}

#[tokio::test]
async fn unplugged_in_mid_answer_and_plugged_in_again_under_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("usb-ACME_meter-if00");
    let far = Far::open();
    point(&name, &far.path).unwrap();
    let keys = format!(
        "kind = \"serial\"\nport = \"{}\"\ntimeout = \"10s\"",
        name.display()
    );
    let bench = Bench::new(&keys);
    bench.until("open").await;

    let (outcome, ()) = tokio::join!(bench.run("query", &["MOVE 5"]), async {
        assert_eq!(far.line().await, "MOVE 5");
        far.write(b"mov").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(far);
    });
    let error = failed(outcome);
    assert!(
        error.contains("usb-ACME_meter-if00 is gone (unplugged"),
        "{error}"
    );
    std::fs::remove_file(&name).unwrap();
    bench.until("closed").await;
    let error = failed(bench.run("query", &["POS?"]).await);
    assert!(error.contains("no serial port at"), "{error}");

    let far = Far::open();
    point(&name, &far.path).unwrap();
    bench.until("open").await;
    assert_eq!(far.within(300).await, b"", "nothing is sent again");
    let (outcome, ()) = tokio::join!(bench.run("query", &["POS?"]), async {
        assert_eq!(far.line().await, "POS?");
        far.write(b"5\n").await;
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("5"));
}

#[tokio::test]
async fn a_lost_port_costs_next_to_no_time() {
    let far = Far::open();
    let bench = Bench::new(&table(&far, ""));
    bench.until("open").await;
    drop(far);
    bench.until("closed").await;
    let spent = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = spent();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = spent() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of 2 s: it spins");
    assert_eq!(bench.state().await, "closed");
}

#[tokio::test]
async fn a_port_belongs_to_one() {
    let far = Far::open();
    let first = Bench::new(&table(&far, ""));
    first.until("open").await;
    let second = Bench::new(&table(&far, ""));
    let error = failed(second.run("query", &["?"]).await);
    assert!(
        error.contains("is in use by another program") && error.contains("fuser -v"),
        "{error}"
    );
    first.device.shutdown().await.unwrap();
    second.until("open").await;
}

#[tokio::test]
async fn what_is_no_port_is_said_with_the_remedy() {
    for (path, said) in [
        ("/dev/serial/by-id/usb-nobody-has-this", "plug the device in"),
        ("/dev/null", "/dev/null is not a serial port"),
        ("/etc/passwd", "/etc/passwd is not a serial port"),
    ] {
        let bench = Bench::new(&format!("kind = \"serial\"\nport = \"{path}\""));
        let error = failed(bench.run("read", &[]).await);
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_setting_that_the_driver_ignores_is_refused() {
    // A pseudo-terminal has neither parity nor a direction to switch.
    let far = Far::open();
    let bench = Bench::new(&table(&far, "parity = \"even\""));
    let error = failed(bench.run("read", &[]).await);
    assert!(error.contains("can't do parity = even"), "{error}");

    let far = Far::open();
    let bench = Bench::new(&table(&far, "rs485 = \"rts-high-sends\""));
    let error = failed(bench.run("read", &[]).await);
    assert!(
        error.contains("can't switch the direction of an RS-485 line") && error.contains("rs485 = \"off\""),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_far_end_does_not_take_is_given_up_in_time() {
    let far = Far::open();
    let keys = "timeout = \"200ms\"\nmax_frame = 65536\nbaud = 4000000";
    let bench = Bench::new(&table(&far, keys));
    // More than the kernel keeps for a far end that does not read.
    let error = failed(bench.run("send", &[&"x".repeat(60_000)]).await);
    assert!(
        error.contains("took only") && error.contains("of 60001 bytes"),
        "{error}"
    );
    assert_eq!(bench.state().await, "open");
}
