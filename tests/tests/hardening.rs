//! Whoever means no good, or is broken, is refused cheaply and clearly, and nobody else notices: huge
//! bodies, connections that are held for nothing, senders that never end, and requests that mean one
//! thing to us and another to a proxy.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use std::net::SocketAddr;
use tests::coordinator::Coordinator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a coordinator may take up for one bad client, whatever that sends.
const MEMORY_MAX_KIB: u64 = 64 * 1024;

fn address(coordinator: &Coordinator) -> SocketAddr {
    coordinator
        .url()
        .trim_start_matches("http://")
        .parse()
        .unwrap()
}

async fn connected(coordinator: &Coordinator) -> TcpStream {
    TcpStream::connect(address(coordinator)).await.unwrap()
}

/// The status that these bytes are answered with; none where the connection is just closed.
async fn told(coordinator: &Coordinator, request: &[u8]) -> Option<u16> {
    let mut stream = connected(coordinator).await;
    // Who is refused early may not be read to the end.
    let _ = stream.write_all(request).await;
    status(&mut stream).await
}

async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    let text = std::str::from_utf8(&head).unwrap();
    Some(text.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap())
}

/// The most memory that the coordinator ever had.
fn peak_kib(coordinator: &mut Coordinator) -> u64 {
    let path = format!("/proc/{}/status", coordinator.process().pid());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn is_at_work(coordinator: &Coordinator) {
    assert_eq!(coordinator.get("/scripts").await.status, 200);
    let agent = json!({"name": "a", "description": "", "type": "autonomous"});
    let put = coordinator
        .send(Method::PUT, "/agents/a", Some(agent))
        .await;
    assert!(put.status.is_success(), "{put:?}");
}

/// `head` with the rest that every request has.
fn request(coordinator: &Coordinator, line: &str, headers: &str) -> String {
    let (host, token) = (address(coordinator), coordinator.token());
    format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")
}

#[tokio::test]
async fn two_thousand_idle_connections_hold_up_nobody() {
    let (_, allowed) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, allowed, allowed).unwrap();
    let mut coordinator = Coordinator::start().await;
    is_at_work(&coordinator).await;
    let before = peak_kib(&mut coordinator);
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(connected(&coordinator).await);
    }
    is_at_work(&coordinator).await;
    // They were not let go to make room, either.
    let ask = request(&coordinator, "GET /health", "");
    for stream in idle.iter_mut().step_by(400) {
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert_eq!(status(stream).await, Some(200));
    }
    let grown = peak_kib(&mut coordinator) - before;
    assert!(
        grown < MEMORY_MAX_KIB,
        "{grown} KiB for 2,000 idle connections"
    );
}

#[tokio::test]
async fn bodies_of_a_hundred_megabytes_are_refused_and_not_kept() {
    static PIECE: [u8; 64 * 1024] = [b'a'; 64 * 1024];
    const PIECES: usize = 100 * 1024 * 1024 / PIECE.len();
    let mut coordinator = Coordinator::start().await;
    is_at_work(&coordinator).await;
    let before = peak_kib(&mut coordinator);
    for (path, media) in [
        ("/agents", "application/json"),
        ("/scripts", "application/json"),
        ("/scripts", "application/zstd"),
        ("/scripts", "application/gzip"),
        ("/scripts", "multipart/form-data; boundary=x"),
        ("/scripts", "text/plain"),
        ("/health", "application/json"),
        ("/nowhere", "application/json"),
    ] {
        let length = PIECE.len() * PIECES;
        let headers = format!("Content-Type: {media}\r\nContent-Length: {length}\r\n");
        let head = request(&coordinator, &format!("POST {path}"), &headers);
        let mut stream = connected(&coordinator).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sending = tokio::spawn(async move {
            for _ in 0..PIECES {
                // The other side need not take it all.
                if writer.write_all(&PIECE).await.is_err() {
                    return;
                }
            }
        });
        let mut answer = [0; 12];
        reader.read_exact(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer).unwrap();
        let status: u16 = answer.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap();
        assert!(
            [404, 405, 413, 415, 422].contains(&status),
            "{path} {media}: {status}"
        );
        is_at_work(&coordinator).await;
        drop(reader);
        sending.await.unwrap();
    }
    let grown = peak_kib(&mut coordinator) - before;
    assert!(
        grown < MEMORY_MAX_KIB,
        "{grown} KiB for bodies that were refused"
    );
}

