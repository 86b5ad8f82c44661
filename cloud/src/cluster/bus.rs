//! NATS, as far as hubs use it; used by nothing else.
//!
//! 1. [`Bus::connect`] begins to connect, and goes on for as long as the bus is there: servers that are away are a matter of time.
//! 2. The [`bucket`](Bus::bucket) holds entries, the [`stream`](Bus::parcels) parcels. The primary makes both where they are missing;
//!    NATS keeps as many copies of them as it was told.
//! 3. Names of buckets, streams and subjects begin with the installation's id, so that installations can share servers.
//!
//! Deliberately absent: any trust. What goes in and out here is sealed by a [`Veil`](super::Veil).

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, kv, stream};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};

use postern_protocol::id::FleetId;

use super::talk::HubId;

/// Which servers, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where they are: `nats://HOST:PORT`, `tls://HOST:PORT`; one that answers names the others.
    pub(crate) servers: Vec<ServerAddr>,
    /// What they are shown: a file as `nsc` makes it.
    pub(crate) credentials: Option<PathBuf>,
    /// Who may vouch for them, as PEM; the system's authorities where there is none.
    pub(crate) authorities: Option<PathBuf>,
    /// How many servers keep a copy.
    pub(crate) replicas: usize,
}

/// A connection to NATS.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    client: Client,
    jetstream: jetstream::Context,
    fleet: FleetId,
    replicas: usize,
}

/// Why NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// A file cannot be read.
    #[error("the credentials for NATS: {0}")]
    Credentials(std::io::Error),
    /// The settings make no connection.
    #[error("NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
    /// The bucket is not there.
    #[error("the bucket of entries on NATS: {0}")]
    NoBucket(#[from] jetstream::context::KeyValueError),
    /// A stream, or the bucket that is one, is not there and cannot be made.
    #[error("what hubs share on NATS cannot be made: {0}")]
    Stream(#[from] jetstream::context::CreateStreamError),
    /// The stream cannot be read.
    #[error("the stream of reports on NATS: {0}")]
    Consumer(#[from] jetstream::stream::ConsumerError),
}

impl Bus {
    /// Begins to connect.
    ///
    /// # Errors
    /// A [`BusError`] of settings; that servers are away is none.
    pub(crate) async fn connect(settings: &Settings, fleet: FleetId) -> Result<Self, BusError> {
        let mut options = ConnectOptions::new()
            .name("postern-cloud")
            .retry_on_initial_connect()
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING)
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(100).saturating_mul(u32::try_from(attempts.min(10)).unwrap_or(10))
            })
            .event_callback(|event| async move { note(&event) });
        if let Some(authorities) = &settings.authorities {
            options = options.add_root_certificates(authorities.clone());
        }
        if let Some(credentials) = &settings.credentials {
            options = options.credentials_file(credentials).await.map_err(BusError::Credentials)?;
        }
        let client = options.connect(settings.servers.clone()).await?;
        let jetstream =
            jetstream::ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(client.clone());
        Ok(Self { client, jetstream, fleet, replicas: settings.replicas })
    }

    /// For plain messages.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// For the stream.
    pub(crate) const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Where parcels go.
    pub(crate) fn reports(&self) -> String {
        format!("postern.{}.report", self.fleet)
    }

    /// Where edges ask.
    pub(crate) fn questions(&self) -> String {
        format!("postern.{}.ask", self.fleet)
    }

    /// Where parcels are handed over while the stream stands still.
    pub(crate) fn hands(&self) -> String {
        format!("postern.{}.hand", self.fleet)
    }

    /// Where entries are pushed.
    pub(crate) fn pushes(&self) -> String {
        format!("postern.{}.push", self.fleet)
    }

    /// Where one edge is told something, or all are.
    pub(crate) fn tells(&self, to: Option<HubId>) -> String {
        match to {
            Some(hub) => format!("postern.{}.tell.{hub}", self.fleet),
            None => format!("postern.{}.tell.all", self.fleet),
        }
    }

    /// The bucket of entries, if it is there.
    ///
    /// # Errors
    /// A [`BusError`].
    pub(crate) async fn bucket(&self) -> Result<kv::Store, BusError> {
        Ok(self.jetstream.get_key_value(self.name("entries")).await?)
    }

    /// The bucket of entries, made where it is missing.
    ///
    /// # Errors
    /// A [`BusError`].
    pub(crate) async fn make_bucket(&self) -> Result<kv::Store, BusError> {
        if let Ok(bucket) = self.bucket().await {
            return Ok(bucket);
        }
        // What a bucket is made of (NATS ADR-8). The library would ask first what the account may, in words that servers before 2.10 lack.
        let name = self.name("entries");
        let made = self.jetstream.create_stream(stream::Config {
            name: format!("KV_{name}"),
            description: Some("What hubs of a Postern installation know of its devices, sealed".to_owned()),
            subjects: vec![format!("$KV.{name}.>")],
            max_messages_per_subject: 1,
            discard: stream::DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: self.replicas,
            ..stream::Config::default()
        });
        made.await?;
        self.bucket().await
    }

    /// The parcels in their order, each until it is acknowledged; the stream is made where it is missing. With `anew`, what an earlier
    /// primary was given and did not acknowledge comes at once, and not when its time is over.
    ///
    /// # Errors
    /// A [`BusError`].
    pub(crate) async fn parcels(&self, anew: bool) -> Result<jetstream::consumer::PullConsumer, BusError> {
        let stream = self.jetstream.get_or_create_stream(stream::Config {
            name: self.name("reports"),
            description: Some("What devices said to hubs of a Postern installation, sealed".to_owned()),
            subjects: vec![self.reports()],
            retention: stream::RetentionPolicy::WorkQueue,
            // Who is told that there is no room keeps what it has; what is pushed out would be gone.
            discard: stream::DiscardPolicy::New,
            max_bytes: STREAM_BYTES,
            duplicate_window: DUPLICATES,
            num_replicas: self.replicas,
            ..stream::Config::default()
        });
        let config = jetstream::consumer::pull::Config {
            durable_name: Some("primary".to_owned()),
            ack_wait: ACK_WAIT,
            // One after another: in the order of a device, a lock that was taken must not be overtaken by the one before.
            max_ack_pending: 1,
            ..jetstream::consumer::pull::Config::default()
        };
        let stream = stream.await?;
        if anew {
            // Where there is none there is nothing to delete.
            let _none = stream.delete_consumer("primary").await;
        }
        Ok(stream.get_or_create_consumer("primary", config).await?)
    }

    fn name(&self, what: &str) -> String {
        format!("postern-{}-{what}", self.fleet)
    }
}

fn note(event: &Event) {
    match event {
        Event::Connected => tracing::info!("NATS is there"),
        Event::Disconnected => tracing::warn!("NATS is away"),
        Event::LameDuckMode
        | Event::Draining
        | Event::Closed
        | Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_) => tracing::debug!(error = %event, "NATS"),
    }
}

/// For one answer of NATS.
const PATIENCE: Duration = Duration::from_secs(1);
/// How soon a server that is dead is noticed: after two of these.
const PING: Duration = Duration::from_secs(2);
/// For the primary to record a parcel; one that takes longer is delivered again, and known.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// For how long NATS itself knows a parcel that comes twice. After it, the primary does.
const DUPLICATES: Duration = Duration::from_secs(120);
/// Parcels that wait while the primary is away: a day of 10,000 busy devices.
const STREAM_BYTES: i64 = 1024 * 1024 * 1024;
