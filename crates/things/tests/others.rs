//! Rules, policies as a command, and what comes from ELF and the AWS sample.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::support::certificates::Valid;
use crate::support::itself;

const ROLE: &str = "arn:aws:iam::123456789012:role/iot-bridge-telemetry";

/// A rule is made, changed and deleted; without a role the one that is needed is printed and nothing is made.
#[test]
fn rules_come_and_go() {
    let bench = Bench::set();
    for (to, target, word) in [
        ("cloudwatch-logs", "robots", "logs:PutLogEvents"),
        ("s3", "bucket", "s3:PutObject"),
        ("timestream", "fleet/odom", "database/fleet/table/odom"),
        ("republish", "other/topic", "topic/other/topic"),
    ] {
        let rule = ["rule", "create", "telemetry", "--to", to, "--target", target];
        let (status, text) = bench.run(&rule);
        assert_eq!(status, 2, "{text}");
        assert!(text.contains(word) && text.contains("iot.amazonaws.com") && text.contains("--role-arn"), "{text}");
        assert!(bench.api.everything().is_empty());
        let text = bench.succeed(&[&rule[..], &["--role-arn", ROLE]].concat());
        assert!(text.contains("mqtt = \"$aws/rules/telemetry/{thing}{ros}\""), "{text}");
        let (status, text) = bench.run(&[&rule[..], &["--role-arn", ROLE]].concat());
        assert!(status == 1 && text.contains("rule replace telemetry"), "{text}");
        let replace = ["rule", "replace", "telemetry", "--to", to, "--target", target, "--topic", "robots/+/odom"];
        bench.succeed(&[&replace[..], &["--role-arn", ROLE]].concat());
        assert_eq!(bench.api.get("/rules/telemetry")["rule"]["sql"], "SELECT * FROM 'robots/+/odom'");
        bench.succeed(&["rule", "delete", "telemetry"]);
        assert!(bench.api.everything().is_empty());
    }
    let (status, text) = bench.run(&["rule", "delete", "telemetry"]);
    assert!(status == 1 && text.contains("there is no rule telemetry"), "{text}");
    let (status, text) =
        bench.run(&["rule", "create", "a", "--to", "timestream", "--target", "table", "--role-arn", ROLE]);
    assert!(status == 2 && text.contains("DATABASE/TABLE"), "{text}");
}

