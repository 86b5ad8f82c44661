//! Whether the engines answer alike: what answers otherwise is not worth measuring.

use crate::mishap::Mishap;
use crate::model::{Questions, World};
use crate::peer::Peer;

/// Asks every engine every question on its own and compares with the model.
///
/// # Errors
/// The first answer that differs, or questions that are not half permitted.
pub fn agree(world: &World, questions: &Questions, peers: &[Box<dyn Peer>]) -> Result<usize, Mishap> {
    let permitted = questions.all().iter().filter(|ask| world.permits(**ask)).count();
    if permitted * 2 != questions.wished() || questions.all().len() != questions.wished() {
        let seen = format!("{permitted} permitted of {}", questions.all().len());
        return Err(Mishap::unexpected("questions", seen, format!("half of {}", questions.wished())));
    }
    for peer in peers {
        for (at, question) in questions.all().iter().enumerate() {
            let (seen, expected) = (peer.permitted(at..at + 1)? == 1, world.permits(*question));
            if seen != expected {
                let what = format!("{}, user {}, service {}", peer.name(), question.user, question.service);
                return Err(Mishap::unexpected(what, word(seen), word(expected)));
            }
        }
    }
    Ok(questions.all().len())
}

const fn word(permitted: bool) -> &'static str {
    if permitted { "a permit" } else { "a denial" }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::model::{Part, Random, Size};
    use crate::peer::peers;

    const SMALL: Size = Size { users: 20, groups: 10, roles: 8, categories: 12, services: 40 };

    /// Permits everything.
    struct Open;

    impl Peer for Open {
        fn name(&self) -> &'static str {
            "open"
        }

        fn permitted(&self, questions: Range<usize>) -> Result<usize, Mishap> {
            Ok(questions.len())
        }
    }

    fn drawn(seed: u64) -> (World, Questions) {
        let mut random = Random::new(seed);
        let world = World::draw(SMALL, &mut random);
        let questions = Questions::draw(&world, 2, &mut random);
        (world, questions)
    }

    #[test]
    fn all_engines_answer_as_the_model_does() {
        for seed in 0..8 {
            let (world, questions) = drawn(seed);
            let peers = peers(&world, &questions).unwrap();
            assert_eq!(agree(&world, &questions, &peers), Ok(6 * Questions::BATCH), "seed {seed}");
        }
    }

    #[test]
    fn an_engine_that_permits_too_much_is_found() {
        let (world, questions) = drawn(1);
        let first = questions.all().iter().find(|ask| !world.permits(**ask)).unwrap();
        let what = format!("open, user {}, service {}", first.user, first.service);
        let expected = Err(Mishap::unexpected(what, "a permit", "a denial"));
        assert_eq!(agree(&world, &questions, &[Box::new(Open)]), expected);
        assert_eq!(questions.batches(Part::Denied).count(), 1);
    }
}
