//! The running bridge: every stage wired to the next.

mod diagnostics;
mod fit;
mod reception;
mod recovery;
mod reload;
pub mod remote;
mod reports;
mod requests;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::health::{
    self, Balance, BehindState, ConfigurationState, Judge, Refusal, Reporter, Watched, metrics, status_socket, systemd,
};
use crate::ros::{self, Node, RosThread};
use iot_bridge_core::config::Settings;
use iot_bridge_core::queue::{DiskThread, Queue};
use iot_bridge_core::tally::{Heartbeat, counted};
use iot_bridge_core::uplink::{Renewal, Uplink, UplinkState};

pub use reception::{Opened, Reception, open, wanted};
use recovery::Recovery;
use reload::Configured;
pub use reload::{Begun, Reload};
use remote::{Keeping, Reloading, Stop, Wires, Witness};
use requests::{Entry, Requests, Wiring};

/// How often it is seen whether the threads are there.
const THREAD_LOOK: Duration = Duration::from_millis(500);

/// Longest wait for the end of what the cloud has asked for, before anything else stops.
const REQUESTS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for what is kept of the configuration from the cloud, when the bridge stops.
const KEEPING_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the ROS thread when the bridge stops; what is queued is sent even if DDS hangs.
const ROS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the disk when the bridge stops.
const DISK_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the bridge until `stop` ends, which says what asked for it; then stops it: first what the cloud has asked for, so that
/// a robot that drives by command stops; then in the order of the data's way: reception, then the uplink, which sends what it
/// can in a bounded time, then the queue's disk. So it does when one of its parts dies: whatever is queued is written then as
/// well.
///
/// What comes through `reloads` is brought into force while the bridge runs, or was refused, which is shown until one is
/// taken again. systemd is told when that is done. With `[remote]` it comes from `keeping`, as what the cloud desires does.
///
/// # Errors
/// When ROS can't be started or its thread dies. A broker that can't be reached is no error.
pub async fn run(
    settings: Settings,
    reloads: mpsc::Receiver<Reload>,
    keeping: Option<(Keeping, Reloading)>,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    run_with(Judge::default(), settings, reloads, keeping, stop).await
}

