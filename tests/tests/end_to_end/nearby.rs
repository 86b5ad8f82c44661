//! An engineer on the machine network itself: no internet, no hub, and the device known under an address at which nobody answers.

use std::net::SocketAddr;

use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, ROUTER_ADDRESS, Site, run_ip};
use postern_tests::world::{DEVICE, Done, Fleet, Grant, Mishap, Office, Person, Running, World};
use tokio::net::UdpSocket;

use super::gate::DENIED;
use super::peers::{missing, programs};
use super::stage::{LAB, Outcome};

/// A device with a web page behind it, whose hub has died and which has been started since, and three people: Anna may use the page
/// also without the hub, Carl only with it, and Bert something else.
struct Bench {
    world: World,
    anna: Person,
    bert: Person,
    carl: Person,
    site: Site,
    python: std::path::PathBuf,
    _page: Running,
    _nowhere: UdpSocket,
}

impl Bench {
    async fn start(test: &str, mdns: &str) -> Result<Option<Self>, Mishap> {
        let Some([python, _ip]) = programs(test, ["python3", "ip"]) else { return Ok(None) };
        let Some(site) = Site::enter()? else {
            missing(test, "the right to make network namespaces (root)");
            return Ok(None);
        };
        let page = ["-u", "-m", "http.server", "8080", "--bind", MACHINE_ADDRESS];
        let page = site.machine(&python).args(page).start("page")?;
        page.line("that it serves", |line| line.text.contains("Serving HTTP")).await?;
        let at = SocketAddr::new(MACHINE_ADDRESS.parse().unwrap(), 8080);
        let fleet = Fleet::new()
            .service("web", "http", at)
            .service("hmi", "vnc", at)
            .grant(Grant::new("anna", &["web"]).offline())
            .grant(Grant::new("bert", &["hmi"]).offline())
            .allow("carl", &["web"]);
        let mut world = World::beside(LAB, &fleet, NETWORK).await?;
        let nowhere = UdpSocket::bind((world.device.listen().ip(), 0)).await?;
        world.device.say_at(nowhere.local_addr()?)?;
        world.device.serve_everywhere()?;
        world.device.stop().await?;
        world.device.configure(mdns)?;
        world.device.run().await?;
        world.settle().await?;
        let (anna, bert, carl) =
            (world.person("anna").await?, world.person("bert").await?, world.person("carl").await?);
        for person in [&anna, &bert, &carl] {
            person.call(["devices"]).finish().await?.expect_code(0)?;
        }
        world.hub.kill().await?;
        world.device.kill().await?;
        world.device.run().await?;
        Ok(Some(Self { world, anna, bert, carl, site, python, _page: page, _nowhere: nowhere }))
    }

    /// Asks for the page on the machine network.
    async fn page(&self, person: &Person, device: &str) -> Result<Done, Mishap> {
        let call = person.call(["connect", device, "web", "--stdio"]);
        self.site
            .on_machines_side(&call)
            .input(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n".as_slice())
            .finish()
            .await
    }

    /// Asks for devices by multicast on the machine network, from this address; how many answers came, and the first.
    async fn ask(&self, from: &str, times: u32) -> Result<(u32, String), Mishap> {
        let call = self.site.machine(&self.python).args(["-c", ASK, from, &times.to_string()]);
        Ok(answers(&call.finish().await?.expect_code(0)?))
    }
}

fn answers(done: &Done) -> (u32, String) {
    let (count, first) = done.out.trim().split_once(' ').unwrap();
    (count.parse().unwrap(), first.to_owned())
}

/// Asks for `_postern._udp.local`, once or often, and waits a second for answers.
const ASK: &str = "
import socket, sys
own, times = sys.argv[1], int(sys.argv[2])
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
asking.bind((own, 0))
question = b'\\x12\\x34\\0\\0\\0\\1\\0\\0\\0\\0\\0\\0\\x08_postern\\x04_udp\\x05local\\0\\0\\x0c\\0\\1'
for _ in range(times):
    asking.sendto(question, ('224.0.0.251', 5353))
asking.settimeout(1)
answers = []
try:
    while True:
        answers.append(asking.recv(2000))
except TimeoutError:
    print(len(answers), answers[0] if answers else 'none')
";

/// Answers every question with thirty ports at which nobody is.
const LIE: &str = "
import socket, struct, sys
lying = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
lying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
lying.bind(('', 5353))
lying.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
    socket.inet_aton('224.0.0.251') + socket.inet_aton(sys.argv[1]))
print('ready', flush=True)
while True:
    question, who = lying.recvfrom(2000)
    for port in range(1, 31):
        head = question[:2] + b'\\x84\\0\\0\\1\\0\\1\\0\\0\\0\\0'
        where = b'\\xc0\\x0c' + struct.pack('>HHIHHHH', 33, 1, 10, 8, 0, 0, port) + b'\\xc0\\x0c'
        lying.sendto(head + question[12:] + where, who)
    print('lied', flush=True)
";

#[tokio::test]
async fn without_a_hub_a_device_is_found_on_the_machine_network_and_decides_as_always() -> Outcome {
    let test = "without_a_hub_a_device_is_found_on_the_machine_network_and_decides_as_always";
    let Some(bench) = Bench::start(test, "").await? else { return Ok(()) };
    let page = bench.page(&bench.anna, DEVICE).await?.expect_code(0)?;
    assert!(page.out.starts_with("HTTP/1.0 200"), "{}", page.out);
    let at = format!("{ROUTER_ADDRESS}:{}", bench.world.device.listen().port());
    let note = format!("postern: {DEVICE} was found on a network of this computer, at ");
    assert!(page.err.contains(&note), "{} {at}", page.err);

    let refused = bench.page(&bench.bert, DEVICE).await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    // What is granted without `offline` needs a word of the hub.
    let refused = bench.page(&bench.carl, DEVICE).await?.expect_code(DENIED)?;
    assert!(refused.err.contains("the device's policy is out of date"), "{}", refused.err);
    Ok(())
}

