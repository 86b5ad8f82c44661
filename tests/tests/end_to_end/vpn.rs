//! `postern vpn` against a real agent: the machine is in a network of its own behind the device, and programs of the engineer's
//! computer reach it over the adapter. That computer is the router as well, so the machine's network is its own: there is an alias.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use ipnet::Ipv4Net;
use postern_tests::programs::Program;
use postern_tests::world::site::{MACHINE_ADDRESS, NETWORK, Site};
use postern_tests::world::{Call, DEVICE, Ending, Fleet, Mishap, Running, Stream, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::peers::{missing, programs};
use super::stage::{LAB, Outcome};

/// A site with a machine that echoes at 102 and 103, says so of each connection, and echoes at 161 by UDP.
pub(crate) async fn site(test: &str) -> Result<Option<(Site, Running)>, Mishap> {
    let Some([python, _ip]) = programs(test, ["python3", "ip"]) else { return Ok(None) };
    if !std::path::Path::new("/dev/net/tun").exists() {
        missing(test, "/dev/net/tun");
        return Ok(None);
    }
    let Some(site) = Site::enter()? else {
        missing(test, "the right to make network namespaces (root)");
        return Ok(None);
    };
    let machine = site.machine(&python).args(["-u", "-c", ECHO, MACHINE_ADDRESS]).start("machine")?;
    machine.line("that it is ready", |line| line.text == "ready").await?;
    Ok(Some((site, machine)))
}

const ECHO: &str = "
import socket, sys, threading
def serve(connection):
    print(f'accepted {connection.getsockname()[1]}\\n', end='', flush=True)
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()
def accept(listener):
    while True:
        threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
for port in (102, 103):
    listener = socket.create_server((sys.argv[1], port))
    threading.Thread(target=accept, args=[listener], daemon=True).start()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], 161))
print('ready')
while True:
    data, where = datagrams.recvfrom(65536)
    datagrams.sendto(data, where)
";

pub(crate) fn fleet(destinations: &[&str]) -> Fleet {
    Fleet::new().vpn("cell", destinations).allow("anna", &["cell"])
}

/// The address of the machine on this computer.
pub(crate) async fn up(world: &World) -> Result<(Running, Ipv4Addr), Mishap> {
    let person = world.person("anna").await?;
    up_with(person.call(["vpn", DEVICE, "--json"])).await
}

/// The same with a command that was chosen.
pub(crate) async fn up_with(call: Call) -> Result<(Running, Ipv4Addr), Mishap> {
    let running = call.start(Program::Client.name())?;
    let line = running.line("the networks", |line| line.stream == Stream::Out).await?;
    let said: Value = serde_json::from_str(&line.text).unwrap();
    let network = &said["networks"][0];
    let alias: Ipv4Net = network["here"][0].as_str().unwrap().parse().unwrap();
    assert_eq!((&network["real"], &network["alias"]), (&NETWORK.into(), &true.into()));
    Ok((running, Ipv4Addr::from_bits(alias.network().to_bits() | 10)))
}

pub(crate) async fn connect(ip: Ipv4Addr, port: u16) -> Result<TcpStream, ErrorKind> {
    let connecting = TcpStream::connect(SocketAddr::new(IpAddr::V4(ip), port));
    tokio::time::timeout(GENEROUS, connecting).await.unwrap().map_err(|error| error.kind())
}

/// Interfaces and routes.
pub(crate) fn shape() -> String {
    let say = |args: &[&str]| Command::new("ip").args(args).output().unwrap().stdout;
    String::from_utf8([say(&["-brief", "address"]), say(&["route"]), say(&["-6", "route"])].concat()).unwrap()
}

#[tokio::test]
async fn a_program_reaches_what_is_granted_over_the_adapter_and_nothing_else() -> Outcome {
    let Some((_site, _machine)) =
        site("a_program_reaches_what_is_granted_over_the_adapter_and_nothing_else").await?
    else {
        return Ok(());
    };
    let destinations = [format!("\"tcp {NETWORK} 102\""), format!("\"udp {MACHINE_ADDRESS} 161\"")];
    let fleet = fleet(&destinations.each_ref().map(String::as_str));
    let world = World::beside(LAB, &fleet, NETWORK).await?;
    let (_running, machine) = up(&world).await?;
    let mut socket = connect(machine, 102).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut reader, mut writer) = socket.split();
    let mut seen = vec![0; sent.len()];
    let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut seen));
    assert!(written.is_ok() && read.is_ok() && seen == sent);
    let udp = UdpSocket::bind("0.0.0.0:0").await?;
    udp.connect((machine, 161)).await?;
    let mut buffer = [0; 4000];
    // The second is cut by the kernel on the way to the adapter.
    for data in [vec![1; 10], vec![2; 3000]] {
        udp.send(&data).await?;
        let length = tokio::time::timeout(GENEROUS, udp.recv(&mut buffer)).await.unwrap()?;
        assert!(buffer[..length] == data, "{length} bytes");
    }
    // The device says no, and it is heard at once; the machine would have said yes.
    assert_eq!(connect(machine, 103).await.err(), Some(ErrorKind::HostUnreachable));
    let rows = world.device.audit().await?;
    assert!(
        rows.iter().any(|row| row.to_string().contains(MACHINE_ADDRESS)),
        "the trail knows real addresses"
    );
    assert!(!rows.iter().any(|row| row.to_string().contains(&machine.to_string())), "and no alias");
    Ok(())
}

#[tokio::test]
async fn a_narrower_policy_and_a_withdrawn_one_reach_programs_and_routes() -> Outcome {
    let Some((_site, _machine)) =
        site("a_narrower_policy_and_a_withdrawn_one_reach_programs_and_routes").await?
    else {
        return Ok(());
    };
    let before = shape();
    let world = World::beside(LAB, &fleet(&[&format!("\"tcp {NETWORK} 102-103\"")]), NETWORK).await?;
    let (mut running, machine) = up(&world).await?;
    let (mut kept, mut lost) = (connect(machine, 102).await.unwrap(), connect(machine, 103).await.unwrap());
    for socket in [&mut kept, &mut lost] {
        socket.write_all(b"x").await?;
        assert_eq!(socket.read_u8().await?, b'x');
    }
    let narrow = fleet(&[&format!("\"tcp {NETWORK} 102\"")]);
    world.apply(&narrow).await?;
    let end = tokio::time::timeout(GENEROUS, lost.read_u8()).await.unwrap();
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    kept.write_all(b"y").await?;
    assert_eq!(kept.read_u8().await?, b'y', "what is still granted goes on");
    world.apply(&narrow.without_grants_of("anna")).await?;
    let end = tokio::time::timeout(GENEROUS, kept.read_u8()).await.unwrap();
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(running.ended().await?, Ending::Code(4), "{}", running.log());
    let restored = async {
        while shape() != before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(GENEROUS, restored).await.unwrap();
    Ok(())
}

const GENEROUS: Duration = Duration::from_secs(30);
