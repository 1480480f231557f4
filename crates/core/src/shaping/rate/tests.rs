use proptest::prelude::*;

use super::*;

/// When `rate` takes the messages that come at these times, in seconds.
fn taken(rate: f64, times: &[f64]) -> Vec<f64> {
    let start = Instant::now();
    let mut rate = Rate::new(rate);
    times.iter().copied().filter(|at| rate.takes(start + Duration::from_secs_f64(*at))).collect()
}

/// Messages of a publisher of `hertz` for `seconds`.
fn regular(hertz: f64, seconds: f64) -> Vec<f64> {
    (0..(hertz * seconds).round() as u32).map(|number| f64::from(number) / hertz).collect()
}

/// The example of the module's documentation.
#[test]
fn seven_hertz_make_two_a_second() {
    let taken = taken(2.0, &regular(7.0, 60.0));
    assert_eq!(taken[..4].iter().map(|at| (at * 1000.0).round()).collect::<Vec<_>>(), [0.0, 429.0, 1000.0, 1429.0]);
    assert_eq!(taken.len(), 120);
}

/// Whatever the two periods are to each other, as many are taken as fit, and all of a publisher that is slow enough.
#[test]
fn a_regular_publisher_gets_the_whole_rate() {
    for publisher in [0.2, 1.0, 7.0, 30.0, 100.0, 1000.0] {
        for rate in [0.1, 0.7, 1.0, 2.0, 7.0, 9.0, 29.0, 30.0, 99.0, 333.0, 1e6] {
            let seconds = 40.0;
            let got = taken(rate, &regular(publisher, seconds)).len() as f64;
            let possible = (publisher.min(rate) * seconds).floor();
            assert!((possible..=possible + 1.0).contains(&got), "{publisher} Hz at {rate} Hz: {got}, not {possible}");
        }
    }
}

/// After a pause comes no more than otherwise.
#[test]
fn a_pause_gives_no_burst() {
    let mut times = regular(100.0, 10.0);
    times.extend(regular(100.0, 10.0).iter().map(|at| at + 70.0));
    let taken = taken(2.0, &times);
    let after: Vec<f64> = taken.iter().copied().filter(|at| *at >= 70.0).collect();
    assert_eq!(after[0], 70.0);
    assert!(after[1] - after[0] >= 0.49 && after.len() <= 21, "{after:?}");
}

/// Times that seem to go back are no licence: neither for a burst nor for a long silence.
#[test]
fn times_that_jump_do_not_matter() {
    let mut times = regular(100.0, 10.0);
    for at in &mut times[500..520] {
        *at -= 4.0;
    }
    let taken = taken(2.0, &times).len();
    assert!((19..=21).contains(&taken), "{taken}");
}

#[test]
fn a_rate_beyond_the_clock_takes_the_first_alone() {
    assert_eq!(taken(f64::MIN_POSITIVE, &regular(10.0, 5.0)).len(), 1);
    assert_eq!(taken(1e-300, &regular(10.0, 5.0)).len(), 1);
}

/// How many of the messages that come at `times` can be taken with `carried` over: each as soon as those before allow it.
fn possible(rate: f64, carried: f64, times: &[f64]) -> usize {
    let mut due = f64::MIN;
    let takes = |at: &&f64| {
        let is_taken = **at + carried.min(rate.recip()) > due;
        if is_taken {
            due = due.max(**at) + rate.recip();
        }
        is_taken
    };
    times.iter().filter(takes).count()
}

fn publisher() -> impl Strategy<Value = (f64, f64, f64, Vec<(f64, Option<f64>)>)> {
    let publisher = prop::sample::select(vec![7.0, 30.0, 100.0, 1000.0]);
    let share = prop::sample::select(vec![0.01, 0.1, 0.28, 0.5, 0.77, 0.99, 1.0, 1.5]);
    (publisher, share, 0.0..0.5).prop_flat_map(|(publisher, share, jitter)| {
        let pause = prop::option::weighted(0.02, 1.0..300.0);
        let gaps = prop::collection::vec((-1.0..1.0, pause), 300..800);
        (Just(publisher), Just(publisher * share), Just(jitter), gaps)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Of k + 1 that are taken in a row the first and the last are at least k periods less one of the publisher's apart,
    /// whatever jitter and pauses; and hardly fewer are taken than who knows the publisher's period could take.
    #[test]
    fn the_rate_is_never_exceeded_and_used((hertz, rate, jitter, gaps) in publisher()) {
        // The longest that is no pause.
        let longest = (1.0 + jitter) / hertz;
        let mut at = 0.0;
        let times: Vec<f64> = gaps.iter().enumerate().map(|(number, (of_jitter, pause))| {
            let gap = (1.0 + of_jitter * jitter) / hertz;
            // What is a pause is not known before the publisher is.
            at += pause.filter(|_| number > FEW).map_or(gap, |periods| gap * (1.0 + periods));
            at
        }).collect();
        let taken = taken(rate, &times);
        for (first, from) in taken.iter().enumerate() {
            // A later one is checked from where it is first.
            for (k, to) in taken[first..].iter().enumerate().step_by(1 + taken.len() / 50) {
                let least = k as f64 / rate - longest;
                prop_assert!(to - from >= least - 1e-6, "{k} more after {from}: {to}");
            }
        }
        let (got, possible) = (taken.len() as f64, possible(rate, hertz.recip(), &times) as f64);
        prop_assert!(got >= possible * 0.97 - 2.0, "{got} of {possible}");
    }
}
