//! What opens a service and what shuts it, source by source: assignments, memberships, entries, cases. Each allow stands
//! beside the deny that differs in one thing.

use postern_cloud::compile::Compiler;
use postern_cloud::visibility::visible_devices;
use postern_protocol::name::Name;
use postern_protocol::policy::{Origin, Reason, Snapshot};
use postern_protocol::time::UnixTime;
use postern_protocol::wire::codec;

use crate::gate::{Gate, NOW};

/// A vendor, two of its customers, a device for each; behind `line` two machines, of which the press is built after a
/// model.
const WORLD: &str = r#"
[account.vendor]
tenant = "service_provider"
[account.plant]
tenant = "operating_company"
parent = "vendor"
[account.mill]
tenant = "operating_company"
parent = "vendor"
[user.tom]
account = "vendor"
[user.otto]
account = "plant"
[user.olga]
account = "plant"
[user.mia]
account = "mill"
[machine-model.press-9]
account = "vendor"
[machine-model.press-9.service.hmi]
kind = "vnc"
port = 5900
[machine-model.press-9.service.web]
kind = "http"
port = 80
[device.line]
account = "plant"
[device.line.service.router]
kind = "http"
target = "10.0.0.1:80"
[machine.press]
device = "line"
model = "press-9"
address = "10.0.0.2"
[machine.saw]
device = "line"
[machine.saw.service.hmi]
kind = "vnc"
target = "10.0.0.3:5900"
[device.stone]
account = "mill"
[device.stone.service.hmi]
kind = "vnc"
target = "10.0.0.4:5900"
[device-group.presses]
account = "vendor"
type = "machine-type"
devices = ["line", "stone"]
[user-group.shift]
account = "plant"
members = ["otto", "olga"]
[facility.hall]
account = "plant"
machines = ["press"]
[category.screen]
kinds = ["vnc"]
[category.pages]
kinds = ["http"]
[role.operating]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["screen"]
[role.servicing]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screen"]
"#;

const BEFORE: &str = "2026-01-01T00:00:00Z";
const AFTER: &str = "2027-01-01T00:00:00Z";
const NOW_TEXT: &str = "2026-09-21T14:13:20Z";

fn gate(rules: &str) -> Gate {
    Gate::of_file(&format!("{WORLD}{rules}"))
}

