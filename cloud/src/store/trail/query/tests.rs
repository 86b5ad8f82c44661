use postern_protocol::audit::{Event, FlowFate};
use postern_protocol::policy::Reason;

use super::*;
use crate::trail::sample::{Sample, applied, at, closed, denied, name, permitted, tunnel};

const FLEET: &str = r#"
[account.acme]
tenant = "operating_company"
[user.otto]
account = "acme"
[user.anna]
account = "acme"
[device.d1]
account = "acme"
[device.d2]
account = "acme"
"#;

fn sample() -> Sample {
    let sample = Sample::new();
    sample.apply(1, FLEET);
    sample
}

fn places(sample: &Sample, query: &TrailQuery) -> Vec<(String, u64)> {
    let rows = sample.store.read(|tx| tx.trail_rows(query)).unwrap();
    rows.into_iter().map(|row| (row.device.to_string(), row.row.seq)).collect()
}

fn d(number: u8, seq: u64) -> (String, u64) {
    (format!("d{number}"), seq)
}

fn all() -> TrailQuery {
    TrailQuery { limit: 100, ..TrailQuery::default() }
}

/// Otto and Anna, each in one session on each device.
fn lived() -> (Sample, UserId, UserId) {
    let sample = sample();
    let (otto, anna) = (sample.user("otto"), sample.user("anna"));
    sample.write("d1", 10, applied(1));
    sample.session("d1", 20, otto, 1);
    sample.write("d2", 22, permitted(2, anna, "web"));
    sample.session("d1", 30, anna, 3);
    sample.write("d2", 32, closed(2));
    sample.write("d2", 40, denied(Some(otto), "hmi", None));
    (sample, otto, anna)
}

#[test]
fn rows_of_all_devices_come_in_the_order_of_their_times_and_the_newest_are_kept() {
    let (sample, ..) = lived();
    let order = [d(1, 1), d(1, 2), d(1, 3), d(2, 1), d(1, 4), d(1, 5), d(2, 2), d(2, 3)];
    assert_eq!(places(&sample, &all()), order);
    assert_eq!(places(&sample, &TrailQuery { limit: 3, ..all() }), order[5..]);
    assert_eq!(places(&sample, &TrailQuery { limit: 0, ..all() }), []);
    let between = TrailQuery { from: Some(at(22)), until: Some(at(31)), ..all() };
    assert_eq!(places(&sample, &between), order[3..5]);
}

#[test]
fn every_row_of_a_tunnel_is_found_by_the_user_and_service_of_its_permit_and_by_no_other() {
    let (sample, otto, anna) = lived();
    let of = |users: Vec<UserId>| places(&sample, &TrailQuery { users: Some(users), ..all() });
    assert_eq!(of(vec![otto]), [d(1, 2), d(1, 3), d(2, 3)]);
    assert_eq!(of(vec![anna]), [d(2, 1), d(1, 4), d(1, 5), d(2, 2)]);
    assert_eq!(of(vec![otto, anna]).len(), 7);
    assert_eq!(of(Vec::new()), []);
    assert_eq!(of(vec![UserId::new([9; 8])]), []);
    let web = TrailQuery { service: Some(name("web")), ..all() };
    assert_eq!(places(&sample, &web), [d(2, 1), d(2, 2)]);
    let of_tunnel = TrailQuery { tunnel: Some(tunnel(2)), ..all() };
    assert_eq!(places(&sample, &of_tunnel), [d(2, 1), d(2, 2)]);
    assert_eq!(places(&sample, &TrailQuery { users: Some(vec![otto]), ..of_tunnel }), []);
}

#[test]
fn a_device_that_names_the_tunnel_of_another_one_gets_neither_its_user_nor_its_service() {
    let (sample, otto, _) = lived();
    sample.write("d2", 50, closed(1));
    let of_otto = TrailQuery { users: Some(vec![otto]), from: Some(at(50)), ..all() };
    assert_eq!(places(&sample, &of_otto), []);
    assert_eq!(places(&sample, &TrailQuery { from: Some(at(50)), ..all() }), [d(2, 4)]);
}

