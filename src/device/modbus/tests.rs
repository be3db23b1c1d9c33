//! The device over a stream in memory, in paused time, with the slave from the specification at the other end.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::clock::{Clock as _, TestClock};
use crate::device::lock;
use crate::device::owner::{self, DeviceHandle};
use crate::device::serial::test_port::{TestOpener, Wiring, there};

const POINTS: &str = r#"
port = "/dev/serial/by-id/usb-RS485"
baud = 115200

[[points]]
name = "valve"
memory = "coil"
address = 1
writable = true
safe = false

[[points]]
name = "door"
memory = "discrete"
address = 2

[[points]]
name = "temperature"
memory = "input"
address = 3
type = "i16"
scale = 0.1
unit = "°C"

[[points]]
name = "setpoint"
memory = "holding"
address = 10
type = "f32"
order = "cdab"
writable = true
min = 5
max = 60
safe = 20

[[points]]
name = "speed"
memory = "holding"
address = 12
unit_id = 2
writable = true
safe = 0
"#;

struct Bench {
    clock: Arc<TestClock>,
    wiring: Arc<Wiring>,
    slave: SimulatedSlave,
    device: DeviceHandle,
}

fn bench() -> Bench {
    let clock = TestClock::new(0);
    let wiring = Arc::new(Wiring::default());
    let source = config::File::from_str(POINTS, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(source).build().unwrap();
    let settings: ModbusSettings = config.try_deserialize().unwrap();
    let opener = TestOpener {
        settings: settings.port.clone(),
        wiring: wiring.clone(),
        clock: clock.clone(),
    };
    let slave = SimulatedSlave::for_points(&settings.points);
    let modbus = Modbus::with_opener("boiler", &settings, Arc::new(opener), clock.clone());
    Bench {
        device: owner::spawn(Box::new(modbus), clock.clone()),
        clock,
        wiring,
        slave,
    }
}

/// How the far end treats what comes and goes.
struct Manners(Arc<Mutex<Manner>>, tokio::task::JoinHandle<()>);

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    /// Takes the request, says nothing.
    Silent,
    /// Does not even take the request.
    Off,
    /// Answers after so many milliseconds.
    Late(u64),
    /// Changes one byte of each answer, and with `true` mends the checksum.
    Spoils(usize, bool),
    /// Says this byte before each answer.
    Noisy(u8),
    /// Cuts the line after so many bytes of an answer.
    Cuts(usize),
}

impl Manners {
    fn are(&self, manner: Manner) {
        *lock(&self.0) = manner;
    }

    async fn unplug(self) {
        self.1.abort();
        let _ = self.1.await;
    }
}

