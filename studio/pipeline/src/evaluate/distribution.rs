//! Embeddings of the systems' clips against those of a reference, and how spread they are.

use musicrl_core::{
    reward::AudioView,
    stats::distribution::{
        Diversity, Gaussian, Kernel, Mmd, Points, Shrinkage, diversity, frechet_distance, median_distance, mmd,
    },
};
use musicrl_rewards::{Error as RewardsError, TextAudioModel};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{keys, reference::ReferenceSource};
use crate::{Error, Result};

/// Clips of one source by the measures that need no listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// The system, or what else the clips are.
    pub name: String,
    /// Clips with an embedding.
    pub clips: usize,
    /// Clips without one: shorter than a window of the embedding.
    pub not_embedded: usize,
    /// Squared Frechet distance to the reference; too large on average, the more so the fewer the clips.
    pub frechet: Option<f64>,
    /// How far the covariance was drawn to the identity.
    pub shrinkage: Option<f64>,
    /// Squared maximum mean discrepancy to the reference.
    pub mmd: Option<Mmd>,
    /// Cosine distances within prompts and between them.
    pub diversity: Diversity,
}

/// What embeddings say of all systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistributionReport {
    /// The reference; `None` without one.
    pub reference: Option<ReferenceInfo>,
    /// Other clips of the reference's source, as many as a system has where there are so many: what a system that played
    /// just like the reference would get.
    pub floor: Option<SetReport>,
    /// Each system.
    pub systems: Vec<SetReport>,
}

/// The reference set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceInfo {
    /// Where it comes from.
    pub source: ReferenceSource,
    /// Its clips.
    pub clips: usize,
    /// The discrepancy's kernel: Gaussian, the reference's median distance its bandwidth.
    pub kernel: Kernel,
    /// Cosine distances between its clips (of different tracks) and within tracks.
    pub diversity: Diversity,
}

/// Embeddings of clips, each with the group (prompt, track) that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Embedded {
    rows: Vec<f64>,
    groups: Vec<usize>,
    missing: usize,
}

impl Embedded {
    pub(super) fn push(&mut self, row: Option<Vec<f64>>, group: usize) {
        match row {
            Some(row) => {
                self.rows.extend(row);
                self.groups.push(group);
            }
            None => self.missing += 1,
        }
    }
}

/// One vector a clip; `None` for a clip that is too short for one.
pub(super) fn embed(model: &TextAudioModel, clips: &[&[f32]], sample_rate_hz: u32) -> Result<Vec<Option<Vec<f64>>>> {
    let embed = |samples: &&[f32]| match model.embed_clips(&[AudioView { samples, sample_rate_hz }]) {
        Ok(row) => Ok(Some(row.into_data().iter::<f64>().collect())),
        Err(RewardsError::Audio { .. }) => Ok(None),
        Err(error) => Err(Error::from(error)),
    };
    clips.par_iter().map(embed).collect()
}

/// What everything is measured against.
struct Yardstick {
    points: Points,
    groups: Vec<usize>,
    gaussian: Gaussian,
    kernel: Kernel,
}

/// The report; `reference` is its source, its own embeddings and those of the floor.
pub(super) fn distribution_report(
    systems: Vec<(String, Embedded)>,
    reference: Option<(ReferenceSource, Embedded, Embedded)>,
    dim: usize,
    permutations: usize,
    seed: u64,
) -> Result<DistributionReport> {
    let (mut info, mut yardstick, mut floor_clips) = (None, None, None);
    if let Some((source, clips, floor)) = reference {
        let points = Points::new(clips.rows, dim)?;
        if points.len() < 2 {
            let got = format!("{} long enough, {} too short", points.len(), clips.missing);
            return Err(Error::config("reference", "at least 2 clips that can be embedded", got));
        }
        let kernel = Kernel::Gaussian { bandwidth: median_distance(&points)? };
        let gaussian = Gaussian::fit(&points, Shrinkage::LedoitWolf)?;
        let diversity = diversity(&points, &clips.groups)?;
        info = Some(ReferenceInfo { source, clips: points.len(), kernel, diversity });
        yardstick = Some(Yardstick { points, groups: clips.groups, gaussian, kernel });
        floor_clips = Some(floor);
    }
    let measure = |name: String, clips: Embedded| set_report(name, clips, dim, yardstick.as_ref(), permutations, seed);
    let floor = match floor_clips.filter(|floor| !floor.groups.is_empty()) {
        Some(floor) => Some(measure("other clips of the reference's source".into(), floor)?),
        None => None,
    };
    let systems = systems.into_iter().map(|(name, clips)| measure(name, clips)).collect::<Result<_>>()?;
    Ok(DistributionReport { reference: info, floor, systems })
}

