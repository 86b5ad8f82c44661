//! What services let through, in fleet files: each option, what is wrong with a value, pages, modes, and what a change of
//! one means to people.

use postern_cloud::diff::{Access, Diff};
use postern_cloud::fleet::{self, Place};
use postern_cloud::model::{Model, Service};
use postern_protocol::policy::snapshot::rules::{Method, Methods, ModbusSpan, ModbusTable, UnitSpan};
use postern_protocol::policy::{
    Allow, Credential, HttpRules, ModbusRules, Mode, PathLog, Profile, Reach, Reason, Rules, Scheme, Target,
    Upstream, VncRules, VpnRules, WebsocketRules,
};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::text::Text;

use crate::gate::{Gate, NOW};

/// One device with a service of a kind and these options in it; the options begin in line 6.
fn file(kind: &str, options: &str) -> String {
    format!(
        "[account.acme]\ntenant = \"operating_company\"\n[device.d]\naccount = \"acme\"\n[device.d.service.s]\n{options}\n\
         kind = \"{kind}\"\ntarget = \"10.0.0.1:80\"\n"
    )
}

fn service(kind: &str, options: &str) -> Service {
    let model: Model = fleet::read(&file(kind, options), &[]).map_err(|all| all[0].to_string()).unwrap();
    model.devices["d"].services["s"].clone()
}

fn http(options: &str) -> HttpRules {
    match service("http", options).reach {
        Reach::Place { rules: Rules::Http(rules), .. } => rules,
        other => panic!("{other:?}"),
    }
}

/// What is said of the options, with the line among them.
fn said(kind: &str, options: &str) -> Vec<String> {
    let line = |place: Place| match place {
        Place::At { line, .. } => line - 5,
        other => panic!("{other:?}"),
    };
    let complaints = fleet::read(&file(kind, options), &[]).unwrap_err();
    complaints.iter().map(|complaint| format!("{}: {complaint}", line(complaint.place))).collect()
}

fn text(text: &str) -> Text {
    Text::clean(text)
}

fn row(path: &str, methods: Methods, query: Option<&[&str]>) -> Allow {
    let query = query.map(|keys| keys.iter().map(|key| text(key)).collect());
    Allow { path: path.parse().unwrap(), methods, query }
}

#[test]
fn without_options_a_service_is_whole_and_a_screen_has_one_seat() {
    assert_eq!(http(""), HttpRules::whole());
    assert_eq!(service("vnc", "").reach.rules(), Some(&Rules::Vnc(VncRules { password: None, writers: 1 })));
    let live = Rules::Websocket(WebsocketRules::whole());
    assert_eq!(service("websocket", "").reach.rules(), Some(&live));
    let target = Target { ip: [10, 0, 0, 1].into(), port: 80 };
    assert_eq!(service("vpn", "").reach, Reach::Flows(VpnRules::tcp(target)));
    assert!(!service("vpn", "").view_only);
}