/// As [`run`], with a judge of falling behind who may be a faster one: for tests, which can't wait for minutes.
///
/// # Errors
/// Those of [`run`].
#[doc(hidden)]
pub async fn run_with(
    judge: Judge,
    settings: Settings,
    mut reloads: mpsc::Receiver<Reload>,
    keeping: Option<(Keeping, Reloading)>,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    let mut stop = pin!(stop);
    let configuration = Arc::new(ConfigurationState::loaded_now());
    let mut configured = Configured::new(settings.clone());
    let registry = configured.registry();
    let mut recovery = Recovery::start(&settings, Arc::clone(&registry));
    let opened = tokio::select! {
        opened = recovery.end() => opened.map(Some),
        reason = &mut stop => {
            systemd::stopping();
            tracing::info!("Stopping, because of {reason}.");
            recovery.stop().await;
            Ok(None)
        }
    };
    // Nobody beats while the queue is read, which may take longer than the watch waits for a beat.
    let [ros_pulse, uplink_pulse, requests_pulse] = [(); 3].map(|()| Arc::new(Heartbeat::new()));
    let ground = match opened {
        Ok(Some(opened)) => Ground::lay(&settings, opened, &uplink_pulse).await.map(Some),
        ended => ended.map(|_| None),
    };
    let ground = match ground {
        Ok(Some(ground)) => ground,
        ended => {
            // Nothing that the cloud may set has been looked at so far.
            if let Some((keeping, _)) = keeping {
                let _ = timeout(KEEPING_STOP_TIMEOUT, keeping.abandon()).await;
            }
            return ended.map(|_| ());
        }
    };
    let Ground { queue, disk_thread, mut uplink, mut uplink_state, mut renewal, node } = ground;
    let mut reception =
        Reception::new(&settings.aws.thing, configured.topics(), Arc::clone(&queue), Arc::clone(&ros_pulse));
    reception.replace_reports(&[], configured.reports_by_index());
    let ros = ros::spawn(node, configured.wanted(), reception)?;
    configured.look_for(&ros)?;
    let mut sighted = ros.sighted();
    let account = Arc::new(health::Requests::default());
    let behind = Arc::new(BehindState::default());
    let (desk, keeping) = keeping
        .map(|(keeping, reloading)| {
            let (desk, counter) = remote::desk();
            (desk, (keeping, reloading, counter))
        })
        .unzip();
    let wiring = Wiring {
        thing: settings.aws.thing.clone(),
        queue: Arc::clone(&queue),
        topics: Arc::clone(&registry),
        account: Arc::clone(&account),
        nodes: ros.nodes(),
        reports: configured.reports(),
        state: uplink_state.clone(),
        heartbeat: Arc::clone(&requests_pulse),
        desk,
    };
    let mut requests = Requests::start(&settings, &mut uplink, wiring)?;

    let (stop_keeping, stops) = watch::channel(Stop::NotYet);
    let mut keeping = keeping.map(|(mut keeping, reloading, counter)| {
        keeping.begin(&configuration);
        let (queue, topics, behind) = (Arc::clone(&queue), Arc::clone(&registry), Arc::clone(&behind));
        let witness = Witness::new(settings.aws.thing.clone(), queue, topics, uplink_state.clone(), behind);
        let wires = Wires { counter, witness, configuration: Arc::clone(&configuration), stop: stops };
        tokio::spawn(keeping.run(reloading, wires))
    });
    let reporter = Arc::new(Reporter::new(
        &settings.aws,
        Arc::clone(&configuration),
        (Arc::clone(&registry), account),
        Arc::clone(&queue),
        Arc::clone(&behind),
        uplink_state.clone(),
        uplink.meter(),
    ));
    let watched = Watched {
        configuration: Arc::clone(&configuration),
        topics: Arc::clone(&registry),
        queue: Arc::clone(&queue),
        balance: Balance::new(judge, &settings.aws, &settings.mqtt.quotas, behind),
        uplink: uplink_state.clone(),
        stages: vec![("ros", ros_pulse), ("uplink", uplink_pulse), ("requests", requests_pulse)],
    };
    let mut watching = tokio::spawn(health::watch(watched));
    let mut telling = JoinSet::new();
    telling.spawn(status_socket::serve(status_socket::path(), Arc::clone(&reporter)));
    if let Some(address) = settings.health.metrics {
        telling.spawn(metrics::serve(address, Arc::clone(&reporter)));
    }
    if settings.health.diagnostics {
        telling.spawn(diagnostics::publish(ros.nodes(), settings.ros.node_name.clone(), reporter));
    }
    let (stop_uplink, uplink_stopped) = oneshot::channel::<()>();
    let mut uplink = tokio::spawn(uplink.run(async {
        // An error means that the sender is gone, which ends the uplink as well.
        let _ = uplink_stopped.await;
    }));
    systemd::ready();

    let mut uplink_ended = None;
    let mut is_provisioning = settings.aws.provisioning.is_some();
    let asked = loop {
        tokio::select! {
            reason = &mut stop => break Ok(reason),
            name = provisioned(&mut uplink_state), if is_provisioning => {
                is_provisioning = false;
                if let Some(name) = name {
                    renewal.remember().await;
                    configured.name_thing(&name, &ros);
                }
            }
            Some(Reload { settings: loaded, is_from_cloud, answer }) = reloads.recv() => {
                let taken = match loaded {
                    Ok(loaded) => {
                        let entries = Entry::all(&loaded, settings.remote.as_ref());
                        // What may fail comes first: all of it is in force, or nothing is.
                        let taken = match requests.prepare(&entries) {
                            Ok(()) => configured.reload(loaded, &ros).inspect(|_| requests.reload(entries)),
                            Err(error) => {
                                tracing::error!("The configuration is not reloaded, for want of a thread: {error}.");
                                Err(Refusal { problems: 1, first: "there can be no thread for requests".to_owned() })
                            }
                        };
                        // A robot that is to be stopped does not wait for files.
                        tokio::select! {
                            reason = &mut stop => break Ok(reason),
                            () = renewal.ask_if_changed() => taken,
                        }
                    }
                    Err(refusal) => Err(refusal),
                };
                match &taken {
                    Ok(_) => configuration.taken(),
                    Err(_) if is_from_cloud => {}
                    Err(refusal) => configuration.refused(refusal.clone()),
                }
                // Nobody may want to know.
                let _ = answer.send(taken);
                systemd::ready();
            }
            Ok(()) = sighted.changed() => {
                let seen = sighted.borrow_and_update().clone();
                configured.follow(seen, &ros);
            }
            () = requests.death() => break Err(anyhow!("the thread of requests died")),
            () = death_of(&ros) => break Err(anyhow!("the ROS thread died")),
            () = death_of_disk_thread(disk_thread.as_ref()) => break Err(anyhow!("the queue's thread died")),
            ended = &mut uplink => {
                uplink_ended = Some(ended);
                break Err(anyhow!("the uplink ended by itself"));
            }
            ended = death_of_keeping(&mut keeping) => {
                break Err(anyhow!("the keeping of the configuration from the cloud died: {ended:?}"));
            }
            ended = &mut watching => break Err(anyhow!("the watch over the bridge died: {ended:?}")),
        }
    };
    systemd::stopping();
    if let Ok(reason) = &asked {
        tracing::info!("Stopping, because of {reason}.");
    }
    // It has no receiver without [remote].
    let _ = stop_keeping.send(if asked.is_ok() { Stop::Asked } else { Stop::Died });
    let stopping = tokio::task::spawn_blocking(move || requests.stop());
    let requests_ended = timeout(REQUESTS_STOP_TIMEOUT, stopping).await;
    if let Some(keeping) = keeping
        && !matches!(timeout(KEEPING_STOP_TIMEOUT, keeping).await, Ok(Ok(())))
        && asked.is_ok()
    {
        tracing::warn!(
            "What is kept of the configuration from the cloud may not say that this process has stopped as asked."
        );
    }
    let stopping = tokio::task::spawn_blocking(|| ros.stop());
    let ros_ended = timeout(ROS_STOP_TIMEOUT, stopping).await;
    drop(stop_uplink);
    let uplink_ended = async {
        match uplink_ended {
            Some(ended) => ended,
            None => uplink.await,
        }
    };
    let uplink_ended = drain(uplink_ended, &queue, disk_thread).await;
    watching.abort();
    drop(telling);
    log_left(&queue);
    for topic in registry.untold() {
        topic.log_account();
    }
    uplink_ended.map_err(|error| anyhow!("the uplink died: {error}"))?;
    let requests_ended = requests_ended.map_err(|_| anyhow!("the thread of requests does not stop"))?;
    requests_ended?.map_err(|_| anyhow!("the thread of requests died"))?;
    let ros_ended = ros_ended.map_err(|_| anyhow!("the ROS thread does not stop"))?;
    ros_ended?.map_err(|_| anyhow!("the ROS thread died"))?;
    asked.map(|_| ())
}

