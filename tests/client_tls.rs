//! HTTPS: whom the client trusts, and what it says of whom it does not.
#![cfg(feature = "client")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may stop it, too"
)]

mod client_server;

use std::path::PathBuf;
use std::sync::Arc;

use client_server::{Act, Server, success};
use outpost::client::{
    Client, ClientError, HttpSettings, HttpTransport, ServerUrl, TlsProblem, Unreachable, build_time,
};
use outpost::clock::{SharedClock, SystemClock, TestClock};
use outpost::protocol::Time;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::Version;
use outpost::protocol::{Answer, Kind};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Holds the file.
    _directory: tempfile::TempDir,
    file: PathBuf,
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    Authority {
        issuer: Issuer::new(params, key),
        _directory: directory,
        file,
    }
}

/// An HTTPS server whose certificate is for `host`, changed by `change`.
async fn server(authority: &Authority, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Server {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let reply = success(Kind::Version, &Answer::Version(Version::default()));
    Server::start_with(
        vec![Act::Say(reply); 3],
        Some(TlsAcceptor::from(Arc::new(config))),
    )
    .await
}

fn client(server: &Server, ca_file: Option<PathBuf>) -> Client {
    client_at(server, ca_file, Arc::new(SystemClock), None)
}

/// A client whose clock shows what it shows, and that remembers `good_time`.
fn client_at(
    server: &Server,
    ca_file: Option<PathBuf>,
    clock: SharedClock,
    good_time: Option<Time>,
) -> Client {
    let url = ServerUrl::parse(&format!("https://127.0.0.1:{}", server.address.port())).unwrap();
    let settings = HttpSettings {
        ca_file,
        good_time,
        ..HttpSettings::default()
    };
    Client::new(
        HttpTransport::new(url, settings, clock).unwrap(),
        Dialect::Runtime,
    )
}

async fn problem(server: &Server, ca_file: Option<PathBuf>) -> (TlsProblem, String) {
    problem_of(server, client(server, ca_file)).await
}

async fn problem_of(server: &Server, client: Client) -> (TlsProblem, String) {
    let error = client.version().await.unwrap_err();
    assert!(!error.may_have_been_executed());
    assert!(server.requests().is_empty(), "nothing was sent");
    let text = error.to_string();
    match error {
        ClientError::Unreachable {
            cause: Unreachable::Tls(problem),
            ..
        } => (problem, text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_authority_in_ca_file_is_trusted_and_the_connection_kept() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |_| ()).await;
    let client = client(&server, Some(authority.file.clone()));
    client.version().await.unwrap();
    client.version().await.unwrap();
    assert_eq!(server.requests(), [0, 0]);
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |_| ()).await;
    // A stranger, and one that was made anew under the same name.
    for name in ["other", "ours"] {
        let stranger = self::authority(name);
        let (found, text) = problem(&server, Some(stranger.file.clone())).await;
        assert_eq!(found, TlsProblem::UnknownIssuer);
        assert!(text.contains("ca_file"), "{text}");
    }
}

#[tokio::test]
async fn certificates_out_of_their_time_name_the_clock() {
    let authority = authority("ours");
    let expired = server(&authority, "127.0.0.1", |params| {
        params.not_after = date_time_ymd(2020, 1, 2)
    })
    .await;
    let (found, text) = problem(&expired, Some(authority.file.clone())).await;
    assert!(matches!(found, TlsProblem::Expired { .. }), "{found:?}");
    assert!(text.contains("expired at 2020-01-02T00:00:00Z"), "{text}");

    let coming = server(&authority, "127.0.0.1", |params| {
        params.not_before = date_time_ymd(4000, 1, 2)
    })
    .await;
    let (found, text) = problem(&coming, Some(authority.file.clone())).await;
    assert!(matches!(found, TlsProblem::NotValidYet { .. }), "{found:?}");
    assert!(text.contains("this machine's clock shows 2"), "{text}");
}

/// A wall clock that shows the beginning of a year.
fn clock_in(year: i64) -> SharedClock {
    let text = format!("{year}-01-01T00:00:00Z");
    TestClock::new(i64::try_from(Time::parse(&text).unwrap().unix_nanos()).unwrap())
}

fn in_year(year: i64) -> Option<Time> {
    Some(Time::parse(&format!("{year}-01-01T00:00:00Z")).unwrap())
}

#[tokio::test]
async fn a_clock_in_1970_is_no_obstacle_where_a_later_moment_is_known() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |params| {
        params.not_before = date_time_ymd(2100, 1, 1);
        params.not_after = date_time_ymd(2102, 1, 1);
    })
    .await;
    let ca_file = Some(authority.file.clone());
    let kept = client_at(&server, ca_file.clone(), clock_in(1970), in_year(2101));
    kept.version().await.unwrap();
    // What is kept does not hold back a clock that is right.
    let right = client_at(&server, ca_file.clone(), clock_in(2101), in_year(2050));
    right.version().await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn the_build_time_is_known_without_a_journal() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |params| {
        params.not_before = date_time_ymd(2026, 1, 1)
    })
    .await;
    let client = client_at(&server, Some(authority.file.clone()), clock_in(1970), None);
    client.version().await.unwrap();
}

