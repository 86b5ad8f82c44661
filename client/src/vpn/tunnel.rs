//! One open VPN tunnel.
//!
//! 1. The device opens it like any service, then says on its stream where flows may go.
//! 2. The stream is watched until it ends: then all flows have ended, and whoever waits learns why.
//! 3. Dropping the tunnel ends it at the device.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use postern_protocol::id::TunnelId;
use postern_protocol::policy::{Destination, Kind, Mode};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::flow::{FlowTarget, PacketDrops, VpnNews};
use postern_protocol::wire::registry::CloseCode;
use postern_protocol::wire::tunnel::ANSWER_BYTES;
use postern_transport::framed::{FrameFault, read_frame};
use postern_transport::quic::{RecvStream, SendStream, StreamFault};

use crate::connect::vigil::{Alive, Ends};
use crate::device::{DeviceError, DeviceLink, Flow, News as Discovered, Opened};
use crate::ending::Ending;

/// An open VPN tunnel.
#[derive(Debug)]
pub(super) struct Vpn {
    link: Arc<DeviceLink>,
    id: TunnelId,
    mode: Mode,
    until: UnixTime,
    recorded: bool,
    news: watch::Receiver<News>,
    watcher: AbortHandle,
    alive: Option<Alive>,
}

/// What is known of a tunnel.
#[derive(Clone, Debug)]
struct News {
    destinations: Vec<Destination>,
    /// Packets that the device has dropped.
    drops: Vec<PacketDrops>,
    /// Why it ended; none while it is open.
    over: Option<Over>,
}

/// How a tunnel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// By itself, with what the device said.
    Alone(Ending),
    /// With the connection under it.
    WithLink,
}

impl Vpn {
    /// Begins with what the device opened, and waits for its first words.
    ///
    /// # Errors
    /// [`DeviceError::Unexpected`] when the service is no VPN, otherwise how it ended.
    pub(super) async fn begin(link: Arc<DeviceLink>, opened: Opened) -> Result<Self, DeviceError> {
        let Opened { tunnel: id, kind, mode, until, recorded, send, mut recv, .. } = opened;
        if kind != Kind::Vpn {
            return Err(DeviceError::Unexpected);
        }
        let VpnNews::Destinations(destinations) = read_frame(&mut recv, ANSWER_BYTES, FIRST_NEWS).await?
        else {
            return Err(DeviceError::Unexpected);
        };
        let (said, news) = watch::channel(News { destinations, drops: Vec::new(), over: None });
        let watcher = tokio::spawn(watch_over(send, recv, said)).abort_handle();
        Ok(Self { link, id, mode, until, recorded, news, watcher, alive: None })
    }

    /// Notes when it ends, for as long as it lives.
    pub(super) fn noted(mut self, ends: &Ends) -> Self {
        self.alive = Some(ends.note(self.id, self.until));
        self
    }

    /// Opens a flow.
    ///
    /// # Errors
    /// What the device said.
    pub(super) async fn flow(&self, to: FlowTarget) -> Result<Flow, DeviceError> {
        self.link.flow(self.id, to).await
    }

    /// Asks the device what is there to go to; with `scan` it asks each host.
    ///
    /// # Errors
    /// What the device said.
    pub(super) async fn discover(&self, scan: bool) -> Result<Discovered, DeviceError> {
        self.link.discover(self.id, scan).await
    }

    #[cfg(target_os = "linux")]
    /// Opens the way for packets.
    ///
    /// # Errors
    /// What the device said.
    pub(super) async fn packets(&self) -> Result<Flow, DeviceError> {
        self.link.packets(self.id).await
    }

    #[cfg(target_os = "linux")]
    /// Tells what packets the device has dropped so far, now and whenever there are more. Ends with the tunnel.
    pub(super) async fn dropped(&self, mut told: impl FnMut(Vec<PacketDrops>)) {
        let mut news = self.news.clone();
        while news.changed().await.is_ok() {
            let drops = news.borrow_and_update().drops.clone();
            told(drops);
        }
    }

    /// Its number in the device's audit.
    pub(super) const fn id(&self) -> TunnelId {
        self.id
    }

    /// What may be done in it at first.
    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether what is done in it is recorded.
    pub(super) const fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// Where flows may go now.
    pub(super) fn destinations(&self) -> Vec<Destination> {
        self.news.borrow().destinations.clone()
    }

    #[cfg(target_os = "linux")]
    /// Waits until flows may go elsewhere than before, or the tunnel has ended. Safe to cancel; `seen` is what was known before.
    pub(super) fn moved(&self, seen: Vec<Destination>) -> impl Future<Output = ()> + Send + use<> {
        let mut news = self.news.clone();
        async move {
            // The tunnel may be dropped, which is an end.
            let _over = news.wait_for(|news| news.over.is_some() || news.destinations != seen).await;
        }
    }

    /// Whether flows can be opened.
    pub(super) fn is_open(&self) -> bool {
        self.news.borrow().over.is_none()
    }

    /// Waits for its end. Safe to cancel; does not keep the tunnel open.
    pub(super) fn over(&self) -> impl Future<Output = Over> + Send + use<> {
        let mut news = self.news.clone();
        async move {
            match news.wait_for(|news| news.over.is_some()).await.as_deref() {
                Ok(News { over: Some(over), .. }) => over.clone(),
                // Whoever watched was dropped with the tunnel.
                Ok(News { over: None, .. }) | Err(_) => Over::Alone(Ending::Said(CloseCode::Done)),
            }
        }
    }
}

impl Drop for Vpn {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Takes the device's words until there are no more.
async fn watch_over(send: SendStream, mut recv: RecvStream, said: watch::Sender<News>) {
    let heard = async {
        loop {
            match read_frame(&mut recv, ANSWER_BYTES, Duration::MAX).await {
                Ok(VpnNews::Destinations(destinations)) => {
                    said.send_modify(|news| news.destinations = destinations);
                }
                Ok(VpnNews::Drops(drops)) => said.send_modify(|news| news.drops = drops),
                Err(fault) => return fault,
            }
        }
    };
    let stopped = async {
        match send.stopped().await {
            Ok(Some(code)) => StreamFault::Stopped(code),
            // It is not finished while it is watched.
            Ok(None) => std::future::pending().await,
            Err(end) => StreamFault::ConnectionLost(end),
        }
    };
    let fault = tokio::select! {
        fault = heard => fault,
        fault = stopped => FrameFault::Stream(fault),
    };
    let over = match fault {
        FrameFault::Stream(StreamFault::ConnectionLost(_)) => Over::WithLink,
        // In order; the other direction may say why.
        FrameFault::Ended => match tokio::time::timeout(LAST_WORD, send.stopped()).await {
            Ok(Ok(Some(code))) => Over::Alone(StreamFault::Stopped(code).into()),
            Ok(Err(_)) => Over::WithLink,
            Ok(Ok(None)) | Err(_) => Over::Alone(Ending::Said(CloseCode::Done)),
        },
        fault @ (FrameFault::Stream(_)
        | FrameFault::TooLarge { .. }
        | FrameFault::TimedOut { .. }
        | FrameFault::Truncated { .. }
        | FrameFault::Codec(_)) => Over::Alone(fault.into()),
    };
    said.send_modify(|news| news.over = Some(over));
}

/// A device says where flows may go as soon as it has opened the tunnel.
const FIRST_NEWS: Duration = Duration::from_secs(20);
/// What the two directions of a stream are apart.
const LAST_WORD: Duration = Duration::from_millis(200);