/// Otto's membership in the shift ends.
fn shift(rules: &str, until: &str) -> Gate {
    let member = format!("members = [\"olga\"]\n[user-group.shift.member.otto]\nuntil = {until}");
    Gate::of_file(&format!("{}{rules}", WORLD.replace(r#"members = ["otto", "olga"]"#, &member)))
}

fn snapshot(gate: &Gate, device: &str) -> Snapshot {
    let bytes = gate.sealed(device);
    codec::decode(&bytes[6..bytes.len() - 97], 1 << 20).unwrap()
}

fn visible(gate: &Gate, user: &str) -> Vec<String> {
    let user: Name = user.parse().unwrap();
    visible_devices(&gate.model, &user, NOW).iter().map(ToString::to_string).collect()
}

fn assigned(subject: &str, role: &str, scope: &str, more: &str) -> String {
    format!("[assignment.a]\n{subject}\nrole = \"{role}\"\nscope = {scope}\n{more}\n")
}

#[test]
fn an_essential_role_opens_the_categories_of_its_assignment_and_nothing_without() {
    let rule =
        |categories| assigned("user = \"otto\"", "machine-operator", "{ device = \"line\" }", categories);
    let with = gate(&rule(r#"categories = ["screen"]"#));
    assert_eq!(with.reachable("otto"), ["line/press.hmi", "line/saw.hmi"]);
    assert_eq!(gate(&rule("")).reachable("otto"), [""; 0]);
}

#[test]
fn a_machine_has_the_services_of_its_model_where_it_stands() {
    let gate = gate(&assigned("user = \"otto\"", "operating", "{ machine = \"press\" }", ""));
    assert_eq!(gate.reachable("otto"), ["line/press.hmi"]);
    let targets: Vec<String> = snapshot(&gate, "line")
        .services
        .iter()
        .map(|one| std::net::SocketAddr::from(one.reach.target().unwrap()).to_string())
        .collect();
    assert_eq!(targets, ["10.0.0.2:5900"]);
}

#[test]
fn a_service_of_the_machine_itself_takes_the_place_of_its_models() {
    let own = "[machine.press.service.hmi]\nkind = \"http\"\ntarget = \"10.0.0.9:80\"\n";
    let rule = assigned("user = \"otto\"", "operating", "{ machine = \"press\" }", "");
    assert_eq!(gate(&format!("{rule}{own}")).reachable("otto"), [""; 0]);
}

#[test]
fn a_machine_in_a_facility_is_not_its_neighbour() {
    let gate = gate(&assigned("user = \"otto\"", "operating", "{ facility = \"hall\" }", ""));
    assert_eq!(gate.reachable("otto"), ["line/press.hmi"]);
}

#[test]
fn a_machine_that_moves_to_another_facility_opens_there_and_closes_here() {
    let rule = assigned("user = \"otto\"", "operating", "{ facility = \"hall\" }", "");
    let text = format!("{WORLD}{rule}").replace(r#"machines = ["press"]"#, r#"machines = ["saw"]"#);
    assert_eq!(Gate::of_file(&text).reachable("otto"), ["line/saw.hmi"]);
}

#[test]
fn a_membership_in_a_device_group_opens_its_devices_with_its_own_role() {
    let text = WORLD.replace(
        r#"devices = ["line", "stone"]"#,
        "devices = [\"line\"]\n[device-group.presses.member.tom]\nrole = \"servicing\"",
    );
    let gate = Gate::of_file(&text);
    assert_eq!(gate.reachable("tom"), ["line/press.hmi", "line/saw.hmi"]);
    assert_eq!(gate.reachable("otto"), [""; 0]);
    let origin = Origin::Membership { group: "presses".parse().unwrap(), role: "servicing".parse().unwrap() };
    assert_eq!(snapshot(&gate, "line").origins, [origin]);
    assert_eq!(visible(&gate, "tom"), ["line"]);
}

#[test]
fn a_membership_holds_to_its_end_and_not_longer() {
    let member =
        |until| format!("[device-group.presses.member.tom]\nrole = \"servicing\"\nuntil = {until}\n");
    assert_eq!(gate(&member(AFTER)).asks("tom", "line", "press.hmi"), Ok(()));
    let ended = gate(&member(NOW_TEXT));
    assert_eq!(ended.asks("tom", "line", "press.hmi"), Err(Reason::Expired));
    assert_eq!(visible(&ended, "tom"), [""; 0]);
}

#[test]
fn a_membership_of_an_essential_role_opens_the_categories_that_it_names() {
    let member = |categories| {
        format!("[device-group.presses.member.otto]\nrole = \"machine-operator\"\n{categories}\n")
    };
    // The group belongs to the vendor; members of its customers are within it, and reach their own devices alone.
    assert_eq!(
        gate(&member(r#"categories = ["pages"]"#)).reachable("otto"),
        ["line/press.web", "line/router"]
    );
    assert_eq!(gate(&member("")).reachable("otto"), [""; 0]);
}

#[test]
fn who_leaves_a_user_group_loses_what_it_gives_and_others_do_not() {
    let rule =
        assigned("group = \"shift\"", "operating", "{ device = \"line\" }", &format!("until = {AFTER}"));
    let gate = shift(&rule, BEFORE);
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::Expired));
    assert_eq!(gate.asks("olga", "line", "saw.hmi"), Ok(()));
}

#[test]
fn a_membership_that_outlasts_its_assignment_prolongs_nothing() {
    let rule =
        assigned("group = \"shift\"", "operating", "{ device = \"line\" }", &format!("until = {BEFORE}"));
    let gate = shift(&rule, AFTER);
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::Expired));
}

#[test]
fn a_membership_that_ends_before_its_assignment_begins_is_no_row() {
    let rule =
        assigned("group = \"shift\"", "operating", "{ device = \"line\" }", &format!("from = {NOW_TEXT}"));
    let gate = shift(&rule, NOW_TEXT);
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.asks("olga", "line", "saw.hmi"), Ok(()));
    assert_eq!(snapshot(&gate, "line").users.len(), 1);
}

#[test]
fn a_deprecated_role_opens_nothing_from_its_end_on() {
    let gate = gate(&assigned(
        "user = \"tom\"",
        "service-manager",
        "{ device = \"line\" }",
        "categories = [\"screen\"]\nuntil = 2030-01-01T00:00:00Z",
    ));
    let ask = |at| gate.asks_afresh("tom", "line", "saw.hmi", UnixTime::from_secs(at), None);
    assert_eq!(ask(1_830_297_599), Ok(()));
    assert_eq!(ask(1_830_297_600), Err(Reason::Expired));
}

/// The shift may use tunnels, and is granted nothing by it.
const USES: &str = "[role.uses]\ntenant = \"operating_company\"\npermissions = [\"remote-access.use\"]\n\
                    [assignment.uses]\ngroup = \"shift\"\nrole = \"uses\"\nscope = { device = \"line\" }\n";

#[test]
fn an_entry_allows_one_user_one_service_in_its_scope_alone() {
    let entry = r#"
[entry.e]
user = "otto"
effect = "allow"
service = "hmi"
scope = { machine = "saw" }
"#;
    let gate = gate(&format!("{USES}{entry}"));
    assert_eq!(gate.reachable("otto"), ["line/saw.hmi"]);
    assert_eq!(gate.reachable("olga"), [""; 0]);
    let snapshot = snapshot(&gate, "line");
    assert_eq!(snapshot.categories.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["entry.e"]);
    assert_eq!(snapshot.origins, [Origin::Entry { entry: "e".parse().unwrap() }]);
}

#[test]
fn an_entry_has_its_own_window_and_second_factor() {
    let entry = |more: &str| {
        format!(
            "{USES}[entry.e]\nuser = \"otto\"\neffect = \"allow\"\ncategory = \"screen\"\nscope = {{ device = \"line\" }}\n{more}\n"
        )
    };
    let ask = |more: &str, factor| gate(&entry(more)).asks_at("otto", "line", "saw.hmi", NOW, factor);
    assert_eq!(ask("", None), Ok(()));
    assert_eq!(ask("second-factor = \"1h\"", None), Err(Reason::SecondFactorRequired));
    assert_eq!(ask("second-factor = \"1h\"", Some(NOW)), Ok(()));
    assert_eq!(ask(&format!("until = {NOW_TEXT}"), None), Err(Reason::Expired));
    assert_eq!(ask(&format!("from = {AFTER}"), None), Err(Reason::NotYet));
}

const OPERATOR: &str =
    "[assignment.a]\ngroup = \"shift\"\nrole = \"operating\"\nscope = { device = \"line\" }\n";

fn denial(what: &str) -> String {
    format!("{OPERATOR}[entry.no]\nuser = \"otto\"\neffect = \"deny\"\n{what}\n")
}

#[test]
fn a_denial_beats_every_allow_of_its_user_and_of_nobody_else() {
    let gate = gate(&denial("category = \"screen\""));
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.asks("olga", "line", "saw.hmi"), Ok(()));
    assert_eq!(visible(&gate, "otto"), [""; 0]);
    assert_eq!(visible(&gate, "olga"), ["line"]);
}

#[test]
fn a_denial_beats_an_entry_and_a_membership_too() {
    let more = "[entry.yes]\nuser = \"otto\"\neffect = \"allow\"\nservice = \"hmi\"\nscope = { device = \"line\" }\n\
                [device-group.presses.member.otto]\nrole = \"machine-operator\"\ncategories = [\"screen\"]\n";
    let gate = gate(&format!("{}{more}", denial("service = \"hmi\"")));
    assert_eq!(gate.reachable("otto"), [""; 0]);
    assert_eq!(snapshot(&gate, "line").prohibitions.len(), 1);
}

#[test]
fn a_denial_holds_in_its_scope_and_what_it_selects() {
    let machine = gate(&denial("category = \"screen\"\nscope = { machine = \"saw\" }"));
    assert_eq!(machine.reachable("otto"), ["line/press.hmi"]);
    assert_eq!(visible(&machine, "otto"), ["line"]);
    let pages = gate(&denial("category = \"pages\""));
    assert_eq!(pages.reachable("otto"), ["line/press.hmi", "line/saw.hmi"]);
    // It denies nothing that is granted: the device need not know.
    assert_eq!(snapshot(&pages, "line").prohibitions, []);
}

#[test]
fn a_denial_holds_in_its_window() {
    let gate = gate(&denial(&format!("category = \"screen\"\nfrom = {NOW_TEXT}\nuntil = {AFTER}")));
    let ask = |at| gate.asks_afresh("otto", "line", "saw.hmi", UnixTime::from_secs(at), None);
    assert_eq!(ask(NOW.as_secs() - 1), Ok(()));
    assert_eq!(ask(NOW.as_secs()), Err(Reason::NoGrant));
    assert_eq!(ask(1_798_761_599), Err(Reason::NoGrant));
    assert_eq!(ask(1_798_761_600), Ok(()));
    // It will be lifted: the user may know of the device meanwhile.
    assert_eq!(visible(&gate, "otto"), ["line"]);
}

#[test]
fn two_denials_that_leave_no_second_hide_the_device_and_a_gap_shows_it() {
    let second = |from: &str| {
        format!("[entry.no2]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"screen\"\nfrom = {from}\n")
    };
    let first = denial(&format!("category = \"screen\"\nuntil = {AFTER}"));
    assert_eq!(visible(&gate(&format!("{first}{}", second(AFTER))), "otto"), [""; 0]);
    assert_eq!(visible(&gate(&format!("{first}{}", second("2027-01-01T00:00:01Z"))), "otto"), ["line"]);
}

#[test]
fn a_denial_of_somebody_without_access_reaches_no_device() {
    let entry = "[entry.no]\nuser = \"olga\"\neffect = \"deny\"\ncategory = \"screen\"\n";
    let rule = assigned("user = \"otto\"", "operating", "{ device = \"line\" }", "");
    let gate = gate(&format!("{rule}{entry}"));
    let snapshot = snapshot(&gate, "line");
    assert_eq!((snapshot.users.len(), snapshot.prohibitions.len()), (1, 0));
}

#[test]
fn a_denial_names_only_services_that_somebody_may_use() {
    // Everything of the device is denied; the saw's screen is all that anybody may use.
    let rule = assigned("user = \"otto\"", "operating", "{ machine = \"saw\" }", "");
    let all = "[category.all]\nkinds = [\"vnc\", \"http\"]\n[entry.no]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"all\"\n";
    let gate = gate(&format!("{rule}{all}"));
    let snapshot = snapshot(&gate, "line");
    assert_eq!(snapshot.services.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["saw.hmi"]);
    let categories: Vec<(&str, &[u32])> =
        snapshot.categories.iter().map(|one| (one.name.as_str(), one.services.as_slice())).collect();
    assert_eq!(categories, [("all", [0].as_slice()), ("screen.saw", &[0])]);
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::NoGrant));
}

