//! `--lenient`: what is skipped, and what is not.

use super::*;

const HEAD: &str = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";

#[test]
fn lenient_skips_unknown_words_with_their_blocks_and_reads_what_follows() {
    let text = format!(
        "frobnicate {{\nvirtual_server 192.0.2.99 80 {{\n}}\n}}\n{HEAD}shiny on\nreal_server 10.0.0.1 80 {{\nwieght 5\nTCP_CHECK {{\nconect_port 81\n}}\n}}\n}}\n"
    );
    let loaded = conf(&text, Strictness::Lenient);
    let wanted = [
        "k.conf:1:1: `frobnicate` is not a keyword of the top level: its block is skipped: what it means is not known: write the word that was meant, or remove it and its block",
        "k.conf:9:1: `shiny` is not a keyword of virtual_server, and is skipped: remove it, or make it a comment with `#`: what it means is not known",
        "k.conf:11:1: `wieght` is not a keyword of real_server, and is skipped: did you mean `weight`?",
        "k.conf:13:1: `conect_port` is not a keyword of TCP_CHECK, and is skipped: did you mean `connect_port`?",
    ];
    assert_eq!(loaded.lines(Class::Warning), wanted);
    let servers = loaded.config.unwrap().virtual_servers;
    assert_eq!(servers.len(), 1);
    assert_eq!((servers[0].real_servers[0].weight, servers[0].real_servers[0].checkers.len()), (1, 1));
    assert_eq!(conf(&text, Strictness::Strict).diagnostics.errors(), 4);
}

#[test]
fn lenient_never_leaves_a_server_without_its_check() {
    let loaded =
        conf(&format!("{HEAD}real_server 10.0.0.1 80 {{\nTCP_CHEK {{\n}}\n}}\n}}\n"), Strictness::Lenient);
    let wanted = "k.conf:6:1: `TCP_CHEK` was skipped, and leaves real server 10.0.0.1:80 without a check: it may have been one: correct or remove it";
    assert_eq!(loaded.lines(Class::Error), [wanted]);
    // A check that is known and not built is no unknown word.
    let loaded =
        conf(&format!("{HEAD}real_server 10.0.0.1 80 {{\nMISC_CHECK {{\n}}\n}}\n}}\n"), Strictness::Lenient);
    assert!(loaded.config.is_none());
    // Another server's word leaves this one alone.
    let loaded = conf(
        &format!(
            "{HEAD}real_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\nshiny {{\n}}\n}}\nreal_server 10.0.0.2 80 {{\n}}\n}}\n"
        ),
        Strictness::Lenient,
    );
    assert!(loaded.config.is_some());
}

#[test]
fn lenient_yaml_keeps_the_check_of_the_virtual_server() {
    let text = |key: &str| {
        format!(
            "virtual_servers:\n  - address: 192.0.2.10:80\n    forwarding: nat\n    {key}: {{type: tcp}}\n    real_servers:\n      - {{address: 10.0.0.1:80}}\n"
        )
    };
    let lenient = |text: &str| {
        load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), Path::new("lvsd.yaml"), Strictness::Lenient)
    };
    assert!(lenient(&text("check")).config.is_some());
    let loaded = lenient(&text("chek"));
    let wanted = "lvsd.yaml:4:5: `chek` was skipped, and leaves real server 10.0.0.1:80 without a check: it may have been one: correct or remove it";
    assert_eq!(loaded.lines(Class::Error), [wanted]);
}

fn conf(text: &str, strictness: Strictness) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), strictness)
}
