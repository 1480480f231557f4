use std::fs;
use std::path::Path;

use iot_bridge_core::config::Overflow;
use iot_bridge_core::queue::Queue;
use iot_bridge_core::remote::{By, Evidence, TopicEvidence, Verdict};
use iot_bridge_core::uplink::UplinkState;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::*;

/// The local configuration, which is read anew whenever it is loaded.
const LOCAL: &str = "[aws]\nendpoint = \"e\"\nthing = \"t\"\ncertificate = \"c\"\nprivate_key = \"k\"\n\
                     [remote]\nshadow = \"s\"\n[[topics]]\nros = \"/local\"\n";

/// A process that keeps its configuration in `directory`.
struct World {
    /// What the bridge is to put in force.
    reloads: mpsc::Receiver<Reload>,
    desk: Desk,
    stop: watch::Sender<Stop>,
}

fn config_in(directory: &Path) -> std::path::PathBuf {
    directory.join("config.toml")
}

/// A robot with [`LOCAL`] and nothing from the cloud.
fn robot() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(config_in(directory.path()), LOCAL).unwrap();
    directory
}

/// What starts with what is kept in `directory`.
fn start(directory: &Path) -> (Keeping, Settings) {
    let path = config_in(directory);
    let how: Load = Arc::new(move |overlay| Ok(config::load_over(Some(&path), [], overlay)?));
    let local = how(None).unwrap();
    let remote = local.settings.remote.clone().unwrap();
    Keeping::start(local, &remote, Store::new(directory.to_owned()), how, |_| Vec::new())
}

/// What the keeping is wired to, in a bridge that is played by the test.
fn wire() -> (World, Reloading, Wires) {
    let (desk, counter) = desk();
    let queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(1 << 20, Overflow::DropOldest)));
    let (uplink, behind) = (watch::Sender::new(UplinkState::default()).subscribe(), Arc::default());
    let witness = Witness::new("t".to_owned(), queue, Arc::default(), uplink, behind);
    let (stop, stops) = watch::channel(Stop::NotYet);
    let configuration = Arc::new(ConfigurationState::loaded_now());
    let (sender, reloads) = mpsc::channel(1);
    let reloading = Reloading { hang_up: signal(SignalKind::hangup()).unwrap(), reloads: sender };
    (World { reloads, desk, stop }, reloading, Wires { counter, witness, configuration, stop: stops })
}

impl World {
    /// One whose keeping runs, as `directory` has it.
    fn run(directory: &Path) -> (World, JoinHandle<()>) {
        let (mut keeping, _) = start(directory);
        let (world, reloading, wires) = wire();
        keeping.begin(&wires.configuration);
        (world, tokio::spawn(keeping.run(reloading, wires)))
    }

    fn desire(&self, version: &str, topic: &str) {
        self.desk.from_cloud.send(FromCloud::Desired(desired(version, topic))).unwrap();
    }

    /// The topics of the next configuration that is to be put in force, which is done.
    async fn puts_in_force(&mut self) -> Vec<String> {
        self.answers(Ok(())).await
    }

    async fn answers(&mut self, answer: Result<(), &str>) -> Vec<String> {
        let Reload { settings, answer: to, .. } = self.reloads.recv().await.unwrap();
        let (_, since) = oneshot::channel();
        let refusal = |first: &str| Refusal { problems: 1, first: first.to_owned() };
        to.send(answer.map(|()| Begun { since }).map_err(refusal)).unwrap();
        settings.unwrap().topics.into_iter().map(|topic| topic.ros).collect()
    }
}

fn desired(version: &str, topic: &str) -> State {
    let desired = json!({ "version": version, "config": { "topics": [{ "ros": topic }] } });
    let Value::Object(desired) = desired else { unreachable!() };
    desired
}

/// A bridge with a configuration of the cloud on trial.
async fn on_trial(directory: &Path) -> (Keeping, World, mpsc::Sender<Reload>, Wires) {
    let (mut keeping, _) = start(directory);
    let (mut world, reloading, mut wires) = wire();
    keeping.begin(&wires.configuration);
    keeping.keeper.desired(&desired("1", "/cloud"), Instant::now());
    let carried = carry_out(&mut keeping, &reloading.reloads, &mut wires);
    assert_eq!(tokio::join!(carried, world.puts_in_force()).1, ["/cloud"]);
    assert!(keeping.keeper.trial().is_some());
    keeping.to_cloud.clear();
    (keeping, world, reloading.reloads, wires)
}

/// Carries out all steps of the moment.
async fn carry_out(keeping: &mut Keeping, reloads: &mpsc::Sender<Reload>, wires: &mut Wires) {
    while let Some(step) = keeping.keeper.next(Instant::now()) {
        keeping.carry_out(step, reloads, wires).await.ok().unwrap();
    }
}

