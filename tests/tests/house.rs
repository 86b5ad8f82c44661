//! The rules of the house that a compiler does not know: who may import what, how long a file may be, and that
//! decisions are made in one place. Each rule is shown to fail on a broken sample.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use walkdir::WalkDir;

/// Lines above which a source file is refused; look again at 500.
const MOST_LINES: usize = 800;

/// Paths that may be used only where the second column says, and only in the crates of the third.
const HOMES: &[(&str, &[&str], &[&str])] = &[
    ("postcard", &["protocol/src/wire/codec.rs"], CRATES),
    ("ed25519_dalek", &["protocol/src/trust/keys.rs"], CRATES),
    ("hpke", &["protocol/src/trust/sealed"], CRATES),
    (
        "sha2",
        &["protocol/src/trust/digest.rs", "protocol/src/trust/mac.rs", "protocol/src/gate/http/digest.rs"],
        CRATES,
    ),
    ("hmac", &["protocol/src/trust/mac.rs"], CRATES),
    ("md5", &["protocol/src/gate/http/digest.rs"], CRATES),
    ("des", &["protocol/src/gate/rfb/password.rs"], CRATES),
    ("domain", &["protocol/src/wire/nearby.rs"], CRATES),
    ("if_addrs", &["agent/src/nearby/networks.rs", "client/src/nearby.rs"], CRATES),
    ("quinn", &["transport/src/quic"], CRATES),
    (
        "rustls",
        &["transport/src/tls", "transport/src/quic", "cloud/src/sso", "cloud/src/store/engine/postgres"],
        CRATES,
    ),
    ("hyper_rustls", &["cloud/src/sso"], CRATES),
    ("openidconnect", &["cloud/src/sso"], CRATES),
    ("tokio_rustls", &["transport/src/tls", "cloud/src/store/engine/postgres"], CRATES),
    ("axum", &["cloud/src/api"], CRATES),
    ("prometheus_client", &["cloud/src/metrics"], CRATES),
    ("lettre", &["cloud/src/mail"], CRATES),
    ("async_nats", &["cloud/src/cluster", "cloud/src/args/cluster.rs"], CRATES),
    ("chacha20poly1305", &["cloud/src/cluster/veil.rs"], CRATES),
    ("utoipa", &["cloud/src/api"], CRATES),
    // The last one: a test that opens a database as another process would.
    ("rusqlite", &["agent/src/store", "cloud/src/store", "agent/src/daemon/tests/memory.rs"], CRATES),
    ("tokio_postgres", &["cloud/src/store/engine/postgres"], CRATES),
    ("rustls_native_certs", &["cloud/src/store/engine/postgres"], CRATES),
    ("postern_protocol::policy::decide", &["agent/src/gate"], &["agent", "client", "transport"]),
    ("tokio", &[], &["protocol"]),
    ("std::fs", &[], &["protocol", "transport"]),
    ("std::process", &[], &["protocol", "transport"]),
    ("std::thread", &[], &["protocol", "transport"]),
    ("std::time::Instant", &[], &["protocol"]),
    ("std::time::SystemTime", &["agent/src/clock"], &["protocol", "transport", "agent"]),
    ("std::net::TcpStream", &[], &["protocol"]),
    ("std::net::TcpListener", &[], &["protocol"]),
    ("std::net::UdpSocket", &["transport/src/quic"], &["protocol", "transport"]),
    ("std::sync::atomic::AtomicU64", &[], CRATES),
    ("std::sync::atomic::AtomicI64", &[], CRATES),
    ("getrandom", &[], &["protocol"]),
    ("postern_protocol", &[], &["tun", "adapter"]),
    ("postern_transport", &[], &["protocol", "tun", "adapter"]),
    ("postern_agent", &[], &["protocol", "transport", "tun", "client", "adapter", "cloud"]),
    ("postern_client", &[], &["protocol", "transport", "tun", "agent", "adapter", "cloud"]),
    ("postern_cloud", &[], &["protocol", "transport", "tun", "agent", "client", "adapter"]),
    (
        "postern_adapter",
        &["client/src/vpn/adapter", "client/src/problem/adapter.rs", "client/src/bin"],
        CRATES,
    ),
    // Whoever has rights over the computer's network runs nothing and waits for nobody but its clients.
    ("tokio", &[], &["tun", "adapter"]),
    ("std::process::Command", &[], &["tun", "adapter"]),
    ("tun_rs", &["adapter/src/device.rs"], CRATES),
    ("landlock", &["agent/src/sandbox.rs"], CRATES),
    ("seccompiler", &["agent/src/sandbox"], CRATES),
    ("libc", &["agent/src/sandbox"], CRATES),
    ("postern_tun", &["agent/src/tun.rs", "agent/src/packet_vpn"], CRATES),
    ("smoltcp", &["client/src/vpn/adapter/stack.rs"], CRATES),
    ("etherparse", &["protocol/src/gate/packet", "client/src/vpn/adapter"], CRATES),
];

