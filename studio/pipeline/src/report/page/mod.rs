//! The page: HTML that always closes and always escapes, and the sections that are written in it.

mod evaluation;
mod findings;
mod frame;
mod header;
mod html;
mod models;
mod players;
mod ratings;
mod recipes;
mod rewards;
mod style;

pub(super) use evaluation::evaluation_section;
pub(super) use findings::findings_section;
pub(super) use frame::Page;
pub(super) use header::header_section;
pub(super) use models::models_section;
pub(super) use players::{encode, players_section};
pub(super) use ratings::ratings_section;
pub(super) use recipes::{recipes_section, systems_section};
pub(super) use rewards::{diversity_section, rewards_section, utility_section};
