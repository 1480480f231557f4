//! `docs/configuration.md` says of each key what the program does with it, and its examples load.

use std::collections::{BTreeMap, BTreeSet};

use super::super::keys;
use super::super::kind::{Key, Kind, Presence};
use super::{MINIMAL, Place};

const PAGE: &str = include_str!("../../../../../docs/configuration.md");

/// What the page says of a key.
struct Row {
    allowed: &'static str,
    without: &'static str,
}

/// The tables of keys, by the path of each key.
fn rows() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    let (mut heading, mut is_table) = ("", false);
    for line in PAGE.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.trim_matches('`');
        }
        is_table = line.starts_with("| key |") || is_table && line.starts_with('|');
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match cells[..] {
            _ if !is_table || !cells[0].starts_with('`') => {}
            [key, _, allowed, without] => {
                let table = heading.trim_matches(['[', ']']).to_owned();
                let table = if heading.starts_with("[[") { table + "[]" } else { table };
                let path = format!("{table}.{}", key.trim_matches('`'));
                assert!(rows.insert(path, Row { allowed, without }).is_none(), "{key} of {heading} is there twice");
            }
            _ => panic!("a row of keys has four cells: {line}"),
        }
    }
    rows
}

/// Pages that owners read beside it.
const OTHERS: [&str; 7] = [
    include_str!("../../../../../README.md"),
    include_str!("../../../../../docs/operating.md"),
    include_str!("../../../../../docs/payloads.md"),
    include_str!("../../../../../docs/aws.md"),
    include_str!("../../../../../docs/commands.md"),
    include_str!("../../../../../docs/recipes.md"),
    include_str!("../../../../../docs/shadows.md"),
];

/// The TOML blocks of `page`.
fn examples(page: &'static str) -> impl Iterator<Item = &'static str> {
    let blocks = page.split("```toml\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("a block ends").0)
}

/// Panics if `example` does not load beside the least that works.
fn load(example: &str) {
    let least = MINIMAL.replace("/odom", "/another");
    if let Err(problems) = Place::new().file("config.toml", &least).file("conf.d/example.toml", example).load() {
        panic!("{example}\n{problems}");
    }
}

/// Keys that hold a value, with their paths; and the paths of all others.
fn keys_of_values() -> (Vec<(String, Key)>, BTreeSet<String>) {
    fn collect(keys: &[Key], prefix: &str, values: &mut Vec<(String, Key)>, others: &mut BTreeSet<String>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            match key.kind {
                Kind::Table(inner) => {
                    collect(inner, &format!("{path}."), values, others);
                    others.insert(path);
                }
                Kind::Tables(inner) => {
                    collect(inner, &format!("{path}[]."), values, others);
                    others.insert(path);
                }
                Kind::NamedTables(inner) => {
                    collect(inner, &format!("{path}.*."), values, others);
                    others.insert(path);
                }
                _ => values.push((path, *key)),
            }
        }
    }
    let (mut values, mut others) = (Vec::new(), BTreeSet::new());
    collect(keys::ROOT, "", &mut values, &mut others);
    (values, others)
}

/// Whether something stands under the key `path` in `item`, of a list in any element.
pub(super) fn has(item: &toml_edit::Item, path: &str) -> bool {
    let (part, rest) = path.split_once('.').unwrap_or((path, ""));
    let has_rest = |item: &toml_edit::Item| rest.is_empty() || has(item, rest);
    match part.strip_suffix("[]") {
        Some(list) => {
            let list = item.get(list).and_then(|list| list.as_array_of_tables());
            list.is_some_and(|list| list.iter().any(|table| has_rest(&toml_edit::Item::Table(table.clone()))))
        }
        None if part == "*" => item.as_table_like().is_some_and(|table| table.iter().any(|(_, item)| has_rest(item))),
        None => item.get(part).is_some_and(has_rest),
    }
}

/// What the page has to say is allowed; nothing of a text, which has its own words.
fn allowed(kind: Kind) -> Option<String> {
    if let Kind::Text(_) = kind {
        return None;
    }
    let words = kind.allowed();
    // Examples have a place of their own.
    let (before, example) = words.split_once(", such as \"").unwrap_or((&words, "\""));
    let after = example.split_once('"').expect("an example ends").1;
    Some(format!("{before}{after}").trim_start_matches("allowed is ").to_owned())
}

/// `default` as it stands in a file.
fn written(kind: Kind, default: &str) -> String {
    match kind {
        Kind::Bool | Kind::Integer(..) | Kind::List(_) | Kind::Message => default.to_owned(),
        Kind::WordOr(_, other) => written(*other, default),
        _ => format!("{default:?}"),
    }
}

/// The page has each key and no other, with the bounds and the default that the program has.
#[test]
fn says_of_each_key_what_holds() {
    let mut rows = rows();
    for (path, key) in keys_of_values().0 {
        let row = rows.remove(&path).unwrap_or_else(|| panic!("{path} is missing in docs/configuration.md"));
        let said = row.allowed.replace('`', "");
        match allowed(key.kind) {
            Some(allowed) => assert_eq!(said, allowed, "what is allowed for {path}"),
            None => assert!(!said.is_empty(), "what is allowed for {path}"),
        }
        match key.presence {
            Presence::Default(default) => {
                assert_eq!(row.without, format!("`{}`", written(key.kind, default)), "the default of {path}");
            }
            Presence::Required => {
                assert!(row.without.starts_with("required"), "{path} is required");
            }
            Presence::RequiredWithout(others) => {
                assert_eq!(row.without, format!("required, unless `{}` is there", others.join("` or `")), "{path}");
            }
            Presence::Optional => assert!(row.without.starts_with("none"), "{path} has no default"),
        }
    }
    assert!(rows.is_empty(), "there is no key {:?}", rows.keys());
}

/// Each example loads, beside the least that works, and together they have every key.
#[test]
fn has_an_example_of_each_key_that_loads() {
    let mut shown = BTreeSet::new();
    for example in examples(PAGE) {
        load(example);
        let document: toml_edit::ImDocument<&str> = toml_edit::ImDocument::parse(example).expect("valid");
        for (path, _) in keys_of_values().0 {
            if has(document.as_item(), &path) {
                shown.insert(path);
            }
        }
    }
    let missing: Vec<String> =
        keys_of_values().0.into_iter().map(|(path, _)| path).filter(|path| !shown.contains(path)).collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}

/// The examples of other pages load as well, and what they call `queue.memory` and the like is a key.
#[test]
fn other_pages_know_the_keys() {
    OTHERS.into_iter().flat_map(examples).for_each(load);
    let (values, others) = keys_of_values();
    let known: BTreeSet<String> =
        values.into_iter().map(|(path, _)| path).chain(others).map(|path| path.replace("[]", "")).collect();
    for words in OTHERS.into_iter().chain([PAGE]).flat_map(|page| page.split('`').skip(1).step_by(2)) {
        let is_path = words.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
        let section = words.split_once('.').map(|(section, _)| section);
        let sections = keys::ROOT.iter().map(|key| key.name);
        if is_path && sections.into_iter().any(|name| section == Some(name)) {
            let is_file = words.ends_with(".md") || words.ends_with(".json");
            assert!(known.contains(words) || is_file, "there is no key {words}");
        }
    }
}
