//! What stands in the variables that ROS reads itself.
//!
//! ROS takes many a wrong value for none at all, in silence, or ends with words that name no variable.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::problem::{NOTHING, Problem, quote};

/// The last domain whose UDP ports are below 65536 (OMG DDSI-RTPS 2.5, 9.6.2.3: 7400 + 250 × domain + …).
const LAST_DOMAIN: u64 = 232;

/// Everything that is wrong with ROS's variables in `environment`.
pub(super) fn problems(environment: &[(OsString, OsString)]) -> Vec<Problem> {
    let environment = Environment(environment);
    let mut problems = Vec::new();
    let mut refuse = |name: &str, found: String, allowed: &str| {
        let (source, key, allowed) = (name.to_owned(), String::new(), allowed.to_owned());
        problems.push(Problem { source, line: None, key, found, allowed });
    };
    if let Some(domain) = environment.text("ROS_DOMAIN_ID")
        && !domain.parse::<u64>().is_ok_and(|domain| domain <= LAST_DOMAIN)
    {
        refuse("ROS_DOMAIN_ID", quote(&domain), "allowed is a whole number from 0 to 232");
    }
    for (name, words, allowed) in WORDS {
        if let Some(word) = environment.text(name).filter(|word| !words.contains(&word.as_str())) {
            refuse(name, quote(&word), allowed);
        }
    }
    for name in ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"] {
        if let Some(path) = environment.text(name).filter(|path| !Path::new(path).is_file()) {
            refuse(
                name,
                quote(&path),
                "no such file; allowed is a file with profiles in XML, which the service can read",
            );
        }
    }
    if let Some(rmw) = environment.text("RMW_IMPLEMENTATION")
        && !environment.is_installed(&rmw)
    {
        let allowed = "no such RMW is installed; allowed is one that is, such as \"rmw_fastrtps_cpp\", or nothing";
        refuse("RMW_IMPLEMENTATION", quote(&rmw), allowed);
    }
    if environment.text("ROS_SECURITY_ENABLE").as_deref() == Some("true") {
        security(&environment, &mut refuse);
    }
    problems
}

/// Variables that take a word, and the words that they take.
const WORDS: [(&str, &[&str], &str); 4] = [
    (
        "ROS_AUTOMATIC_DISCOVERY_RANGE",
        &["SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT"],
        "allowed is SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT; ROS takes anything else for LOCALHOST",
    ),
    ("ROS_LOCALHOST_ONLY", &["0", "1"], "allowed is 0 or 1"),
    (
        "ROS_SECURITY_ENABLE",
        &["true", "false"],
        "allowed is \"true\" or \"false\", in small letters; ROS takes anything else for false, and encrypts nothing",
    ),
    (
        "ROS_SECURITY_STRATEGY",
        &["Enforce", "Permissive"],
        "allowed is \"Enforce\" or \"Permissive\"; ROS takes anything else for Permissive, and goes on without security",
    ),
];

/// What SROS2 needs: a keystore, and in it an enclave for the bridge.
fn security(environment: &Environment<'_>, refuse: &mut impl FnMut(&str, String, &str)) {
    const KEYSTORE: &str = "ROS_SECURITY_KEYSTORE";
    const ENCLAVE: &str = "ROS_SECURITY_ENCLAVE_OVERRIDE";
    let Some(keystore) = environment.text(KEYSTORE) else {
        let allowed = "ROS_SECURITY_ENABLE is \"true\": this has to name the directory that `ros2 security \
                       create_keystore` has made";
        return refuse(KEYSTORE, NOTHING.into(), allowed);
    };
    let enclaves = Path::new(&keystore).join("enclaves");
    if !enclaves.is_dir() {
        let allowed = "this is no keystore; allowed is a directory that `ros2 security create_keystore` has made, which \
                       the service can read";
        return refuse(KEYSTORE, quote(&keystore), allowed);
    }
    let name = environment.text(ENCLAVE);
    let enclave = enclaves.join(name.as_deref().unwrap_or_default().trim_start_matches('/'));
    if !enclave.join("cert.pem").is_file() {
        let found = name.map_or(NOTHING.to_owned(), |name| quote(&name));
        let allowed = "allowed is the name of an enclave in the keystore, such as \"/iot_bridge\", which `ros2 security \
                       create_enclave` makes";
        refuse(ENCLAVE, found, allowed);
    }
}

