use super::*;

use iot_bridge_core::config;
use iot_bridge_core::remote::jobs;

const PREFIX: &str = "arn:aws:iot:eu-west-1:123456789012:";

fn place() -> Place {
    Place { region: "eu-west-1".into(), account: "123456789012".into() }
}

fn settings(text: &str, thing: &str, client_id: &str) -> Settings {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let aws = format!(
        "[aws]\nendpoint = \"localhost\"\nthing = {thing:?}\nclient_id = {client_id:?}\ncertificate = \"c\"\nprivate_key = \"k\"\n"
    );
    std::fs::write(&path, format!("{text}\n{aws}")).expect("a file");
    config::load_file(&path, std::iter::empty()).unwrap_or_else(|problems| panic!("{problems}")).settings
}

/// `Action,Action resource` for each resource of each statement.
fn lines(documents: &[Document]) -> Vec<String> {
    let statements = documents.iter().flat_map(|document| &document.statements);
    statements
        .flat_map(|statement| {
            let actions: Vec<_> = statement.actions.iter().map(|action| action.name()).collect();
            statement.resources.iter().map(move |resource| {
                format!("{} {}", actions.join(","), resource.strip_prefix(PREFIX).expect("an ARN of the place"))
            })
        })
        .collect()
}

/// Each configuration gets exactly what it needs.
#[test]
fn configurations_and_their_policies() {
    let odom = "[[topics]]\nros = \"/odom\"\n";
    for (text, thing, client_id, test, expected) in [
        (
            odom,
            ANY_THING,
            ANY_THING,
            false,
            &[
                "iot:Connect client/${iot:Connection.Thing.ThingName}",
                "iot:Publish topic/robots/${iot:Connection.Thing.ThingName}/odom",
            ][..],
        ),
        (odom, "r1", "r1", false, &["iot:Connect client/r1", "iot:Publish topic/robots/r1/odom"]),
        // The variable is of no use where the client id is another than the thing's name.
        (odom, "r1", "other", false, &["iot:Connect client/other", "iot:Publish topic/robots/r1/odom"]),
        (
            "[[topics]]\nros = \"/odom\"\nretain = true\n[[topics]]\nros = \"/b\"\nmqtt = \"all/b\"",
            "r1",
            "r1",
            false,
            &["iot:Connect client/r1", "iot:Publish topic/all/b", "iot:Publish,iot:RetainPublish topic/robots/r1/odom"],
        ),
        // A type that is not known before the graph is; one that is.
        (
            "[[topics]]\nros = \"/a\"\nmqtt = \"x/{type}\"\n[[topics]]\nros = \"/b\"\ntype = \"std_msgs/msg/String\"\nmqtt = \"y/{type}\"",
            "r1",
            "r1",
            false,
            &["iot:Connect client/r1", "iot:Publish topic/x/*/msg/*", "iot:Publish topic/y/std_msgs/msg/String"],
        ),
        // Patterns: as narrow as a policy can say it. What `except` leaves out it can't.
        (
            "[[topics]]\nros = \"/camera/*/info\"\nexcept = [\"/camera/rear/info\"]\n[[topics]]\nros = \"/sensors/**\"",
            ANY_THING,
            ANY_THING,
            false,
            &[
                "iot:Connect client/${iot:Connection.Thing.ThingName}",
                "iot:Publish topic/robots/${iot:Connection.Thing.ThingName}/camera/*/info",
                "iot:Publish topic/robots/${iot:Connection.Thing.ThingName}/sensors/*",
            ],
        ),
        (
            "[[topics]]\nros = \"/**/odom\"\nmqtt = \"o/{namespace}\"\n[[topics]]\nros = \"/s/**\"\nmqtt = \"{name}/{type}\"\ntype = \"nav_msgs/msg/*\"",
            "r1",
            "r1",
            false,
            &["iot:Connect client/r1", "iot:Publish topic/*/nav_msgs/msg/*", "iot:Publish topic/o/*"],
        ),
        // What a wider one holds is not said again.
        (
            "[[topics]]\nros = \"/a\"\nmqtt = \"x/{type}\"\n[[topics]]\nros = \"/b\"\nmqtt = \"x/std_msgs/msg/String\"",
            "r1",
            "r1",
            false,
            &["iot:Connect client/r1", "iot:Publish topic/x/*/msg/*"],
        ),
        (
            "[[topics]]\nros = \"/odom\"\n[mqtt.presence]\ntopic = \"robots/{thing}/presence\"",
            "r1",
            "r1",
            false,
            &[
                "iot:Connect client/r1",
                "iot:Publish topic/robots/r1/odom",
                "iot:Publish,iot:RetainPublish topic/robots/r1/presence",
            ],
        ),
        (
            "[[topics]]\nros = \"/odom\"\n[mqtt.last_will]\ntopic = \"wills\"\npayload = \"gone\"",
            "r1",
            "r1",
            false,
            &["iot:Connect client/r1", "iot:Publish topic/robots/r1/odom", "iot:Publish topic/wills"],
        ),
        // What is compressed may go to a topic of its own, and what is too small for that does not.
        (
            "[[topics]]\nros = \"/odom\"\ncompression = \"zstd\"\ncompression_suffix = true\nretain = true",
            "r1",
            "r1",
            false,
            &[
                "iot:Connect client/r1",
                "iot:Publish,iot:RetainPublish topic/robots/r1/odom",
                "iot:Publish,iot:RetainPublish topic/robots/r1/odom/zstd",
            ],
        ),
        // What the cloud may ask, by exact names in both directions.
        (
            "[[commands]]\nmqtt = \"robots/{thing}/drive\"\nros = \"/cmd_vel\"\ntype = \"a/msg/B\"\nreply = \"r/{thing}\"\n\
             [[commands]]\nmqtt = \"robots/all/stop\"\nros = \"/stop\"\ntype = \"a/msg/B\"\n\
             [[services]]\nmqtt = \"s/{thing}{ros}\"\nservice = \"/reset\"\ntype = \"a/srv/B\"\n\
             [[actions]]\nmqtt = \"a/{thing}\"\naction = \"/go\"\ntype = \"a/action/B\"\n\
             [[topics]]\nros = \"/odom\"\nmqtt = \"r/{thing}\"\nretain = true\n",
            ANY_THING,
            ANY_THING,
            false,
            &[
                "iot:Connect client/${iot:Connection.Thing.ThingName}",
                "iot:Publish topic/a/${iot:Connection.Thing.ThingName}/feedback",
                "iot:Publish topic/a/${iot:Connection.Thing.ThingName}/reply",
                "iot:Publish topic/s/${iot:Connection.Thing.ThingName}/reset/reply",
                "iot:Publish,iot:RetainPublish topic/r/${iot:Connection.Thing.ThingName}",
                "iot:Receive topic/a/${iot:Connection.Thing.ThingName}",
                "iot:Receive topic/robots/${iot:Connection.Thing.ThingName}/drive",
                "iot:Receive topic/robots/all/stop",
                "iot:Receive topic/s/${iot:Connection.Thing.ThingName}/reset",
                "iot:Subscribe topicfilter/a/${iot:Connection.Thing.ThingName}",
                "iot:Subscribe topicfilter/robots/${iot:Connection.Thing.ThingName}/drive",
                "iot:Subscribe topicfilter/robots/all/stop",
                "iot:Subscribe topicfilter/s/${iot:Connection.Thing.ThingName}/reset",
            ],
        ),
        // A shadow: what it is asked with and what it says, and no `#`.
        (
            "[[shadows]]\nname = \"state\"\nreport = \"/state\"\n",
            "r1",
            "r1",
            false,
            &[
                "iot:Connect client/r1",
                "iot:Publish topic/$aws/things/r1/shadow/name/state/get",
                "iot:Publish topic/$aws/things/r1/shadow/name/state/update",
                "iot:Receive topic/$aws/things/r1/shadow/name/state/get/accepted",
                "iot:Receive topic/$aws/things/r1/shadow/name/state/get/rejected",
                "iot:Receive topic/$aws/things/r1/shadow/name/state/update/accepted",
                "iot:Receive topic/$aws/things/r1/shadow/name/state/update/delta",
                "iot:Receive topic/$aws/things/r1/shadow/name/state/update/rejected",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/state/get/accepted",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/state/get/rejected",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/state/update/accepted",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/state/update/delta",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/state/update/rejected",
            ],
        ),
        // The robot's configuration: a shadow, whose topics are those of any shadow; topics are not known before it is there.
        (
            "[remote]\nshadow = \"iot-bridge\"\n",
            "r1",
            "r1",
            false,
            &[
                "iot:Connect client/r1",
                "iot:Publish topic/$aws/things/r1/shadow/name/iot-bridge/get",
                "iot:Publish topic/$aws/things/r1/shadow/name/iot-bridge/update",
                "iot:Receive topic/$aws/things/r1/shadow/name/iot-bridge/get/accepted",
                "iot:Receive topic/$aws/things/r1/shadow/name/iot-bridge/get/rejected",
                "iot:Receive topic/$aws/things/r1/shadow/name/iot-bridge/update/accepted",
                "iot:Receive topic/$aws/things/r1/shadow/name/iot-bridge/update/delta",
                "iot:Receive topic/$aws/things/r1/shadow/name/iot-bridge/update/rejected",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/iot-bridge/get/accepted",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/iot-bridge/get/rejected",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/iot-bridge/update/accepted",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/iot-bridge/update/delta",
                "iot:Subscribe topicfilter/$aws/things/r1/shadow/name/iot-bridge/update/rejected",
            ],
        ),
        (
            "[[topics]]\nros = \"/odom\"\nmqtt = \"$aws/rules/logs/{thing}/odom\"",
            ANY_THING,
            ANY_THING,
            true,
            &[
                "iot:Connect client/${iot:Connection.Thing.ThingName}",
                "iot:Publish topic/$aws/rules/logs/${iot:Connection.Thing.ThingName}/odom",
                "iot:Publish,iot:Receive topic/elf/${iot:Connection.Thing.ThingName}",
                "iot:Subscribe topicfilter/elf/${iot:Connection.Thing.ThingName}",
            ],
        ),
    ] {
        let documents = documents(&grants(&settings(text, thing, client_id), test).expect("literal"), &place())
            .expect("one document");
        assert_eq!(documents.len(), 1);
        let mut found = lines(&documents);
        found.sort();
        assert_eq!(found, expected, "{text}");
    }
}

