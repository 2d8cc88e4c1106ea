//! The newest events of threads, many at once: for processes that follow them and may have missed a wake-up.

use std::collections::HashMap;

use cofferdam_contract::ThreadId;
use sqlx::{AssertSqlSafe, query};

use crate::columns::Columns as _;
use crate::{Error, Store};

/// Threads that are asked for in one statement. The statement has so many places whatever is asked, so that it is prepared once.
const MAX_ASKED: usize = 256;

impl Store {
    /// The number of the newest event of each thread; those that do not exist are left out.
    pub async fn last_events(&self, threads: &[ThreadId]) -> Result<HashMap<ThreadId, u64>, Error> {
        let mut found = HashMap::with_capacity(threads.len());
        for part in threads.chunks(MAX_ASKED) {
            let places = part.len().next_power_of_two();
            let list: Vec<String> = (1..=places).map(|place| format!("${place}")).collect();
            let sql = format!("SELECT id, last_event FROM threads WHERE id IN ({})", list.join(", "));
            let mut statement = query(AssertSqlSafe(sql));
            for place in 0..places {
                statement = statement.bind(part.get(place).map_or("", ThreadId::as_str));
            }
            for row in &statement.fetch_all(&self.pool).await? {
                found.insert(row.id("id")?, row.count("last_event")?);
            }
        }
        Ok(found)
    }
}