#[test]
fn every_option_is_read() {
    let screen = service("vnc", "view-only = true\npassword = \"hmi-password\"\nwriters = 0");
    let rules = VncRules { password: Some("hmi-password".parse().unwrap()), writers: 0 };
    assert_eq!((screen.view_only, screen.reach.rules()), (true, Some(&Rules::Vnc(rules))));
    let (hex, base) = ("11".repeat(32), "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI=");
    let web = http(&format!(
        "host = \"panel.local\"\ntls = [\"{hex}\", \"{base}\"]\nstart = \"/a\"\nidentity = true\nlog = \"none\"\n\
         login = {{ scheme = \"digest\", user = \"service\", secret = \"web-login\" }}\n\
         allow = [{{ path = \"/b\", methods = [\"POST\"], query = [\"id\"] }}, {{ path = \"/a/**\" }}, {{ path = \"/c\", query = [] }}]"
    ));
    let post = Methods::of([Method::Post]).unwrap();
    let expected = HttpRules {
        upstream: Upstream { host: Some(text("panel.local")), tls: Some(vec![[0x11; 32], [0x22; 32]]) },
        start: text("/a"),
        allow: vec![
            row("/a/**", Methods::ALL, None),
            row("/b", post, Some(&["id"])),
            row("/c", Methods::ALL, Some(&[])),
        ],
        credential: Some(Credential {
            scheme: Scheme::Digest,
            user: text("service"),
            secret: "web-login".parse().unwrap(),
        }),
        identity: true,
        log: PathLog::None,
    };
    assert_eq!(web, expected);
    let live = service(
        "websocket",
        "paths = [\"/live\"]\nsubprotocols = [\"b\", \"a\"]\norigin = \"http://panel\"\nlogin = { scheme = \"basic\", user = \"a\", secret = \"b\" }\nframe-bytes = 10\nmessage-bytes = 20",
    );
    let rules = WebsocketRules {
        upstream: Upstream::PLAIN,
        paths: vec!["/live".parse().unwrap()],
        subprotocols: vec![text("a"), text("b")],
        origin: Some(text("http://panel")),
        credential: Some(Credential { scheme: Scheme::Basic, user: text("a"), secret: "b".parse().unwrap() }),
        frame_bytes: 10,
        message_bytes: 20,
    };
    assert_eq!(live.reach.rules(), Some(&Rules::Websocket(rules)));
}

#[test]
fn read_only_leaves_what_reads_of_whatever_is_allowed() {
    assert_eq!(http("read-only = true").allow, [row("/**", Methods::READ, None)]);
    let get = Methods::of([Method::Get]).unwrap();
    let mixed =
        "read-only = true\nallow = [{ path = \"/a\", methods = [\"GET\", \"POST\"] }, { path = \"/b\" }]";
    assert_eq!(http(mixed).allow, [row("/a", get, None), row("/b", Methods::READ, None)]);
    let writing = "read-only = true\nallow = [{ path = \"/a\", methods = [\"POST\"] }]";
    assert_eq!(
        said("http", writing),
        [
            "2: `device.d.service.s.allow`: found `methods that change something`, expected GET or HEAD beside `read-only`"
        ]
    );
}

#[test]
fn a_wrong_value_is_said_with_its_line_its_key_and_what_was_expected() {
    let s = "`device.d.service.s";
    for (kind, options, expected) in [
        (
            "http",
            "allow = []",
            format!(
                "0: {s}.allow`: found `an empty list`, expected at least one `{{ path = \"/..\" }}`; leave the key away to allow the \
                 whole service"
            ),
        ),
        (
            "http",
            "allow = [{ methods = [\"GET\"] }]",
            format!("1: {s}.allow`: `path` is missing, expected a path as text that begins with `/`"),
        ),
        ("http", "allow = [{ path = \"a\" }]", format!("1: {s}.allow.path`: `a` must begin with `/`")),
        (
            "http",
            "start = \"//other\"",
            format!("0: {s}`: no device accepts this `start`; docs/policy.md says what may stand there"),
        ),
        (
            "http",
            "host = \"a b\"",
            format!("0: {s}`: no device accepts this `host`; docs/policy.md says what may stand there"),
        ),
        (
            "http",
            "tls = []",
            format!("0: {s}`: no device accepts this `tls`; docs/policy.md says what may stand there"),
        ),
        (
            "http",
            "tls = [\"abc\"]",
            format!(
                "1: {s}.tls`: found `abc`, expected SHA-256 of the machine's SubjectPublicKeyInfo as 64 hexadecimal digits or 44 \
                 characters of base 64"
            ),
        ),
        ("http", "log = \"all\"", format!("1: {s}.log`: found `all`, expected one of full, prefix, none")),
        (
            "vnc",
            "writers = 65536",
            format!("1: {s}.writers`: found `65536`, expected a whole number from 0 to 65535"),
        ),
        (
            "websocket",
            "frame-bytes = 9\nmessage-bytes = 8",
            format!(
                "0: {s}`: no device accepts this `frame-bytes`; docs/policy.md says what may stand there"
            ),
        ),
        (
            "websocket",
            "frame-bytes = 16777217",
            format!(
                "1: {s}.frame-bytes`: found `16777217`, expected a whole number of bytes from 1 to 16777216"
            ),
        ),
    ] {
        assert_eq!(said(kind, options), [expected], "{options}");
    }
    // An option of another kind is none of this one.
    let strange = said("vpn", "writers = 1");
    assert!(
        strange[0].starts_with("1: `device.d.service.s.writers`: this key is unknown here"),
        "{strange:?}"
    );
    // What is unknown about a kind is said once.
    assert_eq!(said("fax", "writers = 1").len(), 1);
}

