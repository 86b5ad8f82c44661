//! A program that reads the document of the administration API and asks whatever it allows, and what it does not.

use std::path::Path;

use postern_tests::world::{Call, Mishap, Stream, World};

use super::super::stage::{LAB, Outcome};
use super::programs;

#[tokio::test]
async fn schemathesis_finds_nothing_in_the_api_and_a_reader_changes_nothing_through_it() -> Outcome {
    let name = "schemathesis_finds_nothing_in_the_api_and_a_reader_changes_nothing_through_it";
    let Some([schemathesis]) = programs(name, ["schemathesis"]) else { return Ok(()) };
    let world = World::bare(LAB).await?;
    world.hub.apply(FLEET, &[]).await?;
    let here = world.hub.address().ip();
    let serve = world.hub.call(["serve"]).args(["--relay", &format!("{here}:0"), "--api", "127.0.0.1:0"]);
    let hub = serve.start("hub")?;
    let line = hub
        .line("that it listens", |line| line.stream == Stream::Out && line.text.contains("API on"))
        .await?;
    let (_, api) = line.text.split_once("API on ").expect("where the API is");
    let ask = async |token: &str, args: &[&str]| -> Result<(), Mishap> {
        let header = format!("Authorization: Bearer {token}");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/peers/schemathesis.toml");
        let call = Call::new(&schemathesis).dir(world.dir()).arg("--config-file").arg(config);
        let call = call.args(["run", &format!("{api}/v1/openapi.json"), "--header", &header, "--no-color"]);
        call.args(args).finish().await?.expect_code(0).map(drop)
    };
    let history = async || -> Result<String, Mishap> {
        Ok(world.hub.call(["history", "--json"]).finish().await?.expect_code(0)?.out)
    };

    // Every operation once with what the document allows, and once with what it does not.
    let analyst = token(&world, "dora").await?;
    let before = history().await?;
    ask(&analyst, &["--phases", "fuzzing", "--max-examples", "2"]).await?;
    assert_eq!(history().await?, before, "a reader changed something");

    let administrator = token(&world, "vera").await?;
    ask(&administrator, &["--phases", "fuzzing", "--max-examples", "4"]).await?;
    // Every border of every parameter and key, where bodies differ in more than their keys.
    let some = "^/v1/(me|user|case|category)(/|$)";
    ask(&administrator, &["--phases", "coverage", "--include-path-regex", some]).await?;
    assert_ne!(history().await?, before, "an administrator changed nothing: nothing was tried");
    Ok(())
}

/// A token for the API of somebody who accepts their invitation.
async fn token(world: &World, user: &str) -> Result<String, Mishap> {
    let code = world.hub.invitation_code(user).await?;
    world.stranger(user)?.login_with_code(&code).await?.expect_code(0)?;
    let made = world.hub.call(["token", "new", user, "--json"]).finish().await?.expect_code(0)?.json()?;
    // Without one, nothing would be answered as the document says.
    Ok(made["token"].as_str().unwrap_or_default().to_owned())
}

const FLEET: &str = r#"
[account]
vendor = { tenant = "service_provider" }
acme = { tenant = "operating_company", parent = "vendor" }

[user]
vera = { account = "vendor" }
dora = { account = "vendor" }
ada = { account = "acme" }

[device.a1]
account = "acme"
service.hmi = { kind = "vnc", target = "192.168.0.9:5900" }

[device-group.north]
account = "acme"
type = "region"
devices = ["a1"]

[assignment]
vera = { user = "vera", role = "tenant-admin", scope = { account = "vendor", nested = true } }
masters = { user = "vera", role = "customer-data-manager", scope = { account = "vendor", nested = true } }
ada = { user = "ada", role = "tenant-admin", scope = { account = "acme" } }
dora = { user = "dora", role = "data-analyst", scope = { account = "vendor", nested = true } }
"#;
