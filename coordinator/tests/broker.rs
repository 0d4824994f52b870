//! The embedded broker on a real nats-server: what it leaves on disk, and that there is always
//! one server and never two, whoever is killed.

#![allow(clippy::unwrap_used)] // Functions that tests share are tests too.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use coordinator::broker::{self, Broker, Config, Error, LockError, PortError, StartError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

/// Far beyond what any of this takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the helper process finds its data folder.
const HOLDER_DATA: &str = "TEST_BROKER_HOLDER_DATA";

#[test]
fn the_first_start_makes_a_private_folder_and_a_server_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a \"data\" folder");
    let broker = broker::start(config(&data)).unwrap();
    assert!(greets(&broker));
    assert!(broker.app_seed().expose().starts_with("SU"));

    for (path, mode) in [
        ("", 0o700),
        ("broker", 0o700),
        ("broker/store", 0o700),
        ("broker/app.nk", 0o600),
        ("broker/lock", 0o600),
        ("broker/nats.conf", 0o600),
        ("broker/local.conf", 0o600),
        ("broker/accounts.conf", 0o600),
    ] {
        let found = data.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path} has mode {found:o}");
    }
    let shipped = include_str!("../../nats.conf");
    assert_eq!(
        fs::read_to_string(data.join("broker/nats.conf")).unwrap(),
        shipped
    );
    let accounts = fs::read_to_string(data.join("broker/accounts.conf")).unwrap();
    assert!(
        !accounts.contains(broker.app_seed().expose()),
        "a secret in accounts.conf"
    );
    assert!(data.join("broker/store/jetstream").is_dir());
}

#[test]
fn a_data_folder_that_was_there_keeps_its_mode_and_the_brokers_own_is_closed() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("broker")).unwrap();
    for path in [data.path(), &data.path().join("broker")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let _broker = broker::start(config(data.path())).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.path()), 0o755);
    assert_eq!(mode(&data.path().join("broker")), 0o700);
}

#[test]
fn stop_ends_the_server_and_a_restart_keeps_address_and_keys() {
    let data = tempfile::tempdir().unwrap();
    let first = broker::start(config(data.path())).unwrap();
    let (url, app) = identity(&first);
    let server = first.process().unwrap();
    first.stop();
    assert!(!lives(server));

    let second = broker::start(config(data.path())).unwrap();
    assert_eq!(identity(&second), (url, app));
    let server = second.process().unwrap();
    drop(second);
    assert!(!lives(server));
}

#[test]
fn a_given_port_is_used_and_does_not_replace_the_remembered_one() {
    let data = tempfile::tempdir().unwrap();
    let chosen = broker::start(config(data.path())).unwrap().url();
    let given = free_port();
    let broker = broker::start(Config {
        port: Some(given),
        ..config(data.path())
    })
    .unwrap();
    assert_eq!(broker.url(), format!("nats://127.0.0.1:{given}"));
    drop(broker);
    assert_eq!(broker::start(config(data.path())).unwrap().url(), chosen);
}

#[test]
fn a_killed_server_comes_back_on_the_same_port_every_time() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker::start(config(data.path())).unwrap();
    let url = broker.url();
    for _ in 0..3 {
        let killed = broker.process().unwrap();
        signal(killed, Signal::SIGKILL);
        eventually("another server", || {
            broker
                .process()
                .filter(|process| *process != killed && greets(&broker))
        });
        assert!(!lives(killed));
    }
    assert_eq!(broker.url(), url);
}

#[test]
fn stop_does_not_wait_for_a_server_that_is_down() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker::start(config(data.path())).unwrap();
    signal(broker.process().unwrap(), Signal::SIGKILL);
    broker.stop();
    assert!(broker::start(config(data.path())).is_ok());
}

#[test]
fn the_server_dies_with_a_killed_coordinator_and_the_next_one_takes_over_at_once() {
    let data = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut holder = Holder::start(data.path());
        let server = holder.server;
        assert!(lives(server));
        holder.process.kill().unwrap();
        // Not waited for: a dead coordinator is often a zombie for a while.
        let next = broker::start(config(data.path())).unwrap();
        assert!(!lives(server), "two servers on one store");
        assert!(greets(&next));
    }
}

#[test]
fn a_stopped_server_dies_with_its_coordinator_too() {
    let data = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(data.path());
    signal(holder.server, Signal::SIGSTOP);
    holder.process.kill().unwrap();
    eventually("the server's end", || (!lives(holder.server)).then_some(()));
}

