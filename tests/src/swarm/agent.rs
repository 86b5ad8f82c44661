//! One of very many agents: dials, says hello, verifies and acknowledges what it is pushed, sends rows, and comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_protocol::audit::{
    Batch, Begin, Checkpoint, End, Event as Happened, LogId, Ratchet, RatchetKey, Row, SealedRow, chain,
};
use postern_protocol::limits;
use postern_protocol::policy::{Expectation, Floor, verify};
use postern_protocol::session::agent::{AgentSync, Event, Outcome};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::{Announcement, SealingSecret};
use postern_protocol::trust::{Digest, Nonce};
use postern_protocol::wire::control::{Held, Hello, HubMessage, Life, Return};
use postern_protocol::wire::hub::HubRequest;
use postern_protocol::wire::registry::{ALPNS_HUB, CloseCode, Failure};
use postern_protocol::wire::text::Text;
use postern_transport::backoff::Backoff;
use postern_transport::framed::{FrameFault, read_frame, write_frame};
use postern_transport::quic::{
    Connection, ConnectionEnd, Endpoint, RecvStream, Role, SendStream, Settings, StreamFault,
};

use super::{Member, Shared};

/// What an agent keeps from one link to the next.
struct Kept {
    number: usize,
    floor: Option<Floor>,
    trail: Trail,
    /// The state of its randomness.
    dice: u64,
}

/// Its trail.
struct Trail {
    begin: Begin,
    ratchet: Ratchet,
    /// What the hub has acknowledged.
    acked: End,
    /// What is not acknowledged: it is sent again on the next link.
    pending: Option<(End, Batch)>,
    /// Whether it is on its way over the present link.
    is_sent: bool,
    batches: u32,
}

/// Why there is no link any more.
enum Ended {
    /// It was told when to come back.
    Away(Return),
    /// All others have lost the hub as well.
    Crowd(&'static str),
    /// Anything else.
    Later(String),
}

/// Keeps a link up for ever.
pub(super) async fn live(shared: Arc<Shared>, number: usize) {
    let Some(member) = shared.installation.members.get(number) else { return };
    let mut kept = Kept::new(number);
    let mut backoff = Backoff::new();
    let mut is_first = true;
    loop {
        let turn = if is_first { shared.dialling.acquire().await.ok() } else { None };
        let ended = match dial(&shared, member).await {
            Ok((endpoint, connection)) => {
                drop(turn);
                is_first = false;
                let ended = converse(&shared, member, &mut kept, &mut backoff, &connection).await;
                connection.close(CloseCode::Done.number(), b"");
                endpoint.wait_idle().await;
                ended
            }
            Err(error) => Ended::Later(error),
        };
        let (why, pause) = match ended {
            Ended::Away(told) => ("told to leave".to_owned(), Duration::from_millis(told.away_ms.into())),
            Ended::Crowd(why) => {
                backoff.crowd();
                (why.to_owned(), backoff.delay(kept.roll()))
            }
            Ended::Later(why) => (why, backoff.delay(kept.roll())),
        };
        shared.note(|seen| *seen.ends.entry(why).or_default() += 1);
        tokio::time::sleep(pause).await;
    }
}

async fn dial(shared: &Shared, member: &Member) -> Result<(Endpoint, Connection), String> {
    let (at, settings) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Settings::control());
    let endpoint =
        Endpoint::bind(at, &member.key, Role::Client, &settings).map_err(|error| error.to_string())?;
    let hub = &shared.installation;
    let connected = endpoint.connect(hub.at, hub.hub_key, ALPNS_HUB, &settings).await;
    connected.map(|connection| (endpoint, connection)).map_err(|error| format!("dialling: {error}"))
}

/// Takes its place among those that are linked, for as long as it is kept.
struct Linked<'a>(&'a Shared);

impl<'a> Linked<'a> {
    fn note(shared: &'a Shared) -> Self {
        shared.note(|seen| {
            seen.linked += 1;
            seen.ups.push(Instant::now());
        });
        Self(shared)
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.0.note(|seen| seen.linked -= 1);
    }
}

