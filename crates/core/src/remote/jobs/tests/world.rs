//! A robot, the service, and the network between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::service::{Publication, Service};
use crate::config::fill_thing;
use crate::remote::jobs::{
    Client, Details, Event, Execution, Kind, OPERATION, Outgoing, Over, Request, Status, TIMEOUT, Update, kind,
};

pub const THING: &str = "robot1";
const STEP: Duration = Duration::from_millis(20);

pub struct World {
    pub client: Client,
    pub service: Service,
    pub now: Instant,
    pub is_connected: bool,
    /// Requests on their way, with the time until which they may arrive.
    pub requests: VecDeque<(Instant, Outgoing)>,
    /// What is on its way to the robot.
    pub answers: VecDeque<(Kind, Vec<u8>)>,
    /// Every request that the robot has made.
    pub asked: Vec<(Request, Value)>,
    /// What was begun, in order.
    pub begun: Vec<String>,
    /// What a job that was begun last has become, as the robot's disk has it.
    pub kept: Option<(Execution, Option<Status>)>,
    pub events: Vec<Event>,
}

/// A document with a configuration.
pub fn configuration(version: &str) -> Value {
    json!({"operation": OPERATION, "version": version, "config": {"topics": []}})
}

impl World {
    pub fn new() -> World {
        World {
            client: Client::new(StdRng::seed_from_u64(7)),
            service: Service::default(),
            now: Instant::now(),
            is_connected: false,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            asked: Vec::new(),
            begun: Vec::new(),
            kept: None,
            events: Vec::new(),
        }
    }

    /// The list has been asked for.
    pub fn connected() -> World {
        let mut world = World::new();
        world.connect();
        world.settle(10);
        world
    }

    pub fn connect(&mut self) {
        self.is_connected = true;
        self.client.connected_within(Duration::from_secs(5), self.now);
    }

    /// What is on its way to the robot is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
        self.answers.clear();
        self.client.disconnected();
    }

    /// Another process, with the same disk.
    pub fn restart(&mut self) {
        self.disconnect();
        self.requests.clear();
        self.client = Client::new(StdRng::seed_from_u64(8));
        self.connect();
    }

    pub fn create(&mut self, job: &str, document: Value) {
        let news = self.service.create(THING, job, document);
        self.tell(news);
    }

    pub fn end(&mut self, job: &str, status: &str) {
        let news = self.service.end(THING, job, status);
        self.tell(news);
    }

    pub fn tell(&mut self, published: Vec<Publication>) {
        if self.is_connected {
            let kinds = published.into_iter().filter_map(|(topic, payload)| Some((kind(&topic, THING)?, payload)));
            self.answers.extend(kinds);
        }
    }

    pub fn standing(&self, job: &str) -> String {
        self.service.standing(THING, job)["status"].as_str().unwrap_or_default().to_owned()
    }

    pub fn details(&self, job: &str) -> Value {
        self.service.standing(THING, job)["details"].clone()
    }

    /// What was begun has come to this end.
    pub fn finish(&mut self, status: Status) {
        let Some((execution, end)) = &mut self.kept else { return };
        if end.is_none() {
            *end = Some(status);
            let update = said(execution, status);
            self.client.update(update);
        }
    }

    /// What the robot does with what has come.
    pub fn take(&mut self, event: Event) {
        match &event {
            Event::Job(job) => match &self.kept {
                Some((execution, end)) if *execution == job.execution => {
                    let again = end.map(|status| said(execution, status));
                    again.into_iter().for_each(|update| self.client.update(update));
                }
                _ => {
                    self.begun.push(job.execution.to_string());
                    self.kept = Some((job.execution.clone(), None));
                }
            },
            Event::Over { execution, why } => {
                assert!(!matches!(why, Over::Refused(_)) || !self.begun.is_empty());
                self.kept.take_if(|(kept, _)| kept == execution);
            }
            _ => {}
        }
        if event != Event::Other {
            self.events.push(event);
        }
    }

    pub fn arrive(&mut self, kind: &Kind, payload: &[u8]) {
        if let Ok(event) = self.client.arrived(kind, payload, self.now) {
            self.take(event);
        }
    }

    pub fn turn(&mut self) {
        while let Some(outgoing) = self.client.next(self.now) {
            let payload = serde_json::from_str(&outgoing.payload).unwrap();
            self.asked.push((outgoing.request.clone(), payload));
            self.requests.push_back((self.now + TIMEOUT, outgoing));
        }
    }

    /// The request at `index` arrives, unless it is too old.
    pub fn serve_request(&mut self, index: usize) {
        let Some((until, outgoing)) = self.requests.remove(index) else { return };
        if self.now < until {
            let topic = outgoing.request.topic();
            let published =
                self.service.take(&fill_thing(&topic, THING), outgoing.payload.as_bytes()).expect("a request");
            self.tell(published.news);
            self.tell(published.answers);
        }
    }

    pub fn deliver(&mut self, index: usize) {
        let Some((kind, payload)) = self.answers.remove(index) else { return };
        let event = self.client.arrived(&kind, &payload, self.now).expect("the service is understood");
        self.take(event);
    }

    /// Everything goes well for so many seconds.
    pub fn settle(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.turn();
            let is_quiet = self.requests.is_empty() && self.answers.is_empty();
            self.exchange();
            let next = if is_quiet { self.client.wake_at(self.now).unwrap_or(end) } else { self.now };
            self.now = next.max(self.now + Duration::from_millis(1)).min(end);
        }
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

    pub fn exchange(&mut self) {
        while self.is_connected && !self.requests.is_empty() {
            self.serve_request(0);
        }
        while !self.answers.is_empty() {
            self.deliver(0);
        }
    }

    /// What is on its way is done, and the robot does not hear of it.
    pub fn lose_answers(&mut self) {
        while !self.requests.is_empty() {
            self.serve_request(0);
        }
        self.answers.clear();
    }

    /// Of what the robot has asked for since `from`.
    pub fn count(&self, from: usize, is_it: impl Fn(&Request) -> bool) -> usize {
        self.asked[from..].iter().filter(|(request, _)| is_it(request)).count()
    }
}

fn said(execution: &Execution, status: Status) -> Update {
    Update { execution: execution.clone(), status, details: Details::default().with("version", "7") }
}
