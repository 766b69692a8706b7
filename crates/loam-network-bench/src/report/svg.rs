//! The plots, on one sheet: how long each verb takes, each call a dot, and how ADD grows with the attachments present.
//! Times are on logarithmic axes, since contenders differ by orders of magnitude.

mod axis;
mod growth;
mod latency;

use super::Report;

/// The sheet's width.
const WIDTH: f64 = 960.0;
/// The space at its sides.
const MARGIN: f64 = 20.0;
/// One for each contender, told apart by people who see no difference of red and green (Okabe, Ito).
const COLOURS: [&str; 6] = ["#009e73", "#56b4e9", "#d55e00", "#cc79a7", "#e69f00", "#000000"];

/// Draws the sheet.
pub(super) fn render(report: &Report) -> String {
    let mut sheet = Sheet { body: String::new(), y: MARGIN };
    sheet.line(13.0, "normal", &report.machine);
    sheet.legend(report);
    latency::draw(report, &mut sheet);
    growth::draw(report, &mut sheet);
    let height = sheet.y + MARGIN;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        sheet.body
    )
}

/// What has been drawn, and how far down the sheet it goes.
struct Sheet {
    body: String,
    y: f64,
}

impl Sheet {
    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// A line of text on its own.
    fn line(&mut self, size: f64, weight: &str, text: &str) {
        self.y += size + 4.0;
        let text = escape(text);
        let y = self.y;
        self.push(&format!(
            "<text x=\"{MARGIN}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\">{text}</text>"
        ));
        self.y += 4.0;
    }

    /// Which colour is whose.
    fn legend(&mut self, report: &Report) {
        for name in names(report) {
            self.y += 18.0;
            let (y, colour) = (self.y, colour(report, name));
            self.push(&format!(
                "<rect x=\"{MARGIN}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                y - 11.0,
                MARGIN + 18.0,
                escape(name)
            ));
        }
        self.y += 6.0;
    }
}

/// The contenders, each once.
fn names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in &report.contenders {
        if !names.contains(&row.contender.as_str()) {
            names.push(&row.contender);
        }
    }
    names
}

fn colour(report: &Report, contender: &str) -> &'static str {
    let place = names(report).iter().position(|name| *name == contender).unwrap_or_default();
    COLOURS[place % COLOURS.len()]
}

fn escape(text: &str) -> String {
    let visible: String = text.chars().filter(|char| !char.is_control()).collect();
    visible.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A text that fits into a column of so many characters.
fn fit(text: &str, length: usize) -> String {
    match text.chars().count() <= length {
        true => text.to_owned(),
        false => text.chars().take(length - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_sheet_is_well_formed_and_everything_is_on_it() {
        let svg = sample::report().svg();
        assert_eq!(svg.matches("<svg").count(), 1);
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for word in ["loam", "/usr/lib/cni", "ADD", "DEL", "attachments present"] {
            assert!(svg.contains(word), "no {word}");
        }
    }

    #[test]
    fn a_report_without_figures_is_a_sheet_too() {
        let mut report = sample::report();
        report.latency.clear();
        report.growth.clear();
        assert!(report.svg().ends_with("</svg>\n"));
    }

    #[test]
    fn names_from_outside_are_text_and_nothing_else() {
        assert_eq!(escape("a<b>&\u{7}"), "a&lt;b&gt;&amp;");
        assert_eq!(fit("abcdef", 4), "abc…");
    }
}
