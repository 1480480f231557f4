//! The template of an MQTT topic: `robots/{thing}{ros}`.
//!
//! | placeholder | stands for | of `/robot1/odom` |
//! | --- | --- | --- |
//! | `{thing}` | the thing's name | `robot7` |
//! | `{ros}` | the absolute name of the ROS topic, its first slash included | `/robot1/odom` |
//! | `{namespace}` | what precedes the last slash, without the first | `robot1` |
//! | `{name}` | what follows the last slash | `odom` |
//! | `{type}` | the message type | `nav_msgs/msg/Odometry` |
//!
//! What stands for a name stays open where there is a pattern in its place, until topics are found.

use super::mqtt_topic::{TopicFault, check_publish_topic};
use super::pattern::{Pattern, is_pattern};
use super::problem::quote;
use super::ros_names::check_type;

const PLACEHOLDERS: [&str; 5] = ["thing", "ros", "type", "namespace", "name"];

/// Placeholders that stay open until there is the name of a ROS topic.
const OF_NAME: [&str; 3] = ["ros", "namespace", "name"];

/// The one placeholder that may stay open when there is.
const TYPE: &str = "{type}";

/// The shortest type there can be: what fails with it fails with any.
pub(super) const SHORTEST_TYPE: &str = "a/b/C";

/// What the placeholders of one topic stand for.
pub(super) struct Names<'a> {
    pub thing: &'a str,
    /// Absolute; a pattern leaves open what stands for a name.
    pub ros: &'a str,
    /// Without it `{type}` stays as it is.
    pub type_name: Option<&'a str>,
}

/// Fills in `template` and checks the result against AWS IoT Core's limits. A fault is told in words.
pub(super) fn expand(template: &str, names: &Names<'_>) -> Result<String, String> {
    let mut topic = String::new();
    let mut rest = template;
    while let Some(open) = rest.find(['{', '}']) {
        topic.push_str(&rest[..open]);
        let inner = rest[open..].strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((placeholder, after)) = inner else {
            return Err("a brace stands alone; a placeholder is written `{thing}`".into());
        };
        topic.push_str(&value(placeholder, names)?);
        rest = after;
    }
    topic.push_str(rest);
    // What a pattern finds may be longer.
    let shortest =
        if is_pattern(names.ros) { fill_ros(&topic, &Pattern::new(names.ros).shortest()) } else { topic.clone() };
    fill_type(&shortest, names.type_name.unwrap_or(SHORTEST_TYPE)).map_err(|fault| match shortest == template {
        true => fault.to_string(),
        false => format!("it becomes {}: {fault}", quote(&shortest)),
    })?;
    Ok(topic)
}

/// `topic` with what stands for the name of the ROS topic `ros` filled in; it is not checked.
pub(super) fn fill_ros(topic: &str, ros: &str) -> String {
    OF_NAME.into_iter().fold(topic.to_owned(), |topic, placeholder| {
        topic.replace(&format!("{{{placeholder}}}"), of_name(placeholder, ros).unwrap_or_default())
    })
}

/// Fills in `template`, in which only `{thing}` may stand, and checks the result as [`expand`] does.
pub(super) fn expand_for_thing(template: &str, thing: &str) -> Result<String, String> {
    if let Some(other) =
        PLACEHOLDERS.iter().filter(|name| **name != "thing").find(|name| template.contains(&format!("{{{name}}}")))
    {
        return Err(format!(
            "{:?} belongs to a ROS topic, of which there is none here; there is {{thing}}",
            format!("{{{other}}}")
        ));
    }
    expand(template, &Names { thing, ros: "", type_name: None })
}

/// `topic` with the type in the place of `{type}`, checked again.
pub(super) fn fill_type(topic: &str, type_name: &str) -> Result<String, TopicFault> {
    let topic = topic.replace(TYPE, type_name);
    check_publish_topic(&topic).map(|()| topic)
}

/// Whether `topic` is what `template` becomes with the type of some messages.
pub fn may_become(template: &str, topic: &str) -> bool {
    let Some((before, after)) = template.split_once(TYPE) else { return template == topic };
    // Where it stands several times, it is the same type each time.
    let types = topic
        .strip_prefix(before)
        .into_iter()
        .flat_map(|rest| rest.match_indices(after.split(TYPE).next().unwrap_or_default()).map(|(end, _)| &rest[..end]));
    types.filter(|name| check_type(name).is_ok()).any(|name| template.replace(TYPE, name) == topic)
}

