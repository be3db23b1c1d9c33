use mavlink::MavlinkVersion::{V1, V2};
use mavlink::Message as _;
use mavlink::dialects::common::*;
use proptest::prelude::*;

use super::super::frames::{Deframer, Found};
use super::*;

const US: Node = Node {
    system: 255,
    component: 191,
};
const VEHICLE: Node = Node {
    system: 1,
    component: 1,
};

fn codec() -> Codec {
    Codec::new(US, VEHICLE)
}

/// A frame with a payload as the crate writes it.
fn from_vehicle(id: u32, payload: &[u8]) -> RawFrame {
    RawFrame::new(VEHICLE, 0, id, MavMessage::extra_crc(id), payload, false)
}

fn read_all(codec: &mut Codec, id: u32, payload: &[u8]) -> Vec<Heard> {
    codec
        .read(&from_vehicle(id, payload))
        .map(|frame| {
            assert_eq!(frame.from, VEHICLE);
            frame.heard
        })
        .collect()
}

/// What is read of a message of the crate.
fn read(message: &MavMessage) -> Option<Heard> {
    let mut bytes = [0; 255];
    let length = message.ser(V2, &mut bytes);
    read_all(&mut codec(), message.message_id(), &bytes[..length]).pop()
}

/// What the crate reads of what we say.
fn said(said: Said) -> MavMessage {
    let raw = codec().write(&said, 7, false).unwrap();
    assert_eq!((raw.from(), raw.sequence()), (US, 7));
    let mut deframer = Deframer::default();
    deframer.push(raw.bytes());
    assert_eq!(deframer.find(), Some(Found::Frame(raw)), "its checksum is right");
    MavMessage::parse(V2, raw.id(), raw.payload()).unwrap()
}

const ITEM: Item = Item {
    list: ListKind::Fence,
    seq: 258,
    frame: 3,
    command: 16,
    current: true,
    autocontinue: true,
    params: [1.0, 2.0, 3.0, 4.0],
    x: -350_000_000,
    y: 1_490_000_000,
    z: 25.5,
};

