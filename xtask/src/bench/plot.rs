//! One SVG with a group of bars a scenario; each bar is an engine's share of the slowest in its group.

use super::measure::Row;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 130.0;
const BAR: f64 = 16.0;

/// Draws the rows that have figures.
pub(crate) fn svg(rows: &[Row]) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    let mut scenario = "";
    let mut largest = 1.0;
    for row in rows.iter().filter(|row| row.wall.median().is_some()) {
        if row.scenario != scenario {
            scenario = &row.scenario;
            let of_group = rows.iter().filter(|other| other.scenario == row.scenario);
            largest = of_group.filter_map(|other| other.wall.median()).fold(f64::MIN_POSITIVE, f64::max);
            y += 30.0;
            body.push_str(&format!(
                "<text x=\"0\" y=\"{y:.0}\" font-weight=\"bold\">{}</text>\n",
                escape(scenario)
            ));
            y += 8.0;
        }
        let wall = row.wall.median().unwrap_or_default();
        let cpu = row.cpu.median().unwrap_or_default().min(largest);
        let scale = (WIDTH - LABEL - 120.0) / largest;
        let length = (wall * scale).max(1.0);
        let end = length.max(cpu * scale);
        let colour = if row.engine == "loam" { "#2f7d4f" } else { "#9aa5b1" };
        let unit = if scenario.contains("KiB") { "KiB" } else { "ms" };
        body.push_str(&format!(
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <rect x=\"{LABEL}\" y=\"{:.1}\" width=\"{:.1}\" height=\"3\" fill=\"#20303f\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{wall:.1} {unit}</text>\n",
            LABEL - 6.0,
            y + 12.5,
            escape(&row.engine),
            length,
            y + BAR - 3.0,
            cpu * scale,
            LABEL + end + 6.0,
            y + 12.5,
        ));
        y += BAR + 4.0;
    }
    let height = y + 40.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<g transform=\"translate(10,0)\">\n\
         <text x=\"0\" y=\"18\">bar: median wall time; dark line: CPU time</text>\n{body}</g>\n</svg>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
