//! What of a message travels: `fields`, `exclude`, `arrays` and `digits`, as the broker sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::aws_broker::Limits;
use crate::support::program::{Program, command};
use crate::support::rclpy::Rclpy;
use crate::support::stage::Stage;
use iot_bridge::health::report::State;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// One ROS topic under many keys.
const TOPICS: &str = r#"
[[topics]]
ros = "/scan"
mqtt = "fields"
fields = ["ranges[1]", "header.stamp.sec", "range_max"]
[[topics]]
ros = "/scan"
mqtt = "exclude"
fields = ["*"]
exclude = ["*.stamp", "ranges", "angle_increment", "intensities", "range_min"]
[[topics]]
ros = "/scan"
mqtt = "truncate"
fields = ["ranges", "intensities"]
arrays = { max = 2 }
[[topics]]
ros = "/scan"
mqtt = "omit"
fields = ["ranges", "header.frame_id", "intensities"]
arrays = { fields = { ranges = { max = 3, over = "omit" } } }
[[topics]]
ros = "/scan"
mqtt = "summary"
fields = ["ranges"]
arrays = { max = 3, over = "summary" }
digits = 3
[[topics]]
ros = "/scan"
mqtt = "drop"
payload = "envelope"
fields = ["header.stamp.sec"]
arrays = { fields = { ranges = { max = 4, over = "drop" } } }
[[topics]]
ros = "/scan"
mqtt = "dropped"
payload = "envelope"
fields = ["header.stamp.sec", "ranges"]
arrays = { fields = { ranges = { max = 4, over = "drop" } } }
[[topics]]
ros = "/scan"
mqtt = "digits"
fields = ["angle_min", "angle_max", "range_max", "header.stamp.sec"]
digits = 6
[[topics]]
ros = "/scan"
mqtt = "wrong"
fields = ["header", "range"]
"#;

/// Publishes four scans on /scan, of 3, 5, 6 and 4 ranges, once all entries but the wrong one are matched.
fn laser(entries: usize) -> Rclpy {
    let program = format!(
        "
import time, rclpy
from sensor_msgs.msg import LaserScan
rclpy.init()
node = rclpy.create_node('laser')
publisher = node.create_publisher(LaserScan, '/scan', 10)
while publisher.get_subscription_count() < {entries}:
    time.sleep(0.01)
for number, count in enumerate([3, 5, 6, 4]):
    scan = LaserScan(angle_min=-3.1415927, angle_max=0.1, range_max=1234567.0)
    scan.header.stamp.sec, scan.header.frame_id = 1000000000 + number, 'laser'
    scan.ranges = [1.0, float('nan'), 2.5, 0.3, 1e6, 7.0][:count]
    publisher.publish(scan)
time.sleep(600)
"
    );
    Rclpy::run(&program)
}

