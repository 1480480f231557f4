//! A robot, the service, and the network between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::service::{Service, prefix};
use crate::config::fill_thing;
use crate::shadows::{Client, Kind, Method, Outgoing, Shadow, State, TIMEOUT, Topics};

const THING: &str = "robot1";
const NAME: &str = "state";
const STEP: Duration = Duration::from_millis(20);

pub struct World {
    pub shadow: Shadow,
    pub service: Service,
    pub now: Instant,
    topics: Topics,
    pub is_connected: bool,
    /// Requests on their way, with the time until which they may arrive.
    pub requests: VecDeque<(Instant, Outgoing)>,
    /// What is on its way to the robot.
    pub answers: VecDeque<(Kind, Vec<u8>)>,
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
            now: Instant::now(),
            topics: Topics::of(NAME),
            is_connected: false,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
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
        self.is_connected = true;
        self.shadow.connected(self.now);
    }

    /// What is on its way to the robot is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
        self.answers.clear();
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
        self.serve("update", json!({ "state": update }).to_string().as_bytes(), is_told);
        self.service.refuse = refuse;
    }

    fn serve(&mut self, method: &str, payload: &[u8], is_told: impl Fn(Kind) -> bool) {
        let published = self.service.take(&format!("{}/{method}", prefix(THING, NAME)), payload).expect("a request");
        let kinds =
            published.into_iter().filter_map(|(topic, payload)| Some((self.topics.kind(&topic, THING)?, payload)));
        if self.is_connected {
            self.answers.extend(kinds.filter(|(kind, _)| is_told(*kind)));
        }
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
        self.shadow.arrived(kind, payload.to_string().as_bytes(), self.now).unwrap();
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

    /// What the robot has to send.
    pub fn turn(&mut self) {
        self.hand_over();
        while let Some(outgoing) = self.shadow.next(self.now) {
            if outgoing.method == Method::Update {
                self.updates.push(serde_json::from_str(&outgoing.payload).unwrap());
                self.update_times.push(self.now);
            }
            self.requests.push_back((self.now + TIMEOUT, outgoing));
        }
    }

    /// The request at `index` arrives, unless it is too old.
    pub fn serve_request(&mut self, index: usize) {
        let Some((until, outgoing)) = self.requests.remove(index) else { return };
        if self.now < until {
            let topic = self.topics.of_request(outgoing.method);
            let method = topic.rsplit_once('/').unwrap().1;
            assert_eq!(fill_thing(&topic, THING), format!("{}/{method}", prefix(THING, NAME)));
            self.serve(method, outgoing.payload.as_bytes(), |_| true);
        }
    }

    pub fn deliver(&mut self, index: usize) {
        let Some((kind, payload)) = self.answers.remove(index) else { return };
        self.shadow.arrived(kind, &payload, self.now).expect("the service is understood");
    }

    /// Everything goes well for so long. The shadow gets its turns when it has asked for them, and when something comes.
    pub fn settle(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
            let is_quiet = self.requests.is_empty() && self.answers.is_empty();
            self.exchange();
            let next = if is_quiet { self.shadow.wake_at(self.now).unwrap_or(end) } else { self.now };
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
        }
        self.turn();
        self.exchange();
    }

    /// Everything goes well until then; what is sent last is still on its way.
    pub fn settle_until(&mut self, is_reached: impl Fn(&World) -> bool) {
        for _ in 0..10_000 {
            self.turn();
            if is_reached(self) {
                return;
            }
            self.exchange();
            self.now += STEP;
        }
        panic!("it does not happen");
    }

    fn exchange(&mut self) {
        while self.is_connected && !self.requests.is_empty() {
            self.serve_request(0);
        }
        while !self.answers.is_empty() {
            self.deliver(0);
        }
    }

    pub fn lose_requests(&mut self) {
        self.requests.clear();
    }

    /// What was asked for is done, and nobody hears of it.
    pub fn lose_answers(&mut self) {
        while !self.requests.is_empty() {
            self.serve_request(0);
        }
        self.answers.clear();
    }

    pub fn hold_requests(&mut self) -> VecDeque<(Instant, Outgoing)> {
        std::mem::take(&mut self.requests)
    }

    pub fn send(&mut self, requests: VecDeque<(Instant, Outgoing)>) {
        self.requests.extend(requests);
    }
}