/// So that the lock is free only when the server is gone, also where the kernel is late.
#[test]
fn the_server_itself_holds_the_lock() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker::start(config(data.path())).unwrap();
    let lock = data.path().canonicalize().unwrap().join("broker/lock");
    let open = fs::read_dir(format!("/proc/{}/fd", broker.process().unwrap())).unwrap();
    let held = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    assert_eq!(held.filter(|path| *path == lock).count(), 1);
}

#[test]
fn a_second_coordinator_on_the_same_data_folder_is_refused_by_name() {
    let data = tempfile::tempdir().unwrap();
    let holder = Holder::start(data.path());
    let error = broker::start(config(data.path())).unwrap_err();
    let Error::Lock(LockError::Held { holder: named, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(*named, Some(holder.process.id()));
    assert!(error.to_string().contains("--data-dir"), "{error}");
    assert!(lives(holder.server), "the first one's server was harmed");
}

#[test]
fn a_port_in_use_is_refused_before_anything_starts() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = broker::start(Config {
        port: Some(port),
        ..config(data.path())
    })
    .unwrap_err();
    assert!(
        matches!(error, Error::Port(PortError::GivenTaken { port: named, .. }) if named == port)
    );
    // And nothing is left that would be in the way of the next try.
    drop(taken);
    broker::start(Config {
        port: Some(port),
        ..config(data.path())
    })
    .unwrap();
}

#[rstest]
#[case::exits(
    "#!/bin/sh\necho 'no room for streams' >&2\nexit 3\n",
    "no room for streams"
)]
#[case::exits_silently("#!/bin/sh\nexit 0\n", "ended before it was ready")]
#[case::does_not_start("#!/no/such/interpreter\n", "cannot start")]
fn a_broken_server_is_an_error_with_its_last_words(#[case] script: &str, #[case] says: &str) {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("nats-server");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut broken = config(data.path());
    broken.server.path = path;
    let error = broker::start(broken).unwrap_err();
    assert!(matches!(
        error,
        Error::Start(StartError::Ended { .. } | StartError::Spawn { .. })
    ));
    assert!(error.to_string().contains(says), "{error}");
    broker::start(config(data.path())).unwrap();
}

#[test]
fn a_damaged_key_file_is_refused_and_not_replaced() {
    let data = tempfile::tempdir().unwrap();
    broker::start(config(data.path())).unwrap().stop();
    let path = data.path().join("broker/app.nk");
    fs::write(&path, "").unwrap();
    let error = broker::start(config(data.path())).unwrap_err();
    assert!(error.to_string().contains("app.nk"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

/// Not a test: the coordinator that others kill. Runs until its stdin is closed.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn holder() {
    let Some(data) = std::env::var_os(HOLDER_DATA) else {
        return;
    };
    let broker = broker::start(config(Path::new(&data))).unwrap();
    println!("\nserver {}", broker.process().unwrap());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Another process that holds a broker.
struct Holder {
    process: Child,
    server: u32,
}

impl Holder {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holder", "--ignored", "--nocapture"])
            .env(HOLDER_DATA, data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let server = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("server ")?.parse().ok())
            .expect("the holder did not start");
        Self { process, server }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(data: &Path) -> Config {
    let tools = std::env::var_os("COORDINATOR_TOOLS").map(PathBuf::from);
    let server = broker::Search::of_process(None, tools, data).locate();
    Config {
        data_dir: data.to_path_buf(),
        server: server.unwrap_or_else(|error| panic!("{error}")),
        port: None,
    }
}

fn identity(broker: &Broker) -> (String, String) {
    (broker.url(), broker.app_seed().expose().to_owned())
}

/// Whether a nats-server of ours answers at the broker's address.
fn greets(broker: &Broker) -> bool {
    let url = broker.url();
    let Ok(stream) = TcpStream::connect(url.trim_start_matches("nats://")) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok()
        && line.starts_with("INFO {")
        && line.contains("\"auth_required\":true")
        && line.contains("\"jetstream\":true")
}

/// Whether it is there and not a zombie.
fn lives(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with(['Z', 'X']))
}

fn signal(process: u32, signal: Signal) {
    kill(Pid::from_raw(process.try_into().unwrap()), signal).unwrap();
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = attempt() {
            return found;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("{what} never came to be");
}
