//! What is done with the packets of programs: flows of them, or nothing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::gateway::Gateway;
use super::alias::Plan;
use super::carriers::Carriers;
use super::flow::Ways;
use super::fragments::Fragments;
use super::lanes::Lanes;
use super::packet::Key;
use super::table::Table;
use super::tally::Tally;
use super::virtio::Said;
use crate::problem::Problem;

/// What is done with the packets of programs.
pub(super) enum Traffic {
    /// Each flow is asked of the device.
    Flows(Box<(Table, Fragments)>),
    /// They go to the device as they are.
    Packets(Carriers),
}

impl Traffic {
    /// Begins with services that are open. Problems that end all of it come back.
    pub(super) fn begin(
        (gateways, lanes): (Vec<Arc<Gateway>>, Lanes),
        plan: Plan,
        ways: Ways,
        tally: Option<Arc<Tally>>,
    ) -> (Self, mpsc::Receiver<Problem>) {
        match tally {
            Some(tally) => {
                let (carriers, problems) = Carriers::open(gateways, (lanes, plan), (ways.tun, tally));
                (Self::Packets(carriers), problems)
            }
            // Nobody has anything to say there.
            None => (
                Self::Flows(Box::new((Table::new(ways, lanes, plan), Fragments::default()))),
                mpsc::channel(1).1,
            ),
        }
    }

    /// Where machines are.
    pub(super) fn plan(&self) -> Plan {
        match self {
            Self::Flows(flows) => flows.0.plan().clone(),
            Self::Packets(carriers) => carriers.plan().clone(),
        }
    }

    /// Where machines are from now on.
    pub(super) fn replan(&mut self, plan: Plan) {
        match self {
            Self::Flows(flows) => flows.0.replan(plan),
            Self::Packets(carriers) => *carriers.plan() = plan,
        }
    }

    /// Takes a packet of a program.
    pub(super) fn pass(&mut self, said: Said, packet: &[u8], tasks: &mut JoinSet<Key>) {
        match self {
            Self::Flows(flows) => {
                let (table, fragments) = &mut **flows;
                let mut whole = Vec::new();
                if let Some(packet) = fragments.take(packet, &mut whole) {
                    table.pass(said, packet, tasks);
                }
            }
            Self::Packets(carriers) => carriers.pass(packet),
        }
    }

    /// A task of a flow has ended.
    pub(super) fn forget(&mut self, key: Option<Key>) {
        if let Self::Flows(flows) = self {
            flows.0.forget(key);
        }
    }
}
