//! The documents keep up with the program: links lead somewhere, in the source and where a package installs them; what the
//! operator's table quotes is what the program says; files and tests that they name exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

fn project(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = project(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `directory` whose names end with one of `endings`, by their paths in the project.
fn files(directory: &str, endings: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(project(directory)) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{directory}/{name}");
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path.trim_start_matches("./").into());
        }
    }
    found
}

/// The documents of the project.
fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from).into();
    documents.extend(files("docs", &[".md"]));
    documents
}

/// What the document links to, web addresses apart: path and heading. Code is no link.
fn links(document: &str) -> Vec<(String, String)> {
    let text: String = document.split("```").step_by(2).collect();
    let text: String = text.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).map(|rest| rest.split_once(')').expect("a link ends").0);
    let ours = targets.filter(|target| !target.contains("://"));
    ours.map(|target| target.split_once('#').unwrap_or((target, ""))).map(|(a, b)| (a.into(), b.into())).collect()
}

/// The names that headings of the document have as targets of links.
fn headings(document: &str) -> BTreeSet<String> {
    let text: String = document.split("```").step_by(2).collect();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles.map(|title| title.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

/// `path` as seen from the directory of `from`, without `..`.
fn resolve(from: &Path, path: &str) -> PathBuf {
    let mut resolved = from.parent().unwrap().to_path_buf();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => assert!(resolved.pop(), "{path} leads out of everything"),
            other => resolved.push(other),
        }
    }
    resolved
}

/// In the source each link leads to a file, and to a heading in it.
#[test]
fn every_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        for (path, heading) in links(&read(&document)) {
            let target = if path.is_empty() { document.clone() } else { resolve(&document, &path) };
            assert!(project(&target).exists(), "{} links to {path}", document.display());
            if !heading.is_empty() {
                let known = headings(&read(&target));
                assert!(known.contains(&heading), "{} links to {path}#{heading}", document.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} links");
}

/// Which files the packages install: by the package, where, and what it is in the project.
fn installed() -> BTreeMap<String, BTreeMap<PathBuf, String>> {
    let mut packages = BTreeMap::new();
    for manifest in ["Cargo.toml", "crates/things/Cargo.toml"] {
        let text: toml_edit::ImDocument<String> = toml_edit::ImDocument::parse(read(manifest)).unwrap();
        let deb = &text["package"]["metadata"]["deb"];
        let assets = deb["assets"].as_array().unwrap().iter().map(|asset| {
            let [source, target] = [0, 1].map(|index| asset.as_array().unwrap().get(index).unwrap().as_str().unwrap());
            let name = source.rsplit('/').next().unwrap();
            let whole = if target.ends_with('/') { format!("{target}{name}") } else { target.to_owned() };
            (PathBuf::from(whole), source.trim_start_matches("../").to_owned())
        });
        packages.insert(text["package"]["name"].as_str().unwrap().to_owned(), assets.collect());
    }
    packages
}

/// In each package the links between its documents lead to a file of it, and so does each path below its directory that
/// documents, man pages, messages and the commented configuration name.
#[test]
fn installed_links_lead_to_installed_files() {
    let packages = installed();
    assert_eq!(packages.len(), 2);
    for (package, files) in &packages {
        let documents = files.iter().filter(|(_, source)| source.ends_with(".md"));
        for (place, source) in documents {
            for (path, _) in links(&read(source)).into_iter().filter(|(path, _)| !path.is_empty()) {
                let target = resolve(place, &path);
                assert!(files.contains_key(&target), "{package}: {} links to {path}", place.display());
            }
        }
    }
    let mut named = documents();
    named.extend(["packaging/iot-bridge.8", "packaging/pages.rs", "etc/config.toml"].map(PathBuf::from));
    named.extend(source());
    for path in named {
        for rest in read(&path).split("/usr/share/doc/").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_.".contains(c)).unwrap_or(rest.len());
            let name = rest[..end].trim_end_matches(['.', '/']);
            let package = name.split('/').next().unwrap();
            let Some(files) = packages.get(package) else { continue };
            let whole = PathBuf::from(format!("usr/share/doc/{name}"));
            assert!(files.keys().any(|file| file.starts_with(&whole)), "{} names {whole:?}", path.display());
        }
    }
}

/// The program's own source, tests apart.
fn source() -> Vec<PathBuf> {
    ["src", "crates/core/src", "crates/things/src"]
        .into_iter()
        .flat_map(|directory| files(directory, &[".rs"]))
        .collect()
}

