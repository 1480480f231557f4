//! The IAM permissions that the guide lists, held against the calls that are made.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::support::mosquitto::Mosquitto;

const GUIDE: &str = include_str!("../../../docs/provisioning.md");
const ROLE: &str = "arn:aws:iam::123456789012:role/iot-bridge-telemetry";

/// A row of the guide's table.
struct Row {
    /// Needed whenever the subcommand is run.
    always: BTreeSet<String>,
    /// When others are needed, and which.
    besides: Vec<(String, BTreeSet<String>)>,
}

/// What follows `## IAM permissions` in the guide.
fn chapter() -> &'static str {
    GUIDE.split_once("\n## IAM permissions").expect("the chapter").1.split("\n## ").next().unwrap()
}

/// The permissions that a text names.
fn permissions(text: &str) -> BTreeSet<String> {
    text.split('`').filter(|word| word.starts_with("iot:") || word.starts_with("iam:")).map(str::to_owned).collect()
}

impl Row {
    /// That of `subcommand`.
    fn of(subcommand: &str) -> Row {
        let begin = format!("| `{subcommand}` |");
        let line = chapter().lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("{begin}"));
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let entry = |text: &str| {
            let (when, needed) = text.split_once(": ").unwrap_or_else(|| panic!("{text}"));
            (when.trim().to_owned(), permissions(needed))
        };
        let besides = cells[1].split(';').filter(|text| !text.trim().is_empty()).map(entry).collect();
        Row { always: permissions(cells[0]), besides }
    }

    /// What is needed `when`, and always.
    fn with(&self, when: &str) -> BTreeSet<String> {
        &self.always | self.only(when)
    }

    fn only(&self, when: &str) -> &BTreeSet<String> {
        let entry = self.besides.iter().find(|(condition, _)| condition == when);
        &entry.unwrap_or_else(|| panic!("the row says nothing of {when:?}")).1
    }

    /// Whether these are all the cases that the row tells.
    fn tells(&self, cases: &[&str]) {
        let told: Vec<&str> = self.besides.iter().map(|(when, _)| when.as_str()).collect();
        assert_eq!(told, cases);
    }
}

/// A bench without calls so far.
fn bench() -> Bench {
    let bench = Bench::set();
    template(&bench, "/odom");
    bench.api.send("POST", "/thing-groups/robots", &json!({}));
    bench
}

/// A configuration, and with it a policy, of its own.
fn template(bench: &Bench, topic: &str) {
    bench.template(8883, &format!("[[topics]]\nros = {topic:?}\n"));
}

