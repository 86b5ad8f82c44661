use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use postern_protocol::gate::rfb::Screen;
use postern_protocol::wire::text::Text;

use super::*;
use crate::replay::pixels::Colour;
use crate::replay::pixels::tests::{R5G6B5, RGB};

const RED: [u8; 4] = [0, 0, 0xff, 0];
const GREEN: [u8; 4] = [0, 0xff, 0, 0];

fn screen(width: u16, height: u16) -> Screen {
    Screen { width, height, format: RGB, name: Text::clean("press 7") }
}

fn update(rects: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(rects.len()).unwrap().to_be_bytes();
    [vec![0, 0], count.to_vec(), rects.concat()].concat()
}

fn rect(place: [u16; 4], encoding: i32, body: &[u8]) -> Vec<u8> {
    let place = place.map(u16::to_be_bytes);
    [place.as_flattened(), &encoding.to_be_bytes(), body].concat()
}

/// What a screen shows after these bytes, in pieces of any size.
fn shown(size: (u16, u16), bytes: &[u8]) -> Result<Vec<Vec<Colour>>, Fault> {
    let in_pieces = |piece: usize| {
        let mut decoder = Decoder::new(&screen(size.0, size.1))?;
        for piece in bytes.chunks(piece) {
            decoder.handle_bytes(piece)?;
        }
        let picture = decoder.picture();
        Ok(picture.rows(picture.whole()).map(<[Colour]>::to_vec).collect::<Vec<_>>())
    };
    let whole = in_pieces(usize::MAX);
    assert_eq!(in_pieces(1), whole, "pieces matter");
    whole
}

/// Rectangles of one session in ZRLE.
struct Zrle(ZlibEncoder<Vec<u8>>);

impl Zrle {
    fn new() -> Self {
        Self(ZlibEncoder::new(Vec::new(), Compression::default()))
    }

    fn rect(&mut self, place: [u16; 4], tiles: &[u8]) -> Vec<u8> {
        self.0.write_all(tiles).unwrap();
        self.0.flush().unwrap();
        let packed = std::mem::take(self.0.get_mut());
        let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
        rect(place, 16, &[&length[..], &packed].concat())
    }
}

#[test]
fn raw_copied_and_rising_parts_are_painted() {
    let raw = rect([0, 0, 2, 1], 0, &[RED, GREEN].concat());
    let copy = rect([1, 1, 2, 1], 1, &[0, 0, 0, 0]);
    let parts = [&1_u32.to_be_bytes()[..], &GREEN, &RED, &[0, 1, 0, 0, 0, 1, 0, 1]].concat();
    let rre = rect([0, 2, 3, 1], 2, &parts);
    let (r, g) = (0x00ff_0000, 0x0000_ff00);
    assert_eq!(
        shown((3, 3), &update(&[raw, copy, rre])),
        Ok(vec![vec![r, g, 0], vec![0, r, g], vec![g, r, g]])
    );
}

#[test]
fn hextile_keeps_its_colours_from_tile_to_tile() {
    let first = [&[2 | 4 | 8][..], &GREEN, &RED, &[1, 0x00, 0x00]].concat();
    let second = [&[8 | 16, 1][..], &RED, &[0x00, 0x01]].concat();
    let third = [&[1][..], &[RED; 16].concat()].concat();
    let fourth = vec![0];
    let body = [first, second, third, fourth].concat();
    let picture = shown((17, 18), &update(&[rect([0, 0, 17, 17], 5, &body)])).unwrap();
    let (r, g) = (0x00ff_0000, 0x0000_ff00);
    assert_eq!((picture[0][0], picture[0][1], picture[15][15]), (r, g, g));
    assert_eq!((picture[0][16], picture[1][16], picture[2][16]), (r, r, g));
    assert_eq!((picture[16][0], picture[16][15], picture[16][16], picture[17][0]), (r, r, g, 0));
}

