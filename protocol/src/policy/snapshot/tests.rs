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
