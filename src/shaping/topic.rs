//! The part of an MQTT topic that only the message type fills in.

/// Fills `{type}` in `template` with `type_name`, as `nav_msgs/msg/Odometry`. Everything else stays as it is.
///
/// Whether AWS IoT Core takes the result is for the caller to check: a type's name brings two slashes.
pub fn mqtt_topic(template: &str, type_name: &str) -> String {
    template.replace("{type}", type_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_filled_in() {
        assert_eq!(
            mqtt_topic("robots/r1/{type}/odom", "nav_msgs/msg/Odometry"),
            "robots/r1/nav_msgs/msg/Odometry/odom"
        );
        assert_eq!(mqtt_topic("{type}{type}", "a/msg/B"), "a/msg/Ba/msg/B");
    }

    #[test]
    fn a_topic_without_it_stays() {
        assert_eq!(mqtt_topic("robots/r1/odom", "nav_msgs/msg/Odometry"), "robots/r1/odom");
    }
}
