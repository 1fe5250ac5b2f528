//! What the predictor learns from: ratings, their order, their spread.

use burn::tensor::{Tensor, TensorData, activation::softplus};
use serde::{Deserialize, Serialize};

use super::{OPINION_RANGE, Opinions};
use crate::{Error, Result};

/// The ratings of one clip, as far as squared errors see them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    /// Number of ratings, above 0.
    pub count: usize,
    /// Their mean, in [1, 5].
    pub mean: f64,
    /// Sum of their squared deviations from the mean.
    pub scatter: f64,
}

impl Rated {
    /// Of ratings in [1, 5]; `None` of nothing or of a number outside.
    #[must_use]
    pub fn of(ratings: &[f64]) -> Option<Self> {
        let [low, high] = OPINION_RANGE;
        if ratings.is_empty() || !ratings.iter().all(|rating| (low..=high).contains(rating)) {
            return None;
        }
        let mean = ratings.iter().sum::<f64>() / ratings.len() as f64;
        let scatter = ratings.iter().map(|rating| (rating - mean) * (rating - mean)).sum();
        Some(Self { count: ratings.len(), mean, scatter })
    }
}

/// Weights of the loss's parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the order of pairs; 0: none. It is off by default: on simulated ratings it changed nothing.
    pub ranking_weight: f64,
    /// Pairs whose mean ratings differ by less say nothing about their order.
    pub ranking_gap: f64,
    /// Weight of the predicted spread; it moves the spread alone, never the mean.
    pub spread_weight: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self { ranking_weight: 0.0, ranking_gap: 0.5, spread_weight: 0.1 }
    }
}

impl LossConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            ("loss.ranking_weight", self.ranking_weight, 100.0),
            ("loss.ranking_gap", self.ranking_gap, 4.0),
            ("loss.spread_weight", self.spread_weight, 100.0),
        ];
        for (field, got, high) in rules {
            if !(0.0..=high).contains(&got) {
                return Err(Error::Config { field, expected: format!("from 0 to {high}"), got: got.to_string() });
            }
        }
        Ok(())
    }
}

/// The loss of a batch, and its parts as they are without their weights.
#[derive(Debug, Clone)]
pub struct Losses {
    /// `squared_error + ranking_weight * ranking + spread_weight * spread`.
    pub total: Tensor<1>,
    /// Mean over clips, weighted by their number of ratings, of the squared distance of prediction and mean rating.
    pub squared_error: Tensor<1>,
    /// Mean over ordered pairs of `log(1 + exp(-(predicted difference)))`; 0 without such a pair.
    pub ranking: Tensor<1>,
    /// Gaussian negative log-likelihood of a rating, without its constant, given the predicted mean.
    pub spread: Tensor<1>,
}

