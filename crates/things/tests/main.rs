//! `iot-bridge-things` against moto, and its things against a broker.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
#[path = "../../../tests/support"]
mod support {
    pub mod aws_api;
    pub mod aws_broker;
    pub mod cache;
    pub mod certificates;
    pub mod domain;
    pub mod itself;
    pub mod killed_on_drop;
    pub mod mosquitto;
    pub mod moto;
    pub mod observer;
    pub mod port;
    pub mod program;
    pub mod robot;
}

mod bench;
mod config;
mod enforced;
mod failures;
mod guide;
mod others;
mod permissions;
mod provisioning;
mod traffic;
mod words;
