//! The sandbox of this runner's scripts: made once, from the settings and what this host is, tried out, and
//! said in the log.

use crate::config::{Allowed, Settings};
use crate::execute::interpreter::Interpreters;
use crate::sandbox::{Places, Plan, Rule, SandboxError, attempt};
use events::runner::Sandbox;
use std::path::Path;

/// What scripts of this runner may reach.
pub struct Confinement {
    /// What became of it on this host.
    pub sandbox: Sandbox,
    plan: Option<Plan>,
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
        })
    }

    fn without(sandbox: Sandbox) -> Self {
        tracing::warn!(reason = ?sandbox, "sandbox: none; scripts reach whatever this user can");
        Self {
            sandbox,
            plan: None,
        }
    }

    /// For a script in this bundle, run in this folder of its own.
    #[must_use]
    pub fn rules(&self, bundle: &Path, folder: &Path) -> Option<Vec<Rule>> {
        let plan = self.plan.as_ref()?;
        Some(plan.for_run(bundle, folder))
    }
}

fn places<'a>(
    settings: &'a Settings,
    allowed: &'a Allowed,
    interpreters: &'a Interpreters,
) -> Places<'a> {
    let passed = settings.passed_env.iter();
    let mut secret = vec![settings.state_dir.as_path()];
    // With a coordinator on this host: its token, and its broker's keys.
    secret.extend(settings.token_file.parent());
    Places {
        project_dir: &settings.project_dir,
        uv_cache_dir: &settings.uv_cache_dir,
        programs: interpreters.found().map(|(_, program)| program).collect(),
        passed: passed.map(|(_, value)| value.as_str()).collect(),
        allow_read: &allowed.read,
        allow_write: &allowed.write,
        secret,
    }
}
