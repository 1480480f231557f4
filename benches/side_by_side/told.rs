//! How a part is told what to do while it runs, and says what came of it: a line of JSON each, on its standard input and
//! output. The end of its input ends it.

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Told {
    /// Publish each topic at `rate` times its share a second. Said when it is over: [`Published`].
    Publish { rate: f64, seconds: f64 },
    /// End what was told last.
    Stop,
    /// Say when each publisher has a subscriber.
    Match,
    /// Forget what has arrived, and whatever comes with a number below `from`.
    Fresh { from: u64 },
    /// Say what has arrived since.
    Report { latency: bool },
    /// Cut the way to the broker.
    Shut,
    /// Open it.
    Open,
}

/// What was published.
#[derive(Debug, Serialize)]
pub struct Published {
    /// The first number on each topic.
    pub first: u64,
    /// How many on each, in the order of the plan.
    pub counts: Vec<u64>,
    /// How long it took.
    pub seconds: f64,
}

/// What is told from now on.
pub fn listen() -> Receiver<Told> {
    let (sender, told) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(serde_json::from_str(&line).expect("it is known what to do")).is_err() {
                return;
            }
        }
    });
    told
}

/// Says something.
pub fn say(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).expect("it is JSON"));
    // Nobody reads any more: the end of the input comes next.
    let _ = io::stdout().flush();
}

/// Says that everything is there that has to be.
pub fn say_ready() {
    say(&"ready");
}
