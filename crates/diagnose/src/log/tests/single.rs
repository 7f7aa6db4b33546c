//! One line each: product by product.

use super::*;

fn check_all(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        check(line, expected);
    }
}

#[test]
fn openssl() {
    check_all(&[(
        "verify error:num=20:unable to get local issuer certificate",
        "server-ca-not-trusted of either",
    )]);
}
