//! Goal: no script process outlives its run or its runner, whatever the script does and whoever is killed.
//!
//! Real processes throughout. Every script carries a marker in the arguments of what it leaves behind, and
//! `/proc` tells whether anything with that marker is alive.

// Clippy's own exception covers test functions, not what they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use runner::launcher::{
    Execution, Exit, Finished, Launcher, Lost, Refusal, ResourceLimits, SpawnError, Spec,
    end_all_descendants,
};
use tokio::io::AsyncReadExt;

const RUNNER: &str = env!("CARGO_BIN_EXE_runner");

/// How long the tests wait for something that must happen at all; no test expects it to take this long.
const PATIENCE: Duration = Duration::from_secs(20);

fn launcher() -> Launcher {
    Launcher::start_image(Path::new(RUNNER)).unwrap()
}

fn bash(script: &str) -> Spec {
    Spec {
        program: PathBuf::from("/bin/bash"),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: PathBuf::from("/"),
        umask: 0o022,
        limits: ResourceLimits::default(),
        sandbox: None,
        grace: Duration::from_millis(200),
    }
}

/// What [`alive`] should find in the end.
const NONE: [i32; 0] = [];

/// A number of seconds to sleep that no other process on this host sleeps: the marker.
fn marker() -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    format!("9999.{}{nanos}", std::process::id())
}

/// The living processes (zombies are not) with `marker` in their command line.
fn alive(marker: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let own = pid == std::process::id().cast_signed();
        (!own && String::from_utf8_lossy(&cmdline).contains(marker)).then_some(pid)
    });
    processes.collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A test of something that never happens fails instead of hanging.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.expect("it should have happened long ago")
}

async fn text(mut pipe: tokio::net::unix::pipe::Receiver) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).await.unwrap();
    text
}

async fn spawn(launcher: &Launcher, spec: Spec) -> Result<Execution, SpawnError> {
    launcher.prepare(spec).await?.start().await
}

async fn run(launcher: &Launcher, spec: Spec) -> (Finished, String, String) {
    let mut execution = spawn(launcher, spec).await.unwrap();
    let ends = async {
        tokio::join!(
            execution.control.wait(),
            text(execution.stdout),
            text(execution.stderr)
        )
    };
    let (finished, out, err) = in_time(ends).await;
    (finished.unwrap(), out, err)
}

#[rstest]
#[case("exit 0", Exit::Code(0))]
#[case("exit 7", Exit::Code(7))]
#[case("kill -9 $$", Exit::Signal(9))]
#[case("kill -TERM $$", Exit::Signal(15))]
#[case("kill -40 $$", Exit::Signal(40))]
#[tokio::test]
async fn a_script_ends_with_its_code_or_signal(#[case] script: &str, #[case] exit: Exit) {
    let (finished, ..) = run(&launcher(), bash(script)).await;
    assert_eq!(finished.exit, exit);
    assert_eq!(finished.swept, 0);
    assert!(finished.max_rss_bytes > 0);
}

#[tokio::test]
async fn a_script_gets_what_its_spec_says_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = bash("");
    spec.program = PathBuf::from("/usr/bin/python3");
    if !spec.program.exists() {
        spec.program = which("python3");
    }
    spec.args = vec![
        "-c".into(),
        "import os,sys,signal,resource;old=os.umask(0);\
         print(dict(os.environ)); print(os.getcwd()); print(oct(old)); print(sys.argv[1:]);\
         print(repr(sys.stdin.read())); print(sorted(int(f) for f in os.listdir('/proc/self/fd'))[:3]);\
         print(signal.pthread_sigmask(signal.SIG_BLOCK, []));\
         print([s for s in signal.valid_signals() if s not in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ, 9, 19) and signal.getsignal(s) != signal.SIG_DFL]);\
         print(resource.getrlimit(resource.RLIMIT_NOFILE)); print(resource.getrlimit(resource.RLIMIT_FSIZE));\
         print(len(os.listdir('/proc/self/fd'))); print(os.getpgid(0) == os.getpid());\
         print('err', file=sys.stderr)"
            .into(),
        "a b".into(),
        "$(id)\n\"'".into(),
    ];
    spec.env = vec![
        // Without one Python adds a variable of its own.
        ("LC_ALL".into(), "C.UTF-8".into()),
        ("ONLY".into(), "this".into()),
    ];
    spec.cwd = folder.path().canonicalize().unwrap();
    spec.umask = 0o077;
    spec.limits.open_files = Some(50);
    spec.limits.file_size_bytes = Some(4096);
    let cwd = spec.cwd.clone();
    let (finished, out, err) = run(&launcher(), spec).await;
    assert_eq!(finished.exit, Exit::Code(0), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    let expected = [
        "{'LC_ALL': 'C.UTF-8', 'ONLY': 'this'}",
        cwd.to_str().unwrap(),
        "0o77",
        r#"['a b', '$(id)\n"\'']"#,
        "''",
        "[0, 1, 2]",
        "set()",
        "[]",
        "(50, 50)",
        "(4096, 4096)",
        // stdin, stdout, stderr and the listing itself.
        "4",
        "True",
    ];
    assert_eq!(lines, expected);
    assert_eq!(err, "err\n");
}

