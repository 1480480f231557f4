//! `iot-bridge-things` against moto, and its things against a broker.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
#[path = "../support"]
mod support {
    pub mod aws_api;
    pub mod certificates;
    pub mod mosquitto;
    pub mod port;
}

mod bench;
mod failures;
mod others;
mod provisioning;
mod traffic;
mod words;