#[test]
fn what_is_said_is_read_by_the_crate_as_it_was_meant() {
    assert_eq!(
        said(Said::Heartbeat),
        MavMessage::HEARTBEAT(HEARTBEAT_DATA {
            custom_mode: 0,
            mavtype: MavType::MAV_TYPE_GCS,
            autopilot: MavAutopilot::MAV_AUTOPILOT_INVALID,
            base_mode: MavModeFlag::empty(),
            system_status: MavState::MAV_STATE_ACTIVE,
            mavlink_version: 3,
        })
    );
    assert_eq!(
        said(Said::CommandLong {
            command: number::CMD_COMPONENT_ARM_DISARM,
            confirmation: 2,
            params: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        }),
        MavMessage::COMMAND_LONG(COMMAND_LONG_DATA {
            param1: 1.0,
            param2: 2.0,
            param3: 3.0,
            param4: 4.0,
            param5: 5.0,
            param6: 6.0,
            param7: 7.0,
            command: MavCmd::MAV_CMD_COMPONENT_ARM_DISARM,
            target_system: 1,
            target_component: 1,
            confirmation: 2,
        })
    );
    assert_eq!(
        said(Said::MissionCount {
            list: ListKind::Fence,
            count: 300
        }),
        MavMessage::MISSION_COUNT(MISSION_COUNT_DATA {
            count: 300,
            target_system: 1,
            target_component: 1,
            mission_type: MavMissionType::MAV_MISSION_TYPE_FENCE,
            opaque_id: 0,
        })
    );
    assert_eq!(
        said(Said::MissionItem(ITEM)),
        MavMessage::MISSION_ITEM_INT(MISSION_ITEM_INT_DATA {
            param1: 1.0,
            param2: 2.0,
            param3: 3.0,
            param4: 4.0,
            x: -350_000_000,
            y: 1_490_000_000,
            z: 25.5,
            seq: 258,
            command: MavCmd::MAV_CMD_NAV_WAYPOINT,
            target_system: 1,
            target_component: 1,
            frame: MavFrame::MAV_FRAME_GLOBAL_RELATIVE_ALT,
            current: 1,
            autocontinue: 1,
            mission_type: MavMissionType::MAV_MISSION_TYPE_FENCE,
        })
    );
    assert_eq!(
        said(Said::MissionRequestList {
            list: ListKind::Fence
        }),
        MavMessage::MISSION_REQUEST_LIST(MISSION_REQUEST_LIST_DATA {
            target_system: 1,
            target_component: 1,
            mission_type: MavMissionType::MAV_MISSION_TYPE_FENCE,
        })
    );
    assert_eq!(
        said(Said::MissionRequestInt {
            list: ListKind::Mission,
            seq: 259
        }),
        MavMessage::MISSION_REQUEST_INT(MISSION_REQUEST_INT_DATA {
            seq: 259,
            target_system: 1,
            target_component: 1,
            mission_type: MavMissionType::MAV_MISSION_TYPE_MISSION,
        })
    );
    assert_eq!(
        said(Said::MissionAck {
            list: ListKind::Fence,
            result: number::MISSION_INVALID_SEQUENCE
        }),
        MavMessage::MISSION_ACK(MISSION_ACK_DATA {
            target_system: 1,
            target_component: 1,
            mavtype: MavMissionResult::MAV_MISSION_INVALID_SEQUENCE,
            mission_type: MavMissionType::MAV_MISSION_TYPE_FENCE,
            opaque_id: 0,
        })
    );
    assert_eq!(
        said(Said::MissionClearAll {
            list: ListKind::Fence
        }),
        MavMessage::MISSION_CLEAR_ALL(MISSION_CLEAR_ALL_DATA {
            target_system: 1,
            target_component: 1,
            mission_type: MavMissionType::MAV_MISSION_TYPE_FENCE,
        })
    );
    assert_eq!(
        said(Said::ParamRequestRead {
            name: "FS_GCS_ENABLE".into()
        }),
        MavMessage::PARAM_REQUEST_READ(PARAM_REQUEST_READ_DATA {
            param_index: -1,
            target_system: 1,
            target_component: 1,
            param_id: "FS_GCS_ENABLE".into(),
        })
    );
    assert_eq!(
        said(Said::ParamSet {
            name: "SIXTEEN_LETTERS_".into(),
            value: ParamValue { raw: 1.5, kind: 9 },
        }),
        MavMessage::PARAM_SET(PARAM_SET_DATA {
            param_value: 1.5,
            target_system: 1,
            target_component: 1,
            param_id: "SIXTEEN_LETTERS_".into(),
            param_type: MavParamType::MAV_PARAM_TYPE_REAL32,
        })
    );
}

#[test]
fn names_that_are_none_are_not_said() {
    for name in ["", "SEVENTEEN_LETTERS", "TWO WORDS", "É", "A\0B"] {
        let said = Said::ParamRequestRead { name: name.into() };
        let error = codec().write(&said, 0, false).unwrap_err().to_string();
        assert!(error.contains("1 to 16 printable"), "{error}");
    }
}

#[test]
fn the_bytes_of_an_integer_pass_through_a_parameter_unchanged() {
    // PX4 sends the bytes of −1, which as a float are no number.
    let raw = f32::from_bits(u32::MAX);
    let said = Said::ParamSet {
        name: "NAV_DLL_ACT".into(),
        value: ParamValue { raw, kind: 6 },
    };
    let frame = codec().write(&said, 0, false).unwrap();
    assert_eq!(frame.payload()[..4], [255; 4]);
    let mut payload = [255; 25];
    payload[8..].copy_from_slice(b"NAV_DLL_ACT\0\0\0\0\0\x06");
    let Some(Heard::ParamValue { name, value }) = read_all(&mut codec(), 22, &payload).pop() else {
        panic!("not heard");
    };
    assert_eq!(
        (name.as_str(), value.raw.to_bits(), value.kind),
        ("NAV_DLL_ACT", u32::MAX, 6)
    );
}

