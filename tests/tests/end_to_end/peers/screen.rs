//! Screens: servers and viewers of others, with the keys and clicks that arrive at the machine.
//!
//! An X server says with `xinput` what arrives: that, and not what the gate says of itself, is the proof.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use postern_tests::world::{Call, Fleet, Mishap, Running, Session, Stream, World};

use super::super::gate::DENIED;
use super::super::stage::{LAB, Outcome};
use super::browser::keep;
use super::chromium::Browser;
use super::{answers, behind_the_gate, free_tcp_port, missing, programs};

#[tokio::test]
async fn vncdotool_takes_the_same_picture_of_tigervnc_through_the_gate_as_directly() -> Outcome {
    let name = "vncdotool_takes_the_same_picture_of_tigervnc_through_the_gate_as_directly";
    let Some([server, client]) = programs(name, ["Xtigervnc", "vncdo"]) else { return Ok(()) };
    let room = tempfile::tempdir()?;
    let vnc = free_tcp_port().await?;
    let port = vnc.port().to_string();
    let desktop = Call::new(server)
        .args(["-displayfd", "1", "-rfbport", &port, "-interface", "127.0.0.1", "-SecurityTypes", "None"])
        // A woven background: an empty picture would equal any other empty picture.
        .args(["-geometry", "320x240", "-depth", "24", "-retro"])
        .start("Xtigervnc")?;
    desktop.line("a display number", |line| line.stream == Stream::Out && !line.text.is_empty()).await?;
    answers(vnc).await?;

    let (world, session) = behind_the_gate("vnc", vnc).await?;
    let picture = async |at: SocketAddr, file: &str| -> Result<Vec<u8>, Mishap> {
        let path = room.path().join(file);
        let server = format!("{}::{}", at.ip(), at.port());
        let capture = Call::new(&client).args(["-s", &server, "capture"]).arg(&path);
        capture.finish().await?.expect_code(0)?;
        Ok(std::fs::read(path)?)
    };
    let direct = picture(vnc, "direct.png").await?;
    let through = picture(session.address, "through.png").await?;
    assert!(direct.starts_with(b"\x89PNG") && direct.len() > 500, "{} bytes", direct.len());
    assert!(through == direct, "the pictures differ: {} and {} bytes", direct.len(), through.len());
    world.person("bert").await?.refused("peer").await?.expect_code(DENIED)?;
    Ok(())
}

