//! Tasks that are ready, and their hand-out.
//!
//! A hand-out begins at its lane's floor, see `floors.rs`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_core::now_ms;
use sqlx::{AssertSqlSafe, Row, query};

use super::batch::{Sql, within};
use super::decode::{self, task_columns};
use super::rows::{HandedOut, Lane, Lease};
use super::rowset::{Cell, Columns, Dialect, Int, Text, bind, parameters, source};
use crate::columns::{Columns as _, unsigned};
use crate::{Error, Store};

/// The most tasks of one hand-out.
const MAX_HANDED_OUT: u32 = 256;
/// The most lanes that are looked at in one go, or that a poll returns.
const MAX_LANES: usize = 1_000;

const WANTED: Columns = &[("lane", Text), ("most", Int), ("floor", Int)];

/// `$3` to `$5` are the lanes. Ranks are looked at one after the other, so that the floor holds for each. Rows are named by
/// arrays, which makes every plan one that looks them up, also those that were made when the tables were empty
/// (nor does a plan take the index by status, for the empty text beside it).
static HAND_OUT: Sql = Sql::new(|on| match on {
    Dialect::Postgres => format!(
        "WITH picked AS MATERIALIZED (SELECT q.position, q.lane, q.rank, q.task, q.at_ms FROM {wanted} CROSS JOIN LATERAL \
         (SELECT o.* FROM generate_series(-10, 10) AS r(rank) CROSS JOIN LATERAL (SELECT * FROM task_queue i \
         WHERE i.lane = v.lane AND i.rank = r.rank AND i.position >= v.floor ORDER BY i.position \
         LIMIT v.most FOR UPDATE SKIP LOCKED) o LIMIT v.most) q \
         WHERE EXISTS (SELECT 1 FROM work_workers w WHERE w.id = $1 AND w.beat_until_ms > {now})), \
         free AS MATERIALIZED (SELECT t.id FROM tasks t WHERE t.id = ANY (ARRAY(SELECT p.task FROM picked p)) \
         AND t.status || '' = 'pending' FOR UPDATE OF t SKIP LOCKED), \
         gone AS (DELETE FROM task_queue d WHERE d.task = ANY (ARRAY(SELECT f.id FROM free f))) \
         UPDATE tasks t SET worker = $1, attempt = t.attempt + 1, status = 'executing', why = '', detail = '', woken = 0, \
         started_at_ms = coalesce(t.started_at_ms, CAST($2 AS BIGINT)), updated_at_ms = CAST($2 AS BIGINT) \
         FROM picked p WHERE t.id = ANY (ARRAY(SELECT f.id FROM free f)) AND p.task = t.id \
         RETURNING {columns}, p.position, p.lane, p.rank, p.at_ms AS queued_at_ms, \
         coalesce(pg_sequence_last_value('task_positions'), 0) AS newest",
        wanted = source(on, WANTED, 2),
        now = NOW,
        columns = task_columns!(),
    ),
    Dialect::Sqlite => format!(
        "SELECT {}, q.position, q.lane, q.rank, q.at_ms AS queued_at_ms FROM task_queue q JOIN tasks t ON t.id = q.task \
         WHERE q.lane = $1 AND EXISTS (SELECT 1 FROM work_workers w WHERE w.id = $2 AND w.beat_until_ms > $3) \
         ORDER BY q.rank, q.position LIMIT $4",
        task_columns!()
    ),
});

/// PostgreSQL's own clock, in Unix milliseconds.
pub(super) const NOW: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Goes from lane to lane in the index, and does not read what is in them.
const READY: &str = "WITH RECURSIVE lanes(lane) AS (SELECT min(lane) FROM task_queue UNION ALL \
                     SELECT (SELECT min(q.lane) FROM task_queue q WHERE q.lane > l.lane) FROM lanes l \
                     WHERE l.lane IS NOT NULL) SELECT lane FROM lanes WHERE lane IS NOT NULL LIMIT $1";

