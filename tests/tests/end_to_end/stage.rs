//! What the suites share: the press with everything behind it, and worlds with the usual cast.
//!
//! Anna may use everything. Bert may use the panel only. Services: `hmi` (VNC), `web` (HTTP) and `live` (WebSocket)
//! lead to the simulated press; `echo`, `source` and `sink` (plain flows) lead to plain targets.

use postern_tests::machine::Machine;
use postern_tests::world::target::Target;
use postern_tests::world::{Fleet, Mishap, World};

pub(crate) type Outcome = Result<(), Mishap>;

/// The laboratory, which can be every program.
pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_postern-lab");

/// The machine network.
pub(crate) struct Plant {
    pub(crate) press: Machine,
    pub(crate) echo: Target,
    pub(crate) source: Target,
    pub(crate) sink: Target,
}

impl Plant {
    pub(crate) async fn start() -> Result<Self, Mishap> {
        Ok(Self {
            press: Machine::start(7).await?,
            echo: Target::echo().await?,
            source: Target::source().await?,
            sink: Target::sink().await?,
        })
    }

    /// Services of the plant, without anybody who may use them.
    pub(crate) fn services(&self) -> Fleet {
        Fleet::new()
            .service("hmi", "vnc", self.press.vnc)
            .service("web", "http", self.press.web)
            .service("live", "websocket", self.press.live)
            .service("echo", "http", self.echo.address)
            .service("sink", "http", self.sink.address)
            .service("source", "http", self.source.address)
    }

    /// The usual cast.
    pub(crate) fn fleet(&self) -> Fleet {
        self.services()
            .allow("anna", &["echo", "hmi", "live", "sink", "source", "web"])
            .allow("bert", &["hmi"])
    }

    /// A running world with the usual cast.
    pub(crate) async fn world(&self) -> Result<World, Mishap> {
        World::start(LAB, &self.fleet()).await
    }
}