/// `command` needs each of `permissions`, makes all these calls and no others, and says which it may not make. `prepare`
/// gets a number that is another one each time, and what it answers is replaced for `{}`.
fn needs(bench: &Bench, permissions: &BTreeSet<String>, command: &[&str], prepare: impl Fn(&Bench, usize) -> String) {
    for (number, denied) in [None].into_iter().chain(permissions.iter().map(Some)).enumerate() {
        bench.api.allow(None);
        let name = prepare(bench, number);
        let arguments: Vec<String> = command.iter().map(|word| word.replace("{}", &name)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        bench.api.heal();
        bench.api.allow(Some(permissions.iter().filter(|permission| Some(*permission) != denied).cloned().collect()));
        let (status, text) = bench.run(&arguments);
        match denied {
            None => {
                assert_eq!(status, 0, "{arguments:?}: {text}");
                assert_eq!(bench.api.actions(), *permissions, "{arguments:?}");
            }
            Some(denied) => {
                assert_eq!(status, 1, "{arguments:?} without {denied}: {text}");
                assert!(text.contains(&format!("the IAM permission {denied} is missing")), "{arguments:?}: {text}");
            }
        }
    }
    bench.api.allow(None);
}

/// Makes a thing with a directory, a configuration and thus a policy of its own; answers the directory.
fn made(bench: &Bench, number: usize, besides: &[&str]) -> String {
    let name = format!("robot{number}");
    template(bench, &format!("/of_{name}"));
    bench.succeed(&[&["create", &name, "--output", &name, "--config", "fleet.toml"], besides].concat());
    name
}

/// `create` needs what the guide lists, in each case, and no more.
#[test]
fn create_needs_what_the_guide_says() {
    let (bench, row) = (bench(), Row::of("create"));
    let create = ["create", "{}", "--output", "{}", "--config", "fleet.toml"];
    let fresh = |prefix: &'static str| {
        move |bench: &Bench, number: usize| {
            template(bench, &format!("/{prefix}{number}"));
            format!("{prefix}{number}")
        }
    };
    needs(&bench, &row.always, &create, fresh("ordinary"));
    needs(&bench, &row.with("`--group`"), &[&create[..], &["--group", "robots"]].concat(), fresh("grouped"));
    // Another call takes the place of one that is always made otherwise.
    let mut aws_keys = row.with("`--aws-keys`");
    aws_keys.remove("iot:CreateCertificateFromCsr");
    needs(&bench, &aws_keys, &[&create[..], &["--aws-keys"]].concat(), fresh("keys"));
    let mut exists = row.with("a thing that exists");
    exists.remove("iot:CreateThing");
    needs(&bench, &exists, &create, |bench, number| {
        let name = fresh("found")(bench, number);
        bench.api.send("POST", &format!("/things/{name}"), &json!({}));
        name
    });
    row.tells(&["`--group`", "`--aws-keys`", "a thing that exists", "another configuration", "after a failure"]);

    let mut seen = BTreeSet::new();
    let allowed = row.with("another configuration");
    let name = made(&bench, 100, &[]);
    new_version(&bench, &name);
    template(&bench, "/another");
    bench.api.heal();
    bench.api.allow(Some(allowed.clone()));
    bench.succeed(&["create", &name, "--output", &name, "--config", "fleet.toml"]);
    seen.extend(bench.api.actions());
    assert!(row.only("another configuration").is_subset(&seen), "{seen:?}");
    // Another run may have made the certificate active, for all that this one knows.
    assert!(seen.is_subset(&(&allowed | row.only("after a failure"))), "{seen:?}");

    let allowed = row.with("after a failure");
    seen.clear();
    for last in 1.. {
        let name = format!("failed{last}");
        let create = ["create", &name, "--output", &name, "--config", "fleet.toml"];
        bench.api.allow(None);
        bench.api.fail_after(last);
        let (status, _) = bench.run(&create);
        bench.api.heal();
        bench.api.allow(Some(allowed.clone()));
        bench.succeed(&create);
        seen.extend(bench.api.actions());
        if status == 0 {
            break;
        }
    }
    assert!(row.only("after a failure").is_subset(&seen), "{seen:?}");
}

/// Gives the policy of a thing another version, as somebody else might.
fn new_version(bench: &Bench, directory: &str) {
    let text = std::fs::read(bench.path(&format!("{directory}/things.json"))).unwrap();
    let register: Value = serde_json::from_slice(&text).unwrap();
    let policy = register["policies"][0]["name"].as_str().unwrap();
    let document = bench.api.get(&format!("/policies/{policy}"))["policyDocument"].clone();
    bench.api.send("POST", &format!("/policies/{policy}/version"), &json!({ "policyDocument": document }));
}

/// `clean` needs what the guide lists, in each case, and no more; `list` too.
#[test]
fn clean_and_list_need_what_the_guide_says() {
    let (bench, row) = (bench(), Row::of("clean"));
    let clean = ["clean", "--yes", "--output", "{}"];
    needs(&bench, &row.always, &clean, |bench, number| made(bench, number, &[]));
    let group = ["--group", "robots"];
    needs(&bench, &row.with("a thing in a group"), &clean, |bench, number| made(bench, 100 + number, &group));
    needs(&bench, &row.with("a policy with versions"), &clean, |bench, number| {
        let name = made(bench, 200 + number, &[]);
        new_version(bench, &name);
        name
    });
    row.tells(&["a thing in a group", "a policy with versions", "after a failure"]);
    let (allowed, mut seen) = (row.with("after a failure"), BTreeSet::new());
    for last in 1.. {
        let name = format!("failed{last}");
        template(&bench, &format!("/{name}"));
        bench.api.allow(None);
        bench.api.fail_after(last);
        let (status, _) = bench.run(&["create", &name, "--output", &name, "--config", "fleet.toml"]);
        bench.api.heal();
        bench.api.allow(Some(allowed.clone()));
        bench.succeed(&["clean", "--yes", "--output", &name]);
        seen.extend(bench.api.actions());
        if status == 0 {
            break;
        }
    }
    assert!(row.only("after a failure").is_subset(&seen), "{seen:?}");

    let row = Row::of("list");
    needs(&bench, &row.always, &["list", "--output", "{}"], |bench, number| made(bench, 300 + number, &[]));
    row.tells(&[]);
}

