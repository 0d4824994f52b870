//! Being told to end: TERM from a service manager, INT from a terminal.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell makes of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Resolves once somebody has asked us to end; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// From now on a first signal asks, and a second one ends the process where it stands: whoever
    /// presses Ctrl-C twice does not want to wait.
    pub fn listen() -> io::Result<Self> {
        let stop = Self(CancellationToken::new());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = stop.0.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if asked.is_cancelled() {
                    std::process::exit(INTERRUPTED);
                }
                asked.cancel();
            }
        });
        Ok(stop)
    }

    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}
