//! `iot-bridge-things config show`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::outcome::{below, plain, pretty};
use super::robot::Robot;
use super::targets;
use crate::aws::Aws;
use crate::cli::{AwsArgs, ShowArgs};
use crate::stop::Stop;

const HEADS: [&str; 9] = ["thing", "desired", "reported", "state", "ago", "bridge", "ros", "behind", "dropped"];

pub async fn execute(arguments: ShowArgs, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    let aws = Arc::new(Aws::connect(aws).await?);
    let things = targets::find(&aws, &arguments.target).await?;
    let robots = targets::look(&aws, &things, &arguments.target.shadow).await?;
    match arguments.json {
        true => println!("{}", pretty(&json!({ "shadow": arguments.target.shadow, "things": robots }))?),
        false => print!("{}", text(&robots)),
    }
    Ok(ExitCode::SUCCESS)
}

/// A table with a line for each robot, and its problems below it.
fn text(robots: &[Robot]) -> String {
    let rows: Vec<[String; 9]> = robots.iter().map(|robot| row(robot).map(|cell| plain(&cell))).collect();
    let heads = HEADS.map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&heads]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(&heads);
    for (robot, row) in robots.iter().zip(&rows) {
        text += &line(row);
        text += &below(&robot.problems());
    }
    text
}

fn row(robot: &Robot) -> [String; 9] {
    let none = || "-".to_owned();
    let reported = |key: &str| {
        let value = robot.reported.as_ref().and_then(|reported| reported.get(key));
        value.filter(|value| !value.is_null()).map_or_else(none, |value| match value {
            Value::String(text) => text.clone(),
            Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
            other => other.to_string(),
        })
    };
    let is_local = robot.reported.is_some() && robot.version().is_none();
    [
        robot.thing.clone(),
        match (&robot.desired, robot.wish()) {
            (None, _) => "no shadow".to_owned(),
            (Some(_), None) => "nothing".to_owned(),
            (Some(_), Some(wish)) => wish.version,
        },
        if is_local { "local".to_owned() } else { reported("version") },
        reported("state").replace('_', " "),
        robot.age().unwrap_or_else(none),
        reported("bridge"),
        reported("ros_distro"),
        reported("behind"),
        reported("dropped"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a robot reports, and what somebody desires of it, moves no cursor.
    #[test]
    fn terminals_obey_no_report() {
        let hostile = "a\u{1b}[2J\n\u{202e}b";
        let document = json!({ "state": {
            "desired": { "version": hostile, "config": {} },
            "reported": { "version": hostile, "state": hostile, "problems": [hostile, 7], "bridge": [hostile] },
        } });
        let text = text(&[Robot::read("a", Some(&document))]);
        assert!(text.lines().all(|line| plain(line) == line), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    /// What is desired and what is reported stand beside each other, problems below.
    #[test]
    fn desired_and_reported_stand_in_a_line() {
        let document = json!({
            "state": {
                "desired": { "version": "2", "config": { "topics": [] } },
                "reported": { "version": "1", "state": "rolled_back", "problems": ["nothing was acknowledged"],
                    "bridge": "0.2.0", "ros_distro": "jazzy", "behind": true, "dropped": 12 },
            },
        });
        let local = json!({ "state": { "reported": { "bridge": "0.1.0" } } });
        let robots = [Robot::read("a", Some(&document)), Robot::read("b", None), Robot::read("c", Some(&local))];
        let text = text(&robots);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines[0], HEADS);
        assert_eq!(lines[1], ["a", "2", "1", "rolled back", "-", "0.2.0", "jazzy", "yes", "12"]);
        assert_eq!(lines[2], ["nothing was acknowledged"]);
        assert_eq!(lines[3], ["b", "no shadow", "-", "-", "-", "-", "-", "-", "-"]);
        assert_eq!(lines[4], ["c", "nothing", "local", "-", "-", "0.1.0", "-", "-", "-"]);
    }
}
