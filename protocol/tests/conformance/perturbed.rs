//! Bytes that are cut, lengthened or changed are never the same value in another spelling.

use postern_protocol::id::{ApprovalId, DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::limits;
use postern_protocol::name::{Label, Name};
use postern_protocol::policy::{FreshnessState, Kind, Mode, Reason};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::{
    Channel, CutCause, Digest, NextKey, Nonce, Proof, PublicKey, Receipt, ReceiptId, SecretKey, Signature,
    SignedReceipt,
};
use postern_protocol::wire::administration::{
    AdminAnswer, AdminQuestion, ChangeAuthor, ChangeEntry, ChangeFate, CodeText, Decline, Declined,
    EditGuard, Edited, EntityEntry, HandedCode, HistoryMark, InvitationEntry, InvitationStanding,
};
use postern_protocol::wire::approval::{ApprovalStanding, ApprovalVerdict, ApprovalWish};
use postern_protocol::wire::approval_code::ApprovalCode;
use postern_protocol::wire::case::{CaseAbout, CaseEnd, CaseQuestion, CaseWindow};
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::control::{
    AgentMessage, AlarmKind, Held, Hello, HubMessage, Life, NackCode, RootCode,
};
use postern_protocol::wire::hub::{DeviceEntry, HubAnswer, HubRequest, Only, Password};
use postern_protocol::wire::registry::Failure;
use postern_protocol::wire::text::Text;
use postern_protocol::wire::tunnel::{ANSWER_BYTES, Answer, Request, ServiceEntry};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::net::SocketAddr;

use crate::samples::{self, announcement};

#[test]
fn every_golden_value_reads_back_and_no_cut_or_addition_does() {
    for sample in samples::all() {
        let Some(again) = sample.again else { continue };
        assert_eq!(again(&sample.bytes), Ok(sample.bytes.clone()), "{}", sample.name);
        for len in 0..sample.bytes.len() {
            // A cut string or list leaves its count without elements: there is nothing that it could mean.
            assert_eq!(
                again(&sample.bytes[..len]),
                Err(CodecFault::Malformed),
                "{} cut to {len}",
                sample.name
            );
        }
        let long = [sample.bytes.as_slice(), &[0]].concat();
        assert_eq!(again(&long), Err(CodecFault::Trailing { count: 1 }), "{}", sample.name);
    }
}

#[test]
fn every_flipped_bit_is_a_fault_or_another_value() {
    for sample in samples::all() {
        let Some(again) = sample.again else { continue };
        for bit in 0..sample.bytes.len() * 8 {
            let mut flipped = sample.bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // What reads at all is what those very bytes say, never the golden value once more.
            if let Ok(written) = again(&flipped) {
                assert_eq!(written, flipped, "{} bit {bit}", sample.name);
            }
        }
    }
}

fn round_trips<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, max: usize) {
    let bytes = codec::encode(value, max).unwrap();
    assert_eq!(codec::decode::<T>(&bytes, max).as_ref(), Ok(value));
    assert_eq!(
        codec::decode::<T>(&[bytes.as_slice(), &[0]].concat(), max),
        Err(CodecFault::Trailing { count: 1 })
    );
    let cut = &bytes[..bytes.len() - 1];
    assert_eq!(codec::decode::<T>(cut, max), Err(CodecFault::Malformed));
}

fn device() -> impl Strategy<Value = DeviceId> {
    any::<[u8; 8]>().prop_map(DeviceId::new)
}

fn time() -> impl Strategy<Value = UnixTime> {
    any::<u64>().prop_map(UnixTime::from_secs)
}

fn some_name() -> impl Strategy<Value = Name> {
    vec(select(b"abcxyz0189".as_slice()), 1..=64)
        .prop_map(|bytes| String::from_utf8(bytes).unwrap().parse().unwrap())
}

fn some_text() -> impl Strategy<Value = Text> {
    any::<String>().prop_map(|text| Text::clean(&text))
}

fn label() -> impl Strategy<Value = Label> {
    any::<String>().prop_filter_map("not a label", |text| text.parse().ok())
}

fn password() -> impl Strategy<Value = Password> {
    any::<String>().prop_filter_map("empty or long", |text| Password::try_from(text).ok())
}

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_filter_map("not a key", |bytes| PublicKey::new(bytes).ok())
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn held() -> impl Strategy<Value = Held> {
    any::<(u32, u64, [u8; 32])>().prop_map(|(epoch, version, digest)| Held {
        epoch,
        version,
        digest: Digest::new(digest),
    })
}

