//! Bad fleet files: each is refused with place, key, what was seen and what was expected, and nothing is applied.

use postern_cloud::fleet::{self, Complaint, Fault, Override, Place};
use postern_protocol::name::NameFault;

const HEAD: &str = "[account.acme]\ntenant = \"operating_company\"\n";

fn complaints(text: &str) -> Vec<String> {
    fleet::read(text, &[]).unwrap_err().iter().map(|complaint| complaint.line("f")).collect()
}

/// Complaints about a file that begins with a sound account of two lines.
fn after_head(text: &str) -> Vec<String> {
    complaints(&format!("{HEAD}{text}"))
}

#[test]
fn a_dangling_name_is_refused_with_its_nearest_neighbour() {
    assert_eq!(
        after_head("[user.otto]\naccount = \"acem\"\n"),
        ["f:4:11: `user.otto.account`: there is no account `acem`; did you mean `acme`?"]
    );
}

#[test]
fn accounts_that_nest_in_a_circle_are_refused() {
    let text = "[account.a]\ntenant = \"operating_company\"\nparent = \"b\"\n\
                [account.b]\ntenant = \"operating_company\"\nparent = \"a\"\n";
    assert_eq!(
        complaints(text),
        [
            "f:3:10: `account.a.parent`: the account is nested in itself, by way of `b`; take one `parent` away",
            "f:6:10: `account.b.parent`: the account is nested in itself, by way of `a`; take one `parent` away",
        ]
    );
}

#[test]
fn an_account_that_is_its_own_parent_is_refused() {
    assert_eq!(
        after_head("parent = \"acme\"\n"),
        [
            "f:3:10: `account.acme.parent`: the account is nested in itself, by way of itself; take one `parent` away"
        ]
    );
}

#[test]
fn a_duplicate_name_is_refused() {
    let complaints = after_head("[account.acme]\n");
    assert_eq!(complaints, ["f:3:10: not TOML: duplicate key `acme`"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    assert_eq!(
        after_head("labl = \"Acme\"\n"),
        [
            "f:3:1: `account.acme.labl`: this key is unknown here, expected one of `tenant`, `parent`, `recording-key`, `delegable-categories`, `delegable-roles`, `label`; did you mean `label`?"
        ]
    );
    let complaints = after_head("[acount.b]\n");
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].starts_with("f:3:2: `acount`: this key is unknown here"), "{complaints:?}");
    assert!(complaints[0].ends_with("did you mean `account`?"), "{complaints:?}");
}

#[test]
fn a_wrong_type_and_a_wrong_word_say_what_was_expected() {
    assert_eq!(
        complaints("[account.a]\ntenant = 5\n[account.b]\ntenant = \"operating-company\"\n"),
        [
            "f:2:10: `account.a.tenant`: found a whole number, expected a word as text",
            "f:4:10: `account.b.tenant`: found `operating-company`, expected one of operating_company, service_provider, app_developer; did you mean `operating_company`?",
        ]
    );
    assert_eq!(
        after_head("[user]\notto = 1\n"),
        ["f:4:8: `user.otto`: found a whole number, expected a table"]
    );
}

#[test]
fn a_missing_key_says_what_should_stand_there() {
    assert_eq!(
        after_head("[device.d]\naccount = \"acme\"\n[device.d.service.hmi]\nkind = \"vnc\"\n"),
        [
            "f:5:1: `device.d.service.hmi`: `target` is missing, expected an address and port on the machine network as text, such as \"192.168.10.20:5900\" (names are not resolved)"
        ]
    );
}

#[test]
fn targets_that_are_names_or_lead_nowhere_are_refused() {
    for bad in [
        "localhost:80",
        "10.0.0.1",
        "10.0.0.1:0",
        "0.0.0.0:80",
        "224.0.0.1:80",
        "[fe80::1%2]:80",
        "[::ffff:10.0.0.1]:80",
    ] {
        let text = format!(
            "{HEAD}[device.d]\naccount = \"acme\"\n[device.d.service.web]\nkind = \"http\"\ntarget = \"{bad}\"\n"
        );
        let found = fleet::read(&text, &[]).unwrap_err();
        let keys: Vec<&str> = found.iter().map(|complaint| complaint.key.as_str()).collect();
        assert_eq!(keys, ["device.d.service.web.target"], "{bad}");
        assert_eq!(found[0].place, Place::At { line: 7, column: 10 });
    }
}

