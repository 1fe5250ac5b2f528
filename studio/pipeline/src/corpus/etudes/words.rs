//! The words of captions, each with what it means.

use super::attributes::{Articulation, Attributes, Brightness, Density, Dynamics, Percussion, Tempo, Timbre};

pub(super) fn tempo(tempo: Tempo) -> &'static [&'static str] {
    match tempo {
        Tempo::Slow => &["slow", "unhurried", "slow-paced", "slow"],
        Tempo::Moderate => &["mid-tempo", "moderate", "medium-paced"],
        Tempo::Fast => &["fast", "quick", "fast-paced", "fast"],
    }
}

pub(super) fn dynamics(dynamics: Dynamics) -> &'static [&'static str] {
    match dynamics {
        Dynamics::Soft => &["soft", "quiet", "hushed"],
        Dynamics::Loud => &["loud", "forceful", "loud"],
        // A crescendo is no adjective; it is told at the end.
        Dynamics::Medium | Dynamics::Crescendo => &[],
    }
}

pub(super) fn brightness(brightness: Brightness) -> &'static [&'static str] {
    match brightness {
        Brightness::Dark => &["dark", "muffled", "mellow"],
        Brightness::Medium => &[],
        Brightness::Bright => &["bright", "brilliant", "crisp"],
    }
}

pub(super) fn density(density: Density) -> &'static [&'static str] {
    match density {
        Density::Sparse => &["sparse", "spacious"],
        Density::Medium => &[],
        Density::Dense => &["busy", "dense"],
    }
}

pub(super) fn articulation(articulation: Articulation) -> &'static [&'static str] {
    match articulation {
        Articulation::Staccato => &["staccato", "detached"],
        Articulation::Normal => &[],
        Articulation::Legato => &["legato", "smooth", "flowing"],
    }
}

/// Moods, by definition: each follows from tempo, third, loudness and percussion.
pub(super) fn mood(attributes: &Attributes) -> &'static [&'static str] {
    let major = attributes.mode.has_major_third();
    match (attributes.tempo, major, attributes.dynamics) {
        (Tempo::Fast, _, _) if attributes.percussion == Percussion::Drums => &["energetic", "driving"],
        (Tempo::Fast, false, Dynamics::Loud) => &["tense", "dramatic"],
        (Tempo::Fast, true, Dynamics::Medium | Dynamics::Loud | Dynamics::Crescendo) => &["cheerful", "happy"],
        (Tempo::Slow, true, Dynamics::Soft) => &["calm", "peaceful"],
        (Tempo::Slow, false, _) => &["sad", "melancholy"],
        _ => &[],
    }
}

/// The instrument before a noun, the usual word first.
pub(super) fn attributive(timbre: Timbre) -> &'static [&'static str] {
    match timbre {
        Timbre::Guitar => &["guitar", "plucked guitar"],
        Timbre::Piano => &["piano"],
        Timbre::Organ => &["organ", "pipe organ"],
        Timbre::Flute => &["flute"],
        Timbre::Bells => &["bell"],
        Timbre::Trumpet => &["trumpet", "brass"],
        Timbre::Strings => &["string"],
        Timbre::Marimba => &["marimba"],
        Timbre::Clarinet => &["clarinet"],
        Timbre::Synth => &["synth", "synthesizer"],
    }
}

/// The instrument on its own.
pub(super) fn player(timbre: Timbre) -> &'static [&'static str] {
    match timbre {
        Timbre::Guitar => &["a guitar", "a plucked guitar"],
        Timbre::Piano => &["a piano"],
        Timbre::Organ => &["a organ", "a pipe organ"],
        Timbre::Flute => &["a flute"],
        Timbre::Bells => &["bells"],
        Timbre::Trumpet => &["a trumpet"],
        Timbre::Strings => &["strings", "a string section"],
        Timbre::Marimba => &["a marimba"],
        Timbre::Clarinet => &["a clarinet"],
        Timbre::Synth => &["a synth", "a synthesizer"],
    }
}
