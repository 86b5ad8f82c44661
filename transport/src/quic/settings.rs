//! The numbers that make a QUIC connection fit its job, with the reason for each.
//!
//! 1. A preset is chosen by what the connection is for: [`Settings::control`], [`Settings::session`],
//!    [`Settings::hub`]. The fields are public so that a benchmark can vary one of them.
//! 2. [`Settings`] is turned into quinn's transport configuration and the limits of its server side.
//!
//! What quinn leaves at generous defaults is set here explicitly: stream counts, windows, datagram buffers (off where nothing uses them)
//! and what strangers may make the endpoint hold before they have proved anything. Congestion control is Cubic:
//! quinn's BBR lost 53 % of the packets that it sent on a 10 Mbit/s link with a 64 kB queue (Cubic: 2 %), and
//! factories pay for metered links. [`congestion`](super::congestion) bounds the queue that Cubic builds.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use super::congestion::ShortQueueConfig;

/// How a connection behaves. Both ends choose their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that the peer may send ahead on one stream, fixed by quinn for the life of the connection. It bounds
    /// the rate of one stream on a long path, and what one tunnel can make either side hold.
    pub stream_window: u32,
    /// Bytes that the peer may send ahead on all streams together.
    pub connection_window: u32,
    /// Bytes that may wait unacknowledged on this side. All streams share it and quinn wakes waiters newest
    /// first, so it must be a multiple of the peer's stream window: otherwise one bulk stream starves the others.
    pub send_window: u32,
    /// Bidirectional streams that the peer may have open at once.
    pub streams: u16,
    /// Bytes of datagrams (RFC 9221) that wait on each side, the oldest of which are dropped for more; 0 takes and sends none.
    pub datagrams: u32,
    /// Silence after which a ping is sent, to keep NAT mappings. `None` where the peer pings.
    pub keep_alive: Option<Duration>,
    /// Silence after which the connection counts as lost; the smaller value of both ends holds.
    pub idle: Duration,
    /// Time that [`Endpoint::connect`](super::Endpoint::connect) gives the handshake.
    pub handshake: Duration,
    /// Largest UDP payload that path MTU discovery may settle on. It starts at 1200 and may return there.
    pub mtu_ceiling: u16,
    /// Exchange several packets with the kernel in one call, both ways. Twice the CPU time of a bulk transfer without,
    /// 3 MB for a receive buffer with; some old kernels lie about it. The environment variable `POSTERN_NO_GSO`
    /// switches it off for the whole process.
    pub segmentation: bool,
    /// Receive batches into 0.9 MB instead, for one more copy of what is received.
    pub thrifty: bool,
    /// Wish for the kernel's send and receive buffer in bytes; the kernel may grant less.
    pub socket_buffer: u32,
    /// What strangers may make this endpoint hold.
    pub admission: Admission,
}

/// Limits on connection attempts that have not finished their handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Attempts between admission and the end of their handshake; beyond it attempts are refused at once.
    pub handshakes: u16,
    /// Handshakes in flight above which a peer must first prove its address with a Retry (RFC 9000 section 8.1.2).
    /// A flood from spoofed addresses then costs one small packet each and holds nothing.
    pub retry_above: u16,
    /// Attempts that may wait to be admitted.
    pub waiting: u16,
    /// Bytes kept for one waiting attempt.
    pub buffer_each: u32,
    /// Bytes kept for all waiting attempts.
    pub buffer_total: u32,
    /// How many handshakes may begin; none is as many as come.
    pub pacing: Option<Pacing>,
}

/// How many handshakes may begin, by where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// From one place.
    pub place: Rate,
    /// From all places of which nobody is known.
    pub all: Rate,
    /// From one place of which somebody is known.
    pub known: Rate,
}

/// Some at once, and then some in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u16,
    /// In a second, in the long run; not zero.
    pub per_s: u16,
}

impl Settings {
    /// [`Settings::session`] at the agent before the peer is known: room for requests and for nothing else. Sixteen
    /// strangers may make the agent hold 2 MiB with their datagrams, not the 33 MiB of sixteen sessions.
    /// [`Connection::widen`](super::Connection::widen) follows when the peer is known.
    #[must_use]
    pub const fn stranger() -> Self {
        Self { connection_window: 64 * KIB, streams: 8, thrifty: true, ..Self::session() }
    }

    /// Agent to hub: small messages on few streams, pings every 25 s (UDP mappings last 30 s in the field): with
    /// the questions for the time about 16 MB a month.
    #[must_use]
    pub const fn control() -> Self {
        Self {
            stream_window: 64 * KIB,
            connection_window: 512 * KIB,
            send_window: 1024 * KIB,
            streams: 16,
            datagrams: 0,
            keep_alive: Some(Duration::from_secs(25)),
            idle: Duration::from_secs(75),
            handshake: HANDSHAKE,
            mtu_ceiling: MTU_CEILING,
            segmentation: false, // a few small messages an hour are not worth 3 MB
            thrifty: false,
            socket_buffer: 256 * KIB,
            admission: Admission::device(),
        }
    }

