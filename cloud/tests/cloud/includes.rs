//! Fleets of several files: they are read as one, and every complaint says in which of them.

use std::path::PathBuf;

use postern_cloud::fleet::{self, FILE_BYTES, INCLUDE_DEPTH, INCLUDES, Override};
use postern_cloud::model::Model;

/// A directory with the files of a fleet, of which `fleet.toml` is the first.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let this = Self { directory: tempfile::tempdir().unwrap() };
        files.iter().for_each(|(path, text)| this.write(path, text));
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn model(&self) -> Model {
        let overrides: [Override; 0] = [];
        fleet::read_file(&self.path("fleet.toml"), &overrides).unwrap()
    }

    /// What is said, with the directory left out.
    fn faults(&self) -> Vec<String> {
        self.faults_with(&[])
    }

    fn faults_with(&self, overrides: &[&str]) -> Vec<String> {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let top = self.path("fleet.toml");
        let complaints = fleet::read_file(&top, &overrides).unwrap_err();
        let directory = format!("{}/", self.directory.path().display());
        complaints
            .iter()
            .map(|complaint| complaint.line(&top.display().to_string()).replace(&directory, ""))
            .collect()
    }
}

const ACME: &str = "[account.acme]\ntenant = \"operating_company\"\n";

fn including(files: &str) -> String {
    format!("include = [{files}]\n{ACME}")
}

#[test]
fn the_tables_of_all_files_are_one_fleet() {
    let files = Files::new(&[
        ("fleet.toml", &including("\"people.toml\", \"sites/north.toml\"")),
        ("people.toml", "[user.otto]\naccount = \"acme\"\n"),
        (
            "sites/north.toml",
            "include = [\"./north/devices.toml\", \"../shared.toml\"]\n[user.anna]\naccount = \"acme\"\n",
        ),
        ("sites/north/devices.toml", "[device.d]\naccount = \"acme\"\n"),
        ("shared.toml", "[category.screen]\nkinds = [\"vnc\"]\n"),
    ]);
    let one = format!(
        "{ACME}[user.otto]\naccount = \"acme\"\n[user.anna]\naccount = \"acme\"\n[device.d]\naccount = \"acme\"\n\
         [category.screen]\nkinds = [\"vnc\"]\n"
    );
    assert_eq!(files.model(), fleet::read(&one, &[]).unwrap());
}

#[test]
fn a_complaint_names_the_file_that_it_is_about() {
    let files = Files::new(&[
        ("fleet.toml", &format!("{}[user.anna]\naccount = \"acm\"\n", including("\"people.toml\""))),
        ("people.toml", "[user.otto]\naccount = \"acme\"\nage = 3\n[user.ida]\naccount = \"amce\"\n"),
    ]);
    assert_eq!(
        files.faults(),
        [
            "fleet.toml:5:11: `user.anna.account`: there is no account `acm`; did you mean `acme`?",
            "people.toml:3:1: `user.otto.age`: this key is unknown here, expected one of `account`, `mail`, `label`",
            "people.toml:5:11: `user.ida.account`: there is no account `amce`; did you mean `acme`?",
        ]
    );
}

#[test]
fn the_same_entity_in_two_files_is_refused_with_both_places() {
    let files = Files::new(&[
        ("fleet.toml", &format!("{}[user.otto]\naccount = \"acme\"\n", including("\"people.toml\""))),
        ("people.toml", "[user.anna]\naccount = \"acme\"\n\n[user.otto]\naccount = \"acme\"\n"),
    ]);
    assert_eq!(
        files.faults(),
        ["people.toml:4:7: `user.otto`: this is described at fleet.toml:4:7 already; keep one of the two"]
    );
    files.write("people.toml", "[device.otto]\naccount = \"acme\"\n");
    assert_eq!(files.model().devices.len(), 1, "another kind may have the name");
}

#[test]
fn files_that_include_each_other_are_refused_with_the_chain() {
    let files = Files::new(&[
        ("fleet.toml", &including("\"a.toml\"")),
        ("a.toml", "include = [\"b.toml\"]\n"),
        ("b.toml", "include = [\"fleet.toml\"]\n"),
    ]);
    assert_eq!(
        files.faults(),
        [
            "b.toml:1:12: `include`: the file includes itself: `fleet.toml` includes `a.toml` includes `b.toml` includes `fleet.toml`; take one of these includes away"
        ]
    );
    files.write("b.toml", "");
    assert_eq!(files.model().accounts.len(), 1);
}

