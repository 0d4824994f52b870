//! `coordinator audit`: what happened, as the log says it. Single events are `event`'s.

use clap::Subcommand;

use super::audit_export::{self, ExportArgs};
use super::failure::Failure;
use super::global::Context;

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    Export(ExportArgs),
}

pub async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Export(args) => audit_export::run(context, &args).await,
    }
}
