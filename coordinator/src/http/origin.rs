//! Whether a request was meant for us: its `Host` is one of our names, and no web page sent it but
//! ours and those that an operator named. This is what keeps a page elsewhere, or a name that
//! somebody points at our address, from driving a coordinator on loopback.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use std::net::IpAddr;

/// The names under which we may be addressed, and the pages that may do so.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Beside those of loopback; in lower case.
    pub hosts: Vec<String>,
    /// Where our own pages come from, as a browser says it, where a proxy changes the `Host`.
    pub own_origin: Option<String>,
    /// Pages elsewhere, as a browser says it.
    pub cors_origins: Vec<String>,
}

/// Who sent a request that was meant for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A program, or one of our own pages.
    Own,
    /// A page elsewhere that may.
    Page(HeaderValue),
}

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

/// Which page a browser says it acts for. No page can set it.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

impl Surroundings {
    /// # Errors
    /// When it was not meant for us.
    pub fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Sender, Foreign> {
        let authority = self.host(uri, headers)?;
        let Some(origin) = headers.get(header::ORIGIN) else {
            return no_other_page(method, headers).map(|()| Sender::Own);
        };
        let said = origin.to_str().unwrap_or_default();
        let same = |known: &String| known.eq_ignore_ascii_case(said);
        if is_own(said, &authority) || self.own_origin.as_ref().is_some_and(same) {
            return Ok(Sender::Own);
        }
        match self.cors_origins.iter().any(same) {
            true => Ok(Sender::Page(origin.clone())),
            false => Err(Foreign::Origin(shown(origin))),
        }
    }

    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Foreign> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = named.next().ok_or(Foreign::NoHost)?;
        let authority = authority(host)?;
        // Two names, or another one in the request line: somebody in between may see the other.
        let other = named.next().is_some() || uri.authority().is_some_and(|uri| *uri != authority);
        if other || !self.contains(authority.host()) {
            return Err(Foreign::Host(schemas::shown(authority.host())));
        }
        Ok(authority)
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        host == "localhost" || loopback || self.hosts.contains(&host)
    }
}

fn authority(host: &HeaderValue) -> Result<Authority, Foreign> {
    let parsed = Authority::try_from(host.as_bytes()).ok();
    parsed
        .filter(|authority| !authority.as_str().contains('@'))
        .ok_or_else(|| Foreign::Host(shown(host)))
}

/// Browsers leave `Origin` out of some requests, such as those for an image. Following a link is
/// what a person does.
fn no_other_page(method: &Method, headers: &HeaderMap) -> Result<(), Foreign> {
    let says = |name: &HeaderName, what: &str| headers.get(name).is_some_and(|value| value == what);
    let other = says(&FETCH_SITE, "cross-site") || says(&FETCH_SITE, "same-site");
    let follows_link = *method == Method::GET && says(&FETCH_MODE, "navigate");
    match other && !follows_link {
        true => Err(Foreign::Origin("of another page".to_owned())),
        false => Ok(()),
    }
}

/// The page came from the address it now talks to. A proxy may have taken TLS off.
fn is_own(origin: &str, host: &Authority) -> bool {
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
        let hosts = surroundings();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let uri = Uri::from_static("/runs");
        hosts.admit(&Method::POST, &uri, &headers).is_ok()
    }

    fn surroundings() -> Surroundings {
        Surroundings {
            hosts: vec!["coordinator.example".to_owned()],
            own_origin: Some("https://scripts.example".to_owned()),
            cors_origins: vec!["https://pages.example".to_owned()],
        }
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
    #[case("https://scripts.example", true)]
    #[case("https://pages.example", true)]
    #[case("http://pages.example", false)]
    #[case("https://pages.example.evil", false)]
    #[case("null", false)]
    #[case("file://localhost:8765", false)]
    fn only_our_own_pages(#[case] origin: &str, #[case] admitted: bool) {
        assert_eq!(admits("localhost:8765", Some(origin)), admitted);
    }

    #[test]
    fn two_names_are_one_too_many() {
        let hosts = Surroundings::default();
        let admit = |uri: &Uri, headers: &HeaderMap| hosts.admit(&Method::GET, uri, headers);
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        let uri = Uri::from_static("http://evil.example/runs");
        assert!(admit(&uri, &headers).is_err());
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        let uri = Uri::from_static("/runs");
        assert!(admit(&uri, &headers).is_err());
        assert!(admit(&uri, &HeaderMap::new()).is_err());
    }

    #[rstest]
    #[case::a_program(Method::POST, &[], true)]
    #[case::own_page(Method::POST, &[("sec-fetch-site", "same-origin")], true)]
    #[case::typed(Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], true)]
    #[case::a_link(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], true)]
    #[case::a_form(Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], false)]
    #[case::an_image(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], false)]
    fn browsers_say_which_page_it_was(
        #[case] method: Method,
        #[case] told: &[(&'static str, &'static str)],
        #[case] admitted: bool,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        for (name, value) in told {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let uri = Uri::from_static("/");
        let answer = surroundings().admit(&method, &uri, &headers);
        assert_eq!(answer.is_ok(), admitted);
    }
}
