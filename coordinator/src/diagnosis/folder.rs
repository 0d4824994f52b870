//! The data folder as it lies there: whose it is, who may read it, who uses it, and the room on its
//! disk. Looks at files and locks only, so it says the truth also while nothing runs.

use super::{Finding, Severity};
use nix::sys::statvfs::statvfs;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

/// Of its disk, in percent: below it is time, below that it is late.
const FREE_LOW: u64 = 10;
const FREE_TOO_LOW: u64 = 3;
/// Whatever the disk's size.
const FREE_ENOUGH_BYTES: u64 = 5 << 30;
/// On loopback; a server that listens takes a connection at once.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// Nobody but the owner.
const OTHERS: u32 = 0o077;

/// The data folder of a coordinator that answers, or is asked about itself.
pub fn look(data_dir: &Path) -> Vec<Finding> {
    let name = data_dir.display();
    let metadata = match fs::metadata(data_dir) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let text = format!("{name} is no folder");
            return vec![failure(text).attempt("coordinator serve --data-dir DIR")];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text =
                format!("there is no data folder {name}: no coordinator was ever started with it");
            return vec![failure(text).attempt("coordinator serve")];
        }
        Err(error) => {
            return vec![failure(format!(
                "the data folder {name} cannot be read: {error}"
            ))];
        }
    };
    let mut findings = Vec::new();
    let ours = nix::unistd::geteuid();
    if metadata.uid() != ours.as_raw() && !ours.is_root() {
        let text = format!(
            "the data folder {name} belongs to another user ({})",
            metadata.uid()
        );
        findings.push(failure(text).attempt("run it as that user, or give another --data-dir"));
    }
    findings.extend(open_to_others(data_dir));
    findings.extend(disk(data_dir));
    if findings.is_empty() {
        let text = format!("{name} is for its owner only, and its disk has room");
        findings.push(Finding::new("data folder", Severity::Ok, text));
    }
    findings
}

/// What else there is to say while a coordinator works on it, whose read model is this folder in it.
pub fn look_at_live(data_dir: &Path, read_model: &str) -> Option<Finding> {
    let path = data_dir.join(read_model);
    let text = format!(
        "the read model's folder {} was deleted under way; answers are right, as it is in memory and in open files",
        path.display()
    );
    let finding = Finding::new("read model", Severity::Warning, text);
    let finding = finding.attempt("start the coordinator again: it reads the log anew");
    (!path.exists()).then_some(finding)
}

/// What else a folder says while its coordinator does not answer.
pub fn look_at_dead(data_dir: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !data_dir.is_dir() {
        return findings;
    }
    findings.push(match is_locked(&data_dir.join("coordinator.lock")) {
        true => failure("a coordinator holds the data folder, but does not answer at this address: it starts, hangs, or listens elsewhere".to_owned())
            .attempt("the coordinator's log; `--url` where it listens elsewhere"),
        false => failure("no coordinator runs on this data folder".to_owned()).attempt("coordinator serve"),
    });
    let broker = data_dir.join("broker");
    if let Ok(port) = fs::read_to_string(broker.join("port")) {
        findings.push(embedded(&broker, port.trim()));
    }
    if !data_dir.join("admin.token").exists() {
        let text = "there is no admin.token: no coordinator has come up with this folder yet";
        findings.push(Finding::new("token", Severity::Note, text));
    }
    findings
}

/// Closes to others what only the owner should read. Says what it did.
pub fn close_to_others(data_dir: &Path) -> Vec<String> {
    let mut done = Vec::new();
    for (path, mode) in private(data_dir) {
        let open = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & OTHERS != 0);
        if open && fs::set_permissions(&path, Permissions::from_mode(mode)).is_ok() {
            done.push(format!("chmod {mode:o} {}", path.display()));
        }
    }
    done
}

fn failure(text: String) -> Finding {
    Finding::new("data folder", Severity::Failure, text)
}

/// What nobody else may read, and the mode it should have.
fn private(data_dir: &Path) -> [(std::path::PathBuf, u32); 5] {
    [
        (data_dir.to_owned(), 0o700),
        (data_dir.join("admin.token"), 0o600),
        (data_dir.join("broker"), 0o700),
        (data_dir.join("broker/app.nk"), 0o600),
        (data_dir.join("broker/runner.nk"), 0o600),
    ]
}

fn open_to_others(data_dir: &Path) -> Vec<Finding> {
    let open = private(data_dir).into_iter().filter_map(|(path, mode)| {
        let found = fs::metadata(&path).ok()?.mode() & 0o777;
        // The folder itself may be shared; what is secret in it has a mode of its own.
        let severity = match path == data_dir {
            true => Severity::Note,
            false => Severity::Failure,
        };
        (found & OTHERS != 0).then(|| {
            let text = format!("others may reach {} (mode {found:o})", path.display());
            let attempt = format!(
                "chmod {mode:o} {}, or coordinator doctor --fix",
                path.display()
            );
            Finding::new("data folder", severity, text).attempt(attempt)
        })
    });
    open.collect()
}

fn disk(data_dir: &Path) -> Option<Finding> {
    let disk = statvfs(data_dir).ok()?;
    let size = bytes(disk.blocks(), disk.fragment_size());
    let free = bytes(disk.blocks_available(), disk.fragment_size());
    let percent = free.saturating_mul(100) / size.max(1);
    let severity = match percent {
        _ if free >= FREE_ENOUGH_BYTES => return None,
        FREE_LOW.. => return None,
        FREE_TOO_LOW.. => Severity::Warning,
        _ => Severity::Failure,
    };
    let text = format!(
        "{} MiB ({percent} %) are free on the disk of {}",
        free >> 20,
        data_dir.display()
    );
    let attempt = format!("make room: df -h {}", data_dir.display());
    Some(Finding::new("disk", severity, text).attempt(attempt))
}

/// Blocks of that size, in bytes; how wide the numbers are differs between systems.
fn bytes(blocks: impl Into<u64>, size: impl Into<u64>) -> u64 {
    blocks.into().saturating_mul(size.into())
}

fn embedded(broker: &Path, port: &str) -> Finding {
    let address: Option<SocketAddr> = format!("127.0.0.1:{port}").parse().ok();
    let listens =
        address.is_some_and(|address| TcpStream::connect_timeout(&address, CONNECT_WITHIN).is_ok());
    match (listens, is_locked(&broker.join("lock"))) {
        (true, _) => Finding::new(
            "broker",
            Severity::Note,
            format!("something listens on the embedded broker's port {port}"),
        ),
        (false, true) => Finding::new(
            "broker",
            Severity::Failure,
            "the embedded broker's folder is held, but it does not listen",
        )
        .attempt("the coordinator's log"),
        (false, false) => Finding::new(
            "broker",
            Severity::Note,
            "the embedded broker is not running; it comes with its coordinator",
        ),
    }
}

/// Whether somebody holds it; one that cannot be opened is nobody's.
fn is_locked(path: &Path) -> bool {
    let file: io::Result<File> = OpenOptions::new().read(true).write(true).open(path);
    // Given back when the file is closed, at once.
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}
