//! A host whose clock is wrong: a small library, built with the compiler that links our own
//! binaries, that is loaded before others and adds to what the wall clock says. Clocks that only
//! measure durations stay as they are.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *off = getenv("CLOCK_OFF_SECONDS");
    if (result == 0 && clock == CLOCK_REALTIME && off) time->tv_sec += atol(off);
    return result;
}
"#;

/// The variables under which a process sees a clock that is off by so many seconds. The library is
/// kept in `folder`.
pub fn off_by(seconds: i64, folder: &Path) -> Vec<(String, String)> {
    let (source, library) = (folder.join("off.c"), folder.join("off.so"));
    if !library.exists() {
        std::fs::write(&source, SOURCE).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        let built = compiler.arg(&library).arg(&source).status().unwrap();
        assert!(built.success(), "the library cannot be built");
    }
    let library = library.to_str().unwrap().to_owned();
    vec![
        ("LD_PRELOAD".to_owned(), library),
        ("CLOCK_OFF_SECONDS".to_owned(), seconds.to_string()),
    ]
}
