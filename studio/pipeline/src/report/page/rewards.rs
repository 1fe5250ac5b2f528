//! Rewards of the runs, what they stand for, and how far the clips differ.

use super::frame::Page;
use crate::report::{
    plot::{diversity_figures, reward_figures, reward_names, utilities},
    read::{Gathered, Raters},
};

/// Each reward against KL and step. Nothing where nothing was measured.
pub(in crate::report) fn rewards_section(page: &mut Page, gathered: &Gathered) {
    if gathered.systems.is_empty() {
        return;
    }
    page.section("rewards", "Rewards against KL and step", |page| {
        let mut any = false;
        for name in reward_names(&gathered.systems) {
            let figures = reward_figures(&gathered.systems, &name);
            if !figures.is_empty() {
                any = true;
                page.html.leaf("h3", &[], &name.replace('_', " "));
                page.figures(figures);
            }
        }
        if !any {
            page.html.p("No reward has been measured yet.");
        }
    });
}

/// How far the clips of different captions differ, against KL and step. Nothing where nothing was measured.
pub(in crate::report) fn diversity_section(page: &mut Page, gathered: &Gathered) {
    let figures = diversity_figures(&gathered.systems);
    if figures.is_empty() {
        return;
    }
    page.section("diversity", "How far clips differ", |page| {
        page.html.p(
            "How differently clips of different captions use their tokens: at 1 none has a token of another, at 0 another \
             clip's tokens are as near as a clip's own. A system that is liked for one piece, whatever the caption, is near 0.",
        );
        page.figures(figures);
    });
}

/// True utility against the trained rewards, where it was watched.
pub(in crate::report) fn utility_section(page: &mut Page, gathered: &Gathered) {
    let utilities = utilities(&gathered.systems);
    if utilities.is_empty() {
        return;
    }
    page.section("utility", "Trained reward against true utility", |page| {
        page.html.p(
            "Simulated listeners choose by a hidden taste, so that what their choices stand for can be measured. Where the \
             trained reward rises and the true utility does not, the reward is over-optimised.",
        );
        let mut populations: Vec<&str> = Vec::new();
        for utility in &utilities {
            if !populations.contains(&utility.population.as_str()) {
                populations.push(&utility.population);
            }
        }
        for population in &populations {
            page.badge(&Raters::Simulated((*population).into()));
        }
        let mut figures = Vec::new();
        let mut summaries = Vec::new();
        for utility in utilities {
            summaries.push((utility.figure.caption.clone(), utility.summary));
            figures.push(utility.figure);
        }
        let headings: Vec<String> = figures.iter().map(|figure| figure.name.replace(['_', '-'], " ")).collect();
        page.figures(figures);
        for (heading, (_, summary)) in headings.iter().zip(summaries) {
            page.html.leaf("h3", &[], heading);
            page.table(&summary);
        }
    });
}
