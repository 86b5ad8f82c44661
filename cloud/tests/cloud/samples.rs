//! The five worked examples: what each promises, and the wrong answers that tempt.

use std::net::SocketAddr;

use postern_cloud::compile::{Warning, warnings};
use postern_cloud::model::{SERVICE_MANAGER_ENDS, Visibility};
use postern_cloud::visibility::visible_devices;
use postern_protocol::name::Name;
use postern_protocol::policy::snapshot::rules::Methods;
use postern_protocol::policy::{Allow, Mode, Reach, Reason, Rules};
use postern_protocol::time::UnixTime;

use crate::gate::{Gate, NOW};

fn names(gate: &Gate, user: &str) -> Vec<String> {
    let user: Name = user.parse().unwrap();
    visible_devices(&gate.model, &user, NOW).iter().map(ToString::to_string).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn direct_sales_engineers_reach_screens_and_controllers_everywhere_and_no_web_page() {
    let gate = Gate::of_sample("direct-sales");
    let everywhere = ["press-7/hmi", "press-9/hmi", "press-9/plc", "saw-1/hmi"];
    assert_eq!(gate.reachable("eva"), everywhere);
    assert_eq!(gate.reachable("max"), everywhere);
    assert_eq!(gate.asks("eva", "press-7", "web"), Err(Reason::NoGrant));
    assert_eq!(gate.asks("eva", "press-7", "live"), Err(Reason::NoGrant));
}

#[test]
fn direct_sales_operators_see_their_machine_and_not_the_one_beside_it() {
    let gate = Gate::of_sample("direct-sales");
    assert_eq!(gate.reachable("otto"), ["press-7/hmi"]);
    assert_eq!(gate.asks("otto", "press-9", "hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.asks("otto", "saw-1", "hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.reachable("bea"), ["saw-1/hmi"]);
    assert_eq!(names(&gate, "otto"), ["press-7"]);
}

#[test]
fn direct_sales_who_operates_the_saw_for_a_season_looks_and_does_not_touch() {
    let gate = Gate::of_sample("direct-sales");
    let grants = |device: &str| {
        gate.index(device).snapshot().grants.iter().map(|grant| grant.mode).collect::<Vec<_>>()
    };
    let touch = Mode::Full { clipboard: false };
    let (saw, press) = (grants("saw-1"), grants("press-9"));
    assert_eq!(saw.iter().filter(|mode| **mode == Mode::ViewOnly).count(), 1);
    assert!(saw.contains(&touch) && press.iter().all(|mode| *mode == touch), "{saw:?} {press:?}");
}

#[test]
fn direct_sales_support_gets_web_pages_and_live_values_and_no_screen() {
    let gate = Gate::of_sample("direct-sales");
    assert_eq!(gate.reachable("sam"), ["press-7/live", "press-7/web", "saw-1/web"]);
    assert_eq!(gate.asks("sam", "press-7", "hmi"), Err(Reason::NoGrant));
}

#[test]
fn direct_sales_managing_users_opens_and_shows_nothing() {
    let gate = Gate::of_sample("direct-sales");
    assert_eq!(gate.reachable("ada"), NOTHING);
    assert_eq!(names(&gate, "ada"), NOTHING);
}

#[test]
fn partner_channel_engineers_reach_everything_and_partners_nothing() {
    let gate = Gate::of_sample("partner-channel");
    let all = [
        "dairy-gate/robot-1.hmi",
        "dairy-gate/robot-1.plc",
        "dairy-gate/robot-1.web",
        "dairy-gate/robot-1.web.maintenance",
        "dairy-gate/robot-2.hmi",
        "dairy-gate/robot-2.plc",
        "dairy-gate/robot-2.web",
        "mill-gate/robot-3.hmi",
        "mill-gate/robot-3.plc",
        "mill-gate/robot-3.web",
        "mill-gate/robot-3.web.maintenance",
    ];
    assert_eq!(gate.reachable("ines"), all);
    for user in ["mona", "paul", "dirk", "mark"] {
        assert_eq!(gate.reachable(user), NOTHING, "{user}");
        assert_eq!(names(&gate, user), NOTHING, "{user}");
    }
}

#[test]
fn partner_channel_machines_have_the_services_of_their_model_at_their_own_address() {
    let gate = Gate::of_sample("partner-channel");
    let index = gate.index("dairy-gate");
    let services = &index.snapshot().services;
    let targets: Vec<String> =
        services.iter().map(|service| format!("{} {}", service.name, place(&service.reach))).collect();
    // The second robot has another panel: its own service takes the place of the model's.
    assert_eq!(
        targets,
        [
            "robot-1.hmi 10.1.0.20:5900",
            "robot-1.plc 10.1.0.20:102",
            "robot-1.web 10.1.0.20:80",
            "robot-1.web.maintenance 10.1.0.20:80",
            "robot-2.hmi 10.1.0.31:5901",
            "robot-2.plc 10.1.0.30:102",
            "robot-2.web 10.1.0.31:80",
        ]
    );
}

#[test]
fn partner_channel_a_page_is_the_page_and_not_its_service() {
    let gate = Gate::of_sample("partner-channel");
    assert_eq!(
        gate.reachable("tara"),
        ["dairy-gate/robot-1.web.maintenance", "mill-gate/robot-3.web.maintenance"]
    );
    assert_eq!(gate.asks("tara", "dairy-gate", "robot-1.web"), Err(Reason::NoGrant));
    let index = gate.index("dairy-gate");
    let services = &index.snapshot().services;
    let page = services.iter().find(|service| service.name.as_str() == "robot-1.web.maintenance").unwrap();
    assert_eq!(place(&page.reach), "10.1.0.20:80".parse().unwrap());
    let Some(Rules::Http(rules)) = page.reach.rules() else { panic!("{:?}", page.reach) };
    let allow = |path: &str| Allow { path: path.parse().unwrap(), methods: Methods::READ, query: None };
    assert_eq!(rules.allow, [allow("/maintenance/**"), allow("/static/**")]);
    assert_eq!(rules.start.as_str(), "/maintenance");
}

#[test]
fn partner_channel_a_page_that_has_no_service_behind_it_yields_no_access() {
    // The second robot has a web server of its own, without that page.
    let mut gate = Gate::of_sample("partner-channel");
    assert_eq!(gate.asks("tara", "dairy-gate", "robot-2.web.maintenance"), Err(Reason::NoGrant));
    assert_eq!(gate.asks("tara", "dairy-gate", "robot-2.web"), Err(Reason::NoGrant));
    // The twin: with the model's web server it has the page.
    gate.model.machines.get_mut("robot-2").unwrap().services.remove("web");
    assert_eq!(gate.asks("tara", "dairy-gate", "robot-2.web.maintenance"), Ok(()));
}

#[test]
fn partner_channel_operators_see_their_own_robot() {
    let gate = Gate::of_sample("partner-channel");
    assert_eq!(gate.reachable("dora"), ["dairy-gate/robot-1.hmi"]);
    assert_eq!(gate.asks("dora", "dairy-gate", "robot-2.hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.reachable("mia"), ["mill-gate/robot-3.hmi"]);
}

#[test]
fn divisions_engineers_enter_what_is_allocated_and_of_their_own_customer() {
    let gate = Gate::of_sample("divisions");
    assert_eq!(gate.reachable("lena"), ["pack-1/plc", "pack-1/web.machine-info"]);
    // Allocated, of another customer; own customer, not allocated; neither.
    for (device, service) in [("pack-3", "plc"), ("pack-2", "plc"), ("mill-1", "plc"), ("pack-1", "web")] {
        assert_eq!(gate.asks("lena", device, service), Err(Reason::NoGrant), "{device}");
    }
    assert_eq!(gate.reachable("vera"), NOTHING);
}

#[test]
fn divisions_two_intersections_unite_and_each_ends_by_itself() {
    let gate = Gate::of_sample("divisions");
    assert_eq!(gate.reachable("tom"), ["pack-2/plc", "pack-3/plc"]);
    let end = UnixTime::from_secs(1_798_758_000);
    let before = UnixTime::from_secs(end.as_secs() - 1);
    assert_eq!(gate.asks_afresh("tom", "pack-3", "plc", before, None), Ok(()));
    assert_eq!(gate.asks_afresh("tom", "pack-3", "plc", end, None), Err(Reason::Expired));
    assert_eq!(gate.asks_afresh("tom", "pack-2", "plc", end, None), Ok(()));
    assert_eq!(window_of(&gate, "tom", "pack-3"), Some(end));
    assert_eq!(window_of(&gate, "tom", "pack-2"), None);
    let tom: Name = "tom".parse().unwrap();
    assert_eq!(visible_devices(&gate.model, &tom, before).len(), 2);
    assert_eq!(visible_devices(&gate.model, &tom, end).len(), 1);
}

#[test]
fn divisions_a_membership_opens_the_group_until_its_end() {
    let gate = Gate::of_sample("divisions");
    assert_eq!(gate.reachable("jana"), ["pack-2/plc"]);
    let end = UnixTime::from_secs(1_793_487_600);
    let before = UnixTime::from_secs(end.as_secs() - 1);
    assert_eq!(gate.asks_afresh("jana", "pack-2", "plc", before, None), Ok(()));
    assert_eq!(gate.asks_afresh("jana", "pack-2", "plc", end, None), Err(Reason::Expired));
    assert_eq!(gate.asks("jana", "pack-1", "plc"), Err(Reason::NoGrant));
    // Without the membership there is nothing.
    let mut gate = gate;
    gate.model.device_groups.get_mut("retrofit").unwrap().members.clear();
    assert_eq!(gate.reachable("jana"), NOTHING);
}

#[test]
fn divisions_a_deny_beats_a_membership_in_its_window_and_not_beside_it() {
    let gate = Gate::of_sample("divisions");
    let (from, until) = (1_789_365_600, 1_790_575_200);
    let asks = |at| gate.asks_afresh("jana", "mill-1", "plc", UnixTime::from_secs(at), None);
    assert_eq!(asks(from - 1), Ok(()));
    assert_eq!(asks(from), Err(Reason::NoGrant));
    assert_eq!(asks(until - 1), Err(Reason::NoGrant));
    assert_eq!(asks(until), Ok(()));
    let mut gate = gate;
    gate.model.entries.clear();
    assert_eq!(gate.asks("jana", "mill-1", "plc"), Ok(()));
}

#[test]
fn divisions_the_deprecated_role_would_enter_until_its_end_whatever_the_assignment_says() {
    let mut gate = Gate::of_sample("divisions");
    assert_eq!(gate.reachable("vera"), NOTHING);
    let assignment = gate.model.assignments.get_mut("vera-packaging").unwrap();
    assignment.role = "service-manager".parse().unwrap();
    assignment.categories.insert("plc-network".parse().unwrap());
    assignment.until = Some(SERVICE_MANAGER_ENDS.saturating_add(86_400));
    let asks = |at| gate.asks_afresh("vera", "pack-1", "plc", at, None);
    assert_eq!(asks(UnixTime::from_secs(SERVICE_MANAGER_ENDS.as_secs() - 1)), Ok(()));
    assert_eq!(asks(SERVICE_MANAGER_ENDS), Err(Reason::Expired));
    // Without categories it opens nothing at any time.
    gate.model.assignments.get_mut("vera-packaging").unwrap().categories.clear();
    assert_eq!(gate.reachable("vera"), NOTHING);
}

fn window_of(gate: &Gate, user: &str, device: &str) -> Option<UnixTime> {
    let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
    let (rows, _) = compiler.rows_and_bans_of(&user.parse().unwrap(), &device.parse().unwrap());
    let ends: Vec<_> = rows.iter().map(|row| row.not_after).collect();
    assert_eq!(ends.len(), 1);
    ends[0]
}

#[test]
fn sites_a_new_operator_reaches_only_the_machines_of_her_site() {
    let mut gate = Gate::of_sample("sites");
    assert_eq!(gate.reachable("nora"), ["router-west/filler.hmi", "router-west/labeller.web"]);
    // The second is an entry for her alone.
    gate.model.entries.clear();
    assert_eq!(gate.reachable("nora"), ["router-west/filler.hmi"]);
    // The machine of another site behind the same router, the router itself, and another site.
    for (device, service) in [
        ("router-west", "labeller.hmi"),
        ("router-west", "labeller.web"),
        ("router-west", "filler.web"),
        ("router-west", "status"),
        ("router-east", "oven.hmi"),
    ] {
        assert_eq!(gate.asks("nora", device, service), Err(Reason::NoGrant), "{service}");
    }
}

#[test]
fn sites_two_roles_in_two_sites_make_no_cross_product() {
    let gate = Gate::of_sample("sites");
    assert_eq!(
        gate.reachable("jon"),
        ["router-west/filler.hmi", "router-west/filler.web", "router-west/labeller.hmi"]
    );
    assert_eq!(gate.asks("jon", "router-west", "labeller.web"), Err(Reason::NoGrant));
}

#[test]
fn sites_a_technician_enters_the_machine_of_an_active_case_and_no_other() {
    let gate = Gate::of_sample("sites");
    assert_eq!(gate.reachable("theo"), ["router-west/filler.hmi", "router-west/filler.web"]);
    let (from, until) = (1_789_970_400, 1_790_143_200);
    let asks = |at| gate.asks_afresh("theo", "router-west", "filler.hmi", UnixTime::from_secs(at), None);
    assert_eq!(asks(from - 1), Err(Reason::CaseInactive));
    assert_eq!(asks(from), Ok(()));
    assert_eq!(asks(until - 1), Ok(()));
    assert_eq!(asks(until), Err(Reason::CaseInactive));
}

#[test]
fn sites_a_case_that_is_internal_or_not_activated_opens_nothing_and_stays_in_the_cloud() {
    let mut gate = Gate::of_sample("sites");
    let asks = |gate: &Gate| {
        (gate.asks("theo", "router-west", "labeller.hmi"), gate.asks("theo", "router-east", "oven.hmi"))
    };
    assert_eq!(asks(&gate), (Err(Reason::CaseInactive), Err(Reason::CaseInactive)));
    let cases = |gate: &Gate, device| {
        gate.index(device).snapshot().cases.iter().map(|case| case.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        (cases(&gate, "router-west"), cases(&gate, "router-east")),
        (vec!["filler-drips".to_owned()], vec![])
    );
    let sealed = gate.sealed("router-west");
    assert!(!sealed.windows(14).any(|bytes| bytes == b"labeller-paper"));
    // Shared, and activated: the twins.
    gate.model.cases.get_mut("labeller-paper").unwrap().visibility = Visibility::Shared;
    gate.model.cases.get_mut("oven-noise").unwrap().from = Some(NOW);
    assert_eq!(asks(&gate), (Ok(()), Ok(())));
}

#[test]
fn sites_switching_remote_access_is_not_using_it() {
    let gate = Gate::of_sample("sites");
    for user in ["ida", "lou"] {
        assert_eq!(gate.reachable(user), NOTHING, "{user}");
        assert_eq!(names(&gate, user), NOTHING, "{user}");
    }
    assert_eq!(gate.reachable("mo"), ["router-east/oven.hmi"]);
}

#[test]
fn nested_customers_see_their_own_devices_never_the_parents_or_a_siblings() {
    let gate = Gate::of_sample("nested-customers");
    assert_eq!(gate.reachable("anna"), ["pump-a/hmi"]);
    assert_eq!(gate.reachable("ben"), ["pump-b/hmi"]);
    assert_eq!(gate.reachable("sue"), ["pump-south/hmi"]);
    for device in ["pump-0", "pump-b", "pump-south"] {
        assert_eq!(gate.asks("anna", device, "hmi"), Err(Reason::NoGrant), "{device}");
    }
    assert_eq!(names(&gate, "anna"), ["pump-a"]);
}

#[test]
fn nested_customers_the_parent_sees_down_only_where_the_scope_says_so() {
    let gate = Gate::of_sample("nested-customers");
    assert_eq!(names(&gate, "hanna"), ["pump-0", "pump-a", "pump-b", "pump-south"]);
    for user in ["bert", "dan"] {
        assert_eq!(gate.reachable(user), NOTHING, "{user}");
    }
    assert_eq!(gate.reachable("carl"), ["pump-0/hmi"]);
    assert_eq!(gate.asks("carl", "pump-a", "hmi"), Err(Reason::NoGrant));
}

#[test]
fn nested_customers_the_second_factor_belongs_to_the_role_that_asks_for_it() {
    let gate = Gate::of_sample("nested-customers");
    let hours = |hours: u64| Some(UnixTime::from_secs(NOW.as_secs() - hours * 3600));
    let asks = |user, at| gate.asks_at(user, "pump-0", "hmi", NOW, at);
    assert_eq!(asks("hanna", None), Err(Reason::SecondFactorRequired));
    assert_eq!(asks("hanna", hours(8)), Err(Reason::SecondFactorStale));
    assert_eq!(asks("hanna", hours(7)), Ok(()));
    assert_eq!(asks("carl", None), Ok(()));
}

#[test]
fn nested_customers_a_deny_beats_what_a_group_gives_also_further_in() {
    let mut gate = Gate::of_sample("nested-customers");
    let asks = |gate: &Gate, user, device| gate.asks_at(user, device, "hmi", NOW, Some(NOW));
    for device in ["pump-b", "pump-south"] {
        assert_eq!(asks(&gate, "heidi", device), Err(Reason::NoGrant), "{device}");
        assert_eq!(asks(&gate, "hanna", device), Ok(()), "{device}");
    }
    assert_eq!(asks(&gate, "heidi", "pump-a"), Ok(()));
    assert_eq!(names(&gate, "heidi"), ["pump-0", "pump-a"]);
    gate.model.entries.clear();
    assert_eq!(asks(&gate, "heidi", "pump-b"), Ok(()));
}

#[test]
fn nested_customers_a_place_in_a_group_ends_for_the_one_who_holds_it() {
    let gate = Gate::of_sample("nested-customers");
    let end = UnixTime::from_secs(1_798_758_000);
    let before = UnixTime::from_secs(end.as_secs() - 1);
    let asks = |user, at| gate.asks_afresh(user, "pump-a", "hmi", at, Some(at));
    assert_eq!(asks("heidi", before), Ok(()));
    assert_eq!(asks("heidi", end), Err(Reason::Expired));
    assert_eq!(asks("hanna", end), Ok(()));
}

#[test]
fn nested_customers_a_closed_device_opens_nothing_until_it_is_opened() {
    let mut gate = Gate::of_sample("nested-customers");
    let asks = |gate: &Gate| gate.asks_at("hanna", "pump-old", "hmi", NOW, Some(NOW));
    assert_eq!(asks(&gate), Err(Reason::NoGrant));
    assert_eq!(gate.index("pump-old").snapshot().users, []);
    gate.model.devices.get_mut("pump-old").unwrap().closed = false;
    assert_eq!(asks(&gate), Ok(()));
}

#[test]
fn plant_what_the_partner_sees_of_a_screen_is_recorded_for_its_owner_and_what_others_see_is_not() {
    let gate = Gate::of_sample("plant/fleet");
    assert!(gate.is_recorded("kim", "birch-hall", "wrapper-b.hmi"));
    assert!(!gate.is_recorded("kim", "birch-hall", "wrapper-b.plc"), "a controller shows nothing");
    assert!(!gate.is_recorded("bob", "birch-hall", "wrapper-b.hmi"), "Birch's own people");
    assert!(!gate.is_recorded("erik", "birch-hall", "wrapper-b.hmi"));
    let key = "cb00f18933cd7fbeada0ed92bd74bf56215285a9b5487ae6db321333af16df2f".parse().unwrap();
    assert_eq!(gate.index("birch-hall").snapshot().recording_key, Some(key));
    // Where nothing is recorded, no key is.
    assert_eq!(gate.index("acorn-line-1").snapshot().recording_key, None);
}

#[test]
fn plant_without_the_owner_s_key_no_device_of_the_partner_s_customers_gets_a_policy() {
    let mut gate = Gate::of_sample("plant/fleet");
    gate.model.accounts.get_mut("birch").unwrap().recording_key = None;
    let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
    let refused = compiler.compile(&"birch-hall".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "category `screens-recorded` is recorded on device `birch-hall`, whose account has no `recording-key`; make one with \
         `postern replay keygen`"
    );
}

#[test]
fn samples_are_reported_for_nothing() {
    for name in ["direct-sales", "partner-channel", "divisions", "sites", "nested-customers", "plant/fleet"] {
        let reported: Vec<Warning> = warnings(&Gate::of_sample(name).model).into_iter().collect();
        assert_eq!(reported, [], "{name}");
    }
}

/// Where a service leads, also a VPN to one place.
fn place(reach: &Reach) -> SocketAddr {
    reach.target().or_else(|| reach.flows()?.only_tcp()).unwrap().into()
}
