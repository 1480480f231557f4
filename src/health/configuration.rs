//! Which configuration is in force, and whether a later one was refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use iot_bridge_core::config::{Problem, Problems};

use super::report::{Configuration, Refused, Remote};

/// Written by who reloads, read by who reports.
#[derive(Debug)]
pub struct ConfigurationState(Mutex<Configuration>);

/// Why a configuration was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub problems: usize,
    /// Where the first of them is, or what it is: without anything of what stands in the file.
    pub first: String,
}

impl ConfigurationState {
    /// The configuration of the start.
    pub fn loaded_now() -> ConfigurationState {
        ConfigurationState(Mutex::new(Configuration { loaded: now(), refused: None, remote: None }))
    }

    /// Another configuration is in force from now on.
    pub fn taken(&self) {
        let mut configuration = self.lock();
        (configuration.loaded, configuration.refused) = (now(), None);
    }

    /// Another configuration was refused; the one before stays in force.
    pub fn refused(&self, Refusal { problems, first }: Refusal) {
        self.lock().refused = Some(Refused { at: now(), problems, first });
    }

    /// How it stands with the configuration from the cloud.
    pub fn set_remote(&self, remote: Remote) {
        self.lock().remote = Some(remote);
    }

    pub fn read(&self) -> Configuration {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Configuration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusal {
    /// Because of `problems`: how many, and the place of the first.
    pub fn of(problems: &Problems) -> Refusal {
        let place = |problem: &Problem| {
            let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
            let key = if problem.key.is_empty() { String::new() } else { format!(": {}", problem.key) };
            format!("{}{line}{key}", problem.source)
        };
        let first = problems.iter().next().map(place).unwrap_or_default();
        Refusal { problems: problems.len(), first }
    }
}

impl Refused {
    /// What there is to say of it: a sentence without its full stop.
    pub fn sentence(&self) -> String {
        let (hour, minute) = (self.at / 3600 % 24, self.at / 60 % 60);
        let (problems, s) = (self.problems, if self.problems == 1 { "" } else { "s" });
        let first = &self.first;
        format!("The configuration of {hour:02}:{minute:02} UTC was refused: {problems} problem{s}, {first}")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::super::report::RemoteState;
    use super::*;

    /// A refusal is known until the next configuration is taken.
    #[test]
    fn a_refusal_is_known_until_the_next_good_one() {
        let state = ConfigurationState::loaded_now();
        let loaded = state.read().loaded;
        assert_eq!(state.read().refused, None);
        state.refused(Refusal { problems: 2, first: "/etc/iot-bridge/config.toml:14: topics[2].rate".into() });
        let Configuration { loaded: same, refused: Some(refused), .. } = state.read() else {
            panic!("it is not known")
        };
        assert_eq!(same, loaded);
        let sentence = Refused { at: 86_400 * 20_000 + 20 * 3600 + 56 * 60 + 59, ..refused }.sentence();
        let expected = "The configuration of 20:56 UTC was refused: 2 problems, /etc/iot-bridge/config.toml:14: \
                        topics[2].rate";
        assert_eq!(sentence, expected);
        state.taken();
        assert_eq!(state.read().refused, None);
    }

    /// What comes from the cloud is shown beside the rest, whatever is loaded.
    #[test]
    fn what_the_cloud_desires_is_shown_until_it_changes() {
        let state = ConfigurationState::loaded_now();
        assert_eq!(state.read().remote, None);
        let remote = Remote {
            shadow: "iot-bridge".to_owned(),
            version: Some("7".to_owned()),
            job: None,
            state: RemoteState::RolledBack,
            since: 1,
            problems: vec!["Nothing was acknowledged within 2m.".to_owned(), "More.".to_owned()],
            in_force: None,
            sections: Vec::new(),
        };
        state.set_remote(remote.clone());
        state.taken();
        let trouble = state.read().remote.unwrap().trouble().unwrap();
        let expected =
            "The configuration 7 of the shadow iot-bridge was rolled back: Nothing was acknowledged within 2m (1 more)";
        assert_eq!(trouble, expected);
        for state in [RemoteState::Unknown, RemoteState::Trial, RemoteState::Applied] {
            assert_eq!(Remote { state, ..remote.clone() }.trouble(), None);
        }
        let of_job = Remote { job: Some("4711".to_owned()), ..remote }.trouble().unwrap();
        assert!(of_job.starts_with("The configuration 7 of the job 4711 was rolled back: "), "{of_job}");
    }
}
