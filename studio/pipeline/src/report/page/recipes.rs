//! How it was made, and how to make it again.

use super::{
    frame::Page,
    header::{common_versions, in_words, systems_table},
};
use crate::{
    recipe::EMBEDDED,
    report::read::{Gathered, RecipeView, System},
};

/// What was run.
pub(in crate::report) fn systems_section(page: &mut Page, gathered: &Gathered) {
    if !gathered.systems.is_empty() {
        page.section("systems", "Systems", |page| page.table(&systems_table(&gathered.systems)));
    }
}

/// Resolved recipes, versions, and the commands.
pub(in crate::report) fn recipes_section(page: &mut Page, gathered: &Gathered) {
    if gathered.systems.is_empty() && gathered.recipes.is_empty() && gathered.sides.is_empty() {
        return;
    }
    page.section("recipes", "Recipes, versions, and how to run it again", |page| {
        let common = common_versions(gathered).is_some();
        for system in &gathered.systems {
            page.html.element("details", &[], |html| {
                html.leaf("summary", &[], &format!("{}: {}", system.name, system.dir.display()));
                if let (false, Some(versions)) = (common, &system.versions) {
                    html.p(&format!("{}; seed {}.", in_words(versions), versions.seed));
                }
                html.p(&how_again(system));
                html.leaf("pre", &[("tabindex", "0")], &command(system));
                html.leaf("pre", &[("tabindex", "0")], &system.recipe_text);
            });
        }
        let sides = gathered.sides.iter().filter(|side| !side.recipe_text.is_empty());
        for side in sides {
            page.html.element("details", &[], |html| {
                html.leaf("summary", &[], &format!("{}: {}", side.name, side.dir.display()));
                if let Some(versions) = &side.versions {
                    html.p(&format!("{}; seed {}.", in_words(versions), versions.seed));
                }
                html.leaf("pre", &[("tabindex", "0")], &side.recipe_text);
            });
        }
        for (name, text) in &gathered.recipes {
            page.html.element("details", &[], |html| {
                html.leaf("summary", &[], name);
                html.leaf("pre", &[("tabindex", "0")], text);
            });
        }
    });
}

/// Whether the recipe leads anywhere outside itself.
fn has_paths(recipe: &RecipeView) -> bool {
    let embedded = recipe.base.path == std::path::Path::new(EMBEDDED);
    !embedded || recipe.captions.as_ref().is_some_and(|captions| captions.get("path").is_some())
}

fn how_again(system: &System) -> String {
    let mut text = "Run it again:".to_string();
    if has_paths(&system.recipe) {
        text = "Run it again: save the recipe below in the folder that its paths are relative to, and there:".into();
    }
    text
}

fn command(system: &System) -> String {
    let recipe = if has_paths(&system.recipe) {
        format!("{}.toml", system.name)
    } else {
        system.dir.join("recipe.toml").display().to_string()
    };
    let backend = system.versions.as_ref().map(|versions| versions.backend.as_str()).unwrap_or_default();
    let backend = if backend.is_empty() { String::new() } else { format!(" --backend {}", shell(backend)) };
    format!("musicrl align {} --out {}{backend}", shell(&recipe), shell(&format!("runs/{}-again", system.name)))
}

/// One word of a shell command.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
