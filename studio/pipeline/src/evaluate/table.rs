//! An evaluation for people: what is in `evaluation.json`, in tables. Every table of ratings says who rated.

use std::fmt;

use musicrl_core::stats::Interval;

use super::{
    distribution::{DistributionReport, SetReport},
    measures::MeasureReport,
    panel_report::{PairReport, PanelReport},
    report::{Evaluation, Listening},
};

/// Widest name that keeps its column.
const NAME: usize = 16;

fn interval(interval: Option<&Interval>, factor: f64, decimals: usize) -> String {
    interval.map_or_else(
        || "-".into(),
        |x| {
            let [estimate, low, high] = [x.estimate, x.low, x.high].map(|value| factor * value);
            format!("{estimate:.decimals$} [{low:.decimals$}, {high:.decimals$}]")
        },
    )
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// p-values below the last digit shown are said to be below it.
fn p_value(p: f64) -> String {
    if p < 0.0001 { "<0.0001".into() } else { format!("{p:.4}") }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let confidence = 100.0 * self.statistics.bootstrap.confidence;
        let takes = self.listening.as_ref().map_or(String::new(), |listening| {
            let play = &listening.settings.play;
            format!(", {} clip(s) of {} s each", play.takes, play.clip_seconds)
        });
        writeln!(
            f,
            "{} systems, {} prompts ({}){takes}; seed {}; {confidence:.0} % bootstrap intervals over prompts",
            self.systems.len(),
            self.prompts.captions.len(),
            self.prompts.source,
            self.seed
        )?;
        for panel in &self.panels {
            writeln!(f)?;
            panel_table(f, panel)?;
        }
        if self.unfilled > 0 {
            writeln!(f, "note: {} lines of the form are not filled", self.unfilled)?;
        }
        if let Some(listening) = &self.listening {
            for measure in &listening.measures {
                writeln!(f)?;
                measure_table(f, measure)?;
            }
            writeln!(f)?;
            sound_table(f, listening)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn panel_table(f: &mut fmt::Formatter<'_>, panel: &PanelReport) -> fmt::Result {
    writeln!(f, "ratings by {}: {} of {} prompts", panel.label, panel.ratings, panel.prompts)?;
    writeln!(
        f,
        "{:<NAME$}  {:<22}{:>7}{:>7}{:>7}  strength (log)",
        "system", "mean opinion score", "wins", "ties", "losses"
    )?;
    for system in &panel.systems {
        let row = panel.leaderboard.iter().flat_map(|board| &board.rows).find(|row| row.system == system.system);
        writeln!(
            f,
            "{:<NAME$}  {:<22}{:>7}{:>7}{:>7}  {}",
            system.system,
            interval(system.mean_opinion_score.as_ref(), 1.0, 2),
            system.wins,
            system.ties,
            system.losses,
            interval(row.map(|row| &row.score), 1.0, 2)
        )?;
    }
    if !panel.pairs.is_empty() {
        let head = ["win", "tie", "loss"].map(|word| format!("{word} %"));
        writeln!(
            f,
            "{:<width$}  {:>7}{:>7}{:>7}  {:<20}{:<22}p (Holm)",
            "a against b",
            head[0],
            head[1],
            head[2],
            "win rate %",
            "difference of ratings",
            width = 2 * NAME
        )?;
    }
    for pair in &panel.pairs {
        pair_row(f, pair)?;
    }
    if let Some(board) = &panel.leaderboard {
        let order: Vec<String> = board
            .rows
            .iter()
            .map(|row| format!("{} (strongest in {:.0} %)", row.system, 100.0 * row.best_share))
            .collect();
        let prior = if board.prior_games > 0.0 { "; a prior places systems that never lost or never won" } else { "" };
        let fit = if board.converged { "" } else { "; the fit did not converge" };
        writeln!(f, "leaderboard: {}{prior}{fit}", order.join(", "))?;
    }
    if let Some(agreement) = panel.rater_agreement {
        writeln!(f, "agreement of raters (Spearman): {agreement:.2}")?;
    }
    let missing: usize = panel.raters.iter().map(|rater| rater.missing).sum();
    let unpaired: usize = panel.pairs.iter().map(|pair| pair.unpaired).sum();
    if missing > 0 || unpaired > 0 {
        writeln!(f, "note: {missing} ratings are missing; {unpaired} ratings have no partner in a pair")?;
    }
    for note in &panel.notes {
        writeln!(f, "note: {note}")?;
    }
    Ok(())
}

fn pair_row(f: &mut fmt::Formatter<'_>, pair: &PairReport) -> fmt::Result {
    let [wins, ties, losses] = pair.tally.percent().map_or([None; 3], |percent| percent.map(Some));
    writeln!(
        f,
        "{:<width$}  {:>7}{:>7}{:>7}  {:<20}{:<22}{}",
        format!("{} - {}", pair.a, pair.b),
        number(wins, 1),
        number(ties, 1),
        number(losses, 1),
        interval(pair.win_rate.as_ref(), 100.0, 0),
        interval(pair.mean_difference.as_ref(), 1.0, 2),
        pair.signed_rank.as_ref().map_or_else(|| "-".into(), |test| p_value(test.p_holm)),
        width = 2 * NAME
    )
}

fn measure_table(f: &mut fmt::Formatter<'_>, measure: &MeasureReport) -> fmt::Result {
    writeln!(f, "automatic measure (no rater): {}", measure.name)?;
    for system in &measure.systems {
        let unscorable = match system.unscorable {
            0 => String::new(),
            n => format!("  {n} clips without a score"),
        };
        writeln!(f, "{:<NAME$}  {}{unscorable}", system.system, interval(system.mean.as_ref(), 1.0, 4))?;
    }
    for pair in &measure.pairs {
        writeln!(
            f,
            "{:<width$}  {}  higher on {} of {} clips",
            format!("{} - {}", pair.a, pair.b),
            interval(pair.difference.as_ref(), 1.0, 4),
            pair.higher_share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share)),
            pair.clips,
            width = 2 * NAME
        )?;
    }
    for agreement in &measure.agreement {
        let share = agreement.agreement.map_or_else(|| "-".into(), |share| format!("{:.1} %", 100.0 * share));
        let (panel, comparisons) = (&agreement.panel, agreement.comparisons);
        writeln!(f, "the higher score has the higher rating by {panel}: {share} of {comparisons} comparisons")?;
    }
    Ok(())
}

fn sound_table(f: &mut fmt::Formatter<'_>, listening: &Listening) -> fmt::Result {
    writeln!(
        f,
        "{:<NAME$}  {:>8}{:>10}{:>11}{:>12}{:>10}{:>18}{:>9}{:>9}",
        "system", "level dB", "silent %", "clipped %", "distinct %", "Frechet", "discrepancy (p)", "within", "between"
    )?;
    let DistributionReport { reference, floor, systems } = &listening.distribution;
    for (sound, set) in listening.sound.iter().zip(systems) {
        write!(
            f,
            "{:<NAME$}  {:>8}{:>10.1}{:>11.1}{:>12.1}",
            sound.system,
            number(sound.mean_rms_db, 1),
            100.0 * sound.silent_time,
            100.0 * sound.clipped_clips,
            100.0 * sound.distinct_share
        )?;
        set_columns(f, set)?;
    }
    if let (Some(floor), Some(reference)) = (floor, reference) {
        write!(f, "{:<NAME$}  {:>41}", "(floor)", "")?;
        set_columns(f, floor)?;
        writeln!(
            f,
            "the floor is {} other clips of the reference's source; the reference has {} clips",
            floor.clips, reference.clips
        )?;
    }
    Ok(())
}

fn set_columns(f: &mut fmt::Formatter<'_>, set: &SetReport) -> fmt::Result {
    let discrepancy =
        set.mmd.map_or_else(|| "-".into(), |mmd| format!("{:.4} ({})", mmd.squared, p_value(mmd.p_value)));
    writeln!(
        f,
        "{:>10}{discrepancy:>18}{:>9}{:>9}",
        number(set.frechet, 4),
        number(set.diversity.within, 3),
        number(set.diversity.between, 3)
    )
}

#[cfg(test)]
mod tests {
    use musicrl_feedback::Source;

    use super::super::{PanelRatings, Rating, RatingsInput, StatisticsSettings, evaluate_ratings};

    #[test]
    fn every_table_of_ratings_says_who_rated() {
        let ratings: Vec<Rating> = (0..30)
            .flat_map(|prompt| {
                [(0, 4.0), (1, 3.0)].map(|(system, rating)| Rating {
                    system,
                    prompt,
                    take: 0,
                    rater: "x".into(),
                    rating,
                })
            })
            .collect();
        let village = Source::Simulated { population: "village".into() };
        let panels = [Source::Human, village].map(|source| PanelRatings { source, ratings: ratings.clone() });
        let input = RatingsInput {
            systems: vec![("base".into(), None), ("r".into(), None)],
            prompts: (0..30).map(|at| format!("prompt {at}")).collect(),
            panels: panels.to_vec(),
            unfilled: 2,
            play: None,
        };
        let text = evaluate_ratings(&input, &StatisticsSettings::default(), 1).unwrap().to_string();
        for expected in [
            "ratings by 1 human rater: 60 of 30 prompts",
            "ratings by 1 simulated listener of population `village`",
            "no person rated these clips",
            "base - r",
            "100.0    0.0    0.0  100 [100, 100]",
            "<0.0001",
            "every decided comparison went to base",
            "2 lines of the form are not filled",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
    }
}
