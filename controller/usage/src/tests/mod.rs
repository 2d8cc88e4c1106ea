//! Tests of the whole service, on each store that is there.

mod budgets;
mod faults;
mod processes;
mod queries;
mod running;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use cofferdam_contract::OrganizationId;
use cofferdam_store::Store;
use cofferdam_testkit::database::On;
use jiff::Timestamp;

use crate::record::tests::record;
use crate::{
    Accounts, Amounts, Budget, BudgetSpec, Clock, Error, Held, HoldError, Limit, Per, Record, Refused, Unit,
    UsageConfig, UsageMetrics, Who, Window,
};

/// Has exchanges fail.
#[derive(Debug, Default)]
pub(crate) struct Fault(AtomicU8);

impl Fault {
    const NONE: u8 = 0;
    /// The store is down.
    pub(crate) const DOWN: u8 = 1;
    /// The next transaction is written, and nobody is told.
    pub(crate) const UNKNOWN: u8 = 2;

    pub(crate) fn set(&self, fault: u8) {
        self.0.store(fault, Ordering::SeqCst);
    }

    pub(crate) fn before(&self) -> Result<(), Error> {
        if self.0.load(Ordering::SeqCst) == Self::DOWN { Err(Error::Late) } else { Ok(()) }
    }

    pub(crate) fn after<T>(&self, sent: Result<T, Error>) -> Result<T, Error> {
        match self.0.compare_exchange(Self::UNKNOWN, Self::NONE, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => Err(Error::Late),
            Err(_) => sent,
        }
    }
}

/// A store, and a clock that stands still.
struct World {
    store: Store,
    clock: Arc<AtomicI64>,
}

/// The start of every test's time.
fn start() -> i64 {
    "2026-11-30T23:59:30Z".parse::<Timestamp>().unwrap().as_millisecond()
}

async fn on_each(test: impl AsyncFn(&World)) {
    for on in On::all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&on.database(&folder).await).await.unwrap();
        let world = World { store, clock: Arc::new(AtomicI64::new(start())) };
        test(&world).await;
        world.store.close().await;
    }
}

impl World {
    fn accounts(&self) -> Arc<Accounts> {
        self.configured(|_| ())
    }

    fn configured(&self, change: impl FnOnce(&mut UsageConfig)) -> Arc<Accounts> {
        let mut config = UsageConfig { clock: Clock::Set(Arc::clone(&self.clock)), ..UsageConfig::default() };
        change(&mut config);
        Accounts::new(self.store.clone(), config, UsageMetrics::default())
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn record(&self, who: &Who) -> Record {
        record(&Record::new_id(self.now()).unwrap(), self.now(), who.clone())
    }

    /// Amounts that the store has as used, for each account of the budget in its current window.
    async fn used(&self, budget: &Arc<Budget>) -> Vec<u64> {
        let states = self.accounts().spent(&organization(), std::slice::from_ref(budget)).await.unwrap();
        states.iter().map(|state| state.used).collect()
    }
}

fn organization() -> OrganizationId {
    OrganizationId::default_organization()
}

fn who(key: &str) -> Who {
    Who { organization: organization(), key: key.to_owned(), agent: None, task: None }
}

fn budget(per: Per, unit: Unit, limit: &str, window: Window) -> Arc<Budget> {
    let spec = BudgetSpec { per, only: None, unit, limit: Limit::new(limit), window, models: None };
    spec.check().unwrap();
    Arc::new(Budget { name: "b".to_owned(), organization: organization(), spec })
}

fn named(name: &str, budget: &Budget) -> Arc<Budget> {
    Arc::new(Budget { name: name.to_owned(), ..budget.clone() })
}

fn tokens(tokens: u64) -> Amounts {
    Amounts { requests: 1, tokens, money: 0 }
}

async fn hold(accounts: &Arc<Accounts>, key: &str, budgets: &[Arc<Budget>], most: u64) -> Result<Held, HoldError> {
    accounts.hold(&who(key), &["gpt-5", "openai/gpt-5"], budgets, tokens(most)).await
}

fn refused(held: Result<Held, HoldError>) -> Refused {
    match held {
        Err(HoldError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}
