//! Waiting for robots: asking again and again, for a time, until all have said or somebody presses Ctrl-C.

use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::outcome::{Outcome, Outcomes};

/// Before the robots are asked for the first time; each further pause is half as long again.
const FIRST: Duration = Duration::from_millis(500);

/// Between two rounds, at most. A robot that has been asked costs the price of a shadow's operation.
const LONGEST: Duration = Duration::from_secs(30);

/// For the last round, which begins when the time is over, and for each robot that is asked in it: twice what the calls' pace
/// takes, and more for a network that is slow.
const GRACE: Duration = Duration::from_secs(30);
const GRACE_OF_ONE: Duration = Duration::from_millis(40);

/// Waits until all outcomes are final, for `timeout` at most and then for one whole round. `ask` is asked for those that are
/// not, `at_a_time` of them in one call, and says what it knows.
pub async fn wait(
    outcomes: &mut Outcomes,
    timeout: Duration,
    at_a_time: usize,
    ask: impl AsyncFn(Vec<String>) -> Vec<(String, Outcome)>,
) {
    outcomes.wait_for_all();
    let bar = bar("Waiting for", outcomes.of.len());
    let deadline = Instant::now() + timeout;
    let grace = GRACE + GRACE_OF_ONE.saturating_mul(u32::try_from(outcomes.of.len()).unwrap_or(u32::MAX));
    let rounds = async {
        let mut pause = FIRST;
        loop {
            show(&bar, outcomes);
            sleep_until(deadline.min(Instant::now() + pause)).await;
            let is_last = Instant::now() >= deadline;
            let open = outcomes.open();
            for names in open.chunks(at_a_time) {
                if !is_last && Instant::now() >= deadline {
                    // The last round asks for these too.
                    break;
                }
                for (name, outcome) in ask(names.to_vec()).await {
                    outcomes.set(&name, outcome);
                }
                show(&bar, outcomes);
            }
            if is_last || outcomes.open().is_empty() {
                return;
            }
            pause = LONGEST.min(pause * 3 / 2);
        }
    };
    let interrupted = tokio::select! {
        _ = timeout_at(deadline + grace, rounds) => false,
        () = interrupt() => true,
    };
    outcomes.interrupted = interrupted;
    bar.finish_and_clear();
}

/// Whether somebody has pressed Ctrl-C since `interrupt` was made.
pub async fn is_over(mut interrupt: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    tokio::select! {
        biased;
        () = &mut interrupt => true,
        () = std::future::ready(()) => false,
    }
}

/// Ends when somebody presses Ctrl-C, or at once if that was so since this was first waited for: it counts for the whole command.
pub async fn interrupt() {
    let pressed = match pressed() {
        Some(mut pressed) => pressed.wait_for(|is_pressed| *is_pressed).await.is_ok(),
        None => false,
    };
    if !pressed {
        std::future::pending().await
    }
}

/// Whether Ctrl-C was pressed, from the first call on. `None` if that can't be known.
fn pressed() -> Option<watch::Receiver<bool>> {
    static PRESSED: OnceLock<Option<watch::Receiver<bool>>> = OnceLock::new();
    let listen = || {
        let mut signals = signal(SignalKind::interrupt()).ok()?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                sender.send_replace(true);
            }
        });
        Some(receiver)
    };
    PRESSED.get_or_init(listen).clone()
}

/// On a terminal only.
pub fn bar(doing: &str, things: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{doing} things {{bar:40}} {{pos}} of {{len}}{{msg}}"));
    ProgressBar::new(things as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, outcomes: &Outcomes) {
    bar.set_position((outcomes.of.len() - outcomes.open().len()) as u64);
    bar.set_message(format!(": {}", outcomes.counts()));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use super::*;
    use crate::remote::outcome::Row;

    fn sent(things: usize) -> Outcomes {
        let mut outcomes = Outcomes::new((0..things).map(|thing| (format!("{thing:05}"), "2".to_owned())));
        outcomes.of.values_mut().for_each(|row: &mut Row| row.outcome = Outcome::Sent);
        outcomes
    }

    /// A robot that could not be asked in time is no robot for which it went well.
    #[tokio::test(start_paused = true)]
    async fn who_was_not_asked_is_silent() {
        let mut outcomes = sent(3);
        wait(&mut outcomes, Duration::from_secs(5), 1, async |_| std::future::pending().await).await;
        let why = Outcome::Silent("it was not asked yet".into());
        assert!(outcomes.of.values().all(|row| row.outcome == why), "{outcomes:?}");
    }

    /// When the time is over all that are open are asked once more, even if one round takes almost as long as that.
    #[tokio::test(start_paused = true)]
    async fn the_last_round_is_whole() {
        let (things, each) = (10_000, Duration::from_millis(20));
        let mut outcomes = sent(things);
        let begun = Instant::now();
        let timeout = Duration::from_secs(300);
        let asked = Cell::new(0);
        let ask = async |names: Vec<String>| {
            tokio::time::sleep(each * u32::try_from(names.len()).unwrap()).await;
            asked.set(asked.get() + names.len());
            // All report just before the time is over.
            let outcome = match begun.elapsed() < timeout {
                true => Outcome::Silent("not yet".into()),
                false => Outcome::Applied,
            };
            names.into_iter().map(|name| (name, outcome.clone())).collect()
        };
        wait(&mut outcomes, timeout, 64, ask).await;
        assert!(outcomes.open().is_empty(), "{}", outcomes.counts());
        // Nothing goes on behind the last round, which takes 200 s.
        assert!(begun.elapsed() < timeout + Duration::from_secs(210), "{:?}", begun.elapsed());
        assert!(asked.get() < 3 * things, "{}", asked.get());
    }

    /// Ctrl-C counts for the whole command: who looks or waits later sees it too.
    #[tokio::test]
    async fn an_interrupt_between_two_looks_counts() {
        assert!(!is_over(pin!(interrupt())).await);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT).unwrap();
        tokio::time::timeout(Duration::from_secs(60), interrupt()).await.expect("it is seen");
        assert!(is_over(pin!(interrupt())).await);
        let mut outcomes = sent(1);
        wait(&mut outcomes, Duration::from_secs(600), 1, async |_| panic!("nobody is asked")).await;
        assert!(outcomes.interrupted);
    }
}
