//! The drone as a device on the simulated vehicle: whole flights, and what can go wrong in them, in paused time. The
//! simulated vehicle shares no code with the agent's side; what really happened is asked of it ([`Truth`]).
#![cfg(all(feature = "agent", feature = "cli"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test's helpers may stop it, too"
)]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use outpost::device::gpio::{Level, LineSpec};
use outpost::device::{Call, Cancellation, Confirmed, VerbError};
use outpost::vehicle::{Config, Family, Faults, Mode, Trouble, Truth};

use rig::{Rig, north};

const MINUTE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(15 * 60);

fn dispatch() -> Call {
    Call::new("dispatch").arg(north(60.0, "20,5s"))
}

fn flies(truth: &Truth) -> bool {
    truth.airborne() && truth.farthest > 20.0
}

/// It stands disarmed after one flight.
fn is_home(truth: &Truth) -> bool {
    !truth.armed && truth.take_offs.len() == 1 && truth.landings.len() == 1 && !truth.crashed
}

fn failure(result: Result<outpost::device::Outcome, VerbError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_drone_flies_to_a_point_and_comes_home() {
    for family in [Family::ArduPilot, Family::Px4] {
        let rig = Rig::with(Config::new(family).with_failsafes(), Faults::default(), 1, "");
        let outcome = rig.run(dispatch(), rig.context("p1", LEASE)).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{family:?}: {error}"));
        let truth = rig.vehicle.truth();
        assert!(is_home(&truth), "{family:?}: {truth:?}");
        assert!((55.0..70.0).contains(&truth.farthest), "{}", truth.farthest);
        assert!(outcome.get("track").unwrap().contains("LineString"));
        assert!(!rig.flight_note().exists());
        let status = rig
            .run(Call::new("status"), rig.context("p2", MINUTE))
            .await
            .unwrap();
        assert_eq!(status.get("state"), Some("disarmed"));
        assert!(status.get("last_flight").unwrap().starts_with("as planned: "));
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_in_flight_brings_it_home_and_the_flight_tells_so() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let abort = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        let asked = rig.vehicle.now();
        let call = Call::new("abort");
        let outcome = rig.drone.perform(call, rig.context("p2", MINUTE)).await.unwrap();
        assert!(rig.vehicle.now() - asked < Duration::from_secs(2));
        assert_eq!(outcome.get("state"), Some("returning"));
    };
    let (flown, ()) = tokio::join!(flight, abort);
    let error = flown.unwrap_err();
    assert!(
        error.to_string().contains("told to abort by process p2"),
        "{error}"
    );
    assert!(error.attributes().iter().any(|(name, _)| name == "track"));
    let truth = rig.vehicle.truth();
    assert!(is_home(&truth) && truth.farthest < 55.0, "{truth:?}");
    let again = rig
        .run(Call::new("abort"), rig.context("p3", MINUTE))
        .await
        .unwrap();
    assert_eq!(again.get("result"), Some("nothing to do"));
}

#[tokio::test(start_paused = true)]
async fn a_landing_is_where_it_is() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let land = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        rig.drone
            .perform(Call::new("land"), rig.context("p2", MINUTE))
            .await
            .unwrap();
    };
    let (flown, ()) = tokio::join!(flight, land);
    assert!(failure(flown).contains("told to land"));
    let truth = rig.vehicle.truth();
    assert!(
        is_home(&truth) && truth.latitude > rig::HOME.0 + 10.0 / 111_195.0,
        "{truth:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_is_stopped_comes_home_without_its_verb() {
    let rig = Rig::new("");
    let stop = Cancellation::new();
    let context = rig.context("p1", LEASE).with_cancellation(stop.clone());
    let flight = rig.run(dispatch(), context);
    let cancel = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        stop.cancel("the process was deleted");
    };
    let (flown, ()) = tokio::join!(flight, cancel);
    assert_eq!(failure(flown), "cancelled: the process was deleted");
    let truth = rig.vehicle.truth();
    assert!(truth.airborne() && truth.mode == Mode::Return, "{:?}", truth.mode);
    // Another one does not begin while it is still in the air; it stays known as under way.
    let refused = rig.run(dispatch(), rig.context("p2", LEASE)).await;
    assert!(failure(refused).contains("a flight is still under way"));
    assert!(rig.vehicle.until(5 * MINUTE, is_home).await);
    // And then it flies again.
    tokio::time::sleep(Duration::from_secs(30)).await;
    rig.run(dispatch(), rig.context("p3", LEASE)).await.unwrap();
    assert_eq!(rig.vehicle.truth().take_offs.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn it_is_on_the_ground_before_the_lease_ends() {
    let rig = Rig::new("");
    // Long enough to begin; the plan itself would take longer, by its holds.
    let long = Call::new("dispatch").arg(north(60.0, "20,10m"));
    let refused = rig.run(long.clone(), rig.context("p1", 4 * MINUTE)).await;
    assert!(failure(refused).contains("not flown"));
    assert!(rig.vehicle.truth().arms.is_empty(), "it does not even arm");
    // A strong headwind on the way home is not foreseen; it turns back in time all the same.
    let lease = 5 * MINUTE;
    let end = rig.vehicle.now() + lease;
    let flown = rig.run(dispatch(), rig.context("p2", lease)).await;
    assert!(rig.vehicle.now() < end);
    drop(flown);
    assert!(is_home(&rig.vehicle.truth()));
}

#[tokio::test(start_paused = true)]
async fn nothing_arms_without_the_server_and_nothing_flies_without_it_once_more() {
    let rig = Rig::new("");
    let no: Arc<dyn Fn(outpost::clock::BootTime) -> Confirmed + Send + Sync> =
        Arc::new(|_| Confirmed::NotOurs("it is assigned elsewhere".to_owned()));
    let context = rig
        .context("p1", LEASE)
        .with_confirmation(Arc::new(rig::Asked(no, rig.clock.clone())));
    let refused = rig.run(dispatch(), context).await;
    assert!(failure(refused).contains("it is assigned elsewhere"));
    assert!(rig.vehicle.truth().arms.is_empty());
    // Yes once, and then no.
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let once: Arc<dyn Fn(outpost::clock::BootTime) -> Confirmed + Send + Sync> =
        Arc::new(
            move |now| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Confirmed::Until(now + Duration::from_secs(1)),
                _ => Confirmed::NotOurs("it is assigned elsewhere".to_owned()),
            },
        );
    let context = rig
        .context("p2", LEASE)
        .with_confirmation(Arc::new(rig::Asked(once, rig.clock.clone())));
    assert!(failure(rig.run(dispatch(), context).await).contains("it is assigned elsewhere"));
    let truth = rig.vehicle.truth();
    assert!(
        truth.arms.len() == 1 && truth.take_offs.is_empty() && !truth.armed,
        "{truth:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_server_it_returns() {
    let rig = Rig::new("lost_after = \"20s\"");
    let context = rig.context("p1", LEASE);
    // Nobody says that the server was heard, once it flies.
    let hearing = async {
        while !rig.vehicle.with(|simulation| flies(simulation.truth())) {
            rig.contact.heard(outpost::clock::Clock::now(&*rig.clock));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let call = Call::new("dispatch").arg(north(60.0, "20,3m"));
    let flown = tokio::select! {
        flown = rig.drone.perform(call, context) => flown,
        () = hearing => unreachable!(),
    };
    assert!(failure(flown).contains("the server was not heard for 20s"));
    assert!(is_home(&rig.vehicle.truth()));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_in_flight_brings_it_home_in_its_next_life() {
    let mut rig = Rig::new("");
    {
        let flight = rig.run(dispatch(), rig.context("p1", LEASE));
        tokio::select! {
            flown = flight => panic!("{flown:?}"),
            flies = rig.vehicle.until(5 * MINUTE, flies) => assert!(flies),
        }
    }
    assert!(rig.flight_note().exists());
    rig.crash().await;
    // The recovery makes it safe, as it does with every device.
    rig.drone.make_safe().await.unwrap();
    assert_eq!(rig.vehicle.truth().mode, Mode::Return);
    assert!(rig.vehicle.until(5 * MINUTE, is_home).await);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!rig.flight_note().exists());
    let status = rig
        .run(Call::new("status"), rig.context("p2", MINUTE))
        .await
        .unwrap();
    assert!(
        status.get("last_flight").unwrap().contains("the agent ended"),
        "{status:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cable_that_comes_off_leaves_it_to_its_own_failsafe() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let unplug = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        rig.vehicle
            .with(|simulation| simulation.unplug(Duration::from_secs(20)));
    };
    let (flown, ()) = tokio::join!(flight, unplug);
    let error = failure(flown);
    assert!(error.contains("came back before its time"), "{error}");
    assert!(is_home(&rig.vehicle.truth()));
}

#[tokio::test(start_paused = true)]
async fn where_it_was_landed_elsewhere_the_next_flight_is_refused_at_once() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let land = async {
        let far = |truth: &Truth| truth.airborne() && truth.farthest > 45.0;
        assert!(rig.vehicle.until(5 * MINUTE, far).await);
        let call = Call::new("land");
        rig.drone.perform(call, rig.context("p2", MINUTE)).await.unwrap();
    };
    let (flown, ()) = tokio::join!(flight, land);
    assert!(failure(flown).contains("told to land"));
    assert!(is_home(&rig.vehicle.truth()), "it is down");
    tokio::time::sleep(MINUTE).await;
    let asked = rig.vehicle.now();
    let refused = failure(rig.run(dispatch(), rig.context("p3", LEASE)).await);
    assert!(refused.contains("set home here"), "{refused}");
    let waited = rig.vehicle.now() - asked;
    assert!(waited < Duration::from_secs(15), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pilot_who_takes_over_has_it() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let take_over = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        rig.vehicle
            .with(|simulation| simulation.trouble(Trouble::Pilot(Mode::Loiter)));
        rig.vehicle.truth().commands.len()
    };
    let (flown, said) = tokio::join!(flight, take_over);
    assert!(failure(flown).contains("hands off"));
    tokio::time::sleep(MINUTE).await;
    let truth = rig.vehicle.truth();
    assert!(truth.airborne() && truth.mode == Mode::Loiter);
    let commands = truth.commands.iter().skip(said).map(|received| received.command);
    let steering: Vec<u16> = commands.filter(|command| ![511, 512].contains(command)).collect();
    assert!(steering.is_empty(), "{steering:?}");
}

#[tokio::test(start_paused = true)]
async fn hours_and_inputs_are_asked_before_anything_is_said() {
    let rig = Rig::new("allowed_hours = \"06:00-20:00\"");
    // 2023-11-14T22:13:20Z.
    let refused = rig.run(dispatch(), rig.context("p1", LEASE)).await;
    assert!(failure(refused).contains("allowed_hours = \"06:00-20:00"));
    rig.clock.set_synchronised(false);
    let refused = rig.run(dispatch(), rig.context("p2", LEASE)).await;
    assert!(failure(refused).contains("clock is not synchronised"));

    let rig = Rig::new("requires = [\"door_open\"]");
    let refused = rig.run(dispatch(), rig.context("p1", LEASE)).await;
    assert!(failure(refused).contains("door_open is not known"));
    let door = rig.door_open();
    for (level, fine) in [(Level::Off, false), (Level::On, true)] {
        rig.board.set_input(&LineSpec::named("GPIO6"), level);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let flown = rig.run(dispatch(), rig.context("p2", LEASE)).await;
        assert_eq!(rig.vehicle.truth().take_offs.len(), usize::from(fine));
        match flown {
            Ok(_) => assert!(fine),
            Err(error) => assert!(error.to_string().contains("door_open is off"), "{error}"),
        }
    }
    drop(door);
}

#[tokio::test(start_paused = true)]
async fn failsafes_that_are_off_are_required_or_set() {
    let off = Config::new(Family::ArduPilot);
    let rig = Rig::with(off.clone(), Faults::default(), 1, "");
    let refused = failure(rig.run(dispatch(), rig.context("p1", LEASE)).await);
    assert!(refused.contains("FS_GCS_ENABLE"), "{refused}");
    let rig = Rig::with(off, Faults::default(), 1, "failsafes = \"set\"");
    rig.run(dispatch(), rig.context("p1", LEASE)).await.unwrap();
    let enabled = rig
        .vehicle
        .with(|simulation| simulation.autopilot().parameter("FS_GCS_ENABLE"));
    assert!(enabled.unwrap() > 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_arms_nothing() {
    let rig = Rig::new("");
    let call = Call::new("preflight").arg(north(60.0, "20"));
    let outcome = rig.run(call, rig.context("p1", LEASE)).await.unwrap();
    assert!(outcome.get("preflight").is_some());
    let truth = rig.vehicle.truth();
    assert!(
        truth.arms.is_empty()
            && rig
                .vehicle
                .with(|simulation| simulation.autopilot().list_lengths().0)
                == 0
    );
    let far = Call::new("preflight").arg(north(400.0, "20"));
    let refused = failure(rig.run(far, rig.context("p2", LEASE)).await);
    assert!(refused.contains("max_distance"), "{refused}");
}

/// A server that never answers.
struct Mute;

#[async_trait::async_trait]
impl outpost::device::Confirmation for Mute {
    async fn confirm(&self) -> Confirmed {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_while_the_server_is_asked_ends_the_flight_and_is_told() {
    let rig = Rig::new("");
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = heard.clone();
    let context = rig
        .context("p1", LEASE)
        .with_confirmation(Arc::new(Mute))
        .with_progress(Arc::new(move |_: &str, value: &str| {
            sink.lock().unwrap().push(value.to_owned());
        }));
    let flight = rig.run(dispatch(), context);
    let abort = async {
        let arming = async {
            loop {
                let call = Call::new("status");
                let status = rig.drone.perform(call, rig.context("p2", MINUTE)).await.unwrap();
                if status.get("phase") == Some("arming") {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(5 * MINUTE, arming).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = rig.vehicle.now();
        rig.drone
            .perform(Call::new("abort"), rig.context("p3", MINUTE))
            .await
            .unwrap();
        asked
    };
    let (flown, asked) = tokio::join!(flight, abort);
    assert!(
        rig.vehicle.now() - asked < Duration::from_secs(30),
        "at once, not with its lease"
    );
    let error = failure(flown);
    assert!(
        error.contains("not flown: told to abort by process p3"),
        "{error}"
    );
    assert!(rig.vehicle.truth().arms.is_empty());
    assert!(
        heard
            .lock()
            .unwrap()
            .iter()
            .any(|text| text.starts_with("Connected: "))
    );
}

#[tokio::test(start_paused = true)]
async fn each_order_is_answered_when_it_is_obeyed_itself() {
    let rig = Rig::new("");
    let flight = rig.run(dispatch(), rig.context("p1", LEASE));
    let orders = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        for (verb, mode) in [("abort", Mode::Return), ("land", Mode::Land)] {
            rig.drone
                .perform(Call::new(verb), rig.context("p2", MINUTE))
                .await
                .unwrap();
            assert_eq!(rig.vehicle.truth().mode, mode);
        }
    };
    let (flown, ()) = tokio::join!(flight, orders);
    assert!(failure(flown).contains("told to land"));
    assert!(is_home(&rig.vehicle.truth()));
}

#[tokio::test(start_paused = true)]
async fn orders_to_a_drone_that_comes_home_alone_are_obeyed_too() {
    let rig = Rig::new("");
    let stop = Cancellation::new();
    let context = rig.context("p1", LEASE).with_cancellation(stop.clone());
    let cancel = async {
        assert!(rig.vehicle.until(5 * MINUTE, flies).await);
        stop.cancel("the process was deleted");
    };
    let (flown, ()) = tokio::join!(rig.run(dispatch(), context), cancel);
    flown.unwrap_err();
    assert_eq!(rig.vehicle.truth().mode, Mode::Return);
    rig.drone
        .perform(Call::new("land"), rig.context("p2", MINUTE))
        .await
        .unwrap();
    assert_eq!(rig.vehicle.truth().mode, Mode::Land);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gave_the_work_is_not_lost_when_the_flight_begins() {
    let rig = Rig::new("lost_after = \"20s\"");
    // The poll that brought the work was sent half a minute ago; the server is next heard when the flight is supervised.
    tokio::time::sleep(Duration::from_secs(29)).await;
    let hearing = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            rig.contact.heard(outpost::clock::Clock::now(&*rig.clock));
        }
    };
    tokio::select! {
        flown = rig.drone.perform(dispatch(), rig.context("p1", LEASE)) => drop(flown.unwrap()),
        () = hearing => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn however_much_it_says_it_is_asked_in_time_for_what_it_does_not_say() {
    use mavlink::dialects::common::{COMMAND_LONG_DATA, HEARTBEAT_DATA, MavAutopilot, MavMessage, MavType};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let _drone = rig::on_pipe(near, &outpost::clock::TestClock::new(0));
    let beat = MavMessage::HEARTBEAT(HEARTBEAT_DATA {
        mavtype: MavType::MAV_TYPE_QUADROTOR,
        autopilot: MavAutopilot::MAV_AUTOPILOT_ARDUPILOTMEGA,
        ..HEARTBEAT_DATA::DEFAULT
    });
    let mut heard = Vec::new();
    for sequence in 0..100 {
        let header = mavlink::MavHeader {
            system_id: 1,
            component_id: 1,
            sequence,
        };
        let mut bytes = Vec::new();
        mavlink::write_v2_msg(&mut bytes, header, &beat).unwrap();
        far.write_all(&bytes).await.unwrap();
        // There is never a pause in which it would be looked at what is missing.
        let pause = tokio::time::timeout(Duration::from_millis(50), async {
            loop {
                heard.push(far.read_u8().await.unwrap());
            }
        });
        pause.await.unwrap_err();
    }
    let id = <COMMAND_LONG_DATA as mavlink::MessageData>::ID.to_le_bytes();
    let asked = heard
        .windows(10)
        .filter(|at| at[0] == mavlink::MAV_STX_V2 && at[7..10] == id[..3]);
    assert!(asked.count() >= 8, "each stream, the version, and home");
}
