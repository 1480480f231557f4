//! The machine's own users and groups, from `/etc/passwd` and `/etc/group`: those of a package's service stand there. And
//! what this process has no permission for.

mod obstacle;

use std::{fs, io};

pub use obstacle::{HOMES, Obstacle, obstacle, permission};

/// The user and group of the service, as the package makes them.
pub const SERVICE: &str = "iot-bridge";

/// The group of the status socket, as the package makes it: its members may ask for the status, and read nothing else that
/// is the service's.
pub const STATUS_GROUP: &str = "iot-bridge-status";

/// The number of the user `name` (passwd(5)); `None` if there is none.
///
/// # Errors
/// When the file can't be read.
pub fn user_id(name: &str) -> io::Result<Option<u32>> {
    Ok(number_of(&fs::read_to_string("/etc/passwd")?, name))
}

/// The number of the group `name` (group(5)); `None` if there is none.
///
/// # Errors
/// When the file can't be read.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    Ok(number_of(&fs::read_to_string("/etc/group")?, name))
}

/// The name of the user with the number `id`, or else the number.
pub fn user_name(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find(|line| id_in(line) == Some(id)).and_then(|line| line.split(':').next());
    name.map_or_else(|| id.to_string(), str::to_owned)
}

/// Who this process is, for sentences about what it may not do: root becomes the service's user in `/usr/bin/iot-bridge`.
pub fn own_name() -> String {
    user_name(rustix::process::geteuid().as_raw())
}

/// Both files have the name in the first field and the number in the third.
fn number_of(entries: &str, name: &str) -> Option<u32> {
    entries.lines().find(|line| line.split(':').next() == Some(name)).and_then(id_in)
}

fn id_in(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_whole_name() {
        let entries = "root:x:0:0:root:/root:/bin/bash\niot-bridge-2:x:7:7::/:\nbroken\niot-bridge:x:102:105::/:\n";
        assert_eq!(number_of(entries, "iot-bridge"), Some(102));
        assert_eq!(number_of(entries, "iot"), None);
        assert_eq!(number_of(entries, "broken"), None);
        assert_eq!((user_id("root").unwrap(), user_name(0).as_str()), (Some(0), "root"));
    }
}
