//! `LANES`: what each lane is and what its runners have to hold. Derived from `CATALOG`; the
//! last message of each subject is all there is to know.

use crate::LaneTags;
use schemas::Digest;
use schemas::Name;
use serde::{Deserialize, Serialize};

/// The message under one subject of a lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LaneEvent {
    /// The tags behind the lane's id. Written before anything else of the lane.
    Tags { tags: LaneTags },
    /// The lane's runners hold this script, in this version.
    Sync {
        script: Name,
        version: u32,
        digest: Digest,
        /// Of the packed folder, in bytes.
        size: u64,
        /// The `CATALOG` sequence this follows from; it never goes back.
        catalog_sequence: u64,
    },
    /// The lane no longer wants this script.
    Remove { script: Name, catalog_sequence: u64 },
    /// Nothing needs the lane any more, and its queue goes. In the place of its tags; whoever needs
    /// it again writes them anew.
    Retired,
}

impl LaneEvent {
    /// The `CATALOG` sequence the message follows from; a lane's coming and going follow from none.
    pub fn catalog_sequence(&self) -> Option<u64> {
        match self {
            Self::Tags { .. } | Self::Retired => None,
            Self::Sync {
                catalog_sequence, ..
            }
            | Self::Remove {
                catalog_sequence, ..
            } => Some(*catalog_sequence),
        }
    }
}
