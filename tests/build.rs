//! Finds out whether this kernel has Landlock (`cfg(landlock)`), so that the stories that need it are
//! reported as ignored where it has none, and never pass without having been told. A
//! target folder that goes to another kernel wants `cargo clean -p tests`.

use landlock::{AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};

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
}
