//! When a certificate is due.

use countersign_pki::time::UnixTime;
use countersign_policy::renewal::due_at;

#[test]
fn a_certificate_is_due_at_half_its_life() {
    let at = UnixTime::from_seconds;
    for (not_before, not_after, due) in [
        (100, 300, 200),
        (100, 101, 100),
        (100, 100, 100),
        (300, 100, 300),
    ] {
        assert_eq!(due_at(at(not_before), at(not_after)), at(due));
    }
    assert!(due_at(at(0), UnixTime::MAX) < UnixTime::MAX);
}
