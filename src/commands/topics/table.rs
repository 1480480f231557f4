//! What was heard, for people: a table that fits the terminal, and sums.

use std::fmt::Write;
use std::io::{IsTerminal, stdout};

use super::report::{Report, Row, Sum};
use super::{allowed_bytes, bytes_per_second};
use iot_bridge_core::tally::counted;

/// Characters of a line on standard output, if that is a terminal.
pub fn terminal_width() -> Option<usize> {
    let stdout = stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// A column: its heading, whether figures stand in it, and how narrow it may become to fit.
struct Column {
    heading: &'static str,
    is_figure: bool,
    /// Characters that are left of it at least; the column goes before it gets narrower.
    narrowest: Option<usize>,
    cell: fn(&Row) -> String,
}

/// Those that go first are those whose `narrowest` is 0.
const COLUMNS: [Column; 10] = [
    text("topic", Some(12), |row| row.name.clone()),
    text("type", Some(0), |row| row.type_name.clone()),
    figure("pubs", |row| row.publishers.to_string()),
    text("QoS", Some(0), |row| format!("{} {}", row.reliability, row.durability)),
    figure("Hz", |row| figure_of(row.hz)),
    figure("ROS", |row| bytes_per_second(row.bytes_per_second)),
    figure("JSON", |row| row.json_bytes.map_or("-".to_owned(), |bytes| bytes.to_string())),
    text("sent", None, |row| if row.forwarded { "yes" } else { "no" }.to_owned()),
    figure("publishes/s", |row| told(row, figure_of(row.publishes_per_second))),
    figure("$/month", |row| told(row, format!("{:.2}", row.dollars_per_month))),
];

/// `figure`, unless it can't be told.
fn told(row: &Row, figure: String) -> String {
    if row.untold { "?".to_owned() } else { figure }
}

const fn text(heading: &'static str, narrowest: Option<usize>, cell: fn(&Row) -> String) -> Column {
    Column { heading, is_figure: false, narrowest, cell }
}

const fn figure(heading: &'static str, cell: fn(&Row) -> String) -> Column {
    Column { heading, is_figure: true, narrowest: None, cell }
}

/// As many digits as are of use.
fn figure_of(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        _ => format!("{value:.1}"),
    }
}

impl Report {
    /// As text whose table is at most `width` wide, if there is such a bound.
    pub fn text(&self, width: Option<usize>) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        if self.rows.is_empty() {
            return Ok(text);
        }
        write_table(&mut text, &self.rows, width)?;
        for row in &self.rows {
            if let Some(trouble) = &row.trouble {
                writeln!(text, "\n{}: {trouble}.", row.name)?;
            }
        }
        self.write_sums(&mut text)?;
        Ok(text)
    }

    fn write_sums(&self, text: &mut String) -> std::fmt::Result {
        let total = &self.total;
        writeln!(text)?;
        self.write_sum(text, &format!("All {}", counted(total.sum.topics as u64, "topic", "topics")), &total.sum)?;
        if total.forwarded.topics > 0 {
            let words = if total.forwarded.topics == 1 { "is forwarded" } else { "are forwarded" };
            self.write_sum(text, &format!("Of these, {} {words}", total.forwarded.topics), &total.forwarded)?;
        }
        let connection = total.connection_dollars_per_month;
        writeln!(
            text,
            "A month has 30 days; ${connection:.4} of each sum is the connection. Prices of {}: {}. Listened for {:.0} s.",
            total.prices_date, total.prices_source, total.seconds
        )
    }

    /// A sum beside the quotas.
    fn write_sum(&self, text: &mut String, what: &str, sum: &Sum) -> std::fmt::Result {
        let total = &self.total;
        let publishes = total.allowed_publishes_per_second.map_or(String::new(), |allowed| format!(" of {allowed}"));
        let bytes = total.allowed_published_bytes_per_second;
        let is_over =
            total.allowed_publishes_per_second.is_some_and(|allowed| sum.publishes_per_second > allowed.into())
                || bytes.is_some_and(|allowed| sum.published_bytes_per_second > allowed as f64);
        let bytes = bytes.map_or(String::new(), |allowed| format!(" of {}", allowed_bytes(allowed)));
        let untold = match sum.untold {
            0 => String::new(),
            count => format!(", without {} whose cost can't be told", counted(count as u64, "topic", "topics")),
        };
        writeln!(
            text,
            "{what}: {}{publishes} publishes/s, {}{bytes}, {:.2} million steps of 5 KB and ${:.2} a month{untold}.{}",
            figure_of(sum.publishes_per_second),
            bytes_per_second(sum.published_bytes_per_second),
            sum.metered_per_month / 1e6,
            sum.dollars_per_month,
            if is_over { " More than may leave: the queue would grow." } else { "" }
        )
    }
}