/// A document reads as AWS documents it, with a condition on the certificate where the variable is used.
#[test]
fn a_document_is_json_as_aws_takes_it() {
    let settings = settings("[[topics]]\nros = \"/odom\"", ANY_THING, ANY_THING);
    let documents = documents(&grants(&settings, false).expect("literal"), &place()).expect("one document");
    let expected = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": format!("{PREFIX}client/{THING_NAME}"),
                "Condition": { "Bool": { "iot:Connection.Thing.IsAttached": "true" } },
            },
            { "Effect": "Allow", "Action": "iot:Publish", "Resource": format!("{PREFIX}topic/robots/{THING_NAME}/odom") },
        ],
    });
    assert_eq!(documents[0].json(), expected);
}

/// A last will, that of presence too, is a condition of the connection; and `check` knows it for its own.
#[test]
fn a_last_will_is_a_condition() {
    let last_will = "[mqtt.last_will]\ntopic = \"wills\"\npayload = \"gone\"";
    for (will, thing) in [(last_will, ANY_THING), (last_will, "r1"), ("[mqtt.presence]\ntopic = \"p/{thing}\"", "r1")] {
        let needed =
            grants(&settings(&format!("[[topics]]\nros = \"/odom\"\n{will}"), thing, thing), false).expect("literal");
        let document = documents(&needed, &place()).expect("one document").remove(0).json();
        let statements = document["Statement"].as_array().expect("a list");
        let conditions: Vec<_> = statements.iter().filter_map(|statement| statement.get("Condition")).collect();
        let expected = serde_json::json!({ "iot:ConnectAttributes": ["LastWill"] });
        assert_eq!(conditions.len(), 1, "{document}");
        assert_eq!(conditions[0]["ForAllValues:StringEquals"], expected);
        let found = check(&document.to_string(), &needed, None).expect("a policy");
        assert_eq!(found, Findings::default());
        let other = document.to_string().replace("LastWill", "PersistentConnect");
        assert_eq!(check(&other, &needed, None).expect("a policy").not_judged.len(), 1);
    }
}

