//! HTML under way: elements that always close, text and attributes that are always escaped.
//!
//! What is written is well-formed XML too, so that a strict reader can check it.

use std::fmt::Write as _;

/// A document under way.
#[derive(Debug, Default)]
pub(in crate::report) struct Html {
    text: String,
}

impl Html {
    /// An element with what `fill` writes into it. Names of elements and attributes are the program's own.
    pub fn element(&mut self, name: &'static str, attributes: &[(&'static str, &str)], fill: impl FnOnce(&mut Self)) {
        self.tag(name, attributes);
        self.text.push('>');
        fill(self);
        let _ = writeln!(self.text, "</{name}>");
    }

    /// An element that holds text alone.
    pub fn leaf(&mut self, name: &'static str, attributes: &[(&'static str, &str)], text: &str) {
        self.element(name, attributes, |html| html.text(text));
    }

    /// An element that never holds anything.
    pub fn void(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.tag(name, attributes);
        self.text.push_str("/>\n");
    }

    /// A paragraph.
    pub fn p(&mut self, text: &str) {
        self.leaf("p", &[], text);
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        escape_into(&mut self.text, text);
    }

    /// A style sheet of the program's own, as it stands. It may hold neither `<` nor `&`.
    pub fn style(&mut self, sheet: &'static str) {
        let _ = writeln!(self.text, "<style>{sheet}</style>");
    }

    /// Markup that this type or [`Svg`](crate::figure::Svg) made: it has escaped its own text.
    pub fn made(&mut self, markup: &str) {
        self.text.push_str(markup);
    }

    /// All that was written.
    pub fn finish(self) -> String {
        self.text
    }

    fn tag(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        let _ = write!(self.text, "<{name}");
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"");
            escape_into(&mut self.text, value);
            self.text.push('"');
        }
    }
}

/// Text for elements and attributes in quotes. Line ends stay; other control characters, which neither HTML nor XML has,
/// become U+FFFD.
fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\r' => out.push(' '),
            // Also what turns the direction of text around: a name could pass for another.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::figure::xml::{Node, parse};

    proptest! {
        #[test]
        fn no_text_leaves_its_element(text in any::<String>(), value in ".*<script>.*|.*[\"'&].*") {
            let mut html = Html::default();
            html.element("div", &[("title", &value)], |html| html.leaf("b", &[("class", &text)], &text));
            let written = html.finish();
            prop_assert!(!written.contains("<script"));
            let nodes = parse(&written).map_err(TestCaseError::fail)?;
            let elements = nodes.iter().filter(|node| matches!(node, Node::Element(_))).count();
            prop_assert_eq!(elements, 2);
        }
    }
}
