//! The stages of the running bridge, in the order in which they are started; [`serve`] is what goes on meanwhile, and [`stop`]
//! has the order in which they are stopped.

mod observers;
mod serve;
mod stop;

use std::sync::Arc;

use tokio::sync::oneshot;

use super::ground::Ground;
use super::reception::Reception;
use super::reload::Configured;
use super::remote::{self, Keeping, Reloading};
use super::requests::{Requests, Wiring};
use super::task::Task;
use crate::health::{Balance, ConfigurationState, Judge, Reporter, Sources, Watched};
use crate::ros::RosThread;
use iot_bridge_core::config::Settings;
use iot_bridge_core::queue::DiskThread;
use iot_bridge_core::tally::Heartbeat;
use iot_bridge_core::uplink::{Renewal, Uplink};
use observers::Observers;

/// In the order in which they are stopped.
pub(super) struct Stages {
    /// What the process has started with.
    settings: Settings,
    /// The topics in force, which the ROS thread receives.
    configured: Configured,
    requests: Requests,
    /// Who keeps the configuration from the cloud, if it may have one.
    keeping: Option<remote::Running>,
    ros: RosThread<Reception>,
    uplink: RunningUplink,
    disk_thread: Option<DiskThread>,
    observers: Observers,
    /// The queue among them, which all stages share.
    sources: Sources,
}

/// The uplink, as a task.
struct RunningUplink {
    /// Returns how many records it has left in the queue.
    task: Task<u64>,
    /// Asks it to stop, when it is dropped.
    stop: oneshot::Sender<()>,
    renewal: Renewal,
}

impl Stages {
    /// Starts them on `ground`, from reception to the uplink.
    ///
    /// # Errors
    /// When ROS or a thread can't be started.
    pub fn start(
        settings: Settings,
        judge: Judge,
        configuration: Arc<ConfigurationState>,
        configured: Configured,
        ground: Ground,
        keeping: Option<(Keeping, Reloading)>,
    ) -> anyhow::Result<Stages> {
        let Ground { queue, disk_thread, mut uplink, uplink_pulse, uplink_state, renewal, node } = ground;
        let [ros_pulse, requests_pulse] = [(); 2].map(|()| Arc::new(Heartbeat::new()));
        let thing = settings.aws.thing.clone();

        let ros = configured.receive(node, Arc::clone(&queue), Arc::clone(&ros_pulse))?;
        let sources = Sources {
            configuration,
            topics: configured.registry(),
            requests: Arc::default(),
            queue,
            behind: Arc::default(),
            uplink: uplink_state,
        };

        let (desk, counter) = remote::desk();
        let wiring = Wiring {
            thing: thing.clone(),
            queue: Arc::clone(&sources.queue),
            topics: Arc::clone(&sources.topics),
            account: Arc::clone(&sources.requests),
            nodes: ros.nodes(),
            reports: configured.reports(),
            state: sources.uplink.clone(),
            heartbeat: Arc::clone(&requests_pulse),
            desk: keeping.is_some().then_some(desk),
        };
        let requests = Requests::start(&settings, &mut uplink, wiring)?;
        let keeping = keeping.map(|keeping| remote::Running::start(keeping, thing, counter, &sources));

        let reporter = Reporter::new(&settings.aws, sources.clone(), uplink.meter());
        let watched = Watched {
            balance: Balance::new(judge, &settings.aws, &settings.mqtt.quotas, Arc::clone(&sources.behind)),
            sources: sources.clone(),
            stages: vec![("ros", ros_pulse), ("uplink", uplink_pulse), ("requests", requests_pulse)],
        };
        let observers = Observers::start(&settings, watched, reporter, ros.nodes());
        let uplink = RunningUplink::start(uplink, renewal);
        Ok(Stages { settings, configured, requests, keeping, ros, uplink, disk_thread, observers, sources })
    }
}

impl RunningUplink {
    fn start(uplink: Uplink, renewal: Renewal) -> RunningUplink {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = Task::spawn(uplink.run(async {
            // An error means that the sender is gone, which is how it is told to stop.
            let _ = stopped.await;
        }));
        RunningUplink { task, stop, renewal }
    }
}
