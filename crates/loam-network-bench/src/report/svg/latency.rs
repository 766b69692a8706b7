//! How long each verb takes: a dot for each call, a line from the least to the greatest, and the median as a bar.

use super::axis::{Axis, label};
use super::{MARGIN, Sheet, WIDTH, colour, escape, fit};
use crate::report::table::number;
use crate::report::{LatencyRow, Report};

/// Where the dots begin.
const LEFT: f64 = 250.0;
/// Where they end; the medians stand beside it.
const RIGHT: f64 = WIDTH - 110.0;
/// The height of a row.
const ROW: f64 = 20.0;

pub(super) fn draw(report: &Report, sheet: &mut Sheet) {
    let values = report.latency.iter().flat_map(|row| row.samples.values()).copied();
    let Some(axis) = Axis::over(values, LEFT, RIGHT) else { return };
    sheet.line(15.0, "bold", "Latency in milliseconds");
    let mut list = "";
    for (place, row) in report.latency.iter().enumerate() {
        if row.list != list {
            list = &row.list;
            sheet.line(13.0, "bold", list);
            ruler(&axis, sheet, rows_of(report, list));
        }
        let first = place == 0
            || report.latency[place - 1].verb != row.verb
            || report.latency[place - 1].list != row.list;
        draw_row(report, row, first, &axis, sheet);
    }
    sheet.y += 8.0;
}

/// How far down the rows of a list go.
fn rows_of(report: &Report, list: &str) -> f64 {
    report.latency.iter().filter(|row| row.list == list).map(|_| ROW).sum()
}

/// The axis, with a line down the list's rows at each tick.
fn ruler(axis: &Axis, sheet: &mut Sheet, height: f64) {
    sheet.y += 12.0;
    let top = sheet.y + 4.0;
    for tick in axis.ticks(40.0) {
        let x = axis.place(tick);
        sheet.push(&format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10\" fill=\"#555\">{}</text>\
             <line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
            sheet.y,
            label(tick),
            top + height
        ));
    }
    let y = sheet.y;
    sheet.push(&format!(
        "<text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"10\" fill=\"#555\">median</text>",
        RIGHT + 10.0
    ));
    sheet.y = top;
}

fn draw_row(report: &Report, row: &LatencyRow, first: bool, axis: &Axis, sheet: &mut Sheet) {
    let middle = sheet.y + ROW / 2.0;
    let colour = colour(report, &row.contender);
    if first {
        let verb = escape(&row.verb.replace(", namespace", ","));
        sheet.push(&format!(
            "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#eee\"/>\
             <text x=\"{MARGIN}\" y=\"{:.1}\">{verb}</text>",
            WIDTH - MARGIN,
            sheet.y,
            sheet.y,
            middle + 4.0
        ));
    }
    sheet.push(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LEFT - 10.0,
        middle + 4.0,
        escape(&fit(&row.contender, 20))
    ));
    match row.wall {
        Some(wall) => {
            let (low, high, median) = (axis.place(wall.min), axis.place(wall.max), axis.place(wall.median));
            sheet.push(&format!(
                "<line x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"{colour}\"/>"
            ));
            for value in row.samples.values() {
                sheet.push(&format!(
                    "<circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"2.5\" fill=\"{colour}\" fill-opacity=\"0.35\"/>",
                    axis.place(*value)
                ));
            }
            sheet.push(&format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"{:.1}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                median - 1.5,
                middle - 7.0,
                14.0,
                RIGHT + 10.0,
                middle + 4.0,
                number(wall.median)
            ));
        }
        None => sheet.push(&format!(
            "<text x=\"{LEFT:.1}\" y=\"{:.1}\" fill=\"#888\">no figures</text>",
            middle + 4.0
        )),
    }
    sheet.y += ROW;
}
