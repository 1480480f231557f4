use std::collections::BTreeSet;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..300;

fn file(files: &SimulatedFiles, path: &str, content: &[u8]) -> Box<dyn File> {
    let mut file = files.create(path).unwrap();
    file.write_at(0, content).unwrap();
    file
}

fn synced(files: &SimulatedFiles, path: &str, content: &[u8]) -> Box<dyn File> {
    let mut file = file(files, path, content);
    file.sync().unwrap();
    files.sync_directory(parent(path)).unwrap();
    file
}

/// What `path` may hold after a power cut; `None` where it is not there.
fn outcomes(files: &SimulatedFiles, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    SEEDS.map(|seed| files.after_power_cut(seed).read(path)).collect()
}

/// Which files there may be after a power cut.
fn trees(files: &SimulatedFiles) -> BTreeSet<Vec<String>> {
    SEEDS.map(|seed| files.after_power_cut(seed).paths()).collect()
}

fn all<const N: usize>(expected: [&[&str]; N]) -> BTreeSet<Vec<String>> {
    expected.into_iter().map(|paths| paths.iter().map(|path| (*path).to_owned()).collect()).collect()
}

fn errno<T: Debug>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}

/// What was synced is there after every power cut, and after one more.
#[test]
fn the_synced_never_vanishes() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", &[7; 2000]);
    file.set_length(1500).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&files, "1"), [Some(vec![7; 1500])].into());
    for seed in SEEDS {
        assert_eq!(files.after_power_cut(seed).after_power_cut(seed + 1).read("1"), Some(vec![7; 1500]));
    }
}

/// Of what was not synced anything may be there: all, nothing, a prefix, a hole of zeros before what came later.
/// Never anything that was not written.
#[test]
fn the_unsynced_may_vanish_in_sectors() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", &[1; 100]);
    file.write_at(100, &[2; 924]).unwrap();
    file.write_at(1024, &[3; 512]).unwrap();

    let outcomes: BTreeSet<Vec<u8>> = outcomes(&files, "1").into_iter().map(Option::unwrap).collect();
    // By parts: the durable one, the first write up to the end of its sector, the rest of it, the second write.
    let mut seen = BTreeSet::new();
    for outcome in &outcomes {
        assert_eq!(outcome[..100], [1; 100]);
        for (part, value) in [(100..512, 2), (512..1024, 2), (1024..1536, 3)] {
            let there = outcome.get(part.start..outcome.len().min(part.end)).unwrap_or_default();
            assert!(there.iter().all(|&byte| byte == 0) || there == vec![value; part.len()], "{part:?} of {outcome:?}");
        }
        let kept = [100, 512, 1024].map(|start| outcome.get(start).is_some_and(|&byte| byte != 0));
        seen.insert((kept, outcome.len()));
    }
    for (kept, length) in [
        ([false, false, false], 100),
        ([true, false, false], 512),
        ([true, true, false], 1024),
        ([false, true, false], 1024),
        ([false, false, true], 1536),
        ([true, true, true], 1536),
    ] {
        assert!(seen.contains(&(kept, length)), "{kept:?} with {length} bytes is not among {seen:?}");
    }
    assert!(seen.iter().any(|(kept, length)| !kept.contains(&true) && *length > 100), "the file never grew by zeros");
}

/// A length that was not synced is the old or the new one.
#[test]
fn an_unsynced_length_may_be_the_old_one() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", b"12345");
    file.set_length(2).unwrap();
    assert_eq!(files.read("1").unwrap(), b"12");
    let outcomes = outcomes(&files, "1");
    assert_eq!(outcomes, [Some(b"12".to_vec()), Some(b"12345".to_vec())].into());
}

/// A failed sync leaves what it was to write in doubt for good, though it reads back and the next sync succeeds.
#[test]
fn a_failed_sync_is_not_made_up_for() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", b"one");
    file.write_at(3, b"two").unwrap();
    files.fault_at(files.operations(), Fault::Fail(Errno::IO));
    assert_eq!(errno(file.sync()), Errno::IO);
    file.write_at(6, b"three").unwrap();
    file.sync().unwrap();

    assert_eq!(files.read("1").unwrap(), b"onetwothree");
    let expected = [Some(b"onetwothree".to_vec()), Some(b"one\0\0\0three".to_vec())];
    assert_eq!(outcomes(&files, "1"), expected.into());
}