static READY_OF_KNOWN: Sql = Sql::new(|on| {
    format!(
        "SELECT v.lane FROM {} WHERE EXISTS (SELECT 1 FROM generate_series(-10, 10) AS r(rank) CROSS JOIN LATERAL \
         (SELECT 1 FROM task_queue q WHERE q.lane = v.lane AND q.rank = r.rank AND q.position >= v.floor LIMIT 1) x)",
        source(on, WANTED, 0)
    )
});

/// Looks at all lanes take a small part of the time, however long one takes.
#[derive(Debug, Default)]
pub(crate) struct Poll(Mutex<Option<Instant>>);

/// A look at all lanes is followed by so many times its own duration without one.
const REST_AFTER_POLL: u32 = 50;
/// The longest time without a look at all lanes.
const MAX_REST: Duration = Duration::from_secs(30);
/// Looks that are as short as this are made whenever they are asked for.
const SHORT_POLL: Duration = Duration::from_millis(5);

impl Poll {
    fn is_due(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|next| next <= Instant::now())
    }

    fn took(&self, time: Duration) {
        let rest = if time <= SHORT_POLL { Duration::ZERO } else { (time * REST_AFTER_POLL).min(MAX_REST) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + rest);
    }
}

impl Store {
    /// Hands out the first tasks of lanes to a worker that lives, at most so many of each; in the order of the lanes, and within
    /// a lane by priority and position.
    pub async fn hand_out(&self, worker: &str, want: &[(Lane, u32)]) -> Result<Vec<HandedOut>, Error> {
        let mut left = MAX_HANDED_OUT;
        let mut wanted: Vec<(String, u32)> = Vec::with_capacity(want.len());
        for (lane, most) in want.iter().take(MAX_LANES) {
            let most = (*most).min(left);
            left -= most;
            let lane = lane.text();
            if most > 0 && !wanted.iter().any(|(other, _)| *other == lane) {
                wanted.push((lane, most));
            }
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        match self.dialect() {
            Dialect::Postgres => within(self.hand_out_at_once(worker, &wanted)).await,
            Dialect::Sqlite => self.hand_out_by_lane(worker, &wanted).await,
        }
    }

    async fn hand_out_at_once(&self, worker: &str, wanted: &[(String, u32)]) -> Result<Vec<HandedOut>, Error> {
        let floors = &self.work.floors;
        let began: Vec<i64> = wanted.iter().map(|(lane, _)| floors.begin(lane)).collect();
        let row = |((lane, most), began): (&(String, u32), &i64)| {
            vec![Cell::from(lane.as_str()), i64::from(*most).into(), (*began).into()]
        };
        let lanes: Vec<Vec<Cell>> = wanted.iter().zip(&began).map(row).collect();
        let statement = query(HAND_OUT.text(Dialect::Postgres)).bind(worker).bind(now_ms());
        let rows = bind(statement, parameters(Dialect::Postgres, WANTED, &lanes)).fetch_all(&self.work.pool).await?;
        let mut handed_out = Vec::with_capacity(rows.len());
        // For each lane, how many were given, and up to which position of the last rank.
        let mut given: HashMap<String, (u32, i64, i64)> = HashMap::new();
        for row in &rows {
            let (lane, rank, position): (String, i64, i64) =
                (row.try_get("lane")?, row.try_get("rank")?, row.try_get("position")?);
            let (number, last_rank, last) = given.entry(lane.clone()).or_insert((0, rank, position));
            *number += 1;
            (*last_rank, *last) =
                if rank == *last_rank { (rank, position.max(*last)) } else { (rank.min(*last_rank), 0) };
            floors.note(row.try_get("newest")?);
            handed_out.push((lane, rank, position, handed(row)?));
        }
        for ((lane, most), began) in wanted.iter().zip(began) {
            match given.get(lane) {
                Some((number, _, last)) if number >= most => floors.looked(lane, began, Some(*last)),
                _ => floors.looked(lane, began, None),
            }
        }
        let order: HashMap<&str, usize> = wanted.iter().enumerate().map(|(n, (lane, _))| (lane.as_str(), n)).collect();
        handed_out.sort_by(|a, b| {
            let key = |item: &(String, i64, i64, HandedOut)| (order.get(item.0.as_str()).copied(), item.1, item.2);
            key(a).cmp(&key(b))
        });
        Ok(handed_out.into_iter().map(|(.., task)| task).collect())
    }

    async fn hand_out_by_lane(&self, worker: &str, wanted: &[(String, u32)]) -> Result<Vec<HandedOut>, Error> {
        let now = now_ms();
        let mut tx = self.work.pool.begin().await?;
        let mut handed_out = Vec::new();
        for (lane, most) in wanted {
            let statement =
                query(HAND_OUT.text(Dialect::Sqlite)).bind(lane).bind(worker).bind(now).bind(i64::from(*most));
            for row in statement.fetch_all(&mut *tx).await? {
                let mut task = decode::task(&row)?;
                let sql = "UPDATE tasks SET worker = $1, attempt = attempt + 1, status = 'executing', why = '', detail = '', \
                           woken = 0, started_at_ms = coalesce(started_at_ms, $2), updated_at_ms = $2 WHERE id = $3";
                query(sql).bind(worker).bind(now).bind(task.id.as_str()).execute(&mut *tx).await?;
                let sql = "DELETE FROM task_queue WHERE task = $1";
                query(sql).bind(task.id.as_str()).execute(&mut *tx).await?;
                task.attempt += 1;
                task.status = cofferdam_contract::work::TaskStatus::Executing;
                task.why = None;
                task.detail.clear();
                task.woken = false;
                task.started_at_ms = task.started_at_ms.or(Some(now));
                task.updated_at_ms = now;
                let lease = Lease { worker: worker.to_owned(), attempt: task.attempt };
                task.lease = Some(lease.clone());
                let waited_ms = unsigned(now.saturating_sub(row.try_get("queued_at_ms")?));
                handed_out.push(HandedOut { task, lease, waited_ms });
            }
        }
        tx.commit().await?;
        Ok(handed_out)
    }

    /// The lanes that have ready tasks, up to 1,000. Where that takes long, because of rows that cannot be cleaned away, only the
    /// lanes that are in use here are looked at most of the time.
    pub async fn ready_lanes(&self) -> Result<Vec<Lane>, Error> {
        within(self.look_for_lanes()).await
    }

    async fn look_for_lanes(&self) -> Result<Vec<Lane>, Error> {
        let dialect = self.dialect();
        let known = match dialect {
            Dialect::Postgres if !self.work.poll.is_due() => self.work.floors.known(MAX_LANES),
            _ => Vec::new(),
        };
        let rows = if known.is_empty() {
            let started = Instant::now();
            let most = i64::try_from(MAX_LANES).unwrap_or(i64::MAX);
            let rows = query(READY).bind(most).fetch_all(&self.work.pool).await?;
            self.work.poll.took(started.elapsed());
            rows
        } else {
            let lanes: Vec<Vec<Cell>> =
                known.into_iter().map(|(lane, floor)| vec![lane.into(), 1_i64.into(), floor.into()]).collect();
            let statement = query(READY_OF_KNOWN.text(dialect));
            bind(statement, parameters(dialect, WANTED, &lanes)).fetch_all(&self.work.pool).await?
        };
        let read = |row: &sqlx::any::AnyRow| Lane::parse(&row.try_get::<String, _>("lane")?);
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The tasks that workers have, counted by lane.
    pub async fn executing(&self) -> Result<Vec<(Lane, u64)>, Error> {
        let sql =
            "SELECT organization, agent, count(*) AS number FROM tasks WHERE worker <> '' GROUP BY organization, agent";
        let rows = query(AssertSqlSafe(sql)).fetch_all(&self.work.pool).await?;
        let read = |row| -> Result<_, sqlx::Error> {
            let row: &sqlx::any::AnyRow = row;
            Ok((Lane { organization: row.id("organization")?, agent: row.id("agent")? }, row.count("number")?))
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn handed(row: &sqlx::any::AnyRow) -> Result<HandedOut, sqlx::Error> {
    let task = decode::task(row)?;
    let waited_ms = unsigned(task.updated_at_ms.saturating_sub(row.try_get("queued_at_ms")?));
    let lease = task.lease.clone().unwrap_or(Lease { worker: String::new(), attempt: task.attempt });
    Ok(HandedOut { task, lease, waited_ms })
}