#[tokio::test]
async fn senders_that_never_end_hold_up_nobody() {
    let coordinator = Coordinator::start().await;
    let json = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let whole = request(&coordinator, "POST /agents", json);
    let mut slow = Vec::new();
    for number in 0..300 {
        let mut stream = connected(&coordinator).await;
        // Half a head, a head without its body, half a body.
        let half = match number % 3 {
            0 => whole[..whole.len() / 2].to_owned(),
            1 => whole.clone(),
            _ => format!("{whole}{{\"name\": \""),
        };
        stream.write_all(half.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    is_at_work(&coordinator).await;
    // Who goes on is served, however slow it was.
    let body = format!(
        "{{\"name\": \"slow\", \"description\": \"\", \"type\": \"autonomous\"{}}}",
        " ".repeat(1_000)
    );
    slow[1].write_all(&body.as_bytes()[..1_000]).await.unwrap();
    assert!(status(&mut slow[1]).await.is_some());
}

#[rstest]
#[case::up("/scripts/../tokens")]
#[case::up_encoded("/scripts/%2e%2e/tokens")]
#[case::up_half_encoded("/scripts/.%2E/tokens")]
#[case::backslash("/scripts/..%5c..%5ctokens")]
#[case::backslash_plain("/scripts\\tokens")]
#[case::slash_encoded("/scripts/a%2ftokens")]
#[case::double_slash("//tokens")]
#[case::double_slash_inside("/scripts//a")]
#[case::here("/./tokens")]
#[case::no_number("/scripts/%zz")]
#[case::line("/scripts/a%0d%0aX: y")]
#[case::nul("/scripts/a%00")]
#[tokio::test]
async fn paths_that_can_be_read_in_two_ways(#[case] path: &str) {
    let coordinator = Coordinator::start().await;
    let ask = request(&coordinator, &format!("GET {path}"), "");
    let told = told(&coordinator, ask.as_bytes()).await;
    assert!(told.is_none_or(|status| status == 400), "{told:?}");
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways() {
    let coordinator = Coordinator::start().await;
    let json = "Content-Type: application/json\r\n";
    let long = format!("X-Long: {}\r\n", "x".repeat(1_000_000));
    let many = "X-Many: x\r\n".repeat(1_000);
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n");
    for (what, line, headers) in [
        ("two tokens", "GET /scripts", "Authorization: Bearer x\r\n"),
        ("two hosts", "GET /scripts", "Host: example.org\r\n"),
        (
            "another host in the line",
            "GET http://example.org/scripts",
            "",
        ),
        (
            "two lengths",
            "POST /agents",
            "Content-Length: 2\r\nContent-Length: 3\r\n",
        ),
        (
            "a length that is none",
            "POST /agents",
            "Content-Length: -1\r\n",
        ),
        (
            "a length with a sign",
            "POST /agents",
            "Content-Length: +2\r\n",
        ),
        (
            "two types",
            "POST /agents",
            &format!("{json}Content-Type: text/plain\r\n"),
        ),
        (
            "an unknown coding",
            "POST /agents",
            "Transfer-Encoding: gzip\r\n",
        ),
        ("a name with a space", "GET /scripts", "X Y: z\r\n"),
        ("a space before the colon", "GET /scripts", "X-Y : z\r\n"),
        ("a folded line", "GET /scripts", "X-Y: z\r\n folded\r\n"),
        ("a long line", "GET /scripts", &long),
        ("many lines", "GET /scripts", &many),
        ("a NUL", "GET /scripts", "X-Y: a\0b\r\n"),
        ("a chunk without a size", "POST /agents", &chunked),
        ("a verb of its own", "BREW /scripts", ""),
        ("a tunnel", "CONNECT /scripts", ""),
    ] {
        let mut ask = request(&coordinator, line, headers);
        if headers == chunked {
            ask.push_str("zz\r\n{}\r\n0\r\n\r\n");
        }
        let told = told(&coordinator, ask.as_bytes()).await;
        let refused = told.is_none_or(|status| (400..500).contains(&status));
        assert!(refused, "{what}: {told:?}");
    }
    is_at_work(&coordinator).await;
}

/// A length beside a coding is how one request is made to look like two to somebody in between.
#[tokio::test]
async fn no_second_request_hides_in_a_body() {
    let coordinator = Coordinator::start().await;
    let hidden = request(&coordinator, "DELETE /agents/a", "");
    is_at_work(&coordinator).await;
    let body = format!("0\r\n\r\n{hidden}");
    let headers = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n",
        body.len()
    );
    let ask = request(&coordinator, "POST /agents", &headers) + &body;
    let mut stream = connected(&coordinator).await;
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers).await;
    let answers = String::from_utf8_lossy(&answers);
    assert!(answers.matches("HTTP/1.1").count() <= 1, "{answers}");
    assert_eq!(coordinator.get("/agents/a").await.status, 200);
}
