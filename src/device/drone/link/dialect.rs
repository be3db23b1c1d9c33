//! What is taken from MAVLink's common messages as the `mavlink` crate has them: numbers, checksum seeds, and the lengths
//! of version 1.

use mavlink::dialects::common::{
    AUTOPILOT_VERSION_DATA, COMMAND_ACK_DATA, EXTENDED_SYS_STATE_DATA, FENCE_STATUS_DATA,
    GLOBAL_POSITION_INT_DATA, GPS_RAW_INT_DATA, HEARTBEAT_DATA, HOME_POSITION_DATA, MISSION_ACK_DATA,
    MISSION_COUNT_DATA, MISSION_CURRENT_DATA, MISSION_ITEM_INT_DATA, MISSION_ITEM_REACHED_DATA,
    MISSION_REQUEST_INT_DATA, MavMessage, PARAM_VALUE_DATA, RADIO_STATUS_DATA, STATUSTEXT_DATA,
    SYS_STATUS_DATA,
};
use mavlink::{Message as _, MessageData as _};

/// RADIO_STATUS: what a telemetry radio says of itself; it has no key, so it never signs.
pub(super) const RADIO_STATUS: u32 = RADIO_STATUS_DATA::ID;

/// MISSION_REQUEST: deprecated since 2020, and what ArduPilot still asks with; answered like MISSION_REQUEST_INT.
pub(super) const MISSION_REQUEST: u32 = 40;

/// What is added to the checksum of a message, so that two sides that differ about its fields don't understand each
/// other; `None`: not one of the common messages, so that its checksum can't be checked.
pub(super) fn checksum_seed(id: u32) -> Option<u8> {
    match MavMessage::extra_crc(id) {
        0 => None,
        seed => Some(seed),
    }
}

/// How long a message that is listened to is in version 1, which knows no extensions and cuts no zeros off.
pub(super) fn v1_length(id: u32) -> Option<usize> {
    Some(match id {
        HEARTBEAT_DATA::ID => 9,
        SYS_STATUS_DATA::ID => 31,
        PARAM_VALUE_DATA::ID => 25,
        GPS_RAW_INT_DATA::ID => 30,
        GLOBAL_POSITION_INT_DATA::ID => 28,
        MISSION_REQUEST | MISSION_REQUEST_INT_DATA::ID | MISSION_COUNT_DATA::ID => 4,
        MISSION_CURRENT_DATA::ID | MISSION_ITEM_REACHED_DATA::ID | EXTENDED_SYS_STATE_DATA::ID => 2,
        MISSION_ACK_DATA::ID | COMMAND_ACK_DATA::ID => 3,
        MISSION_ITEM_INT_DATA::ID => 37,
        RADIO_STATUS => 9,
        AUTOPILOT_VERSION_DATA::ID => 60,
        FENCE_STATUS_DATA::ID => 8,
        HOME_POSITION_DATA::ID => 52,
        STATUSTEXT_DATA::ID => 51,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_messages_have_a_seed_and_others_have_none() {
        assert_eq!(checksum_seed(0), Some(50));
        assert_eq!(checksum_seed(RADIO_STATUS), Some(185));
        // MEMINFO and EKF_STATUS_REPORT are ArduPilot's own.
        for id in [152, 193, 0x00ff_ffff] {
            assert_eq!(checksum_seed(id), None, "{id}");
        }
    }

    /// What the crate writes in version 1 is as long as said here.
    #[test]
    fn the_lengths_of_version_1_are_those_of_the_crate() {
        let mut listened = 0;
        for id in 0..1000 {
            let Some(length) = v1_length(id) else { continue };
            let message = MavMessage::default_message_from_id(id).unwrap();
            let mut bytes = [0; 255];
            assert_eq!(
                message.ser(mavlink::MavlinkVersion::V1, &mut bytes),
                length,
                "{id}"
            );
            listened += 1;
        }
        assert_eq!(listened, 19);
    }
}
