use super::*;

#[test]
fn an_origin_is_a_noun_with_the_names_that_people_look_for() {
    let label = |text: &str| text.parse().unwrap();
    let alone = Origin::Assignment { assignment: label("Contract 7"), role: label("Engineer"), group: None };
    let through = Origin::Assignment {
        assignment: label("Contract 7"),
        role: label("Engineer"),
        group: Some(label("Service")),
    };
    let membership = Origin::Membership { group: label("Plant 1"), role: label("Operator") };
    let entry = Origin::Entry { entry: label("leave of absence") };
    for (origin, name, role, words) in [
        (alone, "Contract 7", Some("Engineer"), "assignment `Contract 7` of role `Engineer`"),
        (
            through,
            "Contract 7",
            Some("Engineer"),
            "assignment `Contract 7` of role `Engineer` to user group `Service`",
        ),
        (
            membership,
            "Plant 1",
            Some("Operator"),
            "membership in device group `Plant 1` with role `Operator`",
        ),
        (entry, "leave of absence", None, "entry `leave of absence`"),
    ] {
        assert_eq!(origin.to_string(), words);
        assert_eq!((origin.name().as_str(), origin.role().map(Label::as_str)), (name, role));
    }
}

#[test]
fn a_kind_has_one_word_everywhere_and_a_stranger_has_none() {
    use serde::de::value::{Error, StrDeserializer};
    use serde::de::{Deserialize as _, IntoDeserializer as _};

    assert_eq!(Kind::ALL.map(Kind::word), ["vpn", "vnc", "http", "websocket"]);
    let read = |word: &'static str| {
        let word: StrDeserializer<'_, Error> = word.into_deserializer();
        Kind::deserialize(word)
    };
    for kind in Kind::ALL {
        assert_eq!(read(kind.word()), Ok(kind));
    }
    let stranger = read("VNC").map_err(|error| error.to_string());
    assert_eq!(
        stranger,
        Err("unknown variant `VNC`, expected one of `vpn`, `vnc`, `http`, `websocket`".to_owned())
    );
}
