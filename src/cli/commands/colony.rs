//! `outpost colony …`

use super::Context;
use crate::cli::args::ColonyCommand;
use crate::cli::error::{CliError, DONE};
use crate::cli::{file, keys};
use crate::console::table::table;
use crate::protocol::model::Colony;
use crate::protocol::{Answer, Refusal};

/// `outpost colony …`
pub async fn colony(command: ColonyCommand, context: &mut Context<'_>) -> Result<u8, CliError> {
    match command {
        ColonyCommand::Add { name } => add(&name, context).await,
        ColonyCommand::List => list(context).await,
    }
}

async fn add(name: &str, context: &mut Context<'_>) -> Result<u8, CliError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(CliError::usage(format!(
            "{name:?} can't be the name of a colony's key file; use letters, digits, dots and hyphens"
        )));
    }
    let owner = context.settings.as_server_owner()?;
    let path = context.settings.directory()?.join(format!("colony-{name}.key"));
    // An earlier attempt may have left its key: then it is the same colony.
    let key = keys::read_or_make(&path)?;
    let wanted = Colony {
        id: key.id(),
        name: name.to_owned(),
    };
    let (colony, new) = match owner.add_colony(&wanted).await {
        Ok(colony) => (colony.value, true),
        Err(error) if matches!(error.refusal(), Some(Refusal::Duplicate { .. })) => (wanted, false),
        Err(error) => return Err(error.into()),
    };
    if !new {
        context
            .console
            .note(format!("the colony {} is there already", colony.id));
    }
    let settings = &context.settings;
    let kept = match &settings.from_file.colony {
        Some(other) if *other != colony.id => {
            let text = format!(
                "{} stays with the colony {other}; use the new one with --colony-key {}",
                settings.file()?.display(),
                path.display()
            );
            context.console.note(text);
            false
        }
        _ => true,
    };
    if kept {
        let server = settings.server.to_string();
        let key = format!("colony-{name}.key");
        file::set(
            settings.file()?,
            &[("server", &server), ("colony", &colony.id), ("colony_key", &key)],
        )?;
    }
    let id = colony.id.clone();
    context.answer(&Answer::Colony(colony), || id);
    context.console.note(format!(
        "the colony's key is in {}; who has it owns the colony",
        path.display()
    ));
    Ok(DONE)
}

async fn list(context: &mut Context<'_>) -> Result<u8, CliError> {
    let mut colonies = context.settings.as_server_owner()?.get_colonies().await?.value;
    colonies.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let rows: Vec<[String; 2]> = colonies
        .iter()
        .map(|colony| [colony.name.clone(), colony.id.clone()])
        .collect();
    context.answer(&Answer::Colonies(colonies), || table(["NAME", "ID"], &rows));
    Ok(DONE)
}
