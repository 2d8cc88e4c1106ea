//! A call that is a task of another agent: made under this task's lease, once, and waited for without a slot.

use cofferdam_contract::AgentId;
use cofferdam_contract::work::{EventType, InvokeRequest};
use cofferdam_contract::{TaskId, ThreadId};
use cofferdam_core::random_bits;
use cofferdam_store::{ReceiptRow, ReceiptState, Turn, Write, Written};
use serde_json::json;

use crate::invoke::{self, Making};
use crate::limits;
use crate::receipts::settle;
use crate::step::{Draft, Halt, Run};
use crate::types::ToolDone;

impl Run {
    /// Makes the sub-agent's task, or tells the model why there is none.
    pub(crate) async fn make_child(
        &mut self,
        receipt: ReceiptRow,
        agent: AgentId,
        request: InvokeRequest,
    ) -> Result<(), Halt> {
        let most = limits::depth(&self.ctx.agent.definition.limits);
        if self.ctx.task.depth >= most {
            let why = format!(
                "Agents may call agents {most} deep here, and this one is {} deep. Do it without another agent.",
                self.ctx.task.depth
            );
            return self.no_child(receipt, &why).await;
        }
        let parts = std::sync::Arc::clone(&self.ctx.parts);
        let organization = &self.ctx.task.organization;
        let found = match parts.agents.active(organization, &agent).await? {
            Some(found) => found,
            None => return self.no_child(receipt, &format!("There is no active agent `{agent}`.")).await,
        };
        if let Err(problem) = invoke::check(&request) {
            return self.no_child(receipt, &problem.detail).await;
        }
        let thread = match &request.thread {
            None => None,
            Some(id) => {
                let found = match ThreadId::parse(id) {
                    Ok(id) => parts.tasks.store().thread(organization, &id).await?,
                    Err(_) => None,
                };
                match found {
                    // One that is busy may be that of a task that waits for this one.
                    Some(row) if row.agent == agent && row.active.is_none() => Some(row),
                    Some(row) if row.agent == agent => return self.no_child(receipt, "That thread is busy.").await,
                    _ => return self.no_child(receipt, "That agent has no such thread.").await,
                }
            }
        };
        let task = &self.ctx.task;
        let mut new = invoke::new_task(Making {
            id: TaskId::from_random(random_bits()?),
            fresh_thread: ThreadId::from_random(random_bits()?),
            organization,
            key: &task.api_key,
            scopes: &task.scopes,
            agent: &found,
            request: InvokeRequest { priority: Some(task.priority), ..request },
            source: "agent",
            thread,
            max_unfinished: parts.config.max_unfinished,
        });
        new.task.parent = Some(task.id.clone());
        new.task.parent_call.clone_from(&receipt.call);
        new.task.root = task.root.clone();
        new.task.depth = task.depth + 1;
        new.task.deadline_ms = task.deadline_ms;
        new.parent_lease = Some(self.lease.clone());
        let (id, thread) = (new.task.id.clone(), new.task.thread.clone());
        #[cfg(test)]
        if parts.kill.before() {
            return Err(Halt::Lost);
        }
        let child = match parts.tasks.write(Write::Add(Box::new(new))).await? {
            #[cfg(test)]
            _ if parts.kill.after() => return Err(Halt::Lost),
            Written::Done { .. } => id,
            Written::Before { task, .. } => task,
            Written::Full => {
                return self.no_child(receipt, "The organization has as many unfinished tasks as it may have.").await;
            }
            Written::Missing => return self.no_child(receipt, "That thread does not exist any more.").await,
            Written::Lost | Written::Conflict { .. } => return Err(Halt::Lost),
        };
        let data = json!({"call_id": receipt.call, "agent_id": agent, "task_id": child, "thread_id": thread, "depth": self.ctx.task.depth + 1});
        self.keep(ReceiptRow { state: ReceiptState::Child, child: Some(child), ..receipt });
        self.tell_now(EventType::SubAgentTrigger, data).await
    }

    async fn no_child(&mut self, mut receipt: ReceiptRow, why: &str) -> Result<(), Halt> {
        let mut draft = Draft::default();
        settle(&mut receipt, ToolDone::error(why).result, &mut draft);
        draft.receipts.push(receipt);
        self.write(draft, Turn::Goes).await
    }
}
