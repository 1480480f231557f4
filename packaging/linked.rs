//! What cargo says that a program links: shared by the examples that tell a package's users of it.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// A crate, as `cargo metadata` has it.
#[derive(Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub authors: Vec<String>,
    pub repository: Option<String>,
    pub manifest_path: String,
}

/// One crate, and what it depends on.
#[derive(Deserialize)]
pub struct Node {
    pub id: String,
    pub dependencies: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

impl Package {
    /// Whether it is a part of this project.
    pub fn is_own(&self) -> bool {
        self.name.starts_with(env!("CARGO_PKG_NAME"))
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// The crates that are linked into `program`, by name and version, those of this project among them, and who depends on whom; what
/// only builds, macros, and what only tests use are not linked.
pub fn linked(program: &str) -> anyhow::Result<(Vec<Package>, Vec<Node>)> {
    if !["iot-bridge", "iot-bridge-things"].contains(&program) {
        bail!("no such program: {program}");
    }
    let names = names(program)?;
    let version = output("rustc", &["--version", "--verbose"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has a host")?;
    let platform = format!("--filter-platform={host}");
    let metadata = cargo(&["metadata", "--locked", &platform, "--format-version=1"])?;
    let Metadata { packages, resolve } = serde_json::from_str(&metadata)?;
    let mut packages: Vec<_> = packages.into_iter().filter(|package| names.contains(&package.to_string())).collect();
    ensure!(packages.len() == names.len(), "cargo links {} crates and tells of {}", names.len(), packages.len());
    packages.sort_by_key(Package::to_string);
    Ok((packages, resolve.nodes))
}

/// The version of the compiler, whose standard library is linked.
pub fn rust_version() -> anyhow::Result<String> {
    let version = output("rustc", &["--version", "--verbose"])?;
    let release = version.lines().find_map(|line| line.strip_prefix("release: ")).context("rustc has a release")?;
    Ok(release.to_owned())
}

/// Name and version of all that is linked.
fn names(program: &str) -> anyhow::Result<BTreeSet<String>> {
    let edges = "--edges=normal,no-proc-macro";
    let tree =
        cargo(&["tree", "--locked", "--package", program, edges, "--prefix=none", "--no-dedupe", "--format={p}"])?;
    let crates = tree.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    });
    Ok(crates.collect())
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    output(env!("CARGO"), arguments)
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
