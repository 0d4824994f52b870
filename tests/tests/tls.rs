//! The goal: whoever comes over https is answered and verified, the command line and runners as well; who is not
//! believed is told what to do; and a renewed certificate is taken without a restart.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tests::eventually::eventually;
use tests::nats::free_port;
use tests::process::{Process, binary, path_with_tools, root};
use tests::runner::{Runner, Settings};

/// A coordinator with TLS, in a folder that also holds its certificate.
struct Served {
    process: Process,
    folder: tempfile::TempDir,
    port: u16,
}

fn fixture(name: &str) -> PathBuf {
    root().join("coordinator/tests/fixtures/tls").join(name)
}

impl Served {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = |name: &str| folder.path().join(name);
        std::fs::copy(fixture("cert.pem"), place("cert.pem")).unwrap();
        std::fs::copy(fixture("key.pem"), place("key.pem")).unwrap();
        let mut command = Command::new(binary("coordinator"));
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .arg("--data-dir")
            .arg(place("data"))
            .args(["--tls-cert".as_ref(), place("cert.pem").as_os_str()])
            .args(["--tls-key".as_ref(), place("key.pem").as_os_str()])
            .env("PATH", path_with_tools())
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null());
        let process = Process::start("coordinator", &mut command);
        let served = Self {
            process,
            folder,
            port,
        };
        let ca = fixture("cert.pem");
        eventually("the coordinator answers", async || {
            let status = served.cli("https://localhost", Some(&ca), &["status"]);
            status.status.success().then_some(())
        })
        .await;
        served
    }

    fn cli(&self, host: &str, ca: Option<&Path>, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("coordinator"));
        command
            .args(arguments)
            .args(["--url", &format!("{host}:{}", self.port)])
            .env("COORDINATOR_DATA_DIR", self.folder.path().join("data"))
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env_remove("COORDINATOR_TOKEN")
            .stdin(Stdio::null());
        if let Some(ca) = ca {
            command.env("COORDINATOR_CA", ca);
        }
        command.output().unwrap()
    }

    fn token(&self) -> String {
        let file = self.folder.path().join("data/admin.token");
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }
}

/// Cannot reach it, and is told this to try.
fn is_told(output: &Output, hint: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains(hint), "{told}");
}

#[tokio::test]
async fn the_command_line_and_a_runner_come_over_tls() {
    let served = Served::start().await;
    let ca = fixture("cert.pem");
    let runner = Runner::start(Settings {
        coordinator: format!("https://127.0.0.1:{}", served.port),
        token: Some(served.token()),
        options: vec!["--ca".to_owned(), ca.display().to_string()],
        ..Settings::default()
    });
    let cli = |arguments: &[&str]| served.cli("https://127.0.0.1", Some(&ca), arguments);
    let file = runner.project_dir().join("greet.sh");
    std::fs::write(&file, "echo '\"hello\"'\n").unwrap();
    let created = cli(&["script", "create", "--file", file.to_str().unwrap()]);
    assert!(created.status.success(), "{created:?}");
    let created = cli(&["agent", "create", "greet", "--script", "greet"]);
    assert!(created.status.success(), "{created:?}");
    let ran = cli(&["agent", "run", "greet"]);
    assert_eq!(ran.stdout, b"\"hello\"\n", "{ran:?}");
}

#[tokio::test]
async fn who_is_not_verified_is_told_what_to_do_and_a_renewed_certificate_is_taken() {
    let served = Served::start().await;
    let cli = |host: &str, ca: Option<&Path>| served.cli(host, ca, &["status"]);
    let (ca, renewed) = (fixture("cert.pem"), fixture("renewed-cert.pem"));
    is_told(&cli("https://127.0.0.1", None), "--ca FILE");
    is_told(&cli("https://127.0.0.1", Some(&renewed)), "--ca FILE");
    is_told(&cli("http://127.0.0.1", None), "--url https://");

    std::fs::copy(&renewed, served.folder.path().join("cert.pem")).unwrap();
    std::fs::copy(
        fixture("renewed-key.pem"),
        served.folder.path().join("key.pem"),
    )
    .unwrap();
    served.process.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the new certificate is shown", async || {
        let status = cli("https://127.0.0.1", Some(&renewed));
        status.status.success().then_some(())
    })
    .await;
    is_told(&cli("https://127.0.0.1", Some(&ca)), "--ca FILE");
}
