//! A bridge without ROS: the real uplink, session, keeper and store, with a record in the place of what a topic says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iot_bridge_core::config::{self, Overflow, Overlay, Priority, Qos, Queue as QueueSettings, Settings, fill_thing};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::queue::{Mark, Queue, Record, Route};
use iot_bridge_core::remote::{
    Event, Evidence, Keeper, Outcome, Report, Session, Spread, Step, Store, TopicEvidence, Wish,
};
use iot_bridge_core::shadows::TIMEOUT;
use iot_bridge_core::topics::Registry;
use iot_bridge_core::uplink::{Subscription, Uplink, UplinkState};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};

pub const SHADOW: &str = "iot-bridge";

/// How often it is looked whether what is on trial works, as the bridge does.
const LOOK: Duration = Duration::from_millis(500);
const HOUR: Duration = Duration::from_secs(3600);

/// What all robots share.
#[derive(Clone)]
pub struct Fleet {
    /// Beside the certificates.
    pub directory: PathBuf,
    pub port: u16,
    pub spread: Spread,
    pub planned: Arc<Planned>,
}

/// When robots have planned each of their requests to be published, and to which topic. A busy machine publishes them later.
#[derive(Default)]
pub struct Planned(Mutex<Vec<(String, Instant)>>);

impl Planned {
    /// The times for topics that end like this, from `since` on, in their order.
    pub fn times(&self, ending: &str, since: Instant) -> Vec<Instant> {
        let planned = self.0.lock().unwrap();
        let these = planned.iter().filter(|(topic, at)| topic.ends_with(ending) && *at >= since);
        let mut times: Vec<_> = these.map(|(_, at)| *at).collect();
        times.sort();
        times
    }
}

/// A robot that runs.
pub struct Running {
    pub thing: String,
    pub store: Arc<Store>,
    bridge: JoinHandle<()>,
    uplink: JoinHandle<u64>,
    stop: watch::Sender<bool>,
}

struct Robot {
    thing: String,
    configuration: PathBuf,
    planned: Arc<Planned>,
    session: Session,
    keeper: Keeper,
    store: Arc<Store>,
    queue: Arc<Queue>,
    registry: Registry,
    digest: String,
    /// What the topics in force say is admitted for.
    route: Option<Arc<Route>>,
    mark: Option<Mark>,
    reported: Option<Outcome>,
}

impl Fleet {
    /// Starts the robot of this number, with a configuration of its own on the disk.
    pub fn start(&self, number: usize) -> Running {
        let thing = thing(number);
        let directory = self.directory.join(&thing);
        std::fs::create_dir(&directory).unwrap();
        let configuration = directory.join("config.toml");
        std::fs::write(&configuration, self.configuration(&thing)).unwrap();
        let settings = config::load(Some(&configuration), []).unwrap().settings;
        let queue = Arc::new(Queue::in_memory(&QueueSettings::in_memory(1 << 20, Overflow::DropOldest)));
        let uplink = Uplink::new(settings.aws.clone(), settings.mqtt.clone(), Arc::clone(&queue), Arc::default());
        let (mut uplink, state) = uplink.unwrap();
        let (subscriptions, arrivals) = uplink.listen(64);
        let (now, wall) = (Instant::now(), SystemTime::now());
        let session = Session::new(SHADOW, &thing, self.spread, StdRng::seed_from_u64(number as u64), now, wall);
        let filters = session.filters().map(|filter| Subscription { filter, qos: Qos::AtMostOnce });
        subscriptions.set(filters.collect());
        let store = Arc::new(Store::new(directory));
        let keeper = Keeper::start(store.open().kept, settings.remote.as_ref().unwrap(), now);
        let robot = Robot {
            thing: thing.clone(),
            configuration,
            planned: Arc::clone(&self.planned),
            session,
            keeper,
            store: Arc::clone(&store),
            queue,
            registry: Registry::default(),
            digest: String::new(),
            route: None,
            mark: None,
            reported: None,
        };
        let (stop, stopped) = watch::channel(false);
        let shutdown = |mut stopped: watch::Receiver<bool>| async move { _ = stopped.wait_for(|stops| *stops).await };
        let uplink = tokio::spawn(uplink.run(shutdown(stopped.clone())));
        let bridge = tokio::spawn(async move {
            let _subscriptions = subscriptions;
            tokio::select! {
                () = robot.run(arrivals, state) => {}
                () = shutdown(stopped) => {}
            }
        });
        Running { thing, store, bridge, uplink, stop }
    }

    fn configuration(&self, thing: &str) -> String {
        let Fleet { directory, port, .. } = self;
        let directory = directory.display();
        format!(
            r#"
            [aws]
            endpoint = "localhost"
            port = {port}
            thing = "{thing}"
            certificate = "{directory}/robot.cert.pem"
            private_key = "{directory}/robot.private.key"
            root_ca = "{directory}/rootCA.crt"

            [remote]
            shadow = "{SHADOW}"
            allow = ["topics"]
            confirm = "20 s"

            [[topics]]
            ros = "/local"
            mqtt = "fleet/{{thing}}/local"
            "#
        )
    }
}

impl Running {
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits until it has stopped. Panics if something of it has.
    pub async fn ended(self) {
        self.bridge.await.unwrap();
        self.uplink.await.unwrap();
    }
}

