//! Whether a request was meant for us: its `Host` is one of our names, and no other web page sent
//! it. This is what keeps a page elsewhere, or a name that somebody points at our address, from
//! driving a coordinator on loopback.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use std::net::IpAddr;

/// The names under which we may be addressed: those of loopback, and those an operator gave.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<String>);

/// A request that was not meant for us.
#[derive(Debug, thiserror::Error)]
pub enum Foreign {
    #[error("Request without a Host")]
    NoHost,
    #[error("Host {0} is not allowed")]
    Host(String),
    #[error("Origin {0} is not allowed")]
    Origin(String),
}

impl AllowedHosts {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(
            names
                .into_iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
        )
    }

    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = named.next().ok_or(Foreign::NoHost)?;
        let authority = authority(host)?;
        // Two names, or another one in the request line: somebody in between may see the other.
        let other = named.next().is_some() || uri.authority().is_some_and(|uri| *uri != authority);
        if other || !self.contains(authority.host()) {
            return Err(Foreign::Host(schemas::shown(authority.host())));
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !is_own(origin, &authority) => Err(Foreign::Origin(shown(origin))),
            _ => Ok(()),
        }
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        host == "localhost" || loopback || self.0.contains(&host)
    }
}

fn authority(host: &HeaderValue) -> Result<Authority, Foreign> {
    let parsed = Authority::try_from(host.as_bytes()).ok();
    parsed
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(|| Foreign::Host(shown(host)))
}

/// The page came from the address it now talks to. A proxy may have taken TLS off.
fn is_own(origin: &HeaderValue, host: &Authority) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_str()))
}

fn shown(value: &HeaderValue) -> String {
    schemas::shown(&String::from_utf8_lossy(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn admits(host: &str, origin: Option<&str>) -> bool {
        let hosts = AllowedHosts::new(["Coordinator.example".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        hosts.admit(&Uri::from_static("/runs"), &headers).is_ok()
    }

    #[rstest]
    #[case("localhost", true)]
    #[case("LocalHost:8765", true)]
    #[case("127.0.0.1:8765", true)]
    #[case("127.8.9.1", true)]
    #[case("[::1]:8765", true)]
    #[case("coordinator.example", true)]
    #[case("coordinator.example:443", true)]
    #[case("evil.example", false)]
    #[case("localhost.evil.example", false)]
    #[case("127.0.0.1.evil.example", false)]
    #[case("evil@localhost", false)]
    #[case("192.168.1.1", false)]
    #[case("localhost/x", false)]
    #[case("", false)]
    fn only_our_own_names(#[case] host: &str, #[case] admitted: bool) {
        assert_eq!(admits(host, None), admitted);
    }

    #[rstest]
    #[case("http://localhost:8765", true)]
    #[case("https://localhost:8765", true)]
    #[case("http://localhost:3000", false)]
    #[case("http://localhost", false)]
    #[case("http://evil.example", false)]
    #[case("null", false)]
    #[case("file://localhost:8765", false)]
    fn only_our_own_pages(#[case] origin: &str, #[case] admitted: bool) {
        assert_eq!(admits("localhost:8765", Some(origin)), admitted);
    }

    #[test]
    fn two_names_are_one_too_many() {
        let hosts = AllowedHosts::default();
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        let uri = Uri::from_static("http://evil.example/runs");
        assert!(hosts.admit(&uri, &headers).is_err());
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert!(hosts.admit(&Uri::from_static("/runs"), &headers).is_err());
        assert!(
            hosts
                .admit(&Uri::from_static("/runs"), &HeaderMap::new())
                .is_err()
        );
    }
}
