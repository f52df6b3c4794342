//! Seeded chance: the same seed gives the same sample data on every machine.
//!
//! A generator of our own, since the ones in libraries may change their sequence between
//! versions. It is splitmix64: fine for sample data, useless for secrets.

use entities::Instant;

/// Letters of a case's reference, as the product draws them.
const PLAIN: &[u8; 27] = b"23456789BCDFGHJKMNPQRSTVWXZ";

/// A stream of seeded chance.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A stream from a seed.
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// A stream of its own for one thing of many, so that a change in one case leaves the others.
    pub(crate) fn fork(&self, label: u64) -> Chance {
        let mut other = Chance(self.0 ^ label.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        other.next();
        other
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub(crate) fn yes(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A whole number from `from` to `to`, both included.
    pub(crate) fn int(&mut self, from: i64, to: i64) -> i64 {
        let width = u64::try_from(to - from + 1).unwrap_or(1).max(1);
        from + i64::try_from(self.next() % width).unwrap_or(0)
    }

    /// One of a list, which must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let at = usize::try_from(self.next() % list.len().max(1) as u64).unwrap_or(0);
        list[at]
    }

    /// One of a list by weight.
    pub(crate) fn weighted<T: Copy>(&mut self, list: &[(f64, T)]) -> T {
        let mut left = self.unit() * list.iter().map(|(weight, _)| weight).sum::<f64>();
        for (weight, item) in list {
            left -= weight;
            if left < 0.0 {
                return *item;
            }
        }
        list[list.len() - 1].1
    }

    /// The standard normal distribution.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// The lognormal distribution by its median and the deviation of its logarithm.
    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// The Poisson distribution; for means up to some hundred.
    pub(crate) fn poisson(&mut self, mean: f64) -> i64 {
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, self.unit());
        while product > limit {
            count += 1;
            product *= self.unit();
        }
        count
    }

    /// The exponential distribution.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A row id that carries the given time: a UUIDv7 whose random part comes from the seed.
    pub(crate) fn id(&mut self, at: Instant) -> String {
        let mut random = [0u8; 10];
        random[..8].copy_from_slice(&self.next().to_be_bytes());
        random[8..].copy_from_slice(&self.next().to_be_bytes()[..2]);
        let ms = u64::try_from(at.0).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string()
    }

    /// A reference as cases and referrals bear it.
    pub(crate) fn reference(&mut self) -> String {
        (0..9).map(|_| char::from(self.pick(PLAIN))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence_for_ever() {
        let mut chance = Chance::new(7);
        assert_eq!([chance.next(), chance.next()], [7_191_089_600_892_374_487, 309_689_372_594_955_804]);
        assert_eq!(chance.reference().len(), 9);
    }

    #[test]
    fn the_distributions_have_the_middle_they_are_asked_for() {
        let mut chance = Chance::new(1);
        let n = 20_000;
        let mean = |sum: f64| sum / f64::from(n);
        let poisson = mean((0..n).map(|_| chance.poisson(2.4) as f64).sum());
        assert!((2.3..2.5).contains(&poisson), "{poisson}");
        let normal = mean((0..n).map(|_| chance.normal()).sum());
        assert!(normal.abs() < 0.03, "{normal}");
        let exponential = mean((0..n).map(|_| chance.exponential(15.0)).sum());
        assert!((14.5..15.5).contains(&exponential), "{exponential}");
        let mut long: Vec<f64> = (0..n).map(|_| chance.lognormal(120.0, 0.9)).collect();
        long.sort_by(f64::total_cmp);
        assert!((115.0..125.0).contains(&long[10_000]), "{}", long[10_000]);
        assert!((350.0..410.0).contains(&long[18_000]), "{}", long[18_000]);
    }
}
