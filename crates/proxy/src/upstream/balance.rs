//! Which of several upstreams a request goes to. Pure: what is random comes in as an argument.

/// How requests are spread over the upstreams of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Balance {
    /// To whoever has the fewest under way; in turn, where several have.
    LeastRequests,
    /// Of two at random to the one that has fewer under way.
    PowerOfTwo,
    /// In turn.
    #[default]
    RoundRobin,
}

/// Some upstreams of a group, by their index in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members(u64);

impl Members {
    /// The first so many, [`MAX_UPSTREAMS`] at most.
    pub(super) fn first(count: usize) -> Self {
        (0..count).fold(Self::default(), Self::with)
    }

    pub(crate) fn with(self, index: usize) -> Self {
        Self(self.0 | 1 << index)
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_UPSTREAMS).filter(move |index| self.has(*index))
    }

    pub(super) fn has(self, index: usize) -> bool {
        self.0 >> index & 1 == 1
    }

    fn count(self) -> u64 {
        self.0.count_ones().into()
    }

    fn nth(self, number: u64) -> Option<usize> {
        self.iter().nth(usize::try_from(number).ok()?)
    }
}

impl Balance {
    /// One of `among`; `None`: there is none. `turn` is one more each time, `load` how much is under way at one.
    pub(super) fn pick(
        self,
        among: Members,
        turn: u64,
        random: u64,
        load: impl Fn(usize) -> usize,
    ) -> Option<usize> {
        let count = among.count();
        if count <= 1 {
            return among.nth(0);
        }
        match self {
            // Counted among those that are there, so that nobody gets the share of a neighbour that rests.
            Self::RoundRobin => among.nth(turn % count),
            Self::LeastRequests => (0..count)
                .filter_map(|later| among.nth((turn % count + later) % count))
                .min_by_key(|index| load(*index)),
            Self::PowerOfTwo => {
                let one = random % count;
                let other = (one + 1 + (random >> 32) % (count - 1)) % count;
                let (one, other) = (among.nth(one)?, among.nth(other)?);
                Some(if load(other) < load(one) { other } else { one })
            }
        }
    }
}

/// As many as [`Members`] has bits; more want a balancer of their own.
pub(crate) const MAX_UPSTREAMS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Balance; 3] = [
        Balance::LeastRequests,
        Balance::PowerOfTwo,
        Balance::RoundRobin,
    ];

    fn picks(balance: Balance, among: Members, loads: &[usize]) -> Vec<usize> {
        let mut picked = vec![0; loads.len()];
        for turn in 0..600 {
            // Any sequence will do whose halves both vary.
            let random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(turn).rotate_left(17);
            let index = balance.pick(among, turn, random, |index| loads[index]);
            picked[index.expect("there are some")] += 1;
        }
        picked
    }

    #[test]
    fn nobody_is_picked_of_nobody_and_the_only_one_always() {
        for balance in ALL {
            assert_eq!(balance.pick(Members::default(), 7, 7, |_| 0), None);
            let last = Members::default().with(MAX_UPSTREAMS - 1);
            assert_eq!(balance.pick(last, 7, 7, |_| 9), Some(MAX_UPSTREAMS - 1));
        }
        let all = Members::first(MAX_UPSTREAMS);
        assert_eq!(all.iter().count(), MAX_UPSTREAMS);
        assert!(all.without(all).is_empty());
    }

    #[test]
    fn round_robin_is_fair_and_leaves_nobody_the_share_of_one_that_rests() {
        let all = Members::first(4);
        assert_eq!(
            picks(Balance::RoundRobin, all, &[9, 0, 0, 0]),
            [150, 150, 150, 150]
        );
        let three = all.without(Members::default().with(1));
        assert_eq!(
            picks(Balance::RoundRobin, three, &[0; 4]),
            [200, 0, 200, 200]
        );
    }

    #[test]
    fn least_requests_goes_to_the_least_and_in_turn_among_equals() {
        let all = Members::first(3);
        assert_eq!(picks(Balance::LeastRequests, all, &[2, 1, 2]), [0, 600, 0]);
        let picked = picks(Balance::LeastRequests, all, &[1, 2, 1]);
        assert_eq!((picked[0] + picked[2], picked[1]), (600, 0));
        assert!(picked[0] >= 200 && picked[2] >= 200, "{picked:?}");
    }

    #[test]
    fn power_of_two_never_goes_to_the_fullest_and_to_each_other() {
        let picked = picks(Balance::PowerOfTwo, Members::first(4), &[1, 1, 9, 1]);
        assert_eq!(picked[2], 0, "{picked:?}");
        assert!(
            [0, 1, 3].iter().all(|&index| picked[index] > 100),
            "{picked:?}"
        );
    }
}
