//! The embedded broker: a real nats-server as our child, for whoever has none of their own.
//!
//! Finds the program, keeps it running on one port of loopback with its store in the data
//! folder, gives it two accounts and the keys to them, and sees to it that it dies with us.
//! Knows nothing of streams and speaks no NATS: whoever wants to connect gets an address and a
//! seed. Everything here blocks; call it from a thread that may.

mod accounts;
mod child;
mod credentials;
mod fetch;
mod files;
mod keeper;
mod locate;
mod lock;
mod log;
mod own;
mod port;
mod roster;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use accounts::{Permissions, RunnerUser, render};
pub use credentials::{CredentialError, InvalidUserKey, Seed, UserKey};
pub use fetch::{FetchError, REQUIREMENTS, fetch};
pub use files::FileError;
pub use keeper::StartError;
pub use locate::{NotFound, Search};
pub use lock::LockError;
pub use own::{FolderError, write_folder};
pub use port::PortError;
pub use roster::{Roster, RunnerKey, accounts as accounts_conf};
pub use server::{Candidate, Fault, OLDEST, Server};

use child::Launch;
use credentials::Credential;
use files::{Folder, write_private};
use keeper::Keeper;
use lock::Lock;
use port::Port;

/// The settings that are the same everywhere, as an operator sees them.
const MAIN_CONF: &str = include_str!("../../../nats.conf");

/// What the embedded broker is started with.
#[derive(Debug, Clone)]
pub struct Config {
    pub data_dir: PathBuf,
    pub server: Server,
    /// A free one is chosen at the first start, and kept, if this is none.
    pub port: Option<u16>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A running broker. Stops its server when dropped, which takes as long as `stop`.
#[derive(Debug)]
pub struct Broker {
    keeper: Keeper,
    folder: Folder,
    server: Server,
    address: SocketAddr,
    app: Credential,
}

/// Starts the broker and returns when it takes connections.
///
/// From then on the server is restarted whenever it ends by itself.
pub fn start(config: Config) -> Result<Broker, Error> {
    let folder = Folder::open(&config.data_dir)?;
    let lock = Lock::take(&folder.lock())?;
    let app = Credential::load_or_create(&folder.app_seed())?;
    let port = Port::settle(config.port, &folder.port())?;
    let address = port.address();
    write_private(&folder.main_conf(), MAIN_CONF)?;
    write_private(&folder.local_conf(), &local_conf(address, &folder))?;
    let runners = roster::kept(&folder)?;
    write_private(&folder.accounts_conf(), &accounts_conf(&app.key, &runners))?;
    let keeper = Keeper::start(Launch {
        program: config.server.path.clone(),
        folder: folder.clone(),
        lock,
    })?;
    port.remember(&folder.port())?;
    Ok(Broker {
        keeper,
        folder,
        server: config.server,
        address,
        app,
    })
}

impl Broker {
    /// `nats://127.0.0.1:<port>`, the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The coordinator's key: everything in the account that holds the streams.
    #[must_use]
    pub fn app_seed(&self) -> &Seed {
        &self.app.seed
    }

    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server's process id; none in the moment between its end and its next start.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.keeper.process()
    }

    /// By which runners are let in and shut out.
    #[must_use]
    pub fn roster(&self) -> Roster {
        Roster {
            folder: self.folder.clone(),
            app: self.app.key.clone(),
            reload: self.keeper.reload(),
        }
    }

    /// Lets the server write out what it holds and ends it; kills it if it takes too long.
    pub fn stop(mut self) {
        self.keeper.stop();
    }
}

fn local_conf(address: SocketAddr, folder: &Folder) -> String {
    let text = local_conf_of(address, &folder.store());
    format!("{text}# Our own log has the time.\nlogtime: false\n")
}

fn local_conf_of(address: SocketAddr, store: &Path) -> String {
    // JSON's quoting is understood by the server, whatever the path.
    let store = serde_json::Value::from(store.display().to_string());
    format!("listen: \"{address}\"\nserver_name: \"coordinator-broker\"\nstore_dir: {store}\n")
}