/// Has the slave serve the far end of a line.
fn serve(slave: &SimulatedSlave, mut far: DuplexStream) -> Manners {
    let manner = Arc::new(Mutex::new(Manner::Good));
    let (slave, at) = (slave.clone(), manner.clone());
    let task = tokio::spawn(async move {
        let mut buffer = [0; 256];
        while let Ok(count @ 1..) = far.read(&mut buffer).await {
            let manner = *lock(&at);
            if manner == Manner::Off {
                continue;
            }
            let mut answer = slave.receive(&buffer[..count]);
            match manner {
                Manner::Silent => continue,
                Manner::Late(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                Manner::Spoils(at, mend) => {
                    answer[at] ^= 0x01;
                    if mend {
                        let body = answer.len() - 2;
                        let sum = slave::crc(&answer[..body]);
                        answer[body..].copy_from_slice(&sum);
                    }
                }
                Manner::Noisy(byte) => answer.insert(0, byte),
                Manner::Cuts(count) => {
                    let _ = far.write_all(&answer[..count]).await;
                    return;
                }
                Manner::Good | Manner::Off => {}
            }
            // Byte by byte: nothing may depend on how an answer is cut.
            for byte in answer {
                let _ = far.write_u8(byte).await;
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
    });
    Manners(manner, task)
}

impl Bench {
    fn plug_in(&self) -> Manners {
        serve(&self.slave, self.wiring.plug_in())
    }

    async fn run(&self, verb: &str, args: &[&str]) -> Result<Outcome, VerbError> {
        self.run_with(verb, args, Context::new(self.clock.clone())).await
    }

    async fn run_with(&self, verb: &str, args: &[&str], context: Context) -> Result<Outcome, VerbError> {
        let call = args.iter().fold(Call::new(verb), |call, arg| call.arg(*arg));
        self.device.perform(call, context).await
    }

    async fn error(&self, verb: &str, args: &[&str]) -> String {
        self.run(verb, args).await.unwrap_err().to_string()
    }

    fn millis(&self) -> u64 {
        self.clock.now().as_nanos() / 1_000_000
    }

    fn safe(&self) -> Vec<(u8, Memory, u16, u16)> {
        vec![
            (1, Memory::Coil, 1, 0),
            (1, Memory::Holding, 10, 0),
            (1, Memory::Holding, 11, 0x41a0),
            (2, Memory::Holding, 12, 0),
        ]
    }
}

fn pairs(outcome: &Outcome) -> Vec<(&str, &str)> {
    let pairs = outcome.attributes.iter();
    pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn points_are_read_by_name_or_all_together() {
    let bench = bench();
    bench.plug_in();
    bench.slave.set(1, Memory::Discrete, 2, 1);
    bench.slave.set(1, Memory::Input, 3, 0xffff);
    bench.slave.set(2, Memory::Holding, 12, 7);
    let all = bench.run("read", &[]).await.unwrap();
    assert_eq!(
        pairs(&all),
        [
            ("valve", "off"),
            ("door", "on"),
            ("temperature", "-0.1"),
            ("temperature.unit", "°C"),
            ("setpoint", "0"),
            ("speed", "7")
        ]
    );
    let two = bench.run("read", &["speed", "door"]).await.unwrap();
    assert_eq!(pairs(&two), [("speed", "7"), ("door", "on")]);
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_there_and_read_back() {
    let bench = bench();
    bench.plug_in();
    for (name, value, told) in [
        ("valve", "on", "on"),
        ("setpoint", "21.5", "21.5"),
        ("speed", "1500", "1500"),
    ] {
        let outcome = bench.run("write", &[name, value]).await.unwrap();
        assert_eq!(outcome.get(name), Some(told));
    }
    assert_eq!(
        bench.slave.writes(),
        [
            (1, Memory::Coil, 1, 1),
            (1, Memory::Holding, 10, 0),
            (1, Memory::Holding, 11, 0x41ac),
            (2, Memory::Holding, 12, 1500)
        ]
    );
    assert_eq!(bench.slave.requests(), 6, "each written once and read once");
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_bounds_or_unknown_never_reaches_the_line() {
    let bench = bench();
    bench.plug_in();
    for (verb, args, said) in [
        ("write", &["setpoint", "60.1"][..], "too high, at most 60"),
        ("write", &["setpoint", "4.9"], "too low, at least 5"),
        ("write", &["speed", "65536"], "does not fit its type"),
        ("write", &["speed", "-1"], "does not fit its type"),
        ("write", &["valve", "half"], "neither on nor off"),
        ("write", &["door", "on"], "door is not writable"),
        (
            "write",
            &["gate", "on"],
            "there is no point \"gate\"; there are: valve, door",
        ),
        ("write", &["valve"], "needs 2 argument(s)"),
        ("read", &["gate"], "there is no point"),
        (
            "read",
            &["door", "door", "door", "door", "door", "door"],
            "more than once",
        ),
    ] {
        let error = bench.run(verb, args).await.unwrap_err();
        assert!(matches!(error, VerbError::Usage { .. }), "{args:?}: {error}");
        assert!(error.to_string().contains(said), "{args:?}: {error}");
    }
    assert_eq!(bench.slave.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn verbs_have_their_effects_and_writing_needs_something_writable() {
    let bench = bench();
    assert_eq!(bench.device.verb("write").unwrap().effect, Effect::Set);
    assert_eq!(bench.device.verb("read").unwrap().effect, Effect::Read);
    assert_eq!(bench.device.verb("state").unwrap().urgency, Urgency::Query);
    let help = bench.device.verb("write").unwrap().help.clone();
    assert!(help.contains("valve, setpoint, speed"), "{help}");
}

#[tokio::test(start_paused = true)]
async fn exceptions_are_named_with_the_point() {
    let bench = bench();
    bench.plug_in();
    bench.slave.refuse(Some(2));
    let error = bench.error("read", &["temperature"]).await;
    assert_eq!(
        error,
        "boiler: temperature (unit 1, input register 3): refused: illegal data address (2): addresses count from 0 \
         here, what manuals call 40011 is holding register 10"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_timeout() {
    let bench = bench();
    let manners = bench.plug_in();
    manners.are(Manner::Silent);
    pause(100).await;
    let from = bench.millis();
    let error = bench.error("read", &["speed"]).await;
    assert!(
        error.contains("speed (unit 2, holding register 12): no answer within 503ms: is it on"),
        "{error}"
    );
    assert_eq!(
        bench.millis() - from,
        503,
        "500 and what 22 bytes take at 115200 baud"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_not_taken_for_the_next() {
    let bench = bench();
    let manners = bench.plug_in();
    bench.slave.set(1, Memory::Input, 3, 111);
    manners.are(Manner::Late(520));
    assert!(bench.error("read", &["temperature"]).await.contains("no answer"));
    manners.are(Manner::Good);
    bench.slave.set(1, Memory::Input, 3, 222);
    let outcome = bench.run("read", &["temperature"]).await.unwrap();
    assert_eq!(outcome.get("temperature"), Some("22.2"));
}

#[tokio::test(start_paused = true)]
async fn damaged_answers_are_no_answers_and_noise_before_one_does_not_hurt() {
    let bench = bench();
    let manners = bench.plug_in();
    manners.are(Manner::Spoils(4, false));
    let error = bench.error("read", &["speed"]).await;
    assert!(error.contains("bytes came that were none"), "{error}");
    manners.are(Manner::Noisy(0xff));
    assert_eq!(
        bench.run("read", &["speed"]).await.unwrap().get("speed"),
        Some("0")
    );
}

#[tokio::test(start_paused = true)]
async fn well_formed_answers_to_something_else_are_refused() {
    // The unit, the function, the number of bytes; of a write the address and the value.
    for (args, at) in [
        (&["read", "speed"][..], 0),
        (&["read", "speed"], 1),
        (&["write", "speed", "300"], 3),
        (&["write", "speed", "300"], 5),
        (&["write", "valve", "on"], 3),
        (&["write", "setpoint", "30"], 3),
        (&["write", "setpoint", "30"], 5),
    ] {
        let bench = bench();
        let manners = bench.plug_in();
        manners.are(Manner::Spoils(at, true));
        let error = bench.error(args[0], &args[1..]).await;
        assert!(
            error.contains("does not fit the request") || error.contains("no answer"),
            "{args:?} {at}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_read_back_is_said() {
    let bench = bench();
    let manners = bench.plug_in();
    // The first answer, to the write, is good; the second, to the reading, is another value.
    let (result, ()) = tokio::join!(bench.run("write", &["speed", "256"]), async {
        while bench.slave.writes().is_empty() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
        bench.slave.set(2, Memory::Holding, 12, 255);
    });
    manners.are(Manner::Good);
    let error = result.unwrap_err().to_string();
    assert!(error.contains("reads back 255 after writing 256"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_lease_comes_before_the_next_request() {
    let bench = bench();
    let manners = bench.plug_in();
    manners.are(Manner::Silent);
    pause(100).await;
    let end = bench.clock.now() + Duration::from_millis(200);
    let context = Context::new(bench.clock.clone()).with_lease(Some(end));
    let error = bench.run_with("read", &[], context).await.unwrap_err();
    assert!(matches!(error, VerbError::LeaseOver), "{error}");
    assert_eq!(bench.slave.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn safe_values_are_written_in_order_when_a_write_goes_wrong() {
    let bench = bench();
    let manners = bench.plug_in();
    bench.run("write", &["valve", "on"]).await.unwrap();
    bench.run("write", &["speed", "1500"]).await.unwrap();
    manners.are(Manner::Off);
    let failing = async {
        let error = bench.run("write", &["setpoint", "30"]).await.unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
    };
    tokio::join!(failing, async {
        pause(450).await;
        manners.are(Manner::Good);
    });
    assert_eq!(bench.slave.writes()[2..], bench.safe());
    assert_eq!(*bench.device.fault().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn the_time_to_safe_covers_a_slow_way_there() {
    let bench = bench();
    let manners = bench.plug_in();
    bench.run("read", &[]).await.unwrap();
    // Every answer takes nearly as long as it may.
    manners.are(Manner::Late(480));
    let bound = bench.device.time_to_safe();
    let from = bench.clock.now();
    bench.device.make_safe().await.unwrap();
    let took = bench.clock.now().saturating_since(from);
    assert!(took <= bound, "{took:?} of {bound:?}");
    assert!(took > Duration::from_millis(6 * 480), "{took:?}");
    assert_eq!(bench.slave.writes(), bench.safe());
}

#[tokio::test(start_paused = true)]
async fn one_unit_that_is_off_keeps_no_other_from_being_made_safe() {
    let bench = bench();
    bench.plug_in();
    bench.slave.remove(1);
    let error = bench.device.make_safe().await.unwrap_err().to_string();
    assert!(
        error.contains("valve (unit 1, coil 1): no answer"),
        "the first is named: {error}"
    );
    assert_eq!(bench.slave.writes(), [(2, Memory::Holding, 12, 0)]);
    let refused = bench.run("write", &["speed", "1"]).await.unwrap_err();
    assert!(matches!(refused, VerbError::Faulted { .. }), "{refused}");
    assert!(bench.run("read", &["speed"]).await.is_ok(), "reading goes on");
}

#[tokio::test(start_paused = true)]
async fn making_safe_is_tried_again_with_growing_pauses_until_it_succeeds() {
    let bench = bench();
    let manners = bench.plug_in();
    pause(100).await;
    manners.are(Manner::Silent);
    assert!(bench.device.make_safe().await.is_err());
    pause(3_600_000).await;
    let attempts = bench.slave.requests() / 3;
    assert!((15..=25).contains(&attempts), "{attempts} in an hour");
    assert!(bench.device.fault().borrow().is_some());
    manners.are(Manner::Good);
    pause(301_000).await;
    assert_eq!(*bench.device.fault().borrow(), None);
    assert!(bench.slave.writes().ends_with(&bench.safe()));
    let requests = bench.slave.requests();
    pause(3_600_000).await;
    assert_eq!(bench.slave.requests(), requests, "and not any more then");
    assert!(bench.run("write", &["valve", "on"]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn cut_off_in_mid_answer_it_is_faulted_until_it_is_back() {
    let bench = bench();
    let manners = bench.plug_in();
    bench.run("write", &["valve", "on"]).await.unwrap();
    manners.are(Manner::Cuts(3));
    let error = bench.error("write", &["speed", "9"]).await;
    assert!(error.contains("is gone (unplugged"), "{error}");
    assert!(bench.device.fault().borrow().is_some());
    let state = bench.run("state", &[]).await.unwrap();
    assert_eq!(state.get("state"), Some("closed"));

    bench.plug_in();
    pause(10_000).await;
    assert_eq!(*bench.device.fault().borrow(), None);
    let writes = bench.slave.writes();
    assert_eq!(
        writes[1..],
        [vec![(2, Memory::Holding, 12, 9)], bench.safe()].concat(),
        "written once, then made safe; nothing again"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_latched_survives_an_unplugging_in_peace() {
    let bench = bench();
    let line = bench.plug_in();
    bench.run("write", &["valve", "on"]).await.unwrap();
    line.unplug().await;
    pause(1).await;
    let state = bench.run("state", &[]).await.unwrap();
    assert_eq!(state.get("state"), Some("closed"));
    bench.plug_in();
    pause(60_000).await;
    let state = bench.run("state", &[]).await.unwrap();
    assert_eq!(state.get("state"), Some("open"));
    assert_eq!(bench.slave.writes(), [(1, Memory::Coil, 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_silent_before_each_request() {
    let bench = bench();
    let mut far = bench.wiring.plug_in();
    let (_, ()) = tokio::join!(bench.run("read", &["speed", "door"]), async {
        let mut request = [0; 8];
        far.read_exact(&mut request).await.unwrap();
        far.write_all(&bench.slave.receive(&request)).await.unwrap();
        let answered = bench.clock.now();
        far.read_exact(&mut request).await.unwrap();
        let silent = bench.clock.now().saturating_since(answered);
        assert!(silent >= Duration::from_millis(2), "{silent:?}");
        far.write_all(&bench.slave.receive(&request)).await.unwrap();
    });
    assert_eq!(there(&mut far), b"");
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_too_long_ago_is_not_written_after_a_wait() {
    let bench = bench();
    let manners = bench.plug_in();
    manners.are(Manner::Silent);
    assert!(bench.run("read", &["door"]).await.is_err());
    manners.are(Manner::Good);
    let by = |millis| Some(bench.clock.now() + Duration::from_millis(millis));
    let context = |millis| Context::new(bench.clock.clone()).with_begin_by(by(millis));
    let late = bench.run_with("write", &["speed", "5"], context(1)).await;
    assert!(matches!(late, Err(VerbError::TooLateToBegin)), "{late:?}");
    assert_eq!(bench.slave.writes(), [], "and nothing had to be made safe");
    // What is read back after it, however late, belongs to what began in time.
    pause(1_000).await;
    manners.are(Manner::Late(30));
    let written = bench.run_with("write", &["speed", "5"], context(25)).await;
    assert_eq!(pairs(&written.unwrap()), [("speed", "5")]);
}

#[tokio::test(start_paused = true)]
async fn a_simulated_line_keeps_what_is_written() {
    let toml = POINTS.replace(
        "port = \"/dev/serial/by-id/usb-RS485\"",
        "backend = \"simulated\"",
    );
    let source = config::File::from_str(&toml, config::FileFormat::Toml);
    let config = config::Config::builder().add_source(source).build().unwrap();
    let settings: ModbusSettings = config.try_deserialize().unwrap();
    let clock = TestClock::new(0);
    let modbus = Modbus::new("boiler", &settings, clock.clone());
    let device = owner::spawn(Box::new(modbus), clock.clone());
    let write = Call::new("write").arg("setpoint").arg("33.25");
    device.perform(write, Context::new(clock.clone())).await.unwrap();
    let read = Call::new("read").arg("setpoint");
    let outcome = device.perform(read, Context::new(clock.clone())).await.unwrap();
    assert_eq!(outcome.get("setpoint"), Some("33.25"));
}
