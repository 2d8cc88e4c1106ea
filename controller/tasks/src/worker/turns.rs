//! The turns of lanes: organizations one after another, and within each its agents. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};

use cofferdam_contract::{AgentId, OrganizationId};
use cofferdam_store::Lane;

use super::LaneLimit;

/// Lanes that may have tasks.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Organizations in the order of their turns.
    organizations: VecDeque<OrganizationId>,
    agents: HashMap<OrganizationId, VecDeque<AgentId>>,
}

/// Tasks that are executing, by organization and by lane.
#[derive(Debug, Default, Clone)]
pub(super) struct Load {
    pub(super) organizations: HashMap<OrganizationId, u64>,
    pub(super) lanes: HashMap<Lane, u64>,
}

impl Load {
    fn allows(&self, lane: &Lane, limit: LaneLimit) -> bool {
        let below = |limit: Option<u32>, load: Option<&u64>| {
            limit.is_none_or(|limit| load.copied().unwrap_or_default() < u64::from(limit))
        };
        below(limit.organization, self.organizations.get(&lane.organization))
            && below(limit.agent, self.lanes.get(lane))
    }

    fn add(&mut self, lane: &Lane) {
        *self.organizations.entry(lane.organization.clone()).or_default() += 1;
        *self.lanes.entry(lane.clone()).or_default() += 1;
    }
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.organizations.is_empty()
    }

    /// The lane may have something.
    pub(super) fn add(&mut self, lane: Lane) {
        let agents = self.agents.entry(lane.organization.clone()).or_default();
        if agents.is_empty() {
            self.organizations.push_back(lane.organization);
        }
        if !agents.contains(&lane.agent) {
            agents.push_back(lane.agent);
        }
    }

    /// The lane has nothing, until somebody says otherwise.
    pub(super) fn remove(&mut self, lane: &Lane) {
        let Some(agents) = self.agents.get_mut(&lane.organization) else { return };
        agents.retain(|agent| *agent != lane.agent);
        if agents.is_empty() {
            self.agents.remove(&lane.organization);
            self.organizations.retain(|organization| *organization != lane.organization);
        }
    }

    pub(super) fn lanes(&self) -> Vec<Lane> {
        let of = |organization: &OrganizationId| {
            let agents = self.agents.get(organization).into_iter().flatten();
            let lane = |agent: &AgentId| Lane { organization: organization.clone(), agent: agent.clone() };
            agents.map(lane).collect::<Vec<_>>()
        };
        self.organizations.iter().flat_map(of).collect()
    }

    /// Deals so many slots to lanes: one to each organization in turn, within it to its agents in turn, as far as limits allow.
    pub(super) fn deal(&mut self, slots: usize, limits: &HashMap<Lane, LaneLimit>, mut load: Load) -> Vec<(Lane, u32)> {
        let mut dealt: BTreeMap<Lane, u32> = BTreeMap::new();
        let mut passed = 0;
        let mut left = slots;
        while left > 0 && passed < self.organizations.len() {
            let Some(organization) = self.organizations.pop_front() else { break };
            match self.deal_one(&organization, limits, &load) {
                Some(lane) => {
                    load.add(&lane);
                    *dealt.entry(lane).or_default() += 1;
                    (left, passed) = (left - 1, 0);
                }
                None => passed += 1,
            }
            self.organizations.push_back(organization);
        }
        dealt.into_iter().collect()
    }

    fn deal_one(
        &mut self,
        organization: &OrganizationId,
        limits: &HashMap<Lane, LaneLimit>,
        load: &Load,
    ) -> Option<Lane> {
        let agents = self.agents.get_mut(organization)?;
        for _ in 0..agents.len() {
            let agent = agents.pop_front()?;
            agents.push_back(agent.clone());
            let lane = Lane { organization: organization.clone(), agent };
            if load.allows(&lane, limits.get(&lane).copied().unwrap_or_default()) {
                return Some(lane);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(organization: &str, agent: &str) -> Lane {
        Lane { organization: OrganizationId::parse(organization).unwrap(), agent: AgentId::parse(agent).unwrap() }
    }

    fn turns(lanes: &[(&str, &str)]) -> Turns {
        let mut turns = Turns::default();
        lanes.iter().for_each(|(organization, agent)| turns.add(lane(organization, agent)));
        turns
    }

    fn dealt(turns: &mut Turns, slots: usize, limits: &[(Lane, LaneLimit)]) -> Vec<(String, u32)> {
        let limits = limits.iter().cloned().collect();
        let named = |(lane, slots): (Lane, u32)| (format!("{}/{}", lane.organization, lane.agent), slots);
        turns.deal(slots, &limits, Load::default()).into_iter().map(named).collect()
    }

    #[test]
    fn organizations_take_turns_whatever_they_have_waiting() {
        let mut turns = turns(&[("a", "one"), ("a", "two"), ("a", "three"), ("b", "only")]);
        let all = dealt(&mut turns, 6, &[]);
        let expected = [("a/one", 1), ("a/three", 1), ("a/two", 1), ("b/only", 3)];
        assert_eq!(all, expected.map(|(lane, slots)| (lane.to_owned(), slots)));
        // One slot at a time comes to the same.
        let one_by_one: Vec<_> = (0..4).flat_map(|_| dealt(&mut turns, 1, &[])).map(|(lane, _)| lane).collect();
        assert_eq!(one_by_one.iter().filter(|lane| *lane == "b/only").count(), 2, "{one_by_one:?}");
    }

    #[test]
    fn limits_of_organization_and_agent_hold() {
        let limit = |organization, agent| LaneLimit { organization, agent };
        let mut some = turns(&[("a", "one"), ("a", "two"), ("b", "only")]);
        let limits = [(lane("a", "one"), limit(Some(3), Some(1))), (lane("a", "two"), limit(Some(3), None))];
        let all = dealt(&mut some, 10, &limits);
        let expected = [("a/one", 1), ("a/two", 2), ("b/only", 7)];
        assert_eq!(all, expected.map(|(lane, slots)| (lane.to_owned(), slots)));
        let mut none = turns(&[("a", "one")]);
        assert!(dealt(&mut none, 5, &[(lane("a", "one"), limit(Some(0), None))]).is_empty());
        assert!(!none.is_empty());
    }

    #[test]
    fn a_lane_that_is_removed_is_gone_and_comes_back() {
        let mut turns = turns(&[("a", "one"), ("a", "two")]);
        turns.remove(&lane("a", "one"));
        assert_eq!(turns.lanes(), [lane("a", "two")]);
        turns.remove(&lane("a", "two"));
        turns.remove(&lane("x", "y"));
        assert!(turns.is_empty());
        turns.add(lane("a", "one"));
        turns.add(lane("a", "one"));
        assert_eq!(turns.lanes(), [lane("a", "one")]);
    }
}
