//! A preference set as clips and pairs, divided by caption.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use musicrl_core::{policy::HierarchicalPolicyConfig, preference::Judgement, tokens::TokenLayout};
use musicrl_feedback::{JudgementRecord, PreferenceSet, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    clips::PreferenceClip,
    encode::EncodeConfig,
    read::{nothing_counts, read_set},
};
use crate::{
    Error, Result,
    bundle::{Bundle, part},
};

/// Whose judgements count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    /// Everyone's.
    #[default]
    All,
    /// People's.
    Human,
    /// Those of listeners that the program simulates.
    Simulated,
}

/// Which judgements and how their clips are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Whose judgements count.
    pub sources: Sources,
    /// Only these listeners'; everyone's when it is empty.
    pub listeners: Vec<String>,
    /// Only these populations' of simulated listeners, and no person's; everyone's when it is empty.
    pub populations: Vec<String>,
    /// Clips from sound files.
    pub encode: EncodeConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { sources: Sources::All, listeners: Vec::new(), populations: Vec::new(), encode: EncodeConfig::default() }
    }
}

impl DataConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        self.encode.validate()
    }

    /// Whether a judgement that counts is one of these.
    #[must_use]
    pub fn takes(&self, judgement: &JudgementRecord) -> bool {
        let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|listed| listed == name);
        let (source, population) = match &judgement.source {
            Source::Human => (self.sources != Sources::Simulated, self.populations.is_empty()),
            Source::Simulated { population } => (self.sources != Sources::Human, listed(&self.populations, population)),
        };
        judgement.counts() && source && population && listed(&self.listeners, &judgement.listener)
    }
}

/// What a model is given of a clip beside its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// The caption, as condition tokens.
    pub text: bool,
    /// Descriptors of the sound.
    pub sound: bool,
}

/// One judgement of two clips.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The clip that was offered first, by index.
    pub a: usize,
    /// The other one.
    pub b: usize,
    /// What was said, with margin and confidence as they were recorded.
    pub judgement: Judgement,
    /// Pairs with a caption in common, directly or through other pairs, are of one cluster.
    pub cluster: usize,
}

/// Pairs that count and their clips.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceData {
    clips: Vec<PreferenceClip>,
    pairs: Vec<Pair>,
    /// The first of each cluster's captions, by the alphabet.
    clusters: Vec<String>,
}

impl PreferenceData {
    /// Clips with their captions, and judgements of them by index. Judgements that do not count are left out; clips of
    /// an empty caption share it with no other clip.
    ///
    /// # Errors
    /// [`Error::Config`] when none counts; [`Error::Core`] for a clip that does not fit the layout or a judgement of a
    /// clip that is not there.
    pub fn new(
        layout: &TokenLayout,
        clips: Vec<(String, PreferenceClip)>,
        judgements: &[(usize, usize, Judgement)],
    ) -> Result<Self> {
        for (index, (_, clip)) in clips.iter().enumerate() {
            layout.check_clip(index, &clip.tokens)?;
            if clip.tokens.frames == 0 {
                let (expected, got) = ("at least one frame".into(), format!("none in clip {index}"));
                return Err(musicrl_core::Error::Shape { what: "tokens", expected, got }.into());
            }
        }
        let counted: Vec<&(usize, usize, Judgement)> =
            judgements.iter().filter(|(.., judgement)| judgement.counted_weight() > 0.0).collect();
        if counted.is_empty() {
            return Err(nothing_counts(judgements.len()));
        }
        if let Some((a, b, _)) = counted.iter().find(|(a, b, _)| *a.max(b) >= clips.len()) {
            let (expected, got) = (format!("clips below {}", clips.len()), format!("{a} and {b}"));
            return Err(musicrl_core::Error::Shape { what: "judgement", expected, got }.into());
        }
        let captions: Vec<&str> = clips.iter().map(|(caption, _)| caption.as_str()).collect();
        let (cluster_of, clusters) = clusters(&captions, &counted);
        let pairs = counted
            .into_iter()
            .map(|(a, b, judgement)| Pair { a: *a, b: *b, judgement: *judgement, cluster: cluster_of[*a] })
            .collect();
        Ok(Self { clips: clips.into_iter().map(|(_, clip)| clip).collect(), pairs, clusters })
    }

