//! Reading the files and the environment, one over the other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Tag, Value};
use sha2::{Digest, Sha256};

use super::build::{build, remote};
use super::credentials::CredentialFiles;
use super::document::{Dates, Document, Lines};
use super::environment;
use super::keys;
use super::kind::{Kind, shape};
use super::origins::{Origin, Origins};
use super::overlay::{Overlaid, Overlay};
use super::problem::{Problem, Problems};
use super::ros_environment;
use super::sample;
use super::settings::{Mqtt, Section, Settings, Topic};
use super::type_places::TypePlace;
use super::walk::{Report, walk};

/// Where the configuration lies unless a path is given.
pub const DEFAULT_DIRECTORY: &str = "/etc/iot-bridge";

/// A configuration without a problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub settings: Settings,
    /// The files that `[aws]` names, and where it does.
    pub credentials: CredentialFiles,
    /// Where types stand, and what is right or wrong for one.
    pub places: Vec<TypePlace>,
    /// The files it was read from, in the order of reading: the main file first.
    pub sources: Vec<PathBuf>,
    /// The environment variables that set something, by name.
    pub variables: Vec<String>,
    /// Whether the main file is an `iot_config.json` of the AWS sample.
    pub is_sample: bool,
    /// The sections that come from the cloud, in the order of [`Section::ALL`].
    pub overlaid: Vec<Overlaid>,
    /// SHA-256 of the settings as they are printed, in 64 hexadecimal digits: the same for whoever reads the same
    /// configuration, with or without systemd's credentials.
    pub digest: String,
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{problems}")]
pub struct LoadError {
    /// Everything that is wrong.
    pub problems: Problems,
    /// The files that `[aws]` names, unless a file of the configuration itself can't be read.
    pub credentials: Option<Box<CredentialFiles>>,
}

impl From<Problems> for LoadError {
    fn from(problems: Problems) -> LoadError {
        LoadError { problems, credentials: None }
    }
}

impl From<LoadError> for Problems {
    fn from(error: LoadError) -> Problems {
        error.problems
    }
}

/// Loads the configuration from `path`, or from [`DEFAULT_DIRECTORY`].
///
/// `environment` is [`std::env::vars_os`]; CREDENTIALS_DIRECTORY in it is where paths that begin with
/// [`CREDENTIALS_DIRECTORY`](super::CREDENTIALS_DIRECTORY) lead, without it they stay as they are. What is wrong with
/// ROS's own variables is told as well. Nothing but the configuration's own files is looked at: whether certificates
/// exist is for whoever uses them.
///
/// # Errors
/// Everything that is wrong, at once. Files that can't be read or parsed are reported alone: what the rest lacks is
/// not known then.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, LoadError> {
    load_over(path, environment, None)
}

/// Loads the configuration as [`load`] does, with the sections of `overlay` in the place of the local ones. Whether the local
/// `[remote]` allows them is judged here, and what is wrong with them is told with `overlay`'s name as the source. The local
/// sections that give way are not judged.
///
/// # Errors
/// As [`load`].
pub fn load_over(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overlay: Option<&Overlay>,
) -> Result<Loaded, LoadError> {
    let environment: Vec<_> = environment.into_iter().collect();
    let of_ros = ros_environment::problems(&environment);
    let loaded = match path {
        Some(path) => load_file_over(path, environment, overlay),
        None => load_directory_over(Path::new(DEFAULT_DIRECTORY), environment, overlay),
    };
    with_problems(loaded, of_ros)
}

/// What was loaded, unless there are `more` problems.
fn with_problems(loaded: Result<Loaded, LoadError>, more: Vec<Problem>) -> Result<Loaded, LoadError> {
    match loaded {
        Ok(loaded) if more.is_empty() => Ok(loaded),
        Ok(loaded) => Err(LoadError { problems: Problems::new(more), credentials: Some(Box::new(loaded.credentials)) }),
        Err(mut error) => {
            error.problems.found.extend(more);
            Err(error)
        }
    }
}

