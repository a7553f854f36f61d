//! A report: Markdown for people, JSON with the raw histograms, plots as SVG.

use std::fmt::Write;
use std::path::Path;

use hdrhistogram::Histogram;
use plotters::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::super::Failure;
use super::machine::Machine;

/// What a bench found.
#[derive(Serialize)]
pub(super) struct Report {
    /// Also the name of its files.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// How to make it anew.
    pub(super) command: String,
    pub(super) machine: Machine,
    /// What the tables and plots show, and what not.
    pub(super) notes: Vec<String>,
    #[serde(skip)]
    pub(super) tables: Vec<Table>,
    #[serde(skip)]
    pub(super) plots: Vec<Plot>,
    /// All that was measured.
    pub(super) measured: Value,
}

pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) struct Plot {
    /// Behind the report's name in its file's.
    pub(super) name: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    pub(super) scale: Scale,
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Which axes are logarithmic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    LogY,
    LogBoth,
}

impl Report {
    /// As Markdown.
    fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = format!("# {}\n\n```sh\n{}\n```\n\n", self.title, self.command);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{} × {}, {} GiB, Linux {}, {}; sanderling {} ({}), profile `{}`. All that was measured, with raw histograms, \
             is in [{name}.json]({name}.json).\n",
            machine.processors,
            machine.processor,
            machine.memory_gib,
            machine.kernel,
            machine.date,
            machine.version,
            machine.revision,
            machine.profile,
            name = self.name,
        );
        for table in &self.tables {
            if !table.title.is_empty() {
                let _ = writeln!(text, "**{}**\n", table.title);
            }
            let _ = writeln!(text, "| {} |", table.head.join(" | "));
            let _ = writeln!(text, "|{}", "---|".repeat(table.head.len()));
            for row in &table.rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            text.push('\n');
        }
        for plot in &self.plots {
            let _ = writeln!(text, "![{} by {}]({})\n", plot.y, plot.x, plot.file(self.name));
        }
        for note in &self.notes {
            let _ = writeln!(text, "* {note}");
        }
        text
    }

    /// Prints the tables, and writes `NAME.md`, `NAME.json` and the plots into the folder, if there is one.
    pub(super) fn finish(&self, folder: Option<&Path>) -> Result<(), Failure> {
        let text = self.markdown();
        let Some(folder) = folder else {
            print!("{text}");
            return Ok(());
        };
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("{}.md", self.name)), &text)?;
        let json = serde_json::to_string(self)? + "\n";
        std::fs::write(folder.join(format!("{}.json", self.name)), json)?;
        for plot in &self.plots {
            let path = folder.join(plot.file(self.name));
            plot.draw(&path)
                .map_err(|error| format!("cannot draw: {error} file={}", path.display()))?;
        }
        println!("{}", folder.join(format!("{}.md", self.name)).display());
        Ok(())
    }
}

impl Plot {
    fn file(&self, report: &str) -> String {
        format!("{report}-{}.svg", self.name)
    }

    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let bounds = |of: fn(&(f64, f64)) -> f64| {
            let of = points().map(of).filter(|value| value.is_finite());
            of.fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
        if x.0 > x.1 {
            return Err("no points".into());
        }
        let root = SVGBackend::new(path, (760, 340)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root);
        chart.margin(12).x_label_area_size(36).y_label_area_size(64);
        let y = (y.0.max(1e-3) * 0.8, y.1 * 1.25);
        macro_rules! draw {
            ($x:expr) => {{
                let mut chart = chart.build_cartesian_2d($x, (y.0..y.1).log_scale())?;
                let label = |value: &f64| format!("{value}");
                chart
                    .configure_mesh()
                    .light_line_style(TRANSPARENT)
                    .x_desc(self.x)
                    .y_desc(self.y)
                    .x_label_formatter(&label)
                    .y_label_formatter(&label)
                    .draw()?;
                for (at, (name, points)) in self.lines.iter().enumerate() {
                    let colour = Palette99::pick(at).to_rgba();
                    let points = points.iter().copied().filter(|(_, y)| y.is_finite());
                    chart
                        .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                        .label(name)
                        .legend(move |(x, y)| {
                            PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                        });
                }
                chart
                    .configure_series_labels()
                    .background_style(WHITE.mix(0.8))
                    .position(SeriesLabelPosition::UpperLeft)
                    .draw()?;
            }};
        }
        match self.scale {
            Scale::LogY => draw!(x.0..x.1),
            Scale::LogBoth => draw!((x.0..x.1).log_scale()),
        }
        root.present()?;
        Ok(())
    }
}

/// What a histogram of µs has recorded: pairs of a value and how often it came.
pub(super) fn raw(histogram: &Histogram<u64>) -> Value {
    let pairs = histogram
        .iter_recorded()
        .map(|at| Value::from(vec![at.value_iterated_to(), at.count_since_last_iteration()]));
    Value::Array(pairs.collect())
}

/// A quantile of a histogram of µs, in ms; NaN when it is empty.
pub(super) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    if histogram.is_empty() {
        return f64::NAN;
    }
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// Three digits of a number of ms.
pub(super) fn short(ms: f64) -> String {
    match ms {
        ms if ms.is_nan() => "–".to_owned(),
        ms if ms < 9.95 => format!("{ms:.1}"),
        ms if ms < 1_000.0 => format!("{ms:.0}"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// The same with its unit.
pub(super) fn with_unit(ms: f64) -> String {
    let text = short(ms);
    if text.ends_with('s') {
        text
    } else {
        format!("{text} ms")
    }
}

/// With a comma for each thousand.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(thousands(20_000_000.0), "20,000,000");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(
            (short(7.04), short(31.2), short(1_234.0)),
            ("7.0".into(), "31".into(), "1.2 s".into())
        );
        assert_eq!(short(f64::NAN), "–");
        assert_eq!(
            (with_unit(31.2), with_unit(1_234.0)),
            ("31 ms".to_owned(), "1.2 s".to_owned())
        );
    }
}