#[test]
fn a_page_is_one_path_and_its_name_is_nobody_elses() {
    let page = |options: &str| format!("[device.d.service.s.page.p]\n{options}\n[device.d.service.s]");
    let with = |options: &str| file("http", "").replace("[device.d.service.s]", &page(options));
    let read = |text: &str| {
        fleet::read(text, &[]).map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let model = read(&with("path = \"/a/\"\nmethods = [\"PUT\"]\nassets = [\"/b/**\"]")).unwrap();
    let service = &model.devices["d"].services["s"];
    let page = service.page(&service.pages["p"]).unwrap();
    let Some(Rules::Http(rules)) = page.reach.rules() else { panic!("no page") };
    let put = Methods::of([Method::Put]).unwrap();
    assert_eq!(rules.allow, [row("/a/**", put, None), row("/b/**", Methods::READ, None)]);
    assert_eq!(rules.start.as_str(), "/a/");
    let many = read(&with("path = \"/*\"")).unwrap_err();
    assert_eq!(
        many,
        [
            "`device.d.service.s.page.p.path`: found `/*`, expected one path without `*`; all below it belongs to the page"
        ]
    );
    let own = "[device.d.service.\"s.p\"]\nkind = \"vnc\"\ntarget = \"10.0.0.1:5900\"\n";
    let clash = read(&format!("{}{own}", with("path = \"/a\""))).unwrap_err();
    assert_eq!(clash, ["`device.d.service.s.page.p`: device `d` has another service `s.p` already"]);
    let machine =
        "[machine.s]\ndevice = \"d\"\n[machine.s.service.p]\nkind = \"vnc\"\ntarget = \"10.0.0.1:5900\"\n";
    let clash = read(&format!("{}{machine}", with("path = \"/a\""))).unwrap_err();
    assert_eq!(clash, ["`machine.s.service.p`: device `d` has another service `s.p` already"]);
    let long = "q".repeat(63);
    let named = with("path = \"/a\"").replace("page.p]", &format!("page.{long}]"));
    let said = read(&named).unwrap_err();
    assert_eq!(
        said.iter().map(|line| line.split("`: ").nth(1).unwrap()).collect::<Vec<_>>(),
        [format!(
            "the page would be called `s.{long}`, which is longer than 64 bytes; shorten one of \
             the names"
        )]
    );
}

/// A web server with these options, and a page of it with those.
fn with_page(options: &str, page: &str) -> Result<Vec<Allow>, Vec<String>> {
    let page = format!("[device.d.service.s.page.p]\n{page}\n");
    let model = fleet::read(&format!("{}{page}", file("http", options)), &[])
        .map_err(|all| all.iter().map(|complaint| complaint.line("f.toml")).collect::<Vec<_>>())?;
    let service = &model.devices["d"].services["s"];
    let page = service.page(&service.pages["p"]).unwrap();
    let Some(Rules::Http(rules)) = page.reach.rules() else { panic!("no page") };
    Ok(rules.allow.clone())
}

#[test]
fn a_page_is_what_both_it_and_its_service_let_through() {
    let get = Methods::of([Method::Get]).unwrap();
    let post = Methods::of([Method::Post]).unwrap();
    let page = "path = \"/a\"\nassets = [\"/b/**\"]";
    for (options, expected) in [
        ("", vec![row("/a/**", Methods::READ, None), row("/b/**", Methods::READ, None)]),
        ("read-only = true", vec![row("/a/**", Methods::READ, None), row("/b/**", Methods::READ, None)]),
        // Nobody wrote `HEAD`: it is what a page has where nothing is said.
        (
            "allow = [{ path = \"/**\", methods = [\"GET\"] }]",
            vec![row("/a/**", get, None), row("/b/**", get, None)],
        ),
        (
            "allow = [{ path = \"/*/x\", query = [\"id\"] }, { path = \"/c\" }]",
            vec![row("/a/x", Methods::READ, Some(&["id"])), row("/b/x", Methods::READ, Some(&["id"]))],
        ),
    ] {
        assert_eq!(with_page(options, page), Ok(expected), "{options}");
    }
    let writing = with_page(
        "allow = [{ path = \"/a/note\", methods = [\"POST\"] }]",
        "path = \"/a\"\nmethods = [\"POST\"]",
    );
    assert_eq!(writing, Ok(vec![row("/a/note", post, None)]));
}

#[test]
fn a_page_that_says_more_than_its_service_is_refused_where_it_says_so() {
    let most = "and a page is never more than its service; widen the service, or take this from the page";
    let page = "`device.d.service.s.page.p";
    for (options, body, expected) in [
        (
            "read-only = true",
            "path = \"/a\"\nmethods = [\"GET\", \"POST\"]",
            vec![format!("f.toml:11:11: {page}.methods`: the service of this page lets no `POST` through at its path, {most}")],
        ),
        (
            "allow = [{ path = \"/b/**\" }]",
            "path = \"/a\"",
            vec![format!("f.toml:10:8: {page}.path`: the service of this page lets nothing through at its path, {most}")],
        ),
        (
            "allow = [{ path = \"/a/**\" }]",
            "path = \"/a\"\nassets = [\"/a/s/**\", \"/b/**\"]",
            vec![format!("f.toml:11:10: {page}.assets`: the service of this page lets nobody read the asset `/b/**`, {most}")],
        ),
        (
            "allow = [{ path = \"/a\", methods = [\"POST\"] }]",
            "path = \"/a\"",
            ["GET", "HEAD"]
                .map(|method| format!("f.toml:10:8: {page}.path`: the service of this page lets no `{method}` through at its path, {most}"))
                .to_vec(),
        ),
    ] {
        assert_eq!(with_page(options, body), Err(expected), "{options} {body}");
    }
    let many =
        |what: &str| (0..9).map(|n| format!("{{ path = \"/{what}{n}/**\" }}")).collect::<Vec<_>>().join(", ");
    let assets = (0..8).map(|n| format!("\"/*/{n}\"")).collect::<Vec<_>>().join(", ");
    let rows = with_page(&format!("allow = [{}]", many("x")), &format!("path = \"/\"\nassets = [{assets}]"));
    let said = "with what its service allows, the page has 81 rows, at most 64 fit; give it fewer assets, or the service fewer rows";
    assert!(rows.as_ref().unwrap_err()[0].ends_with(said), "{rows:?}");
}

#[test]
fn who_only_looks_pastes_nothing() {
    let category = |options: &str| format!("[category.c]\nkinds = [\"vnc\"]\n{options}\n");
    let mode = |options: &str| {
        let model = fleet::read(&category(options), &[]);
        model.map(|model| model.categories["c"].mode).map_err(|all| all[0].to_string())
    };
    assert_eq!(mode(""), Ok(Mode::Full { clipboard: false }));
    assert_eq!(mode("mode = \"full\"\nclipboard = true"), Ok(Mode::WIDEST));
    assert_eq!(mode("mode = \"view_only\""), Ok(Mode::ViewOnly));
    assert_eq!(
        mode("mode = \"view_only\"\nclipboard = true").unwrap_err(),
        "`category.c.clipboard`: found `true`, expected false, or `mode = \"full\"`: who only looks pastes nothing"
    );
}

/// Otto has the category `c` on a device with a web server and a page of it.
const WEB: &str = r#"[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[device.d]
account = "acme"
[device.d.service.web]
kind = "http"
target = "10.0.0.1:80"
[device.d.service.web.page.info]
path = "/info"
[category.c]
services = ["web"]
[role.r]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["c"]
[assignment.a]
user = "otto"
role = "r"
scope = { device = "d" }
"#;

#[test]
fn a_service_is_selected_with_its_pages_and_a_page_alone_is_not_its_service() {
    assert_eq!(Gate::of_file(WEB).reachable("otto"), ["d/web", "d/web.info"]);
    let page = WEB.replace("services = [\"web\"]", "pages = [\"info\"]");
    let gate = Gate::of_file(&page);
    assert_eq!(gate.reachable("otto"), ["d/web.info"]);
    assert_eq!(gate.asks("otto", "d", "web"), Err(Reason::NoGrant));
    let without = page.replace("[device.d.service.web.page.info]\npath = \"/info\"\n", "");
    assert_eq!(Gate::of_file(&without).reachable("otto"), Vec::<String>::new());
    assert_eq!(Gate::of_file(&without).index("d").snapshot().services, []);
}

#[test]
fn a_snapshot_carries_mode_and_rules_of_what_somebody_may_use() {
    let looking = WEB.replace("services = [\"web\"]", "services = [\"web\"]\nmode = \"view_only\"");
    let looking = looking.replace("target =", "view-only = true\nread-only = true\ntarget =");
    let index = Gate::of_file(&looking).index("d");
    let snapshot = index.snapshot();
    assert_eq!(snapshot.grants.iter().map(|grant| grant.mode).collect::<Vec<_>>(), [Mode::ViewOnly]);
    let read = HttpRules { allow: vec![row("/**", Methods::READ, None)], ..HttpRules::whole() };
    assert_eq!(
        (snapshot.services[0].reach.rules(), snapshot.services[0].view_only),
        (Some(&Rules::Http(read)), true)
    );
    assert!(snapshot.services[1].view_only, "a page is looked at as its service is");
}

/// [`WEB`], with a recorded category and a recording key of this account.
fn recorded() -> String {
    let web = WEB.replace("services = [\"web\"]", "services = [\"web\"]\nrecord = true");
    web.replacen("\n", &format!("\nrecording-key = \"{}\"\n", "5e".repeat(32)), 1)
}

#[test]
fn what_a_recorded_category_permits_obliges_the_device_with_the_key_of_the_nearest_account() {
    let index = Gate::of_file(&recorded()).index("d");
    let key = "5e".repeat(32).parse().unwrap();
    assert_eq!((index.snapshot().recording_key, index.snapshot().categories[0].record), (Some(key), true));
    let nested = recorded().replace(
        "[user.otto]",
        "[account.plant]\ntenant = \"operating_company\"\nparent = \"acme\"\n[user.otto]",
    );
    let nested = nested.replace("[device.d]\naccount = \"acme\"", "[device.d]\naccount = \"plant\"");
    assert_eq!(Gate::of_file(&nested).index("d").snapshot().recording_key, Some(key));
    // Who records nothing is told of no key.
    let without = Gate::of_file(&recorded().replace("record = true\n", "")).index("d");
    assert_eq!((without.snapshot().recording_key, without.snapshot().categories[0].record), (None, false));
}

#[test]
fn a_recording_that_nobody_could_open_or_the_device_cannot_make_is_refused() {
    let refused = |text: &str| {
        let gate = Gate::of_file(text);
        let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
        compiler.compile(&"d".parse().unwrap()).unwrap_err().to_string()
    };
    let keyless = WEB.replace("services = [\"web\"]", "services = [\"web\"]\nrecord = true");
    assert_eq!(
        refused(&keyless),
        "category `c` is recorded on device `d`, whose account has no `recording-key`; make one with `postern replay keygen`"
    );
    for kind in ["vpn", "websocket"] {
        let other = recorded().replace("kind = \"http\"", &format!("kind = \"{kind}\""));
        let other = other.replace("[device.d.service.web.page.info]\npath = \"/info\"\n", "");
        assert_eq!(
            refused(&other),
            "category `c` is recorded and contains `web` on device `d`; screens and web pages can be recorded, so put the \
             others into a category of their own"
        );
    }
    let said = fleet::read(&recorded().replace(&"5e".repeat(32), &"00".repeat(32)), &[]).unwrap_err();
    assert_eq!(
        said[0].to_string(),
        format!(
            "`account.acme.recording-key`: found `{}`, expected the 64 hexadecimal digits that `postern replay keygen` printed",
            "00".repeat(32)
        )
    );
}

#[test]
fn recording_no_more_is_a_gain_and_recording_from_now_on_a_loss() {
    let differ = |from: &str, to: &str| {
        let read = |text: &str| fleet::read(text, &[]).unwrap();
        let diff = Diff::between(&read(from), &read(to));
        let records = |all: &[Access]| all.iter().map(|access| access.record).collect::<Vec<_>>();
        (records(&diff.gained), records(&diff.lost))
    };
    let without = recorded().replace("record = true\n", "");
    assert_eq!(differ(&recorded(), &without), (vec![false, false], vec![]));
    assert_eq!(differ(&without, &recorded()), (vec![], vec![false, false]));
}

/// How many accesses a change gives and takes.
fn told(from: &str, to: &str) -> (usize, usize) {
    let (old, new) = (fleet::read(from, &[]).unwrap(), fleet::read(to, &[]).unwrap());
    let diff = Diff::between(&old, &new);
    let of = |accesses: &[Access]| accesses.iter().filter(|access| access.service.as_str() == "web").count();
    (of(&diff.gained), of(&diff.lost))
}

#[test]
fn what_lets_more_through_is_a_gain_and_what_lets_less_through_a_loss() {
    let with = |options: &str| WEB.replace("target =", &format!("{options}\ntarget ="));
    let wide = |options: &str| [told(&with(options), WEB), told(WEB, &with(options))];
    let (gain, loss) = ((1, 0), (0, 1));
    // Without the option more is possible.
    for narrowing in ["read-only = true", "view-only = true", "allow = [{ path = \"/info/**\" }]"] {
        assert_eq!(wide(narrowing), [gain, loss], "{narrowing}");
    }
    for widening in ["identity = true", "login = { scheme = \"basic\", user = \"a\", secret = \"b\" }"] {
        assert_eq!(wide(widening), [loss, gain], "{widening}");
    }
    assert_eq!(wide("host = \"panel\""), [(1, 1), (1, 1)]);
    for neither in ["log = \"none\"", "start = \"/a\""] {
        assert_eq!(wide(neither), [(0, 0), (0, 0)], "{neither}");
    }
    let looking = WEB.replace("services = [\"web\"]", "services = [\"web\"]\nmode = \"view_only\"");
    let pasting = WEB.replace("services = [\"web\"]", "services = [\"web\"]\nclipboard = true");
    assert_eq!([told(&looking, WEB), told(WEB, &looking)], [gain, loss]);
    assert_eq!([told(WEB, &pasting), told(&pasting, WEB)], [gain, loss]);
}

/// [`WEB`] with two more pages, of which one has the denied one in it, and an entry that denies Otto a page by itself.
fn denied(window: &str) -> String {
    let pages =
        "[device.d.service.web.page.all]\npath = \"/\"\n[device.d.service.web.page.log]\npath = \"/log\"\n";
    let deny = format!(
        "[category.service]\npages = [\"info\"]\n[entry.keep-off]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"service\"\n{window}\n"
    );
    format!("{WEB}{pages}{deny}")
}

#[test]
fn a_page_that_is_denied_is_closed_in_the_whole_service_and_in_every_page_around_it() {
    let gate = Gate::of_file(&denied(""));
    assert_eq!(gate.reachable("otto"), ["d/web", "d/web.all", "d/web.log"]);
    assert_eq!(gate.asks("otto", "d", "web.info"), Err(Reason::NoGrant));
    let closed = |service| gate.closed("otto", "d", service, NOW);
    assert_eq!(["web", "web.all", "web.log"].map(closed), [vec!["/info/**"], vec!["/info/**"], vec![]]);
    // The twin: without the entry nothing is closed, and nothing of it reaches the device.
    let gate = Gate::of_file(
        &denied("")
            .replace("user = \"otto\"\neffect", "user = \"mia\"\neffect")
            .replace("[device.d]", "[user.mia]\naccount = \"acme\"\n[device.d]"),
    );
    assert_eq!(gate.reachable("otto"), ["d/web", "d/web.all", "d/web.info", "d/web.log"]);
    assert_eq!(gate.closed("otto", "d", "web", NOW), Vec::<String>::new());
    let snapshot = gate.index("d").snapshot().clone();
    assert_eq!((snapshot.prohibitions.len(), snapshot.paths.len()), (0, 0));
}

#[test]
fn whoever_has_a_page_around_a_denied_one_does_not_reach_it_that_way_either() {
    let around = denied("").replace("services = [\"web\"]", "pages = [\"all\"]");
    let gate = Gate::of_file(&around);
    assert_eq!(gate.reachable("otto"), ["d/web.all"]);
    assert_eq!(gate.closed("otto", "d", "web.all", NOW), ["/info/**"]);
    let beside = denied("").replace("services = [\"web\"]", "pages = [\"log\"]");
    let gate = Gate::of_file(&beside);
    assert_eq!(
        (gate.reachable("otto"), gate.index("d").snapshot().prohibitions.len()),
        (vec!["d/web.log".to_owned()], 0)
    );
}

#[test]
fn a_denied_page_is_closed_in_its_window_and_the_device_decides_again_at_both_ends() {
    let window = "from = 2026-10-01T00:00:00Z\nuntil = 2026-11-01T00:00:00Z";
    let gate = Gate::of_file(&denied(window));
    let (from, until) = (1_790_812_800, 1_793_491_200);
    for (now, closed) in
        [(from - 1, &[][..]), (from, &["/info/**"]), (until - 1, &["/info/**"]), (until, &[])]
    {
        assert_eq!(gate.closed("otto", "d", "web", UnixTime::from_secs(now)), closed, "{now}");
    }
}

#[test]
fn closing_a_page_is_a_loss_in_the_service_and_opening_it_a_gain() {
    let without = denied("").replace("effect = \"deny\"", "effect = \"allow\"\nscope = { device = \"d\" }");
    assert_eq!((told(&without, &denied("")), told(&denied(""), &without)), ((0, 1), (1, 0)));
    // Another page of the service is no reason.
    let log = denied("").replace("pages = [\"info\"]", "pages = [\"log\"]");
    assert_eq!(told(&denied(""), &log), (1, 1));
    assert_eq!(told(&denied(""), &denied("")), (0, 0));
}

/// The destinations of a VPN, as they are said.
fn destinations(options: &str) -> Vec<String> {
    let path = "[account.a]\ntenant = \"operating_company\"\n[device.d]\naccount = \"a\"\n[device.d.service.s]\nkind = \"vpn\"\n";
    let model = fleet::read(&format!("{path}{options}"), &[]).map_err(|all| all[0].to_string()).unwrap();
    let reach = model.devices["d"].services["s"].reach.clone();
    reach.flows().unwrap().destinations.iter().map(ToString::to_string).collect()
}

/// What is said of the options of a VPN.
fn said_of_vpn(options: &str) -> Vec<String> {
    let path = "[account.a]\ntenant = \"operating_company\"\n[device.d]\naccount = \"a\"\n[device.d.service.s]\nkind = \"vpn\"\n";
    let complaints = fleet::read(&format!("{path}{options}"), &[]).unwrap_err();
    let line = |place: Place| match place {
        Place::At { line, .. } => line - 5,
        other => panic!("{other:?}"),
    };
    complaints.iter().map(|complaint| format!("{}: {}", line(complaint.place), complaint.key)).collect()
}

#[test]
fn destinations_are_read_narrowest_first_and_a_target_is_the_short_form_of_one() {
    let listed = "allow = [\"icmp 10.0.0.0/24\", \"udp 10.0.0.9 161\", \"tcp 10.0.0.0/24 502,4840-4850\", \"tcp 10.0.0.9 102\"]";
    assert_eq!(
        destinations(listed),
        [
            "tcp 10.0.0.9 102",
            "tcp 10.0.0.0/24 502",
            "tcp 10.0.0.0/24 4840-4850",
            "udp 10.0.0.9 161",
            "icmp 10.0.0.0/24",
        ]
    );
    assert_eq!(destinations("target = \"10.0.0.9:102\""), destinations("allow = [\"tcp 10.0.0.9 102\"]"));
    assert_eq!(destinations("target = \"[fd00::9]:102\""), ["tcp fd00::9 102"]);
}

#[test]
fn what_a_gate_reads_in_a_flow_stands_beside_it() {
    let profile = |options: &str| {
        let text = format!(
            "[account.a]\ntenant = \"operating_company\"\n[device.d]\naccount = \"a\"\n[device.d.service.s]\nkind = \"vpn\"\nallow = [{{ flow = \"tcp 10.0.0.9 502\", modbus = {options} }}]\n"
        );
        let model = fleet::read(&text, &[]).map_err(|all| all[0].to_string()).unwrap();
        let reach = model.devices["d"].services["s"].reach.clone();
        reach.flows().unwrap().destinations[0].profile().cloned().unwrap()
    };
    let span = |table, first, last| ModbusSpan { table, first, last };
    assert_eq!(profile("\"read-only\""), Profile::Modbus(ModbusRules::read_only()));
    assert_eq!(profile("{}"), Profile::Modbus(ModbusRules::read_only()));
    assert_eq!(
        profile(
            "{ units = [\"1-16\", \"20\"], read = [\"input-registers 100-199\", \"coils\"], write = [\"holding-registers 4000\"] }"
        ),
        Profile::Modbus(ModbusRules {
            units: vec![UnitSpan { first: 1, last: 16 }, UnitSpan { first: 20, last: 20 }],
            reads: vec![span(ModbusTable::Coils, 0, 65_535), span(ModbusTable::InputRegisters, 100, 199)],
            writes: vec![span(ModbusTable::HoldingRegisters, 4000, 4000)],
        })
    );
}

#[test]
fn destinations_that_mean_nothing_are_named_by_their_line() {
    let at = |key: &str| vec![format!("2: device.d.service.s.{key}")];
    for bad in [
        "tcp 10.0.0.9",
        "tcp 10.0.0.9 0",
        "tcp 10.0.0.9 9-8",
        "tcp 10.0.0.9 +5",
        "tcp 10.0.0.9 5,",
        "tcp 10.0.0.9 5 6",
        "icmp 10.0.0.9 5",
        "sctp 10.0.0.9 5",
        "tcp plc-7 102",
        "tcp 10.0.0.9/24 102",
        "tcp 0.0.0.0/0 102",
        "tcp 224.0.0.1 102",
        "tcp ::ffff:10.0.0.9 102",
        "tcp 10.0.0.0/33 102",
        "",
    ] {
        assert_eq!(said_of_vpn(&format!("allow = [\"{bad}\"]\n")), at("allow"), "{bad}");
    }
    for bad in
        ["[]", "[{ modbus = \"read-only\" }]", "[{ flow = \"udp 10.0.0.9 5\", modbus = \"read-only\" }]"]
    {
        assert!(!said_of_vpn(&format!("allow = {bad}\n")).is_empty(), "{bad}");
    }
    assert_eq!(said_of_vpn("target = \"10.0.0.9:5\"\nallow = [\"icmp 10.0.0.9\"]\n"), at("target"));
    for bad in
        ["\"read\"", "{ units = [\"256\"] }", "{ read = [\"registers 1\"] }", "{ write = [\"coils 1 2\"] }"]
    {
        let options = format!("allow = [{{ flow = \"tcp 10.0.0.9 502\", modbus = {bad} }}]\n");
        assert_eq!(said_of_vpn(&options).len(), 1, "{bad}");
    }
    // What no device would accept is said of the model.
    let options = "allow = [{ flow = \"tcp 10.0.0.9 502\", modbus = { write = [\"input-registers\"] } }]\n";
    assert_eq!(said_of_vpn(options), ["0: device.d.service.s"]);
}