/// A name lasts by its directory's sync alone, the content by the file's; directories are names as well.
#[test]
fn names_and_content_last_each_by_its_own_sync() {
    let files = SimulatedFiles::new();
    let mut content = file(&files, "content", b"synced");
    content.sync().unwrap();
    assert_eq!(outcomes(&files, "content"), [None, Some(b"synced".to_vec())].into());

    let files = SimulatedFiles::new();
    file(&files, "name", b"lost");
    files.sync_directory("").unwrap();
    let expected = [b"".to_vec(), b"\0".to_vec(), b"\0\0".to_vec(), b"\0\0\0".to_vec(), b"\0\0\0\0".to_vec()];
    let expected = expected.into_iter().chain([b"lost".to_vec()]).map(Some).collect();
    assert_eq!(outcomes(&files, "name"), expected);

    let files = SimulatedFiles::new();
    files.make_directory("lanes/high").unwrap();
    synced(&files, "lanes/high/1", b"");
    files.sync_directory("lanes").unwrap();
    assert_eq!(trees(&files), all([&[], &["lanes/high/1"]]));
    files.sync_directory("").unwrap();
    assert_eq!(trees(&files), all([&["lanes/high/1"]]));
}

/// Of the changes in a directory the first so many last; those of another are not among them.
#[test]
fn changes_of_a_directory_last_in_order() {
    let files = SimulatedFiles::new();
    files.make_directory("a").unwrap();
    files.make_directory("b").unwrap();
    synced(&files, "a/1", b"");
    files.sync_directory("").unwrap();

    files.create("a/2").unwrap();
    files.rename("a/2", "a/3").unwrap();
    files.remove("a/1").unwrap();
    let expected: [&[_]; 4] = [&["a/1"], &["a/1", "a/2"], &["a/1", "a/3"], &["a/3"]];
    assert_eq!(trees(&files), all(expected));

    files.create("b/1").unwrap();
    files.sync_directory("b").unwrap();
    let expected: [&[_]; 4] = [&["a/1", "b/1"], &["a/1", "a/2", "b/1"], &["a/1", "a/3", "b/1"], &["a/3", "b/1"]];
    assert_eq!(trees(&files), all(expected));
}

/// A rename is whole or not at all, over another file and into another directory; one sync of either is enough, and
/// takes with it what it rests upon.
#[test]
fn a_rename_is_atomic() {
    for directory in ["", "old"] {
        let files = SimulatedFiles::new();
        files.make_directory("old").unwrap();
        files.sync_directory("").unwrap();
        synced(&files, "old/1", b"old");
        let mut new = file(&files, "1", b"new");
        new.sync().unwrap();
        files.rename("1", "old/1").unwrap();
        let expected: [&[_]; 2] = [&["old/1"], &["1", "old/1"]];
        assert_eq!(trees(&files), all(expected));
        assert_eq!(outcomes(&files, "old/1"), [Some(b"old".to_vec()), Some(b"new".to_vec())].into());

        files.sync_directory(directory).unwrap();
        assert_eq!(trees(&files), all([&["old/1"]]));
        assert_eq!(outcomes(&files, "old/1"), [Some(b"new".to_vec())].into());
    }
}

/// A rename that is lost at one end takes with it what came after it at the other.
#[test]
fn nothing_outlives_a_lost_rename() {
    let files = SimulatedFiles::new();
    files.make_directory("new").unwrap();
    synced(&files, "1", b"");
    files.rename("1", "new/1").unwrap();
    files.create("new/2").unwrap();
    let expected: [&[_]; 3] = [&["1"], &["new/1"], &["new/1", "new/2"]];
    assert_eq!(trees(&files), all(expected));
}

