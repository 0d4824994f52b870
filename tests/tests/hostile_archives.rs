//! Archives that nobody should take: refused one by one with their reason, by the reader itself, by
//! the coordinator in every packing it takes, and again by the runner.

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use schemas::bundle::{ArchiveRefused, File, Folder, MAX_PACKED_BYTES, MAX_UNPACKED_BYTES};
use std::io::{Read, Write};
use tests::archives::{Hostile, Tar, harmless, hostile};
use tests::coordinator::{Answer, Coordinator};
use tests::eventually::eventually;
use tests::hand::{Hand, runner_alone};
use tests::nats::Nats;

/// What zstd takes at most where it is told nothing: 8 MiB.
const LARGEST_WINDOW_LOG: u32 = 23;

/// What an upload may have; an archive is sent uncompressed up to it.
const UPLOAD_MAX_BYTES: usize = 11 * 1024 * 1024;

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compressed forms that are refused before any tar is seen, and why.
fn hostile_frames() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = Tar::script("s").end().0;
    let huge = Tar::default().header(b'0', b"a", 1 << 30, |_| {}).0;
    let mut window = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    window.window_log(LARGEST_WINDOW_LOG + 1).unwrap();
    window.write_all(&good).unwrap();
    let mut changed = Folder::default();
    let file = File::plain("x".repeat(5_000));
    changed.insert("a".parse().unwrap(), file).unwrap();
    let mut changed = changed.pack().unwrap().bytes;
    *changed.last_mut().unwrap() ^= 1;
    vec![
        ("no zstd", b"PK\x03\x04".to_vec(), "not a zstd archive"),
        ("nothing", vec![], "ends in the middle"),
        ("cut", zstd(&good)[..40].to_vec(), "ends in the middle"),
        (
            "two frames",
            [zstd(&good), zstd(b"")].concat(),
            "behind the archive's end",
        ),
        (
            "rubbish behind",
            [zstd(&good), vec![0]].concat(),
            "behind the archive's end",
        ),
        (
            "skippable",
            b"\x50\x2a\x4d\x18\x00\x00\x00\x00".to_vec(),
            "ends in the middle",
        ),
        ("no tar in it", zstd(&[1; 1_024]), "checksum of a header"),
        (
            "a bomb",
            zstd(&[huge, vec![0; 1 << 26]].concat()),
            "bytes when unpacked",
        ),
        (
            "a bomb of zeros",
            zstd(&vec![0; 1 << 26]),
            "bytes when unpacked",
        ),
        (
            "a wide window",
            window.finish().unwrap(),
            "not a zstd archive we can read",
        ),
        ("a changed byte", changed, "not a zstd archive we can read"),
    ]
}

#[test]
fn the_reader_refuses_every_hostile_archive_with_its_reason() {
    let all = hostile("s");
    assert!(all.len() >= 40, "{}", all.len());
    for Hostile { kind, tar, reason } in all {
        let refused = Folder::read_tar(&tar[..], None).map_err(|refused| refused.to_string());
        assert!(
            refused.as_ref().is_err_and(|it| it.contains(reason)),
            "{kind}: {refused:?}"
        );
    }
    for (kind, packed, reason) in hostile_frames() {
        let refused = Folder::unpack(&packed, None).map_err(|refused| refused.to_string());
        assert!(
            refused.as_ref().is_err_and(|it| it.contains(reason)),
            "{kind}: {refused:?}"
        );
    }
    let packed = vec![0; MAX_PACKED_BYTES + 1];
    assert_eq!(
        Folder::unpack(&packed, None),
        Err(ArchiveRefused::PackedTooLarge)
    );
    let begun = Tar::script("s").0;
    let endless = begun.chain(std::io::repeat(0));
    assert_eq!(
        Folder::read_tar(endless, None),
        Err(ArchiveRefused::TooLarge)
    );
}

#[test]
fn the_reader_takes_what_common_tools_write() {
    for (kind, tar) in harmless("s") {
        let folder = Folder::read_tar(&tar[..], None).map_err(|refused| refused.to_string());
        let folder = folder.unwrap_or_else(|refused| panic!("{kind}: {refused}"));
        assert_eq!(folder.get("run.sh"), Some(&File::plain("true\n")), "{kind}");
    }
    let executable = Tar::default().header(b'0', b"a", 0, |header| header.set_mode(0o4_755));
    let folder = Folder::read_tar(&executable.end().0[..], None).unwrap();
    assert_eq!(
        folder.get("a"),
        Some(&File::executable("")),
        "only that bit of a mode counts"
    );
    let half = vec![0; MAX_UNPACKED_BYTES / 2];
    let full = Tar::default().file("a", &half).file("b", &half).end();
    assert_eq!(
        Folder::read_tar(&full.0[..], None).unwrap().bytes(),
        MAX_UNPACKED_BYTES
    );
}