/// With n_i ratings of clip i, N of all, their mean m_i and scatter s_i, predictions mu_i and sigma_i, and the pairs
/// P = {(i, j): m_i - m_j >= gap}:
///
/// ```text
/// E = sum_i n_i (mu_i - m_i)^2 / N
/// R = mean over P of log(1 + exp(-(mu_i - mu_j)))                 (Burges et al., "RankNet", ICML 2005)
/// S = sum_i n_i ( log sigma_i + ((mu_i - m_i)^2 + s_i / n_i) / (2 sigma_i^2) ) / N      with mu_i held still
/// L = E + ranking_weight R + spread_weight S
/// ```
///
/// E differs from the mean squared error to every single rating by a constant, sum_i s_i / N. S does not move mu: a
/// likelihood would let the model care less for clips that it finds hard.
///
/// # Shapes
/// - opinions: \[clips\] each
///
/// # Errors
/// [`Error::Shape`] for another number of ratings than opinions, or none.
pub fn loss(opinions: &Opinions, rated: &[Rated], config: &LossConfig) -> Result<Losses> {
    let [clips] = opinions.mean.dims();
    if clips != rated.len() || clips == 0 || rated.iter().any(|rated| rated.count == 0) {
        return Err(Error::Shape {
            what: "rated clips",
            expected: format!("[{clips}], at least one, each with a rating"),
            got: format!("[{}]", rated.len()),
        });
    }
    let device = opinions.mean.device();
    let total = rated.iter().map(|rated| rated.count as f64).sum::<f64>();
    let row = |value: &dyn Fn(&Rated) -> f64| {
        let values: Vec<f32> = rated.iter().map(|rated| value(rated) as f32).collect();
        Tensor::<1>::from_data(TensorData::new(values, [clips]), &device)
    };
    let shares = row(&|rated| rated.count as f64 / total);
    let (means, variances) = (row(&|rated| rated.mean), row(&|rated| rated.scatter / rated.count as f64));
    let error = opinions.mean.clone() - means.clone();
    let squared_error = (shares.clone() * error.clone() * error).sum();

    let still = opinions.mean.clone().detach() - means;
    let misfit = (still.clone() * still + variances) / (opinions.spread.clone() * opinions.spread.clone());
    let spread = (shares * (opinions.spread.clone().log() + misfit.mul_scalar(0.5))).sum();

    let mut pairs = vec![0.0_f32; clips * clips];
    for (i, better) in rated.iter().enumerate() {
        for (j, worse) in rated.iter().enumerate() {
            // A gap of 0 asks for a difference, not for a clip to be better than itself.
            if better.mean > worse.mean && better.mean - worse.mean >= config.ranking_gap {
                pairs[i * clips + j] = 1.0;
            }
        }
    }
    let count = pairs.iter().sum::<f32>().max(1.0);
    let pairs = Tensor::<2>::from_data(TensorData::new(pairs, [clips, clips]), &device);
    let differences = opinions.mean.clone().reshape([clips, 1]) - opinions.mean.clone().reshape([1, clips]);
    let ranking = (softplus(differences.neg(), 1.0) * pairs).sum().div_scalar(count);

    let total = squared_error.clone()
        + ranking.clone().mul_scalar(config.ranking_weight)
        + spread.clone().mul_scalar(config.spread_weight);
    Ok(Losses { total, squared_error, ranking, spread })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn opinions(mean: &[f32], spread: &[f32], device: &Device) -> Opinions {
        let row = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
        Opinions { mean: row(mean), spread: row(spread) }
    }

    fn number(tensor: Tensor<1>) -> f64 {
        f64::from(tensor.into_scalar::<f32>())
    }

    #[test]
    fn worked_in_plain_numbers() {
        let (mean, spread) = ([2.0_f32, 3.5, 4.0, 4.1], [0.5_f32, 1.0, 0.7, 0.3]);
        let ratings = [vec![1.0, 2.0, 2.0], vec![3.0], vec![5.0, 4.0], vec![4.0, 5.0]];
        let rated: Vec<Rated> = ratings.iter().map(|ratings| Rated::of(ratings).unwrap()).collect();
        let config = LossConfig { ranking_weight: 0.3, ranking_gap: 1.0, spread_weight: 0.2 };
        let losses = loss(&opinions(&mean, &spread, &Device::flex()), &rated, &config).unwrap();

        let (mut error, mut likelihood, mut scatter) = (0.0, 0.0, 0.0);
        for ((mu, sigma), ratings) in mean.iter().zip(spread).zip(&ratings) {
            let (mu, sigma) = (f64::from(*mu), f64::from(sigma));
            for rating in ratings {
                error += (mu - rating).powi(2) / 8.0;
                likelihood += (sigma.ln() + (mu - rating).powi(2) / (2.0 * sigma * sigma)) / 8.0;
            }
            scatter += Rated::of(ratings).unwrap().scatter / 8.0;
        }
        // Single ratings, less what no prediction can change.
        assert!((number(losses.squared_error.clone()) - (error - scatter)).abs() < 1e-5);
        assert!((number(losses.spread.clone()) - likelihood).abs() < 1e-5);
        let worse = |better: usize, worse: usize| (1.0 + f64::from(mean[worse] - mean[better]).exp()).ln();
        let ranking = (worse(1, 0) + worse(2, 0) + worse(3, 0) + worse(2, 1) + worse(3, 1)) / 5.0;
        assert!((number(losses.ranking.clone()) - ranking).abs() < 1e-5);
        let total = error - scatter + 0.3 * ranking + 0.2 * likelihood;
        assert!((number(losses.total) - total).abs() < 1e-5);
    }

    #[test]
    fn the_spread_does_not_move_the_mean() {
        let device = Device::flex().autodiff();
        let opinions = opinions(&[2.0, 4.0], &[0.5, 1.0], &device);
        let opinions = Opinions { mean: opinions.mean.require_grad(), spread: opinions.spread.require_grad() };
        let rated = [Rated::of(&[4.0]).unwrap(), Rated::of(&[1.0]).unwrap()];
        let grads = loss(&opinions, &rated, &LossConfig::default()).unwrap().spread.backward();
        assert!(opinions.spread.grad(&grads).is_some());
        let moved = opinions.mean.grad(&grads).map_or(0.0, |grad| number(grad.abs().sum()));
        assert!(moved < 1e-12, "{moved}");
    }

    #[test]
    fn no_pairs_and_equal_ratings_are_no_accident() {
        let rated = [Rated::of(&[3.0]).unwrap(); 2];
        let config = LossConfig { ranking_gap: 0.0, ..LossConfig::default() };
        let losses = loss(&opinions(&[3.0, 3.0], &[1.0, 1.0], &Device::flex()), &rated, &config).unwrap();
        assert_eq!((number(losses.ranking), number(losses.squared_error)), (0.0, 0.0));
    }

    #[test]
    fn bad_ratings_and_settings_are_refused() {
        assert_eq!(Rated::of(&[]), None);
        assert_eq!(Rated::of(&[3.0, 5.1]), None);
        assert_eq!(Rated::of(&[f64::NAN]), None);
        let rated = [Rated::of(&[3.0]).unwrap()];
        let two = opinions(&[3.0, 3.0], &[1.0, 1.0], &Device::flex());
        assert!(loss(&two, &rated, &LossConfig::default()).is_err());
        for (config, field) in [
            (LossConfig { ranking_weight: -1.0, ..LossConfig::default() }, "ranking_weight"),
            (LossConfig { ranking_gap: f64::NAN, ..LossConfig::default() }, "ranking_gap"),
            (LossConfig { spread_weight: f64::INFINITY, ..LossConfig::default() }, "spread_weight"),
        ] {
            assert!(config.validate().unwrap_err().to_string().contains(field));
        }
    }
}