#[test]
fn a_file_is_included_once_by_whatever_name() {
    let files = Files::new(&[
        ("fleet.toml", &including("\"a.toml\", \"b.toml\"")),
        ("a.toml", "include = [\"c.toml\"]\n"),
        ("b.toml", "include = [\"link.toml\"]\n"),
        ("c.toml", "[user.otto]\naccount = \"acme\"\n"),
    ]);
    std::os::unix::fs::symlink(files.path("c.toml"), files.path("link.toml")).unwrap();
    assert_eq!(
        files.faults(),
        [
            "b.toml:1:12: `include`: the file is included already, and once more here: `fleet.toml` includes `b.toml` includes `link.toml`; take one of these includes away"
        ]
    );
    files.write("b.toml", "");
    assert_eq!(files.model().users.len(), 1);
}

#[test]
fn a_path_stays_in_the_directory_of_the_first_file() {
    let expected = "expected a relative path that stays in the directory of the first file, such as \"sites/hawthorne.toml\"";
    for bad in ["/etc/passwd", "../fleet.toml", "a/../../b.toml", "a//b.toml", ".", "a/.."] {
        let files = Files::new(&[("fleet.toml", &including(&format!("\"{bad}\"")))]);
        assert_eq!(files.faults(), [format!("fleet.toml:1:12: `include`: found `{bad}`, {expected}")]);
    }
    let files = Files::new(&[
        ("fleet.toml", &including("\"a/../people.toml\"")),
        ("people.toml", "[user.otto]\naccount = \"acme\"\n"),
    ]);
    assert_eq!(files.model().users.len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named_where_it_is_included() {
    let files = Files::new(&[
        ("fleet.toml", &including("\"gone.toml\", \"sites\", \"raw.toml\"")),
        ("sites/a.toml", ""),
    ]);
    std::fs::write(files.path("raw.toml"), b"ab\xff").unwrap();
    assert_eq!(
        files.faults(),
        [
            "fleet.toml:1:12: `include`: `gone.toml`: there is no such file",
            "fleet.toml:1:25: `include`: `sites`: this is no regular file",
            "fleet.toml:1:34: `include`: `raw.toml`: the file is not UTF-8 text from byte 2 on",
        ]
    );
    let files = Files::new(&[("fleet.toml", &including("\"people.toml\"")), ("people.toml", "[user.otto\n")]);
    let found = files.faults();
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("people.toml:1:11: not TOML: "), "{found:?}");
}

#[test]
fn what_is_no_list_of_paths_is_refused() {
    for (bad, expected) in [
        (
            "include = \"a.toml\"",
            "1:11: `include`: found text, expected a list of files, such as [\"people.toml\"]",
        ),
        ("include = [5]", "1:12: `include`: found a whole number, expected a path as text"),
        (
            "include = [\"a\\u202eb\"]",
            "1:12: `include`: `a\\u{202e}b` contains the control or invisible character '\\u{202e}'",
        ),
        ("include = [\"\"]", "1:12: `include`: `` is empty"),
        ("[include]", "1:2: `include`: found a table, expected a list of files, such as [\"people.toml\"]"),
    ] {
        let files = Files::new(&[("fleet.toml", &format!("{bad}\n"))]);
        let found = files.faults();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("fleet.toml:1:"), "{found:?}");
        assert!(found[0].ends_with(&expected[expected.find(": ").unwrap()..]), "{found:?}");
    }
    let long = "a/".repeat(2048);
    let files = Files::new(&[("fleet.toml", &including(&format!("\"{long}\"")))]);
    let found = files.faults();
    assert!(found[0].ends_with("has 4096 bytes, at most 96 are allowed"), "{found:?}");
    assert!(found[0].len() < 300);
}

#[test]
fn only_files_include_and_only_at_their_top() {
    let said = "`include`: only files include others; name the file itself";
    let found = fleet::read(&including("\"a.toml\""), &[]).unwrap_err();
    assert_eq!(
        found.iter().map(|complaint| complaint.line("f")).collect::<Vec<_>>(),
        [format!("f:1:1: {said}")]
    );
    let files = Files::new(&[("fleet.toml", ACME)]);
    assert_eq!(files.faults_with(&["include=[\"a.toml\"]"]), [format!("--set number 1: {said}")]);
}

