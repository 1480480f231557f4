//! `iot-bridge mock`: telemetry without a robot, as the AWS sample's node publishes it.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use r2r::QosProfile;
use r2r::std_msgs::msg::String as RosString;
use rand::Rng;

use super::fail;
use crate::ros::Node;

/// Node name and queue depth of the sample's publisher.
const NODE: &str = "mock_telemetry_publisher";
const DEPTH: usize = 10;

pub fn execute(rate: f64, topic: &str) -> ExitCode {
    // r2r panics where ROS can't be started; a node of our own tells what is wrong.
    if let Err(error) = Node::create(NODE, "") {
        return fail(&error);
    }
    match publish(rate, topic) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn publish(rate: f64, topic: &str) -> Result<(), r2r::Error> {
    let context = r2r::Context::create()?;
    let mut node = r2r::Node::create(context, NODE, "")?;
    let publisher = node.create_publisher::<RosString>(topic, QosProfile::default().keep_last(DEPTH))?;
    eprintln!("Publishing mock telemetry on {topic} at {rate} Hz. Ctrl-C ends it.");
    let period = Duration::from_secs_f64(1.0 / rate);
    let mut next = Instant::now();
    loop {
        publisher.publish(&RosString { data: telemetry(&mut rand::thread_rng()) })?;
        next += period;
        // After a stop (SIGSTOP, a suspended machine) the missed messages are not made up for.
        next = next.max(Instant::now() - period);
        thread::sleep(next.saturating_duration_since(Instant::now()));
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
