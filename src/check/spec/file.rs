//! What FILE_CHECK asks.

use serde::Serialize;

/// The file whose number FILE_CHECK follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileQuestion {
    /// Name of its `track_file`.
    pub file: Box<str>,
    /// What the number is multiplied with; 0: any other number than 0 is a failure.
    pub weight: i32,
    /// The product counts with the other sign; with weight 0: the number 0 is the failure (keepalived `reverse`).
    pub is_reversed: bool,
}

/// What a number makes of the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It is well, and this is added to its weight.
    Adds(i64),
    /// It is down.
    Fails,
}

impl FileQuestion {
    /// What a number makes of the real server (keepalived: a product of -2147483648 or less is a failure).
    pub(crate) fn judge(&self, number: i64) -> Effect {
        if self.weight == 0 {
            let is_failure = (number != 0) != self.is_reversed;
            return if is_failure { Effect::Fails } else { Effect::Adds(0) };
        }
        let product = number.saturating_mul(i64::from(self.weight));
        let added = if self.is_reversed { product.saturating_neg() } else { product };
        if added <= i64::from(i32::MIN) { Effect::Fails } else { Effect::Adds(added) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_fails_weighs_or_means_nothing() {
        let judge = |weight, is_reversed, number| {
            FileQuestion { file: "f".into(), weight, is_reversed }.judge(number)
        };
        assert_eq!((judge(0, false, 0), judge(0, false, -7)), (Effect::Adds(0), Effect::Fails));
        assert_eq!((judge(0, true, 0), judge(0, true, 1)), (Effect::Fails, Effect::Adds(0)));
        assert_eq!((judge(2, false, 3), judge(2, true, 3)), (Effect::Adds(6), Effect::Adds(-6)));
        let least = i64::from(i32::MIN);
        assert_eq!(
            (judge(1, false, least), judge(1, false, least + 1)),
            (Effect::Fails, Effect::Adds(least + 1))
        );
        assert_eq!(judge(1, true, least), Effect::Adds(-least));
        assert_eq!(judge(i32::MAX, true, i64::MAX), Effect::Fails);
        assert_eq!(judge(-i32::MAX, false, i64::from(i32::MAX)), Effect::Fails);
    }
}
