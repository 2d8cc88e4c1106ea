//! Budgets' accounts. A process leases shares of them, spends these without asking, and later writes down what it has
//! spent: all of that is one transaction, an *exchange*. Of what a limit leaves, never more is leased than there is.
//!
//! The amount that running calls hold is a part of the process's share, and counts as used once the process is
//! dead, see `dead.rs`; a process that was only slow takes that back with its next exchange.
//!
//! An exchange first takes the rows of all its accounts, in the order of their names: exchanges over the same accounts
//! follow each other, and none waits for one that waits for it.

use std::collections::HashMap;

use cofferdam_contract::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction, query, query_scalar};

use super::rows::Statements;
use super::usage::{ModelCallRow, insert};
use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// A process that leases shares.
#[derive(Debug, Clone, Copy)]
pub struct Lessee<'a> {
    pub process: &'a str,
    /// The number of what is spent and recorded; it is written once, however often it is sent.
    pub flush: u64,
    pub now_ms: i64,
    /// Shares of processes that were last seen before are nobody's, but for what calls hold that are recorded as running.
    pub dead_before_ms: i64,
}

/// A process's words about one of its accounts, and its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRequest {
    pub account: String,
    pub organization: OrganizationId,
    pub budget: String,
    pub limit: u64,
    pub kept_until_ms: i64,
    /// Spent since the last flush.
    pub spent: u64,
    /// Leased already, and kept.
    pub keeps: u64,
    /// The part of it that calls hold which are recorded as running.
    pub held: u64,
    /// Needed now, beyond it.
    pub needs: u64,
    /// The smallest amount that helps; less is not granted.
    pub least: u64,
    /// Asked for beyond need; granted only from the part that nobody is likely to need soon.
    pub extra: u64,
    /// The part of what is left that may be granted as `extra`: one over this number.
    pub part: u64,
    /// Answers somebody's want: there is nothing more to spare.
    pub answers: bool,
}

/// The store's answer about an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShareGrant {
    /// Leased anew.
    pub granted: u64,
    /// Leased beyond the limit, which was lowered, or spent beyond it.
    pub over: u64,
    /// Neither spent nor leased now.
    pub left: u64,
    /// Spent by all.
    pub used: u64,
    /// Leased by others that live.
    pub others: u64,
    /// Others that were asked to give back and did not answer yet.
    pub asked: u64,
}

/// An account is not counted beyond 2 * 10^18, so that no sum overflows.
static SPEND: Statements = Statements::new(
    "INSERT INTO model_accounts (account, organization, budget, used, kept_until) VALUES ",
    5,
    " ON CONFLICT (account) DO UPDATE SET kept_until = excluded.kept_until, used = \
     CASE WHEN model_accounts.used > 2000000000000000000 THEN model_accounts.used \
     ELSE model_accounts.used + excluded.used END RETURNING account, used",
);
static LEASED: Statements = Statements::new(
    "SELECT s.account, s.process, s.amount, s.held, s.lost, s.wanted, p.seen_at FROM model_shares s \
     JOIN model_processes p ON p.process = s.process WHERE s.account IN (",
    1,
    ")",
);
static KEEP: Statements = Statements::new(
    "INSERT INTO model_shares (account, process, amount, held, lost, wanted) VALUES ",
    6,
    " ON CONFLICT (account, process) DO UPDATE SET amount = excluded.amount, held = excluded.held, lost = excluded.lost",
);
static EMPTY: Statements =
    Statements::new("DELETE FROM model_shares WHERE amount = 0 AND lost = 0 AND wanted = 0 AND account IN (", 1, ")");
static ANSWER: Statements =
    Statements::new("UPDATE model_shares SET wanted = 0 WHERE process = $1 AND account IN (", 1, ")").with_fixed(1);
static WANT: Statements =
    Statements::new("UPDATE model_shares SET wanted = 1 WHERE process <> $1 AND amount > 0 AND account IN (", 1, ")")
        .with_fixed(1);