/// In how many processes what is on trial was begun, as the disk says.
fn attempts(directory: &Path) -> Option<u32> {
    Store::new(directory.to_owned()).look().unwrap().trial.map(|trial| trial.attempts)
}

/// What is on trial while a part of the bridge dies is tried in two processes; an orderly stop does not count.
#[tokio::test]
async fn the_death_of_a_part_counts_against_what_is_on_trial() {
    let directory = robot();
    let directory = directory.path();
    let (mut world, keeping) = World::run(directory);
    world.desire("1", "/deadly");
    assert_eq!(world.puts_in_force().await, ["/deadly"]);
    world.stop.send_replace(Stop::Died);
    keeping.await.unwrap();
    for (stop, counted) in [(Stop::Asked, 1), (Stop::Asked, 1), (Stop::Died, 2)] {
        let (world, keeping) = World::run(directory);
        world.stop.send_replace(stop);
        keeping.await.unwrap();
        assert_eq!(attempts(directory), Some(counted), "{stop:?}");
    }
    let (keeping, settings) = start(directory);
    assert_eq!((settings.topics[0].ros.as_str(), keeping.keeper.trial().is_some()), ("/local", false));
}

/// A start that ends before the bridge looks at what is on trial does not count, however often; one that crashes does.
#[tokio::test]
async fn a_start_that_fails_for_another_reason_does_not_count() {
    let directory = robot();
    let directory = directory.path();
    let (mut world, keeping) = World::run(directory);
    world.desire("1", "/cloud");
    world.puts_in_force().await;
    world.stop.send_replace(Stop::Died);
    keeping.await.unwrap();
    for _ in 0..3 {
        start(directory).0.abandon().await;
        assert_eq!(attempts(directory), Some(1));
    }
    drop(start(directory));
    assert_eq!(start(directory).1.topics[0].ros, "/local");
}

/// Whoever has something to say all the time does not keep it from being looked at what is on trial.
#[tokio::test]
async fn events_do_not_put_off_the_look() {
    let directory = robot();
    let (mut keeping, _) = start(directory.path());
    let (world, mut reloading, mut wires) = wire();
    keeping.begin(&wires.configuration);
    world.desk.from_cloud.send(FromCloud::Desired(State::new())).unwrap();
    let due = Instant::now();
    keeping.look_at = due;
    let turned = keeping.turn(&mut reloading, &mut wires).await;
    assert!(turned.is_ok() && keeping.look_at > due, "the event went first");
}

/// A reload of the files during a trial reports nothing but what the keeper has said since that began, with the new digest: the
/// report may be what confirms it.
#[tokio::test]
async fn a_reload_during_a_trial_keeps_the_report_that_confirms() {
    let directory = robot();
    let directory = directory.path();
    let (mut keeping, mut world, reloads, mut wires) = on_trial(directory).await;
    let mut reload = async |keeping: &mut Keeping, topic: &str| {
        fs::write(
            config_in(directory),
            LOCAL.replace("[[topics]]", &format!("[ros]\nnamespace = \"{topic}\"\n[[topics]]")),
        )
        .unwrap();
        tokio::join!(keeping.reload(&reloads, &mut wires), world.puts_in_force()).0.ok().unwrap();
        std::mem::take(&mut keeping.to_cloud)
    };
    assert!(reload(&mut keeping, "/one").await.is_empty(), "it is not known what has become of it");
    // Nothing of it has had a record.
    let began = keeping.keeper.trial().unwrap().began();
    let evidence = Evidence { began, is_connected: true, topics: Vec::new() };
    keeping.keeper.evidence(&evidence, began + Duration::from_secs(601));
    let Some(Step::Report(outcome)) = keeping.keeper.next(Instant::now()) else { panic!("no report is asked for") };
    keeping.report(outcome.clone());
    let before = std::mem::take(&mut keeping.to_cloud);
    let again = reload(&mut keeping, "/two").await;
    match (&before[..], &again[..]) {
        ([ToCloud::Report(first, digest)], [ToCloud::Report(second, other)]) => {
            assert!(*first == outcome && *second == outcome && digest != other, "{digest} {other}");
        }
        reports => panic!("{reports:?}"),
    }
    let later = began + Duration::from_secs(620);
    keeping.keeper.report_acked(&outcome, later);
    let step = keeping.keeper.next(later);
    assert!(matches!(&step, Some(Step::Keep(kept)) if kept.trial.is_none()), "{step:?}");
}

