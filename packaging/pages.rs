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
use iot_bridge_core::config;

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
            fs::write(directory.join("iot-bridge-config.5"), configuration(EXAMPLE)?)?;
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
fn configuration(example: &str) -> anyhow::Result<String> {
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
    let sections = Sections::of(example);
    let mut section = String::new();
    for line in example.lines() {
        let setting = setting(line);
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
                section = header.to_owned();
                if !remark.is_empty() {
                    page.text([roman(remark.join(" "))]);
                }
            }
            (setting, _) => {
                page.control("TP", []);
                page.text([bold(setting)]);
                words.splice(0..0, sections.standing(&section, setting)?);
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
    Ok(page.to_roff())
}

/// The setting or the header of a section that a line of the example has: in force, with a `#` before it, or, where it
/// can't be in force beside another one, with `# ` before it.
fn setting(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('#')?;
    let apart = rest.strip_prefix(' ');
    apart.map_or(Some(rest).filter(|rest| !rest.is_empty()), |apart| Some(apart).filter(|apart| is_setting(apart)))
}

/// The sections of the example, with their settings in force.
struct Sections(Vec<(String, Vec<String>)>);

impl Sections {
    fn of(example: &str) -> Sections {
        let mut sections: Vec<(String, Vec<String>)> = Vec::new();
        for line in example.lines().map(|line| setting(line).unwrap_or(line)).filter(|line| !line.starts_with('#')) {
            match (line.starts_with('['), sections.last_mut()) {
                (true, _) => sections.push((line.to_owned(), Vec::new())),
                (false, Some((_, settings))) if !line.is_empty() => settings.push(line.to_owned()),
                _ => {}
            }
        }
        Sections(sections)
    }

    /// What becomes of a configuration without the setting: so it is told whether it has to be there, whether the example
    /// shows the default, or only an example.
    fn standing(&self, section: &str, setting: &str) -> anyhow::Result<Option<&'static str>> {
        let whole = self.load(section, None)?;
        Ok(match (whole, self.load(section, Some(setting))?) {
            // It can't be in force beside another one.
            (None, _) => None,
            (Some(_), None) => Some("Required."),
            (whole, without) if whole == without => Some("Default."),
            _ => Some("Example."),
        })
    }

    /// The settings of a configuration with a section and what every configuration needs, in TOML; with defaults. `None`
    /// if it is refused.
    fn load(&self, section: &str, without: Option<&str>) -> anyhow::Result<Option<String>> {
        let mut text = String::new();
        for (header, settings) in
            self.0.iter().filter(|(header, _)| [section, "[aws]", "[[topics]]"].contains(&&**header))
        {
            text += &format!("{header}\n");
            for line in settings.iter().filter(|line| header != section || Some(line.as_str()) != without) {
                // A default that is made of the thing's name is shown for another one.
                let line = if line.starts_with("thing = ") { "thing = \"robot7\"" } else { line };
                text += &format!("{line}\n");
            }
        }
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("config.toml");
        fs::write(&file, text)?;
        let loaded = config::load(Some(&file), std::iter::empty::<(std::ffi::OsString, std::ffi::OsString)>());
        loaded.ok().map(|loaded| loaded.settings.to_toml().context("the settings")).transpose()
    }
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
