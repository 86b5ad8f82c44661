//! Models that cannot be: each rule with what is said, where, and what the sound twin looks like.

use postern_cloud::fleet::{self, Complaint, Place};
use postern_cloud::model::{EntityKind, Essential, FAULTS, Model, Problem, SERVICE_MANAGER_ENDS, Scope};
use postern_protocol::time::UnixTime;

/// A builder, the plant of its customer, and one person in each.
const BASE: &str = r#"[account.acme]
tenant = "service_provider"
[account.plant]
tenant = "operating_company"
parent = "acme"
[account.bolt]
tenant = "operating_company"
[user.tina]
account = "acme"
[user.otto]
account = "plant"
[device.d]
account = "plant"
[device.x]
account = "bolt"
[machine.m]
device = "d"
[category.screen]
kinds = ["vnc"]
[role.engineer]
tenant = "service_provider"
permissions = ["remote-access.use"]
categories = ["screen"]
"#;

fn said(complaints: &[Complaint], before: usize) -> Vec<String> {
    let line = |complaint: &Complaint| match complaint.place {
        Place::At { line, column } => format!("{}:{column}: {complaint}", line - before),
        other => panic!("{other:?}: {complaint}"),
    };
    complaints.iter().map(line).collect()
}

/// What is said about a fleet that begins soundly, with lines counted after that.
fn faults(text: &str) -> Vec<String> {
    let complaints = fleet::read(&format!("{BASE}{text}"), &[]).unwrap_err();
    said(&complaints, BASE.lines().count())
}

fn sound(text: &str) -> Model {
    match fleet::read(&format!("{BASE}{text}"), &[]) {
        Ok(model) => model,
        Err(complaints) => panic!("{:?}", said(&complaints, BASE.lines().count())),
    }
}

