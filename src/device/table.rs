//! A device's whole table in the configuration: the keys that every kind has, and those of its kind.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Map, Value};

use super::DeviceSettings;
use super::duration::Span;
use super::lenient::from_value;

/// The table `[devices.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTable {
    /// What may be asked of it, and when.
    pub care: Care,
    /// What it is and how it is wired.
    pub settings: DeviceSettings,
}

/// How careful the fence is with a device (docs/fence.md, 2 to 4).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Care {
    /// `hazardous`: somebody may be hurt. Confirmed with the server, with a lease, never requeued; see docs/fence.md, 3.
    /// Where a table does not say, its kind does: [`DeviceSettings::is_hazardous_kind`].
    pub hazardous: bool,
    /// `require_target`: a hazardous device takes only work whose `runtimeids` name exactly this runtime (default true).
    pub require_target: bool,
    /// `insecure`: a hazardous device may be driven by a server that is not authenticated by TLS.
    pub insecure: bool,
    /// `queue_wait`: how long work may wait here for the device while it is busy (default: not at all).
    #[serde(deserialize_with = "super::duration::deserialize")]
    pub queue_wait: Duration,
    /// `max_age`: work that waited longer before it was assigned is refused; 0: never. Without it `agent.max_age`.
    #[serde(deserialize_with = "some_span")]
    pub max_age: Option<Duration>,
}

impl Default for Care {
    fn default() -> Self {
        Care {
            hazardous: false,
            require_target: true,
            insecure: false,
            queue_wait: Duration::ZERO,
            max_age: None,
        }
    }
}

/// The keys of [`Care`].
const CARE: [&str; 5] = ["hazardous", "require_target", "insecure", "queue_wait", "max_age"];

fn some_span<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    Ok(Some(Span::deserialize(from)?.0))
}

impl<'de> Deserialize<'de> for DeviceTable {
    /// Serde's `flatten` would let unknown keys through, so the keys are parted by hand.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut own = Map::<String, Value>::deserialize(from)?;
        let mut care = Map::new();
        for key in CARE {
            if let Some(value) = own.remove(key) {
                // Each by itself, so that an error can name it.
                let alone = Value::Object(Map::from_iter([(key.to_owned(), value.clone())]));
                if let Err(error) = from_value::<Care>(alone) {
                    return Err(D::Error::custom(format!("{key}: {error}")));
                }
                care.insert(key.to_owned(), value);
            }
        }
        let given: Vec<String> = own.keys().cloned().collect();
        let settings = DeviceSettings::read(own)
            .map_err(|error| D::Error::custom(with_care(&error.to_string(), &given)))?;
        Ok(DeviceTable {
            care: care_for(care, settings.is_hazardous_kind()).map_err(D::Error::custom)?,
            settings,
        })
    }
}

/// The keys of [`Care`] of a kind that may be hazardous by itself.
fn care_for(mut given: Map<String, Value>, hazardous_kind: bool) -> Result<Care, serde_json::Error> {
    given.entry("hazardous").or_insert(Value::Bool(hazardous_kind));
    from_value(Value::Object(given))
}

/// An error about an unknown key of the table (not of one within it), with all that are known: the kind knows only its own.
fn with_care(error: &str, given: &[String]) -> String {
    let mut names = error.split('`').skip(1).step_by(2);
    match names.next().filter(|_| error.starts_with("unknown field `")) {
        Some(unknown) if given.iter().any(|key| key == unknown) => {
            let known: Vec<String> = names.chain(CARE).map(|name| format!("`{name}`")).collect();
            format!("unknown field `{unknown}`, expected one of {}", known.join(", "))
        }
        _ => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<DeviceTable, String> {
        let source = config::File::from_str(toml, config::FileFormat::Toml);
        let file = config::Config::builder().add_source(source).build().unwrap();
        file.try_deserialize().map_err(|error| error.to_string())
    }

    #[test]
    fn what_every_kind_has_stands_beside_what_its_kind_has() {
        let plain = read("kind = \"lamp\"\nline = \"GPIO17\"").unwrap();
        assert_eq!(plain.care, Care::default());
        let table = read(
            "kind = \"lamp\"\nline = \"GPIO17\"\nhazardous = true\nrequire_target = false\ninsecure = true\n\
             queue_wait = \"2s\"\nmax_age = 30",
        )
        .unwrap();
        assert_eq!(table.settings, plain.settings);
        let care = Care {
            hazardous: true,
            require_target: false,
            insecure: true,
            queue_wait: Duration::from_secs(2),
            max_age: Some(Duration::from_secs(30)),
        };
        assert_eq!(table.care, care);
        // As the environment gives them: everything is text.
        let text = read("kind = \"lamp\"\nline = \"GPIO17\"\nmax_age = \"0\"").unwrap();
        assert_eq!(text.care.max_age, Some(Duration::ZERO));
    }

    #[test]
    fn the_kind_says_whether_it_is_hazardous_where_the_table_does_not() {
        let care = |json: Value, hazardous_kind| {
            let Value::Object(given) = json else {
                panic!("{json}")
            };
            care_for(given, hazardous_kind).unwrap()
        };
        for hazardous_kind in [true, false] {
            let silent = care(serde_json::json!({ "insecure": true }), hazardous_kind);
            assert_eq!(
                silent,
                Care {
                    hazardous: hazardous_kind,
                    insecure: true,
                    ..Care::default()
                }
            );
            for said in [true, false] {
                let care = care(serde_json::json!({ "hazardous": said }), hazardous_kind);
                assert_eq!(care.hazardous, said);
            }
        }
        let lamp = read("kind = \"lamp\"\nline = \"GPIO17\"").unwrap();
        assert_eq!(lamp.care.hazardous, lamp.settings.is_hazardous_kind());
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_by_name() {
        let error = read("kind = \"lamp\"\nline = \"GPIO17\"\nhazardus = true").unwrap_err();
        assert!(
            error.contains("unknown field `hazardus`")
                && error.contains("`line`")
                && error.contains("`hazardous`"),
            "{error}"
        );
        let error = read("kind = \"echo\"\nhazardus = true").unwrap_err();
        assert!(error.contains("expected one of `hazardous`"), "{error}");
        let error = read("kind = \"lamp\"\nline = \"GPIO17\"\nqueue_wait = \"soon\"").unwrap_err();
        assert!(
            error.contains("queue_wait: \"soon\" is not a duration"),
            "{error}"
        );
        let error = read("kind = \"lamp\"\nline = \"GPIO17\"\nhazardous = \"perhaps\"").unwrap_err();
        assert!(
            error.contains("hazardous: ") && error.contains("perhaps"),
            "{error}"
        );
        let error = read("line = \"GPIO17\"").unwrap_err();
        assert!(error.contains("kind"), "{error}");
    }

    #[test]
    fn keys_of_tables_within_are_told_by_their_own() {
        let error =
            read("kind = \"command\"\n[functions.f]\nprogram = \"/bin/true\"\nhazardus = true").unwrap_err();
        assert!(
            error.contains("`program`") && !error.contains("`hazardous`"),
            "{error}"
        );
    }

    #[test]
    fn every_key_of_care_is_known() {
        let care = from_value::<Care>(serde_json::json!({ "no_such_key": 1 })).unwrap_err();
        for key in CARE {
            assert!(care.to_string().contains(&format!("`{key}`")), "{key}: {care}");
        }
        assert_eq!(care.to_string().matches('`').count(), 2 * (CARE.len() + 1));
    }
}
