//! The command line of `iot-bridge-things`.

mod config;

pub use config::{ConfigCommand, JobArgs, PushArgs, RollbackArgs, ShowArgs, TargetArgs, WaitArgs};

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use iot_bridge_core::config::units::parse_duration;
use iot_bridge_core::terminal::ConfigArgs;

/// Makes things, keys, certificates and policies in AWS IoT Core for robots, and takes them back.
#[derive(Debug, Parser)]
#[command(name = "iot-bridge-things", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub aws: AwsArgs,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 done, 1 failed, 2 wrong command line, 78 wrong configuration.

Credentials, profiles, regions and proxies are those of the AWS SDK: ~/.aws/config and ~/.aws/credentials, AWS_PROFILE, \
AWS_REGION, AWS_ENDPOINT_URL, HTTPS_PROXY and so on.";

/// Which AWS is asked, and as whom. Before or after the subcommand.
#[derive(Debug, Clone, Default, Args)]
pub struct AwsArgs {
    /// AWS region, like eu-central-1 [default: AWS_REGION, or the profile's]
    #[arg(long, global = true, value_name = "REGION")]
    pub region: Option<String>,
    /// Profile of ~/.aws/config and ~/.aws/credentials [default: AWS_PROFILE, or "default"]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Address of the AWS API, if it is not AWS's own [default: AWS_ENDPOINT_URL]
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    pub endpoint_url: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make things with keys, certificates, a policy and ready configurations
    ///
    /// Each private key is made on this machine and does not leave it. What is made is recorded in things.json of the
    /// output directory while it happens. After a failure run the same command again: it goes on where it stopped.
    Create(CreateArgs),
    /// Publish messages as each thing, with its own certificate, and tell what was acknowledged and how fast
    Send(SendArgs),
    /// Print what arrives for each thing, with its own certificate
    Subscribe(SubscribeArgs),
    /// Show the things of things.json and what AWS IoT Core knows of them
    List {
        #[command(flatten)]
        directory: DirectoryArgs,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Delete what create has made: certificates, policies, things and files
    ///
    /// Asks first. What create has not made stays, unless --force is given.
    Clean(CleanArgs),
    /// Print the policy that the configuration needs, without asking AWS, or hold an existing one against it
    Policy(PolicyArgs),
    /// Send robots their topics, see what has become of them, and go back
    ///
    /// For robots whose own configuration sets remote.shadow.
    Config {
        #[command(subcommand)]
        command: Box<ConfigCommand>,
    },
    /// Make, change or delete a topic rule that brings the telemetry to another service
    Rule {
        #[command(subcommand)]
        command: RuleCommand,
    },
    /// Give a thing a new key and certificate, prove them by a connection, and delete the old certificate
    Rotate {
        /// Name of the thing
        #[arg(value_parser = thing_name)]
        name: String,
        #[command(flatten)]
        directory: DirectoryArgs,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where things.json and the things' files are.
#[derive(Debug, Clone, Args)]
pub struct DirectoryArgs {
    /// Directory of things.json and of the things' files
    #[arg(long, value_name = "DIR", default_value = "things")]
    pub output: PathBuf,
}

/// What to make.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How many things, or their names [default: 1]
    #[arg(value_name = "N|NAME")]
    pub what: Vec<String>,
    /// With a number: what the things' names start with
    #[arg(long, default_value = "thing_", value_parser = thing_name)]
    pub prefix: String,
    /// Attribute of the things; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = attribute)]
    pub attribute: Vec<(String, String)>,
    /// Thing type, which has to exist
    #[arg(long, value_name = "NAME", value_parser = thing_name)]
    pub thing_type: Option<String>,
    /// Thing group, which has to exist; may be given several times
    #[arg(long, value_name = "NAME", value_parser = thing_name)]
    pub group: Vec<String>,
    /// Let AWS make the key pairs; the private keys then travel once, over TLS
    #[arg(long)]
    pub aws_keys: bool,
    /// Configuration that the things get, and that decides what their policy allows: TOML, JSON, or the AWS sample's
    /// iot_config.json. Its table aws is filled in. Without it: one topic, mock_telemetry
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub directory: DirectoryArgs,
    /// Take things that exist already and have certificates: they get another certificate beside theirs
    #[arg(long)]
    pub adopt: bool,
    /// Put the files into the configuration directory of this robot too; for one thing
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = iot_bridge_core::config::DEFAULT_DIRECTORY)]
    pub install: Option<PathBuf>,
}

/// What to send.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Text of the message; the default is that of aws-iot-elf
    #[arg(default_value = "IoT ELF Hello")]
    pub message: String,
    /// File whose JSON is the message
    #[arg(long, value_name = "FILE")]
    pub json_message: Option<PathBuf>,
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Between two messages of a thing
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub interval: Duration,
}

/// What to listen to.
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    #[command(flatten)]
    pub traffic: TrafficArgs,
}

/// Over which topic, and for how long.
#[derive(Debug, Args)]
pub struct TrafficArgs {
    /// MQTT topic; {thing} stands for the thing's name; the default is that of aws-iot-elf
    #[arg(long, default_value = "elf/{thing}")]
    pub topic: String,
    /// Add /NAME of the thing to the topic
    #[arg(long)]
    pub append_thing_name: bool,
    /// MQTT quality of service
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    /// For how long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Only this thing; may be given several times [default: all]
    #[arg(long, value_name = "NAME", value_parser = thing_name)]
    pub thing: Vec<String>,
    #[command(flatten)]
    pub directory: DirectoryArgs,
}

