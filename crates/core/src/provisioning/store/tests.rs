use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use rustix::io::Errno;

use super::*;
use crate::files::simulated::{Fault, SimulatedFiles};

const NOW: u64 = 1_795_000_000;

const KEY: &str = "robot.private.key";
const CERTIFICATE: &str = "robot.cert.pem";

/// AWS IoT Core: it signs what it is asked to, and registers each certificate once.
#[derive(Default)]
struct Cloud {
    /// Certificates by their tokens.
    issued: BTreeMap<String, String>,
    registered: BTreeMap<String, String>,
}

impl Cloud {
    fn issue(&mut self, csr: &str) -> Issued {
        let request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
        let (pem, token) = (request.signed_by(&issuer).unwrap().pem(), format!("token {}", self.issued.len()));
        self.issued.insert(token.clone(), pem.clone());
        let certificate_id = format!("certificate {}", self.issued.len());
        Issued { certificate_id, certificate_pem: pem, ownership_token: Token(token), obtained: NOW }
    }

    fn register(&mut self, issued: &Issued) -> Registered {
        let token = &issued.ownership_token.0;
        self.registered.insert(token.clone(), self.issued[token].clone());
        Registered {
            thing: "robot7".into(),
            certificate_id: issued.certificate_id.clone(),
            certificate_pem: issued.certificate_pem.clone(),
            template: "my-fleet".into(),
            device_configuration: None,
        }
    }
}

/// Two directories, in which syncing the one does nothing for the other.
struct Disks {
    keys: SimulatedFiles,
    certificates: SimulatedFiles,
}

impl Disks {
    fn new() -> Disks {
        Disks { keys: SimulatedFiles::new(), certificates: SimulatedFiles::new() }
    }

    fn each(&self, change: impl Fn(&SimulatedFiles) -> SimulatedFiles) -> Disks {
        Disks { keys: change(&self.keys), certificates: change(&self.certificates) }
    }

    fn store(&self) -> Store {
        let place = |files: &SimulatedFiles, name: &str| Place {
            files: Arc::new(files.clone()),
            name: name.to_owned(),
            path: name.into(),
        };
        Store {
            private_key: place(&self.keys, KEY),
            certificate: place(&self.certificates, CERTIFICATE),
            state: place(&self.certificates, STATE),
        }
    }

    fn fault_at(&self, operation: usize, fault: Fault) {
        match operation.checked_sub(operations_of_a_whole_run()[0]) {
            None => self.keys.fault_at(operation as u64, fault),
            Some(operation) => self.certificates.fault_at(operation as u64, fault),
        }
    }
}

/// All steps in their order, from where the files say that it is.
fn provision(store: &Store, cloud: &mut Cloud, now: u64) -> Result<(), StoreProblem> {
    let key = store.key()?;
    let registered = match store.progress(&key, now)? {
        Progress::Registered(registered) => registered,
        progress => {
            let issued = match progress {
                Progress::Issued(issued) => issued,
                _ => {
                    let issued = cloud.issue(&key.signing_request("robot7").unwrap());
                    store.keep_issued(issued.clone())?;
                    issued
                }
            };
            let registered = cloud.register(&issued);
            store.keep_registered(registered.clone())?;
            registered
        }
    };
    store.finish(&registered)
}

/// The robot is provisioned: key and certificate belong together, the cloud knows the certificate, and no other.
fn check(disks: &Disks, cloud: &Cloud, context: &str) {
    let text = |files: &SimulatedFiles, name| {
        String::from_utf8(files.read(name).unwrap_or_else(|| panic!("{context}: no {name}"))).unwrap()
    };
    let (key, certificate) =
        (Key::from_pem(text(&disks.keys, KEY).as_bytes()).unwrap(), text(&disks.certificates, CERTIFICATE));
    assert!(key.fits(&certificate), "{context}");
    assert_eq!(cloud.registered.values().collect::<Vec<_>>(), [&certificate], "{context}");
    let registered = disks.store().registered().unwrap().unwrap_or_else(|| panic!("{context}: no name"));
    assert_eq!(registered.thing, "robot7", "{context}");
    assert!(!text(&disks.certificates, STATE).contains("token"), "{context}: the token is of no use any more");
}

/// On the one disk and on the other.
fn operations_of_a_whole_run() -> [usize; 2] {
    static COUNTED: OnceLock<[usize; 2]> = OnceLock::new();
    *COUNTED.get_or_init(|| {
        let (disks, mut cloud) = (Disks::new(), Cloud::default());
        provision(&disks.store(), &mut cloud, NOW).unwrap();
        check(&disks, &cloud, "undisturbed");
        [disks.keys.operations() as usize, disks.certificates.operations() as usize]
    })
}

/// The power goes, or the process is killed, at any operation on the disk: the next start completes it with the same
/// key, and one certificate is registered.
#[test]
fn an_end_at_any_operation_is_taken_up() {
    for operation in 0..operations_of_a_whole_run().iter().sum() {
        for written in [0, 1, 100] {
            for seed in 0..6 {
                let context = format!("operation {operation}, {written} bytes written, seed {seed}");
                let (disks, mut cloud) = (Disks::new(), Cloud::default());
                disks.fault_at(operation, Fault::PowerCut { written });
                provision(&disks.store(), &mut cloud, NOW).expect_err(&context);
                let disks =
                    disks.each(|files| if seed == 0 { files.after_kill() } else { files.after_power_cut(seed) });
                provision(&disks.store(), &mut cloud, NOW + 60).unwrap_or_else(|error| panic!("{context}: {error}"));
                check(&disks, &cloud, &context);
            }
        }
    }
}

