//! Where the server is and who asks: from the command line, else the environment, else the configuration file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{DEFAULT_SERVER, Global};
use super::error::CliError;
use super::file::FileSettings;
use super::keys::{Hidden, KeySource};
use crate::client::{Caller, Client, HttpSettings, HttpTransport, Resend, ServerUrl};
use crate::clock::SystemClock;
use crate::protocol::PrivateKey;
use crate::protocol::dialect::Dialect;
use crate::protocol::identity::ID_LENGTH;

/// The environment of the process, or that of a test.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The configuration file, which need not exist; `None`: nobody says where it would be.
    file: Option<PathBuf>,
    /// What stands in it.
    pub from_file: FileSettings,
    /// The server.
    pub server: ServerUrl,
    /// Further authorities for HTTPS.
    pub ca_file: Option<PathBuf>,
    /// The colony's id.
    pub colony: Option<String>,
    /// The key of the runtime that asks.
    pub operator_key: Option<KeySource>,
    /// The colony owner's key.
    pub colony_key: Option<KeySource>,
    /// The server owner's key.
    pub server_key: Option<KeySource>,
    /// The runtime id that goes with the operator's key, if the environment names it.
    runtime_id: Option<String>,
    /// The operator's key was named on the command line, and the colony's was not.
    operator_was_named: bool,
}

impl Settings {
    /// Puts together what the command line, the environment and the configuration file say.
    pub fn resolve(global: &Global, environment: Environment<'_>) -> Result<Self, CliError> {
        let file = match &global.config {
            Some(file) => Some(file.clone()),
            None => default_file(environment),
        };
        let from_file = file.as_deref().map(FileSettings::load).transpose()?;
        let from_file = from_file.unwrap_or_default();
        Settings::combine(global, environment, file, from_file)
    }