/// Modules of one crate that must not import each other: adapters at the same height, and cores below shells.
const APART: &[(&str, &[&str])] = &[
    (
        "agent/src/store",
        &[
            "crate::tunnel",
            "crate::sync",
            "crate::gate",
            "crate::registry",
            "crate::control",
            "crate::daemon",
        ],
    ),
    (
        "agent/src/clock",
        &[
            "crate::tunnel",
            "crate::sync",
            "crate::gate",
            "crate::registry",
            "crate::control",
            "crate::daemon",
            "crate::store",
        ],
    ),
    ("agent/src/gate", &["crate::tunnel", "crate::sync", "crate::control", "crate::daemon"]),
    ("agent/src/registry", &["crate::tunnel", "crate::sync", "crate::control", "crate::daemon"]),
    ("agent/src/tunnel", &["crate::sync", "crate::control", "crate::daemon"]),
    ("agent/src/sync", &["crate::tunnel", "crate::control", "crate::daemon"]),
    ("cloud/src/model", &["crate::store", "crate::hub", "crate::compile", "crate::publish", "crate::login"]),
    (
        "cloud/src/rights",
        &[
            "crate::store",
            "crate::hub",
            "crate::publish",
            "crate::login",
            "crate::api",
            "crate::administration",
        ],
    ),
    ("cloud/src/administration", &["crate::hub", "crate::login", "crate::api", "crate::commands"]),
    ("cloud/src/compile", &["crate::store", "crate::hub", "crate::publish", "crate::login"]),
    ("protocol/src/trust", &["crate::policy", "crate::session"]),
    ("protocol/src/policy", &["crate::session"]),
    // A gate is told a mode and the rules of a service; who may use it is decided elsewhere.
    (
        "protocol/src/gate",
        &[
            "crate::policy::decide",
            "crate::policy::explain",
            "crate::policy::index",
            "crate::policy::verify",
            "crate::policy::Permit",
            "crate::policy::Index",
            "crate::policy::Snapshot",
            "crate::policy::Service",
            "crate::policy::Grant",
            "crate::session",
            "crate::trust",
            "crate::audit",
        ],
    ),
];

const CRATES: &[&str] = &["protocol", "transport", "tun", "agent", "client", "adapter", "cloud"];
const VAGUE: &[&str] = &["utils", "util", "helpers", "helper", "common", "types", "manager", "misc"];

#[test]
fn every_import_stays_in_its_layer() {
    let broken: Vec<String> =
        sources(CRATES).iter().flat_map(|(path, source)| misplaced(path, source)).collect();
    assert_eq!(broken, Vec::<String>::new(), "these imports leave their layer");
}

#[test]
fn no_file_is_too_long() {
    let broken: Vec<String> = sources(&[CRATES, &["tests"]].concat())
        .iter()
        .filter_map(|(path, source)| too_long(path, source))
        .collect();
    assert_eq!(broken, Vec::<String>::new(), "split these files");
}

#[test]
fn no_module_has_a_vague_name() {
    let broken: Vec<String> = sources(&[CRATES, &["tests"]].concat())
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| vague(path))
        .collect();
    assert_eq!(broken, Vec::<String>::new(), "name these after what they hold");
}

