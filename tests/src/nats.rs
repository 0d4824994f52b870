//! A real nats-server on a free port in a temporary folder.

use crate::process::{Process, tool};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A broker of one story's own. Its store survives [`Nats::kill`] and [`Nats::start_again`].
pub struct Nats {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Nats {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = spawn(port, folder.path());
        let nats = Self {
            process,
            port,
            folder,
        };
        nats.ready().await;
        nats
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The server itself, to pause it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it in order, as an operator would.
    pub fn stop(&mut self) {
        self.process.signal(Signal::SIGTERM);
        while self.process.exited().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// On the same port, with the same store.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.port, self.folder.path());
        self.ready().await;
    }

    async fn ready(&self) {
        let address = ("127.0.0.1", self.port);
        crate::eventually::eventually("the broker listens", async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn spawn(port: u16, folder: &Path) -> Process {
    let mut command = Command::new(tool("nats-server"));
    command
        .args(["-a", "127.0.0.1", "-js"])
        .args(["-p", &port.to_string()])
        .arg("-sd")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start("nats-server", &mut command)
}
