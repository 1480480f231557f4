//! The whole program as systemd sees it: readiness, status, watchdog, credentials that are wrong and mended, the end.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::support::certificates::{Authority, Valid};
use crate::support::itself;
use crate::support::program::Program;
use crate::support::proxy::HttpProxy;
use crate::support::robot::{Robot, number_in, numbered, publish};
use crate::support::stage::Stage;

const QUICK: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[[topics]]\nros = \"/numbers\"\npayload = \"data\"\ndepth = 1000\n";

/// A bridge that starts without a broker is ready, says that it is not connected and why, and says so when it is.
#[tokio::test(flavor = "multi_thread")]
async fn ready_without_a_broker_and_honest_about_it() {
    let stage = Stage::set().await;
    stage.link.shut().await;
    let mut program = Program::start(&stage.configure(QUICK));
    let status = program.await_note("STATUS=Not connected");
    assert!(status.contains("localhost") && status.contains("refuses connections"), "{status}");
    assert!(status.contains("0 acknowledged, 0 queued, 0 dropped. 0 of 1 topics"), "{status}");
    stage.link.reopen().await;
    program.await_note("STATUS=Connected.");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_note("STOPPING=1");
}

/// SIGTERM sends what is queued before the process ends, with status 0.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_the_queue() {
    const COUNT: usize = 500;
    let mut stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(QUICK));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 2 * COUNT);
    Robot::await_subscriber(&publisher);
    program.await_note("1 of 1 topics subscribed");
    // Nothing gets through, so all of it is queued when the signal comes.
    stage.link.pause();
    (0..COUNT).for_each(|number| publish(&publisher, numbered(number)));
    program.await_note(&format!("{COUNT} queued"));
    stage.link.resume();
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log(&format!("{COUNT} received, {COUNT} acknowledged, 0 dropped, 0 left"));
    for expected in 0..COUNT {
        assert_eq!(stage.observer.next().await.1, numbered(expected));
    }
}

/// What SIGTERM can't send in its bounded time is on the disk, and the next process sends it.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_without_a_broker_keeps_what_is_queued() {
    let mut stage = Stage::set().await;
    stage.link.shut().await;
    let config = stage.configure(QUICK);
    let mut program = Program::start(&config);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 10);
    Robot::await_subscriber(&publisher);
    (0..3).for_each(|number| publish(&publisher, numbered(number)));
    program.await_note("3 queued");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log("Stopped with 3 records on the disk");
    stage.link.reopen().await;
    let mut program = Program::start(&config);
    for number in 0..3 {
        assert_eq!(number_in(&stage.observer.next().await.1), number);
    }
    program.await_note("0 queued");
    assert_eq!(program.terminate().code(), Some(0));
}

/// Without a disk, what SIGTERM can't send in its bounded time is reported as lost, and the process ends all the same.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_without_a_broker_and_a_disk_reports_what_is_lost() {
    let stage = Stage::set().await;
    stage.link.shut().await;
    let mut program = Program::start(&stage.configure(&format!("durability = \"memory\"\n{QUICK}")));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 10);
    Robot::await_subscriber(&publisher);
    (0..3).for_each(|number| publish(&publisher, numbered(number)));
    program.await_note("3 queued");
    assert_eq!(program.terminate().code(), Some(0));
    let line = program.await_log("3 records in memory, which are lost with the process");
    assert!(line.contains("ERROR"), "{line}");
}

/// The watchdog hears from a healthy bridge at least at half its limit, connected or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_connected_or_not() {
    let stage = Stage::set().await;
    let limit = Duration::from_secs(2);
    let microseconds = limit.as_micros().to_string();
    let config = stage.configure(QUICK);
    let mut program = Program::start_with(&config, &[("WATCHDOG_USEC", microseconds.as_str())]);
    program.await_note("STATUS=Connected.");
    for connected in [true, false] {
        if !connected {
            stage.link.shut().await;
            program.await_note("STATUS=Not connected");
        }
        program.await_note("WATCHDOG=1");
        for _ in 0..5 {
            let gap = program.time_until_note("WATCHDOG=1");
            assert!(gap < limit, "{gap:?} without a sign of life");
        }
    }
    assert!(program.is_alive());
}

/// A broker whose authority is not trusted, a certificate that has expired, a key of another certificate: the process
/// lives, its status says what is wrong, and it connects by itself once the files are mended.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_a_status_and_heal() {
    let stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(QUICK));
    program.await_note("STATUS=Connected.");
    let good = stage.authority.issue(&["robot1"], Valid::Now);
    let other = stage.authority.issue(&["robot1"], Valid::Now);
    let expired = stage.authority.issue(&["robot1"], Valid::NoLonger);
    let stranger = Authority::new("Another CA");

    let faults: [(&str, &dyn Fn()); 3] = [
        ("is not signed by the root CA", &|| stage.trust(&stranger)),
        ("expired on", &|| drop(expired.write(stage.directory.path(), "robot1"))),
        ("does not belong to the client certificate", &|| {
            good.write(stage.directory.path(), "robot1");
            std::fs::write(&stage.files.private_key, &other.private_key).unwrap();
        }),
    ];
    for (word, spoil) in faults {
        spoil();
        stage.link.cut();
        let status = program.await_note(word);
        assert!(status.starts_with("STATUS="), "{status}");
        assert!(program.is_alive());
        stage.trust(&stage.authority);
        good.write(stage.directory.path(), "robot1");
        program.await_note("STATUS=Connected.");
    }
    assert_eq!(program.terminate().code(), Some(0));
}