#[test]
fn a_service_entry_gets_a_name_of_its_own_where_a_category_has_taken_it() {
    let text = "[category.\"entry.e\"]\nkinds = [\"vnc\"]\n[entry.e]\nuser = \"otto\"\neffect = \"allow\"\nservice = \"router\"\n\
                scope = { device = \"line\" }\n[entry.f]\nuser = \"olga\"\neffect = \"allow\"\ncategory = \"entry.e\"\n\
                scope = { device = \"line\" }\n";
    let gate = gate(&format!("{USES}{text}"));
    assert_eq!(gate.reachable("otto"), ["line/router"]);
    assert_eq!(gate.reachable("olga"), ["line/press.hmi", "line/saw.hmi"]);
}

#[test]
fn a_closed_device_opens_nothing_and_knows_nobody() {
    let text = format!("{WORLD}{OPERATOR}").replace("[device.line]\n", "[device.line]\nclosed = true\n");
    let gate = Gate::of_file(&text);
    assert_eq!(gate.asks("otto", "line", "saw.hmi"), Err(Reason::NoGrant));
    let snapshot = snapshot(&gate, "line");
    assert!(snapshot.assigned);
    assert_eq!((snapshot.users.len(), snapshot.services.len(), snapshot.grants.len()), (0, 0, 0));
    assert_eq!(visible(&gate, "otto"), [""; 0]);
}

