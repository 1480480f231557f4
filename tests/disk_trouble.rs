//! The whole program on a disk that is full, read-only, exchanged, somebody else's or no directory at all, and on one with
//! a large queue: it starts, says so, forwards, and uses the disk once that can be used.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::own_mounts::{self, Disk};
use crate::support::program::Program;
use crate::support::robot::{Publisher, Robot, number_in, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::State;
use iot_bridge_core::config::{Overflow, Priority, Qos, Queue as QueueSettings, QueueDurability};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::topics::Registry;

const CONFIGURATION: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[[topics]]\nros = \"/numbers\"\n\
                             payload = \"data\"\ndepth = 5000\n";

const WORKS_AGAIN: &str = "The queue's disk works again";

/// A robot that publishes on /numbers, with a subscriber.
fn robot() -> (Robot, Publisher) {
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 5000);
    Robot::await_subscriber(&publisher);
    (robot, publisher)
}

fn publish_all(publisher: &Publisher, numbers: Range<usize>) {
    numbers.for_each(|number| publish(publisher, numbered(number)));
}

async fn receive(stage: &mut Stage, numbers: Range<usize>) {
    for number in numbers {
        assert_eq!(number_in(&stage.observer.next().await.1), number);
    }
}

/// Waits for the line that says that the disk does not work, and answers it.
fn trouble(program: &Program) -> String {
    let line = program.await_log("The queue's disk does not work");
    assert!(line.contains("ERROR"), "{line}");
    line
}

/// On a disk that fills up the queue goes on in memory and says so, once; all that is queued is forwarded in order, also
/// while the disk is full; and when there is room again it is used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_done_without_until_it_has_room() {
    if !own_mounts::enter("disk_trouble::a_full_disk_is_done_without_until_it_has_room") {
        return;
    }
    let mut stage = Stage::set().await;
    std::fs::create_dir(stage.queue()).unwrap();
    own_mounts::mount(&["-t", "tmpfs", "-o", "size=256k"], Path::new("full"), &stage.queue());
    stage.link.shut().await;
    let config = stage.configure(CONFIGURATION);
    let mut program = Program::start(&config);
    let (_robot, publisher) = robot();
    publish_all(&publisher, 0..3000);
    let line = trouble(&program);
    assert!(line.contains("the file system of /") && line.contains(" is full (`df /"), "{line}");
    // The status line says it too, with that or after it.
    let status = "The queue's disk does not work: the file system of /";
    if !program.await_note(" 3000 queued").contains(status) {
        program.await_note(status);
    }
    stage.link.reopen().await;
    receive(&mut stage, 0..3000).await;
    program.await_note(" 0 queued");

    stage.link.shut().await;
    program.await_note("STATUS=Not connected");
    own_mounts::mount(&["-o", "remount,size=16m"], Path::new("full"), &stage.queue());
    publish_all(&publisher, 3000..5000);
    program.await_log(WORKS_AGAIN);
    program.await_note(" 2000 queued");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log("Stopped with 2000 records on the disk");
    assert_eq!(program.log_lines("The queue's disk does not work").len(), 1, "once a change");
    stage.link.reopen().await;
    let mut program = Program::start(&config);
    receive(&mut stage, 3000..5000).await;
    program.await_note(" 0 queued");
    assert_eq!(program.terminate().code(), Some(0));
    drop(program);
    own_mounts::unmount(&stage.queue());
}

