use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rcgen::KeyPair;
use tempfile::TempDir;

use super::*;
use crate::uplink::certificates::{Authority, Identity, Valid};

/// Certificate, key and root CA in a directory of their own, all in order.
struct Files {
    directory: TempDir,
    authority: Authority,
    aws: Aws,
}

impl Files {
    fn new() -> Self {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test CA"));
        let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        let root_ca = directory.path().join("rootCA.crt");
        fs::write(&root_ca, &authority.pem).unwrap();
        let aws = Aws {
            endpoint: "localhost".into(),
            port: 8883,
            thing: "robot1".into(),
            client_id: "robot1".into(),
            certificate: files.certificate,
            private_key: files.private_key,
            root_ca: Some(root_ca),
            provisioning: None,
        };
        Files { directory, authority, aws }
    }

    fn replace(&self, identity: &Identity) {
        identity.write(self.directory.path(), "robot1");
    }

    /// What `load` and `inspect` say, which have to agree if there is one problem only.
    fn only_problem(&self) -> String {
        let inspection = inspect(&self.aws, SystemTime::now());
        let [problem] = &inspection.problems[..] else { panic!("{:?}", inspection.problems) };
        let loaded = load(&self.aws, SystemTime::now()).unwrap_err();
        assert_eq!((loaded.to_string(), loaded.key()), (problem.to_string(), problem.key()));
        problem.to_string()
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// Files that are in order load without a problem; ALPN is offered on port 443 only.
#[test]
fn loads_what_is_in_order() {
    let mut files = Files::new();
    assert!(inspect(&files.aws, SystemTime::now()).problems.is_empty());
    let credentials = load(&files.aws, SystemTime::now()).unwrap();
    assert!(credentials.config.alpn_protocols.is_empty());
    assert!(credentials.config.enable_sni);
    let year_2999 = SystemTime::UNIX_EPOCH + Duration::from_secs(32_472_144_000);
    assert_eq!(credentials.certificate_expires, year_2999);
    files.aws.port = 443;
    let credentials = load(&files.aws, SystemTime::now()).unwrap();
    assert_eq!(credentials.config.alpn_protocols, [b"x-amzn-mqtt-ca".to_vec()]);
}

/// PKCS#8, PKCS#1 (RSA) and SEC1 (EC) keys are all taken.
#[test]
fn takes_keys_of_all_three_formats() {
    let files = Files::new();
    for (arguments, pkcs8, traditional) in [
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..], "BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"),
    ] {
        let key = openssl(&[&["genpkey"], arguments].concat(), "");
        assert!(key.contains(pkcs8));
        let mut identity = files.authority.issue_for(KeyPair::from_pem(&key).unwrap(), &["robot1"], Valid::Now);
        files.replace(&identity);
        load(&files.aws, SystemTime::now()).unwrap();
        identity.private_key = openssl(&["pkey", "-traditional"], &key);
        assert!(identity.private_key.contains(traditional));
        files.replace(&identity);
        load(&files.aws, SystemTime::now()).unwrap();
    }
}

fn openssl(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl has to be installed");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn names_a_file_that_is_missing() {
    let files = Files::new();
    fs::remove_file(&files.aws.private_key).unwrap();
    let expected = format!("the private key {} cannot be read: No such file", files.path("robot1.private.key"));
    assert!(files.only_problem().starts_with(&expected), "{}", files.only_problem());
}

#[test]
fn names_a_file_that_holds_something_else() {
    let files = Files::new();
    fs::write(&files.aws.certificate, "not a certificate").unwrap();
    let expected =
        format!("the client certificate {} holds no certificate in PEM format", files.path("robot1.cert.pem"));
    assert_eq!(files.only_problem(), expected);

    let files = Files::new();
    fs::write(&files.aws.private_key, fs::read(&files.aws.certificate).unwrap()).unwrap();
    let expected = format!("the private key {} holds no private key in PEM format", files.path("robot1.private.key"));
    assert_eq!(files.only_problem(), expected);

    let files = Files::new();
    fs::write(files.aws.root_ca.as_ref().unwrap(), "").unwrap();
    let expected = format!("the root CA {} holds no certificate in PEM format", files.path("rootCA.crt"));
    assert_eq!(files.only_problem(), expected);
}

