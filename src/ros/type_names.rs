//! Names of types as participants of the domain say them: DDS carries any bytes, of any number of publishers.

/// Most characters of what is no name.
const LONGEST_QUOTE: usize = 60;

/// Types that are named in one sentence.
const NAMED: usize = 3;

/// `name` as it may stand in a log line or on a terminal. What is no name of a type is quoted, escaped and cut.
pub(super) fn legible(name: &str) -> String {
    let is_identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.split('/').count() == 3 && name.split('/').all(is_identifier) {
        return name.to_owned();
    }
    let mut escaped = name.escape_default();
    let quote: String = escaped.by_ref().take(LONGEST_QUOTE).collect();
    format!("\"{quote}{}\"", if escaped.next().is_some() { "…" } else { "" })
}

/// Some types in a sentence, the names of types first: `a/msg/A and b/msg/B`, `a/msg/A, b/msg/B, c/msg/C and 7 more`.
pub(super) fn listed(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_by_key(|name| name.starts_with('"'));
    match names.as_slice() {
        [named @ .., last] if named.len() < NAMED && !named.is_empty() => format!("{} and {last}", named.join(", ")),
        [named @ .., _] if named.len() >= NAMED => {
            format!("{} and {} more", named[..NAMED].join(", "), names.len() - NAMED)
        }
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_pass_as_they_are() {
        assert_eq!(legible("sensor_msgs/msg/Image"), "sensor_msgs/msg/Image");
        assert_eq!(legible("\x1b]0;owned\x07\u{202e}"), r#""\u{1b}]0;owned\u{7}\u{202e}""#);
        assert_eq!(legible("dds::Type"), "\"dds::Type\"");
        assert_eq!(legible(""), "\"\"");
        for long in ["x".repeat(255), "\u{10ffff}".repeat(255), format!("a/msg/{}\n", "B".repeat(200))] {
            let name = legible(&long);
            assert!(name.chars().count() <= 63 && name.chars().all(|c| c == '…' || c.is_ascii_graphic()), "{name}");
        }
    }

    #[test]
    fn few_types_are_named() {
        assert_eq!(listed(&["a/msg/A"]), "a/msg/A");
        assert_eq!(listed(&["a/msg/A", "b/msg/B"]), "a/msg/A and b/msg/B");
        assert_eq!(listed(&["\"\"", "a/msg/A", "b/msg/B"]), "a/msg/A, b/msg/B and \"\"");
        let many: Vec<String> = (0..1000).map(|number| format!("a/msg/A{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(listed(&many), "a/msg/A0, a/msg/A1, a/msg/A2 and 997 more");
    }
}
