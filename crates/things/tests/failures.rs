//! What comes after a failure at any call.

use crate::bench::Bench;

const CREATE: [&str; 6] = ["create", "thing_0", "--group", "robots", "--config", "fleet.toml"];

fn bench() -> Bench {
    let bench = Bench::set();
    bench.template(8883, "[[topics]]\nros = \"/odom\"\n");
    bench.api.send("POST", "/thing-groups/robots", &serde_json::json!({}));
    bench
}

/// Whatever call of `create` is the last one that AWS hears, whose answer never arrives: `create` again completes the
/// thing with one certificate and one policy, and `clean` instead leaves nothing.
#[test]
fn create_goes_on_after_a_failure_of_any_call() {
    let bench = bench();
    let before = bench.api.everything();
    bench.api.heal();
    bench.succeed(&CREATE);
    let calls = bench.api.heal();
    assert!(calls >= 9, "{calls}");
    bench.succeed(&["clean", "--yes"]);
    for last in 1..calls {
        for complete in [true, false] {
            bench.api.fail_after(last);
            let (status, text) = bench.run(&CREATE);
            assert_eq!(status, 1, "call {last}: {text}");
            assert!(text.contains("can't be reached"), "call {last}: {text}");
            bench.api.heal();
            if complete {
                bench.succeed(&CREATE);
                assert_eq!(bench.api.everything().len(), before.len() + 3, "call {last}: {:?}", bench.api.everything());
                assert!(bench.succeed(&["list"]).contains("thing_0  ready"), "call {last}");
            }
            bench.succeed(&["clean", "--yes"]);
            assert_eq!(bench.api.everything(), before, "call {last}, complete {complete}");
        }
    }
}

/// The same while several things are made at a time: wherever it ends, `create` again completes them all, and `clean`
/// instead leaves nothing.
#[test]
fn create_of_several_goes_on_after_a_failure() {
    const CREATE: [&str; 4] = ["create", "3", "--config", "fleet.toml"];
    let bench = bench();
    let before = bench.api.everything();
    bench.api.heal();
    bench.succeed(&CREATE);
    let calls = bench.api.heal();
    assert!(calls >= 18, "{calls}");
    bench.succeed(&["clean", "--yes"]);
    for last in 4..calls {
        bench.api.fail_after(last);
        let (status, text) = bench.run(&CREATE);
        assert!(status == 1 && text.contains("of 3 things are ready"), "call {last}: {text}");
        bench.api.heal();
        if last % 2 == 0 {
            bench.succeed(&CREATE);
            assert_eq!(bench.api.everything().len(), before.len() + 3 + 3 + 1, "call {last}");
            assert_eq!(bench.succeed(&["list"]).matches("  ready").count(), 3, "call {last}");
        }
        bench.succeed(&["clean", "--yes"]);
        assert_eq!(bench.api.everything(), before, "call {last}");
    }
}

/// Whatever call of `clean` is the last one that AWS hears, `clean` again deletes the rest.
#[test]
fn clean_goes_on_after_a_failure_of_any_call() {
    let bench = bench();
    let before = bench.api.everything();
    for last in 1.. {
        bench.succeed(&CREATE);
        bench.api.fail_after(last);
        let (status, text) = bench.run(&["clean", "--yes"]);
        let calls = bench.api.heal();
        if status == 0 {
            assert!(last > 9 && calls < last, "{last} {calls}");
            break;
        }
        assert!(text.contains("can't be reached"), "call {last}: {text}");
        // Where only the answer to the very last call was lost, there may be nothing left to delete.
        bench.succeed(&["clean", "--yes"]);
        assert_eq!(bench.api.everything(), before, "call {last}");
    }
    assert_eq!(bench.api.everything(), before);
}

/// A pair of keys that AWS has made and whose answer was lost is of no use to anybody, and `clean` says so.
#[test]
fn a_lost_pair_of_keys_is_not_active() {
    let bench = bench();
    bench.api.heal();
    let create = [&CREATE[..], &["--aws-keys"]].concat();
    bench.succeed(&create);
    let key = std::fs::metadata(bench.path("things/thing_0/certs/thing_0.private.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    let calls = bench.api.calls();
    let keys = calls.iter().position(|call| call.contains("keys-and-certificate")).unwrap() + 1;
    bench.succeed(&["clean", "--yes"]);
    bench.api.fail_after(keys);
    assert_eq!(bench.run(&create).0, 1);
    bench.api.heal();
    let lost = bench.api.get("/certificates");
    assert_eq!(lost["certificates"][0]["status"], "INACTIVE");
    let text = bench.succeed(&["clean", "--yes"]);
    assert!(text.contains("not active"), "{text}");
}
