//! A robot, the service, and the network between.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::service::{Publication, Service};
use crate::config::fill_thing;
use crate::remote::jobs::{
    Client, Details, Event, Execution, Kind, OPERATION, Outgoing, Over, Request, Status, TIMEOUT, Update, kind,
};
use crate::shadows::tests::network::{Ends, Network};

pub const THING: &str = "robot1";

pub struct World {
    pub client: Client,
    pub service: Service,
    pub network: Network<Outgoing, (Kind, Vec<u8>)>,
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
            network: Network::new(Instant::now()),
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
        world.settle(Duration::from_secs(10));
        world
    }

    pub fn connect(&mut self) {
        self.network.is_connected = true;
        self.client.connected_within(Duration::from_secs(5), self.network.now);
    }

    /// What is on its way to the robot is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.network.disconnect();
        self.client.disconnected();
    }

    /// Another process, with the same disk.
    pub fn restart(&mut self) {
        self.disconnect();
        self.network.requests.clear();
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
        let kinds = published.into_iter().filter_map(|(topic, payload)| Some((kind(&topic, THING)?, payload)));
        self.network.tell(kinds);
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
        if let Ok(event) = self.client.arrived(kind, payload, self.network.now) {
            self.take(event);
        }
    }

    /// Of what the robot has asked for since `from`.
    pub fn count(&self, from: usize, is_it: impl Fn(&Request) -> bool) -> usize {
        self.asked[from..].iter().filter(|(request, _)| is_it(request)).count()
    }
}

impl Ends for World {
    type Request = Outgoing;
    type Answer = (Kind, Vec<u8>);

    fn network(&mut self) -> &mut Network<Outgoing, (Kind, Vec<u8>)> {
        &mut self.network
    }

    fn turn(&mut self) {
        let now = self.network.now;
        while let Some(outgoing) = self.client.next(now) {
            let payload = serde_json::from_str(&outgoing.payload).unwrap();
            self.asked.push((outgoing.request.clone(), payload));
            self.network.requests.push_back((now + TIMEOUT, outgoing));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.client.wake_at(self.network.now)
    }

    fn serve(&mut self, outgoing: Outgoing) {
        let topic = outgoing.request.topic();
        let published = self.service.take(&fill_thing(&topic, THING), outgoing.payload.as_bytes()).expect("a request");
        self.tell(published.news);
        self.tell(published.answers);
    }

    fn hear(&mut self, (kind, payload): (Kind, Vec<u8>)) {
        let event = self.client.arrived(&kind, &payload, self.network.now).expect("the service is understood");
        self.take(event);
    }
}

fn said(execution: &Execution, status: Status) -> Update {
    Update { execution: execution.clone(), status, details: Details::default().with("version", "7") }
}
