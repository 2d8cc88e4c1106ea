//! Full text over messages: the words of each are in an index, with its organization, agent and thread as words of their own, so
//! that the index alone says what belongs to whom. New messages come into it a moment after they are written.
//!
//! Words are taken as they are, in any language; a search finds messages that have all of its words.

use cofferdam_contract::work::{Content, Role};
use cofferdam_contract::{AgentId, OrganizationId, TaskId, ThreadId};
use sqlx::{AnyPool, Row, query, query_scalar};

use super::batch::Sql;
use super::rowset::{Cell, Columns, Dialect, Int, Text, bind, parameters, source};
use crate::columns::{Columns as _, signed, unknown};
use crate::{Error, Store};

/// Characters of a message that are taken into the index.
const MAX_INDEXED: usize = 16 << 10;
/// Words of a search, and characters of each.
const MAX_WORDS: usize = 16;
const MAX_WORD: usize = 64;
/// The most rows of a page.
const MAX_FOUND: u32 = 100;
/// Characters of a snippet on each side of the word.
const AROUND: usize = 80;
/// Ranges of messages that are indexed in one transaction.
const MAX_RANGES: u32 = 500;

/// A message that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundMessage {
    pub thread: ThreadId,
    pub seq: u64,
    pub task: TaskId,
    pub agent: AgentId,
    pub role: Role,
    /// A piece of the text around the first word that was found.
    pub snippet: String,
    pub at_ms: i64,
}

/// A search within an organization: the newest first.
#[derive(Debug, Clone, Default)]
pub struct MessageSearch {
    pub text: String,
    pub agent: Option<AgentId>,
    pub thread: Option<ThreadId>,
    /// The number in the index of the last one of the page before.
    pub after: Option<u64>,
    pub limit: u32,
}

/// A page of a search.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundMessages {
    pub messages: Vec<FoundMessage>,
    /// Set if there may be more: `after` of the next page.
    pub next: Option<u64>,
}

/// A word that stands for an id. No text has such a word: the parsers take only letters and digits of texts, and `place` is a
/// column of its own in SQLite.
fn place(dialect: Dialect, kind: char, id: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("\u{1}{kind}{id}"),
        Dialect::Sqlite => id.bytes().fold(format!("{kind}x"), |text, byte| text + &format!("{byte:02x}")),
    }
}

/// The words of a text that is searched for.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(MAX_WORDS).map(|word| word.chars().take(MAX_WORD).collect::<String>().to_lowercase()).collect()
}

static TAKE: Sql = Sql::new(|on| {
    match on {
    Dialect::Postgres => "DELETE FROM messages_unindexed WHERE number = ANY (ARRAY(SELECT u.number FROM messages_unindexed u \
                          WHERE u.number >= $2 ORDER BY u.number LIMIT $1 FOR UPDATE SKIP LOCKED)) \
                          RETURNING number, thread, first, last, coalesce(pg_sequence_last_value('task_positions'), 0) AS newest"
        .to_owned(),
    Dialect::Sqlite => "DELETE FROM messages_unindexed WHERE number IN (SELECT number FROM messages_unindexed \
                        WHERE number >= $2 ORDER BY number LIMIT $1) RETURNING number, thread, first, last, 0 AS newest"
        .to_owned(),
}
});
/// The name of the only lane of the floors of what is not indexed.
const UNINDEXED: &str = "messages";
const RANGES: Columns = &[("thread", Text), ("first", Int), ("last", Int)];
static READ: Sql = Sql::new(|on| {
    format!(
        "SELECT m.thread, m.seq, m.content, h.organization, h.agent FROM {} JOIN messages m ON m.thread = v.thread \
         AND m.seq BETWEEN v.first AND v.last JOIN threads h ON h.id = m.thread WHERE m.role <> 'notice' \
         ORDER BY m.at_ms, m.thread, m.seq",
        source(on, RANGES, 0)
    )
});
const INDEXED: Columns = &[("place", Text), ("words", Text), ("thread", Text), ("seq", Int)];
static INDEX: Sql = Sql::new(|on| {
    let words = match on {
        Dialect::Postgres => {
            "(thread, seq, words) SELECT v.thread, v.seq, to_tsvector('simple', v.words) || \
             array_to_tsvector(string_to_array(v.place, ' ')) FROM "
        }
        Dialect::Sqlite => "(place, words, thread, seq) SELECT v.place, v.words, v.thread, v.seq FROM ",
    };
    format!("INSERT INTO message_index {words}{}", source(on, INDEXED, 0))
});
static SEARCH: Sql = Sql::new(|on| {
    let (number, matches) = match on {
        Dialect::Postgres => ("i.number", "i.words @@ (plainto_tsquery('simple', $1) && CAST($2 AS tsquery))"),
        Dialect::Sqlite => ("i.rowid", "message_index MATCH $1 AND $2 = $2"),
    };
    // The index is asked first, and only what the page shows is read.
    format!(
        "SELECT f.number, m.thread, m.seq, m.task, m.role, m.content, m.at_ms, h.agent FROM \
         (SELECT {number} AS number, i.thread, i.seq FROM message_index i WHERE {matches} AND {number} < $3 \
         ORDER BY {number} DESC LIMIT $4) f JOIN messages m ON m.thread = f.thread AND m.seq = f.seq \
         JOIN threads h ON h.id = m.thread WHERE h.organization = $5 ORDER BY f.number DESC"
    )
});

