use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rcgen::KeyPair;
use tempfile::TempDir;

use super::*;
use crate::mqtt::certificates::{Authority, Identity, Valid};
use crate::pem::leaks::{Needles, damaged};

/// Certificate, key and root CA in a directory of their own, all in order.
struct Files {
    directory: TempDir,
    authority: Authority,
    broker: Broker,
}

impl Files {
    fn new() -> Self {
        let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("Test CA"));
        let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        let root_ca = directory.path().join("rootCA.crt");
        fs::write(&root_ca, &authority.pem).unwrap();
        let broker = Broker {
            host: "localhost".into(),
            port: 8883,
            certificate: files.certificate,
            private_key: files.private_key,
            root_ca: Some(root_ca),
        };
        Files { directory, authority, broker }
    }

    fn replace(&self, identity: &Identity) {
        identity.write(self.directory.path(), "robot1");
    }

    /// What `load` and `inspect` say, which have to agree if there is one problem only.
    fn only_problem(&self) -> String {
        let inspection = inspect(&self.broker, SystemTime::now());
        let [problem] = &inspection.problems[..] else { panic!("{:?}", inspection.problems) };
        let loaded = load(&self.broker, SystemTime::now()).unwrap_err();
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
    assert!(inspect(&files.broker, SystemTime::now()).problems.is_empty());
    let credentials = load(&files.broker, SystemTime::now()).unwrap();
    assert!(credentials.config.alpn_protocols.is_empty());
    assert!(credentials.config.enable_sni);
    let year_2999 = SystemTime::UNIX_EPOCH + Duration::from_secs(32_472_144_000);
    assert_eq!(credentials.certificate_expires, year_2999);
    files.broker.port = 443;
    let credentials = load(&files.broker, SystemTime::now()).unwrap();
    assert_eq!(credentials.config.alpn_protocols, [b"x-amzn-mqtt-ca".to_vec()]);
}