/// Takes the process's own row. Returns false if this flush was written before.
async fn enter(tx: &mut Transaction<'static, Any>, lessee: Lessee<'_>) -> Result<bool, Error> {
    let done = query(
        "INSERT INTO model_processes (process, flushed, seen_at) VALUES ($1, $2, $3) \
         ON CONFLICT (process) DO UPDATE SET flushed = excluded.flushed, seen_at = excluded.seen_at \
         WHERE model_processes.flushed < excluded.flushed",
    )
    .bind(lessee.process)
    .bind(signed(lessee.flush))
    .bind(lessee.now_ms)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Counts what was spent, and takes the accounts' rows.
async fn spend(
    tx: &mut Transaction<'static, Any>,
    shares: &[ShareRequest],
    first: bool,
    grants: &mut HashMap<String, ShareGrant>,
) -> Result<(), Error> {
    for (sql, shares) in SPEND.over(shares) {
        let mut statement = query(sql);
        for share in shares {
            statement = statement.bind(&*share.account).bind(share.organization.as_str()).bind(&*share.budget);
            statement = statement.bind(if first { signed(share.spent) } else { 0 }).bind(share.kept_until_ms);
        }
        for row in statement.fetch_all(&mut **tx).await? {
            grants.insert(row.try_get("account")?, ShareGrant { used: row.count("used")?, ..ShareGrant::default() });
        }
    }
    Ok(())
}

/// Adds up what others have leased, and takes back what was counted as lost with this process.
async fn count_leased(
    tx: &mut Transaction<'static, Any>,
    lessee: Lessee<'_>,
    shares: &[ShareRequest],
    grants: &mut HashMap<String, ShareGrant>,
) -> Result<(), Error> {
    let mut found = Vec::new();
    let mut add = |row: &AnyRow| -> Result<(), Error> {
        let (process, seen): (String, i64) = (row.try_get("process")?, row.try_get("seen_at")?);
        let account: String = row.try_get("account")?;
        let Some(grant) = grants.get_mut(&account) else { return Ok(()) };
        if process == lessee.process {
            let lost = row.count("lost")?;
            if lost > 0 {
                grant.used = grant.used.saturating_sub(lost);
                found.push((account, lost));
            }
        } else if seen < lessee.dead_before_ms {
            // Nobody has counted it yet.
            grant.used = grant.used.saturating_add(row.count("held")?);
        } else {
            grant.others = grant.others.saturating_add(row.count("amount")?);
            grant.asked += row.count("wanted")?;
        }
        Ok(())
    };
    for (sql, shares) in LEASED.over(shares) {
        let statement = shares.iter().fold(query(sql), |statement, share| statement.bind(&*share.account));
        for row in statement.fetch_all(&mut **tx).await? {
            add(&row)?;
        }
    }
    for (account, lost) in found {
        let sql = "UPDATE model_accounts SET used = CASE WHEN used > $1 THEN used - $1 ELSE 0 END WHERE account = $2";
        query(sql).bind(signed(lost)).bind(account).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Decides what one account grants.
fn grant(share: &ShareRequest, grant: &mut ShareGrant) {
    let taken = grant.used.saturating_add(grant.others).saturating_add(share.keeps);
    grant.over = taken.saturating_sub(share.limit);
    let left = share.limit.saturating_sub(taken);
    grant.left = left;
    let needed = share.needs.min(left);
    if needed < share.least {
        return;
    }
    grant.granted = needed + share.extra.min((left - needed) / share.part.max(1));
    grant.left = left - grant.granted;
}

/// Writes the shares that the process has from now on.
async fn keep(
    tx: &mut Transaction<'static, Any>,
    lessee: Lessee<'_>,
    shares: &[ShareRequest],
    grants: &HashMap<String, ShareGrant>,
) -> Result<(), Error> {
    let granted = |share: &ShareRequest| grants.get(&share.account).copied().unwrap_or_default();
    for (sql, shares) in KEEP.over(shares) {
        let mut statement = query(sql);
        for share in shares {
            let amount = share.keeps.saturating_add(granted(share).granted);
            statement = statement.bind(&*share.account).bind(lessee.process).bind(signed(amount));
            statement = statement.bind(signed(share.held.min(amount))).bind(0_i64).bind(0_i64);
        }
        statement.execute(&mut **tx).await?;
    }
    let short = |share: &&ShareRequest| granted(share).granted < share.needs && granted(share).others > 0;
    let marked = [
        (&ANSWER, shares.iter().filter(|share| share.answers).collect::<Vec<_>>()),
        (&WANT, shares.iter().filter(short).collect()),
    ];
    for (statements, shares) in marked {
        for (sql, shares) in statements.over(&shares) {
            let statement = query(sql).bind(lessee.process);
            let statement = shares.iter().fold(statement, |statement, share| statement.bind(&*share.account));
            statement.execute(&mut **tx).await?;
        }
    }
    let empty = |share: &&ShareRequest| share.keeps.saturating_add(granted(share).granted) == 0;
    for (sql, shares) in EMPTY.over(&shares.iter().filter(empty).collect::<Vec<_>>()) {
        let statement = shares.iter().fold(query(sql), |statement, share| statement.bind(&*share.account));
        statement.execute(&mut **tx).await?;
    }
    Ok(())
}

impl Store {
    /// Writes what was spent and recorded, and leases shares, in one transaction. The shares are sorted by account, and
    /// each account is there once. The grants are in the order of the shares.
    ///
    /// # Errors
    /// The store failed. Nothing or all of it was written: send it again under the same number.
    pub async fn exchange_model_shares(
        &self,
        lessee: Lessee<'_>,
        shares: &[ShareRequest],
        calls: &[ModelCallRow],
    ) -> Result<Vec<ShareGrant>, Error> {
        let mut tx = self.pool.begin().await?;
        let first = enter(&mut tx, lessee).await?;
        let mut grants = HashMap::with_capacity(shares.len());
        spend(&mut tx, shares, first, &mut grants).await?;
        count_leased(&mut tx, lessee, shares, &mut grants).await?;
        for share in shares {
            grant(share, grants.entry(share.account.clone()).or_default());
        }
        keep(&mut tx, lessee, shares, &grants).await?;
        if first {
            insert(&mut tx, lessee.process, calls).await?;
        }
        tx.commit().await?;
        Ok(shares.iter().map(|share| grants.get(&share.account).copied().unwrap_or_default()).collect())
    }

    /// The accounts of which the process has a share that somebody else wants.
    pub async fn wanted_model_shares(&self, process: &str) -> Result<Vec<String>, Error> {
        let sql = "SELECT account FROM model_shares WHERE process = $1 AND wanted = 1";
        Ok(query_scalar(sql).bind(process).fetch_all(&self.pool).await?)
    }

    /// The accounts of a budget that are kept until a time between these two, those with the most used first.
    pub async fn model_accounts(
        &self,
        organization: &OrganizationId,
        budget: &str,
        (from_ms, to_ms): (i64, i64),
        most: i64,
    ) -> Result<Vec<(String, u64)>, Error> {
        let rows = query(
            "SELECT account, used FROM model_accounts WHERE organization = $1 AND budget = $2 \
             AND kept_until >= $3 AND kept_until <= $4 ORDER BY used DESC, account LIMIT $5",
        )
        .bind(organization.as_str())
        .bind(budget)
        .bind(from_ms)
        .bind(to_ms)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        let found = rows.iter().map(|row| Ok::<_, sqlx::Error>((row.try_get("account")?, row.count("used")?)));
        Ok(found.collect::<Result<_, _>>()?)
    }

    /// Deletes up to `most` accounts that nobody asks for any more, and processes that were last seen before
    /// `forget_ms` with their shares. Returns the number of accounts.
    pub async fn delete_old_model_accounts(&self, now_ms: i64, forget_ms: i64, most: i64) -> Result<u64, Error> {
        let mut tx = self.pool.begin().await?;
        query("DELETE FROM model_shares WHERE process IN (SELECT process FROM model_processes WHERE seen_at < $1)")
            .bind(forget_ms)
            .execute(&mut *tx)
            .await?;
        query("DELETE FROM model_processes WHERE seen_at < $1").bind(forget_ms).execute(&mut *tx).await?;
        let done = query(
            "DELETE FROM model_accounts WHERE account IN \
             (SELECT account FROM model_accounts WHERE kept_until < $1 ORDER BY kept_until LIMIT $2)",
        )
        .bind(now_ms)
        .bind(most)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}
