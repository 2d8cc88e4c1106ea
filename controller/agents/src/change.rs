//! Changes of definitions: made, drafted, published, rolled back, switched off, deleted.

use cofferdam_contract::work::{AgentDefinition, AgentKind, AgentStatus};
use cofferdam_contract::{AgentId, Problem};
use cofferdam_core::{Caller, now, now_ms, random_bits};
use cofferdam_store::{Defined, DefinedRow, DefinitionChange, VersionRow};
use sha2::{Digest as _, Sha256};

use crate::check::{check, check_name};
use crate::shown::AgentView;
use crate::{Agents, Error};

/// Agents of one organization, of either kind.
const MAX_AGENTS: u64 = 10_000;
/// Versions of an agent that are kept besides the active one and the draft.
const KEPT_VERSIONS: u64 = 100;
/// Ids that are tried for an agent without one.
const ID_TRIES: u32 = 5;
const MAX_NOTE_CHARS: usize = 500;
/// No agent's id: `POST /v1/agents/import` takes documents.
const RESERVED_ID: &str = "import";

/// An agent that is to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewAgent {
    /// Made from the name, if absent.
    pub id: Option<AgentId>,
    pub name: String,
    pub definition: AgentDefinition,
    /// It stays a draft.
    pub draft: bool,
    pub note: String,
}

impl NewAgent {
    /// Checks everything but the id.
    ///
    /// # Errors
    /// [`Problem::invalid`] that names the field.
    pub fn check(&self) -> Result<(), Problem> {
        check_name(&self.name)?;
        check(&self.definition)?;
        check_note(&self.note)
    }
}

/// A change of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit {
    pub name: Option<String>,
    pub definition: Option<AgentDefinition>,
    /// The revision that the change was made from; another one is refused.
    pub revision: Option<u64>,
    pub note: String,
}

fn missing(id: &AgentId) -> Error {
    Problem::not_found(format!("There is no agent {id}. GET /v1/agents lists them.")).into()
}

fn digest(definition: &AgentDefinition) -> Result<String, Error> {
    // The fields are written in the order of the struct, and its maps are sorted.
    Ok(hex::encode(Sha256::digest(serde_json::to_vec(definition)?)))
}

/// Makes an id from a name: `Sales analyst (EU)` is `sales-analyst-eu`.
pub fn id_of(name: &str) -> Option<AgentId> {
    let mut id = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => id.push(c),
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
        if id.len() >= 48 {
            break;
        }
    }
    AgentId::parse(id.trim_end_matches('-')).ok()
}

fn check_note(note: &str) -> Result<(), Problem> {
    match note.chars().count() > MAX_NOTE_CHARS || note.chars().any(|c| c.is_control() && c != '\n') {
        true => Err(Problem::invalid(format!("note: at most {MAX_NOTE_CHARS} characters, no control characters"))),
        false => Ok(()),
    }
}

impl Agents {
    /// Makes an agent with its first version, active unless it is to stay a draft.
    ///
    /// # Errors
    /// [`Problem::invalid`] for a field, [`Problem::conflict`] for an id that is taken, [`Problem::overloaded`] at the limit.
    pub async fn create(&self, caller: &Caller, new: NewAgent) -> Result<AgentView, Error> {
        new.check()?;
        let status = if new.draft { AgentStatus::Draft } else { AgentStatus::Active };
        let version = VersionRow {
            version: 1,
            status,
            digest: digest(&new.definition)?,
            definition: new.definition,
            note: new.note,
            created_by: caller.key.clone(),
            created_at_ms: now_ms(),
            updated_at_ms: now_ms(),
        };
        if new.id.as_ref().is_some_and(|id| id.as_str() == RESERVED_ID) {
            return Err(
                Problem::invalid(format!("id: `{RESERVED_ID}` is an address of its own; choose another one")).into()
            );
        }
        let own = new.id.is_none();
        let base = new
            .id
            .or_else(|| id_of(&new.name).filter(|id| id.as_str() != RESERVED_ID))
            .map_or_else(|| "agent".to_owned(), |id| id.to_string());
        for number in 0..ID_TRIES {
            let text = if number == 0 && base != "agent" {
                base.clone()
            } else {
                format!("{base}-{:04x}", random_bits()? & 0xffff)
            };
            let id = AgentId::parse(&text).map_err(|error| Problem::invalid(format!("id: {error}")))?;
            let row = DefinedRow {
                organization: caller.organization.clone(),
                id: id.clone(),
                name: new.name.clone(),
                kind: AgentKind::Serverless,
                status,
                active_version: u64::from(!new.draft),
                draft_version: u64::from(new.draft),
                last_version: 1,
                revision: 1,
                created_at: now(),
                updated_at: now(),
            };
            match self.store.define_agent(&row, &version, MAX_AGENTS).await? {
                Defined::Done => {
                    self.forget(&caller.organization, &id, true);
                    return Ok(AgentView::new(&row, Some(&version)));
                }
                Defined::Full => {
                    let detail = format!("The organization has {MAX_AGENTS} agents; delete some.");
                    return Err(Problem::overloaded(detail).into());
                }
                Defined::Taken if own => {}
                Defined::Taken => {
                    let detail = format!("There is an agent {id} already; PUT /v1/agents/{id} changes it.");
                    return Err(Problem::conflict(detail).into());
                }
            }
        }
        Err(Problem::conflict("No free id was found for this name; send an `id`.").into())
    }

