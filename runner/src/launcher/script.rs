//! Makes a script's own process from its spec, and says why where that fails.
//!
//! Runs in the guard. Not here: anything that happens to the process afterwards.

use std::error::Error as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::sandbox::SandboxError;

use super::protocol::{Event, Refusal, ResourceLimits, Spec};

/// Starts the script: its own process group in the guard's session, so that it has no terminal.
///
/// Where nothing is to be done between fork and exec the standard library takes `posix_spawn`, which does not
/// copy the guard's page tables. So limits that the guard can live with, as the default ones, are set here
/// and inherited.
pub(super) fn spawn(spec: &Spec, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Pid> {
    umask(Mode::from_bits_truncate(spec.umask));
    let mut process = Command::new(&spec.program);
    process
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let (own, limits): (Vec<_>, Vec<_>) = effective(spec.limits)?
        .into_iter()
        .partition(guard_can_live_with);
    for (resource, limit) in own {
        setrlimit(resource, limit, limit)?;
    }
    if !limits.is_empty() {
        let apply = move || {
            for (resource, limit) in &limits {
                setrlimit(*resource, *limit, *limit)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec the closure only reads memory and calls setrlimit, which is
        // async-signal-safe.
        #[allow(unsafe_code)]
        unsafe {
            process.pre_exec(apply)
        };
    }
    // The script must not inherit what the guard blocks. A signal in this instant ends the guard, and the
    // launcher then ends the script.
    SigSet::empty().thread_set_mask()?;
    let spawned = process.spawn();
    SigSet::all().thread_set_mask()?;
    Ok(Pid::from_raw(spawned?.id().cast_signed()))
}

/// What `spawn` ran into. The system's error does not say which of the paths it means.
pub(super) fn refusal(spec: &Spec, error: &io::Error) -> Event {
    let (program, cwd) = (spec.program.display(), spec.cwd.display());
    let (reason, message) = if !spec.cwd.is_dir() {
        let message = format!("the working directory {cwd} does not exist; create it");
        (Refusal::NoWorkingDirectory, message)
    } else if !spec.program.exists() {
        let message = format!("there is no program {program}; install it on this host");
        (Refusal::NoProgram, message)
    } else if matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::ENOEXEC)
    ) {
        let message =
            format!("{program} cannot be executed ({error}); check its permissions and its kind");
        (Refusal::NotExecutable, message)
    } else {
        (Refusal::Other, format!("{program} did not start: {error}"))
    };
    Event::SpawnFailed { reason, message }
}

/// Rather not at all than without what its runner promises.
pub(super) fn no_sandbox(error: &SandboxError) -> Event {
    let message = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Event::SpawnFailed {
        reason: Refusal::NoSandbox,
        message,
    }
}

/// What a guard opens at most, with room to spare: its sockets and pipes, `/proc` and one file in it.
const GUARD_OPEN_FILES: u64 = 64;

/// It writes no files and starts one process, but has to see all of its tree.
fn guard_can_live_with((resource, limit): &(Resource, u64)) -> bool {
    *resource == Resource::RLIMIT_NOFILE && *limit >= GUARD_OPEN_FILES
}

/// The limits that were asked for, none above what this process may set.
fn effective(limits: ResourceLimits) -> io::Result<Vec<(Resource, u64)>> {
    let asked = [
        (Resource::RLIMIT_NOFILE, limits.open_files),
        (Resource::RLIMIT_NPROC, limits.processes),
        (Resource::RLIMIT_FSIZE, limits.file_size_bytes),
        (Resource::RLIMIT_AS, limits.address_space_bytes),
    ];
    let mut effective = Vec::new();
    for (resource, limit) in asked {
        if let Some(limit) = limit {
            effective.push((resource, limit.min(getrlimit(resource)?.1)));
        }
    }
    Ok(effective)
}