#[test]
fn names_a_damaged_certificate() {
    let files = Files::new();
    let damaged = "-----BEGIN CERTIFICATE-----\nMAEC\n-----END CERTIFICATE-----\n";
    fs::write(&files.aws.certificate, damaged).unwrap();
    let expected = format!("the client certificate {} cannot be used: ", files.path("robot1.cert.pem"));
    assert!(files.only_problem().starts_with(&expected), "{}", files.only_problem());

    let files = Files::new();
    fs::write(files.aws.root_ca.as_ref().unwrap(), damaged).unwrap();
    let expected = format!("the root CA {} cannot be used: ", files.path("rootCA.crt"));
    assert!(files.only_problem().starts_with(&expected), "{}", files.only_problem());
}

#[test]
fn names_an_encrypted_key() {
    let files = Files::new();
    let key = fs::read_to_string(&files.aws.private_key).unwrap();
    fs::write(&files.aws.private_key, openssl(&["pkcs8", "-topk8", "-passout", "pass:secret"], &key)).unwrap();
    let expected = format!(
        "the private key {} is encrypted; the bridge needs it without a passphrase",
        files.path("robot1.private.key")
    );
    assert_eq!(files.only_problem(), expected);
}

#[test]
fn names_a_key_of_another_certificate() {
    let files = Files::new();
    fs::write(&files.aws.private_key, files.authority.issue(&["robot2"], Valid::Now).private_key).unwrap();
    let expected = format!(
        "the private key {} does not belong to the client certificate {}",
        files.path("robot1.private.key"),
        files.path("robot1.cert.pem")
    );
    assert_eq!(files.only_problem(), expected);
}

/// A certificate out of its time is named with the date, and its expiry is told all the same.
#[test]
fn names_a_certificate_out_of_its_time() {
    let files = Files::new();
    files.replace(&files.authority.issue(&["robot1"], Valid::NoLonger));
    let path = files.path("robot1.cert.pem");
    assert_eq!(files.only_problem(), format!("the client certificate {path} expired on Jan  1 00:00:00 2020 +00:00"));
    let year_2020 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_577_836_800);
    assert_eq!(inspect(&files.aws, SystemTime::now()).certificate_expires, Some(year_2020));

    files.replace(&files.authority.issue(&["robot1"], Valid::NotYet));
    let expected =
        format!("the client certificate {path} is not valid before Jan  1 00:00:00 4000 +00:00; is the clock right?");
    assert_eq!(files.only_problem(), expected);
}

/// All problems are found, not only the first; a key that everybody may read is one of them, but does not prevent
/// loading.
#[test]
fn inspect_finds_every_problem() {
    let files = Files::new();
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&files.aws.private_key, open.clone()).unwrap();
    let inspection = inspect(&files.aws, SystemTime::now());
    let expected = format!(
        "the private key {} is open to every user (mode 0644); chmod o= closes it",
        files.path("robot1.private.key")
    );
    assert_eq!(inspection.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert!(load(&files.aws, SystemTime::now()).is_ok());

    files.replace(&files.authority.issue(&["robot1"], Valid::NoLonger));
    fs::write(&files.aws.private_key, files.authority.issue(&["robot2"], Valid::Now).private_key).unwrap();
    fs::set_permissions(&files.aws.private_key, open).unwrap();
    fs::remove_file(files.aws.root_ca.as_ref().unwrap()).unwrap();
    let keys: Vec<_> = inspect(&files.aws, SystemTime::now()).problems.iter().map(CredentialProblem::key).collect();
    assert_eq!(keys, ["aws.root_ca", "aws.certificate", "aws.private_key", "aws.private_key"]);
}

/// A key that the administrator opened to a group is in order: that is how a service's user gets it.
#[test]
fn a_key_open_to_its_group_is_in_order() {
    let files = Files::new();
    fs::set_permissions(&files.aws.private_key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(inspect(&files.aws, SystemTime::now()).problems.is_empty());
}
