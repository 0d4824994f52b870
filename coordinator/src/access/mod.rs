//! Who is at the door: tokens and what they hash to, the proof that a runner holds its key, when each
//! token came last, and how those who guess are slowed. What anybody may do is not decided here.

mod admin;
mod failures;
mod last_use;
mod proof;
mod secret;

pub use admin::{ADMIN_TOKEN_FILE, AdminToken, TokenError};
pub use failures::{FailedLogins, Slowed};
pub use last_use::LastUses;
pub use proof::{Proof, is_key};
pub use secret::{Secret, hash};