fn technician(case: &str) -> Gate {
    let rule = assigned(
        "user = \"tom\"",
        "service-technician",
        "{ device = \"line\" }",
        r#"categories = ["screen"]"#,
    );
    gate(&format!("{rule}{case}"))
}

#[test]
fn a_technician_needs_an_active_shared_case_on_that_machine() {
    let case = |text: &str| technician(text).asks("tom", "line", "press.hmi");
    let opened = |visibility, machine| {
        format!(
            "[case.c1]\nmachine = \"{machine}\"\nvisibility = \"{visibility}\"\nfrom = {BEFORE}\nuntil = {AFTER}\n"
        )
    };
    assert_eq!(case(""), Err(Reason::CaseInactive));
    assert_eq!(case(&opened("shared", "press")), Ok(()));
    assert_eq!(case(&opened("internal", "press")), Err(Reason::CaseInactive));
    assert_eq!(case(&opened("shared", "saw")), Err(Reason::CaseInactive));
    assert_eq!(case("[case.c1]\nmachine = \"press\"\nvisibility = \"shared\"\n"), Err(Reason::CaseInactive));
    let of_device = format!("[case.c1]\ndevice = \"line\"\nvisibility = \"shared\"\nuntil = {AFTER}\n");
    assert_eq!(case(&of_device), Ok(()));
    let over = format!("[case.c1]\nmachine = \"press\"\nvisibility = \"shared\"\nuntil = {NOW_TEXT}\n");
    assert_eq!(case(&over), Err(Reason::CaseInactive));
    let elsewhere = format!("[case.c1]\ndevice = \"stone\"\nvisibility = \"shared\"\nuntil = {AFTER}\n");
    assert_eq!(case(&elsewhere), Err(Reason::CaseInactive));
}