    /// Engineer to agent: tunnels.
    ///
    /// A window of 256 KiB carries 35 Mbit/s per stream over 60 ms, and on a local network a quarter more than one
    /// of 112 KiB for a sixth less processor time (larger bursts). It does not set the queue on a narrow link: the
    /// congestion controller does. What one connection can make either side hold is the connection window, 2 MiB;
    /// eight tunnels whose readers have stopped fill it. The send window covers all streams at their limit.
    ///
    /// Either end pings after five seconds, for a tenth of a megabyte an hour: when a router in between forgets an end that has nothing to say
    /// (all is acknowledged, and the window of the other one is full), only a packet of its own opens the way again.
    #[must_use]
    pub const fn session() -> Self {
        Self {
            stream_window: 256 * KIB,
            connection_window: 2048 * KIB,
            send_window: 16_384 * KIB,
            streams: 64,
            datagrams: 64 * KIB,
            keep_alive: Some(Duration::from_secs(5)),
            idle: Duration::from_secs(45),
            handshake: HANDSHAKE,
            mtu_ceiling: MTU_CEILING,
            segmentation: true,
            thrifty: false,
            socket_buffer: 1024 * KIB,
            admission: Admission::device(),
        }
    }

    /// Hub: the other end of [`Settings::control`] for thousands of devices. The devices ping, the hub does not.
    #[must_use]
    pub const fn hub() -> Self {
        Self {
            keep_alive: None,
            segmentation: true,
            socket_buffer: 4096 * KIB,
            admission: Admission::hub(),
            ..Self::control()
        }
    }

    /// Whether packets are exchanged in batches, after the kill switch was asked.
    pub(super) fn batches(&self) -> bool {
        self.segmentation && std::env::var_os("POSTERN_NO_GSO").is_none()
    }

    pub(super) fn transport(&self) -> Arc<TransportConfig> {
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(self.mtu_ceiling);
        let idle = u32::try_from(self.idle.as_millis()).unwrap_or(u32::MAX);
        let waiting = usize::try_from(self.datagrams).ok().filter(|bytes| *bytes != 0);
        let mut config = TransportConfig::default();
        config
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .send_window(self.send_window.into())
            .max_concurrent_bidi_streams(VarInt::from_u32(self.streams.into()))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(waiting)
            .datagram_send_buffer_size(waiting.unwrap_or(0))
            .keep_alive_interval(self.keep_alive)
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
            .initial_mtu(BASE_MTU)
            .min_mtu(BASE_MTU)
            .mtu_discovery_config(Some(mtu))
            .crypto_buffer_size(CRYPTO_BUFFER)
            .congestion_controller_factory(Arc::new(ShortQueueConfig))
            .enable_segmentation_offload(self.batches());
        Arc::new(config)
    }
}

impl Admission {
    /// A router with 128 MB of memory that a few engineers reach. A handshake takes half a millisecond of a fast processor and ten of a
    /// slow one: strangers get a third of that one at most, and an office behind one address comes back at once after an outage.
    #[must_use]
    pub const fn device() -> Self {
        Self {
            handshakes: 16,
            retry_above: 4,
            waiting: 16,
            buffer_each: 32 * KIB,
            buffer_total: 256 * KIB,
            pacing: Some(Pacing {
                place: Rate { burst: 64, per_s: 4 },
                all: Rate { burst: 128, per_s: 32 },
                known: Rate { burst: 256, per_s: 32 },
            }),
        }
    }

    /// A server to which a whole fleet returns after an outage; two cores do about 1,000 handshakes per second.
    #[must_use]
    pub const fn hub() -> Self {
        Self {
            handshakes: 2048,
            retry_above: 256,
            waiting: 2048,
            buffer_each: 32 * KIB,
            buffer_total: 16 * 1024 * KIB,
            pacing: None,
        }
    }

    pub(super) fn apply(&self, config: &mut quinn::ServerConfig) {
        config
            .max_incoming(self.waiting.into())
            .incoming_buffer_size(self.buffer_each.into())
            .incoming_buffer_size_total(self.buffer_total.into());
    }
}

const KIB: u32 = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What every path that QUIC works on must carry (RFC 9000 section 14.1).
const BASE_MTU: u16 = 1200;
/// Ethernet less IPv6 and UDP headers is 1452; 12 bytes are left for one layer of PPPoE or a relay's handle.
const MTU_CEILING: u16 = 1440;
/// A handshake with one raw key each way is below 1 kB; more unordered handshake bytes than this are an attack.
const CRYPTO_BUFFER: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_keeps_its_send_window_clear_of_starvation() {
        for settings in [Settings::control(), Settings::session(), Settings::hub()] {
            assert!(settings.send_window >= 8 * settings.stream_window, "{settings:?}");
            assert!(
                settings.send_window >= u32::from(settings.streams) * settings.stream_window,
                "{settings:?}"
            );
            assert!(settings.connection_window >= 8 * settings.stream_window, "{settings:?}");
        }
    }

    #[test]
    fn every_preset_pings_at_least_twice_per_idle_period() {
        for settings in [Settings::control(), Settings::session()] {
            assert!(settings.keep_alive.unwrap() * 2 < settings.idle, "{settings:?}");
        }
    }

    #[test]
    fn unidirectional_streams_are_off_and_datagrams_are_where_nothing_uses_them() {
        let config = |settings: Settings| format!("{:?}", settings.transport());
        for config in [config(Settings::control()), config(Settings::hub())] {
            assert!(config.contains("max_concurrent_uni_streams: 0,"), "{config}");
            assert!(config.contains("datagram_receive_buffer_size: None"), "{config}");
            assert!(config.contains("datagram_send_buffer_size: 0"), "{config}");
        }
        let session = config(Settings::session());
        assert!(session.contains("max_concurrent_uni_streams: 0,"), "{session}");
        assert!(session.contains("datagram_receive_buffer_size: Some(65536)"), "{session}");
    }
}