async fn converse(
    shared: &Shared,
    member: &Member,
    kept: &mut Kept,
    backoff: &mut Backoff,
    connection: &Connection,
) -> Ended {
    let (mut send, recv) = match connection.open_bi().await {
        Ok(stream) => stream,
        Err(end) => return of(&end),
    };
    let mut sync = AgentSync::new();
    let hello = HubRequest::Sync(kept.hello());
    if let Err(fault) = write_frame(&mut send, &hello, limits::FRAME_BYTES).await {
        return of_frame(&fault);
    }
    sync.handle_question(Nonce::new(kept.bytes()));
    if let Ok(sealing) = SealingSecret::derive(&member.key) {
        sync.handle_sealing_key(Announcement::sign(&member.key, &sealing));
    }
    let mut wanted = shared.batches.subscribe();
    wanted.mark_changed();
    kept.trail.is_sent = false;
    let (mut linked, mut leave, mut began, mut begun) = (None, None::<(Instant, Return)>, None, false);
    let mut next = std::pin::pin!(receive(recv));
    loop {
        if linked.is_some()
            && let Err(fault) = transmit(&mut sync, &mut send).await
        {
            return of_frame(&fault);
        }
        tokio::select! {
            (recv, received) = &mut next => {
                next.set(receive(recv));
                let message = match received {
                    Ok(message) => message,
                    Err(fault) => return of_frame(&fault),
                };
                if linked.is_none() {
                    backoff.reset();
                    linked = Some(Linked::note(shared));
                }
                if matches!(message, HubMessage::Push { .. }) {
                    began = Some(Instant::now());
                }
                match sync.handle_message(message) {
                    Ok(Some(Event::Offered { held, bytes })) => {
                        match check(shared, member, kept.floor, &bytes) {
                            Ok(floor) => kept.floor = Some(floor),
                            Err(fault) => {
                                shared.note(|seen| seen.faults.push(fault));
                                return Ended::Later("a fault".to_owned());
                            }
                        }
                        sync.handle_outcome(held, Outcome::Applied { cut: 0 });
                        if let Err(fault) = transmit(&mut sync, &mut send).await {
                            return of_frame(&fault);
                        }
                        let (began, now) = (began.take().unwrap_or_else(Instant::now), Instant::now());
                        shared.note(|seen| {
                            seen.pushes.push((began, now));
                            seen.bytes += bytes.len();
                        });
                    }
                    Ok(Some(Event::Return(told))) => {
                        leave = Some((Instant::now() + Duration::from_millis(told.leave_ms.into()), told));
                    }
                    Ok(Some(Event::RowsTaken(_))) => {
                        kept.trail.taken();
                        shared.note(|seen| seen.batches += 1);
                    }
                    Ok(Some(Event::RowsRefused(_, code))) => {
                        shared.note(|seen| seen.faults.push(format!("rows: {}", code.word())));
                    }
                    Ok(
                        Some(
                            Event::UpToDate
                            | Event::Timestamp { .. }
                            | Event::KeyWanted
                            | Event::Lock { .. }
                            | Event::Meet(_)
                            | Event::Root(_)
                            | Event::ReceiptTaken(_),
                        )
                        | None,
                    ) => {}
                    Err(fault) => {
                        shared.note(|seen| seen.faults.push(fault.word().to_owned()));
                        return Ended::Later(fault.word().to_owned());
                    }
                }
            }
            _changed = wanted.changed() => {}
            told = turn(leave) => return Ended::Away(told),
        }
        if linked.is_some() && !kept.trail.is_sent && kept.trail.batches < *wanted.borrow_and_update() {
            let begin = (!std::mem::replace(&mut begun, true)).then(|| kept.trail.begin.clone());
            let batch = kept.trail.batch(member);
            sync.handle_rows(begin, batch);
        }
    }
}

async fn turn(leave: Option<(Instant, Return)>) -> Return {
    match leave {
        Some((at, told)) => {
            tokio::time::sleep_until(at.into()).await;
            told
        }
        None => std::future::pending().await,
    }
}

/// As an agent does before anything comes into force.
fn check(shared: &Shared, member: &Member, floor: Option<Floor>, bytes: &[u8]) -> Result<Floor, String> {
    let expected = Expectation {
        root: &shared.installation.root,
        device: member.whose.device,
        device_key: member.key.public(),
        floor,
    };
    verify(bytes, &expected).map(|verified| verified.floor()).map_err(|fault| fault.to_string())
}

