//! Who keeps count at the broker of what arrives there. It subscribes with QoS 0: Mosquitto writes a message to it before it
//! acknowledges it.

use std::sync::{Arc, Mutex};
use std::{process, thread};

use rumqttc::{AsyncClient, Event, Incoming, QoS};

use crate::ledger::Ledger;
use crate::mqtt;
use crate::plan::Plan;
use crate::told::{self, Told};

#[tokio::main(flavor = "current_thread")]
pub async fn run(plan: Plan) {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (client, mut event_loop) = AsyncClient::new(mqtt::options(&plan.broker.expect("a broker")), 10);
    client.try_subscribe("#", QoS::AtMostOnce).unwrap();
    let kept = Arc::clone(&ledger);
    thread::spawn(move || obey(&kept));
    loop {
        match event_loop.poll().await.expect("the broker stays") {
            Event::Incoming(Incoming::Publish(publish)) => {
                ledger.lock().unwrap().enter(&publish.topic, &publish.payload);
            }
            Event::Incoming(Incoming::SubAck(_)) => told::say_ready(),
            _ => {}
        }
    }
}

fn obey(ledger: &Mutex<Ledger>) {
    for what in told::listen() {
        let mut ledger = ledger.lock().unwrap();
        match what {
            Told::Fresh { from } => {
                ledger.start_anew(from);
                told::say(&());
            }
            Told::Report { latency } => told::say(&ledger.report(latency)),
            other => panic!("the cloud does not {other:?}"),
        }
    }
    process::exit(0);
}
