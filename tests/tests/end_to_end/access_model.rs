//! The access model on a live device: what cases, denies and ends of memberships do to people and to open tunnels.
//!
//! A maker's technician and a customer's operators share one machine, which has its services from a machine model.

use std::time::SystemTime;

use postern_tests::world::flow::Flow;
use postern_tests::world::{Ending, Mishap, World, in_seconds};

use super::gate::{DENIED, echoed, has};
use super::stage::{LAB, Outcome, Plant};

/// Tess needs a case, Otto is assigned a role, Lena is a member of the machine's group.
fn fleet(plant: &Plant, more: &str) -> String {
    format!(
        r#"
[account.maker]
tenant = "service_provider"
[account.acme]
tenant = "operating_company"
parent = "maker"
[user.tess]
account = "maker"
[user.otto]
account = "acme"
[user.lena]
account = "acme"
[user.adam]
account = "acme"
[machine-model.press]
account = "maker"
[machine-model.press.service.echo]
kind = "vpn"
port = {echo}
[machine-model.press.service.source]
kind = "vpn"
port = {source}
[device.press-7]
account = "acme"
[machine.press]
device = "press-7"
model = "press"
address = "127.0.0.1"
[category.everything]
kinds = ["vpn"]
[assignment.tess]
user = "tess"
role = "service-technician"
categories = ["everything"]
scope = {{ machine = "press" }}
[assignment.otto]
user = "otto"
role = "machine-operator"
categories = ["everything"]
scope = {{ machine = "press" }}
[assignment.adam]
user = "adam"
role = "tenant-admin"
scope = {{ account = "acme" }}
[device-group.hall]
account = "acme"
type = "project"
devices = ["press-7"]
[device-group.hall.member.lena]
role = "workshop-manager"
categories = ["everything"]
{more}
"#,
        echo = plant.echo.address.port(),
        source = plant.source.address.port(),
    )
}

fn case(visibility: &str) -> String {
    format!("[case.jam]\nmachine = \"press\"\nvisibility = \"{visibility}\"\nfrom = 2026-01-01T00:00:00Z\n")
}

const DENY: &str = "[entry.not-lena]\nuser = \"lena\"\neffect = \"deny\"\nservice = \"source\"\n";

async fn start(fleet: &str) -> Result<World, Mishap> {
    let mut world = World::bare(LAB).await?;
    world.hub.apply(fleet, &[]).await?;
    world.hub.serve().await?;
    world.enroll().await?;
    world.device.run().await?;
    world.settle().await?;
    Ok(world)
}

async fn apply(world: &World, fleet: &str) -> Outcome {
    world.hub.apply(fleet, &[]).await?;
    world.settle().await
}

#[tokio::test]
async fn a_technician_enters_while_a_shared_case_is_active_and_leaves_with_it() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&fleet(&plant, "")).await?;
    let (tess, otto) = (world.person("tess").await?, world.person("otto").await?);
    let refused = tess.refused("press.echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("no service case is active for this machine"), "{}", refused.err);
    // Whoever needs no case is not touched by any of this.
    let operator = otto.connect("press.source").await?;
    let untouched = Flow::download(&operator).await?;
    untouched.receives(1).await?;

    apply(&world, &fleet(&plant, &case("internal"))).await?;
    let refused = tess.refused("press.echo").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("no service case is active for this machine"), "{}", refused.err);

    apply(&world, &fleet(&plant, &case("shared"))).await?;
    let session = tess.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(MEGABYTE).await?;

    apply(&world, &fleet(&plant, "")).await?;
    flow.end().await?;
    session.notice("no service case is active for this machine").await?;
    tess.refused("press.echo").await?.expect_code(DENIED)?;
    untouched.receives(MEGABYTE).await?;
    assert!(!untouched.is_over(), "the operator's tunnel was cut");

    apply(&world, &fleet(&plant, &case("shared"))).await?;
    let session = tess.connect("press.echo").await?;
    assert_eq!(echoed(&mut session.exchange().await?, b"again").await?, b"again");
    Ok(())
}