#[test]
fn what_the_crate_says_is_heard_in_our_units() {
    let heard = |message| read(&message).expect("heard");
    assert_eq!(
        heard(MavMessage::HEARTBEAT(HEARTBEAT_DATA {
            custom_mode: 0x0403_0201,
            mavtype: MavType::MAV_TYPE_QUADROTOR,
            autopilot: MavAutopilot::MAV_AUTOPILOT_PX4,
            base_mode: MavModeFlag::MAV_MODE_FLAG_SAFETY_ARMED,
            system_status: MavState::MAV_STATE_STANDBY,
            mavlink_version: 3,
        })),
        Heard::Heartbeat {
            custom_mode: 0x0403_0201,
            vehicle: 2,
            autopilot: number::AUTOPILOT_PX4,
            base_mode: number::MODE_FLAG_ARMED,
            system_status: 3,
        }
    );
    let power = |voltage_battery, battery_remaining| {
        heard(MavMessage::SYS_STATUS(SYS_STATUS_DATA {
            onboard_control_sensors_present: MavSysStatusSensor::from_bits_retain(1),
            onboard_control_sensors_enabled: MavSysStatusSensor::from_bits_retain(2),
            onboard_control_sensors_health: MavSysStatusSensor::MAV_SYS_STATUS_PREARM_CHECK,
            load: 0x1111,
            current_battery: -1,
            voltage_battery,
            battery_remaining,
            ..SYS_STATUS_DATA::default()
        }))
    };
    let status = |voltage, battery_remaining| Heard::SysStatus {
        present: 1,
        enabled: 2,
        health: number::SENSOR_PREARM_CHECK,
        voltage,
        battery_remaining,
    };
    assert_eq!(power(12_600, 87), status(Some(12.6), Some(87)));
    assert_eq!(power(u16::MAX, -1), status(None, None));
    assert_eq!(power(0, 101), status(Some(0.0), None), "no more than all of it");

    let gps = |satellites_visible| {
        heard(MavMessage::GPS_RAW_INT(GPS_RAW_INT_DATA {
            fix_type: GpsFixType::GPS_FIX_TYPE_3D_FIX,
            satellites_visible,
            ..GPS_RAW_INT_DATA::default()
        }))
    };
    let fix = |satellites| Heard::GpsRaw { fix: 3, satellites };
    assert_eq!((gps(12), gps(255)), (fix(Some(12)), fix(None)));

    assert_eq!(
        heard(MavMessage::GLOBAL_POSITION_INT(GLOBAL_POSITION_INT_DATA {
            time_boot_ms: 1,
            lat: -353_632_621,
            lon: 1_491_652_374,
            alt: 584_070,
            relative_alt: -120,
            vx: 150,
            vy: -250,
            vz: 1,
            hdg: 2,
        })),
        Heard::GlobalPosition {
            at: Position {
                latitude: -35.363_262_1,
                longitude: 149.165_237_4
            },
            altitude_msl: 584.07,
            altitude: -0.12,
            north: 1.5,
            east: -2.5,
            down: 0.01,
        }
    );
    assert_eq!(
        heard(MavMessage::EXTENDED_SYS_STATE(EXTENDED_SYS_STATE_DATA {
            vtol_state: MavVtolState::MAV_VTOL_STATE_MC,
            landed_state: MavLandedState::MAV_LANDED_STATE_LANDING,
        })),
        Heard::ExtendedSysState {
            landed: number::LANDED_LANDING
        }
    );
    assert_eq!(
        heard(MavMessage::MISSION_CURRENT(MISSION_CURRENT_DATA {
            seq: 513,
            total: 9,
            mission_state: MissionState::MISSION_STATE_ACTIVE,
            ..MISSION_CURRENT_DATA::default()
        })),
        Heard::MissionCurrent { seq: 513, state: 3 }
    );
    assert_eq!(
        heard(MavMessage::MISSION_ITEM_REACHED(MISSION_ITEM_REACHED_DATA {
            seq: 3
        })),
        Heard::MissionItemReached { seq: 3 }
    );
    assert_eq!(
        heard(MavMessage::HOME_POSITION(HOME_POSITION_DATA {
            latitude: 473_977_418,
            longitude: -85_455_938,
            altitude: 488_000,
            x: 9.0,
            ..HOME_POSITION_DATA::default()
        })),
        Heard::HomePosition {
            at: Position {
                latitude: 47.397_741_8,
                longitude: -8.545_593_8
            },
            altitude_msl: 488.0,
        }
    );
    assert_eq!(
        heard(MavMessage::AUTOPILOT_VERSION(AUTOPILOT_VERSION_DATA {
            capabilities: MavProtocolCapability::MAV_PROTOCOL_CAPABILITY_MISSION_FENCE,
            uid: u64::MAX,
            flight_sw_version: 0x0407_00ff,
            ..AUTOPILOT_VERSION_DATA::default()
        })),
        Heard::AutopilotVersion {
            capabilities: 16384,
            firmware: 0x0407_00ff
        }
    );
    assert_eq!(
        heard(MavMessage::FENCE_STATUS(FENCE_STATUS_DATA {
            breach_time: 7,
            breach_count: 1,
            breach_status: 1,
            breach_type: FenceBreach::FENCE_BREACH_BOUNDARY,
            breach_mitigation: FenceMitigate::FENCE_MITIGATE_NONE,
        })),
        Heard::FenceStatus {
            breached: true,
            kind: 3
        }
    );
    assert_eq!(
        heard(MavMessage::PARAM_VALUE(PARAM_VALUE_DATA {
            param_value: 2.0,
            param_count: 1,
            param_index: 1,
            param_id: "FENCE_ENABLE".into(),
            param_type: MavParamType::MAV_PARAM_TYPE_INT8,
        })),
        Heard::ParamValue {
            name: "FENCE_ENABLE".into(),
            value: ParamValue { raw: 2.0, kind: 2 },
        }
    );
    assert_eq!(
        heard(MavMessage::STATUSTEXT(STATUSTEXT_DATA {
            severity: MavSeverity::MAV_SEVERITY_CRITICAL,
            text: "PreArm: Compass not healthy".into(),
            id: 0,
            chunk_seq: 0,
        })),
        Heard::StatusText {
            severity: 2,
            text: "PreArm: Compass not healthy".into()
        }
    );
}

