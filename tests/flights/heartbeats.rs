//! The vehicle's heartbeats as they come through to the agent, read from the bytes by nothing of the agent's.

/// MAVLink 2: magic, length, two flags, sequence, system, component, three bytes of message id; then HEARTBEAT's payload and
/// the checksum (<https://mavlink.io/en/guide/serialization.html>).
const MAGIC: u8 = 0xFD;
const HEADER: usize = 10;
const PAYLOAD: usize = 9;
const LENGTH: usize = HEADER + PAYLOAD + 2;
/// CRC_EXTRA of HEARTBEAT.
const EXTRA: u8 = 50;

/// What came so far and may still become one.
#[derive(Debug, Default)]
pub struct Heartbeats(Vec<u8>);

impl Heartbeats {
    /// `custom_mode` of each whole heartbeat that ends in these bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<u32> {
        self.0.extend(bytes);
        let modes = self.0.windows(LENGTH).filter_map(mode).collect();
        // What began before that was looked at from there.
        let seen = (self.0.len() + 1).saturating_sub(LENGTH);
        self.0.drain(..seen);
        modes
    }
}

fn mode(frame: &[u8]) -> Option<u32> {
    let (content, sum) = frame.split_at(HEADER + PAYLOAD);
    let is_one = content[0] == MAGIC
        && usize::from(content[1]) == PAYLOAD
        && content[5..HEADER] == [1, 1, 0, 0, 0]
        && mavlink::calculate_crc(&content[1..], EXTRA).to_le_bytes() == *sum;
    let mode = content[HEADER..HEADER + 4].try_into().ok()?;
    is_one.then(|| u32::from_le_bytes(mode))
}
