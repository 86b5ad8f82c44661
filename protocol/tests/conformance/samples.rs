//! One value of everything that is encoded, with fixed keys, so that every peer can make the same bytes.
//!
//! Secret keys are 32 times one byte: root 1, policy 2, identity 3, hub 4, device 10, user 20.

mod numbers;
mod policy;
mod signed;

use std::net::SocketAddr;

use postern_protocol::audit::Row;
use postern_protocol::audit::row::ROW_BYTES;
use postern_protocol::name::Name;
use postern_protocol::time::UnixTime;
use postern_protocol::trust::Digest;
use postern_protocol::wire::codec::{self, CodecFault};
use postern_protocol::wire::control::Held;
use postern_protocol::wire::text::Text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{administration, approvals, messages, relay, rows, sessions, sign_on, trail};

use self::numbers::{
    ALARM_KIND, CARRIES, FRESHNESS_STATE, INVITEE, KIND, METHOD, MODBUS_TABLE, MODE, NACK_CODE, ORIGIN,
    PATH_LOG, PROFILE, PROTOCOL, REACH, ROLE, ROOT_CODE, RULES, SCHEME,
};
pub(crate) use self::policy::{destinations, origin, snapshot};
pub(crate) use self::signed::{
    announcement, factory, invitation, lock, pass, sealed_lock, sealed_pass, sealed_timestamp,
};

/// A value's golden bytes.
pub(crate) struct Sample {
    /// The file that it is in.
    pub(crate) group: &'static str,
    /// Its name there.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) note: String,
    /// The fuzz target that it is a seed of.
    pub(crate) target: Option<&'static str>,
    /// The enumeration that it is a variant of, and which.
    pub(crate) table: Option<&'static str>,
    pub(crate) variant: Option<&'static str>,
    pub(crate) bytes: Vec<u8>,
    /// Reads bytes of its type and writes them again.
    pub(crate) again: Option<Again>,
}

type Again = fn(&[u8]) -> Result<Vec<u8>, CodecFault>;

/// An enumeration with the number, name and fields of each variant, as `docs/wire.md` shows it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) variants: &'static [(&'static str, &'static str)],
}

/// Names a variant by an exhaustive match, so that a new variant does not compile before it is documented.
macro_rules! table {
    ($table:ident, $of:ident, $type:ty { $( $pattern:pat => $name:literal, $fields:literal; )+ }) => {
        pub(crate) const $table: $crate::samples::Table =
            $crate::samples::Table { name: stringify!($type), variants: &[$( ($name, $fields), )+] };

        pub(crate) fn $of(value: &$type) -> &'static str {
            match value { $( $pattern => $name, )+ }
        }
    };
}
pub(crate) use table;

/// Every enumeration of the wire.
pub(crate) const TABLES: &[&Table] = &[
    &messages::REQUEST,
    &messages::ANSWER,
    &messages::HUB_REQUEST,
    &messages::HUB_ANSWER,
    &sessions::SESSIONS_OF,
    &sessions::SESSION_OUTCOME,
    &messages::HUB_MESSAGE,
    &messages::AGENT_MESSAGE,
    &messages::CUT_CAUSE,
    &rows::EVENT,
    &rows::FLOW_FATE,
    &messages::HOST,
    &messages::VPN_NEWS,
    &messages::DISCOVERY_NEWS,
    &messages::PRESENCE,
    &messages::WHY,
    &KIND,
    &REACH,
    &CARRIES,
    &PROFILE,
    &PROTOCOL,
    &MODBUS_TABLE,
    &RULES,
    &MODE,
    &SCHEME,
    &PATH_LOG,
    &ORIGIN,
    &METHOD,
    &ROLE,
    &INVITEE,
    &approvals::REFUSAL,
    &approvals::VERDICT,
    &approvals::STANDING,
    &administration::QUESTION,
    &administration::GUARD,
    &administration::ANSWER,
    &administration::DECLINE,
    &administration::INVITATION_STANDING,
    &administration::CHANGE_AUTHOR,
    &administration::CHANGE_FATE,
    &administration::CASE_QUESTION,
    &administration::CASE_ABOUT,
    &administration::CASE_END,
    &administration::CASE_STANDING,
    &sign_on::SIGN_ON_PURPOSE,
    &sign_on::SIGN_ON_WAY,
    &NACK_CODE,
    &FRESHNESS_STATE,
    &ALARM_KIND,
    &ROOT_CODE,
    &trail::ROWS_CODE,
    &trail::GAP_CAUSE,
];

/// Every golden value, in the order of the files.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    samples.extend(messages::tunnel());
    samples.extend(messages::discoveries());
    samples.extend(messages::hub());
    samples.extend(sessions::parts());
    samples.extend(sign_on::parts());
    samples.extend(messages::sync());
    samples.extend(trail::sync());
    samples.extend(trail::numbers());
    samples.extend(approvals::numbers());
    samples.extend(administration::parts());
    samples.extend(administration::numbers());
    samples.extend(rows::audit());
    samples.extend(signed::signed());
    samples.extend(trail::signed());
    samples.extend(relay::notices());
    samples.extend(numbers::enumerations());
    samples
}

/// A value that is encoded by itself.
pub(crate) fn plain<T: Serialize + DeserializeOwned, const MAX: usize>(
    group: &'static str,
    name: &'static str,
    note: &str,
    value: &T,
) -> Sample {
    Sample {
        group,
        name,
        note: note.to_owned(),
        target: None,
        table: None,
        variant: None,
        bytes: codec::encode(value, MAX).unwrap(),
        again: Some(|bytes| codec::encode(&codec::decode::<T>(bytes, MAX)?, MAX)),
    }
}

impl Sample {
    /// Says which variant of which enumeration it is, and whose seed.
    pub(crate) fn of(self, table: &Table, variant: &'static str, target: Option<&'static str>) -> Self {
        Self { table: Some(table.name), variant: Some(variant), target, ..self }
    }
}

/// A time that is easy to recognise: 2023-11-14T22:13:20Z.
pub(crate) const ISSUED: UnixTime = UnixTime::from_secs(1_700_000_000);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    Text::clean(text)
}

pub(crate) fn addresses() -> Vec<SocketAddr> {
    vec!["192.0.2.7:7440".parse().unwrap(), "[2001:db8::7]:7440".parse().unwrap()]
}

pub(crate) fn held() -> Held {
    Held { epoch: 1, version: 300, digest: Digest::of(&[b"a snapshot"]) }
}

/// The row of the audit in which everything is said that a row can say.
pub(crate) fn row(event: postern_protocol::audit::Event) -> Row {
    const _: () = assert!(ROW_BYTES == 2048);
    Row { seq: 7, at: ISSUED, event }
}