#[test]
fn times_without_offset_and_backward_windows_are_refused() {
    let base = format!(
        "{HEAD}[user.o]\naccount = \"acme\"\n[role.r]\ntenant = \"operating_company\"\n[assignment.a]\n\
         user = \"o\"\nrole = \"r\"\nscope = {{ account = \"acme\" }}\n"
    );
    let expected =
        "expected a time of the years 1970 to 9998 with its offset, such as 2026-12-31T18:00:00Z (RFC 3339)";
    assert_eq!(
        complaints(&format!("{base}until = 2026-12-31T18:00:00\n")),
        [format!("f:11:9: `assignment.a.until`: found `2026-12-31T18:00:00`, {expected}")]
    );
    assert_eq!(
        complaints(&format!("{base}from = \"next week\"\n")),
        [format!("f:11:8: `assignment.a.from`: found `next week`, {expected}")]
    );
    assert_eq!(
        complaints(&format!("{base}from = 2026-12-31T18:00:00Z\nuntil = 2026-12-31T18:00:00Z\n")),
        [
            "f:12:9: `assignment.a.until`: found 2026-12-31T18:00:00Z, expected an end after the beginning, 2026-12-31T18:00:00Z"
        ]
    );
}

#[test]
fn hostile_names_are_refused_and_shown_harmlessly() {
    for (bad, fault) in [
        ("../etc", NameFault::BadCharacter('/')),
        ("a\\u001b[2J", NameFault::BadCharacter('\u{1b}')),
        ("a\\u202eb", NameFault::BadCharacter('\u{202e}')),
        ("a\\u0000b", NameFault::BadCharacter('\0')),
        ("Äther", NameFault::BadCharacter('Ä')),
        ("-rf", NameFault::BadStart),
        ("..", NameFault::BadStart),
        ("", NameFault::Empty),
    ] {
        let text = format!("{HEAD}[user.\"{bad}\"]\naccount = \"acme\"\n");
        let found = fleet::read(&text, &[]).unwrap_err();
        let faults: Vec<_> = found
            .iter()
            .map(|complaint| match &complaint.fault {
                Fault::Name { fault, .. } => *fault,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(faults, [fault], "{bad}");
        assert!(found[0].line("f").chars().all(|c| !c.is_control() && c != '\u{202e}'));
    }
    let long = "a".repeat(4096);
    let found = fleet::read(&format!("{HEAD}[user.{long}]\naccount = \"acme\"\n"), &[]).unwrap_err();
    assert!(found[0].line("f").len() < 300);
}

#[test]
fn labels_that_deceive_are_refused() {
    assert_eq!(
        after_head("label = \"a\\u202eb\"\n"),
        [
            "f:3:9: `account.acme.label`: `a\\u{202e}b` contains the control or invisible character '\\u{202e}'"
        ]
    );
}

#[test]
fn a_scope_names_exactly_one_place() {
    let base = "[user.o]\naccount = \"acme\"\n[role.r]\ntenant = \"operating_company\"\n[assignment.a]\n\
                user = \"o\"\nrole = \"r\"\n";
    let scopes = "expected exactly one of `account` (with `nested`), `device-group`, `facility`, `organisation`, \
                  `device`, `machine`, `all-of`";
    assert_eq!(
        after_head(&format!("{base}scope = {{}}\n")),
        [format!("f:10:9: `assignment.a.scope`: {scopes}, found 0")]
    );
    assert_eq!(
        after_head(&format!("{base}scope = {{ account = \"acme\", device = \"d\" }}\n")),
        [format!("f:10:9: `assignment.a.scope`: {scopes}, found 2")]
    );
    let found = after_head(&format!("{base}scope = {{ galaxy = \"g\" }}\n"));
    assert!(
        found[0].starts_with("f:10:11: `assignment.a.scope.galaxy`: this key is unknown here"),
        "{found:?}"
    );
    let found = after_head(&format!("{base}scope = {{ all-of = [] }}\n"));
    assert!(found[0].starts_with("f:10:20: `assignment.a.scope.all-of`: found `an empty list`"), "{found:?}");
}

#[test]
fn nothing_reaches_into_a_foreign_account() {
    let text = format!(
        "{HEAD}[account.bolt]\ntenant = \"operating_company\"\n[user.o]\naccount = \"acme\"\n[device.d]\n\
         account = \"bolt\"\n[role.r]\ntenant = \"operating_company\"\n[assignment.a]\nuser = \"o\"\nrole = \"r\"\n\
         scope = {{ device = \"d\" }}\n[device-group.g]\naccount = \"acme\"\ntype = \"region\"\ndevices = [\"d\"]\n"
    );
    assert_eq!(
        complaints(&text),
        [
            "f:14:20: `assignment.a.scope.device`: device `d` belongs to account `bolt`, expected one of account `acme` or of one nested in it",
            "f:18:12: `device-group.g.devices[d]`: device `d` belongs to account `bolt`, expected one of account `acme` or of one nested in it",
        ]
    );
}

#[test]
fn a_scope_that_is_the_account_of_somebody_else_is_called_what_it_is() {
    let text = format!(
        "{HEAD}[account.bolt]\ntenant = \"operating_company\"\nparent = \"acme\"\n[user.o]\naccount = \"bolt\"\n\
         [assignment.a]\nuser = \"o\"\nrole = \"machine-operator\"\nscope = {{ account = \"acme\" }}\n"
    );
    assert_eq!(
        complaints(&text),
        [
            "f:11:21: `assignment.a.scope.account`: found account `acme`, expected account `bolt` or one nested in it"
        ]
    );
}

#[test]
fn a_role_of_another_tenant_role_cannot_be_assigned_and_permissions_stay_in_theirs() {
    let text = "[user.o]\naccount = \"acme\"\n[role.r]\ntenant = \"service_provider\"\n\
                permissions = [\"shopfloor.read\"]\n[assignment.a]\nuser = \"o\"\nrole = \"r\"\n\
                scope = { account = \"acme\" }\n";
    assert_eq!(
        after_head(text),
        [
            "f:7:16: `role.r.permissions[shopfloor.read]`: permission `shopfloor.read` cannot be held in service_provider accounts, only in operating_company ones; take it away",
            "f:10:8: `assignment.a.role`: role `r` is for service_provider accounts, but user `o` belongs to `acme`, which is operating_company",
        ]
    );
}

#[test]
fn all_complaints_are_listed_in_the_order_of_the_file() {
    let text = "[user.o]\naccount = \"nobody\"\nage = 5\n[user.p]\n[category.c]\nkinds = [\"vnx\"]\n";
    let lines: Vec<Place> =
        fleet::read(&format!("{HEAD}{text}"), &[]).unwrap_err().iter().map(|c| c.place).collect();
    let at = |line, column| Place::At { line, column };
    assert_eq!(lines, [at(4, 11), at(5, 1), at(6, 1), at(8, 10)]);
}

#[test]
fn an_entity_that_cannot_be_read_is_not_called_missing_as_well() {
    let text =
        "[user.o]\naccount = \"acme\"\nage = 5\n[user-group.g]\naccount = \"acme\"\nmembers = [\"o\"]\n";
    let found = after_head(text);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_place() {
    assert_eq!(complaints("[account.acme\n").len(), 1);
    assert!(complaints("a = = 1\n")[0].starts_with("f:1:5: not TOML: "));
}

#[test]
fn deep_nesting_of_any_kind_is_refused_before_it_costs_a_stack() {
    let deep = 100_000;
    let dotted = vec!["a"; deep].join(".");
    for text in [
        format!("a = {}{}\n", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}\n", "{ a = ".repeat(deep), " }".repeat(deep)),
        format!("{dotted} = 1\n"),
        format!("[{dotted}]\n"),
        format!("[[{dotted}]]\n"),
        format!("{HEAD}x = {{ {dotted} = 1 }}\n"),
    ] {
        let found = complaints(&text);
        assert!(found[0].contains("not TOML: "), "{found:?}");
    }
    let scope = format!("{}{{ account = \"acme\" }}{}", "{ all-of = [".repeat(1000), "] }".repeat(1000));
    let found = after_head(&format!("[assignment.a]\nscope = {scope}\n"));
    assert!(found[0].starts_with("f:4:"), "{found:?}");
    assert!(found[0].contains("not TOML: "), "{found:?}");
}

#[test]
fn a_key_that_stands_twice_is_refused_with_its_place() {
    assert_eq!(after_head("tenant = \"app_developer\"\n"), ["f:3:1: not TOML: duplicate key `tenant`"]);
    let twice = after_head("[user.o]\naccount = \"acme\"\n[user.\"o\"]\nlabel = \"O\"\n");
    assert_eq!(twice, ["f:5:7: not TOML: duplicate key `\"o\"`"]);
    let list = after_head(
        "[user.o]\naccount = \"acme\"\n[user-group.g]\naccount = \"acme\"\nmembers = [\"o\", \"o\"]\n",
    );
    assert_eq!(list, ["f:7:17: `user-group.g.members`: `o` is listed twice"]);
}

#[test]
fn an_over_large_file_is_refused_before_it_is_parsed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(50 * 1024 * 1024).unwrap();
    let expected = vec![Complaint {
        file: None,
        place: Place::File,
        key: String::new(),
        fault: Fault::FileSize { limit: fleet::FILE_BYTES },
    }];
    assert_eq!(fleet::read_file(&path, &[]), Err(expected));
}

#[test]
fn a_file_that_is_missing_or_no_text_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    let found = fleet::read_file(&path, &[]).unwrap_err();
    assert_eq!(found[0].fault, Fault::Unreadable { error: std::io::ErrorKind::NotFound });
    assert_eq!(found[0].fault.to_string(), "there is no such file");
    let forbidden = Fault::Unreadable { error: std::io::ErrorKind::PermissionDenied };
    assert_eq!(forbidden.to_string(), "the file cannot be read: permission denied");
    std::fs::write(&path, b"ab\xff").unwrap();
    let found = fleet::read_file(&path, &[]).unwrap_err();
    assert_eq!(found[0].fault, Fault::NotText { offset: 2 });
}

const DEVICE: &str = "[device.line_2.plc]\n";

#[test]
fn an_override_replaces_one_value_and_is_checked_like_the_file() {
    let text = format!(
        "{HEAD}[device.press-7]\naccount = \"acme\"\n[device.press-7.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.1:5900\"\n"
    );
    let set = |change: &str| fleet::read(&text, &[change.parse::<Override>().unwrap()]);
    let model = set("device.press-7.service.hmi.target=127.0.0.1:1234").unwrap();
    let target = model.devices["press-7"].services["hmi"].reach.target().unwrap();
    assert_eq!(std::net::SocketAddr::from(target), "127.0.0.1:1234".parse().unwrap());
    let model = set("device.press-7.service.hmi.tunnels=2").unwrap();
    assert_eq!(model.devices["press-7"].services["hmi"].tunnels, 2);
    let lines = |change| set(change).unwrap_err().iter().map(|c| c.line("f")).collect::<Vec<_>>();
    let found = lines("device.press-7.service.hmi.target=nowhere");
    assert!(
        found[0].starts_with("--set number 1: `device.press-7.service.hmi.target`: found `nowhere`"),
        "{found:?}"
    );
    assert_eq!(
        lines("device.press-8.service.hmi.target=127.0.0.1:1"),
        ["--set number 1: `device.press-8.service.hmi.target`: the file has no table for this key"]
    );
    assert_eq!("no-equals".parse::<Override>(), Err(fleet::OverrideFault));
    // A dotted header makes nested tables, which are no device.
    assert!(!complaints(&format!("{HEAD}{DEVICE}")).is_empty());
}

#[test]
fn windows_and_budgets_have_bounds() {
    let device = |line: &str| format!("[device.d]\naccount = \"acme\"\n{line}\n");
    let window = "expected a time span with its unit, of one minute to 24 hours, such as 15m";
    for (text, found) in [("59s", 13), ("25h", 13), ("15", 13)] {
        let expected = format!("f:5:{found}: `device.d.freshness`: found `{text}`, {window}");
        assert_eq!(after_head(&device(&format!("freshness = \"{text}\""))), [expected]);
    }
    let budget = "expected a time span with its unit, of nothing to 90 days, such as 0s or 7d";
    for text in ["91d", "-1d", "a week"] {
        let expected = format!("f:5:11: `device.d.offline`: found `{text}`, {budget}");
        assert_eq!(after_head(&device(&format!("offline = \"{text}\""))), [expected]);
    }
    assert_eq!(
        after_head(&device("offline = true")),
        [
            "f:5:11: `device.d.offline`: found a truth value, expected a time span as text, such as \"15m\" or \"8h\""
        ]
    );
    let rule = |line: &str| {
        let model = fleet::read(&format!("{HEAD}{}", device(line)), &[]).unwrap();
        let rule = model.devices["d"].freshness;
        (rule.window_s, rule.offline_s)
    };
    assert_eq!(rule(""), (900, 604_800));
    assert_eq!(rule("freshness = \"1m\"\noffline = \"0s\""), (60, 0));
    assert_eq!(rule("freshness = \"1d\"\noffline = \"90d\""), (86_400, 7_776_000));
}

#[test]
fn a_mark_for_work_without_the_cloud_is_true_or_false() {
    let role =
        "[role.r]\ntenant = \"operating_company\"\npermissions = [\"remote-access.use\"]\noffline = \"7d\"\n";
    assert_eq!(after_head(role), ["f:6:11: `role.r.offline`: found text, expected true or false"]);
}
