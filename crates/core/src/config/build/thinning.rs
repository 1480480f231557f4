//! Which messages travel: `every`, `rate`, `on_change`, `window`.

use crate::config::settings::{Payload, Topic};
use crate::config::walk::{Report, Section};

/// What these keys ask of each other, and of `payload`.
pub(super) fn check(topic: &Topic, section: &Section, report: &mut Report<'_>) {
    let mut refuse = |name: &str, found: &str, allowed: String| {
        report.add(section.tag_of(name), &section.key_of(name), found.to_owned(), allowed);
    };
    let held_back = ["every", "rate", "on_change"].into_iter().filter(|name| section.is_there(name));
    if topic.window.is_some() {
        for name in held_back {
            let allowed = format!("a `window` is of all messages and has no `{name}`; leave one of the two out");
            refuse(name, "a key beside `window`", allowed);
        }
    } else if !topic.aggregate.is_empty() {
        let allowed = "it says what a `window` holds, and there is none; set one, such as \"10 s\", or leave it out";
        refuse("aggregate", "a key without `window`", allowed.to_owned());
    }
    let payload = match topic.payload {
        Payload::Message | Payload::Envelope => return,
        Payload::Data => "data",
        Payload::Cdr => "cdr",
    };
    let reshaping = ["on_change", "window", "fields", "exclude", "arrays", "digits"];
    for name in reshaping.into_iter().filter(|name| section.is_there(name)) {
        let allowed = format!(
            "the payload {payload:?} is passed on as it is, which only `every` and `rate` go with; leave it out, or choose the \
             payload \"message\" or \"envelope\""
        );
        refuse(name, &format!("a key with the payload {payload:?}"), allowed);
    }
}
