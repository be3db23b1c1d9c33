//! The vehicle behind a stream, a TCP port and a real pseudo-terminal.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use mavlink::dialects::common::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::station::trip;
use crate::vehicle::wire::{Came, Wire};
use crate::vehicle::{Config, Family, Mode, Pty, Server, Simulation, Truth};

fn simulation() -> Simulation {
    Simulation::new(Config::new(Family::ArduPilot).settled(), Default::default(), 1)
}

/// What a small agent does, step by step; answers what to say to a message that came.
#[derive(Default)]
struct Agent {
    begun: bool,
    uploaded: bool,
}

impl Agent {
    fn command(command: MavCmd, param1: f32, param2: f32) -> MavMessage {
        MavMessage::COMMAND_LONG(COMMAND_LONG_DATA {
            command,
            param1,
            param2,
            target_system: 1,
            target_component: 1,
            ..COMMAND_LONG_DATA::default()
        })
    }

    #[allow(deprecated)]
    fn hear(&mut self, message: &MavMessage) -> Option<MavMessage> {
        match message {
            MavMessage::HEARTBEAT(_) if !self.begun => {
                self.begun = true;
                Some(MavMessage::MISSION_COUNT(MISSION_COUNT_DATA {
                    count: 5,
                    target_system: 1,
                    target_component: 1,
                    mission_type: MavMissionType::MAV_MISSION_TYPE_MISSION,
                    opaque_id: 0,
                }))
            }
            MavMessage::MISSION_REQUEST(request) => Some(MavMessage::MISSION_ITEM_INT(
                trip(40.0)[usize::from(request.seq)].clone(),
            )),
            MavMessage::MISSION_ACK(_) if !self.uploaded => {
                self.uploaded = true;
                Some(Agent::command(MavCmd::MAV_CMD_DO_SET_MODE, 1.0, 4.0))
            }
            MavMessage::COMMAND_ACK(ack) => match ack.command {
                MavCmd::MAV_CMD_DO_SET_MODE => {
                    Some(Agent::command(MavCmd::MAV_CMD_COMPONENT_ARM_DISARM, 1.0, 0.0))
                }
                MavCmd::MAV_CMD_COMPONENT_ARM_DISARM => {
                    Some(Agent::command(MavCmd::MAV_CMD_MISSION_START, 0.0, 0.0))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Flies over a stream until the other side closes it.
    async fn fly<S: AsyncRead + AsyncWrite + Unpin>(mut self, mut stream: S) -> u32 {
        let mut wire = Wire::new(255, None);
        let mut buffer = [0; 512];
        let mut heard = 0;
        loop {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => {
                    for incoming in wire.decode(&buffer[..count]) {
                        heard += 1;
                        if let Came::Message(message) = incoming.came
                            && let Some(answer) = self.hear(&message)
                        {
                            stream.write_all(&wire.encode(&answer)).await.unwrap();
                        }
                    }
                }
                _ => return heard,
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(300);

fn flown(truth: &Truth) -> bool {
    !truth.armed && truth.landings.len() == 1
}

#[tokio::test(start_paused = true)]
async fn a_flight_over_a_stream_in_paused_time() {
    let server = Server::new(simulation(), 1.0);
    let (near, far) = tokio::io::duplex(4096);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(far).await }
    });
    let agent = tokio::spawn(Agent::default().fly(near));
    assert!(server.until(LONG, flown).await, "{:?}", server.truth());
    assert!((40.0..70.0).contains(&server.truth().farthest));
    // The cable is pulled: both sides end.
    server.with(|simulation| simulation.unplug(Duration::from_secs(5)));
    serving.await.unwrap().unwrap();
    assert!(agent.await.unwrap() > 60);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_does_not_stop_the_vehicle() {
    let server = Server::new(simulation(), 1.0);
    let (near, far) = tokio::io::duplex(64);
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.serve(far).await }
    });
    assert!(
        server
            .until(LONG, |truth| truth.at > Duration::from_secs(100))
            .await
    );
    drop(near);
    serving.await.unwrap().unwrap_or_default();
}

#[tokio::test]
async fn a_flight_over_tcp_many_times_as_fast_as_life() {
    let server = Server::new(simulation(), 100.0);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { server.listen(&listener).await }
    });
    // One comes and goes, and the next is served.
    drop(tokio::net::TcpStream::connect(address).await.unwrap());
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let agent = tokio::spawn(Agent::default().fly(stream));
    assert!(server.until(LONG * 20, flown).await, "{:?}", server.truth());
    serving.abort();
    agent.abort();
}

#[tokio::test]
async fn a_flight_over_a_real_pseudo_terminal_and_the_cable_pulled_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("autopilot");
    let server = Server::new(simulation(), 100.0);
    let mut pty = Pty::open(Some(link.clone())).unwrap();
    assert_eq!(pty.path(), Some(link.as_path()));
    let serving = tokio::spawn({
        let server = server.clone();
        async move { pty.serve(&server).await.map(|_| ()) }
    });
    let near = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&link)
        .unwrap();
    let mut writing = near.try_clone().unwrap();
    let flight = tokio::task::spawn_blocking(move || {
        let (mut agent, mut wire) = (Agent::default(), Wire::new(255, None));
        let mut buffer = [0; 512];
        let mut reading = near;
        // A pulled cable is the end of the file, or an error, as on a real one.
        while let Ok(count) = reading.read(&mut buffer) {
            if count == 0 {
                break;
            }
            for incoming in wire.decode(&buffer[..count]) {
                if let Came::Message(message) = incoming.came
                    && let Some(answer) = agent.hear(&message)
                {
                    writing.write_all(&wire.encode(&answer)).unwrap();
                }
            }
        }
    });
    assert!(server.until(LONG * 20, flown).await, "{:?}", server.truth());
    assert_eq!(server.truth().mode, Mode::Auto);
    server.with(|simulation| simulation.unplug(Duration::from_secs(30)));
    flight.await.unwrap();
    // Plugged in again, it is a new device under the old name.
    let back = async {
        while std::fs::OpenOptions::new().read(true).open(&link).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    serving.abort();
    let _ = serving.await;
    assert!(!link.exists(), "the link goes with the vehicle");
}

#[tokio::test]
async fn a_path_that_is_taken_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter");
    std::fs::write(&file, "dear").unwrap();
    let error = Pty::open(Some(file.clone())).unwrap_err().to_string();
    assert!(error.contains("choose another path"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear");
    let error = Pty::open(Some(folder.path().join("no/such")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("write to"), "{error}");
}
