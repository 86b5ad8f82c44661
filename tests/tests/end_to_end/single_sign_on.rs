//! People who sign in with their own company's identity provider: a real one, with everything that can go wrong at the border.

use std::time::Duration;

use postern_tests::world::probe::within;
use postern_tests::world::{Ending, Fleet, Mishap, Person, Running, World};
use serde_json::Value;

use super::gate::{DENIED, echoed};
use super::peers::glewlwyd::{Browser, Glewlwyd, introduce};
use super::stage::{LAB, Outcome, Plant};

/// What `postern` ends with when the hub refuses a sign-in.
const REFUSED: i32 = 10;
const USAGE: i32 = 2;

struct Stage {
    provider: Glewlwyd,
    world: World,
    _plant: Plant,
}

impl Stage {
    /// Anna needs a second factor, and Bert does not; both were invited, and are known at the provider as Ida and Otto.
    async fn set(test: &str, more: &str) -> Result<Option<Self>, Mishap> {
        let Some(provider) = Glewlwyd::start(test).await? else { return Ok(None) };
        for name in ["ida", "otto"] {
            provider.add(name).await?;
        }
        let plant = Plant::start().await?;
        let fleet = plant.services().allow("anna", &["echo"]).allow("bert", &["echo"]);
        let mut world = World::bare(LAB).await?;
        world.hub.apply(&with_second_factor(&fleet, "anna-0"), &[]).await?;
        introduce(world.hub.state_dir(), &provider.settings(more))?;
        world.hub.serve().await?;
        world.enroll().await?;
        world.device.run().await?;
        world.settle().await?;
        Ok(Some(Self { provider, world, _plant: plant }))
    }

    /// A person who accepts the invitation with an identity.
    async fn join(&self, person: &str, identity: &str, code: bool) -> Result<Person, Mishap> {
        let invitation = self.world.hub.invitation_code(person).await?;
        let someone = self.world.stranger(person)?;
        let browser = self.provider.browser(identity);
        let login = someone.call(["login", &invitation, "--sso", "--no-browser"]).start("login")?;
        let page = pass_by(&login, &browser, identity, code).await?;
        assert!(page.contains("You can close this window"), "{page}");
        ended(login, 0).await?;
        Ok(someone)
    }

