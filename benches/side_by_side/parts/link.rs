//! A way to the broker that can be cut. It says its port first, then the time at which what it was told is done.

use crate::mark;
use crate::plan::Plan;
use crate::support::link::Link;
use crate::told::{self, Told};

#[tokio::main]
pub async fn run(plan: Plan) {
    let link = Link::open(plan.broker.expect("a broker").port).await;
    let told = told::listen();
    told::say_ready();
    told::say(&link.port());
    while let Ok(what) = tokio::task::block_in_place(|| told.recv()) {
        match what {
            Told::Shut => link.shut().await,
            Told::Open => link.reopen().await,
            other => panic!("a link does not {other:?}"),
        }
        told::say(&mark::now());
    }
}
