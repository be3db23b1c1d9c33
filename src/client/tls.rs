//! Whom to trust over HTTPS, and what is wrong when a server is not.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::protocol::Time;

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
    },
    /// The certificate is not valid yet: rather our clock is behind.
    NotValidYet {
        /// When it becomes valid, if said.
        not_before: Option<Time>,
        /// What our clock shows.
        now: Time,
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
            TlsProblem::Expired { not_after, now } => {
                out.write_str("its certificate has expired")?;
                if let Some(end) = not_after {
                    write!(out, " at {}", seconds(*end))?;
                }
                write!(
                    out,
                    "; renew it, or set this machine's clock, which shows {}",
                    seconds(*now)
                )
            }
            TlsProblem::NotValidYet { not_before, now } => {
                out.write_str("its certificate is not valid yet")?;
                if let Some(start) = not_before {
                    write!(out, " (from {})", seconds(*start))?;
                }
                write!(
                    out,
                    "; this machine's clock shows {}: set it, it is probably wrong",
                    seconds(*now)
                )
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

/// Trusts the system's authorities and those in `ca_file`. There is no way to trust everybody.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, BadTrust> {
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
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Finds a TLS error in what a connector said. `now` is what our wall clock shows.
pub(super) fn problem_in(error: &(dyn StdError + 'static), now: Time) -> Option<TlsProblem> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(classify(tls, now));
        }
        // An I/O error hides what it carries from `source` and shows it in `get_ref`.
        link = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn classify(error: &rustls::Error, now: Time) -> TlsProblem {
    let at = |moment: &rustls::pki_types::UnixTime| {
        Some(Time::from_unix_nanos(0).plus(Duration::from_secs(moment.as_secs())))
    };
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            // A bad signature: issued by an authority that only bears the name of one we trust, as one made anew does.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsProblem::UnknownIssuer,
            CertificateError::Expired => TlsProblem::Expired { not_after: None, now },
            CertificateError::ExpiredContext { not_after, .. } => TlsProblem::Expired {
                not_after: at(not_after),
                now,
            },
            CertificateError::NotValidYet => TlsProblem::NotValidYet {
                not_before: None,
                now,
            },
            CertificateError::NotValidYetContext { not_before, .. } => TlsProblem::NotValidYet {
                not_before: at(not_before),
                now,
            },
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
