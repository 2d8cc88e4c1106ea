//! Active agents as MCP's tools: joins `cofferdam_mcp::Agents` and `agent_loop::Work`.
//!
//! Never decides who may use an agent: the loop does.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_agent_loop::Work;
use cofferdam_contract::work::{AgentKind, AgentStatus, EventType, InvokeRequest, TaskStatus};
use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_core::{Caller, Scopes};
use cofferdam_mcp::{ActiveAgents, AgentTool, Agents, Failed, Running, Step};
use futures_util::future::BoxFuture;
use futures_util::stream;
use moka::sync::Cache;

const MAX_AGENTS: usize = 1_000;
/// A list is read again after this time: every listener asks each second.
const KEPT_FOR: Duration = Duration::from_secs(2);
const MAX_ORGANIZATIONS: u64 = 1_024;

pub(crate) struct OfWork {
    work: Arc<Work>,
    lists: Cache<OrganizationId, ActiveAgents>,
}

impl OfWork {
    pub(crate) fn new(work: Arc<Work>) -> Self {
        Self { work, lists: Cache::builder().max_capacity(MAX_ORGANIZATIONS).time_to_live(KEPT_FOR).build() }
    }

    async fn read(&self, organization: &OrganizationId) -> Result<ActiveAgents, Failed> {
        if let Some(list) = self.lists.get(organization) {
            return Ok(list);
        }
        let caller = Caller::new("mcp", organization.clone(), Scopes::new(Vec::new()));
        let (mut agents, mut after, mut hash) = (Vec::new(), String::new(), DefaultHasher::new());
        while agents.len() < MAX_AGENTS {
            let page = self.work.agents().list(&caller, &after, 200).await.map_err(|e| Box::new(e) as Failed)?;
            let Some(last) = page.last() else { break };
            after = last.id.to_string();
            for one in page {
                if one.kind != AgentKind::Serverless || one.status != AgentStatus::Active {
                    continue;
                }
                // From memory, but for the first time.
                let active =
                    self.work.agents().active(organization, &one.id).await.map_err(|e| Box::new(e) as Failed)?;
                let description = active.map(|agent| agent.definition.description.clone()).unwrap_or_default();
                (one.id.as_str(), &one.name, &description).hash(&mut hash);
                agents.push(AgentTool { id: one.id, name: one.name, description });
            }
        }
        let list = ActiveAgents { revision: hash.finish(), agents: agents.into() };
        self.lists.insert(organization.clone(), list.clone());
        Ok(list)
    }
}

impl Agents for OfWork {
    fn active<'a>(&'a self, organization: &'a OrganizationId) -> BoxFuture<'a, Result<ActiveAgents, Failed>> {
        Box::pin(self.read(organization))
    }

    fn ask<'a>(
        &'a self,
        caller: &'a Caller,
        agent: &'a AgentId,
        request: InvokeRequest,
    ) -> BoxFuture<'a, Result<Running, Failed>> {
        Box::pin(async move {
            let invoked = self.work.invoke(caller, agent, request, "mcp").await.map_err(|e| Box::new(e) as Failed)?;
            let (tasks, id) = (Arc::clone(self.work.tasks()), invoked.task.id.clone());
            let follow = tasks.follow_task(caller, &id, 0).await.map_err(|e| Box::new(e) as Failed)?;
            let state = (follow, Arc::clone(&tasks), caller.clone(), id.clone(), false);
            let steps = stream::unfold(state, |(mut follow, tasks, caller, id, over)| async move {
                if over {
                    return None;
                }
                loop {
                    let events = match follow.next().await {
                        Some(Ok(events)) => events,
                        Some(Err(_)) | None => Vec::new(),
                    };
                    let ended = events.is_empty()
                        || events.iter().any(|event| {
                            matches!(
                                event.info().kind,
                                EventType::TaskFinished
                                    | EventType::TaskUpdated
                                    | EventType::ApprovalRequested
                                    | EventType::AuthEvent
                            )
                        });
                    if ended
                        && let Ok(info) = tasks.get(&caller, &id).await
                        && (info.status.is_final() || info.status == TaskStatus::Paused)
                    {
                        return Some((Step::End(Box::new(info)), (follow, tasks, caller, id, true)));
                    }
                    if events.is_empty() {
                        return None;
                    }
                    let word = events.iter().rev().find_map(|event| match event.info().kind {
                        EventType::ToolCallRequest => {
                            let tool = event.info().data.get("tool_name").or_else(|| event.info().data.get("name"));
                            Some(format!("calls {}", tool.and_then(|name| name.as_str()).unwrap_or("a tool")))
                        }
                        EventType::SubAgentTrigger => Some("asks another agent".to_owned()),
                        EventType::Chunk => Some("answers".to_owned()),
                        _ => None,
                    });
                    if let Some(word) = word {
                        return Some((Step::Word(word), (follow, tasks, caller, id, false)));
                    }
                }
            });
            let (task, thread) = (invoked.task.id, invoked.task.thread_id);
            let (stopper, who, which) = (tasks, caller.clone(), task.clone());
            let stop = Box::pin(async move {
                if let Err(error) = stopper.stop(&who, &which).await {
                    tracing::warn!(%error, "a task that was cancelled over MCP was not stopped");
                }
            });
            Ok(Running { task, thread, steps: Box::pin(steps), stop })
        })
    }
}
