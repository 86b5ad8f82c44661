//! What each essential role may do and what it may not: every cell of the tables, tried by a program at the API and by a person with
//! `postern`, on a hub and a device that run.
//!
//! The tables are those of the access model, as people write them. Where a row is about something that this product keeps (cases, places,
//! devices, models, tunnels), the thing is looked at, changed or entered; where it is about something that other products keep
//! (documents, applications, licences), what is asked for is the permission that they ask for.

use std::cell::Cell;

use postern_tests::world::{Api, Done, Ending, Mishap, Person, World};
use serde_json::{Value, json};

use super::stage::{LAB, Outcome, Plant};

const OPERATING: &str = "\
| operating company | machine-operator | workshop-manager | operator-internal-cases | maintenance-engineer |
| internal service cases | - | - | create | create, manage |
| shared service cases | manage | manage | read | manage |
| digital shopfloor | read | manage | read | read |
| documents, media | read | manage | read | read |
| applications | - | manage | - | read |
| edge devices | - | manage | - | - |
| may (de)activate remote access | yes | yes | yes | yes |
| may use a tunnel | yes | yes | no | yes |
| may change device configuration | no | yes | no | no |";

const PROVIDER: &str = "\
| service provider | first-level-support | service-technician | master-data-manager | customer-data-manager | service-manager |
| shared service cases | manage | manage | - | read | all |
| remote access, file transfer | - | manage | - | - | all |
| customers, organisations, machines, contracts, device links | read | read | - | manage | all |
| machine models and templates | read | read | manage | read | all |
| documents, media | manage | manage | manage | manage | all |
| edge devices | read | manage | read | manage | all |
| applications | - | read | read, assign | - | all |
| machine licences | - | - | read, download | - | all |
| may use a tunnel | no | with a case | no | no | yes |
| may change device configuration | no | yes | no | yes | yes |";

/// Basic roles of every company. A row says what is there; the cells say whether it is done.
const BASIC: &str = "\
| every company | tenant-admin | data-analyst |
| invite and delete users | yes | no |
| assign roles and scope | yes | no |
| company information | yes | no |
| appearance | yes | no |
| shared service cases | - | read |
| internal service cases | - | read |
| machines | - | read |
| documents, media | - | read |
| applications | - | read |
| edge devices | - | read |
| may (de)activate remote access | no | no |
| may use a tunnel | no | no |
| may change device configuration | no | no |";