    async fn begin(&self, caller: &Caller, id: &AgentId, revision: Option<u64>) -> Result<DefinitionChange, Error> {
        let change = self.store.change_definition(&caller.organization, id).await?.ok_or_else(|| missing(id))?;
        if change.agent.kind == AgentKind::Container {
            change.abandon().await?;
            let detail = format!(
                "The agent {id} is a container: it is deployed (POST /api/deploy-agent) and has no definition. For a serverless \
                 agent, use another id."
            );
            return Err(Problem::conflict(detail).into());
        }
        // The lock has counted the revision up.
        if let Some(revision) = revision
            && change.agent.revision != revision.saturating_add(1)
        {
            let has = change.agent.revision.saturating_sub(1);
            change.abandon().await?;
            let detail = format!(
                "The agent was changed meanwhile: it has the revision {has}, not {revision}. Read it again, and send the change \
                 with that revision."
            );
            return Err(Problem::conflict(detail).into());
        }
        Ok(change)
    }

    /// Changes the draft; makes one of the active version if there is none. An edit that changes nothing makes none.
    ///
    /// # Errors
    /// [`Problem::invalid`], [`Problem::not_found`], or [`Problem::conflict`] for another revision.
    pub async fn draft(&self, caller: &Caller, id: &AgentId, edit: Edit) -> Result<AgentView, Error> {
        let mut change = self.begin(caller, id, edit.revision).await?;
        let from = match change.agent.draft_version {
            0 => change.agent.active_version,
            draft => draft,
        };
        let from = change.version(from).await?;
        let same = match (&edit.definition, &from) {
            (Some(definition), Some(from)) => digest(definition)? == from.digest,
            (definition, _) => definition.is_none(),
        };
        if same && edit.name.as_ref().is_none_or(|name| *name == change.agent.name) {
            return Self::unchanged(change, from.as_ref()).await;
        }
        let edit = Edit { definition: edit.definition.filter(|_| !same), ..edit };
        let version = self.redraft(caller, &mut change, &edit).await?.or(from);
        let row = change.commit().await?;
        self.forget(&caller.organization, id, false);
        Ok(AgentView::new(&row, version.as_ref()))
    }

    /// The agent as it was: the lock is undone, and with it the new revision.
    async fn unchanged(change: DefinitionChange, shown: Option<&VersionRow>) -> Result<AgentView, Error> {
        let row = DefinedRow { revision: change.agent.revision.saturating_sub(1), ..change.agent.clone() };
        change.abandon().await?;
        Ok(AgentView::new(&row, shown))
    }

    async fn redraft(
        &self,
        caller: &Caller,
        change: &mut DefinitionChange,
        edit: &Edit,
    ) -> Result<Option<VersionRow>, Error> {
        check_note(&edit.note)?;
        if let Some(name) = &edit.name {
            check_name(name)?;
            name.clone_into(&mut change.agent.name);
        }
        let Some(definition) = &edit.definition else { return Ok(None) };
        check(definition)?;
        let digest = digest(definition)?;
        let draft = change.agent.draft_version;
        if draft > 0 {
            change.redraft(draft, definition, &digest, &edit.note).await?;
            return Ok(change.version(draft).await?);
        }
        change.agent.last_version = change.agent.last_version.saturating_add(1);
        change.agent.draft_version = change.agent.last_version;
        let version = VersionRow {
            version: change.agent.last_version,
            status: AgentStatus::Draft,
            definition: definition.clone(),
            digest,
            note: edit.note.clone(),
            created_by: caller.key.clone(),
            created_at_ms: now_ms(),
            updated_at_ms: now_ms(),
        };
        change.add(&version).await?;
        if change.agent.active_version == 0 {
            change.agent.status = AgentStatus::Draft;
        }
        Ok(Some(version))
    }

