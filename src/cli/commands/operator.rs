//! `outpost operator init`: a runtime for the person at the keyboard.

use std::path::{Path, PathBuf};

use super::{Context, object};
use crate::cli::args::OperatorCommand;
use crate::cli::error::{CliError, DONE};
use crate::cli::keys::{self, KeySource};
use crate::cli::{file, show};
use crate::protocol::model::{Runtime, RuntimeState};

/// `outpost operator …`
pub async fn operator(command: OperatorCommand, context: &mut Context<'_>) -> Result<u8, CliError> {
    let OperatorCommand::Init { name, runtime_type } = command;
    init(name, &runtime_type, context).await
}

async fn init(name: Option<String>, runtime_type: &str, context: &mut Context<'_>) -> Result<u8, CliError> {
    let settings = &context.settings;
    let colony_id = settings.colony()?;
    let name = name.unwrap_or_else(|| match context.user.as_str() {
        "" => "operator".to_owned(),
        user => user.to_owned(),
    });
    // A key that is named stays where it is; else there is one beside the configuration.
    let path = match &settings.operator_key {
        Some(KeySource::File(path)) => Some(path.clone()),
        Some(KeySource::Variable { .. }) => None,
        None => Some(settings.directory()?.join("operator.key")),
    };
    let key = match (&path, &settings.operator_key) {
        (Some(path), _) => keys::read_or_make(path)?,
        (None, Some(source)) => source.read()?,
        (None, None) => return Err(CliError::usage("there is no key")),
    };
    let id = key.id();

    let server = settings.server.to_string();
    let mut values = vec![("server", server), ("colony", colony_id.clone())];
    let directory = settings.directory()?;
    let in_file = |path: &Path| relative(path, directory).display().to_string();
    if let Some(path) = &path {
        values.push(("operator_key", in_file(path)));
    }
    if let Some(KeySource::File(path)) = &settings.colony_key {
        values.push(("colony_key", in_file(path)));
    }
    if let Some(path) = &settings.ca_file {
        values.push(("ca_file", in_file(path)));
    }
    let values: Vec<(&str, &str)> = values
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    file::set(settings.file()?, &values)?;
    context.console.note(format!(
        "the configuration is in {}",
        context.settings.file()?.display()
    ));

    let state = if context.settings.colony_key.is_some() {
        let owner = context.settings.as_colony_owner()?;
        let there = owner.get_runtimes(&colony_id).await?.value;
        let known = there.into_iter().find(|runtime| runtime.id == id);
        if known.is_none() {
            let runtime = Runtime {
                id: id.clone(),
                runtime_type: runtime_type.to_owned(),
                name: name.clone(),
                colony_id: colony_id.clone(),
                ..Runtime::default()
            };
            owner.add_runtime(&runtime).await?;
        }
        if known.is_none_or(|runtime| runtime.state != RuntimeState::Approved) {
            owner.approve_runtime(&id).await?;
        }
        RuntimeState::Approved
    } else {
        state_without_owner(&id, &colony_id, context).await
    };
    let state_name = show::runtime_state(state);
    if context.json {
        context
            .console
            .line(object(&[("id", &id), ("state", &state_name)]));
    } else {
        context.console.line(&id);
    }
    if state == RuntimeState::Approved {
        context
            .console
            .note("this runtime is approved: outpost submit, run, get and ps work");
    } else {
        context.console.note(format!(
            "this runtime is {state_name}; the colony's owner must run:\n  outpost runtime add --id {id} --name {name} --type \
             {runtime_type} --approve --colony-key FILE --server {}",
            context.settings.server
        ));
    }
    Ok(DONE)
}

/// What the server says of us; a stranger is refused, and then counts as pending.
async fn state_without_owner(id: &str, colony_id: &str, context: &mut Context<'_>) -> RuntimeState {
    let Ok(caller) = context.settings.as_operator() else {
        return RuntimeState::Pending;
    };
    match caller.get_runtimes(colony_id).await {
        Ok(runtimes) => {
            let own = runtimes.value.into_iter().find(|runtime| runtime.id == id);
            own.map_or(RuntimeState::Pending, |runtime| runtime.state)
        }
        Err(error) => {
            if error.refusal().is_none() {
                context.console.note(error);
            }
            RuntimeState::Pending
        }
    }
}

/// How a path is written into a file in `directory`: by its name if it lies there, else absolute.
fn relative(path: &Path, directory: &Path) -> PathBuf {
    if let Ok(inner) = path.strip_prefix(directory)
        && !inner.as_os_str().is_empty()
    {
        return inner.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_so_that_they_are_found_again() {
        assert_eq!(
            relative(Path::new("/c/operator.key"), Path::new("/c")),
            Path::new("operator.key")
        );
        assert_eq!(
            relative(Path::new("/d/colony.key"), Path::new("/c")),
            Path::new("/d/colony.key")
        );
        assert!(relative(Path::new("hub-data/keys/colony-home.key"), Path::new("/c")).is_absolute());
    }
}
