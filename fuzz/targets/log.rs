//! Logs of any origin, as people hand them to the doctor.

use countersign_diagnose::log::read;

#[test]
fn what_is_shown_of_a_log_is_bounded_and_printable() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let reading = read(bytes);
        assert!(reading.lines <= bytes.len() && reading.candidates.len() <= 24);
        for candidate in &reading.candidates {
            assert!((1..=reading.lines).contains(&candidate.line_number));
            assert!((1..=reading.lines).contains(&candidate.count));
            assert!(!candidate.confirm.is_empty() && !candidate.source.is_empty());
            for shown in [&candidate.line, &candidate.message] {
                assert!(shown.len() <= 600 && !shown.chars().any(char::is_control));
            }
        }
    });
}

#[test]
fn line_that_is_read_by_itself_is_read_among_others() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let alone = read(bytes);
        let mut among = b"an unrelated line\n".to_vec();
        among.extend(bytes);
        let is_utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        if !is_utf16 {
            let causes = |reading: countersign_diagnose::log::LogReading| {
                let candidates = reading.candidates.into_iter();
                candidates.map(|found| found.cause).collect::<Vec<_>>()
            };
            assert_eq!(causes(alone), causes(read(&among)));
        }
    });
}