/// What was in force before a trial comes back as it was if the files of the moment don't do: they are half edited, or of a robot
/// that is to be started again. Where it can't, nothing says that it has. What is reported goes by what is in force.
#[tokio::test]
async fn what_was_in_force_comes_back_whatever_the_files_are_now() {
    let half_edited = LOCAL.replace("[[topics]]", "[[topics");
    let other = LOCAL.replace("/local", "/other");
    // The files, what the bridge says to each attempt, and whether the local configuration is in force then.
    type Attempt<'a> = (&'a str, Result<(), &'a str>);
    let attempts: [(&str, &[Attempt], bool); 3] = [
        (&half_edited, &[("/local", Ok(()))], true),
        (&other, &[("/other", Err("[ros] has changed")), ("/local", Ok(()))], true),
        (&other, &[("/other", Err("[ros] has changed")), ("/local", Err("there is no ROS"))], false),
    ];
    for (files, attempts, is_back) in attempts {
        let directory = robot();
        let directory = directory.path();
        let local = start(directory).0.digest;
        let (mut keeping, mut world, reloads, mut wires) = on_trial(directory).await;
        fs::write(config_in(directory), files).unwrap();
        let began = keeping.keeper.trial().unwrap().began();
        let name = "/cloud".to_owned();
        let topic = TopicEvidence { name, had_record: true, is_acknowledged: false, is_forbidden: false };
        let evidence = Evidence { began, is_connected: true, topics: vec![topic] };
        keeping.keeper.evidence(&evidence, began + Duration::from_secs(601));
        let answered = async {
            for (topic, answer) in attempts {
                assert_eq!(world.answers(*answer).await, [*topic]);
            }
        };
        tokio::join!(carry_out(&mut keeping, &reloads, &mut wires), answered);
        let [ToCloud::Report(outcome, digest)] = &keeping.to_cloud[..] else { panic!("{:?}", keeping.to_cloud) };
        assert_eq!(outcome.state, Verdict::RolledBack);
        let seen = (*digest == local, keeping.keeper.in_force().is_none(), !keeping.telling.is_stuck);
        assert_eq!(seen, (is_back, is_back, is_back), "{attempts:?}");
    }
}

/// What is wrong with the robot's own files is not told to the cloud: neither what they say, nor where they are.
#[test]
fn the_cloud_is_not_told_what_the_files_say() {
    let directory = robot();
    let path = config_in(directory.path());
    let how: Load = Arc::new(move |overlay| Ok(config::load_over(Some(&path), [], overlay)?));
    let files = LOCAL.replace("\"e\"", "\"e\"\nport = \"private\"");
    fs::write(config_in(directory.path()), files).unwrap();
    let sections = json!({ "topics": [{ "ros": "no name" }] });
    let wish = Wish { version: "1".to_owned(), sections: sections.as_object().unwrap().clone(), by: By::Shadow };
    let of_files = "The robot's own files have 1 problem, which its log tells.";
    assert_eq!(load(&how, "s", None).unwrap_err(), [of_files]);
    let problems = load(&how, "s", Some(&wish)).unwrap_err();
    assert!(problems.len() == 2 && problems[0].contains("no name") && problems[1] == of_files, "{problems:?}");
}

/// A wish is held against the types too, and is not rejected for what was wrong with the files before.
#[test]
fn a_wish_is_held_against_the_types() {
    let directory = tempfile::tempdir().unwrap();
    let path = config_in(directory.path());
    let text = "[aws]\nendpoint = \"e\"\nthing = \"t\"\ncertificate = \"c\"\nprivate_key = \"k\"\n\
                [remote]\nshadow = \"s\"\n[[commands]]\nmqtt = \"c\"\nros = \"/c\"\ntype = \"a/msg/B\"\n";
    fs::write(&path, text).unwrap();
    let how: Load = Arc::new(move |overlay| Ok(config::load_over(Some(&path), [], overlay)?));
    // No type has a field `poze`, and none is called a/msg/B.
    let compare: Compare = |loaded| {
        let wrong = |place: &&config::TypePlace| place.path == "poze" || place.list == "commands";
        let places = loaded.places.iter().filter(wrong);
        places.map(|place| place.problem("it".to_owned(), "there is none".to_owned())).collect()
    };
    let wish = |fields: &str| {
        let sections = json!({ "topics": [{ "ros": "/a", "fields": [fields] }] });
        // A version that looks like a key is not told.
        let version = "ReleaseCandidate2026November".to_owned();
        Wish { version, sections: sections.as_object().unwrap().clone(), by: By::Shadow }
    };
    assert_eq!(compare(&how(None).unwrap()).len(), 1);
    assert_eq!(check(&how, compare, "s", None), Ok(()));
    assert_eq!(check(&how, compare, "s", Some(&wish("pose"))), Ok(()));
    let problems = vec!["topics[0].fields[0]: found it; there is none.".to_owned()];
    assert_eq!(check(&how, compare, "s", Some(&wish("poze"))), Err(problems));
    let problems = check(&how, compare, "s", Some(&wish("a b"))).unwrap_err();
    assert!(problems.len() == 1 && problems[0].starts_with("topics[0].fields[0]: found \"a b\"; "), "{problems:?}");
}