struct Environment<'a>(&'a [(OsString, OsString)]);

impl Environment<'_> {
    /// The value of `name`. ROS takes one that is empty for none.
    fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(variable, _)| variable == name)?;
        Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    /// Whether the library of `rmw` is in the environment that is sourced; also if nothing is known of that.
    fn is_installed(&self, rmw: &str) -> bool {
        let Some(prefixes) = self.text("AMENT_PREFIX_PATH") else { return true };
        let library = PathBuf::from("lib").join(format!("lib{rmw}.so"));
        !rmw.contains('/') && prefixes.split(':').any(|prefix| Path::new(prefix).join(&library).exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)]) -> Vec<String> {
        let environment: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        problems(&environment).iter().map(ToString::to_string).collect()
    }

    /// What ROS takes is left alone.
    #[test]
    fn what_ros_takes_is_in_order() {
        let variables = [
            ("ROS_DOMAIN_ID", "232"),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"),
            ("ROS_LOCALHOST_ONLY", "0"),
            ("ROS_SECURITY_ENABLE", "false"),
            ("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"),
            ("ROS_DISTRO", "jazzy"),
        ];
        assert_eq!(said(&variables), Vec::<String>::new());
        assert_eq!(said(&variables.map(|(name, _)| (name, ""))), Vec::<String>::new());
    }

    /// Each wrong value is named with its variable and what is allowed.
    #[test]
    fn what_ros_does_not_take_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let empty = empty.path().to_str().unwrap();
        for (variables, words) in [
            (
                &[("ROS_DOMAIN_ID", "233")][..],
                "ROS_DOMAIN_ID\n    found \"233\"; allowed is a whole number from 0 to 232",
            ),
            (&[("ROS_DOMAIN_ID", "-1")], "found \"-1\""),
            (&[("ROS_DOMAIN_ID", "one")], "found \"one\""),
            (&[("ROS_AUTOMATIC_DISCOVERY_RANGE", "subnet")], "allowed is SUBNET, LOCALHOST, OFF or SYSTEM_DEFAULT"),
            (&[("ROS_LOCALHOST_ONLY", "true")], "allowed is 0 or 1"),
            (&[("ROS_SECURITY_ENABLE", "True")], "encrypts nothing"),
            (&[("ROS_SECURITY_STRATEGY", "enforce")], "goes on without security"),
            (&[("FASTRTPS_DEFAULT_PROFILES_FILE", "/nowhere.xml")], "no such file"),
            (
                &[("RMW_IMPLEMENTATION", "rmw_fastrtps"), ("AMENT_PREFIX_PATH", "/opt:/nowhere")],
                "no such RMW is installed",
            ),
            (&[("ROS_SECURITY_ENABLE", "true")], "ROS_SECURITY_KEYSTORE\n    not set; ROS_SECURITY_ENABLE is"),
            (&[("ROS_SECURITY_ENABLE", "true"), ("ROS_SECURITY_KEYSTORE", empty)], "this is no keystore"),
        ] {
            let said = said(variables);
            assert!(said.len() == 1 && said[0].contains(words), "{variables:?}: {said:?}");
        }
    }

    /// With SROS2 the bridge needs an enclave of its own.
    #[test]
    fn an_enclave_is_looked_for() {
        let keystore = tempfile::tempdir().unwrap();
        let enclave = keystore.path().join("enclaves/iot_bridge");
        std::fs::create_dir_all(&enclave).unwrap();
        std::fs::write(enclave.join("cert.pem"), "").unwrap();
        let path = keystore.path().to_str().unwrap();
        let secure = [("ROS_SECURITY_ENABLE", "true"), ("ROS_SECURITY_KEYSTORE", path)];
        let with = |name| said(&[&secure[..], &[("ROS_SECURITY_ENCLAVE_OVERRIDE", name)]].concat());
        assert_eq!(with("/iot_bridge"), Vec::<String>::new());
        assert!(
            with("/other")[0].starts_with("ROS_SECURITY_ENCLAVE_OVERRIDE\n    found \"/other\"; allowed is the name")
        );
        assert!(said(&secure)[0].contains("not set; allowed is the name of an enclave"));
    }
}
