//! The command line of several hubs.

use std::net::SocketAddr;
use std::path::PathBuf;

use async_nats::ServerAddr;
use clap::Subcommand;

/// NATS, by which several hubs of one installation share what is published.
#[derive(Debug, clap::Args)]
pub(crate) struct Clustered {
    /// A NATS server with JetStream, such as `nats://10.0.0.5:4222` or `tls://nats.example.net`; repeat it for several. A hub with the
    /// model is the primary then, one whose directory was made by `edge new` an edge.
    #[arg(long, value_name = "URL", env = "POSTERN_NATS", value_delimiter = ',')]
    pub(crate) nats: Vec<ServerAddr>,
    /// What the servers are shown: a credentials file as `nsc` writes it.
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// Who may vouch for the servers, as PEM, beside the system's authorities.
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub(crate) nats_authorities: Option<PathBuf>,
    /// How many servers keep a copy of what hubs share; when it is made, and not after that. Three for a cluster of three.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) nats_replicas: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EdgeCommand {
    /// Makes the state directory of a hub that runs elsewhere: it serves devices and users of this installation, and has neither its
    /// model nor a key that could permit anything. Bring the directory to its machine over a way that nobody else reads.
    New {
        /// The directory to make.
        directory: PathBuf,
        /// Where that hub listens.
        #[arg(long, default_value = "0.0.0.0:7440")]
        listen: SocketAddr,
        /// Where it reaches this hub; repeat it for each address. Where devices and users reach it, unless said otherwise.
        #[arg(long, value_name = "ADDRESS")]
        primary: Vec<SocketAddr>,
    },
}
