//! The parts of the measurement beside the contestants. `scripts/bench` starts each as a process of its own, and
//! tells it what to do; the role is its second argument.
//!
//! | role | what it does |
//! | --- | --- |
//! | `cloud` | subscribes to everything at the broker and keeps count |
//! | `link` | a way to the broker that can be cut |
//! | `receive-only` | a floor: receives and drops the bytes, with the bridge's own subscriptions |
//! | `publish-only` | a reference: the same payloads from memory, with rumqttc and one thread |

mod cloud;
mod ledger;
mod link;
#[path = "../mark.rs"]
#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod mark;
mod mqtt;
#[path = "../plan.rs"]
#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod plan;
mod publish_only;
mod receive_only;
#[path = "../schedule.rs"]
mod schedule;
#[path = "../../../tests/support"]
#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod link;
    pub mod port;
}
#[path = "../told.rs"]
mod told;

fn main() {
    let plan = plan::Plan::read();
    match std::env::args().nth(2).as_deref() {
        Some("cloud") => cloud::run(plan),
        Some("link") => link::run(plan),
        Some("receive-only") => receive_only::run(plan),
        Some("publish-only") => publish_only::run(plan),
        other => panic!("there is no role {other:?}"),
    }
}
