//! Shows a recording to a VNC viewer on this computer, in its time.
//!
//! 1. A listener on 127.0.0.1 is opened and its address printed, as `postern connect` does. The first viewer is served.
//! 2. It is let in without a password and sees the screen as it was when the session began.
//! 3. Events are played when they are due. A viewer that asks for an update gets what has changed, without compression and
//!    in its own pixel format.
//! 4. At the end the last picture stays until the viewer leaves, or Ctrl-C.
//!
//! What the viewer sends of keys and pointer is read and means nothing: this is a recording.

mod audience;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use postern_protocol::policy::Kind;
use postern_protocol::recording::{Event, What};

use self::audience::{Said, listen, welcome};
use super::film::Film;
use super::picture::{Picture, Rect};
use super::pixels::Pixels;
use super::stage::Stage;
use super::{cut, title};
use crate::args::ReplayArgs;
use crate::connect::{Place, interrupted, viewer};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// Shows a recording until the viewer leaves.
pub(super) async fn run(film: Film, args: &ReplayArgs, screen: &Screen) -> Result<Exit, Problem> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port.unwrap_or(0)));
    let failed = |error| Problem::listener(addr, &error);
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let header = film.header();
    let place = Place::at(Kind::Vnc, listener.local_addr().map_err(failed)?);
    screen.answer(&Shown { url: &place.url, address: place.addr, tunnel: header.tunnel.to_string() });
    screen.say(&place.url);
    screen.note(&title(header));
    if args.open
        && let Err(problem) = viewer::open(Kind::Vnc, &place).await
    {
        screen.note(&problem.to_string());
    }
    tokio::select! {
        outcome = async {
            let (socket, _) = listener.accept().await.map_err(failed)?;
            drop(listener);
            Show::new(film, args.speed.0, screen).run(socket).await
        } => outcome,
        () = interrupted() => Ok(Exit::Done),
    }
}

/// One recording before one viewer.
struct Show<'a> {
    film: Film,
    stage: Stage,
    /// The next event, until it is due.
    next: Option<Event>,
    speed: f64,
    began: Instant,
    screen: &'a Screen,
    /// How the viewer wants pixels.
    pixels: Option<Pixels>,
    /// Whether the viewer follows a screen that changes its size.
    resizes: bool,
    /// The size that the viewer knows.
    size: (u16, u16),
    /// The viewer waits for an update; `true` for one of the whole screen.
    wanted: Option<bool>,
}

impl<'a> Show<'a> {
    fn new(film: Film, speed: f64, screen: &'a Screen) -> Self {
        Self {
            film,
            stage: Stage::default(),
            next: None,
            speed,
            began: Instant::now(),
            screen,
            pixels: None,
            resizes: false,
            size: (0, 0),
            wanted: None,
        }
    }

    async fn run(mut self, socket: TcpStream) -> Result<Exit, Problem> {
        // A viewer on this computer: small writes would wait for nothing.
        let _best_effort = socket.set_nodelay(true);
        self.advance()?;
        while self.stage.picture().is_none() {
            match self.next.take() {
                Some(event) => self.play(event.what)?,
                None => return Err(Problem::unplayable(self.film.path(), &super::Fault::NoScreen)),
            }
            self.advance()?;
        }
        self.size = self.stage.picture().map_or((0, 0), Picture::size);
        let (mut reader, writer) = socket.into_split();
        let mut writer = BufWriter::new(writer);
        let greeted = welcome((&mut reader, &mut writer), self.size, self.stage.name());
        let Ok(Ok(())) = tokio::time::timeout(WITHIN, greeted).await else { return Ok(Exit::Done) };
        let (send, mut said) = mpsc::channel(SAYINGS);
        let listening = tokio::spawn(listen(reader, send));
        self.began = Instant::now();
        let outcome = self.show(&mut writer, &mut said).await;
        listening.abort();
        outcome
    }

