//! The link to an autopilot over what the kernel has a say in: a real pseudo-terminal, TCP and UDP. The far ends speak
//! through the `mavlink` crate. Deadlines are tested in memory and in paused time (`src/device/drone/link/`); here real time
//! passes, so nothing depends on how much.

#![cfg(feature = "agent")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may stop it, too"
)]

mod serial_support;

use std::sync::Arc;
use std::time::Duration;

use mavlink::dialects::common::{HEARTBEAT_DATA, MavAutopilot, MavMessage, MavType};
use mavlink::{MAVLinkV2MessageRaw, MavHeader, Message as _};
use outpost::clock::SystemClock;
use outpost::device::drone::link::{Address, Ends, Event, Link, LinkError, SystemDial};
use outpost::device::drone::wire::{Heard, Node, Said};
use outpost::device::serial::SerialError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use serial_support::{Far, point};

const US: Node = Node {
    system: 255,
    component: 191,
};
const VEHICLE: Node = Node {
    system: 1,
    component: 1,
};
const PATIENCE: Duration = Duration::from_secs(20);

fn link(port: &str) -> Link {
    let clock = Arc::new(SystemClock);
    let ends = Ends {
        us: US,
        vehicle: VEHICLE,
    };
    let address = Address::parse(port, None).unwrap();
    let dial = Arc::new(SystemDial::new(clock.clone()));
    Link::new(address, ends, dial, clock, None, 7)
}

async fn next(link: &mut Link) -> Event {
    tokio::time::timeout(PATIENCE, link.pump())
        .await
        .expect("nothing happens")
}

/// Waits for the next opening, whatever is told before.
async fn opened(link: &mut Link) {
    while next(link).await != Event::Opened {}
}

async fn lost(link: &mut Link) -> LinkError {
    match next(link).await {
        Event::Lost(cause) => cause,
        other => panic!("{other:?}"),
    }
}

/// A heartbeat of a vehicle, by the crate.
fn heartbeat(sequence: u8) -> Vec<u8> {
    let data = HEARTBEAT_DATA {
        custom_mode: u32::from(sequence),
        mavtype: MavType::MAV_TYPE_QUADROTOR,
        autopilot: MavAutopilot::MAV_AUTOPILOT_ARDUPILOTMEGA,
        ..HEARTBEAT_DATA::default()
    };
    let header = MavHeader {
        system_id: 1,
        component_id: 1,
        sequence,
    };
    let mut raw = MAVLinkV2MessageRaw::new();
    raw.serialize_message_data(header, &data);
    raw.raw_bytes().to_vec()
}

