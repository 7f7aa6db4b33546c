//! The demo service in a browser.

use std::fmt::Write;

use crate::demo::{Shown, ShownClient, shortened};

pub(super) fn html(shown: &Shown) -> String {
    let mut page = String::from(HEAD);
    match &shown.client {
        Some(client) => known(&mut page, client),
        None => page.push_str(
            "<p class=badge>anonymous</p><h1>We have not met</h1>\
             <p class=lead>This connection came without a client certificate.</p>",
        ),
    }
    let connection = &shown.connection;
    page.push_str("<section><h2>Connection</h2><dl>");
    row(&mut page, "From", &connection.source);
    row(&mut page, "TLS", connection.protocol);
    row(&mut page, "HTTP", &connection.http);
    row(
        &mut page,
        "Handshake",
        if connection.resumed {
            "resumed session"
        } else {
            "full"
        },
    );
    page.push_str("</dl></section><section><h2>What a service behind this gateway sees</h2>");
    let request = format!("{} {}", shown.request.method, shown.request.path);
    let _ = write!(page, "<p><code>{}</code></p><dl>", Escaped(&request));
    for (name, value) in &shown.request.headers {
        row(&mut page, name, &shortened(value));
    }
    page.push_str(FOOT);
    page
}

fn known(page: &mut String, client: &ShownClient) {
    let _ = write!(
        page,
        "<p class=badge>verified</p><h1>{}</h1><p class=lead>vouched for by the trust bundle <b>{}</b></p>\
         <section><h2>Certificate</h2><dl>",
        Escaped(&client.principal),
        Escaped(&client.bundle)
    );
    row(page, "Subject", &client.subject);
    row(page, "Serial", &client.serial);
    row(page, "Valid until", &client.not_after);
    row(page, "SHA-256", &client.fingerprint);
    page.push_str("</dl></section>");
}

fn row(page: &mut String, name: &str, value: &str) {
    let _ = write!(
        page,
        "<dt>{}</dt><dd>{}</dd>",
        Escaped(name),
        Escaped(value)
    );
}

/// Text as it may stand in HTML, inside quotes too. Controls are left out: no browser shows them.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars().filter(|character| !character.is_control()) {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                plain => f.write_char(plain)?,
            }
        }
        Ok(())
    }
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Countersign</title>\
<meta name=viewport content=\"width=device-width,initial-scale=1\"><style>\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--paper:#f7f8fa;--card:#fff;--ok:#0f7b4f}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#98a3b3;--line:#2b3442;--paper:#12171e;--card:#1a212b;--ok:#4cc38a}}\
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:46rem;margin:0 auto;padding:3rem 1.25rem}\
h1{margin:.25rem 0;font-size:1.6rem;overflow-wrap:anywhere}h2{font-size:.95rem;margin:0 0 .75rem;color:var(--soft)}\
.badge{display:inline-block;margin:0;padding:.1rem .7rem;border:1px solid var(--ok);border-radius:1rem;color:var(--ok);font-size:.85rem}\
.lead{margin:0 0 1.5rem;color:var(--soft)}\
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1.1rem 1.25rem;margin:1rem 0}\
dl{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.35rem 1.25rem;margin:0}dt{color:var(--soft)}\
dd{margin:0;font-family:ui-monospace,monospace;font-size:.9rem;overflow-wrap:anywhere}\
footer{color:var(--soft);font-size:.85rem;margin-top:2rem}\
@media(max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}\
</style><main>";

const FOOT: &str = "</dl></section><footer>The demo service of <code>countersign up</code>. \
Put your own behind it with <code>--upstream http://127.0.0.1:3000</code>.</footer></main></html>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_certificates_stay_text() {
        let page = html(&crate::demo::tests::hostile());
        assert!(
            !page.contains("<script") && !page.contains("<img") && !page.contains("<b>\u{1b}"),
            "{page}"
        );
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{page}"
        );
        assert!(page.contains("/&quot;&gt;&lt;img src=x&gt;"), "{page}");
    }
}
