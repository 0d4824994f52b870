//! How many files this process may hold open, each connection being one: as many as the system allows
//! it, which is usually far more than what a process begins with.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What nearly every system lets a process hold.
const COMMON: u64 = 1_024;

/// Takes what is allowed, and says how much that is.
pub fn take_all_allowed() -> u64 {
    let Ok((now, allowed)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return COMMON;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, allowed, allowed) {
        Ok(()) => allowed,
        Err(error) => {
            tracing::warn!(%error, now, allowed, "no further files may be held open");
            now
        }
    }
}
