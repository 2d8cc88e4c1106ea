//! One record for each call of a model, and the texts that an organization asked to keep. Many are written in one
//! statement; old ones are deleted a few at a time.

use std::borrow::Cow;
use std::collections::HashSet;

use cofferdam_contract::OrganizationId;
use sqlx::{Any, Row, Transaction, query, query_as};

use super::rows::Statements;
use crate::columns::signed;
use crate::{Error, Store};

/// A record of a call. Times in milliseconds, money in nano-dollars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCallRow {
    pub id: String,
    pub organization: OrganizationId,
    pub at_ms: i64,
    pub key: String,
    pub agent: Option<String>,
    pub task: Option<String>,
    pub door: Cow<'static, str>,
    pub asked: String,
    pub served: Option<String>,
    pub upstream: Option<String>,
    pub tries: u64,
    pub input: u64,
    pub cached: u64,
    pub cache_written: u64,
    pub reasoning: u64,
    pub output: u64,
    pub money: u64,
    pub first_token_ms: Option<u64>,
    pub wall_ms: u64,
    pub ending: Cow<'static, str>,
    pub estimated: bool,
    /// The texts of request and answer. Read apart, by [`Store::model_content`].
    pub content: Option<(String, String)>,
}

static CALLS: Statements = Statements::new(
    "INSERT INTO model_usage (id, organization, at_ms, api_key, agent, task, door, asked, served, upstream, tries, \
     input, cached, cache_written, reasoning, output, money, first_token_ms, wall_ms, ending, estimated, process) VALUES ",
    22,
    " ON CONFLICT (id) DO UPDATE SET served = excluded.served, upstream = excluded.upstream, tries = excluded.tries, \
     input = excluded.input, cached = excluded.cached, cache_written = excluded.cache_written, \
     reasoning = excluded.reasoning, output = excluded.output, money = excluded.money, \
     first_token_ms = excluded.first_token_ms, wall_ms = excluded.wall_ms, ending = excluded.ending, \
     estimated = excluded.estimated, process = excluded.process \
     WHERE model_usage.organization = excluded.organization AND model_usage.ending IN ('running', 'lost')",
);

static CONTENTS: Statements = Statements::new(
    "INSERT INTO model_usage_contents (id, organization, at_ms, request, answer) VALUES ",
    5,
    " ON CONFLICT (id) DO NOTHING",
);

/// The `ending` of a call that has not ended.
const RUNNING: &str = "running";

/// Writes records. One that is there already stays as it is, unless it is of a call that runs or is lost.
pub(super) async fn insert(
    tx: &mut Transaction<'static, Any>,
    process: &str,
    rows: &[ModelCallRow],
) -> Result<(), Error> {
    // A statement cannot change a row twice.
    let mut ids = HashSet::with_capacity(rows.len());
    let calls: Vec<&ModelCallRow> = rows.iter().filter(|row| ids.insert(&*row.id)).collect();
    for (sql, rows) in CALLS.over(&calls) {
        let mut statement = query(sql);
        for row in rows {
            statement = statement
                .bind(&*row.id)
                .bind(row.organization.as_str())
                .bind(row.at_ms)
                .bind(&*row.key)
                .bind(row.agent.as_deref())
                .bind(row.task.as_deref())
                .bind(&*row.door)
                .bind(&*row.asked)
                .bind(row.served.as_deref())
                .bind(row.upstream.as_deref())
                .bind(signed(row.tries))
                .bind(signed(row.input))
                .bind(signed(row.cached))
                .bind(signed(row.cache_written))
                .bind(signed(row.reasoning))
                .bind(signed(row.output))
                .bind(signed(row.money))
                .bind(row.first_token_ms.map(signed))
                .bind(signed(row.wall_ms))
                .bind(&*row.ending)
                .bind(i64::from(row.estimated))
                .bind((row.ending == RUNNING).then_some(process));
        }
        statement.execute(&mut **tx).await?;
    }
    let contents: Vec<_> = rows.iter().filter_map(|row| Some((row, row.content.as_ref()?))).collect();
    for (sql, contents) in CONTENTS.over(&contents) {
        let mut statement = query(sql);
        for (row, (request, answer)) in contents {
            statement = statement.bind(&*row.id).bind(row.organization.as_str()).bind(row.at_ms);
            statement = statement.bind(&**request).bind(&**answer);
        }
        statement.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Deletes some old rows of an organization.
macro_rules! delete_old {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE id IN (SELECT id FROM ",
            $table,
            " WHERE organization = $1 AND at_ms < $2 ORDER BY at_ms LIMIT $3)"
        )
    };
}

impl Store {
    /// The texts of a call, request and answer.
    pub async fn model_content(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Option<(String, String)>, Error> {
        let sql = "SELECT request, answer FROM model_usage_contents WHERE organization = $1 AND id = $2";
        Ok(query_as(sql).bind(organization.as_str()).bind(id).fetch_optional(&self.pool).await?)
    }

    /// Deletes up to `most` of an organization's records from before `records_ms`, and as many contents from before
    /// `contents_ms`. Returns the larger number of both.
    pub async fn delete_model_usage(
        &self,
        organization: &str,
        records_ms: i64,
        contents_ms: i64,
        most: i64,
    ) -> Result<u64, Error> {
        let mut deleted = 0;
        for (sql, before) in
            [(delete_old!("model_usage"), records_ms), (delete_old!("model_usage_contents"), contents_ms)]
        {
            let done = query(sql).bind(organization).bind(before).bind(most).execute(&self.pool).await?;
            deleted = deleted.max(done.rows_affected());
        }
        Ok(deleted)
    }

    /// The organizations, as far as calls may belong to them.
    pub async fn organizations_of_usage(&self) -> Result<Vec<String>, Error> {
        let rows = query("SELECT id FROM organizations ORDER BY id").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
    }
}