/// `rotate` needs what the guide lists, in each case, and no more.
#[test]
fn rotate_needs_what_the_guide_says() {
    let (bench, row) = (bench(), Row::of("rotate"));
    let mosquitto = Mosquitto::start(&bench.authority);
    let robot = |bench: &Bench, number: usize| {
        let name = format!("robot{number}");
        bench.template(mosquitto.port(), "[[topics]]\nros = \"/odom\"\n");
        bench.succeed(&["create", &name, "--config", "fleet.toml"]);
        name
    };
    needs(&bench, &row.always, &["rotate", "{}"], robot);
    row.tells(&["after a failure"]);
    let (allowed, mut seen) = (row.with("after a failure"), BTreeSet::new());
    for last in 1.. {
        bench.api.allow(None);
        let name = robot(&bench, 100 + last);
        bench.api.fail_after(last);
        let (status, _) = bench.run(&["rotate", &name]);
        bench.api.heal();
        bench.api.allow(Some(allowed.clone()));
        bench.succeed(&["rotate", &name]);
        seen.extend(bench.api.actions());
        if status == 0 {
            break;
        }
    }
    assert!(row.only("after a failure").is_subset(&seen), "{seen:?}");
}

/// The subcommands of `rule` need what the guide lists and no more; the role is AWS's to look at.
#[test]
fn rule_needs_what_the_guide_says() {
    let bench = bench();
    let row = |subcommand: &str| {
        let row = Row::of(subcommand);
        row.tells(&[]);
        let role = row.always.contains("iam:PassRole");
        (row.always.into_iter().filter(|permission| permission.starts_with("iot:")).collect::<BTreeSet<_>>(), role)
    };
    let put = ["{}", "--to", "s3", "--target", "bucket", "--role-arn", ROLE];
    let (create, role) = row("rule create");
    assert!(role);
    needs(&bench, &create, &[&["rule", "create"][..], &put].concat(), |_, number| format!("created{number}"));
    let made = |bench: &Bench, number: usize| {
        let name = format!("rule{number}");
        let _ = bench.run(&["rule", "create", &name, "--to", "s3", "--target", "bucket", "--role-arn", ROLE]);
        name
    };
    let (replace, role) = row("rule replace");
    assert!(role);
    needs(&bench, &replace, &[&["rule", "replace"][..], &put].concat(), made);
    let (delete, role) = row("rule delete");
    assert!(!role);
    needs(&bench, &delete, &["rule", "delete", "{}"], made);
}

