//! Services of robots, called from the cloud: rclpy's servers, a real broker.

use std::collections::HashMap;

use crate::support::cloud::Cloud;
use crate::support::program::Program;
use crate::support::rclpy::Rclpy;
use crate::support::stage::Stage;
use iot_bridge::health::report::Request;
use serde_json::{Value, json};

fn entry(service: &str, type_name: &str, timeout: &str) -> String {
    format!(
        "[[services]]\nmqtt = \"robots/{{thing}}{service}\"\nservice = \"{service}\"\ntype = \"{type_name}\"\ntimeout = \"{timeout}\"\n"
    )
}

/// What the bridge is asked by, and answers to.
struct Asked {
    stage: Stage,
    cloud: Cloud,
    program: Program,
}

impl Asked {
    async fn with(services: &[(&str, &str, &str)]) -> Asked {
        let stage = Stage::set().await;
        let entries: String = services.iter().map(|(service, kind, timeout)| entry(service, kind, timeout)).collect();
        let program = Program::start(&stage.configure(&entries));
        let cloud = Cloud::connect(&stage.authority, stage.mosquitto.port()).await;
        Asked { stage, cloud, program }
    }

    async fn ask(&self, service: &str, request: &str) {
        self.cloud.ask(&format!("robots/robot1{service}"), request).await;
    }

