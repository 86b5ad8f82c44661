//! Recordings: keys, pictures, a viewer that looks, and what is said of files that are not as they should be.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use postern_protocol::gate::rfb::{PixelFormat, Screen};
use postern_protocol::id::{DeviceId, FleetId, TunnelId, UserId};
use postern_protocol::policy::{Kind, Mode, Reason};
use postern_protocol::recording::{Beginning, Header, What, Writer};
use postern_protocol::time::UnixTime;
use postern_protocol::trust::sealed::SealingKey;
use postern_protocol::wire::text::Text;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::world::World;

const FORMAT: PixelFormat = PixelFormat {
    bits_per_pixel: 32,
    depth: 24,
    big_endian: false,
    true_colour: true,
    max: [255; 3],
    shift: [16, 8, 0],
};
const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];

/// A directory with a key and a recording of a screen of two pixels: red at the beginning, green after three seconds.
struct Shelf {
    dir: tempfile::TempDir,
    /// Where the chunk with green begins.
    middle: usize,
}

impl Shelf {
    async fn new(world: &World) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let made = world.run(&["replay", "keygen", key.to_str().unwrap()]).await;
        assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{made:?}");
        let public = HEXLOWER.decode(made.stdout.trim().as_bytes()).unwrap().try_into().unwrap();
        let (bytes, middle) = recording(SealingKey::new(public).unwrap());
        std::fs::write(dir.path().join("whole"), &bytes).unwrap();
        std::fs::write(dir.path().join("cut"), &bytes[..middle]).unwrap();
        Self { dir, middle }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `postern replay` of a file here, with more arguments.
    fn replay(&self, file: &str, more: &[&str]) -> Vec<String> {
        let (file, key) = (self.path(file), self.path("key"));
        let begin = ["replay", file.to_str().unwrap(), "--key", key.to_str().unwrap()];
        begin.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
    }
}

fn painted([red, green, blue]: [u8; 3]) -> What {
    let pixel = [blue, green, red, 0];
    What::Shown([&[0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0][..], &pixel, &pixel].concat())
}

fn recording(key: SealingKey) -> (Vec<u8>, usize) {
    let header = Header {
        fleet: FleetId::new([0xf1; 8]),
        device: DeviceId::new([0xd1; 8]),
        tunnel: TunnelId::new([0x71; 8]),
        user: UserId::new([0xa1; 8]),
        category: "maintenance".parse().unwrap(),
        service: "hmi".parse().unwrap(),
        kind: Kind::Vnc,
        begun: UnixTime::from_secs(1_800_000_000),
        key,
    };
    let (mut writer, mut bytes) = Writer::begin(&header, Zeroizing::new([7; 32])).unwrap();
    writer
        .push(0, What::Screen(Screen { width: 2, height: 1, format: FORMAT, name: Text::clean("press 7") }));
    writer.push(0, What::Mode(Mode::ViewOnly));
    writer.push(10, painted(RED));
    bytes.extend(writer.seal().unwrap());
    let middle = bytes.len();
    writer.push(3_000, painted(GREEN));
    bytes.extend(writer.finish().unwrap());
    (bytes, middle)
}

fn arguments(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn picture(path: &Path) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (info.width, info.height, bytes)
}

#[tokio::test]
async fn pictures_are_exported_where_something_changed() {
    let world = World::new().await;
    let shelf = Shelf::new(&world).await;
    let pictures = shelf.path("pictures");
    let export = shelf.replay("whole", &["--export", pictures.to_str().unwrap()]);
    let outcome = world.run(&arguments(&export)).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    assert!(
        outcome.stdout.starts_with("2 pictures of hmi of dev-d1d1d1d1d1d1d1d1 by usr-a1a1"),
        "{outcome:?}"
    );
    let mut names: Vec<_> =
        std::fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["0000000010ms.png", "0000003000ms.png"]);
    assert_eq!(picture(&pictures.join(&names[0])), (2, 1, [RED, RED].concat()));
    assert_eq!(picture(&pictures.join(&names[1])), (2, 1, [GREEN, GREEN].concat()));
}