fn which(program: &str) -> PathBuf {
    let found = Command::new("bash")
        .args([
            "-c",
            &format!("{program} -c 'import sys; print(sys.executable)'"),
        ])
        .output()
        .unwrap();
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

#[tokio::test]
async fn a_spec_of_megabytes_arrives_whole() {
    let mut spec = bash(r#"for a in "$@"; do n=$((n + ${#a})); done; echo $# $n"#);
    let argument = "x".repeat(100_000);
    spec.args.push("name".into());
    spec.args.extend(std::iter::repeat_n(argument, 18));
    let (_, out, _) = run(&launcher(), spec).await;
    assert_eq!(out, "18 1800000\n");
}

#[rstest]
#[case::missing_program(|spec: &mut Spec| spec.program = "/nowhere/bash".into(), Refusal::NoProgram, "/nowhere/bash")]
#[case::not_executable(|spec: &mut Spec| spec.program = "/etc/passwd".into(), Refusal::NotExecutable, "/etc/passwd")]
#[case::missing_folder(|spec: &mut Spec| spec.cwd = "/nowhere".into(), Refusal::NoWorkingDirectory, "/nowhere")]
#[case::too_long(|spec: &mut Spec| spec.args.push("x".repeat(1 << 20)), Refusal::Other, "too long")]
#[case::limited_and_missing(
    |spec: &mut Spec| { spec.limits.open_files = Some(9); spec.program = "/nowhere/sh".into(); },
    Refusal::NoProgram, "/nowhere/sh")]
#[tokio::test]
async fn what_cannot_start_says_why(
    #[case] spoil: fn(&mut Spec),
    #[case] expected: Refusal,
    #[case] named: &str,
) {
    let mut spec = bash("exit 0");
    spoil(&mut spec);
    match spawn(&launcher(), spec).await.err().unwrap() {
        SpawnError::Refused { reason, message } => {
            assert_eq!(reason, expected, "{message}");
            assert!(message.contains(named), "{message}");
        }
        other => panic!("{other}"),
    }
}

/// What scripts do to stay behind. `SLEEP` is replaced by a sleep that carries the marker.
const ESCAPES: [&str; 9] = [
    "SLEEP & exit 3",
    "setsid SLEEP & exit 3",
    "(setsid bash -c '(SLEEP &) ; exit' &) ; exit 3",
    "nohup SLEEP >/dev/null 2>&1 & exit 3",
    "env -i /usr/bin/setsid SLEEP & exit 3",
    "(trap '' TERM HUP INT; SLEEP) & exit 3",
    "setsid bash -c 'trap \"\" TERM; while :; do SLEEP; done' & exit 3",
    "SLEEP & SLEEP & (SLEEP & SLEEP &) & disown -a; exit 3",
    "for i in $(seq 40); do setsid bash -c 'SLEEP & SLEEP & wait' & done; exit 3",
];

