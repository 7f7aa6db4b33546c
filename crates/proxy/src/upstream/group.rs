//! Several upstreams of one kind that do the same, and the way of one request or connection among them.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::balance::{Balance, Members};
use super::budget::Budget;
use super::{Address, HealthCheck, Upstream, UpstreamFault, UpstreamPool};

/// Where a route or a listener forwards: to one of these, [`MAX_UPSTREAMS`](super::MAX_UPSTREAMS) at most, and one at least.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    members: Vec<Upstream>,
    balance: Balance,
    /// How each is looked at while nobody asks for anything.
    check: Option<Arc<HealthCheck>>,
}

/// What one worker knows of a group, by the value of that, so that it outlives reloads.
pub(super) struct Standing {
    turn: Cell<u64>,
    random: Cell<u64>,
    under_way: Vec<Rc<Cell<usize>>>,
    budget: RefCell<Budget>,
    used_at: Cell<Instant>,
}

/// The upstream that one request or connection goes to, and those where it was before.
pub(crate) struct Choice {
    group: Arc<Group>,
    pool: Rc<UpstreamPool>,
    /// Of a group of several.
    standing: Option<Rc<Standing>>,
    index: usize,
    tried: Members,
}

/// Counts a request as under way at an upstream until it is dropped.
pub(crate) struct UnderWay(Rc<Cell<usize>>);

impl Group {
    pub(crate) fn new(members: Vec<Upstream>, balance: Balance) -> Arc<Self> {
        assert!(
            (1..=super::MAX_UPSTREAMS).contains(&members.len()),
            "the configuration refuses others"
        );
        Arc::new(Self {
            members,
            balance,
            check: None,
        })
    }

    /// The same, looked at.
    pub(crate) fn checked_by(&self, check: HealthCheck) -> Arc<Self> {
        Arc::new(Self {
            check: Some(Arc::new(check)),
            ..self.clone()
        })
    }

    pub(crate) fn check(&self) -> Option<&Arc<HealthCheck>> {
        self.check.as_ref()
    }

    pub(crate) fn members(&self) -> &[Upstream] {
        &self.members
    }

    pub(crate) fn of_one(upstream: Upstream) -> Arc<Self> {
        Self::new(vec![upstream], Balance::default())
    }

    /// All have its kind, and what goes for all.
    pub(crate) fn first(&self) -> &Upstream {
        &self.members[0]
    }

    /// Whether what went to `before` may go on there.
    pub(crate) fn is_still(&self, before: &Upstream) -> bool {
        self.members.iter().any(|it| it.is_still(before))
    }

    fn addresses(&self) -> impl Iterator<Item = (usize, &Arc<Address>)> {
        let addresses = self.members.iter().map(Upstream::address).enumerate();
        addresses.filter_map(|(index, address)| Some((index, address?)))
    }
}

impl Standing {
    pub(super) fn new(group: &Group) -> Rc<Self> {
        let now = Instant::now();
        // The standard library's only source of randomness; nobody is hurt by guessing it.
        let seed = RandomState::new().hash_one(0);
        Rc::new(Self {
            // Workers and gateways that start together do not all begin with the first.
            turn: Cell::new(seed >> 8),
            random: Cell::new(seed),
            under_way: group.members.iter().map(|_| Rc::default()).collect(),
            budget: RefCell::new(Budget::new(now)),
            used_at: Cell::new(now),
        })
    }

    /// Whether it is worth keeping.
    pub(super) fn is_used(&self, now: Instant) -> bool {
        self.used_at.get() + FORGOTTEN_AFTER > now
    }

    /// `SplitMix64`.
    fn random(&self) -> u64 {
        self.random
            .set(self.random.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut mixed = self.random.get();
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Choice {
    /// To be made once for each request or connection.
    pub(super) fn new(pool: &Rc<UpstreamPool>, group: &Arc<Group>) -> Self {
        let mut choice = Self {
            group: Arc::clone(group),
            pool: Rc::clone(pool),
            standing: (group.members.len() > 1).then(|| pool.standing(group)),
            index: 0,
            tried: Members::default(),
        };
        if let Some(standing) = &choice.standing {
            standing.used_at.set(Instant::now());
            standing.budget.borrow_mut().note_request();
            choice.pick();
        }
        choice
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.group.members[self.index]
    }

    /// Whether there are others.
    pub(crate) fn has_others(&self) -> bool {
        self.standing.is_some()
    }

    /// To be held for as long as something is under way there.
    pub(crate) fn under_way(&self) -> Option<UnderWay> {
        let standing = self.standing.as_ref()?;
        let count = &standing.under_way[self.index];
        count.set(count.get() + 1);
        Some(UnderWay(Rc::clone(count)))
    }

    /// The upstream serves.
    pub(crate) fn note_reached(&self) {
        if let (Some(_), Some(address)) = (&self.standing, self.upstream().address()) {
            self.pool.health.note_reached(address);
        }
    }

    /// What came of it. Only what no client can bring about lets an upstream rest.
    pub(crate) fn note_fault(&self, fault: &UpstreamFault) {
        if let (Some(standing), Some(address)) = (&self.standing, self.upstream().address())
            && fault.is_of_connecting()
        {
            let random = standing.random();
            (self.pool.health).note_failed(address, fault, Instant::now(), random);
        }
    }

    /// Goes on to another one, where it was not yet; false: there is none, or too much is sent again already.
    pub(crate) fn moves_on(&mut self) -> bool {
        let Some(standing) = self.standing.clone() else {
            return false;
        };
        if self.untried().is_empty() {
            return false;
        }
        let may = standing.budget.borrow_mut().spend(Instant::now());
        self.pool.metrics.repeated(may);
        if may {
            self.pick();
        }
        may
    }

    fn untried(&self) -> Members {
        Members::first(self.group.members.len()).without(self.tried)
    }

    fn pick(&mut self) {
        let Some(standing) = &self.standing else {
            return;
        };
        let (group, health, now) = (&self.group, &self.pool.health, Instant::now());
        let untried = self.untried();
        let awake = untried.without(health.resting(group.addresses(), now));
        let checks = self.pool.checks.as_ref();
        let passing = awake.without(checks.map(|it| it.failing(group)).unwrap_or_default());
        // When all that are awake fail their checks, those are as good as none were made.
        let awake = if passing.is_empty() { awake } else { passing };
        let turn = standing.turn.get();
        // What is sent again takes nobody's turn: the next one would go where this one broke.
        if self.tried.is_empty() {
            standing.turn.set(turn.wrapping_add(1));
        }
        let load = |index: usize| standing.under_way[index].get();
        let picked = group.balance.pick(awake, turn, standing.random(), load);
        // When all rest, somebody has to be tried: the one whose rest ends first.
        let picked = picked.or_else(|| {
            let tired = group.addresses().filter(|(index, _)| untried.has(*index));
            let first = tired.min_by_key(|(_, address)| health.rests_until(address));
            first.map(|(index, _)| index)
        });
        if let Some(index) = picked {
            self.index = index;
            self.tried = self.tried.with(index);
        }
        if let Some(address) = self.group.members[self.index].address() {
            self.pool.health.note_chosen(address, now);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a group's budget and loads were is of no use after so long without a request.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);
