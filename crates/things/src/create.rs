//! `iot-bridge-things create`: each step is recorded before it is taken, so that another run goes on from there.

mod policies;
mod thing;

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use self::policies::Policies;
pub(super) use self::policies::delete_unused;
use super::aws::{Access, Aws};
use super::cli::{AwsArgs, CreateArgs, thing_name};
use super::each::each;
use super::register::Ledger;
use super::robot::{self, RobotFiles};
use super::stop::Stop;
use super::template::Template;
use super::{plural, roots};

/// More things than anybody makes at a time by intent.
const MOST: usize = 10_000;

/// What making a thing needs to know.
struct Work {
    aws: Aws,
    ledger: Ledger,
    template: Template,
    policies: Policies,
    endpoint: String,
    /// In PEM format.
    root_ca: String,
    attributes: Vec<(String, String)>,
    thing_type: Option<String>,
    groups: Vec<String>,
    aws_keys: bool,
    adopt: bool,
}

pub async fn execute(arguments: CreateArgs, aws: &AwsArgs) -> Result<(), Stop> {
    let names = names(&arguments.what, &arguments.prefix)?;
    if arguments.install.is_some() && names.len() != 1 {
        return Err(Stop::Usage("--install is for the one thing that this robot is".into()));
    }
    let install = arguments.install.clone();
    let work = prepare(arguments, aws, &names).await?;
    let all = Arc::new(work);
    make(&all, &names).await?;
    let work = &*all;
    work.policies.retire(&work.aws, &work.ledger).await?;
    report(work, &names);
    if let (Some(to), [name]) = (install, &names[..]) {
        let from = RobotFiles::new(work.ledger.directory(), name);
        let written = robot::install(&from, name, &to)?;
        // Of this machine, whatever the working directory is next time.
        let place = std::fs::canonicalize(&to).map_err(Stop::file("find", &to))?;
        work.ledger.change(|register| register.entry(name).installed = Some(place))?;
        println!("Installed into {}:", to.display());
        written.iter().for_each(|path| println!("    {}", path.display()));
        println!("Next: iot-bridge check, then systemctl restart iot-bridge");
    }
    Ok(())
}

/// Everything that concerns all things.
async fn prepare(arguments: CreateArgs, aws: &AwsArgs, names: &[String]) -> Result<Work, Stop> {
    // Nothing is made where nobody could be asked.
    let access = Access::find(aws).await?;
    let ledger = Ledger::open(&arguments.directory.output, true)?;
    let config = match arguments.config {
        Some(config) => Some(std::path::absolute(&config).map_err(Stop::file("find", &config))?),
        None => ledger.read().config,
    };
    let template = Template::read(config.as_deref(), ledger.directory())?;
    if !template.fits_any_thing() && names.len() > 1 {
        return Err(Stop::Failed(format!(
            "{} sets aws.client_id, and things that share a client id close each other's connections; take it out",
            template.path().display()
        )));
    }
    let root_ca = match template.root_ca() {
        Some(path) => std::fs::read_to_string(path).map_err(Stop::file("read", path))?,
        None => roots::amazon()?,
    };
    let aws = Aws::with(access).await?;
    ledger.claim(&aws.place)?;
    let endpoint = match ledger.read().endpoint {
        Some(endpoint) => endpoint,
        None => aws.data_endpoint().await?,
    };
    let path: PathBuf = std::path::absolute(template.path()).map_err(Stop::file("find", template.path()))?;
    ledger.change(|register| (register.endpoint, register.config) = (Some(endpoint.clone()), Some(path)))?;
    let policies = Policies::ensure(&template, &names[0], &aws, &ledger).await?;
    Ok(Work {
        aws,
        ledger,
        template,
        policies,
        endpoint,
        root_ca,
        attributes: arguments.attribute,
        thing_type: arguments.thing_type,
        groups: arguments.group,
        aws_keys: arguments.aws_keys,
        adopt: arguments.adopt,
    })
}

/// Makes the things.
async fn make(work: &Arc<Work>, names: &[String]) -> Result<(), Stop> {
    let bar = bar(names.len() as u64);
    let results = each(names, &bar, |name| {
        let work = Arc::clone(work);
        async move { thing::make(&work, &name).await }
    })
    .await;
    bar.finish_and_clear();
    let made = results.done.len();
    results.all().map(drop).map_err(|stop| match stop {
        Stop::Failed(why) => Stop::Failed(format!(
            "{why}\n{made} of {} are ready. What was made is in things.json; run the same command again to go on, or \
             `iot-bridge-things clean` to take it back.",
            plural(names.len(), "thing")
        )),
        other => other,
    })
}

/// On a terminal only.
fn bar(things: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("Making things {bar:40} {pos} of {len}, {eta} left");
    ProgressBar::new(things).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(work: &Work, names: &[String]) {
    let directory = work.ledger.directory().display();
    println!(
        "{} ready in {directory}:",
        match names.len() {
            1 => "1 thing is".to_owned(),
            many => format!("{many} things are"),
        }
    );
    match names {
        [name] => println!("    {name}"),
        [first, .., last] => println!("    {first} to {last}"),
        [] => {}
    }
    println!("Policies: {}. Endpoint: {}.", work.policies.names().join(", "), work.endpoint);
    println!(
        "Each directory holds a configuration, a certificate and its key; install.sh in it puts them into /etc/iot-bridge \
         of a robot. `iot-bridge-things send` tries the connections."
    );
}

/// The names that the command line asks for.
fn names(what: &[String], prefix: &str) -> Result<Vec<String>, Stop> {
    let number = match what {
        [] => Some(1),
        [one] => one.parse::<usize>().ok(),
        _ => None,
    };
    let names: Vec<String> = match number {
        Some(number) if (1..=MOST).contains(&number) => (0..number).map(|n| format!("{prefix}{n}")).collect(),
        Some(_) => return Err(Stop::Usage(format!("the number of things has to be 1 to {MOST}"))),
        None => what.to_vec(),
    };
    for (at, name) in names.iter().enumerate() {
        thing_name(name).map_err(|why| Stop::Usage(format!("{name:?} is no name of a thing: {why}")))?;
        if names[..at].contains(name) && number.is_none() {
            return Err(Stop::Usage(format!("{name} is named twice")));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(what: &[&str]) -> Result<Vec<String>, String> {
        let what: Vec<String> = what.iter().map(ToString::to_string).collect();
        names(&what, "thing_").map_err(|stop| stop.to_string())
    }

    /// A number makes numbered names as ELF's are; anything else is names.
    #[test]
    fn a_number_or_names() {
        assert_eq!(asked(&[]), Ok(vec!["thing_0".into()]));
        assert_eq!(asked(&["2"]), Ok(vec!["thing_0".into(), "thing_1".into()]));
        assert_eq!(asked(&["a", "7"]), Ok(vec!["a".into(), "7".into()]));
        for (what, word) in [
            (&["0"][..], "1 to 10000"),
            (&["100000"], "1 to 10000"),
            (&["a/b"], "can't stand in a name"),
            (&["a", "a"], "named twice"),
        ] {
            assert!(asked(what).is_err_and(|why| why.contains(word)), "{what:?}");
        }
    }
}
