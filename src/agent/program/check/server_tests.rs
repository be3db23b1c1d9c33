use super::super::finding::Level;
use super::*;

const SECOND: i128 = 1_000_000_000;

fn facts(url: &str, standing: Option<Standing>, has_owner_key: bool) -> ServerFacts {
    ServerFacts {
        url: ServerUrl::parse(url).unwrap(),
        version: Ok((Version::default(), Some(0))),
        standing: standing.map(Ok),
        runtime: Runtime {
            id: "ab".repeat(32),
            name: "porch".to_owned(),
            runtime_type: "cli".to_owned(),
            colony_id: "cd".repeat(32),
            ..Runtime::default()
        },
        has_owner_key,
    }
}

fn registration(standing: Standing, has_owner_key: bool) -> Finding {
    judge(&facts("https://hub", Some(standing), has_owner_key))
        .pop()
        .unwrap()
}

#[test]
fn each_standing_has_the_command_that_betters_it() {
    assert_eq!(registration(Standing::Approved, false).level, Level::Ok);
    let absent = registration(Standing::Absent, false);
    assert_eq!(absent.level, Level::Error);
    let remedy = absent.remedy.unwrap();
    assert!(
        remedy.contains(&format!(
            "outpost runtime add --id {} --name porch --type cli --approve --colony {}",
            "ab".repeat(32),
            "cd".repeat(32)
        )),
        "{remedy}"
    );
    for standing in [Standing::Pending, Standing::Rejected] {
        let finding = registration(standing, false);
        assert_eq!(finding.level, Level::Error);
        let approve = format!("outpost runtime approve {}", "ab".repeat(32));
        assert!(finding.remedy.as_ref().unwrap().contains(&approve), "{finding:?}");
    }
    for standing in [Standing::Absent, Standing::Pending] {
        assert_eq!(
            registration(standing, true).level,
            Level::Note,
            "it does it itself"
        );
    }
    assert_eq!(registration(Standing::Rejected, true).level, Level::Error);
    for standing in [Standing::Elsewhere, Standing::NoColony] {
        assert!(
            registration(standing, false)
                .remedy
                .unwrap()
                .contains("[colony] id")
        );
    }
}

#[test]
fn without_a_key_nothing_is_asked() {
    let findings = judge(&facts("https://hub", None, false));
    assert_eq!(findings.last().unwrap().level, Level::Note);
}

#[test]
fn an_unencrypted_way_is_noted_beyond_this_machine() {
    let first = |url| judge(&facts(url, None, false)).remove(0);
    assert_eq!(first("http://hub:50080").level, Level::Note);
    assert_eq!(first("http://127.0.0.1:50080").level, Level::Ok);
    assert_eq!(first("https://hub").level, Level::Ok);
}

#[test]
fn clocks_that_disagree_are_told_by_how_much() {
    assert_eq!(clocks(SECOND).level, Level::Ok);
    let behind = clocks(30 * SECOND);
    assert_eq!(
        (behind.level, behind.text.as_str()),
        (Level::Note, "this machine's clock is 30 s behind the server's")
    );
    let ahead = clocks(-3600 * SECOND);
    assert_eq!(ahead.level, Level::Warning);
    assert!(ahead.text.contains("3600 s ahead of"), "{ahead:?}");
}

#[test]
fn the_difference_is_taken_in_the_middle_of_the_exchange() {
    let stamps = |outpost_time, date| Stamps {
        sent_at: BootTime::from_nanos(1_000_000_000),
        received_at: BootTime::from_nanos(3_000_000_000),
        date,
        outpost_time,
    };
    let at = |seconds: i128| Time::from_unix_nanos(seconds * SECOND);
    // Our clock shows 105 s at boot time 5 s, so 102 s in the middle, 2 s.
    let now = BootTime::from_nanos(5_000_000_000);
    let ahead = |stamps| ahead(&stamps, now, at(105));
    assert_eq!(ahead(stamps(Some(at(112)), None)), Some(10 * SECOND));
    assert_eq!(ahead(stamps(None, Some(at(102)))), Some(SECOND / 2));
    assert_eq!(ahead(stamps(None, None)), None);
}

#[test]
fn an_unreachable_server_is_an_error_and_a_doubtful_memory_is_named() {
    let mut facts = facts("https://hub", None, false);
    let unreachable = |cause| {
        Err(ClientError::Unreachable {
            server: "https://hub".to_owned(),
            cause,
        })
    };
    facts.version = unreachable(Unreachable::Refused);
    let finding = judge(&facts).remove(0);
    assert_eq!(finding.level, Level::Error);
    assert!(finding.text.contains("nobody listens there"), "{finding:?}");
    facts.version = unreachable(Unreachable::Tls(TlsProblem::Expired {
        not_after: None,
        now: Time::from_unix_nanos(0),
        judged: Time::LAST,
    }));
    assert!(judge(&facts).remove(0).remedy.unwrap().contains("journal accept"));
}
