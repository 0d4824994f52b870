//! Whom an HTTP client believes that it talks to the right one: the authorities of the system, or those of one
//! file. What is sent is not known here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("--ca {} cannot be used: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error(
        "this system has no certificate authorities that can be read ({0}); name those of the coordinator with --ca FILE"
    )]
    NoSystem(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// The one cryptography of this process, also for clients that are made elsewhere. Calling it again changes
/// nothing.
pub fn install() {
    // Refused where there is one already, which then is the same.
    let _ = ring::default_provider().install_default();
}

/// A client for one address: `https` is verified against the authorities in `ca`, else against the system's.
///
/// # Errors
/// When there are none to verify with.
pub fn client(url: &reqwest::Url, ca: Option<&Path>) -> Result<reqwest::ClientBuilder, TrustError> {
    let roots = match (url.scheme(), ca) {
        (_, Some(path)) => of_file(path)?,
        ("https", None) => of_system()?,
        // Nobody is verified, and reading the system's would cost every command its start.
        _ => RootCertStore::empty(),
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder().tls_backend_preconfigured(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn of_file(path: &Path) -> Result<RootCertStore, TrustError> {
    let refused = |problem: String| TrustError::File {
        path: path.to_path_buf(),
        problem,
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<CertificateDer<'static>> = read.map_err(|error| refused(said(&error)))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| refused(format!("a certificate in it is none: {error}")))?;
    }
    match roots.is_empty() {
        true => Err(refused(said(&pem::Error::NoItemsFound))),
        false => Ok(roots),
    }
}

fn said(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it holds no certificate in PEM form".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        other => format!("{other:?}"),
    }
}

fn of_system() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry some that nobody can read any more.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(ToString::to_string);
    Err(TrustError::NoSystem(
        why.unwrap_or_else(|| "none were found".to_owned()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(ca: &Path) -> String {
        let url = "https://ops:8765".parse().unwrap();
        client(&url, Some(ca)).unwrap_err().to_string()
    }

    #[test]
    fn a_file_without_authorities_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(refusal(file.path()).contains("no certificate in PEM form"));
        let gone = refusal(Path::new("/no/such/ca.pem"));
        assert!(gone.contains("--ca /no/such/ca.pem"), "{gone}");
    }

    #[test]
    fn without_tls_nobody_has_to_be_believed() {
        let url = "http://127.0.0.1:8765".parse().unwrap();
        client(&url, None).unwrap().build().unwrap();
    }
}