#[tokio::test]
async fn nothing_stays_behind_after_the_script() {
    let launcher = launcher();
    for escape in ESCAPES {
        let marker = marker();
        let spec = bash(&escape.replace("SLEEP", &format!("sleep {marker}")));
        let mut execution = spawn(&launcher, spec).await.unwrap();
        let finished = in_time(execution.control.wait()).await.unwrap();
        assert_eq!(finished.exit, Exit::Code(3), "{escape}");
        assert!(finished.swept > 0, "{escape}");
        assert_eq!(alive(&marker), NONE, "{escape}");
    }
}

#[tokio::test]
async fn the_scripts_own_end_is_told_before_the_sweep() {
    let marker = marker();
    let mut spec = bash(&format!(
        "trap 'exit 5' USR1; (trap '' TERM; kill -USR1 $$; while :; do sleep {marker}; done) & wait"
    ));
    spec.grace = PATIENCE;
    let launcher = launcher();
    let mut execution = spawn(&launcher, spec).await.unwrap();
    assert_eq!(execution.control.exited().await, Ok(Exit::Code(5)));
    assert_eq!(execution.control.exited().await, Ok(Exit::Code(5)));
    assert_ne!(alive(&marker), NONE);
    drop(execution);
    eventually("dropping the run ends the grace time", || {
        alive(&marker).is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_process_that_holds_stdout_is_ended_and_stdout_closes() {
    let marker = marker();
    let spec = bash(&format!("echo before; setsid sleep {marker} & exit 0"));
    let (finished, out, _) = run(&launcher(), spec).await;
    assert_eq!((finished.exit, out.as_str()), (Exit::Code(0), "before\n"));
    assert_eq!(alive(&marker), NONE);
}

#[tokio::test]
async fn a_storm_of_forks_is_ended() {
    let marker = marker();
    // Every process forks its successors before it ends, so that no snapshot shows them all.
    let storm = format!("f() {{ (f {marker}) & sleep 0.01; }}; f {marker}; f {marker}; exit 0");
    let mut spec = bash(&storm);
    spec.grace = Duration::from_millis(50);
    let launcher = launcher();
    let mut execution = spawn(&launcher, spec).await.unwrap();
    let finished = in_time(execution.control.wait()).await.unwrap();
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(alive(&marker), NONE);
}

#[rstest]
#[case::obedient("sleep MARKER", Exit::Signal(15))]
#[case::cleans_up("trap 'echo bye; exit 4' TERM; sleep MARKER & wait", Exit::Code(4))]
#[case::deaf("trap '' TERM; setsid sleep MARKER; sleep MARKER", Exit::Signal(9))]
#[tokio::test]
async fn stop_ends_the_whole_tree(#[case] script: &str, #[case] exit: Exit) {
    let marker = marker();
    let launcher = launcher();
    let spec = bash(&script.replace("MARKER", &marker));
    let mut execution = spawn(&launcher, spec).await.unwrap();
    let stopper = execution.control.stopper();
    eventually("the script sleeps", || {
        alive(&marker).len() > 1 || script.starts_with("sleep")
    })
    .await;
    stopper.stop();
    stopper.stop();
    let finished = in_time(execution.control.wait()).await.unwrap();
    assert_eq!(finished.exit, exit);
    assert_eq!(alive(&marker), NONE);
    stopper.stop();
}

#[tokio::test]
async fn runs_do_not_touch_each_other() {
    let (mine, other) = (marker(), marker());
    let launcher = launcher();
    let mut a = spawn(&launcher, bash(&format!("setsid sleep {mine} & wait")))
        .await
        .unwrap();
    let mut b = spawn(&launcher, bash(&format!("setsid sleep {other} & wait")))
        .await
        .unwrap();
    eventually("both sleep", || {
        !alive(&mine).is_empty() && !alive(&other).is_empty()
    })
    .await;
    a.control.stopper().stop();
    in_time(a.control.wait()).await.unwrap();
    assert_eq!(alive(&mine), NONE);
    assert_ne!(alive(&other), NONE);
    b.control.stopper().stop();
    in_time(b.control.wait()).await.unwrap();
}

#[tokio::test]
async fn many_runs_at_once_keep_their_own_ends() {
    let launcher = launcher();
    let runs = (0..100).map(async |n| {
        let spec = bash(&format!("echo {n}; exit {n}"));
        let (finished, out, _) = run(&launcher, spec).await;
        assert_eq!((finished.exit, out), (Exit::Code(n), format!("{n}\n")));
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn signals_to_the_whole_service_leave_the_decision_to_the_runner() {
    let marker = marker();
    let launcher = launcher();
    let spec = bash(&format!("sleep {marker} & wait"));
    let mut execution = spawn(&launcher, spec).await.unwrap();
    eventually("it sleeps", || alive(&marker).len() > 1).await;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for pid in [launcher.pid(), parent_of(execution.pid)] {
            kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
        }
    }
    // Both still serve.
    let (finished, ..) = run(&launcher, bash("exit 9")).await;
    assert_eq!(finished.exit, Exit::Code(9));
    execution.control.stopper().stop();
    let finished = in_time(execution.control.wait()).await.unwrap();
    assert_eq!(finished.exit, Exit::Signal(15));
    assert_eq!(alive(&marker), NONE);
}

#[tokio::test]
async fn dropping_a_run_or_the_launcher_kills_at_once() {
    for whole in [false, true] {
        let marker = marker();
        let launcher = launcher();
        let mut spec = bash(&format!("trap '' TERM; setsid sleep {marker} & wait"));
        // Longer than the test may take: who waits for the grace time fails.
        spec.grace = PATIENCE * 10;
        let execution = spawn(&launcher, spec).await.unwrap();
        eventually("it sleeps", || alive(&marker).len() > 1).await;
        let _stopper_keeps_nothing_alive = execution.control.stopper();
        if whole {
            drop(launcher);
        } else {
            drop(execution);
        }
        eventually("it is gone", || alive(&marker).is_empty()).await;
    }
}

#[tokio::test]
async fn a_killed_guard_loses_its_run_but_no_process() {
    let marker = marker();
    let launcher = launcher();
    let escape = format!("setsid bash -c 'trap \"\" TERM; sleep {marker} & wait' & sleep {marker}");
    let mut execution = spawn(&launcher, bash(&escape)).await.unwrap();
    eventually("it sleeps", || alive(&marker).len() > 3).await;
    kill_9(parent_of(execution.pid));
    assert_eq!(in_time(execution.control.wait()).await, Err(Lost::Guard));
    assert_eq!(alive(&marker), NONE);
    // The launcher serves on.
    let (finished, ..) = run(&launcher, bash("exit 2")).await;
    assert_eq!(finished.exit, Exit::Code(2));
}

#[tokio::test]
async fn a_killed_launcher_is_noticed_by_everybody() {
    let marker = marker();
    let launcher = launcher();
    let script = format!("trap '' TERM; setsid sleep {marker} & wait");
    let mut execution = spawn(&launcher, bash(&script)).await.unwrap();
    eventually("it sleeps", || alive(&marker).len() > 1).await;
    kill_9(launcher.pid());
    launcher.gone().await;
    assert_eq!(in_time(execution.control.wait()).await, Err(Lost::Launcher));
    assert_eq!(alive(&marker), NONE);
    let refused = spawn(&launcher, bash("exit 0")).await.err().unwrap();
    assert!(
        matches!(refused, SpawnError::Lost(Lost::Launcher)),
        "{refused}"
    );
}

/// The guards of this launcher, with a run or without.
fn guards(launcher: &Launcher) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let of_launcher = status.contains(&format!("PPid:\t{}\n", launcher.pid()));
        (of_launcher && !status.contains("State:\tZ")).then_some(pid)
    });
    processes.collect()
}

#[tokio::test]
async fn a_guard_takes_the_next_run_and_nothing_of_the_last_one_is_left() {
    let launcher = launcher();
    let mut spec =
        bash("ulimit -n; ulimit -f; umask; pwd; x=$(head -c 60000000 /dev/zero | tr '\\0' x)");
    spec.cwd = "/usr".into();
    spec.umask = 0o077;
    spec.limits.open_files = Some(50);
    spec.limits.file_size_bytes = Some(4096);
    let (large, out, _) = run(&launcher, spec).await;
    assert_eq!(out, "50\n4\n0077\n/usr\n");
    let guard = guards(&launcher);
    let mut spec = bash("ulimit -n; ulimit -f; umask; pwd; echo $PPID");
    spec.limits.open_files = Some(60);
    let (small, out, _) = run(&launcher, spec).await;
    assert_eq!(out, format!("60\nunlimited\n0022\n/\n{}\n", guard[0]));
    assert_eq!(guards(&launcher), guard);
    assert!(
        small.max_rss_bytes < large.max_rss_bytes,
        "{small:?} {large:?}"
    );
}

#[tokio::test]
async fn a_stop_that_comes_too_late_does_not_stop_the_next_run() {
    let launcher = launcher();
    for _ in 0..20 {
        let mut execution = spawn(&launcher, bash("exit 0")).await.unwrap();
        let stopper = execution.control.stopper();
        in_time(execution.control.exited()).await.unwrap();
        stopper.stop();
        in_time(execution.control.wait()).await.unwrap();
        stopper.stop();
        drop(execution);
        stopper.stop();
        let next = launcher.prepare(bash("exit 0")).await.unwrap();
        stopper.stop();
        let mut next = next.start().await.unwrap();
        stopper.stop();
        let finished = in_time(next.control.wait()).await.unwrap();
        assert_eq!(finished.exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn what_is_not_told_to_start_never_does() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    let spec = || {
        let mut spec = bash("echo ran >> marks");
        spec.cwd = folder.path().to_owned();
        spec
    };
    for _ in 0..5 {
        drop(launcher.prepare(spec()).await.unwrap());
    }
    eventually("their guards leave", || guards(&launcher).is_empty()).await;
    let poised = launcher.prepare(spec()).await.unwrap();
    eventually("its guard is there", || guards(&launcher).len() == 1).await;
    assert!(!folder.path().join("marks").exists());
    let mut execution = poised.start().await.unwrap();
    in_time(execution.control.wait()).await.unwrap();
    assert_eq!(fs::read(folder.path().join("marks")).unwrap(), b"ran\n");
}

#[tokio::test]
async fn few_guards_wait_and_those_that_were_killed_are_missed_by_nobody() {
    let launcher = launcher();
    let many = (0..20).map(async |_| run(&launcher, bash("exit 0")).await);
    futures::future::join_all(many).await;
    eventually("few guards wait", || guards(&launcher).len() <= 4).await;
    let waiting = guards(&launcher);
    assert!(!waiting.is_empty());
    for guard in waiting {
        kill_9(guard.cast_unsigned());
    }
    let (finished, ..) = run(&launcher, bash("exit 7")).await;
    assert_eq!(finished.exit, Exit::Code(7));
}

/// Nothing shows that a guard is gone while the launcher has not looked.
#[tokio::test]
async fn a_run_that_was_given_to_a_dead_guard_is_given_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = launcher();
    run(&launcher, bash("exit 0")).await;
    let guard = guards(&launcher)[0];
    let pid = Pid::from_raw(launcher.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    kill_9(guard.cast_unsigned());
    let mut spec = bash("echo ran >> marks; exit 7");
    spec.cwd = folder.path().to_owned();
    let poised = launcher.prepare(spec).await.unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    let mut execution = poised.start().await.unwrap();
    let finished = in_time(execution.control.wait()).await.unwrap();
    assert_eq!(finished.exit, Exit::Code(7));
    assert_eq!(fs::read(folder.path().join("marks")).unwrap(), b"ran\n");
}

#[rstest]
#[case::with_the_launcher(|launcher: &mut Option<Launcher>| kill_9(launcher.as_ref().unwrap().pid()))]
#[case::with_the_runner(|launcher: &mut Option<Launcher>| *launcher = None)]
#[tokio::test]
async fn a_guard_that_waits_leaves(#[case] end: fn(&mut Option<Launcher>)) {
    let launcher = launcher();
    run(&launcher, bash("exit 0")).await;
    let guard = guards(&launcher)[0];
    let mut launcher = Some(launcher);
    end(&mut launcher);
    eventually("the guard has left", || !is_alive(guard)).await;
}

/// The launcher may be stopped, and so never end anybody: the guard looks after itself.
#[tokio::test]
async fn a_guard_that_waits_sees_by_itself_that_the_runner_is_gone() {
    let launcher = launcher();
    run(&launcher, bash("exit 0")).await;
    let guard = guards(&launcher)[0];
    let pid = Pid::from_raw(launcher.pid().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    drop(launcher);
    // Nobody reaps it meanwhile.
    eventually("the guard has left", || !is_alive(guard)).await;
    kill(pid, Signal::SIGCONT).unwrap();
}

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("State:\tZ"))
}

#[rstest]
#[case::runner_killed("run")]
#[case::launcher_and_guard_killed("orphans")]
#[tokio::test]
async fn a_runners_processes_end_with_it(#[case] what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let marker = marker();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env("VICTIM", what)
        .env("VICTIM_MARKER", &marker)
        .env("VICTIM_READY", folder.path().join("ready"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the victim's scripts run", || {
        folder.path().join("ready").exists()
    })
    .await;
    if what == "run" {
        assert!(alive(&marker).len() >= 2 * ESCAPES.len());
        kill_9(victim.id());
    }
    victim.wait().unwrap();
    eventually("all its scripts are gone", || alive(&marker).is_empty()).await;
}

/// A runner in a process of its own, for the test above. Does nothing when it is not asked to by it.
#[tokio::test]
#[ignore = "started by a_runners_processes_end_with_it"]
async fn victim() {
    let Ok(what) = std::env::var("VICTIM") else {
        return;
    };
    let marker = std::env::var("VICTIM_MARKER").unwrap();
    let ready = std::env::var("VICTIM_READY").unwrap();
    let launcher = launcher();
    let mut executions: Vec<Execution> = Vec::new();
    for escape in ESCAPES {
        // The command line of the victim must not look like one of its scripts'.
        let script = escape
            .replace("SLEEP", &format!("sleep {marker}"))
            .replace("exit 3", &format!("sleep {marker}"));
        executions.push(spawn(&launcher, bash(&script)).await.unwrap());
    }
    eventually("all sleep", || alive(&marker).len() > 100).await;
    if what == "orphans" {
        let guards: Vec<u32> = executions.iter().map(|run| parent_of(run.pid)).collect();
        kill(Pid::from_raw(launcher.pid().cast_signed()), Signal::SIGSTOP).unwrap();
        for guard in guards {
            kill_9(guard);
        }
        kill_9(launcher.pid());
        for execution in &mut executions {
            assert_eq!(in_time(execution.control.wait()).await, Err(Lost::Launcher));
        }
        assert_ne!(alive(&marker), NONE);
        fs::write(ready, "").unwrap();
        assert!(end_all_descendants(PATIENCE));
        return;
    }
    fs::write(ready, "").unwrap();
    std::future::pending::<()>().await;
}

/// p50 of spawn to end of `exit 0`, beside tokio's own spawn. Prints; asserts nothing about time.
#[tokio::test]
#[ignore = "a measurement"]
async fn latency() {
    const ROUNDS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let noop = folder.path().join("noop.sh");
    fs::write(&noop, "exit 0\n").unwrap();
    let spec = || {
        let mut spec = bash("");
        spec.args = vec![noop.to_str().unwrap().into()];
        spec
    };
    let launcher = launcher();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let finished = run(&launcher, spec()).await.0;
        ours.push(start.elapsed());
        assert_eq!(finished.exit, Exit::Code(0));

        let start = Instant::now();
        let output = tokio::process::Command::new(&spec().program)
            .args(&spec().args)
            .env_clear()
            .stdin(Stdio::null())
            .output();
        assert!(output.await.unwrap().status.success());
        bare.push(start.elapsed());
    }
    ours.sort();
    bare.sort();
    for (name, times) in [("launcher", ours), ("tokio", bare)] {
        let at = |share: usize| times[ROUNDS * share / 100];
        println!(
            "{name}: p10 {:?} p50 {:?} p90 {:?} p99 {:?}",
            at(10),
            at(50),
            at(90),
            at(99)
        );
    }
}

fn kill_9(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("PPid:"))
        .unwrap();
    line["PPid:".len()..].trim().parse().unwrap()
}
