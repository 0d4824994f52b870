//! `coordinator dev` as our child: started, waited for, and never left behind.
//!
//! It ends by itself when Ctrl-C is typed, for it is in the terminal's foreground
//! group as we are. For every other way out, being killed included, there is the
//! guard: a shell that holds one end of a pipe and sends TERM when we drop the other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::log_tail::log_tail;
use crate::ready::{NotReady, await_ready};
use crate::step::Failure;

/// A first start writes streams and credentials and waits for the broker, on a machine
/// that may be busy; a start that needs more than this is stuck.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// More than the runner's and the broker's own grace, after which there is only KILL.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How often we look whether a child that was asked to end has ended: std has no wait with a limit.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Ends with a line: all is well. Ends without one: we are gone, or want the child gone.
const GUARD: &str = r#"trap '' HUP INT TERM; read -r _ || kill -TERM "$0""#;

pub struct Dev {
    child: Child,
    guard: Child,
    leash: Option<ChildStdin>,
    ended: Option<ExitStatus>,
    pub url: String,
}

impl Dev {
    /// Starts `command`, its log going to the file `log`, and waits until it is ready.
    pub fn start(mut command: Command, log: &Path) -> Result<Dev, Failure> {
        let file = create(log).map_err(|problem| Failure::io("write the log", &problem))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|problem| Failure::io("start the coordinator", &problem))?;
        let mut dev = Dev::guarded(child)?;
        let output = dev
            .child
            .stdout
            .take()
            .ok_or_else(|| Failure::new("it has no output"))?;
        dev.url = await_ready(output, START_PATIENCE).map_err(|why| not_ready(&why, log))?;
        Ok(dev)
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus, Failure> {
        let status = self
            .child
            .wait()
            .map_err(|problem| Failure::io("wait for the coordinator", &problem))?;
        self.ended = Some(status);
        Ok(status)
    }

    /// Ends it, in order if it lets us.
    pub fn end(mut self) -> Result<(), Failure> {
        self.stop()
    }

    fn guarded(mut child: Child) -> Result<Dev, Failure> {
        let guard = Command::new("sh")
            .args(["-c", GUARD, &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn();
        match guard {
            Ok(mut guard) => {
                let leash = guard.stdin.take();
                Ok(Dev {
                    child,
                    guard,
                    leash,
                    ended: None,
                    url: String::new(),
                })
            }
            Err(problem) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure::io("start sh", &problem))
            }
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        if self.ended.is_some() {
            return self.dismiss_guard();
        }
        // Dropping the leash makes the guard send TERM: the one way there is.
        drop(self.leash.take());
        self.guard
            .wait()
            .map_err(|problem| Failure::io("wait for sh", &problem))?;
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            let asked = self.child.try_wait();
            self.ended =
                asked.map_err(|problem| Failure::io("wait for the coordinator", &problem))?;
            if self.ended.is_some() {
                return Ok(());
            }
            thread::sleep(STOP_POLL);
        }
        self.kill()
    }

    fn kill(&mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        self.ended = Some(killed.map_err(|problem| Failure::io("kill the coordinator", &problem))?);
        let patience = STOP_PATIENCE.as_secs();
        Err(Failure::new(format!(
            "the coordinator did not end within {patience} s and was killed"
        )))
    }

    /// The child's id may belong to another process by now: the guard must not touch it.
    fn dismiss_guard(&mut self) -> Result<(), Failure> {
        if let Some(mut leash) = self.leash.take() {
            let dismissed = leash.write_all(b"\n").and_then(|()| self.guard.wait());
            dismissed.map_err(|problem| Failure::io("dismiss sh", &problem))?;
        }
        Ok(())
    }
}

impl Drop for Dev {
    /// For the ways out on which nobody called `end`.
    fn drop(&mut self) {
        if let Err(failure) = self.stop() {
            eprintln!("{failure}");
        }
    }
}

fn create(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    File::create(log)
}

fn not_ready(why: &NotReady, log: &Path) -> Failure {
    let what = match why {
        NotReady::Ended => "the coordinator has ended before it was ready".to_owned(),
        NotReady::Silent => {
            format!(
                "the coordinator was not ready after {} s",
                START_PATIENCE.as_secs()
            )
        }
    };
    Failure::new(format!(
        "{}\n{what}; above is the end of {}",
        log_tail(log),
        log.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Log {
            Log(std::env::temp_dir().join(format!("xtask-{}-{name}.log", std::process::id())))
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.0).unwrap()
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn it_is_told_to_end_and_waited_for() {
        let log = Log::new("stop");
        let script = "trap 'echo ended in order >&2; exit' TERM; echo ready http://x:1; \
                      while :; do read -r _ </dev/null; done";
        let dev = Dev::start(sh(script), &log.0).unwrap();
        assert_eq!(dev.url, "http://x:1");
        dev.end().unwrap();
        assert_eq!(log.text(), "ended in order\n");
    }

    #[test]
    fn one_that_ends_before_it_is_ready_shows_its_log() {
        let log = Log::new("early");
        let failure = Dev::start(sh("echo the port is taken >&2; exit 1"), &log.0)
            .err()
            .unwrap();
        let text = failure.to_string();
        assert!(text.contains("the port is taken"), "{text}");
        assert!(text.contains("ended before it was ready"), "{text}");
    }

    #[test]
    fn it_ends_also_where_nobody_ended_it() {
        let log = Log::new("drop");
        let dev = Dev::start(sh("echo ready http://x:1; exec sleep 600"), &log.0).unwrap();
        let id = dev.child.id();
        drop(dev);
        assert!(
            !Command::new("sh")
                .args(["-c", "kill -0 $0 2>/dev/null", &id.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    #[test]
    fn one_that_ends_by_itself_is_left_alone() {
        let log = Log::new("itself");
        let mut dev = Dev::start(sh("echo ready http://x:1; exit 7"), &log.0).unwrap();
        assert_eq!(dev.wait().unwrap().code(), Some(7));
        dev.end().unwrap();
    }
}
