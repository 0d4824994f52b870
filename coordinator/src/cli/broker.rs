//! `coordinator broker`: what a broker of your own has to know.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::failure::Failure;
use super::global::Context;
use super::output::Output;

#[derive(Subcommand, Debug)]
pub enum BrokerCommand {
    Init(InitArgs),
    Config(ConfigArgs),
}

/// Write what a broker of your own is started with: its settings, its two accounts, and their keys
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
All runners share the one key in runners.nk; `broker config --print` gives each its own. What is there is
written again, but for the keys, which stay. It asks no coordinator.

Examples:
  coordinator broker init broker
  nats-server -c broker/nats.conf
  coordinator serve --nats-url nats://127.0.0.1:4222 --nats-nkey broker/coordinator.nk \\
      --runner-nats-nkey broker/runners.nk")]
pub struct InitArgs {
    /// The folder to write
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Address and port that the broker will listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4222")]
    pub listen: SocketAddr,

    /// Where the broker will keep its streams [default: `store` in the folder]
    #[arg(long, value_name = "DIR")]
    pub store_dir: Option<PathBuf>,
}

/// Write the accounts and users that a broker of your own needs for the runners that have joined
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).args(["print"]))]
#[command(after_help = "\
It goes beside nats.conf as accounts.conf, on every server of a cluster; then the servers read it
again without cutting anybody off who stays. A runner that has just joined knocks until it is let in.
The embedded broker is told by itself.

Examples:
  coordinator broker config --print > accounts.conf && nats-server --signal reload")]
pub struct ConfigArgs {
    /// On standard output
    #[arg(long)]
    print: bool,
}

pub async fn config(context: &Context) -> Result<(), Failure> {
    let text = context
        .client
        .download(&["broker", "accounts"], &[])
        .await?;
    context.output.raw(&text)
}

/// What was written, by a function that the binary supplies: no coordinator has to be there.
pub fn written(output: &Output, files: &[PathBuf]) -> Result<(), Failure> {
    let mut files = files.iter();
    files.try_for_each(|file| output.line(&file.display().to_string()))
}