/// Loads `config.toml` of `directory`, or `config.json` if there is no such file, and what belongs to it. Where there is
/// neither, the files of `conf.d` are all of it.
///
/// # Errors
/// As [`load`].
pub fn load_directory(
    directory: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, LoadError> {
    load_directory_over(directory, environment, None)
}

fn load_directory_over(
    directory: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overlay: Option<&Overlay>,
) -> Result<Loaded, LoadError> {
    if let Some(main) = main_file(directory) {
        return load_file_over(&main, environment, overlay);
    }
    let [toml, json] = main_files(directory);
    if has_drop_ins(directory) {
        return with_credentials(environment, |environment| load_sources(&toml, false, environment, overlay));
    }
    Err(Problems::new(vec![Problem {
        source: toml.display().to_string(),
        line: None,
        key: String::new(),
        found: "no configuration".into(),
        allowed: format!(
            "write this file, or {}, or {}, or give a path with --config",
            json.display(),
            directory.join("conf.d/robot.toml").display()
        ),
    }])
    .into())
}

/// Whether [`load_directory`] has a file to read.
pub fn is_there(directory: &Path) -> bool {
    main_file(directory).is_some() || has_drop_ins(directory)
}

fn has_drop_ins(directory: &Path) -> bool {
    // One that can't be listed is reported when it is read.
    drop_ins(&directory.join("config.toml")).map_or(true, |files| !files.is_empty())
}

/// Where the main file may be, the first choice first.
fn main_files(directory: &Path) -> [PathBuf; 2] {
    [directory.join("config.toml"), directory.join("config.json")]
}

/// The main file. Anything that stands there but can't be read is reported when it is read.
fn main_file(directory: &Path) -> Option<PathBuf> {
    let absent = |path: &PathBuf| matches!(path.try_exists(), Ok(false)) && !path.is_symlink();
    main_files(directory).into_iter().find(|path| !absent(path))
}

/// Loads `path`, the files of `conf.d` beside it, and the environment.
///
/// # Errors
/// As [`load`].
pub fn load_file(
    path: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Loaded, LoadError> {
    load_file_over(path, environment, None)
}

pub(super) fn load_file_over(
    path: &Path,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    overlay: Option<&Overlay>,
) -> Result<Loaded, LoadError> {
    with_credentials(environment, |environment| load_sources(path, true, environment, overlay))
}

/// What `load` makes of `environment`, with systemd's directory of credentials in the place of its name.
fn with_credentials(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    load: impl FnOnce(Vec<(OsString, OsString)>) -> Result<Loaded, LoadError>,
) -> Result<Loaded, LoadError> {
    let environment: Vec<_> = environment.into_iter().collect();
    let credentials = environment.iter().find(|(name, _)| name == "CREDENTIALS_DIRECTORY");
    let credentials = credentials.map(|(_, directory)| PathBuf::from(directory));
    let mut loaded = load(environment);
    if let Some(directory) = credentials {
        match &mut loaded {
            Ok(loaded) => {
                loaded.settings.find_credentials(&directory);
                loaded.credentials.find_credentials(&directory);
            }
            Err(LoadError { credentials: Some(credentials), .. }) => credentials.find_credentials(&directory),
            Err(_) => {}
        }
    }
    loaded
}

/// `has_main`: whether there is a file at `path`, or only `conf.d` beside it.
fn load_sources(
    path: &Path,
    has_main: bool,
    environment: Vec<(OsString, OsString)>,
    overlay: Option<&Overlay>,
) -> Result<Loaded, LoadError> {
    let (variables, mut problems) = environment::read(environment);
    let main = has_main.then(|| Document::read(path));
    let is_sample = main.iter().flatten().any(|main: &Document| main.is_json && sample::is_sample(&main.values));
    let is_alone = is_sample && path.file_name().is_none_or(|name| name != "config.json");
    let drop_ins = if is_alone { Ok(Vec::new()) } else { drop_ins(path) };
    let mut documents = Vec::new();
    let mut files = drop_ins.unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    let unread: Vec<_> = if is_sample { files.drain(..).map(|file| unread(&file, path)).collect() } else { Vec::new() };
    for document in main.into_iter().chain(files.iter().map(|path| Document::read(path))) {
        match document {
            Ok(document) => documents.push(document),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(Problems::new(problems).into());
    }
    with_problems(merge(documents, variables, is_sample, overlay), unread)
}

/// `file` of `conf.d` has no effect, because `main` is the AWS sample's.
fn unread(file: &Path, main: &Path) -> Problem {
    Problem {
        source: file.display().to_string(),
        line: None,
        key: String::new(),
        found: format!("a file that is not read beside {}, which is the AWS sample's", main.display()),
        allowed: format!("rename {} if this file says what it says, or take this file away", main.display()),
    }
}

/// The `*.toml` files of `conf.d` beside `main`, by name. Hidden files are left alone: editors keep theirs so.
fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, Problem> {
    let directory = main.with_file_name("conf.d");
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()),
    };
    let mut files = entries.map_err(|error| Problem {
        source: directory.display().to_string(),
        line: None,
        key: String::new(),
        found: format!("no directory that can be listed ({error})"),
        allowed: "allowed is a directory with TOML files, or nothing".into(),
    })?;
    files.retain(|path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension().is_some_and(|extension| extension == "toml")
    });
    files.sort();
    Ok(files)
}

