//! The two texts that metrics are read in, and which of them somebody asks for.

use std::fmt;

use prometheus_client::registry::Registry;

/// A text of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own, version 0.0.4, which every tool reads.
    Text,
    /// OpenMetrics 1.0, which Prometheus asks for first. A counter's family is called as its samples without `_total`.
    OpenMetrics,
}

impl Format {
    pub const ALL: [Format; 2] = [Format::Text, Format::OpenMetrics];

    /// The media type of the text.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The one that a request with `accept` in its `Accept` headers gets: OpenMetrics if it is named, and not less
    /// wanted than plain text (RFC 9110, 12.5.1).
    pub fn wanted<'a>(accept: impl IntoIterator<Item = &'a str>) -> Format {
        let (mut open, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.into_iter().flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let wanted = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open,
                "text/plain" => &mut text,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            *wanted = wanted.max(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)));
        }
        if open > 0.0 && open >= text { Format::OpenMetrics } else { Format::Text }
    }

    /// The metrics of the moment.
    pub fn write(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry)?;
        Ok(match self {
            Format::OpenMetrics => text,
            Format::Text => to_text(&text),
        })
    }
}

/// Makes Prometheus' own text of OpenMetrics: what is told of a counter has the name of its samples, and units and the
/// end are not told.
fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let kind = lines.peek().copied().and_then(type_of).or_else(|| type_of(line));
        match (line.split_once(' '), kind) {
            (Some(("#", about)), _) if about.starts_with("EOF") || about.starts_with("UNIT ") => continue,
            (Some(("#", about)), Some((name, "counter"))) => {
                let (word, rest) = about.split_once(' ').unwrap_or((about, ""));
                let rest = rest.strip_prefix(name).unwrap_or(rest);
                text.push_str(&format!("# {word} {name}_total{rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Name and type of the family, if `line` tells them.
fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prometheus, old and new, gets OpenMetrics as it asks for it; a browser, curl and whoever says nothing get text.
    #[test]
    fn what_is_asked_for_is_given() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6, \
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in
            [prometheus_2, prometheus_3, "Application/OpenMetrics-Text", "application/openmetrics-text; q=0.1"]
        {
            assert_eq!(Format::wanted([accept]), Format::OpenMetrics, "{accept}");
        }
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let rather_text = "application/openmetrics-text;q=0.3,text/plain;q=0.5";
        let never = "application/openmetrics-text;q=0";
        for accept in
            ["*/*", "", browser, rather_text, never, "text/plain", ";,;q=", "application/openmetrics-text;q=x"]
        {
            assert_eq!(Format::wanted([accept]), Format::Text, "{accept}");
        }
        assert_eq!(Format::wanted([]), Format::Text);
        assert_eq!(Format::wanted(["*/*", "application/openmetrics-text"]), Format::OpenMetrics);
    }

    /// Only what is told of a counter changes its name.
    #[test]
    fn counters_are_called_as_their_samples() {
        let open_metrics = "# HELP a_bytes Bytes of a.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{b=\"# TYPE c counter\"} 1\n\
                            # HELP g One.\n# TYPE g gauge\ng 2\n# HELP h Two.\n# TYPE h counter\n# EOF\n";
        let text = "# HELP a_bytes_total Bytes of a.\n# TYPE a_bytes_total counter\na_bytes_total{b=\"# TYPE c counter\"} 1\n\
                    # HELP g One.\n# TYPE g gauge\ng 2\n# HELP h_total Two.\n# TYPE h_total counter\n";
        assert_eq!(to_text(open_metrics), text);
    }
}
