//! Bitmap typefaces for the panel, so that drawing text needs no font files and gives the same pixels everywhere.
//!
//! 1. A [`Face`] holds one number for each character, one bit for each pixel.
//! 2. [`Face::pixels`] lists the pixels of a text that are ink.
//!
//! Deliberately absent: proportional spacing; values in a fixed grid do not jump while they change.

mod bold;
mod label;

pub(crate) use self::bold::FACE as BOLD;
pub(crate) use self::label::FACE as LABEL;

/// A fixed-width bitmap typeface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Face {
    /// Pixels from one character to the next.
    pub(crate) width: i32,
    /// Pixels from top to bottom.
    pub(crate) height: i32,
    glyphs: &'static [u128; 96],
}

impl Face {
    /// The ink of `text` as offsets from its top left corner; a character without a glyph is drawn as `?`.
    pub(crate) fn pixels(self, text: &str) -> impl Iterator<Item = (i32, i32)> {
        (0_i32..).zip(text.chars()).flat_map(move |(column, character)| {
            let glyph = self.glyph(character);
            (0..self.height).flat_map(move |y| {
                (0..self.width)
                    .filter(move |x| (glyph >> (y * self.width + x)) & 1 == 1)
                    .map(move |x| (column * self.width + x, y))
            })
        })
    }

    /// The ink of `text` at twice the size, its steps rounded off (the Scale2x rule).
    pub(crate) fn doubled(self, text: &str) -> impl Iterator<Item = (i32, i32)> {
        (0_i32..).zip(text.chars()).flat_map(move |(column, character)| {
            let glyph = self.glyph(character);
            let ink = move |x: i32, y: i32| {
                let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
                inside && (glyph >> (y * self.width + x)) & 1 == 1
            };
            (0..self.height * 2).flat_map(move |y| {
                (0..self.width * 2)
                    .filter(move |x| {
                        let (dx, dy) = (x % 2 * 2 - 1, y % 2 * 2 - 1);
                        let (x, y) = (x / 2, y / 2);
                        let (near_x, near_y) = (ink(x + dx, y), ink(x, y + dy));
                        let corner = near_x == near_y && near_x != ink(x - dx, y) && near_y != ink(x, y - dy);
                        if corner { near_x } else { ink(x, y) }
                    })
                    .map(move |x| (column * self.width * 2 + x, y))
            })
        })
    }

    /// How wide `text` is, in pixels.
    pub(crate) fn width_of(self, text: &str) -> i32 {
        i32::try_from(text.chars().count()).unwrap_or(i32::MAX).saturating_mul(self.width)
    }

    fn glyph(self, character: char) -> u128 {
        let place = CHARACTERS.chars().position(|known| known == character);
        place.or(QUESTION_MARK).and_then(|at| self.glyphs.get(at)).copied().unwrap_or_default()
    }
}

/// The characters of every face, in the order of its glyphs.
pub(crate) const CHARACTERS: &str = concat!(
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`",
    "abcdefghijklmnopqrstuvwxyz{|}~\u{b0}"
);

const QUESTION_MARK: Option<usize> = Some(31);

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(face: Face, text: &str) -> Vec<String> {
        let ink: Vec<_> = face.pixels(text).collect();
        let cell = |x, y| if ink.contains(&(x, y)) { '#' } else { '.' };
        (0..face.height).map(|y| (0..face.width_of(text)).map(|x| cell(x, y)).collect()).collect()
    }

    #[test]
    fn there_is_a_glyph_for_each_character() {
        assert_eq!(CHARACTERS.chars().count(), 96);
        assert_eq!(CHARACTERS.chars().position(|c| c == '?'), QUESTION_MARK);
        for character in CHARACTERS.chars().filter(|c| *c != ' ') {
            for face in [LABEL, BOLD] {
                assert_ne!(face.glyph(character), 0, "{character}");
            }
        }
    }

    #[test]
    fn letters_look_like_letters() {
        let expected = [
            "......", "......", "#.....", "#.....", "#.....", "#.....", "#.....", "#.....", "#.....",
            "#.....", "#####.", "......", "......",
        ];
        assert_eq!(drawn(LABEL, "L"), expected);
    }

    #[test]
    fn doubled_letters_keep_their_strokes_and_round_their_steps() {
        let corners = |glyph: &str| {
            let ink: Vec<_> = BOLD.doubled(glyph).collect();
            let solid =
                BOLD.pixels(glyph).flat_map(|(x, y)| [(2 * x, 2 * y), (2 * x + 1, 2 * y + 1)]).collect();
            let solid: Vec<(i32, i32)> = solid;
            (ink.len(), solid.iter().filter(|dot| !ink.contains(dot)).count())
        };
        let (straight, lost) = corners("-");
        assert_eq!((straight, lost), (BOLD.pixels("-").count() * 4, 0));
        let (round, lost) = corners("0");
        assert!(round > BOLD.pixels("0").count() * 3 && lost > 0, "{round} dots, {lost} corners rounded");
    }

    #[test]
    fn a_character_without_a_glyph_is_a_question_mark() {
        assert_eq!(drawn(BOLD, "\u{20ac}"), drawn(BOLD, "?"));
        assert_ne!(drawn(BOLD, "e"), drawn(BOLD, "?"));
    }
}
