//! Waiting for robots: asking again and again, for a time, until all have said or somebody presses Ctrl-C.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::outcome::{Outcome, Outcomes};

/// Before the robots are asked for the first time; each further pause is half as long again.
const FIRST: Duration = Duration::from_millis(500);

/// Between two rounds, at most. A robot that has been asked costs the price of a shadow's operation.
const LONGEST: Duration = Duration::from_secs(30);

/// For the last round, which begins when the time is over.
const GRACE: Duration = Duration::from_secs(10);

/// Waits until all outcomes are final, for `timeout` at most. `ask` is asked for those that are not, `at_a_time` of them in one
/// call, and says what it knows.
pub async fn wait(
    outcomes: &mut Outcomes,
    timeout: Duration,
    at_a_time: usize,
    ask: impl AsyncFn(Vec<String>) -> Vec<(String, Outcome)>,
) {
    let bar = bar("Waiting for", outcomes.of.len());
    let deadline = Instant::now() + timeout;
    let rounds = async {
        let mut pause = FIRST;
        loop {
            show(&bar, outcomes);
            sleep_until(deadline.min(Instant::now() + pause)).await;
            let is_last = Instant::now() >= deadline;
            let open = outcomes.open();
            for names in open.chunks(at_a_time) {
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
        _ = timeout_at(deadline + GRACE, rounds) => false,
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

/// Ends when somebody presses Ctrl-C.
pub async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
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
