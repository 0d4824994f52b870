//! One connection to the broker: credentials, reconnecting, and what the link is doing.

use super::pulse::Pulse;
use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectOptions, Event, ServerError};
use semver::Version;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Older servers silently ignore the wildcard check that every append rests on.
pub const MINIMUM_SERVER: Version = Version::new(2, 12, 0);

/// How long one try to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a single request waits for its answer. A lost answer is asked for again.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two tries to come back; short, because a restarted broker serves within 20 ms.
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(500);
/// Messages a subscription may hold before the client drops some and says so.
const SUBSCRIPTION_CAPACITY: usize = 64 * 1024;

/// Where the broker is, who we are there, and what we may do.
#[derive(Clone, Debug)]
pub struct Access {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// The seed of our nkey; without one the connection is anonymous.
    pub nkey_seed: Option<String>,
    /// Shown in the broker's own lists.
    pub name: String,
    /// The prefix of everything we listen on for answers.
    pub inbox_prefix: String,
    /// Whether we are in the streams' own account. A runner is not: it reads through the
    /// narrower subjects that account exports.
    pub owns_streams: bool,
}

/// What the connection is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub connected: bool,
    /// When it came to be connected, or not.
    pub since: Instant,
    /// Grows whenever something may have been missed: a reconnect, or a subscription that the
    /// client could not keep up with.
    pub interruptions: u64,
    /// Grows whenever the broker did not let us in again.
    pub refusals: u64,
}

/// A shared connection; cloning is cheap.
#[derive(Clone)]
pub struct Connection {
    pub(super) client: Client,
    pub(super) owns_streams: bool,
    link: watch::Receiver<Link>,
    pulse: Arc<Pulse>,
    /// Set once we end the connection ourselves.
    closing: Arc<AtomicBool>,
}

/// Why there is no usable connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the broker at {url} cannot be reached; see whether it runs and listens there")]
    Unreachable {
        url: String,
        #[source]
        source: async_nats::ConnectError,
    },
    #[error(
        "the broker at {url} does not accept our credentials; the coordinator is given the key of one of its users with --nats-nkey, and for runners `coordinator broker config --print` says which users it needs"
    )]
    NotAllowed { url: String },
    #[error(
        "the broker at {url} is nats-server {found}; at least {MINIMUM_SERVER} is needed, because older ones silently ignore the checks that keep two writers apart. Upgrade it, or leave --nats-url out to use the embedded one"
    )]
    TooOld { url: String, found: String },
    #[error("the nkey for the broker at {url} is not a seed")]
    BadSeed { url: String },
}

impl Connection {
    /// Connects once; afterwards it comes back by itself, for ever.
    pub async fn open(access: Access) -> Result<Self, ConnectError> {
        let url = access.url.clone();
        let (events, link) = watch::channel(Link {
            connected: true,
            since: Instant::now(),
            interruptions: 0,
            refusals: 0,
        });
        let closing = Arc::new(AtomicBool::new(false));
        let client = options(&access, events, closing.clone())?
            .connect(access.url.split(',').collect::<Vec<_>>())
            .await
            .map_err(|source| refused(&url, source))?;
        check_version(&url, &client.server_info().version)?;
        Ok(Self {
            client,
            owns_streams: access.owns_streams,
            link,
            pulse: Pulse::start(),
            closing,
        })
    }

    /// Follows the state of the link.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// For how long nobody's silence was our own: connected, and not paused.
    pub fn listening_for(&self) -> Duration {
        let link = *self.link.borrow();
        let connected_for = match link.connected {
            true => link.since.elapsed(),
            false => Duration::ZERO,
        };
        connected_for.min(self.pulse.steady_for())
    }

    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits until the link is up, at most as long as an answer may take. The client keeps what is
    /// sent without a link, and when its buffer is full whoever sends waits for the link: for ever,
    /// if need be. So nothing is sent before this says yes.
    pub(super) async fn can_send(&self) -> bool {
        self.is_connected() || self.connected_within(REQUEST_TIMEOUT).await
    }

    /// Waits until the link is up, at most for `patience`.
    pub async fn connected_within(&self, patience: Duration) -> bool {
        let mut link = self.link.clone();
        let up = link.wait_for(|link| link.connected);
        matches!(tokio::time::timeout(patience, up).await, Ok(Ok(_)))
    }

    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// The address of the server we are connected to.
    pub fn server_address(&self) -> String {
        let info = self.client.server_info();
        format!("{}:{}", info.host, info.port)
    }

    /// Sends what is buffered and closes.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        if self.client.drain().await.is_err() {
            tracing::debug!("the connection was closed already");
        }
    }

    pub(super) fn jetstream(&self) -> async_nats::jetstream::Context {
        let mut context = async_nats::jetstream::new(self.client.clone());
        context.set_timeout(REQUEST_TIMEOUT);
        context
    }
}

fn options(
    access: &Access,
    events: watch::Sender<Link>,
    closing: Arc<AtomicBool>,
) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new()
        .name(&access.name)
        .custom_inbox_prefix(&access.inbox_prefix)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| {
            let step = Duration::from_millis(10) * u32::try_from(tries).unwrap_or(u32::MAX).min(50);
            step.min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            note(&events, &closing, &event);
            std::future::ready(())
        });
    if let Some(seed) = &access.nkey_seed {
        if !seed.starts_with("SU") {
            let url = access.url.clone();
            return Err(ConnectError::BadSeed { url });
        }
        options = options.nkey(seed.clone());
    }
    Ok(options)
}

fn note(events: &watch::Sender<Link>, closing: &AtomicBool, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to the broker");
            events.send_modify(|link| {
                if !link.connected {
                    link.interruptions += 1;
                    link.connected = true;
                    link.since = Instant::now();
                }
            });
        }
        Event::Disconnected | Event::Closed => {
            if closing.load(Ordering::Relaxed) {
                tracing::debug!("the connection to the broker is closed");
            } else {
                tracing::warn!("the connection to the broker is lost; trying to come back");
            }
            events.send_modify(|link| {
                if link.connected {
                    link.connected = false;
                    link.since = Instant::now();
                }
            });
        }
        Event::SlowConsumer(_) => {
            tracing::warn!("messages arrived faster than they were read; reading again");
            events.send_modify(|link| link.interruptions += 1);
        }
        Event::ServerError(ServerError::AuthorizationViolation) => refused_again(events),
        // The client repeats in words what the broker answered to its return.
        Event::ClientError(ClientError::Other(said)) if said.contains(REFUSED) => {
            refused_again(events);
        }
        Event::ServerError(error) => tracing::warn!(%error, "the broker reports an error"),
        Event::ClientError(error) => tracing::debug!(%error, "the broker client reports an error"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

/// How the client names it when the broker does not know our key.
const REFUSED: &str = "authorization violation";

fn refused_again(events: &watch::Sender<Link>) {
    tracing::warn!("the broker does not let us in any more; trying again");
    events.send_modify(|link| link.refusals += 1);
}

fn refused(url: &str, source: async_nats::ConnectError) -> ConnectError {
    let url = url.to_owned();
    match source.kind() {
        async_nats::ConnectErrorKind::Authentication
        | async_nats::ConnectErrorKind::AuthorizationViolation => ConnectError::NotAllowed { url },
        _ => ConnectError::Unreachable { url, source },
    }
}

fn check_version(url: &str, found: &str) -> Result<(), ConnectError> {
    match Version::parse(found) {
        Ok(version) if version >= MINIMUM_SERVER => Ok(()),
        _ => Err(ConnectError::TooOld {
            url: url.to_owned(),
            found: found.to_owned(),
        }),
    }
}
