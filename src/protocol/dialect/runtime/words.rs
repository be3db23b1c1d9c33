//! The words of the dialect: payload types, and how refusals are said (RD 2.4, 3.2, 3.3).

use crate::protocol::failure::{Failure, Refusal};
use crate::protocol::model::ProcessState;
use crate::protocol::request::{Kind, MAX_COUNT};

/// What the dialect calls a request, and the verbs of its failure texts.
pub(in crate::protocol::dialect) struct Words {
    /// Names it in the envelope and, as `msgtype`, in the payload.
    pub(in crate::protocol::dialect) payload_type: &'static str,
    /// X of `Failed to X, invalid JSON`.
    json: &'static str,
    /// X of `Failed to X, msg.MsgType does not match payloadType`.
    mismatch: &'static str,
}

/// RD 3.3; where the columns “JSON” and “type” agree, one text stands for both.
pub(in crate::protocol::dialect) const fn words(kind: Kind) -> Words {
    let (payload_type, json, mismatch) = match kind {
        Kind::Version => ("versionmsg", "get server version", None),
        Kind::GetStatistics => ("getstatisticsmsg", "get statistics", Some("get server version")),
        Kind::GetCluster => ("getclustermsg", "get cluster info", None),
        Kind::AddColony => ("addcolonymsg", "add colony", None),
        Kind::DeleteColony => ("deletecolonymsg", "delete colony", None),
        Kind::GetColonies => ("getcoloniesmsg", "get colonies", None),
        Kind::GetColony => ("getcolonymsg", "get colony", None),
        Kind::GetColonyStatistics => ("getcolonystatsmsg", "get colony statistics", None),
        Kind::AddRuntime => ("addruntimemsg", "add runtime", None),
        Kind::GetRuntimes => ("getruntimesmsg", "get runtimes", None),
        Kind::GetRuntime => ("getruntimemsg", "get runtime", None),
        Kind::ApproveRuntime => ("approveruntimemsg", "approve runtime", None),
        Kind::RejectRuntime => ("rejectruntimemsg", "reject runtime", None),
        Kind::DeleteRuntime => ("deleteruntimemsg", "delete runtime", None),
        Kind::Submit => (
            "submitprocessespecmsg",
            "submit process",
            Some("submit process spec"),
        ), // sic: “processespec”
        Kind::Assign => ("assignprocessmsg", "assign process", None),
        Kind::GetHistory => (
            "getprocesshistmsg",
            "get process hist",
            Some("get process history"),
        ),
        Kind::GetProcesses => ("getprocessesmsg", "get processes", None),
        Kind::GetProcess => ("getprocessmsg", "get process", None),
        Kind::DeleteProcess => ("deleteprocessmsg", "delete process", None),
        Kind::DeleteAllProcesses => ("deleteallprocessesmsg", "delete all processes", None),
        Kind::CloseSuccessful => (
            "closesuccessfulmsg",
            "close successful",
            Some("close process as successful"),
        ),
        Kind::CloseFailed => ("closefailedmsg", "close failed", Some("close process as failed")),
        Kind::AddAttribute => ("addattributemsg", "add attribute", None),
        Kind::GetAttribute => ("getattributemsg", "get attribute", None),
        Kind::SubmitWorkflow => (
            "submitworkflowspecmsg",
            "submit workkflow",
            Some("submit workflow"),
        ), // sic
        Kind::GetGraph => ("getprocessgraphmsg", "get processgraph", None),
        Kind::GetGraphs => ("getprocessgraphsmsg", "get processgraphs", None),
        Kind::DeleteGraph => ("deleteprocessgraphmsg", "delete processgraph", None),
        Kind::DeleteAllGraphs => ("deleteallprocessgraphsmsg", "delete all processgraphs", None),
        Kind::AddGenerator => ("addgeneratormsg", "add generator", None),
        Kind::GetGenerator => ("getgeneratormsg", "get generator", None),
        Kind::GetGenerators => ("getgeneratorsmsg", "get generators", None),
        Kind::IncrementGenerator => ("incgeneratormsg", "inc generator", Some("increment generator")),
        Kind::DeleteGenerator => ("deletegeneratormsg", "delete generator", None),
        // Over the WebSocket both tags are spelled `msg.msgType … rpcMsg.PayloadType` (RD 1.9).
        Kind::SubscribeProcesses => ("subscribeprocessesmsg", "subscribe to processes", None),
        Kind::SubscribeProcess => ("subscribeprocessmsg", "subscribe to process", None),
    };
    let mismatch = match mismatch {
        Some(text) => text,
        None => json,
    };
    Words {
        payload_type,
        json,
        mismatch,
    }
}