fn nack_code() -> impl Strategy<Value = NackCode> {
    use NackCode::{Addressee, Envelope, Epoch, Equivocation, Form, Rollback, Storage, Transfer};
    select(vec![Envelope, Addressee, Epoch, Rollback, Equivocation, Form, Storage, Transfer])
}

fn freshness_state() -> impl Strategy<Value = FreshnessState> {
    select(vec![FreshnessState::Fresh, FreshnessState::Stale, FreshnessState::Expired])
}

fn request() -> impl Strategy<Value = Request> {
    let proof = any::<([u8; 8], [u8; 16], [u8; 32], [u8; 32])>().prop_map(|(device, channel, r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        let (device, channel) = (DeviceId::new(device), Channel::new(channel));
        Proof { device, channel, signature: Signature::new(bytes) }
    });
    prop_oneof![
        (vec(any::<u8>(), 0..600), proof).prop_map(|(pass, proof)| Request::Authenticate { pass, proof }),
        Just(Request::ListServices),
        (some_name(), any::<bool>()).prop_map(|(service, view_only)| Request::Open { service, view_only }),
        any::<([u8; 8], bool)>()
            .prop_map(|(tunnel, scan)| Request::Discover { tunnel: TunnelId::new(tunnel), scan }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let kind = || select(Kind::ALL.to_vec());
    let mode =
        || prop_oneof![Just(Mode::ViewOnly), any::<bool>().prop_map(|clipboard| Mode::Full { clipboard })];
    let open = (option::of(mode()), option::of(select(Reason::ALL)), option::of(time()), any::<bool>());
    let entry = (some_name(), kind(), open).prop_map(|(name, kind, (mode, blocked, until, recorded))| {
        ServiceEntry { name, kind, mode, blocked, until, recorded }
    });
    prop_oneof![
        (device(), some_text(), time()).prop_map(|(device, agent, until)| Answer::Welcome {
            device,
            agent,
            until
        }),
        vec(entry, 0..20).prop_map(Answer::Services),
        (any::<[u8; 8]>(), kind(), mode(), time(), option::of(some_text()), any::<bool>()).prop_map(
            |(id, kind, mode, until, start, recorded)| Answer::Accepted {
                tunnel: TunnelId::new(id),
                kind,
                mode,
                until,
                start,
                recorded
            }
        ),
        select(Reason::ALL).prop_map(Answer::Denied),
        select(Failure::ALL).prop_map(Answer::Failed),
        Just(Answer::Discovery),
    ]
}

fn next_key(device: [u8; 8]) -> NextKey {
    let [present, next] = [1, 2].map(|seed| SecretKey::from_seed([seed; 32]).unwrap());
    NextKey::announce(DeviceId::new(device), &present, &next)
}

fn receipt(device: [u8; 8], version: u64, number: u32) -> SignedReceipt {
    let receipt = Receipt {
        fleet: FleetId::new(device),
        device: DeviceId::new(device),
        id: ReceiptId(device),
        cause: CutCause::Policy { epoch: number, version },
        changes: number,
        cut: number,
        at: UnixTime::from_secs(version),
        stopped_ms: number,
    };
    SignedReceipt::sign(&SecretKey::from_seed([1; 32]).unwrap(), receipt).unwrap()
}

fn only() -> impl Strategy<Value = Only> {
    let names = || option::of(vec(some_name(), 0..4));
    (names(), names()).prop_map(|(devices, services)| Only { devices, services })
}

fn hub_request() -> impl Strategy<Value = HubRequest> {
    let hello = (
        any::<u32>(),
        option::of(held()),
        any::<bool>(),
        some_text(),
        any::<(u32, [u8; 16])>(),
        vec(address(), 0..=8),
        option::of(freshness_state()),
        any::<u64>(),
    )
        .prop_map(|(root_version, held, active, agent, (boots, life), addresses, freshness, locks)| Hello {
            root_version,
            held,
            active,
            agent,
            boots,
            life: Life(life),
            addresses,
            freshness,
            locks,
        });
    prop_oneof![
        (any::<[u8; 16]>(), some_text()).prop_map(|(secret, label)| HubRequest::Enroll {
            secret,
            label,
            sealing: announcement()
        }),
        hello.prop_map(HubRequest::Sync),
        (any::<[u8; 16]>(), password())
            .prop_map(|(secret, password)| HubRequest::AcceptInvitation { secret, password }),
        (some_text(), some_name(), password(), option::of(password()), only()).prop_map(
            |(account, user, password, otp, only)| HubRequest::Login { account, user, password, otp, only }
        ),
        (some_text(), some_name(), password(), option::of(password())).prop_map(
            |(account, user, password, otp)| HubRequest::EnrollOtp { account, user, password, otp }
        ),
        select(vec![HubRequest::ListDevices, HubRequest::Logout, HubRequest::LogoutEverywhere]),
        (vec(any::<u8>(), 0..=limits::PASS_BYTES), password())
            .prop_map(|(pass, otp)| HubRequest::StepUp { pass, otp }),
        (device(), some_name(), any::<bool>(), any::<u32>(), some_text()).prop_map(
            |(device, service, view_only, for_s, why)| {
                HubRequest::AskApproval(ApprovalWish { device, service, view_only, for_s, why })
            }
        ),
        Just(HubRequest::ListApprovals),
        any::<[u8; 8]>().prop_map(|id| HubRequest::AwaitApproval { id: ApprovalId::new(id) }),
        (any::<[u8; 8]>(), vec(any::<u8>(), 0..=limits::PASS_BYTES), verdict())
            .prop_map(|(id, pass, verdict)| HubRequest::Decide { id: ApprovalId::new(id), pass, verdict }),
        any::<[u8; 16]>().prop_map(|code| HubRequest::ApproveByCode { code: ApprovalCode::new(code) }),
        (vec(any::<u8>(), 0..=limits::PASS_BYTES), question())
            .prop_map(|(pass, question)| HubRequest::Administrate { pass, question }),
        (vec(any::<u8>(), 0..=limits::PASS_BYTES), case_question())
            .prop_map(|(pass, question)| HubRequest::HandleCase { pass, question }),
    ]
}

fn question() -> impl Strategy<Value = AdminQuestion> {
    let guard = || {
        prop_oneof![
            select(vec![EditGuard::Any, EditGuard::Absent]),
            any::<u64>().prop_map(EditGuard::Version),
        ]
    };
    prop_oneof![
        select(vec![AdminQuestion::Me, AdminQuestion::Batch, AdminQuestion::Invite]),
        option::of(some_name()).prop_map(|after| AdminQuestion::Invitations { after }),
        (some_name(), option::of(any::<u32>()))
            .prop_map(|(user, good_for_s)| AdminQuestion::ResendInvite { user, good_for_s }),
        some_name().prop_map(|user| AdminQuestion::RevokeInvite { user }),
        (option::of(some_name()), option::of(some_name()), option::of(mark()), any::<u16>())
            .prop_map(|(kind, name, after, limit)| AdminQuestion::History { kind, name, after, limit }),
        (some_name(), option::of(some_name()), any::<u16>())
            .prop_map(|(kind, after, limit)| AdminQuestion::List { kind, after, limit }),
        (some_name(), some_name()).prop_map(|(kind, name)| AdminQuestion::Show { kind, name }),
        (some_name(), some_name(), guard()).prop_map(|(kind, name, guard)| AdminQuestion::Put {
            kind,
            name,
            guard
        }),
        (some_name(), some_name(), guard()).prop_map(|(kind, name, guard)| AdminQuestion::Remove {
            kind,
            name,
            guard
        }),
    ]
}

fn case_question() -> impl Strategy<Value = CaseQuestion> {
    let time = || any::<u64>().prop_map(postern_protocol::time::UnixTime::from_secs);
    let end = || prop_oneof![time().prop_map(CaseEnd::At), any::<u32>().prop_map(CaseEnd::After)];
    let window = move || (option::of(time()), end()).prop_map(|(from, end)| CaseWindow { from, end });
    let about =
        prop_oneof![some_name().prop_map(CaseAbout::Machine), some_name().prop_map(CaseAbout::Device)];
    prop_oneof![
        option::of(some_name()).prop_map(|after| CaseQuestion::List { after }),
        some_name().prop_map(|name| CaseQuestion::Show { name }),
        some_name().prop_map(|name| CaseQuestion::Deactivate { name }),
        some_name().prop_map(|name| CaseQuestion::Close { name }),
        (some_name(), window()).prop_map(|(name, window)| CaseQuestion::Activate { name, window }),
        (option::of(some_name()), about, any::<bool>(), option::of(window()), option::of(label())).prop_map(
            |(name, about, shared, window, label)| CaseQuestion::Open { name, about, shared, window, label }
        ),
    ]
}

fn entity() -> impl Strategy<Value = EntityEntry> {
    (some_name(), any::<u64>(), option::of(any::<String>())).prop_map(|(name, version, body)| EntityEntry {
        name,
        version,
        body,
    })
}

fn edited() -> impl Strategy<Value = Edited> {
    let names = || vec(some_name(), 0..10);
    (option::of(any::<u64>()), any::<u32>(), any::<u32>(), names(), names()).prop_map(
        |(revision, published, answered, devices, founders)| Edited {
            revision,
            published,
            answered,
            devices,
            founders,
        },
    )
}

fn invitation() -> impl Strategy<Value = InvitationEntry> {
    let standing =
        select(vec![InvitationStanding::Open, InvitationStanding::Expired, InvitationStanding::None]);
    let times = (option::of(time()), option::of(time()));
    (some_name(), some_name(), standing, option::of(some_name()), times).prop_map(
        |(user, account, standing, by, (made, expires))| InvitationEntry {
            user,
            account,
            standing,
            by,
            made,
            expires,
        },
    )
}

fn handed() -> impl Strategy<Value = HandedCode> {
    let code = || CodeText::try_from(samples::invitation().to_string()).unwrap();
    let code = any::<bool>().prop_map(move |is_shown| is_shown.then(code));
    let said = (option::of(some_text()), option::of(some_text()));
    (some_name(), some_text(), code, time(), said).prop_map(
        |(user, account, code, expires, (mailed, unsent))| HandedCode {
            user,
            account,
            code,
            expires,
            mailed,
            unsent,
        },
    )
}

fn mark() -> impl Strategy<Value = HistoryMark> {
    (any::<u64>(), any::<u32>()).prop_map(|(revision, seen)| HistoryMark { revision, seen })
}

fn change() -> impl Strategy<Value = ChangeEntry> {
    let by = prop_oneof![
        some_name().prop_map(ChangeAuthor::User),
        select(vec![ChangeAuthor::Operator, ChangeAuthor::Hidden]),
    ];
    let fate = select(vec![ChangeFate::Added, ChangeFate::Changed, ChangeFate::Removed]);
    let bodies = (option::of(any::<String>()), option::of(any::<String>()));
    (any::<u64>(), time(), by, some_name(), some_name(), fate, bodies).prop_map(
        |(revision, at, by, kind, name, fate, (before, after))| ChangeEntry {
            revision,
            at,
            by,
            kind,
            name,
            fate,
            before,
            after,
        },
    )
}

fn admin_answer() -> impl Strategy<Value = AdminAnswer> {
    let names = || vec(some_name(), 0..10);
    prop_oneof![
        (some_name(), some_name(), names()).prop_map(|(user, account, permissions)| AdminAnswer::Me {
            user,
            account,
            permissions
        }),
        (vec(entity(), 0..10), option::of(some_name()))
            .prop_map(|(entities, more)| AdminAnswer::Page { entities, more }),
        entity().prop_map(AdminAnswer::Entity),
        edited().prop_map(AdminAnswer::Edited),
        (vec(invitation(), 0..10), option::of(some_name()))
            .prop_map(|(invitations, more)| AdminAnswer::Invitations { invitations, more }),
        (handed(), edited()).prop_map(|(handed, edited)| AdminAnswer::Invited { handed, edited }),
        handed().prop_map(AdminAnswer::Resent),
        some_name().prop_map(AdminAnswer::Revoked),
        (vec(change(), 0..10), option::of(mark()))
            .prop_map(|(changes, more)| AdminAnswer::History { changes, more }),
    ]
}

fn declined() -> impl Strategy<Value = Declined> {
    let how = select(vec![Decline::Unknown, Decline::Forbidden, Decline::Overtaken, Decline::TooLarge]);
    (how, vec(any::<String>(), 0..10)).prop_map(|(how, problems)| Declined::new(how, problems))
}

fn verdict() -> impl Strategy<Value = ApprovalVerdict> {
    prop_oneof![
        (any::<bool>(), option::of(any::<u32>()))
            .prop_map(|(view_only, for_s)| ApprovalVerdict::Approve { view_only, for_s }),
        some_text().prop_map(|why| ApprovalVerdict::Reject { why }),
        some_text().prop_map(|why| ApprovalVerdict::Revoke { why }),
    ]
}

fn standing() -> impl Strategy<Value = ApprovalStanding> {
    let time = || any::<u64>().prop_map(postern_protocol::time::UnixTime::from_secs);
    prop_oneof![
        time().prop_map(|lapses| ApprovalStanding::Pending { lapses }),
        (any::<bool>(), time())
            .prop_map(|(view_only, until)| ApprovalStanding::Approved { view_only, until }),
        some_text().prop_map(|why| ApprovalStanding::Rejected { why }),
        some_text().prop_map(|why| ApprovalStanding::Revoked { why }),
        Just(ApprovalStanding::Expired),
    ]
}

fn hub_answer() -> impl Strategy<Value = HubAnswer> {
    let entry = (
        device(),
        some_name(),
        some_text(),
        option::of(label()),
        key(),
        vec(address(), 0..=8),
        any::<bool>(),
    )
        .prop_map(|(device, name, account, label, key, addresses, online)| DeviceEntry {
            device,
            name,
            account,
            label,
            key,
            addresses,
            online,
        });
    let bytes = || vec(any::<u8>(), 0..300);
    prop_oneof![
        (device(), vec(bytes(), 0..=64), bytes()).prop_map(|(device, roots, snapshot)| HubAnswer::Enrolled {
            device,
            roots,
            snapshot
        }),
        (any::<[u8; 8]>(), some_text(), some_name(), bytes()).prop_map(|(user, account, name, pass)| {
            HubAnswer::LoggedIn { fleet: crate::probes::FLEET, user: UserId::new(user), account, name, pass }
        }),
        any::<String>().prop_map(|uri| HubAnswer::Otp { uri }),
        vec(entry, 0..10).prop_map(HubAnswer::Devices),
        Just(HubAnswer::Done),
        vec(standing().prop_map(crate::approvals::entry), 0..10).prop_map(HubAnswer::Approvals),
        admin_answer().prop_map(HubAnswer::Administered),
        declined().prop_map(HubAnswer::Declined),
    ]
}

proptest! {
    #[test]
    fn requests_round_trip(value in request()) {
        round_trips(&value, limits::FRAME_BYTES);
    }

    #[test]
    fn answers_round_trip(value in answer()) {
        round_trips(&value, ANSWER_BYTES);
    }

    #[test]
    fn requests_to_a_hub_round_trip(value in hub_request()) {
        round_trips(&value, limits::FRAME_BYTES);
    }

    #[test]
    fn answers_of_a_hub_round_trip(value in hub_answer()) {
        round_trips(&value, limits::LIST_FRAME_BYTES);
    }

    #[test]
    fn messages_of_synchronisation_round_trip(
        held in held(), nonce: u64, number: u32, code in nack_code(), detail in some_text(),
        chunk in vec(any::<u8>(), 0..100), bytes in vec(any::<u8>(), 0..300), question: [u8; 16],
        kind in select(AlarmKind::ALL.to_vec()), addresses in vec(address(), 0..=8), device: [u8; 8],
    ) {
        for message in [
            HubMessage::UpToDate,
            HubMessage::Push { nonce, held, bytes: number },
            HubMessage::Chunk { nonce, offset: number, bytes: chunk },
            HubMessage::Timestamp { bytes: bytes.clone() },
            HubMessage::Root { bytes: bytes.clone() },
            HubMessage::RotateKey,
            HubMessage::Lock { bytes },
            HubMessage::ReceiptTaken { id: ReceiptId(device) },
        ] {
            round_trips(&message, limits::SYNC_FRAME_BYTES);
        }
        for message in [
            AgentMessage::Ack { nonce, held, cut: number },
            AgentMessage::Nack { nonce, held, code, detail: detail.clone() },
            AgentMessage::RootTaken { version: number },
            AgentMessage::RootRefused { version: number, code: RootCode::Fleet, detail: detail.clone() },
            AgentMessage::Moved { addresses },
            AgentMessage::SealingKey(announcement()),
            AgentMessage::TimeRequest { nonce: Nonce::new(question) },
            AgentMessage::Alarm { kind, detail: detail.clone() },
            AgentMessage::NextKey(next_key(device)),
            AgentMessage::LockTaken { sequence: nonce, cut: number },
            AgentMessage::LockRefused { code, detail },
            AgentMessage::Receipt(receipt(device, nonce, number)),
        ] {
            round_trips(&message, limits::SYNC_FRAME_BYTES);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in vec(any::<u8>(), 0..400)) {
        for (_, probe) in crate::probes::PROBES {
            probe(&bytes);
        }
    }
}
