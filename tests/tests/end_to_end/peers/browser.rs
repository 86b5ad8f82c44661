//! A browser as an engineer uses it, and a page in it that means harm.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use postern_tests::machine::Machine;
use postern_tests::world::{Fleet, Mishap, World};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::super::stage::{LAB, Outcome};
use super::chromium::Browser;
use super::programs;

#[tokio::test]
async fn a_panel_with_root_links_cookies_and_a_socket_works_in_chromium_as_before_the_machine() -> Outcome {
    let name = "a_panel_with_root_links_cookies_and_a_socket_works_in_chromium_as_before_the_machine";
    let Some([chromium]) = programs(name, ["chromium"]) else { return Ok(()) };
    let room = tempfile::tempdir()?;
    let press = Machine::start(7).await?;
    let fleet = panel(&press).allow("anna", &["web", "live"]).allow("bert", &["web"]);
    let world = World::start(LAB, &fleet).await?;
    let session = world.person("anna").await?.connect("web").await?;
    let mut browser = Browser::start(&chromium, room.path()).await?;

    browser.open(&session.url).await?;
    let origin = browser.value("location.origin").await?;
    assert!(session.url.starts_with(origin.as_str().unwrap()), "{origin}");
    assert_eq!(browser.value("location.href").await?, format!("{}/", origin.as_str().unwrap()));
    browser.until("document.getElementById('link').textContent === 'live'").await?;
    keep(&mut browser, "panel-live").await?;
    // Its links begin at the root, and its cookie is for all of it.
    let number = "document.querySelector('footer').textContent.match(/session no. (\\d+)/)[1]";
    let first = browser.value(number).await?;
    browser.value("document.querySelector('nav a[href=\"/maintenance\"]').click()").await?;
    browser.until("document.title.startsWith('Maintenance') && document.readyState === 'complete'").await?;
    assert_eq!(browser.value(number).await?, first, "the cookie of the panel was lost");
    // A form that acts, and the redirect that answers it.
    browser.value("document.querySelector('form').requestSubmit(); window.old = true").await?;
    browser.until("window.old !== true && location.pathname === '/maintenance'").await?;
    browser.until("document.getElementById('link').textContent === 'live'").await?;
    // The panel cannot read the cookie of the door, and does not get it.
    assert_eq!(browser.value("document.cookie").await?, "");
    drop(browser);

    // The twin: without a grant for the socket the same page stays without live values.
    let session = world.person("bert").await?.connect("web").await?;
    let room = tempfile::tempdir()?;
    let mut browser = Browser::start(&chromium, room.path()).await?;
    browser.open(&session.url).await?;
    browser.until("document.getElementById('link').textContent === 'reconnecting'").await?;
    keep(&mut browser, "panel-without-socket").await?;
    Ok(())
}

#[tokio::test]
async fn a_hostile_page_in_the_same_browser_reaches_nothing_through_an_open_tunnel() -> Outcome {
    let name = "a_hostile_page_in_the_same_browser_reaches_nothing_through_an_open_tunnel";
    let Some([chromium]) = programs(name, ["chromium"]) else { return Ok(()) };
    let room = tempfile::tempdir()?;
    let machine = Recorder::start("<title>panel</title>").await?;
    let fleet = Fleet::new()
        .service("web", "http", machine.address)
        .service("live", "websocket", machine.address)
        .allow("anna", &["web", "live"]);
    let world = World::start(LAB, &fleet).await?;
    let session = world.person("anna").await?.connect("web").await?;
    let mut browser = Browser::start(&chromium, room.path()).await?;
    browser.open(&session.url).await?;
    browser.until("document.title === 'panel'").await?;
    let origin = browser.value("location.origin").await?.as_str().unwrap().to_owned();
    // The page itself may, and what it sends arrives.
    assert_eq!(browser.value("fetch('/own', { method: 'POST' }).then(answer => answer.status)").await?, 200);
    assert!(machine.seen().contains(&"POST /own".to_owned()), "{:?}", machine.seen());
    machine.forget();

    // The attack is one: a machine without a gate before it gets it all.
    let bare = Recorder::start(&HOSTILE.replace("ORIGIN", &format!("http://{}", machine.address))).await?;
    browser.open(&format!("http://{}/", bare.address)).await?;
    browser.value("attack()").await?;
    for reached in ["GET /image", "GET /script", "GET /frame", "GET /form?", "POST /form", "POST /fetch"] {
        assert!(machine.seen().iter().any(|seen| seen == reached), "{reached}: {:?}", machine.seen());
    }
    machine.forget();

    let hostile = Recorder::start(&HOSTILE.replace("ORIGIN", &origin)).await?;
    let port = session.address.port();
    for place in [
        // Another site, another service of the same device by its looks, and a name that was made to point here.
        format!("http://{}/", hostile.address),
        format!("http://evil.press-7.localhost:{}/", hostile.address.port()),
        format!("http://rebound.example:{}/", hostile.address.port()),
    ] {
        browser.open(&place).await?;
        browser.until("document.title === 'hostile'").await?;
        let outcomes = browser.value("attack()").await?;
        for (attempt, outcome) in outcomes.as_object().unwrap() {
            assert_eq!(outcome, "nothing", "{attempt} of {place}");
        }
        assert_eq!(outcomes.as_object().unwrap().len(), 11, "{outcomes}");
        assert_eq!(machine.seen(), Vec::<String>::new(), "{place}");
        // Led there by the page, a person sees the door and not the machine.
        browser.value(&format!("void (location.href = '{origin}/led?act=1')")).await?;
        browser.until("location.pathname === '/led' && document.readyState === 'complete'").await?;
        let text = browser.value("document.body.innerText").await?;
        assert!(text.as_str().unwrap().contains("a page that is not of this service"), "{place}: {text}");
        keep(&mut browser, "led-by-a-hostile-page").await?;
        assert_eq!(machine.seen(), Vec::<String>::new(), "{place}");
    }
    // A name that was made to point at this computer, with the port of the tunnel.
    browser.open(&format!("http://rebound.example:{port}/")).await?;
    let text = browser.value("document.body.innerText").await?;
    assert!(text.as_str().unwrap().contains("not addressed to this service"), "{text}");
    assert_eq!(machine.seen(), Vec::<String>::new());
    // The person's own window still works.
    browser.open(&format!("{origin}/again")).await?;
    assert_eq!(machine.seen().first().map(String::as_str), Some("GET /again"));
    Ok(())
}

