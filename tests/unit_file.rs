//! The unit says nothing that an older systemd leaves out. (Those that are to be had are asked in `tests/systemd`.)

use std::path::Path;

/// What the unit says, by the version of systemd that knows it, as the manuals of systemd 257 have it; "0" is what they do not date.
const SINCE: [(u32, &[&str]); 22] = [
    (0, &["Type", "NotifyAccess", "User", "Group", "Environment", "EnvironmentFile", "ExecStartPre", "ExecStart"]),
    (0, &["ExecReload", "Restart", "RestartSec", "WatchdogSec", "UMask", "LimitNOFILE", "LimitCORE", "OOMScoreAdjust"]),
    (0, &["CapabilityBoundingSet", "PrivateTmp", "DevicePolicy"]),
    (187, &["NoNewPrivileges", "SystemCallFilter"]),
    (188, &["TimeoutStartSec", "TimeoutStopSec"]),
    (189, &["RestartPreventExitStatus"]),
    (201, &["Description", "Documentation", "After", "WantedBy"]),
    (209, &["PrivateDevices", "SystemCallArchitectures", "SystemCallErrorNumber"]),
    (211, &["StateDirectory", "LogsDirectory", "ConfigurationDirectory", "RestrictAddressFamilies"]),
    (214, &["ProtectSystem", "ProtectHome"]),
    (227, &["TasksMax"]),
    (229, &["StartLimitIntervalSec", "AmbientCapabilities"]),
    (231, &["ReadWritePaths", "InaccessiblePaths", "MemoryMax", "MemoryDenyWriteExecute", "RestrictRealtime"]),
    (232, &["PrivateUsers", "ProtectControlGroups", "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC"]),
    (233, &["RestrictNamespaces"]),
    (234, &["StateDirectoryMode", "LogsDirectoryMode"]),
    (235, &["KeyringMode", "LockPersonality"]),
    (242, &["ProtectHostname", "RestrictSUIDSGID"]),
    (244, &["ProtectKernelLogs"]),
    (245, &["ProtectClock"]),
    (247, &["ProtectProc", "ProcSubset"]),
    (248, &["PrivateIPC"]),
];

/// Every directive of the unit is known to systemd 249, of Ubuntu 22.04, which would leave out another with a warning alone;
/// docs/platforms.md names the youngest of them.
#[test]
fn the_unit_is_for_systemd_249() {
    let read = |path| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let unit = read("systemd/iot-bridge.service");
    let lines = unit.lines().filter(|line| !line.starts_with(['#', '[']));
    let directives: Vec<_> = lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(directives.len() > 50, "{directives:?}");
    let since = |name: &&str| {
        let known = SINCE.iter().find(|(_, names)| names.contains(name));
        known.unwrap_or_else(|| panic!("note here since which version systemd knows {name}=: its manual says so")).0
    };
    let youngest = directives.iter().max_by_key(|name| since(name)).unwrap();
    assert!(since(youngest) <= 249, "{youngest}= is of systemd {}", since(youngest));
    let named = format!("`{youngest}=`, of {}", since(youngest));
    assert!(read("docs/platforms.md").contains(&named), "docs/platforms.md does not say: {named}");
}