/// Each key does what the documentation says, to the byte; a message that `arrays` drops is shaped and leaves no gap in `seq`;
/// and a path that leads nowhere keeps its own entry from being forwarded, with near names in log and status.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_sees_what_is_selected() {
    let (stage, mut broker) = Stage::set_with_aws(Limits::documented()).await;
    let mut program = Program::start(&stage.configure(TOPICS));
    let _laser = laser(9);
    let said = "it is not forwarded: `range` in `fields` matches nothing in sensor_msgs/msg/LaserScan: \
                sensor_msgs/msg/LaserScan has no field `range`; did you mean `ranges`?";
    let mut arrived: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while arrived.values().map(Vec::len).sum::<usize>() < 4 * 7 + 2 {
        let (topic, payload) = tokio::time::timeout(PATIENCE, broker.messages.recv()).await.unwrap().unwrap();
        arrived.entry(topic).or_default().push(String::from_utf8(payload.to_vec()).unwrap());
    }
    let of = |topic: &str| arrived[topic].iter().map(String::as_str).collect::<Vec<_>>();
    let range =
        |number| format!(r#"{{"header":{{"stamp":{{"sec":{number}}}}},"range_max":1234567.0,"ranges":[null]}}"#);
    assert_eq!(of("fields"), [1_000_000_000, 1_000_000_001, 1_000_000_002, 1_000_000_003].map(range));
    let excluded = concat!(
        r#"{"header":{"frame_id":"laser"},"angle_min":-3.1415927,"angle_max":0.1,"time_increment":0.0,"#,
        r#""scan_time":0.0,"range_max":1234567.0}"#
    );
    assert_eq!(of("exclude"), [excluded; 4]);
    assert_eq!(of("truncate"), [r#"{"ranges":[1.0,null],"intensities":[]}"#; 4]);
    let kept = r#"{"header":{"frame_id":"laser"},"ranges":[1.0,null,2.5],"intensities":[]}"#;
    let omitted = r#"{"header":{"frame_id":"laser"},"intensities":[]}"#;
    assert_eq!(of("omit"), [kept, omitted, omitted, omitted]);
    assert_eq!(
        of("summary"),
        [
            r#"{"ranges":[1.0,null,2.5]}"#,
            r#"{"ranges":{"count":5,"min":0.3,"max":1000000.0,"mean":250000.0}}"#,
            r#"{"ranges":{"count":6,"min":0.3,"max":1000000.0,"mean":200000.0}}"#,
            r#"{"ranges":{"count":4,"min":0.3,"max":2.5,"mean":1.27}}"#,
        ]
    );
    let rounded = |sec: u64| {
        format!(
            r#"{{"header":{{"stamp":{{"sec":{sec}}}}},"angle_min":-3.14159,"angle_max":0.1,"range_max":1234570.0}}"#
        )
    };
    assert_eq!(of("digits"), [1_000_000_000, 1_000_000_001, 1_000_000_002, 1_000_000_003].map(rounded));

    // A limit of what is not selected has nothing to do.
    assert_eq!(of("drop").len(), 4);
    let envelopes: Vec<Value> = of("dropped").into_iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let seconds: Vec<&Value> = envelopes.iter().map(|envelope| &envelope["msg"]["header"]["stamp"]["sec"]).collect();
    assert_eq!(seconds, [&json!(1_000_000_000), &json!(1_000_000_003)]);
    assert_eq!(envelopes[1]["seq"].as_u64(), envelopes[0]["seq"].as_u64().map(|seq| seq + 1));
    let report = program.await_report(|report| report.topics.iter().all(|topic| topic.received == 4));
    let dropped = report.topics.iter().find(|topic| topic.mqtt == "dropped").unwrap();
    assert_eq!((dropped.shaped["arrays"], dropped.shaped_in_all(), dropped.dropped_in_all()), (2, 2, 0));
    let wrong = report.topics.iter().find(|topic| topic.mqtt == "wrong").unwrap();
    assert!(matches!(&wrong.state, State::Trouble { trouble } if trouble == said), "{wrong:?}");
    let trouble = program.await_log("Topic /scan is not forwarded");
    assert!(trouble.contains("ERROR") && trouble.contains("did you mean `ranges`?"), "{trouble}");
    assert_eq!(program.terminate().code(), Some(0));
    assert_eq!(broker.record().violations(), []);
}

/// `check` compares paths with the type where it is given and ROS is sourced, and says where it could not.
#[tokio::test]
async fn check_knows_the_types() {
    let stage = Stage::set().await;
    let odometry = "[[topics]]\nros = \"/odom\"\ntype = \"nav_msgs/msg/Odometry\"\n";
    let right = "fields = [\"pose.pose.position\"]\nexclude = [\"*.covariance\"]\ndigits = 6\n\
                 arrays = { max = 3, over = \"omit\", fields = { \"pose.covariance\" = { max = 36 } } }\n";
    let check = |topic: &str, sourced: bool| {
        let path = stage.configure(topic);
        let mut checking = command();
        checking.args(["check", "--config", path.to_str().unwrap()]);
        if !sourced {
            checking.env_remove("AMENT_PREFIX_PATH");
        }
        let output = checking.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, printed, problems) = check(&format!("{odometry}{right}"), true);
    assert_eq!((status, problems.as_str()), (Some(0), ""));
    // What it prints reads back as the same.
    let again = stage.directory.path().join("again.toml");
    std::fs::write(&again, &printed).unwrap();
    let output = command().args(["check", "--config", again.to_str().unwrap()]).output().unwrap();
    let settings = |printed: &str| printed.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(settings(&String::from_utf8(output.stdout).unwrap()), settings(&printed));

    let wrong = "fields = [\"pose.pose.position\", \"pose.pose.orientatoin.w\"]\nexclude = [\"covariance\"]\n\
                 arrays = { fields = { \"pose.pose\" = { max = 36 } } }\non_change = { fields = [\"twits\"] }\n";
    let (status, _, problems) = check(&format!("{odometry}{wrong}"), true);
    assert_eq!(status, Some(78));
    for words in [
        ": topics[0].fields[1]\n    found \"pose.pose.orientatoin.w\"; it leads nowhere in \
         nav_msgs/msg/Odometry: geometry_msgs/msg/Pose has no field `orientatoin`; did you mean `orientation`?\n",
        "topics[0].exclude[0]\n    found \"covariance\"; it leads nowhere in nav_msgs/msg/Odometry: ",
        "topics[0].arrays.fields.\"pose.pose\"\n    found \"pose.pose\"; it leads nowhere in nav_msgs/msg/Odometry: `pose` is \
         no array\n",
        "topics[0].on_change.fields[0]\n    found \"twits\"; it leads nowhere in nav_msgs/msg/Odometry: ",
        "\n4 problems to mend.\n",
    ] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    let lines = problems.lines().filter(|line| line.contains("/config.toml:")).count();
    assert_eq!(lines, 4, "each problem has its line: {problems}");
    let (status, _, problems) = check(&format!("{odometry}fields = [\"pose\"]\nexclude = [\"*.*\"]\n"), true);
    assert_eq!(status, Some(78));
    assert!(problems.contains("`fields` and `exclude` leave nothing of nav_msgs/msg/Odometry"), "{problems}");

    let unknown = "The paths of /odom were not compared with nav_msgs/msg/Odometry: no ROS is sourced.\n";
    let (status, printed, _) = check(&format!("{odometry}{wrong}"), false);
    assert!(status == Some(0) && printed.contains(unknown), "{printed}");
    let (status, printed, _) = check("[[topics]]\nros = \"/a\"\ntype = \"my_msgs/msg/A\"\nfields = [\"a\"]\n", true);
    assert!(
        status == Some(0) && printed.contains("were not compared with my_msgs/msg/A: package `my_msgs`"),
        "{printed}"
    );
}