#[test]
fn each_kind_of_zrle_tile_is_painted_and_the_stream_goes_on() {
    let (red, green, blue) = ([0, 0, 0xff], [0, 0xff, 0], [0xff, 0, 0]);
    let mut zrle = Zrle::new();
    let raw = zrle.rect([0, 0, 2, 1], &[&[0][..], &red, &green].concat());
    let solid = zrle.rect([2, 0, 2, 1], &[&[1][..], &blue].concat());
    let packed = zrle.rect([0, 1, 4, 1], &[&[3][..], &red, &green, &blue, &[0b0001_1000]].concat());
    let runs = zrle.rect([0, 2, 4, 1], &[&[128][..], &red, &[2], &green, &[0]].concat());
    let indexed = zrle.rect([0, 3, 4, 1], &[&[130][..], &red, &blue, &[0, 129, 2]].concat());
    let (r, g, b) = (0x00ff_0000, 0x0000_ff00, 0x0000_00ff);
    assert_eq!(
        shown((4, 4), &update(&[raw, solid, packed, runs, indexed])),
        Ok(vec![vec![r, g, b, b], vec![r, g, b, r], vec![r, r, r, g], vec![r, b, b, b]])
    );
}

#[test]
fn a_large_zrle_rectangle_has_many_tiles_and_long_runs() {
    let mut tiles = Vec::new();
    for tile in 0..4_u8 {
        // The first tile has 4096 pixels in one run; those at the edge are smaller.
        let pixels: usize = [4096, 64, 64, 1][usize::from(tile)];
        let length = pixels - 1;
        tiles.extend([128, tile, 0, 0]);
        tiles.extend(std::iter::repeat_n(255, length / 255));
        tiles.push(u8::try_from(length % 255).unwrap());
    }
    let picture = shown((65, 65), &update(&[Zrle::new().rect([0, 0, 65, 65], &tiles)])).unwrap();
    assert_eq!((picture[63][63], picture[0][64], picture[64][0], picture[64][64]), (0, 1, 2, 3));
}

#[test]
fn a_new_format_is_that_of_the_next_update_and_not_of_the_one_that_has_begun() {
    let mut decoder = Decoder::new(&screen(2, 1)).unwrap();
    let first = update(&[rect([0, 0, 1, 1], 0, &RED), rect([1, 0, 1, 1], 0, &GREEN)]);
    decoder.handle_bytes(&first[..10]).unwrap();
    decoder.handle_format(R5G6B5);
    decoder.handle_bytes(&first[10..]).unwrap();
    let colours =
        |decoder: &Decoder| decoder.picture().rows(decoder.picture().whole()).next().unwrap().to_vec();
    assert_eq!(colours(&decoder), [0x00ff_0000, 0x0000_ff00]);
    decoder.handle_bytes(&update(&[rect([0, 0, 2, 1], 0, &[0x1f, 0, 0xe0, 0x07])])).unwrap();
    assert_eq!(colours(&decoder), [0x0000_00ff, 0x0000_ff00]);
}

#[test]
fn what_is_no_picture_is_passed_over() {
    let cursor = rect([1, 1, 9, 2], -239, &[7; 9 * 2 * 4 + 4]);
    let last = rect([0, 0, 0, 0], -224, &[]);
    let mut endless = update(&[cursor, rect([0, 0, 1, 1], 0, &RED), last]);
    endless[2..4].fill(0xff);
    let bell = vec![2];
    let clipboard = [&[3, 0, 0, 0][..], &5_u32.to_be_bytes(), b"hello"].concat();
    let green = update(&[rect([1, 0, 1, 1], 0, &GREEN)]);
    let bytes = [endless, bell, clipboard, green].concat();
    assert_eq!(shown((2, 1), &bytes), Ok(vec![vec![0x00ff_0000, 0x0000_ff00]]));
}

#[test]
fn a_screen_that_changes_its_size_is_black_again() {
    let bytes = update(&[rect([0, 0, 1, 1], 0, &RED), rect([0, 0, 2, 2], -223, &[])]);
    assert_eq!(shown((1, 1), &bytes), Ok(vec![vec![0, 0]; 2]));
    let huge = update(&[rect([0, 0, 60_000, 60_000], -223, &[])]);
    assert_eq!(shown((1, 1), &huge), Err(Fault::Size { width: 60_000, height: 60_000 }));
}