/// Which request a payload type names.
pub(in crate::protocol::dialect) fn kind(payload_type: &str) -> Option<Kind> {
    Kind::ALL
        .iter()
        .copied()
        .find(|kind| words(*kind).payload_type == payload_type)
}

const APPROVAL: &str = " is not approved";
const NO_MEMBER: &str = " (Runtime does not exist)";
const OTHER_COLONY: &str = ", (Recovered Id and Colony Id missmatches)"; // sic
const SERVER_OWNER: &str = "RecoveredID does not match Server Id";
const COLONY_OWNER: &str = "RecoveredID does not match Colony Id";
const NO_COLONY: &str = " does not exists"; // sic
const NOTHING: &str = "No processes can be selected for runtime with Id <";
const NOT_ALLOWED: &str = ", not allowed to close process";
const ONLY_RUNTIME: &str = "Failed to add attribute, only runtime with id <";
const NO_ATTRIBUTE: &str = "Attribute does not exists"; // sic
const NUMBER: &str = "pq: value \"";
const OUT_OF_RANGE: &str = "\" is out of range for type integer";
const DUPLICATE: &str = "pq: duplicate key value violates unique constraint";

/// Status and text of a refusal.
pub(in crate::protocol::dialect) fn failure(kind: Option<Kind>, refusal: &Refusal) -> Failure {
    let (status, message) = match kind {
        Some(kind) => in_words_of(kind, refusal),
        None => None,
    }
    .unwrap_or_else(|| in_shared_words(refusal));
    Failure { status, message }
}

/// Refusals that a request words in its own way (RD 3.3).
fn in_words_of(kind: Kind, refusal: &Refusal) -> Option<(u16, String)> {
    let Words { json, mismatch, .. } = words(kind);
    Some(match refusal {
        Refusal::BadPayload => (400, format!("Failed to {json}, invalid JSON")),
        Refusal::KindMismatch => match kind {
            Kind::Assign => (
                400,
                format!("Failed to {mismatch}, msg.msgType does not match payloadType"),
            ),
            Kind::SubscribeProcesses | Kind::SubscribeProcess => (
                403,
                format!("Failed to {mismatch}, msg.msgType does not match rpcMsg.PayloadType"),
            ),
            _ => (
                400,
                format!("Failed to {mismatch}, msg.MsgType does not match payloadType"),
            ),
        },
        Refusal::Missing => match kind {
            Kind::AddColony => (400, "Failed to add colony, colony is nil".into()),
            Kind::AddRuntime => (400, "Failed to add runtime, runtime is nil".into()),
            Kind::Submit => (
                400,
                "Failed to submit process spec, msg.ProcessSpec is nil".into(),
            ),
            Kind::SubmitWorkflow => (400, "Failed to submit workflow, msg.WorkflowSpec is nil".into()),
            Kind::AddGenerator => (400, "Failed to add generator, msg.ProcessSpec is nil".into()), // sic
            _ => return None,
        },
        Refusal::Unknown => {
            let what = match kind {
                Kind::GetRuntime | Kind::ApproveRuntime | Kind::RejectRuntime | Kind::DeleteRuntime => {
                    "runtime"
                }
                Kind::GetProcess
                | Kind::DeleteProcess
                | Kind::CloseSuccessful
                | Kind::CloseFailed
                | Kind::AddAttribute
                | Kind::GetAttribute => "process",
                Kind::GetGraph | Kind::DeleteGraph => "graph",
                Kind::GetGenerator | Kind::IncrementGenerator | Kind::DeleteGenerator => "generator",
                Kind::GetGenerators => "generators",
                Kind::GetColony => "colony",
                _ => return None,
            };
            (500, format!("Failed to {mismatch}, {what} is nil"))
        }
        Refusal::NotAssigned { assigned } => match kind {
            Kind::AddAttribute => (
                403,
                format!("{ONLY_RUNTIME}{assigned}> is allowed to set attributes"),
            ),
            _ => (403, format!("Failed to {mismatch}{NOT_ALLOWED}")),
        },
        Refusal::UnknownState => match kind {
            Kind::GetProcesses => (400, "Failed to get processes, invalid msg.State".into()),
            _ => (400, "invalid msg.State".into()),
        },
        Refusal::ColonyIdLength => (400, format!("Failed to {mismatch}, invalid colony id length")),
        _ => return None,
    })
}

