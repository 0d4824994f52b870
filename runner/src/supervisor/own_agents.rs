//! The runner's own agents in what it says of itself: read again, announced, and told of names that
//! others have.

use crate::apply::describe;
use crate::join;
use crate::station::Station;
use events::runner::Registration;
use std::io;
use std::sync::Arc;

/// The registration with what the folder held when it was last read.
pub fn with(station: &Station, registration: Registration) -> Registration {
    let agents = station.agents.now();
    Registration {
        agents: agents.definitions(),
        agent_faults: agents.faults(),
        ..registration
    }
}

/// Takes in what the folder holds now.
pub async fn read_again(station: &Arc<Station>) {
    let reading = station.clone();
    let read = tokio::task::spawn_blocking(move || reading.agents.read_again()).await;
    if let Err(error) = read.map_err(io::Error::other).flatten() {
        tracing::error!(%error, "--agents-dir cannot be read; the agents stay as they were");
    }
}

/// The coordinator knows who else has a name; where it is away, nobody says.
pub async fn tell_refused(station: Arc<Station>) {
    let agents = station.agents.now();
    if agents.names().next().is_none() {
        return;
    }
    match join::refused_agents(&station.settings, agents.names()).await {
        Ok(refused) => {
            for refusal in refused {
                tracing::error!("{refusal}");
            }
        }
        Err(error) => {
            tracing::warn!(error = %describe(&error), "whether the names of our agents are free is not known");
        }
    }
}