async fn transmit(sync: &mut AgentSync, send: &mut SendStream) -> Result<(), FrameFault> {
    while let Some(message) = sync.poll_transmit() {
        write_frame(send, &message, limits::SYNC_FRAME_BYTES).await?;
    }
    Ok(())
}

async fn receive(mut recv: RecvStream) -> (RecvStream, Result<HubMessage, FrameFault>) {
    let message = read_frame(&mut recv, limits::SYNC_FRAME_BYTES, SILENCE).await;
    (recv, message)
}

fn of(end: &ConnectionEnd) -> Ended {
    let shutdown = CloseCode::Failed(Failure::Shutdown).number();
    if matches!(end, ConnectionEnd::ClosedByPeer { code, .. } if *code == shutdown) {
        Ended::Crowd("the hub ended")
    } else if matches!(end, ConnectionEnd::Reset) {
        Ended::Crowd("the hub has forgotten the link")
    } else {
        Ended::Later(end.to_string())
    }
}

fn of_frame(fault: &FrameFault) -> Ended {
    if let FrameFault::Stream(StreamFault::ConnectionLost(end)) = fault {
        of(end)
    } else {
        Ended::Later(fault.to_string())
    }
}

impl Kept {
    fn new(number: usize) -> Self {
        let dice = u64::try_from(number).unwrap_or(u64::MAX).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed;
        let mut kept = Self { number, floor: None, trail: Trail::new([0; 16]), dice };
        kept.trail = Trail::new(kept.bytes());
        kept
    }

    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.dice;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn bytes(&mut self) -> [u8; 16] {
        (u128::from(self.roll()) << 64 | u128::from(self.roll())).to_be_bytes()
    }

    fn hello(&self) -> Hello {
        let held = self.floor.map(|Floor { epoch, version, digest }| Held { epoch, version, digest });
        let life = Digest::of(&[&self.number.to_be_bytes()]);
        Hello {
            root_version: 1,
            held,
            active: held.is_some(),
            agent: Text::clean(env!("CARGO_PKG_VERSION")),
            boots: 1,
            life: Life(life.as_bytes().first_chunk().copied().unwrap_or_default()),
            addresses: Vec::new(),
            freshness: None,
            locks: 0,
        }
    }
}

impl Trail {
    fn new(name: [u8; 16]) -> Self {
        let key = RatchetKey::new(*Digest::of(&[&name]).as_bytes());
        let ratchet = Ratchet::new(1, key.clone());
        let acked = End { seq: 0, link: chain::ORIGIN };
        let begin = Begin { log: LogId::new(name), first: 1, previous: chain::ORIGIN, sealed_from: 1, key };
        Self { begin, ratchet, acked, pending: None, is_sent: false, batches: 0 }
    }

    /// As many rows as one batch may have, chained, sealed and signed.
    fn batch(&mut self, member: &Member) -> Batch {
        self.is_sent = true;
        if let Some((_, batch)) = &self.pending {
            return batch.clone();
        }
        let (first, mut end, mut rows) = (self.acked.seq + 1, self.acked, Vec::new());
        for _ in 0..limits::AUDIT_ROWS {
            let row = Row { seq: end.seq + 1, at: WHEN, event: Happened::Stopped };
            let Ok((body, link)) = chain::append(&end.link, &row) else { break };
            let tag = Some(self.ratchet.seal(&link));
            end = End { seq: row.seq, link };
            rows.push(SealedRow { body, tag });
        }
        let checkpoint = Some(Checkpoint::sign(member.whose, self.begin.log, end, &member.key));
        let batch = Batch { log: self.begin.log, first, rows, checkpoint };
        self.pending = Some((end, batch.clone()));
        batch
    }

    fn taken(&mut self) {
        if let Some((end, _)) = self.pending.take() {
            (self.acked, self.is_sent) = (end, false);
            self.batches += 1;
        }
    }
}

/// When everything happened.
const WHEN: UnixTime = UnixTime::from_secs(1_800_000_000);
const SILENCE: Duration = Duration::from_secs(30 * 24 * 3600);
