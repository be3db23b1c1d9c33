//! The vehicle's parameters, and how each family puts them on the wire.

use mavlink::dialects::common::MavParamType;

use super::config::{Config, Family};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int8,
    Int16,
    Int32,
    Real,
}

#[derive(Debug, Clone)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) value: f64,
}

impl Param {
    pub(super) fn wire_type(&self) -> MavParamType {
        match self.kind {
            Kind::Int8 => MavParamType::MAV_PARAM_TYPE_INT8,
            Kind::Int16 => MavParamType::MAV_PARAM_TYPE_INT16,
            Kind::Int32 => MavParamType::MAV_PARAM_TYPE_INT32,
            Kind::Real => MavParamType::MAV_PARAM_TYPE_REAL32,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Params {
    family: Family,
    all: Vec<Param>,
}

impl Params {
    /// As they come out of the box, or with the failsafes switched on.
    pub(super) fn new(config: &Config) -> Self {
        let on = |value: f64| if config.failsafes { value } else { 0.0 };
        let all = match config.family {
            Family::ArduPilot => ardupilot(config, on),
            Family::Px4 => px4(config, on),
        };
        Params {
            family: config.family,
            all: all
                .into_iter()
                .map(|(name, kind, value)| Param { name, kind, value })
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn at(&self, index: usize) -> Option<&Param> {
        self.all.get(index)
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|param| param.name == name)
    }

    /// 0 where the vehicle has no such parameter.
    pub(super) fn get(&self, name: &str) -> f64 {
        self.index(name).map_or(0.0, |index| self.all[index].value)
    }

    /// The four bytes of PARAM_VALUE: ArduPilot writes every number as a float, PX4 an integer's own bytes.
    pub(super) fn encode(&self, param: &Param) -> f32 {
        match (self.family, param.kind) {
            (Family::ArduPilot, _) | (Family::Px4, Kind::Real) => param.value as f32,
            (Family::Px4, _) => f32::from_bits((param.value as i32).cast_unsigned()),
        }
    }

    /// PARAM_SET. False if it is ignored: no such parameter, a value out of range, or (PX4) another type than it has.
    pub(super) fn set(&mut self, name: &str, wire: f32, wire_type: MavParamType) -> bool {
        let Some(index) = self.index(name) else {
            return false;
        };
        let param = &mut self.all[index];
        let value = match self.family {
            Family::Px4 if wire_type != param.wire_type() => return false,
            Family::Px4 if param.kind != Kind::Real => f64::from(wire.to_bits().cast_signed()),
            _ => f64::from(wire),
        };
        if !value.is_finite() {
            return false;
        }
        param.value = match param.kind {
            Kind::Real => value,
            Kind::Int8 => value.round().clamp(-128.0, 127.0),
            Kind::Int16 => value.round().clamp(-32768.0, 32767.0),
            Kind::Int32 => value.round(),
        };
        true
    }
}

type Row = (&'static str, Kind, f64);

fn ardupilot(config: &Config, on: impl Fn(f64) -> f64) -> Vec<Row> {
    let limits = &config.limits;
    let renamed = (config.firmware.0, config.firmware.1) >= (4, 7);
    let mut rows = vec![
        ("FS_GCS_ENABLE", Kind::Int8, on(1.0)),
        ("FS_GCS_TIMEOUT", Kind::Real, 4.0),
        ("FS_EKF_ACTION", Kind::Int8, 1.0),
        ("FS_OPTIONS", Kind::Int32, 0.0),
        ("BATT_MONITOR", Kind::Int8, 4.0),
        ("BATT_CAPACITY", Kind::Int32, config.capacity),
        ("BATT_LOW_VOLT", Kind::Real, 10.2),
        ("BATT_LOW_MAH", Kind::Real, on((config.capacity * 0.2).round())),
        ("BATT_CRT_VOLT", Kind::Real, 0.0),
        ("BATT_CRT_MAH", Kind::Real, on((config.capacity * 0.1).round())),
        ("BATT_FS_LOW_ACT", Kind::Int8, on(2.0)),
        ("BATT_FS_CRT_ACT", Kind::Int8, on(1.0)),
        ("FENCE_ENABLE", Kind::Int8, on(1.0)),
        ("FENCE_TYPE", Kind::Int8, if config.failsafes { 4.0 } else { 7.0 }),
        ("FENCE_ACTION", Kind::Int8, 1.0),
        ("FENCE_ALT_MAX", Kind::Real, 100.0),
        ("FENCE_RADIUS", Kind::Real, 300.0),
        ("FENCE_MARGIN", Kind::Real, 2.0),
        ("DISARM_DELAY", Kind::Int8, 10.0),
        ("ARMING_CHECK", Kind::Int32, 1.0),
        ("MIS_RESTART", Kind::Int8, 0.0),
    ];
    // 4.7 named the unit, too.
    if renamed {
        rows.extend([
            ("MAV_GCS_SYSID", Kind::Int16, 255.0),
            ("MAV_SYSID", Kind::Int16, f64::from(config.system)),
            ("RTL_ALT_M", Kind::Real, 15.0),
            ("RTL_LOIT_TIME", Kind::Int32, 5000.0),
            ("WP_SPD", Kind::Real, limits.cruise),
            ("WP_SPD_UP", Kind::Real, limits.climb),
            ("WP_SPD_DN", Kind::Real, limits.descent),
            ("LAND_SPD_MS", Kind::Real, limits.landing),
        ]);
    } else {
        rows.extend([
            ("SYSID_MYGCS", Kind::Int16, 255.0),
            ("SYSID_THISMAV", Kind::Int16, f64::from(config.system)),
            ("RTL_ALT", Kind::Int32, 1500.0),
            ("RTL_LOIT_TIME", Kind::Int32, 5000.0),
            ("WPNAV_SPEED", Kind::Real, limits.cruise * 100.0),
            ("WPNAV_SPEED_UP", Kind::Real, limits.climb * 100.0),
            ("WPNAV_SPEED_DN", Kind::Real, limits.descent * 100.0),
            ("LAND_SPEED", Kind::Int16, limits.landing * 100.0),
        ]);
    }
    rows
}

fn px4(config: &Config, on: impl Fn(f64) -> f64) -> Vec<Row> {
    let limits = &config.limits;
    vec![
        ("NAV_DLL_ACT", Kind::Int32, on(2.0)),
        ("COM_DL_LOSS_T", Kind::Int32, 10.0),
        ("COM_LOW_BAT_ACT", Kind::Int32, on(3.0)),
        ("BAT_LOW_THR", Kind::Real, 0.2),
        ("BAT_CRIT_THR", Kind::Real, 0.15),
        ("BAT_EMERGEN_THR", Kind::Real, 0.07),
        ("GF_ACTION", Kind::Int32, on(3.0)),
        ("GF_MAX_HOR_DIST", Kind::Real, 0.0),
        ("GF_MAX_VER_DIST", Kind::Real, 0.0),
        ("NAV_RCL_ACT", Kind::Int32, 2.0),
        ("COM_DISARM_PRFLT", Kind::Real, 10.0),
        ("COM_DISARM_LAND", Kind::Real, 2.0),
        (
            "RTL_RETURN_ALT",
            Kind::Real,
            if config.failsafes { 15.0 } else { 60.0 },
        ),
        ("RTL_DESCEND_ALT", Kind::Real, 30.0),
        ("MIS_TAKEOFF_ALT", Kind::Real, 2.5),
        ("MAV_SYS_ID", Kind::Int32, f64::from(config.system)),
        ("MPC_XY_CRUISE", Kind::Real, limits.cruise),
        ("MPC_Z_VEL_MAX_UP", Kind::Real, limits.climb),
        ("MPC_Z_VEL_MAX_DN", Kind::Real, limits.descent),
        ("MPC_LAND_SPEED", Kind::Real, limits.landing),
        ("SYS_AUTOSTART", Kind::Int32, 4001.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_the_box_the_failsafes_are_off() {
        let params = Params::new(&Config::new(Family::ArduPilot));
        for name in ["FS_GCS_ENABLE", "FENCE_ENABLE", "BATT_FS_LOW_ACT"] {
            assert!(params.index(name).is_some());
            assert_eq!(params.get(name), 0.0, "{name}");
        }
        assert_eq!(params.get("MAV_GCS_SYSID"), 255.0);
        let mut older = Config::new(Family::ArduPilot);
        older.firmware = (4, 5, 7);
        let older = Params::new(&older);
        assert_eq!(older.get("SYSID_MYGCS"), 255.0);
        assert_eq!(older.index("MAV_GCS_SYSID"), None);
        let px4 = Params::new(&Config::new(Family::Px4));
        assert_eq!(
            px4.get("NAV_DLL_ACT") + px4.get("COM_LOW_BAT_ACT") + px4.get("GF_ACTION"),
            0.0
        );
    }

    #[test]
    fn ardupilot_writes_numbers_and_px4_bytes() {
        let mut params = Params::new(&Config::new(Family::ArduPilot));
        assert!(params.set("FENCE_ENABLE", 1.0, MavParamType::MAV_PARAM_TYPE_REAL32));
        let index = params.index("FENCE_ENABLE").unwrap();
        assert_eq!(params.encode(params.at(index).unwrap()), 1.0);

        let mut params = Params::new(&Config::new(Family::Px4));
        let two = f32::from_bits(2);
        assert!(
            !params.set("NAV_DLL_ACT", 2.0, MavParamType::MAV_PARAM_TYPE_REAL32),
            "another type"
        );
        assert!(params.set("NAV_DLL_ACT", two, MavParamType::MAV_PARAM_TYPE_INT32));
        assert_eq!(params.get("NAV_DLL_ACT"), 2.0);
        let index = params.index("NAV_DLL_ACT").unwrap();
        assert_eq!(params.encode(params.at(index).unwrap()).to_bits(), 2);
        assert!(!params.set("NO_SUCH", 2.0, MavParamType::MAV_PARAM_TYPE_INT32));
    }
}
