//! What an operator can watch: counters, gauges and histograms of one process, as Prometheus reads them.
//!
//! 1. [`Metrics::new`] registers everything that a hub says, and [`Metrics::of_relay`] what a relay by itself does.
//! 2. Whoever does something notes it: a word for an outcome, a [`Held`] for as long as something lasts, a duration.
//! 3. [`Metrics::text`] is asked for all of it, and asks the system about the process at that moment.
//!
//! Labels are words of this program, by their type: no name of a device, a user or an account can be one, so that their number is
//! bounded, and whoever reads them learns nothing about anybody. Deliberately absent: the listener, which is
//! [`monitoring`](crate::api::monitoring)'s, and a push to anywhere.

mod process;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use self::process::Process;

/// How the answer of [`Metrics::text`] is called in HTTP.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// One label with a word of this program.
type One = [(&'static str, &'static str); 1];
/// Two of them.
type Two = [(&'static str, &'static str); 2];

/// Everything that is counted in this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    links: Gauge,
    visitors: Gauge,
    draining: Gauge,
    handshakes: Family<One, Counter>,
    requests: Family<Two, Counter>,
    api: Family<One, Counter>,
    pushes: Counter,
    push_bytes: Counter,
    answers: Family<One, Counter>,
    answer_times: Histogram,
    rows: Counter,
    batches: Family<One, Counter>,
    alarms: Family<One, Counter>,
    publications: Family<One, Counter>,
    store: Family<Two, Histogram, fn() -> Histogram>,
}

/// Counts one of something for as long as it is held.
#[derive(Debug)]
pub struct Held(Gauge);

/// What a relay has done since its start; asked whenever somebody reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Meetings of which an end is there.
    pub meetings: u64,
    /// Connections over TLS that relay.
    pub streams: u64,
    /// Packets that were passed on.
    pub passed: u64,
    /// Bytes of QUIC in them.
    pub bytes: u64,
    /// Packets that could not be passed on: unbound, or the other leg took no more.
    pub dropped: u64,
    /// Packets from where their leg is not bound.
    pub unbound: u64,
    /// Notices that bound a leg.
    pub bound: u64,
    /// Notices that were forged, replayed or too late.
    pub refused: u64,
    /// Notices that found no place.
    pub full: u64,
}