/// What the bridge stands on, whatever its topics and what the cloud may ask.
struct Ground {
    queue: Arc<Queue>,
    disk_thread: Option<DiskThread>,
    uplink: Uplink,
    uplink_state: watch::Receiver<UplinkState>,
    renewal: Renewal,
    node: Node,
}

impl Ground {
    /// With the queue as it was opened.
    ///
    /// # Errors
    /// When there can be no connection with the files that `[aws]` names, or no node.
    async fn lay(
        settings: &Settings,
        (queue, disk_thread): (Arc<Queue>, Option<DiskThread>),
        pulse: &Arc<Heartbeat>,
    ) -> anyhow::Result<Ground> {
        let (aws, mqtt) = (settings.aws.clone(), settings.mqtt.clone());
        let (uplink, uplink_state) = Uplink::new(aws, mqtt, Arc::clone(&queue), Arc::clone(pulse))?;
        let renewal = uplink.renewal().await;
        let node = Node::create(&settings.ros.node_name, &settings.ros.namespace)?;
        Ok(Ground { queue, disk_thread, uplink, uplink_state, renewal, node })
    }
}

/// Waits for the end of the uplink, which sends what it can, and has what is left in the queue written to the disk, also
/// if the uplink dies over it.
async fn drain<T>(
    uplink: impl Future<Output = Result<T, JoinError>>,
    queue: &Queue,
    disk_thread: Option<DiskThread>,
) -> Result<T, JoinError> {
    let ended = uplink.await;
    if let Some(disk_thread) = disk_thread {
        close_queue(queue, disk_thread).await;
    }
    ended
}

