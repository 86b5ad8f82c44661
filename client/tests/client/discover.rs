//! `discover`: which machines are there.

use postern_protocol::policy::Reason;
use postern_protocol::wire::registry::CloseCode;
use serde_json::{Value, json};

use crate::forward::world;
use crate::tunnels::interrupt;

#[tokio::test]
async fn what_the_device_knows_is_listed_by_address_and_nobody_is_asked() {
    let world = world(&["lines"]).await;
    let outcome = world.run(&["discover", "press-7"]).await;
    let rows = "192.168.0.9\t02:00:00:00:00:09\treachable\n192.168.0.10\t02:00:00:00:00:0a\tstale\n";
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, rows, ""));
}

#[tokio::test]
async fn a_scan_names_what_is_open_and_what_was_left_out() {
    let world = world(&["cell", "lines"]).await;
    let outcome = world.run(&["discover", "press-7", "lines", "--scan"]).await;
    let rows = "192.168.0.9\t02:00:00:00:00:09\treachable\t-\t-\n\
                192.168.0.10\t02:00:00:00:00:0a\treachable\tyes\t102 S7, 502 Modbus TCP, 7000\n";
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, rows));
    let notes = "postern: press-7/lines: not all of `tcp 192.168.0.0/24 1-65535` was asked: a scan asks 1024 questions; a VPN \
                 with fewer ports or a narrower network is scanned whole\n\
                 postern: press-7/lines: `udp 192.168.0.0/24 161` was not asked: there is no question that every machine \
                 answers over UDP\n";
    assert_eq!(outcome.stderr, notes);
}

#[tokio::test]
async fn programs_read_it_as_one_value() {
    let world = world(&["lines"]).await;
    let outcome = world.run(&["discover", "press-7", "--scan", "--json"]).await;
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let plc = json!({
        "address": "192.168.0.10", "mac": "02:00:00:00:00:0a", "state": "reachable", "echo": true,
        "open": [{"port": 102, "name": "S7"}, {"port": 502, "name": "Modbus TCP"}, {"port": 7000, "name": null}],
    });
    assert_eq!((&found["device"], &found["service"]), (&json!("press-7"), &json!("lines")));
    assert_eq!((&found["scan"], &found["probes"]), (&json!(true), &json!(1024)));
    assert_eq!((found["machines"].as_array().unwrap().len(), &found["machines"][1]), (2, &plc));
    let left = json!({"destination": "udp 192.168.0.0/24 161", "why": "unaskable"});
    assert_eq!(found["unasked"][1], left);
}

#[tokio::test]
async fn where_nothing_is_known_the_next_step_is_said() {
    let world = world(&["cell"]).await;
    let outcome = world.run(&["discover", "press-7"]).await;
    let note = "postern: press-7/cell: the device knows no machine that you may reach; `--scan` asks each granted host\n";
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "", note));
}

#[tokio::test]
async fn one_of_several_vpns_is_to_be_chosen() {
    let world = world(&["cell", "lines"]).await;
    let outcome = world.run(&["discover", "press-7"]).await;
    let words = "postern: press-7: this device has several VPNs: cell, lines; choose one with `--service`\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (2, words));
    assert_eq!(world.device.opens(), Vec::<String>::new());
}

#[tokio::test]
async fn a_scan_that_the_device_cuts_says_why() {
    let world = world(&["cell"]).await;
    let running = world.start(&["discover", "press-7", "--scan"]);
    world.device.machines.discovering().await;
    world.device.cut(CloseCode::Denied(Reason::Revoked));
    let outcome = running.ended().await;
    assert_eq!((outcome.code, outcome.stdout.as_str()), (4, ""));
    assert!(outcome.stderr.contains("press-7/cell: your access was withdrawn"), "{outcome:?}");
}

#[tokio::test]
async fn ctrl_c_ends_a_scan_at_the_device_too() {
    let world = world(&["cell"]).await;
    let running = world.start(&["discover", "press-7", "--scan"]);
    world.device.machines.discovering().await;
    interrupt(&running);
    assert_eq!(world.device.machines.ended().await, "discovery");
    let outcome = running.ended().await;
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "", ""));
}