    /// The pairs of a set that `config` takes. Clips without tokens go through the bundle's codec; where text is read,
    /// captions become condition tokens by its text-audio embedding; where sound is, every clip is heard and described.
    /// `progress` is called with the sound files, or the clips, done and their number.
    ///
    /// # Errors
    /// [`Error::Config`] when no judgement counts, or a clip has no caption, neither tokens nor sound, or tokens that do
    /// not fit the bundle's policy, naming the clip; when a model is missing.
    pub fn of_set(
        set: &PreferenceSet,
        config: &DataConfig,
        reads: Reads,
        bundle: &Bundle,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        Self::of_sets(std::slice::from_ref(set), config, reads, bundle, device, progress)
    }

    /// As [`PreferenceData::of_set`], of several sets: the pairs of the first, then those of the second, and so on. Clips of
    /// different sets are different clips, whatever they are called there; captions are compared across sets.
    ///
    /// # Errors
    /// As [`PreferenceData::of_set`], for every set.
    pub fn of_sets(
        sets: &[PreferenceSet],
        config: &DataConfig,
        reads: Reads,
        bundle: &Bundle,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        config.validate()?;
        let layout = bundle.config::<HierarchicalPolicyConfig>(part::POLICY)?.layout;
        let (mut clips, mut judgements) = (Vec::new(), Vec::new());
        for set in sets {
            let (others, first) = (read_set(set, config, reads, &layout, bundle, device, progress)?, clips.len());
            clips.extend(others.0);
            judgements.extend(others.1.into_iter().map(|(a, b, judgement)| (a + first, b + first, judgement)));
        }
        Self::new(&layout, clips, &judgements)
    }

    /// The clips.
    #[must_use]
    pub fn clips(&self) -> &[PreferenceClip] {
        &self.clips
    }

    /// The pairs, all of which count.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// One caption of each cluster of pairs.
    #[must_use]
    pub fn clusters(&self) -> &[String] {
        &self.clusters
    }

    /// Other judgements of the same clips, which are of the same clusters; those that do not count are left out.
    ///
    /// # Errors
    /// [`Error::Config`] when none counts, or for one of clips that no pair of this data holds together.
    pub fn with_judgements(&self, judgements: &[(usize, usize, Judgement)]) -> Result<Self> {
        let cluster_of: BTreeMap<usize, usize> =
            self.pairs.iter().flat_map(|pair| [(pair.a, pair.cluster), (pair.b, pair.cluster)]).collect();
        let mut pairs = Vec::with_capacity(judgements.len());
        for (a, b, judgement) in judgements.iter().filter(|(.., judgement)| judgement.counted_weight() > 0.0) {
            match (cluster_of.get(a), cluster_of.get(b)) {
                (Some(cluster), Some(other)) if cluster == other => {
                    pairs.push(Pair { a: *a, b: *b, judgement: *judgement, cluster: *cluster });
                }
                _ => {
                    return Err(Error::config(
                        "preferences",
                        "clips that were compared before",
                        format!("{a} and {b}"),
                    ));
                }
            }
        }
        if pairs.is_empty() {
            return Err(nothing_counts(judgements.len()));
        }
        Ok(Self { clips: self.clips.clone(), pairs, clusters: self.clusters.clone() })
    }

    /// The hash of all that a model learns from: conditions, tokens and judgements. A run must not go on with others.
    /// Descriptors follow from the rest and are no part of it.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        for clip in &self.clips {
            hash.update(format!("clip {:?} {} {}\n", clip.condition, clip.tokens.frames, clip.tokens.slots));
            clip.tokens.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        }
        for Pair { a, b, judgement: Judgement { outcome, margin, weight }, cluster } in &self.pairs {
            hash.update(format!("pair {a} {b} {outcome:?} {margin} {weight} {cluster}\n"));
        }
        for caption in &self.clusters {
            hash.update(format!("cluster {caption:?}\n"));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Frames of the longest clip.
    #[must_use]
    pub fn frames_max(&self) -> usize {
        self.clips.iter().map(|clip| clip.tokens.frames).max().unwrap_or(0)
    }
}