/// `policy` prints what a configuration needs without asking AWS, and `--check` holds another document against it.
#[test]
fn policies_are_printed_and_checked() {
    let bench = Bench::set();
    bench.template(8883, "[[topics]]\nros = \"/odom\"\n");
    let text = bench.succeed(&["policy", "--config", "fleet.toml", "--account", "210987654321"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        document["Statement"][1]["Resource"],
        "arn:aws:iot:eu-central-1:210987654321:topic/robots/${iot:Connection.Thing.ThingName}/odom"
    );
    assert!(bench.api.calls().is_empty());
    fs::write(bench.path("policy.json"), text).unwrap();
    let text = bench.succeed(&["policy", "--config", "fleet.toml", "--check", "policy.json"]);
    assert!(text.contains("and nothing else"), "{text}");
    let elfs = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Action": ["iot:Connect", "iot:Publish"], "Resource": ["arn:aws:iot:eu-central-1:*:*"] }] });
    fs::write(bench.path("policy.json"), elfs.to_string()).unwrap();
    let (status, text) = bench.run(&["policy", "--config", "fleet.toml", "--check", "policy.json"]);
    assert!(status == 1 && text.contains("Allowed, and not needed:\n    iot:Connect *\n    iot:Publish *"), "{text}");
    fs::write(bench.path("policy.json"), "nonsense").unwrap();
    let (status, text) = bench.run(&["policy", "--config", "fleet.toml", "--check", "policy.json"]);
    assert!(status == 1 && text.contains("no JSON"), "{text}");
    let (status, text) = bench.run(&["policy", "--config", "missing.toml"]);
    assert!(status == 78 && text.contains("no such file"), "{text}");
}

/// A changed configuration brings policy and files up to date, and the policy of before goes.
#[test]
fn create_follows_the_configuration() {
    let bench = Bench::set();
    bench.template(8883, "[[topics]]\nros = \"/odom\"\n");
    bench.succeed(&["create", "2", "--config", "fleet.toml"]);
    let policy = |number: usize| bench.register()["things"][number]["policies"].clone();
    let before = policy(0);
    bench.template(8883, "[[topics]]\nros = \"/battery\"\n");
    bench.succeed(&["create", "2"]);
    assert_ne!(policy(0), before);
    assert_eq!(policy(0), policy(1));
    assert_eq!(bench.api.everything().iter().filter(|name| name.starts_with("policies")).count(), 1);
    assert!(fs::read_to_string(bench.path("things/thing_1/config.toml")).unwrap().contains("/battery"));
    bench.succeed(&["clean", "--yes"]);
    assert!(bench.api.everything().is_empty());
}

/// ELF's things.json is taken over: its keys are closed to others and leave the register, its things become complete with
/// a policy of least privilege, and `clean` takes all of it back.
#[test]
fn elfs_things_are_taken_over() {
    let bench = Bench::set();
    let misc = bench.path("misc");
    fs::create_dir(&misc).unwrap();
    let mut things = Vec::new();
    for number in 0..2 {
        let name = format!("thing_{number}");
        let identity = bench.authority.issue(&[&name], Valid::Now);
        let body = json!({ "certificatePem": identity.certificate, "status": "ACTIVE" });
        let made = bench.api.send("POST", "/certificate/register-no-ca", &body);
        bench.api.send("POST", &format!("/things/{name}"), &json!({}));
        let mut entry = json!({
            "certificateArn": made["certificateArn"], "certificateId": made["certificateId"],
            "certificatePem": identity.certificate,
            "keyPair": { "PublicKey": "public", "PrivateKey": identity.private_key },
            "ResponseMetadata": { "HTTPStatusCode": 200 },
        });
        if number == 0 {
            let policy = format!("policy-{name}");
            bench.api.send("POST", &format!("/policies/{policy}"), &json!({ "policyDocument": "{}" }));
            entry["elf_policy"] = policy.into();
        }
        for kind in ["pem", "pub", "prv"] {
            fs::write(misc.join(format!("{name}.{kind}")), &identity.private_key).unwrap();
        }
        things.push(json!({ name: entry }));
    }
    fs::write(misc.join("things.json"), Value::from(things).to_string()).unwrap();
    bench.template(8883, "[[topics]]\nros = \"/odom\"\n");
    let text = bench.succeed(&["create", "2", "--config", "fleet.toml", "--output", "misc"]);
    assert!(text.contains("2 things are ready"), "{text}");
    let register = fs::read_to_string(misc.join("things.json")).unwrap();
    assert!(!register.contains("PRIVATE KEY") && register.contains("iot-bridge-things 1"), "{register}");
    for key in ["thing_0.prv", "thing_1/certs/thing_1.private.key"] {
        assert_eq!(fs::metadata(misc.join(key)).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
    }
    assert_eq!(bench.succeed(&["list", "--output", "misc"]).matches("  ready").count(), 2);
    assert!(!bench.api.everything().contains("policies policy-thing_0"));
    bench.succeed(&["clean", "--yes", "--output", "misc"]);
    assert!(bench.api.everything().is_empty() && !misc.exists(), "{:?}", bench.api.everything());
}

/// The AWS sample's iot_config.json is a template as it is: the thing takes the place of its client id.
#[test]
fn the_samples_configuration_is_a_template() {
    let bench = Bench::set();
    let sample = json!({
        "endpoint": "ENDPOINT", "rootCAPath": bench.path("authority.pem"), "certificatePath": "CERTIFICATE",
        "privateKeyPath": "KEY", "clientID": "CLIENT", "port": 8883,
    });
    fs::write(bench.path("iot_config.json"), sample.to_string()).unwrap();
    bench.succeed(&["create", "robot1", "--config", "iot_config.json"]);
    let policy = bench.register()["policies"][0]["name"].as_str().unwrap().to_owned();
    let document = bench.api.get(&format!("/policies/{policy}"))["policyDocument"].as_str().unwrap().to_owned();
    assert!(document.contains("topic/ros2_mock_telemetry_topic") && document.contains("ThingName"), "{document}");
    let check = std::process::Command::new(itself::beside("iot-bridge"))
        .args(["check", "--config"])
        .arg(bench.path("things/robot1/config.toml"))
        .output();
    let (status, text) = crate::bench::said(check.unwrap());
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("client_id = \"robot1\""), "{text}");
}