#[test]
fn unknown_names_are_refused_with_their_nearest_neighbour_wherever_they_stand() {
    let cases: [(&str, &str); 10] = [
        (
            "[entry.e]\nuser = \"ottp\"\neffect = \"deny\"\nservice = \"hmi\"\n",
            "2:8: `entry.e.user`: there is no user `ottp`; did you mean `otto`?",
        ),
        (
            "[entry.e]\nuser = \"otto\"\neffect = \"deny\"\ncategory = \"scren\"\n",
            "4:12: `entry.e.category`: there is no category `scren`; did you mean `screen`?",
        ),
        (
            "[case.c]\nmachine = \"n\"\nvisibility = \"shared\"\n",
            "2:11: `case.c.machine`: there is no machine `n`; did you mean `m`?",
        ),
        (
            "[case.c]\ndevice = \"e\"\nvisibility = \"shared\"\n",
            "2:10: `case.c.device`: there is no device `e`; did you mean `d`?",
        ),
        (
            "[machine.n]\ndevice = \"d\"\nmodel = \"filler\"\n[machine-model.fillr]\naccount = \"acme\"\n",
            "3:9: `machine.n.model`: there is no machine-model `filler`; did you mean `fillr`?",
        ),
        (
            "[user-group.g]\naccount = \"plant\"\n[user-group.g.member.ott]\nuntil = 2030-01-01T00:00:00Z\n",
            "3:22: `user-group.g.member.ott`: there is no user `ott`; did you mean `otto`?",
        ),
        (
            "[device-group.g]\naccount = \"plant\"\ntype = \"region\"\n[device-group.g.member.ott]\nrole = \"machine-operator\"\n",
            "4:24: `device-group.g.member.ott`: there is no user `ott`; did you mean `otto`?",
        ),
        (
            "[device-group.g]\naccount = \"plant\"\ntype = \"region\"\n[device-group.g.member.otto]\nrole = \"machine-operater\"\n",
            "5:8: `device-group.g.member.otto.role`: there is no role `machine-operater`; did you mean `machine-operator`?",
        ),
        (
            "[assignment.a]\nuser = \"otto\"\nrole = \"machine-operator\"\ncategories = [\"screem\"]\nscope = { account = \"plant\" }\n",
            "4:15: `assignment.a.categories[screem]`: there is no category `screem`; did you mean `screen`?",
        ),
        (
            "[assignment.a]\nuser = \"tina\"\nrole = \"engineer\"\nscope = { all-of = [{ account = \"plant\" }, { machine = \"mm\" }] }\n",
            "4:56: `assignment.a.scope.all-of[1].machine`: there is no machine `mm`; did you mean `m`?",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(faults(text), [expected]);
    }
}

#[test]
fn accounts_nest_to_a_limit_and_a_longer_circle_is_refused_as_well() {
    let nested = |count: usize, outermost: Option<usize>| {
        let parent = |n: usize| match n {
            0 => outermost.map(|n| format!("parent = \"a{n}\"\n")).unwrap_or_default(),
            n => format!("parent = \"a{}\"\n", n - 1),
        };
        let account = |n| format!("[account.a{n}]\ntenant = \"operating_company\"\n{}", parent(n));
        (0..count).map(account).collect::<String>()
    };
    assert_eq!(fleet::read(&nested(17, None), &[]).unwrap().accounts.len(), 17);
    let found = fleet::read(&nested(18, None), &[]).unwrap_err();
    let said = said(&found, 0);
    assert_eq!(
        said,
        ["53:10: `account.a17.parent`: the account is nested more than 16 deep; take a `parent` away"]
    );
    let circle = fleet::read(&nested(40, Some(39)), &[]).unwrap_err();
    assert_eq!(circle.len(), 40);
    let short = fleet::read(&nested(3, Some(2)), &[]).unwrap_err();
    assert_eq!(
        short[0].to_string(),
        "`account.a0.parent`: the account is nested in itself, by way of `a2`, `a1`; take one `parent` away"
    );
}

#[test]
fn a_machine_model_is_for_machines_of_its_account_that_have_an_address() {
    let model = "[machine-model.filler]\naccount = \"plant\"\n[machine-model.filler.service.hmi]\nkind = \"vnc\"\nport = 5900\n";
    let foreign = format!("{model}[machine.f]\ndevice = \"x\"\nmodel = \"filler\"\naddress = \"10.0.0.2\"\n");
    assert_eq!(
        faults(&foreign),
        [
            "8:9: `machine.f.model`: machine model `filler` is for machines of account `plant` or nested in it, but device `x` belongs to account `bolt`"
        ]
    );
    let nowhere = format!("{model}[machine.f]\ndevice = \"d\"\nmodel = \"filler\"\n");
    assert_eq!(
        faults(&nowhere),
        [
            "8:9: `machine.f.model`: `address` is missing: machine model `filler` has services, expected the address of this machine"
        ]
    );
    sound(&format!("{nowhere}address = \"10.0.0.2\"\n"));
    sound("[machine-model.bare]\naccount = \"plant\"\n[machine.f]\ndevice = \"d\"\nmodel = \"bare\"\n");
    let own = "[machine.f.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.2:5900\"\n";
    sound(&format!("{nowhere}{own}"));
}

#[test]
fn services_of_a_model_count_for_names_and_pages_as_own_ones_do() {
    let pages = "[machine-model.f]\naccount = \"acme\"\n[machine-model.f.service.hmi]\nkind = \"vnc\"\nport = 1\n\
                 [machine-model.f.service.hmi.page.home]\npath = \"/\"\n";
    assert_eq!(
        faults(pages),
        ["6:30: `machine-model.f.service.hmi.page`: a vnc service has no pages; only http services have"]
    );
    sound(&pages.replace("vnc", "http"));
    let taken = "[device.d.service.\"f.hmi\"]\nkind = \"vnc\"\ntarget = \"10.0.0.1:1\"\n\
                 [machine-model.m]\naccount = \"acme\"\n[machine-model.m.service.hmi]\nkind = \"vnc\"\nport = 1\n\
                 [machine.f]\ndevice = \"d\"\nmodel = \"m\"\naddress = \"10.0.0.2\"\n";
    assert_eq!(
        faults(taken),
        ["9:10: `machine.f.service.hmi`: device `d` has another service `f.hmi` already"]
    );
    sound(&taken.replace("\"f.hmi\"", "\"f.web\""));
    let long = "l".repeat(60);
    let text = format!(
        "[machine-model.f]\naccount = \"acme\"\n[machine-model.f.service.{long}]\nkind = \"vnc\"\nport = 1\n\
         [machine.longer]\ndevice = \"d\"\nmodel = \"f\"\naddress = \"10.0.0.2\"\n"
    );
    assert_eq!(
        faults(&text),
        [format!(
            "6:10: `machine.longer.service.{}...`: the service would be called `longer.{long}`, which is longer than 64 bytes; shorten one of the names",
            "l".repeat(57)
        )]
    );
    sound(&text.replace("longer", "lon"));
}

#[test]
fn members_of_a_device_group_lie_within_its_account_and_fit_their_role() {
    let member = |user: &str, role: &str| {
        format!(
            "[device-group.g]\naccount = \"plant\"\ntype = \"region\"\n[device-group.g.member.{user}]\nrole = \"{role}\"\n"
        )
    };
    assert_eq!(
        faults(&member("tina", "service-technician")),
        [
            "4:24: `device-group.g.member.tina`: user `tina` belongs to account `acme`, expected one of account `plant` or of one nested in it"
        ]
    );
    assert_eq!(
        faults(&member("otto", "service-technician")),
        [
            "5:8: `device-group.g.member.otto.role`: role `service-technician` is for service_provider accounts, but user `otto` belongs to `plant`, which is operating_company"
        ]
    );
    sound(&member("otto", "machine-operator"));
}

#[test]
fn every_member_of_a_user_group_fits_the_role_of_the_group() {
    let text = "[user-group.g]\naccount = \"acme\"\nmembers = [\"tina\", \"otto\"]\n[assignment.a]\ngroup = \"g\"\n\
                role = \"first-level-support\"\nscope = { account = \"acme\" }\n";
    assert_eq!(
        faults(text),
        [
            "6:8: `assignment.a.role`: role `first-level-support` is for service_provider accounts, but user `otto` belongs to `plant`, which is operating_company"
        ]
    );
    sound(&text.replace(", \"otto\"", ""));
    sound(&text.replace("first-level-support", "data-analyst"));
}

#[test]
fn basic_roles_fit_every_account_and_app_developers_have_no_others() {
    let text = "[account.apps]\ntenant = \"app_developer\"\n[user.ada]\naccount = \"apps\"\n[assignment.a]\n\
                user = \"ada\"\nrole = \"tenant-admin\"\nscope = { account = \"apps\" }\n";
    sound(text);
    sound(&text.replace("tenant-admin", "data-analyst"));
    for role in Essential::ALL.iter().filter(|role| !role.is_basic()) {
        let found = faults(&text.replace("tenant-admin", role.word()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("7:8: `assignment.a.role`: role"), "{found:?}");
        assert!(found[0].ends_with("user `ada` belongs to `apps`, which is app_developer"), "{found:?}");
    }
    assert_eq!(
        faults("[role.r]\ntenant = \"app_developer\"\n"),
        ["2:10: `role.r.tenant`: app_developer accounts have no custom roles"]
    );
}

#[test]
fn a_custom_role_keeps_away_from_built_in_names_and_opens_nothing_without_its_permission() {
    assert_eq!(
        faults("[role.machine-operator]\ntenant = \"operating_company\"\n"),
        ["1:7: `role.machine-operator`: role `machine-operator` is built in; choose another name"]
    );
    sound("[role.machine-operators]\ntenant = \"operating_company\"\n");
    let text = "[role.r]\ntenant = \"operating_company\"\npermissions = [\"documents.read\"]\ncategories = [\"screen\"]\n";
    assert_eq!(
        faults(text),
        [
            "4:14: `role.r.categories`: the role has access categories but not the permission `remote-access.use`; add the permission, or take the categories away"
        ]
    );
    sound(&text.replace("documents.read", "remote-access.use"));
    assert_eq!(faults("[role.r]\n"), ["1:1: `role.r`: `tenant` is missing, expected a word as text"]);
    let foreign = "[role.r]\ntenant = \"operating_company\"\npermissions = [\"file-transfer.manage\"]\n";
    assert_eq!(
        faults(foreign),
        [
            "3:16: `role.r.permissions[file-transfer.manage]`: permission `file-transfer.manage` cannot be held in operating_company accounts, only in service_provider ones; take it away"
        ]
    );
    sound(&foreign.replace("operating_company", "service_provider"));
    let unknown = faults("[role.r]\ntenant = \"operating_company\"\npermissions = [\"documents.reed\"]\n");
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].starts_with("3:16: `role.r.permissions`: found `documents.reed`, expected one of"));
    assert!(unknown[0].ends_with("; did you mean `documents.read`?"), "{unknown:?}");
}

