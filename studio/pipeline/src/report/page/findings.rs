//! What the experiments found: their figure and their numbers.

use super::frame::Page;
use crate::report::{
    plot::{Drawn, Table},
    read::{Gathered, Raters},
};

/// One figure an experiment; nothing where there is none.
pub(in crate::report) fn findings_section(page: &mut Page, gathered: &Gathered) {
    if gathered.findings.is_empty() {
        return;
    }
    page.section("findings", "What the experiment found", |page| {
        for (title, experiment) in &gathered.findings {
            let populations = experiment.recipe.plan.populations();
            populations.iter().for_each(|population| page.badge(&Raters::Simulated(population.clone())));
            let (name, svg) = experiment.result.figure();
            let mut table = Table::new(&[title.as_str()]);
            experiment.result.to_string().lines().for_each(|line| table.row([line.to_string()]));
            let caption = format!("{title}: {}", experiment.notes.join("; "));
            let name = name.trim_end_matches(".svg").to_string();
            page.figures(vec![Drawn { name, svg, caption, table }]);
        }
    });
}
