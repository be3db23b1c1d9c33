//! The control lane: how a worker's second runtime is named, and what is sent there (docs/fence.md, 4).
//!
//! Assigning is first come, first served, so an abort would stand in the queue behind five dispatches. An Outpost agent
//! therefore may register a second runtime for verbs that answer or stop at once, `NAME.control` of type `TYPE.control`.
//! Whoever submits tells by the verb's name which of the two is meant.

use super::model::Runtime;

/// What the control lane's runtime adds to name and type of the one that works.
const SUFFIX: &str = ".control";

/// The verbs that answer or stop at once, whatever the device. A device calls no other verb so.
pub const VERBS: [&str; 5] = ["abort", "land", "off", "state", "status"];

/// The control lane's name or type beside those of the runtime that works.
pub fn control_of(name_or_type: &str) -> String {
    format!("{name_or_type}{SUFFIX}")
}

/// The other way round: the type of the runtime that works.
pub fn work_type(control_type: &str) -> &str {
    control_type.strip_suffix(SUFFIX).unwrap_or(control_type)
}

/// Whether a function is for the control lane: `lamp.off`, `drone.abort`.
pub fn is_for_control(func: &str) -> bool {
    func.rsplit_once('.')
        .is_some_and(|(_, verb)| VERBS.contains(&verb))
}

/// The control lane of a runtime among others.
pub fn control_lane<'a>(of: &Runtime, among: &'a [Runtime]) -> Option<&'a Runtime> {
    let (name, kind) = (control_of(&of.name), control_of(&of.runtime_type));
    among
        .iter()
        .find(|runtime| runtime.name == name && runtime.runtime_type == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_apart_by_their_verb() {
        for func in ["lamp.off", "drone.abort", "a.b.state"] {
            assert!(is_for_control(func), "{func}");
        }
        for func in ["lamp.on", "off", "lamp.off.now", "", "."] {
            assert!(!is_for_control(func), "{func}");
        }
    }

    #[test]
    fn a_control_lane_has_the_name_and_the_type() {
        let runtime = |name: &str, kind: &str| Runtime {
            name: name.to_owned(),
            runtime_type: kind.to_owned(),
            ..Runtime::default()
        };
        let work = runtime("porch", "cli");
        let all = [
            runtime("porch.control", "other"),
            runtime("porch.control", "cli.control"),
        ];
        assert_eq!(control_lane(&work, &all), Some(&all[1]));
        assert_eq!(control_lane(&all[1], &all), None);
        assert_eq!(work_type(&control_of("cli")), "cli");
        assert_eq!(work_type("cli"), "cli");
    }
}