#[test]
fn whatever_a_machine_must_not_send_is_a_fault_with_its_name() {
    let one = |place, encoding, body: &[u8]| shown((20, 20), &update(&[rect(place, encoding, body)]));
    assert_eq!(shown((1, 1), &[9]), Err(Fault::Message { kind: 9 }));
    assert_eq!(one([0, 0, 1, 1], 7, &[]), Err(Fault::Encoding { encoding: 7 }));
    for encoding in [0, 2, 5, 16] {
        assert_eq!(one([10, 0, 11, 1], encoding, &[]), Err(Fault::Outside), "{encoding}");
    }
    assert_eq!(one([0, 0, 2, 2], 1, &[0, 19, 0, 0]), Err(Fault::Outside));
    let part = [&1_u32.to_be_bytes()[..], &RED, &GREEN, &[0, 1, 0, 0, 0, 2, 0, 1]].concat();
    assert_eq!(one([0, 0, 2, 2], 2, &part), Err(Fault::Outside));
    assert_eq!(one([0, 0, 2, 2], 5, &[8, 1, 0x10, 0x10]), Err(Fault::Outside));
    let zrle = |tiles: &[u8]| shown((4, 4), &update(&[Zrle::new().rect([0, 0, 2, 2], tiles)]));
    for tiles in [&[17][..], &[129], &[], &[0, 1], &[128, 0, 0, 0, 4]] {
        assert_eq!(zrle(tiles), Err(Fault::Malformed), "{tiles:?}");
    }
    assert_eq!(zrle(&[&[3][..], &[0; 9], &[0xf0, 0]].concat()), Err(Fault::Malformed));
    assert_eq!(zrle(&[130, 0, 0, 0, 0, 0, 0, 2]), Err(Fault::Malformed));
    // What inflates to more than any rectangle of this size is not inflated to its end.
    assert_eq!(zrle(&vec![0; 1_000_000]), Err(Fault::Malformed));
    assert_eq!(one([0, 0, 1, 1], 16, &0xffff_ffff_u32.to_be_bytes()), Err(Fault::Malformed));
    assert_eq!(one([0, 0, 1, 1], 16, &[0, 0, 0, 4, 1, 2, 3, 4]), Err(Fault::Malformed));
}

#[test]
fn mutated_sessions_neither_panic_nor_hold_more_than_one_compressed_rectangle() {
    let mut zrle = Zrle::new();
    let tiles = [&[3][..], &[0; 9], &[0b0001_1000]].concat();
    let session = [
        update(&[rect([0, 0, 2, 1], 0, &[RED, GREEN].concat()), rect([1, 1, 2, 1], 1, &[0; 4])]),
        update(&[zrle.rect([0, 1, 4, 1], &tiles), rect([0, 0, 17, 17], 5, &[8, 1, 0, 0, 0, 0, 0])]),
        update(&[rect([1, 1, 9, 2], -239, &[7; 76]), rect([0, 0, 30, 30], -223, &[])]),
        update(&[rect([0, 2, 3, 1], 2, &[0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 1, 0, 1])]),
        vec![1, 0, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 3, 0, 0, 0, 0, 0, 0, 2, b'o', b'k'],
    ]
    .concat();
    assert!(shown((20, 20), &session).is_ok());
    let count = std::env::var("POSTERN_REPLAY_SESSIONS").ok().map_or(20_000, |count| count.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for _ in 0..count {
        let mut mutant = session.clone();
        for _ in 0..=draw(4) {
            let at = draw(mutant.len());
            match draw(3) {
                0 => mutant[at] = u8::try_from(draw(256)).unwrap(),
                1 => drop(mutant.remove(at)),
                _ => mutant.insert(at, [0, 1, 0x10, 0x7f, 0xff][draw(5)]),
            }
        }
        let Ok(mut decoder) = Decoder::new(&screen(20, 20)) else { continue };
        for piece in mutant.chunks(1 + draw(64)) {
            if decoder.handle_bytes(piece).is_err() {
                break;
            }
            assert!(decoder.buffer.len() <= mutant.len());
        }
    }
}
