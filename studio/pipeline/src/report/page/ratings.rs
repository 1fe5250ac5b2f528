//! What listeners said: side by side, opinion scores, leaderboard. One part a kind of listeners, each with its badge.

use super::frame::Page;
use crate::{
    figure::Look,
    report::{
        plot::{IntervalRow, Table, intervals_figure, number, percent, span, wins_figure},
        read::{Evaluation, Gathered, Pair, Panel, Raters, Score, Span},
    },
};

/// The look of a system: that of its run where it has one.
pub(super) fn look_of(gathered: &Gathered, name: &str) -> Look {
    gathered.systems.iter().position(|system| system.name == name).map_or_else(Look::plain, Look::of)
}

/// All panels of all evaluations; nothing where nobody rated.
pub(in crate::report) fn ratings_section(page: &mut Page, gathered: &Gathered) {
    if gathered.evaluations.iter().all(|(_, evaluation)| evaluation.panels.is_empty()) {
        return;
    }
    page.section("ratings", "What listeners preferred", |page| {
        for (path, evaluation) in &gathered.evaluations {
            if gathered.evaluations.len() > 1 {
                page.html.leaf("h3", &[], &path.display().to_string());
            }
            for panel in &evaluation.panels {
                draw_panel(page, gathered, evaluation, panel);
            }
            if evaluation.unfilled > 0 {
                page.html.p(&format!("{} clips that were to be rated have no rating.", evaluation.unfilled));
            }
        }
    });
}

fn draw_panel(page: &mut Page, gathered: &Gathered, evaluation: &Evaluation, panel: &Panel) {
    let raters = Raters::of(&panel.source);
    let title = if panel.label.is_empty() { raters.to_string() } else { panel.label.clone() };
    page.html.leaf("h3", &[], &title);
    page.badge(&raters);
    let confidence =
        evaluation.confidence().map_or_else(String::new, |level| format!("; intervals of {level} over prompts"));
    let agreement = panel
        .rater_agreement
        .map_or_else(String::new, |rho| format!("; raters agree with a rank correlation of {}", number(Some(rho))));
    page.html.p(&format!("{} ratings on {} prompts{confidence}{agreement}.", panel.ratings, panel.prompts));

    let rated = format!("rated by {raters}");
    let pairs = oriented(evaluation, &panel.pairs);
    let mut figures = Vec::new();
    figures.extend(wins_figure(&pairs, &raters, &format!("wins-{raters}")));
    let rate = |pair: &Pair| {
        Some(IntervalRow {
            name: format!("{} against {}", pair.a, pair.b),
            span: in_percent(pair.win_rate?),
            look: look_of(gathered, &pair.a),
        })
    };
    let rates: Vec<IntervalRow> = pairs.iter().filter_map(rate).collect();
    figures.extend(intervals_figure(
        &format!("win-rates-{raters}"),
        ("Win rates", &rated),
        ("wins / (wins + losses), in percent", "#win rate (%)"),
        &rates,
        Some(50.0),
        format!("Win rates with their intervals over prompts. Rated by {raters}. Dashed: no difference."),
    ));
    let score = |score: &Score| {
        Some(IntervalRow {
            name: score.system.clone(),
            span: score.mean_opinion_score?,
            look: look_of(gathered, &score.system),
        })
    };
    let scores: Vec<IntervalRow> = panel.systems.iter().filter_map(score).collect();
    figures.extend(intervals_figure(
        &format!("opinion-{raters}"),
        ("Mean opinion scores", &rated),
        ("mean opinion score, 1 to 5", "#mean opinion score"),
        &scores,
        None,
        format!("Mean opinion scores with their intervals over prompts. Rated by {raters}."),
    ));
    if let Some(board) = &panel.leaderboard {
        let rows: Vec<IntervalRow> = board
            .rows
            .iter()
            .map(|row| IntervalRow { name: row.system.clone(), span: row.score, look: look_of(gathered, &row.system) })
            .collect();
        figures.extend(intervals_figure(
            &format!("leaderboard-{raters}"),
            ("Bradley-Terry leaderboard", &rated),
            ("log strength", "#log strength"),
            &rows,
            Some(0.0),
            format!(
                "Log strengths of the Bradley-Terry model with ties; P(a beats b) / P(b beats a) is the exponential of their \
                 difference. Rated by {raters}."
            ),
        ));
    }
    page.figures(figures);
    opinion_table(page, panel);
    page.notes(&panel.notes);
}

/// Scores, wins, and places in one table.
fn opinion_table(page: &mut Page, panel: &Panel) {
    if panel.systems.is_empty() {
        return;
    }
    let mut table = Table::new(&[
        "system",
        "#mean opinion score",
        "#ratings",
        "#wins",
        "#ties",
        "#losses",
        "#log strength",
        "#strongest in",
    ]);
    for score in &panel.systems {
        let place =
            panel.leaderboard.as_ref().and_then(|board| board.rows.iter().find(|row| row.system == score.system));
        table.row([
            score.system.clone(),
            span(score.mean_opinion_score),
            score.ratings.to_string(),
            score.wins.to_string(),
            score.ties.to_string(),
            score.losses.to_string(),
            span(place.map(|place| place.score)),
            percent(place.and_then(|place| place.best_share)),
        ]);
    }
    page.table(&table);
    if let Some(board) = &panel.leaderboard {
        let tie = board.tie_strength.map_or_else(String::new, |nu| format!(" Tie strength {}.", number(Some(nu))));
        let prior = if board.prior_games > 0.0 {
            format!(
                " The comparisons alone do not place every system: {} games against an imaginary average system were added.",
                board.prior_games
            )
        } else {
            String::new()
        };
        page.html
            .p(&format!("\"Strongest in\": share of the resamples in which the system is the strongest.{tie}{prior}"));
    }
}

/// The later system of a pair first, as "aligned against base" is read.
fn oriented(evaluation: &Evaluation, pairs: &[Pair]) -> Vec<Pair> {
    let place = |name: &str| evaluation.systems.iter().position(|system| system.name == name);
    let turn = |pair: &Pair| matches!((place(&pair.a), place(&pair.b)), (Some(a), Some(b)) if a < b);
    pairs.iter().map(|pair| if turn(pair) { pair.turned() } else { pair.clone() }).collect()
}

fn in_percent(span: Span) -> Span {
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    Span { estimate: percent(span.estimate), low: percent(span.low), high: percent(span.high) }
}