impl Robot {
    async fn run(mut self, mut arrivals: mpsc::Receiver<Arrival>, mut state: watch::Receiver<UplinkState>) {
        let (mut connection, mut planned) = (None, None);
        loop {
            while let Some(step) = self.keeper.next(Instant::now()) {
                self.carry_out(step).await;
            }
            let now = Instant::now();
            while let Some(outgoing) = self.session.next(now) {
                let at = planned.take().filter(|at| *at <= now).unwrap_or(now);
                self.planned.0.lock().unwrap().push((outgoing.topic.clone(), at));
                let route = self.route(&outgoing.topic, Priority::High);
                self.admit(route, outgoing.payload, TIMEOUT);
            }
            let look = self.keeper.trial().map(|_| now + LOOK);
            planned = self.session.wake_at(now);
            let wake_at = [planned, self.keeper.wake_at(), look].into_iter().flatten().min();
            tokio::select! {
                Some(arrival) = arrivals.recv() => self.arrived(arrival),
                Ok(()) = state.changed() => {
                    let state = state.borrow_and_update();
                    let is = state.is_connected().then_some(state.connections);
                    let was = std::mem::replace(&mut connection, is);
                    if was != is && was.is_some() {
                        self.session.disconnected();
                    }
                    if was != is && is.is_some() {
                        self.session.connected(Instant::now());
                    }
                }
                () = tokio::time::sleep_until(wake_at.unwrap_or(now + HOUR).into()) => self.look(),
            }
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        let events = self.session.arrived(&arrival.topic, &arrival.payload, now).expect("the service is understood");
        for event in events {
            match event {
                Event::Desired { state, .. } => self.keeper.desired(&state, now),
                Event::Reported => {
                    self.reported.iter().for_each(|outcome| self.keeper.report_acked(outcome, now));
                }
                Event::Refused { rejection, .. } => panic!("a report is refused: {rejection:?}"),
                Event::Job(_) | Event::OfJobs(_) => panic!("there are no jobs"),
            }
        }
        arrival.taken();
    }

    async fn carry_out(&mut self, step: Step) {
        match step {
            Step::Check(wish) => {
                let result = self.load(wish).await.map(drop);
                self.keeper.checked(result, Instant::now());
            }
            Step::Keep(kept) => {
                let store = Arc::clone(&self.store);
                let result = spawn_blocking(move || store.keep(&kept)).await.unwrap();
                self.keeper.kept(result, Instant::now());
            }
            Step::Apply(wish) => {
                let result = self.load(wish).await.map(|(settings, digest)| {
                    self.digest = digest;
                    let mqtt = settings.topics.first().map(|topic| topic.mqtt.clone()).unwrap();
                    self.mark = Some(self.queue.mark());
                    let route = self.route(&mqtt, Priority::Normal);
                    self.route = Some(Arc::clone(&route));
                    self.admit(route, "{}".to_owned(), HOUR);
                });
                self.keeper.applied(result, Instant::now());
            }
            Step::Report(outcome) => {
                self.reported = Some(outcome.clone());
                let (bridge, ros_distro) = ("0.0.0".to_owned(), "jazzy".to_owned());
                self.session
                    .report(Report { outcome, config: self.digest.clone(), bridge, ros_distro }, Instant::now());
            }
            Step::Job { .. } => panic!("there are no jobs"),
        }
    }

    /// As `check` and a reload do.
    async fn load(&self, wish: Option<Wish>) -> Result<(Settings, String), Vec<String>> {
        let path = self.configuration.clone();
        spawn_blocking(move || load(&path, wish.as_ref())).await.unwrap()
    }

    /// Tells the keeper what has become of what is on trial.
    fn look(&mut self) {
        let (Some(trial), Some(mark), Some(route)) = (self.keeper.trial(), self.mark, &self.route) else { return };
        let since = self.queue.since(mark, [&*route.topic.counters].into_iter());
        let topic = TopicEvidence {
            name: route.topic.mqtt.clone(),
            had_record: since[0].admitted && !since[0].has_older,
            is_acknowledged: since[0].confirmed,
            is_forbidden: false,
        };
        let evidence = Evidence { began: trial.began(), is_connected: true, topics: vec![topic] };
        self.keeper.evidence(&evidence, Instant::now());
    }

    fn route(&self, mqtt: &str, priority: Priority) -> Arc<Route> {
        let topic = self.registry.topic(mqtt, &fill_thing(mqtt, &self.thing));
        Arc::new(Route { topic, qos: Qos::AtLeastOnce, retain: false, priority, packing: Default::default() })
    }

    fn admit(&self, route: Arc<Route>, payload: String, max_age: Duration) {
        let now = Instant::now();
        route.counters.count_received();
        let received_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let record = Record { route, payload: Bytes::from(payload), received_ns, expires: now + max_age };
        assert!(self.queue.admit(record, now));
    }
}

/// The name of a robot.
pub fn thing(number: usize) -> String {
    format!("robot{number}")
}

fn load(path: &Path, wish: Option<&Wish>) -> Result<(Settings, String), Vec<String>> {
    let overlay = wish.map(|wish| Overlay { name: wish.source(SHADOW), sections: wish.sections.clone() });
    match config::load_over(Some(path), [], overlay.as_ref()) {
        Ok(loaded) => Ok((loaded.settings, loaded.digest)),
        Err(error) => Err(error.problems.iter().map(|problem| problem.sentence()).collect()),
    }
}