    async fn show(
        &mut self,
        writer: &mut BufWriter<OwnedWriteHalf>,
        said: &mut mpsc::Receiver<Said>,
    ) -> Result<Exit, Problem> {
        loop {
            let due = self.next.as_ref().map(|event| self.began + self.span(event.at_ms));
            tokio::select! {
                heard = said.recv() => match heard {
                    Some(Said::Format(format)) => self.pixels = Some(Pixels::new(format)),
                    Some(Said::Resizes(resizes)) => self.resizes = resizes,
                    Some(Said::Wants { whole }) => {
                        self.wanted = Some(whole || self.wanted == Some(true));
                    }
                    None => return Ok(self.end()),
                },
                () = until(due) => {
                    if let Some(event) = self.next.take() {
                        self.play(event.what)?;
                    }
                    self.advance()?;
                }
            }
            if self.update(writer).await.is_err() {
                return Ok(self.end());
            }
        }
    }

    /// Takes the next event, and says at the end whether that was the end.
    fn advance(&mut self) -> Result<(), Problem> {
        self.next = self.film.next()?;
        if self.next.is_none() {
            match self.film.cut() {
                Some(chunks) => self.screen.report(&cut(self.film.path(), chunks)),
                None => self.screen.note("this is the end of the recording"),
            }
        }
        Ok(())
    }

    fn play(&mut self, what: What) -> Result<(), Problem> {
        let before = self.stage.mode();
        self.stage.play(what).map_err(|fault| Problem::unplayable(self.film.path(), &fault))?;
        if self.stage.mode() != before
            && let Some(mode) = self.stage.mode()
        {
            self.screen.note(&format!("the mode of the session is now: {mode}"));
        }
        Ok(())
    }

    /// How long after its beginning something is shown.
    fn span(&self, at_ms: u64) -> Duration {
        let seconds = Duration::from_millis(at_ms).as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(FOREVER)
    }

    /// Sends what the viewer waits for, if there is something.
    async fn update(&mut self, writer: &mut BufWriter<OwnedWriteHalf>) -> std::io::Result<()> {
        let (Some(whole), Some(picture)) = (self.wanted, self.stage.picture_mut()) else { return Ok(()) };
        if !whole && !picture.has_changed() {
            return Ok(());
        }
        if picture.size() != self.size {
            if !self.resizes {
                self.screen.note("the screen changed its size, which this viewer cannot follow");
                return Err(std::io::ErrorKind::Unsupported.into());
            }
            self.size = picture.size();
            let whole = picture.whole();
            writer.write_all(&[0, 0, 0, 1]).await?;
            writer.write_all(&rectangle(whole, DESKTOP_SIZE)).await?;
            // The viewer asks anew for what is on it.
            self.wanted = None;
            return writer.flush().await;
        }
        let changed = picture.take_changed();
        let rect = if whole { picture.whole() } else { changed.unwrap_or_else(|| picture.whole()) };
        let pixels = self.pixels.get_or_insert_with(|| Pixels::new(audience::FORMAT));
        writer.write_all(&[0, 0, 0, 1]).await?;
        writer.write_all(&rectangle(rect, RAW)).await?;
        let mut line = Vec::with_capacity(usize::from(rect.width) * pixels.bytes());
        for row in picture.rows(rect) {
            line.clear();
            row.iter().for_each(|colour| pixels.write(*colour, &mut line));
            writer.write_all(&line).await?;
        }
        self.wanted = None;
        writer.flush().await
    }

    /// The viewer has left.
    fn end(&self) -> Exit {
        if self.film.cut().is_some() { Exit::Failure } else { Exit::Done }
    }
}

fn rectangle(rect: Rect, encoding: i32) -> Vec<u8> {
    let place = [rect.x, rect.y, rect.width, rect.height].map(u16::to_be_bytes);
    [place.as_flattened(), &encoding.to_be_bytes()].concat()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

const RAW: i32 = 0;
const DESKTOP_SIZE: i32 = -223;
/// Messages of the viewer that wait.
const SAYINGS: usize = 16;
/// Time for a viewer to be let in.
const WITHIN: Duration = Duration::from_secs(30);
/// Longer than anybody looks.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Serialize)]
struct Shown<'a> {
    url: &'a str,
    address: SocketAddr,
    tunnel: String,
}
