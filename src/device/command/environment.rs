//! The environment of a program: what it gets, and what a process may bring along.
//!
//! A program starts from nothing. It is given, the later ones winning:
//! 1. `pass_env`: these of the agent's own variables (by default `PATH`, `LANG`, `HOME`);
//! 2. `HOME`, `USER`, `LOGNAME` of `user`, where that is set;
//! 3. `env` of the configuration;
//! 4. the process's environment, as far as the rule below lets it;
//! 5. `COLONIES_COLONYID`, `COLONIES_PROCESSID`, `COLONIES_SERVERHOST`, `COLONIES_SERVERPORT`,
//!    `COLONIES_RUNTIMEID` (docs/protocol/runtime-dialect.md, section 6), never a private key.
//!
//! **The rule.** A process is refused, and nothing is started, if its environment has a name that is no
//! identifier (letters, digits, `_`, at most 128, not beginning with a digit), a value with a NUL byte, a name
//! set by `env`, a name outside `accept_env` where that is set, or a name that decides which code runs or
//! belongs to the agent ([`is_dangerous`]). Refused rather than left out: a program that runs other than as it
//! was asked to is worse than none. The list of names can't be complete; `accept_env` is the strict way.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use super::super::Context;

/// Names and values as a program is given them.
pub type Environment = BTreeMap<OsString, OsString>;

/// The agent's own variables that pass by default.
pub const PASSED_BY_DEFAULT: [&str; 3] = ["PATH", "LANG", "HOME"];

/// Where programs are looked for if the agent itself has no `PATH`.
pub const FALLBACK_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest name.
const NAME_MAX: usize = 128;

/// Names that decide which code a program runs, where it looks for files or whom it trusts.
pub const DANGEROUS: &[&str] = &[
    "BASHOPTS",
    "BASH_ENV",
    "CDPATH",
    "CLASSPATH",
    "CURL_HOME",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "MAIL",
    "MANPAGER",
    "NIS_PATH",
    "NLSPATH",
    "PAGER",
    "PATH",
    "PHPRC",
    "PROMPT_COMMAND",
    "PS4",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "SHELL",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TERMPATH",
    "TMPDIR",
    "TZDIR",
    "USER",
    "VISUAL",
    "WGETRC",
    "_JAVA_OPTIONS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
];

/// Beginnings of such names.
pub const DANGEROUS_BEGINNINGS: &[&str] = &[
    "BASH_FUNC_",
    "COLONIES_",
    "CREDENTIALS_",
    "DYLD_",
    "GIT_",
    "LD_",
    "LISTEN_",
    "LUA_",
    "MALLOC_",
    "NODE_",
    "NOTIFY_",
    "OPENSSL_",
    "OUTPOST_",
    "PERL",
    "PYTHON",
    "RUBY",
    "SYSTEMD_",
    "WATCHDOG_",
];

/// Whether a process may not set this variable for a program.
pub fn is_dangerous(name: &str) -> bool {
    // Some programs look at names in lower case too (`http_proxy` does no harm of this kind).
    let upper = name.to_ascii_uppercase();
    DANGEROUS.contains(&upper.as_str())
        || DANGEROUS_BEGINNINGS
            .iter()
            .any(|beginning| upper.starts_with(beginning))
        || is_secret(name)
}

/// Whether the agent's own variable of that name must not reach a program: keys, the agent's settings, and
/// what systemd gave to the agent alone.
pub fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let key = upper.contains("PRVKEY")
        || upper.contains("PRIVKEY")
        || upper.contains("PRIVATEKEY")
        || upper.contains("PRIVATE_KEY");
    let ours = [
        "OUTPOST_",
        "CREDENTIALS_DIRECTORY",
        "NOTIFY_SOCKET",
        "WATCHDOG_",
        "LISTEN_",
    ];
    key || ours.iter().any(|beginning| upper.starts_with(beginning))
}

/// Whether a name can be a variable's at all, for a shell too.
pub fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= NAME_MAX && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Why a process's environment is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// No name.
    #[error(
        "{name:?} can't be the name of an environment variable: use letters, digits and `_`, at most 128"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No value.
    #[error("the environment variable {name} has a NUL byte, which no program can be given")]
    Value {
        /// Its name.
        name: String,
    },
    /// Dangerous.
    #[error("a process may not set {name}: it decides which code runs, or belongs to the agent")]
    Dangerous {
        /// The name.
        name: String,
    },
    /// The owner set it.
    #[error("a process may not set {name}: the owner of the device has set it")]
    Fixed {
        /// The name.
        name: String,
    },
    /// Not in the owner's list.
    #[error("a process may not set {name}: accept_env of this function does not name it")]
    NotAccepted {
        /// The name.
        name: String,
    },
}

