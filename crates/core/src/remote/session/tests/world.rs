//! A bridge, the service, and the network between.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::config::fill_thing;
use crate::remote::{By, Event, Figures, Outcome, Outgoing, Report, Session, Spread, Verdict};
use crate::shadows::TIMEOUT;
use crate::shadows::tests::network::{Ends, Network};
use crate::shadows::tests::service::{Service, prefix};

pub const THING: &str = "robot1";
pub const NAME: &str = "iot-bridge";

pub struct World {
    pub session: Session,
    pub service: Service,
    /// Answers are topic and payload.
    pub network: Network<Outgoing, (String, Vec<u8>)>,
    /// When the shadow was asked for.
    pub gets: Vec<Instant>,
    /// Every update that the bridge has sent, and when.
    pub updates: Vec<(Instant, Value)>,
    pub events: Vec<Event>,
}

/// What is reported of `version`.
pub fn report(version: &str, state: Verdict) -> Report {
    Report {
        outcome: Outcome { by: By::Shadow, version: Some(version.to_owned()), state, problems: Vec::new() },
        config: "0123456789abcdef".repeat(4),
        bridge: "0.2.0".to_owned(),
        ros_distro: "jazzy".to_owned(),
    }
}

impl World {
    /// Nothing is connected.
    pub fn new(seed: u64) -> World {
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_796_000_123));
        World::at(seed, now, wall)
    }

    fn at(seed: u64, now: Instant, wall: SystemTime) -> World {
        World {
            session: Session::new(NAME, THING, Spread::default(), StdRng::seed_from_u64(seed), now, wall),
            service: Service::default(),
            network: Network::new(now),
            gets: Vec::new(),
            updates: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The shadow has been asked for.
    pub fn connected() -> World {
        let mut world = World::new(7);
        world.connect();
        world.settle(Duration::from_secs(3));
        world
    }

    pub fn connect(&mut self) {
        self.network.is_connected = true;
        self.session.connected(self.network.now);
    }

    /// What is on its way to the bridge is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.network.disconnect();
        self.session.disconnected();
    }

    pub fn report(&mut self, version: &str, state: Verdict) {
        self.session.report(report(version, state), self.network.now);
    }

    pub fn figures(&mut self, dropped: u64) {
        self.session.figures(Figures { dropped, ..Figures::default() });
    }

    /// Somebody else updates the shadow.
    pub fn write(&mut self, update: Value) {
        self.write_telling(update, |_| true);
    }

    /// As [`World::write`]; of what is said about it the bridge hears what ends like this.
    pub fn write_telling(&mut self, update: Value, is_told: impl Fn(&str) -> bool) {
        // What is refused is the bridge's.
        let refuse = std::mem::take(&mut self.service.refuse);
        let told = self.take("update", json!({ "state": update }).to_string().as_bytes());
        self.service.refuse = refuse;
        self.network.tell(told.into_iter().filter(|(topic, _)| is_told(topic)));
    }

    /// What the bridge would be told.
    fn take(&mut self, method: &str, payload: &[u8]) -> Vec<(String, Vec<u8>)> {
        let told = self.service.take(&format!("{}/{method}", prefix(THING, NAME)), payload).expect("a request");
        let filters: Vec<_> = self.session.filters().map(|filter| fill_thing(&filter, THING).into_owned()).collect();
        told.into_iter().filter(|(topic, _)| filters.contains(topic)).collect()
    }

    pub fn reported(&self) -> Value {
        self.service.document(&prefix(THING, NAME))["reported"].clone()
    }

    pub fn desired(&self) -> Value {
        self.service.document(&prefix(THING, NAME))["desired"].clone()
    }

    /// What was desired, each time that it was another.
    pub fn wishes(&self) -> Vec<Value> {
        let wish = |event: &Event| match event {
            Event::Desired { state, .. } => Some(Value::Object(state.clone())),
            _ => None,
        };
        self.events.iter().filter_map(wish).collect()
    }

    /// How often the report was said to be held.
    pub fn reports_held(&self) -> usize {
        self.events.iter().filter(|event| **event == Event::Reported).count()
    }

    /// A delta comes, whatever the shadow holds.
    pub fn delta(&mut self, version: u64, state: Value) {
        let payload = json!({"version": version, "state": state}).to_string();
        let topic = format!("{}/update/delta", prefix(THING, NAME));
        self.events.extend(self.session.arrived(&topic, payload.as_bytes(), self.network.now).unwrap());
    }
}

impl Ends for World {
    type Request = Outgoing;
    type Answer = (String, Vec<u8>);

    fn network(&mut self) -> &mut Network<Outgoing, (String, Vec<u8>)> {
        &mut self.network
    }

    fn turn(&mut self) {
        let now = self.network.now;
        while let Some(outgoing) = self.session.next(now) {
            if outgoing.topic.ends_with("/update") {
                self.updates.push((now, serde_json::from_str(&outgoing.payload).unwrap()));
            } else {
                self.gets.push(now);
            }
            self.network.requests.push_back((now + TIMEOUT, outgoing));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.session.wake_at(self.network.now)
    }

    fn serve(&mut self, outgoing: Outgoing) {
        let topic = fill_thing(&outgoing.topic, THING).into_owned();
        let method = topic.strip_prefix(&prefix(THING, NAME)).unwrap().trim_start_matches('/');
        let told = self.take(method, outgoing.payload.as_bytes());
        self.network.tell(told);
    }

    fn hear(&mut self, (topic, payload): (String, Vec<u8>)) {
        let events = self.session.arrived(&topic, &payload, self.network.now);
        self.events.extend(events.expect("the service is understood"));
    }
}
