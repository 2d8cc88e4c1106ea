//! A task as it is shown, as far as its own row says.

use cofferdam_contract::work::{TaskInfo, TaskTokens, Timestamp};

use super::rows::TaskRow;

/// Nano-dollars in a dollar.
const NANO: u64 = 1_000_000_000;

/// Money as decimal text, without zeros at its end.
fn dollars(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / NANO, nano % NANO);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl TaskRow {
    /// The task as it is shown, without its sub-agents' tasks and what it waits for.
    pub fn info(&self) -> TaskInfo {
        let used = &self.used;
        let until = self.finished_at_ms.unwrap_or(self.updated_at_ms);
        let ran_ms = self.started_at_ms.map_or(0, |started| until.saturating_sub(started).max(0));
        TaskInfo {
            id: self.id.clone(),
            agent_id: self.agent.clone(),
            organization_id: self.organization.clone(),
            thread_id: self.thread.clone(),
            input: self.request.input.clone(),
            status: self.status,
            internal_status: self.why,
            detail: Some(self.detail.clone()).filter(|detail| !detail.is_empty()),
            agent_version: self.agent_version.clone(),
            result: self.result.clone(),
            output: self.output.clone(),
            created_at: Timestamp(self.created_at_ms),
            started_at: self.started_at_ms.map(Timestamp),
            paused_at: self.paused_at_ms.map(Timestamp),
            finished_at: self.finished_at_ms.map(Timestamp),
            updated_at: Timestamp(self.updated_at_ms),
            parent_execution: self.parent.clone(),
            sub_executions: Vec::new(),
            title: Some(self.title.clone()).filter(|title| !title.is_empty()),
            source: Some(self.source.clone()).filter(|source| !source.is_empty()),
            tokens: TaskTokens {
                prompt_tokens: used.prompt_tokens,
                completion_tokens: used.completion_tokens,
                cache_read_tokens: used.cache_read_tokens,
                cache_write_tokens: used.cache_write_tokens,
                total_tokens: used.prompt_tokens.saturating_add(used.completion_tokens),
            },
            cost_usd: dollars(used.cost),
            used_tools: self.used_tools.clone(),
            steps: u32::try_from(used.steps).unwrap_or(u32::MAX),
            duration: std::time::Duration::from_millis(ran_ms.unsigned_abs()).as_secs_f64(),
            execution_attempts: u32::try_from(self.attempt).unwrap_or(u32::MAX),
            priority: self.priority,
            deadline: self.deadline_ms.map(Timestamp),
            waits_for: Vec::new(),
            problem: self.problem.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_decimal_text() {
        let shown = [0, 1, 1_500_000_000, 20 * NANO].map(dollars);
        assert_eq!(shown, ["0", "0.000000001", "1.5", "20"]);
    }
}