#[test]
fn answers_about_commands_say_for_whom_and_how_far() {
    let ack = |result, progress| {
        read(&MavMessage::COMMAND_ACK(COMMAND_ACK_DATA {
            command: MavCmd::MAV_CMD_RUN_PREARM_CHECKS,
            result,
            progress,
            result_param2: -1,
            target_system: 255,
            target_component: 191,
        }))
    };
    let heard = |result, progress| {
        Some(Heard::CommandAck {
            command: number::CMD_RUN_PREARM_CHECKS,
            result,
            progress,
            target: US,
        })
    };
    assert_eq!(
        ack(MavResult::MAV_RESULT_IN_PROGRESS, 40),
        heard(number::RESULT_IN_PROGRESS, Some(40))
    );
    assert_eq!(
        ack(MavResult::MAV_RESULT_IN_PROGRESS, 255),
        heard(number::RESULT_IN_PROGRESS, None)
    );
    assert_eq!(
        ack(MavResult::MAV_RESULT_DENIED, 40),
        heard(number::RESULT_DENIED, None)
    );
    // Version 1, and autopilots that leave the extension away.
    let short = read_all(&mut codec(), 77, &[144, 1, 0]).pop();
    let everybody = Node {
        system: 0,
        component: 0,
    };
    assert_eq!(
        short,
        Some(Heard::CommandAck {
            command: 400,
            result: 0,
            progress: None,
            target: everybody
        })
    );
}