/// Lays the sources one over the other and judges the result.
fn merge(
    documents: Vec<Document>,
    variables: Vec<environment::Variable>,
    is_sample: bool,
    overlay: Option<&Overlay>,
) -> Result<Loaded, LoadError> {
    let mut problems = Vec::new();
    let sections = overlay.map(Overlay::sections).unwrap_or_default();
    let mut overlaid: Vec<_> = sections.into_iter().map(|section| Overlaid { section, hidden: Vec::new() }).collect();
    let mut origins: Option<Origins> = None;
    for mut document in documents {
        let origin = Origin::file(&mut document, if is_sample { sample::ALIASES } else { &[] });
        if is_sample {
            let (values, unknown) = sample::translate(&document, &origin);
            document.values = values;
            problems.extend(unknown);
        }
        for Overlaid { section, hidden } in &mut overlaid {
            if document.values.remove(section.name()).is_some() {
                hidden.push(document.path.clone());
            }
        }
        problems.extend(misshapen(&mut document, &origin));
        match &mut origins {
            None => origins = Some(Origins::new(origin, document.values)),
            Some(origins) => origins.add(origin, document.values),
        }
    }
    // There is always one.
    let Some(mut origins) = origins else { return Err(Problems::new(problems).into()) };
    for variable in variables {
        origins.add(Origin::variable(&variable.name, variable.text), variable.values);
    }
    if let Some(overlay) = overlay {
        let origin = Origin::overlay(&overlay.source());
        let (values, misshapen) = overlay.values(&origin);
        problems.extend(misshapen);
        origins.add(origin, values);
    }
    let mut report = Report::new(&origins, problems);
    let root = walk(&origins.values(), &mut report);
    let credentials = CredentialFiles::find(&root, &report);
    let settings = build(&root, &mut report);
    if let (Some(overlay), Some(remote)) = (overlay, remote(&root)) {
        overlay.check_allowed(remote.as_ref(), &mut report);
    }
    match settings {
        Some(settings) if report.is_empty() => Ok(Loaded {
            digest: digest(&settings),
            settings,
            overlaid,
            credentials,
            places: TypePlace::find(&root, &report),
            sources: origins.files().map(Path::to_owned).collect(),
            variables: origins.variables().map(str::to_owned).collect(),
            is_sample,
        }),
        _ => {
            if report.is_empty() {
                let found = "a fault of iot-bridge itself".to_owned();
                report.add(Tag::Default, "", found, "its keys and its settings disagree; please report this".into());
            }
            Err(LoadError { problems: report.finish(), credentials: Some(Box::new(credentials)) })
        }
    }
}

