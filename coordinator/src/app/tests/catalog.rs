//! Scripts and agents.

use super::*;

#[tokio::test]
async fn a_script_lives_its_life() {
    let (app, _folder) = app().await;
    with_agent(&app).await;
    let patch = json!({"script_content": "echo 2", "description": "new"});
    let patch = Patch::from_value(patch).unwrap();
    let written = app
        .patch_script(&actor(), &name("deploy"), patch.clone())
        .await
        .unwrap();
    assert_eq!(
        (written.change, written.now.entry.current.version),
        (Change::Changed, 2)
    );
    let shown = app.script(&name("deploy")).await.unwrap();
    assert_eq!(shown, written.now);
    assert_eq!(shown.content(), Some("echo 2"));
    let again = app
        .patch_script(&actor(), &name("deploy"), patch)
        .await
        .unwrap();
    assert_eq!(
        (again.change, again.now.entry.current.version),
        (Change::Unchanged, 2)
    );

    let refused = rejection(app.delete_script(&actor(), &name("deploy")).await);
    assert_eq!(
        refused.to_string(),
        "Script is referenced by agents: nightly"
    );
    app.delete_agent(&actor(), &name("nightly")).await.unwrap();
    app.delete_script(&actor(), &name("deploy")).await.unwrap();
    assert!(app.scripts().is_empty());
    let back = app
        .create_script(&actor(), folder("deploy", "3"))
        .await
        .unwrap();
    assert_eq!(back.now.entry.current.version, 3);
}

#[tokio::test]
async fn older_versions_are_found_by_digest_and_only_under_their_name() {
    let (app, _folder) = app().await;
    let first = app
        .create_script(&actor(), folder("deploy", "1"))
        .await
        .unwrap();
    let digest = first.now.entry.current.digest;
    app.put_script(&actor(), &name("deploy"), folder("deploy", "2"))
        .await
        .unwrap();
    let old = app
        .script_bundle(&name("deploy"), Some(&digest))
        .await
        .unwrap();
    assert_eq!(old.folder, first.now.folder);
    let present = app.script_bundle(&name("deploy"), None).await.unwrap();
    assert_ne!(present.digest, digest);
    let refused = rejection(app.script_bundle(&name("other"), Some(&digest)).await);
    assert!(matches!(refused, Rejection::VersionNotFound { .. }));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let (app, _folder) = app().await;
    let mut hostile = script("deploy");
    hostile.parameters_schema = Some(json!({"$ref": "file:///etc/passwd"}));
    let files = [("run.sh".parse().unwrap(), File::plain("x"))];
    let hostile = Folder::script(&hostile, files).unwrap();
    let refused = rejection(app.create_script(&actor(), hostile).await);
    assert!(matches!(refused, Rejection::Schema { .. }), "{refused}");
    let put = app
        .put_script(&actor(), &name("other"), folder("deploy", "1"))
        .await;
    assert!(matches!(rejection(put), Rejection::NameDiffers { .. }));
    assert!(app.scripts().is_empty());
}

#[tokio::test]
async fn agents_are_shown_with_their_scripts_schema() {
    let (app, _folder) = app().await;
    let mut document = script("deploy");
    document.parameters_schema = Some(json!({"type": "object"}));
    let files = [("run.sh".parse().unwrap(), File::plain("x"))];
    let files = Folder::script(&document, files).unwrap();
    app.create_script(&actor(), files).await.unwrap();
    let mut tagged = agent("nightly", "deploy");
    tagged.tags = vec!["x".parse().unwrap(), "y".parse().unwrap()];
    app.create_agent(&actor(), tagged).await.unwrap();
    let shown = app.agent(&name("nightly")).unwrap();
    assert_eq!(shown.entry.current.document.parameters_schema, None);
    assert_eq!(shown.resolved.parameters_schema, document.parameters_schema);
    let found = |tags: &[&str]| {
        let tags: Vec<_> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        app.agents(&tags).len()
    };
    assert_eq!(
        (found(&[]), found(&["x", "y"]), found(&["x", "z"])),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn of_two_coordinators_that_create_one_name_exactly_one_wins() {
    let log = MemoryLog::default();
    let ((one, _a), (two, _b)) = (app_on(&log).await, app_on(&log).await);
    for round in 0..20 {
        let script = format!("script-{round}");
        let (actor, name) = (actor(), name(&script));
        let (a, b) = tokio::join!(
            one.create_script(&actor, folder(&script, "a")),
            two.create_script(&actor, folder(&script, "b")),
        );
        let refused = if a.is_ok() {
            rejection(b)
        } else {
            rejection(a)
        };
        assert!(matches!(refused, Rejection::Exists { .. }), "{refused}");
        // A reference never dangles: either the agent came first, or the deletion did.
        let (created, deleted) = tokio::join!(
            one.create_agent(&actor, agent(&script, &script)),
            two.delete_script(&actor, &name),
        );
        assert_ne!(created.is_ok(), deleted.is_ok());
    }
}

#[tokio::test]
async fn the_catalogue_is_one_hash_chain() {
    let log = MemoryLog::default();
    let (app, _folder) = app_on(&log).await;
    with_agent(&app).await;
    let messages: Vec<_> = log.follow(Stream::Catalog, 1).take(2).collect().await;
    let envelope = |n: usize| {
        let payload = &messages[n].payload;
        events::Envelope::<events::catalog::CatalogEvent>::from_bytes(payload).unwrap()
    };
    assert_eq!(envelope(0).previous, None);
    assert_eq!(
        envelope(1).previous,
        Some(schemas::Digest::of(&messages[0].payload))
    );
}