/// What the owner says about the environment of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRules {
    /// Of the agent's own variables, these pass.
    pub pass: Vec<String>,
    /// Set for every run.
    pub fixed: BTreeMap<String, String>,
    /// If there: a process may set these only.
    pub accept: Option<BTreeSet<String>>,
}

impl Default for EnvironmentRules {
    fn default() -> Self {
        EnvironmentRules {
            pass: PASSED_BY_DEFAULT.map(str::to_owned).to_vec(),
            fixed: BTreeMap::new(),
            accept: None,
        }
    }
}

impl EnvironmentRules {
    /// The environment of a run. `own` looks up the agent's variables; `account` is what belongs to `user`.
    ///
    /// # Errors
    /// Every [`EnvironmentError`].
    pub fn apply(
        &self,
        own: impl Fn(&str) -> Option<OsString>,
        account: &[(&str, OsString)],
        given: &BTreeMap<String, String>,
        context: &Context,
    ) -> Result<Environment, EnvironmentError> {
        for (name, value) in given {
            self.check(name, value)?;
        }
        let mut all = Environment::new();
        for name in self.pass.iter().filter(|name| !is_secret(name)) {
            let value = own(name).or_else(|| (name == "PATH").then(|| FALLBACK_PATH.into()));
            all.extend(value.map(|value| (name.into(), value)));
        }
        all.extend(account.iter().map(|(name, value)| (name.into(), value.clone())));
        all.extend(self.fixed.iter().map(|(name, value)| (name.into(), value.into())));
        all.extend(given.iter().map(|(name, value)| (name.into(), value.into())));
        add_facts(&mut all, context);
        Ok(all)
    }

    fn check(&self, name: &str, value: &str) -> Result<(), EnvironmentError> {
        let name = name.to_owned();
        if !is_identifier(&name) {
            return Err(EnvironmentError::Name { name });
        }
        if value.contains('\0') {
            return Err(EnvironmentError::Value { name });
        }
        if is_dangerous(&name) {
            return Err(EnvironmentError::Dangerous { name });
        }
        if self.fixed.contains_key(&name) {
            return Err(EnvironmentError::Fixed { name });
        }
        match &self.accept {
            Some(accepted) if !accepted.contains(&name) => Err(EnvironmentError::NotAccepted { name }),
            _ => Ok(()),
        }
    }
}

/// The environment as the original worker makes it: its own, then everything of the process, then the facts.
/// Left out, other than there: keys and what is the agent's alone, and what can't be a variable.
pub fn original(
    own: impl Iterator<Item = (OsString, OsString)>,
    given: &BTreeMap<String, String>,
    context: &Context,
) -> Environment {
    let possible = |name: &str| !name.is_empty() && !name.contains(['=', '\0']) && !is_secret(name);
    let mut all: Environment = own
        .filter(|(name, _)| !is_secret(&name.to_string_lossy()))
        .collect();
    for (name, value) in given {
        if possible(name) && !value.contains('\0') {
            all.insert(name.into(), value.into());
        }
    }
    add_facts(&mut all, context);
    all
}