fn value(placeholder: &str, names: &Names<'_>) -> Result<String, String> {
    Ok(match placeholder {
        "thing" => names.thing,
        "type" => names.type_name.unwrap_or(TYPE),
        open if OF_NAME.contains(&open) && is_pattern(names.ros) => return Ok(format!("{{{open}}}")),
        other => match of_name(other, names.ros) {
            Some(value) => value,
            None => {
                let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
                return Err(format!("{} is no placeholder; there are {known}", quote(&format!("{{{other}}}"))));
            }
        },
    }
    .to_owned())
}

/// What `placeholder` stands for where the ROS topic is `ros`, if it is one of [`OF_NAME`].
fn of_name<'a>(placeholder: &str, ros: &'a str) -> Option<&'a str> {
    let (namespace, name) = ros.rsplit_once('/').unwrap_or(("", ros));
    match placeholder {
        "ros" => Some(ros),
        "namespace" => Some(namespace.strip_prefix('/').unwrap_or(namespace)),
        "name" => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(template: &str, type_name: Option<&str>) -> Result<String, String> {
        expand(template, &Names { thing: "robot7", ros: "/arm/joints", type_name })
    }

    #[test]
    fn every_placeholder_is_filled_in() {
        let topic = expanded("{thing}{ros}|{namespace}|{name}|{type}", Some("a_b/msg/C"));
        assert_eq!(topic.as_deref(), Ok("robot7/arm/joints|arm|joints|a_b/msg/C"));
        let root = Names { thing: "t", ros: "/odom", type_name: None };
        assert_eq!(expand("x/{namespace}/{name}", &root).as_deref(), Ok("x//odom"));
    }

    #[test]
    fn only_the_type_stays_open_and_is_filled_in_later() {
        let topic = expanded("{thing}/{type}", None).expect("valid");
        assert_eq!(topic, "robot7/{type}");
        assert_eq!(fill_type(&topic, "std_msgs/msg/String").as_deref(), Ok("robot7/std_msgs/msg/String"));
        assert_eq!(fill_type("a/b/c/d/e/f/{type}", "a/b/C"), Err(TopicFault::TooManySlashes(8)));
    }

    /// A pattern leaves open what stands for a name; what can fit with none that it matches is refused at once.
    #[test]
    fn the_name_stays_open_with_a_pattern() {
        let of = |template, ros| expand(template, &Names { thing: "robot7", ros, type_name: None });
        let topic = of("{thing}{ros}|{namespace}|{name}|{type}", "/arm/*").expect("valid");
        assert_eq!(topic, "robot7{ros}|{namespace}|{name}|{type}");
        assert_eq!(fill_ros(&topic, "/arm/joints"), "robot7/arm/joints|arm|joints|{type}");
        assert!(of("a/b/c/d/e{ros}", "/x/**").is_ok());
        let fault = of("a/b/c/d/e/f/g{ros}", "/x/**").expect_err("too deep");
        assert!(fault.starts_with("it becomes \"a/b/c/d/e/f/g/x/a\": it has 8 slashes"), "{fault}");
    }

    #[test]
    fn a_topic_is_known_by_its_template() {
        for (template, topic, may) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("x/{type}", "x/std_msgs/msg/String", true),
            ("x/{type}", "x/zstd", false),
            ("x/{type}/b", "x/std_msgs/msg/String/b", true),
            ("x/{type}/b", "x/std_msgs/msg/String", false),
            ("{type}{type}", "a/msg/Ba/msg/B", true),
            ("{type}|{type}", "a/msg/B|a/msg/C", false),
        ] {
            assert_eq!(may_become(template, topic), may, "{template} {topic}");
        }
    }

    #[test]
    fn an_open_type_that_can_never_fit_is_refused_at_once() {
        assert!(expanded("a/b/c/d/e/f/{type}", None).is_err_and(|fault| fault.contains("8 slashes")));
    }

    #[test]
    fn without_a_ros_topic_there_is_only_the_thing() {
        assert_eq!(expand_for_thing("robots/{thing}/status", "robot7").as_deref(), Ok("robots/robot7/status"));
        assert!(expand_for_thing("robots{ros}", "robot7").is_err_and(|fault| fault.contains("\"{ros}\" belongs")));
        assert!(expand_for_thing("robots/{things}", "robot7").is_err_and(|fault| fault.contains("no placeholder")));
        assert!(expand_for_thing("robots/#", "robot7").is_err_and(|fault| fault.contains("wildcard")));
    }

    #[test]
    fn faults_are_told_in_words() {
        for (template, word) in [
            ("a/{topic}", "\"{topic}\" is no placeholder"),
            ("a/{}", "\"{}\" is no placeholder"),
            ("a/{thing", "stands alone"),
            ("a/thing}", "stands alone"),
            ("", "empty"),
            ("{ros}/+", "wildcard"),
        ] {
            let fault = expanded(template, None).expect_err(template);
            assert!(fault.contains(word), "{template}: {fault}");
        }
    }
}
