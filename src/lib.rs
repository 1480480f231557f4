//! iot-bridge forwards ROS 2 telemetry to AWS IoT Core. This page is the map of its source.
//!
//! # The way of a message
//!
//! ```text
//!  DDS ── ros ──► codec ──► shaping ──► queue ──► packing ──► uplink ──► AWS IoT Core
//!         └── the ROS thread, in bridge::Reception ─┘  │          └─ the main thread: tokio ─┘
//!                                  the disk worker ◄──┴──► segments on the disk
//!
//!       health reads what tally has counted, and tells systemd, people and programs
//! ```
//!
//! An example, a message of `/odom`:
//!
//! 1. The ROS thread ([`ros`]) waits for all subscriptions and takes the message as CDR bytes. It hands a
//!    [`ros::Sample`] to its receiver, which is [`bridge::Reception`].
//! 2. Reception counts it as received, and the topic's [`Shaper`] makes a payload of it. For JSON that takes the
//!    [`Decoder`] of the message type. A message that is too large or malformed ends here, as a counted drop.
//! 3. The payload becomes a [`Record`] with its [`Route`]: MQTT topic, QoS, priority. [`Queue::admit`] takes it or
//!    drops what has to give way. From now on the queue owns it, in memory and, by its disk worker, on the disk.
//! 4. [`Uplink`] leases the record, alone or in a batch, as the quotas let it leave. [`packing`] makes the payload of
//!    the publish. Its PUBACK ends the lease: [`Queue::acknowledge`]. A lost connection requeues all leases.
//! 5. Each step counts in the topic's [`TopicCounters`]. [`health::Reporter`] makes one [`health::Report`] of them,
//!    which `iot-bridge status`, metrics and `/diagnostics` tell in three ways.
//!
//! # The way back
//!
//! ```text
//!  AWS IoT Core ──► uplink::listener ──► bridge::requests ──► requests, codec ──► ros ──► DDS
//!  AWS IoT Core ◄── uplink ◄── queue ◄── replies ──┘ a thread of its own
//! ```
//!
//! An example, a command for `/cmd_vel`: the uplink hands the PUBLISH over as an [`Arrival`]. The thread `requests` gives it to the
//! handler of its entry, whose [`Gate`] judges it and encodes it. [`ros::Outlet`] publishes it, the broker gets its PUBACK,
//! and the reply is a [`Record`] like any other, of high priority.
//!
//! # What each module owns
//!
//! In their order: none imports one that stands below it in this table, which `scripts/lib/module-order` holds. The
//! core is [`iot_bridge_core`] in `crates/core`: what needs no ROS.
//!
//! | module | crate | owns |
//! | --- | --- | --- |
//! | [`tally`] | core | counters of a topic, reasons of drops, heartbeats, latencies |
//! | [`files`] | core | the one way to files that have to survive a power cut; tests inject faults there |
//! | [`pem`] | core | certificates and keys from PEM files |
//! | [`accounts`] | core | the machine's users and groups |
//! | [`time_of_day`] | core | the time of day, and whether the clock says anything |
//! | [`config`] | core | reading and judging the configuration, the settings that everybody else reads, AWS's limits |
//! | [`topics`] | core | one identity for a topic: its names and counters, for as long as anybody has it |
//! | [`codec`] | core | from CDR bytes to JSON and back, by the schema of a type |
//! | [`packing`] | core | from records to the payload of a publish: batches, compression |
//! | [`shaping`] | core | from a message to a payload: envelope, `seq` |
//! | [`queue`] | core | records between reception and PUBACK, in memory and on disk |
//! | [`provisioning`] | core | what a robot with a claim has got so far |
//! | [`requests`] | core | what the cloud asks for: whether a command is published, what services and actions are asked, what is replied |
//! | [`shadows`] | core | one device shadow: what is reported, wished and cleared, whatever the network does |
//! | [`remote`] | core | configuration from the cloud: what is desired, checked, tried, confirmed or rolled back, and reported |
//! | [`mqtt`] | core | one connection to a broker: packets, TLS, proxy, and what each failure means |
//! | [`terminal`] | core | what the command lines of both programs share |
//! | [`uplink`] | core | what the bridge does with such connections: window, quotas, back-off, topics that are refused |
//! | [`price`] | core | what a month of telemetry costs, before it is sent; what brings it below a budget |
//! | [`ros`] | bridge | rcl, the graph, subscriptions, the ROS thread; the only module with `unsafe` |
//! | [`health`] | bridge | report, status line, metrics, diagnostics, watchdog, log |
//! | [`bridge`] | bridge | the wiring: what starts, reloads and stops when; reception; what the cloud asks for |
//! | [`cli`], [`commands`] | bridge | the command line of `iot-bridge`, and what each command does |
//!
//! `crates/things` is the program `iot-bridge-things`: things, certificates and policies through AWS's API.
//!
//! # Where to begin
//!
//! - **To read it as a program**: `main` calls [`commands::execute`]; the command `run` calls [`bridge::run`], and
//!   [`bridge`] says what is started, what goes on then, and what is stopped, in which order.
//! - **To understand one stage**: the documentation of its module is its design, with its rules. [`queue`] and
//!   [`uplink`] hold what is promised.
//! - **From something that you have seen**, a key, a metric, a sentence of the log: the table in `CONTRIBUTING.md`.
//! - **Why it is so, what was measured, which test proves what**: `docs/architecture.md`.
//!
//! [`tally`]: iot_bridge_core::tally
//! [`files`]: iot_bridge_core::files
//! [`pem`]: iot_bridge_core::pem
//! [`accounts`]: iot_bridge_core::accounts
//! [`time_of_day`]: iot_bridge_core::time_of_day
//! [`config`]: iot_bridge_core::config
//! [`topics`]: iot_bridge_core::topics
//! [`codec`]: iot_bridge_core::codec
//! [`packing`]: iot_bridge_core::packing
//! [`shaping`]: iot_bridge_core::shaping
//! [`queue`]: iot_bridge_core::queue
//! [`requests`]: iot_bridge_core::requests
//! [`provisioning`]: iot_bridge_core::provisioning
//! [`shadows`]: iot_bridge_core::shadows
//! [`remote`]: iot_bridge_core::remote
//! [`mqtt`]: iot_bridge_core::mqtt
//! [`uplink`]: iot_bridge_core::uplink
//! [`price`]: iot_bridge_core::price
//! [`terminal`]: iot_bridge_core::terminal
//! [`Arrival`]: iot_bridge_core::mqtt::client::Arrival
//! [`Gate`]: iot_bridge_core::requests::Gate
//! [`Shaper`]: iot_bridge_core::shaping::Shaper
//! [`Decoder`]: iot_bridge_core::codec::Decoder
//! [`Record`]: iot_bridge_core::queue::Record
//! [`Route`]: iot_bridge_core::queue::Route
//! [`Queue::admit`]: iot_bridge_core::queue::Queue::admit
//! [`Queue::acknowledge`]: iot_bridge_core::queue::Queue::acknowledge
//! [`Uplink`]: iot_bridge_core::uplink::Uplink
//! [`TopicCounters`]: iot_bridge_core::tally::TopicCounters

pub mod bridge;
pub mod cli;
pub mod commands;
pub mod health;
#[allow(unsafe_code, reason = "rcl is C")]
pub mod ros;
