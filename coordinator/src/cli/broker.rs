//! `coordinator broker`: what a broker of your own has to know.

use clap::{ArgGroup, Args, Subcommand};

use super::failure::Failure;
use super::global::Context;

#[derive(Subcommand, Debug)]
pub enum BrokerCommand {
    Config(ConfigArgs),
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

pub async fn run(context: &Context, command: BrokerCommand) -> Result<(), Failure> {
    let BrokerCommand::Config(ConfigArgs { print: _ }) = command;
    let text = context
        .client
        .download(&["broker", "accounts"], &[])
        .await?;
    context.output.raw(&text)
}
