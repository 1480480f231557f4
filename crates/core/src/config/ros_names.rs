//! Rules for the names of ROS 2: topics, nodes, namespaces, message types.
//!
//! As rmw checks them (`rmw/validate_full_topic_name.h`, `validate_node_name.h`, `validate_namespace.h`) and as the
//! interface definition allows them. Each check answers in words what is wrong.

use super::problem::quote;

/// Longest absolute topic name, in bytes: 255 less the 8 that rmw keeps for prefixes.
const MAX_TOPIC: usize = 247;
/// Longest namespace: a topic name less a slash and one character.
const MAX_NAMESPACE: usize = MAX_TOPIC - 2;
/// Most `**` in a pattern: each doubles the texts that a policy needs for it.
const MAX_ANY: usize = 4;
/// Longest node name.
const MAX_NODE: usize = 255;

/// A topic's name as it may stand in a configuration: absolute or relative, perhaps a pattern with `*`.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of a ROS topic can't be empty".into());
    }
    if name.contains('~') {
        return Err("`~` is not supported; write the topic's full name, as `ros2 topic list` shows it".into());
    }
    check_path(name.strip_prefix('/').unwrap_or(name), "*")?;
    if name.contains('*') {
        check_pattern(name)?;
    }
    too_long(name, MAX_TOPIC)
}

/// What a pattern may be beside a name.
fn check_pattern(name: &str) -> Result<(), String> {
    if name.split('/').any(|level| level.contains("**") && level != "**") {
        return Err(
            "`**` stands for whole levels, with slashes around it: `/sensors/**`; within a level there is `*`".into()
        );
    }
    if name.split('/').filter(|level| *level == "**").count() > MAX_ANY {
        return Err(format!("a pattern has at most {MAX_ANY} `**`; make two of it, or write `*` for single levels"));
    }
    if name.split('/').any(|level| level.starts_with('_')) {
        return Err(
            "patterns find no hidden topics, those with a part that begins with `_`; write its name in full".into()
        );
    }
    Ok(())
}

/// A message type in full, or all of a package's: `sensor_msgs/msg/*`.
pub(super) fn check_types(name: &str) -> Result<(), String> {
    match name.strip_suffix("/*").and_then(|package| package.split_once('/')) {
        Some((package, middle)) if is_lower(package) && is_lower(middle) => Ok(()),
        _ => check_type(name),
    }
}

/// The absolute name of `name` in `namespace`, which is empty or absolute. Both have passed their check.
pub(super) fn resolve(name: &str, namespace: &str) -> Result<String, String> {
    if name.starts_with('/') {
        return Ok(name.to_owned());
    }
    let absolute = format!("{namespace}/{name}");
    too_long(&absolute, MAX_TOPIC)?;
    Ok(absolute)
}

/// The name of one topic: absolute or relative.
pub(super) fn check_one_topic(name: &str) -> Result<(), String> {
    if name.contains('*') {
        return Err("a pattern can't stand here; allowed is the name of one ROS topic".into());
    }
    check_topic(name)
}

/// A service's or an action's name: absolute or relative.
pub(super) fn check_service(name: &str) -> Result<(), String> {
    check_path(name.strip_prefix('/').unwrap_or(name), "")?;
    too_long(name, MAX_TOPIC)
}

/// A node's name, without namespace.
pub(super) fn check_node(name: &str) -> Result<(), String> {
    check_token(name, "")?;
    too_long(name, MAX_NODE)
}

/// A namespace: empty, `/`, or absolute.
pub(super) fn check_namespace(name: &str) -> Result<(), String> {
    if matches!(name, "" | "/") {
        return Ok(());
    }
    let Some(relative) = name.strip_prefix('/') else {
        return Err(format!("a namespace begins with a slash: {}", quote(&format!("/{name}"))));
    };
    check_path(relative, "")?;
    too_long(name, MAX_NAMESPACE)
}

/// The full name of a message type, `package/msg/Name`; its middle part may be another (`action`, `srv`).
pub(super) fn check_type(name: &str) -> Result<(), String> {
    check_interface(name, "msg", "allowed is a message type in full, for example \"std_msgs/msg/String\"")
}

/// The full name of a service's type, `package/srv/Name`.
pub(super) fn check_service_type(name: &str) -> Result<(), String> {
    check_interface_of(name, "srv", "allowed is the type of a service in full, for example \"std_srvs/srv/Trigger\"")
}

/// The full name of an action's type, `package/action/Name`.
pub(super) fn check_action_type(name: &str) -> Result<(), String> {
    let allowed = "allowed is the type of an action in full, for example \"nav2_msgs/action/NavigateToPose\"";
    check_interface_of(name, "action", allowed)
}

/// As [`check_interface`], where the middle part is `kind` and no other.
fn check_interface_of(name: &str, kind: &str, allowed: &str) -> Result<(), String> {
    check_interface(name, kind, allowed)?;
    match name.split('/').nth(1) {
        Some(middle) if middle != kind => Err(allowed.to_owned()),
        _ => Ok(()),
    }
}

/// The full name of a type. `kind` is the middle part where that is missing.
fn check_interface(name: &str, kind: &str, allowed: &str) -> Result<(), String> {
    let separators = ["::", "."].into_iter().find(|separator| name.contains(separator));
    let unified = separators.map_or(name.to_owned(), |separator| name.replace(separator, "/"));
    let parts: Vec<&str> = unified.split('/').collect();
    let good = match parts[..] {
        [package, middle, message] => is_lower(package) && is_lower(middle) && is_message(message),
        [package, message] if is_lower(package) && is_message(message) => {
            return Err(format!("did you mean \"{package}/{kind}/{message}\"?"));
        }
        _ => false,
    };
    match good {
        true if unified == name => Ok(()),
        true => Err(format!("did you mean \"{unified}\"?")),
        false => Err(allowed.to_owned()),
    }
}