/// Who is killed loses nothing but its locks; what it had not synced still may not outlast a power cut.
#[test]
fn a_kill_keeps_the_page_cache() {
    let files = SimulatedFiles::new();
    let _lock = files.lock("lock").unwrap();
    assert_eq!(files.lock("lock").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let _file = file(&files, "1", b"unsynced");
    let next = files.after_kill();
    assert_eq!(next.read("1").unwrap(), b"unsynced");
    let lock = next.lock("lock").unwrap();
    drop(lock);
    next.lock("lock").unwrap();
    assert!(outcomes(&next, "1").contains(&None));
    next.open_to_write("1").unwrap().sync().unwrap();
    next.sync_directory("").unwrap();
    assert_eq!(outcomes(&next, "1"), [Some(b"unsynced".to_vec())].into());
}

/// A fault meets the operation that it is planned for and no other, and one that lasts all from there until healed.
#[test]
fn faults_meet_their_operation() {
    let files = SimulatedFiles::new();
    files.fault_at(1, Fault::Fail(Errno::ROFS));
    let mut file = files.create("1").unwrap();
    assert_eq!(file.write_at(0, b"x").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    file.write_at(0, b"y").unwrap();
    files.fault_at(3, Fault::FailFrom(Errno::IO));
    assert_eq!(errno(file.set_length(0)), Errno::IO);
    assert_eq!(errno(files.create("2")), Errno::IO);
    assert_eq!(errno(files.make_directory("d")), Errno::IO);
    assert_eq!(errno(files.rename("1", "2")), Errno::IO);
    assert_eq!(errno(files.remove("1")), Errno::IO);
    assert_eq!(errno(files.sync_directory("")), Errno::IO);
    assert_eq!(errno(files.lock("lock")), Errno::IO);
    assert_eq!(errno(files.open_to_write("1")), Errno::IO);
    assert_eq!(files.read("1").unwrap(), b"y");
    assert_eq!(files.paths(), ["1"]);
    files.heal();
    files.remove("1").unwrap();

    assert_eq!(files.operations(), 10);
    let log: Vec<_> = files.log().iter().map(ToString::to_string).collect();
    assert_eq!(log[0], r#"Create "1""#);
    assert!(log[1].starts_with(r#"Write { offset: 0, bytes: 1 } "1": Fail("#), "{}", log[1]);
    assert_eq!(files.log()[4].path.as_ref(), "2");
    assert_eq!(
        files.log()[8],
        Operation { action: Action::SyncDirectory, path: Arc::from(""), fault: Some(Fault::FailFrom(Errno::IO)) }
    );
    assert_eq!(files.log()[9].action, Action::Remove);
}

/// A short write leaves its beginning, as an unsynced one.
#[test]
fn a_short_write_leaves_a_part() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", b"one");
    files.fault_at(files.operations(), Fault::WriteShort { bytes: 2, errno: Errno::NOSPC });
    assert_eq!(file.write_at(3, b"two").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(files.read("1").unwrap(), b"onetw");
    assert!(outcomes(&files, "1").contains(&Some(b"one".to_vec())));
    file.write_at(3, b"two").unwrap();
    assert_eq!(files.read("1").unwrap(), b"onetwo");
}

/// With the power everything ends for the process, reading and locking too; the disk has no more than was written.
#[test]
fn nothing_works_without_power() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", b"one");
    files.fault_at(files.operations(), Fault::PowerCut { written: 2 });
    assert!(file.write_at(3, b"two").is_err());
    files.heal();
    assert!(file.write_at(3, b"two").is_err());
    assert!(file.sync().is_err());
    assert!(file.length().is_err());
    assert!(file.read_at(0, &mut [0]).is_err());
    assert!(files.list("").is_err());
    assert!(files.open("1").is_err());
    assert!(files.open_to_write("1").is_err());
    assert!(files.lock("lock").is_err());
    assert!(files.remove("1").is_err());
    let expected = ["one", "one\0", "one\0\0", "onetw"].map(|content| Some(content.as_bytes().to_vec()));
    assert_eq!(outcomes(&files, "1"), expected.into());
    assert_eq!(files.after_kill().read("1").unwrap(), b"onetw");

    let next = files.after_power_cut(1);
    next.open_to_write("1").unwrap().write_at(0, b"O").unwrap();
    next.lock("lock").unwrap();
    assert_eq!(next.operations(), 1);
}

/// The limit stops writes where the room ends, counts what is removed and still open, and can be lifted.
#[test]
fn room_is_bounded() {
    let files = SimulatedFiles::new();
    files.set_limit(Some(10));
    let mut one = file(&files, "1", b"123456");
    let mut two = files.create("2").unwrap();
    assert_eq!(errno(two.write_at(0, b"abcdef")), Errno::NOSPC);
    assert_eq!(files.read("2").unwrap(), b"abcd");
    assert_eq!(errno(files.create("3")), Errno::NOSPC);
    assert_eq!(errno(files.make_directory("d")), Errno::NOSPC);
    assert_eq!(errno(two.set_length(5)), Errno::NOSPC);
    one.write_at(0, b"654321").unwrap();
    files.remove("1").unwrap();
    assert_eq!(files.total_bytes(), 10);
    assert_eq!(errno(two.write_at(4, b"ef")), Errno::NOSPC);
    drop(one);
    assert_eq!(files.total_bytes(), 4);
    two.write_at(4, b"ef").unwrap();
    files.set_limit(None);
    two.set_length(1000).unwrap();
    assert_eq!(files.total_bytes(), 1000);
}

/// Damage is on the disk at once; a place that can't be read is so under the file's new name and after a power cut.
#[test]
fn damage_stays() {
    let files = SimulatedFiles::new();
    let mut file = synced(&files, "1", b"0123456789");
    files.corrupt("1", 2, b"xx");
    files.truncate("1", 8);
    assert_eq!(outcomes(&files, "1"), [Some(b"01xx4567".to_vec())].into());
    file.write_at(8, b"8").unwrap();

    files.fail_reads("1", 4..6);
    files.rename("1", "2").unwrap();
    files.sync_directory("").unwrap();
    for files in [files.after_kill(), files.after_power_cut(1), files] {
        let file = files.open("2").unwrap();
        let mut buffer = [0; 4];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"01xx");
        assert_eq!(errno(file.read_at(3, &mut [0; 2])), Errno::IO);
        assert_eq!(errno(file.read_at(5, &mut [0; 1])), Errno::IO);
        assert_eq!(file.read_at(6, &mut [0; 2]).unwrap(), 2);
        files.heal();
        assert_eq!(file.read_at(3, &mut [0; 2]).unwrap(), 2);
    }
}

/// The file system answers as a real one does: the errors of [`OsFiles`](super::super::OsFiles), on the same calls.
#[test]
fn answers_are_those_of_a_real_one() {
    let directory = tempfile::tempdir().unwrap();
    let real = super::super::OsFiles::new(directory.path().to_owned());
    let simulated = SimulatedFiles::new();
    let [real, simulated] = [&real as &dyn Files, &simulated].map(|files| {
        let mut answers = Vec::new();
        let mut note = |result: io::Result<()>| answers.push(result.map_err(|error| error.kind()));
        note(files.make_directory("d/e"));
        note(files.make_directory("d/e"));
        note(files.create("none/1").map(drop));
        note(files.create("d").map(drop));
        note(files.create("1").map(drop));
        note(files.create("1").map(drop));
        note(files.list("1").map(drop));
        note(files.list("none").map(drop));
        note(files.open("none").map(drop));
        note(files.open_to_write("d").map(drop));
        note(files.open("1").and_then(|mut file| file.write_at(0, b"x")));
        note(files.open_to_write("1").and_then(|mut file| file.write_at(3, b"x")));
        note(files.rename("none", "2"));
        note(files.rename("1", "none/1"));
        note(files.rename("1", "d"));
        note(files.rename("1", "1"));
        note(files.rename("1", "d/1"));
        note(files.remove("1"));
        note(files.remove("d"));
        note(files.sync_directory("none"));
        note(files.sync_directory("d/1"));
        note(files.sync_directory("d"));
        note(files.lock("none/lock").map(drop));
        note(files.lock("d/lock").and_then(|_held| files.lock("d/lock").map(drop)));
        let mut entries = files.list("d").unwrap();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        (answers, entries)
    });
    assert_eq!(simulated, real);
    assert_eq!(real.1[0], Entry { name: "1".to_owned(), kind: EntryKind::File { length: 4 } });
}
