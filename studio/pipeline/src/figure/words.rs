//! Numbers and user text as they are written on a figure.

/// `value` with so many decimals and a true minus sign; a dash for what is not finite.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    if value.is_finite() && value.abs() < 1e9 {
        signed(&format!("{value:.decimals$}"))
    } else if value.is_finite() {
        signed(&format!("{value:.decimals$e}"))
    } else {
        "–".into()
    }
}

/// As [`decimal`], with a plus sign where it is positive.
pub(crate) fn difference(value: f64, decimals: usize) -> String {
    let text = decimal(value, decimals);
    if value > 0.0 && value.is_finite() { format!("+{text}") } else { text }
}

/// A formatted number with a true minus sign, and without one before zero.
pub(crate) fn signed(text: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|byte| !(b'1'..=b'9').contains(&byte)) => rest.into(),
        Some(rest) => format!("−{rest}"),
        None => text.into(),
    }
}

/// A line of user text that is about `width_px` wide at most at `size_px`: white space is joined, the end is cut with an
/// ellipsis. The font is not known, so widths are those of wide ones.
pub(crate) fn fitted(text: &str, width_px: f64, size_px: f64) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if width(&line, size_px) <= width_px {
        return line;
    }
    let room = width_px - width("…", size_px);
    let mut used = 0.0;
    let kept: String = line
        .chars()
        .take_while(|character| {
            used += advance(*character) * size_px;
            used <= room
        })
        .collect();
    kept.trim_end().to_owned() + "…"
}

/// About how wide a line of text is at `size_px`, in a wide font.
pub(crate) fn width(text: &str, size_px: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size_px
}

/// The advance of a character, in its size.
fn advance(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'I' | ' ' | '.' | ',' | ';' | ':' | '\'' | '!' | '|' => 0.34,
        'm' | 'w' | 'M' | 'W' | '…' | '@' | '%' => 1.0,
        'A'..='Z' => 0.76,
        '\0'..='\u{10ff}' => 0.62,
        _ => 1.05,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_true_signs() {
        assert_eq!(decimal(-0.014, 3), "−0.014");
        assert_eq!(decimal(-0.0001, 3), "0.000");
        assert_eq!(decimal(f64::NAN, 3), "–");
        assert_eq!(decimal(f64::INFINITY, 3), "–");
        assert_eq!(difference(0.014, 2), "+0.01");
        assert_eq!(difference(f64::INFINITY, 2), "–");
        assert_eq!(signed("-1e-3"), "−1e-3");
    }

    #[test]
    fn long_and_odd_text_fits() {
        assert_eq!(fitted("  a\n calm\tpiano ", 200.0, 12.0), "a calm piano");
        let cut = fitted(&"slow ".repeat(80), 200.0, 12.0);
        assert!(cut.ends_with("slow…") || cut.ends_with('…'), "{cut}");
        assert!(width(&cut, 12.0) <= 200.0 && cut.len() > 20, "{cut}");
        assert!(fitted(&"静".repeat(80), 200.0, 12.0).chars().count() <= 17);
        assert_eq!(fitted("", 200.0, 12.0), "");
        assert_eq!(fitted("abc", 0.0, 12.0), "…");
    }
}
