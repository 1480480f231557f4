//! What `check` says of a configuration that comes from the cloud: which sections are not those of the files, in which version,
//! and how it stands with it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::program::command;
use crate::support::stage::Stage;
use iot_bridge_core::remote::store::{Kept, Trying};
use iot_bridge_core::remote::{By, Outcome, Store, Verdict, Wish};

const CONFIG: &str = r#"
[[topics]]
ros = "/odom"
type = "nav_msgs/msg/Odometry"
fields = ["pose"]
[remote]
shadow = "iot-bridge"
"#;

/// What `check` prints of `config`, whose state directory is that of `stage`: as JSON, and as text.
fn check(stage: &Stage, config: &str, status: i32) -> (Value, String) {
    let path = stage.configure(config);
    let printed = |more: &[&str]| {
        let output = command().args(["check", "--config", path.to_str().unwrap()]).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    (serde_json::from_str(&printed(&["--json"])).unwrap(), printed(&[]))
}

fn wish(version: &str, sections: Value) -> Wish {
    let Value::Object(sections) = sections else { panic!("an object: {sections}") };
    Wish { version: version.to_owned(), sections, by: By::Shadow }
}

fn keep(directory: &Path, kept: Kept) {
    Store::new(directory.to_owned()).keep(&Kept { shadow: "iot-bridge".into(), ..kept }).unwrap();
}

/// The files' alone, on trial, in force, refused: each is told, with what the files say in its place, and the configuration that
/// is printed is the one in force. What does not fit the files, or can't be read, is a warning.
#[tokio::test]
async fn what_comes_from_the_cloud_is_told() {
    let stage = Stage::set().await;
    let state = stage.queue().parent().unwrap().to_owned();

    let (local, text) = check(&stage, CONFIG, 0);
    let expected =
        json!({ "shadow": "iot-bridge", "allow": ["topics"], "state": "local", "sections": [], "problems": [] });
    assert_eq!(local["remote"], expected);
    let digest = local["digest"].as_str().unwrap();
    assert!(text.contains("# All of it is from files. The shadow iot-bridge may set topics.\n"), "{text}");
    assert!(text.contains(&format!("# Its digest, as it is reported, is {digest}.\n")), "{text}");

    let scan = wish("7", json!({ "topics": [{ "ros": "/scan", "rate": "1 Hz" }] }));
    keep(&state, Kept { confirmed: Some(scan.clone()), ..Kept::default() });
    let (told, text) = check(&stage, CONFIG, 0);
    let file = stage.directory.path().join("config.toml");
    let expected = json!({
        "shadow": "iot-bridge", "allow": ["topics"], "state": "applied", "version": "7", "problems": [],
        "sections": [{ "section": "topics", "instead_of": [file] }],
    });
    assert_eq!(told["remote"], expected);
    assert_eq!(
        (told["settings"]["topics"].as_array().unwrap().len(), &told["settings"]["topics"][0]["ros"]),
        (1, &json!("/scan"))
    );
    assert_ne!(told["digest"], local["digest"]);
    let line = format!("# from the shadow iot-bridge, version 7: topics, not from {}\n", file.display());
    assert!(text.contains(&line), "{text}");
    assert!(text.contains("# What the shadow iot-bridge, version 7 says is in force and confirmed.\n"), "{text}");
    assert!(text.contains("ros = \"/scan\"") && !text.contains("ros = \"/odom\""), "{text}");

    let trial = Trying { wish: wish("8", json!({ "topics": [] })), attempts: 1 };
    let problems = vec!["topics[0].qos: found 2; allowed is a whole number from 0 to 1.".to_owned()];
    let refused = Outcome { by: By::Job("j-1".into()), version: Some("9".into()), state: Verdict::Rejected, problems };
    keep(&state, Kept { confirmed: Some(scan.clone()), trial: Some(trial), refused: Some(refused), ..Kept::default() });
    let (told, text) = check(&stage, CONFIG, 0);
    assert_eq!((&told["remote"]["state"], &told["remote"]["version"]), (&json!("trial"), &json!("8")));
    assert_eq!(told["remote"]["refused"]["state"], "rejected");
    assert!(text.contains("version 8 says is on trial: unless it is confirmed, what was in force before"), "{text}");
    let last = "# What the job j-1, version 9, said last was rejected, 1 problem:\n#   topics[0].qos: found 2; ";
    assert!(text.contains(last), "{text}");

    // Paths of fields are held against the types, wherever they come from.
    let wrong = json!({ "topics": [{ "ros": "/odom", "type": "nav_msgs/msg/Odometry", "fields": ["poze"] }] });
    keep(&state, Kept { confirmed: Some(wish("10", wrong)), ..Kept::default() });
    let (told, text) = check(&stage, &CONFIG.replace("[\"pose\"]", "[\"pos\"]"), 78);
    let places: Vec<_> =
        told["problems"].as_array().unwrap().iter().map(|p| (p["source"].clone(), p["key"].clone())).collect();
    let expected = [
        (json!(file), json!("topics[0].fields[0]")),
        (json!("the shadow iot-bridge, version 10"), json!("topics[0].fields[0]")),
    ];
    assert_eq!(places, expected, "{text}");

    // What was taken and is not allowed any more; what belongs to another shadow; a damaged file.
    keep(&state, Kept { confirmed: Some(scan.clone()), ..Kept::default() });
    let (told, _) = check(&stage, &format!("{CONFIG}allow = [\"shadows\"]\n"), 0);
    assert_eq!((&told["remote"]["state"], &told["settings"]["topics"][0]["ros"]), (&json!("unfit"), &json!("/odom")));
    let warning = "What the shadow iot-bridge, version 7 says does not fit this configuration, so that the files alone count: the shadow \
                   iot-bridge, version 7: topics: found a section that the cloud may not set; `remote.allow` of this robot names \
                   `shadows`";
    assert_eq!(told["warnings"], json!([warning]));
    let (told, _) = check(&stage, &CONFIG.replace("iot-bridge", "another"), 0);
    assert_eq!(told["remote"]["state"], "local");
    fs::write(state.join("remote.json"), "{}").unwrap();
    let (told, text) = check(&stage, CONFIG, 0);
    assert_eq!(told["remote"]["state"], "unknown");
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("What comes from the cloud is not known here: ")
            && warning.contains("remote.json is damaged"),
        "{warning}"
    );
    assert!(text.contains(&format!("# {warning}.\n")), "{text}");
}
