//! A host whose clock is wrong: a small library, built with the compiler that links our own
//! binaries, that is loaded before others and adds to what the wall clock says; how much may change
//! at any time. Clocks that only measure durations stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long *off;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_OFF_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *seconds = file < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (seconds != MAP_FAILED) off = seconds;
    if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && off) time->tv_sec += *off;
    return result;
}
"#;

/// A wall clock that goes as it is told.
pub struct Clock {
    library: PathBuf,
    off: PathBuf,
}

impl Clock {
    /// Right at first. What it needs is kept in `folder`, under this name.
    pub fn new(folder: &Path, name: &str) -> Self {
        let (source, library) = (folder.join("off.c"), folder.join("off.so"));
        if !library.exists() {
            std::fs::write(&source, SOURCE).unwrap();
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
            let built = compiler.arg(&library).arg(&source).status().unwrap();
            assert!(built.success(), "the library cannot be built");
        }
        let clock = Self {
            library,
            off: folder.join(name),
        };
        clock.set_off(0);
        clock
    }

    /// From now on, for whoever goes by it.
    pub fn set_off(&self, seconds: i64) {
        // In place: processes have the file mapped.
        let mut options = std::fs::OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.off);
        let bytes = std::ffi::c_long::from(seconds).to_ne_bytes();
        std::os::unix::fs::FileExt::write_all_at(&file.unwrap(), &bytes, 0).unwrap();
    }

    /// The variables of processes that go by it.
    pub fn env(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(&self.library)),
            ("CLOCK_OFF_FILE".to_owned(), text(&self.off)),
        ]
    }
}
