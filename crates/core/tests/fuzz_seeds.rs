//! The fuzz targets without a fuzzer: each runs over its seeds in `fuzz/seeds`, and over mutations of them, the same
//! ones in every run.

#[path = "hostile/config.rs"]
mod config;
#[path = "hostile/desired.rs"]
mod desired;
#[path = "hostile/remote.rs"]
mod remote;

use crate::codec::hostile;
use crate::support::seeds::run;

/// Any bytes, decoded as any message type.
#[test]
fn decode() {
    run("decode", 30_000, hostile::decode);
}

/// Any bytes, as a JSON text that is encoded as any message type.
#[test]
fn encode() {
    run("encode", 30_000, hostile::encode);
}

/// Any bytes, as what the cloud asks for.
#[test]
fn requests() {
    run("requests", 4_000, crate::requests::hostile::judge);
}

/// Any bytes, as what stands in the queue's directory.
#[test]
fn recover() {
    run("recover", 250, iot_bridge_core::queue::testing::hostile::recover);
}

/// Any bytes, as a configuration file.
#[test]
fn config() {
    run("config", 5_000, config::load);
}

/// Any bytes, as what a broker sends.
#[test]
fn mqtt() {
    run("mqtt", 30_000, iot_bridge_core::mqtt::hostile::mqtt);
}

/// Any bytes, as what a proxy answers.
#[test]
fn proxy() {
    run("proxy", 20_000, iot_bridge_core::mqtt::hostile::proxy);
}

/// Any bytes, as what comes by jobs and by the configuration's shadow.
#[test]
fn remote() {
    run("remote", 1_500, remote::hear);
}

/// Any bytes, as what comes to a bridge whose configuration is in the cloud.
#[test]
fn desired() {
    run("desired", 1_500, desired::take);
}
