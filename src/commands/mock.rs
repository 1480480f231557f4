//! `iot-bridge mock`: telemetry without a robot, as the AWS sample's node publishes it.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use r2r::QosProfile;
use r2r::std_msgs::msg::String as RosString;
use rand::Rng;
use tokio::time::interval;

use super::{asked_to_stop, fail};
use crate::ros::Node;

/// Node name and queue depth of the sample's publisher.
const NODE: &str = "mock_telemetry_publisher";
const DEPTH: usize = 10;

pub fn execute(rate: f64, topic: &str) -> ExitCode {
    if let Err(exit) = super::distribution::expect_the_sourced() {
        return exit;
    }
    // Where ROS can't be started, or can't write its log, r2r panics or worse; found out before, both have words.
    if let Err(error) = Node::create(NODE, "") {
        return fail(&error);
    }
    if let Err(error) = log_directory() {
        return fail(&format!("{error:#}. Set ROS_LOG_DIR to a directory that can be written"));
    }
    match publish(rate, topic) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Makes the directory that ROS logs to, as rcl looks for it: `ROS_LOG_DIR`, else `log` in `ROS_HOME` or `~/.ros`.
fn log_directory() -> anyhow::Result<()> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("ROS_LOG_DIR")
        .or_else(|| set("ROS_HOME").map(|home| home.join("log")))
        .or_else(|| set("HOME").map(|home| home.join(".ros/log")))
        .context("ROS has no place for its log, since HOME is not set")?;
    let trouble = || format!("ROS can't write its log to {}", directory.display());
    std::fs::create_dir_all(&directory).with_context(trouble)?;
    let probe = directory.join(format!(".{NODE}-{}", std::process::id()));
    std::fs::write(&probe, "").with_context(trouble)?;
    std::fs::remove_file(&probe).with_context(trouble)
}

#[tokio::main(flavor = "current_thread")]
async fn publish(rate: f64, topic: &str) -> anyhow::Result<()> {
    let context = r2r::Context::create()?;
    let mut node = r2r::Node::create(context, NODE, "")?;
    let publisher = node.create_publisher::<RosString>(topic, QosProfile::default().keep_last(DEPTH))?;
    eprintln!("Publishing mock telemetry on {topic} at {rate} Hz. Ctrl-C ends it.");
    let mut stop = pin!(asked_to_stop()?);
    // Faster than the timer's millisecond, ticks come in bursts.
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => return Ok(()),
            _ = ticks.tick() => publisher.publish(&RosString { data: telemetry(&mut rand::thread_rng()) })?,
        }
    }
}

/// A battery between 85 and 90 per cent and a velocity between 3 and 4 m/s, with two decimals.
fn telemetry(random: &mut impl Rng) -> String {
    let battery: f64 = random.gen_range(85.0..90.0);
    let velocity: f64 = random.gen_range(3.0..4.0);
    format!(r#"{{"battery": {battery:.2}, "velocity": {velocity:.2}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_is_json_with_two_decimals_in_the_sample_s_ranges() {
        for _ in 0..1000 {
            let text = telemetry(&mut rand::thread_rng());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!((85.0..=90.0).contains(&value["battery"].as_f64().unwrap()), "{text}");
            assert!((3.0..=4.0).contains(&value["velocity"].as_f64().unwrap()), "{text}");
            let decimals: Vec<usize> = text.split(['.']).skip(1).map(|rest| rest.find([',', '}']).unwrap()).collect();
            assert_eq!(decimals, [2, 2], "{text}");
        }
    }
}