#[test]
fn rows_go_by_what_they_come_to_and_so_do_flows_and_requests_inside_of_a_tunnel() {
    let (sample, ..) = lived();
    let fates =
        [(FlowFate::Opened, 50), (FlowFate::Denied(Reason::PortDenied), 51), (FlowFate::Closed(0), 52)];
    for (fate, secs) in fates {
        let flows = Event::Flows {
            tunnel: tunnel(2),
            to: None,
            fate,
            count: 1,
            to_machine: 0,
            to_client: 0,
            seconds: 0,
        };
        sample.write("d2", secs, flows);
    }
    let requests = |reason, secs| {
        let (method, path, status, count, bytes) = (None, None, None, 1, 0);
        let event = Event::Requests { tunnel: tunnel(2), method, path, status, reason, count, bytes };
        sample.write("d2", secs, event);
    };
    requests(None, 60);
    requests(Some(Reason::PathDenied), 61);
    let late = |verdict| places(&sample, &TrailQuery { verdict: Some(verdict), from: Some(at(45)), ..all() });
    assert_eq!(late("permitted"), [d(2, 4), d(2, 7)]);
    assert_eq!(late("denied"), [d(2, 5), d(2, 8)]);
    assert_eq!(late("closed"), [d(2, 6)]);
    let denied = TrailQuery { verdict: Some("denied"), ..all() };
    assert_eq!(places(&sample, &denied), [d(2, 3), d(2, 5), d(2, 8)]);
    assert_eq!(
        places(&sample, &TrailQuery { service: Some(name("web")), ..denied.clone() }),
        [d(2, 5), d(2, 8)]
    );
    assert_eq!(places(&sample, &TrailQuery { events: &["denied"], ..denied }), [d(2, 3)]);
    for row in sample.store.read(|tx| tx.trail_rows(&all())).unwrap() {
        assert!(crate::store::VERDICTS.contains(&row.verdict()), "{row:?}");
    }
}

#[test]
fn a_reader_with_a_scope_finds_only_what_lies_in_it_by_whatever_way() {
    let (sample, otto, _) = lived();
    let stretch =
        |device: &str, from, until| Stretch { device: name(device), span: Span { from: at(from), until } };
    let within = Some(vec![
        stretch("d1", 21, at(31)),
        stretch("d2", 32, UnixTime::MAX),
        stretch("nowhere", 0, UnixTime::MAX),
    ]);
    let scoped = TrailQuery { within, ..all() };
    let inside = [d(1, 3), d(1, 4), d(2, 2), d(2, 3)];
    assert_eq!(places(&sample, &scoped), inside);
    assert_eq!(places(&sample, &TrailQuery { limit: 2, ..scoped.clone() }), inside[2..]);
    let of_otto = TrailQuery { users: Some(vec![otto]), ..scoped.clone() };
    assert_eq!(places(&sample, &of_otto), [d(1, 3), d(2, 3)]);
    let of_web = TrailQuery { service: Some(name("web")), ..scoped.clone() };
    assert_eq!(places(&sample, &of_web), [d(2, 2)]);
    let of_d1 = TrailQuery { device: Some(name("d1")), ..scoped.clone() };
    assert_eq!(places(&sample, &of_d1), inside[..2]);
    assert_eq!(places(&sample, &TrailQuery { device: Some(name("d3")), ..scoped.clone() }), []);
    let of_tunnel = TrailQuery { tunnel: Some(tunnel(1)), ..scoped };
    assert_eq!(places(&sample, &of_tunnel), [d(1, 3)], "the permit is of a time before");
    assert_eq!(places(&sample, &TrailQuery { within: Some(Vec::new()), ..all() }), []);
}

