//! What needs no ROS, end to end: the queue and the uplink against real brokers, and bytes of others.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
#[path = "../../../tests/support"]
mod support {
    pub mod aws_broker;
    pub mod certificates;
    pub mod itself;
    pub mod link;
    pub mod mosquitto;
    pub mod observer;
    pub mod own_mounts;
    pub mod own_network;
    pub mod port;
    pub mod proxy;
    pub mod scene;
    pub mod seeds;
    pub mod victim;
}

use codec::encode;

#[allow(dead_code, reason = "only what it holds against the source is tested here")]
#[path = "../benches/instructions/baseline.rs"]
mod baseline;
#[path = "../benches/instructions/kinds.rs"]
mod kinds;
#[path = "../../../benches/codec/messages.rs"]
mod messages;
#[allow(dead_code, reason = "as above")]
#[path = "../benches/instructions/page.rs"]
mod page;
#[path = "../../../benches/codec/schemas.rs"]
mod schemas;

mod allocations;
mod aws_broker;
mod batches;
mod both_ways;
mod broken_configs;
mod codec;
mod day_offline;
mod fleet;
mod fuzz_seeds;
mod instructions;
mod kills;
mod listening;
mod mqtt5;
mod one_client_id;
mod power_cut;
mod presence;
mod proxy;
mod quotas;
mod refused;
mod replies;
mod requests;
mod uplink;
mod version;
