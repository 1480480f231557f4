//! The program, end to end: real ROS nodes, real brokers, real files.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod aws_broker;
    pub mod cache;
    pub mod certificates;
    pub mod cloud;
    pub mod controller;
    pub mod cpu_share;
    pub mod domain;
    pub mod itself;
    pub mod leaks;
    pub mod link;
    pub mod mosquitto;
    pub mod observer;
    pub mod own_mounts;
    pub mod own_network;
    pub mod port;
    pub mod program;
    pub mod proxy;
    pub mod rclpy;
    pub mod robot;
    pub mod scene;
    pub mod seeds;
    pub mod stage;
    pub mod victim;
}

mod address;
mod behind;
mod commands;
mod connect;
mod crossed;
mod cyclone;
mod definitions;
mod diagnostics;
mod discovery_server;
mod disk_trouble;
mod documents;
mod every_type;
mod fuzz_seeds;
mod keyed;
mod launcher;
mod load;
mod metrics;
mod monitoring;
mod outages;
mod patterns;
mod provisioning;
mod queue_command;
mod recipes;
mod reload;
mod remote_jobs;
mod requests_actions;
mod requests_checked;
mod requests_commands;
mod requests_outages;
mod requests_services;
mod requests_shadows;
mod ros;
mod ros_turns;
mod secrets;
mod selection;
mod service;
mod status;
mod thinning;
mod topics;
mod watchdog;
