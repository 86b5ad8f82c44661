//! The worked examples of the access model, administered by the people that they speak of: as programs at the API and by `postern admin`,
//! on the fleets that are shipped.
//!
//! What came of an edit is what `postern-cloud review` says: the judgement that devices ask.

use std::collections::BTreeSet;

use postern_tests::world::{Api, Ending, Mishap, Person, World};
use serde_json::{Value, json};

use super::stage::{LAB, Outcome};

/// An example that runs, and somebody in it who administrates, by one way or the other.
struct Desk {
    person: Person,
    api: Api,
}

/// By which way something is done; every example is told by both.
#[derive(Clone, Copy, Debug)]
enum Way {
    Program,
    Command,
}

const WAYS: [Way; 2] = [Way::Program, Way::Command];

/// What came of an edit.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Made,
    /// There is nothing of the name, for them.
    Unknown,
    Forbidden,
    /// It does not fit, in these words.
    Unfit(String),
}

async fn open(sample: &str, more: &str) -> Result<World, Mishap> {
    let path = format!("{}/../samples/{sample}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let mut world = World::bare(LAB).await?;
    world.hub.apply(&format!("{text}\n{more}"), &[]).await?;
    world.hub.open_api();
    world.hub.serve().await?;
    Ok(world)
}

async fn desk(world: &World, user: &str) -> Result<Desk, Mishap> {
    Ok(Desk { person: world.guest(user).await?, api: world.hub.program(user).await? })
}

/// What somebody is granted, as `device/service`.
async fn reach(world: &World, user: &str) -> Result<Vec<String>, Mishap> {
    let review = world
        .hub
        .call(["review", user, "--kind", "user", "--json"])
        .finish()
        .await?
        .expect_code(0)?
        .json()?;
    let grants = review["review"]["grants"].as_array().unwrap();
    let names = grants
        .iter()
        .map(|one| format!("{}/{}", one["device"].as_str().unwrap(), one["service"].as_str().unwrap()));
    Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
}

impl Desk {
    async fn put(&self, way: Way, kind: &str, name: &str, body: Value) -> Result<Came, Mishap> {
        match way {
            Way::Program => {
                let reply = self.api.ask("PUT", &format!("/v1/{kind}/{name}"), Some(&body)).await?;
                Ok(match reply.status {
                    200 => Came::Made,
                    404 => Came::Unknown,
                    403 => Came::Forbidden,
                    status => {
                        assert!(matches!(status, 409 | 422), "{reply:?}");
                        Came::Unfit(reply.body["problems"][0].as_str().unwrap().to_owned())
                    }
                })
            }
            Way::Command => {
                let known =
                    self.person.call(["admin", "show", kind, name]).finish().await?.ending == Ending::Code(0);
                let verb = if known { "replace" } else { "create" };
                let call =
                    self.person.call(["admin", verb, kind, name, "-", "--json"]).input(body.to_string());
                let done = call.finish().await?;
                let is = |code| done.ending == Ending::Code(code);
                Ok(if is(0) {
                    Came::Made
                } else if is(14) {
                    Came::Unknown
                } else if is(4) {
                    Came::Forbidden
                } else {
                    assert!(is(16), "{done:?}");
                    Came::Unfit(done.json()?["error"]["problems"][0].as_str().unwrap().to_owned())
                })
            }
        }
    }

    async fn sees(&self, way: Way, kind: &str) -> Result<Vec<String>, Mishap> {
        let (list, body) = match way {
            Way::Program => ("items", self.api.ask("GET", &format!("/v1/{kind}"), None).await?.body),
            Way::Command => {
                let listed = self.person.call(["admin", "list", kind, "--json"]).finish().await?;
                ("entities", listed.expect_code(0)?.json()?)
            }
        };
        Ok(body[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect())
    }
}

fn there_is_no(answer: &Came, kind: &str, name: &str) {
    let expected = format!("there is no {kind} `{name}`");
    assert!(
        matches!(answer, Came::Unfit(words) if words.contains(&expected)),
        "{answer:?}, expected {expected}"
    );
}

#[tokio::test]
async fn direct_sales_a_customer_manages_its_own_users_who_get_the_screen_of_their_machine_and_no_more()
-> Outcome {
    let world = open("direct-sales", "").await?;
    let ada = desk(&world, "ada").await?;
    for way in WAYS {
        let user = format!("acme.operator-{way:?}").to_lowercase();
        assert_eq!(ada.put(way, "user", &user, json!({ "account": "acme" })).await?, Came::Made);
        let give = |device: &str, category: &str| json!({ "user": user, "role": "machine-operator", "categories": [category], "scope": { "device": device } });
        assert_eq!(ada.put(way, "assignment", &user, give("press-9", "screen")).await?, Came::Made);
        assert_eq!(reach(&world, &user).await?, ["press-9/hmi"]);
        // Neither what Acme may not hand on, nor somebody else's machine, nor somebody else's people.
        let more = format!("{user}-more");
        there_is_no(
            &ada.put(way, "assignment", &more, give("press-9", "plc-network")).await?,
            "category",
            "plc-network",
        );
        there_is_no(&ada.put(way, "assignment", &more, give("saw-1", "screen")).await?, "device", "saw-1");
        let lend = json!({ "user": "eva", "role": "machine-operator", "scope": { "device": "press-9" } });
        there_is_no(&ada.put(way, "assignment", &more, lend).await?, "user", "eva");
        let stranger = ada.put(way, "user", &format!("{user}-bolt"), json!({ "account": "bolt" })).await?;
        there_is_no(&stranger, "account", "bolt");
        assert!(
            ada.sees(way, "user")
                .await?
                .iter()
                .all(|name| ["ada", "otto"].contains(&name.as_str()) || name.starts_with("acme."))
        );
        assert_eq!(ada.sees(way, "device").await?, ["press-7", "press-9"]);
        assert_eq!(reach(&world, &user).await?, ["press-9/hmi"]);
    }
    // Managing users is no way in.
    assert_eq!(reach(&world, "ada").await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn partner_channel_partners_manage_devices_and_customers_and_enter_nothing_and_customers_manage_their_users()
-> Outcome {
    let world = open("partner-channel", "").await?;
    let (paul, dirk) = (desk(&world, "paul").await?, desk(&world, "dirk").await?);
    for way in WAYS {
        let label = json!({ "account": "dairy", "label": format!("Packing hall, {way:?}") });
        assert_eq!(paul.put(way, "device", "dairy-gate", label).await?, Came::Made);
        assert_eq!(reach(&world, "paul").await?, Vec::<String>::new());
        let gift = json!({ "user": "paul", "role": "machine-operator", "categories": ["screen"], "scope": { "machine": "robot-1" } });
        let answer = paul.put(way, "assignment", "north.paul", gift).await?;
        assert_ne!(answer, Came::Made, "{way:?}");

        let user = format!("dairy.operator-{way:?}").to_lowercase();
        assert_eq!(dirk.put(way, "user", &user, json!({ "account": "dairy" })).await?, Came::Made);
        let give = |machine: &str, category: &str| json!({ "user": user, "role": "machine-operator", "categories": [category], "scope": { "machine": machine } });
        assert_eq!(dirk.put(way, "assignment", &user, give("robot-2", "screen")).await?, Came::Made);
        assert_eq!(reach(&world, &user).await?, ["dairy-gate/robot-2.hmi"]);
        let more = format!("{user}-more");
        there_is_no(
            &dirk.put(way, "assignment", &more, give("robot-3", "screen")).await?,
            "machine",
            "robot-3",
        );
        there_is_no(
            &dirk.put(way, "assignment", &more, give("robot-2", "maintenance")).await?,
            "category",
            "maintenance",
        );
        assert_eq!(reach(&world, &user).await?, ["dairy-gate/robot-2.hmi"]);
    }
    Ok(())
}

#[tokio::test]
async fn divisions_a_service_manager_allocates_devices_of_the_own_division_and_engineers_get_them_where_the_customer_is_theirs()
-> Outcome {
    let world = open("divisions", "").await?;
    let vera = desk(&world, "vera").await?;
    let group = |devices: Value| json!({ "account": "titan", "type": "allocation", "devices": devices });
    for way in WAYS {
        assert_eq!(
            vera.put(way, "device-group", "allocated-to-lena", group(json!(["pack-1", "pack-3"]))).await?,
            Came::Made
        );
        assert_eq!(reach(&world, "lena").await?, ["pack-1/plc", "pack-1/web.machine-info"]);
        // Allocated and of an own customer; what is allocated alone is not entered.
        let wider = group(json!(["pack-1", "pack-2", "pack-3"]));
        assert_eq!(vera.put(way, "device-group", "allocated-to-lena", wider).await?, Came::Made);
        assert_eq!(reach(&world, "lena").await?, ["pack-1/plc", "pack-1/web.machine-info", "pack-2/plc"]);
        // The mill is another division's, the region is the company's, and she herself enters nothing.
        let mill = group(json!(["pack-1", "mill-1"]));
        there_is_no(&vera.put(way, "device-group", "allocated-to-lena", mill).await?, "device", "mill-1");
        let north = json!({ "account": "titan", "type": "region", "devices": ["pack-1"] });
        assert_ne!(vera.put(way, "device-group", "north", north).await?, Came::Made);
        let renamed = json!({ "account": "titan", "type": "allocation", "label": "Mine", "devices": ["pack-1", "pack-2", "pack-3"] });
        assert_eq!(vera.put(way, "device-group", "allocated-to-lena", renamed).await?, Came::Forbidden);
        assert_eq!(reach(&world, "vera").await?, Vec::<String>::new());
        assert_eq!(reach(&world, "lena").await?, ["pack-1/plc", "pack-1/web.machine-info", "pack-2/plc"]);
        // What is taken back is gone.
        assert_eq!(
            vera.put(way, "device-group", "allocated-to-lena", group(json!(["pack-3"]))).await?,
            Came::Made
        );
        assert_eq!(reach(&world, "lena").await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn sites_a_new_operator_of_hawthorne_reaches_hawthorne_and_two_roles_at_two_sites_are_no_cross_product()
-> Outcome {
    let kim = "[user.kim]\naccount = \"keystone\"\n[assignment.kim]\nuser = \"kim\"\nrole = \"tenant-admin\"\n\
               scope = { account = \"keystone\" }\n";
    let world = open("sites", kim).await?;
    let kim = desk(&world, "kim").await?;
    for way in WAYS {
        let user = format!("keystone.new-{way:?}").to_lowercase();
        assert_eq!(kim.put(way, "user", &user, json!({ "account": "keystone" })).await?, Came::Made);
        let give = |role: &str, categories: Value, facility: &str| json!({ "user": user, "role": role, "categories": categories, "scope": { "facility": facility } });
        let name = |what: &str| format!("{user}-{what}");
        let operator = give("machine-operator", json!(["screen"]), "hawthorne");
        assert_eq!(kim.put(way, "assignment", &name("hawthorne"), operator).await?, Came::Made);
        assert_eq!(reach(&world, &user).await?, ["router-west/filler.hmi"]);
        // Manager there, operator here: the pages of the one are not those of the other.
        let manager = give("workshop-manager", json!(["screen", "web-pages"]), "quay");
        assert_eq!(kim.put(way, "assignment", &name("quay"), manager).await?, Came::Made);
        assert_eq!(reach(&world, &user).await?, ["router-east/oven.hmi", "router-west/filler.hmi"]);
        // A technician's role is not of such a company.
        let technician = give("service-technician", json!(["screen"]), "hawthorne");
        let answer = kim.put(way, "assignment", &name("technician"), technician).await?;
        assert!(matches!(&answer, Came::Unfit(words) if words.contains("service_provider")), "{answer:?}");
        let theo =
            json!({ "user": "theo", "role": "service-technician", "scope": { "facility": "hawthorne" } });
        there_is_no(&kim.put(way, "assignment", &name("theo"), theo).await?, "user", "theo");
    }
    assert_eq!(reach(&world, "kim").await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn nested_customers_are_seen_from_above_and_see_neither_up_nor_aside() -> Outcome {
    let world = open("nested-customers", "").await?;
    let (bert, dan) = (desk(&world, "bert").await?, desk(&world, "dan").await?);
    for way in WAYS {
        let user = format!("company-b.new-{way:?}").to_lowercase();
        assert_eq!(bert.put(way, "user", &user, json!({ "account": "company-b-south" })).await?, Came::Made);
        let give = |device: &str| json!({ "user": user, "role": "machine-operator", "categories": ["screen"], "scope": { "device": device } });
        assert_eq!(bert.put(way, "assignment", &user, give("pump-south")).await?, Came::Made);
        assert_eq!(reach(&world, &user).await?, ["pump-south/hmi"]);
        // His own device is above them: an assignment of it would be void, and one of strangers cannot even be written.
        let more = format!("{user}-more");
        for hidden in ["pump-a", "pump-0"] {
            there_is_no(&bert.put(way, "assignment", &more, give(hidden)).await?, "device", hidden);
        }
        bert.put(way, "assignment", &more, give("pump-b")).await?;
        assert_eq!(reach(&world, &user).await?, ["pump-south/hmi"]);
        assert_eq!(bert.sees(way, "device").await?, ["pump-b", "pump-south"]);
        // The analyst reads all of it and writes nothing.
        assert_eq!(dan.sees(way, "device").await?, ["pump-0", "pump-a", "pump-b", "pump-old", "pump-south"]);
        assert_eq!(
            dan.put(way, "device", "pump-b", json!({ "account": "company-b", "label": "Dan" })).await?,
            Came::Forbidden
        );
        assert_eq!(reach(&world, "dan").await?, Vec::<String>::new());
    }
    Ok(())
}
