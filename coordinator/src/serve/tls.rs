//! The certificate and key we answer with: read at start, and again when the files change or somebody sends
//! HUP. What is sent over it is not known here.

use crate::config::TlsFiles;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Files that make no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{option} {} cannot be used: {problem}", path.display())]
    File {
        option: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error("the certificate {} and the key {} do not make TLS; is it the certificate's own key?", certificate.display(), key.display())]
    Mismatch {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

/// Between two looks at the files. Certificates are renewed weeks before they end.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What new connections are answered with.
pub struct Certificate {
    files: TlsFiles,
    current: RwLock<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    written: Written,
}

/// When the two files were written.
type Written = [Option<SystemTime>; 2];

impl Certificate {
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, current })
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.acceptor.clone()
    }

    fn is_outdated(&self) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.written != written(&self.files)
    }

    /// Files that make no TLS, or only half of them written, leave what is there.
    fn renew(&self) {
        match read(&self.files) {
            Ok(renewed) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = renewed;
                tracing::info!("the TLS certificate was read anew");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the TLS certificate stays what it was"
            ),
        }
    }
}

/// Reads the certificate again after HUP, or when its files change. HUP ends nobody, with TLS or without.
pub async fn keep_current(certificate: Option<Arc<Certificate>>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::warn!(%error, "HUP is not listened for"),
    };
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        match &certificate {
            Some(certificate) if asked || certificate.is_outdated() => certificate.renew(),
            _ => {}
        }
    }
}

fn read(files: &TlsFiles) -> Result<Current, TlsError> {
    // Before they are read: what is written meanwhile is looked at again.
    let written = written(files);
    let acceptor = acceptor(files)?;
    Ok(Current { acceptor, written })
}

fn written(files: &TlsFiles) -> Written {
    [&files.certificate, &files.key].map(|path| path.metadata().and_then(|m| m.modified()).ok())
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable("--tls-key", &files.key, &error))?;
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|source| TlsError::Mismatch {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let option = "--tls-cert";
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let chain: Vec<_> = read.map_err(|error| unusable(option, path, &error))?;
    match chain.is_empty() {
        true => Err(unusable(option, path, &pem::Error::NoItemsFound)),
        false => Ok(chain),
    }
}

fn unusable(option: &'static str, path: &Path, error: &pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::NoItemsFound => "it holds none of what is needed, in PEM form".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => format!("{other:?}"),
    };
    TlsError::File {
        option,
        path: path.to_path_buf(),
        problem,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rstest::rstest;

    /// A certificate for localhost that nobody trusts, a key of its own, one of another.
    pub fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/tls")
            .join(name)
    }

    fn files(certificate: &str, key: &str) -> TlsFiles {
        TlsFiles {
            certificate: fixture(certificate),
            key: fixture(key),
        }
    }

    #[rstest]
    #[case::no_file("none.pem", "key.pem", "--tls-cert")]
    #[case::no_key("cert.pem", "none.pem", "--tls-key")]
    #[case::no_certificate("key.pem", "key.pem", "--tls-cert")]
    #[case::swapped("cert.pem", "cert.pem", "--tls-key")]
    #[case::of_another("cert.pem", "other.pem", "own key")]
    fn files_that_make_no_tls_are_named(
        #[case] certificate: &str,
        #[case] key: &str,
        #[case] says: &str,
    ) {
        let refusal = acceptor(&files(certificate, key)).err().unwrap();
        let refusal = refusal.to_string();
        assert!(refusal.contains(says), "{refusal}");
    }

    pub fn good() -> Arc<Certificate> {
        Arc::new(Certificate::load(files("cert.pem", "key.pem")).unwrap())
    }

    #[test]
    fn what_is_renewed_is_used_and_what_is_broken_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let put = |certificate: &str, key: &str| {
            std::fs::copy(fixture(certificate), place("c")).unwrap();
            std::fs::copy(fixture(key), place("k")).unwrap();
        };
        put("cert.pem", "key.pem");
        let files = TlsFiles {
            certificate: place("c"),
            key: place("k"),
        };
        let certificate = Certificate::load(files).unwrap();
        let config = |certificate: &Certificate| Arc::clone(certificate.acceptor().config());
        let first = config(&certificate);
        put("renewed-cert.pem", "key.pem");
        certificate.renew();
        assert!(Arc::ptr_eq(&first, &config(&certificate)));
        assert!(certificate.is_outdated());
        put("renewed-cert.pem", "renewed-key.pem");
        certificate.renew();
        assert!(!Arc::ptr_eq(&first, &config(&certificate)));
        assert!(!certificate.is_outdated());
    }
}