#[test]
fn an_assignment_may_demand_a_case_and_no_other_assignment_does_then() {
    let rules = assigned("user = \"tom\"", "servicing", "{ machine = \"press\" }", "needs-case = true")
        + "[assignment.b]\nuser = \"tom\"\nrole = \"servicing\"\nscope = { machine = \"saw\" }\n";
    let gate = gate(&rules);
    assert_eq!(gate.asks("tom", "line", "press.hmi"), Err(Reason::CaseInactive));
    assert_eq!(gate.asks("tom", "line", "saw.hmi"), Ok(()));
    // What waits for a case is known to whoever waits.
    assert_eq!(visible(&gate, "tom"), ["line"]);
}

#[test]
fn a_case_that_nobody_waits_for_and_an_internal_one_reach_no_device() {
    let shared = format!("[case.burst-pipe]\nmachine = \"saw\"\nvisibility = \"shared\"\nuntil = {AFTER}\n");
    let internal =
        format!("[case.secret]\nmachine = \"press\"\nvisibility = \"internal\"\nuntil = {AFTER}\n");
    let rule = assigned("user = \"tom\"", "servicing", "{ machine = \"press\" }", "needs-case = true");
    let gate = gate(&format!("{rule}{OTHER}{shared}{internal}"));
    let snapshot = snapshot(&gate, "line");
    assert_eq!(snapshot.services.len(), 2);
    assert_eq!(snapshot.cases, []);
}

