//! Paths and their patterns.

use countersign_policy::access::{PathPattern, unambiguous_path};

fn check(pattern: &str, meets: &[&str], misses: &[&str]) {
    let parsed = PathPattern::parse(pattern).unwrap();
    assert_eq!(parsed.to_string(), pattern);
    for path in meets {
        assert!(parsed.matches(path), "{pattern} must match {path}");
    }
    for path in misses {
        assert!(!parsed.matches(path), "{pattern} must not match {path}");
    }
}

#[test]
fn patterns_match_whole_segments() {
    check("/", &["/"], &["", "/a", "//", "*", "a"]);
    check(
        "/charge",
        &["/charge"],
        &[
            "/charge/",
            "/charges",
            "/charge/x",
            "/Charge",
            "charge",
            "/x/charge",
            "",
            "/charg",
            "/charge%2f",
        ],
    );
    check(
        "/charge/",
        &["/charge/"],
        &["/charge", "/charge/x", "/charge//"],
    );
    check(
        "/a/*/c",
        &["/a/b/c", "/a/*/c", "/a/%2A/c"],
        &["/a//c", "/a/c", "/a/b/b/c", "/a/b/c/", "/a/b", "/a/b/cc"],
    );
    check("/a/*", &["/a/b"], &["/a", "/a/", "/a/b/", "/a/b/c"]);
    check(
        "/a/**",
        &["/a", "/a/", "/a/b", "/a/b/c/d"],
        &["/", "/ab", "/b/a", "", "*", "a", "/A/b"],
    );
    check("/**", &["/", "/a", "/a/b", ""], &["*", "a", "a/b"]);
    check(
        "/a b/ü",
        &["/a%20b/%C3%BC", "/a%20b/%c3%bc"],
        &["/a+b/ü", "/a%20b/u"],
    );
}

#[test]
fn an_escape_gets_nobody_past_a_pattern() {
    check(
        "/admin",
        &["/admin", "/%61dmin", "/%61%64%6D%69%6e"],
        &["/%61%64min%", "/%2561dmin", "/%6g", "/%"],
    );
}

#[test]
fn patterns_that_could_mislead_are_refused() {
    for text in [
        "", "a", "a/b", "*", "**", "//", "//a", "/a//b", "/a//", "/**/a", "/a/**/b", "/a/**/",
        "/**/**", "/.", "/..", "/a/./b", "/a/../b", "/a*", "/*a", "/a/b*c", "/a**", "/***",
        "/a%20b", "/%", "/a\\b", "/a;b", "/a?b=c", "/a#b", "/a\0b", "/a\nb",
    ] {
        assert!(PathPattern::parse(text).is_err(), "{text:?}");
    }
    assert!(PathPattern::parse(&format!("/{}", "a".repeat(2048))).is_err());
}

#[test]
fn an_unambiguous_path_reads_the_same_everywhere() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/...",
        "/a..b/.hidden",
        "/%7Euser",
        "/a%20b",
        "/%C3%BC/%e2%82%ac",
        "/a:b@c!$&'()*+,=-_~",
        "/%3F%23",
    ] {
        assert!(unambiguous_path(path), "{path}");
    }
}

#[test]
fn an_ambiguous_path_is_refused() {
    for path in [
        "",
        "*",
        "a",
        "a/b",
        "http://h/",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/./a",
        "/a/./b",
        "/%2e",
        "/%2E%2e/a",
        "/.%2e/a",
        "/a/%2e%2E",
        "/a\\b",
        "/a%5cb",
        "/a%5Cb",
        "/a%2fb",
        "/a%2Fb",
        "/a%00",
        "/a%25b",
        "/%252e",
        "/a;b",
        "/a;/b",
        "/..;/a",
        "/a%3bb",
        "/a%3Bb",
        "/a%0d%0ab",
        "/a%1f",
        "/a%7f",
        "/a?b",
        "/a#b",
        "/a b",
        "/ü",
        "/a\0",
        "/a\tb",
        "/%",
        "/a%",
        "/%2",
        "/%zz",
        "/%u002f",
        "/%-1",
        "/%c0%ae%c0%ae/a",
        "/%c0%af",
        "/%e0%80%af",
        "/%f0%80%80%af",
        "/%ff",
        "/%e2%82",
    ] {
        assert!(!unambiguous_path(path), "{path:?}");
    }
}

#[test]
fn every_short_path_that_decodes_to_a_protected_one_is_refused_or_meets_its_pattern() {
    // Whatever an upstream makes of a path, rules see it too: each spelling of /a/b out of these pieces.
    let (wanted, everything_under) = (
        PathPattern::parse("/a/b").unwrap(),
        PathPattern::parse("/a/**").unwrap(),
    );
    let pieces = [
        "/", "%2f", "%2F", "//", "/./", "/x/../", "/%2e/", "/;x/", "\\", "%5c", "/a/../",
    ];
    for first in pieces {
        for second in pieces {
            for (a, b) in [
                ("a", "b"),
                ("%61", "b"),
                ("a", "%62"),
                ("%61", "%62"),
                ("a;x=1", "b"),
                ("a", "b;x"),
            ] {
                let path = format!("{first}{a}{second}{b}");
                let seen = wanted.matches(&path) && everything_under.matches(&path);
                assert!(seen || !unambiguous_path(&path), "{path}");
            }
        }
    }
}