/// Connected parts of captions that are compared with each other: for each clip its part, and each part's first caption.
/// Clips that no pair has get a number beyond all parts.
fn clusters(captions: &[&str], pairs: &[&(usize, usize, Judgement)]) -> (Vec<usize>, Vec<String>) {
    // A tree of clips each of which points at an earlier one, or at itself.
    let mut parent: Vec<usize> = (0..captions.len()).collect();
    fn root(parent: &mut [usize], mut clip: usize) -> usize {
        while parent[clip] != clip {
            parent[clip] = parent[parent[clip]];
            clip = parent[clip];
        }
        clip
    }
    let mut join = |a: usize, b: usize| {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b)] = a.min(b);
    };
    let mut first_of: BTreeMap<&str, usize> = BTreeMap::new();
    let paired: BTreeSet<usize> = pairs.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
    for clip in &paired {
        if !captions[*clip].trim().is_empty() {
            join(*first_of.entry(captions[*clip]).or_insert(*clip), *clip);
        }
    }
    pairs.iter().for_each(|(a, b, _)| join(*a, *b));
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let mut roots = vec![None; captions.len()];
    for clip in paired {
        let at = root(&mut parent, clip);
        roots[clip] = Some(at);
        // Clips without a caption are told apart by their place.
        let name = if captions[clip].trim().is_empty() { format!("#{clip}") } else { captions[clip].to_string() };
        let least = names.entry(at).or_insert_with(|| name.clone());
        if name < *least {
            *least = name;
        }
    }
    let numbers: BTreeMap<usize, usize> = names.keys().enumerate().map(|(number, at)| (*at, number)).collect();
    let number = |at: &Option<usize>| at.and_then(|at| numbers.get(&at).copied()).unwrap_or(numbers.len());
    (roots.iter().map(number).collect(), names.into_values().collect())
}

#[cfg(test)]
mod tests {
    use musicrl_core::{preference::Outcome, tokens::Tokens};
    use musicrl_feedback::{ClipRecord, PreferenceSet};

    use super::*;
    use crate::train::preference::fixture;

    fn clip() -> PreferenceClip {
        PreferenceClip { condition: None, tokens: Tokens::new(vec![0, 1, 2, 3], 2).unwrap(), descriptors: None }
    }

    fn data(captions: &[&str], pairs: &[(usize, usize)]) -> Result<PreferenceData> {
        let clips = captions.iter().map(|caption| (caption.to_string(), clip())).collect();
        let judgements: Vec<_> = pairs.iter().map(|(a, b)| (*a, *b, Outcome::BetterA.into())).collect();
        PreferenceData::new(&fixture::layout(), clips, &judgements)
    }

    #[test]
    fn captions_that_are_compared_hang_together() {
        let captions = ["b", "b", "a", "c", "c", "d", "", ""];
        let pairs = [(0, 1), (3, 4), (1, 2), (5, 4), (6, 7)];
        let data = data(&captions, &pairs).unwrap();
        let clusters: Vec<usize> = data.pairs().iter().map(|pair| pair.cluster).collect();
        assert_eq!(clusters, [0, 1, 0, 1, 2]);
        assert_eq!(data.clusters(), ["a", "c", "#6"]);
        let mut other = data.clone();
        assert_eq!(other.identity(), data.identity());
        other.pairs[2].judgement.weight = 0.5;
        assert_ne!(other.identity(), data.identity());
        // Another's judgements of the same clips fall into the same clusters.
        let other = data.with_judgements(&[(5, 3, Outcome::Tie.into()), (0, 1, Outcome::Skipped.into())]).unwrap();
        assert_eq!((other.pairs().len(), other.pairs()[0].cluster), (1, 1));
        assert_eq!(other.clusters(), data.clusters());
        assert!(data.with_judgements(&[(0, 5, Outcome::Tie.into())]).is_err());
        assert!(data.with_judgements(&[(0, 1, Outcome::Skipped.into())]).is_err());
    }

    #[test]
    fn only_pairs_that_count_are_taken_and_none_is_an_error() {
        let clips = || (0..3).map(|_| ("x".to_string(), clip())).collect::<Vec<_>>();
        let judgement = |outcome: Outcome, weight| Judgement { weight, ..outcome.into() };
        let judgements = [
            (0, 1, judgement(Outcome::Skipped, 1.0)),
            (0, 2, judgement(Outcome::Tie, 0.0)),
            (1, 2, Outcome::Tie.into()),
        ];
        let data = PreferenceData::new(&fixture::layout(), clips(), &judgements).unwrap();
        assert_eq!(data.pairs().len(), 1);
        let error = PreferenceData::new(&fixture::layout(), clips(), &judgements[..2]).unwrap_err().to_string();
        assert!(error.contains("none of 2"), "{error}");
        let beyond = [(0, 3, Outcome::Tie.into())];
        assert!(PreferenceData::new(&fixture::layout(), clips(), &beyond).is_err());
        let mut strange = clips();
        strange[1].1.tokens.ids[1] = 99;
        let error = PreferenceData::new(&fixture::layout(), strange, &judgements).unwrap_err().to_string();
        assert!(error.contains("99") && error.contains("clip 1"), "{error}");
    }