const OTHER: &str = "[assignment.b]\nuser = \"otto\"\nrole = \"operating\"\nscope = { device = \"line\" }\n";

#[test]
fn a_case_names_the_services_that_somebody_waits_for_and_no_others() {
    let rule = assigned("user = \"tom\"", "servicing", "{ machine = \"press\" }", "needs-case = true");
    let case = format!(
        "[case.c1]\ndevice = \"line\"\nvisibility = \"shared\"\nfrom = {BEFORE}\nlabel = \"Burst pipe\"\n"
    );
    let gate = gate(&format!("{rule}{OTHER}{case}"));
    let snapshot = snapshot(&gate, "line");
    let [case] = snapshot.cases.as_slice() else { panic!("{:?}", snapshot.cases) };
    assert_eq!((case.name.as_str(), case.services.as_slice(), case.not_after), ("c1", [0].as_slice(), None));
    assert_eq!(snapshot.services[0].name.as_str(), "press.hmi");
}

#[test]
fn users_of_a_nested_account_reach_neither_parent_nor_sibling_by_any_source() {
    let rules = "[device.top]\naccount = \"vendor\"\n[device.top.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.5:5900\"\n\
        [user-group.mixed]\naccount = \"vendor\"\nmembers = [\"tom\", \"otto\"]\n\
        [device-group.all]\naccount = \"vendor\"\ntype = \"project\"\ndevices = [\"line\", \"stone\", \"top\"]\n\
        [device-group.all.member.otto]\nrole = \"machine-operator\"\ncategories = [\"screen\"]\n\
        [entry.e]\nuser = \"otto\"\neffect = \"allow\"\ncategory = \"screen\"\nscope = { account = \"plant\" }\n";
    let gate = gate(rules);
    assert_eq!(gate.reachable("otto"), ["line/press.hmi", "line/saw.hmi"]);
    assert_eq!(visible(&gate, "otto"), ["line"]);
    for device in ["stone", "top"] {
        assert_eq!(gate.asks("otto", device, "hmi"), Err(Reason::NoGrant));
        assert_eq!(snapshot(&gate, device).users, []);
    }
}

#[test]
fn users_of_a_parent_reach_down_where_their_scope_says_so() {
    let rule = |scope: &str| gate(&assigned("user = \"tom\"", "servicing", scope, ""));
    assert_eq!(rule("{ account = \"vendor\" }").reachable("tom"), [""; 0]);
    let down = rule("{ account = \"vendor\", nested = true }");
    assert_eq!(down.reachable("tom"), ["line/press.hmi", "line/saw.hmi", "stone/hmi"]);
    assert_eq!(visible(&down, "tom"), ["line", "stone"]);
}

#[test]
fn several_sources_unite_and_all_of_intersects() {
    let mill = "[assignment.b]\nuser = \"tom\"\nrole = \"servicing\"\nscope = { account = \"mill\" }\n";
    let press = assigned("user = \"tom\"", "servicing", "{ machine = \"press\" }", "");
    assert_eq!(gate(&format!("{press}{mill}")).reachable("tom"), ["line/press.hmi", "stone/hmi"]);
    let both = assigned(
        "user = \"tom\"",
        "servicing",
        "{ all-of = [{ device-group = \"presses\" }, { account = \"mill\" }] }",
        "",
    );
    assert_eq!(gate(&both).reachable("tom"), ["stone/hmi"]);
    let neither = assigned(
        "user = \"tom\"",
        "servicing",
        "{ all-of = [{ machine = \"press\" }, { account = \"mill\" }] }",
        "",
    );
    assert_eq!(gate(&neither).reachable("tom"), [""; 0]);
}

