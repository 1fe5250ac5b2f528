//! The SVG document: elements that always close, text that is always escaped, numbers that are always finite.

use std::fmt::Write as _;

use super::style::STYLE;

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A length or coordinate, in pixels of the document.
    Number(f64),
    /// Anything else; it is escaped.
    Text(&'a str),
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// A document under way.
#[derive(Debug)]
pub struct Svg {
    text: String,
}

impl Svg {
    /// An empty page of `width` times `height` pixels with its background. `title` and `description` are for those who
    /// cannot see it.
    #[must_use]
    pub fn new(width: f64, height: f64, title: &str, description: &str) -> Self {
        let (w, h) = (coordinate(width), coordinate(height));
        let mut svg = Self { text: String::new() };
        let _ = writeln!(
            svg.text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"musicrl\" role=\"img\" width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {w} {h}\">\n<title>{}</title>\n<desc>{}</desc>\n<style>{STYLE}</style>",
            escape(title),
            escape(description),
        );
        svg.element("rect", &[("class", "paper".into()), ("width", width.into()), ("height", height.into())]);
        svg
    }

    /// An element without content.
    pub fn element(&mut self, name: &'static str, attributes: &[(&'static str, Value<'_>)]) {
        self.tag(name, attributes);
        self.text.push_str("/>\n");
    }

    /// A group of what `draw` draws.
    pub fn group(&mut self, attributes: &[(&'static str, Value<'_>)], draw: impl FnOnce(&mut Self)) {
        self.tag("g", attributes);
        self.text.push_str(">\n");
        draw(self);
        self.text.push_str("</g>\n");
    }

    /// Text at a point of its baseline. `class` says its size, colour and which end is at the point.
    pub fn text(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        self.text_with(&[("class", class.into()), ("x", x.into()), ("y", y.into())], text);
    }

    /// Text that reads upwards, centred at a point.
    pub fn text_upwards(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let turn = format!("translate({} {}) rotate(-90)", coordinate(x), coordinate(y));
        self.text_with(&[("class", class.into()), ("transform", turn.as_str().into())], text);
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let ends = [("x1", x1.into()), ("y1", y1.into()), ("x2", x2.into()), ("y2", y2.into())];
        self.element("line", &[&[("class", class.into())], &ends[..]].concat());
    }

    /// A path; nothing when it is empty.
    pub fn path(&mut self, class: &str, path: &PathData) {
        if !path.0.is_empty() {
            self.element("path", &[("class", class.into()), ("d", path.0.as_str().into())]);
        }
    }

    /// The finished document.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn text_with(&mut self, attributes: &[(&'static str, Value<'_>)], text: &str) {
        self.tag("text", attributes);
        let _ = writeln!(self.text, ">{}</text>", escape(text));
    }

    fn tag(&mut self, name: &'static str, attributes: &[(&'static str, Value<'_>)]) {
        let _ = write!(self.text, "<{name}");
        for (name, value) in attributes {
            let _ = match value {
                Value::Number(number) => write!(self.text, " {name}=\"{}\"", coordinate(*number)),
                Value::Text(text) => write!(self.text, " {name}=\"{}\"", escape(text)),
            };
        }
    }
}

/// The `d` of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathData(String);

impl PathData {
    /// Starts a new stroke.
    pub fn move_to(&mut self, (x, y): (f64, f64)) {
        let _ = write!(self.0, "M{} {}", coordinate(x), coordinate(y));
    }

    /// Goes on in a straight line.
    pub fn line_to(&mut self, (x, y): (f64, f64)) {
        let _ = write!(self.0, "L{} {}", coordinate(x), coordinate(y));
    }

    /// A stroke of no length: a dot, with round line ends.
    pub fn dot(&mut self, at: (f64, f64)) {
        self.move_to(at);
        self.0.push_str("h0");
    }

    /// Back to where the stroke began.
    pub fn close(&mut self) {
        self.0.push('Z');
    }
}

/// A coordinate to a hundredth of a pixel, in its shortest form; 0 for what is not finite.
fn coordinate(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    if rounded.is_finite() && rounded != 0.0 { rounded.to_string() } else { "0".into() }
}

/// Text for XML 1.0, in elements and attributes: what it may not hold at all becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::{
        super::xml::{Node, parse},
        *,
    };

    #[test]
    fn coordinates_are_short_and_finite() {
        let check = |value: f64, expected: &str| assert_eq!(coordinate(value), expected);
        check(1.0, "1");
        check(-0.001, "0");
        check(1.0 / 3.0, "0.33");
        check(-12.5, "-12.5");
        check(f64::NAN, "0");
        check(f64::INFINITY, "0");
        check(f64::MAX, "0");
    }

    #[test]
    fn text_cannot_leave_its_element() {
        let hostile = "</text><script>alert(1)</script> & \"quoted\" 'single' \u{0}\u{b}\u{ffff}";
        let mut svg = Svg::new(10.0, 10.0, hostile, hostile);
        svg.group(&[("class", hostile.into())], |svg| svg.text((1.0, 2.0), "label", hostile));
        let text = svg.finish();
        let nodes = parse(&text).unwrap();
        assert!(!text.contains("<script"));
        let shown = hostile.replace(['\u{0}', '\u{b}', '\u{ffff}'], "\u{fffd}");
        assert_eq!(nodes.iter().filter(|node| matches!(node, Node::Text(text) if *text == shown)).count(), 3);
        assert!(
            nodes.iter().any(|node| matches!(node, Node::Attribute(name, value) if name == "class" && *value == shown))
        );
    }

    #[test]
    fn paths_to_the_letter() {
        let mut path = PathData::default();
        path.move_to((0.0, 1.5));
        path.line_to((2.0, 3.0));
        path.close();
        path.dot((4.0, 4.0));
        assert_eq!(path.0, "M0 1.5L2 3ZM4 4h0");
    }
}