#[test]
fn categories_stand_beside_built_in_roles_that_may_use_tunnels_and_nowhere_else() {
    let assigned = |user: &str, role: &str| {
        format!(
            "[assignment.a]\nuser = \"{user}\"\nrole = \"{role}\"\ncategories = [\"screen\"]\nscope = {{ account = \"plant\" }}\n"
        )
    };
    assert_eq!(
        faults(&assigned("tina", "engineer")),
        [
            "4:14: `assignment.a.categories`: role `engineer` has its own categories; change them there, or take `categories` away here"
        ]
    );
    assert_eq!(
        faults(&assigned("tina", "first-level-support")),
        [
            "4:14: `assignment.a.categories`: role `first-level-support` may not use tunnels; take `categories` away, or choose a role with the permission `remote-access.use`"
        ]
    );
    sound(&assigned("tina", "service-technician"));
    sound(&assigned("otto", "maintenance-engineer"));
    let member = |role: &str| {
        format!(
            "[device-group.g]\naccount = \"plant\"\ntype = \"region\"\n[device-group.g.member.otto]\nrole = \"{role}\"\ncategories = [\"screen\"]\n"
        )
    };
    assert_eq!(
        faults(&member("operator-internal-cases")),
        [
            "6:14: `device-group.g.member.otto.categories`: role `operator-internal-cases` may not use tunnels; take `categories` away, or choose a role with the permission `remote-access.use`"
        ]
    );
    sound(&member("machine-operator"));
}

