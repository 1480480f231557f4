//! Calls leave within the rates that the API takes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Between two calls of one kind. AWS IoT Core takes 10 a second of the slowest that are used here ("AWS IoT Core
/// endpoints and quotas", AWS General Reference: CreatePolicy, AttachPolicy, CreateThing and so on, 10 to 15 and more).
const INTERVAL: Duration = Duration::from_millis(100);

/// Between two calls of one kind to the data plane. It takes 400 requests for shadows a second from an account in small regions
/// and 4,000 in large ones (the same page); each update is up to four of the account's publishes, of which it takes 2,000.
const SHADOWS: Duration = Duration::from_millis(20);

/// When the next call of each kind may leave.
#[derive(Debug, Default)]
pub struct Pace {
    next: Mutex<HashMap<&'static str, Instant>>,
}

impl Pace {
    /// Waits for the turn of a call of the kind `action`.
    pub async fn turn(&self, action: &'static str) {
        let now = Instant::now();
        let at = {
            let mut next = self.next.lock().await;
            let at = next.get(action).map_or(now, |next| (*next).max(now));
            next.insert(action, at + interval(action));
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

fn interval(action: &str) -> Duration {
    match action {
        "iot:GetThingShadow" | "iot:UpdateThingShadow" => SHADOWS,
        _ => INTERVAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of one kind leave a tenth of a second apart, those of another kind do not wait for them.
    #[tokio::test(start_paused = true)]
    async fn calls_of_a_kind_leave_one_after_the_other() {
        let (pace, begun) = (Pace::default(), Instant::now());
        for _ in 0..5 {
            pace.turn("iot:CreateThing").await;
        }
        assert_eq!(begun.elapsed(), 4 * INTERVAL);
        pace.turn("iot:AttachPolicy").await;
        assert_eq!(begun.elapsed(), 4 * INTERVAL);
    }
}
