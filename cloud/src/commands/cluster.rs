//! `serve --nats`: has a hub take its part among others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use postern_protocol::id::FleetId;

use super::CommandError;
use super::edge::EdgeFile;
use crate::args::Clustered;
use crate::cluster::{Bus, Edge, Forward, Part, Primary, Settings, Veil, key_file};
use crate::hub::Hub;
use crate::keys;

/// Which part a state directory gives its hub.
#[derive(Debug)]
pub(super) enum Role {
    /// It has the model, and other hubs if there is NATS.
    Primary,
    /// It has a replica; where the primary is.
    Edge(Vec<SocketAddr>),
}

impl Role {
    /// What a state directory says.
    ///
    /// # Errors
    /// When its `edge.toml` cannot be read, or an edge is to serve what it has not.
    pub(super) fn of(state: &Path, wanted: &Clustered, has_api: bool) -> Result<Self, CommandError> {
        match EdgeFile::read(state)? {
            None => Ok(Self::Primary),
            Some(_) if wanted.nats.is_empty() => Err(CommandError::EdgeAlone),
            Some(_) if has_api => Err(CommandError::EdgeApi),
            Some(edge) => Ok(Self::Edge(edge.primary)),
        }
    }

    /// Whether it is an edge's.
    pub(super) const fn is_edge(&self) -> bool {
        matches!(self, Self::Edge(_))
    }

    /// Has a hub take its part; until what is returned is dropped.
    ///
    /// # Errors
    /// When the key of the cluster or a setting is missing. That NATS is away is none.
    pub(super) async fn join(
        self,
        hub: &Arc<Hub>,
        wanted: Clustered,
        state: &Path,
        fleet: FleetId,
    ) -> Result<JoinSet<()>, CommandError> {
        if wanted.nats.is_empty() {
            return Ok(JoinSet::new());
        }
        let settings = Settings {
            servers: wanted.nats,
            credentials: wanted.nats_credentials,
            authorities: wanted.nats_authorities,
            replicas: wanted.nats_replicas.into(),
        };
        match self {
            Self::Primary => {
                let veil = Veil::new(fleet, &keys::read_or_make(&key_file(state))?);
                let bus = Bus::connect(&settings, fleet).await?;
                let (primary, works) = Primary::new();
                hub.join(Part::Primary(primary));
                Ok(works.start(hub, &bus, &veil))
            }
            Self::Edge(primary) => {
                let veil = Veil::new(fleet, &keys::read(&key_file(state))?);
                let bus = Bus::connect(&settings, fleet).await?;
                let (edge, works) = Edge::new();
                hub.join(Part::Edge(edge));
                hub.forward(Forward::bind(&hub.signer().now().keys.hub, &primary)?);
                Ok(works.start(hub, &bus, &veil, hub.relays_for_afar()))
            }
        }
    }
}