fn many_topics(number: usize) -> String {
    (0..number).map(|n| format!("[[topics]]\nros = \"/sensors/a_rather_long_name_of_a_sensor_{n}\"\n")).collect()
}

/// What does not fit into 2048 characters is split, each part within the limit and nothing lost or said twice; what does
/// not fit into ten policies is refused.
#[test]
fn long_policies_are_split() {
    let grants_of = |number| grants(&settings(&many_topics(number), ANY_THING, ANY_THING), false).expect("literal");
    let documents_of_80 = documents(&grants_of(80), &place()).expect("documents");
    assert!((2..=10).contains(&documents_of_80.len()), "{}", documents_of_80.len());
    for document in &documents_of_80 {
        assert!(document.text().chars().filter(|c| !c.is_whitespace()).count() <= 2048);
    }
    let (mut all, before) = (lines(&documents_of_80), lines(&documents_of_80).len());
    all.sort();
    all.dedup();
    assert_eq!((all.len(), before), (81, 81));
    for number in (1..120).step_by(7) {
        let documents = documents(&grants_of(number), &place()).expect("documents");
        let texts = documents.iter().map(|document| document.text());
        assert!(texts.clone().all(|text| text.chars().filter(|c| !c.is_whitespace()).count() <= 2048), "{number}");
        let statements = documents.iter().flat_map(|document| &document.statements);
        assert_eq!(statements.map(|statement| statement.resources.len()).sum::<usize>(), number + 1);
    }
    assert!(documents(&grants_of(400), &place()).is_err_and(|TooMany(number)| number > 10));
}