/// Refusals that are worded alike everywhere (RD 1.7, 2.4, 3.2).
fn in_shared_words(refusal: &Refusal) -> (u16, String) {
    match refusal {
        Refusal::BadEnvelope(error) => (400, error.to_string()),
        Refusal::TooLarge { limit } => (
            400,
            format!("the request is larger than the {limit} bytes that this server takes"),
        ),
        Refusal::BadSignature(error) => (403, error.to_string()),
        Refusal::UnknownKind => (403, "invalid rpcMsg.PayloadType".into()),
        Refusal::BadPayload => (400, "invalid JSON".into()),
        Refusal::KindMismatch => (400, "msg.MsgType does not match payloadType".into()),
        Refusal::Missing => (400, "the object that the message is about is missing".into()),
        Refusal::NotServerOwner => (403, SERVER_OWNER.into()),
        Refusal::NotColonyOwner => (403, COLONY_OWNER.into()),
        Refusal::UnknownColony { colony_id } => (403, format!("Colony <{colony_id}>{NO_COLONY}")),
        Refusal::NotMember { caller, colony_id } => (
            403,
            format!("Runtime with Id <{caller}> is not a member of Colony with Id <{colony_id}>{NO_MEMBER}"),
        ),
        Refusal::OtherColony { caller, colony_id } => (
            403,
            format!(
                "Runtime with Id <{caller}> is not a member of Colony with Id <{colony_id}>{OTHER_COLONY}"
            ),
        ),
        Refusal::NotApproved { caller } => (403, format!("Runtime with Id <{caller}>{APPROVAL}")),
        Refusal::NotAssigned { assigned } => (403, format!("only runtime with id <{assigned}> may do that")),
        Refusal::Unknown => (500, "what the message names does not exist".into()),
        Refusal::UnknownAttribute => (400, NO_ATTRIBUTE.into()),
        Refusal::UnknownAttributeProcess => (500, "Failed to get attribute, process is nil".into()),
        Refusal::ColonyIdLength => (400, "invalid colony id length".into()),
        Refusal::Duplicate { table } => (400, format!("{DUPLICATE} \"prod_{table}_pkey\"")),
        Refusal::OutOfRange { value } => (400, format!("{NUMBER}{value}{OUT_OF_RANGE}")),
        Refusal::NulCharacter => (
            400,
            "pq: invalid byte sequence for encoding \"UTF8\": 0x00".into(),
        ),
        Refusal::CountTooLarge => (400, format!("Count is larger than MaxCount limit <{MAX_COUNT}>")),
        Refusal::NegativeCount => (400, "pq: LIMIT must not be negative".into()),
        Refusal::UnknownState => (400, "invalid msg.State".into()),
        Refusal::ZeroTimeout => (400, "Invalid timeout value, timeout cannot be zero".into()),
        // Not an error in the eyes of the original: status 200 (RD 1.7).
        Refusal::NothingToAssign { caller } => (200, format!("{NOTHING}{caller}>")),
        Refusal::WrongState { from, to } => (400, wrong_state(*from, *to)),
        Refusal::Unsupported => (501, "this server does not support that message".into()),
        Refusal::Unavailable { reason } => (
            503,
            format!("the server can't answer now, try again later: {reason}"),
        ),
    }
}

/// RD 5.6
fn wrong_state(from: ProcessState, to: ProcessState) -> String {
    match (from, to) {
        (ProcessState::Failed, ProcessState::Successful) => "Tried to set failed process as completed".into(),
        (ProcessState::Waiting, ProcessState::Successful) => {
            "Tried to set waiting process as completed without being running".into()
        }
        (ProcessState::Successful, ProcessState::Failed) => {
            "Tried to set successful process as failed".into()
        }
        (ProcessState::Failed, ProcessState::Failed) => "Tried to set failed process as failed".into(),
        (ProcessState::Waiting, ProcessState::Failed) => "Tried to set waiting process as failed".into(),
        _ => "Tried to close a process in a state that does not allow it".into(),
    }
}

/// What lies between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.find(after).map(|end| &rest[..end])
}

/// What a failure means, as far as its words tell. Where the words leave a doubt, the answer is `None`.
pub(in crate::protocol::dialect) fn refusal(kind: Kind, failure: &Failure) -> Option<Refusal> {
    let text = failure.message.as_str();
    // These carry ids; the others are compared whole with what we would say ourselves.
    if text.starts_with(NOTHING) {
        let caller = between(text, "<", ">")?.to_owned();
        return Some(Refusal::NothingToAssign { caller });
    }
    if let Some(rest) = text.strip_prefix("Runtime with Id <") {
        let caller = rest.split_once('>')?.0.to_owned();
        if text.ends_with(APPROVAL) {
            return Some(Refusal::NotApproved { caller });
        }
        let colony_id = between(text, "Colony with Id <", ">")?.to_owned();
        return match text {
            _ if text.ends_with(NO_MEMBER) => Some(Refusal::NotMember { caller, colony_id }),
            _ if text.ends_with(OTHER_COLONY) => Some(Refusal::OtherColony { caller, colony_id }),
            _ => None,
        };
    }
    if text.starts_with("Colony <") && text.ends_with(NO_COLONY) {
        let colony_id = between(text, "<", ">")?.to_owned();
        return Some(Refusal::UnknownColony { colony_id });
    }
    if text.starts_with(ONLY_RUNTIME) {
        let assigned = between(text, "<", ">")?.to_owned();
        return Some(Refusal::NotAssigned { assigned });
    }
    if text.ends_with(NOT_ALLOWED) {
        return Some(Refusal::NotAssigned {
            assigned: String::new(),
        });
    }
    if let Some(rest) = text.strip_prefix(NUMBER)
        && let Some(value) = rest.strip_suffix(OUT_OF_RANGE)
    {
        let value = value.parse().ok()?;
        return Some(Refusal::OutOfRange { value });
    }
    if text.starts_with(DUPLICATE) {
        let table = ["colonies", "runtimes", "attributes", "generators"];
        let table = table.into_iter().find(|table| text.contains(table))?;
        return Some(Refusal::Duplicate { table });
    }
    fixed()
        .into_iter()
        .find(|refusal| super::failure(Some(kind), refusal) == *failure)
}

