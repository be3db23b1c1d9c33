//! Who may not is refused, in the words of the protocol documents.

use super::*;

#[test]
fn who_may_not_is_refused_in_the_documented_words() {
    let (_dir, hub) = with_runtimes();
    let (server, owner, stranger) = (hub.server_key(), hub.colony_key(), key(STRANGER));
    let (rt1, rt2) = (key(RT1), key(RT2));
    let colony_id = owner.id();
    let nowhere = "0".repeat(64);
    let no_colony = format!("Colony <{nowhere}> does not exists");
    let pending = key(0x13);
    let of_pending = Runtime {
        id: pending.id(),
        runtime_type: "cli".into(),
        colony_id: colony_id.clone(),
        ..Runtime::default()
    };
    hub.ask(&owner, &Request::AddRuntime(of_pending.clone())).unwrap();
    let not_approved = format!("Runtime with Id <{}> is not approved", pending.id());
    let second = key(0x21);
    let other_colony = Colony {
        id: second.id(),
        name: "second".into(),
    };
    hub.ask(&server, &Request::AddColony(Some(other_colony))).unwrap();
    let elsewhere = format!(
        "Runtime with Id <{}> is not a member of Colony with Id <{}>, (Recovered Id and Colony Id missmatches)",
        rt1.id(),
        second.id()
    );
    let waiting = hub.submit(&rt1, hub.spec("lamp"));
    let taken = hub.submit(&rt1, hub.spec("cli"));
    assert_eq!(process(hub.assign(&rt1, -1)).id, taken.id);
    let done = hub.submit(&rt1, hub.spec("cli"));
    assert_eq!(process(hub.assign(&rt1, -1)).id, done.id);
    let close = |id: &str| Request::CloseSuccessful {
        process_id: id.to_owned(),
    };
    let fail = |id: &str| Request::CloseFailed {
        process_id: id.to_owned(),
        error_message: "no".into(),
    };
    hub.ask(&rt1, &close(&done.id)).unwrap();
    let by_colony = |colony_id: &str| Request::GetColony {
        colony_id: colony_id.to_owned(),
    };
    let list = |count, state| Request::GetProcesses {
        colony_id: colony_id.clone(),
        count,
        state,
    };
    let attribute = |target: &str| {
        Request::AddAttribute(Attribute {
            target_id: target.to_owned(),
            key: "k".into(),
            ..Attribute::default()
        })
    };
    let assign = |colony_id: &str, timeout| Request::Assign {
        colony_id: colony_id.to_owned(),
        latest: false,
        timeout,
    };
    let mut elsewhere_spec = hub.spec("cli");
    elsewhere_spec.conditions.colony_id.clone_from(&nowhere);
    let mut too_long = hub.spec("cli");
    too_long.max_exec_time = 1 << 31;
    let mut with_nul = hub.spec("cli");
    with_nul.func = "a\0b".into();
    let colony = |id: &str| {
        Request::AddColony(Some(Colony {
            id: id.into(),
            name: "x".into(),
        }))
    };
    let runtime = |id: &str| Request::GetRuntime {
        runtime_id: id.to_owned(),
    };
    const SERVER_ONLY: &str = "RecoveredID does not match Server Id";
    const OWNER_ONLY: &str = "RecoveredID does not match Colony Id";

    #[rustfmt::skip] // a table
    let cases: Vec<(&str, &PrivateKey, Request, u16, String)> = vec![
        ("S only", &owner, Request::GetColonies, 403, SERVER_ONLY.into()),
        ("S only", &rt1, Request::GetStatistics, 403, SERVER_ONLY.into()),
        ("S before the missing object", &rt1, Request::AddColony(None), 403, SERVER_ONLY.into()),
        ("missing object", &server, Request::AddColony(None),
            400, "Failed to add colony, colony is nil".into()),
        ("short id", &server, colony("abc"), 400, "Failed to add colony, invalid colony id length".into()),
        ("twice", &server, colony(&colony_id),
            400, "pq: duplicate key value violates unique constraint \"prod_colonies_pkey\"".into()),
        ("C only", &rt1, Request::AddRuntime(of_pending.clone()), 403, OWNER_ONLY.into()),
        ("twice", &owner, Request::AddRuntime(of_pending),
            400, "pq: duplicate key value violates unique constraint \"prod_runtimes_pkey\"".into()),
        ("C only", &rt1, Request::ApproveRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("unknown before not allowed", &stranger, Request::ApproveRuntime { runtime_id: nowhere.clone() },
            500, "Failed to approve runtime, runtime is nil".into()),
        ("C only", &rt1, Request::RejectRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("C only", &rt1, Request::DeleteRuntime { runtime_id: rt2.id() }, 403, OWNER_ONLY.into()),
        ("C only", &rt1, Request::DeleteAllProcesses { colony_id: colony_id.clone() }, 403, OWNER_ONLY.into()),
        ("unknown", &rt1, runtime(&nowhere), 500, "Failed to get runtime, runtime is nil".into()),
        ("R only", &owner, runtime(&rt1.id()), 403, not_member(&owner, &hub)),
        ("R only", &owner, by_colony(&colony_id), 403, not_member(&owner, &hub)),
        ("unknown colony", &rt1, by_colony(&nowhere), 403, no_colony.clone()),
        ("empty colony", &rt1, by_colony(""), 403, "Colony <> does not exists".into()),
        ("another's colony", &rt1, by_colony(&second.id()), 403, elsewhere.clone()),
        ("not approved", &pending, by_colony(&colony_id), 403, not_approved.clone()),
        ("stranger, R or C", &stranger, list(1, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("stranger, r or C", &stranger, Request::GetRuntimes { colony_id: colony_id.clone() },
            403, OWNER_ONLY.into()),
        ("pending, R or C", &pending, list(1, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("stranger, R", &stranger, Request::Submit(Box::new(hub.spec("cli"))),
            403, not_member(&stranger, &hub)),
        ("not approved", &pending, Request::Submit(Box::new(hub.spec("cli"))), 403, not_approved.clone()),
        ("unknown colony", &rt1, Request::Submit(Box::new(elsewhere_spec)), 403, no_colony.clone()),
        ("33 bits", &rt1, Request::Submit(Box::new(too_long)),
            400, "pq: value \"2147483648\" is out of range for type integer".into()),
        ("NUL", &rt1, Request::Submit(Box::new(with_nul)),
            400, "pq: invalid byte sequence for encoding \"UTF8\": 0x00".into()),
        ("not approved", &pending, assign(&colony_id, 1), 403, not_approved.clone()),
        ("not allowed before a bad timeout", &pending, assign(&colony_id, 0), 403, not_approved),
        ("bad timeout", &rt1, assign(&colony_id, 0),
            400, "Invalid timeout value, timeout cannot be zero".into()),
        ("another's colony", &rt1, assign(&second.id(), 1), 403, elsewhere),
        ("nothing there", &rt2, assign(&colony_id, -1),
            200, format!("No processes can be selected for runtime with Id <{}>", rt2.id())),
        ("too many", &rt1, list(101, ProcessState::Waiting),
            400, "Count is larger than MaxCount limit <100>".into()),
        ("negative", &rt1, list(-1, ProcessState::Waiting), 400, "pq: LIMIT must not be negative".into()),
        ("no such state", &rt1, list(1, ProcessState::Other(7)),
            400, "Failed to get processes, invalid msg.State".into()),
        ("not allowed before too many", &stranger, list(101, ProcessState::Waiting), 403, OWNER_ONLY.into()),
        ("unknown process", &stranger, Request::GetProcess { process_id: nowhere.clone() },
            500, "Failed to get process, process is nil".into()),
        ("stranger", &stranger, Request::GetProcess { process_id: waiting.id.clone() },
            403, not_member(&stranger, &hub)),
        ("C is no R", &owner, Request::GetProcess { process_id: waiting.id.clone() },
            403, not_member(&owner, &hub)),
        ("stranger", &stranger, Request::DeleteProcess { process_id: waiting.id.clone() },
            403, not_member(&stranger, &hub)),
        ("unknown process", &rt1, Request::DeleteProcess { process_id: nowhere.clone() },
            500, "Failed to delete process, process is nil".into()),
        ("waiting", &rt1, close(&waiting.id),
            403, "Failed to close process as successful, not allowed to close process".into()),
        ("another's", &rt2, close(&taken.id),
            403, "Failed to close process as successful, not allowed to close process".into()),
        ("another's", &rt2, fail(&taken.id),
            403, "Failed to close process as failed, not allowed to close process".into()),
        ("stranger", &stranger, close(&taken.id), 403, not_member(&stranger, &hub)),
        ("unknown process", &rt1, close(&nowhere),
            500, "Failed to close process as successful, process is nil".into()),
        ("unknown process", &rt1, fail(&nowhere),
            500, "Failed to close process as failed, process is nil".into()),
        ("closed", &rt1, fail(&done.id), 400, "Tried to set successful process as failed".into()),
        ("nobody's", &rt1, attribute(&waiting.id),
            403, "Failed to add attribute, only runtime with id <> is allowed to set attributes".into()),
        ("another's", &rt2, attribute(&taken.id),
            403, format!("Failed to add attribute, only runtime with id <{}> is allowed to set attributes", rt1.id())),
        ("unknown process", &rt1, attribute(&nowhere), 500, "Failed to add attribute, process is nil".into()),
        ("unknown attribute", &rt1, Request::GetAttribute { attribute_id: nowhere.clone() },
            400, "Attribute does not exists".into()),
        ("not here", &server, Request::GetCluster, 501, "this server does not support that message".into()),
    ];
    for (case, caller, request, status, message) in cases {
        let got = hub.ask(caller, &request);
        assert_eq!(got, refused(status, message), "{case}: {request:?}");
    }

    // Closing twice, and what is failed.
    assert_eq!(hub.ask(&rt1, &close(&done.id)), Ok(Answer::Done));
    hub.ask(&rt1, &fail(&taken.id)).unwrap();
    assert_eq!(
        hub.ask(&rt1, &close(&taken.id)),
        refused(400, "Tried to set failed process as completed")
    );
    assert_eq!(
        hub.ask(&rt1, &fail(&taken.id)),
        refused(400, "Tried to set failed process as failed")
    );
    // Rejected: not even what is its own.
    let runtime_id = rt1.id();
    hub.ask(&owner, &Request::RejectRuntime { runtime_id }).unwrap();
    assert_eq!(
        hub.ask(&rt1, &close(&done.id)),
        refused(403, format!("Runtime with Id <{}> is not approved", rt1.id()))
    );
    // An unknown colony is no error to delete (RD 5.9).
    let colony_id = nowhere;
    assert_eq!(
        hub.ask(&server, &Request::DeleteColony { colony_id }),
        Ok(Answer::Done)
    );
}
