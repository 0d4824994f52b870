//! The arguments of `coordinator restore`. What it does is not decided here: no coordinator runs yet
//! that could be asked, so the binary supplies it.

use std::path::PathBuf;

use clap::Args;

use super::serve::BrokerArgs;

/// Put a backup into an empty system; start the coordinator afterwards
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  coordinator restore coordinator.backup --data-dir /srv/coordinator
  coordinator restore coordinator.backup --nats-url nats://a:4222,nats://b:4222,nats://c:4222 \\
      --nats-nkey coordinator.nk --replicas 3

No coordinator may run on that broker meanwhile. A restore that was interrupted is begun again by the
same command; until one has come to its end, no coordinator starts there.")]
pub struct RestoreArgs {
    /// What `coordinator backup` has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub broker: BrokerArgs,
}
