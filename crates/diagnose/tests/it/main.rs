//! What the crate promises to others: the committed reference page, and JSON that reads back.

#![expect(
    clippy::disallowed_methods,
    reason = "comparing a committed page needs files, regenerating it needs a switch"
)]

mod target;

use std::path::Path;
use std::{env, fs};

use countersign_diagnose::cause::{Cause, reference_page};
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/reference/causes.md"
);

#[test]
fn committed_page_is_the_generated_one() {
    let expected = reference_page();
    if env::var_os("UPDATE_DOCS").is_some() {
        let folder = Path::new(PAGE).parent().expect("the page has a folder");
        fs::create_dir_all(folder).expect("docs/reference can be made");
        fs::write(PAGE, &expected).expect("docs/reference/causes.md can be written");
    }
    let committed = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/reference/causes.md is not what the code says; \
         run `UPDATE_DOCS=1 cargo test -p countersign-diagnose` and commit it"
    );
}

#[test]
fn refusals_read_back_from_json_as_written() {
    for cause in Cause::ALL {
        let evidence = Evidence::new()
            .with("subject", "CN=a\\, b\n\u{202e}")
            .with("now", 1);
        let plain = Refusal::new(*cause, "said \"so\" \\ \u{7}", evidence);
        let fixed = plain.clone().with_fix("do that");
        for refusal in [plain, fixed] {
            let json = serde_json::to_string(&refusal).expect("a refusal is JSON");
            let read: Refusal = serde_json::from_str(&json).expect("our own JSON");
            assert_eq!(serde_json::to_string(&read).expect("JSON"), json);
            assert_eq!(
                (read.cause, read.sentence()),
                (refusal.cause, refusal.sentence())
            );
        }
    }
}
