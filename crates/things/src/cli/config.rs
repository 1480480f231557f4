//! The command line of `iot-bridge-things config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{duration, thing_name};
use crate::remote::LONGEST_NAME;

/// What to do with the configurations of robots.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Send topics and other sections to robots, and tell what has become of them
    ///
    /// The sections of FILE take the place of the robots' own, whole; those that it has not are the robots' own again. FILE is
    /// checked here first, for each robot, as `iot-bridge check` does, without what only ROS knows. What was desired before is
    /// kept in the shadow NAME-before, for rollback. Exit status 0 if all robots have applied it.
    Push(PushArgs),
    /// Show what is desired of robots and what they report, beside each other
    Show(ShowArgs),
    /// Send robots what was desired before, and tell what has become of it
    ///
    /// What was desired before a push is in the shadow NAME-before of each thing. Where nothing was, the robot's own
    /// configuration comes back. Twice makes the last push desired again; with --from it may be repeated. What was sent by a job
    /// is not known there: push the file of before with --job, or under another version.
    Rollback(RollbackArgs),
}

/// What to send, and to whom.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// TOML or JSON with topics, commands, services, actions or shadows as in config.toml, and, if you like, a version
    /// [default: the date and a hash of the rest]
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub wait: WaitArgs,
    #[command(flatten)]
    pub job: JobArgs,
}

/// What to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Whom to send back.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Only the things of which this version is desired, `local` where none is; so the same command again undoes nothing
    #[arg(long, value_name = "VERSION")]
    pub from: Option<String>,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Which robots.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Names of the things
    #[arg(value_name = "THING", value_parser = thing_name, required_unless_present = "group")]
    pub thing: Vec<String>,
    /// Thing group, with the groups in it; may be given several times
    #[arg(long, value_name = "NAME", value_parser = thing_name)]
    pub group: Vec<String>,
    /// Shadow that remote.shadow of the robots names
    #[arg(long, value_name = "NAME", default_value = "iot-bridge", value_parser = shadow_name)]
    pub shadow: String,
}

/// Whether and how long to wait for the robots.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// How long to wait for what the robots report; a robot tries a configuration for up to its `confirm`, 2 min by default
    #[arg(long, value_name = "DURATION", default_value = "5 min", value_parser = duration)]
    pub timeout: Duration,
    /// Do not wait
    #[arg(long)]
    pub no_wait: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Whether AWS rolls it out by a job, and how.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Send it by an IoT job, to robots that set remote.jobs; up to 32 KiB. Each call makes another job
    #[arg(long)]
    pub job: bool,
    /// With --job: to at most so many robots a minute
    #[arg(long, value_name = "N", requires = "job", value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub per_minute: Option<i32>,
    /// With --per-minute: begin with that, and go so many times as fast whenever as many robots again have applied it, 1.1 to 5
    #[arg(long, value_name = "FACTOR", requires = "per_minute", value_parser = factor)]
    pub increase: Option<f64>,
    /// With --job: cancel it when so many percent of the robots that were reached have failed, rejected it or timed out
    #[arg(long, value_name = "PERCENT", requires = "job", value_parser = percent)]
    pub abort_after: Option<f64>,
    /// With --abort-after: but not before so many robots were reached
    #[arg(long, value_name = "N", requires = "abort_after", default_value_t = 10,
          value_parser = clap::value_parser!(i32).range(1..))]
    pub min_executed: i32,
    /// With --job: a robot that has begun has so many minutes, 1 to 10080 [default: 60 with --abort-after, else no end]
    #[arg(long, value_name = "MINUTES", requires = "job", value_parser = clap::value_parser!(u16).range(1..=10080))]
    pub in_progress_timeout: Option<u16>,
}

/// What AWS IoT Core takes as the name of a shadow (GetThingShadow: `[$a-zA-Z0-9:_-]+`), with room for the one beside it.
fn shadow_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | ':' | '_' | '-');
    match !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(format!("the name of a shadow has 1 to {LONGEST_NAME} letters, digits, `$`, `:`, `_` and `-`")),
    }
}

/// ExponentialRolloutRate of the API: at least 1.1 and at most 5, with one digit after the point.
fn factor(text: &str) -> Result<f64, String> {
    number(text, 1.1..=5.0, 10.0).ok_or_else(|| "a factor is 1.1 to 5, with one digit after the point".into())
}

/// AbortCriteria of the API: at most 100, with two digits after the point.
fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.01..=100.0, 100.0)
        .ok_or_else(|| "a percentage is 0.01 to 100, with two digits after the point".into())
}

/// The number in `text`, if it is in `range` and `scale` times it is whole.
fn number(text: &str, range: std::ops::RangeInclusive<f64>, scale: f64) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let scaled = number * scale;
    (range.contains(&number) && (scaled - scaled.round()).abs() < 1e-9).then_some(number)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    /// Who is meant has to be said, and options of a job are for jobs.
    #[test]
    fn a_push_says_to_whom() {
        for line in [
            "things config push f.toml a b",
            "things config push f.toml --group all --no-wait",
            "things config push f.toml a --job --per-minute 10 --increase 1.5 --abort-after 12.5 --min-executed 3",
            "things config rollback a --timeout 30",
            "things config rollback --group all --from 12",
            "things config show --group all --json",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
        for (line, words) in [
            ("things config push f.toml", "<THING>..."),
            ("things config show", "<THING>..."),
            ("things config push f.toml a/b", "can't stand in a name"),
            ("things config push f.toml a --shadow a/b", "the name of a shadow has 1 to 57"),
            ("things config push f.toml a --per-minute 10", "--job"),
            ("things config push f.toml a --job --increase 2", "--per-minute"),
            ("things config push f.toml a --job --per-minute 0", "1..=1000"),
            ("things config push f.toml a --job --per-minute 1 --increase 1.25", "one digit"),
            ("things config push f.toml a --job --abort-after 101", "0.01 to 100"),
            ("things config push f.toml a --job --in-progress-timeout 0", "1..=10080"),
        ] {
            let why = parse(line).expect_err(line);
            assert!(why.contains(words), "{line}: {why}");
        }
    }
}