impl Store {
    /// Messages of the organization that have all the words. Nothing for a text without words.
    pub async fn search_messages(
        &self,
        organization: &OrganizationId,
        search: &MessageSearch,
    ) -> Result<FoundMessages, Error> {
        let words = words(&search.text);
        if words.is_empty() {
            return Ok(FoundMessages::default());
        }
        let on = self.dialect();
        let mut places = vec![place(on, 'o', organization.as_str())];
        places.extend(search.agent.as_ref().map(|id| place(on, 'a', id.as_str())));
        places.extend(search.thread.as_ref().map(|id| place(on, 't', id.as_str())));
        // Words are letters and digits, places of ids: nothing needs to be escaped within the quotes.
        let quoted = |words: &[String], quote: char, and: &str| {
            words.iter().map(|word| format!("{quote}{word}{quote}")).collect::<Vec<_>>().join(and)
        };
        let (text, at) = match on {
            Dialect::Postgres => (words.join(" "), quoted(&places, '\'', " & ")),
            Dialect::Sqlite => {
                let text = format!(
                    "(words : ({})) AND (place : ({}))",
                    quoted(&words, '"', " AND "),
                    quoted(&places, '"', " AND ")
                );
                (text, String::new())
            }
        };
        let limit = search.limit.clamp(1, MAX_FOUND);
        let before = search.after.map_or(i64::MAX, signed);
        // Planned anew each time: a rare word is looked up, for a common one the newest messages are looked through.
        let statement =
            query(SEARCH.text(on)).persistent(false).bind(text).bind(at).bind(before).bind(i64::from(limit));
        let rows = statement.bind(organization.as_str()).fetch_all(&self.pool).await?;
        let mut found = FoundMessages::default();
        for row in &rows {
            let content: Content = row.json("content")?;
            found.messages.push(FoundMessage {
                thread: row.id("thread")?,
                seq: row.count("seq")?,
                task: row.id("task")?,
                agent: row.id("agent")?,
                role: row.name("role")?,
                snippet: snippet(&searched(&content), &words),
                at_ms: row.try_get("at_ms")?,
            });
        }
        if rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            found.next = rows.last().map(|row| row.count("number")).transpose()?;
        }
        Ok(found)
    }

    /// Takes new messages into the index, up to `limit` ranges of them. Returns the number of messages; 0 if there was nothing.
    pub async fn index_messages(&self, limit: u32) -> Result<u64, Error> {
        let on = self.dialect();
        let mut tx = self.work.pool.begin().await?;
        let limit = limit.clamp(1, MAX_RANGES);
        let floors = &self.work.indexed;
        let began = if on == Dialect::Postgres { floors.begin(UNINDEXED) } else { 0 };
        let taken = query(TAKE.text(on)).bind(i64::from(limit)).bind(began).fetch_all(&mut *tx).await?;
        let mut ranges = Vec::with_capacity(taken.len());
        let mut last_number = 0;
        for row in &taken {
            last_number = row.try_get::<i64, _>("number")?.max(last_number);
            floors.note(row.try_get("newest")?);
            let (first, last): (i64, i64) = (row.try_get("first")?, row.try_get("last")?);
            ranges.push(vec![Cell::from(row.try_get::<String, _>("thread")?), first.into(), last.into()]);
        }
        if ranges.is_empty() {
            floors.looked(UNINDEXED, began, None);
            return Ok(0);
        }
        let rows = bind(query(READ.text(on)), parameters(on, RANGES, &ranges)).fetch_all(&mut *tx).await?;
        let mut indexed: Vec<Vec<Cell>> = Vec::with_capacity(rows.len());
        for row in &rows {
            // A message that this version cannot read is not found, and keeps none from being found.
            let Ok(content) = row.json::<Content>("content") else { continue };
            let thread: String = row.try_get("thread")?;
            let ids: [String; 2] = [row.try_get("organization")?, row.try_get("agent")?];
            let [organization, agent] = &ids;
            let places = [place(on, 'o', organization), place(on, 'a', agent), place(on, 't', &thread)].join(" ");
            let words: String = searched(&content).chars().take(MAX_INDEXED).collect();
            if !words.is_empty() {
                indexed.push(vec![places.into(), words.into(), thread.into(), row.count("seq")?.into()]);
            }
        }
        let number = indexed.len().max(1);
        bind(query(INDEX.text(on)), parameters(on, INDEXED, &indexed)).execute(&mut *tx).await?;
        tx.commit().await?;
        let took_all = ranges.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        floors.looked(UNINDEXED, began, (!took_all).then_some(last_number));
        Ok(u64::try_from(number).unwrap_or(u64::MAX))
    }

    /// The number of ranges of messages that the index does not know yet.
    pub async fn unindexed_messages(&self) -> Result<u64, Error> {
        let number: i64 = query_scalar("SELECT count(*) FROM messages_unindexed").fetch_one(&self.pool).await?;
        u64::try_from(number).map_err(|error| unknown("count", error).into())
    }
}

