//! A robot, the service, and the network between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::network::{Ends, Network};
use super::service::{Service, prefix};
use crate::config::fill_thing;
use crate::shadows::{Client, Kind, Method, Outgoing, Shadow, State, TIMEOUT, Topics};

const THING: &str = "robot1";
const NAME: &str = "state";

pub struct World {
    pub shadow: Shadow,
    pub service: Service,
    pub network: Network<Outgoing, (Kind, Vec<u8>)>,
    topics: Topics,
    /// Every update that the robot has sent, and when.
    pub updates: Vec<Value>,
    pub update_times: Vec<Instant>,
    pub handed_over: Vec<Value>,
    pub refused: usize,
    pub takes_wishes: bool,
    pub refuses_wishes: bool,
}

pub fn state(value: &Value) -> State {
    value.as_object().cloned().expect("an object")
}

impl World {
    /// Nothing is connected.
    pub fn new(rate: Option<f64>) -> World {
        let client = Client::new(StdRng::seed_from_u64(7));
        World {
            shadow: Shadow::new(Some(rate), true, client),
            service: Service::default(),
            network: Network::new(Instant::now()),
            topics: Topics::of(NAME),
            updates: Vec::new(),
            update_times: Vec::new(),
            handed_over: Vec::new(),
            refused: 0,
            takes_wishes: true,
            refuses_wishes: false,
        }
    }

    /// The shadow has been asked for.
    pub fn connected(rate: Option<f64>) -> World {
        let mut world = World::new(rate);
        world.connect();
        world.settle(Duration::from_secs(2));
        world
    }

    pub fn connect(&mut self) {
        self.network.is_connected = true;
        self.shadow.connected(self.network.now);
    }

    /// What is on its way to the robot is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.network.disconnect();
        self.shadow.disconnected();
    }

    pub fn report(&mut self, message: Value) {
        self.shadow.report(state(&message)).unwrap();
    }

    /// Somebody else updates the shadow.
    pub fn write(&mut self, update: Value) {
        self.write_telling(update, |_| true);
    }

    /// As [`World::write`], of which the robot is told nothing.
    pub fn write_in_secret(&mut self, update: Value) {
        self.write_telling(update, |_| false);
    }

    fn write_telling(&mut self, update: Value, is_told: impl Fn(Kind) -> bool) {
        // What is refused is the robot's.
        let refuse = std::mem::take(&mut self.service.refuse);
        self.ask("update", json!({ "state": update }).to_string().as_bytes(), is_told);
        self.service.refuse = refuse;
    }

    fn ask(&mut self, method: &str, payload: &[u8], is_told: impl Fn(Kind) -> bool) {
        let published = self.service.take(&format!("{}/{method}", prefix(THING, NAME)), payload).expect("a request");
        let kinds =
            published.into_iter().filter_map(|(topic, payload)| Some((self.topics.kind(&topic, THING)?, payload)));
        self.network.tell(kinds.filter(|(kind, _)| is_told(*kind)));
    }

    fn document(&self) -> Value {
        self.service.document(&prefix(THING, NAME))
    }

    pub fn reported(&self) -> Value {
        let document = self.document();
        if document.is_null() { json!({}) } else { document["reported"].clone() }
    }

    /// Without what is empty.
    pub fn desired(&self) -> Value {
        let mut desired = self.document()["desired"].as_object().cloned().unwrap_or_default();
        crate::shadows::state::prune(&mut desired);
        desired.into()
    }

    pub fn arrive(&mut self, kind: Kind, payload: &Value) {
        self.shadow.arrived(kind, payload.to_string().as_bytes(), self.network.now).unwrap();
        self.hand_over();
    }

    pub fn hand_over(&mut self) {
        let Some(wish) = self.shadow.wish().map(|wish| wish.state.clone()) else { return };
        if self.refuses_wishes {
            self.refused += 1;
            self.shadow.was_refused();
        } else if self.takes_wishes {
            self.handed_over.push(wish.into());
            self.shadow.was_handed_over();
        }
    }

    pub fn lose_requests(&mut self) {
        self.network.requests.clear();
    }

    pub fn hold_requests(&mut self) -> VecDeque<(Instant, Outgoing)> {
        std::mem::take(&mut self.network.requests)
    }

    pub fn send(&mut self, requests: VecDeque<(Instant, Outgoing)>) {
        self.network.requests.extend(requests);
    }
}

impl Ends for World {
    type Request = Outgoing;
    type Answer = (Kind, Vec<u8>);

    fn network(&mut self) -> &mut Network<Outgoing, (Kind, Vec<u8>)> {
        &mut self.network
    }

    fn turn(&mut self) {
        self.hand_over();
        let now = self.network.now;
        while let Some(outgoing) = self.shadow.next(now) {
            if outgoing.method == Method::Update {
                self.updates.push(serde_json::from_str(&outgoing.payload).unwrap());
                self.update_times.push(now);
            }
            self.network.requests.push_back((now + TIMEOUT, outgoing));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.shadow.wake_at(self.network.now)
    }

    fn serve(&mut self, outgoing: Outgoing) {
        let topic = self.topics.of_request(outgoing.method);
        let method = topic.rsplit_once('/').unwrap().1;
        assert_eq!(fill_thing(&topic, THING), format!("{}/{method}", prefix(THING, NAME)));
        self.ask(method, outgoing.payload.as_bytes(), |_| true);
    }

    fn hear(&mut self, (kind, payload): (Kind, Vec<u8>)) {
        self.shadow.arrived(kind, &payload, self.network.now).expect("the service is understood");
    }
}
