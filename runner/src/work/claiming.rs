//! Makes a delivery ours, and settles its lease where it is not.

use super::Ticket;
use crate::station::Station;
use async_trait::async_trait;
use events::RunnerId;
use events::claim::{self, Ask, Claimed, HAND_BACK_DELAY, Hold, Holder};
use events::log::jetstream::Delivery;
use events::question::Question;
use events::run::RunRequest;

/// Makes the run ours; `None` when it is settled, or somebody else's.
pub async fn claim(
    station: &Station,
    delivery: &Delivery,
    request: Box<RunRequest>,
    ticket: &Ticket,
) -> Option<Hold> {
    match claim::claim(station.voice(), delivery, request, station).await {
        Claimed::Ours(hold) => return Some(hold),
        Claimed::Over => station.queue.ack(&ticket.lease()).await,
        Claimed::NotNow => {
            let lease = ticket.lease();
            station.queue.hand_back(&lease, HAND_BACK_DELAY).await;
        }
    }
    None
}

#[async_trait]
impl Ask for Station {
    async fn ask(&self, runner: &RunnerId, question: Question) -> Holder {
        let answer = self.connection.ask(runner, &question).await;
        let listening_for = self.connection.listening_for();
        match answer {
            Some(answer) => Holder::Said(answer),
            None if listening_for >= self.cadence.silence() => Holder::SilentForLong,
            None => Holder::SilentForAMoment,
        }
    }
}