    /// Waits until `service` is subscribed to and served.
    async fn is_served(&mut self, service: &str, request: &str) {
        let (topic, reply) = (format!("robots/robot1{service}"), format!("robots/robot1{service}/reply"));
        let is_response = |of: &str, answer: &Value| of == reply && answer.get("response").is_some();
        self.cloud.ask_until(&topic, request, &mut self.stage.observer, is_response).await;
        // What was asked until then may still be answered.
        self.ask(service, r#"{"id":"last","request":7}"#).await;
        while self.answer(service).await["id"] != "last" {}
    }

    /// The next reply of `service`.
    async fn answer(&mut self, service: &str) -> Value {
        loop {
            let (topic, payload) = self.stage.observer.next().await;
            if topic == format!("robots/robot1{service}/reply") {
                return serde_json::from_slice(&payload).unwrap();
            }
        }
    }
}

/// The cloud calls services with flat, nested and sequence fields, sets and gets a parameter, has twenty calls under way at a time,
/// and hears of each request why it has no response: the server is slow, has died meanwhile, is not there, the type is not
/// installed, the request is none, or the response is larger than a reply may be.
#[tokio::test(flavor = "multi_thread")]
async fn services_are_called_and_every_request_is_answered() {
    let mut asked = Asked::with(&[
        ("/set_bool", "std_srvs/srv/SetBool", "30 s"),
        ("/arrays", "test_msgs/srv/Arrays", "30 s"),
        ("/servers/set_parameters", "rcl_interfaces/srv/SetParameters", "30 s"),
        ("/servers/get_parameters", "rcl_interfaces/srv/GetParameters", "30 s"),
        ("/gather", "std_srvs/srv/SetBool", "30 s"),
        ("/never", "std_srvs/srv/Trigger", "300 ms"),
        ("/vanish", "std_srvs/srv/Trigger", "500 ms"),
        ("/large", "std_srvs/srv/Trigger", "30 s"),
        ("/absent", "std_srvs/srv/Trigger", "30 s"),
        ("/unknown", "no_such_msgs/srv/Thing", "30 s"),
    ])
    .await;
    let _servers = Rclpy::start("service_servers.py", &[]);
    asked.is_served("/set_bool", r#"{"request":{}}"#).await;
    asked.is_served("/servers/get_parameters", r#"{"request":{"names":["max_speed"]}}"#).await;
    asked.ask("/set_bool", r#"{"id":1,"request":{"data":true}}"#).await;
    assert_eq!(asked.answer("/set_bool").await, json!({"id":1,"response":{"success":true,"message":"on"}}));

    // The same request is not called again, as a broker may bring it twice.
    asked.ask("/set_bool", r#"{"id":1,"request":{"data":true}}"#).await;
    let answered = "this request was answered in the last ten minutes; take another `id` to call again";
    assert_eq!(asked.answer("/set_bool").await, json!({"id":1,"error":"malformed","detail":answered}));

    let arrays = r#"{"id":"a","request":{"string_values":["a","b","ü"],"defaults_values":[{},{"int8_value":7},{}],
        "float32_values":[0.5,null,-1],"bool_values":[true,false,true]}}"#;
    asked.ask("/arrays", arrays).await;
    let response = &asked.answer("/arrays").await["response"];
    assert_eq!(response["string_values"], json!(["A", "B", "Ü"]));
    assert_eq!(response["defaults_values"][1]["int8_value"], 7);
    assert_eq!(response["defaults_values"][2]["int8_value"], -50, "the definition's default");
    assert_eq!(response["float32_values"], json!([0.5, null, -1.0]));
    assert_eq!(response["int8_values_default"], json!([0, 127, -128]));

    let set = r#"{"id":"p-1","request":{"parameters":[{"name":"max_speed","value":{"type":3,"double_value":0.4}}]}}"#;
    asked.ask("/servers/set_parameters", set).await;
    let set = asked.answer("/servers/set_parameters").await;
    assert_eq!(set, json!({"id":"p-1","response":{"results":[{"successful":true,"reason":""}]}}));
    asked.ask("/servers/get_parameters", r#"{"id":"p-2","request":{"names":["max_speed"]}}"#).await;
    let value = &asked.answer("/servers/get_parameters").await["response"]["values"][0];
    assert_eq!((&value["type"], &value["double_value"]), (&json!(3), &json!(0.4)));

    for number in 0..20 {
        let request = format!(r#"{{"id":{number},"request":{{"data":{}}}}}"#, number % 3 == 0);
        asked.ask("/gather", &request).await;
        if number == 0 {
            // As a broker may bring it. If it were called, the server would gather twenty before the last one.
            asked.ask("/gather", &request).await;
        }
    }
    let mut gathered = HashMap::new();
    while gathered.len() < 20 {
        let answer = asked.answer("/gather").await;
        let id = answer["id"].as_u64().unwrap();
        assert_eq!(answer["response"]["success"], id % 3 == 0, "{answer}");
        assert!(gathered.insert(id, answer).is_none(), "a second answer");
    }
    let of_gather = |request: &Request| request.ros == "/gather";
    let gather = asked.program.report().requests.into_iter().find(of_gather).unwrap();
    assert_eq!((gather.outcomes["response"], gather.outcomes["duplicate"]), (20, 1));

    for (service, request, answer) in [
        (
            "/never",
            r#"{"id":"n","request":{}}"#,
            ("timeout", "no response within 300ms; whether it was served is not known"),
        ),
        ("/absent", r#"{"id":"n","request":{}}"#, ("unavailable", "there is no server of /absent on ROS")),
        (
            "/set_bool",
            r#"{"id":"n","request":{"date":true}}"#,
            ("malformed", "field date: std_srvs/srv/SetBool_Request has no such field"),
        ),
        ("/set_bool", r#"{"id":"n"}"#, ("malformed", "`request` is missing, which holds the service's request")),
        (
            "/large",
            r#"{"id":"n","request":{}}"#,
            ("unavailable", "the robot has answered, with more than the 131072 bytes that a reply may have"),
        ),
        (
            "/vanish",
            r#"{"id":"n","request":{}}"#,
            ("timeout", "no response within 500ms; whether it was served is not known"),
        ),
    ] {
        asked.ask(service, request).await;
        let (error, detail) = answer;
        assert_eq!(asked.answer(service).await, json!({"id":"n","error":error,"detail":detail}), "{service} {request}");
    }
    asked.ask("/unknown", r#"{"id":"n","request":{}}"#).await;
    let answer = asked.answer("/unknown").await;
    assert_eq!((&answer["id"], &answer["error"]), (&json!("n"), &json!("unavailable")));
    assert!(
        answer["detail"].as_str().unwrap().contains("package `no_such_msgs` is not in the ROS environment"),
        "{answer}"
    );
    assert_eq!(asked.program.terminate().code(), Some(0));
}
