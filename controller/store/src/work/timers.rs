//! Things that are due at a time: retries, deadlines, approvals that nobody gave, children of tasks that have ended.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_contract::TaskId;
use cofferdam_core::now_ms;
use sqlx::{Row, query};

use super::batch::{CHILDREN, DEADLINE, EXPIRY, Op, READY, Sql};
use super::queue::NOW;
use super::rows::Written;
use super::rowset::{Dialect, list, texts};
use crate::columns::Columns as _;
use crate::{Error, Store};

/// Things that are moved in one batch.
const MAX_DUE: u32 = 256;
/// Children that are stopped in one batch; their parent's timer stays until there are none.
const MAX_CHILDREN: i64 = 256;

static DUE: Sql = Sql::new(|on| {
    let now = match on {
        Dialect::Postgres => format!("{NOW} + 0 * CAST($1 AS BIGINT)"),
        Dialect::Sqlite => "$1".to_owned(),
    };
    format!("SELECT task, kind, call FROM work_timers WHERE at_ms <= {now} AND at_ms >= $3 ORDER BY at_ms LIMIT $2")
});
static UNFINISHED_CHILDREN: Sql = Sql::new(|on| {
    format!(
        "SELECT id, parent FROM tasks WHERE parent IN {} AND parent <> '' AND status IN ('pending', 'executing', 'paused') \
         AND asked <> 'stop' LIMIT $2",
        list(on, 1)
    )
});

/// Timers that are set to a time before this is what a look begins at are found by the next full look.
const LATE_MS: i64 = 10_000;
const FULL_LOOK_EVERY: Duration = Duration::from_secs(10);

/// The time up to which everything that was due is done: a look begins there, and does not pass the rows of timers that are gone,
/// which an old transaction elsewhere keeps in the pages.
#[derive(Debug, Default)]
pub(crate) struct Due(Mutex<Option<(i64, Instant)>>);

impl Due {
    fn begin(&self) -> i64 {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        done.filter(|(_, full_look_at)| *full_look_at > Instant::now()).map_or(i64::MIN, |(at, _)| at)
    }

    /// Everything since `began` that was due at this time is done.
    fn done(&self, began: i64, now_ms: i64) {
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full_look_at = match *done {
            Some((_, at)) if began != i64::MIN => at,
            _ => Instant::now() + FULL_LOOK_EVERY,
        };
        *done = Some((now_ms.saturating_sub(LATE_MS), full_look_at));
    }
}

impl Store {
    /// Moves up to `limit` things that are due: retries into the queue, deadlines, expired approvals, children of ended tasks.
    pub async fn due_timers(&self, limit: u32) -> Result<Vec<Written>, Error> {
        let dialect = self.dialect();
        let limit = i64::from(limit.clamp(1, MAX_DUE));
        let (now, began) = (now_ms(), self.work.due.begin());
        let statement = query(DUE.text(dialect)).bind(now).bind(limit).bind(began);
        let rows = statement.fetch_all(&self.work.pool).await?;
        if rows.is_empty() {
            self.work.due.done(began, now);
        }
        let (mut ops, mut parents) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let (task, kind, call): (TaskId, String, String) =
                (row.id("task")?, row.try_get("kind")?, row.try_get("call")?);
            match kind.as_str() {
                READY => ops.push(Op::Ready { task }),
                DEADLINE => ops.push(Op::Deadline { task }),
                EXPIRY => ops.push(Op::Expire { task, call }),
                CHILDREN => parents.push(task),
                other => return Err(Error::Row(format!("work_timers.kind: {other:?}"))),
            }
        }
        if !parents.is_empty() {
            let statement = query(UNFINISHED_CHILDREN.text(dialect));
            let statement = statement.bind(texts(dialect, parents.iter().map(TaskId::as_str))).bind(MAX_CHILDREN);
            let children = statement.fetch_all(&self.work.pool).await?;
            for row in &children {
                ops.push(Op::StopChild { task: row.id("id")? });
                let parent: TaskId = row.id("parent")?;
                parents.retain(|other| *other != parent);
            }
            ops.extend(parents.into_iter().map(|task| Op::Fired { task, kind: CHILDREN, call: String::new() }));
        }
        self.apply(&ops).await
    }
}