/// What string literals of the program say, with a blank where a line of the source ends within one.
fn said() -> String {
    let mut said = String::new();
    for path in source().into_iter().chain([PathBuf::from("packaging/iot-bridge")]) {
        let text = read(&path);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let (line, goes_on) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
            said.push_str(if goes_on { line } else { line.trim_end() });
            if goes_on {
                // What follows is indented for the source only.
                let mut next = lines.next().unwrap_or_default().trim_start();
                while let Some(part) = next.strip_suffix('\\') {
                    said.push_str(part);
                    next = lines.next().unwrap_or_default().trim_start();
                }
                said.push_str(next);
            }
            said.push('\n');
        }
    }
    said
}

/// What the table for three in the morning quotes is said by the program, word for word between its gaps.
#[test]
fn what_the_operators_table_quotes_is_said() {
    let (said, page) = (said(), read("docs/operating.md"));
    let table = page.split_once("## At three in the morning").unwrap().1.split_once("\n## ").unwrap().0;
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 25, "{}", rows.len());
    for row in rows {
        let quoted = row.trim_start_matches("| ").split(" | ").next().unwrap();
        if quoted.ends_with(" from systemd") {
            continue;
        }
        let quotes = quoted.split('`').skip(1).step_by(2);
        for words in quotes.flat_map(|quote| quote.split('…')) {
            let words = words.trim_matches(|c: char| c == ' ' || c == '(' || c == ')');
            assert!(said.contains(words), "nothing in the source says {words:?}: {quoted}");
        }
    }
}

/// Each guarantee of the architecture names tests that there are.
#[test]
fn guarantees_name_tests_that_there_are() {
    let page = read("docs/architecture.md");
    let table = page.split_once("| guarantee | test |").unwrap().1.split_once("\n\n").unwrap().0;
    let mut seen = 0;
    for row in table.lines().skip(2) {
        let named = row.trim_matches('|').rsplit_once(" | ").unwrap().1;
        let mut text = String::new();
        for name in named.split('`').skip(1).step_by(2) {
            if name.starts_with('/') {
                // A ROS topic.
            } else if name.contains('/') {
                // The file, and what is below it.
                text = if project(name).is_dir() { String::new() } else { read(name) };
                text.extend(files(name.trim_end_matches(".rs"), &[".rs"]).into_iter().map(read));
            } else {
                assert!(text.contains(&format!("fn {name}(")), "there is no test {name}: {row}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen} tests");
}

/// Where CONTRIBUTING.md sends somebody for what is seen from the outside, it is.
#[test]
fn what_is_seen_from_the_outside_is_where_the_map_says() {
    let page = read("CONTRIBUTING.md");
    let table = page.split_once("| what | an example | made in |").unwrap().1.split_once("\n\n").unwrap().0;
    let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|row| row.split(" | ").collect()).collect();
    assert!(rows.len() > 8, "{rows:?}");
    for row in rows {
        let [_, example, made, _] = row[..] else { panic!("a row has four cells: {row:?}") };
        let place = made.split('`').nth(1).unwrap();
        let text = read(place);
        assert!(text.contains(example.trim_matches('`')), "{example} is not in {place}");
    }
}

/// The map in src/lib.rs and the table of docs/architecture.md have each module.
#[test]
fn the_maps_have_each_module() {
    let rows = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().map(|line| line.trim_start_matches("//! ")).filter_map(|line| line.strip_prefix("| "));
        let cells: String = rows.map(|row| row.split(" | ").next().unwrap()).collect();
        cells.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let (bridge, core) = (read("src/lib.rs"), read("crates/core/src/lib.rs"));
    let modules =
        bridge.lines().chain(core.lines()).filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut modules: BTreeSet<String> = modules.map(str::to_owned).collect();
    assert_eq!(rows(&bridge), modules, "src/lib.rs");
    let architecture = read("docs/architecture.md");
    let table = architecture.split_once("| module | owns |").unwrap().1.split_once("\n\n").unwrap().0;
    modules.insert("crates/things".to_owned());
    assert_eq!(rows(table), modules, "docs/architecture.md");
}

/// No document sends somebody to a file of the source that is not there.
#[test]
fn files_that_documents_name_are_there() {
    let map = read("src/lib.rs").lines().filter_map(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join("\n");
    for page in documents().into_iter().filter(|page| !page.ends_with("CHANGELOG.md")).map(read).chain([map]) {
        let text: String = page.split("```").step_by(2).collect();
        for name in text.split('`').skip(1).step_by(2) {
            let top = name.split('/').next().unwrap();
            let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) && name.contains('/');
            if is_path
                && matches!(top, "src" | "crates" | "tests" | "docs" | "etc" | "packaging" | "scripts" | "systemd")
            {
                assert!(project(name).exists(), "there is no {name}");
            }
        }
    }
}

/// A stranger reads the README within minutes.
#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}