/// As our own downloads and most hand-made archives are.
#[test]
fn the_one_folder_all_members_stand_in_is_left_out() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["deploy/a", "deploy/lib/b"], &["a", "lib/b"]),
        (&["deploy/a", "b"], &["b", "deploy/a"]),
        (&["deployed/a"], &["deployed/a"]),
        (&["deploy"], &["deploy"]),
        (&["a"], &["a"]),
    ];
    let listed = Tar::default().folder("./deploy/").file("./deploy/a", b"");
    let of = |names: &[&str]| {
        names
            .iter()
            .fold(Tar::default(), |tar, name| tar.file(name, b""))
    };
    let all = cases.map(|(given, expected)| (of(given), expected));
    for (tar, expected) in all.into_iter().chain([(listed, &["a"][..])]) {
        let name = "deploy".parse().unwrap();
        let folder = Folder::read_tar(&tar.end().0[..], Some(&name)).unwrap();
        let names: Vec<&str> = folder.files().map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, expected);
    }
}

async fn upload(coordinator: &Coordinator, media: &str, body: Vec<u8>) -> Answer {
    let request = coordinator
        .http(Method::POST, "/scripts")
        .header("content-type", media);
    Answer::of(request.body(body).send().await.unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_coordinator_refuses_them_in_every_packing() {
    let coordinator = Coordinator::start().await;
    let refused = async |kind: &str, media: &str, body: Vec<u8>, reason: &str| {
        let answer = upload(&coordinator, media, body).await;
        assert_eq!(
            answer.refusal(),
            (400, "folder_refused"),
            "{kind} as {media}: {answer:?}"
        );
        let says = answer.body["detail"].as_str().unwrap();
        assert!(says.contains(reason), "{kind} as {media}: {says}");
    };
    for Hostile { kind, tar, reason } in hostile("s") {
        refused(kind, "application/zstd", zstd(&tar), reason).await;
        refused(kind, "application/gzip", gzip(&tar), reason).await;
        if tar.len() <= UPLOAD_MAX_BYTES {
            refused(kind, "application/x-tar", tar, reason).await;
        }
    }
    for (kind, packed, reason) in hostile_frames() {
        refused(kind, "application/zstd", packed, reason).await;
    }
    let good = gzip(&Tar::script("s").end().0);
    refused(
        "cut",
        "application/gzip",
        good[..40].to_vec(),
        "ends in the middle",
    )
    .await;
    let behind = [good, b"rubbish".to_vec()].concat();
    refused("rubbish behind", "application/gzip", behind, "").await;
    assert_eq!(
        coordinator.get("/scripts").await.body,
        serde_json::json!([])
    );
}

#[tokio::test]
async fn the_coordinator_takes_the_harmless_ones_and_packs_them_its_own_way() {
    let coordinator = Coordinator::start().await;
    for (n, (kind, _)) in harmless("s").iter().enumerate() {
        let name = format!("s{n}");
        let tar = harmless(&name).swap_remove(n).1;
        let (media, body) = match n % 3 {
            0 => ("application/zstd", zstd(&tar)),
            1 => ("application/gzip", gzip(&tar)),
            _ => ("application/x-tar", tar),
        };
        let answer = upload(&coordinator, media, body).await;
        assert_eq!(answer.status, 201, "{kind} as {media}: {answer:?}");
    }
}

/// The coordinator is not what protects a host: here nobody asked it.
#[tokio::test]
async fn the_runner_refuses_them_and_goes_on() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let tars = hostile("s")
        .into_iter()
        .map(|it| (it.kind, zstd(&it.tar), it.reason));
    let all: Vec<_> = tars.chain(hostile_frames()).collect();
    for (n, (_, packed, _)) in all.iter().enumerate() {
        hand.sync(&format!("s{n}"), packed.clone()).await;
    }
    let unlike_ours = zstd(&Tar::script("unlike_ours").end().0);
    hand.sync("unlike_ours", unlike_ours).await;
    let good = Tar::script("good").end().0;
    let good = Folder::read_tar(&good[..], None).unwrap().pack().unwrap();
    hand.sync("good", good.bytes).await;
    let runner = runner_alone(&nats);
    let scripts = runner.project_dir().join("scripts");
    eventually("the good one arrives", async || {
        scripts.join("good/run.sh").exists().then_some(())
    })
    .await;
    let mut there: Vec<_> = std::fs::read_dir(&scripts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    there.sort();
    assert_eq!(there, ["good"]);
    let beside = std::fs::read_dir(runner.project_dir()).unwrap();
    assert_eq!(
        beside.count(),
        1,
        "nothing stands beside the scripts folder"
    );
}

#[tokio::test]
async fn a_version_that_is_refused_leaves_the_one_before_it_in_place() {
    let nats = Nats::start().await;
    let hand = Hand::on(&nats).await;
    let packed = |name: &str| {
        let tar = Tar::script(name).end().0;
        Folder::read_tar(&tar[..], None)
            .unwrap()
            .pack()
            .unwrap()
            .bytes
    };
    hand.sync("good", packed("good")).await;
    let runner = runner_alone(&nats);
    let scripts = runner.project_dir().join("scripts");
    let arrives = async |name: &str| {
        let file = scripts.join(name).join("run.sh");
        eventually(name, async || file.exists().then_some(())).await;
    };
    arrives("good").await;
    let before = std::fs::read_link(scripts.join("good")).unwrap();
    hand.sync("good", b"no bundle".to_vec()).await;
    // What comes later was looked at later, so the refused one has been refused by then.
    hand.sync("later", packed("later")).await;
    arrives("later").await;
    assert_eq!(std::fs::read_link(scripts.join("good")).unwrap(), before);
    arrives("good").await;
}
