//! Numbers as tables and figures write them.

use crate::{figure::words::decimal, report::read::Span};

/// About four digits, a true minus sign, a dash for what is not there.
pub(in crate::report) fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return "–".into() };
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    // Small numbers keep two digits.
    let tiny = value != 0.0 && value.abs() < 0.001;
    if tiny { crate::figure::words::signed(&format!("{value:.1e}")) } else { decimal(value, decimals) }
}

/// A share in percent.
pub(in crate::report) fn percent(share: Option<f64>) -> String {
    share
        .filter(|share| share.is_finite())
        .map_or_else(|| "–".into(), |share| format!("{} %", decimal(100.0 * share, 1)))
}

/// An estimate with its interval.
pub(in crate::report) fn span(span: Option<Span>) -> String {
    match span {
        Some(Span { estimate, low: Some(low), high: Some(high) }) => {
            format!("{} [{}, {}]", number(estimate), number(Some(low)), number(Some(high)))
        }
        Some(Span { estimate, .. }) => number(estimate),
        None => "–".into(),
    }
}

/// A p-value; the smallest ones by their bound.
pub(in crate::report) fn p_value(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) if value < 0.001 => "< 0.001".into(),
        Some(value) => format!("{value:.3}"),
        None => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_size() {
        for (value, text) in [
            (0.12345, "0.123"),
            (-3.2, "−3.200"),
            (12.345, "12.35"),
            (1234.5, "1234"),
            (0.0, "0.000"),
            (4e-5, "4.0e-5"),
        ] {
            assert_eq!(number(Some(value)), text);
        }
        assert_eq!(number(Some(f64::NAN)), "–");
        assert_eq!(percent(Some(0.8333)), "83.3 %");
        assert_eq!((p_value(Some(0.0004)), p_value(Some(0.04))), ("< 0.001".into(), "0.040".into()));
        let interval = Span { estimate: Some(0.5), low: Some(0.25), high: Some(0.75) };
        assert_eq!(span(Some(interval)), "0.500 [0.250, 0.750]");
        assert_eq!(span(Some(Span { low: None, ..interval })), "0.500");
    }
}
