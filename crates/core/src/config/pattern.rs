//! Patterns of ROS topic names.
//!
//! | pattern | matches | does not match |
//! | --- | --- | --- |
//! | `/camera/*/info` | `/camera/front/info` | `/camera/info`, `/camera/front/left/info` |
//! | `/cam*/info` | `/cam/info`, `/camera/info` | `/cam/front/info` |
//! | `/sensors/**` | `/sensors/imu`, `/sensors/raw/imu`: everything below `/sensors` | `/sensors` |
//! | `/**/info` | `/info`, `/camera/front/info` | `/camera/info/raw` |
//! | `/a/**/b` | `/a/b`, `/a/x/y/b` | `/a/x` |
//!
//! A `*` stands for any characters within a level, none included; beside nothing else, for a level. A `**` stands for any
//! number of levels, none included; at the end, for at least one.

use std::cmp::Reverse;

/// Whether `name`, as it stands in a configuration, is a pattern.
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

/// A name, or a pattern of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// One level, in which `*` stands for any characters.
    One(String),
    /// Any number of levels.
    Any,
}

/// How exact a pattern is: the less, the more exact.
pub(super) type Vagueness = (Reverse<usize>, usize, usize);

impl Pattern {
    /// The pattern `text`, an absolute name that has passed its check.
    pub fn new(text: &str) -> Pattern {
        let mut levels: Vec<Level> = text
            .split('/')
            .skip(1)
            .map(|level| if level == "**" { Level::Any } else { Level::One(level.to_owned()) })
            .collect();
        if levels.last() == Some(&Level::Any) {
            levels.insert(levels.len() - 1, Level::One("*".to_owned()));
        }
        Pattern { text: text.to_owned(), levels }
    }

    /// As it stands in the configuration.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `name`, an absolute name, is meant.
    pub fn matches(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix('/') else { return false };
        let name: Vec<&str> = name.split('/').collect();
        is_like(
            &self.levels,
            &name,
            |level| *level == Level::Any,
            |level, part| match level {
                Level::One(text) => is_level_like(text, part),
                Level::Any => false,
            },
        )
    }

    /// What decides between patterns that match the same name: the longest part before the first wildcard, then fewer `**`,
    /// then fewer `*`.
    pub(super) fn vagueness(&self) -> Vagueness {
        let before = self.text.find('*').unwrap_or(self.text.len());
        let many = self.text.split('/').filter(|level| *level == "**").count();
        (Reverse(before), many, self.text.matches('*').count() - 2 * many)
    }

    /// What it matches, as policies write it, where `*` stands for any characters, slashes included: several texts that
    /// together are as narrow as such texts can be. `/a/**/b` is `/a/b` and `/a/*/b`.
    pub fn globs(&self) -> Vec<String> {
        let mut globs = vec![String::new()];
        for level in &self.levels {
            match level {
                Level::One(text) => globs.iter_mut().for_each(|glob| {
                    glob.push('/');
                    glob.push_str(text);
                }),
                Level::Any => globs = globs.into_iter().flat_map(|glob| [format!("{glob}/*"), glob]).collect(),
            }
        }
        globs
    }

    /// A name of the fewest levels and characters that it matches.
    pub(super) fn shortest(&self) -> String {
        let levels = self.levels.iter().filter_map(|level| match level {
            Level::One(text) if text.bytes().all(|byte| byte == b'*') => Some("a".to_owned()),
            Level::One(text) => Some(text.replace('*', "")),
            Level::Any => None,
        });
        levels.fold(String::new(), |name, level| name + "/" + &level)
    }

    /// Whether topics that it matches may differ in their last part, and in what is before it.
    pub(super) fn varies(&self) -> (bool, bool) {
        let varies =
            |level: &Level| matches!(level, Level::Any) || matches!(level, Level::One(text) if is_pattern(text));
        let last = self.levels.last().is_some_and(varies);
        (last, self.levels.iter().rev().skip(1).any(varies) || self.levels.last() == Some(&Level::Any))
    }
}

fn is_level_like(pattern: &str, part: &str) -> bool {
    is_like(pattern.as_bytes(), part.as_bytes(), |byte| *byte == b'*', |byte, other| byte == other)
}