#[test]
fn an_end_comes_after_its_beginning() {
    for (table, line) in [
        ("[entry.e]\nuser = \"otto\"\neffect = \"deny\"\nservice = \"hmi\"\n", "6:9: `entry.e.until`"),
        ("[case.c]\nmachine = \"m\"\nvisibility = \"shared\"\n", "5:9: `case.c.until`"),
        (
            "[assignment.a]\nuser = \"tina\"\nrole = \"engineer\"\nscope = { device = \"d\" }\n",
            "6:9: `assignment.a.until`",
        ),
    ] {
        let text = format!("{table}from = 2027-01-01T00:00:00Z\nuntil = 2027-01-01T00:00:00Z\n");
        let seen = "found 2027-01-01T00:00:00Z, expected an end after the beginning, 2027-01-01T00:00:00Z";
        assert_eq!(faults(&text), [format!("{line}: {seen}")]);
        sound(&text.replace("until = 2027-01-01T00:00:00Z", "until = 2027-01-01T00:00:01Z"));
    }
}

#[test]
fn an_allow_says_where_and_a_deny_asks_for_no_second_factor() {
    let entry = |effect: &str, rest: &str| {
        let entry =
            format!("[entry.e]\nuser = \"otto\"\neffect = \"{effect}\"\ncategory = \"screen\"\n{rest}");
        format!("{entry}{OPERATOR}")
    };
    assert_eq!(
        faults(&entry("allow", "")),
        ["1:8: `entry.e`: `scope` is missing; only a deny holds everywhere without one"]
    );
    sound(&entry("deny", ""));
    assert_eq!(
        faults(&entry("deny", "second-factor = \"8h\"\n")),
        [
            "1:8: `entry.e.second-factor`: a deny holds whether or not there is a second factor; take `second-factor` away"
        ]
    );
    assert_eq!(
        faults(&entry("deny", "needs-approval = true\n")),
        [
            "5:18: `entry.e.needs-approval`: a deny holds whether or not something is approved; take `needs-approval` away"
        ]
    );
    sound(&entry("allow", "needs-approval = true\nscope = { device = \"d\" }\n"));
    sound(&entry("allow", "second-factor = \"8h\"\nscope = { device = \"d\" }\n"));
    assert_eq!(
        faults(&entry("allow", "scope = { device = \"x\" }\n")),
        [
            "5:20: `entry.e.scope.device`: device `x` belongs to account `bolt`, expected one of account `plant` or of one nested in it"
        ]
    );
    let both = entry("deny", "service = \"hmi\"\n");
    assert_eq!(faults(&both), ["1:1: `entry.e`: expected exactly one of `category` and `service`, found 2"]);
    let mut model = sound(&entry("allow", "scope = { device = \"d\" }\n"));
    model.entries.values_mut().for_each(|entry| entry.scope = None);
    let problems: Vec<Problem> =
        model.check(&std::collections::BTreeSet::new()).into_iter().map(|fault| fault.problem).collect();
    assert_eq!(problems, [Problem::NoScope]);
}

