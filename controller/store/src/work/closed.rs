//! Tasks of organizations that are disabled or deleted: they pause or stop as if somebody had asked for it.

use cofferdam_contract::work::Why;
use sqlx::{Row, query};

use super::batch::Op;
use super::rows::{Asked, Write, Written};
use crate::columns::Columns as _;
use crate::{Error, Store};

/// Tasks that are moved in one batch.
const MAX_CLOSED: u32 = 256;

const CLOSED: &str = "SELECT t.id, t.organization, CASE WHEN o.deleted_at IS NULL THEN 0 ELSE 1 END AS deleted \
     FROM organizations o JOIN tasks t ON t.organization = o.id AND t.status IN ('pending', 'executing', 'paused') \
     WHERE (o.deleted_at IS NOT NULL AND (t.status <> 'executing' OR t.asked <> 'stop')) \
     OR (o.deleted_at IS NULL AND o.disabled_at IS NOT NULL \
     AND (t.status = 'pending' OR (t.status = 'executing' AND t.asked = ''))) LIMIT $1";

impl Store {
    /// Asks up to `limit` tasks of deleted organizations to stop, and of disabled ones to pause.
    pub async fn close_tasks(&self, limit: u32) -> Result<Vec<Written>, Error> {
        let limit = i64::from(limit.clamp(1, MAX_CLOSED));
        let rows = query(CLOSED).bind(limit).fetch_all(&self.work.pool).await?;
        let mut writes = Vec::with_capacity(rows.len());
        for row in &rows {
            let (asked, why, detail) = match row.flag("deleted")? {
                true => (Asked::Stop, Why::AskedToStop, "The organization was deleted."),
                false => {
                    let detail = "The organization was disabled. Once it is enabled again, POST /v1/tasks/{id}/resume \
                                  lets the task go on.";
                    (Asked::Pause, Why::AskedToPause, detail)
                }
            };
            writes.push(Write::Ask {
                organization: row.id("organization")?,
                task: row.id("id")?,
                asked,
                why,
                detail: detail.replace("{id}", &row.try_get::<String, _>("id")?),
            });
        }
        let ops: Vec<Op<'_>> = writes.iter().map(Op::Write).collect();
        if ops.is_empty() { Ok(Vec::new()) } else { self.apply(&ops).await }
    }
}
