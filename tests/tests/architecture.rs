//! What may use what, and which names belong to one place: DESIGN's arrows and invariants, held
//! against the sources. Comments, and what only tests compile, do not count.
//!
//! A rule is a table and a test. Whoever adds a module adds it to its crate's table, and so says
//! where it stands.

use std::collections::{BTreeMap, BTreeSet};
use tests::sources::{self, Source, Use, modules, uses};

/// Our crates, and the foreign ones that belong to a single one of ours.
const CRATES: &str = "
    schemas     ->
    events      -> schemas async-nats
    startup     ->
    coordinator -> schemas events startup sled
    runner      -> schemas events startup
    tests       -> schemas events startup coordinator runner async-nats
    xtask       ->
";

#[test]
fn crates_depend_only_downwards() {
    let allowed = table(CRATES);
    let watched: BTreeSet<&str> = allowed
        .values()
        .flatten()
        .chain(allowed.keys())
        .copied()
        .collect();
    let mut faults = Vec::new();
    for (name, uses) in &allowed {
        for dependency in sources::dependencies(name) {
            let other = dependency.name.as_str();
            // Whatever people type is built by xtask first, so it has to be built in a second.
            if *name == "xtask" || watched.contains(other) && !uses.contains(other) {
                let line = dependency.line;
                faults.push(format!(
                    "{name}/Cargo.toml:{line}: {name} may not depend on {other}"
                ));
            }
        }
    }
    none(&faults);
}

/// The modules of `schemas`: documents over the types they are made of.
const SCHEMAS: &str = "
    absent      ->
    agent       -> absent check demands document name script text timeout
    attempts    ->
    bundle      -> digest file_path name script text
    capability  -> absent document name
    changes     ->
    command_agent -> absent agent digest document name text timeout
    check       -> text
    demands     -> absent name text
    digest      -> text
    document    -> text
    file_path   -> text
    interpreter -> name script
    name        -> digest text
    parameters  -> check interpreter script text
    published   -> agent capability script
    script      -> absent attempts check demands document file_path name text timeout
    text        ->
    timeout     ->
";

/// The modules of `events`. Nothing but `claim` knows the log, which knows everything it carries.
const EVENTS: &str = "
    actor        -> id
    cadence      ->
    catalog      -> schemas id lane member token
    chain        -> schemas id
    claim        -> actor envelope id lane log question run subject
    control      -> schemas runner
    distribution -> schemas lane
    envelope     -> schemas actor id
    history      -> schemas actor id lane run
    id           ->
    lane         -> schemas
    member       -> schemas id
    log          -> schemas catalog control distribution envelope id lane output question run runner subject
    output       ->
    question     -> id
    run          -> schemas actor envelope id lane tagged
    runner       -> schemas cadence id lane
    subject      -> schemas catalog id lane
    tagged       ->
    token        -> schemas
";

/// The modules of `coordinator`: `domain`, `projections` and `policy` are pure and know nothing
/// above them; `cli` speaks HTTP and `broker` runs a process, so neither knows the product; only
/// what starts the program knows the doors `http`, `mcp` and `cli`.
const COORDINATOR: &str = "
    access      -> schemas events
    allocator   ->
    app         -> schemas events archive diagnosis domain projections
    archive     ->
    bench_api   -> cli config serve
    bench_log   -> schemas events broker cli projections
    broker      -> tether
    cli         -> schemas archive diagnosis
    config      -> schemas events cli
    data_dir    ->
    dev         -> schemas events access app cli config serve tether
    diagnosis   -> events
    domain      -> schemas events
    http        -> schemas events access app diagnosis
    main        -> bench_api bench_log broker cli serve dev
    mcp         -> schemas events access app
    policy      -> schemas events domain projections
    projections -> schemas events
    reactors    -> schemas events policy domain projections app
    serve       -> schemas events access app archive broker cli config data_dir http mcp projections reactors
    tether      ->
";

/// The modules of `runner`: `lanes` and `plan` decide, the rest carries out.
const RUNNER: &str = "
    agents     -> schemas apply execute
    apply      -> schemas events lanes plan shelf
    config     -> schemas events launcher
    confine    -> events config execute sandbox
    disk       ->
    execute    -> schemas
    floor      -> schemas events config join
    join       -> schemas events config key private
    key        -> events private
    lanes      -> schemas events
    launcher   -> sandbox
    main       -> apply config floor join launcher settings supervisor verify
    offer      -> schemas events config execute
    plan       -> schemas lanes
    private    ->
    sandbox    -> events
    settings   -> config
    shelf      -> schemas events plan private
    spool      -> events private
    station    -> events agents config confine disk execute launcher shelf spool
    supervisor -> schemas events agents apply config confine disk execute join lanes launcher offer private sandbox shelf spool station work
    verify     -> schemas events plan shelf
    work       -> schemas events apply disk execute launcher shelf spool station
";

/// The tables above, by the crate they are of.
const MODULES: [(&str, &str); 4] = [
    ("schemas", SCHEMAS),
    ("events", EVENTS),
    ("coordinator", COORDINATOR),
    ("runner", RUNNER),
];

#[test]
fn modules_use_only_what_their_table_allows() {
    let mut faults = Vec::new();
    for (name, rows) in MODULES {
        let allowed = table(rows);
        let sources = sources::of(name);
        let not_allowed = |edge: &Use| {
            let row = allowed.get(edge.from.as_str());
            row.is_some_and(|row| !row.contains(edge.to.as_str()))
        };
        let new = modules(&sources)
            .into_iter()
            .filter(|module| !allowed.contains_key(module));
        faults.extend(new.map(|module| {
            format!("{name}/src: the module {module} has no row in the table of {name}")
        }));
        let wrong = uses(name, &sources).into_iter().filter(not_allowed);
        faults.extend(wrong.map(|Use { from, to, place }| {
            format!("{place}: {from} may not use {to}; see the table of {name}")
        }));
    }
    none(&faults);
}