#[test]
fn what_one_user_reaches_is_the_same_seen_from_the_user_and_from_each_device() {
    let rules = format!(
        "{}{OTHER}[device-group.presses.member.tom]\nrole = \"servicing\"\n[entry.e]\nuser = \"otto\"\neffect = \"allow\"\n\
         service = \"web\"\nscope = {{ account = \"plant\" }}\n",
        denial("service = \"hmi\"\nscope = { machine = \"saw\" }")
    );
    let gate = gate(&rules);
    let compiler = Compiler::new(&gate.model, &gate.roster);
    for user in gate.model.users.keys() {
        let reachable = compiler.reachable(user);
        for device in gate.model.devices.keys() {
            let (mut rows, mut bans) = compiler.rows_and_bans(device);
            rows.retain(|row| row.user == *user);
            bans.retain(|ban| ban.user == *user);
            assert_eq!(
                compiler.rows_and_bans_of(user, device),
                (rows.clone(), bans.clone()),
                "{user} {device}"
            );
            let found = reachable.get(device).cloned().unwrap_or_default();
            assert_eq!(found, (rows, bans), "{user} {device}");
        }
        assert_eq!(compiler.devices_of(user), reachable.keys().copied().collect::<Vec<_>>());
    }
}

#[test]
fn nothing_of_the_rest_of_the_world_is_in_the_bytes_of_a_snapshot() {
    let rules = format!(
        "{}{}",
        denial("service = \"hmi\"\nscope = { machine = \"press\" }"),
        r#"
[account.rival]
tenant = "operating_company"
parent = "vendor"
label = "Rival GmbH"
[user."eve-example"]
account = "rival"
label = "eve@rival.example"
[user-group.rivals]
account = "rival"
members = ["eve-example"]
[device.vault]
account = "rival"
label = "Vault"
[device.vault.service.door]
kind = "vnc"
target = "10.66.66.66:5900"
[category.rival-screen]
kinds = ["vnc"]
[role.rival-operating]
tenant = "operating_company"
permissions = ["remote-access.use"]
categories = ["rival-screen"]
[assignment.rival-rule]
group = "rivals"
role = "rival-operating"
scope = { account = "rival" }
[entry.rival-entry]
user = "eve-example"
effect = "deny"
category = "rival-screen"
[case.rival-case]
device = "vault"
visibility = "shared"
until = 2027-01-01T00:00:00Z
[case.inner-case]
device = "line"
visibility = "internal"
until = 2027-01-01T00:00:00Z
label = "do not tell"
"#
    );
    let gate = gate(&rules);
    let bytes = gate.sealed("line");
    let contains = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    for needed in ["press.hmi", "saw.hmi", "screen", "operating", "shift", "entry.no", "no"] {
        assert!(contains(needed.as_bytes()), "{needed}");
    }
    let foreign = [
        "rival",
        "Rival",
        "eve",
        "example",
        "vault",
        "Vault",
        "door",
        "otto",
        "olga",
        "tom",
        "mia",
        "plant",
        "mill",
        "vendor",
        "stone",
        "router",
        "web",
        "pages",
        "servicing",
        "presses",
        "press-9",
        "hall",
        "inner",
        "tell",
        "remote-access",
        "line",
    ];
    for foreign in foreign {
        assert!(!contains(foreign.as_bytes()), "{foreign}");
    }
    for (user, enrolled) in &gate.roster.users {
        let here = ["otto", "olga"].contains(&user.as_str());
        assert_eq!(contains(enrolled.id.as_bytes()), here, "{user}");
        let mut keys = enrolled.keys.iter();
        assert!(keys.all(|key| contains(key.as_bytes()) == here), "{user}");
    }
}

/// Whether somebody may use the hmi of the press while its device is cut off.
fn cut_off(gate: &Gate, user: &str) -> Result<(), Reason> {
    gate.asks_cut_off(user, "line", "press.hmi", NOW, None)
}