fn checked(policy: &serde_json::Value) -> Findings {
    let settings = settings("[[topics]]\nros = \"/odom\"", ANY_THING, ANY_THING);
    check(&policy.to_string(), &grants(&settings, false).expect("literal"), Some("r1")).expect("a policy")
}

fn policy(actions: &[&str], resources: &[&str]) -> serde_json::Value {
    let resources: Vec<String> = resources.iter().map(|r| format!("{PREFIX}{r}")).collect();
    serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "iot:Connect", "Resource": [format!("{PREFIX}client/r1")] },
        { "Effect": "Allow", "Action": actions, "Resource": resources },
    ]})
}

/// The generated policy fits its configuration, also with the thing's name instead of the variable.
#[test]
fn what_is_generated_fits() {
    let settings = settings("[[topics]]\nros = \"/odom\"", ANY_THING, ANY_THING);
    let documents = documents(&grants(&settings, false).expect("literal"), &place()).expect("one document");
    assert_eq!(checked(&documents[0].json()), Findings::default());
    assert_eq!(checked(&policy(&["iot:Publish"], &["topic/robots/r1/odom"])), Findings::default());
}

/// What an existing policy allows otherwise than needed is named.
#[test]
fn too_much_and_too_little_are_named() {
    let found = checked(&policy(&["iot:Publish"], &["topic/robots/*"]));
    assert_eq!((found.too_little.len(), &found.too_much[..]), (0, &["iot:Publish topic/robots/*".to_owned()][..]));
    let found = checked(&policy(&["iot:Publish", "iot:Receive"], &["topic/robots/r2/odom"]));
    assert_eq!(found.too_little, ["iot:Publish topic/robots/r1/odom"]);
    assert_eq!(found.too_much, ["iot:Publish topic/robots/r2/odom", "iot:Receive topic/robots/r2/odom"]);
    // ELF's.
    let everything = serde_json::json!({ "Statement": { "Effect": "Allow", "Action": "iot:*", "Resource": "*" } });
    let found = checked(&everything);
    assert_eq!((found.too_little.len(), &found.too_much[..]), (0, &["iot:* *".to_owned()][..]));
    let denies = serde_json::json!({ "Statement": [{ "Effect": "Deny", "Action": "iot:*", "Resource": "*" }] });
    let found = checked(&denies);
    assert_eq!((found.too_little.len(), found.not_judged.len()), (2, 1));
}

/// What is no policy is refused with what is wrong.
#[test]
fn what_is_no_policy_is_refused() {
    for (text, word) in [
        ("{", "no JSON"),
        ("{}", "no Statement"),
        ("{\"Statement\": [{}]}", "Effect of statement 1"),
        ("{\"Statement\": [{\"Effect\": \"Allow\", \"Action\": 1, \"Resource\": \"*\"}]}", "statement 1"),
    ] {
        let why = check(text, &[], None).expect_err(text).to_string();
        assert!(why.contains(word), "{text}: {why}");
    }
}

#[test]
fn an_endpoint_names_its_region() {
    assert_eq!(region_of_endpoint("a1b2-ats.iot.eu-west-1.amazonaws.com"), Some("eu-west-1"));
    assert_eq!(region_of_endpoint("a1b2.ats.iot.cn-north-1.amazonaws.com.cn"), Some("cn-north-1"));
    assert_eq!(region_of_endpoint("localhost"), None);
}