    fn combine(
        global: &Global,
        environment: Environment<'_>,
        file: Option<PathBuf>,
        from_file: FileSettings,
    ) -> Result<Self, CliError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let server = match (&global.server, server_from(&variable)?, &from_file.server) {
            (Some(url), _, _) => url.clone(),
            (None, Some(url), _) => url,
            (None, None, Some(text)) => ServerUrl::parse(text).map_err(|error| {
                let file = file.as_deref().unwrap_or(Path::new("the configuration"));
                CliError::usage(format!("server in {}: {error}", file.display()))
            })?,
            (None, None, None) => {
                ServerUrl::parse(DEFAULT_SERVER).map_err(|error| CliError::usage(error.to_string()))?
            }
        };
        let key = |flag: &Option<PathBuf>, name: Option<&'static str>, in_file: &Option<PathBuf>| {
            let from_variable = || {
                let name = name?;
                let hex = Hidden(variable(name)?);
                Some(KeySource::Variable { name, hex })
            };
            let from_flag = flag.clone().map(KeySource::File);
            from_flag
                .or_else(from_variable)
                .or_else(|| in_file.clone().map(KeySource::File))
        };
        let operator_key = key(
            &global.key,
            Some("COLONIES_RUNTIMEPRVKEY"),
            &from_file.operator_key,
        );
        let colony_key = key(
            &global.colony_key,
            Some("COLONIES_COLONYPRVKEY"),
            &from_file.colony_key,
        );
        let server_key = key(
            &global.server_key,
            Some("COLONIES_SERVERPRVKEY"),
            &from_file.server_key,
        );
        let runtime_id = match &operator_key {
            // The id stands beside the key in the environment; one of them alone says nothing about the other.
            Some(KeySource::Variable { .. }) => variable("COLONIES_RUNTIMEID"),
            _ => None,
        };
        // A colony's key names its colony, with the rank of the place where the key stands.
        let colony = match (&global.colony, &global.colony_key) {
            (Some(colony), _) => Some(colony.clone()),
            (None, Some(_)) => None,
            (None, None) => match (variable("COLONIES_COLONYID"), variable("COLONIES_COLONYPRVKEY")) {
                (Some(colony), _) => Some(colony),
                (None, Some(_)) => None,
                (None, None) => from_file.colony.clone(),
            },
        };
        if let Some(colony) = &colony
            && colony.len() != ID_LENGTH
        {
            return Err(CliError::usage(format!(
                "{colony:?} is not the id of a colony; ids have {ID_LENGTH} hex digits (outpost keys id FILE prints that of a key)"
            )));
        }
        Ok(Settings {
            ca_file: global.ca_file.clone().or_else(|| from_file.ca_file.clone()),
            file,
            from_file,
            server,
            colony,
            operator_key,
            colony_key,
            server_key,
            runtime_id,
            operator_was_named: global.key.is_some() && global.colony_key.is_none(),
        })
    }

    /// The configuration file, for those who write it.
    pub fn file(&self) -> Result<&Path, CliError> {
        self.file.as_deref().ok_or_else(|| {
            CliError::usage(
                "where shall the configuration be? neither XDG_CONFIG_HOME nor HOME is set; name the file with --config FILE",
            )
        })
    }

    /// The directory of the configuration file; keys that are made lie there.
    pub fn directory(&self) -> Result<&Path, CliError> {
        Ok(match self.file()?.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        })
    }

    /// A client of the server.
    pub fn client(&self) -> Result<Client, CliError> {
        let settings = HttpSettings {
            ca_file: self.ca_file.clone(),
            ..HttpSettings::default()
        };
        let transport = HttpTransport::new(self.server.clone(), settings, Arc::new(SystemClock))?;
        Ok(Client::new(transport, Dialect::Runtime))
    }

    fn caller(&self, key: PrivateKey) -> Result<Caller, CliError> {
        Ok(self.client()?.with_key(key).resending(Resend::Once))
    }

    /// The colony's id: as said, or that of the colony owner's key.
    pub fn colony(&self) -> Result<String, CliError> {
        if let Some(colony) = &self.colony {
            return Ok(colony.clone());
        }
        match &self.colony_key {
            Some(source) => Ok(source.read()?.id()),
            None => Err(CliError::usage(
                "which colony? name it with --colony ID or COLONIES_COLONYID, or give its key with --colony-key FILE; \
                 outpost operator init --colony-key FILE keeps it in the configuration",
            )),
        }
    }

    /// Calls as the operator's runtime.
    pub fn as_operator(&self) -> Result<Caller, CliError> {
        let Some(source) = &self.operator_key else {
            return Err(CliError::usage(
                "submitting and reading need a runtime's key, and there is none; make one with outpost operator init, \
                 or name a key file with --key FILE",
            ));
        };
        let key = source.read()?;
        match &self.runtime_id {
            Some(id) if *id != key.id() => Err(CliError::usage(format!(
                "COLONIES_RUNTIMEID and COLONIES_RUNTIMEPRVKEY do not belong together (the key's id is {})",
                key.id()
            ))),
            _ => self.caller(key),
        }
    }

    /// Calls as the colony's owner.
    pub fn as_colony_owner(&self) -> Result<Caller, CliError> {
        let Some(source) = &self.colony_key else {
            return Err(CliError::usage(
                "only the colony's owner may do that; give the colony's key with --colony-key FILE or COLONIES_COLONYPRVKEY",
            ));
        };
        let key = source.read()?;
        match &self.colony {
            Some(colony) if *colony != key.id() => Err(CliError::usage(format!(
                "the colony's key does not belong to the colony {colony}, but to {}; give the right one with --colony-key FILE",
                key.id()
            ))),
            _ => self.caller(key),
        }
    }

    /// Calls as the colony's owner if the key is at hand and nobody said otherwise, else as the operator: what both
    /// may ask.
    pub fn as_owner_or_operator(&self) -> Result<Caller, CliError> {
        match &self.colony_key {
            Some(_) if !self.operator_was_named => self.as_colony_owner(),
            _ => self.as_operator(),
        }
    }

    /// Calls as the server's owner.
    pub fn as_server_owner(&self) -> Result<Caller, CliError> {
        let Some(source) = &self.server_key else {
            return Err(CliError::usage(
                "only the server's owner may do that; give the key with --server-key FILE or COLONIES_SERVERPRVKEY \
                 (a hub keeps it in DATA-DIR/keys/server.key)",
            ));
        };
        self.caller(source.read()?)
    }
}

/// The address as the original's environment says it, if it does.
fn server_from(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<ServerUrl>, CliError> {
    let Some(host) = variable("COLONIES_SERVERHOST") else {
        return Ok(None);
    };
    if host.contains('/') {
        return Err(CliError::usage(format!(
            "COLONIES_SERVERHOST is {host:?}; it must be the host alone, COLONIES_TLS says whether it is https"
        )));
    }
    let tls = match variable("COLONIES_TLS").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(CliError::usage(format!(
                "COLONIES_TLS is {other:?}; it must be true or false"
            )));
        }
    };
    let port = variable("COLONIES_SERVERPORT").unwrap_or_else(|| "50080".to_owned());
    // A bare IPv6 address needs its brackets.
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host
    };
    let url = format!("{}://{host}:{port}", if tls { "https" } else { "http" });
    ServerUrl::parse(&url)
        .map(Some)
        .map_err(|error| CliError::usage(format!("COLONIES_SERVERHOST and COLONIES_SERVERPORT: {error}")))
}