/// A line for each topic.
fn write_table(text: &mut String, rows: &[Row], width: Option<usize>) -> std::fmt::Result {
    let mut cells: Vec<Vec<String>> = vec![COLUMNS.iter().map(|column| column.heading.to_owned()).collect()];
    cells.extend(rows.iter().map(|row| COLUMNS.iter().map(|column| (column.cell)(row)).collect()));
    let natural: Vec<usize> =
        (0..COLUMNS.len()).map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let widths = fit(&natural, width);
    for row in &cells {
        let mut line = String::new();
        for ((cell, column), &width) in row.iter().zip(&COLUMNS).zip(&widths).filter(|(_, width)| **width > 0) {
            let cell = shortened(cell, width);
            match column.is_figure {
                true => write!(line, "{cell:>width$}  ")?,
                false => write!(line, "{cell:width$}  ")?,
            }
        }
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Columns of the widths `natural` in a line of at most `width` characters: the texts become narrower, the least important
/// first, or go. 0 is a column that has gone.
fn fit(natural: &[usize], width: Option<usize>) -> Vec<usize> {
    const READABLE: usize = 8;
    let mut widths = natural.to_vec();
    let Some(most) = width else { return widths };
    let line = |widths: &[usize]| widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>();
    for at in [3, 1, 0] {
        let over = line(&widths).saturating_sub(2).saturating_sub(most);
        let Some(narrowest) = COLUMNS[at].narrowest.filter(|_| over > 0) else { continue };
        let left = widths[at].saturating_sub(over);
        widths[at] = match narrowest {
            0 if left < READABLE => 0,
            least => left.max(least).min(widths[at]),
        };
    }
    widths
}

/// `text` in at most `width` characters: of names the ends say the most.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    std::iter::once('…').chain(text.chars().skip(length - kept)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, dollars: f64) -> Row {
        Row {
            name: name.to_owned(),
            type_name: "sensor_msgs/msg/Imu".to_owned(),
            publishers: 1,
            reliability: "reliable",
            durability: "volatile",
            hz: 100.0,
            bytes_per_second: 32_400.0,
            json_bytes: Some(603),
            forwarded: true,
            publishes_per_second: 100.0,
            metered_per_month: 259.2e6,
            dollars_per_month: dollars,
            untold: false,
            trouble: None,
        }
    }

    fn table(width: Option<usize>) -> String {
        let mut text = String::new();
        let rows = [row("/robot1/sensors/front/imu/data_raw", 259.2), row("/odom", 0.0)];
        write_table(&mut text, &rows, width).unwrap();
        text
    }

    /// Piped, everything is there, in columns.
    #[test]
    fn a_table_for_programs_has_all() {
        let wanted = "\
topic                               type                 pubs  QoS                   Hz          ROS  JSON  sent  publishes/s  $/month
/robot1/sensors/front/imu/data_raw  sensor_msgs/msg/Imu     1  reliable volatile  100.0  31.64 KiB/s   603  yes         100.0   259.20
/odom                               sensor_msgs/msg/Imu     1  reliable volatile  100.0  31.64 KiB/s   603  yes         100.0     0.00
";
        assert_eq!(table(None), wanted);
    }

    /// Whatever the terminal's width, lines fit, and price and the end of the name are there.
    #[test]
    fn a_table_fits_the_terminal() {
        for width in [75, 80, 100, 120, 200] {
            let table = table(Some(width));
            let longest = table.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "{longest} of {width}:\n{table}");
            assert!(table.contains("259.20") && table.contains("data_raw"), "{table}");
            assert_eq!(table.contains("reliable volatile"), width >= 130, "{table}");
        }
    }

    #[test]
    fn names_are_cut_at_the_front() {
        assert_eq!([shortened("/odom", 5), shortened("/robot1/odom", 6)], ["/odom", "…/odom"]);
    }
}