    /// Publishes: the definition of the edit, or the draft, becomes the active version. The same content makes no new version.
    ///
    /// # Errors
    /// As [`Self::draft`]; [`Problem::conflict`] without a draft.
    pub async fn publish(&self, caller: &Caller, id: &AgentId, edit: Edit) -> Result<AgentView, Error> {
        let mut change = self.begin(caller, id, edit.revision).await?;
        let active = match change.agent.active_version {
            0 => None,
            version => change.version(version).await?,
        };
        if let (Some(definition), Some(same)) = (&edit.definition, &active)
            && digest(definition)? == same.digest
        {
            let named = edit.name.filter(|name| *name != change.agent.name);
            if named.is_none() && change.agent.status == AgentStatus::Active {
                return Self::unchanged(change, active.as_ref()).await;
            }
            if let Some(name) = named {
                check_name(&name)?;
                change.agent.name = name;
            }
            let version = same.version;
            return self.switch(caller, change, version).await;
        }
        self.redraft(caller, &mut change, &edit).await?;
        let draft = change.agent.draft_version;
        if draft == 0 {
            if edit.name.is_some() {
                let row = change.commit().await?;
                self.forget(&caller.organization, id, false);
                return Ok(AgentView::new(&row, active.as_ref()));
            }
            change.abandon().await?;
            let detail = "There is no draft to publish; PATCH makes one, or send a definition.";
            return Err(Problem::conflict(detail).into());
        }
        self.switch(caller, change, draft).await
    }

    /// Makes a version the active one again.
    ///
    /// # Errors
    /// [`Problem::not_found`].
    pub async fn activate(&self, caller: &Caller, id: &AgentId, version: Option<u64>) -> Result<AgentView, Error> {
        let change = self.begin(caller, id, None).await?;
        let version = version.unwrap_or(match change.agent.active_version {
            0 => change.agent.draft_version,
            active => active,
        });
        self.switch(caller, change, version).await
    }

    async fn switch(&self, caller: &Caller, mut change: DefinitionChange, version: u64) -> Result<AgentView, Error> {
        let id = change.agent.id.clone();
        if version == 0 || change.version(version).await?.is_none() {
            change.abandon().await?;
            let detail = format!("The agent {id} has no version {version}; GET /v1/agents/{id}/versions lists them.");
            return Err(Problem::not_found(detail).into());
        }
        let before = change.agent.active_version;
        if before > 0 && before != version {
            change.set_status(before, AgentStatus::Inactive).await?;
        }
        change.set_status(version, AgentStatus::Active).await?;
        if change.agent.draft_version == version {
            change.agent.draft_version = 0;
        }
        change.agent.active_version = version;
        change.agent.status = AgentStatus::Active;
        change.trim(KEPT_VERSIONS).await?;
        let shown = change.version(version).await?;
        let row = change.commit().await?;
        self.forget(&caller.organization, &id, false);
        Ok(AgentView::new(&row, shown.as_ref()))
    }

    /// Switches an agent off: it takes no new tasks; those under way end.
    ///
    /// # Errors
    /// [`Problem::not_found`], or [`Problem::conflict`] for an agent without a definition.
    pub async fn deactivate(&self, caller: &Caller, id: &AgentId) -> Result<AgentView, Error> {
        let mut change = self.begin(caller, id, None).await?;
        let version = change.agent.active_version;
        if version == 0 {
            change.abandon().await?;
            return Err(Problem::conflict("The agent has no active version.").into());
        }
        change.agent.status = AgentStatus::Inactive;
        let shown = change.version(version).await?;
        let row = change.commit().await?;
        self.forget(&caller.organization, id, false);
        Ok(AgentView::new(&row, shown.as_ref()))
    }

    /// Deletes a serverless agent. Returns false if there is none, or it is a container.
    ///
    /// # Errors
    /// The store failed.
    pub async fn delete(&self, caller: &Caller, id: &AgentId) -> Result<bool, Error> {
        let deleted = self.store.delete_defined_agent(&caller.organization, id).await?;
        self.forget(&caller.organization, id, true);
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_from_names() {
        for (name, id) in [
            ("Sales analyst (EU)", Some("sales-analyst-eu")),
            ("  --x--  ", Some("x")),
            ("Übersetzer", Some("bersetzer")),
            ("日本", None),
            ("", None),
        ] {
            assert_eq!(id_of(name).map(|id| id.to_string()).as_deref(), id, "{name:?}");
        }
        assert!(id_of(&"long name ".repeat(30)).unwrap().as_str().len() <= 64);
    }
}
