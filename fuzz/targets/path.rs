//! Paths: what policy takes for unambiguous, no server reads in another way.

use countersign_policy::access::{PathPattern, unambiguous_path};

#[test]
fn unambiguous_path_stays_itself_when_decoded_and_resolved() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(path) = std::str::from_utf8(bytes) else {
            return;
        };
        if !unambiguous_path(path) {
            return;
        }
        let decoded = percent_decoded(path.as_bytes());
        assert_eq!(
            decoded.split(|&byte| byte == b'/').count(),
            path.split('/').count()
        );
        for byte in [0, b'\\', b'%'] {
            assert!(!decoded.contains(&byte), "{path}");
        }
        for segment in decoded.split(|&byte| byte == b'/') {
            assert!(segment != b"." && segment != b"..", "{path}");
        }
        assert!(!path.contains("//"), "{path}");
    });
}

#[test]
fn pattern_of_literals_matches_itself_alone() {
    bolero::check!()
        .with_type::<(String, String)>()
        .for_each(|(pattern, path)| {
            let Ok(parsed) = PathPattern::parse(pattern) else {
                return;
            };
            if !pattern.contains('*') {
                assert!(parsed.matches(pattern));
                assert_eq!(parsed.matches(path), pattern == path);
            }
        });
}

fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |byte: &u8| {
            char::from(*byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        if let (b'%', [high, low, after @ ..]) = (first, tail)
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            decoded.push(high << 4 | low);
            rest = after;
            continue;
        }
        decoded.push(*first);
    }
    decoded
}
