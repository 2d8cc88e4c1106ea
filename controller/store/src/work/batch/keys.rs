//! Idempotency keys of the tasks that a batch adds. Of two at once with the same key, the second waits for the first's commit.

use std::collections::{BTreeMap, HashMap};

use cofferdam_contract::{OrganizationId, TaskId};
use sqlx::{Any, Row, Transaction, query};

use super::load::Sql;
use super::ops::Op;
use crate::Error;
use crate::columns::Columns as _;
use crate::work::rows::{Write, Written};
use crate::work::rowset::{Cell, Columns, Dialect, Int, Text, bind, list, parameters, source, texts};

const KEYS: Columns =
    &[("organization", Text), ("name", Text), ("request", Text), ("task", Text), ("created_at_ms", Int)];
const NAMES: Columns = &[("organization", Text), ("name", Text)];

static TAKE: Sql = Sql::new(|on| {
    format!(
        "INSERT INTO task_keys (organization, name, request, task, created_at_ms) \
         SELECT v.organization, v.name, v.request, v.task, v.created_at_ms FROM {} WHERE true \
         ON CONFLICT (organization, name) DO NOTHING",
        source(on, KEYS, 0)
    )
});
static FIND: Sql = Sql::new(|on| {
    format!(
        "SELECT k.organization, k.name, k.request, k.task FROM {} JOIN task_keys k \
         ON k.organization = v.organization AND k.name = v.name",
        source(on, NAMES, 0)
    )
});
static GIVE_BACK: Sql = Sql::new(|on| format!("DELETE FROM task_keys WHERE task IN {}", list(on, 1)));

/// The owners of the keys that a batch names.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<(OrganizationId, String), (TaskId, String)>);

impl Keys {
    /// Takes the keys that nobody has, and finds the owners of all of them.
    pub(super) async fn take(
        tx: &mut Transaction<'static, Any>,
        dialect: Dialect,
        ops: &[Op<'_>],
        now_ms: i64,
    ) -> Result<Self, Error> {
        let mut wanted: BTreeMap<(&OrganizationId, &str), (&str, &TaskId)> = BTreeMap::new();
        for op in ops {
            if let Op::Write(Write::Add(new)) = op
                && let Some((name, request)) = &new.once
            {
                wanted.entry((&new.task.organization, name)).or_insert((request, &new.task.id));
            }
        }
        let mut keys = HashMap::new();
        if wanted.is_empty() {
            return Ok(Self(keys));
        }
        let row = |(&(organization, name), &(request, task)): (&(&OrganizationId, &str), &(&str, &TaskId))| {
            vec![organization.as_str().into(), name.into(), request.into(), task.as_str().into(), now_ms.into()]
        };
        let rows: Vec<Vec<Cell>> = wanted.iter().map(row).collect();
        bind(query(TAKE.text(dialect)), parameters(dialect, KEYS, &rows)).execute(&mut **tx).await?;
        let names: Vec<Vec<Cell>> = rows.into_iter().map(|mut row| row.drain(..2).collect()).collect();
        for row in bind(query(FIND.text(dialect)), parameters(dialect, NAMES, &names)).fetch_all(&mut **tx).await? {
            let key = (row.id("organization")?, row.try_get("name")?);
            keys.insert(key, (row.id("task")?, row.try_get("request")?));
        }
        Ok(Self(keys))
    }

    /// The outcome of an operation whose key belongs to another task.
    pub(super) fn before(&self, op: &Op<'_>) -> Option<Written> {
        let Op::Write(Write::Add(new)) = op else { return None };
        let (name, request) = new.once.as_ref()?;
        let (task, before) = self.0.get(&(new.task.organization.clone(), name.clone()))?;
        (*task != new.task.id).then(|| Written::Before { task: task.clone(), same: before == request })
    }

    /// Gives back the keys of tasks that were not added. What found them taken by such a task is refused as that one was.
    pub(super) async fn give_back(
        &self,
        tx: &mut Transaction<'static, Any>,
        dialect: Dialect,
        ops: &[Op<'_>],
        written: &mut [Written],
    ) -> Result<(), Error> {
        let mut refused: HashMap<TaskId, Written> = HashMap::new();
        for (op, written) in ops.iter().zip(written.iter()) {
            if let Op::Write(Write::Add(new)) = op
                && new.once.is_some()
                && !matches!(written, Written::Done { .. } | Written::Before { .. })
            {
                refused.insert(new.task.id.clone(), written.clone());
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        for written in written {
            if let Written::Before { task, .. } = written
                && let Some(refusal) = refused.get(task)
            {
                *written = refusal.clone();
            }
        }
        let tasks = texts(dialect, refused.keys().map(TaskId::as_str));
        query(GIVE_BACK.text(dialect)).bind(tasks).execute(&mut **tx).await?;
        Ok(())
    }
}