    async fn subject(&self, user: &str) -> Result<Value, Mishap> {
        let users = self.world.hub.call(["user", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
        let users = users["users"].as_array().unwrap();
        Ok(users.iter().find(|one| one["name"] == user).unwrap().clone())
    }
}

fn with_second_factor(fleet: &Fleet, category: &str) -> String {
    let (text, line) = (fleet.to_toml(), format!("categories = [\"{category}\"]\n"));
    assert!(text.contains(&line), "{text}");
    text.replace(&line, &format!("{line}second-factor = \"1h\"\n"))
}

/// Where a program sends the browser.
async fn sent(login: &Running) -> Result<String, Mishap> {
    let line = login.line("where to go", |line| line.text.contains("https://")).await?;
    Ok(line.text.split_once("https://").map(|(_, rest)| format!("https://{rest}")).unwrap())
}

/// Signs in at the provider and goes where the program sends the browser; returns the last page.
async fn pass_by(
    login: &Running,
    browser: &Browser<'_>,
    identity: &str,
    code: bool,
) -> Result<String, Mishap> {
    let url = sent(login).await?;
    browser.sign_in(identity, code).await?;
    browser.visit(&url).await
}

async fn ended(mut login: Running, code: i32) -> Outcome {
    let ending = login.ended().await?;
    assert_eq!(ending, Ending::Code(code), "{}", login.log());
    Ok(())
}

/// It is refused, in these words.
async fn refused(login: Running, words: &str) -> Outcome {
    login.line("why it is refused", |line| line.text.contains(words)).await?;
    ended(login, REFUSED).await
}

/// The hub comes back with other settings, and the device to the hub.
async fn restart(world: &mut World, settings: &str) -> Outcome {
    introduce(world.hub.state_dir(), settings)?;
    world.hub.stop().await?;
    world.hub.serve().await?;
    world.device.stop().await?;
    world.device.run().await?;
    within("the link of the device", async {
        while world.hub.devices().await?.iter().any(|device| device["online"] != true) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invitation_is_accepted_with_an_identity_whose_second_factor_counts_as_it_was_proved() -> Outcome {
    let Some(stage) = Stage::set("an_invitation_is_accepted_with_an_identity", "").await? else {
        return Ok(());
    };
    let anna = stage.join("anna", "ida", false).await?;
    let known = stage.subject("anna").await?;
    assert_eq!((&known["state"], &known["issuer"]), (&"active".into(), &stage.provider.issuer().into()));
    // There is no password beside it.
    let no_password =
        anna.call(["login", "--user", "anna", "--password-stdin"]).input("a password at the provider\n");
    no_password.finish().await?.expect_code(REFUSED)?;

    // Without a second factor there, the device says no.
    let closed = anna.refused("echo").await?.expect_code(DENIED)?;
    assert!(closed.err.contains("this access needs a second factor"), "{}", closed.err);
    let step_up = anna.call(["step-up", "--no-browser"]).start("step-up")?;
    let browser = stage.provider.browser("ida");
    pass_by(&step_up, &browser, "ida", false).await?;
    refused(step_up, "did not say that a second factor was used").await?;

    // With one, it opens.
    stage.provider.demand_code(true).await?;
    let step_up = anna.call(["step-up", "--no-browser"]).start("step-up")?;
    pass_by(&step_up, &browser, "ida", true).await?;
    ended(step_up, 0).await?;
    let session = anna.connect("echo").await?;
    let mut tunnel = session.exchange().await?;
    assert_eq!(echoed(&mut tunnel, b"at work").await?, b"at work");

    // Later sign-ins are the same without a word, and one that is taken away ends what is open.
    let login = anna.call(["login", "--no-browser"]).start("login")?;
    let url = sent(&login).await?;
    let led = browser.led(&url).await?;
    assert!(browser.open(&led).await?.contains("You can close this window"));
    ended(login, 0).await?;
    stage.world.hub.call(["user", "unlink", "anna"]).finish().await?.expect_code(0)?;
    super::step_up::cut(&mut tunnel).await?;
    let login = anna.call(["login", "--no-browser"]).start("login")?;
    let url = sent(&login).await?;
    browser.visit(&url).await?;
    refused(login, "no user of this hub is linked to your identity").await?;
    Ok(())
}

#[tokio::test]
async fn an_identity_is_one_user_and_an_answer_belongs_to_who_asked() -> Outcome {
    let Some(stage) = Stage::set("an_identity_is_one_user", "").await? else { return Ok(()) };
    stage.join("anna", "ida", false).await?;

    // Somebody else with the same identity: the invitation stays good, and is accepted with another one.
    let invitation = stage.world.hub.invitation_code("bert").await?;
    let bert = stage.world.stranger("bert")?;
    let ida = stage.provider.browser("ida");
    let login = bert.call(["login", &invitation, "--sso", "--no-browser"]).start("login")?;
    pass_by(&login, &ida, "ida", false).await?;
    refused(login, "your identity cannot be linked to that user").await?;
    let otto = stage.provider.browser("otto");
    let login = bert.call(["login", &invitation, "--sso=corp", "--no-browser"]).start("login")?;
    let url = sent(&login).await?;
    otto.sign_in("otto", false).await?;
    let led = otto.led(&url).await?;

    // What comes back with another `state` is nobody's; a code that was made for another sign-in is worth nothing in this one.
    let strange = led.replace("state=", "state=0");
    assert!(otto.open(&strange).await?.contains("This is not where a sign-in ends"));
    otto.open(&led).await?;
    ended(login, 0).await?;
    let again = bert.call(["login", "--no-browser"]).start("login")?;
    let state = |url: &str| url.split_once("state=").unwrap().1.split('&').next().unwrap().to_owned();
    let url = sent(&again).await?;
    otto.open(&led.replace(&state(&led), &state(&url))).await?;
    refused(again, "the identity provider has not let you in").await?;

    // Nobody whom the provider turned away is let in.
    let login = bert.call(["login", "--no-browser"]).start("login")?;
    let url = sent(&login).await?;
    let port = stage.provider.port;
    let page =
        otto.open(&format!("http://127.0.0.1:{port}/?error=access_denied&state={}", state(&url))).await?;
    assert!(page.contains("You were not signed in"), "{page}");
    ended(login, REFUSED).await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_vouches_for_its_own_accounts_and_a_browser_elsewhere_is_something_to_be_allowed()
-> Outcome {
    let test = "a_provider_vouches_for_its_own_accounts";
    let Some(mut stage) = Stage::set(test, "accounts = [\"acme\"]\n").await? else { return Ok(()) };
    let checked = stage.world.hub.call(["providers"]).finish().await?.expect_code(0)?;
    assert!(checked.out.contains(&stage.provider.issuer()), "{}", checked.out);
    let bert = stage.join("bert", "otto", false).await?;
    let elsewhere = bert.call(["login", "--elsewhere"]).finish().await?.expect_code(USAGE)?;
    assert!(elsewhere.err.contains("no such identity provider for that"), "{}", elsewhere.err);

    // Allowed: a code that is typed on a telephone.
    let Stage { provider, world, .. } = &mut stage;
    restart(world, &provider.settings("device_flow = true\n")).await?;
    let login = bert.call(["login", "--elsewhere"]).start("login")?;
    let line = login.line("the code", |line| line.text.contains("with the code")).await?;
    let code = line.text.split_once("with the code ").unwrap().1.split(',').next().unwrap().to_owned();
    let telephone = provider.browser("telephone");
    telephone.sign_in("otto", false).await?;
    telephone.visit(&format!("{}/device?code={code}", provider.issuer())).await?;
    ended(login, 0).await?;
    bert.connect("echo").await?;

    // A provider that is for somebody else vouches for nobody here.
    restart(world, &provider.settings("accounts = [\"other\"]\n")).await?;
    let login = bert.call(["login", "--no-browser"]).start("login")?;
    let url = sent(&login).await?;
    telephone.visit(&url).await?;
    refused(login, "no user of this hub is linked to your identity").await?;
    Ok(())
}
