//! The port: taking it, answering on it, and letting go of it without leaving anybody hanging.

use axum::Router;
use axum::serve::ListenerExt as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What is being answered when we are told to go has this long: waits and event streams end at once,
/// so this is for uploads and downloads.
const DRAIN: Duration = Duration::from_secs(5);

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "port {} on {} is in use, perhaps by another coordinator; end that, or choose another port with --listen {}:PORT (0 takes a free one)",
        .0.port(), .0.ip(), .0.ip()
    )]
    InUse(SocketAddr),
    #[error("cannot listen on {address}; choose another address with --listen")]
    Refused {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// A server on its port.
pub struct Listening {
    pub address: SocketAddr,
    closing: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address),
            _ => ListenError::Refused { address, source },
        })
}

impl Listening {
    pub fn start(
        listener: TcpListener,
        router: Router,
        closing: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        // Answers are small and somebody waits for each.
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
        });
        let serve =
            axum::serve(listener, router).with_graceful_shutdown(closing.clone().cancelled_owned());
        let task = tokio::spawn(serve.into_future());
        Ok(Self {
            address,
            closing,
            task,
        })
    }

    pub async fn stop(mut self) {
        self.closing.cancel();
        if tokio::time::timeout(DRAIN, &mut self.task).await.is_err() {
            tracing::warn!("some requests were cut off");
            self.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_way_out() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address).await.unwrap_err().to_string();
        let port = format!("port {} on 127.0.0.1 is in use", address.port());
        assert!(
            error.contains(&port) && error.contains("--listen"),
            "{error}"
        );
    }
}
