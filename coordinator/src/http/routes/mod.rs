//! All routes there are, each with what it takes to pass and what it says of itself.
//!
//! What a route does stands in the file of its resource.

mod agents;
mod audit;
mod lanes;
mod long_poll;
mod runners;
mod runs;
mod scripts;
mod system;
mod versions;

use super::needs::Needs;
use super::state::Api;
use super::table::Table;
use events::Role;

/// What an AI agent's tools read, and what they start and stop.
const VIEW_RUNS: Needs = Needs::VIEWER.or(Role::Mcp);
const START_RUNS: Needs = Needs::OPERATOR.or(Role::Mcp);
/// A runner's own token lets it join.
const JOIN: Needs = Needs::ADMIN.or(Role::Runner);
/// One that long-polls shows its token with every request, and fetches scripts with it.
const RUNNER: Needs = Needs::ADMIN.or(Role::Runner);
const FETCH: Needs = Needs::VIEWER.or(Role::Runner);

/// All there is.
pub fn table() -> Table<Api> {
    let resources = [
        system::routes,
        scripts::routes,
        agents::agents,
        agents::capabilities,
        versions::routes,
        runs::runs,
        runs::sessions,
        runners::runners,
        long_poll::runner,
        long_poll::sessions,
        runners::tokens,
        lanes::lanes,
        lanes::pins,
        audit::routes,
    ];
    resources
        .into_iter()
        .fold(Table::new(), |table, routes| routes(table))
}