/// A role for otto that may use tunnels.
const OPERATOR: &str =
    "[assignment.o]\nuser = \"otto\"\nrole = \"machine-operator\"\nscope = { device = \"d\" }\n";

#[test]
fn an_entry_allows_something_only_to_users_of_tunnels() {
    let entry = |effect: &str| {
        format!(
            "[entry.e]\nuser = \"otto\"\neffect = \"{effect}\"\nservice = \"hmi\"\nscope = {{ device = \"d\" }}\n"
        )
    };
    let refused = [
        "2:8: `entry.e.user`: user `otto` has no role that may use tunnels, so no entry can open one; assign a role with the permission `remote-access.use` first",
    ];
    assert_eq!(faults(&entry("allow")), refused);
    sound(&entry("deny"));
    // Administrating is not entering: basic roles and such without tunnels do not make it possible.
    for role in ["tenant-admin", "data-analyst", "operator-internal-cases"] {
        let assigned = OPERATOR.replace("machine-operator", role);
        assert_eq!(faults(&format!("{}{assigned}", entry("allow"))), refused);
    }
    sound(&format!("{}{OPERATOR}", entry("allow")));
    let group = "[user-group.crew]\naccount = \"plant\"\nmembers = [\"otto\"]\n";
    let by_group = OPERATOR.replace("user = \"otto\"", "group = \"crew\"");
    sound(&format!("{}{group}{by_group}", entry("allow")));
    let member = "[device-group.g]\naccount = \"plant\"\ntype = \"region\"\n\
                  [device-group.g.member.otto]\nrole = \"machine-operator\"\ncategories = [\"screen\"]\n";
    sound(&format!("{}{member}", entry("allow")));
}

#[test]
fn a_case_is_about_one_thing_and_has_a_visibility() {
    assert_eq!(
        faults("[case.c]\nmachine = \"m\"\ndevice = \"d\"\nvisibility = \"shared\"\n"),
        ["1:1: `case.c`: expected exactly one of `machine` and `device`, found 2"]
    );
    assert_eq!(
        faults("[case.c]\nmachine = \"m\"\nvisibility = \"share\"\n"),
        [
            "3:14: `case.c.visibility`: found `share`, expected one of shared, internal; did you mean `shared`?"
        ]
    );
    sound("[case.c]\nmachine = \"m\"\nvisibility = \"internal\"\n");
}

#[test]
fn a_deprecated_role_is_refused_from_its_end_on_and_not_before() {
    let model = sound(
        "[assignment.a]\nuser = \"tina\"\nrole = \"service-manager\"\nscope = { account = \"acme\" }\n\
         [device-group.g]\naccount = \"acme\"\ntype = \"region\"\n[device-group.g.member.tina]\nrole = \"service-manager\"\n",
    );
    let before = UnixTime::from_secs(SERVICE_MANAGER_ENDS.as_secs() - 1);
    assert_eq!(model.retired(before), []);
    let found: Vec<(EntityKind, String, String)> = model
        .retired(SERVICE_MANAGER_ENDS)
        .into_iter()
        .map(|fault| (fault.kind, fault.key, fault.problem.to_string()))
        .collect();
    let said =
        "role `service-manager` is deprecated and has ended at 2028-01-01T00:00:00Z; choose another role";
    assert_eq!(
        found,
        [
            (EntityKind::DeviceGroup, "member.tina.role".to_owned(), said.to_owned()),
            (EntityKind::Assignment, "role".to_owned(), said.to_owned()),
        ]
    );
    let other = sound(
        "[assignment.a]\nuser = \"tina\"\nrole = \"service-technician\"\nscope = { account = \"acme\" }\n",
    );
    assert_eq!(other.retired(SERVICE_MANAGER_ENDS), []);
}