/// The maker, and Acme that runs the press behind `press-7`. Each role is held by somebody who is called like it.
fn fleet(plant: &Plant) -> String {
    let echo = plant.echo.address.port();
    let mut text = format!(
        r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
label = "Acme"
[account.apps]
tenant = "app_developer"
parent = "maker"
[user]
pia = {{ account = "maker" }}
dev = {{ account = "apps" }}
[assignment.pia]
user = "pia"
role = "tenant-admin"
scope = {{ account = "maker", nested = true }}
[assignment.dev]
user = "dev"
role = "tenant-admin"
scope = {{ account = "apps" }}
[machine-model.press]
account = "maker"
[machine-model.press.service.echo]
kind = "vpn"
port = {echo}
[device.press-7]
account = "acme"
tunnels = 20
[machine.press]
device = "press-7"
model = "press"
address = "127.0.0.1"
[facility.hall]
account = "acme"
machines = ["press"]
[organisation.south]
account = "maker"
machines = ["press"]
[category.everything]
kinds = ["vpn"]
[case."acme.oil"]
machine = "press"
visibility = "internal"
[case."acme.jam"]
machine = "press"
visibility = "shared"
"#
    );
    for (table, account, nested) in
        [(OPERATING, "acme", false), (PROVIDER, "maker", true), (BASIC, "acme", false)]
    {
        for role in cells(table.lines().next().unwrap()).into_iter().skip(1) {
            let enters = [
                "machine-operator",
                "workshop-manager",
                "maintenance-engineer",
                "service-technician",
                "service-manager",
            ];
            let categories = if enters.contains(&role) { "categories = [\"everything\"]\n" } else { "" };
            text.push_str(&format!(
                "[user.{role}]\naccount = \"{account}\"\n[assignment.{role}]\nuser = \"{role}\"\nrole = \"{role}\"\n{categories}\
                 scope = {{ account = \"{account}\", nested = {nested} }}\n"
            ));
        }
    }
    text
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// Something that somebody tries.
#[derive(Clone, Debug)]
enum Try {
    /// Looks at something, and at a key of it that only those are shown who may read it.
    See(&'static str, &'static str, &'static str),
    /// Changes a key of something to what it was not.
    Change(&'static str, &'static str, &'static str, fn(u32) -> Value),
    /// Makes something, and takes it away again.
    Make(&'static str, fn() -> Value),
    /// Opens the machine to the provider for an hour, and closes it again.
    Activate,
    /// Holds a permission that another product asks for.
    Hold(&'static str),
    /// Enters the machine.
    Enter,
}

/// What a row is about, from little to much: each word with what it takes.
fn row(title: &str) -> Vec<(&'static str, Vec<Try>)> {
    use Try::*;
    let label = |number: u32| json!(format!("Label {number}"));
    match title {
        "internal service cases" => vec![
            // Who opens them sees them.
            ("read", vec![See("case", "acme.oil", "visibility")]),
            ("create", vec![Make("case", || json!({ "machine": "press", "visibility": "internal" }))]),
            ("manage", vec![Change("case", "acme.oil", "label", label)]),
        ],
        "shared service cases" => vec![
            ("read", vec![See("case", "acme.jam", "visibility")]),
            (
                "manage",
                vec![
                    Make("case", || json!({ "machine": "press", "visibility": "shared" })),
                    Change("case", "acme.jam", "label", label),
                ],
            ),
        ],
        "digital shopfloor" => vec![
            ("read", vec![See("facility", "hall", "machines"), See("machine", "press", "model")]),
            (
                "manage",
                vec![Change("facility", "hall", "label", label), Change("machine", "press", "label", label)],
            ),
        ],
        "machines" => vec![
            ("read", vec![See("machine", "press", "model")]),
            (
                "manage",
                vec![Change("machine", "press", "label", label), Change("facility", "hall", "label", label)],
            ),
        ],
        "customers, organisations, machines, contracts, device links" => vec![
            (
                "read",
                vec![
                    See("account", "acme", "parent"),
                    See("organisation", "south", "machines"),
                    See("machine", "press", "model"),
                ],
            ),
            (
                "manage",
                vec![
                    Change("organisation", "south", "label", label),
                    Change("machine", "press", "label", label),
                    Make("account", || json!({ "tenant": "operating_company", "parent": "maker" })),
                ],
            ),
        ],
        "machine models and templates" => vec![
            ("read", vec![See("machine-model", "press", "service")]),
            ("manage", vec![Change("machine-model", "press", "label", label)]),
        ],
        "edge devices" => vec![
            ("read", vec![See("device", "press-7", "tunnels")]),
            ("manage", vec![Change("device", "press-7", "label", label)]),
        ],
        "remote access, file transfer" => {
            vec![("manage", vec![Hold("remote-access.manage"), Hold("file-transfer.manage")])]
        }
        "documents, media" => {
            vec![("read", vec![Hold("documents.read")]), ("manage", vec![Hold("documents.manage")])]
        }
        "applications" => vec![
            ("read", vec![Hold("applications.read")]),
            ("assign", vec![Hold("applications.assign")]),
            ("manage", vec![Hold("applications.manage")]),
        ],
        "machine licences" => {
            vec![("read", vec![Hold("licences.read")]), ("download", vec![Hold("licences.download")])]
        }
        "may (de)activate remote access" => vec![("yes", vec![Activate])],
        "may use a tunnel" => vec![("yes", vec![Enter])],
        "may change device configuration" => {
            vec![("yes", vec![Change("device", "press-7", "tunnels", |number| json!(100 + number))])]
        }
        "invite and delete users" => {
            vec![("yes", vec![Hold("users.invite"), Make("user", || json!({ "account": "acme" }))])]
        }
        "assign roles and scope" => vec![(
            "yes",
            vec![Make(
                "assignment",
                || json!({ "user": "data-analyst", "role": "machine-operator", "scope": { "machine": "press" } }),
            )],
        )],
        "company information" => vec![("yes", vec![Change("account", "acme", "label", label)])],
        "appearance" => vec![("yes", vec![Hold("appearance.manage")])],
        other => {
            assert_eq!(other, "", "a row that nobody knows");
            Vec::new()
        }
    }
}

/// The words of a cell, with those that they include.
fn allowed(title: &str, cell: &str) -> Vec<&'static str> {
    let levels: Vec<&'static str> = row(title).into_iter().map(|(word, _)| word).collect();
    match cell {
        "-" | "no" => Vec::new(),
        "all" => levels,
        "with a case" => vec!["yes"],
        words => {
            let words: Vec<&str> = words.split(", ").collect();
            assert!(words.iter().all(|word| levels.contains(word)), "`{cell}` of `{title}`");
            // Whatever somebody may do with something, they see it.
            levels.into_iter().filter(|level| words.contains(level) || *level == "read").collect()
        }
    }
}

/// Somebody with a role, by both doors.
struct Holder {
    person: Person,
    api: Api,
    account: &'static str,
}

/// The two ways in.
#[derive(Clone, Copy, Debug)]
enum Door {
    Program,
    Command,
}

/// What is made is taken away again, but for internal cases: who opens them does not close them.
fn is_left(body: &Value) -> bool {
    body["visibility"] == "internal"
}

/// What somebody is told who names something hidden, or puts it: for them it is not there, and nothing new may be called so.
fn is_hidden(said: &str) -> bool {
    ["there is no ", "a new name begins with", "is there already"].iter().any(|words| said.contains(words))
}

/// Whether something was done; refused is refused in one of the ways in which that is said, and nothing else.
fn by_api(status: u16, body: &Value) -> bool {
    let hidden = status == 409 && is_hidden(&body.to_string());
    assert!(matches!(status, 200 | 403 | 404) || hidden, "{status}: {body}");
    status == 200
}

fn by_command(done: &Done) -> bool {
    let hidden = done.ending == Ending::Code(16) && is_hidden(&done.err);
    assert!(
        matches!(done.ending, Ending::Code(0 | 4 | 11 | 14)) || hidden,
        "{:?}: {}{}",
        done.ending,
        done.out,
        done.err
    );
    done.ending == Ending::Code(0)
}

impl Holder {
    async fn call(&self, args: &[&str], input: Option<&Value>) -> Result<Done, Mishap> {
        let call = self.person.call(args.iter().copied());
        let call = if let Some(input) = input { call.input(input.to_string()) } else { call };
        call.finish().await
    }

    /// Whether somebody is let do something.
    async fn tries(&self, what: &Try, door: Door, number: u32) -> Result<bool, Mishap> {
        let made = format!("{}.made-{number}", self.account);
        Ok(match (what, door) {
            (Try::See(kind, name, key), Door::Program) => {
                let reply = self.api.ask("GET", &format!("/v1/{kind}/{name}"), None).await?;
                by_api(reply.status, &reply.body) && reply.body["body"].get(key).is_some()
            }
            (Try::See(kind, name, key), Door::Command) => {
                let done = self.call(&["admin", "show", kind, name, "--json"], None).await?;
                by_command(&done) && done.json()?["body"].get(key).is_some()
            }
            (Try::Change(kind, name, key, value), Door::Program) => {
                let path = format!("/v1/{kind}/{name}");
                let mut body = self.api.ask("GET", &path, None).await?.body["body"].take();
                if !body.is_object() {
                    // Who does not see it may still try.
                    body = json!({});
                }
                body[key] = value(number);
                let reply = self.api.ask("PUT", &path, Some(&body)).await?;
                by_api(reply.status, &reply.body)
            }
            (Try::Change(kind, name, key, value), Door::Command) => {
                let change = json!({ *key: value(number) });
                by_command(&self.call(&["admin", "edit", kind, name, "-"], Some(&change)).await?)
            }
            (Try::Make(kind, body), Door::Program) => {
                let path = format!("/v1/{kind}/{made}");
                let reply = self.api.ask("PUT", &path, Some(&body())).await?;
                let is_made = by_api(reply.status, &reply.body);
                if is_made && !is_left(&body()) {
                    let reply = self.api.ask("DELETE", &path, None).await?;
                    assert_eq!(reply.status, 200, "{what:?}: {reply:?}");
                }
                is_made
            }
            (Try::Make(kind, body), Door::Command) => {
                let is_made =
                    by_command(&self.call(&["admin", "create", kind, &made, "-"], Some(&body())).await?);
                if is_made && !is_left(&body()) {
                    self.call(&["admin", "remove", kind, &made], None).await?.expect_code(0)?;
                }
                is_made
            }
            (Try::Activate, Door::Program) => {
                let path = "/v1/case/acme.jam";
                let mut body = self.api.ask("GET", path, None).await?.body["body"].take();
                if !body.is_object() {
                    body = json!({ "machine": "press", "visibility": "shared" });
                }
                let closed = body.clone();
                body["until"] = json!(format!("2099-01-01T00:{:02}:00Z", number % 60));
                let reply = self.api.ask("PUT", path, Some(&body)).await?;
                let is_done = by_api(reply.status, &reply.body);
                if is_done {
                    let reply = self.api.ask("PUT", path, Some(&closed)).await?;
                    assert_eq!(reply.status, 200, "{reply:?}");
                }
                is_done
            }
            (Try::Activate, Door::Command) => {
                let is_done =
                    by_command(&self.call(&["case", "activate", "acme.jam", "--for", "1h"], None).await?);
                if is_done {
                    self.call(&["case", "deactivate", "acme.jam"], None).await?.expect_code(0)?;
                }
                is_done
            }
            (Try::Hold(permission), Door::Program) => {
                let me = self.api.ask("GET", "/v1/me", None).await?.body;
                me["permissions"].as_array().unwrap().contains(&json!(permission))
            }
            (Try::Hold(permission), Door::Command) => {
                let me = self.call(&["admin", "me", "--json"], None).await?.expect_code(0)?.json()?;
                me["permissions"].as_array().unwrap().contains(&json!(permission))
            }
            // There is one way in, and the device decides.
            (Try::Enter, Door::Program) => {
                let listed = self.call(&["services", "press-7", "--json"], None).await?;
                let rows = if by_command(&listed) { listed.json()?["services"].take() } else { json!([]) };
                let is_open = |row: &Value| row["name"] == "press.echo" && row["blocked"].is_null();
                rows.as_array().unwrap().iter().any(is_open)
            }
            (Try::Enter, Door::Command) => match self.person.connect("press.echo").await {
                Ok(session) => {
                    let mut tunnel = session.exchange().await?;
                    super::gate::echoed(&mut tunnel, b"in").await? == b"in"
                }
                Err(_) => {
                    let refused = self.person.refused("press.echo").await?;
                    by_command(&refused)
                }
            },
        })
    }
}

async fn start(plant: &Plant) -> Result<World, Mishap> {
    let mut world = World::bare(LAB).await?;
    world.hub.open_api();
    world.hub.apply(&fleet(plant), &[]).await?;
    world.hub.serve().await?;
    world.enroll().await?;
    world.device.run().await?;
    world.settle().await?;
    Ok(world)
}

/// Tries every cell of a table by both doors.
async fn walk(table: &str, account: &'static str) -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    let mut lines = table.lines().map(cells);
    let roles = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let number = Cell::new(0u32);
    let next = || {
        number.set(number.get() + 1);
        number.get()
    };
    let mut wrong = Vec::new();
    for (column, role) in roles.iter().enumerate().skip(1) {
        let holder =
            Holder { person: world.person(role).await?, api: world.hub.program(role).await?, account };
        for line in &rows {
            let (title, cell) = (line[0], line[column]);
            let allowed = allowed(title, cell);
            for (word, tries) in row(title) {
                for what in tries {
                    for door in [Door::Program, Door::Command] {
                        let done = holder.tries(&what, door, next()).await?;
                        let expected = allowed.contains(&word) && cell != "with a case";
                        if done != expected {
                            wrong.push(format!("{role}, {title}, `{cell}`: {what:?} by {door:?} is {done}"));
                        }
                    }
                }
            }
            if cell == "with a case" {
                let activate = ["case", "activate", "acme.jam", "--for", "1h"];
                world.hub.call(activate).finish().await?.expect_code(0)?;
                for door in [Door::Program, Door::Command] {
                    assert!(holder.tries(&Try::Enter, door, next()).await?, "{role} with a case by {door:?}");
                }
                world.hub.call(["case", "deactivate", "acme.jam"]).finish().await?.expect_code(0)?;
                assert!(!holder.tries(&Try::Enter, Door::Command, next()).await?, "{role} after a case");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn every_cell_of_the_operating_company_s_table_holds_by_api_and_by_command() -> Outcome {
    walk(OPERATING, "acme").await
}

#[tokio::test]
async fn every_cell_of_the_service_provider_s_table_holds_by_api_and_by_command() -> Outcome {
    walk(PROVIDER, "maker").await
}

#[tokio::test]
async fn the_basic_roles_administrate_or_read_and_do_no_operational_work() -> Outcome {
    walk(BASIC, "acme").await
}

#[tokio::test]
async fn an_app_developer_s_people_have_the_basic_roles_and_no_other() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&plant).await?;
    let pia = world.person("pia").await?;
    let mut number = 0;
    for table in [OPERATING, PROVIDER, BASIC] {
        for role in cells(table.lines().next().unwrap()).into_iter().skip(1) {
            number += 1;
            let name = format!("maker.dev-{number}");
            let body = json!({ "user": "dev", "role": role, "scope": { "account": "apps" } });
            let call = pia.call(["admin", "create", "assignment", &name, "-"]).input(body.to_string());
            let done = call.finish().await?;
            if table == BASIC {
                done.expect_code(0)?;
            } else {
                let refused = done.expect_code(16)?;
                assert!(refused.err.contains("app_developer"), "{role}: {}", refused.err);
            }
        }
    }
    Ok(())
}
