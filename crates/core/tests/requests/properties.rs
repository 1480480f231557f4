//! What holds of a gate, whatever comes and whenever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use iot_bridge_core::codec::{Count, Field, Kind, Schema};
use iot_bridge_core::config::{Command, CommandPayload, OnSilence, Qos};
use iot_bridge_core::requests::{Gate, Reason, Received};
use proptest::collection::vec;
use proptest::prelude::*;

const AFTER: Duration = Duration::from_millis(500);
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn gate(max_rate: Option<f64>) -> Gate {
    let field = Field { name: "x".into(), kind: Kind::F64, count: Count::One };
    let schema = Schema { name: "test/msg/X".into(), fields: vec![field] };
    let command = Command {
        mqtt: "robots/r/x".into(),
        ros: "/x".into(),
        type_name: schema.name.clone(),
        payload: CommandPayload::Envelope,
        qos: Qos::AtMostOnce,
        max_rate,
        max_age: None,
        limits: Default::default(),
        on_silence: Some(OnSilence { after: AFTER, message: Default::default() }),
        reply: None,
    };
    Gate::new(&command, &schema.into(), &HashMap::new()).unwrap()
}

/// A command that comes: how long after the one before, its id, and whether somebody takes it.
type Step = (Duration, Option<u16>, bool);

fn steps(longest: u64, ids: u16, count: usize) -> impl Strategy<Value = Vec<Step>> {
    let pause = (0..=longest).prop_map(Duration::from_millis);
    vec((pause, prop::option::weighted(0.9, 0..ids), prop::bool::weighted(0.9)), 0..count)
}

/// A command of each id from 0 on.
fn thousand() -> Vec<Step> {
    (0..1000).map(|id| (Duration::from_millis(1), Some(id), true)).collect()
}

/// What has become of each step: when it came, and why it was not accepted.
fn run(gate: &mut Gate, steps: &[Step], start: Instant) -> Vec<(Duration, Option<Reason>)> {
    let mut at = Duration::ZERO;
    let judge = |&(pause, id, is_taken): &Step| {
        at += pause;
        let id = id.map_or(String::new(), |id| format!("\"id\":{id},"));
        let json = format!("{{{id}\"msg\":{{}}}}");
        let received = Received { payload: json.as_bytes(), retain: false, correlation_data: None };
        let judged = gate.judge(&received, start + at, None);
        let reason = match judged {
            Ok(accepted) if is_taken => {
                accepted.published();
                None
            }
            Ok(accepted) => Some(accepted.unavailable("nobody takes it").reason),
            Err(refused) => Some(refused.reason),
        };
        (at, reason)
    };
    steps.iter().map(judge).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of k + 1 accepted commands in a row, the first and the last are k periods apart, and none is refused as too fast that
    /// comes a period after the last accepted one.
    #[test]
    fn the_rate_is_never_exceeded(steps in steps(80, 5000, 200), hertz in 5.0..50.0) {
        let mut gate = gate(Some(hertz));
        let judged = run(&mut gate, &steps, Instant::now());
        let period = Duration::from_secs_f64(1.0 / hertz);
        let mut last: Option<Duration> = None;
        for (at, reason) in judged {
            let is_early = last.is_some_and(|last| at - last < period);
            prop_assert_eq!(reason == Some(Reason::TooFast), is_early && reason != Some(Reason::Duplicate));
            if reason.is_none() {
                last = Some(at);
            }
        }
    }

    /// Each silence that follows a command has the message once, when it is due and no sooner, however often it is asked for.
    #[test]
    fn each_silence_has_its_message_once(pauses in vec((0u64..1500, any::<bool>()), 0..60), asked_every in 1u64..40) {
        let mut gate = gate(None);
        let start = Instant::now();
        let every = Duration::from_millis(asked_every);
        let mut now = Duration::ZERO;
        let mut last: Option<Duration> = None;
        for (pause, is_command) in pauses {
            let mut told = 0;
            let end = now + Duration::from_millis(pause);
            while now < end {
                now = (now + every).min(end);
                let due = last.map(|last| last + AFTER);
                prop_assert_eq!(gate.silence_due_at(), due.map(|due| start + due));
                if gate.silence_due(start + now).is_some() {
                    told += 1;
                    prop_assert!(due.is_some_and(|due| due <= now && now < due + every), "{:?} {:?}", due, now);
                    last = None;
                } else {
                    prop_assert!(due.is_none_or(|due| now < due));
                }
            }
            prop_assert!(told <= 1);
            let json: &[u8] = if is_command { b"{\"msg\":{}}" } else { b"{\"msg\":{\"y\":1}}" };
            let received = Received { payload: json, retain: false, correlation_data: None };
            if let Ok(accepted) = gate.judge(&received, start + now, None) {
                accepted.published();
                last = Some(now);
            }
        }
        prop_assert_eq!(gate.take_silence().is_some(), last.is_some());
        prop_assert!(gate.take_silence().is_none());
    }
}

proptest! {
    // Each is as long as a thousand commands and more.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A command is a duplicate if and only if one with its id was accepted in the last ten minutes, among the last 1,000 that
    /// had an id.
    #[test]
    fn duplicates_are_told_exactly(steps in prop_oneof![
        steps(40, 1010, 500).prop_map(|steps| [thousand(), steps].concat()),
        steps(30_000, 60, 400),
        steps(300_000, 3, 100),
    ]) {
        let judged = run(&mut gate(None), &steps, Instant::now());
        let mut accepted: Vec<(Duration, u16)> = Vec::new();
        for ((at, reason), (_, id, is_taken)) in judged.into_iter().zip(&steps) {
            let is_known = |id: &u16| {
                let of_id = accepted.iter().rev().take(1000).find(|(_, known)| known == id);
                of_id.is_some_and(|(then, _)| at - *then <= TEN_MINUTES)
            };
            let expected = match id {
                Some(id) if is_known(id) => Some(Reason::Duplicate),
                _ if !is_taken => Some(Reason::Unavailable),
                _ => None,
            };
            prop_assert_eq!(reason, expected, "at {:?}", at);
            if let (None, Some(id)) = (reason, *id) {
                accepted.push((at, id));
            }
        }
    }
}