/// Takes a thread out of the index.
pub(super) async fn forget(pool: &AnyPool, on: Dialect, thread: &ThreadId) -> Result<(), Error> {
    match on {
        Dialect::Postgres => query("DELETE FROM message_index WHERE thread = $1").bind(thread.as_str()),
        Dialect::Sqlite => {
            let sql = "DELETE FROM message_index WHERE rowid IN (SELECT rowid FROM message_index WHERE message_index MATCH $1)";
            query(sql).bind(format!("place : \"{}\"", place(on, 't', thread.as_str())))
        }
    }
    .execute(pool)
    .await?;
    Ok(())
}

/// The text of a message that is searched: also the names of the tools that it calls.
fn searched(content: &Content) -> String {
    let mut text = content.text.clone();
    for call in &content.tool_calls {
        text.push(' ');
        text.push_str(&call.name);
    }
    text
}

/// A piece of a text around the first of the words.
fn snippet(text: &str, words: &[String]) -> String {
    let characters: Vec<char> = text.chars().take(MAX_INDEXED).collect();
    let mut start = 0;
    let mut at = None;
    while let Some(begin) = characters.iter().skip(start).position(|c| c.is_alphanumeric()).map(|n| n + start) {
        let length = characters.iter().skip(begin).take_while(|c| c.is_alphanumeric()).count();
        let word: String = characters.iter().skip(begin).take(length).collect();
        if words.contains(&word.to_lowercase()) {
            at = Some(begin);
            break;
        }
        start = begin + length;
    }
    let from = at.unwrap_or(0).saturating_sub(AROUND);
    let piece: String = characters.iter().skip(from).take(2 * AROUND).collect();
    let piece = piece.split_whitespace().collect::<Vec<_>>().join(" ");
    let (before, after) = (from > 0, characters.len() > from + 2 * AROUND);
    format!("{}{piece}{}", if before { "..." } else { "" }, if after { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_bounded_and_has_no_operators() {
        assert_eq!(words("  Hello, \"world\" -not (a:b)* 'x"), ["hello", "world", "not", "a", "b", "x"]);
        assert_eq!(words(&"w ".repeat(100)).len(), MAX_WORDS);
        assert!(words("!!! --").is_empty());
        assert_eq!(words(&"ü".repeat(1000))[0].chars().count(), MAX_WORD);
    }

    #[test]
    fn a_snippet_is_around_the_word() {
        let text = format!("{} the Needle is here {}", "hay ".repeat(100), "more ".repeat(100));
        let shown = snippet(&text, &["needle".to_owned()]);
        assert!(shown.contains("Needle is here") && shown.starts_with("...") && shown.ends_with("..."), "{shown}");
        assert_eq!(snippet("short", &["x".to_owned()]), "short");
    }
}
