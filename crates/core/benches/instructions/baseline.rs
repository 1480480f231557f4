//! What the counts were before, and how much they may differ.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use toml_edit::{DocumentMut, Item, Table, value};

/// How much more instructions something may take, as a part of the baseline.
///
/// The same program gives the same counts within [`SAME`], and so does one in which something else has changed. The rest is for
/// what nobody means: a function has another caller, and is not inlined any more.
const TOLERANCE: f64 = 0.02;

/// Where a thread of its own works beside, its turns depend on time: of ten runs of one program the highest was 7.5 % over the lowest.
const TOLERANCE_OF_THREADS: f64 = 0.1;

/// With other tools than the baseline's everything may differ by so much, and yet be the same program: another memcpy alone has
/// changed counts by 17 %.
const TOLERANCE_OF_TOOLS: f64 = 0.25;

/// A difference that is not worth a word.
const SAME: f64 = 0.005;

/// Counts, and with what they were made.
pub struct Baseline {
    /// What counts depend on beside the program: each with its name.
    pub tools: Vec<(&'static str, String)>,
    /// Instructions a message, by name.
    pub counts: Vec<(String, f64)>,
}

impl Baseline {
    /// `counts` that were made now.
    pub fn now(mut counts: Vec<(String, f64)>) -> Baseline {
        counts.iter_mut().for_each(|(_, count)| *count = (*count * 10.0).round() / 10.0);
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

    /// Makes it the one in the source and in the page.
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
            table[name] = value(*count);
        }
        document["instructions"] = Item::Table(table);
        let text = format!("# Instructions a message or record, by `cargo instructions --renew`.\n\n{document}");
        std::fs::write(path(), text).map_err(|error| format!("{}: {error}", path().display()))?;
        self.counts.iter().for_each(|(name, count)| println!("{count:>12.1}  {name}"));
        crate::page::write(&self.counts)?;
        println!("{} and docs/performance.md are renewed.", path().display());
        Ok(())
    }

    /// Prints how `counts` stand to it. Returns whether none is over the tolerance, and each is in both.
    pub fn compare(&self, counts: &[(String, f64)]) -> bool {
        let (text, is_good) = self.judge(&tools(), counts);
        print!("{text}");
        is_good
    }

    /// How `counts` that were made with `tools` stand to it, in words, and whether that is good.
    pub fn judge(&self, tools: &[(&'static str, String)], counts: &[(String, f64)]) -> (String, bool) {
        let others: Vec<String> = std::iter::zip(tools, &self.tools)
            .filter(|((_, now), (_, then))| now != then)
            .map(|((name, now), (_, then))| format!("{name} is {now:?}, was {then:?}"))
            .collect();
        let tolerance = |name: &str| match name {
            _ if !others.is_empty() => TOLERANCE_OF_TOOLS,
            name if name.starts_with("disk:") => TOLERANCE_OF_THREADS,
            _ => TOLERANCE,
        };
        let (mut text, mut slower, mut faster) = (format!("{:>12} {:>12} {:>8}\n", "baseline", "now", ""), 0, 0);
        for (name, now) in counts {
            let Some((_, then)) = self.counts.iter().find(|(other, _)| other == name) else {
                let _ = writeln!(text, "{:>12} {now:>12.1} {:>8}  {name} (new)", "", "");
                slower += 1;
                continue;
            };
            let change = now / then - 1.0;
            let verdict = match change {
                change if change > tolerance(name) => "  SLOWER",
                change if change < -tolerance(name) => "  faster",
                _ => "",
            };
            slower += u32::from(change > tolerance(name));
            faster += u32::from(change < -tolerance(name));
            let percent = if change.abs() < SAME { String::new() } else { format!("{:+.1} %", change * 100.0) };
            let _ = writeln!(text, "{then:>12.1} {now:>12.1} {percent:>8}  {name}{verdict}");
        }
        for (name, _) in self.counts.iter().filter(|(name, _)| !counts.iter().any(|(now, _)| now == name)) {
            let _ = writeln!(text, "{name} is in the baseline, and is not counted any more.");
            slower += 1;
        }
        const RENEW: &str = "`cargo instructions --renew` makes these counts the baseline";
        let percent = |part: f64| format!("{:.0} %", part * 100.0);
        let by = percent(if others.is_empty() { TOLERANCE } else { TOLERANCE_OF_TOOLS });
        if slower > 0 {
            let with_the_disk = percent(tolerance("disk:"));
            let _ = writeln!(
                text,
                "\nFAILED: {slower} of these take more instructions than before, by over {by} ({with_the_disk} with the disk), or \
                 are not in both. If that is meant, {RENEW}: say why in the commit."
            );
        } else if faster > 0 {
            let _ = writeln!(
                text,
                "\n{faster} of these take less instructions than before; {RENEW}, so that they stay so."
            );
        }
        if !others.is_empty() {
            // scripts/test looks for its beginning.
            let tolerated = percent(TOLERANCE);
            let _ = writeln!(
                text,
                "\n{LOOSELY} {by}, not {tolerated}, for the baseline was made otherwise: {}. {RENEW}.",
                others.join("; ")
            );
        }
        (text, slower == 0)
    }
}

/// How a line begins that tells of other tools.
pub const LOOSELY: &str = "Instructions were judged by";

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
        ("valgrind", first_line("valgrind", &["--version"])),
        (
            "flags",
            ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].map(|name| std::env::var(name).unwrap_or_default()).join(""),
        ),
    ]
}
