//! The rules of access, one test each with its twin, on the smallest fleet that can break them.

use std::collections::BTreeSet;

use postern_cloud::compile::{Bearer, Warning, warnings};
use postern_cloud::diff::Diff;
use postern_cloud::explain::{Question, answer};
use postern_cloud::fleet;
use postern_cloud::model::{Effect, EntityKind, Model, Permission, Scope};
use postern_protocol::name::Name;
use postern_protocol::policy::{Reason, Snapshot};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::codec;

use crate::gate::{Gate, NOW, addressee};

/// One account, one user with one assignment, one device with a service of each kind but VPN.
const SMALL: &str = r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[device.d1]
account = "acme"
[device.d1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[device.d1.service.web]
kind = "http"
target = "10.0.0.1:80"
[device.d1.service.live]
kind = "websocket"
target = "10.0.0.1:81"
[category.screen]
kinds = ["vnc"]
[category.web]
kinds = ["http"]
[role.operator]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screen"]
[assignment.a]
user = "otto"
role = "operator"
scope = { device = "d1" }
"#;

fn changed(from: &str, to: &str) -> Gate {
    assert!(SMALL.contains(from), "{from}");
    Gate::of_file(&SMALL.replace(from, to))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn an_assignment_opens_its_category_and_nothing_beside_it() {
    let gate = Gate::of_file(SMALL);
    assert_eq!(gate.reachable("otto"), ["d1/hmi"]);
    assert_eq!(gate.asks("otto", "d1", "web"), Err(Reason::NoGrant));
}

#[test]
fn http_does_not_imply_websocket() {
    let gate = changed(r#"categories = ["screen"]"#, r#"categories = ["web"]"#);
    assert_eq!(gate.reachable("otto"), ["d1/web"]);
}

#[test]
fn every_permission_together_opens_nothing() {
    let held = Permission::ALL.iter().filter(|p| p.is_for(postern_cloud::model::Tenant::OperatingCompany));
    let words: Vec<String> = held.map(|permission| format!("{:?}", permission.word())).collect();
    let permissions = format!("permissions = [{}]", words.join(", "));
    let gate = changed("permissions = [\"remote-access.use\"]\ncategories = [\"screen\"]", &permissions);
    assert_eq!(gate.reachable("otto"), [""; 0]);
}

#[test]
fn a_user_without_a_role_compiles_to_nothing_and_is_reported() {
    let gate = Gate::of_file(SMALL.split("[assignment.a]").next().unwrap());
    assert_eq!(gate.reachable("otto"), [""; 0]);
    assert!(warnings(&gate.model).contains(&Warning::NoRole { user: name("otto") }));
}

#[test]
fn a_window_holds_from_its_first_second_to_before_its_last() {
    let gate = Gate::of_file(&format!(
        "{SMALL}\nfrom = 2026-09-21T14:00:00Z\nuntil = \"2026-09-21T16:00:00+01:00\"\n"
    ));
    let asks = |time: u64| gate.asks_at("otto", "d1", "hmi", UnixTime::from_secs(time), None);
    assert_eq!(asks(1_789_999_199), Err(Reason::NotYet));
    assert_eq!(asks(1_789_999_200), Ok(()));
    assert_eq!(asks(1_790_002_799), Ok(()));
    assert_eq!(asks(1_790_002_800), Err(Reason::Expired));
}

#[test]
fn a_window_or_factor_is_never_borrowed_from_another_assignment() {
    // A strict role on the screen, a lax one on web pages: the lax one must not open the screen.
    let gate = Gate::of_file(&format!(
        "{}{}",
        SMALL.replace(r#"categories = ["screen"]"#, "categories = [\"screen\"]\nsecond-factor = \"1h\""),
        r#"
[role.reader]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["web"]
[assignment.b]
user = "otto"
role = "reader"
scope = { device = "d1" }
"#
    ));
    assert_eq!(gate.asks("otto", "d1", "web"), Ok(()));
    assert_eq!(gate.asks("otto", "d1", "hmi"), Err(Reason::SecondFactorRequired));
    assert_eq!(gate.asks_at("otto", "d1", "hmi", NOW, Some(NOW)), Ok(()));
}

#[test]
fn moving_a_device_to_another_account_closes_it_to_the_users_of_the_first() {
    let moved = r#"
[account.bolt]
tenant = "operating_company"
[device.d1]
account = "bolt"
"#;
    let text = SMALL
        .replace("[device.d1]\naccount = \"acme\"\n", moved)
        .replace("scope = { device = \"d1\" }", "scope = { account = \"acme\", nested = true }");
    assert_eq!(Gate::of_file(&text).reachable("otto"), [""; 0]);
}

#[test]
fn a_device_that_left_the_model_permits_nothing_and_says_so() {
    let mut gate = Gate::of_file(SMALL);
    gate.model.devices.remove("d1");
    assert_eq!(gate.asks("otto", "d1", "hmi"), Err(Reason::DeviceUnassigned));
}

#[test]
fn a_disabled_user_is_refused_by_name_and_an_unregistered_one_is_unknown() {
    let mut gate = Gate::of_file(SMALL);
    gate.roster.users.get_mut("otto").unwrap().disabled = true;
    assert_eq!(gate.asks("otto", "d1", "hmi"), Err(Reason::UserDisabled));
    gate.roster.users.get_mut("otto").unwrap().keys.clear();
    assert_eq!(gate.asks("otto", "d1", "hmi"), Err(Reason::NoGrant));
}

#[test]
fn a_scope_of_an_unknown_type_grants_nothing_and_is_reported() {
    let mut gate = Gate::of_file(SMALL);
    gate.model.assignments.get_mut("a").unwrap().scope = Scope::Unknown;
    assert_eq!(gate.reachable("otto"), [""; 0]);
    assert!(warnings(&gate.model).contains(&Warning::UnknownScope { assignment: name("a") }));
    // An intersection with it is nothing too.
    let device = Scope::Device { device: name("d1") };
    gate.model.assignments.get_mut("a").unwrap().scope =
        Scope::AllOf { scopes: vec![device, Scope::Unknown] };
    assert_eq!(gate.reachable("otto"), [""; 0]);
}

#[test]
fn a_deny_in_a_scope_of_an_unknown_type_denies_wherever_that_could_be_and_is_reported() {
    let denied = |scope: &str| {
        let entry = "[entry.no]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"screen\"\n";
        let mut model = fleet::read(&format!("{SMALL}{entry}"), &[]).unwrap();
        model.entries.get_mut("no").unwrap().scope = Some(serde_json::from_str(scope).unwrap());
        Gate::of(model)
    };
    let gate = denied(r#"{"type":"galaxy","galaxy":"milky-way"}"#);
    assert_eq!(gate.reachable("otto"), [""; 0]);
    let told: Vec<String> = warnings(&gate.model).iter().map(ToString::to_string).collect();
    let expected = "entry `no`: its scope has a type that this version does not know; it denies as if that were everywhere";
    let of_entry: Vec<&String> = told.iter().filter(|warning| warning.starts_with("entry `no`")).collect();
    assert_eq!(of_entry, [expected]);
    let within = |device: &str| {
        denied(&format!(
            r#"{{"type":"all_of","scopes":[{{"type":"device","device":"{device}"}},{{"type":"galaxy"}}]}}"#
        ))
    };
    assert_eq!(within("d1").reachable("otto"), [""; 0]);
    assert_eq!(within("d2").reachable("otto"), ["d1/hmi"]);
}

#[test]
fn nothing_foreign_reaches_a_device() {
    let gate = Gate::of_sample("direct-sales");
    let bytes = gate.sealed("saw-1");
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("hmi") && contains("bea-saw-1"));
    for foreign in ["bea", "otto", "acme", "Bolt", "Saw 1", "press", "live", "customer-admin", "devices.read"]
    {
        let found = contains(foreign) && foreign != "bea";
        assert!(!found, "{foreign}");
    }
    let snapshot: Snapshot = codec::decode(&bytes[6..bytes.len() - 97], 1 << 20).unwrap();
    // Eva, Max, Sam and Bea; not Otto and Ada.
    assert_eq!(snapshot.users.len(), 4);
    assert_eq!(snapshot.services.len(), 2);
}

#[test]
fn a_service_that_nobody_may_use_is_not_in_the_snapshot() {
    let gate = Gate::of_file(SMALL);
    let bytes = gate.sealed("d1");
    let snapshot: Snapshot = codec::decode(&bytes[6..bytes.len() - 97], 1 << 20).unwrap();
    assert_eq!(snapshot.services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["hmi"]);
    assert_eq!(snapshot.categories.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["screen"]);
}

#[test]
fn several_ways_to_one_service_are_several_grants_with_their_own_origin() {
    let gate = Gate::of_file(&format!(
        "{SMALL}
[user-group.shift]
account = \"acme\"
members = [\"otto\"]
[assignment.b]
group = \"shift\"
role = \"operator\"
scope = {{ account = \"acme\" }}
"
    ));
    let index = gate.index("d1");
    let origins: Vec<String> = index.snapshot().origins.iter().map(ToString::to_string).collect();
    let expected =
        ["assignment `a` of role `operator`", "assignment `b` of role `operator` to user group `shift`"];
    assert_eq!(origins, expected);
    assert_eq!(index.snapshot().grants.len(), 2);
}

#[test]
fn narrowed_categories_have_names_of_their_own_even_when_those_are_taken_or_long() {
    let long = "c".repeat(64);
    let text = format!(
        r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[device.d1]
account = "acme"
[device.d1.service.hmi]
kind = "vnc"
target = "10.0.0.1:5900"
[machine.m1]
device = "d1"
[machine.m1.service.hmi]
kind = "vnc"
target = "10.0.0.2:5900"
[category.screen]
kinds = ["vnc"]
[category."screen.m1"]
services = ["hmi"]
[category.{long}]
kinds = ["vnc"]
[role.operator]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screen", "screen.m1", "{long}"]
[assignment.machine]
user = "otto"
role = "operator"
scope = {{ machine = "m1" }}
[assignment.device]
user = "otto"
role = "operator"
scope = {{ device = "d1" }}
"#
    );
    let gate = Gate::of_file(&text);
    let index = gate.index("d1");
    let categories = &index.snapshot().categories;
    assert_eq!(categories.len(), 6);
    let names: BTreeSet<&str> = categories.iter().map(|category| category.name.as_str()).collect();
    assert!(names.contains("screen") && names.contains("screen.m1") && names.contains(long.as_str()));
    for category in categories {
        let whole = ["screen", "screen.m1", &long].contains(&category.name.as_str());
        assert_eq!(category.services.len(), if whole { 2 } else { 1 }, "{}", category.name);
    }
}

#[test]
fn a_category_that_is_named_like_a_digest_is_never_united_with_another() {
    let fleet = |extra: &str| {
        let long = "c".repeat(64);
        format!(
            r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[user.eva]
account = "acme"
[device.d1]
account = "acme"
[device.d1.service.web]
kind = "http"
target = "10.0.0.1:80"
[machine.m1]
device = "d1"
[machine.m1.service.hmi]
kind = "vnc"
target = "10.0.0.2:5900"
[category.{long}]
kinds = ["vnc"]
[category."{extra}"]
kinds = ["http"]
[role.narrow]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["{long}"]
[role.web]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["{extra}"]
[assignment.narrow]
user = "otto"
role = "narrow"
scope = {{ machine = "m1" }}
[assignment.web]
user = "eva"
role = "web"
scope = {{ device = "d1" }}
"#
        )
    };
    // The name that the narrowed category gets, taken for another one.
    let gate = Gate::of_file(&fleet("pages"));
    let index = gate.index("d1");
    let mut names = index.snapshot().categories.iter().map(|category| category.name.to_string());
    let digest = names.find(|name| name.starts_with("ccc")).unwrap();
    let gate = Gate::of_file(&fleet(&digest));
    assert_eq!(gate.reachable("otto"), ["d1/m1.hmi"]);
    assert_eq!(gate.reachable("eva"), ["d1/web"]);
}

#[test]
fn who_gains_and_who_loses_is_seen_before_publishing() {
    let (old, new) = (
        fleet::read(SMALL, &[]).unwrap(),
        fleet::read(&SMALL.replace(r#"categories = ["screen"]"#, r#"categories = ["web"]"#), &[]).unwrap(),
    );
    let diff = Diff::between(&old, &new);
    let services = |accesses: &[postern_cloud::diff::Access]| {
        accesses.iter().map(|access| access.service.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((services(&diff.gained), services(&diff.lost)), (vec!["web".into()], vec!["hmi".into()]));
    assert_eq!(diff.changed.iter().map(|entity| entity.kind).collect::<Vec<_>>(), [EntityKind::Role.word()]);
    assert_eq!(Diff::between(&new, &new), Diff::default());
}

#[test]
fn a_service_that_leads_elsewhere_is_a_gain_that_somebody_must_confirm() {
    let old = fleet::read(SMALL, &[]).unwrap();
    let new = fleet::read(&SMALL.replace("10.0.0.1:5900", "10.0.0.9:502"), &[]).unwrap();
    let diff = Diff::between(&old, &new);
    let targets = |accesses: &[postern_cloud::diff::Access]| {
        accesses.iter().map(|access| access.target.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&diff.gained), ["10.0.0.9:502"]);
    assert_eq!(targets(&diff.lost), ["10.0.0.1:5900"]);
}

#[test]
fn a_service_that_speaks_something_else_is_a_gain_that_somebody_must_confirm() {
    let by_name = SMALL.replace("kinds = [\"vnc\"]", "services = [\"hmi\"]");
    let old = fleet::read(&by_name, &[]).unwrap();
    let new = fleet::read(&by_name.replacen("kind = \"vnc\"", "kind = \"vpn\"", 1), &[]).unwrap();
    let diff = Diff::between(&old, &new);
    let kinds = |accesses: &[postern_cloud::diff::Access]| {
        accesses.iter().map(|access| access.kind.word()).collect::<Vec<_>>()
    };
    assert_eq!((kinds(&diff.gained), kinds(&diff.lost)), (vec!["vpn"], vec!["vnc"]));
}

#[test]
fn a_shorter_window_is_a_loss_and_no_gain() {
    let wide = fleet::read(SMALL, &[]).unwrap();
    let narrow = fleet::read(&format!("{SMALL}\nuntil = 2027-01-01T00:00:00Z"), &[]).unwrap();
    let diff = Diff::between(&wide, &narrow);
    assert_eq!((diff.gained.len(), diff.lost.len()), (0, 1));
    let diff = Diff::between(&narrow, &wide);
    assert_eq!((diff.gained.len(), diff.lost.len()), (1, 0));
}

/// What is gained and what is lost when lines are added to the small fleet.
fn added(lines: &str) -> (usize, usize) {
    let (old, new) =
        (fleet::read(SMALL, &[]).unwrap(), fleet::read(&format!("{SMALL}{lines}"), &[]).unwrap());
    let (there, back) = (Diff::between(&old, &new), Diff::between(&new, &old));
    assert_eq!((&there.gained, &there.lost), (&back.lost, &back.gained));
    (there.gained.len(), there.lost.len())
}

#[test]
fn a_denial_is_a_loss_and_its_end_a_gain() {
    let denial = |more: &str| {
        added(&format!("[entry.no]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"screen\"\n{more}\n"))
    };
    assert_eq!(denial(""), (0, 1));
    assert_eq!(denial("until = 2027-01-01T00:00:00Z"), (0, 1));
    assert_eq!(denial("scope = { machine = \"m\" }\n[machine.m]\ndevice = \"d1\""), (0, 0));
}

#[test]
fn a_second_way_with_fewer_conditions_is_a_gain_and_one_with_more_is_none() {
    let entry = |more: &str| {
        added(&format!(
            "[entry.yes]\nuser = \"otto\"\neffect = \"allow\"\nservice = \"hmi\"\nscope = {{ device = \"d1\" }}\n{more}\n"
        ))
    };
    assert_eq!(entry("second-factor = \"1h\""), (0, 0));
    assert_eq!(entry("until = 2027-01-01T00:00:00Z"), (0, 0));
    let other = "[user.olga]\naccount = \"acme\"\n[assignment.b]\nuser = \"olga\"\nrole = \"operator\"\nscope = { device = \"d1\" }";
    assert_eq!(entry(other), (1, 0));
}

#[test]
fn activating_a_case_is_a_gain_for_whoever_waits_for_it() {
    let demanding =
        SMALL.replace("scope = { device = \"d1\" }", "scope = { device = \"d1\" }\nneeds-case = true");
    let waiting = fleet::read(&demanding, &[]).unwrap();
    let with =
        |case: &str| fleet::read(&format!("{demanding}[case.c]\ndevice = \"d1\"\n{case}\n"), &[]).unwrap();
    let active = with("visibility = \"shared\"\nuntil = 2027-01-01T00:00:00Z");
    let diff = Diff::between(&waiting, &active);
    let cases: Vec<Option<&str>> =
        diff.gained.iter().map(|one| one.case.as_ref().map(Name::as_str)).collect();
    assert_eq!((cases, diff.lost.len()), (vec![Some("c")], 0));
    // A second case in the same window gives nothing more; one that is not activated or internal gives nothing.
    let second = fleet::read(
        &format!(
            "{demanding}[case.b]\ndevice = \"d1\"\nvisibility = \"shared\"\nuntil = 2027-01-01T00:00:00Z\n[case.c]\ndevice = \"d1\"\nvisibility = \"shared\"\nuntil = 2027-01-01T00:00:00Z\n"
        ),
        &[],
    );
    assert_eq!(Diff::between(&active, &second.unwrap()).gained, []);
    assert_eq!(Diff::between(&waiting, &with("visibility = \"shared\"")).gained, []);
    assert_eq!(
        Diff::between(&waiting, &with("visibility = \"internal\"\nuntil = 2027-01-01T00:00:00Z")).gained,
        []
    );
    // Without the demand, everything is gained that no case gave.
    let free = fleet::read(SMALL, &[]).unwrap();
    let diff = Diff::between(&active, &free);
    assert_eq!((diff.gained.len(), diff.lost.len()), (1, 0));
    assert_eq!(Diff::between(&free, &waiting).lost.len(), 1);
}

#[test]
fn a_policy_that_opens_nothing_warns_and_one_that_does_not() {
    let warned = |lines: &str| {
        let model = fleet::read(&format!("{SMALL}{lines}"), &[]).unwrap();
        let found: Vec<String> = warnings(&model).iter().map(ToString::to_string).collect();
        found.into_iter().filter(|text| !text.contains("`web`")).collect::<Vec<_>>()
    };
    assert_eq!(warned(""), [""; 0]);
    let essential =
        "[assignment.b]\nuser = \"otto\"\nrole = \"machine-operator\"\nscope = { device = \"d1\" }\n";
    let opens_nothing = "assignment `b`: it opens nothing: role `machine-operator` may use tunnels, and `categories` says to what";
    assert_eq!(warned(essential), [opens_nothing]);
    assert_eq!(warned(&format!("{essential}categories = [\"screen\"]\n")), [""; 0]);
    let needless = "assignment `b`: `needs-case` has no effect: role `machine-operator` opens nothing here";
    assert_eq!(warned(&format!("{essential}needs-case = true\n")), [opens_nothing, needless]);
    assert_eq!(warned(&format!("{essential}categories = [\"screen\"]\nneeds-case = true\n")), [""; 0]);
    let member = "[device-group.g]\naccount = \"acme\"\ntype = \"project\"\ndevices = [\"d1\"]\n[device-group.g.member.otto]\nrole = \"machine-operator\"\n";
    let by_member = "device-group `g`: the membership of `otto` opens nothing: role `machine-operator` may use tunnels, and \
                     `categories` says to what";
    assert_eq!(warned(member), [by_member]);
    let entry = |selection: &str, scope: &str| {
        warned(&format!("[entry.e]\nuser = \"otto\"\neffect = \"deny\"\n{selection}\n{scope}\n"))
    };
    let nothing = ["entry `e`: it selects nothing that its user could reach"];
    assert_eq!(entry("service = \"hmi\"", ""), [""; 0]);
    assert_eq!(entry("service = \"hmj\"", ""), nothing);
    assert_eq!(entry("category = \"screen\"", "scope = { device = \"d1\" }"), [""; 0]);
    let empty = "scope = { account = \"branch\" }\n[account.branch]\ntenant = \"operating_company\"\nparent = \"acme\"";
    assert_eq!(entry("category = \"screen\"", empty), nothing);
}

#[test]
fn who_is_given_nothing_and_who_stays_outside_is_named_by_a_warning() {
    let lines = r#"
[account.branch]
tenant = "operating_company"
parent = "acme"
[user.mia]
account = "branch"
[device.d9]
account = "branch"
[entry.e]
user = "mia"
effect = "deny"
service = "hmi"
scope = { device = "d9" }
[user-group.team]
account = "acme"
members = ["otto"]
[assignment.b]
group = "team"
role = "operator"
scope = { device = "d1" }
"#;
    let warned = |model: &Model| {
        let found: Vec<String> = warnings(model).iter().map(ToString::to_string).collect();
        found.into_iter().filter(|text| text.contains("`mia`")).collect::<Vec<_>>()
    };
    let mut model = fleet::read(&format!("{SMALL}{lines}"), &[]).unwrap();
    assert_eq!(warned(&model), ["user `mia`: the user has no role and can reach nothing"]);
    let mut allowed = model.clone();
    allowed.entries.get_mut("e").unwrap().effect = Effect::Allow;
    assert_eq!(warned(&allowed), [""; 0]);
    let members = &mut model.user_groups.get_mut("team").unwrap().members;
    let member = members["otto"].clone();
    members.insert(name("mia"), member);
    let outside = "assignment `b`: device `d1` stays closed to `mia`: it lies outside of the user's account";
    assert_eq!(warned(&model), [outside]);
    model.assignments.get_mut("b").unwrap().scope = Scope::Device { device: name("d9") };
    assert_eq!(warned(&model), [""; 0]);
}

#[test]
fn a_deprecated_role_warns_with_its_end() {
    let text = SMALL
        .replace("operating_company", "service_provider")
        .replace("role = \"operator\"", "role = \"service-manager\"\ncategories = [\"screen\"]");
    let found = warnings(&fleet::read(&text, &[]).unwrap());
    let bearer = Bearer::Assignment { assignment: name("a") };
    let ends = UnixTime::from_secs(1_830_297_600);
    assert!(
        found.contains(&Warning::Deprecated { bearer, role: name("service-manager"), ends }),
        "{found:?}"
    );
}

#[test]
fn an_explanation_is_the_decision_in_words() {
    let gate = Gate::of_file(SMALL);
    let ask = |service| Question {
        user: "otto",
        device: "d1",
        service,
        at: NOW,
        second_factor_at: None,
        offline: false,
    };
    let yes = answer(&gate.model, &gate.roster, &ask("hmi")).unwrap();
    assert_eq!(yes.judgement.denied, None);
    assert_eq!(yes.judgement.chains.len(), 1);
    assert!(yes.judgement.chains[0].used);
    let no = answer(&gate.model, &gate.roster, &ask("web")).unwrap();
    assert_eq!(no.judgement.denied, Some(Reason::NoGrant));
    assert_eq!(no.judgement.chains, []);
    let error = answer(&gate.model, &gate.roster, &ask("hmj")).unwrap_err();
    assert_eq!(error.to_string(), "there is no service `hmj`; did you mean `hmi`?");
}

#[test]
fn a_policy_that_no_device_accepts_is_not_published() {
    let mut model = fleet::read(SMALL, &[]).unwrap();
    let service = model.devices["d1"].services["hmi"].clone();
    let services = &mut model.devices.get_mut("d1").unwrap().services;
    for number in 0..2049 {
        services.insert(name(&format!("s{number}")), service.clone());
    }
    let error = compile_error(&model);
    assert_eq!(
        error,
        "device `d1` would have 2050 services, at most 2048 fit; give it fewer users, groups or services"
    );
}

fn compile_error(model: &Model) -> String {
    let gate = Gate::of(model.clone());
    let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
    compiler.compile(&name("d1")).unwrap_err().to_string()
}

#[test]
fn content_names_its_addressee() {
    let gate = Gate::of_file(SMALL);
    let content = gate.content("d1");
    let other = postern_cloud::compile::Addressee { epoch: 2, ..addressee() };
    assert_ne!(content.digest(&addressee()), content.digest(&other));
}
