//! What kind of vehicle it is, and the world that it flies in.

use std::time::Duration;

/// Whose behaviour is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// ArduCopter.
    ArduPilot,
    /// PX4 on a multicopter.
    Px4,
}

/// The wind, the same at every height.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Wind {
    /// Metres a second.
    pub speed: f64,
    /// Where it comes from, in degrees from north through east.
    pub from: f64,
    /// How much it varies: the share of its speed that comes and goes.
    pub turbulence: f64,
}

impl Wind {
    /// How it moves what drifts: metres a second north and east.
    pub(super) fn drift(self) -> [f64; 2] {
        let towards = (self.from + 180.0).to_radians();
        [self.speed * towards.cos(), self.speed * towards.sin()]
    }
}

/// What the vehicle can do: metres, metres a second, metres a second squared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Speed over ground on the way.
    pub cruise: f64,
    /// Speed upwards.
    pub climb: f64,
    /// Speed downwards.
    pub descent: f64,
    /// Speed downwards in the last metres.
    pub landing: f64,
    /// How many the last metres are.
    pub landing_below: f64,
    /// How quickly any speed changes.
    pub acceleration: f64,
    /// The fastest that it moves through the air; a stronger wind carries it off.
    pub airspeed: f64,
}

/// What real autopilots were seen to do that their documentation does not lead one to expect. All are on by default;
/// what only one family does has no effect in the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quirks {
    /// How long after power-on nothing is initialised: no arming, no upload (`NO_SPACE`).
    pub boot: Duration,
    /// Between which moments after the boot the position estimate comes; the seed says when.
    pub settle: (Duration, Duration),
    /// ArduPilot: an upload asks by the deprecated MISSION_REQUEST.
    pub deprecated_requests: bool,
    /// ArduPilot: MISSION_START is accepted while disarmed, and nothing flies.
    pub start_disarmed: bool,
    /// ArduPilot: an upload that fails leaves a mixture of old and new items.
    pub mixed_uploads: bool,
    /// ArduPilot: what is read back differs a little: frame 6 is 3, longitude off by 1e-7, altitude by up to 0.09 m.
    pub rounding: bool,
    /// ArduPilot: an item that was sent twice is answered by INVALID_SEQUENCE, and the upload goes on.
    pub sequence_complaints: bool,
    /// How long arming and pre-arm checks take; meanwhile they are answered by IN_PROGRESS. Zero: at once.
    pub slow: Duration,
    /// A reason why the pre-arm checks fail, for ever, such as `Compass not calibrated`.
    pub refuses: Option<&'static str>,
}

impl Default for Quirks {
    fn default() -> Self {
        Quirks {
            boot: Duration::from_secs(4),
            settle: (Duration::from_secs(15), Duration::from_secs(30)),
            deprecated_requests: true,
            start_disarmed: true,
            mixed_uploads: true,
            rounding: true,
            sequence_complaints: true,
            slow: Duration::ZERO,
            refuses: None,
        }
    }
}

/// Message signing, as the vehicle was set up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signing {
    /// The secret key.
    pub key: [u8; 32],
    /// Whether what is not signed is accepted all the same, as it is on ArduPilot's first port (USB).
    pub accept_unsigned: bool,
    /// The vehicle's own time at its first boot: 10 µs since 2015. What a new speaker signs with may lie a minute before it.
    pub timestamp: u64,
}

/// The vehicle and its world.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Whose behaviour is imitated.
    pub family: Family,
    /// MAVLink's system id of the vehicle; its autopilot is component 1.
    pub system: u8,
    /// Where it stands: latitude and longitude in degrees, metres above the sea.
    pub home: (f64, f64, f64),
    /// Whether the failsafes are switched on in its parameters: link, battery and fence, and a return that is not high. Real
    /// defaults leave them off, and PX4 returns at 60 m.
    pub failsafes: bool,
    /// Charge at the beginning, percent.
    pub battery: f64,
    /// What the battery holds, milliampere hours.
    pub capacity: f64,
    /// The wind.
    pub wind: Wind,
    /// What it can do.
    pub limits: Limits,
    /// How real it is.
    pub quirks: Quirks,
    /// Message signing, if it was set up.
    pub signing: Option<Signing>,
    /// The firmware's version. ArduPilot renamed parameters in 4.7 (`SYSID_MYGCS` became `MAV_GCS_SYSID`).
    pub firmware: (u8, u8, u8),
}

impl Config {
    /// A vehicle of a family as it comes out of the box, standing on a meadow near Luleå.
    pub fn new(family: Family) -> Self {
        Config {
            family,
            system: 1,
            home: (65.617, 22.137, 14.0),
            failsafes: false,
            battery: 100.0,
            capacity: 5200.0,
            wind: Wind::default(),
            limits: match family {
                Family::ArduPilot => Limits {
                    cruise: 10.0,
                    climb: 2.5,
                    descent: 1.5,
                    landing: 0.5,
                    landing_below: 10.0,
                    acceleration: 2.5,
                    airspeed: 18.0,
                },
                Family::Px4 => Limits {
                    cruise: 5.0,
                    climb: 3.0,
                    descent: 1.5,
                    landing: 0.7,
                    landing_below: 5.0,
                    acceleration: 3.0,
                    airspeed: 18.0,
                },
            },
            quirks: Quirks::default(),
            signing: None,
            firmware: match family {
                Family::ArduPilot => (4, 7, 0),
                Family::Px4 => (1, 15, 4),
            },
        }
    }

    /// The same, but ready as soon as it is switched on.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.quirks.boot = Duration::ZERO;
        self.quirks.settle = (Duration::ZERO, Duration::ZERO);
        self
    }

    /// The same with all failsafes on.
    #[must_use]
    pub fn with_failsafes(mut self) -> Self {
        self.failsafes = true;
        self
    }
}