/// The press with its page and the socket in it.
fn panel(press: &Machine) -> Fleet {
    let fleet = Fleet::new().service("web", "http", press.web).service("live", "websocket", press.web);
    fleet.limit("live", "paths = [\"/live\"]")
}

/// Keeps a picture for people to look at, where they asked for it.
pub(in super::super) async fn keep(browser: &mut Browser, name: &str) -> Outcome {
    if let Some(dir) = std::env::var_os("POSTERN_PICTURES") {
        std::fs::write(Path::new(&dir).join(format!("{name}.png")), browser.picture().await?)?;
    }
    Ok(())
}

/// A machine that notes each request and answers with one page.
struct Recorder {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

type Noted = (Arc<Mutex<Vec<String>>>, String);

impl Recorder {
    async fn start(page: &str) -> Result<Self, Mishap> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let router = Router::new().fallback(note).with_state((Arc::clone(&seen), page.to_owned()));
        let mut task = JoinSet::new();
        task.spawn(async { axum::serve(listener, router).await.unwrap() });
        Ok(Self { address, seen, _task: task })
    }

    /// What was asked, as `METHOD target`.
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

async fn note(State((seen, page)): State<Noted>, request: Request) -> Response {
    seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
    Html(page).into_response()
}

/// Everything that a page can try without the person's help. Each attempt comes to `nothing`, or to what it learnt.
const HOSTILE: &str = r#"<!doctype html><title>hostile</title><body><script>
const there = path => 'ORIGIN' + path;
const loads = (tag, attribute, path) => new Promise(done => {
  const one = document.createElement(tag);
  one.onload = () => done(tag + ' loaded'); one.onerror = () => done('nothing');
  one[attribute] = there(path); if (tag === 'link') one.rel = 'stylesheet';
  document.body.append(one);
});
// A frame tells nobody whether it shows the machine or the door; the machine's own record does.
const frames = make => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.name = 'frame' + Math.random(); document.body.append(frame);
  frame.onload = () => {
    let text = null; try { text = frame.contentDocument && frame.contentDocument.title; } catch (closed) {}
    done(text ? 'read ' + text : 'nothing');
  };
  make(frame);
});
const sends = method => frames(frame => {
  const form = document.createElement('form');
  form.action = there('/form'); form.method = method; form.target = frame.name;
  document.body.append(form); form.submit();
});
const fetches = options => fetch(there('/fetch'), options)
  .then(answer => answer.type === 'opaque' ? 'nothing' : 'read ' + answer.status, () => 'nothing');
const listens = (kind, path) => new Promise(done => {
  const one = new kind(path);
  one.onopen = () => done('open'); one.onerror = () => { one.close(); done('nothing'); };
});
const attack = async () => ({
  image: await loads('img', 'src', '/image'),
  script: await loads('script', 'src', '/script'),
  style: await loads('link', 'href', '/style'),
  frame: await frames(frame => frame.src = there('/frame')),
  get: await sends('get'),
  post: await sends('post'),
  fetch: await fetches({ credentials: 'include' }),
  blind: await fetches({ mode: 'no-cors', credentials: 'include', method: 'POST', body: 'stop=1' }),
  header: await fetches({ headers: { 'X-Postern-Token': 'guess' } }),
  socket: await listens(WebSocket, there('/socket').replace('http', 'ws')),
  events: await listens(EventSource, there('/events')),
});
</script>"#;