#[test]
fn a_row_that_claims_the_end_of_time_is_found_all_the_same() {
    let sample = sample();
    sample.write("d1", u64::MAX, Event::Stopped);
    assert_eq!(places(&sample, &all()), [d(1, 1)]);
    assert_eq!(places(&sample, &TrailQuery { device: Some(name("d1")), ..all() }), [d(1, 1)]);
}

#[test]
fn rows_of_one_device_stay_in_the_order_in_which_it_wrote_them_whatever_its_clock_says() {
    let sample = sample();
    sample.write("d1", 100, Event::Stopped);
    // Started anew without word of the time: a lower bound.
    for secs in [60, 61] {
        sample.write_at("d1", secs, 120, Event::Stopped);
    }
    sample.write_at("d2", 90, 120, Event::Stopped);
    assert_eq!(places(&sample, &all()), [d(2, 1), d(1, 1), d(1, 2), d(1, 3)]);
    let rows = sample.store.read(|tx| tx.trail_rows(&all())).unwrap();
    let times: Vec<_> = rows.iter().map(|row| (row.row.at.as_secs(), row.when.as_secs())).collect();
    assert_eq!(times, [(90, 90), (100, 100), (60, 100), (61, 100)]);
    // A clock that was led astray and came back: what follows is of the time at which it came.
    sample.write_at("d1", 1_000_000, 130, Event::Stopped);
    sample.write_at("d1", 131, 140, Event::Stopped);
    let late = TrailQuery { until: Some(at(1000)), limit: 1, ..all() };
    let row = sample.store.read(|tx| tx.trail_rows(&late)).unwrap().remove(0);
    assert_eq!((row.row.at.as_secs(), row.when.as_secs()), (131, 140));
}

#[test]
fn the_services_that_rows_name_are_listed_once_each() {
    let (sample, ..) = lived();
    let services = sample.store.read(|tx| tx.trail_services()).unwrap();
    assert_eq!(services, [name("hmi"), name("web")]);
    assert_eq!(self::sample().store.read(|tx| tx.trail_services()).unwrap(), Vec::<Name>::new());
}

#[test]
fn no_condition_makes_sqlite_look_at_every_row() {
    let (sample, otto, _) = lived();
    let queries = [
        all(),
        TrailQuery { users: Some(vec![otto]), ..all() },
        TrailQuery { service: Some(name("web")), ..all() },
        TrailQuery { verdict: Some("denied"), ..all() },
        TrailQuery { verdict: Some("denied"), service: Some(name("web")), ..all() },
        TrailQuery { device: Some(name("d1")), verdict: Some("closed"), ..all() },
    ];
    for query in queries {
        sample
            .store
            .read::<_, StoreError>(|tx| {
                let logs = tx.logs_of(&query)?;
                for walk in query.walks(&logs) {
                    let (sql, values) = tx.statement(&query, &walk, 0);
                    let mut plan = tx.sql.prepare_cached(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                    let steps: Vec<String> = plan.all(&values, |row| row.get(3))?;
                    assert_eq!(steps.len(), 1, "one walk and no sorting: {steps:?}");
                    assert!(steps[0].starts_with("SEARCH trail_row USING"), "{steps:?}");
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn rows_on_a_server_are_found_in_the_same_way() {
    crate::store::ground::on_a_server(&[
        rows_of_all_devices_come_in_the_order_of_their_times_and_the_newest_are_kept,
        every_row_of_a_tunnel_is_found_by_the_user_and_service_of_its_permit_and_by_no_other,
        a_device_that_names_the_tunnel_of_another_one_gets_neither_its_user_nor_its_service,
        rows_go_by_what_they_come_to_and_so_do_flows_and_requests_inside_of_a_tunnel,
        a_reader_with_a_scope_finds_only_what_lies_in_it_by_whatever_way,
        a_row_that_claims_the_end_of_time_is_found_all_the_same,
        rows_of_one_device_stay_in_the_order_in_which_it_wrote_them_whatever_its_clock_says,
        the_services_that_rows_name_are_listed_once_each,
    ]);
}
