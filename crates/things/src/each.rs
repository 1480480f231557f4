//! The same for many things, some of them at a time.

use std::sync::Arc;

use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::failure::{Failure, Kind};
use super::stop::Stop;

/// Things at a time. The calls' rates hold for all of them together.
const AT_A_TIME: usize = 8;

/// So many failures in a row are no fault of single things any more.
const IN_A_ROW: usize = 5;

/// What came of each thing for which it went well, in no order, and the failures of the others.
#[derive(Debug)]
pub struct Results<T> {
    pub done: Vec<T>,
    pub failures: Vec<Stop>,
}

/// The failures of things, by their names.
pub type Failed = Vec<(String, Failure)>;

/// As [`Results`], where a failure of one thing is its own.
#[derive(Debug)]
pub struct Apart<T> {
    pub done: Vec<T>,
    pub failed: Failed,
    /// Why no other was begun, if that was so.
    pub stopped: Option<Failure>,
}

/// Does `work` for each of `names`. `bar` counts those for which it went well. After a failure no other is begun, but
/// those that are under way go on.
pub async fn each<T, F>(names: &[String], bar: &ProgressBar, work: impl Fn(String) -> F) -> Results<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Stop>> + Send + 'static,
{
    let mut results = Results { done: Vec::with_capacity(names.len()), failures: Vec::new() };
    run(names, work, |result| {
        match result {
            Ok((_, Ok(done))) => {
                results.done.push(done);
                bar.inc(1);
            }
            Ok((_, Err(stop))) => results.failures.push(stop),
            Err(error) => results.failures.push(Stop::Failed(error.to_string())),
        }
        results.failures.is_empty()
    })
    .await;
    results
}

/// As [`each`], but goes on after a failure, unless the credentials are at fault or many have failed in a row.
pub async fn each_apart<T, F>(names: &[String], bar: &ProgressBar, work: impl Fn(String) -> F) -> Apart<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let mut results = Apart { done: Vec::with_capacity(names.len()), failed: Vec::new(), stopped: None };
    let mut in_a_row = 0;
    run(names, work, |result| {
        match result {
            Ok((_, Ok(done))) => {
                in_a_row = 0;
                results.done.push(done);
                bar.inc(1);
            }
            Ok((name, Err(failure))) => {
                in_a_row += 1;
                if failure.kind == Kind::Denied || in_a_row >= IN_A_ROW {
                    results.stopped.get_or_insert_with(|| failure.clone());
                }
                results.failed.push((name, failure));
            }
            Err(error) => {
                results.stopped.get_or_insert_with(|| Failure::other(error.to_string()));
            }
        }
        results.stopped.is_none()
    })
    .await;
    results
}

/// Runs `work` for each of `names`, and has `take` take what comes of it. No other is begun once that returns `false`.
async fn run<R, F>(
    names: &[String],
    work: impl Fn(String) -> F,
    mut take: impl FnMut(Result<(String, R), JoinError>) -> bool,
) where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    let mut goes_on = true;
    for name in names {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        while let Some(result) = running.try_join_next() {
            goes_on &= take(result);
        }
        if !goes_on {
            break;
        }
        let (name, work) = (name.clone(), work(name.clone()));
        running.spawn(async move {
            let _place = place;
            (name, work.await)
        });
    }
    while let Some(result) = running.join_next().await {
        take(result);
    }
}

impl<T> Results<T> {
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

impl<T> Apart<T> {
    /// What was done, and the failures of the others.
    ///
    /// # Errors
    /// A failure, if that ended it or nothing was done for any.
    pub fn some(self) -> Result<(Vec<T>, Failed), Stop> {
        match (self.stopped, self.failed.first()) {
            (Some(failure), _) => Err(failure.into()),
            (None, Some((_, failure))) if self.done.is_empty() => Err(failure.clone().into()),
            (None, _) => Ok((self.done, self.failed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fail_at(failing: &'static [usize], kind: Kind) -> Apart<String> {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        each_apart(&names, &ProgressBar::hidden(), |name| async move {
            match failing.iter().any(|number| number.to_string() == name) {
                true => Err(Failure { kind, sentence: format!("no {name}") }),
                false => Ok(name),
            }
        })
        .await
    }

    /// A thing that fails stops no other; without permission, and when all of some in a row fail, no other is begun.
    #[tokio::test]
    async fn one_failure_is_of_one_thing() {
        let single = fail_at(&[3, 50], Kind::Other).await;
        assert_eq!((single.done.len(), single.failed.len(), &single.stopped), (98, 2, &None));
        assert_eq!(single.failed[0].0, "3");
        for (failing, kind) in [(&[3][..], Kind::Denied), (&[10, 11, 12, 13, 14, 15, 16, 17, 18], Kind::Unanswered)] {
            let stopped = fail_at(failing, kind).await;
            assert!(stopped.done.len() < 50 && stopped.stopped.is_some(), "{stopped:?}");
            assert!(stopped.some().is_err());
        }
    }
}