/// What to delete.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Names of the things [default: all of things.json]
    #[arg(value_parser = thing_name)]
    pub names: Vec<String>,
    /// Delete the files on this machine only; everything in AWS stays, and nothing here knows of it any more
    #[arg(long)]
    pub only_local: bool,
    /// Delete also what create has not made: things that it found, and things that things.json does not know
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Tell what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub directory: DirectoryArgs,
}

/// For which configuration.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Policy document to hold against the configuration; exit status 0 if it fits, 1 if not
    #[arg(long, value_name = "FILE")]
    pub check: Option<PathBuf>,
    /// Number of the AWS account [default: ACCOUNT, to be replaced]
    #[arg(long, value_name = "NUMBER", value_parser = account)]
    pub account: Option<String>,
}

/// What to do with a topic rule.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Make a rule
    Create(RuleArgs),
    /// Change a rule
    Replace(RuleArgs),
    /// Delete a rule
    Delete {
        /// Name of the rule
        name: String,
    },
}

/// A topic rule.
#[derive(Debug, Args)]
pub struct RuleArgs {
    /// Name of the rule: letters, digits and _
    #[arg(value_parser = rule_name)]
    pub name: String,
    /// Where the telemetry goes to
    #[arg(long)]
    pub to: Destination,
    /// The log group, the bucket, DATABASE/TABLE of Timestream, or the topic to publish to
    #[arg(long)]
    pub target: String,
    /// Topics that the rule takes; + and # are wildcards
    #[arg(long, default_value = "robots/#")]
    pub topic: String,
    /// What the rule takes of them [default: SELECT * FROM 'TOPIC']
    #[arg(long)]
    pub sql: Option<String>,
    /// IAM role that AWS IoT Core takes on; without it the role that is needed is printed, and nothing is made
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
}

/// Service that a rule brings telemetry to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Destination {
    CloudwatchLogs,
    S3,
    Timestream,
    Republish,
}

/// Longest name of a thing.
const MAX_NAME: usize = 128;

/// What AWS IoT Core takes as the name of a thing (CreateThing: `[a-zA-Z0-9:_-]+`, at most 128).
pub fn thing_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
    match text {
        "" => Err("a name can't be empty".into()),
        _ if text.len() > MAX_NAME => {
            Err(format!("a name has at most {MAX_NAME} characters, and this has {}", text.len()))
        }
        _ => match text.chars().find(|&c| !fits(c)) {
            Some(wrong) => {
                Err(format!("{wrong:?} can't stand in a name; allowed are letters, digits, `:`, `_` and `-`"))
            }
            None => Ok(text.to_owned()),
        },
    }
}

/// `key=value` as AWS IoT Core takes them (Attributes: key `[a-zA-Z0-9_.,@/:#-]+` of at most 128, value
/// `[a-zA-Z0-9_.,@/:#=\[\]-]*` of at most 800 characters).
fn attribute(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("an attribute is written KEY=VALUE")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.,@/:#-".contains(c);
    if key.is_empty() || key.len() > MAX_NAME || !key.chars().all(fits) {
        return Err("a key has 1 to 128 letters, digits and characters of _.,@/:#-".into());
    }
    if value.len() > 800 || !value.chars().all(|c| fits(c) || "=[]".contains(c)) {
        return Err("a value has at most 800 letters, digits and characters of _.,@/:#=[]-".into());
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("http" | "https", host)) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("an address of an API begins with https:// or http://".into()),
    }
}

fn account(text: &str) -> Result<String, String> {
    match text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("the number of an AWS account has 12 digits".into()),
    }
}

fn rule_name(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true => Ok(text.to_owned()),
        false => Err("the name of a rule has 1 to 128 letters, digits and `_`".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    // ELF takes a number of seconds.
    let text = if text.parse::<f64>().is_ok() { format!("{text} s") } else { text.to_owned() };
    match parse_duration(&text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("a duration is written like \"10s\" or \"2 min\"".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The options for AWS stand before or after the subcommand.
    #[test]
    fn global_options_stand_anywhere() {
        for arguments in [
            ["things", "--region", "eu-west-1", "--profile", "lab", "create", "3"],
            ["things", "create", "--region", "eu-west-1", "3", "--profile", "lab"],
        ] {
            let cli = Cli::try_parse_from(arguments).expect("a command line");
            assert_eq!((cli.aws.region.as_deref(), cli.aws.profile.as_deref()), (Some("eu-west-1"), Some("lab")));
        }
    }

    /// Names and attributes that AWS IoT Core would not take are refused before it is asked.
    #[test]
    fn names_and_attributes_are_checked() {
        for wrong in ["", "a b", "a/b", "ü", &"x".repeat(129)] {
            assert!(thing_name(wrong).is_err(), "{wrong}");
        }
        assert_eq!(thing_name("a:b_c-9").as_deref(), Ok("a:b_c-9"));
        for wrong in ["a", "=b", "a b=c", "a=b c", &format!("a={}", "x".repeat(801))] {
            assert!(attribute(wrong).is_err(), "{wrong}");
        }
        assert_eq!(attribute("site=hall=3"), Ok(("site".into(), "hall=3".into())));
    }

    #[test]
    fn durations_may_be_plain_seconds() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2 min"), Ok(Duration::from_secs(120)));
        assert!(duration("0").is_err() && duration("soon").is_err());
    }
}
