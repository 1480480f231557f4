//! What the package brings for those who watch robots: a dashboard for Grafana, alert rules for Prometheus, and the
//! table of metrics.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::port::Port;
use crate::support::program::{PATIENCE, Program};
use crate::support::stage::Stage;
use serde_json::Value;

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap()
}

/// Runs promtool, which has to be content; returns what it says.
fn promtool(arguments: &[&str], path: PathBuf) -> String {
    let output =
        Command::new("promtool").args(arguments).arg(path).output().expect("promtool, of the package prometheus");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// The names of metrics in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("iot_bridge_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// All queries of the dashboard: of its panels, its variables and its annotations.
fn queries(dashboard: &Value) -> Vec<String> {
    match dashboard {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(query) if key == "expr" => vec![query.clone()],
                _ => queries(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// Families of metrics as a running bridge has them, and all names of series that they may have.
async fn metrics() -> (BTreeSet<String>, BTreeSet<String>) {
    let stage = Stage::set().await;
    let port = Port::reserve();
    let health = format!(
        "[health]\nmetrics = \"127.0.0.1:{}\"\n[remote]\nshadow = \"iot-bridge\"\n[[topics]]\nros = \"/numbers\"\n",
        port.number()
    );
    let mut program = Program::start(&stage.configure(&health));
    program.await_log("Metrics are at");
    let mut stream = TcpStream::connect(("127.0.0.1", port.number())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(program.terminate().code(), Some(0));
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    for told in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = told.split_once(' ').unwrap();
        families.insert(name.to_owned());
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        series.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
    }
    (families, series)
}

/// docs/operating.md names each metric that there is and no other, each stands in the source by its full name, and every
/// metric that a rule or the dashboard asks for exists.
#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_that_of_a_metric() {
    let (families, series) = metrics().await;
    assert!(families.len() > 20, "{families:?}");
    let page = read("docs/operating.md");
    let table: String = page.lines().filter(|line| line.trim_start().starts_with("| `")).collect();
    assert_eq!(names(&table), families, "the table of docs/operating.md, and what there is");
    let source = read("src/health/metrics.rs");
    let missing: Vec<_> = families.iter().filter(|name| !source.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "src/health/metrics.rs does not name {missing:?}");

    let dashboard: Value = serde_json::from_str(&read("packaging/monitoring/grafana-dashboard.json")).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 20, "{queries:?}");
    let rules = read("packaging/monitoring/prometheus-alerts.yml");
    let mut asked = names(&queries.join("\n"));
    asked.extend(names(&rules));
    let unknown: Vec<_> = asked.difference(&series).collect();
    assert!(unknown.is_empty(), "there is no {unknown:?}");
    assert!(names(&dashboard.to_string()).is_subset(&series), "a variable or a text of the dashboard names another");

    // Prometheus reads each query.
    let directory = tempfile::tempdir().unwrap();
    let recorded = queries.iter().enumerate().map(|(number, query)| {
        let query = query.replace("$__rate_interval", "5m").replace("$instance", ".+");
        format!("  - record: query:{number}\n    expr: {}\n", Value::String(query))
    });
    let path = directory.path().join("queries.yml");
    std::fs::write(&path, format!("groups:\n- name: dashboard\n  rules:\n{}", recorded.collect::<String>())).unwrap();
    promtool(&["check", "rules"], path);
}

/// Each alert fires when it should, and not when it should not.
#[test]
fn alerts_fire_when_they_should() {
    let (rules, tests) =
        (read("packaging/monitoring/prometheus-alerts.yml"), "packaging/monitoring/prometheus-alerts-test.yml");
    promtool(&["check", "rules"], project("packaging/monitoring/prometheus-alerts.yml"));
    promtool(&["test", "rules"], project(tests));
    let tests = read(tests);
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let cases: Vec<_> = tests.split(&format!("alertname: {alert}\n")).skip(1).collect();
        let quiet = cases.iter().filter(|case| case.trim_start().starts_with("exp_alerts: []")).count();
        assert!(quiet > 0 && quiet < cases.len(), "{alert}: {quiet} of {} cases are quiet", cases.len());
    }
}