/// Has what is left in the queue written to the disk, as far as that is possible in a bounded time.
async fn close_queue(queue: &Queue, disk_thread: DiskThread) {
    let closing = tokio::task::spawn_blocking(|| disk_thread.close());
    if timeout(DISK_STOP_TIMEOUT, closing).await.is_err() {
        let records = queue.figures().memory_only();
        let lost = counted(records, "record is", "records are");
        tracing::error!(records, "The queue's disk does not answer; {lost} lost with the process.");
    }
}

/// Says what is left in the queue, and what of it is lost.
fn log_left(queue: &Queue) {
    let figures = queue.figures();
    let (left, lost) = (figures.queued(), figures.memory_only());
    if lost > 0 {
        let what = counted(lost, "record in memory, which is", "records in memory, which are");
        tracing::error!(records = lost, "Stopped with {what} lost with the process.");
    }
    if left > lost {
        let kept = left - lost;
        let what = counted(kept, "record on the disk, which is", "records on the disk, which are");
        tracing::info!(records = kept, "Stopped with {what} sent after the next start.");
    }
}

/// The name of the thing, once the robot was provisioned for it by this process. Nothing, if that will not be.
async fn provisioned(uplink: &mut watch::Receiver<UplinkState>) -> Option<String> {
    let is_settled = |state: &UplinkState| state.provisioned.is_some() || state.is_connected();
    uplink.wait_for(is_settled).await.ok()?.provisioned.clone()
}

/// Ends when the ROS thread has ended by itself.
async fn death_of(ros: &RosThread<Reception>) {
    let mut look = tokio::time::interval(THREAD_LOOK);
    while !ros.is_finished() {
        look.tick().await;
    }
}

/// Ends when the keeping of the configuration from the cloud, if there is one, has ended by itself. It is gone then.
async fn death_of_keeping(keeping: &mut Option<JoinHandle<()>>) -> Result<(), JoinError> {
    let Some(task) = keeping else { return std::future::pending().await };
    let ended = task.await;
    *keeping = None;
    ended
}

/// Ends when the thread of the queue's disk, if there is one, has ended by itself.
async fn death_of_disk_thread(disk_thread: Option<&DiskThread>) {
    let mut look = tokio::time::interval(THREAD_LOOK);
    while disk_thread.is_none_or(|disk_thread| !disk_thread.is_finished()) {
        look.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
    use iot_bridge_core::queue::disk::survey::go_on;
    use iot_bridge_core::queue::{Record, Route};
    use iot_bridge_core::topics::Registry;

    /// Who keeps the configuration from the cloud does not die unseen.
    #[tokio::test]
    async fn the_end_of_the_keeping_is_seen() {
        let mut keeping = Some(tokio::spawn(async { panic!("as a test") }));
        assert!(death_of_keeping(&mut keeping).await.unwrap_err().is_panic());
        let again = timeout(Duration::from_millis(1), death_of_keeping(&mut keeping)).await;
        assert!(keeping.is_none() && again.is_err(), "{again:?}");
    }

    /// An uplink that dies while it sends the rest leaves that rest on the disk.
    #[tokio::test]
    async fn what_an_uplink_that_dies_leaves_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let settings = config::Queue {
            disk: 64 << 20,
            durability: QueueDurability::Spill,
            directory: directory.path().to_owned(),
            ..config::Queue::in_memory(4 << 20, Overflow::DropOldest)
        };
        let find = |ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt);
        let open = || Queue::open(&settings, 100, Arc::new(find), &mut go_on).unwrap();
        let (queue, disk_thread) = open();
        queue.set_link(true);
        let route = Arc::new(Route {
            topic: Registry::default().topic("/odom", "odom"),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
        });
        let now = Instant::now();
        for _ in 0..10 {
            let expires = now + Duration::from_secs(3600);
            let record = Record { route: route.clone(), payload: "{}".into(), received_ns: 1, expires };
            assert!(queue.admit(record, now));
        }
        queue.lease(now).unwrap();
        let uplink: JoinHandle<()> = tokio::spawn(async { panic!("an uplink that dies, for a test") });
        assert!(drain(uplink, &queue, disk_thread).await.unwrap_err().is_panic());
        assert_eq!(open().0.figures().queued(), 10);
    }
}
