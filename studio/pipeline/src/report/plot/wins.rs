//! Win, tie and loss bars, one a pair of systems.

use super::{
    drawn::{Drawn, Table, WIDTH},
    number::{p_value, percent, span},
};
use crate::{
    figure::{Svg, words::fitted},
    report::read::{Pair, Raters},
};

/// Left and right edge of the bars.
const EDGE: f64 = 8.0;
/// From bar to bar, and the height of one.
const ROW: f64 = 46.0;
const BAR: f64 = 20.0;
/// From the top to the first row.
const TOP: f64 = 56.0;
/// The narrowest part of a bar that holds a number.
const LEGIBLE: f64 = 34.0;

/// The bars of a panel, the later system of each pair first; `None` without a comparison.
pub(in crate::report) fn wins_figure(pairs: &[Pair], raters: &Raters, name: &str) -> Option<Drawn> {
    let compared = |pair: &&Pair| pair.tally.wins + pair.tally.ties + pair.tally.losses > 0;
    let pairs: Vec<&Pair> = pairs.iter().filter(compared).collect();
    if pairs.is_empty() {
        return None;
    }
    let title = "Side by side: wins, ties, losses";
    let description =
        format!("Shares of wins, ties and losses of {} pairs of systems, rated by {raters}.", pairs.len());
    let mut svg = Svg::new(WIDTH, TOP + ROW * pairs.len() as f64 + 8.0, title, &description);
    svg.text((EDGE, 18.0), "heading", title);
    svg.text((EDGE, 34.0), "small", &fitted(&format!("rated by {raters}"), WIDTH - 2.0 * EDGE, 11.0));
    let mut table = Table::new(&[
        "pair",
        "#wins",
        "#ties",
        "#losses",
        "#win share",
        "#tie share",
        "#loss share",
        "#win rate",
        "#mean difference",
        "#p (signed rank)",
        "#p (Holm)",
        "#prompts",
    ]);
    for (at, pair) in pairs.iter().enumerate() {
        draw(&mut svg, pair, TOP + ROW * at as f64);
        let shares = shares(pair);
        let test = pair.signed_rank.unwrap_or_default();
        table.row([
            format!("{} against {}", pair.a, pair.b),
            pair.tally.wins.to_string(),
            pair.tally.ties.to_string(),
            pair.tally.losses.to_string(),
            percent(Some(shares[0])),
            percent(Some(shares[1])),
            percent(Some(shares[2])),
            span(pair.win_rate),
            span(pair.mean_difference),
            p_value(test.p_value),
            p_value(test.p_holm),
            pair.prompts.to_string(),
        ]);
    }
    let caption = format!(
        "Left, in blue: the first system won; middle: ties; right, in orange: it lost. Rated by {raters}. The win rate is \
         wins / (wins + losses); p-values are two-sided of the signed-rank test, corrected over all pairs (Holm)."
    );
    Some(Drawn { name: name.into(), svg: svg.finish(), caption, table })
}

fn shares(pair: &Pair) -> [f64; 3] {
    let counts = [pair.tally.wins, pair.tally.ties, pair.tally.losses].map(|count| count as f64);
    let sum: f64 = counts.iter().sum();
    counts.map(|count| count / sum)
}

fn draw(svg: &mut Svg, pair: &Pair, top: f64) {
    let comparisons = pair.tally.wins + pair.tally.ties + pair.tally.losses;
    let room = WIDTH - 2.0 * EDGE;
    let says = match pair.signed_rank.and_then(|test| test.p_holm) {
        Some(p) if p < 0.001 => format!("n = {comparisons}, p < 0.001"),
        Some(p) => format!("n = {comparisons}, p = {p:.3}"),
        None => format!("n = {comparisons}"),
    };
    svg.text((WIDTH - EDGE, top), "small end", &says);
    svg.text((EDGE, top), "", &fitted(&format!("{} against {}", pair.a, pair.b), room - 130.0, 12.0));
    let mut x = EDGE;
    let parts = [("win", "on-bar"), ("tie", "on-tie"), ("loss", "on-bar")];
    for (share, (class, on)) in shares(pair).into_iter().zip(parts) {
        let width = room * share;
        let (y, size) = (top + 6.0, [("width", width.into()), ("height", BAR.into())]);
        if width > 0.0 {
            svg.element("rect", &[("class", class.into()), ("x", x.into()), ("y", y.into()), size[0], size[1]]);
        }
        if width >= LEGIBLE {
            svg.text((x + width / 2.0, y + 14.0), &format!("{on} middle"), &percent(Some(share)));
        }
        x += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::read::Span;

    #[test]
    fn bars_have_the_widths_of_their_shares() {
        let mut pair = Pair { a: "r".into(), b: "base".into(), ..Pair::default() };
        pair.tally.wins = 5;
        pair.tally.ties = 1;
        pair.tally.losses = 4;
        pair.win_rate = Some(Span { estimate: Some(5.0 / 9.0), low: Some(0.4), high: Some(0.7) });
        let drawn = wins_figure(&[pair, Pair::default()], &Raters::Simulated("town".into()), "wins").unwrap();
        for (class, x, width) in [("win", "8", "192"), ("tie", "200", "38.4"), ("loss", "238.4", "153.6")] {
            let bar = format!("<rect class=\"{class}\" x=\"{x}\" y=\"62\" width=\"{width}\" height=\"20\"/>");
            assert!(drawn.svg.contains(&bar), "{bar}: {}", drawn.svg);
        }
        assert_eq!(drawn.table.rows.len(), 1, "a pair without a comparison has no bar");
        assert!(drawn.svg.contains("SIMULATED") && drawn.caption.contains("SIMULATED"));
        assert!(drawn.table.rows[0].contains(&"0.556 [0.400, 0.700]".to_string()), "{:?}", drawn.table.rows);
        assert!(wins_figure(&[Pair::default()], &Raters::Human, "wins").is_none());
    }
}
