//! Commands to a robot whose broker, or whose bridge, goes and comes again.

use std::time::{Duration, Instant};

use iot_bridge::health::report::Request;

use crate::support::controller::Controller;
use crate::support::observer::Observer;
use crate::support::program::{PATIENCE, Program};
use crate::support::stage::Stage;

const TOPIC: &str = "robots/robot1/cmd_vel";
const AFTER: Duration = Duration::from_millis(400);

/// Waits until a node takes commands and the broker passes them on: what is no command then tells, and reaches nobody.
async fn await_way(program: &Program, observer: &Observer) {
    let refused = |request: &Request| request.outcomes["malformed"];
    let before = program.await_report(|report| report.requests[0].peers == Some(1)).requests.remove(0);
    let deadline = Instant::now() + PATIENCE;
    while refused(&program.report().requests[0]) == refused(&before) {
        assert!(Instant::now() < deadline, "no command comes");
        observer.publish(TOPIC, "?").await;
    }
}

/// Has the robot drive; returns when the robot got that.
async fn drive(observer: &Observer, controller: &Controller, speed: f64) -> Duration {
    observer.publish(TOPIC, &format!(r#"{{"linear":{{"x":{speed}}}}}"#)).await;
    let heard = controller.next();
    assert_eq!(heard.message["linear"]["x"], speed, "{heard:?}");
    heard.at
}

/// Waits until the robot is stopped; returns when it got that.
fn stop(controller: &Controller) -> Duration {
    let heard = controller.next();
    assert_eq!(heard.message["angular"]["z"], 9.0, "{heard:?}");
    heard.at
}

/// A broker that dies does not keep the robot from being stopped in time, once. A bridge that starts again publishes nothing of
/// before, nor what was sent meanwhile. Each time, commands reach the robot again.
#[tokio::test(flavor = "multi_thread")]
async fn a_robot_is_stopped_without_a_broker_and_nothing_old_comes_after_a_start() {
    let mut stage = Stage::set().await;
    let config = stage.configure(
        "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n\
         [[commands]]\nmqtt = \"robots/{thing}/cmd_vel\"\nros = \"/cmd_vel\"\ntype = \"geometry_msgs/msg/Twist\"\nqos = 1\n\
         on_silence = { after = \"400 ms\", message = { angular = { z = 9 } } }",
    );
    let mut program = Program::start(&config);
    let controller = Controller::start("/cmd_vel", "geometry_msgs/msg/Twist");
    await_way(&program, &stage.observer).await;

    let last = drive(&stage.observer, &controller, 0.2).await;
    stage.mosquitto.kill();
    let silence = stop(&controller) - last;
    println!("stopped {silence:?} after the last command, without a broker");
    // The controller may hear the last command late on a busy machine; exact times are held by unit tests.
    assert!(silence >= AFTER / 2 && silence < AFTER * 4, "{silence:?}");
    program.await_note("STATUS=Not connected");
    stage.mosquitto.start_again();
    stage.observer.subscribe(stage.mosquitto.port()).await;
    program.await_note("STATUS=Connected.");
    await_way(&program, &stage.observer).await;
    assert_eq!(controller.rest(), [], "once");

    drive(&stage.observer, &controller, 0.3).await;
    assert_eq!(program.terminate().code(), Some(0));
    stop(&controller);
    stage.observer.publish(TOPIC, r#"{"linear":{"x":0.4}}"#).await;
    let mut program = Program::start(&config);
    await_way(&program, &stage.observer).await;
    assert_eq!(controller.rest(), [], "nothing old");
    let outcomes = program.report().requests.remove(0).outcomes;
    assert!(outcomes.iter().all(|(outcome, count)| outcome == "malformed" || *count == 0), "nothing old: {outcomes:?}");
    drive(&stage.observer, &controller, 0.5).await;
    stop(&controller);
    assert_eq!(program.terminate().code(), Some(0));
    assert_eq!(controller.rest(), []);
}
