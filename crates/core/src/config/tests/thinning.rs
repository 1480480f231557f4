//! Which keys that choose messages go together.

use super::{MINIMAL, Place};

/// What is wrong with these keys of a topic: each key, and what is allowed.
fn problems(keys: &str) -> Vec<(String, String)> {
    let text = format!("{MINIMAL}\n[[topics]]\nros = \"/value\"\n{keys}\n");
    let Err(problems) = Place::new().file("config.toml", &text).load() else { return Vec::new() };
    problems.iter().map(|problem| (problem.key.clone(), problem.allowed.clone())).collect()
}

/// A window is of all messages; what is passed on as it is can't be compared or aggregated; `aggregate` needs a window. Each
/// problem is told, under its key.
#[test]
fn what_does_not_go_together_is_refused() {
    const WINDOW: &str = "window = \"10 s\"\naggregate = [\"mean\"]\n";
    for (keys, refused, words) in [
        (&*format!("{WINDOW}rate = \"1 Hz\""), &["rate"][..], "a `window` is of all messages and has no `rate`"),
        (&format!("{WINDOW}every = 2\non_change = {{}}"), &["every", "on_change"], "leave one of the two out"),
        ("aggregate = [\"mean\"]", &["aggregate"], "set one, such as \"10 s\""),
        (&format!("{WINDOW}payload = \"data\""), &["window"], "the payload \"data\" is passed on as it is"),
        ("on_change = {}\npayload = \"cdr\"", &["on_change"], "only `every` and `rate` go with"),
    ] {
        let found = problems(keys);
        let expected: Vec<String> = refused.iter().map(|key| format!("topics[1].{key}")).collect();
        assert_eq!(found.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), expected, "{keys}");
        assert!(found[0].1.contains(words), "{keys}: {found:?}");
    }
}

#[test]
fn the_others_go_together() {
    for keys in [
        "every = 2\nrate = \"1 Hz\"\npayload = \"cdr\"",
        "every = 2\nrate = \"1 Hz\"\non_change = {}\npayload = \"envelope\"",
        "window = \"10 s\"",
        "window = \"10 s\"\naggregate = [\"last\", \"count\"]\npayload = \"envelope\"\nbatch = { max = 10 }",
    ] {
        assert_eq!(problems(keys), [], "{keys}");
    }
}
