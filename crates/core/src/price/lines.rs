//! An entry of the configuration, to paste.

use serde::Serialize;
use toml_edit::ser::{Error, ValueSerializer};

use crate::config;

/// The `[[topics]]` entry that says what `topic` does, with the keys alone that differ from `usual`, which is what an entry
/// means that has nothing but `ros`.
///
/// # Errors
/// The serializer's own; settings have none.
pub fn lines(topic: &config::Topic, usual: &config::Topic) -> Result<String, Error> {
    let [own, usual] = [topic.serialize(ValueSerializer::new())?, usual.serialize(ValueSerializer::new())?];
    let mut lines = "[[topics]]\n".to_owned();
    for (key, value) in own.as_inline_table().into_iter().flatten() {
        let written = |value: &toml_edit::Value| value.to_string().trim().to_owned();
        let same = usual.as_inline_table().and_then(|usual| usual.get(key));
        if key == "ros" || same.map(written) != Some(written(value)) {
            lines.push_str(&format!("{key} = {}\n", written(value)));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Batch, Encoding, default_topic};

    #[test]
    fn only_what_differs_is_written() {
        let usual = default_topic("robot1", "/odom").unwrap();
        assert_eq!(lines(&usual, &usual).unwrap(), "[[topics]]\nros = \"/odom\"\n");
        let mut topic = usual.clone();
        topic.batch = Some(Batch { max: 7, linger: Duration::from_secs(1) });
        topic.compression = Some(Encoding::Zstd);
        let written = "[[topics]]\nros = \"/odom\"\nbatch = { max = 7, linger = \"1 s\" }\ncompression = \"zstd\"\n";
        assert_eq!(lines(&topic, &usual).unwrap(), written);
    }
}
