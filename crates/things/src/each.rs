//! The same for many things, some of them at a time.

use std::sync::Arc;

use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::stop::Stop;

/// Things at a time. The calls' rates hold for all of them together.
const AT_A_TIME: usize = 8;

/// What came of each thing for which it went well, in no order, and the failures of the others.
#[derive(Debug)]
pub struct Results<T> {
    pub done: Vec<T>,
    pub failures: Vec<Stop>,
}

/// Does `work` for each of `names`. `bar` counts those for which it went well. After a failure no other is begun, but
/// those that are under way go on.
pub async fn each<T, F>(names: &[String], bar: &ProgressBar, work: impl Fn(String) -> F) -> Results<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Stop>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    let mut results = Results { done: Vec::with_capacity(names.len()), failures: Vec::new() };
    for name in names {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        while let Some(result) = running.try_join_next() {
            results.take(result, bar);
        }
        if !results.failures.is_empty() {
            break;
        }
        let work = work(name.clone());
        running.spawn(async move {
            let _place = place;
            work.await
        });
    }
    while let Some(result) = running.join_next().await {
        results.take(result, bar);
    }
    results
}

impl<T> Results<T> {
    fn take(&mut self, result: Result<Result<T, Stop>, JoinError>, bar: &ProgressBar) {
        match result {
            Ok(Ok(done)) => {
                self.done.push(done);
                bar.inc(1);
            }
            Ok(Err(stop)) => self.failures.push(stop),
            Err(error) => self.failures.push(Stop::Failed(error.to_string())),
        }
    }

    /// What was done.
    ///
    /// # Errors
    /// The first failure, if there was one.
    pub fn all(self) -> Result<Vec<T>, Stop> {
        match self.failures.into_iter().next() {
            Some(stop) => Err(stop),
            None => Ok(self.done),
        }
    }
}