#[test]
fn an_override_reaches_the_file_that_has_the_table() {
    let files = Files::new(&[
        ("fleet.toml", &including("\"devices.toml\"")),
        (
            "devices.toml",
            "[device.d]\naccount = \"acme\"\n[device.d.service.hmi]\nkind = \"vnc\"\ntarget = \"10.0.0.1:5900\"\n",
        ),
    ]);
    let change = "device.d.service.hmi.target=127.0.0.1:1".parse().unwrap();
    let model = fleet::read_file(&files.path("fleet.toml"), &[change]).unwrap();
    let target = std::net::SocketAddr::from(model.devices["d"].services["hmi"].reach.target().unwrap());
    assert_eq!(target, "127.0.0.1:1".parse().unwrap());
    let found = files.faults_with(&["device.d.service.hmi.target=x"]);
    assert!(found[0].starts_with("--set number 1: `device.d.service.hmi.target`: found `x`"), "{found:?}");
}

#[test]
fn a_large_file_that_is_there_twice_gets_a_few_complaints_and_their_number() {
    let line = |count: usize| {
        let entities: Vec<String> = (0..count).map(|n| format!("u{n} = {{}}")).collect();
        format!("user = {{ {} }}\n", entities.join(", "))
    };
    let files = Files::new(&[
        ("fleet.toml", &including("\"a.toml\", \"b.toml\"")),
        ("a.toml", &line(50_000)),
        ("b.toml", &line(50_000)),
    ]);
    let found = files.faults();
    assert_eq!(found.len(), 201);
    assert_eq!(
        found[0],
        "b.toml:1:10: `user.u0`: this is described at a.toml:1:10 already; keep one of the two"
    );
    assert_eq!(found[200], "fleet.toml: at least 49800 more complaints are not listed; repair these first");
}

#[test]
fn tables_that_mean_nothing_are_united_as_fast_as_others() {
    let tables = |letter: char| (0..20_000).map(|n| format!("[{letter}{n}]\n")).collect::<String>();
    let files = Files::new(&[
        ("fleet.toml", &including("\"a.toml\", \"b.toml\"")),
        ("a.toml", &tables('a')),
        ("b.toml", &tables('b')),
    ]);
    let found = files.faults();
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "fleet.toml: at least 39800 more complaints are not listed; repair these first");
}

#[test]
fn the_depth_number_and_size_of_files_are_bounded() {
    let chain = |length: usize| {
        let files = Files::new(&[("fleet.toml", &including("\"1.toml\""))]);
        for n in 1..length - 1 {
            files.write(&format!("{n}.toml"), &format!("include = [\"{}.toml\"]\n", n + 1));
        }
        files.write(&format!("{}.toml", length - 1), "");
        files
    };
    assert_eq!(chain(INCLUDE_DEPTH).model().accounts.len(), 1);
    let found = chain(INCLUDE_DEPTH + 1).faults();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("7.toml:1:12: `include`: includes lead through more than 8 files: `fleet.toml`")
    );

    let names: Vec<String> = (0..INCLUDES).map(|n| format!("\"{n}.toml\"")).collect();
    let files = Files::new(&[("fleet.toml", &including(&names[1..].join(",")))]);
    (0..INCLUDES).for_each(|n| files.write(&format!("{n}.toml"), ""));
    assert_eq!(files.model().accounts.len(), 1);
    files.write("fleet.toml", &including(&names.join(",")));
    let found = files.faults();
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("`include`: the fleet has more than 512 files"), "{found:?}");

    let files = Files::new(&[("fleet.toml", &including("\"a.toml\", \"b.toml\""))]);
    files.write("a.toml", &format!("#{}", "a".repeat(FILE_BYTES / 2)));
    files.write("b.toml", &format!("#{}", "b".repeat(FILE_BYTES / 2)));
    assert_eq!(
        files.faults(),
        [format!(
            "fleet.toml:1:22: `include`: `b.toml`: the fleet is larger than {FILE_BYTES} bytes, expected its files to have at most that together; take out what nobody uses"
        )]
    );
}
