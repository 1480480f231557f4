//! Each error is a sentence that says what to do.

use std::fs;

use serde_json::json;

use crate::bench::{Bench, files, said};

fn refused(bench: &Bench, arguments: &[&str], status: i32, words: &[&str]) {
    let (found, text) = bench.run(arguments);
    assert_eq!(found, status, "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{arguments:?}: {word:?} is missing in: {text}");
    }
    assert!(!text.contains("panicked") && text.lines().count() <= 4, "{text}");
}

/// Without region, credentials, profile or API there is a sentence that names what is missing and how to give it.
#[test]
fn what_is_missing_is_named() {
    let bench = Bench::set();
    for (remove, arguments, words) in [
        (&["AWS_REGION"][..], &["create"][..], &["no AWS region", "--region"][..]),
        (&["AWS_ACCESS_KEY_ID"], &["create"], &["no AWS credentials", "aws configure", "--profile"]),
        (&["AWS_REGION", "AWS_ACCESS_KEY_ID"], &["create"], &["no AWS region", "; and there are no AWS credentials"]),
        (&[], &["create", "--profile", "lab"], &["no profile \"lab\"", "list-profiles"]),
        (&[], &["create", "--endpoint-url", "http://127.0.0.1:1"], &["can't be reached", "--endpoint-url"]),
    ] {
        let mut command = bench.program(arguments);
        for name in remove {
            command.env_remove(name);
        }
        let (status, text) = said(command.output().unwrap());
        assert_eq!(status, 1, "{text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: {word:?} is missing in: {text}");
        }
        let asks_somebody = arguments.contains(&"--endpoint-url");
        assert_eq!(bench.directory.path().join("things").exists(), asks_somebody, "{arguments:?}");
    }
    let mut command = bench.program(&["create"]);
    let (status, text) = said(command.env("HTTP_PROXY", "http://127.0.0.1:1").output().unwrap());
    assert!(status == 1 && text.contains("can't be reached") && text.contains("the proxy (HTTPS_PROXY)"), "{text}");
    refused(&bench, &["create", "--thing-type", "arm"], 1, &["no thing type arm", "aws iot create-thing-type"]);
    refused(&bench, &["create", "--group", "hall"], 1, &["no thing group hall", "aws iot create-thing-group"]);
    bench.succeed(&["clean", "--yes"]);
    refused(&bench, &["create", "--endpoint-url", "nowhere"], 2, &["https://"]);
    refused(&bench, &["create", "a b"], 2, &["can't stand in a name"]);
    refused(&bench, &["create", "--attribute", "a b=c"], 2, &["a key has"]);
    refused(&bench, &["list", "--output", "nothing"], 1, &["there is no nothing/things.json"]);
}

/// A denied call names the IAM permission that is missing.
#[test]
fn a_denied_call_names_the_permission() {
    let bench = Bench::set();
    for (part, permission) in [
        ("GET /endpoint", "iot:DescribeEndpoint"),
        ("POST /policies/", "iot:CreatePolicy"),
        ("POST /certificates", "iot:CreateCertificateFromCsr"),
        ("PUT /things/", "iot:AttachThingPrincipal"),
    ] {
        bench.api.deny(part);
        refused(&bench, &["create"], 1, &[&format!("the IAM permission {permission} is missing")]);
    }
    bench.api.deny("");
    bench.succeed(&["create"]);
}

