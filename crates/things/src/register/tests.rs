use serde_json::{Value, json};

use super::*;

const ID: &str = "0000000000000000000000000000000000000000000000000000000000000007";

fn register(change: impl FnOnce(&mut Value)) -> Result<(Register, bool), String> {
    let mut register = json!({
        "format": FORMAT,
        "account": "123456789012",
        "region": "eu-central-1",
        "policies": [{ "name": "iot-bridge-1", "origin": "made" }],
        "things": [{
            "name": "robot_1",
            "origin": "made",
            "certificates": [{
                "mark": "m",
                "asked": 1,
                "issued": { "id": ID, "arn": format!("arn:aws:iot:eu-central-1:123456789012:cert/{ID}") },
            }],
            "complete": true,
            "installed": "/etc/iot-bridge",
        }],
    });
    change(&mut register);
    read(&register.to_string(), Path::new("things")).map_err(|stop| stop.to_string())
}

/// What is read back is what was written.
#[test]
fn a_register_reads_back() {
    let (read, is_elfs) = register(|_| ()).unwrap();
    assert!(!is_elfs);
    let thing = read.thing("robot_1").unwrap();
    assert_eq!((thing.complete, thing.certificates[0].issued.as_ref().unwrap().id.as_str()), (true, ID));
    let text = serde_json::to_string(&read).unwrap();
    assert_eq!(super::read(&text, Path::new("things")).unwrap().0, read);
}

/// A change to a register.
type Edit = Box<dyn FnOnce(&mut Value)>;

/// A register that names what is not its own is refused as a whole, with the reason, before anything is done by it.
#[test]
fn names_that_lead_elsewhere_are_refused() {
    let thing = |name: &'static str, value: Value| move |register: &mut Value| register["things"][0][name] = value;
    let issued = |name: &'static str, value: &'static str| {
        move |register: &mut Value| register["things"][0]["certificates"][0]["issued"][name] = value.into()
    };
    let cases: Vec<(Edit, &str)> = vec![
        (
            Box::new(thing("name", json!("/etc/iot-bridge"))),
            "of the name \"/etc/iot-bridge\": '/' can't stand in a name",
        ),
        (Box::new(thing("name", json!("../other"))), "of the name \"../other\": '.' can't"),
        (Box::new(thing("name", json!(".."))), "'.' can't"),
        (Box::new(thing("name", json!(""))), "can't be empty"),
        (Box::new(thing("name", json!("x".repeat(129)))), "at most 128"),
        (Box::new(thing("installed", json!("somewhere"))), "an absolute path without `..`"),
        (Box::new(thing("installed", json!("/etc/iot-bridge/../ssh"))), "an absolute path without `..`"),
        (Box::new(issued("id", "../things/other")), "is no id"),
        (Box::new(issued("id", "07")), "is not that of 07"),
        (Box::new(issued("arn", "arn:aws:iot:eu-central-1:123456789012:thing/other")), "is not that of"),
        (Box::new(issued("arn", "cert")), "is not that of"),
        (
            Box::new(|register: &mut Value| {
                let again = register["things"][0].clone();
                register["things"].as_array_mut().unwrap().push(again);
            }),
            "robot_1 is in it twice",
        ),
    ];
    for (change, word) in cases {
        let refused = register(change).expect_err(word);
        assert!(refused.contains(word) && refused.contains("things.json"), "{word}: {refused}");
    }
}