#[test]
fn missions_are_heard_in_both_forms_and_only_if_they_are_for_us() {
    let request = |system, component, list| {
        let mut heard = [Some(Heard::MissionCurrent { seq: 0, state: 0 }), None];
        for (at, id) in [40, 51].into_iter().enumerate() {
            heard[at] = read_all(&mut codec(), id, &[5, 1, system, component, list]).pop();
        }
        assert_eq!(heard[0], heard[1]);
        heard[0].clone()
    };
    let wanted = |list| Some(Heard::MissionRequest { list, seq: 261 });
    assert_eq!(request(255, 191, 0), wanted(ListKind::Mission));
    assert_eq!(request(255, 0, 1), wanted(ListKind::Fence));
    assert_eq!(request(0, 0, 1), wanted(ListKind::Fence));
    assert_eq!(request(254, 191, 0), None, "another ground station's");
    assert_eq!(request(255, 190, 0), None);
    assert_eq!(request(255, 191, 2), None, "rally points are not ours");

    let count = [3, 0, 255, 191, 1, 0xaa, 0xbb, 0xcc, 0xdd];
    assert_eq!(
        read_all(&mut codec(), 44, &count).pop(),
        Some(Heard::MissionCount {
            list: ListKind::Fence,
            count: 3
        })
    );
    let ack = [255, 191, 13, 1, 0xaa, 0xbb, 0xcc, 0xdd];
    assert_eq!(
        read_all(&mut codec(), 47, &ack).pop(),
        Some(Heard::MissionAck {
            list: ListKind::Fence,
            result: number::MISSION_INVALID_SEQUENCE
        })
    );
    let theirs = Codec::new(VEHICLE, US);
    let item = theirs.write(&Said::MissionItem(ITEM), 0, false).unwrap();
    let heard: Vec<Heard> = codec().read(&item).map(|frame| frame.heard).collect();
    assert_eq!(heard, [Heard::MissionItem(ITEM)]);
}

#[test]
fn numbers_that_the_crate_has_no_name_for_are_heard() {
    // A vehicle, an autopilot and a state of the future.
    let payload = [1, 0, 0, 0, 250, 251, 0, 99, 3];
    assert!(MavMessage::parse(V2, 0, &payload).is_err());
    assert_eq!(
        read_all(&mut codec(), 0, &payload).pop(),
        Some(Heard::Heartbeat {
            custom_mode: 1,
            vehicle: 250,
            autopilot: 251,
            base_mode: 0,
            system_status: 99
        })
    );
}

#[test]
fn positions_on_no_globe_and_those_of_the_ignorant_are_not_heard() {
    let position = |lat, lon| {
        read(&MavMessage::GLOBAL_POSITION_INT(GLOBAL_POSITION_INT_DATA {
            lat,
            lon,
            alt: 1,
            ..GLOBAL_POSITION_INT_DATA::default()
        }))
    };
    let home = |latitude, longitude| {
        read(&MavMessage::HOME_POSITION(HOME_POSITION_DATA {
            latitude,
            longitude,
            altitude: 1,
            ..HOME_POSITION_DATA::default()
        }))
    };
    for (lat, lon, heard) in [
        (0, 0, false),
        (0, 1, true),
        (900_000_000, 1_800_000_000, true),
        (-900_000_000, -1_800_000_000, true),
        (900_000_001, 0, false),
        (0, -1_800_000_001, false),
        (i32::MIN, i32::MAX, false),
    ] {
        assert_eq!(position(lat, lon).is_some(), heard, "{lat} {lon}");
        assert_eq!(home(lat, lon).is_some(), heard, "{lat} {lon}");
    }
}

