//! What is shown of a peer's bytes.

use countersign_diagnose::evidence::Evidence;
use countersign_diagnose::refusal::RefusalId;

#[test]
fn shown_value_is_bounded_and_printable() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let evidence = Evidence::new().with("subject", &text);
        let shown = evidence.get("subject").expect("it was put in");
        assert!(shown.len() <= 512 && !shown.chars().any(char::is_control));
    });
}

#[test]
fn refusal_id_reads_back_as_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(id) = String::from_utf8_lossy(bytes).parse::<RefusalId>() else {
            return;
        };
        assert_eq!(id.to_string().parse(), Ok(id));
    });
}