/// Another region than that of things.json is noticed before anything is deleted; another thing's name before anything
/// is attached to it.
#[test]
fn others_things_are_left_alone() {
    let bench = Bench::set();
    bench.succeed(&["create"]);
    let there = bench.api.everything();
    refused(&bench, &["clean", "--yes", "--region", "us-west-2"], 1, &["is of the region eu-central-1", "--region"]);
    let register = fs::read_to_string(bench.path("things/things.json")).unwrap();
    fs::write(bench.path("things/things.json"), register.replace("123456789012\",", "210987654321\",")).unwrap();
    refused(&bench, &["clean", "--yes"], 1, &["of the AWS account 210987654321", "of 123456789012", "--profile"]);
    refused(&bench, &["create"], 1, &["of the AWS account 210987654321", "of 123456789012", "--profile"]);
    fs::write(bench.path("things/things.json"), register).unwrap();
    refused(&bench, &["clean", "stranger", "--yes"], 1, &["stranger is not in things.json", "--force"]);
    assert_eq!(bench.api.everything(), there);

    // From another directory, thing_0 is somebody else's robot.
    refused(&bench, &["create", "--output", "other"], 1, &["a thing thing_0 already", "1 certificate", "--adopt"]);
    bench.succeed(&["create", "--output", "other", "--adopt"]);
    assert_eq!(bench.api.get("/things/thing_0/principals")["principals"].as_array().unwrap().len(), 2);
    let text = bench.succeed(&["clean", "--output", "other", "--yes"]);
    assert!(text.contains("The thing thing_0 stays"), "{text}");
    assert_eq!(bench.api.everything(), there);

    // A thing without a certificate is nobody's, and stays all the same.
    bench.api.send("POST", "/things/bare", &json!({}));
    bench.succeed(&["create", "bare", "--output", "other"]);
    bench.succeed(&["clean", "--output", "other", "--yes"]);
    assert!(bench.api.everything().contains("things bare"));
    bench.succeed(&["clean", "bare", "--output", "other", "--yes", "--force"]);
    bench.succeed(&["clean", "--yes", "--only-local"]);
    assert!(!bench.path("things").exists() && bench.api.everything() == there);
    bench.succeed(&["clean", "thing_0", "--yes", "--force"]);
    assert!(!bench.api.everything().iter().any(|name| !name.starts_with("policies")), "{:?}", bench.api.everything());
}

/// What things.json and the command line name is a thing and nothing else: neither a path nor somebody else's certificate.
/// Nothing outside is touched, and nothing is deleted.
#[test]
fn names_lead_nowhere_else() {
    let bench = Bench::set();
    bench.succeed(&["create", "a", "b"]);
    let outside = bench.path("outside");
    fs::create_dir_all(outside.join("certs")).unwrap();
    for name in ["config.toml", "install.sh", "certs/rootCA.crt"] {
        fs::write(outside.join(name), "of somebody").unwrap();
    }
    let (there, before) = (bench.api.everything(), files(&outside));
    let path = bench.path("things/things.json");
    let register = fs::read_to_string(&path).unwrap();
    for name in [outside.to_str().unwrap(), "../outside"] {
        refused(&bench, &["clean", name, "--force", "--yes", "--only-local"], 2, &["can't stand in a name"]);
        refused(&bench, &["rotate", name], 2, &["can't stand in a name"]);
        fs::write(&path, register.replace("\"name\": \"a\"", &format!("\"name\": {name:?}"))).unwrap();
        for arguments in [&["clean", "--yes"][..], &["clean", "--yes", "--only-local"], &["list"], &["create"]] {
            refused(&bench, arguments, 1, &["is no register of things", "can't stand in a name"]);
        }
    }
    // The certificate of b as that of a.
    let things: serde_json::Value = serde_json::from_str(&register).unwrap();
    let mut swapped = things.clone();
    swapped["things"][0]["certificates"][0]["issued"] = things["things"][1]["certificates"][0]["issued"].clone();
    fs::write(&path, swapped.to_string()).unwrap();
    refused(&bench, &["clean", "a", "--yes"], 1, &["is of b, not of a", "--force"]);
    assert_eq!((bench.api.everything(), files(&outside)), (there, before));
    fs::write(&path, register).unwrap();
    bench.succeed(&["clean", "--yes"]);
}

/// A damaged register is not written over.
#[test]
fn a_damaged_register_is_refused() {
    let bench = Bench::set();
    fs::create_dir(bench.path("things")).unwrap();
    for text in ["", "{", "{}", "{\"format\": \"another 7\"}", "[1]", "[{\"thing_0\": {}}]"] {
        fs::write(bench.path("things/things.json"), text).unwrap();
        refused(&bench, &["create"], 1, &["things.json", "move it away"]);
        assert_eq!(fs::read_to_string(bench.path("things/things.json")).unwrap(), text);
    }
}