#[test]
fn parameters_without_a_printable_name_are_not_heard() {
    for name in [&b"\0"[..], b"A B", b"\xff", b"\x1b[31m"] {
        let mut payload = [0; 25];
        payload[8..8 + name.len()].copy_from_slice(name);
        payload[24] = 9;
        assert_eq!(read_all(&mut codec(), 22, &payload), [], "{name:?}");
    }
}

#[test]
fn long_texts_come_out_whole_or_as_far_as_they_came() {
    let mut codec = codec();
    let mut part = |id: u8, place, text: &str| {
        let mut payload = [0; 54];
        payload[0] = 3;
        payload[1..=text.len()].copy_from_slice(text.as_bytes());
        (payload[51], payload[53]) = (id, place);
        read_all(&mut codec, 253, &payload)
    };
    let text = |text: &str| Heard::StatusText {
        severity: 3,
        text: text.to_owned(),
    };
    let fifty = "0123456789".repeat(5);
    assert_eq!(part(1, 0, &fifty), []);
    assert_eq!(part(1, 1, "end"), [text(&format!("{fifty}end"))]);
    assert_eq!(part(2, 0, &fifty), []);
    assert_eq!(part(3, 0, "new"), [text(&fifty), text("new")]);
    assert_eq!(part(4, 0, &fifty), []);
    assert_eq!(codec.give_up_text(), None);
    let frame = codec.give_up_text().unwrap();
    assert_eq!((frame.from, frame.heard), (VEHICLE, text(&fifty)));
}

proptest! {
    #[test]
    fn anything_may_be_heard(id in 0_u32..600, payload in proptest::collection::vec(any::<u8>(), 0..=255)) {
        for heard in read_all(&mut codec(), id, &payload) {
            match heard {
                Heard::GlobalPosition { at, .. } | Heard::HomePosition { at, .. } => {
                    prop_assert!(at.latitude.abs() <= 90.0 && at.longitude.abs() <= 180.0);
                }
                Heard::StatusText { text, .. } => prop_assert!(!text.contains(char::is_control)),
                Heard::ParamValue { name, .. } => prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic())),
                _ => {}
            }
        }
    }

    #[test]
    fn an_item_comes_back_as_it_was_said(bits in any::<[u32; 5]>(), x in any::<i32>(), y in any::<i32>(), seq in any::<u16>(), command in any::<u16>(), frame in any::<u8>(), flags in any::<(bool, bool, bool)>()) {
        let [one, two, three, four, z] = bits.map(f32::from_bits);
        let list = if flags.0 { ListKind::Fence } else { ListKind::Mission };
        let item = Item { list, seq, frame, command, current: flags.1, autocontinue: flags.2, params: [one, two, three, four], x, y, z };
        let raw = Codec::new(VEHICLE, US).write(&Said::MissionItem(item), 0, false).unwrap();
        let heard: Vec<Frame> = codec().read(&raw).collect();
        let [Frame { heard: Heard::MissionItem(back), .. }] = &heard[..] else { panic!("{heard:?}") };
        // As bits: no number equals itself.
        prop_assert_eq!(back.params.map(f32::to_bits), item.params.map(f32::to_bits));
        prop_assert_eq!(back.z.to_bits(), item.z.to_bits());
        prop_assert_eq!(Item { params: [0.0; 4], z: 0.0, ..*back }, Item { params: [0.0; 4], z: 0.0, ..item });
    }
}

#[test]
fn version_1_says_the_same_where_it_can() {
    let message = MavMessage::SYS_STATUS(SYS_STATUS_DATA {
        voltage_battery: 12_000,
        battery_remaining: 50,
        ..SYS_STATUS_DATA::default()
    });
    let mut bytes = [0; 255];
    let length = message.ser(V1, &mut bytes);
    assert_eq!(read_all(&mut codec(), 1, &bytes[..length]).pop(), read(&message));
}
