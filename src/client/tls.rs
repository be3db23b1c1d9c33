//! Whom to trust over HTTPS, and what is wrong when a server is not.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::clock::{BootTime, SharedClock};
use crate::protocol::Time;

/// 2026-06-01T00:00:00Z: this program did not exist before.
const WRITTEN: u64 = 1_780_272_000;

/// A moment that has surely passed: when this program was built.
///
/// That is `SOURCE_DATE_EPOCH` as it was while compiling (reproducible-builds.org: seconds since 1970, usually the date of
/// the commit); of a build without it a constant of the source, so that the same source gives the same program.
pub fn build_time() -> Time {
    let seconds = option_env!("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(WRITTEN).max(WRITTEN);
    Time::from_unix_nanos(0).plus(Duration::from_secs(seconds))
}

/// The time by which certificates are judged: what the wall clock shows, but never before a moment that has surely
/// passed. A Raspberry Pi boots in 1970, when no certificate was valid yet.
pub(super) struct JudgingTime {
    clock: SharedClock,
    floor: Time,
    /// The floor moves on from here, so that an agent whose clock is never set can outlive a certificate.
    since: BootTime,
}

/// When a certificate was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    /// What our clock shows.
    pub clock: Time,
    /// By which time; later than `clock` where that is surely wrong.
    pub at: Time,
}

impl JudgingTime {
    /// `good_time` is a moment that was surely reached before now, if one is known.
    pub(super) fn new(clock: SharedClock, good_time: Option<Time>) -> Self {
        JudgingTime {
            floor: good_time.map_or(build_time(), |good| good.max(build_time())),
            since: clock.now(),
            clock,
        }
    }

    pub(super) fn now(&self) -> Judged {
        let clock = Time::from_unix_nanos(self.clock.wall_nanos());
        let floor = self.floor.plus(self.clock.now().saturating_since(self.since));
        Judged {
            clock,
            at: clock.max(floor),
        }
    }
}

impl fmt::Debug for JudgingTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("JudgingTime")
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

impl TimeProvider for JudgingTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_1970 = self.now().at.since(Time::from_unix_nanos(0))?;
        Some(UnixTime::since_unix_epoch(since_1970))
    }
}

/// How a clock is set.
const SET_CLOCK: &str =
    "`sudo timedatectl set-ntp true`, or by hand `sudo timedatectl set-time 'YYYY-MM-DD HH:MM:SS'`";

/// Why TLS was not established, in words that name the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate's issuer is nobody we trust.
    UnknownIssuer,
    /// The certificate ran out.
    Expired {
        /// When it ran out, if said.
        not_after: Option<Time>,
        /// What our clock shows.
        now: Time,
        /// By which time it was judged: later than `now` where the clock is surely behind.
        judged: Time,
    },
    /// The certificate is not valid yet: rather our clock is behind.
    NotValidYet {
        /// When it becomes valid, if said.
        not_before: Option<Time>,
        /// What our clock shows.
        now: Time,
        /// By which time it was judged: later than `now` where the clock is surely behind.
        judged: Time,
    },
    /// The certificate is for another host.
    WrongHost,
    /// The server does not speak TLS there.
    NotTls,
    /// Anything else.
    Other {
        /// In the library's words.
        reason: String,
    },
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsProblem::UnknownIssuer => out.write_str(
                "its certificate was issued by an unknown authority; name the authority's certificate with ca_file",
            ),
            TlsProblem::Expired {
                not_after,
                now,
                judged,
            } => {
                out.write_str("its certificate has expired")?;
                if let Some(end) = not_after {
                    write!(out, " at {}", seconds(*end))?;
                }
                if judged > now {
                    write!(
                        out,
                        "; renew it. This machine's clock shows {}, but {} has surely passed, and that was what counted: \
                         set the clock too ({SET_CLOCK})",
                        seconds(*now),
                        seconds(*judged)
                    )
                } else {
                    write!(
                        out,
                        "; renew it, or set this machine's clock, which shows {} ({SET_CLOCK})",
                        seconds(*now)
                    )
                }
            }
            TlsProblem::NotValidYet {
                not_before,
                now,
                judged,
            } => {
                out.write_str("its certificate is not valid yet")?;
                if let Some(start) = not_before {
                    write!(out, " (from {})", seconds(*start))?;
                }
                write!(
                    out,
                    "; this machine's clock shows {} and is probably wrong: set it ({SET_CLOCK})",
                    seconds(*now)
                )?;
                if judged > now {
                    write!(
                        out,
                        ". It was judged as of {}, which has surely passed",
                        seconds(*judged)
                    )?;
                }
                Ok(())
            }
            TlsProblem::WrongHost => out.write_str(
                "its certificate is for another host; use the name in the certificate, or issue one for this address",
            ),
            TlsProblem::NotTls => out.write_str("it does not speak TLS there; use http:// or another port"),
            TlsProblem::Other { reason } => write!(out, "no TLS connection ({reason})"),
        }
    }
}

