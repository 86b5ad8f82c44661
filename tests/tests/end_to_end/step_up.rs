//! A second factor that grows old while somebody works: proved again in time, nothing that is open is lost.

use std::io::ErrorKind;
use std::time::{SystemTime, UNIX_EPOCH};

use postern_tests::world::probe::within;
use postern_tests::world::{Ending, Exchange, Mishap, Person, Session, World};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use totp_rs::{Builder, Totp};

use super::gate::{DENIED, echoed, has};
use super::stage::{LAB, Outcome, Plant};

/// What `postern` ends with when the hub refuses a code.
const REFUSED: i32 = 10;
/// What every person of a world chooses.
const PASSWORD: &str = "correct horse battery staple\n";
/// For how long the second factors of Anna and Bert count: enough for some sign-ins on a slow machine.
const MAX_AGE_S: u32 = 20;
/// For how long that of Carl counts.
const SHORT_S: u32 = 6;

/// Somebody with an authenticator app. Codes are good once and in order; those of the step before and after this one
/// are accepted as well, so that three can be used without waiting.
struct Owner {
    person: Person,
    app: Totp,
}

#[derive(Clone, Copy)]
enum Code {
    First,
    Second,
    Third,
}

impl Owner {
    async fn new(world: &World, name: &str) -> Result<Self, Mishap> {
        let person = world.person(name).await?;
        let done = person.call(["login", "--setup-otp", "--password-stdin"]).input(PASSWORD).finish().await?;
        let uri = done.expect_code(0)?.out;
        let secret = uri.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        let secret = data_encoding::BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
        Ok(Self { person, app: Builder::new().with_secret(secret).build().unwrap() })
    }

    fn code(&self, code: Code) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let at = match code {
            Code::First => now - 30,
            Code::Second => now,
            Code::Third => now + 30,
        };
        self.app.generate(at).to_string()
    }

    async fn login(&self, code: Code) -> Outcome {
        let call = |code: String| {
            self.person.call(["login", "--otp", &code, "--password-stdin"]).input(PASSWORD).finish()
        };
        let done = call(self.code(code)).await?;
        // The clock of codes may have stepped on the way to the hub.
        let done = if done.ending == Ending::Code(REFUSED) { call(self.code(code)).await? } else { done };
        done.expect_code(0).map(drop)
    }

    /// Signed in with a code, with a tunnel that carries bytes.
    async fn at_work(&self) -> Result<(Session, Exchange), Mishap> {
        self.login(Code::First).await?;
        let session = self.person.connect("echo").await?;
        let mut tunnel = session.exchange().await?;
        assert_eq!(echoed(&mut tunnel, b"at work").await?, b"at work");
        Ok((session, tunnel))
    }
}

/// The near end was reset: nobody takes what came for all there was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut;

pub(crate) async fn cut(tunnel: &mut Exchange) -> Result<Cut, Mishap> {
    let mut rest = [0; 16];
    match within("the end of a tunnel", async { Ok(tunnel.read(&mut rest).await) }).await? {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Cut),
        other => Err(Mishap::unexpected("the end of a tunnel", format!("{other:?}"), "a reset")),
    }
}

const STALE: &str = "your second factor was used too long ago; prove it again with your one-time code \
                     (`postern step-up`)";

#[tokio::test]
async fn a_tunnel_outlives_its_second_factor_when_another_is_proved_in_time_and_ends_when_not() -> Outcome {
    let plant = Plant::start().await?;
    let ages = [("anna", MAX_AGE_S), ("bert", MAX_AGE_S), ("carl", SHORT_S)];
    let fleet = ages.iter().fold(plant.services(), |fleet, (name, _)| fleet.allow(name, &["echo"]));
    let world = World::start(LAB, &fleet).await?;
    let text = ages.iter().enumerate().fold(fleet.to_toml(), |text, (number, (name, age))| {
        let categories = format!("categories = [\"{name}-{number}\"]\n");
        assert!(text.contains(&categories), "{text}");
        text.replace(&categories, &format!("{categories}second-factor = \"{age}s\"\n"))
    });
    world.hub.apply(&text, &[]).await?;
    world.settle().await?;
    let anna = Owner::new(&world, "anna").await?;
    let (bert, carl) = (Owner::new(&world, "bert").await?, Owner::new(&world, "carl").await?);

    // Where nobody can be asked: one line with the next step.
    let refused = anna.person.refused("echo").await?.expect_code(DENIED)?;
    assert_eq!(
        refused.err,
        "postern: press-7/echo: this access needs a second factor; prove it with your one-time code (`postern \
         step-up`) (who can change it: you)\n"
    );

    let (session, mut tunnel) = anna.at_work().await?;
    session.notice("echo on press-7 ends in ").await?;
    session.notice("unless you step up (`postern step-up`)").await?;
    // Bert and Carl come later and prove nothing again. Carl's end comes first: Anna proves hers then, well after Bert.
    // When Bert is cut, Anna's first permit is over as well.
    let (other, mut doomed) = bert.at_work().await?;
    let (early, mut short) = carl.at_work().await?;
    early.notice(STALE).await?;
    assert_eq!(cut(&mut short).await?, Cut);

    let code = anna.code(Code::Second);
    anna.person.call(["step-up", "--otp", &code]).finish().await?.expect_code(0)?;
    session.notice("your new pass is in force until").await?;
    assert_eq!(echoed(&mut tunnel, b"stepped up").await?, b"stepped up");
    // The code is used up, for her as for whoever saw it.
    anna.person.call(["step-up", "--otp", &code]).finish().await?.expect_code(REFUSED)?;

    // Signing in with a code does the same for a command that runs.
    let second = anna.person.connect("echo").await?;
    let mut another = second.exchange().await?;
    assert_eq!(echoed(&mut another, b"second").await?, b"second");
    anna.login(Code::Third).await?;
    second.notice("your new pass is in force until").await?;
    assert_eq!(echoed(&mut another, b"second still").await?, b"second still");
    other.notice(STALE).await?;
    assert_eq!(cut(&mut doomed).await?, Cut);
    // Both of hers go on past the end that her first tunnel had.
    assert_eq!(echoed(&mut tunnel, b"past the first end").await?, b"past the first end");
    assert_eq!(echoed(&mut another, b"so does this").await?, b"so does this");

    let closed = |rows: &[Value]| -> Vec<Value> {
        rows.iter().filter(|row| has(row, "closed")).map(|row| row["reason"].clone()).collect()
    };
    let rows = world.device.audit_until("both ends", |rows| closed(rows).len() >= 2).await?;
    assert_eq!(closed(&rows), ["second_factor_stale", "second_factor_stale"]);
    Ok(())
}