#[tokio::test]
async fn a_case_ends_by_the_clock_of_the_device_also_without_the_hub() -> Outcome {
    let plant = Plant::start().await?;
    let mut world = start(&fleet(&plant, "")).await?;
    let tess = world.person("tess").await?;
    let until = in_seconds(10);
    let end = jiff::Timestamp::try_from(until).expect("a time");
    let case = format!("[case.jam]\nmachine = \"press\"\nvisibility = \"shared\"\nuntil = \"{end}\"\n");
    apply(&world, &fleet(&plant, &case)).await?;
    let session = tess.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;
    world.hub.kill().await?;

    let last_byte = SystemTime::now() - flow.end().await?.last_byte.elapsed();
    let late = last_byte.duration_since(until).unwrap_or_default();
    assert!(late.as_secs() < 1, "the last byte came {late:?} after the end of the case");
    session.notice("no service case is active for this machine").await?;
    Ok(())
}

#[tokio::test]
async fn a_deny_cuts_and_hides_what_a_membership_opens_and_nothing_beside_it() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&fleet(&plant, "")).await?;
    let (lena, otto) = (world.person("lena").await?, world.person("otto").await?);
    assert_eq!(lena.services().await?, ["press.echo", "press.source"]);
    let (denied, kept) = (lena.connect("press.source").await?, lena.connect("press.echo").await?);
    let (flow, mut stream) = (Flow::download(&denied).await?, kept.exchange().await?);
    flow.receives(1).await?;
    assert_eq!(echoed(&mut stream, b"x").await?, b"x");
    let operator = otto.connect("press.source").await?;
    let untouched = Flow::download(&operator).await?;
    untouched.receives(1).await?;

    apply(&world, &fleet(&plant, DENY)).await?;
    flow.end().await?;
    denied.notice("your access was withdrawn").await?;
    assert_eq!(lena.services().await?, ["press.echo"]);
    // Told as anybody is told who was never granted it; the audit knows better.
    let refused = lena.refused("press.source").await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    assert!(!refused.err.contains("not-lena"), "{}", refused.err);
    let rows =
        world.device.audit_until("the refusal", |rows| rows.iter().any(|row| has(row, "denied"))).await?;
    let row = rows.iter().rfind(|row| has(row, "denied")).expect("a refusal").to_string();
    assert!(row.contains("not-lena"), "{row}");
    assert_eq!(echoed(&mut stream, b"still").await?, b"still");
    untouched.receives(MEGABYTE).await?;
    assert!(!untouched.is_over(), "somebody else's tunnel was cut");

    apply(&world, &fleet(&plant, "")).await?;
    let session = lena.connect("press.source").await?;
    Flow::download(&session).await?.receives(1).await?;
    Ok(())
}

#[tokio::test]
async fn a_membership_ends_for_its_member_and_an_administrator_never_enters() -> Outcome {
    let plant = Plant::start().await?;
    let world = start(&fleet(&plant, "")).await?;
    let (lena, adam) = (world.person("lena").await?, world.person("adam").await?);
    let session = lena.connect("press.source").await?;
    let flow = Flow::download(&session).await?;
    flow.receives(1).await?;
    let until = in_seconds(10);
    let end = jiff::Timestamp::try_from(until).expect("a time");
    apply(&world, &fleet(&plant, &format!("until = \"{end}\"\n"))).await?;
    let last_byte = SystemTime::now() - flow.end().await?.last_byte.elapsed();
    assert!(last_byte.duration_since(until).unwrap_or_default().as_secs() < 1);
    session.notice("your access has ended").await?;

    // Managing Acme's users shows no device: the hub tells him of none, and so does the device.
    let refused = adam.refused("press.echo").await?;
    assert_eq!(refused.ending, Ending::Code(11), "{}", refused.err);
    Ok(())
}

const MEGABYTE: u64 = 1024 * 1024;