async fn hears(link: &mut Link, sequence: u8) {
    match next(link).await {
        Event::Frame(frame) => {
            assert_eq!(frame.from, VEHICLE);
            assert!(
                matches!(frame.heard, Heard::Heartbeat { custom_mode, .. } if custom_mode == u32::from(sequence)),
                "{frame:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// What the crate reads of the first whole frame.
fn said(bytes: &[u8]) -> Option<MavMessage> {
    let mut raw = [0; mavlink::consts::v2::FRAME_SIZE];
    let length = bytes.len().min(raw.len());
    raw[..length].copy_from_slice(&bytes[..length]);
    let raw = MAVLinkV2MessageRaw::from_bytes_unparsed(raw);
    if length < 12 || raw.raw_bytes().len() > length {
        return None;
    }
    assert!(raw.has_valid_crc::<MavMessage>());
    assert_eq!((raw.system_id(), raw.component_id()), (255, 191));
    Some(MavMessage::parse(mavlink::MavlinkVersion::V2, raw.message_id(), raw.payload()).unwrap())
}

/// Pumps until the far end has a whole frame, which is our heartbeat.
async fn beats<F: Future<Output = Vec<u8>>>(link: &mut Link, mut read: impl FnMut() -> F) {
    let mut bytes = Vec::new();
    let waiting = async {
        loop {
            if let Some(MavMessage::HEARTBEAT(data)) = said(&bytes) {
                return data;
            }
            tokio::select! {
                event = link.pump() => panic!("{event:?}"),
                more = read() => bytes.extend(more),
            }
        }
    };
    let data = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("no heartbeat");
    assert_eq!(data.mavtype, MavType::MAV_TYPE_GCS);
}

#[tokio::test]
async fn a_serial_port_is_unplugged_in_mid_frame_and_opened_again_under_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("usb-ArduPilot_Pixhawk-if00");
    let far = Far::open();
    point(&name, &far.path).unwrap();
    let mut link = link(name.to_str().unwrap());
    opened(&mut link).await;
    beats(&mut link, || far.read()).await;
    for byte in [b"\xff noise \xfd".to_vec(), heartbeat(1)].concat() {
        far.write(&[byte]).await;
    }
    hears(&mut link, 1).await;

    far.write(&heartbeat(2)[..9]).await;
    drop(far);
    let cause = lost(&mut link).await;
    assert!(
        matches!(cause, LinkError::Serial(SerialError::Unplugged { .. })),
        "{cause}"
    );
    assert!(link.say(&Said::Heartbeat).is_err());
    std::fs::remove_file(&name).unwrap();
    let cause = lost(&mut link).await.to_string();
    assert!(
        cause.contains("no serial port at") && cause.contains("plug the device in"),
        "{cause}"
    );

    let far = Far::open();
    point(&name, &far.path).unwrap();
    opened(&mut link).await;
    far.write(&heartbeat(3)).await;
    hears(&mut link, 3).await;
    beats(&mut link, || far.read()).await;
    assert_eq!(link.statistics().openings, 2);
}

#[tokio::test]
async fn a_serial_port_belongs_to_one() {
    let far = Far::open();
    let port = far.path.to_str().unwrap();
    let mut first = link(port);
    opened(&mut first).await;
    let mut second = link(port);
    let cause = lost(&mut second).await.to_string();
    assert!(cause.contains("in use by another program"), "{cause}");
    drop(first);
    opened(&mut second).await;
}

#[tokio::test]
async fn a_tcp_connection_is_made_closed_and_made_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(&format!("tcp:{}", listener.local_addr().unwrap()));
    opened(&mut link).await;
    let (mut far, _) = listener.accept().await.unwrap();
    far.write_all(&heartbeat(1)).await.unwrap();
    hears(&mut link, 1).await;
    let mut got = [0; 21];
    tokio::select! {
        event = link.pump() => panic!("{event:?}"),
        read = far.read_exact(&mut got) => read.unwrap(),
    };
    assert!(matches!(said(&got), Some(MavMessage::HEARTBEAT(_))));
    // Its own port is taken until both ends are closed.
    drop(far);
    let cause = lost(&mut link).await.to_string();
    assert!(
        cause.starts_with("tcp:127.0.0.1:") && cause.contains("opened again"),
        "{cause}"
    );
    opened(&mut link).await;
    let (mut far, _) = listener.accept().await.unwrap();
    far.write_all(&heartbeat(2)).await.unwrap();
    hears(&mut link, 2).await;
}

#[tokio::test]
async fn nobody_at_the_other_end_is_said() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cause = lost(&mut link(&format!("tcp:{free}"))).await.to_string();
    assert!(cause.contains("is the simulator or router running"), "{cause}");
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = format!("udp:{}", taken.local_addr().unwrap());
    let cause = lost(&mut link(&port)).await.to_string();
    assert!(cause.contains("no other program has"), "{cause}");
}

/// A port of this machine that nobody has.
fn free_udp() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[tokio::test]
async fn datagrams_are_answered_to_whoever_speaks_first() {
    let port = free_udp();
    let mut link = link(&format!("udp:127.0.0.1:{port}"));
    opened(&mut link).await;
    let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Neither nothing nor a greeting makes a peer.
    stranger.send_to(b"", ("127.0.0.1", port)).await.unwrap();
    stranger.send_to(b"hello", ("127.0.0.1", port)).await.unwrap();
    far.send_to(&heartbeat(1), ("127.0.0.1", port)).await.unwrap();
    hears(&mut link, 1).await;
    stranger
        .send_to(&heartbeat(7), ("127.0.0.1", port))
        .await
        .unwrap();
    far.send_to(&heartbeat(2), ("127.0.0.1", port)).await.unwrap();
    hears(&mut link, 2).await;
    beats(&mut link, || async {
        let mut got = vec![0; 300];
        let count = far.recv(&mut got).await.unwrap();
        got.truncate(count);
        got
    })
    .await;
    let mut nothing = [0; 300];
    assert!(stranger.try_recv(&mut nothing).is_err());
}

#[tokio::test]
async fn datagrams_are_sent_to_an_address_and_heard_from_there_alone() {
    let far = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut link = link(&format!("udpout:{}", far.local_addr().unwrap()));
    opened(&mut link).await;
    let mut got = [0; 300];
    let (count, us) = tokio::select! {
        event = link.pump() => panic!("{event:?}"),
        got = far.recv_from(&mut got) => got.unwrap(),
    };
    assert!(matches!(said(&got[..count]), Some(MavMessage::HEARTBEAT(_))));
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = ("127.0.0.1", us.port());
    stranger.send_to(&heartbeat(7), to).await.unwrap();
    far.send_to(&heartbeat(1), to).await.unwrap();
    hears(&mut link, 1).await;
}
