//! The two text forms of one registry.
//!
//! The library writes `OpenMetrics`. The Prometheus text format 0.0.4, which most scrapers and `promtool check metrics` read,
//! differs in four ways: a counter's family bears the suffix `_total` too, there is no `info` type (a gauge with the
//! suffix `_info` stands for it), no `# UNIT` and no `# EOF`.

use std::fmt::Write;

use prometheus_client::registry::Registry;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    Prometheus,
}

impl Form {
    /// What a client that sends this `Accept` wants.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

pub(super) fn encode(registry: &Registry, form: Form) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a String does not fail");
    match form {
        Form::OpenMetrics => text,
        Form::Prometheus => prometheus(&text),
    }
}

fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 64);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        // HELP comes before TYPE, but it is TYPE that says how the family is called.
        if let Some((name, help)) = comment
            .strip_prefix("HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            let kind = lines
                .peek()
                .and_then(|next| next.strip_prefix("# TYPE ")?.split_once(' '));
            let (suffix, kind) = match kind {
                Some((_, "counter")) => ("_total", "counter"),
                Some((_, "info")) => ("_info", "gauge"),
                Some((_, other)) => ("", other),
                None => ("", "untyped"),
            };
            let _ = writeln!(
                text,
                "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn counters_and_info_are_renamed_and_the_rest_stays() {
        let open_metrics = "# HELP a Things.\n# TYPE a counter\na_total{b=\"# c\"} 1\n# HELP d Now.\n# TYPE d gauge\n# UNIT d seconds\nd 2\n\
                            # HELP e Build.\n# TYPE e info\ne_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total Things.\n# TYPE a_total counter\na_total{b=\"# c\"} 1\n# HELP d Now.\n# TYPE d gauge\nd 2\n\
                        # HELP e_info Build.\n# TYPE e_info gauge\ne_info{v=\"1\"} 1\n";
        assert_eq!(prometheus(open_metrics), expected);
    }

    #[test]
    fn form_is_what_the_scraper_accepts() {
        assert_eq!(Form::accepted(None), Form::Prometheus);
        assert_eq!(Form::accepted(Some("text/plain")), Form::Prometheus);
        let prometheus_sends =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        assert_eq!(Form::accepted(Some(prometheus_sends)), Form::OpenMetrics);
    }

    #[test]
    fn promtool_finds_no_fault() {
        let text = crate::metrics::tests::counted().encode(Form::Prometheus);
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            eprintln!(
                "SKIPPED promtool_finds_no_fault: promtool is not installed (Debian: apt-get install prometheus)"
            );
            return;
        };
        let mut input = promtool.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("promtool reads");
        drop(input);
        let output = promtool.wait_with_output().expect("promtool ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.trim().is_empty(),
            "{said}\n{text}"
        );
    }
}
