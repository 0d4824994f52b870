//! Puts a coordinator together, in order, and takes it apart in the opposite one: data folder, token,
//! port, broker, streams, application, HTTP. What each part does is its own matter.

mod broker;
mod doorkeeper;
mod files;
mod hazards;
mod listen;
mod restore;
mod signals;
mod tls;

pub use restore::run as restore;
pub use signals::Stop;

use crate::access::AdminToken;
use crate::app::{App, AppError, Broker as Ports, Defaults};
use crate::cli::ServeArgs;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::http::{self, Api, Surroundings, Tokens};
use crate::reactors;
use anyhow::Context as _;
use broker::Reached;
use events::log::jetstream::{StreamSettings, ensure_streams};
use listen::Listening;
use startup::log;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The projection, in the data folder: a cache that may be deleted while nobody holds it.
const PROJECTION: &str = "projection";

/// A cluster is silent for up to 6 s while it elects a leader, a starved disk for far longer.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Between two tries: an answer that fails at once must not be asked for in a circle.
const START_PAUSE: Duration = Duration::from_millis(200);

/// A coordinator that listens.
pub struct Server {
    pub app: App,
    pub token: AdminToken,
    pub data_dir: DataDir,
    http: Listening,
    /// What acts by itself; ends when dropped.
    reactors: JoinSet<()>,
    broker: Reached,
}

/// `coordinator serve`: until somebody ends it.
pub async fn run(data_dir: PathBuf, args: ServeArgs) -> anyhow::Result<()> {
    start_log(&args)?;
    let settings = Settings::check(data_dir, &args)?;
    let stop = Stop::listen()?;
    let server = tokio::select! {
        server = Server::start(settings) => server?,
        () = stop.asked() => return Ok(()),
    };
    eprintln!("listening on {}", server.url());
    let ended = tokio::select! {
        () = stop.asked() => Ok(()),
        unfit = server.app.projections().unfit() => Err(unfit.into()),
    };
    server.stop().await;
    ended
}

/// Log lines as the arguments want them.
pub fn start_log(args: &ServeArgs) -> anyhow::Result<()> {
    Ok(log::start(&args.log, args.log_format)?)
}

impl Server {
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&settings.data_dir)?;
        let token = AdminToken::load_or_create(data_dir.path())?;
        let tls = settings.tls.map(tls::Certificate::load).transpose()?;
        let tls = tls.map(Arc::new);
        if settings.no_auth {
            tracing::warn!(
                "--no-auth: NOBODY IS ASKED FOR A TOKEN; every program on this host may do everything"
            );
        }
        // Before anything is started: a port in use is the commonest mistake.
        let listener = listen::bind(settings.listen).await?;
        hazards::warn_of_cluster_block(data_dir.path());
        let broker = broker::reach(settings.broker, data_dir.path()).await?;
        let replicas = streams(&broker, settings.streams, data_dir.path())
            .await
            .context("the broker's streams cannot be made ready")?;
        let defaults = Defaults {
            schedule_timeout: settings.schedule_timeout,
            cadence: settings.cadence,
            http_silence: settings.http_silence,
        };
        let store = data_dir.path().join(PROJECTION);
        let app = opened(&broker, &store, defaults)
            .await
            .context("the read model cannot be brought up to date")?;
        let derived = reactors::Settings::of(settings.cadence);
        let kept = settings.retire_lanes_after;
        let reacting = reactors::Settings {
            retire_lanes_after: kept.unwrap_or(derived.retire_lanes_after),
            bundle_grace: settings.bundle_grace.unwrap_or(derived.bundle_grace),
            ..derived
        };
        let mut reactors = reactors::start(&app, reacting);
        reactors.spawn(tls::keep_current(tls.clone()));
        let admitted = broker.roster().map(|roster| {
            let (told, admitted) = watch::channel(0);
            reactors.spawn(doorkeeper::run(app.clone(), roster, told));
            admitted
        });
        let closing = CancellationToken::new();
        let api = Api {
            app: app.clone(),
            broker: Arc::new(broker.facts(replicas, admitted)),
            started: Instant::now(),
            last_uses: Arc::default(),
            pages: Arc::default(),
            data_dir: Some(data_dir.path().to_owned()),
            closing: closing.clone(),
        };
        let surroundings = Surroundings {
            hosts: settings.allowed_hosts,
            own_origin: settings.own_origin,
            cors_origins: settings.cors_origins,
        };
        let tokens = match settings.no_auth {
            true => Tokens::NotNeeded,
            false => Tokens::Needed,
        };
        let router = http::router(api, token.clone(), tokens, surroundings);
        let http = Listening::start(listener, router, tls, closing)?;
        Ok(Self {
            app,
            token,
            data_dir,
            http,
            reactors,
            broker,
        })
    }

    /// Where a client on this host reaches us.
    pub fn url(&self) -> String {
        url(self.http.scheme(), self.http.address)
    }

    /// Answers what is being asked, then ends, all within seconds.
    pub async fn stop(self) {
        tracing::info!("ending");
        self.http.stop().await;
        drop(self.reactors);
        self.broker.leave().await;
    }
}

/// Refuses streams that a restore has left unfinished: what they show is a part of what was.
/// What has to be there, unless something tells that it was all there once.
async fn streams(
    broker: &Reached,
    settings: StreamSettings,
    data_dir: &Path,
) -> anyhow::Result<usize> {
    whole(broker).await?;
    hazards::refuse_lost_streams(&broker.connection, data_dir).await?;
    Ok(ensure_streams(&broker.connection, settings).await?)
}

async fn whole(broker: &Reached) -> anyhow::Result<()> {
    match restore::unfinished(&broker.connection).await? {
        None => Ok(()),
        Some(left) => anyhow::bail!(
            "a restore of {} that began at {} did not come to its end, so what is here is not whole. Repeat it: coordinator restore FILE, with the same options",
            left.backup,
            left.begun_at
        ),
    }
}

/// The application; waits for a broker that is too busy to answer, or elects a leader.
async fn opened(broker: &Reached, store: &Path, defaults: Defaults) -> Result<App, AppError> {
    let begun = Instant::now();
    loop {
        match App::open(ports(broker), store, defaults).await {
            Err(AppError::Unavailable(error)) if begun.elapsed() < START_PATIENCE => {
                tracing::warn!(%error, "the read model cannot be brought up to date yet");
                tokio::time::sleep(START_PAUSE).await;
            }
            done => return done,
        }
    }
}

fn ports(broker: &Reached) -> Ports {
    let connection = &broker.connection;
    Ports {
        log: Arc::new(connection.clone()),
        bundles: Arc::new(connection.clone()),
        wire: Arc::new(connection.clone()),
        storage: Arc::new(connection.clone()),
    }
}

fn url(scheme: &str, address: SocketAddr) -> String {
    match address {
        // Not an address to connect to, but it listens on loopback too.
        SocketAddr::V4(any) if any.ip().is_unspecified() => {
            format!("{scheme}://127.0.0.1:{}", any.port())
        }
        SocketAddr::V6(any) if any.ip().is_unspecified() => {
            format!("{scheme}://[::1]:{}", any.port())
        }
        address => format!("{scheme}://{address}"),
    }
}
