//! The way to the broker: ours, started as a child, or somebody else's. Either way it ends in a
//! connection, and in what runners are told.

use super::doorkeeper::{self, Admitted};
use crate::broker::{self, Broker, Roster, Search, UserKey, accounts_conf};
use crate::config::{BrokerChoice, Seed};
use crate::http::{BrokerFacts, BrokerMode};
use anyhow::Context as _;
use events::log::jetstream::{Access, Connection, durability};
use events::subject;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// How we are called in the broker's own lists.
const NAME: &str = "coordinator";

/// A broker we are connected to.
pub struct Reached {
    pub connection: Connection,
    mode: BrokerMode,
    url: String,
    runner_url: String,
    runner_seed: Option<String>,
    /// By which the broker knows us.
    own_key: UserKey,
    /// Ends with us.
    child: Option<Broker>,
}

/// What stands for our key in what an operator is shown, where the broker asks for none.
const NO_KEY: &str = "<public key of the coordinator>";

pub async fn reach(choice: BrokerChoice, data_dir: &Path) -> anyhow::Result<Reached> {
    match choice {
        BrokerChoice::Embedded {
            program,
            tools,
            port,
            fetch,
        } => {
            let start = Start {
                program,
                tools,
                port,
                fetch,
                data_dir: data_dir.to_path_buf(),
            };
            let child = tokio::task::spawn_blocking(|| start.child()).await??;
            embedded(child).await
        }
        BrokerChoice::External {
            url,
            seed,
            runner_url,
            runner_seed,
        } => {
            let seed = seed.as_ref().map(Seed::expose);
            let connection = connect(&url, seed).await?;
            let own_key = seed.and_then(broker::Seed::public);
            Ok(Reached {
                connection,
                own_key: own_key.unwrap_or_else(|| UserKey::placeholder(NO_KEY)),
                mode: BrokerMode::External,
                url,
                runner_url,
                runner_seed: runner_seed.map(|seed| seed.expose().to_owned()),
                child: None,
            })
        }
    }
}

impl Reached {
    /// By which our own broker is told who has joined.
    pub fn roster(&self) -> Option<Roster> {
        self.child.as_ref().map(Broker::roster)
    }

    /// What the HTTP side shows of it, and tells runners; the streams have so many copies.
    pub fn facts(&self, replicas: usize, admitted: Option<Admitted>) -> BrokerFacts {
        let connection = self.connection.clone();
        let own_key = self.own_key.clone();
        BrokerFacts {
            mode: self.mode,
            url: shown(&self.url),
            durability: durability(replicas),
            server_version: Box::new(move || connection.server_version()),
            runner_urls: self.runner_url.split(',').map(str::to_owned).collect(),
            runner_seed: self.runner_seed.clone(),
            admitted,
            accounts: Box::new(move |members| {
                accounts_conf(&own_key, &doorkeeper::runners(members.clone()))
            }),
        }
    }

    /// Sends what is left to send, then ends the child.
    pub async fn leave(self) {
        self.connection.close().await;
        if let Some(child) = self.child
            && let Err(error) = tokio::task::spawn_blocking(|| child.stop()).await
        {
            tracing::error!(%error, "the broker could not be ended in order");
        }
    }
}

async fn embedded(child: Broker) -> anyhow::Result<Reached> {
    let url = child.url();
    let seed = child.app_seed().expose();
    let own_key = broker::Seed::public(seed);
    Ok(Reached {
        connection: connect(&url, Some(seed)).await?,
        own_key: own_key.unwrap_or_else(|| UserKey::placeholder(NO_KEY)),
        mode: BrokerMode::Embedded,
        runner_url: url.clone(),
        url,
        runner_seed: None,
        child: Some(child),
    })
}

async fn connect(url: &str, seed: Option<&str>) -> anyhow::Result<Connection> {
    let access = Access {
        url: url.to_owned(),
        nkey_seed: seed.map(str::to_owned),
        name: NAME.to_owned(),
        inbox_prefix: subject::inbox_prefix(NAME),
        owns_streams: true,
    };
    Ok(Connection::open(access).await?)
}

/// The address without the password that may stand in it.
fn shown(urls: &str) -> String {
    let without_user = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    };
    urls.split(',')
        .map(without_user)
        .collect::<Vec<_>>()
        .join(",")
}

/// What a child is started from. All of this blocks.
struct Start {
    program: Option<PathBuf>,
    tools: Option<PathBuf>,
    port: Option<u16>,
    fetch: bool,
    data_dir: PathBuf,
}

impl Start {
    fn child(self) -> anyhow::Result<Broker> {
        let search = Search::of_process(self.program, self.tools, &self.data_dir);
        let server = match search.locate() {
            Ok(server) => server,
            Err(_) if self.fetch || confirmed(&self.data_dir) => broker::fetch(&self.data_dir)?,
            Err(not_found) => return Err(not_found.into()),
        };
        let config = broker::Config {
            data_dir: self.data_dir,
            server,
            port: self.port,
        };
        broker::start(config).context("the embedded broker did not start")
    }
}

/// Whether somebody at a terminal wants it downloaded.
fn confirmed(data_dir: &Path) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    eprint!(
        "No usable nats-server was found. Download one into {}? [y/N] ",
        data_dir.display()
    );
    let mut answer = String::new();
    let read = io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let shown = shown("nats://a:1,tls://user:p@ss@b:2");
        assert_eq!(shown, "nats://a:1,tls://b:2");
    }
}
