//! The page as a whole: its head, its sections, its figures and their files.

use std::collections::BTreeSet;

use super::{html::Html, style::STYLE};
use crate::report::{
    plot::{Drawn, Table},
    read::Raters,
};

/// Longest name of a figure's file, without its ending.
const NAME_MAX: usize = 80;
/// A cell longer than this may break into lines.
const WIDE: usize = 40;

/// A page under way.
#[derive(Debug, Default)]
pub(in crate::report) struct Page {
    /// What is written.
    pub html: Html,
    /// Names and documents of the figures.
    pub figures: Vec<(String, String)>,
    sections: Vec<(String, String)>,
    names: BTreeSet<String>,
}

impl Page {
    /// A section with its heading; it is listed at the top.
    pub fn section(&mut self, id: &str, heading: &str, fill: impl FnOnce(&mut Self)) {
        self.sections.push((id.into(), heading.into()));
        // The element's content needs the whole page, so its text is put aside and set in.
        let before = std::mem::take(&mut self.html);
        fill(self);
        let inside = std::mem::replace(&mut self.html, before);
        self.html.element("section", &[("id", id)], |html| {
            html.leaf("h2", &[], heading);
            html.made(&inside.finish());
        });
    }

    /// Figures side by side where there is room, each with its caption and its numbers.
    pub fn figures(&mut self, drawn: Vec<Drawn>) {
        if drawn.is_empty() {
            return;
        }
        for figure in &drawn {
            let name = self.file_name(&figure.name);
            self.figures.push((format!("{name}.svg"), figure.svg.clone()));
        }
        self.html.element("div", &[("class", "figures")], |html| {
            for figure in &drawn {
                html.element("figure", &[], |html| {
                    html.made(&figure.svg);
                    html.leaf("figcaption", &[], &figure.caption);
                    html.element("details", &[], |html| {
                        html.leaf("summary", &[], "The numbers");
                        table(html, &figure.table);
                    });
                });
            }
        });
    }

    /// A table that scrolls inside where it is wider than the page.
    pub fn table(&mut self, numbers: &Table) {
        table(&mut self.html, numbers);
    }

    /// A table behind a line that opens it.
    pub fn folded(&mut self, summary: &str, numbers: &Table) {
        self.html.element("details", &[], |html| {
            html.leaf("summary", &[], summary);
            table(html, numbers);
        });
    }

    /// Who rated, so that nobody takes a program's listeners for people.
    pub fn badge(&mut self, raters: &Raters) {
        badge(&mut self.html, raters);
    }

    /// What a reader should know; nothing when there is nothing.
    pub fn notes(&mut self, notes: &[String]) {
        if notes.is_empty() {
            return;
        }
        self.html.element("div", &[("class", "notes")], |html| {
            html.leaf("strong", &[], "Notes");
            html.element("ul", &[], |html| notes.iter().for_each(|note| html.leaf("li", &[], note)));
        });
    }

    /// The whole document, with `head` at its top, and its figures by file name.
    pub fn finish(self, title: &str, head: impl FnOnce(&mut Html)) -> (String, Vec<(String, String)>) {
        let mut page = Html::default();
        page.element("html", &[("lang", "en")], |page| {
            page.element("head", &[], |page| {
                page.void("meta", &[("charset", "utf-8")]);
                page.void("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
                page.void("meta", &[("name", "color-scheme"), ("content", "light dark")]);
                page.void("meta", &[("name", "generator"), ("content", "musicrl report")]);
                // Nothing is fetched and nothing runs, whatever a file managed to say.
                page.void(
                    "meta",
                    &[
                        ("http-equiv", "Content-Security-Policy"),
                        (
                            "content",
                            "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:; \
                             base-uri 'none'; form-action 'none'",
                        ),
                    ],
                );
                page.leaf("title", &[], title);
                page.style(STYLE);
            });
            page.element("body", &[], |page| {
                page.element("main", &[], |page| {
                    head(page);
                    page.element("nav", &[("aria-label", "Sections")], |page| {
                        page.element("ul", &[], |page| {
                            for (id, heading) in &self.sections {
                                let target = format!("#{id}");
                                page.element("li", &[], |page| page.leaf("a", &[("href", &target)], heading));
                            }
                        });
                    });
                    page.made(&self.html.finish());
                });
            });
        });
        (format!("<!DOCTYPE html>\n{}", page.finish()), self.figures)
    }

    /// A name that is safe on every disk and that no other figure has.
    fn file_name(&mut self, name: &str) -> String {
        let mut safe = String::new();
        for character in name.to_lowercase().chars().take(NAME_MAX) {
            let plain = character.is_ascii_alphanumeric() || character == '_';
            if plain || !safe.ends_with('-') {
                safe.push(if plain { character } else { '-' });
            }
        }
        let safe = safe.trim_matches('-');
        let safe = if safe.is_empty() { "figure" } else { safe };
        let free = (1..).map(|at| if at == 1 { safe.to_string() } else { format!("{safe}-{at}") });
        let name = free.into_iter().find(|name| !self.names.contains(name)).unwrap_or_else(|| safe.into());
        self.names.insert(name.clone());
        name
    }
}

/// The badge of who rated.
pub(super) fn badge(html: &mut Html, raters: &Raters) {
    let class = if *raters == Raters::Human { "badge human" } else { "badge" };
    html.leaf("span", &[("class", class)], &raters.to_string());
}

fn table(html: &mut Html, table: &Table) {
    let numeric = |at: usize| table.columns.get(at).is_some_and(|column| column.numeric);
    // With the keyboard, too, one can reach what lies outside.
    let scroll = [("class", "scroll"), ("tabindex", "0"), ("role", "region"), ("aria-label", "table")];
    html.element("div", &scroll, |html| {
        html.element("table", &[], |html| {
            html.element("thead", &[], |html| {
                html.element("tr", &[], |html| {
                    for column in &table.columns {
                        let class = if column.numeric { "number" } else { "" };
                        html.leaf("th", &[("class", class), ("scope", "col")], &column.name);
                    }
                });
            });
            html.element("tbody", &[], |html| {
                for row in &table.rows {
                    html.element("tr", &[], |html| {
                        for (at, cell) in row.iter().enumerate() {
                            let wide = cell.chars().count() > WIDE;
                            let class = if numeric(at) {
                                "number"
                            } else if wide {
                                "wide"
                            } else {
                                ""
                            };
                            html.leaf("td", &[("class", class)], cell);
                        }
                    });
                }
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_safe_and_their_own() {
        let mut page = Page::default();
        for (name, file) in [
            ("reward-../../Text adherence-by-kl", "reward-text-adherence-by-kl"),
            ("reward-text adherence-by-kl", "reward-text-adherence-by-kl-2"),
            ("<>", "figure"),
            ("", "figure-2"),
        ] {
            assert_eq!(page.file_name(name), file);
        }
        assert!(page.file_name(&"x".repeat(500)).len() <= NAME_MAX);
    }
}
