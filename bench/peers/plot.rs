//! The plot: one panel a measure, one bar a server, as SVG written by hand.
//!
//! Bars with labels are rectangles and text; a plotting library would bring a dozen packages for
//! them. Each panel has its own scale from zero and says its unit; each bar has its median written
//! beside it and its smallest and largest repetition as a whisker.

use std::fmt::Write as _;

/// Pixels.
const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
const NAME_WIDTH: f64 = 190.0;
const VALUE_WIDTH: f64 = 92.0;
const TITLE_HEIGHT: f64 = 34.0;
const NOTE_HEIGHT: f64 = 17.0;
const PANEL_TITLE_HEIGHT: f64 = 34.0;
const BAR_PITCH: f64 = 20.0;
const BAR_HEIGHT: f64 = 14.0;

/// One server in one panel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) server: String,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Drawn in the strong colour: ours.
    pub(crate) ours: bool,
}

/// One measure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    /// What is measured, and its unit.
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
}

/// The whole plot: what it shows, a line for each note on the conditions, and the panels below each
/// other.
pub(crate) fn svg(title: &str, notes: &[&str], panels: &[Panel]) -> String {
    let heights = panels.iter().map(height);
    let head = notes.iter().fold(TITLE_HEIGHT, |head, _| head + NOTE_HEIGHT);
    let total = head + heights.sum::<f64>() + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{total}\" \
         viewBox=\"0 0 {WIDTH} {total}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut out, MARGIN, 26.0, "font-size=\"17\" font-weight=\"bold\"", title);
    let mut y = TITLE_HEIGHT + 10.0;
    for note in notes {
        text(&mut out, MARGIN, y, "fill=\"#555555\" font-size=\"12\"", note);
        y += NOTE_HEIGHT;
    }
    let mut top = head;
    for panel in panels {
        draw(&mut out, panel, top);
        top += height(panel);
    }
    out.push_str("</svg>\n");
    out
}

fn height(panel: &Panel) -> f64 {
    PANEL_TITLE_HEIGHT + panel.bars.iter().map(|_| BAR_PITCH).sum::<f64>()
}

fn draw(out: &mut String, panel: &Panel, top: f64) {
    text(out, MARGIN, top + 22.0, "font-weight=\"bold\"", &panel.title);
    let left = MARGIN + NAME_WIDTH;
    let room = WIDTH - left - VALUE_WIDTH - MARGIN;
    let largest = panel.bars.iter().map(|bar| bar.max.max(bar.median)).fold(0.0, f64::max);
    let scale = if largest > 0.0 { room / largest } else { 0.0 };
    let mut y = top + PANEL_TITLE_HEIGHT;
    for bar in &panel.bars {
        let middle = y + BAR_HEIGHT / 2.0;
        let baseline = middle + 4.5;
        let length = (bar.median * scale).max(0.0);
        let colour = if bar.ours { "#2f9e6e" } else { "#9db4c0" };
        text(out, left - 8.0, baseline, "text-anchor=\"end\"", &bar.server);
        line(
            out,
            &format!(
                "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>"
            ),
        );
        let (from, to) = (left + bar.min.max(0.0) * scale, left + bar.max.max(0.0) * scale);
        line(
            out,
            &format!(
                "<path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"#222222\" stroke-width=\"1.5\"/>"
            ),
        );
        text(out, left + length.max(bar.max * scale) + 6.0, baseline, "", &figure(bar.median));
        y += BAR_PITCH;
    }
}

/// Three digits that matter, without an exponent.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => thousands(value),
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn text(out: &mut String, x: f64, y: f64, attributes: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    line(out, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>"));
}

fn line(out: &mut String, element: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(server: &str, median: f64, ours: bool) -> Bar {
        Bar { server: server.to_owned(), median, min: median * 0.9, max: median * 1.2, ours }
    }

    #[test]
    fn figures_have_three_digits() {
        let said = [0.0, 0.523, 9.994, 9.996, 56.25, 99.96, 460.4, 999.9, 33_139.0, 1e6, -1_234.0];
        let expected = [
            "0.00",
            "0.52",
            "9.99",
            "10.0",
            "56.2",
            "100",
            "460",
            "1000",
            "33,139",
            "1,000,000",
            "-1,234",
        ];
        assert_eq!(said.map(figure), expected.map(str::to_owned));
    }

    #[test]
    fn every_server_of_every_panel_is_drawn_in_proportion() {
        let panels = [
            Panel {
                title: "CPU <µs>".into(),
                bars: vec![bar("tidegate", 2.0, true), bar("R&D", 4.0, false)],
            },
            Panel { title: "nothing measured".into(), bars: vec![bar("tidegate", 0.0, true)] },
        ];
        let drawn = svg("tidegate and its peers", &["8,000 connections"], &panels);
        assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("CPU &lt;µs&gt;") && drawn.contains("R&amp;D"), "text is escaped");
        let widths: Vec<f64> = drawn
            .lines()
            .filter(|line| line.contains("fill=\"#2f9e6e\"") || line.contains("fill=\"#9db4c0\""))
            .map(|line| {
                line.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(widths.len(), 3);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01 && widths[2] == 0.0, "{widths:?}");
        assert!(widths[1] + NAME_WIDTH + VALUE_WIDTH < WIDTH);
    }
}
