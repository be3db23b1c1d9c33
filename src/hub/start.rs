//! Brings a hub up and down.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::api::Api;
use super::engine::{Engine, Loop, run, system_entropy};
use super::http;
use super::ledger::{LedgerClock, OpenError, OpenOptions, SqliteStore, StoreError, resume};
use super::service::Service;
use super::settings::{BadSetting, Settings};
use crate::clock::SharedClock;
use crate::keyfile::{self, KeyFileError};
use crate::protocol::model::Colony;
use crate::protocol::{Refusal, Request};

/// The database's name in the data directory.
const DATABASE: &str = "hub.db";

/// Why a hub does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The data directory can't be made.
    #[error("can't make the data directory {path}: {source}")]
    DataDir {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key file can't be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The database can't be opened.
    #[error("can't open the database {path}: {source}")]
    Database {
        /// Where.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The database fails.
    #[error("the database fails: {0}")]
    Storage(#[from] StoreError),
    /// The colony can't be made.
    #[error("can't make the colony {name}: {reason}")]
    Colony {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Can't listen.
    #[error("can't listen on {address}: {source}{}", remedy(source))]
    Listen {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses something else.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// What can be done where the system's words alone leave one alone.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program, or another outpost-hub, listens there: stop it, or choose another `listen`"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; it is no address of this machine: choose one that is, or 0.0.0.0 or [::] for all"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one",
        _ => "",
    }
}

/// A hub that is ready to serve: the ledger runs, the listener is bound.
pub struct Hub {
    api: Api,
    settings: Settings,
    server_id: String,
    listener: TcpListener,
    drain: oneshot::Sender<()>,
    ledger: JoinHandle<()>,
    clock: Arc<LedgerClock>,
}

impl Hub {
    /// Makes what is missing (folders, keys, the database, the colony), and binds the listener.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(settings: Settings, clock: SharedClock) -> Result<Self, StartError> {
        settings.check()?;
        keyfile::make_folder(&settings.data_dir).map_err(|source| StartError::DataDir {
            path: settings.data_dir.clone(),
            source,
        })?;
        let path = settings.data_dir.join(DATABASE);
        let mut store = SqliteStore::open(&path, &OpenOptions::default())
            .map_err(|source| StartError::Database { path, source })?;

        // Only now: of two hubs that start at once in the same folder, one makes the keys.
        let keys = settings.data_dir.join("keys");
        let server_id = match settings.server_id.is_empty() {
            true => keyfile::load_or_create(&keys.join("server.key"))?.id(),
            false => settings.server_id.clone(),
        };
        let clock = Arc::new(resume(&mut store, clock)?);
        let (jobs, jobs_in) = mpsc::channel(settings.ledger.max_queue);
        let (returns, returns_in) = mpsc::unbounded_channel();
        let (drain, drain_in) = oneshot::channel();
        let engine = Engine::new(
            store,
            Service::new(server_id.clone()),
            clock.clone(),
            system_entropy(),
            settings.ledger.max_waiters,
            returns,
        );
        let inputs = Loop {
            jobs: jobs_in,
            returns: returns_in,
            drain: drain_in,
            max_batch: settings.ledger.max_batch,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        let ledger = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                runtime.block_on(run(engine, inputs));
            })?;

        let api = Api::new(jobs, clock.clone());
        if !settings.init_colony.is_empty() {
            let name = &settings.init_colony;
            let key = keyfile::load_or_create(&keys.join(format!("colony-{name}.key")))?;
            init_colony(&api, &server_id, name, key.id()).await?;
        }
        let listener = TcpListener::bind(&settings.listen).await;
        let listener = listener.map_err(|source| StartError::Listen {
            address: settings.listen.clone(),
            source,
        })?;
        Ok(Hub {
            api,
            settings,
            server_id,
            listener,
            drain,
            ledger,
            clock,
        })
    }

    /// Where it listens, as a URL.
    ///
    /// # Errors
    /// The system does not say.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }

    /// The id of the server's owner.
    pub fn server_id(&self) -> &str {
        &self.server_id
    }

    /// The way to the ledger.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Serves until `stop` is done; then finishes what is going on, and the database.
    ///
    /// # Errors
    /// The listener fails for good.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Hub {
            api,
            settings,
            listener,
            drain,
            ledger,
            clock,
            ..
        } = self;
        let ahead = clock.ahead_of_wall();
        if ahead > Duration::from_secs(60) {
            tracing::warn!(
                "the clock of this machine is {} s behind the last time in the database; times go on from there",
                ahead.as_secs()
            );
        }
        http::serve(listener, api, settings.http, stop, || {
            // The ledger is gone: then nobody waits either.
            let _ = drain.send(());
        })
        .await?;
        // Nothing holds the way to the ledger any more, so it finishes.
        match tokio::task::spawn_blocking(move || ledger.join()).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            _ => tracing::error!("the ledger crashed; what was acknowledged is on disk"),
        }
        Ok(())
    }
}

async fn init_colony(api: &Api, server_id: &str, name: &str, id: String) -> Result<(), StartError> {
    let colony = Colony {
        id,
        name: name.to_owned(),
    };
    let failed = |reason: String| StartError::Colony {
        name: name.to_owned(),
        reason,
    };
    let request = Request::AddColony(Some(colony.clone()));
    match api.ask(server_id.to_owned(), request).await {
        Some(Ok(_)) => {
            tracing::info!(colony = colony.id, "made the colony {name}");
            Ok(())
        }
        // It is there from an earlier start.
        Some(Err(Refusal::Duplicate { .. })) => Ok(()),
        Some(Err(refusal)) => Err(failed(format!("{refusal:?}"))),
        None => Err(failed("the ledger is gone".to_owned())),
    }
}
