//! How nodes find each other, as the environment says: for all ROS programs alike.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Addresses of Fast DDS's discovery servers. With one, nodes do not look for each other.
const SERVER: &str = "ROS_DISCOVERY_SERVER";

/// Whether a discovery server tells everything, not only what matches a node's own topics.
const SUPER_CLIENT: &str = "ROS_SUPER_CLIENT";

/// Has Fast DDS's discovery server tell this process the whole graph, where one is used and nothing else is asked for.
///
/// A client hears of publishers of the topics that it has subscribed to already. The bridge asks the graph which type a
/// topic has before it subscribes.
///
/// Fast DDS reads that from the environment, which must not be changed here: libraries have started threads of their own
/// by now. So the process becomes the same program once more, with another environment. To be called first of all.
///
/// # Errors
/// When the program can't be executed again. It goes on as a client then.
pub fn see_the_whole_graph() -> io::Result<()> {
    if set(SERVER).is_none() || set(SUPER_CLIENT).is_some() {
        return Ok(());
    }
    let itself = |program: &Path| {
        let mut arguments = env::args_os();
        Command::new(program)
            .arg0(arguments.next().unwrap_or_default())
            .args(arguments)
            .env(SUPER_CLIENT, "TRUE")
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
    let range = match text("ROS_LOCALHOST_ONLY") {
        Some(only) if only != "0" => "LOCALHOST".to_owned(),
        _ => text("ROS_AUTOMATIC_DISCOVERY_RANGE").unwrap_or_else(|| "SUBNET".to_owned()),
    };
    let peers = text("ROS_STATIC_PEERS").map(|peers| format!(" and {peers}")).unwrap_or_default();
    format!("discovery {range}{peers}")
}

fn set(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}
