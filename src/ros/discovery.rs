//! How nodes find each other, as the environment says: for all ROS programs alike.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::shared_memory::{self, UDP};

/// Addresses of Fast DDS's discovery servers. With one, nodes do not look for each other.
const SERVER: &str = "ROS_DISCOVERY_SERVER";

/// Whether a discovery server tells everything, not only what matches a node's own topics.
const SUPER_CLIENT: &str = "ROS_SUPER_CLIENT";

/// Who joins the graph knows what is there when nothing new was found for so long. Fast DDS announces each participant every
/// three seconds, and one that missed the first announcements is often found only then.
pub const SETTLED: Duration = Duration::from_millis(3500);

/// The name of an environment variable, and its value.
pub(super) type Variable = (&'static str, &'static str);

/// How a process takes part in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service: the unit has set the transports.
    Service,
    /// A command that shows what the service would receive.
    Lookout,
}

/// Has the process meet the graph as the service does: all of it, and, for a [`Role::Lookout`], over UDP, unless the
/// environment says otherwise.
///
/// A client of a discovery server hears of publishers of the topics that it has subscribed to already. The bridge asks the
/// graph which type a topic has before it subscribes. And through shared memory nothing comes from another user's nodes.
///
/// Fast DDS reads both from the environment, which must not be changed here: libraries have started threads of their own
/// by now. So the process becomes the same program once more, with another environment. To be called first of all.
///
/// # Errors
/// When the program can't be executed again. It goes on as it is then.
pub fn meet_the_graph(role: Role) -> io::Result<()> {
    let is_client = set(SERVER).is_some() && set(SUPER_CLIENT).is_none();
    let whole = is_client.then_some((SUPER_CLIENT, "TRUE"));
    let chooses = role == Role::Lookout && env::var_os(UDP.0).is_none() && !shared_memory::is_another_rmw();
    let missing: Vec<Variable> = whole.into_iter().chain(chooses.then_some(UDP)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let itself = |program: &Path| {
        let mut arguments = env::args_os();
        Command::new(program)
            .arg0(arguments.next().unwrap_or_default())
            .args(arguments)
            .envs(missing.iter().copied())
            .exec()
    };
    // The process is called by the file's name. The file may have been replaced meanwhile.
    if let Ok(program) = env::current_exe() {
        itself(&program);
    }
    Err(itself(Path::new("/proc/self/exe")))
}

/// How other nodes are found, in words for the log.
pub(super) fn description() -> String {
    let text = |name| set(name).map(|value: OsString| value.to_string_lossy().into_owned());
    if let Some(server) = text(SERVER) {
        let role = match text(SUPER_CLIENT) {
            Some(value) if value.eq_ignore_ascii_case("true") || value == "1" => "super client",
            _ => "client, which does not see topics without a `type`",
        };
        return format!("discovery server {server} ({role})");
    }
    let range = range();
    let peers = text("ROS_STATIC_PEERS").map(|peers| format!(" and {peers}")).unwrap_or_default();
    format!("discovery {range}{peers}")
}

/// How far nodes are looked for, where there is no discovery server.
fn range() -> String {
    match set("ROS_LOCALHOST_ONLY") {
        Some(only) if only != "0" => "LOCALHOST".to_owned(),
        _ => set("ROS_AUTOMATIC_DISCOVERY_RANGE")
            .map_or_else(|| "SUBNET".to_owned(), |range| range.to_string_lossy().into_owned()),
    }
}

/// Whether nodes are looked for on this machine alone.
pub(super) fn is_localhost() -> bool {
    range() == "LOCALHOST"
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
