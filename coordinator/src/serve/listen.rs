//! The port: taking it, answering on it, with TLS or without, and letting go of it without leaving
//! anybody hanging.

use super::files;
use super::tls::Certificate;
use crate::http::Peer;
use axum::Router;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// What is being answered when we are told to go has this long: waits and event streams end at once,
/// so this is for uploads and downloads.
const DRAIN: Duration = Duration::from_secs(5);

/// A request's head has to be there by then, also the next one's on the same connection: who only
/// holds a connection open gives it back.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// So does a client that wants to talk TLS.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// The buffer that a request's head is read into: as much as proxies pass on. It is judged when it is full
/// again, so a head of up to twice the length may still be taken; a longer one gets 431.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// Connections at the same time; more wait in the system's own queue. Thousands of clients may wait for
/// news, and thousands more may hold a connection for nothing until it is taken from them; an idle one
/// costs a few kilobytes.
const CONNECTIONS_MAX: u64 = 8_192;
/// After a connection could not be taken for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

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
    is_encrypted: bool,
    closing: CancellationToken,
    task: JoinHandle<()>,
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
        tls: Option<Arc<Certificate>>,
        closing: CancellationToken,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let is_encrypted = tls.is_some();
        let accepting = Accepting {
            router,
            tls,
            connections: GracefulShutdown::new(),
            head_within: HEAD_WITHIN,
            // The other half is for the store, the broker and what is being sent.
            slots: (files::take_all_allowed() / 2).min(CONNECTIONS_MAX),
        };
        let task = tokio::spawn(accepting.until(listener, closing.clone()));
        Ok(Self {
            address,
            is_encrypted,
            closing,
            task,
        })
    }

    pub fn scheme(&self) -> &'static str {
        match self.is_encrypted {
            true => "https",
            false => "http",
        }
    }

    pub async fn stop(mut self) {
        self.closing.cancel();
        if tokio::time::timeout(DRAIN, &mut self.task).await.is_err() {
            tracing::warn!("some requests were cut off");
            self.task.abort();
        }
    }
}

struct Accepting {
    router: Router,
    tls: Option<Arc<Certificate>>,
    connections: GracefulShutdown,
    head_within: Duration,
    slots: u64,
}

impl Accepting {
    /// Answers until `closing`, and then what has been asked by then.
    async fn until(self, listener: TcpListener, closing: CancellationToken) {
        let slots = usize::try_from(self.slots).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(slots));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &slots) => accepted,
                () = closing.cancelled() => break,
            };
            match accepted {
                Ok(accepted) => self.serve(accepted, closing.clone()),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.connections.shutdown().await;
    }

    fn serve(&self, accepted: Accepted, closing: CancellationToken) {
        let Accepted { slot, stream, peer } = accepted;
        // Answers are small and somebody waits for each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let answering = Answering {
            router: self.router.clone(),
            peer,
            head_within: self.head_within,
            watcher: self.connections.watcher(),
        };
        let tls = self.tls.as_ref().map(|tls| tls.acceptor());
        tokio::spawn(async move {
            let _slot = slot;
            let Some(tls) = tls else {
                return answering.answer(stream).await;
            };
            let handshake = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream));
            tokio::select! {
                shaken = handshake => match shaken {
                    Ok(Ok(stream)) => answering.answer(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a connection did not come to TLS"),
                    Err(_) => tracing::debug!("a connection took too long to come to TLS"),
                },
                () = closing.cancelled() => {}
            }
        });
    }
}

/// One connection.
struct Answering {
    router: Router,
    peer: Peer,
    head_within: Duration,
    watcher: Watcher,
}

impl Answering {
    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let mut http = Builder::new(TokioExecutor::new()).http1_only();
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_within)
            .max_buf_size(HEAD_MAX_BYTES);
        let peer = self.peer;
        let service = self.router.map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(peer);
            request
        });
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let connection = self.watcher.watch(connection.into_owned());
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// A connection that was taken.
struct Accepted {
    slot: OwnedSemaphorePermit,
    stream: TcpStream,
    peer: Peer,
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    let peer = Peer(from.ip());
    Ok(Accepted { slot, stream, peer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tls;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn listening(head_within: Duration) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        listening_with(head_within, None).await
    }

    async fn listening_with(
        head_within: Duration,
        tls: Option<Arc<Certificate>>,
    ) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Accepting {
            router: Router::new().route("/", get(async || "hello")),
            tls,
            connections: GracefulShutdown::new(),
            head_within,
            slots: 16,
        };
        let closing = CancellationToken::new();
        let task = tokio::spawn(accepting.until(listener, closing.clone()));
        (address, closing, task)
    }

    #[tokio::test]
    async fn who_sends_half_a_head_is_let_go() {
        let (address, ..) = listening(Duration::from_millis(50)).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!answer.ends_with(b"hello"));
    }

    /// Trusts nobody but the fixture.
    fn connector() -> tokio_rustls::TlsConnector {
        use tokio_rustls::rustls::pki_types::pem::PemObject as _;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
        let path = tls::tests::fixture("cert.pem");
        let mut roots = RootCertStore::empty();
        let certificate = tokio_rustls::rustls::pki_types::CertificateDer::from_pem_file(path);
        roots.add(certificate.unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    #[tokio::test]
    async fn with_tls_only_tls_is_answered_and_who_does_not_speak_it_holds_nobody_up() {
        let (address, closing, task) = listening_with(HEAD_WITHIN, Some(tls::tests::good())).await;
        let silent = TcpStream::connect(address).await.unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = "localhost".try_into().unwrap();
        let mut client = connector().connect(name, stream).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"hello"));

        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(ask).await.unwrap();
        let mut answer = Vec::new();
        // An alert, or nothing; a connection that breaks is as good.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
        closing.cancel();
        task.await.unwrap();
        drop(silent);
    }

    #[tokio::test]
    async fn who_is_connected_and_asks_nothing_does_not_hold_up_the_end() {
        let (address, closing, task) = listening(HEAD_WITHIN).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(ask).await.unwrap();
        let mut answer = vec![0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        closing.cancel();
        task.await.unwrap();
    }

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
