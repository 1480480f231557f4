//! Writes what a program is made of, for its package's users and their scanners: CycloneDX 1.6 as JSON (ECMA-424).
//!
//!     cargo run --example sbom -- PROGRAM FILE
//!
//! The components are the crates that cargo says it links, with the checksums of `Cargo.lock`, and Rust's standard
//! library. What the program loads from the system, ROS included, its package depends on or finds at run time. The same
//! source makes the same file: it has no date and no serial number.

#[path = "linked.rs"]
#[allow(dead_code, reason = "not every example asks for all")]
mod linked;

use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs};

use anyhow::{Context, bail};
use linked::Package;
use serde_json::{Value, json};

const LOCK: &str = include_str!("../Cargo.lock");

/// Rust's standard library, of which cargo does not tell.
const STANDARD: &str = "rust-std";

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(program), Some(file)) = (arguments.next(), arguments.next()) else { bail!("usage: sbom PROGRAM FILE") };
    let text = format!("{:#}\n", sbom(&program)?);
    fs::write(&file, text).with_context(|| format!("cannot write {file}"))
}

/// What `program` is made of.
fn sbom(program: &str) -> anyhow::Result<Value> {
    let (packages, nodes) = linked::linked(program)?;
    let checksums = checksums()?;
    let names: BTreeMap<&str, String> = packages.iter().map(|package| (package.id.as_str(), purl(package))).collect();
    let mut dependencies = Vec::new();
    for node in nodes {
        let Some(name) = names.get(node.id.as_str()) else { continue };
        let mut on: BTreeSet<String> =
            node.dependencies.iter().filter_map(|id| names.get(id.as_str()).cloned()).collect();
        on.insert(STANDARD.to_owned());
        dependencies.push((name.clone(), json!({ "ref": name, "dependsOn": on })));
    }
    dependencies.sort_by(|(one, _), (other, _)| one.cmp(other));
    let (own, others): (Vec<_>, Vec<_>) = packages.iter().partition(|package| package.name == program);
    let own = own.first().context("the program is among what it links")?;
    let mut components: Vec<Value> = others.iter().map(|package| component(package, &checksums)).collect();
    components.push(json!({
        "type": "library",
        "bom-ref": STANDARD,
        "name": STANDARD,
        "version": linked::rust_version()?,
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": purl(own),
                "name": program,
                "version": own.version,
                "licenses": [{ "expression": own.license }],
            },
        },
        "components": components,
        "dependencies": dependencies.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>(),
    }))
}

fn component(package: &Package, checksums: &BTreeMap<String, String>) -> Value {
    let purl = purl(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    });
    if let Some(licence) = &package.license {
        // The older way to write "or".
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&package.to_string()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// A crate's name among packages of all kinds (package-url, type cargo).
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

/// The checksums of `Cargo.lock`, by name and version.
fn checksums() -> anyhow::Result<BTreeMap<String, String>> {
    let lock: toml_edit::DocumentMut = LOCK.parse()?;
    let packages = lock["package"].as_array_of_tables().context("Cargo.lock lists packages")?;
    let text = |table: &toml_edit::Table, key| table.get(key)?.as_str().map(str::to_owned);
    Ok(packages
        .iter()
        .filter_map(|package| {
            let name = format!("{} {}", text(package, "name")?, text(package, "version")?);
            Some((name, text(package, "checksum")?))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each program's list has what it links and nothing else, each crate whole: with version, licence, checksum, and
    /// what it depends on; no word of this machine; and it is the same each time.
    #[test]
    fn a_program_is_told_with_all_its_parts() {
        for (program, with, without) in [
            (
                "iot-bridge",
                ["rustls", "rumqttc", "r2r_rcl"],
                ["aws-sdk-iot", "criterion", "serde_derive", "windows-sys"],
            ),
            (
                "iot-bridge-things",
                ["rustls", "aws-sdk-iot", "indicatif"],
                ["criterion", "redb", "clap_derive", "windows-sys"],
            ),
        ] {
            let bom = sbom(program).unwrap();
            assert_eq!(bom, sbom(program).unwrap());
            let components = bom["components"].as_array().unwrap();
            let names: Vec<&str> = components.iter().map(|one| one["name"].as_str().unwrap()).collect();
            assert!(with.iter().all(|name| names.contains(name)), "{program}: {names:?}");
            assert!(!without.iter().any(|name| names.contains(name)), "{program}: {names:?}");
            assert!(components.len() > 100, "{}", components.len());
            let mut known: BTreeSet<&str> = components.iter().map(|one| one["bom-ref"].as_str().unwrap()).collect();
            assert_eq!(known.len(), components.len(), "each once");
            known.insert(bom["metadata"]["component"]["bom-ref"].as_str().unwrap());
            for component in components {
                assert!(component["version"].is_string() && component["licenses"][0]["expression"].is_string());
                let is_crate = component["name"] != STANDARD && component["name"] != "iot-bridge-core";
                let checksum = component["hashes"][0]["content"].as_str().unwrap_or_default();
                assert_eq!(checksum.len(), if is_crate { 64 } else { 0 }, "{component}");
                assert!(LOCK.contains(checksum));
            }
            // Everything is there because something links it.
            let dependencies = bom["dependencies"].as_array().unwrap();
            let on = |entry: &Value| -> Vec<String> {
                entry["dependsOn"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
            };
            let needed: BTreeSet<String> = dependencies.iter().flat_map(on).collect();
            assert!(needed.iter().all(|name| known.contains(name.as_str())));
            assert_eq!(needed.len(), components.len(), "{program}");
            let text = bom.to_string();
            assert!(!text.contains("/home") && !text.contains(env!("CARGO_MANIFEST_DIR")) && !text.contains("file:"));
        }
    }
}
