//! What the back-off is told of an attempt that has failed.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::{self, Overflow};
use crate::mqtt::FaultKind;

/// As long as nobody is reached, waits do not grow, be it that the robot has no certificate yet. Once there was a TCP connection
/// they do.
#[test]
fn waits_grow_when_somebody_was_reached() {
    for during in [During::Attempt, During::Provisioning] {
        let aws = Aws {
            endpoint: "localhost".into(),
            port: 8883,
            thing: "robot1".into(),
            client_id: "robot1".into(),
            certificate: PathBuf::new(),
            private_key: PathBuf::new(),
            root_ca: None,
            provisioning: None,
        };
        let queue = Queue::in_memory(&config::Queue::in_memory(1 << 20, Overflow::DropOldest));
        let mqtt = config::default_mqtt().unwrap();
        let initial = mqtt.reconnect.initial;
        let (mut uplink, _view) = Uplink::new(aws, mqtt, Arc::new(queue), Arc::default()).unwrap();
        let now = Instant::now();
        let mut longest = [Duration::ZERO; 2];
        for (connected, longest) in [false, true].into_iter().zip(&mut longest) {
            for _ in 0..20 {
                let reached = Reached { connected, ..Reached::default() };
                uplink.attempt_failed(&Fault::new(FaultKind::Refused, "nobody".to_owned()), &reached, during);
                *longest = (uplink.lasting.recovery.next_attempt(now) - now).max(*longest);
            }
        }
        assert!(longest[0] <= initial && longest[1] > 2 * initial, "{during:?}: {longest:?}");
    }
}
