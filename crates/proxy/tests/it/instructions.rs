//! What the data plane spends on each thing that it does for a client, in instructions: a figure that other work on the machine
//! does not change. More or less than [`TOLERANCE`] of the baseline fails until the baseline says why.
//!
//! Callgrind runs this test binary again, for [`workload`] alone. It counts on the worker's thread and in
//! [`operations::decided`], and writes down what has come together each time [`operations::counted`] is called. The profile is that
//! of the tests, so the figures are for comparison with themselves only; valgrind shows every processor with AVX2 as the same one.

mod operations;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde::{Deserialize, Serialize};

use self::operations::OPERATIONS;

/// The file of baselines.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    /// Counts with anything else cannot be compared.
    counted_with: String,
    operation: BTreeMap<String, Count>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Count {
    instructions: u64,
    /// Why it is no longer what it was before.
    reason: String,
}

#[test]
fn no_operation_takes_more_or_fewer_instructions_than_its_baseline_says() {
    let baseline = fs::read_to_string(BASELINE).unwrap_or_default();
    let mut baseline: Baseline = toml::from_str(&baseline).expect("a file of baselines");
    let reason = env::var("UPDATE_INSTRUCTIONS").ok();
    let Some(here) = counting_here() else {
        return;
    };
    if reason.is_none() && here != baseline.counted_with {
        println!(
            "SKIPPED instruction counts: the baseline is from {}, this is {here}; {HOW_TO_UPDATE}",
            baseline.counted_with
        );
        return;
    }
    let counted = count();
    for (operation, instructions) in &counted {
        println!("{operation}: {instructions}");
    }
    let changed = changed(&baseline.operation, &counted);
    let Some(reason) = reason else {
        assert!(changed.is_empty(), "{}", told(&changed));
        return;
    };
    assert!(!reason.trim().is_empty(), "{HOW_TO_UPDATE}");
    let all_anew = here != baseline.counted_with;
    baseline.counted_with = here;
    baseline
        .operation
        .retain(|operation, _| counted.contains_key(operation));
    for (operation, instructions) in counted {
        if all_anew || changed.iter().any(|it| it.operation == operation) {
            let reason = reason.clone();
            let count = Count {
                instructions,
                reason,
            };
            baseline.operation.insert(operation, count);
        }
    }
    let baseline = toml::to_string(&baseline).expect("plain values");
    fs::write(BASELINE, format!("{HEADER}{baseline}")).expect("the working tree is writable");
}

/// What valgrind runs; nothing by itself.
#[tokio::test]
async fn workload() {
    if env::var_os(WORKLOAD).is_some() {
        operations::run().await;
    }
}

#[test]
fn five_per_cent_are_let_pass_and_six_are_not_either_way() {
    let baseline = BTreeMap::from([("handshake".to_owned(), count_of(1_000_000))]);
    for (instructions, passes) in [
        (1_000_000, true),
        (1_050_000, true),
        (950_000, true),
        (1_050_001, false),
        (1_060_000, false),
        (940_000, false),
        (0, false),
        (2_000_000, false),
    ] {
        let counted = BTreeMap::from([("handshake".to_owned(), instructions)]);
        let changed = changed(&baseline, &counted);
        assert_eq!(changed.is_empty(), passes, "{instructions}");
    }
}

#[test]
fn operation_without_a_baseline_and_baseline_without_an_operation_are_told() {
    let baseline = BTreeMap::from([("gone".to_owned(), count_of(7))]);
    let counted = BTreeMap::from([("new".to_owned(), 8)]);
    let told = told(&changed(&baseline, &counted));
    assert!(
        told.contains("gone: 7 instructions, now it is not counted"),
        "{told}"
    );
    assert!(
        told.contains("new: no baseline, now 8 instructions"),
        "{told}"
    );
}

#[test]
fn change_is_told_with_both_counts_its_share_and_what_to_do() {
    let baseline = BTreeMap::from([("request_http1".to_owned(), count_of(200_000))]);
    let counted = BTreeMap::from([("request_http1".to_owned(), 212_000)]);
    let told = told(&changed(&baseline, &counted));
    let line = "request_http1: 200000 instructions (because: first count), now 212000: 6.0 % more";
    assert!(told.contains(line), "{told}");
    assert!(told.contains("UPDATE_INSTRUCTIONS="), "{told}");
}

fn count_of(instructions: u64) -> Count {
    Count {
        instructions,
        reason: "first count".to_owned(),
    }
}

struct Changed {
    operation: String,
    sentence: String,
}

