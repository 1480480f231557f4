//! Writes what a package needs of its program's own knowledge into a directory: man pages and completions.
//!
//!     cargo run --example pages -- iot-bridge DIRECTORY
//!     cargo run --example pages -- iot-bridge-things DIRECTORY
//!
//! `iot-bridge(1)`, `iot-bridge-things(1)` and a page for each of their commands come from the command line's definition, `iot-bridge-config(5)` from the
//! commented example of the configuration, which a test holds against every key that there is. `iot-bridge(8)` is written
//! by hand; `tests/systemd` holds it against what the package installs and what the service says.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, italic, roman};
use iot_bridge::cli::Cli;

const EXAMPLE: &str = include_str!("../etc/config.toml");
const SERVICE: &str = include_str!("iot-bridge.8");

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(program), Some(directory)) = (arguments.next(), arguments.next()) else {
        bail!("usage: pages PROGRAM DIRECTORY")
    };
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    match program.to_str() {
        Some("iot-bridge") => {
            fs::write(directory.join("iot-bridge-config.5"), configuration(EXAMPLE))?;
            fs::write(directory.join("iot-bridge.8"), SERVICE.replace("@VERSION@", env!("CARGO_PKG_VERSION")))?;
            of_command_line::<Cli>("iot-bridge", directory)
        }
        Some("iot-bridge-things") => of_command_line::<iot_bridge_things::cli::Cli>("iot-bridge-things", directory),
        _ => bail!("no such program: {}", program.display()),
    }
}

/// What follows from the command line of `program`.
fn of_command_line<C: CommandFactory>(program: &str, directory: &Path) -> anyhow::Result<()> {
    clap_mangen::generate_to(C::command(), directory)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut C::command(), program, &mut script);
        let name = shell.to_possible_value().context("a shell has a name")?;
        fs::write(directory.join(format!("{program}.{}", name.get_name())), script)?;
    }
    Ok(())
}

/// The manual page of the configuration: the comments of the example, each with the settings that it stands before.
fn configuration(example: &str) -> String {
    let mut page = Roff::new();
    let version = concat!("iot-bridge ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["iot-bridge-config", "5", "", version]);
    page.control("SH", ["NAME"]);
    page.text([roman("iot-bridge-config - the configuration of iot-bridge")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([roman("/etc/iot-bridge/config.toml, /etc/iot-bridge/conf.d/*.toml, IOT_BRIDGE_SECTION__KEY")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut words: Vec<&str> = Vec::new();
    let mut in_description = true;
    for line in example.lines() {
        let setting = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        // What can't be in force beside another setting has a blank, and is one all the same.
        let setting = setting.or_else(|| line.strip_prefix("# ").filter(|rest| is_setting(rest)));
        match (setting.unwrap_or(line), line.strip_prefix('#')) {
            (_, Some(comment)) if setting.is_none() => match comment.trim() {
                "" => paragraph(&mut page, &mut words),
                comment => words.push(comment),
            },
            ("", _) => paragraph(&mut page, &mut words),
            (header, _) if header.starts_with('[') => {
                let remark = std::mem::take(&mut words);
                if std::mem::take(&mut in_description) {
                    page.control("SH", ["SETTINGS"]);
                }
                page.control("SS", [header]);
                if !remark.is_empty() {
                    page.text([roman(remark.join(" "))]);
                }
            }
            (setting, _) => {
                page.control("TP", []);
                page.text([bold(setting)]);
                page.text([roman(std::mem::take(&mut words).join(" "))]);
            }
        }
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([
        italic("/usr/share/doc/iot-bridge/docs/configuration.md"),
        roman(" has each setting with its bounds, its default and an example."),
    ]);
    page.control("PP", []);
    page.text([bold("iot-bridge"), roman("(1), "), bold("iot-bridge"), roman("(8)")]);
    page.to_roff()
}

/// Whether `line` is the header of a table, or a key with a value.
fn is_setting(line: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    line.starts_with('[') && line.ends_with(']') || line.split_once(" = ").is_some_and(|(name, _)| is_name(name))
}

fn paragraph(page: &mut Roff, words: &mut Vec<&str>) {
    if !words.is_empty() {
        page.control("PP", []);
        page.text([roman(std::mem::take(words).join(" "))]);
    }
}