#[test]
fn scopes_inside_of_scopes_end_at_a_depth_that_can_be_stored() {
    let nested = |depth: usize| {
        let scope = (0..depth)
            .fold("{ account = \"plant\" }".to_owned(), |scope, _| format!("{{ all-of = [{scope}] }}"));
        format!("[assignment.a]\nuser = \"otto\"\nrole = \"machine-operator\"\nscope = {scope}\n")
    };
    sound(&nested(4));
    let found = faults(&nested(5));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with("scopes are nested more than 4 deep; name the groups in one `all-of`"),
        "{found:?}"
    );
    let mut model = sound(&nested(1));
    model
        .assignments
        .values_mut()
        .for_each(|assignment| assignment.scope = Scope::AllOf { scopes: Vec::new() });
    let problems: Vec<Problem> =
        model.check(&std::collections::BTreeSet::new()).into_iter().map(|fault| fault.problem).collect();
    assert_eq!(problems, [Problem::EmptyScope]);
}

#[test]
fn many_faults_are_counted_and_not_listed() {
    let members: String = (0..200_000).map(|n| format!("\"u{n}\",")).collect();
    let text = format!("{BASE}[user-group.g]\naccount = \"acme\"\nmembers = [{members}]\n");
    let found = fleet::read(&text, &[]).unwrap_err();
    assert_eq!(found.len(), 201);
    assert_eq!(
        found[200].to_string(),
        format!("at least {} more complaints are not listed; repair these first", FAULTS - 200)
    );
    let twice =
        format!("{BASE}[user-group.g]\naccount = \"acme\"\nmembers = [{}]\n", "\"a\",".repeat(300_001));
    let found = fleet::read(&twice, &[]).unwrap_err();
    assert_eq!(found.len(), 201);
    // Each repetition, and the one unknown member.
    assert_eq!(found[200].to_string(), "at least 299801 more complaints are not listed; repair these first");
}

#[test]
fn what_holds_without_the_cloud_is_said_where_the_role_is_made_or_an_essential_one_is_given() {
    let given = |role: &str, more: &str| {
        let user = if role == "engineer" || role == "first-level-support" { "tina" } else { "otto" };
        format!(
            "[assignment.a]\nuser = \"{user}\"\nrole = \"{role}\"\nscope = {{ device = \"d\" }}\n{more}\n"
        )
    };
    let own = "5:11: `assignment.a.offline`: role `engineer` says itself whether it holds without the cloud; set `offline` \
               there, here it can only be false";
    assert_eq!(faults(&given("engineer", "offline = true")), [own]);
    sound(&given("engineer", "offline = false"));
    let nothing = "5:11: `assignment.a.offline`: role `first-level-support` may not use tunnels; take `offline` away, or choose \
                   a role with the permission `remote-access.use`";
    assert_eq!(faults(&given("first-level-support", "offline = true")), [nothing]);
    sound(&given("machine-operator", "categories = [\"screen\"]\noffline = true"));
    let member = |more: &str| {
        format!(
            "[device-group.g]\naccount = \"acme\"\ntype = \"region\"\n[device-group.g.member.tina]\nrole = \"engineer\"\n{more}\n"
        )
    };
    let own = "6:11: `device-group.g.member.tina.offline`: role `engineer` says itself whether it holds without the cloud; set \
               `offline` there, here it can only be false";
    assert_eq!(faults(&member("offline = true")), [own]);
    sound(&member("offline = false"));
    let role = |permissions: &str| {
        format!("[role.r]\ntenant = \"service_provider\"\npermissions = [{permissions}]\noffline = true\n")
    };
    let nothing = "4:11: `role.r.offline`: role `r` may not use tunnels; take `offline` away, or choose a role with the \
                   permission `remote-access.use`";
    assert_eq!(faults(&role("\"users.show\"")), [nothing]);
    sound(&role("\"remote-access.use\""));
}

#[test]
fn a_deny_needs_no_mark_to_hold_without_the_cloud() {
    let deny = "[entry.e]\nuser = \"otto\"\neffect = \"deny\"\nservice = \"hmi\"\n";
    let fault = "5:11: `entry.e.offline`: a deny holds with and without the cloud; take `offline` away";
    assert_eq!(faults(&format!("{deny}offline = true\n")), [fault]);
    sound(&format!("{deny}offline = false\n"));
}