/// A file system that the kernel turns read-only because of an error, as it does with flash that dies, costs nothing
/// that is queued: what is on it is read, the rest is in memory, and all of it is forwarded in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_is_read() {
    if !own_mounts::enter("disk_trouble::a_disk_that_turns_read_only_is_read") {
        return;
    }
    let Some(disk) = Disk::new(64) else { return };
    let mut stage = Stage::set().await;
    own_mounts::mount(&["-o", "remount,errors=remount-ro"], &disk.device(), &disk.path());
    std::fs::create_dir(disk.path().join("queue")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("queue"), stage.queue()).unwrap();
    stage.link.shut().await;
    let mut program = Program::start(&stage.configure(CONFIGURATION));
    let (_robot, publisher) = robot();
    publish_all(&publisher, 0..1000);
    program.await_note(" 1000 queued");
    let name = disk.device().file_name().unwrap().to_owned();
    std::fs::write(Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error"), "a test").unwrap();
    publish_all(&publisher, 1000..2000);
    let line = trouble(&program);
    assert!(line.contains("the file system of /") && line.contains(" is read-only"), "{line}");
    stage.link.reopen().await;
    receive(&mut stage, 0..2000).await;
    program.await_note(" 0 queued");
    assert_eq!(program.terminate().code(), Some(0));
}

/// On a disk that is read-only at the start the bridge starts, says so and forwards; once the disk can be written, it
/// is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_read_only_at_the_start_is_used_later() {
    if !own_mounts::enter("disk_trouble::a_disk_that_is_read_only_at_the_start_is_used_later") {
        return;
    }
    let mut stage = Stage::set().await;
    std::fs::create_dir(stage.queue()).unwrap();
    own_mounts::mount(&["-t", "tmpfs", "-o", "ro"], Path::new("locked"), &stage.queue());
    let mut program = Program::start(&stage.configure(CONFIGURATION));
    let line = trouble(&program);
    assert!(line.contains("the file system of /") && line.contains(" is read-only"), "{line}");
    own_mounts::mount(&["-o", "remount,rw"], Path::new("locked"), &stage.queue());
    comes_back(&mut stage, &mut program).await;
    drop(program);
    own_mounts::unmount(&stage.queue());
}

/// With a file where the directory should be the bridge starts, says so and forwards; once the file is gone, it makes
/// the directory and uses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_directory_s_place_is_done_without() {
    let mut stage = Stage::set().await;
    std::fs::write(stage.queue(), "in the way").unwrap();
    let mut program = Program::start(&stage.configure(CONFIGURATION));
    trouble(&program);
    assert_eq!(std::fs::read_to_string(stage.queue()).unwrap(), "in the way");
    std::fs::remove_file(stage.queue()).unwrap();
    comes_back(&mut stage, &mut program).await;
}

/// A program without a disk forwards; then the disk comes, and takes what is queued.
async fn comes_back(stage: &mut Stage, program: &mut Program) {
    let (_robot, publisher) = robot();
    publish_all(&publisher, 0..500);
    receive(stage, 0..500).await;
    program.await_log(WORKS_AGAIN);
    stage.link.shut().await;
    program.await_note("STATUS=Not connected");
    publish_all(&publisher, 500..1000);
    program.await_note(" 500 queued");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log("Stopped with 500 records on the disk");
}

/// When the disk under the queue's directory is taken away and another one is mounted in its place, the bridge goes on in
/// memory, says so once, and uses the new one by itself, with its lock; what was in memory is on it, and nothing of that
/// is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_exchanged_is_used() {
    if !own_mounts::enter("disk_trouble::a_disk_that_is_exchanged_is_used") {
        return;
    }
    let mut stage = Stage::set().await;
    std::fs::create_dir(stage.queue()).unwrap();
    own_mounts::mount(&["-t", "tmpfs"], Path::new("first"), &stage.queue());
    stage.link.shut().await;
    let config = stage.configure(CONFIGURATION);
    let program = Program::start(&config);
    let (_robot, publisher) = robot();
    publish_all(&publisher, 0..500);
    await_written(&program, 500);
    own_mounts::unmount_lazily(&stage.queue());
    own_mounts::mount(&["-t", "tmpfs"], Path::new("second"), &stage.queue());
    goes_on_in(&mut stage, program, publisher, &config).await;
    own_mounts::unmount(&stage.queue());
}

