//! What the cloud may ask beside the types of ROS, where that is sourced: the types are there, limits are of numbers, and the
//! message of `on_silence` is one.

use super::paths::{Compared, is_sourced};
use crate::ros::{ActionType, ServiceType, TypeSupport, TypeSupportError};
use iot_bridge_core::codec::NoEncoder;
use iot_bridge_core::config::{Command, Loaded, Settings, TypePlace, quote};
use iot_bridge_core::requests::{Gate, NoGate};

/// Looks at the types of all commands, services, actions and shadows.
pub fn inspect(loaded: &Loaded) -> Compared {
    let Settings { commands, services, actions, shadows, .. } = &loaded.settings;
    let mut compared = Compared::default();
    let desired = shadows.iter().map(|shadow| shadow.desired_type.as_deref());
    if commands.is_empty() && services.is_empty() && actions.is_empty() && desired.clone().flatten().next().is_none() {
        return compared;
    }
    if !is_sourced() {
        let why = "What the cloud may ask was not compared with its types: no ROS is sourced";
        compared.unseen.push(why.to_owned());
        return compared;
    }
    for (entry, command) in commands.iter().enumerate() {
        Of { loaded, list: "commands", entry }.command(command, &mut compared);
    }
    for (entry, service) in services.iter().enumerate() {
        let loads = ServiceType::load(&service.type_name).map(drop);
        Of { loaded, list: "services", entry }.loads("type", &service.type_name, loads, &mut compared);
    }
    for (entry, action) in actions.iter().enumerate() {
        let loads = ActionType::load(&action.type_name).map(drop);
        Of { loaded, list: "actions", entry }.loads("type", &action.type_name, loads, &mut compared);
    }
    for (entry, type_name) in desired.enumerate().filter_map(|(entry, name)| Some((entry, name?))) {
        let loads = TypeSupport::load(type_name).map(drop);
        Of { loaded, list: "shadows", entry }.loads("desired_type", type_name, loads, &mut compared);
    }
    compared
}

/// An entry of a section.
struct Of<'a> {
    loaded: &'a Loaded,
    list: &'static str,
    entry: usize,
}

impl Of<'_> {
    fn command(&self, command: &Command, compared: &mut Compared) {
        let type_name = &command.type_name;
        let loaded = TypeSupport::load(type_name).and_then(|support| Ok((support.defaults()?, support)));
        let (defaults, support) = match loaded {
            Ok(loaded) => loaded,
            Err(error @ TypeSupportError::Defaults { .. }) => {
                compared
                    .unseen
                    .push(format!("The command {} was not compared with {type_name}: {error}", command.mqtt));
                return;
            }
            Err(error) => return self.loads("type", type_name, Err(error), compared),
        };
        // Each limit that is wrong is told, then the message without them.
        let mut command = command.clone();
        while let Err(fault) = Gate::new(&command, support.schema(), &defaults) {
            match fault {
                NoGate::Encoder(NoEncoder::Limit { path, why }) if command.limits.remove(&path).is_some() => {
                    let allowed = format!("allowed is the path of numbers in {type_name}: {why}");
                    self.refuse("limits", &path, quote(&path), allowed, compared);
                }
                NoGate::OnSilence(error) => {
                    let found = format!("what is no {type_name} for this command");
                    return self.refuse("on_silence.message", "", found, error.to_string(), compared);
                }
                NoGate::Encoder(error) => {
                    return self.refuse("type", "", quote(type_name), error.to_string(), compared);
                }
            }
        }
    }

    /// A type that does not load is a problem.
    fn loads(&self, key: &str, type_name: &str, loads: Result<(), TypeSupportError>, compared: &mut Compared) {
        if let Err(error) = loads {
            self.refuse(key, "", quote(type_name), error.to_string(), compared);
        }
    }

    /// Adds a problem with what stands under `key`, for the field at `path` if there is one.
    fn refuse(&self, key: &str, path: &str, found: String, allowed: String, compared: &mut Compared) {
        let is_it = |place: &&TypePlace| {
            (place.list, place.entry, place.key, place.path.as_str()) == (self.list, self.entry, key, path)
        };
        let place = self.loaded.places.iter().find(is_it);
        compared.problems.extend(place.map(|place| place.problem(found, allowed)));
    }
}