/// Whether `items` are like `pattern`, in which what `is_any` accepts stands for any number of items, none included.
fn is_like<P, T>(pattern: &[P], items: &[T], is_any: impl Fn(&P) -> bool, is_one: impl Fn(&P, &T) -> bool) -> bool {
    // After the last wildcard: the place in the pattern, and the item that is tried there.
    let (mut at, mut item, mut back) = (0, 0, None);
    while item < items.len() {
        match pattern.get(at) {
            Some(any) if is_any(any) => {
                at += 1;
                back = Some((at, item));
            }
            Some(one) if is_one(one, &items[item]) => (at, item) = (at + 1, item + 1),
            _ => match &mut back {
                Some((after, reach)) => {
                    *reach += 1;
                    (at, item) = (*after, *reach);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_what_the_table_says() {
        for (pattern, matched, other) in [
            ("/odom", &["/odom"][..], &["/odom2", "/odom/a", "/a/odom", "odom", ""][..]),
            ("/camera/*/info", &["/camera/front/info"], &["/camera/info", "/camera/front/left/info"]),
            ("/cam*/info", &["/cam/info", "/camera/info"], &["/cam/front/info", "/ca/info"]),
            ("/*_state", &["/joint_state", "/_state"], &["/joint_states", "/a/joint_state"]),
            ("/sensors/**", &["/sensors/imu", "/sensors/raw/imu"], &["/sensors", "/sensors2/imu"]),
            ("/**", &["/a", "/a/b/c"], &[]),
            ("/*", &["/a"], &["/a/b"]),
            ("/**/info", &["/info", "/camera/front/info"], &["/camera/info/raw", "/myinfo"]),
            ("/a/**/b", &["/a/b", "/a/x/y/b", "/a/b/b"], &["/a/x", "/a", "/b"]),
            ("/a/**/b/**", &["/a/b/c", "/a/x/b/y/z"], &["/a/x/b"]),
        ] {
            let pattern = Pattern::new(pattern);
            matched.iter().for_each(|name| assert!(pattern.matches(name), "{} {name}", pattern.text()));
            other.iter().for_each(|name| assert!(!pattern.matches(name), "{} {name}", pattern.text()));
        }
    }

    #[test]
    fn policies_get_the_narrowest_texts() {
        for (pattern, globs) in [
            ("/odom", &["/odom"][..]),
            ("/camera/*/info", &["/camera/*/info"]),
            ("/sensors/**", &["/sensors/*/*", "/sensors/*"]),
            ("/a/**/b", &["/a/*/b", "/a/b"]),
        ] {
            assert_eq!(Pattern::new(pattern).globs(), globs, "{pattern}");
        }
    }

    /// The rule, word for word.
    fn plain(levels: &[&str], name: &[&str]) -> bool {
        fn within(level: &[u8], part: &[u8]) -> bool {
            match level.split_first() {
                None => part.is_empty(),
                Some((b'*', rest)) => (0..=part.len()).any(|length| within(rest, &part[length..])),
                Some((byte, rest)) => part.first() == Some(byte) && within(rest, &part[1..]),
            }
        }
        match levels.split_first() {
            None => name.is_empty(),
            Some((&"**", rest)) => {
                let least = usize::from(rest.is_empty());
                (least..=name.len()).any(|length| plain(rest, &name[length..]))
            }
            Some((level, rest)) => {
                name.first().is_some_and(|part| within(level.as_bytes(), part.as_bytes())) && plain(rest, &name[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_pattern_matches_by_the_rule(
            levels in prop::collection::vec("[ab*]{1,3}", 1..5),
            name in prop::collection::vec("[ab]{1,3}", 1..5),
        ) {
            let levels: Vec<&str> = levels.iter().map(|level| if level.contains("**") { "**" } else { level }).collect();
            let pattern = Pattern::new(&format!("/{}", levels.join("/")));
            let parts: Vec<&str> = name.iter().map(String::as_str).collect();
            prop_assert_eq!(pattern.matches(&format!("/{}", name.join("/"))), plain(&levels, &parts));
            prop_assert!(pattern.matches(&pattern.shortest()), "{}", pattern.shortest());
            let glob = |glob: &String, name: &str| is_level_like(glob, name);
            if plain(&levels, &parts) {
                let name = format!("/{}", name.join("/"));
                prop_assert!(pattern.globs().iter().any(|text| glob(text, &name)));
            }
        }
    }
}