impl Held {
    fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Those of a hub.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self::unregistered();
        let mut registry = base();
        metrics.register(&mut registry);
        metrics.registry = Mutex::new(registry);
        metrics
    }

    /// Those of a relay that runs by itself: the process, and what [`relayed_by`](Self::relayed_by) adds.
    #[must_use]
    pub fn of_relay() -> Self {
        let mut metrics = Self::unregistered();
        metrics.registry = Mutex::new(base());
        metrics
    }

    /// Says from here on what a relay does as well.
    pub fn relayed_by(&self, counts: impl Fn() -> Relayed + Send + Sync + 'static) {
        let relay = Relay(Box::new(counts));
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register_collector(Box::new(relay));
    }

    /// All of it, in the text format 0.0.4 of Prometheus.
    ///
    /// # Errors
    /// None that is known: text is written to memory.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }

    /// A link is up for as long as this is held.
    #[must_use]
    pub fn link(&self) -> Held {
        Held::of(&self.links)
    }

    /// How many links are up.
    #[must_use]
    pub fn links(&self) -> u64 {
        u64::try_from(self.links.get()).unwrap_or(0)
    }

    /// A connection is there for as long as this is held, linked or not.
    #[must_use]
    pub fn visitor(&self) -> Held {
        Held::of(&self.visitors)
    }

    /// The hub is about to end.
    pub fn draining(&self) {
        self.draining.set(1);
    }

    /// Somebody came: `done`, `failed`, or `turned_away` where all places were taken, or the hub is about to end.
    pub fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A request of this kind was answered so.
    pub fn request(&self, kind: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
    }

    /// A request to the API was answered with this status.
    pub fn api(&self, status: u16) {
        let class = match status / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.api.get_or_create(&[("status", class)]).inc();
    }

    /// A snapshot of so many bytes goes to a device.
    pub fn push(&self, bytes: u32) {
        self.pushes.inc();
        self.push_bytes.inc_by(bytes.into());
    }

    /// A device has answered to a snapshot, `applied` or `refused`, so long after its first byte went out.
    pub fn answer(&self, answer: &'static str, after: Option<Duration>) {
        self.answers.get_or_create(&[("answer", answer)]).inc();
        after.into_iter().for_each(|after| self.answer_times.observe(after.as_secs_f64()));
    }

    /// Rows of a trail came: `taken`, or refused with a code's word.
    pub fn batch(&self, outcome: &'static str, rows: usize) {
        self.batches.get_or_create(&[("outcome", outcome)]).inc();
        if outcome == TAKEN {
            self.rows.inc_by(u64::try_from(rows).unwrap_or(u64::MAX));
        }
    }

    /// An alarm of this kind was raised.
    pub fn alarm(&self, kind: &'static str) {
        self.alarms.get_or_create(&[("kind", kind)]).inc();
    }

    /// A snapshot was signed here, for this cause.
    pub fn publication(&self, cause: &'static str) {
        self.publications.get_or_create(&[("cause", cause)]).inc();
    }

    /// The state was used: how long for, and how long the turn was waited for.
    pub fn store(&self, access: &'static str, waited: Duration, worked: Duration) {
        for (part, time) in [("wait", waited), ("work", worked)] {
            let labels = [("access", access), ("part", part)];
            self.store.get_or_create(&labels).observe(time.as_secs_f64());
        }
    }

    fn unregistered() -> Self {
        Self {
            registry: Mutex::default(),
            links: Gauge::default(),
            visitors: Gauge::default(),
            draining: Gauge::default(),
            handshakes: Family::default(),
            requests: Family::default(),
            api: Family::default(),
            pushes: Counter::default(),
            push_bytes: Counter::default(),
            answers: Family::default(),
            answer_times: Histogram::new(ANSWER_S),
            rows: Counter::default(),
            batches: Family::default(),
            alarms: Family::default(),
            publications: Family::default(),
            store: Family::new_with_constructor(|| Histogram::new(STORE_S)),
        }
    }

    fn register(&self, registry: &mut Registry) {
        let hub = registry.sub_registry_with_prefix("postern_hub");
        hub.register("links", "Devices that are linked", self.links.clone());
        hub.register("connections", "Connections, those of linked devices among them", self.visitors.clone());
        hub.register("draining", "1 where the hub is about to end", self.draining.clone());
        hub.register("handshakes", "Who came, by what became of it", self.handshakes.clone());
        hub.register("requests", "Requests, by kind and outcome", self.requests.clone());
        hub.register("pushes", "Snapshots that were sent to devices", self.pushes.clone());
        hub.register("push_bytes", "Bytes of snapshots that were sent", self.push_bytes.clone());
        hub.register("push_answers", "Answers of devices to snapshots", self.answers.clone());
        let from_push = "From a snapshot's first byte to the device's answer";
        hub.register("push_answer_seconds", from_push, self.answer_times.clone());
        hub.register("audit_rows", "Rows of trails that were stored", self.rows.clone());
        hub.register("audit_batches", "Batches of rows, by what became of them", self.batches.clone());
        hub.register("alarms", "Alarms that were raised", self.alarms.clone());
        let signed = "Snapshots that this process has signed";
        hub.register("publications", signed, self.publications.clone());
        registry.register("postern_api_requests", "Answers of the API, by class of status", self.api.clone());
        let store = "What a turn at the state has cost, and the wait for it";
        registry.register("postern_store_seconds", store, self.store.clone());
        // What is there from the beginning can be alerted on before it happens for the first time.
        for outcome in ["done", "failed", "turned_away"] {
            let _zero = self.handshakes.get_or_create(&[("outcome", outcome)]);
        }
        for answer in ["applied", "refused"] {
            let _zero = self.answers.get_or_create(&[("answer", answer)]);
        }
        let _zero = self.batches.get_or_create(&[("outcome", TAKEN)]);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What every process of this program says.
fn base() -> Registry {
    let mut registry = Registry::default();
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("postern_build", "The program", build);
    registry.register_collector(Box::new(Process));
    registry
}

/// Asks a relay.
struct Relay(Box<dyn Fn() -> Relayed + Send + Sync>);

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relay").finish()
    }
}

impl Collector for Relay {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = (self.0)();
        for (name, help, value) in [
            ("postern_relay_meetings", "Meetings of which an end is there", seen.meetings),
            ("postern_relay_streams", "Connections over TLS that relay", seen.streams),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        counter(&mut encoder, "postern_relay_bytes", "Bytes that were passed on", &[("", seen.bytes)])?;
        let outcomes = [("passed", seen.passed), ("dropped", seen.dropped), ("unbound", seen.unbound)];
        counter(&mut encoder, "postern_relay_packets", "Packets, by what became of them", &outcomes)?;
        let outcomes = [("bound", seen.bound), ("refused", seen.refused), ("full", seen.full)];
        counter(&mut encoder, "postern_relay_notices", "Notices, by what became of them", &outcomes)
    }
}

/// A gauge that is known only now.
fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// A counter that is known only now: one value without a word, or one for each outcome.
fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[(&'static str, u64)],
) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (outcome, value) in values {
        let value = ConstCounter::new(*value);
        if outcome.is_empty() {
            return value.encode(metric);
        }
        value.encode(metric.encode_family(&[("outcome", *outcome)])?)?;
    }
    Ok(())
}

/// Rows that were stored.
pub const TAKEN: &str = "taken";
/// Seconds within which devices answer: from a wire in the same room to slow flash behind a slow line.
const ANSWER_S: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 180.0];
/// Seconds of a turn at the state: a look-up takes some microseconds, the publication for a large fleet a minute.
const STORE_S: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.5, 30.0];

/// The metrics of a process, shared by all who note something.
pub type Shared = Arc<Metrics>;

#[cfg(test)]
mod tests;