#[test]
fn without_the_cloud_a_custom_role_holds_if_it_says_so_and_its_assignment_does_not_refuse() {
    let given = |more: &str| assigned("user = \"otto\"", "operating", "{ device = \"line\" }", more);
    let marked = |more: &str| {
        let world = WORLD.replace("[role.operating]\n", "[role.operating]\noffline = true\n");
        Gate::of_file(&format!("{world}{}", given(more)))
    };
    assert_eq!(cut_off(&gate(&given("")), "otto"), Err(Reason::PolicyStale));
    assert_eq!(cut_off(&marked(""), "otto"), Ok(()));
    assert_eq!(cut_off(&marked("offline = false"), "otto"), Err(Reason::PolicyStale));
    assert_eq!(marked("offline = false").asks("otto", "line", "press.hmi"), Ok(()));
}

#[test]
fn without_the_cloud_an_essential_role_holds_where_its_assignment_or_membership_says_so() {
    let given = |more: &str| {
        let more = format!("categories = [\"screen\"]\n{more}");
        gate(&assigned("group = \"shift\"", "machine-operator", "{ facility = \"hall\" }", &more))
    };
    assert_eq!(cut_off(&given(""), "olga"), Err(Reason::PolicyStale));
    assert_eq!(cut_off(&given("offline = true"), "olga"), Ok(()));
    let member = |more: &str| {
        gate(&format!(
            "[device-group.own]\naccount = \"plant\"\ntype = \"project\"\ndevices = [\"line\"]\n\
             [device-group.own.member.otto]\nrole = \"machine-operator\"\ncategories = [\"screen\"]\n{more}\n"
        ))
    };
    assert_eq!(cut_off(&member(""), "otto"), Err(Reason::PolicyStale));
    assert_eq!(cut_off(&member("offline = true"), "otto"), Ok(()));
}

#[test]
fn a_mark_is_never_borrowed_from_another_source_and_a_deny_needs_none() {
    let role = "[role.pages-here]\ntenant = \"operating_company\"\npermissions = [\"remote-access.use\"]\ncategories = [\"pages\"]\noffline = true\n\
                [assignment.b]\nuser = \"otto\"\nrole = \"pages-here\"\nscope = { device = \"line\" }\n";
    let screen = assigned("user = \"otto\"", "operating", "{ device = \"line\" }", "");
    let both = gate(&format!("{screen}{role}"));
    assert_eq!(cut_off(&both, "otto"), Err(Reason::PolicyStale));
    assert_eq!(both.asks_cut_off("otto", "line", "press.web", NOW, None), Ok(()));
    let loan = |more: &str| {
        format!(
            "{screen}[entry.loan]\nuser = \"otto\"\neffect = \"allow\"\nservice = \"hmi\"\nscope = {{ machine = \"press\" }}\n{more}\n"
        )
    };
    assert_eq!(cut_off(&gate(&loan("")), "otto"), Err(Reason::PolicyStale));
    assert_eq!(cut_off(&gate(&loan("offline = true")), "otto"), Ok(()));
    assert_eq!(
        gate(&loan("offline = true")).asks_cut_off("otto", "line", "saw.hmi", NOW, None),
        Err(Reason::PolicyStale)
    );
    let deny = "[entry.no]\nuser = \"otto\"\neffect = \"deny\"\nservice = \"hmi\"\n";
    assert_eq!(cut_off(&gate(&format!("{}{deny}", loan("offline = true"))), "otto"), Err(Reason::NoGrant));
}

#[test]
fn a_device_without_a_budget_opens_nothing_while_it_is_cut_off() {
    let given = assigned(
        "user = \"otto\"",
        "machine-operator",
        "{ device = \"line\" }",
        "categories = [\"screen\"]\noffline = true",
    );
    assert_eq!(cut_off(&gate(&given), "otto"), Ok(()));
    let world = WORLD.replace("[device.line]\n", "[device.line]\noffline = \"0s\"\n");
    let without = Gate::of_file(&format!("{world}{given}"));
    assert_eq!(cut_off(&without, "otto"), Err(Reason::PolicyStale));
    assert_eq!(without.asks("otto", "line", "press.hmi"), Ok(()));
    assert_eq!(snapshot(&without, "line").freshness.window_s, 900);
}
