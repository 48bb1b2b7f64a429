//! The report of `lvsd check`: what it is on files that are none, its bounds, and its verdict.

use std::path::Path;

use proptest::prelude::*;

use crate::cli::check::{Report, report};
use crate::config::load::load_from;
use crate::config::{Config, Reading, Strictness, load};
use crate::daemon::startup::Exit;
use crate::syntax::files::MemoryFiles;

#[test]
fn a_file_that_does_not_exist_is_one_error() {
    let report = check(Path::new("/nonexistent/keepalived.conf"));
    let wanted = "error: /nonexistent/keepalived.conf: there is no such file\n\n\
                  /nonexistent/keepalived.conf: 1 error: cannot be run\n";
    assert_eq!(report, Report { text: wanted.to_owned(), exit: Exit::Config });
}

#[test]
fn a_directory_is_one_error() {
    let report = check(Path::new("/"));
    assert_eq!(report.text, "error: /: is a directory, not a file\n\n/: 1 error: cannot be run\n");
    assert_eq!(report.exit, Exit::Config);
}

#[test]
fn an_empty_file_runs_and_says_that_it_does_nothing() {
    let (report, config) = verdict("# nothing\n\n");
    assert_eq!(config.unwrap(), Config::default());
    assert!(
        report.text.starts_with("warning: keepalived.conf: there is no virtual server"),
        "{}",
        report.text
    );
}

#[test]
fn denied_warnings_are_also_those_about_this_host_unless_it_is_not_asked() {
    let text =
        "vrrp_instance A {\ninterface nowhere0\nvirtual_router_id 7\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";
    let folder = std::env::temp_dir().join(format!("lvsd-denied-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("keepalived.conf");
    std::fs::write(&path, text).unwrap();
    let exits = |is_offline| {
        let loaded = load::load(&path, &Reading { is_offline, ..Reading::default() });
        [false, true].map(|denies| report(&path, &loaded, denies).exit)
    };
    assert_eq!(exits(false), [Exit::Ok, Exit::Config]);
    assert_eq!(exits(true), [Exit::Ok, Exit::Ok]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_file_of_nothing_but_mistakes_has_a_bounded_report() {
    let (report, config) = verdict(&"delay_lop 5\n".repeat(100_000));
    assert!(config.is_none());
    assert!(report.text.len() < 1_000_000);
    assert!(
        report.text.contains("99980 errors more: mend these first, or list all with `lvsd check --json`"),
        "{}",
        report.text.len()
    );
    assert!(report.text.ends_with("keepalived.conf: 100000 errors: cannot be run\n"));
}

#[test]
fn one_line_of_a_megabyte_is_shown_in_part() {
    let (report, _) = verdict(&"délay_lop ".repeat(100_000));
    assert!(report.text.len() < 2000, "{}", report.text.len());
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_a_report(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let files = MemoryFiles([("k".into(), bytes)].into());
        let loaded = load_from(&files, Path::new("k"), Strictness::Strict);
        let report = report(Path::new("k"), &loaded, false);
        prop_assert_eq!(report.exit == Exit::Ok, loaded.config.is_some());
    }

    #[test]
    fn shuffled_words_of_the_language_get_a_report(words in proptest::collection::vec(word(), 0..120)) {
        let files = MemoryFiles::new(&[("k", &words.concat())]);
        let loaded = load_from(&files, Path::new("k"), Strictness::Strict);
        let report = report(Path::new("k"), &loaded, false);
        prop_assert_eq!(report.exit == Exit::Ok, loaded.config.is_some());
    }
}

/// Words, braces and signs that mean something, glued in any way.
fn word() -> impl Strategy<Value = String> {
    let signs = vec![
        "{",
        "}",
        "\n",
        "\n",
        " ",
        " ",
        "\"",
        "#",
        "!",
        "\\",
        "\\#",
        "\\\n",
        "$",
        "${",
        "$A",
        "${A}",
        "$A=",
        "$B=$A",
        "\r\n",
        "\u{a0}",
        "\u{feff}",
        "é",
        "@x ",
        "~SEQ(",
        "include ",
        "k",
        "*",
        "80 ",
        "192.0.2.1 ",
        "fd00::1 ",
        "5 ",
        "0.5 ",
    ];
    let listed: Vec<String> = crate::config::root::listing()
        .iter()
        .flat_map(|k| k.names.clone())
        .map(|n| format!("{n} "))
        .collect();
    prop_oneof![proptest::sample::select(signs).prop_map(str::to_owned), proptest::sample::select(listed),]
}

fn verdict(text: &str) -> (Report, Option<Config>) {
    let path = Path::new("keepalived.conf");
    let loaded = load_from(&MemoryFiles::new(&[("keepalived.conf", text)]), path, Strictness::Strict);
    (report(path, &loaded, false), loaded.config)
}

fn check(path: &Path) -> Report {
    report(path, &load(path, &Reading::default()), false)
}
