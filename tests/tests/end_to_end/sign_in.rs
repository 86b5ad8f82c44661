//! Sign-ins that are good for less than the policy grants, and their end on every computer at once.

use postern_tests::world::{DEVICE, Done, Exchange, Mishap, Person, World};

use super::gate::{echoed, expect_no_grant, has};
use super::stage::{LAB, Outcome, Plant};
use super::step_up::{Cut, cut};

/// What `postern` ends with when nobody is signed in, or the sign-in is over.
const SIGNED_OUT: i32 = 3;
/// What `postern login` ends with when the hub says no.
const REFUSED: i32 = 10;

/// What a pass for other devices, or one that was signed out, is good for.
const ELSEWHERE: &str = "postern: press-7/echo: you are not signed in for this device; sign in again with `postern \
                         login` (who can change it: you)\n";
const UNKNOWN: &str = "postern: a sign-in can be narrowed to at most 16 services and 16 devices that you may use; name \
                       devices that `postern devices` lists when you are signed in without `--only-device`\n";

async fn login(person: &Person, options: &[&str]) -> Result<Done, Mishap> {
    let call = person.call(["login", "--password-stdin"]).args(options);
    call.input("correct horse battery staple\n").finish().await
}

/// Bytes go to the echo and come back.
async fn works(person: &Person) -> Outcome {
    let session = person.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"works").await?, b"works");
    Ok(())
}

#[tokio::test]
async fn a_sign_in_for_some_services_opens_these_and_shows_nothing_of_the_others() -> Outcome {
    let plant = Plant::start().await?;
    let world = plant.world().await?;
    let anna = world.person("anna").await?;
    login(&anna, &["--only-service", "echo", "--only-service", "web"]).await?.expect_code(0)?;
    assert_eq!(anna.services().await?, ["echo", "web"]);
    works(&anna).await?;
    expect_no_grant(&anna, "source").await?;
    assert_eq!(plant.source.accepted(), 0, "a refused request reached the machine");
    // What is not granted does not come with being named.
    let bert = world.person("bert").await?;
    login(&bert, &["--only-service", "echo", "--only-service", "hmi"]).await?.expect_code(0)?;
    assert_eq!(bert.services().await?, ["hmi"]);
    expect_no_grant(&bert, "echo").await?;
    // The next sign-in is good for everything again.
    login(&anna, &[]).await?.expect_code(0)?;
    assert_eq!(anna.services().await?, ["echo", "hmi", "live", "sink", "source", "web"]);
    Ok(())
}

#[tokio::test]
async fn a_sign_in_for_some_devices_opens_these_and_no_other() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.fleet();
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let other = "[device.saw-1]\naccount = \"acme\"\n\
                 [device.saw-1.service.echo]\nkind = \"http\"\ntarget = \"127.0.0.1:9\"\n\
                 [assignment.saw]\nuser = \"anna\"\nrole = \"anna-0\"\nscope = { device = \"saw-1\" }\n\
                 [account.others]\ntenant = \"service_provider\"\n[device.mill-3]\naccount = \"others\"\n";
    world.hub.apply(&format!("{}{other}", fleet.to_toml()), &[]).await?;
    for device in ["saw-1", "mill-3"] {
        world.hub.enrolment_code(device).await?;
    }
    world.settle().await?;

    login(&anna, &["--only-device", DEVICE]).await?.expect_code(0)?;
    works(&anna).await?;
    login(&anna, &["--only-device", "saw-1"]).await?.expect_code(0)?;
    let reached = plant.echo.accepted();
    let refused = anna.refused("echo").await?.expect_code(SIGNED_OUT)?;
    assert_eq!((refused.out.as_str(), refused.err.as_str()), ("", ELSEWHERE));
    assert_eq!(plant.echo.accepted(), reached, "a refused request reached the machine");
    login(&anna, &["--only-device", "saw-1", "--only-device", DEVICE]).await?.expect_code(0)?;
    works(&anna).await?;
    // A device of others is as unknown as none; the sign-in before stays.
    for name in ["mill-3", "nope"] {
        let unknown = login(&anna, &["--only-device", name]).await?.expect_code(REFUSED)?;
        assert_eq!((unknown.out.as_str(), unknown.err.as_str()), ("", UNKNOWN));
    }
    works(&anna).await
}

/// A copy of somebody's computer.
fn copied(world: &World, of: &Person, name: &str) -> Result<Person, Mishap> {
    let copy = world.stranger(name)?;
    std::fs::create_dir_all(copy.home())?;
    for file in std::fs::read_dir(of.home())? {
        let file = file?;
        std::fs::copy(file.path(), copy.home().join(file.file_name()))?;
    }
    std::fs::set_permissions(copy.home(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(copy)
}

async fn at_work(person: &Person) -> Result<(postern_tests::world::Session, Exchange), Mishap> {
    let session = person.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"at work").await?, b"at work");
    Ok((session, tunnel))
}

#[tokio::test]
async fn signing_out_everywhere_cuts_tunnels_of_every_earlier_pass_and_the_next_sign_in_works() -> Outcome {
    let plant = Plant::start().await?;
    let fleet = plant.services().allow("anna", &["echo"]).allow("carl", &["echo"]);
    let world = World::start(LAB, &fleet).await?;
    let (anna, carl) = (world.person("anna").await?, world.person("carl").await?);
    let thief = copied(&world, &anna, "thief")?;
    let (theirs, mut stolen) = at_work(&thief).await?;
    let (hers, mut own) = at_work(&anna).await?;
    let (_his, mut others) = at_work(&carl).await?;

    let out = anna.call(["logout", "--everywhere"]).finish().await?.expect_code(0)?;
    assert_eq!(out.out, "signed out everywhere\n");
    assert_eq!((cut(&mut stolen).await?, cut(&mut own).await?), (Cut, Cut));
    for session in [&theirs, &hers] {
        session.notice("your access was withdrawn; ask your administrator why").await?;
    }
    assert_eq!(echoed(&mut others, b"of somebody else").await?, b"of somebody else");
    world.settle().await?;
    // Nobody has a key any more that the policy names.
    expect_no_grant(&thief, "echo").await?;
    assert_eq!(anna.refused("echo").await?.expect_code(SIGNED_OUT)?.out, "");

    login(&anna, &[]).await?.expect_code(0)?;
    world.settle().await?;
    works(&anna).await?;
    assert_eq!(thief.refused("echo").await?.expect_code(SIGNED_OUT)?.err, ELSEWHERE);
    let closed = |rows: &[serde_json::Value]| -> Vec<serde_json::Value> {
        rows.iter().filter(|row| has(row, "closed")).map(|row| row["reason"].clone()).collect()
    };
    let rows = world.device.audit_until("the ends", |rows| closed(rows).len() >= 2).await?;
    assert_eq!(closed(&rows)[..2], ["revoked", "revoked"]);
    Ok(())
}
