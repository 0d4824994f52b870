//! Has the kernel hold this thread, and all that it starts, to a set of rules. Not to be undone.

use super::rules::{Access, Rule};
use events::runner::Sandbox;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use std::path::Path;
use thiserror::Error;

/// What we ask for. An older kernel holds processes to what it knows of this.
///
/// 6 (Linux 6.12) is the first that keeps scripts from sending signals to processes outside; 7 and 8 add
/// nothing for us, and 9 would take the sockets of services from scripts.
const ASKED: ABI = ABI::V6;

#[derive(Debug, Error)]
#[error("the kernel does not take the rules of the sandbox; --no-sandbox runs scripts without one")]
pub struct SandboxError(#[from] RulesetError);

/// Restricts the calling thread and what it starts from now on; also takes from it what setuid programs give.
/// Says what the kernel made of it.
///
/// Paths that do not exist are left out.
///
/// # Errors
/// When a kernel that has Landlock refuses, as below 16 sandboxes already.
pub fn restrict(rules: &[Rule]) -> Result<Sandbox, SandboxError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?
        .create()?;
    for access in [Access::Read, Access::Device, Access::Write] {
        let paths = rules.iter().filter(|rule| rule.access == access);
        let paths = paths.map(|rule| -> &Path { &rule.path });
        ruleset = ruleset.add_rules(path_beneath_rules(paths, rights(access)))?;
    }
    Ok(level(&ruleset.restrict_self()?))
}

/// Restricts a thread that ends at once: what this host makes of the rules.
///
/// # Errors
/// As [`restrict`].
pub fn attempt(rules: &[Rule]) -> Result<Sandbox, SandboxError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| restrict(rules));
        thread.join().expect("restricting does not panic")
    })
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    let read = AccessFs::from_read(ASKED);
    match access {
        Access::Read => read,
        Access::Device => read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev,
        // With a device file of its own, root's script could reach any disk.
        Access::Write => {
            AccessFs::from_all(ASKED)
                & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
        }
    }
}

fn level(status: &RestrictionStatus) -> Sandbox {
    match status.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Sandbox::Landlock {
            abi: u32::try_from(kernel_abi.unwrap_or(effective_abi as i32)).unwrap_or_default(),
            partial: status.ruleset != RulesetStatus::FullyEnforced,
        },
        LandlockStatus::NotEnabled => Sandbox::NotEnabled,
        LandlockStatus::NotImplemented => Sandbox::NotSupported,
    }
}