#[tokio::test]
async fn nothing_reaches_an_x11_display_that_is_only_looked_at_and_its_picture_goes_on() -> Outcome {
    let name = "nothing_reaches_an_x11_display_that_is_only_looked_at_and_its_picture_goes_on";
    let tools = ["vncdo", "vncsnapshot"];
    let (Some(desktop), Some([vncdo, vncsnapshot])) = (Desktop::start(name).await?, programs(name, tools))
    else {
        return Ok(());
    };
    let Desktop { vnc, arrivals, .. } = &desktop;
    let (vnc, room) = (*vnc, tempfile::tempdir()?);
    desktop.paint("#336699").await?;

    let fleet = Fleet::new().service("peer", "vnc", vnc).allow("anna", &["peer"]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let act = async |at: SocketAddr, more: &[&str]| -> Result<(), Mishap> {
        let server = format!("{}::{}", at.ip(), at.port());
        let act = ["key", "a", "move", "40", "50", "click", "1", "type", "stop"];
        Call::new(&vncdo).args(["-s", &server]).args(act).args(more).finish().await?.expect_code(0).map(drop)
    };
    let snapshot = async |at: SocketAddr, file: &str| -> Result<Vec<u8>, Mishap> {
        let server = format!("{}:{}", at.ip(), i32::from(at.port()) - 5900);
        let path = room.path().join(file);
        Call::new(&vncsnapshot).args(["-quiet", &server]).arg(&path).finish().await?.expect_code(0)?;
        Ok(std::fs::read(path)?)
    };

    // Who may touch, touches: five keys and a click.
    let full = anna.connect("peer").await?;
    act(full.address, &[]).await?;
    arrivals.until("RawKeyRelease", 5).await?;
    arrivals.until("RawButtonRelease", 1).await?;
    assert!(snapshot(full.address, "full.jpg").await? == snapshot(vnc, "direct.jpg").await?);
    full.interrupt().await?;

    // Who looks, looks.
    let looking = anna.connect_with("peer", &["--view-only"]).await?;
    let before = arrivals.lines();
    let [first, second] = ["first.png", "second.png"].map(|file| room.path().join(file));
    // The picture comes after the input on the same connection: by then the gate has seen it all.
    act(looking.address, &["capture", first.to_str().unwrap()]).await?;
    desktop.paint("#993366").await?;
    act(looking.address, &["capture", second.to_str().unwrap()]).await?;
    let colours = [&first, &second].map(|file| colour_of(file));
    assert_eq!(colours, [[0x33, 0x66, 0x99], [0x99, 0x33, 0x66]]);
    // A mark that does not pass the gate: whatever had passed it would have come first.
    let server = format!("{}::{}", vnc.ip(), vnc.port());
    Call::new(&vncdo).args(["-s", &server, "key", "z"]).finish().await?.expect_code(0)?;
    arrivals.until("RawKeyRelease", 6).await?;
    for (kind, count) in [("RawKeyPress", 1), ("Button", 0), ("Motion", 0)] {
        assert_eq!(arrivals.since(before, kind), count, "{kind}");
    }
    let rows = world.device.audit_until("a row of the input", |rows| {
        rows.iter().any(|row| row["event"] == "closed" && row.to_string().contains("dropped"))
    });
    drop(looking);
    rows.await?;
    Ok(())
}

#[tokio::test]
async fn recordings_of_an_x11_display_are_replayed_to_the_pictures_that_its_server_showed() -> Outcome {
    let name = "recordings_of_an_x11_display_are_replayed_to_the_pictures_that_its_server_showed";
    let (Some(desktop), Some([vncdo])) = (Desktop::start(name).await?, programs(name, ["vncdo"])) else {
        return Ok(());
    };
    let (vnc, room) = (desktop.vnc, tempfile::tempdir()?);
    let path = |file: &str| room.path().join(file).to_str().unwrap_or_default().to_owned();
    let fleet = Fleet::new().service("peer", "vnc", vnc).allow("anna", &["peer"]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    let key = path("factory.key");
    let made = anna.call(["replay", "keygen", &key, "--json"]).finish().await?.expect_code(0)?.json()?;
    world.apply(&fleet.recorded(made["recording_key"].as_str().unwrap_or_default())).await?.expect_code(0)?;
    world.settle().await?;

    let session = anna.connect("peer").await?;
    let server = format!("{}::{}", session.address.ip(), session.address.port());
    for (colour, file) in [("#336699", "first.png"), ("#993366", "second.png")] {
        desktop.paint(colour).await?;
        Call::new(&vncdo).args(["-s", &server, "capture", &path(file)]).finish().await?.expect_code(0)?;
    }
    session.interrupt().await?;
    let ended = |rows: &[serde_json::Value]| {
        let recorded = rows.iter().filter(|row| row["event"] == "recorded" && row["recorded"] == true);
        recorded.count() == 2
    };
    world.device.audit_until("two recordings", ended).await?;

    let listed =
        world.device.call(["recordings", "list", "--json"]).finish().await?.expect_code(0)?.json()?;
    let mut shown = Vec::new();
    for recording in listed.as_array().into_iter().flatten() {
        let tunnel = recording["tunnel"].as_str().unwrap_or_default();
        let (file, pictures) = (path(tunnel), path(&format!("{tunnel}-pictures")));
        world.device.call(["recordings", "export", tunnel, &file]).finish().await?.expect_code(0)?;
        let replay = ["replay", &file, "--key", &key, "--export", &pictures];
        anna.call(replay).finish().await?.expect_code(0)?;
        let names = std::fs::read_dir(&pictures)?.map(|entry| Ok(entry?.path()));
        let last = names
            .collect::<std::io::Result<Vec<_>>>()?
            .into_iter()
            .max()
            .ok_or_else(|| Mishap::unexpected("pictures of a recording", "none", "one at least"))?;
        shown.push(colour_of(&last));
    }
    shown.sort_unstable();
    let captured = ["first.png", "second.png"].map(|file| colour_of(path(file).as_ref()));
    assert_eq!(captured, [[0x33, 0x66, 0x99], [0x99, 0x33, 0x66]]);
    assert_eq!(shown, captured);
    Ok(())
}

#[tokio::test]
async fn the_tigervnc_viewer_shows_a_panel_whose_password_it_is_never_asked_for() -> Outcome {
    let name = "the_tigervnc_viewer_shows_a_panel_whose_password_it_is_never_asked_for";
    let tools = ["Xtigervnc", "vncpasswd", "xtigervncviewer", "vncdo", "xinput", "xsetroot"];
    let Some([server, passwd, viewer, vncdo, xinput, xsetroot]) = programs(name, tools) else {
        return Ok(());
    };
    let room = tempfile::tempdir()?;
    let password = room.path().join("password");
    let script = ["-c", "\"$0\" -f > \"$1\""];
    let write = Call::new("sh").args(script).arg(passwd).arg(&password).input("opensesa\n");
    write.finish().await?.expect_code(0)?;
    let (panel, desk) = (free_tcp_port().await?, free_tcp_port().await?);
    let panel_port = panel.port().to_string();
    let protected =
        ["-displayfd", "1", "-rfbport", &panel_port, "-interface", "127.0.0.1", "-geometry", "320x240"];
    let protected = Call::new(&server).args(protected).args(["-SecurityTypes", "VncAuth", "-PasswordFile"]);
    let (panel_display, _panel) = display(protected.arg(&password)).await?;
    let paint = Call::new(xsetroot).args(["-display", &panel_display, "-solid", "#336699"]);
    paint.finish().await?.expect_code(0)?;
    let arrivals = Arrivals::start(&xinput, &panel_display).await?;
    let desk_port = desk.port().to_string();
    let open = ["-displayfd", "1", "-rfbport", &desk_port, "-interface", "127.0.0.1", "-geometry", "800x600"];
    let (desk_display, _desk) =
        display(Call::new(&server).args(open).args(["-SecurityTypes", "None"])).await?;

    let fleet = Fleet::new().service("peer", "vnc", panel).limit("peer", "password = \"panel\"");
    let world = World::start(LAB, &fleet.allow("anna", &["peer"])).await?;
    let anna = world.person("anna").await?;
    let look = async |session: &Session| -> Result<Running, Mishap> {
        let at = format!("{}::{}", session.address.ip(), session.address.port());
        let flags = ["-RemoteResize=0", "-Shared", "-AlertOnFatalError=0", "-Log", "*:stderr:100", &at];
        Call::new(&viewer).args(flags).env("DISPLAY", &desk_display).start("viewer")
    };
    // Without the secret the viewer is told, in its own words, what is missing.
    let session = anna.connect("peer").await?;
    let refused = look(&session).await?;
    refused.line("the reason", |line| line.text.contains("secret")).await?;
    drop(refused);
    world
        .device
        .call(["secret", "set", "panel", "--stdin"])
        .input("opensesa")
        .finish()
        .await?
        .expect_code(0)?;
    let shown = look(&session).await?;
    let desk_server = format!("{}::{}", desk.ip(), desk.port());
    let picture = room.path().join("desk.png");
    let capture = async || -> Result<usize, Mishap> {
        let capture = Call::new(&vncdo).args(["-s", &desk_server, "capture"]).arg(&picture);
        capture.finish().await?.expect_code(0)?;
        if let Some(dir) = std::env::var_os("POSTERN_PICTURES") {
            std::fs::copy(&picture, Path::new(&dir).join("tigervnc-viewer.png"))?;
        }
        Ok(pixels(&picture).iter().filter(|pixel| **pixel == [0x33, 0x66, 0x99]).count())
    };
    let whole = 50_000; // of 76,800, less what the viewer draws over them
    postern_tests::world::probe::within("the panel in the viewer", async {
        while capture().await? < whole {}
        Ok(())
    })
    .await?;
    // Clicked at the desk, into the viewer, through the gate, with the device's password.
    let clicked = ["-s", &desk_server, "move", "100", "100", "click", "1"];
    Call::new(&vncdo).args(clicked).finish().await?.expect_code(0)?;
    arrivals.until("RawButtonRelease", 1).await?;
    assert!(!shown.log().contains("opensesa"), "{}", shown.log());
    Ok(())
}

#[tokio::test]
async fn novnc_in_chromium_works_a_desktop_and_one_that_looks_does_not() -> Outcome {
    let name = "novnc_in_chromium_works_a_desktop_and_one_that_looks_does_not";
    let Some([chromium, websockify, vncdo]) = programs(name, ["chromium", "websockify", "vncdo"]) else {
        return Ok(());
    };
    let novnc = Path::new("/usr/share/novnc");
    if !novnc.is_dir() {
        missing(name, "noVNC in /usr/share/novnc");
        return Ok(());
    }
    let Some(desktop) = Desktop::start(name).await? else { return Ok(()) };
    let fleet = Fleet::new().service("peer", "vnc", desktop.vnc).allow("anna", &["peer"]);
    let world = World::start(LAB, &fleet).await?;
    let anna = world.person("anna").await?;
    for (options, arriving, name) in [(&[][..], 3, "novnc"), (&["--view-only"], 1, "novnc-looking")] {
        desktop.paint("#336699").await?;
        let room = tempfile::tempdir()?;
        let session = anna.connect_with("peer", options).await?;
        let page = free_tcp_port().await?;
        let bridge = [page.to_string(), session.address.to_string()];
        let _bridge = Call::new(&websockify).arg("--web").arg(novnc).args(&bridge).start("websockify")?;
        answers(page).await?;
        let mut browser = Browser::start(&chromium, room.path()).await?;
        let url = format!("http://{page}/vnc_lite.html?host=127.0.0.1&port={}&path=websockify", page.port());
        browser.open(&url).await?;
        browser.until("document.getElementById('status').textContent.startsWith('Connected')").await?;
        let corner = "Array.from(document.querySelector('canvas').getContext('2d').getImageData(315, 235, 1, 1).data)\
                      .slice(0, 3).join()";
        browser.until(&format!("{corner} === '51,102,153'")).await?;
        let before = desktop.arrivals.lines();
        let middle = "(() => { const box = document.querySelector('canvas').getBoundingClientRect();\
                      return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)]; })()";
        let middle = browser.value(middle).await?;
        let place = |at: usize| u32::try_from(middle[at].as_i64().unwrap()).unwrap();
        browser.click(place(0), place(1)).await?;
        for letter in ['a', 'b'] {
            browser.key(letter).await?;
        }
        // A new picture, for which the browser asked after all that.
        desktop.paint("#993366").await?;
        browser.until(&format!("{corner} === '153,51,102'")).await?;
        keep(&mut browser, name).await?;
        // The mark comes last, past the gate.
        let server = format!("{}::{}", desktop.vnc.ip(), desktop.vnc.port());
        Call::new(&vncdo).args(["-s", &server, "key", "z"]).finish().await?.expect_code(0)?;
        desktop.arrivals.until_since(before, "RawKeyRelease", arriving).await?;
        let clicks = usize::from(options.is_empty());
        assert_eq!(desktop.arrivals.since(before, "RawButtonPress"), clicks, "{name}");
        assert_eq!(desktop.arrivals.since(before, "RawKeyPress"), arriving, "{name}");
    }
    Ok(())
}

/// An X display with `x11vnc`, which is made of `libvncserver`, and a record of what arrives.
struct Desktop {
    vnc: SocketAddr,
    display: String,
    arrivals: Arrivals,
    xsetroot: PathBuf,
    _server: Running,
    _screen: Running,
}

impl Desktop {
    /// Starts it, where its programs are installed.
    async fn start(test: &str) -> Result<Option<Self>, Mishap> {
        let tools = ["Xvfb", "x11vnc", "xinput", "xsetroot"];
        let Some([xvfb, x11vnc, xinput, xsetroot]) = programs(test, tools) else { return Ok(None) };
        // Without `-noreset` a screen becomes black again when the last program leaves.
        let flags = ["-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp", "-noreset"];
        let (display, screen) = display(Call::new(xvfb).args(flags)).await?;
        let vnc = free_tcp_port().await?;
        let port = vnc.port().to_string();
        let flags = ["-localhost", "-forever", "-shared", "-nopw", "-noxdamage", "-rfbport", &port];
        let server = Call::new(x11vnc).args(["-display", &display]).args(flags).start("x11vnc")?;
        answers(vnc).await?;
        let arrivals = Arrivals::start(&xinput, &display).await?;
        Ok(Some(Self { vnc, display, arrivals, xsetroot, _server: server, _screen: screen }))
    }

    /// Paints all of it in one colour.
    async fn paint(&self, colour: &str) -> Outcome {
        let paint = Call::new(&self.xsetroot).args(["-display", &self.display, "-solid", colour]);
        paint.finish().await?.expect_code(0).map(drop)
    }
}

/// Starts an X server that prints the number of its display, and yields what `DISPLAY` is then.
async fn display(call: Call) -> Result<(String, Running), Mishap> {
    let running = call.start("an X server")?;
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
    let line = running.line("a display", |line| line.stream == Stream::Out && is_number(&line.text)).await?;
    Ok((format!(":{}", line.text), running))
}

/// What arrives at an X server: one line for each event, as `xinput` says it.
struct Arrivals(Running);

impl Arrivals {
    async fn start(xinput: &Path, display: &str) -> Result<Self, Mishap> {
        let running =
            Call::new(xinput).args(["test-xi2", "--root"]).env("DISPLAY", display).start("xinput")?;
        Ok(Self(running))
    }

    /// Waits until so many events of a kind have come since the beginning.
    async fn until(&self, kind: &str, count: usize) -> Outcome {
        self.until_since(0, kind, count).await
    }

    /// Waits until so many events of a kind have come after the first `lines` lines.
    async fn until_since(&self, lines: usize, kind: &str, count: usize) -> Outcome {
        loop {
            let seen = self.lines();
            if self.since(lines, kind) >= count {
                return Ok(());
            }
            self.0.line_after(seen, &format!("{count} of {kind}"), |_| true).await?;
        }
    }

    /// How many lines there are.
    fn lines(&self) -> usize {
        self.0.line_count()
    }

    /// How many events of a kind came after the first `lines` lines.
    fn since(&self, lines: usize, kind: &str) -> usize {
        self.0.log().lines().skip(lines).filter(|line| line.contains(kind)).count()
    }
}

/// The pixels of a picture, without transparency.
fn pixels(file: &Path) -> Vec<[u8; 3]> {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(file).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let samples = info.color_type.samples();
    bytes.chunks_exact(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}

/// The colour of a picture's last corner, where no pointer is.
fn colour_of(file: &Path) -> [u8; 3] {
    *pixels(file).last().unwrap()
}