/// See [`Loaded::digest`].
fn digest(settings: &Settings) -> String {
    // Settings are texts, finite numbers and tables with names, all of which JSON has.
    let text = serde_json::to_vec(settings).unwrap_or_default();
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes sections of the wrong shape out of `document`, before another file's section of the right shape hides them.
fn misshapen(document: &mut Document, origin: &Origin) -> Vec<Problem> {
    let mut problems = Vec::new();
    for key in keys::ROOT {
        let wrong = document.values.get(key.name).filter(|value| match key.kind {
            Kind::Table(_) => !matches!(value, Value::Dict(..)),
            Kind::Tables(_) => !matches!(value, Value::Array(..)),
            _ => false,
        });
        if let Some(value) = wrong {
            let allowed = match (key.kind, value) {
                (Kind::Tables(_), Value::Dict(..)) => {
                    format!(
                        "allowed is a list of tables, each under a header in double square brackets: [[{}]]",
                        key.name
                    )
                }
                (kind, _) => kind.allowed(),
            };
            problems.push(origin.problem(key.name, shape(value).to_owned(), allowed));
            document.values.remove(key.name);
        }
    }
    problems
}

/// What `[[topics]]` with nothing but `ros = "<name>"` means for a thing called `thing`: for programs that show topics
/// which are not configured.
///
/// # Errors
/// When `name` is not the name of a topic.
pub fn default_topic(thing: &str, name: &str) -> Result<Topic, Problems> {
    Ok(settings_of(thing, name)?.topics.remove(0))
}

/// What a configuration means that says nothing of the connection.
///
/// # Errors
/// None: the least that works is valid.
pub fn default_mqtt() -> Result<Mqtt, Problems> {
    Ok(settings_of("thing", "/topic")?.mqtt)
}

/// What the sections of `overlay` mean for a thing called `thing` whose configuration is the named shadow `shadow`, as far as
/// that can be told without the robot's own configuration: for programs that send them. Any section may be set.
///
/// # Errors
/// Everything that is wrong with them on any robot.
pub fn load_overlay(overlay: &Overlay, thing: &str, shadow: &str) -> Result<Settings, Problems> {
    let allow: Vec<Value> = Section::ALL.iter().map(|section| section.name().into()).collect();
    let remote = Dict::from([("shadow".to_owned(), shadow.into()), ("allow".to_owned(), allow.into())]);
    // What a robot allows is not known.
    Ok(Settings { remote: None, ..settings_with(thing, ("remote", remote.into()), Some(overlay))? })
}

/// The settings with nothing but a thing and a topic.
fn settings_of(thing: &str, name: &str) -> Result<Settings, Problems> {
    let topics: Vec<Value> = vec![Dict::from([("ros".to_owned(), name.into())]).into()];
    settings_with(thing, ("topics", topics.into()), None)
}

/// The settings with nothing but a thing, a `section`, and what lies over it.
fn settings_with(
    thing: &str,
    (section, value): (&str, Value),
    overlay: Option<&Overlay>,
) -> Result<Settings, Problems> {
    // The rest of a configuration, which no topic depends on.
    let aws = [("endpoint", "localhost"), ("thing", thing), ("certificate", "-"), ("private_key", "-")];
    let aws: Dict = aws.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let values = Dict::from([("aws".to_owned(), aws.into()), (section.to_owned(), value)]);
    let (lines, dates) = (Lines::new(), Dates::new());
    let document = Document { path: "the command line".into(), values, lines, dates, is_json: false };
    Ok(merge(vec![document], Vec::new(), false, overlay)?.settings)
}
