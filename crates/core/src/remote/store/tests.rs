use std::sync::Arc;

use rustix::io::Errno;
use serde_json::json;

use super::*;
use crate::files::simulated::{Fault, SimulatedFiles};
use crate::remote::Verdict;

fn store(files: &SimulatedFiles) -> Store {
    Store::on(Arc::new(files.clone()), PathBuf::from("/state"))
}

fn wish(version: &str) -> Wish {
    let sections = json!({"topics": [{"ros": "/odom", "rate": "2 Hz"}]}).as_object().unwrap().clone();
    Wish { version: version.to_owned(), sections, by: By::Shadow }
}

/// Everything that can be kept.
fn everything(version: &str) -> Kept {
    let by = By::Job("update-7".to_owned());
    let outcome = Outcome {
        by: by.clone(),
        version: Some(version.to_owned()),
        state: Verdict::RolledBack,
        problems: vec!["Nothing was acknowledged within 2 min.".to_owned()],
    };
    Kept {
        shadow: "iot-bridge".to_owned(),
        confirmed: Some(wish("1")),
        trial: Some(Trying { wish: Wish { by: by.clone(), ..wish(version) }, attempts: 2 }),
        desired: Some(r#"{"version":"7"}"#.to_owned()),
        checking: Some(Checking { by, attempts: 1 }),
        refused: Some(outcome.clone()),
        job: Some(KeptJob { id: "update-7".to_owned(), outcome: Some(outcome) }),
    }
}

/// What was kept is found again, on a real disk as well, in a file for the service's user alone.
#[test]
fn what_was_kept_is_found() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("not/there/yet");
    let store = Store::new(directory.clone());
    assert_eq!(store.open(), Found { kept: Kept::default(), problem: None });
    assert!(!directory.exists(), "looking makes nothing");
    for version in ["1", "2"] {
        store.keep(&everything(version)).unwrap();
        assert_eq!(Store::new(directory.clone()).open(), Found { kept: everything(version), problem: None });
    }
    let names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["remote.json"]);
    let mode = std::fs::metadata(directory.join("remote.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// The power goes, or the process is killed, at any operation and with any part of it done: what is found is all of the one
/// before or all of the new one; once it was kept it is the new one.
#[test]
fn it_is_kept_in_full_or_not_at_all() {
    let whole = || {
        let files = SimulatedFiles::new();
        store(&files).keep(&everything("1")).unwrap();
        files
    };
    let before = whole().operations();
    let files = whole();
    store(&files).keep(&everything("2")).unwrap();
    let operations = files.operations() - before;
    assert!(operations > 4);
    for seed in 0..10 {
        assert_eq!(store(&files.after_power_cut(seed)).look().unwrap(), everything("2"));
    }
    for operation in 0..operations {
        for written in [0, 1, 100, 600] {
            for seed in 0..6 {
                let files = whole();
                files.fault_at(before + operation, Fault::PowerCut { written });
                store(&files).keep(&everything("2")).unwrap_err();
                let files = if seed == 0 { files.after_kill() } else { files.after_power_cut(seed) };
                let found = store(&files).open();
                let kept = [everything("1"), everything("2")].contains(&found.kept);
                assert!(kept && found.problem.is_none(), "operation {operation}, {written}, {seed}: {found:?}");
                // What was left lying about is no obstacle, and what was found lasts.
                let again = store(&files);
                for seed in 0..4 {
                    assert_eq!(
                        store(&files.after_power_cut(seed)).look().unwrap(),
                        found.kept,
                        "operation {operation}"
                    );
                }
                again.keep(&everything("3")).unwrap();
                assert_eq!(again.look().unwrap(), everything("3"));
            }
        }
    }
}

/// Each operation on the disk may fail: that is said with the file and the reason, and the next try goes through.
#[test]
fn what_can_not_be_written_is_said() {
    for operation in 0..7 {
        let files = SimulatedFiles::new();
        store(&files).keep(&everything("1")).unwrap();
        files.fault_at(files.operations() + operation, Fault::Fail(Errno::NOSPC));
        let result = store(&files).keep(&everything("2"));
        // The second is that a file of a process that was killed is removed: there is none.
        if operation < 6 {
            let problem = "/state/remote.json cannot be written (No space left on device (os error 28))";
            assert_eq!(result.unwrap_err(), problem, "operation {operation}");
        }
        store(&files).keep(&everything("3")).unwrap();
        assert_eq!(store(&files).look().unwrap(), everything("3"), "operation {operation}");
    }
}

/// Cut off anywhere, with any byte another, of another format, or something else altogether: it is set aside, said once without
/// a word of what is in it, and the local configuration is in force.
#[test]
fn what_can_not_be_used_is_set_aside() {
    let files = SimulatedFiles::new();
    store(&files).keep(&everything("1")).unwrap();
    let good = files.read(FILE).unwrap();
    let check = |content: &[u8], what: &str| {
        let files = SimulatedFiles::new();
        replace_whole(&files, FILE, content).unwrap();
        let found = store(&files).open();
        assert_eq!(found.kept, Kept::default(), "{what}");
        let problem = found.problem.unwrap();
        assert!(problem.starts_with("/state/remote.json ") && !problem.contains("odom"), "{problem}");
        assert_eq!(files.read(ASIDE).unwrap(), content, "{what}");
        assert_eq!(store(&files.after_power_cut(1)).open(), Found { kept: Kept::default(), problem: None }, "{what}");
        problem
    };
    // The last byte is the end of the line.
    for length in 0..good.len() - 1 {
        check(&good[..length], &format!("{length} bytes"));
    }
    let open = good.iter().position(|byte| *byte == b':').unwrap();
    for place in open..good.len() - 1 {
        let mut content = good.clone();
        content[place] ^= 0x04;
        check(&content, &format!("byte {place}"));
    }
    let text = String::from_utf8(good).unwrap();
    let aside = "it is set aside as /state/remote.json.damaged, and the local configuration is in force.";
    let problem = check(text.replacen("\"format\":1", "\"format\":2", 1).as_bytes(), "newer");
    assert_eq!(problem, format!("/state/remote.json has the format 2, of which this program knows only 1: {aside}"));
    let problem = check(text.replacen("/odom", "/idom", 1).as_bytes(), "another name");
    assert_eq!(problem, format!("/state/remote.json is damaged (its checksum is another): {aside}"));
    let problem = check(b"", "empty");
    assert_eq!(problem, format!("/state/remote.json is damaged (line 1, column 0): {aside}"));
    check("[".repeat(8192).as_bytes(), "brackets");
    let problem = check(&vec![b' '; (1 << 20) + 1], "huge");
    assert_eq!(problem, format!("/state/remote.json cannot be read (it has 1048577 bytes): {aside}"));
}

/// A file that can't be read, and one that can't be set aside either, keep nobody from starting.
#[test]
fn a_disk_that_does_not_read_is_no_obstacle() {
    let files = SimulatedFiles::new();
    store(&files).keep(&everything("1")).unwrap();
    files.fail_reads(FILE, 0..10);
    files.fault_at(files.operations(), Fault::FailFrom(Errno::ROFS));
    let found = store(&files).open();
    assert_eq!(found.kept, Kept::default());
    assert_eq!(
        found.problem.unwrap(),
        "/state/remote.json cannot be read (Input/output error (os error 5)): the local configuration is in force. It cannot be \
         set aside as /state/remote.json.damaged either (Read-only file system (os error 30))."
    );
}
