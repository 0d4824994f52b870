//! Makes a script's own process from its spec, and says why where that fails.
//!
//! Runs in the guard, which it leaves as it was. Not here: anything that happens to the process afterwards.

use std::convert::Infallible;
use std::error::Error as _;
use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, chdir, setpgid};

use crate::sandbox::{self, SandboxError};

use super::protocol::{Event, Refusal, ResourceLimits, Spec};

/// For what a new process does before its exec: a dozen system calls.
const STACK_BYTES: usize = 64 * 1024;

/// The exit code of a process that never became its script; nobody reads it.
const NEVER_BEGUN: isize = 127;

/// A script that lacks nothing but the word to start.
pub(super) struct Script {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    umask: Mode,
    limits: Vec<(Resource, u64)>,
    /// The rules of its sandbox, as the kernel has them.
    rules: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// What the new process could not do.
enum Failed {
    Sandbox(Errno),
    Start(Errno),
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Self {
        Self::Start(error)
    }
}

impl Script {
    /// # Errors
    /// The refusal to tell the runner.
    pub fn prepare(spec: &Spec, output: Vec<OwnedFd>) -> Result<Self, Event> {
        let rules = match &spec.sandbox {
            Some(rules) => sandbox::rule_set(rules).map_err(|error| no_sandbox(&error))?,
            None => None,
        };
        Self::assemble(spec, output, rules).map_err(|error| refusal(spec, &error))
    }

    fn assemble(spec: &Spec, output: Vec<OwnedFd>, rules: Option<OwnedFd>) -> io::Result<Self> {
        let [stdout, stderr] = <[OwnedFd; 2]>::try_from(output)
            .map_err(|_| io::Error::other("its pipes did not arrive"))?;
        let program = path(&spec.program)?;
        let args = spec.args.iter().map(|text| CString::new(text.as_str()));
        let args = [Ok(program.clone())].into_iter().chain(args);
        let env = spec.env.iter();
        let env = env.map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Self {
            args: args.collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, _>>()?,
            cwd: path(&spec.cwd)?,
            umask: Mode::from_bits_truncate(spec.umask),
            limits: effective(spec.limits)?,
            program,
            rules,
            stdout,
            stderr,
        })
    }

    /// Starts it: its own process group in the guard's session, so that it has no terminal.
    ///
    /// The new process borrows the guard's memory until its exec, as with `posix_spawn`: nothing is copied.
    /// `posix_spawn` itself would have the guard take the sandbox and the limits too, for good.
    ///
    /// # Errors
    /// The refusal to tell the runner.
    pub fn spawn(self, spec: &Spec) -> Result<Pid, Event> {
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        let mut failed = None;
        let mut stack = [0; STACK_BYTES];
        let begin = || {
            let Err(why) = self.begin(&args, &env);
            failed = Some(why);
            NEVER_BEGUN
        };
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        // SAFETY: the guard has one thread, which waits until the new process has left its memory by exec or
        // exit. Until then that runs `begin`, which allocates nothing, on a stack with room to spare; every
        // signal is blocked, so that it runs nothing else.
        #[allow(unsafe_code)]
        let cloned = unsafe { clone(Box::new(begin), &mut stack, flags, Some(libc::SIGCHLD)) };
        let pid = cloned.map_err(|error| refusal(spec, &error.into()))?;
        let Some(why) = failed else { return Ok(pid) };
        let _ = waitpid(pid, None);
        Err(match why {
            Failed::Sandbox(error) => no_sandbox(&error.into()),
            Failed::Start(error) => refusal(spec, &error.into()),
        })
    }

    /// In the new process: becomes the script.
    fn begin(&self, args: &[*const c_char], env: &[*const c_char]) -> Result<Infallible, Failed> {
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        // Its stdin is the guard's own, where there is nothing to read.
        redirect(&self.stdout, libc::STDOUT_FILENO)?;
        redirect(&self.stderr, libc::STDERR_FILENO)?;
        umask(self.umask);
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit, *limit)?;
        }
        if let Some(rules) = &self.rules {
            enter(rules).map_err(Failed::Sandbox)?;
        }
        chdir(self.cwd.as_c_str())?;
        // What Rust's runtime ignores.
        // SAFETY: the default disposition runs no code of ours.
        #[allow(unsafe_code)]
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
        SigSet::empty().thread_set_mask()?;
        // SAFETY: both lists end with a null pointer, and what they point to lives in `self`.
        #[allow(unsafe_code)]
        unsafe {
            libc::execve(self.program.as_ptr(), args.as_ptr(), env.as_ptr())
        };
        Err(Failed::Start(Errno::last()))
    }
}

/// Holds this process to the rules, and takes from it what setuid programs give.
fn enter(rules: &OwnedFd) -> Result<(), Errno> {
    prctl::set_no_new_privs()?;
    // SAFETY: the call takes two numbers.
    #[allow(unsafe_code)]
    let entered = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    Errno::result(entered).map(drop)
}

fn redirect(from: &OwnedFd, to: i32) -> Result<(), Errno> {
    // SAFETY: whatever `to` was, nobody in this process owns it.
    #[allow(unsafe_code)]
    let redirected = unsafe { libc::dup2(from.as_raw_fd(), to) };
    Errno::result(redirected).map(drop)
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// As `execve` takes them.
fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    let pointers = texts.iter().map(|text| text.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

/// What a start ran into. The system's error does not say which of the paths it means.
fn refusal(spec: &Spec, error: &io::Error) -> Event {
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
fn no_sandbox(error: &SandboxError) -> Event {
    let message = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Event::SpawnFailed {
        reason: Refusal::NoSandbox,
        message,
    }
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
