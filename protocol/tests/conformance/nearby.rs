//! Messages of a network for the reader of multicast DNS: seeds for its fuzz target.

use postern_protocol::wire::nearby::{Asker, Sign};

use crate::probes::key;

/// Inputs of the fuzz target that reach every part of the reader.
pub(crate) fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let sign = Sign::of(&key(10).public());
    let question = sign.question(0x1234);
    let head = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0";
    let kind = [&head[..], b"\x08_postern\x04_udp\x05local\0\0\x0c\0\x01"].concat();
    let own = ["192.168.0.1".parse().unwrap(), "fe80::1".parse().unwrap()];
    let answer = |question: &[u8], asker| sign.answer(sign.heard(question).unwrap(), asker, 7441, &own);
    let mut known = answer(&kind, Asker::Once);
    known[2] = 0;
    // A name that points at itself, one that points behind the end, and a count that nothing fulfils.
    let looped = [&head[..], b"\xc0\x0c\0\x0c\0\x01"].concat();
    let beyond = [&head[..], b"\xff\xff\0\x0c\0\x01"].concat();
    let mut many = kind.clone();
    many[4] = 0xff;
    [
        ("answer", answer(&question, Asker::Once)),
        ("answer-to-all", answer(&kind, Asker::Resolver)),
        ("question", question),
        ("question-of-kind", kind),
        ("known", known),
        ("pointer-loop", looped),
        ("pointer-beyond", beyond),
        ("count-of-65281", many),
    ]
    .map(|(name, bytes)| ("nearby", name, bytes))
    .into()
}