#[tokio::test]
async fn a_viewer_sees_the_recording_in_its_time_and_in_its_own_format() {
    let world = World::new().await;
    let shelf = Shelf::new(&world).await;
    let mut running = world.start(&arguments(&shelf.replay("whole", &["--speed", "100"])));
    let mut viewer = TcpStream::connect(("127.0.0.1", running.port().await)).await.unwrap();
    viewer.write_all(b"RFB 003.008\n\x01\x01").await.unwrap();
    let mut greeting = [0; 12 + 2 + 4 + 24 + 7];
    viewer.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting[18..22], [0, 2, 0, 1]);
    assert_eq!(&greeting[42..], b"press 7");
    // 16 bits, most significant byte first; then a key that nobody presses, and updates.
    let format = [0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0];
    let key = [4, 1, 0, 0, 0, 0, 0, 65];
    viewer.write_all(&[&format[..], &key].concat()).await.unwrap();
    let mut last = Vec::new();
    while last != [0x07, 0xe0, 0x07, 0xe0] {
        viewer.write_all(&[3, 1, 0, 0, 0, 0, 0, 2, 0, 1]).await.unwrap();
        let mut update = [0; 16 + 4];
        viewer.read_exact(&mut update).await.unwrap();
        assert_eq!(&update[..16], [0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0]);
        last = update[16..].to_vec();
        assert!(
            [[0, 0, 0, 0], [0xf8, 0, 0xf8, 0], [0x07, 0xe0, 0x07, 0xe0]]
                .contains(&[last[0], last[1], last[2], last[3]])
        );
    }
    drop(viewer);
    let outcome = running.ended().await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("the mode of the session is now: view only"), "{outcome:?}");
    assert!(outcome.stderr.contains("this is the end of the recording"), "{outcome:?}");
}

#[tokio::test]
async fn a_recorded_page_is_a_list_of_its_requests() {
    let world = World::new().await;
    let shelf = Shelf::new(&world).await;
    let whole = std::fs::read(shelf.path("whole")).unwrap();
    let (beginning, _chunks) = Beginning::read(&whole).unwrap();
    let header = Header { kind: Kind::Http, ..beginning.header };
    let (mut writer, mut file) = Writer::begin(&header, Zeroizing::new([9; 32])).unwrap();
    for (at_ms, method, path, reason, status) in
        [(2_000, "GET", "/values", None, 200), (5_000, "POST", "/stop", Some(Reason::MethodDenied), 403)]
    {
        writer.push(at_ms, What::Asked { method: Text::clean(method), path: Text::clean(path) });
        writer.push(at_ms + 30, What::Answered { status: Some(status), reason, bytes: 11 });
    }
    file.extend(writer.finish().unwrap());
    std::fs::write(shelf.path("page"), file).unwrap();
    let outcome = world.run(&arguments(&shelf.replay("page", &[]))).await;
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], "2027-01-15T08:00:02Z\tGET\t/values\t200\t11");
    assert_eq!(lines[1], "2027-01-15T08:00:05Z\tPOST\t/stop\t403 method_denied\t11");
    assert!(lines[2].starts_with("2 requests of hmi of dev-d1d1"), "{outcome:?}");
    let dir = shelf.path("requests");
    let export = shelf.replay("page", &["--export", dir.to_str().unwrap(), "--json"]);
    assert_eq!(world.run(&arguments(&export)).await.code, 0);
    let written = std::fs::read_to_string(dir.join("requests.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    assert_eq!((&first["path"], &first["took_ms"]), (&"/values".into(), &30.into()));
    assert_eq!(written.lines().count(), 2);
}

#[tokio::test]
async fn a_cut_recording_is_exported_up_to_the_cut_and_said_to_be_cut() {
    let world = World::new().await;
    let shelf = Shelf::new(&world).await;
    let pictures = shelf.path("pictures");
    let export = shelf.replay("cut", &["--export", pictures.to_str().unwrap(), "--json"]);
    let outcome = world.run(&arguments(&export)).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.stdout.starts_with("{\"pictures\":1,\"complete\":false}\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("it was cut after 1 chunks; fetch it again"), "{outcome:?}");
    assert_eq!(picture(&pictures.join("0000000010ms.png")), (2, 1, [RED, RED].concat()));
}

#[tokio::test]
async fn another_key_a_changed_byte_and_another_version_are_told_apart() {
    let world = World::new().await;
    let shelf = Shelf::new(&world).await;
    let other = shelf.path("other");
    world.run(&["replay", "keygen", other.to_str().unwrap()]).await;
    let pictures = shelf.path("pictures");
    let mut export = shelf.replay("whole", &["--export", pictures.to_str().unwrap()]);
    export[3] = other.to_str().unwrap().to_owned();
    let outcome = world.run(&arguments(&export)).await;
    assert_eq!(outcome.code, 8, "{outcome:?}");
    assert!(outcome.stderr.contains("it is sealed to the key "), "{outcome:?}");
    let bytes = std::fs::read(shelf.path("whole")).unwrap();
    for (place, words) in [
        (0, "this is no recording of Postern"),
        (8, "a recording of version 9, this program reads version 1"),
        (shelf.middle + 9, "chunk 1 was changed"),
    ] {
        let mut changed = bytes.clone();
        changed[place] = if place == 8 { 9 } else { changed[place] ^ 1 };
        std::fs::write(shelf.path("changed"), changed).unwrap();
        let export = shelf.replay("changed", &["--export", pictures.to_str().unwrap()]);
        let outcome = world.run(&arguments(&export)).await;
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
    let again = world.run(&["replay", "keygen", other.to_str().unwrap()]).await;
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("exists already; choose another file"), "{again:?}");
}
