//! Writes the licences of everything that is linked into a program, for its package's users.
//!
//!     cargo run --example notices -- PROGRAM FILE
//!
//! What is linked is what cargo says that it links; the texts are those that the crates come with. Of licences to choose
//! from, the first that `deny.toml` allows is taken; what a crate has taken over from others brings its own. A crate
//! without a text for its licence ends this with an error, except for MIT, whose text is the same for all but for the
//! authors.

#[path = "linked.rs"]
#[allow(dead_code, reason = "not every example asks for all")]
mod linked;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, bail};
use linked::Package;
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

const DENY: &str = include_str!("../deny.toml");
const APACHE: &str = include_str!("../LICENSE");

/// What tells a licence's text from that of another.
const MARKS: [(&str, &str); 5] = [
    ("MIT", "Permission is hereby granted, free of charge, to any person obtaining"),
    ("ISC", "Permission to use, copy, modify, and/or distribute this software"),
    ("BSD-3-Clause", "Redistribution and use in source and binary forms"),
    ("BSD-2-Clause", "Redistribution and use in source and binary forms"),
    ("Unicode-3.0", "UNICODE LICENSE V3"),
];

const APACHE_MARK: &str = "Apache License Version 2.0";

/// The MIT licence after its line of copyright, for crates that name it and come without it.
const MIT: &str = "\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
";

/// The texts, each with the crates that it is of.
type Texts = BTreeMap<String, BTreeSet<String>>;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(program), Some(file)) = (arguments.next(), arguments.next()) else {
        bail!("usage: notices PROGRAM FILE")
    };
    let allowed = allowed()?;
    let (mut packages, _) = linked::linked(&program)?;
    packages.retain(|package| !package.is_own());

    let mut texts = Texts::new();
    let mut page = format!(
        "The program {program} links these Rust crates. Each is used under the licence that stands behind it; the\n\
         licences follow. The Rust standard library, which is linked too, has its notices in rust-library.html.gz.\n\n",
    );
    for package in &packages {
        let licences = licences(package, &allowed)?;
        let names: Vec<_> = licences.iter().map(|licence| licence.to_string()).collect();
        writeln!(page, "{package}: {}", names.join(" and "))?;
        if let Some(repository) = &package.repository {
            writeln!(page, "    {repository}")?;
        }
        collect(package, &names, &mut texts)?;
    }
    for (text, crates) in texts {
        let crates: Vec<_> = crates.into_iter().collect();
        write!(page, "\n{}\n{}\n\n{}\n", "-".repeat(80), crates.join(", "), text)?;
    }
    fs::write(&file, page).with_context(|| format!("cannot write {}", Path::new(&file).display()))
}

/// The licences that `package` is used under.
fn licences(package: &Package, allowed: &[Licensee]) -> anyhow::Result<Vec<LicenseReq>> {
    let expression = package.license.as_deref().with_context(|| format!("{package} names no licence"))?;
    let parsed =
        Expression::parse_mode(expression, ParseMode::LAX).with_context(|| format!("the licence of {package}"))?;
    parsed.minimized_requirements(allowed).with_context(|| format!("{package}: {expression} is not allowed"))
}

/// Adds the texts of the `licences` of `package` and its notices to `texts`.
fn collect(package: &Package, licences: &[String], texts: &mut Texts) -> anyhow::Result<()> {
    let directory = Path::new(&package.manifest_path).parent().context("a manifest has a directory")?;
    let (mut legal, mut taken_over) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            legal_files_below(&path, &mut taken_over)?;
        } else {
            legal.extend(legal_file(&path)?);
        }
    }
    legal.sort();
    let mut add = |text: String| {
        texts.entry(text).or_default().insert(package.to_string());
    };
    let notices = legal.iter().filter(|(name, _)| name.contains("NOTICE"));
    for (_, text) in notices.chain(taken_over.iter().filter(|(_, text)| !one_line(text).contains(APACHE_MARK))) {
        add(text.clone());
    }
    for licence in licences {
        if licence == "Apache-2.0" {
            add(normal(APACHE));
            continue;
        }
        let mark = MARKS.iter().find(|(name, _)| name == licence).map(|(_, mark)| *mark);
        let mark = mark.with_context(|| format!("nothing tells the text of {licence}"))?;
        let found: Vec<_> = legal.iter().filter(|(_, text)| one_line(text).contains(mark)).collect();
        match (found.is_empty(), licence.as_str()) {
            (false, _) => found.into_iter().for_each(|(_, text)| add(text.clone())),
            (true, "MIT") => add(format!("Copyright (c) {}\n\n{MIT}", package.authors.join(", "))),
            (true, _) => bail!("{package} comes without the text of {licence}"),
        }
    }
    Ok(())
}

/// Adds the legal files in `directory`, at any depth.
fn legal_files_below(directory: &Path, files: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            legal_files_below(&path, files)?;
        } else {
            files.extend(legal_file(&path)?);
        }
    }
    Ok(())
}

/// Name in capital letters and content of the file at `path`, if it is about licence or copyright.
fn legal_file(path: &Path) -> anyhow::Result<Option<(String, String)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    let words = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
    if !words.iter().any(|word| name.starts_with(word)) {
        return Ok(None);
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some((name, normal(&text))))
}

/// What `deny.toml` allows, in its order.
fn allowed() -> anyhow::Result<Vec<Licensee>> {
    let deny: toml_edit::DocumentMut = DENY.parse()?;
    let allowed = deny["licenses"]["allow"].as_array().context("deny.toml names no licences")?;
    allowed.iter().map(|name| Ok(Licensee::parse(name.as_str().unwrap_or_default())?)).collect()
}

/// Without blanks at the ends of lines and empty lines around, so that equal texts are one.
fn normal(text: &str) -> String {
    let lines: Vec<_> = text.trim_matches(['\n', '\r', '\u{feff}']).lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