#[test]
fn no_two_modules_need_each_other() {
    let mut faults = Vec::new();
    for name in table(CRATES).keys() {
        let uses = uses(name, &sources::of(name));
        let circular = uses
            .iter()
            .filter(|edge| needs(&edge.to, &edge.from, &uses));
        faults.extend(circular.map(|Use { from, to, place }| {
            format!("{place}: in {name}, {from} uses {to}, which in the end needs {from}")
        }));
    }
    none(&faults);
}

/// Words that only some files may say.
const WORDS: &str = "
    async_nats -> events/src/log
    sled       -> coordinator/src/projections/store
    unsafe     -> runner/src/launcher coordinator/src/allocator coordinator/src/broker/child coordinator/src/tether
";

#[test]
fn words_stay_in_their_place() {
    let mut faults = Vec::new();
    for (word, places) in table(WORDS) {
        let elsewhere = product()
            .into_iter()
            .filter(|source| !source.is_below(&places));
        for source in elsewhere {
            let said = source.names().into_iter().filter(|name| name.holds(word));
            faults.extend(said.map(|name| {
                format!(
                    "{}:{}: {word} belongs in {places:?}",
                    source.path, name.line
                )
            }));
        }
    }
    none(&faults);
}

/// How text begins that is a subject or a stream's name, and who may write such text beside
/// `subject` and `log`.
///
/// The broker's accounts hold the server's permissions, which are subjects as patterns: the
/// server needs them before anything can connect, and `broker` knows nothing of ours. The CLI
/// has tables with such headings, and no way to reach a stream.
const WIRE_TEXTS: &str = r#"
    "catalog. "lane. "run.{ "run.* "history. "output. "live. -> coordinator/src/broker/accounts
    "runner.{ "runner.* "presence. "ask. "control. "_INBOX.  -> coordinator/src/broker/accounts
    $JS. $O.                                                 -> coordinator/src/broker/accounts
    "CATALOG" "LANES" "HISTORY" "OUTPUT"                     ->
    "BUNDLES" "OBJ_BUNDLES"                                  ->
    "RUNS" "RUNNERS"                                         -> coordinator/src/cli
"#;

#[test]
fn subjects_and_streams_are_named_in_one_place() {
    let mut faults = Vec::new();
    for (texts, mut places) in table(WIRE_TEXTS) {
        places.extend(["events/src/subject", "events/src/log"]);
        let elsewhere = product()
            .into_iter()
            .filter(|source| !source.is_below(&places));
        for source in elsewhere {
            let lines = texts
                .split_whitespace()
                .flat_map(|text| source.lines_with(text));
            faults.extend(
                lines.map(|line| {
                    format!("{}:{line}: ask events::subject for this name", source.path)
                }),
            );
        }
    }
    none(&faults);
}

/// What has no clock, no randomness and no way out; and which files of it are not held to that,
/// because they open the projections, feed them and keep them on disk.
const PURE: &str = "
    coordinator/src/domain      ->
    coordinator/src/policy      ->
    coordinator/src/projections -> mod follow reading rebuild retention store
    events/src/catalog          ->
    events/src/claim            -> claiming steps
    events/src/run              ->
    runner/src/lanes            ->
    runner/src/plan             ->
";

/// What a pure file does not name.
const IMPURE: &str = "
    async await tokio rand
    std::fs std::net std::process std::thread std::env
    SystemTime::now Instant::now Timestamp::now Zoned::now Uuid::now_v7 EventId::fresh
";

#[test]
fn what_decides_is_pure() {
    let mut faults = Vec::new();
    for (place, shells) in table(PURE) {
        let shells: Vec<String> = shells
            .iter()
            .map(|file| format!("{place}/{file}"))
            .collect();
        let shells = shells.iter().map(String::as_str).collect();
        let inside =
            |source: &Source| source.is_below(&[place].into()) && !source.is_below(&shells);
        for source in product().into_iter().filter(inside) {
            for name in source.names() {
                let impure = IMPURE
                    .split_whitespace()
                    .filter(|impure| name.holds(impure));
                faults.extend(impure.map(|impure| {
                    format!(
                        "{}:{}: {impure}, but {place} is pure",
                        source.path, name.line
                    )
                }));
            }
        }
    }
    none(&faults);
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = table(CRATES).into_keys().flat_map(sources::of);
    let silent = files.filter(|source| !source.first_line.starts_with("//! "));
    let faults = silent.map(|Source { path, .. }| {
        format!("{path}:1: does not open with //! and what the file is responsible for")
    });
    none(&faults.collect::<Vec<_>>());
}

/// Whether `module` uses `other`, itself or through what it uses.
fn needs(module: &str, other: &str, uses: &[Use]) -> bool {
    let mut reached = BTreeSet::from([module]);
    let mut open = vec![module];
    while let Some(here) = open.pop() {
        let next = uses
            .iter()
            .filter(|edge| edge.from == here)
            .map(|edge| edge.to.as_str());
        open.extend(next.filter(|to| reached.insert(to)));
    }
    reached.contains(other)
}

/// Everything that is shipped or started by hand.
fn product() -> Vec<Source> {
    let crates = table(CRATES).into_keys().filter(|name| *name != "tests");
    crates.flat_map(sources::of).collect()
}

/// A table's rows: what stands before the arrow, and the words after it.
fn table(rows: &'static str) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows = rows.lines().filter_map(|row| row.split_once("->"));
    rows.map(|(name, uses)| (name.trim(), uses.split_whitespace().collect()))
        .collect()
}

#[track_caller]
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
