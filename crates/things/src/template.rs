//! The configuration that things are made with: what their policies allow, and what becomes their `config.toml`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, value};

use super::files::{self, PUBLIC};
use super::policy::{ANY_THING, Grant, fits_any_thing, grants};
use super::stop::Stop;
use iot_bridge_core::config::{self, Loaded, Problems, Settings};

/// Name of the configuration that is written where none is given.
pub const DEFAULT_NAME: &str = "template.toml";

/// What the AWS sample's robots send, to begin with.
const DEFAULT: &str = r#"# The configuration of the things in this directory. [aws] is filled in for each of them.
# After a change, `iot-bridge-things create` brings the things and their policies up to date.
# iot-bridge-config(5) tells what else can stand here.

[[topics]]
ros = "/mock_telemetry"             # iot-bridge mock publishes it
type = "std_msgs/msg/String"
mqtt = "robots/{thing}{ros}"
payload = "data"
"#;

/// A configuration for things of any name.
#[derive(Debug)]
pub struct Template {
    path: PathBuf,
    is_sample: bool,
    /// Its text, if it is a TOML file that nothing else adds to.
    toml: Option<String>,
    /// With [`ANY_THING`] as the thing.
    settings: Settings,
    /// Whether things may use the topic of `send` and `subscribe` too.
    test: bool,
}

impl Template {
    /// Reads `path`, or else the default in `directory`, which is written if it is not there.
    pub fn read(path: Option<&Path>, directory: &Path) -> Result<Template, Stop> {
        let default = directory.join(DEFAULT_NAME);
        let path = path.map_or_else(|| default.clone(), Path::to_owned);
        let test = path == default;
        if test && !path.exists() {
            files::write(&path, DEFAULT.as_bytes(), PUBLIC).map_err(Stop::file("write", &path))?;
        }
        let mut loaded = config::load_file(&path, overlay("localhost", ANY_THING, false))?;
        if loaded.is_sample {
            loaded = config::load_file(&path, overlay("localhost", ANY_THING, true))?;
        }
        let Loaded { settings, sources, is_sample, .. } = loaded;
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let toml = match is_toml && sources.len() == 1 {
            true => Some(std::fs::read_to_string(&path).map_err(Stop::file("read", &path))?),
            false => None,
        };
        Ok(Template { path, is_sample, toml, settings, test })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Authorities that it trusts, instead of Amazon's.
    pub fn root_ca(&self) -> Option<&Path> {
        self.settings.aws.root_ca.as_deref()
    }

    /// Whether one policy does for all things.
    pub fn fits_any_thing(&self) -> bool {
        fits_any_thing(&self.settings)
    }

    /// What things need to be allowed; where their policies can't be the same, what `thing` needs.
    pub fn grants(&self, thing: &str) -> Result<Vec<Grant>, Stop> {
        if self.fits_any_thing() {
            return Ok(grants(&self.settings, self.test)?);
        }
        let loaded = config::load_file(&self.path, overlay("localhost", thing, self.is_sample))?;
        Ok(grants(&loaded.settings, self.test)?)
    }

    /// The configuration of one thing, which names no files yet.
    pub fn render(&self, endpoint: &str, thing: &str) -> Result<DocumentMut, Stop> {
        let broken = |error: &dyn std::fmt::Display| Stop::Failed(format!("{}: {error}", self.path.display()));
        let mut document: DocumentMut = match &self.toml {
            // What the parser says quotes the file.
            Some(toml) => toml.parse().map_err(|_| broken(&"it is no valid TOML"))?,
            None => {
                let loaded = config::load_file(&self.path, overlay(endpoint, thing, self.is_sample))?;
                let toml = loaded.settings.to_secret_toml().map_err(|_| broken(&"it does not become TOML"))?;
                toml.parse().map_err(|_| broken(&"it is no valid TOML"))?
            }
        };
        let aws = document.entry("aws").or_insert_with(|| {
            let mut table = Table::new();
            table.set_position(0);
            Item::Table(table)
        });
        let Some(aws) = aws.as_table_like_mut() else { return Err(broken(&"aws is no table")) };
        for (key, to) in [("endpoint", endpoint), ("thing", thing)] {
            aws.insert(key, value(to));
        }
        Ok(document)
    }
}

/// Whether the file at `path` is the default as it was written.
pub fn is_untouched(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|text| text == DEFAULT.as_bytes())
}

/// `[aws]` as the environment would set it.
fn overlay(endpoint: &str, thing: &str, client_id: bool) -> Vec<(OsString, OsString)> {
    let mut all = vec![("ENDPOINT", endpoint), ("THING", thing), ("CERTIFICATE", "-"), ("PRIVATE_KEY", "-")];
    if client_id {
        all.push(("CLIENT_ID", thing));
    }
    all.into_iter().map(|(key, to)| (format!("IOT_BRIDGE_AWS__{key}").into(), to.into())).collect()
}

/// What `iot-bridge check` would find in the configuration at `path`.
pub fn verify(path: &Path) -> Result<Settings, Problems> {
    Ok(config::load_file(path, std::iter::empty())?.settings)
}
