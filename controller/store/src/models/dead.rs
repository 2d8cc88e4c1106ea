//! Processes that died. What their calls held that are recorded as running may have been used: it is counted as used, the
//! records say `lost`, and the rest of their shares is free. A process that was only slow finds in `lost` what was counted
//! for it, and takes it back with the exchange in which it says what it holds and has spent: nothing counts twice.

use sqlx::{Any, Row, Transaction, query, query_scalar};

use crate::columns::{Columns, signed};
use crate::{Error, Store};

/// Processes that are looked at in one turn.
const MAX_DEAD: i64 = 100;

/// The processes that have a share or a call that runs.
const FIND: &str = "SELECT p.process FROM model_processes p WHERE p.process <> $1 AND p.seen_at < $2 AND \
    (EXISTS (SELECT 1 FROM model_shares s WHERE s.process = p.process AND s.amount > 0) \
    OR EXISTS (SELECT 1 FROM model_usage u WHERE u.process = p.process)) ORDER BY p.seen_at LIMIT $3";

/// Takes what calls of the process held as used. The accounts' rows are taken in the order of their names, as exchanges do.
async fn count_held(tx: &mut Transaction<'static, Any>, process: &str) -> Result<(), Error> {
    let sql = "SELECT account, held FROM model_shares WHERE process = $1 AND held > 0";
    let mut held = Vec::new();
    for row in query(sql).bind(process).fetch_all(&mut **tx).await? {
        held.push((row.try_get::<String, _>("account")?, row.count("held")?));
    }
    held.sort_unstable();
    for (account, held) in held {
        let sql = "UPDATE model_accounts SET used = CASE WHEN used > 2000000000000000000 THEN used ELSE used + $1 END \
                   WHERE account = $2";
        query(sql).bind(signed(held)).bind(account).execute(&mut **tx).await?;
    }
    Ok(())
}

impl Store {
    /// Ends the shares and running calls of processes other than `process` that were last seen before `dead_before_ms`.
    /// Returns true if there may be more of them.
    pub async fn end_dead_model_processes(&self, process: &str, dead_before_ms: i64) -> Result<bool, Error> {
        let find = query_scalar(FIND).bind(process).bind(dead_before_ms).bind(MAX_DEAD);
        let dead: Vec<String> = find.fetch_all(&self.pool).await?;
        for process in &dead {
            self.end_model_process(process, dead_before_ms).await?;
        }
        Ok(dead.len() >= usize::try_from(MAX_DEAD).unwrap_or(usize::MAX))
    }

    async fn end_model_process(&self, process: &str, dead_before_ms: i64) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        // Its row is taken as its own exchange takes it: it is not seen while it is ended.
        let taken = query("UPDATE model_processes SET seen_at = seen_at WHERE process = $1 AND seen_at < $2")
            .bind(process)
            .bind(dead_before_ms)
            .execute(&mut *tx)
            .await?;
        if taken.rows_affected() == 0 {
            return Ok(());
        }
        count_held(&mut tx, process).await?;
        for sql in [
            "UPDATE model_shares SET lost = lost + held, held = 0, amount = 0, wanted = 0 WHERE process = $1 AND held > 0",
            "DELETE FROM model_shares WHERE process = $1 AND lost = 0",
            "UPDATE model_shares SET amount = 0 WHERE process = $1 AND amount > 0",
            "UPDATE model_usage SET ending = 'lost', process = NULL WHERE process = $1",
        ] {
            query(sql).bind(process).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