fn changed(baseline: &BTreeMap<String, Count>, counted: &BTreeMap<String, u64>) -> Vec<Changed> {
    let mut changed = Vec::new();
    let mut tell = |operation: &String, sentence: String| {
        let operation = operation.clone();
        changed.push(Changed {
            operation,
            sentence,
        });
    };
    for (
        operation,
        Count {
            instructions,
            reason,
        },
    ) in baseline
    {
        let Some(&now) = counted.get(operation) else {
            let sentence = format!("{instructions} instructions, now it is not counted");
            tell(operation, sentence);
            continue;
        };
        let difference = now.abs_diff(*instructions);
        if difference * 100 > instructions * TOLERANCE {
            let per_mille = difference * 1000 / (*instructions).max(1);
            let (whole, tenth) = (per_mille / 10, per_mille % 10);
            let way = if now > *instructions { "more" } else { "less" };
            let sentence = format!(
                "{instructions} instructions (because: {reason}), now {now}: {whole}.{tenth} % {way}"
            );
            tell(operation, sentence);
        }
    }
    for (operation, now) in counted {
        if !baseline.contains_key(operation) {
            tell(operation, format!("no baseline, now {now} instructions"));
        }
    }
    changed
}

fn told(changed: &[Changed]) -> String {
    let mut told = format!("changed by more than {TOLERANCE} % of the baseline in {BASELINE}:\n");
    for Changed {
        operation,
        sentence,
    } in changed
    {
        let _ = writeln!(told, "  {operation}: {sentence}");
    }
    told + HOW_TO_UPDATE
}

/// What decides how many instructions the same source is; `None`, said by name, where they cannot be counted.
fn counting_here() -> Option<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    if version("valgrind").is_none() {
        let must = ["CI", "COUNTERSIGN_REQUIRE_PEERS"];
        let must = must.iter().any(|name| env::var_os(name).is_some());
        assert!(!must, "valgrind is not installed, and here it has to be");
        println!("SKIPPED instruction counts: valgrind is not installed");
        return None;
    }
    let compiler = version("rustc").unwrap_or_else(|| "an unknown compiler".to_owned());
    let profile = if cfg!(debug_assertions) {
        "profile of tests"
    } else {
        "optimised"
    };
    Some(format!("{compiler}, {profile}, {}", processor()))
}

#[cfg(target_arch = "x86_64")]
fn processor() -> &'static str {
    if is_x86_feature_detected!("avx2") {
        "x86_64 with AVX2"
    } else {
        "x86_64 without AVX2"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> &'static str {
    env::consts::ARCH
}

/// Instructions of each operation, one turn of it.
fn count() -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().expect("a folder");
    let counts = folder.path().join("counts");
    let output = Command::new("timeout")
        .args([HANG_SECONDS, "valgrind", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .args(COUNTED_WITHIN.map(|function| format!("--toggle-collect={function}")))
        .arg(format!("--dump-before={COUNTED}"))
        .arg(env::current_exe().expect("this test"))
        .args(["--exact", "instructions::workload", "--nocapture"])
        .env(WORKLOAD, "1")
        .output()
        .expect("timeout of the coreutils starts");
    assert!(
        output.status.success(),
        "{}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let counted = OPERATIONS.iter().zip(0..).map(|((operation, turns), at)| {
        // Of two files an operation has the second; what led to it is in the first.
        let file = format!("{}.{}", counts.display(), 2 * at + 2);
        let total = total(Path::new(&file));
        assert!(
            total >= *turns,
            "{operation}: {total} instructions in {turns} turns; is {COUNTED_WITHIN:?} still what its functions are called?"
        );
        ((*operation).to_owned(), total / turns)
    });
    counted.collect()
}

/// Callgrind's format: `totals:` and the instructions of the whole file.
fn total(file: &Path) -> u64 {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
    total
        .and_then(|total| total.trim().parse().ok())
        .unwrap_or_else(|| panic!("{} has no total", file.display()))
}

/// In per cent. Counts of the same source differ by less than one.
const TOLERANCE: u64 = 5;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/instructions.toml");
const WORKLOAD: &str = "COUNTERSIGN_INSTRUCTIONS_WORKLOAD";
/// The thread of a worker, from its first instruction to its last, and one decision.
const COUNTED_WITHIN: [&str; 2] = [
    "countersign_runtime::workers::Workers::spawn::{{closure}}",
    "it::instructions::operations::decided",
];
const COUNTED: &str = "it::instructions::operations::counted";
/// Only catches a hang: it takes seconds.
const HANG_SECONDS: &str = "900";
const HOW_TO_UPDATE: &str = "if that is right, say why: UPDATE_INSTRUCTIONS=\"reason\" cargo test -p countersign-proxy --test it instructions, and commit the file";
const HEADER: &str = "\
# Instructions of one operation, in the profile of tests: for comparison with themselves only.
# Written by `UPDATE_INSTRUCTIONS=\"reason\" cargo test -p countersign-proxy --test it instructions`.

";
