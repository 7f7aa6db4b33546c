//! What the crate promises to others: the committed reference pages, and JSON that reads back.

mod pages;
mod prose;
mod target;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::Refusal;

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
