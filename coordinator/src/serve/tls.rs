//! The certificate and key we answer with: read once, at start. What is sent over it is not known
//! here.

use crate::config::TlsFiles;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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

pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
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

    pub fn good() -> TlsAcceptor {
        acceptor(&files("cert.pem", "key.pem")).unwrap()
    }
}
