//! Excerpts as people paste them.

use super::*;

#[test]
fn nginx_refuses_an_expired_client() {
    check(
        "2026/11/23 10:00:00 [info] 12#12: *1 client SSL certificate verify error: (10:certificate has expired) while reading client request headers, client: 10.0.0.1, server: a.test, request: \"GET / HTTP/1.1\", host: \"a.test\"",
        "leaf-expired of client",
    );
}