/// What would be a pattern in a policy is refused with its place, wherever it stands; what only looks like one is not.
#[test]
fn nothing_widens_a_policy() {
    let odom = |more: &str| format!("[[topics]]\nros = \"/odom\"\n{more}");
    for (text, client_id, what) in [
        (odom("mqtt = \"robots/{thing}/*\""), "r1", "the MQTT topic \"robots/r1/*\" holds `*`"),
        (odom("mqtt = \"robots/?\""), "r1", "the MQTT topic \"robots/?\" holds `?`"),
        (odom("mqtt = \"*/{type}\""), "r1", "the MQTT topic \"*/{type}\" holds `*`"),
        (odom("mqtt = \"$aws/rules/a/*\""), "r1", "holds `*`"),
        (odom("[mqtt.last_will]\ntopic = \"*\""), "r1", "the MQTT topic \"*\" holds `*`"),
        (odom("[mqtt.presence]\ntopic = \"a?\""), "r1", "the MQTT topic \"a?\" holds `?`"),
        (odom(""), "*", "the client id \"*\" holds `*`"),
        (odom(""), "r?", "the client id \"r?\" holds `?`"),
        (odom(""), "${iot:ClientId}", "the client id \"${iot:ClientId}\" holds `${`"),
    ] {
        let wild = grants(&settings(&text, "r1", client_id), false).expect_err(&text).to_string();
        assert!(wild.contains(what), "{what}: {wild}");
    }
    // What placeholders have left open of a type is a pattern by intent, and a lone `$` is none.
    for text in [odom("mqtt = \"x/{type}\""), odom("mqtt = \"$aws/rules/a/b\""), odom("mqtt = \"a$b\"")] {
        assert!(grants(&settings(&text, "r1", "r$1"), false).is_ok(), "{text}");
    }
}

/// Jobs need what their client publishes, the answers to that, and word of new ones; nothing that starts the next job,
/// whatever it is. The rest is what the shadow needs.
#[test]
fn jobs_are_allowed_by_what_their_client_says() {
    let needed = |more: &str| -> Vec<Grant> {
        let text = format!("[remote]\nshadow = \"iot-bridge\"\n{more}");
        grants(&settings(&text, "r1", "r1"), false).expect("literal")
    };
    let (without, with) = (needed(""), needed("jobs = true\n"));
    let more: Vec<&Grant> = with.iter().filter(|grant| !without.contains(grant)).collect();
    assert_eq!(more.len() + without.len(), with.len());
    let allows = |action: Action, topic: &str| {
        let kind = if action == Action::Subscribe { "topicfilter" } else { "topic" };
        let wanted = Grant { action, resource: format!("{kind}/{topic}"), will: false };
        more.iter().any(|grant| grant.covers(&wanted))
    };
    let job = jobs::JobId::new("job-1").expect("a name");
    for request in [jobs::Request::List, jobs::Request::Describe(job.clone()), jobs::Request::Update(job)] {
        let topic = config::fill_thing(&request.topic(), "r1").into_owned();
        assert!(allows(Action::Publish, &topic), "{topic}");
        for answer in ["accepted", "rejected"] {
            assert!(allows(Action::Receive, &format!("{topic}/{answer}")), "{topic}/{answer}");
        }
        assert!(
            !allows(Action::Receive, &topic) && !allows(Action::Subscribe, &format!("{topic}/accepted")),
            "{topic}"
        );
    }
    let notify = config::fill_thing(&jobs::filter(), "r1").into_owned();
    assert!(allows(Action::Subscribe, &notify) && allows(Action::Receive, &notify));
    for other in [
        "jobs/start-next",
        "jobs/notify-next",
        "jobs/notify",
        "jobs/job-1/more",
        "shadow/update",
        "defender/metrics/json",
    ] {
        let topic = format!("$aws/things/r1/{other}");
        assert!(!allows(Action::Publish, &topic), "{topic}");
    }
    assert!(!allows(Action::Publish, "$aws/things/r2/jobs/get"));
    assert_eq!(more.len(), 3 + 6 + 2, "{more:#?}");
}

/// The policy that the package brings as an example is enough for robots that take their topics from the cloud: the topics, and
/// the shadow that docs/fleet.md and `config push` name.
#[test]
fn the_example_of_the_package_takes_a_configuration() {
    let text = include_str!("../../../../packaging/policy.json");
    let remote = "[[topics]]\nros = \"/odom\"\n[remote]\nshadow = \"iot-bridge\"\nallow = [\"topics\"]\n";
    let needed = grants(&settings(remote, "r1", "r1"), false).expect("no patterns");
    assert!(needed.iter().any(|grant| grant.action == Action::Subscribe), "{needed:?}");
    let findings = check(text, &needed, Some("r1")).expect("a policy");
    assert_eq!(findings.too_little, Vec::<String>::new());
}
