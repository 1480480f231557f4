//! Device shadows, through a broker that behaves as AWS IoT Core does, to real nodes of ROS.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::link::Link;
use crate::support::program::{PATIENCE, Program};
use crate::support::stage::Stage;

const PAGE: &str = include_str!("../docs/shadows.md");

const QUICK: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n";

struct Scene {
    stage: Stage,
    broker: AwsBroker,
}

impl Scene {
    async fn set() -> Scene {
        let mut stage = Stage::set().await;
        let broker = AwsBroker::start(&stage.authority, Limits::documented()).await;
        stage.link = Link::open(broker.port).await;
        Scene { stage, broker }
    }

    fn configure(&self, shadows: &str) -> PathBuf {
        self.stage.configure(&format!("{QUICK}{shadows}"))
    }

    /// Waits until the shadow called `name` is so.
    fn await_shadow(&self, name: &str, desired: &Value, reported: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shadow = self.broker.shadow("robot1", name);
            if shadow["desired"] == *desired && shadow["reported"] == *reported {
                return;
            }
            assert!(Instant::now() < deadline, "the shadow is {shadow}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process that is killed when dropped.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stands on the page in the block of this language.
fn block(language: &str) -> &'static str {
    PAGE.split_once(&format!("```{language}\n")).unwrap().1.split_once("```").unwrap().0
}

/// docs/shadows.md's example: the cloud wishes a digit, the page's node of rclpy turns its dial there and reports where it is, and
/// the wish is cleared. What was wished before the node was there waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_an_example_that_works() {
    let scene = Scene::set().await;
    let (_, shadows) = block("toml").split_once("\n\n").unwrap();
    let mut program = Program::start(&scene.configure(shadows));
    program.await_note("STATUS=Connected.");
    scene.broker.update_shadow("robot1", "dial", json!({"desired": {"digit": 42}}));
    program.await_report(|report| report.requests[0].shadow.as_ref().is_some_and(|shadow| shadow.delta.is_some()));
    assert_eq!(scene.broker.shadow("robot1", "dial")["desired"], json!({"digit": 42}), "it was cleared unseen");

    let _dial = Part(Command::new("python3").args(["-c", block("python")]).stdin(Stdio::null()).spawn().unwrap());
    scene.await_shadow("dial", &json!({}), &json!({"digit": 42}));
    scene.broker.update_shadow("robot1", "dial", json!({"desired": {"digit": 41}}));
    scene.await_shadow("dial", &json!({}), &json!({"digit": 41}));
    assert_eq!(program.report().requests[0].outcomes["delivered"], 2);
    program.terminate();
}
