//! The network between a robot and the service: it delays, reorders, repeats and loses.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proptest::prelude::*;

const STEP: Duration = Duration::from_millis(20);

/// What becomes of something that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrives,
    /// And once more, later.
    ArrivesTwice,
    /// And once more, with nothing between.
    ArrivesTwiceAtOnce,
    IsLost,
}

pub fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => Just(Fate::Arrives),
        1 => Just(Fate::ArrivesTwice),
        1 => Just(Fate::ArrivesTwiceAtOnce),
        2 => Just(Fate::IsLost),
    ]
}

/// What is under way, and the time.
pub struct Network<R, A> {
    pub now: Instant,
    pub is_connected: bool,
    /// Requests on their way, with the time until which they may arrive.
    pub requests: VecDeque<(Instant, R)>,
    /// What is on its way to the robot.
    pub answers: VecDeque<A>,
}

impl<R, A> Network<R, A> {
    /// Nothing is connected.
    pub fn new(now: Instant) -> Network<R, A> {
        Network { now, is_connected: false, requests: VecDeque::new(), answers: VecDeque::new() }
    }

    /// What is on its way to the robot is lost; its requests are not.
    pub fn disconnect(&mut self) {
        self.is_connected = false;
        self.answers.clear();
    }

    /// The service says this.
    pub fn tell(&mut self, answers: impl IntoIterator<Item = A>) {
        if self.is_connected {
            self.answers.extend(answers);
        }
    }
}

/// A robot and the service, with a network between.
pub trait Ends {
    type Request: Clone;
    type Answer: Clone;

    fn network(&mut self) -> &mut Network<Self::Request, Self::Answer>;

    /// The robot sends what it has to send.
    fn turn(&mut self);

    /// When it has something to do again.
    fn wake_at(&self) -> Option<Instant>;

    /// `request` arrives at the service.
    fn serve(&mut self, request: Self::Request);

    /// `answer` arrives at the robot.
    fn hear(&mut self, answer: Self::Answer);

    /// `request` arrives, unless it is too old.
    fn serve_in_time(&mut self, (until, request): (Instant, Self::Request)) {
        if self.network().now < until {
            self.serve(request);
        }
    }

    /// The request at `index` arrives.
    fn serve_request(&mut self, index: usize) {
        self.request(index, Fate::Arrives);
    }

    /// The answer at `index` arrives.
    fn deliver(&mut self, index: usize) {
        self.answer(index, Fate::Arrives);
    }

    /// This becomes of the request at `place`, or of the last.
    fn request(&mut self, place: usize, fate: Fate) {
        for request in arriving(&mut self.network().requests, place, fate) {
            self.serve_in_time(request);
        }
    }

    /// This becomes of the answer at `place`, or of the last.
    fn answer(&mut self, place: usize, fate: Fate) {
        for answer in arriving(&mut self.network().answers, place, fate) {
            self.hear(answer);
        }
    }

    /// Everything goes well for so long. The robot gets its turns when it has asked for them, and when something comes.
    fn settle(&mut self, time: Duration) {
        let end = self.network().now + time;
        while self.network().now < end {
            self.turn();
            let is_quiet = self.network().requests.is_empty() && self.network().answers.is_empty();
            self.exchange();
            let now = self.network().now;
            let next = if is_quiet { self.wake_at().unwrap_or(end) } else { now };
            self.network().now = next.max(now + Duration::from_millis(1)).min(end);
        }
        self.turn();
        self.exchange();
    }

    /// Everything goes well until then; what is sent last is still on its way.
    fn settle_until(&mut self, is_reached: impl Fn(&Self) -> bool)
    where
        Self: Sized,
    {
        for _ in 0..10_000 {
            self.turn();
            if is_reached(self) {
                return;
            }
            self.exchange();
            self.network().now += STEP;
        }
        panic!("it does not happen");
    }

    /// What is under way arrives, and what it makes.
    fn exchange(&mut self) {
        while self.network().is_connected
            && let Some(request) = self.network().requests.pop_front()
        {
            self.serve_in_time(request);
        }
        while let Some(answer) = self.network().answers.pop_front() {
            self.hear(answer);
        }
    }

    /// What was asked for is done, and nobody hears of it.
    fn lose_answers(&mut self) {
        while let Some(request) = self.network().requests.pop_front() {
            self.serve_in_time(request);
        }
        self.network().answers.clear();
    }
}

/// Takes from what is on its `way` what arrives now, if this becomes of what is at `place`, or of the last.
fn arriving<T: Clone>(way: &mut VecDeque<T>, place: usize, fate: Fate) -> Vec<T> {
    let Some(one) = way.remove(place.min(way.len().saturating_sub(1))) else { return Vec::new() };
    match fate {
        Fate::Arrives => vec![one],
        Fate::ArrivesTwice => {
            way.push_back(one.clone());
            vec![one]
        }
        Fate::ArrivesTwiceAtOnce => vec![one.clone(), one],
        Fate::IsLost => Vec::new(),
    }
}
