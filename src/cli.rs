//! The command line of `iot-bridge`.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use iot_bridge_core::config;
use iot_bridge_core::terminal::ConfigArgs;

/// Forwards ROS 2 telemetry to AWS IoT Core over mutual TLS.
#[derive(Debug, Parser)]
#[command(name = "iot-bridge", version = VERSION, about, after_help = EXIT_STATUS)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (ROS 2 ", env!("BUILT_FOR_ROS_DISTRO"), ")");

const EXIT_STATUS: &str = "\
Exit status: 0 stopped as asked, 1 failed while running, 2 wrong command line, 69 broker not reached and 77 refused by \
it (check --connect), 78 wrong configuration or ROS distribution.

The ROS environment has to be sourced first (source /opt/ros/<distro>/setup.bash and the robot's own workspaces); \
message types are loaded from it at run time. RUST_LOG=debug shows more.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the bridge in the foreground
    ///
    /// SIGTERM and SIGINT stop it: reception ends, what is queued is sent as long as that takes no longer than a few
    /// seconds, and the broker is told. SIGHUP reads the configuration again: topics change without touching the others;
    /// one with problems is refused.
    Run(ConfigArgs),
    /// Check the configuration, the certificate and its key, and print what they amount to
    ///
    /// Exits with 78 and names every problem, not only the first.
    ///
    /// Where topics are named by patterns, it looks at the ROS graph for a few seconds and tells what each finds there now.
    ///
    /// With --connect it then makes the connection as the service would, and tells what the broker says. It uses the
    /// configured client id if no bridge is seen to run here; otherwise, so that the running bridge keeps its connection,
    /// iot-bridge-check- followed by that, which the thing's policy has to allow. A bridge on another machine that has
    /// the same client id is not seen, and loses its connection for a moment. Exits with 69 if the broker is not reached
    /// or does not answer, and with 77 if it refuses the connection or a topic, or is not trusted.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Make the connection, and tell what the broker says of it
        #[arg(long)]
        connect: bool,
        /// Also send a test message to each topic, which is what tells whether the policy allows it
        ///
        /// To the MQTT topics that the configuration forwards to, where subscribers see it: a JSON object with the
        /// fields test, thing and sent. With QoS 1, and not retained. Nothing is sent while a bridge runs here, which
        /// knows of its topics itself.
        #[arg(long, requires = "connect")]
        publish: bool,
        /// Give the connection up after so many seconds
        #[arg(
            long, value_name = "SECONDS", default_value_t = 30, requires = "connect",
            value_parser = clap::value_parser!(u64).range(1..=3600)
        )]
        timeout: u64,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Print nothing unless something is wrong
        #[arg(long, conflicts_with = "json")]
        quiet: bool,
        /// Log what is wrong with files, as `run` logs what is wrong with the configuration: for the unit, so that each
        /// problem is in the journal once
        #[arg(long, hide = true, requires = "quiet", conflicts_with = "connect")]
        beside_run: bool,
    },
    /// Ask the running bridge how it is: connection, certificate, queue, and what became of each topic's messages
    ///
    /// It is asked through a Unix socket in its runtime directory ($RUNTIME_DIRECTORY, else /run/iot-bridge), by root
    /// or a member of the group iot-bridge-status.
    Status {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Show it again every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Print exactly what would be published for a ROS topic, without a broker
    ///
    /// Payloads go to standard output, one a line (as they are for `payload = "cdr"`); everything else goes to
    /// standard error. A topic that is not configured is shown with the defaults.
    Preview {
        /// ROS topic, like /odom
        #[arg(value_parser = topic_name)]
        topic: String,
        /// Stop after this many messages
        #[arg(long, value_name = "N")]
        count: Option<NonZeroU64>,
        /// Tell of each message what each stage decides and why, also of those that do not travel
        ///
        /// With the payload, its size and how many steps of 5,120 bytes AWS IoT Core counts for it, all on standard output. A
        /// message counts for `--count`; of those in a window their record does.
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Measure the topics on the ROS graph, and tell what a month of them would cost on AWS IoT Core
    ///
    /// Finds every topic that others publish, listens for some seconds, and tells of each its type, publishers, QoS, rate,
    /// bytes a second as ROS sends it, and the size of a message as JSON. Publishes and price are those of what the
    /// configuration makes of it; of a topic that is not configured, those of an entry with nothing but `ros`. The price is
    /// that of a month of 30 days, for messages; the connection is in the sum.
    ///
    /// Works beside the running bridge, and without a configuration. Ctrl-C ends the measuring early.
    Topics(TopicsWish),
    /// Publish mock telemetry on ROS: a std_msgs/msg/String that holds JSON
    Mock {
        /// Messages a second
        #[arg(long, value_name = "HZ", default_value_t = 2.0, value_parser = rate)]
        rate: f64,
        /// ROS topic
        #[arg(long, value_name = "NAME", default_value = "mock_telemetry", value_parser = topic_name)]
        topic: String,
    },
    /// Look into the queue on disk, or empty it, while the bridge is stopped
    Queue {
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What to tell of the topics on the ROS graph.
#[derive(Debug, Args)]
pub struct TopicsWish {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Listen for so many seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Propose lines of configuration that bring the sum of a month below so many dollars, and tell what is lost by them
    ///
    /// Of the topics that the configuration forwards; of all, where it forwards none of them. The rule is a plain one: batches
    /// that wait, then compression, then fewer fields, then lower rates, then leaving topics out, each from the dearest topic
    /// on, until it is enough. Exits with 1 if the connection alone costs more.
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub budget: Option<f64>,
    /// Take the prices from this file instead of the public ones of us-east-1 [default: /etc/iot-bridge/prices.toml, if it is
    /// there]
    #[arg(long, value_name = "PATH")]
    pub prices: Option<PathBuf>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// What to do with the queue on disk.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show what is there by lane and topic, what is damaged, and what is set aside
    ///
    /// Changes nothing.
    Show {
        #[command(flatten)]
        queue: QueueArgs,
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print all records in the order in which they would be sent, as JSON lines
    ///
    /// Changes nothing. Each line is an object with lane, ros, mqtt, qos, retain, number (in its lane), received and
    /// expires (nanoseconds since 1970), and payload or, where that is no UTF-8, payload_base64. What can't be read is
    /// told on standard error.
    Export {
        #[command(flatten)]
        queue: QueueArgs,
        /// Write to this file, which must not be there yet, instead of standard output
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Delete all records, and what is set aside
    ///
    /// Asks first. Sequence numbers go on where they are, and files that are not the queue's stay.
    Purge {
        #[command(flatten)]
        queue: QueueArgs,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Where the queue is.
#[derive(Debug, Args)]
pub struct QueueArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Directory of the queue, without a look at the configuration [default: queue.directory of the configuration]
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    pub directory: Option<PathBuf>,
}

/// The fastest that a timer of a general purpose system is good for, and a message in a quarter of an hour.
const RATES: RangeInclusive<f64> = 0.001..=100_000.0;

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if RATES.contains(&rate) => Ok(rate),
        _ => Err(format!("a number of messages a second from {} to {}", RATES.start(), RATES.end())),
    }
}

fn dollars(text: &str) -> Result<f64, String> {
    match text.strip_prefix('$').unwrap_or(text).parse() {
        Ok(dollars) if f64::is_finite(dollars) && dollars >= 0.0 => Ok(dollars),
        _ => Err("a number of dollars a month, such as 12.50".to_owned()),
    }
}

fn topic_name(text: &str) -> Result<String, String> {
    match config::default_topic("thing", text) {
        Ok(_) => Ok(text.to_owned()),
        Err(problems) => Err(problems.iter().map(|problem| problem.allowed.as_str()).collect::<Vec<_>>().join("; ")),
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

    #[test]
    fn budgets_are_dollars() {
        assert_eq!((dollars("12.50"), dollars("$3"), dollars("0")), (Ok(12.5), Ok(3.0), Ok(0.0)));
        for wrong in ["-1", "NaN", "inf", "3 EUR", ""] {
            assert!(dollars(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_positive_numbers() {
        assert_eq!(rate("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "1e-20", "NaN", "inf", "1e9", "fast", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
