//! How long whom may keep what (RFC 5019 §6, RFC 9110 §13, RFC 9111).

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use countersign_pki::time::UnixTime;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use hyper::{Request, Response, StatusCode};

use crate::publish::Document;

/// The document, or 304 to whoever has it.
pub(super) fn answer<B>(
    request: &Request<B>,
    document: &Document,
    now: UnixTime,
) -> Response<Full<Bytes>> {
    let mut headers = validators(document, now);
    let mut response = if is_held(request.headers(), &headers) {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(document.media_type));
        Response::new(Full::new(document.body.clone()))
    };
    *response.headers_mut() = headers;
    response
}

/// What nobody may keep.
pub(super) fn not_cached(media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn validators(document: &Document, now: UnixTime) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, text: &str| {
        let value = HeaderValue::from_str(text).expect("ASCII that is made here");
        headers.insert(name, value);
    };
    put(ETAG, &document.etag);
    let max_age = match document.times {
        Some((this_update, next_update)) => {
            put(LAST_MODIFIED, &http_date(this_update));
            put(EXPIRES, &http_date(next_update));
            // RFC 5019 §6.2: before nextUpdate.
            MAX_AGE.min(
                next_update
                    .since(now)
                    .saturating_sub(Duration::from_secs(1)),
            )
        }
        None => CERTIFICATE_MAX_AGE,
    };
    let cache_control = format!(
        "max-age={}, public, no-transform, must-revalidate",
        max_age.as_secs()
    );
    put(CACHE_CONTROL, &cache_control);
    headers
}

/// RFC 9110 §13.2.2: If-Modified-Since counts only where there is no If-None-Match.
fn is_held(asked: &HeaderMap, own: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let etag = own.get(ETAG).and_then(|etag| etag.to_str().ok());
        return asked
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|tags| tags.to_str().ok())
            .flat_map(|tags| tags.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || Some(tag.trim_start_matches("W/")) == etag);
    }
    let since = asked.get(IF_MODIFIED_SINCE);
    let times = since
        .and_then(date)
        .zip(own.get(LAST_MODIFIED).and_then(date));
    // Of the same second there may have been another before, which did not know of a revocation yet: whoever has that one
    // must not be told to keep it. Who sends back its ETag loses nothing.
    times.is_some_and(|(since, changed)| changed < since)
}

fn date(value: &HeaderValue) -> Option<std::time::SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

fn http_date(time: UnixTime) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time.seconds()))
}

/// How long a cache may hide a revocation: five minutes.
const MAX_AGE: Duration = Duration::from_mins(5);

const CERTIFICATE_MAX_AGE: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document {
            body: Bytes::from_static(b"list"),
            media_type: "application/pkix-crl",
            etag: "\"aa\"".into(),
            times: Some((UnixTime::from_seconds(1_000), UnixTime::from_seconds(2_000))),
        }
    }

    fn check(header: (&str, &str), status: u16) {
        let request = Request::get("/")
            .header(header.0, header.1)
            .body(())
            .expect("a request");
        let response = answer(&request, &document(), UnixTime::from_seconds(1_100));
        assert_eq!(response.status().as_u16(), status, "{header:?}");
        assert_eq!(response.headers()[ETAG], "\"aa\"");
    }

    #[test]
    fn whoever_has_it_is_told_so() {
        check(("if-none-match", "\"aa\""), 304);
        check(("if-none-match", "\"bb\", W/\"aa\""), 304);
        check(("if-none-match", "*"), 304);
        check(("if-modified-since", "Thu, 01 Jan 1970 00:16:41 GMT"), 304);
        check(("if-none-match", "\"bb\""), 200);
        check(("if-none-match", ""), 200);
        check(("if-modified-since", "Thu, 01 Jan 1970 00:16:39 GMT"), 200);
        // It may be of the same second, and have been replaced within it.
        check(("if-modified-since", "Thu, 01 Jan 1970 00:16:40 GMT"), 200);
        check(("if-modified-since", "yesterday"), 200);
        check(("accept", "*/*"), 200);
    }

    #[test]
    fn caches_keep_it_for_minutes_and_never_up_to_its_end() {
        let age = |now| {
            let headers = validators(&document(), UnixTime::from_seconds(now));
            headers[CACHE_CONTROL].to_str().expect("ASCII").to_owned()
        };
        assert_eq!(
            age(1_000),
            "max-age=300, public, no-transform, must-revalidate"
        );
        assert_eq!(
            age(1_900),
            "max-age=99, public, no-transform, must-revalidate"
        );
        assert_eq!(
            age(2_000),
            "max-age=0, public, no-transform, must-revalidate"
        );
        let headers = validators(&document(), UnixTime::from_seconds(1_000));
        assert_eq!(headers[LAST_MODIFIED], "Thu, 01 Jan 1970 00:16:40 GMT");
        assert_eq!(headers[EXPIRES], "Thu, 01 Jan 1970 00:33:20 GMT");
    }
}
