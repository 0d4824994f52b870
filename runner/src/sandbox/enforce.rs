//! Tells the kernel a set of rules, and has it hold a thread, and all that it starts, to them. Not to be
//! undone.

use super::rules::{Access, Rule};
use events::runner::Sandbox;
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use nix::errno::Errno;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::Path;
use thiserror::Error;

/// What we ask for. An older kernel holds processes to what it knows of this.
///
/// 6 (Linux 6.12) is the first that keeps scripts from sending signals to processes outside; 7 and 8 add
/// nothing for us, and 9 would take the sockets of services from scripts.
const ASKED: ABI = ABI::V6;

#[derive(Debug, Error)]
#[error("the kernel does not take the rules of the sandbox; --no-sandbox runs scripts without one")]
pub struct SandboxError(#[source] Box<dyn Error + Send + Sync>);

impl From<RulesetError> for SandboxError {
    fn from(error: RulesetError) -> Self {
        Self(error.into())
    }
}

impl From<Errno> for SandboxError {
    fn from(error: Errno) -> Self {
        Self(error.into())
    }
}

/// The rules as the kernel has them, for a process to enter; `None` where it has no Landlock.
///
/// Paths that do not exist are left out.
///
/// # Errors
/// When a kernel that has Landlock refuses.
pub fn rule_set(rules: &[Rule]) -> Result<Option<OwnedFd>, SandboxError> {
    Ok(created(rules)?.into())
}

/// Restricts a thread that ends at once: what this host makes of the rules.
///
/// # Errors
/// As [`rule_set`], and when the kernel does not let itself be held, as below 16 sandboxes already.
pub fn attempt(rules: &[Rule]) -> Result<Sandbox, SandboxError> {
    let rules = created(rules)?;
    let status = std::thread::scope(|scope| {
        let thread = scope.spawn(|| rules.restrict_self());
        thread.join().expect("restricting does not panic")
    })?;
    Ok(level(&status))
}

fn created(rules: &[Rule]) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .scope(Scope::from_all(ASKED))?
        .create()?;
    for access in [Access::Read, Access::Device, Access::Write] {
        let paths = rules.iter().filter(|rule| rule.access == access);
        let paths = paths.map(|rule| -> &Path { &rule.path });
        ruleset = ruleset.add_rules(path_beneath_rules(paths, rights(access)))?;
    }
    Ok(ruleset)
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