fn set_report(
    name: String,
    clips: Embedded,
    dim: usize,
    yardstick: Option<&Yardstick>,
    permutations: usize,
    seed: u64,
) -> Result<SetReport> {
    let points = Points::new(clips.rows, dim)?;
    let mut report = SetReport {
        name,
        clips: points.len(),
        not_embedded: clips.missing,
        frechet: None,
        shrinkage: None,
        mmd: None,
        diversity: diversity(&points, &clips.groups)?,
    };
    if let Some(yardstick) = yardstick.filter(|_| points.len() >= 2) {
        let gaussian = Gaussian::fit(&points, Shrinkage::LedoitWolf)?;
        report.shrinkage = Some(gaussian.shrinkage());
        report.frechet = Some(frechet_distance(&gaussian, &yardstick.gaussian)?);
        let (a, b) = ((&points, clips.groups.as_slice()), (&yardstick.points, yardstick.groups.as_slice()));
        report.mmd = Some(mmd(a, b, &yardstick.kernel, permutations, keys::permutation(seed))?);
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use musicrl_core::random::{Key, Purpose};

    use super::*;

    fn cloud(seed: u64, n: usize, shift: f64) -> Embedded {
        let mut random = Key::new(seed, Purpose::Test).stream();
        let mut clips = Embedded::default();
        for group in 0..n {
            clips.push(Some((0..3).map(|_| shift + random.normal()).collect()), group);
        }
        clips.push(None, 0);
        clips
    }

    #[test]
    fn the_floor_is_below_a_system_that_plays_otherwise() {
        let systems = vec![("near".to_string(), cloud(1, 40, 0.0)), ("far".to_string(), cloud(2, 40, 2.0))];
        let reference = (ReferenceSource::Etudes, cloud(3, 80, 0.0), cloud(4, 40, 0.0));
        let made = distribution_report(systems, Some(reference), 3, 199, 1).unwrap();
        let (near, far, floor) = (&made.systems[0], &made.systems[1], made.floor.as_ref().unwrap());
        assert_eq!((near.clips, near.not_embedded, made.reference.unwrap().clips), (40, 1, 80));
        let frechet = |set: &SetReport| set.frechet.unwrap();
        assert!(frechet(far) > 10.0 * frechet(floor) && frechet(near) < 5.0 * frechet(floor));
        assert!(far.mmd.unwrap().p_value < 0.01 && floor.mmd.unwrap().p_value > 0.02);
    }

    #[test]
    fn without_a_reference_there_is_diversity_alone() {
        let made = distribution_report(vec![("a".into(), cloud(1, 5, 0.0))], None, 3, 9, 1).unwrap();
        assert!(made.systems[0].frechet.is_none() && made.systems[0].diversity.between.is_some());
        let empty = (ReferenceSource::Etudes, Embedded::default(), Embedded::default());
        assert!(distribution_report(Vec::new(), Some(empty), 3, 9, 1).is_err());
        let made = distribution_report(vec![("a".into(), Embedded::default())], None, 3, 9, 1).unwrap();
        assert_eq!((made.systems[0].clips, made.systems[0].diversity.between), (0, None));
    }
}
