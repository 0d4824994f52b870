//! Which port the broker listens on: the given one, or a free one chosen once and remembered,
//! because runners keep the address they were told.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{FileError, read_if_there, write_private};

/// Below what systems hand out to outgoing connections (Linux: from 32,768), so that no
/// connection of somebody's sits on our port when the broker comes back.
const CHOSEN_FROM: RangeInclusive<u16> = 20_000..=32_000;
/// With this many refusals the trouble is not that ports are taken.
const CHOICES: usize = 100;
/// The kernel closes a dead server's listener a moment after it let go of the lock.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the broker's port {port} is in use by another program; stop it, or give another port \
         with --broker-port"
    )]
    GivenTaken {
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error(
        "port {port}, which the broker has had since its first start, is in use by another \
         program; stop that program, or give another port with --broker-port, or delete {} to have \
         a new one chosen (runners must then learn the new address from the coordinator)",
        path.display()
    )]
    RememberedTaken {
        port: u16,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold a port; delete it to have a new one chosen", path.display())]
    Damaged { path: PathBuf },
    #[error("no free port between 20000 and 32000 on loopback; give one with --broker-port")]
    NoneFree(#[source] io::Error),
}

/// A port that was free a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Given(u16),
    Remembered(u16),
    Chosen(u16),
}

impl Port {
    pub fn settle(given: Option<u16>, remembered_in: &Path) -> Result<Self, PortError> {
        if let Some(port) = given {
            probe(port).map_err(|source| PortError::GivenTaken { port, source })?;
            return Ok(Self::Given(port));
        }
        let Some(text) = read_if_there(remembered_in)? else {
            return choose();
        };
        let path = remembered_in.to_path_buf();
        let Some(port) = text.trim().parse().ok().filter(|port| *port != 0) else {
            return Err(PortError::Damaged { path });
        };
        probe(port).map_err(|source| PortError::RememberedTaken { port, path, source })?;
        Ok(Self::Remembered(port))
    }

    /// To be called when the server has shown that the port works.
    pub fn remember(self, path: &Path) -> Result<(), FileError> {
        match self {
            Self::Chosen(port) => write_private(path, &format!("{port}\n")),
            Self::Given(_) | Self::Remembered(_) => Ok(()),
        }
    }

    pub fn address(self) -> SocketAddr {
        let (Self::Given(port) | Self::Remembered(port) | Self::Chosen(port)) = self;
        loopback(port)
    }
}

fn choose() -> Result<Port, PortError> {
    let mut refusal = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..CHOICES {
        let port = rand::random_range(CHOSEN_FROM);
        match bind(port) {
            Ok(()) => return Ok(Port::Chosen(port)),
            Err(error) => refusal = error,
        }
    }
    Err(PortError::NoneFree(refusal))
}

fn probe(port: u16) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match bind(port) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(RETRY_EVERY);
            }
            settled => return settled,
        }
    }
}

fn bind(port: u16) -> io::Result<()> {
    TcpListener::bind(loopback(port)).map(drop)
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_port_is_remembered_and_a_given_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let chosen = Port::settle(None, &path).unwrap();
        chosen.remember(&path).unwrap();
        assert!(CHOSEN_FROM.contains(&chosen.address().port()));

        Port::Given(1234).remember(&path).unwrap();
        let again = Port::settle(None, &path).unwrap();
        assert_eq!(again, Port::Remembered(chosen.address().port()));
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();

        let given = Port::settle(Some(port), &path).unwrap_err().to_string();
        assert!(
            given.contains(&port.to_string()) && given.contains("--broker-port"),
            "{given}"
        );

        std::fs::write(&path, port.to_string()).unwrap();
        let remembered = Port::settle(None, &path).unwrap_err().to_string();
        assert!(remembered.contains(&port.to_string()), "{remembered}");
        assert!(remembered.contains(path.to_str().unwrap()), "{remembered}");
    }

    #[test]
    fn a_damaged_port_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        for text in ["", "0", "70000", "nats"] {
            std::fs::write(&path, text).unwrap();
            let error = Port::settle(None, &path).unwrap_err();
            assert!(
                matches!(error, PortError::Damaged { .. }),
                "{text:?}: {error}"
            );
        }
    }
}