#[tokio::test]
async fn not_valid_yet_names_the_clock_and_how_to_set_it() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |params| {
        params.not_before = date_time_ymd(2100, 1, 1)
    })
    .await;
    let ca_file = Some(authority.file.clone());
    let (found, text) = problem_of(&server, client_at(&server, ca_file, clock_in(1970), None)).await;
    let TlsProblem::NotValidYet {
        not_before,
        now,
        judged,
    } = found
    else {
        panic!("{found:?}")
    };
    assert_eq!(not_before, in_year(2100));
    assert!(now < in_year(1971).unwrap() && judged >= build_time());
    assert!(
        text.contains("clock shows 1970-01-01T00:00:0") && text.contains("timedatectl set-ntp true"),
        "{text}"
    );
}

#[tokio::test]
async fn expired_says_when_it_was_not_the_clock_that_counted() {
    let authority = authority("ours");
    let server = server(&authority, "127.0.0.1", |params| {
        params.not_after = date_time_ymd(2050, 1, 1)
    })
    .await;
    let ca_file = Some(authority.file.clone());
    let behind = client_at(&server, ca_file.clone(), clock_in(2040), in_year(2060));
    let (found, text) = problem_of(&server, behind).await;
    assert!(
        matches!(found, TlsProblem::Expired { now, judged, .. } if judged >= in_year(2060).unwrap() && now < judged),
        "{found:?}"
    );
    assert!(
        text.contains("expired at 2050-01-01T00:00:00Z")
            && text.contains("clock shows 2040-01-01T00:00:0")
            && text.contains("2060-01-01T00:00:0")
            && text.contains("surely passed"),
        "{text}"
    );
    // Of a clock in the future nothing but the clock is known: it may be that one.
    let ahead = client_at(&server, ca_file, clock_in(2070), in_year(2040));
    let (found, text) = problem_of(&server, ahead).await;
    assert!(
        matches!(found, TlsProblem::Expired { now, judged, .. } if now == judged),
        "{found:?}"
    );
    assert!(
        text.contains("renew it, or set this machine's clock, which shows 2070-01-01T00:00:0"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_trusted() {
    let authority = authority("ours");
    let server = server(&authority, "hub.example.org", |_| ()).await;
    let (found, _) = problem(&server, Some(authority.file.clone())).await;
    assert_eq!(found, TlsProblem::WrongHost);
}

#[tokio::test]
async fn a_server_without_tls_is_recognised() {
    let authority = authority("ours");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    });
    let url = ServerUrl::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    let settings = HttpSettings {
        ca_file: Some(authority.file.clone()),
        ..HttpSettings::default()
    };
    let transport = HttpTransport::new(url, settings, Arc::new(SystemClock)).unwrap();
    let error = Client::new(transport, Dialect::Runtime)
        .version()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Unreachable {
                cause: Unreachable::Tls(TlsProblem::NotTls),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("missing.pem");
    let url = ServerUrl::parse("https://127.0.0.1:1").unwrap();
    for text in [None, Some("no certificate")] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let settings = HttpSettings {
            ca_file: Some(file.clone()),
            ..HttpSettings::default()
        };
        let error = HttpTransport::new(url.clone(), settings, Arc::new(SystemClock))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("missing.pem") && error.contains("ca_file"),
            "{error}"
        );
    }
}