/// `$XDG_CONFIG_HOME/outpost/config.toml`, else below `~/.config`; without either there is none.
fn default_file(environment: Environment<'_>) -> Option<PathBuf> {
    let variable = |name: &str| environment(name).filter(|value| value.starts_with('/'));
    let base = match (variable("XDG_CONFIG_HOME"), variable("HOME")) {
        (Some(base), _) => PathBuf::from(base),
        (None, Some(home)) => Path::new(&home).join(".config"),
        (None, None) => return None,
    };
    Some(base.join("outpost").join("config.toml"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const COLONY: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const OTHER: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn in_file() -> FileSettings {
        FileSettings {
            server: Some("http://file:1".to_owned()),
            colony: Some(OTHER.to_owned()),
            operator_key: Some("/home/op/op.key".into()),
            ..FileSettings::default()
        }
    }

    fn combined(
        global: Global,
        environment: &[(&str, &str)],
        from_file: FileSettings,
    ) -> Result<Settings, String> {
        let environment: HashMap<String, String> = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let path = Some(PathBuf::from("/home/op/config.toml"));
        Settings::combine(&global, &|name| environment.get(name).cloned(), path, from_file)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_flag_stands_over_the_environment_and_that_over_the_file() {
        let environment = [
            ("COLONIES_SERVERHOST", "env"),
            ("COLONIES_SERVERPORT", "2"),
            ("COLONIES_TLS", "true"),
            ("COLONIES_COLONYID", COLONY),
            ("COLONIES_RUNTIMEPRVKEY", OTHER),
        ];
        let nothing = combined(Global::default(), &[], FileSettings::default()).unwrap();
        assert_eq!(nothing.server.as_str(), DEFAULT_SERVER);
        let from_file = combined(Global::default(), &[], in_file()).unwrap();
        assert_eq!(from_file.server.as_str(), "http://file:1");
        assert_eq!(from_file.colony.as_deref(), Some(OTHER));
        assert_eq!(
            from_file.operator_key,
            Some(KeySource::File("/home/op/op.key".into()))
        );
        let from_environment = combined(Global::default(), &environment, in_file()).unwrap();
        assert_eq!(from_environment.server.as_str(), "https://env:2");
        assert_eq!(from_environment.colony.as_deref(), Some(COLONY));
        assert!(matches!(
            from_environment.operator_key,
            Some(KeySource::Variable {
                name: "COLONIES_RUNTIMEPRVKEY",
                ..
            })
        ));
        let flags = Global {
            server: Some(ServerUrl::parse("http://flag:3").unwrap()),
            colony: Some(OTHER.to_owned()),
            key: Some("k".into()),
            ..Global::default()
        };
        let from_flags = combined(flags, &environment, in_file()).unwrap();
        assert_eq!(from_flags.server.as_str(), "http://flag:3");
        assert_eq!(from_flags.colony.as_deref(), Some(OTHER));
        assert_eq!(from_flags.operator_key, Some(KeySource::File("k".into())));
    }

    #[test]
    fn the_environment_is_read_as_the_original_reads_it() {
        let server = |environment: &[(&str, &str)]| {
            combined(Global::default(), environment, FileSettings::default())
                .map(|settings| settings.server.as_str().to_owned())
        };
        assert_eq!(server(&[("COLONIES_SERVERHOST", "h")]).unwrap(), "http://h:50080");
        assert_eq!(
            server(&[("COLONIES_SERVERHOST", "::1"), ("COLONIES_TLS", "false")]).unwrap(),
            "http://[::1]:50080"
        );
        // Without a host the port is that of nothing; an empty variable is none.
        assert_eq!(
            server(&[("COLONIES_SERVERPORT", "9"), ("COLONIES_SERVERHOST", "")]).unwrap(),
            DEFAULT_SERVER
        );
        for environment in [
            [("COLONIES_SERVERHOST", "http://h"), ("COLONIES_TLS", "false")],
            [("COLONIES_SERVERHOST", "h"), ("COLONIES_TLS", "yes")],
            [("COLONIES_SERVERHOST", "h"), ("COLONIES_SERVERPORT", "x")],
        ] {
            assert!(
                server(&environment).unwrap_err().contains("COLONIES_"),
                "{environment:?}"
            );
        }
    }

    #[test]
    fn keys_that_do_not_belong_together_are_refused() {
        let environment = [("COLONIES_RUNTIMEPRVKEY", COLONY), ("COLONIES_RUNTIMEID", OTHER)];
        let settings = combined(Global::default(), &environment, FileSettings::default()).unwrap();
        let error = settings.as_operator().err().unwrap().to_string();
        assert!(error.contains("COLONIES_RUNTIMEID"), "{error}");
        let environment = [("COLONIES_COLONYPRVKEY", COLONY), ("COLONIES_COLONYID", OTHER)];
        let settings = combined(Global::default(), &environment, FileSettings::default()).unwrap();
        assert!(
            settings
                .as_colony_owner()
                .err()
                .unwrap()
                .to_string()
                .contains(OTHER)
        );
        // The colony follows from its key.
        let settings = combined(Global::default(), &environment[..1], FileSettings::default()).unwrap();
        assert_eq!(
            settings.colony().unwrap(),
            PrivateKey::from_hex(COLONY).unwrap().id()
        );
        // A new key on the command line stands over the colony in the file, an old colony there does not forbid it.
        let file = FileSettings {
            colony: Some(OTHER.to_owned()),
            ..FileSettings::default()
        };
        let settings = combined(Global::default(), &environment[..1], file).unwrap();
        assert_eq!(
            settings.colony().unwrap(),
            PrivateKey::from_hex(COLONY).unwrap().id()
        );
        let short = Global {
            colony: Some("dev".into()),
            ..Global::default()
        };
        assert!(
            combined(short, &[], FileSettings::default())
                .unwrap_err()
                .contains("64 hex digits")
        );
    }

    #[test]
    fn a_missing_key_names_the_remedy() {
        let settings = combined(Global::default(), &[], FileSettings::default()).unwrap();
        let remedy = |error: Option<CliError>| error.unwrap().to_string();
        assert!(remedy(settings.as_operator().err()).contains("outpost operator init"));
        assert!(remedy(settings.as_colony_owner().err()).contains("--colony-key"));
        assert!(remedy(settings.as_server_owner().err()).contains("--server-key"));
        assert!(remedy(settings.colony().err()).contains("--colony"));
    }

    #[test]
    fn a_key_is_not_shown() {
        let settings = combined(
            Global::default(),
            &[("COLONIES_RUNTIMEPRVKEY", OTHER)],
            FileSettings::default(),
        )
        .unwrap();
        assert!(!format!("{settings:?}").contains(OTHER));
    }

    #[test]
    fn the_file_is_found_where_the_desktop_keeps_such_files() {
        let at = |pairs: &[(&str, &str)]| {
            let pairs: HashMap<&str, &str> = pairs.iter().copied().collect();
            default_file(&|name| pairs.get(name).map(|value| (*value).to_owned()))
        };
        assert_eq!(
            at(&[("HOME", "/home/a")]).unwrap(),
            Path::new("/home/a/.config/outpost/config.toml")
        );
        assert_eq!(
            at(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/x")]).unwrap(),
            Path::new("/x/outpost/config.toml")
        );
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn the_environment_alone_is_enough() {
        let environment = |name: &str| match name {
            "COLONIES_COLONYID" => Some(COLONY.to_owned()),
            "COLONIES_RUNTIMEPRVKEY" => Some(OTHER.to_owned()),
            _ => None,
        };
        let settings = Settings::resolve(&Global::default(), &environment).unwrap();
        assert!(settings.as_operator().is_ok());
        // Only who writes a file must know where.
        let error = settings.directory().unwrap_err().to_string();
        assert!(error.contains("--config FILE"), "{error}");
    }

    #[test]
    fn a_key_on_the_command_line_is_the_one_that_asks() {
        let file = FileSettings {
            colony_key: Some("colony.key".into()),
            ..in_file()
        };
        let who = |global: Global| {
            let settings = combined(global, &[], file.clone()).unwrap();
            let refused = settings.as_owner_or_operator().err().unwrap();
            refused.to_string()
        };
        assert!(who(Global::default()).contains("colony.key"));
        let named = Global {
            key: Some("mine.key".into()),
            ..Global::default()
        };
        assert!(who(named.clone()).contains("mine.key"));
        let both = Global {
            colony_key: Some("theirs.key".into()),
            ..named
        };
        assert!(who(both).contains("theirs.key"));
    }
}
