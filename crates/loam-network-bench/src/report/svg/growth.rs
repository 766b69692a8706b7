//! How ADD grows with the attachments present: a line for each contender, a panel for each list.

use super::axis::{Axis, label};
use super::{MARGIN, Sheet, WIDTH, colour};
use crate::report::{GrowthRow, Report};

/// Where a panel begins.
const LEFT: f64 = MARGIN + 60.0;
/// Where it ends.
const RIGHT: f64 = WIDTH - MARGIN - 20.0;
/// Its height.
const HEIGHT: f64 = 220.0;

pub(super) fn draw(report: &Report, sheet: &mut Sheet) {
    if report.growth.iter().all(|row| row.points.is_empty()) {
        return;
    }
    sheet.line(15.0, "bold", "Milliseconds of ADD by attachments present");
    let mut lists: Vec<&str> = report.growth.iter().map(|row| row.list.as_str()).collect();
    lists.dedup();
    for list in lists {
        let rows: Vec<&GrowthRow> = report.growth.iter().filter(|row| row.list == list).collect();
        panel(report, list, &rows, sheet);
    }
}

fn panel(report: &Report, list: &str, rows: &[&GrowthRow], sheet: &mut Sheet) {
    let points = || rows.iter().flat_map(|row| &row.points);
    let (top, bottom) = (sheet.y + 30.0, sheet.y + 30.0 + HEIGHT);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand attachments at most")]
    let present = |present: usize| present as f64;
    let across = Axis::over(points().map(|point| present(point.present)), LEFT, RIGHT);
    let up = Axis::over(points().map(|point| point.add), bottom, top);
    let (Some(across), Some(up)) = (across, up) else { return };
    sheet.line(13.0, "bold", list);
    frame(&across, &up, top, bottom, sheet);
    for row in rows {
        let colour = colour(report, &row.contender);
        let places: Vec<(f64, f64)> = row
            .points
            .iter()
            .map(|point| (across.place(present(point.present)), up.place(point.add)))
            .collect();
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        sheet.push(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        ));
        for (x, y) in places {
            sheet.push(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
        }
    }
    sheet.y = bottom + 44.0;
}

/// The axes, with lines at their ticks.
fn frame(across: &Axis, up: &Axis, top: f64, bottom: f64, sheet: &mut Sheet) {
    for tick in across.ticks(36.0) {
        let x = across.place(tick);
        sheet.push(&format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"#eee\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"#555\">{}</text>",
            bottom + 14.0,
            label(tick)
        ));
    }
    for tick in up.ticks(14.0) {
        let y = up.place(tick);
        sheet.push(&format!(
            "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#eee\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-size=\"10\" fill=\"#555\">{} ms</text>",
            LEFT - 6.0,
            y + 3.5,
            label(tick)
        ));
    }
    sheet.push(&format!(
        "<path d=\"M{LEFT},{top:.1} V{bottom:.1} H{RIGHT}\" fill=\"none\" stroke=\"#555\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#555\">attachments present</text>",
        f64::midpoint(LEFT, RIGHT),
        bottom + 30.0
    ));
}
