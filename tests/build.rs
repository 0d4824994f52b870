//! Finds out whether this kernel has Landlock (`cfg(landlock)`), and whether this user may mount a disk
//! (`cfg(mounts)`) and trace a process (`cfg(traces)`), so that the stories that need it are reported as ignored where it is not so, and
//! never pass without having been told. A target folder that goes to another kernel wants `cargo clean -p tests`.

use std::process::Command;

use landlock::{AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(landlock)");
    let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    match required.handle_access(AccessFs::Execute) {
        Ok(_) => println!("cargo:rustc-cfg=landlock"),
        Err(error) => println!(
            "cargo:warning=this kernel has no Landlock: stories of the sandbox are IGNORED ({error})"
        ),
    }
    println!("cargo:rustc-check-cfg=cfg(mounts)");
    match mounts() {
        true => println!("cargo:rustc-cfg=mounts"),
        false => println!(
            "cargo:warning=this user may not mount a disk: the story of a full one is IGNORED"
        ),
    }
    println!("cargo:rustc-check-cfg=cfg(traces)");
    match traces() {
        true => println!("cargo:rustc-cfg=traces"),
        false => println!(
            "cargo:warning=this user may not trace a process: the stories of crash points are IGNORED"
        ),
    }
}

/// A child of one's own.
fn traces() -> bool {
    let Ok(mut child) = Command::new("sleep").arg("60").spawn() else {
        return false;
    };
    let pid = i32::try_from(child.id()).map(Pid::from_raw);
    let seized = pid.is_ok_and(|pid| ptrace::seize(pid, Options::empty()).is_ok());
    let _ = child.kill();
    let _ = child.wait();
    seized
}

/// In a mount namespace of its own, as root or in a user namespace.
fn mounts() -> bool {
    let place = std::env::var("OUT_DIR").unwrap_or_default();
    [&["-m"][..], &["-Urm"]].into_iter().any(|flags| {
        let probe = ["mount", "-t", "tmpfs", "tmpfs", &place];
        let tried = Command::new("unshare").args(flags).args(probe).output();
        tried.is_ok_and(|output| output.status.success())
    })
}