/// The same, when the directory is renamed: the bridge makes it anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_renamed_is_made_anew() {
    let mut stage = Stage::set().await;
    stage.link.shut().await;
    let config = stage.configure(CONFIGURATION);
    let program = Program::start(&config);
    let (_robot, publisher) = robot();
    publish_all(&publisher, 0..500);
    await_written(&program, 500);
    let away = stage.directory.path().join("away");
    std::fs::rename(stage.queue(), away).unwrap();
    goes_on_in(&mut stage, program, publisher, &config).await;
}
/// Waits until so many records are queued and all of them are on the disk.
fn await_written(program: &Program, records: u64) {
    program.await_report(|report| report.queue.waiting() == records && report.queue.memory_only() == 0);
}

/// The directory that a program with 500 records has written to is another one: it takes all that is in memory. A second
/// program does not get it as long as the first has it, and has all of it afterwards.
async fn goes_on_in(stage: &mut Stage, program: Program, publisher: Publisher, config: &Path) {
    let line = trouble(&program);
    assert!(line.contains(", or a file in it, was removed or replaced"), "{line}");
    publish_all(&publisher, 500..1000);
    program.await_log(WORKS_AGAIN);
    await_written(&program, 1000);
    let lock = std::fs::File::open(stage.queue().join("lock")).unwrap();
    assert!(matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)), "nobody holds the lock");
    assert_eq!(program.log_lines("The queue's disk does not work").len(), 1, "once a change");
    // It is killed.
    drop(program);
    let mut program = Program::start(config);
    program.await_log("1000 records of an earlier process are in the queue");
    stage.link.reopen().await;
    receive(stage, 0..1000).await;
    program.await_note(" 0 queued");
    assert_eq!(program.terminate().code(), Some(0));
}

/// Of two bridges with one directory the second says that it is another's, forwards from memory, and takes the directory
/// over when the first has gone.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_bridges_one_has_the_directory() {
    let mut stage = Stage::set().await;
    let config = stage.configure(CONFIGURATION);
    let mut first = Program::start(&config);
    let mut second = Program::start_with(&config, &[("IOT_BRIDGE_AWS__THING", "robot2")]);
    let line = trouble(&second);
    assert!(line.contains("another process has /"), "{line}");
    assert!(first.log_lines("The queue's disk does not work").is_empty());
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 5000);
    Robot::await_subscribers(&publisher, 2);
    publish_all(&publisher, 0..100);
    let mut arrived = [0, 0];
    while arrived != [100, 100] {
        let (topic, payload) = stage.observer.next().await;
        let bridge = usize::from(topic == "robots/robot2/numbers");
        assert_eq!(number_in(&payload), arrived[bridge], "{topic}");
        arrived[bridge] += 1;
    }
    assert_eq!(first.terminate().code(), Some(0));
    second.await_log(WORKS_AGAIN);
    assert_eq!(second.terminate().code(), Some(0));
}

/// While a large queue is looked through, systemd is told again and again that the start takes longer and how far it is;
/// then the bridge is ready, and all of the queue is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_of_a_large_queue_asks_for_time() {
    const RECORDS: u64 = 1000;
    const SEGMENTS: usize = 6;
    let stage = Stage::set().await;
    stage.link.shut().await;
    fill(&stage.queue(), RECORDS, 1 << 30);
    let mut program = Program::start(&stage.configure(CONFIGURATION));
    let asked = program.before_ready.iter().filter(|note| note.starts_with("EXTEND_TIMEOUT_USEC=")).count();
    assert!(asked >= SEGMENTS, "{:?}", program.before_ready);
    let told = program.before_ready.iter().filter_map(|note| {
        let percent = note.strip_prefix("STATUS=Looking through the queue on the disk: ")?.strip_suffix(" %.")?;
        percent.parse().ok()
    });
    let told: Vec<u64> = told.collect();
    assert!(told.is_sorted() && told.len() >= SEGMENTS && told.last() == Some(&100), "{told:?}");
    program.await_log(&format!("{RECORDS} records of an earlier process are in the queue"));
    // They are of no configured topic, and shown as long as they are queued all the same.
    let gone = |report: &Report| report.topics.iter().find(|topic| topic.ros == "/large").cloned();
    let topic = gone(&program.await_report(|report| gone(report).is_some())).unwrap();
    assert_eq!((topic.state, topic.recovered, topic.queued), (State::Removed, RECORDS, RECORDS));
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log(&format!(
        "Topic /large: 0 received, {RECORDS} of an earlier process, 0 acknowledged, 0 dropped, {RECORDS} left in the queue."
    ));
}

