//! What the guide shows is what happens.

use std::fs;

use serde_json::json;

use crate::bench::Bench;
use crate::support::aws_api::ACCOUNT;
use crate::support::mosquitto::Mosquitto;

const GUIDE: &str = include_str!("../../../docs/provisioning.md");

/// The blocks of the guide that begin with `begin`, without it.
fn blocks(begin: &str) -> Vec<&'static str> {
    let fenced = GUIDE.split("\n```").skip(1).step_by(2);
    fenced.filter_map(|block| block.strip_prefix(begin)).collect()
}

/// A line without what is another one each time: numbers of milliseconds and seconds, names by content, identifiers.
fn steady(line: &str) -> String {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let told = |at: usize, word: &str| {
        let (bare, end) = match word.strip_suffix([',', '.']) {
            Some(bare) => (bare, &word[bare.len()..]),
            None => (word, ""),
        };
        let unit = words.get(at + 1).is_some_and(|next| matches!(next.trim_end_matches(','), "ms" | "s"));
        let hex = |text: &str, least| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match bare.strip_prefix("iot-bridge-") {
            _ if unit && bare.parse::<f64>().is_ok() => "N".to_owned(),
            Some(checksum) if hex(checksum, 8) => format!("iot-bridge-CHECKSUM{end}"),
            _ if bare != ACCOUNT && hex(bare, 12) => format!("ID{end}"),
            _ => word.to_owned(),
        }
    };
    words.iter().enumerate().map(|(at, word)| told(at, word)).collect::<Vec<_>>().join(" ")
}

/// Whether `said` is as the guide has it, where a line `…` stands for any number of others.
fn is_shown(shown: &[String], said: &[String]) -> bool {
    match (shown.split_first(), said.split_first()) {
        (None, None) => true,
        (Some((line, after)), _) if line == "…" => {
            is_shown(after, said) || said.split_first().is_some_and(|(_, rest)| is_shown(shown, rest))
        }
        (Some((line, after)), Some((found, rest))) => line == found && is_shown(after, rest),
        _ => false,
    }
}

/// Each command of the guide that is shown with what it says, one after the other, says just that.
#[test]
fn the_guide_shows_what_happens() {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), blocks("toml").first().expect("fleet.toml"));
    let elfs = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Action": ["iot:Connect", "iot:Publish", "iot:Subscribe", "iot:Receive"],
        "Resource": ["arn:aws:iot:eu-central-1:*:*"] }] });
    fs::write(bench.path("elf.json"), elfs.to_string()).unwrap();
    let here = bench.directory.path().display().to_string();
    let sessions = blocks("\n$ ");
    let mut commands = 0;
    for session in &sessions {
        for step in session.split("\n$ ") {
            let (command, shown) = step.split_once('\n').unwrap_or((step, ""));
            let words: Vec<&str> = command.split(' ').collect();
            let ["iot-bridge-things", arguments @ ..] = &words[..] else { panic!("{command}") };
            let (_, said) = bench.run(arguments);
            let said = said.replace(&here, "/home/me");
            let shown = shown.replace("a1b2c3d4e5f6g7-ats.iot.eu-central-1.amazonaws.com", "localhost");
            let lines = |text: &str| text.trim_end().lines().map(steady).collect::<Vec<_>>();
            assert!(is_shown(&lines(&shown), &lines(&said)), "$ {command}\n{said}\nThe guide has:\n{shown}");
            commands += 1;
        }
    }
    assert_eq!(commands, 8);
}