/// PKCS#8, PKCS#1 (RSA) and SEC1 (EC) keys are all taken, on each of the curves that AWS IoT Core takes.
#[test]
fn takes_keys_of_all_three_formats() {
    let files = Files::new();
    for (arguments, pkcs8, traditional) in [
        (&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"][..], "BEGIN PRIVATE KEY", "BEGIN RSA PRIVATE KEY"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..], "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"),
        (&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY"),
    ] {
        let key = openssl(&[&["genpkey"], arguments].concat(), "");
        assert!(key.contains(pkcs8));
        let mut identity = files.authority.issue_for(KeyPair::from_pem(&key).unwrap(), &["robot1"], Valid::Now);
        files.replace(&identity);
        load(&files.broker, SystemTime::now()).unwrap();
        identity.private_key = openssl(&["pkey", "-traditional"], &key);
        assert!(identity.private_key.contains(traditional));
        files.replace(&identity);
        load(&files.broker, SystemTime::now()).unwrap();
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
    fs::remove_file(&files.broker.private_key).unwrap();
    let expected = format!("the private key {} cannot be read: No such file", files.path("robot1.private.key"));
    assert!(files.only_problem().starts_with(&expected), "{}", files.only_problem());
}

/// Whoever may not read a file is named, with what to do.
#[test]
fn names_who_may_not_read_a_file() {
    let source = std::io::ErrorKind::PermissionDenied.into();
    let problem = CredentialProblem::Unreadable { credential: Credential::PrivateKey, path: "/a/key".into(), source };
    let own = crate::accounts::own_name();
    let expected = format!(
        "the private key /a/key cannot be read by {own}; `chgrp iot-bridge` and `chmod 640` let the service read it"
    );
    assert_eq!(problem.to_string(), expected);
}

#[test]
fn names_a_file_that_holds_something_else() {
    let files = Files::new();
    fs::write(&files.broker.certificate, "not a certificate").unwrap();
    let expected =
        format!("the client certificate {} holds no certificate in PEM format", files.path("robot1.cert.pem"));
    assert_eq!(files.only_problem(), expected);

    let files = Files::new();
    fs::write(&files.broker.private_key, fs::read(&files.broker.certificate).unwrap()).unwrap();
    let path = files.path("robot1.private.key");
    assert_eq!(
        files.only_problem(),
        format!("the private key {path} holds a certificate, where a private key belongs")
    );

    let files = Files::new();
    fs::write(files.broker.root_ca.as_ref().unwrap(), "").unwrap();
    let expected = format!("the root CA {} is empty", files.path("rootCA.crt"));
    assert_eq!(files.only_problem(), expected);
}

#[test]
fn names_a_damaged_certificate() {
    let files = Files::new();
    let damaged = "-----BEGIN CERTIFICATE-----\nMAEC\n-----END CERTIFICATE-----\n";
    let words = "is damaged: its text is PEM, but what that stands for is no certificate";
    fs::write(&files.broker.certificate, damaged).unwrap();
    assert_eq!(files.only_problem(), format!("the client certificate {} {words}", files.path("robot1.cert.pem")));

    let files = Files::new();
    fs::write(files.broker.root_ca.as_ref().unwrap(), damaged).unwrap();
    assert_eq!(files.only_problem(), format!("the root CA {} {words}", files.path("rootCA.crt")));
}

/// Whatever happens to a file, what is said of it is one line of at most 200 bytes with nothing of the file in it.
#[test]
fn nothing_of_a_file_is_said() {
    let mut files = Files::new();
    let deep = files.directory.path().join("a-directory-with-a-long-name".repeat(4));
    fs::create_dir(&deep).unwrap();
    for path in [&mut files.broker.certificate, &mut files.broker.private_key, files.broker.root_ca.as_mut().unwrap()] {
        let to = deep.join(path.file_name().unwrap());
        fs::rename(&path, &to).unwrap();
        *path = to;
    }
    for path in [&files.broker.certificate, &files.broker.private_key, files.broker.root_ca.as_ref().unwrap()] {
        let sound = fs::read_to_string(path).unwrap();
        let needles = Needles::of_pem(&sound);
        let mut named = 0;
        for (name, damaged) in damaged(&sound) {
            fs::write(path, damaged).unwrap();
            let found = inspect(&files.broker, SystemTime::now()).problems;
            named += found.len();
            for said in found.iter().chain(&load(&files.broker, SystemTime::now()).err()) {
                let text = format!("{said}; {}; {said:?}", said.remedy());
                assert_eq!(needles.found_in(&text), None, "{name}: {text}");
                let said = said.to_string();
                assert!(said.len() <= 200 && !said.contains('\n'), "{name}: {} bytes: {said}", said.len());
            }
        }
        assert!(named >= 21, "{named}");
        fs::write(path, sound).unwrap();
    }
}

/// Each kind of key that can't be used has a sentence that says what it is.
#[test]
fn names_a_key_that_is_not_supported() {
    let files = Files::new();
    let path = files.path("robot1.private.key");
    let new = |arguments: &[&str]| openssl(&[&["genpkey"], arguments].concat(), "");
    let curve = |name: &str| new(&["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{name}")]);
    let rsa = new(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let p256 = curve("P-256");
    let traditional = |key: &str| openssl(&["pkey", "-traditional"], key);
    let allowed = "allowed are RSA from 2048 bits on, and the curves P-256, P-384 and P-521";
    let mislabelled = |format, says, should_say| {
        format!("holds a {format} key under the label {says}; its first and last line have to say {should_say}")
    };
    for (key, words) in [
        (curve("secp256k1"), format!("is a key for the curve secp256k1; {allowed}")),
        (traditional(&curve("secp256k1")), format!("is a key for the curve secp256k1; {allowed}")),
        (curve("secp224r1"), format!("is a key for the curve P-224; {allowed}")),
        (curve("brainpoolP256r1"), format!("is a key of a kind that is not supported; {allowed}")),
        (
            new(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]),
            "is an RSA key of 1024 bits; allowed are 2048 to 8192".into(),
        ),
        (
            traditional(&new(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"])),
            "is an RSA key of 1024 bits; allowed are 2048 to 8192".into(),
        ),
        (new(&["-algorithm", "ED448"]), format!("is an Ed448 key; {allowed}")),
        (new(&["-algorithm", "X25519"]), format!("is an X25519 key; {allowed}")),
        (new(&["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]), format!("is an RSA-PSS key; {allowed}")),
        (rsa.replace("PRIVATE", "RSA PRIVATE"), mislabelled("PKCS#8", "RSA PRIVATE KEY", "PRIVATE KEY")),
        (
            traditional(&rsa).replace("RSA PRIVATE", "PRIVATE"),
            mislabelled("PKCS#1 (RSA)", "PRIVATE KEY", "RSA PRIVATE KEY"),
        ),
        (
            traditional(&p256).replace("EC PRIVATE", "PRIVATE"),
            mislabelled("SEC 1 (EC)", "PRIVATE KEY", "EC PRIVATE KEY"),
        ),
        (openssl(&["pkey", "-pubout"], &rsa), "holds a public key, where a private key belongs".into()),
        (
            openssl(&["pkcs8", "-topk8", "-passout", "pass:secret"], &rsa),
            "is encrypted; the bridge needs it without a passphrase".into(),
        ),
        (
            openssl(&["pkey", "-traditional", "-aes128", "-passout", "pass:secret"], &rsa),
            "is encrypted; the bridge needs it without a passphrase".into(),
        ),
        (
            fs::read_to_string(&files.broker.certificate).unwrap(),
            "holds a certificate, where a private key belongs".into(),
        ),
    ] {
        fs::write(&files.broker.private_key, key).unwrap();
        assert_eq!(files.only_problem(), format!("the private key {path} {words}"));
    }
}

/// A chain in the wrong order, an authority's certificate in the client's place, one of version 1 and one that only
/// OpenSSL reads are named as what they are.
#[test]
fn names_a_certificate_that_is_not_the_clients() {
    let files = Files::new();
    let path = files.path("robot1.cert.pem");
    let own = fs::read_to_string(&files.broker.certificate).unwrap();
    let said = |pem: &str| {
        fs::write(&files.broker.certificate, pem).unwrap();
        files.only_problem()
    };
    assert_eq!(
        said(&format!("{}{own}", files.authority.pem)),
        format!("the client certificate {path} begins with another one than the client's own, which has to come first")
    );
    assert_eq!(
        said(&files.authority.pem),
        format!("the client certificate {path} is an authority's certificate, not the client's own")
    );
    let trusted = openssl(&["x509", "-trustout"], &own);
    assert!(
        said(&trusted).starts_with(&format!("the client certificate {path} begins with BEGIN TRUSTED CERTIFICATE"))
    );

    let key = files.broker.private_key.to_str().unwrap();
    let request = openssl(&["req", "-new", "-key", key, "-subj", "/CN=robot1"], "");
    let first = openssl(&["x509", "-req", "-signkey", key], &request);
    assert_eq!(
        said(&first),
        format!(
            "the client certificate {path} is an X.509 certificate of version 1; allowed is version 3, which an issuer \
             makes when it adds extensions"
        )
    );
    fs::write(&files.broker.certificate, format!("{own}{}", files.authority.pem)).unwrap();
    load(&files.broker, SystemTime::now()).unwrap();
}

/// What is wrong with the authorities, but may not stand in the way of a connection, is for `check` to tell.
#[test]
fn names_doubtful_authorities() {
    let files = Files::new();
    let root_ca = files.broker.root_ca.clone().unwrap();
    let path = root_ca.display().to_string();
    let said = |pem: &str| {
        fs::write(&root_ca, pem).unwrap();
        load(&files.broker, SystemTime::now()).unwrap();
        let problems = inspect(&files.broker, SystemTime::now()).problems;
        problems.iter().map(|problem| (problem.key(), problem.to_string())).collect::<Vec<_>>()
    };
    let own = fs::read_to_string(&files.broker.certificate).unwrap();
    let no_authority =
        format!("the root CA {path} holds no authority's certificate, but one that an authority has issued");
    assert_eq!(said(&own), [("aws.root_ca", no_authority)]);
    // A broker's certificate that has signed itself is its own authority.
    let itself = files.directory.path().join("itself.key");
    let itself = [
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=broker",
        "-addext",
        "basicConstraints=CA:FALSE",
        "-keyout",
        itself.to_str().unwrap(),
    ];
    assert_eq!(said(&openssl(&itself, "")), []);

    let good = files.authority.pem.replace('\r', "");
    let bad = good.replacen("MII", "*", 1);
    let line = good.lines().count() + 2;
    let partly = format!("the root CA {path} is damaged: line {line} is no base64; the others are used");
    assert_eq!(said(&format!("{good}{bad}")), [("aws.root_ca", partly)]);
}

/// AWS IoT Core's endpoint without `-ats` is signed by an authority that neither Amazon's root CAs nor today's systems
/// trust; with another root CA somebody has thought of that.
#[test]
fn names_an_endpoint_without_ats() {
    let mut files = Files::new();
    let own = files.broker.root_ca.clone().unwrap();
    let amazons = files.directory.path().join("AmazonRootCA1.pem");
    fs::write(&amazons, Authority::new("Amazon Root CA 1").pem).unwrap();
    for (endpoint, root_ca, named) in [
        ("a1b2c3.iot.eu-west-1.amazonaws.com", Some(&amazons), true),
        ("a1b2c3.iot.eu-west-1.amazonaws.com", None, true),
        ("a1b2c3.iot.eu-west-1.amazonaws.com", Some(&own), false),
        ("a1b2c3-ats.iot.eu-west-1.amazonaws.com", Some(&amazons), false),
        ("a1b2c3.ats.iot.cn-north-1.amazonaws.com.cn", Some(&amazons), false),
        ("localhost", Some(&amazons), false),
    ] {
        (files.broker.host, files.broker.root_ca) = (endpoint.into(), root_ca.cloned());
        let problems = inspect(&files.broker, SystemTime::now()).problems;
        assert_eq!(problems.len(), usize::from(named), "{endpoint}: {problems:?}");
        if let [problem] = &problems[..] {
            assert_eq!(problem.key(), "aws.endpoint");
            let said = format!("{problem}; {}", problem.remedy());
            assert!(
                said.contains("without -ats") && said.contains("\"a1b2c3-ats.iot.eu-west-1.amazonaws.com\""),
                "{said}"
            );
        }
    }
}

#[test]
fn names_an_encrypted_key() {
    let files = Files::new();
    let key = fs::read_to_string(&files.broker.private_key).unwrap();
    fs::write(&files.broker.private_key, openssl(&["pkcs8", "-topk8", "-passout", "pass:secret"], &key)).unwrap();
    let expected = format!(
        "the private key {} is encrypted; the bridge needs it without a passphrase",
        files.path("robot1.private.key")
    );
    assert_eq!(files.only_problem(), expected);
}

#[test]
fn names_a_key_of_another_certificate() {
    let files = Files::new();
    fs::write(&files.broker.private_key, files.authority.issue(&["robot2"], Valid::Now).private_key).unwrap();
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
    assert_eq!(inspect(&files.broker, SystemTime::now()).certificate_expires, Some(year_2020));

    files.replace(&files.authority.issue(&["robot1"], Valid::NotYet));
    let expected =
        format!("the client certificate {path} is not valid before Jan  1 00:00:00 4000 +00:00; is the clock right?");
    assert_eq!(files.only_problem(), expected);
}

/// All problems are found, not only the first.
#[test]
fn inspect_finds_every_problem() {
    let files = Files::new();
    files.replace(&files.authority.issue(&["robot1"], Valid::NoLonger));
    fs::write(&files.broker.private_key, files.authority.issue(&["robot2"], Valid::Now).private_key).unwrap();
    fs::remove_file(files.broker.root_ca.as_ref().unwrap()).unwrap();
    let keys: Vec<_> = inspect(&files.broker, SystemTime::now()).problems.iter().map(CredentialProblem::key).collect();
    assert_eq!(keys, ["aws.root_ca", "aws.certificate", "aws.private_key"]);
}
