//! Every bound on what a peer may make us hold, in one place. `docs/wire.md` lists the wire limits; a test compares.

/// Bytes of a [`Name`](crate::name::Name).
pub const NAME_BYTES: usize = 64;
/// Bytes of a [`Label`](crate::name::Label).
pub const LABEL_BYTES: usize = 96;

/// Bytes of one framed request or answer between client and agent, or client and hub.
pub const FRAME_BYTES: usize = 4 * 1024;
/// Bytes of one framed answer that lists things.
pub const LIST_FRAME_BYTES: usize = 256 * 1024;
/// Bytes of one framed message of synchronisation.
pub const SYNC_FRAME_BYTES: usize = 32 * 1024;
/// Bytes of snapshot in one chunk; leaves room for the message around it.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of a signed snapshot payload: 5,000 users with one windowed grant each, 2,000 services, 100 prohibitions and
/// 50 service cases need 484 KiB.
pub const SNAPSHOT_BYTES: usize = 640 * 1024;
/// Bytes of a signed root payload.
pub const ROOT_BYTES: usize = 16 * 1024;
/// Bytes of a code that an identity provider hands out; the largest ones known have 2 kB.
pub const SIGN_ON_CODE_BYTES: usize = 2800;
/// Bytes of an address that a browser is sent to.
pub const URL_BYTES: usize = 2048;
/// Bytes of a signed pass payload: 16 services of the longest name, 16 devices, 8 factors and 100 bytes of the rest.
pub const PASS_BYTES: usize = 1536;
/// Bytes of a signed timestamp payload.
pub const TIMESTAMP_BYTES: usize = 256;
/// Bytes of a signed acknowledgement of audit rows: 64 marks and 110 bytes of the rest.
pub const ACK_BYTES: usize = 512;
/// Audit rows of one batch.
pub const AUDIT_ROWS: usize = 64;
/// Bytes of the rows of one batch, together.
pub const AUDIT_BYTES: usize = 16 * 1024;
/// Signatures on one envelope.
pub const SIGNATURES: usize = 16;
/// Keys of one role.
pub const ROLE_KEYS: usize = 16;
/// Hub keys named by a root.
pub const HUB_KEYS: usize = 16;
/// Roots sent in one enrolment answer.
pub const ROOT_CHAIN: usize = 64;

/// Users of one snapshot.
pub const USERS: usize = 8192;
/// Keys of one user.
pub const USER_KEYS: usize = 8;
/// Services of one snapshot.
pub const SERVICES: usize = 2048;
/// Access categories of one snapshot.
pub const CATEGORIES: usize = 512;
/// Services named by one category.
pub const CATEGORY_SERVICES: usize = SERVICES;
/// Bytes of a [`Pattern`](crate::policy::Pattern) of paths.
pub const PATTERN_BYTES: usize = 192;
/// Rows of what one HTTP service allows.
pub const ALLOWS: usize = 64;
/// Keys of a query that one such row names.
pub const QUERY_KEYS: usize = 32;
/// Keys of one machine's web server.
pub const PINS: usize = 4;
/// Paths of one WebSocket service.
pub const WEBSOCKET_PATHS: usize = 16;
/// Subprotocols of one WebSocket service.
pub const SUBPROTOCOLS: usize = 16;
/// Destinations of one VPN service.
pub const DESTINATIONS: usize = 64;
/// Flows open at the same time in one VPN tunnel.
pub const FLOWS: usize = 1024;
/// Probes of one scan of a VPN's destinations.
pub const PROBES: usize = 1024;
/// Addresses that one scan walks, besides those of machines that the device knows already.
pub const WALKED: usize = 1024;
/// Flows that a gate follows at the same time in the packets of one VPN tunnel.
pub const PACKET_FLOWS: usize = 4096;
/// Faults that one piece of news names, for which packets of a VPN were dropped.
pub const DROPS: usize = 64;
/// Bytes of data in one ICMP echo of a flow: what fits an Ethernet frame.
pub const ECHO_BYTES: usize = 1452;
/// Spans of units, of what is read and of what is written, of one Modbus profile each.
pub const MODBUS_SPANS: usize = 16;
/// Bytes of one WebSocket message that a policy can allow.
pub const WEBSOCKET_BYTES: usize = 16 * 1024 * 1024;
/// Distinct origins of one snapshot.
pub const ORIGINS: usize = 8192;
/// Grants of one snapshot.
pub const GRANTS: usize = 32_768;
/// Prohibitions of one snapshot.
pub const PROHIBITIONS: usize = 8192;
/// Paths that prohibitions of a snapshot name.
pub const PATHS: usize = 512;
/// Service cases of one snapshot.
pub const CASES: usize = 512;
/// Approvals of one snapshot.
pub const APPROVALS: usize = 1024;
/// Sealed secrets of one snapshot.
pub const SECRETS: usize = 64;
/// Bytes of one sealed secret: room for a later form beside the present one of 306 bytes.
pub const SEALED_SECRET_BYTES: usize = 512;
/// Bytes of a secret before it is sealed.
pub const SECRET_BYTES: usize = 256;
/// Second-factor facts in one pass.
pub const FACTORS: usize = 8;
/// Bytes of a signed lock payload: 256 categories of the longest name.
pub const LOCK_BYTES: usize = 17 * 1024;
/// Targets of one lock.
pub const LOCK_TARGETS: usize = 256;
/// Locks that a device holds side by side; beyond them the whole device counts as locked.
pub const LOCKS: usize = 16;
/// Bytes of a signed receipt payload.
pub const RECEIPT_BYTES: usize = 96;
/// Receipts that wait on a device until its hub takes them.
pub const RECEIPTS: usize = 64;
/// Devices to which one pass can be narrowed.
pub const NARROW_DEVICES: usize = 16;
/// Services to which one pass can be narrowed.
pub const NARROW_SERVICES: usize = 16;

/// Sessions in one answer of a hub.
pub const SESSIONS: usize = 256;

/// Bytes of the body of an edit of the access model: some thousand entities.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Entities in one answer of a hub.
pub const ENTITIES: usize = 500;
/// Changes of the access model in one answer of a hub.
pub const CHANGES: usize = 200;
/// Devices, and users, that the answer to an edit names.
pub const EDITED_NAMES: usize = 1000;
/// Things that are wrong, as one answer of a hub names them.
pub const PROBLEMS: usize = 200;
/// Bytes of one of them.
pub const PROBLEM_BYTES: usize = 1000;

/// Addresses that a device reports or an invitation carries.
pub const ADDRESSES: usize = 8;
/// Bytes of free text that a peer sends (agent version, detail of a refusal).
pub const TEXT_BYTES: usize = 256;
/// Bytes of a password or one-time code at login.
pub const PASSWORD_BYTES: usize = 256;
