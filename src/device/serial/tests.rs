//! The device over streams in memory, in paused time: deadlines, order, what is sent and what is not.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::test_port::{TestOpener, Wiring};
use super::*;
use crate::clock::{Clock as _, TestClock};
use crate::device::owner::{self, DeviceHandle};

struct Bench {
    clock: Arc<TestClock>,
    wiring: Arc<Wiring>,
    device: DeviceHandle,
}

fn settings(keys: &str) -> SerialSettings {
    let toml = format!("port = \"/dev/serial/by-id/usb-ACME\"\n{keys}");
    let source = config::File::from_str(&toml, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(source).build().unwrap();
    config.try_deserialize().unwrap()
}

/// A device with that configuration; nothing is plugged in.
fn unplugged(keys: &str) -> Bench {
    let clock = TestClock::new(0);
    let wiring = Arc::new(Wiring::default());
    let settings = settings(keys);
    let opener = TestOpener {
        settings: settings.port.clone(),
        wiring: wiring.clone(),
        clock: clock.clone(),
    };
    let serial = Serial::with_opener("meter", &settings, Arc::new(opener), clock.clone());
    Bench {
        device: owner::spawn(Box::new(serial), clock.clone()),
        clock,
        wiring,
    }
}

/// The same with the far end of the line, which is open and silent for a second.
async fn bench(keys: &str) -> (Bench, DuplexStream) {
    let bench = unplugged(keys);
    let far = bench.plug_in();
    tokio::time::sleep(Duration::from_secs(1)).await;
    (bench, far)
}

impl Bench {
    fn plug_in(&self) -> DuplexStream {
        self.wiring.plug_in()
    }

    async fn run(&self, verb: &str, args: &[&str]) -> Result<Outcome, VerbError> {
        self.run_with(verb, args, Context::new(self.clock.clone())).await
    }

    async fn run_with(&self, verb: &str, args: &[&str], context: Context) -> Result<Outcome, VerbError> {
        let call = args.iter().fold(Call::new(verb), |call, arg| call.arg(*arg));
        self.device.perform(call, context).await
    }

    fn millis(&self) -> u64 {
        self.clock.now().as_nanos() / 1_000_000
    }
}

/// Reads what was sent, up to a line feed.
async fn line(far: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    loop {
        match far.read_u8().await {
            Ok(b'\n') => return String::from_utf8(line).unwrap(),
            Ok(byte) => line.push(byte),
            Err(error) => panic!("{error} after {line:?}"),
        }
    }
}

/// What lies on the line now.
fn there(far: &mut DuplexStream) -> String {
    String::from_utf8_lossy(&test_port::there(far)).into_owned()
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn a_query_gives_the_answer_and_its_captures() {
    let (bench, mut far) = bench("").await;
    let (outcome, ()) = tokio::join!(
        bench.run("query", &["MEAS?", "expect", r"^(?P<value>[-\d.]+) (V)(extra)?$"]),
        async {
            assert_eq!(line(&mut far).await, "MEAS?");
            far.write_all(b"12.5 V\r\n").await.unwrap();
        }
    );
    let outcome = outcome.unwrap();
    let pairs: Vec<_> = outcome
        .attributes
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [("reply", "12.5 V"), ("reply.value", "12.5"), ("reply.2", "V")]
    );
}

#[tokio::test(start_paused = true)]
async fn slow_bytes_are_waited_for_until_the_timeout_and_not_longer() {
    // 2 bytes at 9600 baud take 3 ms, rounded up; sending in memory takes none of them.
    for (last_at, good) in [(999, true), (1_001, false)] {
        let (bench, mut far) = bench("").await;
        let from = bench.millis();
        let (outcome, ()) = tokio::join!(bench.run("query", &["?"]), async {
            line(&mut far).await;
            for byte in b"123" {
                pause(200).await;
                far.write_u8(*byte).await.unwrap();
            }
            pause(last_at - 600).await;
            let _ = far.write_u8(b'\n').await;
        });
        match outcome {
            Ok(outcome) => assert!(good && outcome.get("reply") == Some("123")),
            Err(error) => {
                let text = error.to_string();
                assert!(!good, "{text}");
                assert!(
                    text.contains(
                        "no answer on /dev/serial/by-id/usb-ACME within 1s, only the fragment \"123\""
                    ),
                    "{text}"
                );
                assert!(bench.millis() - from <= 1_001);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_match_is_passed_over_and_told_at_the_end() {
    let (bench, mut far) = bench("").await;
    let (outcome, ()) = tokio::join!(bench.run("query", &["ID?", "expect", "ACME"]), async {
        line(&mut far).await;
        far.write_all(b"ID?\n\xff\xfe\nACME 9\n").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("ACME 9"));
    let (outcome, ()) = tokio::join!(bench.run("query", &["ID?", "expect", "ACME"]), async {
        line(&mut far).await;
        far.write_all(b"one\nERR 113\n").await.unwrap();
    });
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.contains("matched /ACME/ within 1s; the last of 2 answers was \"ERR 113\""),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_lay_there_before_is_no_answer() {
    let (bench, mut far) = bench("").await;
    far.write_all(b"stale\nhalf").await.unwrap();
    let (outcome, ()) = tokio::join!(bench.run("query", &["?"]), async {
        line(&mut far).await;
        far.write_all(b" stale\nfresh\n").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("fresh"));
}

#[tokio::test(start_paused = true)]
async fn the_late_answer_to_one_question_is_not_taken_for_the_next() {
    let (bench, mut far) = bench("").await;
    assert!(bench.run("query", &["A"]).await.is_err());
    assert_eq!(line(&mut far).await, "A");
    let (outcome, ()) = tokio::join!(bench.run("query", &["B"]), async {
        pause(30).await;
        assert_eq!(there(&mut far), "", "not while the line may still speak");
        far.write_all(b"answer to A\n").await.unwrap();
        assert_eq!(line(&mut far).await, "B");
        far.write_all(b"answer to B\n").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("answer to B"));
}

/// What may be sent right now may not be once the line has fallen silent: then whoever let it is asked again.
#[tokio::test(start_paused = true)]
async fn what_was_confirmed_too_long_ago_is_not_sent_after_a_wait() {
    let (bench, mut far) = bench("").await;
    assert!(bench.run("query", &["A"]).await.is_err());
    assert_eq!(line(&mut far).await, "A");
    let by = bench.clock.now() + Duration::from_millis(1);
    let context = Context::new(bench.clock.clone()).with_begin_by(Some(by));
    let late = bench.run_with("query", &["B"], context).await;
    assert!(matches!(late, Err(VerbError::TooLateToBegin)), "{late:?}");
    assert_eq!(there(&mut far), "");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_never_falls_silent_is_named_and_never_asked() {
    let (bench, mut far) = bench("").await;
    assert!(bench.run("query", &["A"]).await.is_err());
    assert_eq!(line(&mut far).await, "A");
    let chatter = async {
        loop {
            far.write_all(b"0.0 kg\n").await.unwrap();
            pause(20).await;
        }
    };
    let error = tokio::select! {
        result = bench.run("query", &["B"]) => result.unwrap_err().to_string(),
        () = chatter => unreachable!(),
    };
    assert!(error.contains("did not fall silent within 1s"), "{error}");
    assert_eq!(there(&mut far), "");
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_outlast_the_deadline() {
    let (bench, far) = bench("").await;
    let (mut listen, mut talk) = tokio::io::split(far);
    let flood = async {
        loop {
            talk.write_all(&[b'x'; 512]).await.unwrap();
            pause(1).await;
        }
    };
    let from = bench.millis();
    let error = tokio::select! {
        result = bench.run("query", &["A"]) => result.unwrap_err().to_string(),
        () = flood => unreachable!(),
        _ = async { loop { listen.read_u8().await.unwrap(); } } => unreachable!(),
    };
    assert!(
        error.contains("no answer") && !error.contains(&"x".repeat(200)),
        "{error}"
    );
    assert!(bench.millis() - from <= 1_010, "{}", bench.millis() - from);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_is_said_at_once() {
    let (bench, mut far) = bench("max_frame = 8").await;
    let from = bench.millis();
    let (outcome, ()) = tokio::join!(bench.run("query", &["?"]), async {
        line(&mut far).await;
        far.write_all(b"123456789\n").await.unwrap();
    });
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("more than 8 bytes came (max_frame)"), "{text}");
    assert!(bench.millis() - from < 100);
}

#[tokio::test(start_paused = true)]
async fn wrong_arguments_send_nothing() {
    let (bench, mut far) = bench("max_frame = 8").await;
    let pattern = "(".to_owned();
    let long = "x".repeat(513);
    for (verb, args, said) in [
        ("query", &[][..], "needs 1 argument"),
        ("query", &["a", "expects", "b"], "\"expects\" is not understood"),
        ("query", &["a", "expect"], "is not understood"),
        ("query", &["a", "expect", "b", "c"], "is not understood"),
        ("query", &["a", "expect", &pattern], "is not a pattern"),
        ("query", &["a", "expect", &long], "too long"),
        (
            "query",
            &["a", "expect", "((((a{100}){100}){100}){100})"],
            "is not a pattern",
        ),
        ("query", &["a\nb"], "more than one frame"),
        ("send", &["123456789"], "at most 8"),
        ("send", &[], "needs 1 argument"),
        ("read", &["11m"], "at most 10m"),
        ("read", &["1", "2"], "too much"),
        ("state", &["x"], "takes no arguments"),
    ] {
        let error = bench.run(verb, args).await.unwrap_err();
        assert!(matches!(error, VerbError::Usage { .. }), "{args:?}: {error}");
        assert!(error.to_string().contains(said), "{args:?}: {error}");
    }
    assert_eq!(there(&mut far), "");
    assert!(bench.run("send", &["12345678"]).await.is_ok(), "the limit itself");
}

#[tokio::test(start_paused = true)]
async fn effects_are_as_declared() {
    let effect = |keys: &str, verb: &str| {
        let settings = settings(keys);
        let verbs = verbs(&settings);
        verbs.iter().find(|known| known.name == verb).unwrap().effect
    };
    assert_eq!(effect("", "query"), Effect::Once);
    assert_eq!(effect("", "send"), Effect::Once);
    assert_eq!(effect("", "read"), Effect::Read);
    assert_eq!(effect("query_effect = \"read\"", "query"), Effect::Read);
    assert_eq!(effect("query_effect = \"set\"", "query"), Effect::Set);
    assert_eq!(effect("query_effect = \"read\"", "send"), Effect::Once);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_lease_ends_the_wait_and_nothing_is_sent_after_it() {
    let (bench, mut far) = bench("").await;
    let lease = |millis| {
        let end = bench.clock.now() + Duration::from_millis(millis);
        Context::new(bench.clock.clone()).with_lease(Some(end))
    };
    let from = bench.millis();
    let error = bench.run_with("query", &["A"], lease(300)).await.unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.millis() - from, 300);
    assert_eq!(there(&mut far), "A\n");
    // Silence is awaited first, and the lease is over before it.
    let error = bench.run_with("query", &["B"], lease(49)).await.unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    pause(5_000).await;
    assert_eq!(there(&mut far), "");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_up_is_thrown_away_rather_than_sent_late() {
    let (bench, _far) = bench("").await;
    bench.wiring.unsent.store(3, Ordering::SeqCst);
    let error = bench.run("send", &["MOVE"]).await.unwrap_err().to_string();
    assert!(error.contains("took only 2 of 5 bytes within 1.006s"), "{error}");
    assert_eq!(bench.wiring.discarded.load(Ordering::SeqCst), 1);

    let end = bench.clock.now() + Duration::from_millis(200);
    let context = Context::new(bench.clock.clone()).with_lease(Some(end));
    let error = bench.run_with("send", &["MOVE"], context).await.unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.wiring.discarded.load(Ordering::SeqCst), 2);

    bench.wiring.unsent.store(0, Ordering::SeqCst);
    assert_eq!(bench.run("send", &["MOVE"]).await.unwrap().get("sent"), Some("5"));
    assert_eq!(bench.wiring.discarded.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn read_waits_for_the_next_whole_frame() {
    let (bench, mut far) = bench("").await;
    far.write_all(b"1.0 kg\n2.").await.unwrap();
    pause(500).await;
    let (outcome, ()) = tokio::join!(bench.run("read", &["5s"]), async {
        pause(4_000).await;
        far.write_all(b"5 kg\n3.0 kg\n").await.unwrap();
    });
    assert_eq!(
        outcome.unwrap().get("reply"),
        Some("2.5 kg"),
        "never a part of a frame"
    );
    let from = bench.millis();
    let error = bench.run("read", &[]).await.unwrap_err().to_string();
    assert!(error.contains("no answer on"), "{error}");
    assert_eq!(bench.millis() - from, 1_000);
    // What came while nobody waited is not kept, not even where the owner was not awake in between.
    far.write_all(b"4.0 kg\n").await.unwrap();
    assert!(bench.run("read", &["100ms"]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn idle_gaps_and_hex_work_as_a_whole() {
    let (bench, mut far) = bench("framing = \"idle\"\nidle_gap = \"20ms\"\nencoding = \"hex\"").await;
    let (outcome, ()) = tokio::join!(bench.run("query", &["02 05"]), async {
        let mut sent = [0; 2];
        far.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, [2, 5]);
        far.write_all(&[0, 0xff]).await.unwrap();
        pause(19).await;
        far.write_all(&[0x10]).await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("00ff10"));
}

#[tokio::test(start_paused = true)]
async fn lengths_work_as_a_whole() {
    let (bench, mut far) = bench("framing = \"length\"\nlength = 3").await;
    let (outcome, ()) = tokio::join!(bench.run("query", &["x"]), async {
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        far.write_all(b"abcdef").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("abc"));
}

#[tokio::test(start_paused = true)]
async fn an_absent_port_is_tried_with_growing_pauses_and_verbs_say_what_is_wrong() {
    let bench = unplugged("");
    pause(60_000).await;
    let attempts = lock(&bench.wiring.attempts).clone();
    assert!(
        (13..=22).contains(&attempts.len()),
        "{} attempts in a minute: {attempts:?}",
        attempts.len()
    );
    assert_eq!(attempts[0], 0, "the first at once");
    let pauses: Vec<u64> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses.iter().all(|pause| (187..=6_252).contains(pause)),
        "{pauses:?}"
    );
    let error = bench.run("query", &["?"]).await.unwrap_err().to_string();
    assert!(
        error.starts_with("meter: no serial port at /dev/serial/by-id/usb-ACME: plug the device in"),
        "{error}"
    );
    // Many verbs are not many attempts.
    let before = lock(&bench.wiring.attempts).len();
    for _ in 0..50 {
        assert!(bench.run("read", &[]).await.is_err());
    }
    assert!(lock(&bench.wiring.attempts).len() <= before + 1);
    let state = bench.run("state", &[]).await.unwrap();
    assert_eq!(state.get("state"), Some("closed"));
    assert!(state.get("problem").unwrap().contains("no serial port"));
}

#[tokio::test(start_paused = true)]
async fn unplugged_in_mid_answer_it_is_closed_opened_again_and_nothing_is_sent_twice() {
    let (bench, mut far) = bench("").await;
    assert_eq!(bench.run("state", &[]).await.unwrap().get("state"), Some("open"));
    let (outcome, ()) = tokio::join!(bench.run("query", &["MOVE 5"]), async {
        assert_eq!(line(&mut far).await, "MOVE 5");
        far.write_all(b"mov").await.unwrap();
        drop(far);
    });
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.starts_with("meter: /dev/serial/by-id/usb-ACME is gone (unplugged"),
        "{error}"
    );
    pause(100).await;
    assert_eq!(bench.wiring.dropped.load(Ordering::SeqCst), 1, "closed at once");

    let mut far = bench.plug_in();
    pause(10_000).await;
    assert_eq!(there(&mut far), "", "nothing is sent again");
    let (outcome, ()) = tokio::join!(bench.run("query", &["POS?"]), async {
        assert_eq!(line(&mut far).await, "POS?");
        far.write_all(b"5\n").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn unplugged_while_nothing_runs_it_is_closed_at_once_too() {
    let (bench, far) = bench("").await;
    drop(far);
    pause(1).await;
    assert_eq!(bench.wiring.dropped.load(Ordering::SeqCst), 1);
    let mut far = bench.plug_in();
    let (outcome, ()) = tokio::join!(bench.run("query", &["?"]), async {
        line(&mut far).await;
        far.write_all(b"back\n").await.unwrap();
    });
    assert_eq!(
        outcome.unwrap().get("reply"),
        Some("back"),
        "a verb does not wait for the pause"
    );
}

#[tokio::test(start_paused = true)]
async fn a_board_that_restarts_when_opened_is_given_time() {
    let bench = unplugged("settle = \"2s\"");
    let mut far = bench.plug_in();
    let (outcome, ()) = tokio::join!(bench.run("query", &["?"]), async {
        pause(1_999).await;
        assert_eq!(there(&mut far), "");
        assert_eq!(line(&mut far).await, "?");
        far.write_all(b"ready\n").await.unwrap();
    });
    assert_eq!(outcome.unwrap().get("reply"), Some("ready"));
}

#[tokio::test(start_paused = true)]
async fn the_safe_texts_are_sent_in_order_when_a_verb_goes_wrong() {
    let (bench, mut far) = bench("safe = [\"OUT OFF\", \"VOLT 0\"]").await;
    assert!(bench.device.time_to_safe() >= Duration::from_secs(2));
    assert!(bench.run("query", &["OUT ON"]).await.is_err());
    assert_eq!(there(&mut far), "OUT ON\nOUT OFF\nVOLT 0\n");
    assert_eq!(*bench.device.fault().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_made_safe_is_faulted_until_it_is_opened_again() {
    let (bench, mut far) = bench("safe = [\"OUT OFF\"]\nquery_effect = \"read\"").await;
    let (outcome, ()) = tokio::join!(bench.run("send", &["OUT ON"]), async {
        assert_eq!(line(&mut far).await, "OUT ON");
    });
    outcome.unwrap();
    drop(far);
    pause(1).await;
    assert_eq!(
        *bench.device.fault().borrow(),
        None,
        "what a verb left is latched, unplugged or not"
    );
    assert!(bench.run("send", &["VOLT 5"]).await.is_err());
    assert!(
        bench.device.fault().borrow().is_some(),
        "the failed verb ought to have been made safe"
    );
    let refused = bench.run("send", &["VOLT 5"]).await.unwrap_err();
    assert!(matches!(refused, VerbError::Faulted { .. }), "{refused}");

    let mut far = bench.plug_in();
    pause(10_000).await;
    assert_eq!(*bench.device.fault().borrow(), None);
    assert_eq!(there(&mut far), "OUT OFF\n", "safe, and nothing else");
    assert!(bench.run("send", &["VOLT 5"]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_safe_texts_a_lost_port_leaves_no_fault() {
    let (bench, far) = bench("").await;
    assert_eq!(bench.device.time_to_safe(), Duration::ZERO);
    drop(far);
    let error = bench.run("send", &["x"]).await.unwrap_err();
    assert!(matches!(error, VerbError::Failed(_)), "{error}");
    assert_eq!(*bench.device.fault().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_simulated_instrument_answers_from_its_script_and_only_from_it() {
    let toml = "backend = \"simulated\"\nscript = [[\"*IDN?\", \"ACME,1\"], [\"MEAS?\", \"12.5\"]]";
    let source = config::File::from_str(toml, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(source).build().unwrap();
    let settings: SerialSettings = config.try_deserialize().unwrap();
    let clock = TestClock::new(0);
    let device = owner::spawn(
        Box::new(Serial::new("meter", &settings, clock.clone())),
        clock.clone(),
    );
    for (question, answer) in [("*IDN?", Some("ACME,1")), ("MEAS?", Some("12.5")), ("x", None)] {
        let call = Call::new("query").arg(question);
        let outcome = device.perform(call, Context::new(clock.clone())).await;
        assert_eq!(
            outcome
                .ok()
                .and_then(|outcome| outcome.get("reply").map(str::to_owned))
                .as_deref(),
            answer
        );
    }
    let call = Call::new("state");
    let state = device.perform(call, Context::new(clock.clone())).await.unwrap();
    assert_eq!(state.get("port"), Some("(simulated)"));
}
