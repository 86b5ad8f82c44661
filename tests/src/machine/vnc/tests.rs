//! Viewers written by hand, byte by byte, against the panel's server.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::process::State;
use super::super::{Counts, Machine};
use super::*;

async fn press() -> (Machine, TcpStream) {
    let machine = Machine::start(11).await.unwrap();
    let viewer = TcpStream::connect(machine.vnc).await.unwrap();
    (machine, viewer)
}

async fn take(viewer: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    viewer.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Shakes hands in version 3.8 and reads ServerInit.
async fn open(viewer: &mut TcpStream) {
    assert_eq!(take(viewer, 12).await, b"RFB 003.008\n");
    viewer.write_all(b"RFB 003.008\n\x01\x01").await.unwrap();
    assert_eq!(take(viewer, 6).await, [1, 1, 0, 0, 0, 0]);
    server_init(viewer).await;
}

async fn server_init(viewer: &mut TcpStream) {
    let init = take(viewer, 31).await;
    assert_eq!(init[..4], [0x02, 0x80, 0x01, 0x90]);
    assert_eq!(init[4..20], [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    assert_eq!(init[20..], *b"\0\0\0\x07press-7");
}

/// Reads one FramebufferUpdate and returns its rectangles with their bytes.
async fn update(viewer: &mut TcpStream, bytes_per_pixel: usize) -> Vec<(Rect, Vec<u8>)> {
    let head = take(viewer, 4).await;
    assert_eq!(head[..2], [0, 0]);
    let mut rects = Vec::new();
    for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
        let rect = Rect::from_bytes(take(viewer, 8).await.try_into().unwrap());
        assert_eq!(take(viewer, 4).await, [0, 0, 0, 0]);
        let length = usize::from(rect.width) * usize::from(rect.height) * bytes_per_pixel;
        rects.push((rect, take(viewer, length).await));
    }
    rects
}

/// The left edge of the start and stop button: red while running, green when stopped.
const BUTTON_EDGE: [u8; 10] = [3, 0, 0, 10, 1, 120, 0, 2, 0, 1];

#[tokio::test]
async fn a_viewer_of_version_3_8_gets_the_pixels_it_asked_for() {
    let (_machine, mut viewer) = press().await;
    open(&mut viewer).await;
    viewer.write_all(&BUTTON_EDGE).await.unwrap();
    let rect = Rect { x: 10, y: 376, width: 2, height: 1 };
    let red = vec![0x5e, 0x5d, 0xf0, 0, 0x5e, 0x5d, 0xf0, 0];
    assert_eq!(update(&mut viewer, 4).await, [(rect, red)]);
}

#[tokio::test]
async fn a_viewer_of_version_3_3_is_given_security_none() {
    let (_machine, mut viewer) = press().await;
    take(&mut viewer, 12).await;
    viewer.write_all(b"RFB 003.003\n\x00").await.unwrap();
    assert_eq!(take(&mut viewer, 4).await, [0, 0, 0, 1]);
    server_init(&mut viewer).await;
}

#[tokio::test]
async fn a_viewer_of_version_3_7_gets_no_security_result() {
    let (_machine, mut viewer) = press().await;
    take(&mut viewer, 12).await;
    viewer.write_all(b"RFB 003.007\n\x01\x00").await.unwrap();
    assert_eq!(take(&mut viewer, 2).await, [1, 1]);
    server_init(&mut viewer).await;
}

#[tokio::test]
async fn a_security_type_that_was_not_offered_is_refused_with_a_reason() {
    let (_machine, mut viewer) = press().await;
    take(&mut viewer, 12).await;
    viewer.write_all(b"RFB 003.008\n\x02").await.unwrap();
    let mut rest = Vec::new();
    viewer.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"\x01\x01\0\0\0\x01\0\0\0\x22only security type None is offered");
}

#[tokio::test]
async fn a_peer_that_speaks_another_protocol_is_disconnected() {
    let (_machine, mut viewer) = press().await;
    viewer.write_all(b"GET / HTTP/1").await.unwrap();
    assert_eq!(take(&mut viewer, 12).await, b"RFB 003.008\n");
    let mut rest = Vec::new();
    viewer.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn the_pixel_format_is_honoured_from_the_next_update_on() {
    let (_machine, mut viewer) = press().await;
    open(&mut viewer).await;
    for (format, red) in [
        (PixelFormat::RGB565, vec![0xeb, 0xea]),
        (PixelFormat::RGB565.big_endian(), vec![0xea, 0xeb]),
        (PixelFormat::BGR233, vec![0x5f]),
        (PixelFormat::RGB888.big_endian(), vec![0, 0xf0, 0x5d, 0x5e]),
    ] {
        viewer.write_all(&[0, 0, 0, 0]).await.unwrap();
        viewer.write_all(&format.to_bytes()).await.unwrap();
        viewer.write_all(&BUTTON_EDGE).await.unwrap();
        let got = update(&mut viewer, format.bytes_per_pixel()).await;
        assert_eq!(got[0].1, [red.clone(), red].concat(), "{format:?}");
    }
}

#[tokio::test]
async fn an_incremental_request_is_answered_with_less_than_the_whole_panel() {
    let (_machine, mut viewer) = press().await;
    open(&mut viewer).await;
    let whole = [3, 0, 0, 0, 0, 0, 0x02, 0x80, 0x01, 0x90];
    viewer.write_all(&whole).await.unwrap();
    assert_eq!(update(&mut viewer, 4).await[0].0, BOUNDS);
    viewer.write_all(&[3, 1, 0, 0, 0, 0, 0x02, 0x80, 0x01, 0x90]).await.unwrap();
    let changed = update(&mut viewer, 4).await;
    let area: u32 = changed.iter().map(|(r, _)| u32::from(r.width) * u32::from(r.height)).sum();
    assert!(area > 0 && area < 640 * 400 / 2, "{area} pixels");
}

#[tokio::test]
async fn a_click_on_the_button_stops_the_press_and_turns_it_green_for_every_viewer() {
    let (machine, mut viewer) = press().await;
    let mut other = TcpStream::connect(machine.vnc).await.unwrap();
    open(&mut viewer).await;
    open(&mut other).await;
    other.write_all(&BUTTON_EDGE).await.unwrap();
    update(&mut other, 4).await;
    let mut incremental = BUTTON_EDGE;
    incremental[1] = 1;
    other.write_all(&incremental).await.unwrap();
    // Moving with the button held is one press, not three.
    for x in [60, 61, 62] {
        viewer.write_all(&[5, 1, 0, x, 1, 110]).await.unwrap();
    }
    let green = vec![0x7a, 0xd3, 0x34, 0, 0x7a, 0xd3, 0x34, 0];
    assert_eq!(update(&mut other, 4).await[0].1, green);
    assert_eq!(machine.readings().state, State::Stopped);
    let counts = machine.inputs.when(|now| now.pointer_events == 3).await;
    assert_eq!((counts.clicks, counts.viewers), (1, 2));
}

#[tokio::test]
async fn a_click_beside_the_buttons_leaves_the_press_running() {
    let (machine, mut viewer) = press().await;
    open(&mut viewer).await;
    viewer.write_all(&[5, 1, 0, 60, 0, 100, 5, 0, 0, 60, 0, 100]).await.unwrap();
    let counts = machine.inputs.when(|now| now.pointer_events == 2).await;
    assert_eq!(counts.clicks, 1);
    assert_eq!(machine.readings().state, State::Running);
}

#[tokio::test]
async fn keys_and_clipboard_texts_are_counted() {
    let (machine, mut viewer) = press().await;
    open(&mut viewer).await;
    viewer.write_all(&[4, 1, 0, 0, 0, 0, 0, b'a', 4, 0, 0, 0, 0, 0, 0, b'a']).await.unwrap();
    viewer.write_all(&[6, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']).await.unwrap();
    let counts = machine.inputs.when(|now| now.cut_texts == 1).await;
    assert_eq!(counts, Counts { keys: 1, cut_texts: 1, viewers: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_viewer_that_leaves_is_no_longer_counted() {
    let (machine, mut viewer) = press().await;
    open(&mut viewer).await;
    assert_eq!(machine.inputs.when(|now| now.viewers == 1).await.viewers, 1);
    drop(viewer);
    assert_eq!(machine.inputs.when(|now| now.viewers == 0).await.viewers, 0);
}

#[tokio::test]
async fn requests_outside_the_panel_are_ignored_and_later_ones_answered() {
    let (_machine, mut viewer) = press().await;
    open(&mut viewer).await;
    viewer.write_all(&[3, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    viewer.write_all(&BUTTON_EDGE).await.unwrap();
    assert_eq!(update(&mut viewer, 4).await[0].0, Rect { x: 10, y: 376, width: 2, height: 1 });
}

#[tokio::test(start_paused = true)]
async fn a_silent_viewer_is_disconnected_at_the_deadline() {
    let (near, mut far) = tokio::io::duplex(64);
    let (mut reader, mut writer) = tokio::io::split(near);
    let fault = admit(&mut reader, &mut writer).await.unwrap_err();
    assert_eq!(fault.to_string(), "no handshake within 10 s");
    let mut banner = [0; 12];
    far.read_exact(&mut banner).await.unwrap();
    assert_eq!(banner, *b"RFB 003.008\n");
}
