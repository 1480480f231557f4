//! Loading and validation of the configuration. Knows nothing of the rest of the program.
//!
//! ```text
//!  config.toml ─┐
//!  conf.d/*.toml ├─ document ─► origins ─► walk ─► build ─► Settings
//!  environment ─┘   (parsed)   (one over  (each   (several
//!                               the other) key)    keys)
//! ```
//!
//! # Sources
//! Later ones take the place of earlier ones, key by key; a list of tables (`[[topics]]`) is *appended* to the one
//! before it, so that a drop-in adds topics and takes none away.
//!
//! 1. The main file: the one given, or `/etc/iot-bridge/config.toml`, or else `/etc/iot-bridge/config.json`, or none if
//!    there is neither and files of `conf.d` are. A JSON file says the same as a TOML file, or is the AWS sample's
//!    `iot_config.json`.
//! 2. `conf.d/*.toml` in the directory of the main file, by name, hidden files apart. Beside an `iot_config.json` of
//!    the sample it is not looked for: that file lies among certificates, not in a directory of configuration. Where it
//!    is `config.json`, such files are problems.
//! 3. Environment variables `IOT_BRIDGE_<SECTION>__<KEY>`, such as `IOT_BRIDGE_AWS__ENDPOINT`. Lists of tables can't be
//!    set there.
//!
//! # Problems
//! Whatever is wrong is reported at once as [`Problems`]: each with its file and line or variable, its key, what was
//! found, and what is allowed. Unknown keys are refused. A value that a later source replaces is not judged.

mod assignment;
mod build;
mod cautions;
mod credentials;
mod credentials_directory;
mod document;
mod endpoint;
mod environment;
mod field_path;
mod keys;
mod kind;
mod limits;
mod load;
mod message;
mod mqtt_topic;
mod origins;
mod overlay;
mod pattern;
mod problem;
mod proxy;
mod rates;
mod ros_environment;
mod ros_names;
mod sample;
mod settings;
mod suggest;
mod template;
mod type_places;
pub mod units;
mod values;
mod version;
mod walk;

#[cfg(test)]
mod tests;

pub use assignment::{Assigned, ByName, Found, GraphTopic, Patterns, assign};
pub use credentials::{CredentialFiles, Secret};
pub use credentials_directory::CREDENTIALS_DIRECTORY;
pub use field_path::{FieldPath, PathPart};
pub use keys::check_thing;
pub use limits::{MAX_FILTERS, MAX_TOPIC_BYTES, MAX_TOPIC_SLASHES, PAYLOAD_LIMIT};
pub use load::{
    DEFAULT_DIRECTORY, LoadError, Loaded, default_mqtt, default_topic, is_there, load, load_directory, load_file,
    load_over, load_overlay,
};
pub use mqtt_topic::{TopicFault, check_publish_topic, is_basic_ingest};
pub use overlay::{Overlaid, Overlay};
pub use pattern::{Pattern, is_pattern};
pub(crate) use problem::key_part;
pub use problem::{Problem, Problems, quote};
pub use proxy::{Proxy, ProxyCredentials, ProxyFileProblem, ProxySource};
pub use settings::*;
pub use suggest::{likely, nearest};
pub use template::may_become;
pub use type_places::TypePlace;
pub use values::read_values;
pub use version::{MqttVersion, Version};