#[test]
fn the_layering_rules_catch_what_they_forbid() {
    for (path, source, expected) in [
        ("agent/src/sync.rs", "use rusqlite::Connection;", "agent/src/sync.rs uses rusqlite"),
        (
            "agent/src/tunnel/vnc.rs",
            "fn f() { let _ = postern_protocol::policy::decide(a, b, c, d); }",
            "agent/src/tunnel/vnc.rs uses postern_protocol::policy::decide",
        ),
        (
            "agent/src/tunnel.rs",
            "use postern_protocol::policy::{Permit, decide};",
            "agent/src/tunnel.rs uses postern_protocol::policy::decide",
        ),
        (
            "protocol/src/policy/decide.rs",
            "use std::time::{Duration, SystemTime};",
            "protocol/src/policy/decide.rs uses std::time::SystemTime",
        ),
        ("protocol/src/id.rs", "use tokio::net::TcpStream;", "protocol/src/id.rs uses tokio"),
        ("client/src/connect.rs", "use quinn as q;", "client/src/connect.rs uses quinn"),
        (
            "agent/src/store/audit.rs",
            "use crate::registry::Registry;",
            "agent/src/store/audit.rs uses crate::registry",
        ),
        ("cloud/src/hub.rs", "use postern_agent::main;", "cloud/src/hub.rs uses postern_agent"),
        (
            "agent/src/registry.rs",
            "use std::sync::atomic::AtomicU64;",
            "agent/src/registry.rs uses std::sync::atomic::AtomicU64",
        ),
    ] {
        assert_eq!(misplaced(path, source), vec![expected.to_owned()]);
    }
    assert_eq!(misplaced("agent/src/store/audit.rs", "use rusqlite::Connection;"), Vec::<String>::new());
    assert_eq!(misplaced("agent/src/gate.rs", "use postern_protocol::policy::decide;"), Vec::<String>::new());
}

#[test]
fn the_size_and_name_rules_catch_what_they_forbid() {
    let long = "\n".repeat(MOST_LINES + 1);
    assert_eq!(too_long("agent/src/x.rs", &long), Some("agent/src/x.rs has 801 lines".to_owned()));
    assert_eq!(too_long("agent/src/x.rs", &long[1..]), None);
    assert!(vague("agent/src/utils.rs"));
    assert!(vague("agent/src/common/x.rs"));
    assert!(!vague("agent/src/registry.rs"));
}

/// Which forbidden paths a source file uses.
fn misplaced(path: &str, source: &str) -> Vec<String> {
    let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{path} does not parse: {error}"));
    let mut uses = Uses::default();
    uses.visit_file(&file);
    let krate = path.split('/').next().unwrap_or_default();
    let stray =
        |banned: &str| uses.0.iter().any(|used| used == banned || used.starts_with(&format!("{banned}::")));
    let homes = HOMES
        .iter()
        .filter(|(_, homes, crates)| {
            crates.contains(&krate) && !homes.iter().any(|home| path.starts_with(home))
        })
        .map(|(banned, ..)| *banned);
    let apart = APART
        .iter()
        .filter(|(home, _)| path.starts_with(home))
        .flat_map(|(_, banned)| banned.iter().copied());
    homes.chain(apart).filter(|banned| stray(banned)).map(|banned| format!("{path} uses {banned}")).collect()
}

fn too_long(path: &str, source: &str) -> Option<String> {
    let lines = source.lines().count();
    (lines > MOST_LINES).then(|| format!("{path} has {lines} lines"))
}

fn vague(path: &str) -> bool {
    path.split('/').any(|part| VAGUE.contains(&part.trim_end_matches(".rs")))
}

/// Every path that a file imports or spells out, outside `#[cfg(test)]`.
#[derive(Default)]
struct Uses(BTreeSet<String>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
        });
        if !is_test {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.flatten(String::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if parts.len() > 1 {
            self.0.insert(parts.join("::"));
        }
        syn::visit::visit_path(self, path);
    }
}

impl Uses {
    fn flatten(&mut self, prefix: String, tree: &syn::UseTree) {
        let join = |part: String| if prefix.is_empty() { part } else { format!("{prefix}::{part}") };
        match tree {
            syn::UseTree::Path(path) => self.flatten(join(path.ident.to_string()), &path.tree),
            syn::UseTree::Name(name) => drop(self.0.insert(join(name.ident.to_string()))),
            syn::UseTree::Rename(rename) => drop(self.0.insert(join(rename.ident.to_string()))),
            syn::UseTree::Glob(_) => drop(self.0.insert(prefix)),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.flatten(prefix.clone(), tree))
            }
        }
    }
}

fn sources(crates: &[&str]) -> Vec<(String, String)> {
    let root = workspace();
    let mut found = Vec::new();
    for krate in crates {
        for entry in WalkDir::new(root.join(krate)).sort_by_file_name() {
            let entry = entry.expect("the tree can be walked");
            let path = entry.path();
            let shown = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            let is_layered = *krate == "tests" || shown.contains("/src/");
            if is_source && is_layered && !shown.contains("/target/") {
                found.push((shown, fs::read_to_string(path).expect("a source file can be read")));
            }
        }
    }
    assert!(found.len() > 10, "the walk found the sources");
    found
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}
