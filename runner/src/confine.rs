//! The sandbox of this runner's scripts: made once, from the settings and what this host is, tried out, and
//! said in the log.

use crate::config::{Allowed, Settings};
use crate::execute::interpreter::Interpreters;
use crate::sandbox::{Places, Plan, Rule, SandboxError, around, attempt};
use events::runner::Sandbox;
use std::path::{Path, PathBuf};

/// What scripts of this runner may reach.
pub struct Confinement {
    /// What became of it on this host.
    pub sandbox: Sandbox,
    plan: Option<Plan>,
    /// Where this runner's credentials are.
    secret: Vec<PathBuf>,
}

impl Confinement {
    /// # Errors
    /// When the kernel has Landlock and refuses: then nothing is run rather than without a sandbox.
    pub fn prepare(settings: &Settings, interpreters: &Interpreters) -> Result<Self, SandboxError> {
        let Some(allowed) = &settings.sandbox else {
            return Ok(Self::without(Sandbox::Off));
        };
        // A folder that does not exist cannot be allowed; uv says better than we what is wrong with it.
        let _ = std::fs::create_dir_all(&settings.uv_cache_dir);
        let plan = places(settings, allowed, interpreters).plan(|path| path.canonicalize().ok());
        let sandbox = attempt(&plan.rules)?;
        let Sandbox::Landlock { abi, partial } = sandbox else {
            return Ok(Self::without(sandbox));
        };
        tracing::info!(abi, partial, "sandbox: scripts are held by Landlock");
        for path in &plan.withheld {
            tracing::warn!(path = %path.display(), "sandbox: scripts may not read here, because credentials lie below; --allow-read lets them");
        }
        for path in &plan.exposed {
            tracing::warn!(path = %path.display(), "sandbox: scripts can reach these credentials, because they lie in a folder that scripts may use");
        }
        Ok(Self {
            sandbox,
            plan: Some(plan),
            secret: secrets(settings).map(Path::to_owned).collect(),
        })
    }

    fn without(sandbox: Sandbox) -> Self {
        tracing::warn!(reason = ?sandbox, "sandbox: none; scripts reach whatever this user can");
        Self {
            sandbox,
            plan: None,
            secret: Vec::new(),
        }
    }

    /// For what is made of these files and folders, run in this folder of its own.
    #[must_use]
    pub fn rules(&self, reads: &[PathBuf], folder: &Path) -> Option<Vec<Rule>> {
        let plan = self.plan.as_ref()?;
        Some(plan.for_run(reads, folder))
    }

    /// What a command of this host needs to be read: itself, and what stands beside it unless our
    /// credentials do.
    #[must_use]
    pub fn command(&self, program: &Path) -> Vec<PathBuf> {
        let real = program.canonicalize();
        let mut reads = around(program);
        reads.extend(real.iter().flat_map(|real| around(real)));
        reads.retain(|path| !self.secret.iter().any(|secret| secret.starts_with(path)));
        reads.push(program.to_owned());
        // A rule for what is not there would be refused.
        reads.retain(|path| path.exists());
        reads
    }
}

fn places<'a>(
    settings: &'a Settings,
    allowed: &'a Allowed,
    interpreters: &'a Interpreters,
) -> Places<'a> {
    let passed = settings.passed_env.iter();
    Places {
        project_dir: &settings.project_dir,
        uv_cache_dir: &settings.uv_cache_dir,
        programs: interpreters.found().map(|(_, program)| program).collect(),
        passed: passed.map(|(_, value)| value.as_str()).collect(),
        allow_read: &allowed.read,
        allow_write: &allowed.write,
        secret: secrets(settings).collect(),
    }
}

/// Our own, and with a coordinator on this host its token and its broker's keys.
fn secrets(settings: &Settings) -> impl Iterator<Item = &Path> {
    let coordinator = settings.token_file.parent();
    [settings.state_dir.as_path()]
        .into_iter()
        .chain(coordinator)
}