/// SIGTERM is obeyed while a large queue is looked through: the bridge ends at once, with 0 and without ever having been
/// ready, and the queue is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_the_recovery_is_obeyed() {
    const RECORDS: u64 = 400;
    let stage = Stage::set().await;
    stage.link.shut().await;
    // Many small segments: between two of them the bridge looks whether it is to stop.
    fill(&stage.queue(), RECORDS, 64 << 20);
    let before = content(&stage.queue());
    let config = stage.configure(CONFIGURATION);
    let mut program = Program::begin(&config, &[]);
    program.await_note("STATUS=Looking through the queue on the disk: ");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log("Stopping, because of SIGTERM.");
    program.await_log("The queue on the disk was not read to its end; the next start reads it.");
    assert!(program.log_lines("The ROS node is up").is_empty());
    assert!(content(&stage.queue()) == before, "the files have changed");
    let mut program = Program::start(&config);
    program.await_log(&format!("{RECORDS} records of an earlier process are in the queue"));
    assert_eq!(program.terminate().code(), Some(0));
}

/// After a recovery that has taken longer than a stage may be silent, no stage is told to make no progress: they begin then.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_recovery_is_no_stage_s_silence() {
    // Half of it is what a stage has.
    const WATCHDOG: Duration = Duration::from_secs(6);
    let stage = Stage::set().await;
    stage.link.shut().await;
    fill(&stage.queue(), 400, 64 << 20);
    let watchdog = WATCHDOG.as_micros().to_string();
    let mut program = Program::begin(&stage.configure(CONFIGURATION), &[("WATCHDOG_USEC", &watchdog)]);
    program.await_note("STATUS=Looking through the queue on the disk: ");
    program.signal("STOP");
    tokio::time::sleep(WATCHDOG / 2 + Duration::from_millis(500)).await;
    program.signal("CONT");
    // The first look of the watch is over.
    program.await_note("STATUS=Not connected");
    assert_eq!(program.log_lines("makes no progress"), Vec::<String>::new());
    assert_eq!(program.terminate().code(), Some(0));
}

/// All files of a queue.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let lanes = ["", "high", "normal", "low"].map(|lane| directory.join(lane));
    let files = lanes.iter().flat_map(|lane| std::fs::read_dir(lane).unwrap()).map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

/// Writes a queue of so many records of 100 kB.
fn fill(directory: &Path, records: u64, disk: u64) {
    let settings = QueueSettings {
        disk,
        directory: directory.to_owned(),
        durability: QueueDurability::Spill,
        ..QueueSettings::in_memory(32 << 20, Overflow::DropOldest)
    };
    let (queue, worker) =
        Queue::open(&settings, 100, Arc::new(|ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt)), &mut go_on)
            .unwrap();
    let route = Arc::new(Route {
        topic: Registry::default().topic("/large", "robots/robot1/large"),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    });
    for number in 0..records {
        let now = Instant::now();
        let record = Record {
            route: route.clone(),
            payload: vec![b'.'; 100_000].into(),
            received_ns: number as i64,
            expires: now + Duration::from_secs(86_400),
        };
        while queue.figures().bytes() > settings.memory / 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(queue.admit(record, now));
    }
    worker.unwrap().close();
}
