//! The five worked examples: what each promises, and the wrong answers that tempt.

use postern_cloud::compile::{Warning, warnings};
use postern_cloud::visibility::visible_devices;
use postern_protocol::name::Name;
use postern_protocol::policy::Reason;
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
    let all = ["robot-1/hmi", "robot-1/plc", "robot-1/web", "robot-2/hmi", "robot-3/hmi", "robot-3/web"];
    assert_eq!(gate.reachable("ines"), all);
    assert_eq!(gate.reachable("paul"), NOTHING);
    assert_eq!(names(&gate, "paul"), NOTHING);
    assert_eq!(gate.reachable("dirk"), NOTHING);
}

#[test]
fn partner_channel_a_page_without_its_service_opens_nothing_and_is_reported() {
    let gate = Gate::of_sample("partner-channel");
    assert_eq!(gate.asks("paul", "robot-1", "web"), Err(Reason::NoGrant));
    let expected = Warning::Pages { category: "maintenance".parse().unwrap() };
    assert_eq!(warnings(&gate.model).into_iter().collect::<Vec<_>>(), [expected]);
}

#[test]
fn partner_channel_operators_see_their_own_robot() {
    let gate = Gate::of_sample("partner-channel");
    assert_eq!(gate.reachable("dora"), ["robot-1/hmi"]);
    assert_eq!(gate.asks("dora", "robot-2", "hmi"), Err(Reason::NoGrant));
    assert_eq!(gate.reachable("mia"), ["robot-3/hmi"]);
}

#[test]
fn divisions_engineers_enter_what_is_allocated_and_of_their_own_customer() {
    let gate = Gate::of_sample("divisions");
    assert_eq!(gate.reachable("lena"), ["pack-1/plc"]);
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
    assert_eq!(gate.asks_at("tom", "pack-3", "plc", NOW, None), Ok(()));
    // The snapshot of the tests is older than the end of the year; the window is what is asked for.
    assert_eq!(window_of(&gate, "tom", "pack-3"), Some(end));
    assert_eq!(window_of(&gate, "tom", "pack-2"), None);
    let tom: Name = "tom".parse().unwrap();
    assert_eq!(visible_devices(&gate.model, &tom, before).len(), 2);
    assert_eq!(visible_devices(&gate.model, &tom, end).len(), 1);
}

fn window_of(gate: &Gate, user: &str, device: &str) -> Option<UnixTime> {
    let compiler = postern_cloud::compile::Compiler::new(&gate.model, &gate.roster);
    let rows = compiler.rows_of(&user.parse().unwrap(), &device.parse().unwrap());
    let ends: Vec<_> = rows.iter().map(|row| row.not_after).collect();
    assert_eq!(ends.len(), 1);
    ends[0]
}

#[test]
fn sites_a_new_operator_reaches_only_the_machines_of_her_site() {
    let gate = Gate::of_sample("sites");
    assert_eq!(gate.reachable("nora"), ["router-west/filler.hmi"]);
    // The machine of another site behind the same router, the router itself, and another site.
    for (device, service) in [
        ("router-west", "labeller.hmi"),
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
