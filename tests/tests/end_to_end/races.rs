//! Administrators of one company who take the administration from each other at the same moment: by command, as programs, and
//! one each way. Whatever they do at once, one of them is left.

use std::time::Duration;

use postern_tests::world::{Api, Ending, Mishap, Person, World};
use serde_json::{Value, json};

use super::stage::{LAB, Outcome};

/// Pia of the maker administrates what is below; at Acme, Ada and Alf do, by assignments of their own or by their group.
const FLEET: &str = r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
[user]
pia = { account = "maker" }
ada = { account = "acme" }
alf = { account = "acme" }
[user-group.office]
account = "acme"
[assignment.pia]
user = "pia"
role = "tenant-admin"
scope = { account = "maker", nested = true }
[assignment.office]
group = "office"
role = "tenant-admin"
scope = { account = "acme" }
[assignment."maker.ada"]
user = "ada"
role = "tenant-admin"
scope = { account = "acme" }
[assignment."maker.alf"]
user = "alf"
role = "tenant-admin"
scope = { account = "acme" }
"#;
const RIVALS: [&str; 2] = ["ada", "alf"];
const ROUNDS: u64 = 100;

/// How somebody edits the model.
#[derive(Clone, Copy, Debug)]
enum Way {
    Command,
    Program,
}

/// What somebody does to the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Takes their assignment away.
    Assignment,
    /// Puts them out of the group that administrates.
    Group,
}

struct Rival {
    name: &'static str,
    person: Person,
    api: Api,
}

impl Rival {
    /// Whether the blow was made; what else there may be is a refusal of the hub, and no failure.
    async fn strikes(&self, other: &str, blow: Blow, way: Way) -> Result<bool, Mishap> {
        let own = json!({ "account": "acme", "members": [self.name] });
        let assignment = format!("maker.{other}");
        match way {
            Way::Command => {
                let call = match blow {
                    Blow::Assignment => self.person.call(["admin", "remove", "assignment", &assignment]),
                    Blow::Group => self
                        .person
                        .call(["admin", "replace", "user-group", "office", "-"])
                        .input(own.to_string()),
                };
                let done = call.finish().await?;
                assert!(
                    matches!(done.ending, Ending::Code(0 | 4 | 14 | 15 | 16)),
                    "{:?}: {}",
                    done.ending,
                    done.err
                );
                Ok(done.ending == Ending::Code(0))
            }
            Way::Program => {
                let reply = match blow {
                    Blow::Assignment => {
                        self.api.ask("DELETE", &format!("/v1/assignment/{assignment}"), None).await?
                    }
                    Blow::Group => self.api.ask("PUT", "/v1/user-group/office", Some(&own)).await?,
                };
                assert!(matches!(reply.status, 200 | 403 | 404 | 409 | 412), "{reply:?}");
                Ok(reply.status == 200)
            }
        }
    }
}

/// Who administrates Acme by an assignment of their own, and who by the group.
async fn administrators(pia: &Api) -> Result<[Vec<String>; 2], Mishap> {
    let listed = pia.ask("GET", "/v1/assignment", None).await?.body;
    let items = listed["items"].as_array().unwrap();
    let names = items.iter().filter_map(|one| one["name"].as_str()?.strip_prefix("maker."));
    let members = pia.ask("GET", "/v1/user-group/office", None).await?.body["body"]["members"].take();
    let members = members.as_array().cloned().unwrap_or_default();
    let members = members.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
    Ok([names.map(str::to_owned).collect(), members])
}

/// Both administrate again, in the way that the next blow is about.
async fn begin_again(pia: &Api, blow: Blow) -> Outcome {
    let [assigned, _] = administrators(pia).await?;
    let members = if blow == Blow::Group { json!(RIVALS) } else { json!([]) };
    let group = json!({ "account": "acme", "members": members });
    let mut edits = vec![json!({ "kind": "user-group", "name": "office", "body": group })];
    for rival in RIVALS {
        let is_assigned = assigned.iter().any(|name| name == rival);
        let body = match (blow, is_assigned) {
            (Blow::Assignment, false) => {
                json!({ "user": rival, "role": "tenant-admin", "scope": { "account": "acme" } })
            }
            (Blow::Group, true) => Value::Null,
            (Blow::Assignment, true) | (Blow::Group, false) => continue,
        };
        edits.push(json!({ "kind": "assignment", "name": format!("maker.{rival}"), "body": body }));
    }
    let reply = pia.ask("POST", "/v1/edits", Some(&json!({ "edits": edits }))).await?;
    assert_eq!(reply.status, 200, "{reply:?}");
    Ok(())
}

#[tokio::test]
async fn two_administrators_who_remove_each_other_at_once_by_any_two_ways_leave_one_a_hundred_times()
-> Outcome {
    let mut world = World::bare(LAB).await?;
    world.hub.apply(FLEET, &[]).await?;
    world.hub.open_api();
    world.hub.serve().await?;
    let pia = world.hub.program("pia").await?;
    // A token is worth what its user is, and nobody is anything before they have accepted.
    assert_eq!(pia.ask("GET", "/v1/me", None).await?.status, 401);
    world.guest("pia").await?;
    let rival = async |name| {
        Ok::<_, Mishap>(Rival { name, person: world.guest(name).await?, api: world.hub.program(name).await? })
    };
    let (ada, alf) = (rival("ada").await?, rival("alf").await?);
    for round in 0..ROUNDS {
        let blow = if round / 3 % 2 == 0 { Blow::Assignment } else { Blow::Group };
        begin_again(&pia, blow).await?;
        let ways = match round % 3 {
            0 => [Way::Command, Way::Command],
            1 => [Way::Program, Way::Program],
            _ => [Way::Command, Way::Program],
        };
        // A command takes a while to start; the program strikes somewhere in it.
        let late = Duration::from_millis(if round % 3 == 2 { round * 7 % 90 } else { 0 });
        let (one, other) = tokio::join!(ada.strikes("alf", blow, ways[0]), async {
            tokio::time::sleep(late).await;
            alf.strikes("ada", blow, ways[1]).await
        });
        let made = [one?, other?];
        let [assigned, members] = administrators(&pia).await?;
        let left = if blow == Blow::Assignment { assigned } else { members };
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "round {round}, {blow:?} by {ways:?}");
        assert_eq!(left.len(), 1, "round {round}, {blow:?} by {ways:?}: {left:?}");
        assert_eq!(left[0] == "ada", made[0], "round {round}, {blow:?} by {ways:?}: {left:?}");
    }
    Ok(())
}
