//! create and clean.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::bench::{Bench, files, said};
use crate::support::aws_api::{ACCOUNT, REGION};

const ODOM: &str = "[[topics]]\nros = \"/odom\"\n";

/// `create 25` makes 25 things with keys that only their owner reads and configurations that pass `iot-bridge check`;
/// nothing secret is in things.json or said; again, it makes nothing; `clean` leaves the account and the directory as
/// before.
#[test]
fn twenty_five_things_come_and_go() {
    let bench = Bench::set();
    let fleet = bench.template(8883, ODOM);
    let before = bench.api.everything();
    let create = ["create", "25", "--config", fleet.to_str().unwrap(), "--attribute", "site=hall"];
    let text = bench.succeed(&create);
    assert!(text.contains("25 things are ready"), "{text}");
    let there = bench.api.everything();
    assert_eq!(there.len() - before.len(), 25 + 25 + 1, "{there:?}");
    assert_eq!(bench.api.get("/things/thing_24")["attributes"]["site"], "hall");

    for path in files(&bench.path("things")) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let expected = match path.extension().and_then(|extension| extension.to_str()) {
            Some("key") => 0o600,
            Some("sh") => 0o755,
            _ => 0o644,
        };
        assert_eq!(mode, expected, "{}", path.display());
        if path.extension().is_none_or(|extension| extension != "key") {
            assert!(!fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"), "{}", path.display());
        }
    }
    assert!(!text.contains("PRIVATE KEY") && !text.contains("a secret"));

    for number in [0, 24] {
        let name = format!("thing_{number}");
        let config = bench.path(&format!("things/{name}/config.toml"));
        for config in [config.clone(), config.with_file_name("iot_config.json")] {
            let check =
                Command::new(env!("CARGO_BIN_EXE_iot-bridge")).args(["check", "--config"]).arg(&config).output();
            let (status, text) = said(check.unwrap());
            assert_eq!(status, 0, "{text}");
            assert!(text.contains(&format!("client_id = \"{name}\"")), "{text}");
        }
        let principals = bench.api.get(&format!("/things/{name}/principals"));
        assert_eq!(principals["principals"].as_array().unwrap().len(), 1);
    }

    bench.api.heal();
    bench.succeed(&create);
    let writes =
        bench.api.calls().iter().filter(|call| !call.starts_with("GET") && !call.contains("/policies/")).count();
    assert_eq!(writes, 0, "{:?}", bench.api.calls());
    assert_eq!(bench.api.everything(), there);

    let text = bench.succeed(&["clean", "--dry-run"]);
    assert!(text.contains(ACCOUNT) && text.contains(REGION) && text.contains("thing_24"), "{text}");
    assert_eq!(bench.api.everything(), there);
    let (status, text) = bench.run(&["clean"]);
    assert_eq!((status, bench.api.everything()), (1, there), "{text}");
    bench.succeed(&["clean", "--yes"]);
    assert_eq!(bench.api.everything(), before);
    assert!(!bench.path("things").exists());
}
