//! Waits for the one line by which `coordinator dev` says that all of it is up.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Why there is no address.
#[derive(Debug, PartialEq, Eq)]
pub enum NotReady {
    /// The output ended: the program is gone, or about to be.
    Ended,
    /// Nothing was said within the caller's patience.
    Silent,
}

/// The coordinator's address, from its standard output.
///
/// Reads on in the background for as long as there is output, so that the
/// program never waits for a reader nor fails for the lack of one.
pub fn await_ready(
    output: impl Read + Send + 'static,
    patience: Duration,
) -> Result<String, NotReady> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if let Some(url) = ready_url(&String::from_utf8_lossy(&line)) {
                // Nobody listens any more: the address was known or given up on.
                let _ = sender.send(url.to_owned());
            }
        }
    });
    receiver.recv_timeout(patience).map_err(|end| match end {
        RecvTimeoutError::Disconnected => NotReady::Ended,
        RecvTimeoutError::Timeout => NotReady::Silent,
    })
}

fn ready_url(line: &str) -> Option<&str> {
    let url = line.strip_prefix("ready ")?.trim_end();
    let address = url.strip_prefix("http://")?;
    (!address.is_empty() && !address.contains(char::is_whitespace)).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn only_a_ready_line_with_an_address_counts() {
        assert_eq!(
            ready_url("ready http://127.0.0.1:41234"),
            Some("http://127.0.0.1:41234")
        );
        assert_eq!(
            ready_url("ready http://[::1]:8765\r"),
            Some("http://[::1]:8765")
        );
        for line in [
            "",
            "ready",
            "ready ",
            "ready http://",
            "ready soon",
            "already http://x:1",
            "not ready http://x:1",
            "ready http://x:1 almost",
        ] {
            assert_eq!(ready_url(line), None, "{line:?}");
        }
    }

    #[test]
    fn other_output_does_not_hide_the_address() {
        let output = &b"starting\n\xff\xfe\nready http://127.0.0.1:1\nmore\n"[..];
        assert_eq!(
            await_ready(output, PATIENCE),
            Ok("http://127.0.0.1:1".to_owned())
        );
    }

    #[test]
    fn the_end_of_the_output_is_noticed_at_once() {
        assert_eq!(await_ready(&b"oh no\n"[..], PATIENCE), Err(NotReady::Ended));
    }

    #[test]
    fn patience_ends() {
        let (reader, _writer) = std::io::pipe().unwrap();
        assert_eq!(await_ready(reader, Duration::ZERO), Err(NotReady::Silent));
    }
}