/// A certificate that expires soon is warned of in the log, once and not with each connection, and in the status.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_soon_is_said_in_the_log() {
    let stage = Stage::set().await;
    stage.authority.issue(&["robot1"], Valid::ForDays(10)).write(stage.directory.path(), "robot1");
    let mut program = Program::start(&stage.configure(QUICK));
    let remark = "The client certificate expires in 9 days";
    let status = program.await_note("STATUS=Connected.");
    assert!(status.contains(remark), "{status}");
    assert!(program.await_log(remark).contains("WARN"));
    stage.link.shut().await;
    program.await_note("STATUS=Not connected");
    stage.link.reopen().await;
    program.await_note("STATUS=Connected.");
    assert_eq!(program.terminate().code(), Some(0));
    assert_eq!(program.log_lines(remark).len(), 1);
}

/// The password of a proxy is in no line of the log, however much of it is asked for, in no note to systemd and in no
/// status, neither as it is, nor as the URL has it, nor as the proxy is told.
#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_proxy_is_in_no_log() {
    let stage = Stage::set().await;
    let proxy = HttpProxy::start("of another").await;
    let url = format!("[mqtt.proxy]\nurl = \"http://robot:s%20ecret@localhost:{}\"\n", proxy.port);
    let mut program = Program::start_with(&stage.configure(&(url + QUICK)), &[("RUST_LOG", "trace")]);
    let told = program.await_note("does not accept its user name and password");
    program.await_log("does not accept its user name and password");
    let status = program.status().output().unwrap().stdout;
    let json = program.status().arg("--json").output().unwrap().stdout;
    let told = [told, String::from_utf8(status).unwrap(), String::from_utf8(json).unwrap()];
    assert!(told.iter().all(|text| text.contains("(407)")), "{told:?}");
    assert_eq!(program.terminate().code(), Some(0));
    for password in ["s ecret", "s%20ecret", "cm9ib3Q6cyBlY3JldA=="] {
        assert_eq!(program.log_lines(password), Vec::<String>::new());
        assert!(told.iter().all(|text| !text.contains(password)), "{told:?}");
    }
}

/// Without `root_ca` the system's trust store decides, which SSL_CERT_FILE replaces here.
#[tokio::test(flavor = "multi_thread")]
async fn the_system_s_trust_store_is_the_default() {
    let stage = Stage::set().await;
    let config = stage.configure(QUICK);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.lines().filter(|line| !line.starts_with("root_ca")).collect::<Vec<_>>().join("\n"))
        .unwrap();
    let authority = stage.root_ca();
    let mut trusting = Program::start_with(&config, &[("SSL_CERT_FILE", authority.to_str().unwrap())]);
    trusting.await_note("STATUS=Connected.");
    assert_eq!(trusting.terminate().code(), Some(0));
    let mut other = Program::start(&config);
    other.await_note("is not signed by any authority in the system's trust store");
}

/// Under systemd the journal gets a record for each line, with its fields beside the sentence, and standard error
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_gets_structured_fields() {
    let stage = Stage::set().await;
    std::fs::remove_file(&stage.files.private_key).unwrap();
    let config = stage.configure(QUICK);
    let journal = stage.directory.path().join("journal");
    let socket = UnixDatagram::bind(&journal).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // systemd tells a service the file that its standard error goes to, when that is the journal.
    let stderr = tempfile::tempfile().unwrap();
    let file = stderr.metadata().unwrap();
    // journald's socket has one place; a mount namespace of the test's own puts this test's there.
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket && \
                  mount --bind \"$1\" /run/systemd/journal/socket && exec \"$2\" run --config \"$3\"";
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--map-root-user"] };
    let possible = std::process::Command::new("unshare").args(user).args(["--mount", "true"]).status().unwrap();
    if !possible.success() {
        // As in a chroot, whose root is no mount of its own.
        eprintln!("Skipped: a mount namespace is not to be had here.");
        return;
    }
    let mut bridge = std::process::Command::new("unshare")
        .args(user)
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([journal.as_os_str(), itself::beside("iot-bridge").as_ref(), config.as_os_str()])
        .env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut buffer = [0; 65536];
    loop {
        let length = socket.recv(&mut buffer).expect("a record for the journal");
        let record = String::from_utf8_lossy(&buffer[..length]);
        // Each field is its name, a line feed, the length of its value as eight bytes, and the value.
        let field = |name: &str| record.split_once(&format!("{name}\n")).map(|(_, rest)| rest[8..].lines().next());
        if let Some(reason) = field("F_REASON") {
            assert!(reason.is_some_and(|reason| reason.ends_with("credentials")), "{record:?}");
            assert!(record.contains("Cannot connect: the private key"), "{record:?}");
            assert_eq!(field("PRIORITY"), Some(Some("3")));
            break;
        }
    }
    bridge.kill().unwrap();
    bridge.wait().unwrap();
    assert_eq!(stderr.metadata().unwrap().len(), 0);
}
