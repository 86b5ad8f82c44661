//! What is generated, and the help.

use crate::world::World;

#[tokio::test]
async fn completions_are_generated_for_each_shell() {
    let world = World::new().await;
    for (shell, mark) in
        [("bash", "_postern()"), ("zsh", "#compdef postern"), ("fish", "complete -c postern")]
    {
        let outcome = world.run(&["completions", shell]).await;
        assert_eq!(outcome.code, 0, "{shell}");
        assert!(outcome.stdout.contains(mark), "{shell}: {}", outcome.stdout);
    }
    assert!(!world.home().exists(), "completions need no profile");
}

#[tokio::test]
async fn a_manual_page_is_written_for_each_command_with_the_exit_codes() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let man = dir.path().join("man1");
    let outcome = world.run(&["man", man.to_str().unwrap()]).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let page = std::fs::read_to_string(man.join("postern.1")).unwrap();
    assert!(page.contains("not signed in, or not any more"), "{page}");
    assert!(man.join("postern-connect.1").is_file());
}

#[tokio::test]
async fn help_lists_the_exit_codes_and_a_mistake_has_the_code_of_usage() {
    let world = World::new().await;
    let help = world.run(&["--help"]).await;
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("  8  the other side proved another key"), "{}", help.stdout);
    let mistake = world.run(&["connect", "press-7", "../etc"]).await;
    assert_eq!(mistake.code, 2);
    assert!(mistake.stderr.contains("only lower-case letters, digits"), "{}", mistake.stderr);
}