/// A package, or the middle part of a type: lower-case letters, digits and `_`, beginning with a letter.
fn is_lower(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_lowercase())
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The last part of a type: begins with an upper-case letter. `_` occurs in generated types, `Fibonacci_Goal`.
fn is_message(part: &str) -> bool {
    part.starts_with(|c: char| c.is_ascii_uppercase()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Tokens with single slashes between. `extra` are characters that are allowed besides.
fn check_path(path: &str, extra: &str) -> Result<(), String> {
    if path.ends_with('/') {
        return Err("the name ends with a slash".into());
    }
    if path.contains("//") || path.starts_with('/') {
        return Err("the name has two slashes in a row".into());
    }
    path.split('/').try_for_each(|token| check_token(token, extra))
}

fn check_token(token: &str, extra: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err("a name can't be empty".into());
    }
    if let Some(wrong) = token.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || extra.contains(*c))) {
        return Err(format!("{wrong:?} is not allowed in a ROS name; allowed are letters, digits, `_` and `/`"));
    }
    if token.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a part of a ROS name can't begin with a digit".into());
    }
    Ok(())
}

fn too_long(name: &str, limit: usize) -> Result<(), String> {
    match name.len() {
        length if length > limit => Err(format!("it has {length} bytes; ROS takes at most {limit}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_ros_takes_pass() {
        for name in ["/odom", "odom", "/a/b_2/C", "_hidden/x", "mock_telemetry", "/sensors/**", "/camera/*/info"] {
            assert_eq!(check_topic(name), Ok(()), "{name}");
        }
        for name in ["", "/", "/robot1", "/fleet/robot1"] {
            assert_eq!(check_namespace(name), Ok(()), "{name}");
        }
        assert_eq!(check_node("iot_bridge"), Ok(()));
        for name in ["std_msgs/msg/String", "example_interfaces/action/Fibonacci_FeedbackMessage", "a_1/srv/B_Request"]
        {
            assert_eq!(check_type(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_ros_refuses_are_refused_in_words() {
        for (name, word) in [
            ("", "empty"),
            ("/", "empty"),
            ("/odom/", "ends with a slash"),
            ("/a//b", "two slashes"),
            ("//a", "two slashes"),
            ("/2d", "digit"),
            ("/a b", "' '"),
            ("/ä", "'ä'"),
            ("~/odom", "`~`"),
            ("{node}/odom", "'{'"),
            ("/a-b", "'-'"),
        ] {
            let fault = check_topic(name).expect_err(name);
            assert!(fault.contains(word), "{name}: {fault}");
        }
        assert_eq!(check_topic("/**/a/**/b/**/c/**"), Ok(()));
        for (name, word) in [
            ("/a/b**", "whole levels"),
            ("/***", "whole levels"),
            ("/a/_b/*", "hidden"),
            ("/**/a/**/b/**/c/**/d/**", "at most 4 `**`"),
        ] {
            let fault = check_topic(name).expect_err(name);
            assert!(fault.contains(word), "{name}: {fault}");
        }
        assert!(check_topic(&format!("/{}", "x".repeat(246))).is_ok());
        assert!(check_topic(&format!("/{}", "x".repeat(247))).is_err());
        assert!(check_namespace("robot1").is_err_and(|fault| fault.contains("\"/robot1\"")));
        assert!(check_node("a/b").is_err());
        assert!(check_service("/reset/*").is_err());
    }

    #[test]
    fn a_relative_name_is_resolved_in_the_namespace() {
        assert_eq!(resolve("mock_telemetry", "").as_deref(), Ok("/mock_telemetry"));
        assert_eq!(resolve("mock_telemetry", "/robot1").as_deref(), Ok("/robot1/mock_telemetry"));
        assert_eq!(resolve("/odom", "/robot1").as_deref(), Ok("/odom"));
        assert!(resolve(&"x".repeat(240), "/robot123").is_err());
    }

    #[test]
    fn all_types_of_a_package_have_a_star() {
        for name in ["sensor_msgs/msg/*", "sensor_msgs/msg/Imu"] {
            assert_eq!(check_types(name), Ok(()), "{name}");
        }
        for name in ["sensor_msgs/*", "*", "*/msg/Imu", "sensor_msgs/msg/I*", "a/b/c/*"] {
            assert!(check_types(name).is_err_and(|fault| fault.contains("in full")), "{name}");
        }
    }

    #[test]
    fn an_incomplete_type_gets_the_full_one_suggested() {
        assert_eq!(check_type("std_msgs/String"), Err("did you mean \"std_msgs/msg/String\"?".into()));
        assert_eq!(check_type("std_msgs::msg::String"), Err("did you mean \"std_msgs/msg/String\"?".into()));
        assert_eq!(check_type("std_msgs.msg.String"), Err("did you mean \"std_msgs/msg/String\"?".into()));
        for name in
            ["", "String", "std_msgs/msg/string", "Std/msg/String", "a/b/c/D", "std_msgs/msg/", "std_msgs/msg/St ring"]
        {
            assert!(check_type(name).is_err_and(|fault| fault.contains("in full")), "{name}");
        }
    }

    /// A key may stand there by mistake, whose base64 text has slashes and digits.
    #[test]
    fn nothing_of_a_name_is_quoted() {
        let refused = check_topic("/odom/3s0wz4cvOqFYz").expect_err("a part that begins with a digit");
        assert_eq!(refused, "a part of a ROS name can't begin with a digit");
    }
}