/// Refusals whose text has no variable part.
fn fixed() -> Vec<Refusal> {
    use ProcessState::{Failed, Successful, Waiting};
    let mut refusals = vec![
        Refusal::UnknownKind,
        Refusal::BadPayload,
        Refusal::KindMismatch,
        Refusal::Missing,
        Refusal::NotServerOwner,
        Refusal::NotColonyOwner,
        Refusal::Unknown,
        Refusal::UnknownAttribute,
        Refusal::UnknownAttributeProcess,
        Refusal::ColonyIdLength,
        Refusal::NulCharacter,
        Refusal::CountTooLarge,
        Refusal::NegativeCount,
        Refusal::UnknownState,
        Refusal::ZeroTimeout,
        Refusal::Unsupported,
    ];
    for from in [Waiting, Successful, Failed] {
        for to in [Successful, Failed] {
            refusals.push(Refusal::WrongState { from, to });
        }
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_types_name_one_kind_each() {
        for kind in Kind::ALL {
            assert_eq!(super::kind(words(*kind).payload_type), Some(*kind));
        }
        for stranger in [
            "",
            "error",
            "Versionmsg",
            "submitprocessspecmsg",
            "closefailedfulmsg",
        ] {
            assert_eq!(kind(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let caller = "a".repeat(64);
        let colony_id = "c".repeat(64);
        let mut refusals = fixed();
        refusals.extend([
            Refusal::NothingToAssign {
                caller: caller.clone(),
            },
            Refusal::NotApproved {
                caller: caller.clone(),
            },
            Refusal::NotMember {
                caller: caller.clone(),
                colony_id: colony_id.clone(),
            },
            Refusal::OtherColony {
                caller,
                colony_id: colony_id.clone(),
            },
            Refusal::UnknownColony { colony_id },
            Refusal::UnknownColony {
                colony_id: String::new(),
            },
            Refusal::Duplicate { table: "attributes" },
            Refusal::OutOfRange { value: 1 << 31 },
            Refusal::OutOfRange { value: i64::MIN },
        ]);
        for kind in Kind::ALL {
            for refusal in &refusals {
                let said = failure(Some(*kind), refusal);
                let understood = super::refusal(*kind, &said);
                // Two causes may be said in the same words; then either is right.
                let understood = understood.unwrap_or_else(|| panic!("{kind:?} {refusal:?} {said:?}"));
                assert_eq!(failure(Some(*kind), &understood), said, "{kind:?}");
            }
        }
    }

    #[test]
    fn unknown_words_are_not_guessed_at() {
        for text in [
            "",
            "Runtime with Id <",
            "Runtime with Id <x> is asleep",
            "Colony <x> is closed",
            "pq: deadlock",
        ] {
            let failure = Failure {
                status: 403,
                message: text.into(),
            };
            assert_eq!(refusal(Kind::GetProcess, &failure), None, "{text}");
        }
    }

    #[test]
    fn the_sic_texts() {
        let said = |kind, refusal| failure(Some(kind), &refusal).message;
        assert_eq!(
            said(Kind::GetStatistics, Refusal::KindMismatch),
            "Failed to get server version, msg.MsgType does not match payloadType"
        );
        assert_eq!(
            said(Kind::SubmitWorkflow, Refusal::BadPayload),
            "Failed to submit workkflow, invalid JSON"
        );
        assert_eq!(
            said(Kind::IncrementGenerator, Refusal::KindMismatch),
            "Failed to increment generator, msg.MsgType does not match payloadType"
        );
        assert_eq!(
            said(Kind::IncrementGenerator, Refusal::Unknown),
            "Failed to increment generator, generator is nil"
        );
        assert_eq!(
            said(Kind::CloseFailed, Refusal::NotAssigned { assigned: "x".into() }),
            "Failed to close process as failed, not allowed to close process"
        );
    }
}