/// Without the fraction, which tells nobody anything here.
fn seconds(moment: Time) -> Time {
    let nanos = moment.unix_nanos();
    Time::from_unix_nanos(nanos - nanos.rem_euclid(1_000_000_000))
}

/// Why it is not known whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum BadTrust {
    /// The file named by `ca_file` can't be read.
    #[error("cannot read the certificates in {} (ca_file): {reason}; it must be a PEM file that this user may read", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The system has none, and none is named.
    #[error(
        "this system has no certificates of authorities{reason}; install the package ca-certificates, or name a file with ca_file"
    )]
    NoRoots {
        /// What the search said, or nothing.
        reason: String,
    },
    /// The TLS library refuses its own settings.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Trusts the system's authorities and those in `ca_file`, and judges by `time`. There is no way to trust everybody.
pub(super) fn client_config(
    ca_file: Option<&Path>,
    time: Arc<JudgingTime>,
) -> Result<ClientConfig, BadTrust> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    tracing::trace!(added, ignored, "the system's authorities");
    if let Some(path) = ca_file {
        let bad = |reason: String| BadTrust::CaFile {
            path: path.to_owned(),
            reason,
        };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| bad(error.to_string()))?;
        if certificates.is_empty() {
            return Err(bad("no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        let reason = match native.errors.first() {
            Some(error) => format!(" ({error})"),
            None => String::new(),
        };
        return Err(BadTrust::NoRoots { reason });
    }
    Ok(
        ClientConfig::builder_with_details(Arc::new(rustls::crypto::ring::default_provider()), time)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Finds a TLS error in what a connector said. `judged` is by which time certificates were judged.
pub(super) fn problem_in(error: &(dyn StdError + 'static), judged: Judged) -> Option<TlsProblem> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(classify(tls, judged));
        }
        // An I/O error hides what it carries from `source` and shows it in `get_ref`.
        link = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn classify(error: &rustls::Error, judged: Judged) -> TlsProblem {
    let at = |moment: &UnixTime| Some(Time::from_unix_nanos(0).plus(Duration::from_secs(moment.as_secs())));
    let Judged {
        clock: now,
        at: judged,
    } = judged;
    let expired = |not_after| TlsProblem::Expired {
        not_after,
        now,
        judged,
    };
    let not_valid_yet = |not_before| TlsProblem::NotValidYet {
        not_before,
        now,
        judged,
    };
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // A bad signature: issued by an authority that only bears the name of one we trust, as one made anew does.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownIssuer,
            CertificateError::Expired => expired(None),
            CertificateError::ExpiredContext { not_after, .. } => expired(at(not_after)),
            CertificateError::NotValidYet => not_valid_yet(None),
            CertificateError::NotValidYetContext { not_before, .. } => not_valid_yet(at(not_before)),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongHost
            }
            other => TlsProblem::Other {
                reason: other.to_string(),
            },
        },
        rustls::Error::InvalidMessage(_) => TlsProblem::NotTls,
        other => TlsProblem::Other {
            reason: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};

    fn at(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    fn clock(text: &str) -> Arc<TestClock> {
        TestClock::new(i64::try_from(at(text).unix_nanos()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_in_1970_is_helped_by_the_last_good_time_and_by_the_build() {
        let clock = clock("1970-01-01T00:01:00Z");
        let kept = at("2091-03-04T05:06:07Z");
        let judging = JudgingTime::new(clock.clone(), Some(kept));
        assert_eq!(judging.now().at, kept);
        assert_eq!(judging.now().clock, at("1970-01-01T00:01:00Z"));
        let judging_alone = JudgingTime::new(clock.clone(), None);
        assert_eq!(judging_alone.now().at, build_time());
        let older = JudgingTime::new(clock.clone(), Some(at("1999-01-01T00:00:00Z")));
        assert_eq!(older.now().at, build_time(), "the later one counts");
        // The floor moves on with boot time, whatever happens to the clock.
        let day = Duration::from_secs(86_400);
        clock.sleep_until(clock.now() + day).await;
        assert_eq!(judging.now().at, kept.plus(day));
        let unix = judging.current_time().unwrap();
        assert_eq!(
            i128::from(unix.as_secs()),
            kept.plus(day).unix_nanos() / 1_000_000_000
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_of_all_that_counts() {
        let clock = clock("2092-01-01T00:00:00Z");
        let judging = JudgingTime::new(clock.clone(), Some(at("2091-03-04T05:06:07Z")));
        let now = judging.now();
        assert_eq!((now.at, now.clock), (at("2092-01-01T00:00:00Z"), now.at));
        // Set right while it runs: at once.
        clock.step_wall(3_600_000_000_000);
        assert_eq!(judging.now().at, at("2092-01-01T01:00:00Z"));
    }

    #[test]
    fn the_build_time_is_plausible() {
        assert!(build_time() >= at("2026-06-01T00:00:00Z"), "{}", build_time());
        assert_eq!(build_time().unix_nanos() % 1_000_000_000, 0);
    }
}