/// An operation fails, and the process goes on trying; then the power goes all the same. What was registered before
/// is not lost.
#[test]
fn a_failed_operation_is_mended_by_the_next_attempt() {
    for operation in 0..operations_of_a_whole_run().iter().sum() {
        for seed in 1..6 {
            let context = format!("operation {operation}, seed {seed}");
            let (disks, mut cloud) = (Disks::new(), Cloud::default());
            disks.fault_at(operation, Fault::Fail(Errno::IO));
            let problem = provision(&disks.store(), &mut cloud, NOW).expect_err(&context);
            assert!(problem.to_string().contains("cannot be written"), "{context}: {problem}");
            provision(&disks.store(), &mut cloud, NOW).unwrap_or_else(|error| panic!("{context}: {error}"));
            check(&disks, &cloud, &context);
            let disks = disks.each(|files| files.after_power_cut(seed));
            provision(&disks.store(), &mut cloud, NOW).unwrap_or_else(|error| panic!("{context}: {error}"));
            check(&disks, &cloud, &context);
        }
    }
}

/// A certificate that was not registered is used while its token lasts and the clock is plausible, and only with the key
/// that it is for.
#[test]
fn an_issued_certificate_is_used_while_it_can_be() {
    let (disks, mut cloud) = (Disks::new(), Cloud::default());
    let store = disks.store();
    let key = store.key().unwrap();
    assert_eq!(store.progress(&key, NOW).unwrap(), Progress::Begun);
    let issued = cloud.issue(&key.signing_request("robot7").unwrap());
    store.keep_issued(issued.clone()).unwrap();
    for (now, is_used) in [(NOW, true), (NOW + 3000, true), (NOW + 3600, false), (NOW - 1, false), (0, false)] {
        let expected = if is_used { Progress::Issued(issued.clone()) } else { Progress::Begun };
        assert_eq!(store.progress(&key, now).unwrap(), expected, "{now}");
    }
    let other = Key::generate().unwrap();
    assert_eq!(store.progress(&other, NOW).unwrap(), Progress::Begun);
    store.keep_registered(cloud.register(&issued)).unwrap();
    assert_eq!(store.progress(&other, NOW).unwrap(), Progress::Begun, "its key is lost");
    assert!(matches!(store.progress(&key, 0).unwrap(), Progress::Registered(_)));
}

/// Files that are not ours to understand are named, with what to do, and without what is in them.
#[test]
fn damaged_files_are_named() {
    let store = Disks::new().store();
    let key = store.key().unwrap();
    let put = |place: &Place, content: &[u8]| place.write(content).unwrap();
    put(&store.state, br#"{"state":"issued","ownership_token":"s3cret"#);
    let said = store.progress(&key, NOW).expect_err("half a file").to_string();
    assert!(said.contains("provisioning.json is damaged (line 1") && !said.contains("s3cret"), "{said}");
    let flat = key.to_pem().replace('\n', "");
    let secret = &flat[40..56];
    for (content, words) in [
        (&b"no key"[..], "holds no private key in PEM format"),
        (b"\xff\xfe", "is UTF-16 text"),
        (b"", "is empty"),
        (flat.as_bytes(), "is damaged: its lines are run together"),
    ] {
        put(&store.private_key, content);
        let said = store.key().expect_err("no key").to_string();
        assert!(said.contains(&format!("robot.private.key {words}")) && !said.contains(secret), "{said}");
    }
}

/// What is secret does not show in logs.
#[test]
fn secrets_are_not_shown() {
    let mut cloud = Cloud::default();
    let key = Key::generate().unwrap();
    let issued = cloud.issue(&key.signing_request("robot7").unwrap());
    assert!(!format!("{issued:?}").contains("token 0"), "{issued:?}");
    assert_eq!(format!("{key:?}"), "Key(..)");
    assert_eq!(issued.ownership_token.cut_from("no token 0 here"), "no … here");
}

/// On a real disk the files are for their owner alone, the directories too, and a key that is there is used.
#[test]
fn files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/certs");
    let place = |name: &str| Place::of(&path.join(name));
    let store = Store { private_key: place(KEY), certificate: place(CERTIFICATE), state: place(STATE) };
    let mut cloud = Cloud::default();
    provision(&store, &mut cloud, NOW).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [STATE, CERTIFICATE, KEY]);
    assert!(names.iter().all(|name| mode(&path.join(name)) == 0o600));

    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(path.join(KEY), other.join(KEY)).unwrap();
    let before = std::fs::read(path.join(KEY)).unwrap();
    let place = |name: &str| Place::of(&other.join(name));
    let store = Store { private_key: place(KEY), certificate: place(CERTIFICATE), state: place(STATE) };
    provision(&store, &mut cloud, NOW).unwrap();
    assert_eq!(std::fs::read(other.join(KEY)).unwrap(), before);
}