fn add_facts(all: &mut Environment, context: &Context) {
    let origin = context.origin();
    let facts = [
        ("COLONIES_COLONYID", origin.map(|origin| origin.colony.as_str())),
        ("COLONIES_PROCESSID", context.process()),
        (
            "COLONIES_SERVERHOST",
            origin.map(|origin| origin.server_host.as_str()),
        ),
        (
            "COLONIES_SERVERPORT",
            origin.map(|origin| origin.server_port.as_str()),
        ),
        ("COLONIES_RUNTIMEID", origin.map(|origin| origin.runtime.as_str())),
    ];
    for (name, value) in facts {
        all.extend(value.map(|value| (name.into(), value.into())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::SystemClock;
    use crate::device::Origin;

    fn context() -> Context {
        let origin = Origin {
            colony: "cid".into(),
            server_host: "hub.example".into(),
            server_port: "8080".into(),
            runtime: "rid".into(),
        };
        Context::new(Arc::new(SystemClock))
            .with_process("pid")
            .with_origin(origin)
    }

    fn own(name: &str) -> Option<OsString> {
        Some(format!("own {name}").into())
    }

    fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn shown(all: &Environment) -> Vec<String> {
        all.iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect()
    }

    #[test]
    fn everything_in_its_order_and_nothing_else() {
        let rules = EnvironmentRules {
            fixed: pairs(&[("MODE", "fixed"), ("LANG", "C.UTF-8")]),
            ..EnvironmentRules::default()
        };
        let account = [("HOME", OsString::from("/home/pi"))];
        let all = rules
            .apply(own, &account, &pairs(&[("TEST", "a=b")]), &context())
            .unwrap();
        assert_eq!(
            shown(&all),
            [
                "COLONIES_COLONYID=cid",
                "COLONIES_PROCESSID=pid",
                "COLONIES_RUNTIMEID=rid",
                "COLONIES_SERVERHOST=hub.example",
                "COLONIES_SERVERPORT=8080",
                "HOME=/home/pi",
                "LANG=C.UTF-8",
                "MODE=fixed",
                "PATH=own PATH",
                "TEST=a=b",
            ]
        );
        let bare = EnvironmentRules::default()
            .apply(
                |_| None,
                &[],
                &BTreeMap::new(),
                &Context::new(Arc::new(SystemClock)),
            )
            .unwrap();
        assert_eq!(shown(&bare), [format!("PATH={FALLBACK_PATH}")]);
    }

    #[test]
    fn what_a_process_may_not_set_is_refused_by_name() {
        let rules = EnvironmentRules {
            fixed: pairs(&[("MODE", "fixed")]),
            ..EnvironmentRules::default()
        };
        for (name, value, part) in [
            ("LD_PRELOAD", "/tmp/x.so", "may not set LD_PRELOAD"),
            ("ld_preload", "x", "which code runs"),
            ("LD_ANYTHING_NEW", "x", "which code runs"),
            ("PATH", "/tmp", "which code runs"),
            ("BASH_ENV", "x", "which code runs"),
            ("IFS", " ", "which code runs"),
            ("PYTHONPATH", "x", "which code runs"),
            ("COLONIES_RUNTIMEPRVKEY", "x", "belongs to the agent"),
            ("COLONIES_PROCESSID", "forged", "belongs to the agent"),
            ("NOTIFY_SOCKET", "x", "belongs to the agent"),
            ("MY_PRIVATE_KEY", "x", "belongs to the agent"),
            ("MODE", "x", "the owner of the device has set it"),
            ("", "x", "can't be the name"),
            ("A=B", "x", "can't be the name"),
            ("A\0", "x", "can't be the name"),
            ("1A", "x", "can't be the name"),
            ("BASH_FUNC_ls%%", "() { :; }", "can't be the name"),
            ("ä", "x", "can't be the name"),
            ("OK", "a\0b", "NUL byte"),
        ] {
            let error = rules
                .apply(own, &[], &pairs(&[(name, value)]), &context())
                .expect_err(name);
            assert!(error.to_string().contains(part), "{name}: {error}");
        }
        let long = "A".repeat(NAME_MAX);
        assert!(rules.apply(own, &[], &pairs(&[(&long, "")]), &context()).is_ok());
        let longer = format!("{long}A");
        assert!(
            rules
                .apply(own, &[], &pairs(&[(&longer, "")]), &context())
                .is_err()
        );
    }

    #[test]
    fn accept_env_lets_nothing_else_through_and_opens_nothing_dangerous() {
        let rules = EnvironmentRules {
            accept: Some(["LEVEL".to_owned(), "PATH".to_owned()].into()),
            ..EnvironmentRules::default()
        };
        assert!(
            rules
                .apply(own, &[], &pairs(&[("LEVEL", "3")]), &context())
                .is_ok()
        );
        let other = rules.apply(own, &[], &pairs(&[("OTHER", "3")]), &context());
        assert!(other.unwrap_err().to_string().contains("accept_env"));
        assert!(
            rules
                .apply(own, &[], &pairs(&[("PATH", "/tmp")]), &context())
                .is_err()
        );
    }

    #[test]
    fn the_original_passes_everything_but_keys() {
        let mine = [
            ("PATH", "/bin"),
            ("COLONIES_COLONYPRVKEY", "secret"),
            ("OUTPOST_AGENT__KEY", "secret"),
            ("CREDENTIALS_DIRECTORY", "/run/credentials"),
            ("TERM", "dumb"),
        ];
        let mine = mine.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let given = pairs(&[
            ("PATH", "/opt/bin"),
            ("with-dash", "x"),
            ("a=b", "x"),
            ("", "x"),
            ("nul", "\0"),
            ("COLONIES_RUNTIMEPRVKEY", "secret"),
            ("COLONIES_PROCESSID", "forged"),
        ]);
        let all = original(mine.into_iter(), &given, &context());
        assert_eq!(
            shown(&all),
            [
                "COLONIES_COLONYID=cid",
                "COLONIES_PROCESSID=pid",
                "COLONIES_RUNTIMEID=rid",
                "COLONIES_SERVERHOST=hub.example",
                "COLONIES_SERVERPORT=8080",
                "PATH=/opt/bin",
                "TERM=dumb",
                "with-dash=x",
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_passes_is_a_harmless_pair(name in "[A-Za-z0-9_=]{0,12}", value in ".{0,12}") {
            let given = BTreeMap::from([(name.clone(), value)]);
            if EnvironmentRules::default().apply(own, &[], &given, &context()).is_ok() {
                prop_assert!(is_identifier(&name) && !is_dangerous(&name));
            }
        }
    }
}