    #[test]
    fn judgements_are_chosen_by_who_gave_them() {
        let by = |listener: &str, source| JudgementRecord::new("a", "b", Outcome::BetterA, listener, source);
        let village = || Source::Simulated { population: "village".into() };
        let (anna, robot) = (by("anna", Source::Human), by("robot", village()));
        let takes = |config: DataConfig| [config.takes(&anna), config.takes(&robot)];
        let config = DataConfig::default;
        assert_eq!(takes(config()), [true, true]);
        assert_eq!(takes(DataConfig { sources: Sources::Human, ..config() }), [true, false]);
        assert_eq!(takes(DataConfig { sources: Sources::Simulated, ..config() }), [false, true]);
        assert_eq!(takes(DataConfig { listeners: vec!["anna".into()], ..config() }), [true, false]);
        assert_eq!(takes(DataConfig { populations: vec!["village".into()], ..config() }), [false, true]);
        assert_eq!(takes(DataConfig { populations: vec!["town".into()], ..config() }), [false, false]);
        assert!(!config().takes(&JudgementRecord { heard: [true, false], ..anna.clone() }));
    }

    #[test]
    fn a_set_that_cannot_be_learned_from_says_which_clip() {
        let folder = tempfile::tempdir().unwrap();
        let mut set = PreferenceSet::create(&folder.path().join("set")).unwrap();
        let clip = |id: &str, caption: &str, tokens: &[u32]| ClipRecord {
            tokens: tokens.to_vec(),
            slots: if tokens.is_empty() { 0 } else { 2 },
            ..ClipRecord::new(id, caption, "base")
        };
        set.add_clips(vec![
            clip("good", "a waltz", &[0, 1]),
            clip("mute", "a waltz", &[]),
            clip("nameless", " ", &[0, 1]),
            clip("large", "a waltz", &[0, 77]),
            clip("other", "a waltz", &[1, 1, 0, 2]),
        ])
        .unwrap();
        let bundle = fixture::bundle();
        let check = |b: &str, text: bool, outcome: Outcome| {
            let mut set = PreferenceSet::open(set.path()).unwrap();
            std::fs::write(set.path().join("judgements.jsonl"), "").unwrap();
            set.add_judgements(vec![JudgementRecord::new("good", b, outcome, "anna", Source::Human)]).unwrap();
            let set = PreferenceSet::open(set.path()).unwrap();
            let progress = &mut |_: usize, _: usize| Ok(());
            let reads = Reads { text, sound: false };
            PreferenceData::of_set(&set, &DataConfig::default(), reads, &bundle, &Device::flex(), progress)
                .map_err(|error| error.to_string())
        };
        let data = check("other", false, Outcome::Tie).unwrap();
        assert_eq!((data.clips().len(), data.pairs().len(), data.frames_max()), (2, 1, 2));
        // Two sets whose clips have the same names: other clips of the same caption, and so one cluster.
        let sets = [&set, &set].map(|set| PreferenceSet::open(set.path()).unwrap());
        let (config, progress) = (DataConfig::default(), &mut |_: usize, _: usize| Ok(()));
        let reads = Reads { text: false, sound: false };
        let both = PreferenceData::of_sets(&sets, &config, reads, &bundle, &Device::flex(), progress).unwrap();
        assert_eq!((both.clips().len(), both.clusters().len()), (4, 1));
        assert_eq!(both.pairs().iter().map(|pair| (pair.a, pair.b)).collect::<Vec<_>>(), [(0, 1), (2, 3)]);
        assert_ne!(both.identity(), data.identity());
        for (b, text, outcome, parts) in [
            ("other", false, Outcome::Skipped, ["none of 1", "counts"]),
            ("mute", false, Outcome::Tie, ["`mute`", "neither"]),
            ("nameless", true, Outcome::Tie, ["`nameless`", "caption"]),
            ("large", false, Outcome::Tie, ["`large`", "77"]),
            ("other", true, Outcome::Tie, ["text_audio", "train"]),
        ] {
            let error = check(b, text, outcome).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{b}: {error}");
        }
    }
}
