//! What the counts were before, and how much they may differ.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use toml_edit::{DocumentMut, Item, Table, value};

/// How much more instructions something may take, as a part of the baseline.
///
/// The same program gives the same counts within [`SAME`], and so does one in which something else has changed. The rest is for
/// what nobody means: a function has another caller, and is not inlined any more.
const TOLERANCE: f64 = 0.02;

/// Where a thread of its own works beside, its turns depend on time.
const TOLERANCE_OF_THREADS: f64 = 0.04;

/// A difference that is not worth a word.
const SAME: f64 = 0.005;

/// Counts, and with what they were made.
pub struct Baseline {
    /// What counts depend on beside the program: each with its name.
    tools: Vec<(&'static str, String)>,
    /// Instructions a message, by name.
    counts: Vec<(String, f64)>,
}

impl Baseline {
    /// `counts` that were made now.
    pub fn now(counts: Vec<(String, f64)>) -> Baseline {
        Baseline { tools: tools(), counts }
    }

    /// The one in the source.
    ///
    /// # Errors
    /// A sentence, where it can't be read.
    pub fn read() -> Result<Baseline, String> {
        let text = std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
        let document: DocumentMut = text.parse().map_err(|error| format!("{}: {error}", path().display()))?;
        let tool = |(name, _): (&'static str, String)| {
            (name, document.get(name).and_then(Item::as_str).unwrap_or_default().to_owned())
        };
        let counts = document.get("instructions").and_then(Item::as_table).into_iter().flat_map(Table::iter);
        let counts = counts.filter_map(|(name, count)| Some((name.to_owned(), count.as_float()?)));
        Ok(Baseline { tools: tools().into_iter().map(tool).collect(), counts: counts.collect() })
    }

    /// Makes it the one in the source.
    ///
    /// # Errors
    /// A sentence, where it can't be written.
    pub fn write(&self) -> Result<(), String> {
        let mut document = DocumentMut::new();
        for (name, version) in &self.tools {
            document[name] = value(version);
        }
        let mut table = Table::new();
        for (name, count) in &self.counts {
            table[name] = value((count * 10.0).round() / 10.0);
        }
        document["instructions"] = Item::Table(table);
        let text = format!("# Instructions a message or record, by `cargo instructions --renew`.\n\n{document}");
        std::fs::write(path(), text).map_err(|error| format!("{}: {error}", path().display()))?;
        self.counts.iter().for_each(|(name, count)| println!("{count:>12.1}  {name}"));
        println!("{} is renewed.", path().display());
        Ok(())
    }

    /// Prints how `counts` stand to it. Fails where one is over the tolerance, or has another name.
    pub fn compare(&self, counts: &[(String, f64)]) -> ExitCode {
        let tools = tools();
        let others: Vec<String> = std::iter::zip(&tools, &self.tools)
            .filter(|((_, now), (_, then))| now != then)
            .map(|((name, now), (_, then))| format!("{name} is {now}, was {then}"))
            .collect();
        let (mut slower, mut faster) = (0, 0);
        println!("{:>12} {:>12} {:>8}", "baseline", "now", "");
        for (name, now) in counts {
            let Some((_, then)) = self.counts.iter().find(|(other, _)| other == name) else {
                println!("{:>12} {now:>12.1} {:>8}  {name} (new)", "", "");
                slower += 1;
                continue;
            };
            let change = now / then - 1.0;
            let tolerance = if name.starts_with("disk:") { TOLERANCE_OF_THREADS } else { TOLERANCE };
            let verdict = match change {
                change if change > tolerance => "  SLOWER",
                change if change < -tolerance => "  faster",
                _ => "",
            };
            slower += u32::from(change > tolerance);
            faster += u32::from(change < -tolerance);
            let percent = if change.abs() < SAME { String::new() } else { format!("{:+.1} %", change * 100.0) };
            println!("{then:>12.1} {now:>12.1} {percent:>8}  {name}{verdict}");
        }
        for (name, _) in self.counts.iter().filter(|(name, _)| !counts.iter().any(|(now, _)| now == name)) {
            println!("{name} is in the baseline, and is not counted any more.");
            slower += 1;
        }
        const RENEW: &str = "`cargo instructions --renew` makes these counts the baseline";
        if !others.is_empty() {
            println!("\nNot held against the baseline, which was made otherwise: {}. {RENEW}.", others.join("; "));
            return ExitCode::SUCCESS;
        }
        if slower > 0 {
            println!(
                "\nFAILED: {slower} of these take more instructions than before, by over {:.0} % ({:.0} % with the disk), or are \
                 not in the baseline. If that is meant, {RENEW}: say why in the commit.",
                TOLERANCE * 100.0,
                TOLERANCE_OF_THREADS * 100.0
            );
            return ExitCode::FAILURE;
        }
        if faster > 0 {
            println!("\n{faster} of these take less instructions than before; {RENEW}, so that they stay so.");
        }
        ExitCode::SUCCESS
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/baseline.toml")
}

/// What counts depend on beside the program. The C library has `malloc`, and a `memcpy` for each kind of processor, of which
/// callgrind shows every program one of few.
fn tools() -> Vec<(&'static str, String)> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    #[cfg(target_arch = "x86_64")]
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let has_avx2 = false;
    vec![
        ("compiler", first_line("rustc", &["--version"])),
        ("processor", format!("{}{}", std::env::consts::ARCH, if has_avx2 { " with AVX2" } else { "" })),
        ("libc", first_line("getconf", &["GNU_LIBC_VERSION"])),
    ]
}
