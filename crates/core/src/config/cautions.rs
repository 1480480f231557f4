//! What a command lacks that would make it safe.

use super::settings::{Command, Remote, Section, Settings};

/// Types of messages that move a robot, or a part of it, for as long as no other message comes.
const MOVING: &[&str] = &[
    "ackermann_msgs/msg/AckermannDrive",
    "ackermann_msgs/msg/AckermannDriveStamped",
    "control_msgs/msg/JointJog",
    "geometry_msgs/msg/Accel",
    "geometry_msgs/msg/AccelStamped",
    "geometry_msgs/msg/Twist",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/Wrench",
    "geometry_msgs/msg/WrenchStamped",
    "trajectory_msgs/msg/JointTrajectory",
    "trajectory_msgs/msg/MultiDOFJointTrajectory",
];

impl Settings {
    /// What there is to say of commands that are obeyed however late they come, or that move the robot without bounds, and
    /// of those that the cloud may add: sentences without their full stops.
    pub fn cautions(&self) -> Vec<String> {
        let commands = self.commands.iter().flat_map(|command| [command.without_age(), command.without_bounds()]);
        commands.flatten().chain(self.remote.as_ref().and_then(Remote::without_bounds)).collect()
    }
}

impl Remote {
    /// With limits that nobody on the robot has set.
    fn without_bounds(&self) -> Option<String> {
        let obeyed = [Section::Commands, Section::Services, Section::Actions];
        let obeyed: Vec<&str> =
            self.allow.iter().filter(|section| obeyed.contains(section)).map(|section| section.name()).collect();
        (!obeyed.is_empty()).then(|| {
            format!(
                "`remote.allow` names {}: whoever may write the shadow {} decides what the robot obeys, with or without \
                 `limits` and `on_silence`",
                obeyed.join(", "),
                self.shadow
            )
        })
    }
}

impl Command {
    fn without_age(&self) -> Option<String> {
        self.max_age.is_none().then(|| {
            format!(
                "The command {} has no `max_age`: one that was on its way for minutes is obeyed; with payload = \"envelope\" \
                 and max_age = \"2 s\" it is refused",
                self.mqtt
            )
        })
    }

    fn without_bounds(&self) -> Option<String> {
        if !MOVING.contains(&self.type_name.as_str()) {
            return None;
        }
        let (lacks, risk) = match (self.limits.is_empty(), self.on_silence.is_none()) {
            (false, false) => return None,
            (true, true) => {
                ("neither `limits` nor `on_silence`", "of any size, and without an end when the link is lost")
            }
            (true, false) => ("no `limits`", "of any size"),
            (false, true) => ("no `on_silence`", "without an end when the link is lost"),
        };
        Some(format!("The command {} moves the robot ({}) and has {lacks}: {risk}", self.mqtt, self.type_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_file;

    fn cautions(command: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let aws = "[aws]\nendpoint = \"localhost\"\nthing = \"r\"\ncertificate = \"-\"\nprivate_key = \"-\"\n";
        std::fs::write(&path, format!("{aws}[[commands]]\nmqtt = \"c\"\nros = \"/c\"\n{command}\n")).unwrap();
        load_file(&path, []).unwrap_or_else(|problems| panic!("{problems}")).settings.cautions()
    }

    #[test]
    fn a_command_is_of_any_age_without_max_age() {
        let [caution] = &cautions("type = \"std_msgs/msg/Empty\"")[..] else { panic!("one") };
        assert!(caution.starts_with("The command c has no `max_age`"), "{caution}");
        assert!(cautions("type = \"std_msgs/msg/Empty\"\npayload = \"envelope\"\nmax_age = \"1 s\"").is_empty());
    }

    /// Who sends telemetry by the cloud's word moves nothing; who obeys it does.
    #[test]
    fn what_the_cloud_may_add_is_without_bounds() {
        let with = |allow: &str| {
            let of_command = "type = \"std_msgs/msg/Empty\"\npayload = \"envelope\"\nmax_age = \"1 s\"\n";
            cautions(&format!("{of_command}[remote]\nshadow = \"iot-bridge\"\nallow = {allow}"))
        };
        assert!(with("[\"topics\", \"shadows\"]").is_empty());
        let [caution] = &with("[\"actions\", \"topics\", \"commands\"]")[..] else { panic!("one") };
        let words = "`remote.allow` names commands, actions: whoever may write the shadow iot-bridge decides";
        assert!(caution.starts_with(words), "{caution}");
    }

    #[test]
    fn what_moves_the_robot_needs_limits_and_an_end() {
        const LIMITS: &str = "limits = { \"linear.x\" = [-1, 1] }\n";
        const END: &str = "on_silence = { after = \"1 s\" }\n";
        for (keys, words) in [
            ("", "neither `limits` nor `on_silence`"),
            (LIMITS, "has no `on_silence`"),
            (END, "has no `limits`"),
            ("limits = {}\n", "neither `limits`"),
        ] {
            for type_name in MOVING {
                let keys = format!("type = \"{type_name}\"\npayload = \"envelope\"\nmax_age = \"1 s\"\n{keys}");
                let [caution] = &cautions(&keys)[..] else { panic!("{keys}") };
                assert!(caution.contains(words) && caution.contains(type_name), "{keys}: {caution}");
            }
        }
        let all = format!("type = \"{}\"\npayload = \"envelope\"\nmax_age = \"1 s\"\n{LIMITS}{END}", MOVING[5]);
        assert!(cautions(&all).is_empty());
    }
}
