//! The memories of an agent, which last over threads.

use std::sync::Arc;

use cofferdam_contract::{AgentId, OrganizationId, Problem};
use cofferdam_core::random_bits;
use cofferdam_store::{MemoryAdded, MemoryRow};

use crate::{Agents, Error};

/// The longest memory, in characters.
pub const MAX_MEMORY_CHARS: usize = 2_000;
/// Memories of one person, or of an agent itself.
const MAX_MEMORIES: u64 = 1_000;
/// Words of a search that count.
const MAX_WORDS: usize = 16;

/// A memory.
pub type Memory = MemoryRow;

impl Agents {
    /// Remembers a text, of a person or of the agent itself where `person` is empty. Returns its id.
    ///
    /// # Errors
    /// [`Problem::invalid`] for the text, [`Problem::overloaded`] at the limit, or the store failed.
    pub async fn remember(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        text: &str,
    ) -> Result<String, Error> {
        let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if text.trim().is_empty() || text.chars().count() > MAX_MEMORY_CHARS || text.chars().any(bad) {
            let detail = format!("text: 1 to {MAX_MEMORY_CHARS} characters, no control characters");
            return Err(Problem::invalid(detail).into());
        }
        let row = MemoryRow {
            id: format!("memory_{:032x}", random_bits()?),
            person: person.to_owned(),
            content: text.to_owned(),
            created_at_ms: 0,
            updated_at_ms: 0,
        };
        match self.store.put_memory(organization, agent, &row, MAX_MEMORIES).await? {
            MemoryAdded::Done => Ok(row.id),
            MemoryAdded::Full => {
                Err(Problem::overloaded(format!("There are {MAX_MEMORIES} memories already; forget some.")).into())
            }
        }
    }

    /// The newest memories.
    ///
    /// # Errors
    /// The store failed.
    pub async fn recall(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        limit: u64,
    ) -> Result<Vec<Memory>, Error> {
        Ok(self.store.memories(organization, agent, person, limit.min(MAX_MEMORIES)).await?)
    }

    /// The memories that have most of the words, the newest first among equals.
    ///
    /// # Errors
    /// The store failed.
    pub async fn search_memories(
        &self,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        words: &str,
        limit: usize,
    ) -> Result<Vec<Memory>, Error> {
        let all = self.store.memories(organization, agent, person, MAX_MEMORIES).await?;
        let words: Vec<String> = words.split_whitespace().take(MAX_WORDS).map(str::to_lowercase).collect();
        let mut found: Vec<(usize, Memory)> = all
            .into_iter()
            .filter_map(|memory| {
                let text = memory.content.to_lowercase();
                let hits = words.iter().filter(|word| text.contains(word.as_str())).count();
                (hits > 0).then_some((hits, memory))
            })
            .collect();
        found.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
        Ok(found.into_iter().take(limit).map(|(_, memory)| memory).collect())
    }

    /// Forgets a memory. Returns whether there was one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn forget_memory(
        self: &Arc<Self>,
        organization: &OrganizationId,
        agent: &AgentId,
        person: &str,
        id: &str,
    ) -> Result<bool, Error> {
        Ok(self.store.delete_memory(organization, agent, person, id).await?)
    }
}