#[tokio::test]
async fn a_device_that_answers_no_multicast_is_reached_by_address_and_decides_as_always() -> Outcome {
    let test = "a_device_that_answers_no_multicast_is_reached_by_address_and_decides_as_always";
    let Some(bench) = Bench::start(test, "[mdns]\nanswer = false\n").await? else { return Ok(()) };
    bench.page(&bench.anna, DEVICE).await?.expect_code(5)?;
    assert_eq!(bench.ask(MACHINE_ADDRESS, 1).await?.0, 0);
    let sockets = bench.site.shape()?.0;
    assert!(!sockets.contains(":5353"), "{sockets}");

    let named = format!("{DEVICE}@{ROUTER_ADDRESS}:{}", bench.world.device.listen().port());
    let page = bench.page(&bench.anna, &named).await?.expect_code(0)?;
    assert!(page.out.starts_with("HTTP/1.0 200"), "{}", page.out);
    let refused = bench.page(&bench.bert, &named).await?.expect_code(DENIED)?;
    assert!(refused.err.contains("nothing grants you this service"), "{}", refused.err);
    // Nobody is there, and it is looked for nowhere else.
    bench.page(&bench.anna, &format!("{DEVICE}@{MACHINE_ADDRESS}:9")).await?.expect_code(5)?;
    Ok(())
}

#[tokio::test]
async fn a_laptop_without_an_ipv4_address_finds_the_device_by_ipv6() -> Outcome {
    let test = "a_laptop_without_an_ipv4_address_finds_the_device_by_ipv6";
    let Some(bench) = Bench::start(test, "").await? else { return Ok(()) };
    let flush = bench.site.machine("ip").args(["-4", "addr", "flush", "dev", "lan"]);
    flush.finish().await?.expect_code(0)?;
    let call = bench.anna.call(["services", DEVICE, "--json"]);
    let listed = bench.site.on_machines_side(&call).finish().await?.expect_code(0)?;
    assert!(listed.out.contains("\"web\""), "{}", listed.out);
    Ok(())
}

#[tokio::test]
async fn who_lies_on_the_network_is_dialled_in_vain_and_the_device_is_found_all_the_same() -> Outcome {
    let test = "who_lies_on_the_network_is_dialled_in_vain_and_the_device_is_found_all_the_same";
    let Some(bench) = Bench::start(test, "").await? else { return Ok(()) };
    let liar = bench.site.machine(&bench.python).args(["-u", "-c", LIE, MACHINE_ADDRESS]).start("liar")?;
    liar.line("that it is ready", |line| line.text == "ready").await?;
    let page = bench.page(&bench.anna, DEVICE).await?.expect_code(0)?;
    assert!(page.out.starts_with("HTTP/1.0 200"), "{}", page.out);
    liar.line("that it lied", |line| line.text == "lied").await?;
    Ok(())
}

#[tokio::test]
async fn a_stranger_learns_that_there_is_a_device_and_not_which_and_floods_nobody_with_answers() -> Outcome {
    let test = "a_stranger_learns_that_there_is_a_device_and_not_which_and_floods_nobody_with_answers";
    let Some(bench) = Bench::start(test, "").await? else { return Ok(()) };
    let (count, answer) = bench.ask(MACHINE_ADDRESS, 1).await?;
    assert_eq!(count, 1);
    assert!(answer.contains("_postern") && !answer.contains("press") && !answer.contains("acme"), "{answer}");
    // Twenty in each of the two seconds that a burst may touch.
    let (count, _) = bench.ask(MACHINE_ADDRESS, 500).await?;
    assert!((1..=40).contains(&count), "{count}");

    // Somebody of elsewhere, to whom the device has a route, or who says so.
    run_ip(&["route", "add", "10.99.0.0/24", "dev", "lan"])?;
    let add = bench.site.machine("ip").args(["addr", "add", "10.99.0.9/24", "dev", "lan"]);
    add.finish().await?.expect_code(0)?;
    assert_eq!(bench.ask("10.99.0.9", 1).await?.0, 0);
    Ok(())
}

#[tokio::test]
async fn a_device_answers_on_other_networks_only_where_the_configuration_says_so() -> Outcome {
    let test = "a_device_answers_on_other_networks_only_where_the_configuration_says_so";
    let Some(mut bench) = Bench::start(test, "").await? else { return Ok(()) };
    // A network that comes while the agent runs.
    let office = Office::beside(&[&bench.site], 1500)?;
    let ask = |python: &std::path::Path| {
        office.at(&postern_tests::world::Call::new(python).args(["-c", ASK, "10.79.0.2", "1"]))
    };
    assert_eq!(answers(&ask(&bench.python).finish().await?.expect_code(0)?).0, 0);
    bench.world.device.kill().await?;
    bench.world.device.configure("[mdns]\nalso_on = [\"wan0\"]\n")?;
    bench.world.device.run().await?;
    assert_eq!(answers(&ask(&bench.python).finish().await?.expect_code(0)?).0, 1);
    // The networks of machines go on, also one that is made anew.
    assert_eq!(bench.ask(MACHINE_ADDRESS, 1).await?.0, 1);
    Ok(())
}