/// The subcommands of `config` need what the guide lists, in each case, and no more.
#[test]
fn config_needs_what_the_guide_says() {
    let bench = bench();
    for (file, text) in [
        ("odom.toml", "version = \"1\"\n[[topics]]\nros = \"/odom\"\n"),
        ("scan.toml", "version = \"2\"\n[[topics]]\nros = \"/scan\"\n"),
    ] {
        std::fs::write(bench.path(file), text).unwrap();
    }
    let thing = |bench: &Bench, name: String| {
        bench.api.send("POST", &format!("/things/{name}"), &json!({}));
        name
    };
    let reports = |bench: &Bench, name: String| {
        let name = thing(bench, name);
        bench.api.report(&name, "iot-bridge", &json!({ "version": "1", "state": "applied" }));
        name
    };
    let group = |bench: &Bench, name: String| {
        let name = reports(bench, name);
        let group = format!("of_{name}");
        bench.api.send("POST", &format!("/thing-groups/{group}"), &json!({}));
        let member = json!({ "thingGroupName": group, "thingName": name });
        bench.api.send("PUT", "/thing-groups/addThingToThingGroup", &member);
        group
    };
    let pushed = |bench: &Bench, name: String| {
        let name = reports(bench, name);
        bench.succeed(&["config", "push", "odom.toml", &name, "--no-wait"]);
        name
    };
    let cases = ["`--group`", "a thing without the shadow"];

    let row = Row::of("config push");
    row.tells(&cases);
    let push = ["config", "push", "odom.toml", "{}", "--no-wait"];
    needs(&bench, &row.always, &push, |bench, number| reports(bench, format!("a{number}")));
    let to_group = ["config", "push", "odom.toml", "--no-wait", "--group", "{}"];
    needs(&bench, &row.with(cases[0]), &to_group, |bench, number| group(bench, format!("b{number}")));
    needs(&bench, &row.with(cases[1]), &push, |bench, number| thing(bench, format!("c{number}")));

    let row = Row::of("config show");
    row.tells(&cases);
    needs(&bench, &row.always, &["config", "show", "{}"], |bench, number| reports(bench, format!("d{number}")));
    needs(&bench, &row.with(cases[0]), &["config", "show", "--group", "{}"], |bench, number| {
        group(bench, format!("e{number}"))
    });
    needs(&bench, &row.with(cases[1]), &["config", "show", "{}"], |bench, number| thing(bench, format!("f{number}")));

    let row = Row::of("config rollback");
    row.tells(&cases);
    let back = ["config", "rollback", "{}", "--no-wait"];
    needs(&bench, &row.always, &back, |bench, number| pushed(bench, format!("g{number}")));
    // Of a thing whose shadow was deleted it has to be known whether there is such a thing.
    let deleted = |bench: &Bench, number: usize| {
        let name = pushed(bench, format!("j{number}"));
        bench.succeed(&["config", "push", "scan.toml", &name, "--no-wait"]);
        bench.api.send("DELETE", &format!("/things/{name}/shadow?name=iot-bridge"), &json!({}));
        name
    };
    needs(&bench, &row.with(cases[1]), &back, deleted);

    let row = Row::of("config push --job");
    row.tells(&["things by name", "`--group`", "a robot that fails"]);
    let job = ["config", "push", "odom.toml", "--job", "--timeout", "0.1", "{}"];
    let succeeds = |bench: &Bench, name: String| {
        bench.api.execute(&name, "SUCCEEDED", json!({}));
        name
    };
    needs(&bench, &row.with("things by name"), &job, |bench, number| {
        succeeds(bench, thing(bench, format!("h{number}")))
    });
    let to_group = ["config", "push", "odom.toml", "--job", "--timeout", "0.1", "--group", "{}"];
    needs(&bench, &row.with("`--group`"), &to_group, |bench, number| {
        let name = format!("i{number}");
        succeeds(bench, name.clone());
        group(bench, name)
    });
    for denied in [false, true] {
        let name = thing(&bench, format!("fails{denied}"));
        bench.api.execute(&name, "FAILED", json!({ "problems": "1", "problem1": "why" }));
        let mut allowed = &row.with("things by name") | row.only("a robot that fails");
        if denied {
            allowed = &allowed - row.only("a robot that fails");
        }
        bench.api.heal();
        bench.api.allow(Some(allowed.clone()));
        let (status, text) = bench.run(&["config", "push", "odom.toml", "--job", &name]);
        bench.api.allow(None);
        let words = if denied { "the IAM permission iot:DescribeJobExecution is missing" } else { "\n    why\n" };
        assert!(status == 1 && text.contains(words), "{text}");
        assert_eq!(bench.api.actions(), &row.with("things by name") | row.only("a robot that fails"));
    }
}

/// What asks AWS nothing needs no permissions, and the guide says so.
#[test]
fn some_subcommands_need_nothing() {
    let bench = bench();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), "[[topics]]\nros = \"/odom\"\n");
    bench.succeed(&["create", "--config", "fleet.toml"]);
    bench.api.heal();
    bench.api.allow(Some(BTreeSet::new()));
    for command in [
        &["send", "--duration", "0.1"][..],
        &["subscribe", "--duration", "0.1"],
        &["policy", "--config", "fleet.toml"],
        &["clean", "--only-local", "--yes"],
    ] {
        bench.succeed(command);
        let asks_nothing =
            chapter().split("\n\n").find(|text| text.contains("need no permissions")).expect("the sentence");
        let named = command.iter().filter(|word| !word.starts_with(['0', 'f']) && **word != "--duration");
        for word in named.filter(|word| !["--config", "--yes"].contains(*word)) {
            assert!(asks_nothing.contains(word), "{word}: {asks_nothing}");
        }
    }
    assert!(bench.api.calls().is_empty());
}

/// The policy for an operator who does everything holds what the rows of the table hold together.
#[test]
fn the_operators_policy_is_the_whole_table() {
    let table: String = chapter().lines().filter(|line| line.starts_with("| `")).collect();
    let json = chapter().split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("a policy");
    let policy: Value = serde_json::from_str(json).expect("JSON");
    let mut actions: Vec<String> = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        match &statement["Action"] {
            Value::Array(list) => actions.extend(list.iter().map(|action| action.as_str().unwrap().to_owned())),
            one => actions.push(one.as_str().unwrap().to_owned()),
        }
    }
    assert_eq!(actions.iter().cloned().collect::<BTreeSet<_>>(), permissions(&table));
    assert_eq!(actions.len(), permissions(&table).len());
}
